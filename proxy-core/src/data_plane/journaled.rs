//! One attempt of a journaled call, and its entry.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guest_calls::{OwnedArg, consumed};
use smallvec::SmallVec;

use super::DataPlane;
use super::named::Named;
use crate::artifact_store::EntryArtifact;
use crate::batch::Batch;
use crate::generation::{Generation, Recorded};
use crate::journal::{AnsweredCall, Entry, record};
use crate::policy::plan::ExportPlan;
use crate::shared::{Failed, Recall, Repetitions};
use crate::value::{Arg, Results};
use crate::{CallError, Error, SequenceNumber};

impl DataPlane {
    /// Has the turn from before the call until its entry is appended, so the journal has the order
    /// in which the generation saw the calls.
    pub(super) fn journaled(
        &self,
        generation: &Arc<Generation>,
        plan: &ExportPlan,
        (args, recorded_args): (&[Arg<'_>], &Cell<RecordedArgs>),
        named: Option<&Named<'_>>,
        repetitions: Repetitions,
        batch: &Cell<Option<Arc<Batch>>>,
    ) -> Result<Option<Results>, Failed> {
        let Some(mut guest) = generation.enter() else {
            return Ok(None);
        };
        let Some(turn) = self.shared.journal.try_turn() else {
            // A swap is taking place: pure calls must not wait for it behind this one.
            drop(guest);
            self.shared.journal.wait_at_gate();
            return Ok(None);
        };
        // A swap stores its pointer while it has the turn, so nothing changes from here on.
        if generation.is_retired() {
            return Ok(None);
        }
        if let Some(named) = named
            && self
                .shared
                .journal
                .lock()
                .answered()
                .get(named.id)
                .is_some()
        {
            // Another thread has made this call while this one waited.
            named.note_known();
            return Ok(Some(Results::default()));
        }
        let started = Instant::now();
        // Only the call that has the turn appends.
        let sequence = self.shared.journal.size.last().next();
        let mut key = None;
        let mut artifact = None;
        let mut answered = None;
        // Most exports have none, and their calls must not pay for those that do.
        if plan.artifact.is_some() {
            let shared = &self.shared;
            match shared.recall(generation, &mut guest, plan, args, sequence) {
                Recall::Died => return Ok(None),
                Recall::Answered(recorded, own) => {
                    artifact = Some(own);
                    answered = Some(recorded);
                }
                Recall::Compute(computed) => key = computed,
            }
        }
        let outcome = if let Some(recorded) = answered {
            Ok(*recorded)
        } else {
            let shared = &self.shared;
            shared.guarded(plan, generation, &mut guest, Some(repetitions), |guest| {
                guest.call_journaled(plan, args, sequence)
            })
        };
        let took = started.elapsed();
        let mut recorded = outcome?;
        if artifact.is_none() {
            artifact = self.shared.artifacts.computed(plan, key, &recorded);
        }
        let results = std::mem::take(&mut recorded.results);
        let outcome = match recorded.rejected.take() {
            None => Ok(results),
            Some(error) => Err(error),
        };
        let answered = named.map(|named| Arc::new(named.answered(&outcome)));
        // A creation that failed leaves nothing behind. Any other call may have changed something
        // before it gave its error, and replay has to change that too.
        let kept = if outcome.is_ok() || !plan.only_creates() {
            // No attempt follows.
            let recorded_args = recorded_args.take();
            let entry = entry(plan, args, recorded_args, sequence, recorded, took);
            let has_freed = !entry.frees.is_empty();
            let kept = self.append(entry, artifact, answered);
            if has_freed && kept.is_ok() {
                generation.note_freed();
            }
            kept
        } else {
            answered.map_or(Ok(None), |answered| self.append_answer(answered, sequence))
        };
        match kept {
            Ok(own) => batch.set(own),
            Err(error) => {
                let cause = format!("the entry of `{}` could not be kept: {error}", plan.name);
                self.shared.taint(generation, cause);
                return Err(Failed::for_good(error));
            }
        }
        if outcome.is_ok() {
            generation.count_call();
            self.shared.look_if_due(generation, &mut guest);
        }
        drop(turn);
        drop(guest);
        if let Some(committer) = self.shared.committer() {
            committer.tell();
        }
        self.shared.ledger.call_took(took);
        outcome
            .map(Some)
            .map_err(|error| Failed::for_good(CallError::of_guest(&plan.name, *error)))
    }

    /// Appends an entry to the journal and to the open batch.
    pub(super) fn append(
        &self,
        entry: Entry,
        artifact: Option<Arc<EntryArtifact>>,
        answered: Option<Arc<AnsweredCall>>,
    ) -> Result<Option<Arc<Batch>>, Error> {
        let batch = match self.shared.committer() {
            Some(committer) => {
                let record = record::encode_entry(&entry, answered.as_deref());
                Some(committer.put(record.map_err(unstorable)?, Some(entry.sequence))?)
            }
            None => None,
        };
        let shrank = !entry.frees.is_empty();
        let sequence = entry.sequence;
        let mut journal = self.shared.journal.lock();
        let entry = journal.append(entry);
        self.shared.artifacts.of_entries().note(entry, artifact);
        if let Some(answered) = answered {
            let batch = batch.clone();
            journal.answered_mut().keep(answered, sequence, batch);
        }
        drop(journal);
        if shrank {
            self.shared.journal.note_freed();
            self.shared.budget.forget_misfits();
        }
        Ok(batch)
    }

    /// Keeps the answer to a call that left no entry. `next` is the number that it did not take.
    pub(super) fn append_answer(
        &self,
        answered: Arc<AnsweredCall>,
        next: SequenceNumber,
    ) -> Result<Option<Arc<Batch>>, Error> {
        let batch = match self.shared.committer() {
            Some(committer) => {
                let record = record::encode_answer(&answered).map_err(unstorable)?;
                Some(committer.put(record, None)?)
            }
            None => None,
        };
        let mut journal = self.shared.journal.lock();
        let answers = journal.answered_mut();
        answers.keep(answered, next, batch.clone());
        Ok(batch)
    }
}

pub(super) type RecordedArgs = SmallVec<[OwnedArg; 2]>;

pub(super) fn recordable(plan: &ExportPlan, args: &[Arg<'_>]) -> Result<RecordedArgs, CallError> {
    let record = |(position, arg): (usize, &Arg<'_>)| {
        OwnedArg::record(arg).ok_or_else(|| CallError::Argument {
            export: plan.name.to_string(),
            position,
            expected: "something that can be journaled, as the export is not pure".to_owned(),
            got: arg.kind(),
        })
    };
    args.iter().enumerate().map(record).collect()
}

fn entry(
    plan: &ExportPlan,
    args: &[Arg<'_>],
    recorded_args: RecordedArgs,
    sequence: SequenceNumber,
    recorded: Recorded,
    took: Duration,
) -> Entry {
    Entry {
        sequence,
        func: plan.func,
        export: Arc::clone(&plan.name),
        args: recorded_args,
        host_calls: recorded.host_calls.into(),
        results: recorded.records,
        fingerprints: recorded.fingerprints,
        frees: consumed(plan, args).into_vec().into(),
        changes: plan.changes.clone(),
        needs: recorded.needs,
        took,
    }
}

/// An entry that the store cannot have.
fn unstorable(reason: String) -> Error {
    Error::NotStorable { reason }
}
