//! The data plane: how calls go through the active generation.
//!
//! Nothing here can lock what upkeep works on. The one way to it is [`Caretaker`].

mod named;
mod pinned;
mod submitted;
mod turn;
mod typed;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use guest_calls::{OwnedArg, consumed};
use smallvec::SmallVec;

use crate::artifact_store::EntryArtifact;
use crate::batch::Batch;
use crate::committer::Admitted;
use crate::event::Event;
use crate::generation::{Failure, Generation, Recorded, RecordedInstance};
use crate::journal::{Answer, AnsweredCall, Entry, hash_of_call, record};
use crate::journal_store::StoreError;
use crate::policy::plan::ExportPlan;
use crate::shared::{Failed, Recall, Repetitions, Shared};
use crate::value::{Arg, Results};
use crate::{CallError, Error, Role, SequenceNumber};

use named::Named;
pub use pinned::Pinned;
pub use submitted::Submitted;
pub use turn::Turn;
pub use typed::Typed;

/// The requests that calls make of upkeep.
pub(crate) trait Caretaker: Send + Sync {
    /// Replaces the generation `dead`, which lost its state. Waits until that is done.
    fn recover(&self, dead: u64) -> Result<(), Error>;

    /// Undoes what calls did whose entries could not be written.
    fn undo(&self);

    /// Called without a lane, when a retired generation may just have lost its last call or the
    /// journal has doubled. Does not wait.
    fn tidy_up(&self);
}

/// Calls, and the generation that they go to.
pub(crate) struct DataPlane {
    shared: Arc<Shared>,
    caretaker: Arc<dyn Caretaker>,
}

/// A record of a generation that an attempt found closed, or closed itself. It holds no reference,
/// so the generation can be freed.
struct Closed {
    number: u64,
    is_retired: bool,
    taint: Option<String>,
}

/// What a call does if a swap is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Near {
    /// It waits for the swap, for a bounded time.
    Waits,
    /// It goes on: the swap waits for the turn that makes the call.
    GoesOn,
}

impl Closed {
    fn of(generation: &Generation) -> Self {
        Self {
            number: generation.number,
            is_retired: generation.is_retired(),
            taint: generation.taint().map(ToOwned::to_owned),
        }
    }
}

impl DataPlane {
    pub(crate) fn new(shared: Arc<Shared>, caretaker: Arc<dyn Caretaker>) -> Self {
        Self { shared, caretaker }
    }

    pub(crate) fn call_by_name(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        self.call(self.shared.plan_of(export)?, args)
    }

