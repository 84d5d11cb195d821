//! The data plane: how calls go through the active generation.
//!
//! Nothing here can lock what upkeep works on. The one way to it is [`Caretaker`].

mod pinned;
mod typed;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use guest_calls::{OwnedArg, consumed};
use smallvec::SmallVec;

use crate::artifact_store::EntryArtifact;
use crate::event::Event;
use crate::generation::{Failure, Generation, Recorded, RecordedInstance};
use crate::journal::Entry;
use crate::policy::plan::ExportPlan;
use crate::shared::{Failed, Recall, Repetitions, Shared};
use crate::value::{Arg, Results};
use crate::{CallError, Error, SequenceNumber};

pub use pinned::Pinned;
pub use typed::Typed;

/// The requests that calls make of upkeep.
pub(crate) trait Caretaker: Send + Sync {
    /// Replaces the generation `dead`, which lost its state. Waits until that is done.
    fn recover(&self, dead: u64) -> Result<(), Error>;

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

    fn call(&self, plan: &Arc<ExportPlan>, args: &[Arg<'_>]) -> Result<Results, Error> {
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            let span = tracing::debug_span!("journaled_call", export = &*plan.name);
            let _entered = span.enter();
            let results = self.repeat(plan, |generation, repetitions| {
                self.journaled(generation, plan, args, repetitions)
            })?;
            self.shared
                .leave_artifact(plan, &results, || self.caretaker.tidy_up());
            let size = &self.shared.journal.size;
            if size.is_compaction_due() || size.is_long() {
                self.caretaker.tidy_up();
            }
            Ok(results)
        } else {
            self.on_active(plan, |guest| {
                let outcome = guest.call_pure(plan, args, None);
                self.shared.log_pure_call(guest, plan, args, &outcome);
                outcome
            })
        }
    }

    /// Runs a pure call on the active generation.
    #[inline]
    fn on_active<R>(
        &self,
        plan: &ExportPlan,
        run: impl Fn(&mut RecordedInstance) -> Result<R, Failure>,
    ) -> Result<R, Error> {
        self.repeat(plan, |generation, repetitions| {
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
    /// swapped out meanwhile.
    #[cold]
    fn hold_back(&self, export: &Arc<str>, number: u64, left: Duration) {
        let seen = self.shared.holding.releases();
        let active = self.shared.active.load();
        let is_active = active
            .as_ref()
            .is_some_and(|active| active.number == number);
        drop(active);
        if !is_active {
            return;
        }
        let started = Instant::now();
        self.shared.ledger.counts.held_back.add(1);
        // Whoever swaps may be asleep, and the generation that this call has just let go may be the
        // one before, which has to be freed first.
        self.caretaker.tidy_up();
        let in_time = self.shared.holding.wait(seen, left);
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
        attempt: impl Fn(&Arc<Generation>, Repetitions) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let outcome = self.attempts(plan, attempt);
        if outcome.is_err() {
            self.shared.ledger.counts.failed_calls.add(1);
        }
        outcome
    }

    #[inline]
    fn attempts<R>(
        &self,
        plan: &ExportPlan,
        attempt: impl Fn(&Arc<Generation>, Repetitions) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let mut repetitions = Repetitions::default();
        let mut held = None;
        loop {
            let active = self.shared.active.load();
            let Some(generation) = &*active else {
                return Err(Error::ShutDown);
            };
            if self.shared.holding.is_reached(generation.memory_bytes())
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
        args: &[Arg<'_>],
        repetitions: Repetitions,
    ) -> Result<Option<Results>, Failed> {
        let recorded_args = Self::recordable(plan, args).map_err(Failed::for_good)?;
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
            None => Ok(Some(results)),
            Some(message) => Err(Failed::for_good(CallError::Guest {
                export: plan.name.to_string(),
                message,
            })),
        };
        // A creation that failed leaves nothing behind. Any other call may have changed something
        // before it gave its error, and replay has to change that too.
        if outcome.is_ok() || !plan.only_creates() {
            let made = (recorded, artifact, took);
            if self.append(plan, args, recorded_args, sequence, made) {
                generation.note_freed();
            }
        }
        if outcome.is_ok() {
            generation.count_call();
        }
        drop(turn);
        drop(guest);
        self.shared.ledger.call_took(took);
        outcome
    }

    /// Appends the call's entry. Returns whether the call freed an object.
    fn append(
        &self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        recorded_args: SmallVec<[OwnedArg; 2]>,
        sequence: SequenceNumber,
        (recorded, artifact, took): (Recorded, Option<Arc<EntryArtifact>>, Duration),
    ) -> bool {
        let frees = consumed(plan, args);
        let shrank = !frees.is_empty();
        let mut journal = self.shared.journal.lock();
        let entry = journal.append(Entry {
            sequence,
            func: plan.func,
            export: Arc::clone(&plan.name),
            args: recorded_args,
            host_calls: recorded.host_calls.into(),
            results: recorded.records,
            fingerprints: recorded.fingerprints,
            frees: frees.into_vec().into(),
            changes: plan.changes.clone(),
            needs: recorded.needs,
            took,
        });
        self.shared.artifacts.of_entries().note(entry, artifact);
        drop(journal);
        if shrank {
            self.shared.journal.note_freed();
            self.shared.budget.forget_misfits();
        }
        shrank
    }

    fn recordable(
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<SmallVec<[OwnedArg; 2]>, CallError> {
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
