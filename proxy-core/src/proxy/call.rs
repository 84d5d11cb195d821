//! The data plane: one call.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use guest_calls::consumed;
use smallvec::SmallVec;

use super::artifacts::Recall;
use super::failure::{Failed, Repetitions};
use super::inside::Inside;
use super::{Generation, Inner, Proxy};
use crate::artifact_store::EntryArtifact;
use crate::event::Event;
use crate::generation::{Failure, Recorded, RecordedInstance, lock};
use crate::journal::{Entry, EntryArg, Journal};
use crate::policy::plan::ExportPlan;
use crate::value::{Arg, Results};
use crate::{CallError, Error, SequenceNumber};

impl Proxy {
    /// Calls an export by name. What happens depends on its role in the policy; the arguments are
    /// made by [`args!`](crate::args).
    ///
    /// A call that trapped or ran out of memory is repeated once on a clean generation, unless host
    /// functions with effects outside had run.
    ///
    /// # Errors
    ///
    /// See [`Error`]; after any of them the proxy goes on serving.
    pub fn call(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let plan = self.0.plan_of(export)?;
        self.0.call(plan, args)
    }
}

/// A generation that an attempt found closed, or closed, without a reference to it.
pub(super) struct Closed {
    number: u64,
    is_retired: bool,
    taint: Option<String>,
}

impl Closed {
    pub(super) fn of(generation: &Generation) -> Self {
        Self {
            number: generation.number,
            is_retired: generation.is_retired(),
            taint: generation.taint().map(ToOwned::to_owned),
        }
    }
}

impl Inner {
    pub(super) fn call(&self, plan: &Arc<ExportPlan>, args: &[Arg<'_>]) -> Result<Results, Error> {
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            let span = tracing::debug_span!("journaled_call", export = &*plan.name);
            let _entered = span.enter();
            let results = self.repeat(plan, |generation| self.journaled(generation, plan, args))?;
            self.leave_artifact(plan, &results);
            Ok(results)
        } else {
            self.on_active(plan, |guest| guest.call_pure(plan, args, None))
        }
    }

    /// Runs a pure call on the active generation.
    #[inline]
    pub(super) fn on_active<R>(
        &self,
        plan: &ExportPlan,
        run: impl Fn(&mut RecordedInstance) -> Result<R, Failure>,
    ) -> Result<R, Error> {
        self.repeat(plan, |generation| {
            let Some(mut guest) = generation.enter() else {
                return Ok(None);
            };
            let started = guest.is_sampled().then(Instant::now);
            let result = self.guarded(plan, generation, &mut guest, &run)?;
            generation.count_call();
            drop(guest);
            if let Some(started) = started {
                self.observer.call_took(started.elapsed());
            }
            Ok(Some(result))
        })
    }