    /// Makes a call that its caller has given an id, or answers it as before.
    pub(crate) fn call_with_id(
        &self,
        id: &[u8],
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        let plan = self.shared.plan_of(export)?;
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            self.call_journaled(plan, args, Some(id), Near::Waits)
        } else {
            self.call(plan, args)
        }
    }

    fn call(&self, plan: &Arc<ExportPlan>, args: &[Arg<'_>]) -> Result<Results, Error> {
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            let span = tracing::debug_span!("journaled_call", export = &*plan.name);
            let _entered = span.enter();
            self.call_journaled(plan, args, None, Near::Waits)
        } else {
            self.call_pure(plan, args, Near::Waits)
        }
    }

    #[inline]
    fn call_pure(&self, plan: &ExportPlan, args: &[Arg<'_>], near: Near) -> Result<Results, Error> {
        self.on_active(plan, near, |guest| {
            let outcome = guest.call_pure(plan, args, None);
            self.shared.log_pure_call(guest, plan, args, &outcome);
            outcome
        })
    }

    /// Makes a journaled call, and waits until its entry is as durable as it is to be.
    fn call_journaled(
        &self,
        plan: &Arc<ExportPlan>,
        args: &[Arg<'_>],
        id: Option<&[u8]>,
        near: Near,
    ) -> Result<Results, Error> {
        let refused = |_: &CallError| self.shared.ledger.counts.failed_calls.add(1);
        let recorded_args = recordable(plan, args).inspect_err(refused)?;
        let named = id.map(|id| Named::new(id, hash_of_call(&plan.name, &recorded_args)));
        if let Some(named) = &named {
            named.check(plan)?;
        }
        let recorded_args = Cell::new(recorded_args);
        loop {
            // The answer may be known, whatever became of the generations.
            if let Some(named) = &named
                && let Some(answer) = self.durable_answer(plan, named)?
            {
                return answer;
            }
            let _admitted = self.admit(plan)?;
            let batch = Cell::new(None);
            let outcome = self.repeat(plan, near, |generation, repetitions| {
                let args = (args, &recorded_args);
                self.journaled(generation, plan, args, named.as_ref(), repetitions, &batch)
            });
            if named.as_ref().is_some_and(Named::take_known) {
                continue;
            }
            self.acknowledge(batch.take())?;
            let results = outcome?;
            self.after_journaled(plan, &results);
            return Ok(results);
        }
    }

    /// Admits a journaled call: there is room for what it makes, and for its entry. Counts a refusal.
    fn admit(&self, plan: &ExportPlan) -> Result<Option<Admitted<'_>>, Error> {
        let room = match plan.role {
            Role::Free => Ok(()),
            _ => self.shared.check_total(0),
        };
        let admitted = room.and_then(|()| self.admit_to_store());
        admitted.inspect_err(|_| self.shared.ledger.counts.failed_calls.add(1))
    }

    /// Admits a call to the journal's store, where there is one. A call that nobody waited for may have
    /// been lost meanwhile, and then this one undoes it.
    fn admit_to_store(&self) -> Result<Option<Admitted<'_>>, Error> {
        let Some(committer) = self.shared.committer() else {
            return Ok(None);
        };
        match committer.admit() {
            Err(_) if committer.is_undo_due() => {
                self.caretaker.undo();
                committer.admit().map(Some)
            }
            admitted => admitted.map(Some),
        }
    }

    /// After a journaled call was acknowledged.
    fn after_journaled(&self, plan: &ExportPlan, results: &Results) {
        self.shared
            .leave_artifact(plan, results, || self.caretaker.tidy_up());
        let size = &self.shared.journal.size;
        if size.is_compaction_due() || size.is_long() {
            self.caretaker.tidy_up();
        }
    }

    /// Waits for a batch, if callers wait at all.
    fn acknowledge(&self, batch: Option<Arc<Batch>>) -> Result<(), Error> {
        let (Some(batch), Some(committer)) = (batch, self.shared.committer()) else {
            return Ok(());
        };
        if !committer.is_waited_for() {
            return Ok(());
        }
        batch.wait().map_err(|source| self.lost(source))
    }

    /// Undoes what could not be written, and counts a call that is lost by it.
    #[cold]
    fn lost(&self, source: Arc<StoreError>) -> Error {
        self.caretaker.undo();
        self.shared.ledger.counts.failed_calls.add(1);
        Error::NotDurable { source }
    }

    /// The answer to an earlier call with this id, which is as durable as it is to be.
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`].
    fn durable_answer(
        &self,
        plan: &ExportPlan,
        named: &Named<'_>,
    ) -> Result<Option<Result<Results, Error>>, Error> {
        let Some(committer) = self.shared.committer() else {
            return Ok(self.known_answer(plan, named));
        };
        loop {
            if committer.is_undo_due() {
                self.caretaker.undo();
            }
            let failures = committer.failures();
            let Some(answer) = self.known_answer(plan, named) else {
                return Ok(None);
            };
            self.acknowledge(committer.pending())?;
            // If appending failed meanwhile, the answer may be one that was undone.
            if committer.failures() == failures {
                return Ok(Some(answer));
            }
        }
    }

    fn known_answer(&self, plan: &ExportPlan, named: &Named<'_>) -> Option<Result<Results, Error>> {
        let journal = self.shared.journal.lock();
        let answered = journal.answered().get(named.id).cloned()?;
        drop(journal);
        let export = || plan.name.to_string();
        if answered.call != named.call {
            return Some(Err(Error::CallIdReused { export: export() }));
        }
        self.shared.ledger.counts.answered_again.add(1);
        Some(match &answered.answer {
            Answer::Results(values) => Ok(values.iter().cloned().collect()),
            Answer::Rejected(message) => Err(CallError::Guest {
                export: export(),
                message: message.to_string(),
                thrown: None,
            }
            .into()),
        })
    }

    /// Runs a pure call on the active generation.
    #[inline]
    fn on_active<R>(
        &self,
        plan: &ExportPlan,
        near: Near,
        run: impl Fn(&mut RecordedInstance) -> Result<R, Failure>,
    ) -> Result<R, Error> {
        self.repeat(plan, near, |generation, repetitions| {
            let Some(mut guest) = generation.enter() else {
                return Ok(None);
            };
            let started = guest.is_sampled().then(Instant::now);
            self.shared.pure_calls.note_export(plan.func);
            let repetitions = Some(repetitions);
            let result = self
                .shared
                .guarded(plan, generation, &mut guest, repetitions, &run)?;
            generation.count_call();
            self.shared.look_if_due(generation, &mut guest);
            drop(guest);
            if let Some(started) = started {
                self.shared.ledger.call_took(started.elapsed());
            }
            Ok(Some(result))
        })
    }

    /// How long a call may wait for a swap that is near, if it began at `held`. A thread inside a
    /// guest or a hook of this proxy may not: the swap might wait for it.
    #[cold]
    fn may_wait(&self, held: &mut Option<Instant>) -> Option<Duration> {
        self.shared.check_outside().ok()?;
        self.shared
            .holding
            .left(*held.get_or_insert_with(Instant::now))
    }

    /// Waits for a swap that is near, with nothing in hand, unless the generation `number` has been
    /// swapped out meanwhile, or has room for the call after all.
    #[cold]
    fn hold_back(&self, export: &Arc<str>, number: u64, left: Duration) {
        let seen = self.shared.holding.releases();
        let active = self.shared.active.load();
        let is_active = active
            .as_ref()
            .is_some_and(|active| active.number == number);
        // The size may have been raised before this call asked how often calls were released.
        let is_full = active
            .as_ref()
            .is_some_and(|active| self.shared.is_held_back(active));
        drop(active);
        if !is_active || !is_full {
            return;
        }
        let started = Instant::now();
        self.shared.ledger.counts.held_back.add(1);
        // Whoever swaps may be asleep, and the generation that this call has just let go may be the
        // one before, which has to be freed first.
        self.caretaker.tidy_up();
        let in_time = self.shared.holding.wait(seen, left);
        if !in_time {
            self.shared.let_calls_go();
        }
        self.shared.ledger.emit(&Event::CallHeldBack {
            export: Arc::clone(export),
            waited: started.elapsed(),
            in_time,
        });
    }

    /// Makes one attempt, and another on a clean generation if that may help. An attempt that finds
    /// its generation closed returns `None` and is made again on the next.
    #[inline]
    fn repeat<R>(
        &self,
        plan: &ExportPlan,
        near: Near,
        attempt: impl Fn(&Arc<Generation>, Repetitions) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let outcome = self.attempts(plan, near, attempt);
        if outcome.is_err() {
            self.shared.ledger.counts.failed_calls.add(1);
        }
        outcome
    }

    #[inline]
    fn attempts<R>(
        &self,
        plan: &ExportPlan,
        near: Near,
        attempt: impl Fn(&Arc<Generation>, Repetitions) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let mut repetitions = Repetitions::default();
        let mut held = None;
        loop {
            let active = self.shared.active.load();
            let Some(generation) = &*active else {
                return Err(Error::ShutDown);
            };
            if self.shared.is_held_back(generation)
                && near == Near::Waits
                && let Some(left) = self.may_wait(&mut held)
            {
                let number = generation.number;
                drop(active);
                self.hold_back(&plan.name, number, left);
                continue;
            }
            let inside = self.shared.enter_thread()?;
            let outcome = attempt(generation, repetitions);
            drop(inside);
            if let Ok(Some(result)) = outcome {
                if generation.is_retired() {
                    drop(active);
                    self.caretaker.tidy_up();
                }
                return Ok(result);
            }
            // A thread must not wait for the next generation with a reference to this one, which
            // could then not be freed.
            let closed = Closed::of(generation);
            drop(active);
            self.next_attempt(plan, &closed, outcome.err(), &mut repetitions)?;
        }
    }

    /// After an attempt that gave nothing: an error for the caller, or another generation to go to.
    #[cold]
    fn next_attempt(
        &self,
        plan: &ExportPlan,
        closed: &Closed,
        failed: Option<Failed>,
        repetitions: &mut Repetitions,
    ) -> Result<(), Error> {
        let next = match failed {
            None => self.next_generation(closed),
            Some(failed) => {
                let retried = repetitions.any();
                let reason = if self.shared.is_enabled() {
                    failed.retry
                } else {
                    None
                };
                match repetitions.next(reason, failed.clean) {
                    Some(reason) => {
                        self.note_retry(&plan.name, reason);
                        self.next_generation(closed)
                    }
                    None => Err(self.shared.with_objects(failed.into_error(retried))),
                }
            }
        };
        self.caretaker.tidy_up();
        next
    }

    /// Has the turn from before the call until its entry is appended, so the journal has the order
    /// in which the generation saw the calls.
    fn journaled(
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
    fn append(
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
    fn append_answer(
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

    /// Waits for another generation than the closed one.
    #[cold]
    fn next_generation(&self, closed: &Closed) -> Result<(), Error> {
        if closed.is_retired {
            // The pointer was stored before: the next load sees it.
            return Ok(());
        }
        match &closed.taint {
            Some(cause) if !self.shared.is_enabled() => Err(Error::DiedInPassthrough {
                cause: cause.clone(),
            }),
            Some(_) => self.caretaker.recover(closed.number),
            None => Ok(()),
        }
    }

    #[cold]
    fn note_retry(&self, export: &Arc<str>, reason: &'static str) {
        self.shared.ledger.emit(&Event::CallRetried {
            export: Arc::clone(export),
            reason,
        });
    }

    #[cold]
    fn warn_unlisted(&self, plan: &Arc<ExportPlan>) -> Result<(), Error> {
        if self.shared.config.plan.strict {
            return Err(CallError::NotInPolicy {
                export: plan.name.to_string(),
            }
            .into());
        }
        if !plan.warned.swap(true, Ordering::Relaxed) {
            self.shared.ledger.emit(&Event::UnlistedExport {
                export: Arc::clone(&plan.name),
            });
        }
        Ok(())
    }
}

type RecordedArgs = SmallVec<[OwnedArg; 2]>;

fn recordable(plan: &ExportPlan, args: &[Arg<'_>]) -> Result<RecordedArgs, CallError> {
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
