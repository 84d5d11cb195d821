//! Attempts of a call: on which generation, after what wait, and how often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::DataPlane;
use crate::Error;
use crate::event::Event;
use crate::generation::{Failure, Generation, RecordedInstance};
use crate::policy::plan::ExportPlan;
use crate::shared::{Failed, Repetitions};

/// A record of a generation that an attempt found closed, or closed itself. It holds no reference,
/// so the generation can be freed.
pub(super) struct Closed {
    number: u64,
    is_retired: bool,
    taint: Option<String>,
}

/// What a call does if a swap is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Near {
    /// It waits for the swap, for a bounded time.
    Waits,
    /// It goes on: the swap waits for the turn that makes the call.
    GoesOn,
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

impl DataPlane {
    /// Runs a pure call on the active generation.
    #[inline]
    pub(super) fn on_active<R>(
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
    pub(super) fn may_wait(&self, held: &mut Option<Instant>) -> Option<Duration> {
        self.shared.check_outside().ok()?;
        self.shared
            .holding
            .left(*held.get_or_insert_with(Instant::now))
    }

    /// Waits for a swap that is near, with nothing in hand, unless the generation `number` has been
    /// swapped out meanwhile, or has room for the call after all.
    #[cold]
    pub(super) fn hold_back(&self, export: &Arc<str>, number: u64, left: Duration) {
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

    /// Waits for a fold with nothing in hand, because the journal is full. A thread inside a guest or a
    /// hook of this proxy may not.
    #[cold]
    pub(super) fn wait_for_fold(&self) {
        let bound = self.shared.holding.bound();
        if bound.is_zero() || self.shared.check_outside().is_err() {
            return;
        }
        self.shared.ledger.counts.held_for_fold.add(1);
        // Whoever folds may be asleep.
        self.caretaker.tidy_up();
        self.shared.journal.wait_for_room(bound);
    }

    /// Makes one attempt, and another on a clean generation if that may help. An attempt that finds
    /// its generation closed returns `None` and is made again on the next.
    #[inline]
    pub(super) fn repeat<R>(
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
    pub(super) fn attempts<R>(
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
                return Err(self.shared.why_ended());
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
    pub(super) fn next_attempt(
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

    /// Waits for another generation than the closed one.
    #[cold]
    pub(super) fn next_generation(&self, closed: &Closed) -> Result<(), Error> {
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
    pub(super) fn note_retry(&self, export: &Arc<str>, reason: &'static str) {
        self.shared.ledger.emit(&Event::CallRetried {
            export: Arc::clone(export),
            reason,
        });
    }
}