    /// Makes one attempt, and another on a clean generation if that may help. An attempt that finds
    /// its generation closed returns `None` and is made again on the next.
    #[inline]
    fn repeat<R>(
        &self,
        plan: &ExportPlan,
        attempt: impl Fn(&Arc<Generation>) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let outcome = self.attempts(plan, attempt);
        if outcome.is_err() {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    #[inline]
    fn attempts<R>(
        &self,
        plan: &ExportPlan,
        attempt: impl Fn(&Arc<Generation>) -> Result<Option<R>, Failed>,
    ) -> Result<R, Error> {
        let mut repetitions = Repetitions::default();
        loop {
            let active = self.active.load();
            let Some(generation) = &*active else {
                return Err(Error::ShutDown);
            };
            let inside = self.enter_thread()?;
            let outcome = attempt(generation);
            drop(inside);
            if let Ok(Some(result)) = outcome {
                if generation.is_retired() {
                    drop(active);
                    self.released();
                }
                return Ok(result);
            }
            // Nobody waits for another generation with a reference to this one: it could not be freed.
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
                let reason = if self.is_enabled() {
                    failed.retry
                } else {
                    None
                };
                match repetitions.next(reason, failed.clean) {
                    Some(reason) => {
                        self.note_retry(&plan.name, reason);
                        self.next_generation(closed)
                    }
                    None => Err(failed.into_error(retried)),
                }
            }
        };
        self.released();
        next
    }

    /// Runs guest code, and settles what it left behind: size, taint, error.
    #[inline]
    pub(super) fn guarded<R>(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        guest: &mut RecordedInstance,
        run: impl Fn(&mut RecordedInstance) -> Result<R, Failure>,
    ) -> Result<R, Failed> {
        let unwinding = TaintOnUnwind(generation);
        let outcome = run(guest);
        std::mem::forget(unwinding);
        let bytes = guest.memory_bytes();
        match outcome {
            Ok(result) => {
                self.note_memory(generation, bytes);
                Ok(result)
            }
            Err(failure) => {
                // Not noted yet: it is what the call before left.
                let clean = generation.memory_bytes() <= generation.fresh_bytes();
                self.note_memory(generation, bytes);
                Err(Failed {
                    clean,
                    ..self.failed(plan, generation, bytes, failure)
                })
            }
        }
    }

    #[inline]
    fn note_memory(&self, generation: &Generation, bytes: u64) {
        let grown = generation.note_memory(bytes);
        if grown > 0 {
            self.note_growth(grown, bytes);
        }
    }

    /// Holds the journal from before the call until its entry is appended, so that the journal's order
    /// is the order in which the generation saw the calls.
    fn journaled(
        &self,
        generation: &Arc<Generation>,
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<Option<Results>, Failed> {
        let recorded_args = Self::recordable(plan, args).map_err(Failed::for_good)?;
        let Some(mut guest) = generation.enter() else {
            return Ok(None);
        };
        if self.gate.is_closed() {
            // A swap is taking place: pure calls must not wait for it behind this one.
            drop(guest);
            self.gate.wait();
            return Ok(None);
        }
        let mut journal = lock(&self.journal);
        // A swap stores its pointer while it holds the journal: from here on nothing changes.
        if generation.is_retired() {
            return Ok(None);
        }
        let started = Instant::now();
        let sequence = journal.next();
        let mut key = None;
        let mut artifact = None;
        let mut answered = None;
        // Most exports have none, and their calls are to cost nothing for those that do.
        if plan.artifact.is_some() {
            match self.recall(generation, &mut guest, plan, args, sequence) {
                Recall::Died => return Ok(None),
                Recall::Answered(recorded, own) => {
                    artifact = Some(own);
                    answered = Some(recorded);
                }
                Recall::Compute(computed) => key = computed,
            }
        }
        let outcome = match answered {
            Some(recorded) => Ok(*recorded),
            None => self.guarded(plan, generation, &mut guest, |guest| {
                guest.call_journaled(plan, args, sequence)
            }),
        };
        let took = started.elapsed();
        let mut recorded = match outcome {
            Ok(recorded) => recorded,
            Err(Failed {
                error: Error::UnknownHandle { handle },
                ..
            }) => {
                return Err(Failed::for_good(journal.handle_error(handle)));
            }
            Err(failed) => return Err(failed),
        };
        if artifact.is_none() {
            artifact = self.artifacts.computed(plan, key, &recorded);
        }
        let results = std::mem::take(&mut recorded.results);
        let outcome = match recorded.rejected.take() {
            None => Ok(Some(results)),
            Some(message) => Err(Failed::for_good(CallError::Guest {
                export: plan.name.to_string(),
                message,
            })),
        };
        // What could not be created has left nothing; any other call may have changed something
        // before it gave its error, and replay has to change it too.
        if outcome.is_ok() || !plan.only_creates() {
            let made = (recorded, artifact, took);
            self.append(&mut journal, plan, args, recorded_args, sequence, made);
        }
        if outcome.is_ok() {
            generation.count_call();
        }
        drop(journal);
        drop(guest);
        self.observer.call_took(took);
        outcome
    }

    fn append(
        &self,
        journal: &mut Journal,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        recorded_args: SmallVec<[EntryArg; 2]>,
        sequence: SequenceNumber,
        (recorded, artifact, took): (Recorded, Option<EntryArtifact>, Duration),
    ) {
        let frees = consumed(plan, args);
        let shrank = !frees.is_empty();
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
        self.artifacts.of_entries().note(entry, artifact);
        if shrank {
            self.objects_freed.store(true, Ordering::Relaxed);
            if journal.is_compaction_due() {
                let applied = self.standby_applied.load(Ordering::Acquire);
                self.compact(journal, SequenceNumber(applied));
            }
        }
        self.note_journal(journal);
    }

    fn recordable(
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<SmallVec<[EntryArg; 2]>, CallError> {
        let record = |(position, arg): (usize, &Arg<'_>)| {
            EntryArg::record(arg).ok_or_else(|| CallError::Argument {
                export: plan.name.to_string(),
                position,
                expected: "something that can be journaled, as the export is not pure".to_owned(),
                got: arg.kind(),
            })
        };
        args.iter().enumerate().map(record).collect()
    }

    pub(super) fn taint(&self, generation: &Generation, cause: String) {
        let number = generation.number;
        generation.set_taint(cause.clone());
        self.observer.emit(&Event::GenerationTainted {
            generation: number,
            cause,
        });
        self.bell.ring();
    }

    /// Waits until there is another generation than one that was found closed.
    #[cold]
    pub(super) fn next_generation(&self, closed: &Closed) -> Result<(), Error> {
        if closed.is_retired {
            // The pointer was stored before: the next load sees it.
            return Ok(());
        }
        match &closed.taint {
            Some(cause) if !self.is_enabled() => Err(Error::DiedInPassthrough {
                cause: cause.clone(),
            }),
            Some(_) => self.recover(closed.number),
            None => Ok(()),
        }
    }

    #[cold]
    pub(super) fn note_retry(&self, export: &Arc<str>, reason: &'static str) {
        self.counters.retries.fetch_add(1, Ordering::Relaxed);
        self.observer.emit(&Event::CallRetried {
            export: Arc::clone(export),
            reason,
        });
    }

    #[cold]
    fn note_growth(&self, grown: u64, bytes: u64) {
        self.largest_growth.note(grown);
        if bytes >= self.wake_at.load(Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    #[cold]
    fn warn_unlisted(&self, plan: &Arc<ExportPlan>) -> Result<(), Error> {
        if self.plan.strict {
            return Err(CallError::NotInPolicy {
                export: plan.name.to_string(),
            }
            .into());
        }
        if !plan.warned.swap(true, Ordering::Relaxed) {
            self.observer.emit(&Event::UnlistedExport {
                export: Arc::clone(&plan.name),
            });
        }
        Ok(())
    }

    /// An old generation may just have lost its last call.
    #[cold]
    pub(super) fn released(&self) {
        if self.bell.supervised.load(Ordering::Acquire) {
            self.bell.ring();
        } else if let Ok(mut upkeep) = self.upkeep.try_lock() {
            self.reap(&mut upkeep, Instant::now());
        }
    }

    pub(super) fn compact(&self, journal: &mut Journal, horizon: SequenceNumber) {
        let removed = journal.compact(horizon);
        if removed > 0 {
            self.artifacts.of_entries().sweep();
            self.observer.emit(&Event::JournalCompacted {
                removed,
                kept: journal.len(),
            });
        }
    }

    /// Refuses a call by a host function of this very proxy: it would wait for itself.
    #[inline]
    pub(super) fn enter_thread(&self) -> Result<Option<Inside>, Error> {
        if self.has_host_functions {
            Inside::guest(self.tag).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Refuses upkeep by host functions and hooks of this very proxy, for the same reason.
    pub(super) fn check_outside(&self) -> Result<(), Error> {
        if Inside::is_inside(self.tag) {
            Err(Error::Reentrant)
        } else {
            Ok(())
        }
    }
}

/// Taints the generation if guest code unwinds through it: an engine's bug, but not our caller's end.
struct TaintOnUnwind<'a>(&'a Generation);

impl Drop for TaintOnUnwind<'_> {
    fn drop(&mut self) {
        self.0.set_taint("a panic went through it".to_owned());
    }
}
