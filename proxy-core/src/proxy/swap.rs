//! The swap: hold back journaled calls, apply the rest, store one pointer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::inside::Inside;
use super::prepare::Standby;
use super::upkeep::{Draining, Upkeep};
use super::{Generation, Inner, Pinned};
use crate::debug_info::LastSwap;
use crate::event::Event;
use crate::generation::lock;
use crate::hooks::{HookError, SwapContext};
use crate::state::Step;
use crate::{Error, Reason, SequenceNumber, SwapState};

/// What a swap did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swapped {
    /// The generation that serves now.
    pub generation: u64,
    /// How long journaled calls were held back.
    pub pause: Duration,
    /// How many entries were applied in that time.
    pub tail: usize,
    /// What the old generation's memories had, in bytes.
    pub memory_before: u64,
    /// What the new one's have, in bytes.
    pub memory_after: u64,
}

impl Inner {
    pub(super) fn swap_manually(&self) -> Result<Swapped, Error> {
        let mut upkeep = self.upkeep_by_hand()?;
        if upkeep.standby.is_none() {
            return Err(Error::NoStandby);
        }
        let swapped = self.promote(&mut upkeep, Reason::Manual);
        self.publish(&upkeep);
        swapped
    }

    /// Makes the standby active. On failure the standby is gone and the active generation goes on.
    pub(super) fn promote(&self, upkeep: &mut Upkeep, reason: Reason) -> Result<Swapped, Error> {
        let active = self.active.load_full().ok_or(Error::ShutDown)?;
        let Some(standby) = &upkeep.standby else {
            return Err(Error::NoStandby);
        };
        // It may have died since somebody decided to swap.
        let reason = if active.taint().is_some() {
            Reason::Emergency
        } else {
            reason
        };
        let context = SwapContext {
            from: active.number,
            to: standby.generation.number,
            reason,
        };
        drop(active);
        let span = tracing::info_span!("swap", proxy = &*self.name, reason = reason.name());
        let _entered = span.enter();
        self.observer.emit(&Event::SwapStart {
            reason,
            from: context.from,
            to: context.to,
        });
        let outcome = self.before_swap(upkeep, &context).and_then(|()| {
            self.catch_up(upkeep)?;
            self.exchange(upkeep, &context)
        });
        match &outcome {
            Ok(_) => self.after_swap(upkeep, &context),
            Err(error) => {
                self.discard(upkeep);
                lock(&self.status).last_error = Some(error.to_string());
                self.observer.emit(&Event::SwapError {
                    error: error.to_string(),
                });
            }
        }
        outcome
    }

    fn before_swap(&self, upkeep: &Upkeep, context: &SwapContext) -> Result<(), Error> {
        let Some(standby) = &upkeep.standby else {
            return Err(Error::NoStandby);
        };
        let pinned = Pinned::new(self, &standby.generation, false);
        for hooks in &self.options.hooks {
            let outcome = self.run_hook(|| pollster::block_on(hooks.before_swap(context, &pinned)));
            match outcome {
                Ok(()) => {}
                Err(source) if context.reason == Reason::Emergency => self.report_hook(&source),
                Err(source) => return Err(Error::Hook { source }),
            }
        }
        Ok(())
    }

    /// Runs a hook so that it can neither call back into upkeep nor take this thread with it.
    fn run_hook(&self, hook: impl FnOnce() -> Result<(), HookError>) -> Result<(), HookError> {
        let _inside = Inside::hook(self.tag);
        catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|_| Err("the hook panicked".into()))
    }

    fn report_hook(&self, source: &HookError) {
        let error = format!("a hook failed, and the swap takes place all the same: {source}");
        self.observer.emit(&Event::SwapError { error });
    }

    /// The pause: from taking the journal to storing the pointer.
    fn exchange(&self, upkeep: &mut Upkeep, context: &SwapContext) -> Result<Swapped, Error> {
        let Some(Standby {
            generation,
            prepare,
            blueprint,
            ..
        }) = upkeep.standby.take()
        else {
            return Err(Error::NoStandby);
        };
        if let Some(cause) = generation.taint() {
            // A hook's call did that.
            let cause = cause.to_owned();
            return Err(Error::GenerationLost {
                export: "before_swap".to_owned(),
                cause,
            });
        }
        upkeep.step(Step::Swap);
        // Before the pause, which must not be longer because the journal is.
        generation.forget_history();
        let started = Instant::now();
        let held = self.hold_back();
        let journal = lock(&self.journal);
        let tail = journal.after(generation.applied(), usize::MAX);
        if let Err(error) = self.apply_alone(&generation, &tail) {
            drop(journal);
            drop(generation);
            return Err(self.tail_failed(upkeep, error));
        }
        let memory_after = generation.memory_bytes();
        let Some(old) = self.active.swap(Some(generation)) else {
            self.active.store(None);
            return Err(Error::ShutDown);
        };
        old.retire();
        drop(journal);
        drop(held);
        let pause = started.elapsed();
        old.send_away();
        upkeep.step(Step::Promoted);
        upkeep.blueprint = blueprint;
        let swapped = Swapped {
            generation: context.to,
            pause,
            tail: tail.len(),
            memory_before: old.memory_bytes(),
            memory_after,
        };
        self.settle(upkeep, context, swapped, prepare, old);
        Ok(swapped)
    }

    fn tail_failed(&self, upkeep: &mut Upkeep, error: Error) -> Error {
        self.discard(upkeep);
        if let Error::Divergence(divergence) = &error {
            self.counters.divergences.fetch_add(1, Ordering::Relaxed);
            self.observer.emit(&Event::ReplayDivergence {
                divergence: (**divergence).clone(),
            });
        }
        upkeep.degradation.failed(Instant::now());
        error
    }

    /// The books after the pointer is stored.
    fn settle(
        &self,
        upkeep: &mut Upkeep,
        context: &SwapContext,
        swapped: Swapped,
        prepare: Duration,
        old: Arc<Generation>,
    ) {
        self.standby_applied.store(u64::MAX, Ordering::Release);
        upkeep.checkpoints.settle();
        self.hold_journal(upkeep);
        self.counters.swaps.fetch_add(1, Ordering::Relaxed);
        if context.reason == Reason::Emergency {
            self.counters.emergencies.fetch_add(1, Ordering::Relaxed);
        }
        upkeep.growth.rebase();
        {
            let mut status = lock(&self.status);
            status.baseline = swapped.memory_after;
            status.reported = 0;
            status.last_swap = Some(LastSwap {
                reason: context.reason,
                prepare,
                pause: swapped.pause,
                memory_before: swapped.memory_before,
                memory_after: swapped.memory_after,
            });
        }
        upkeep.draining = Some(Draining {
            generation: old,
            since: Instant::now(),
        });
        self.observer.emit(&Event::SwapComplete {
            reason: context.reason,
            from: context.from,
            to: context.to,
            pause: swapped.pause,
            tail: swapped.tail,
            memory_before: swapped.memory_before,
            memory_after: swapped.memory_after,
        });
    }

    fn after_swap(&self, upkeep: &mut Upkeep, context: &SwapContext) {
        for hooks in &self.options.hooks {
            let outcome = self.run_hook(|| {
                pollster::block_on(hooks.after_swap(context));
                Ok(())
            });
            if let Err(source) = outcome {
                self.report_hook(&source);
            }
        }
        self.reap(upkeep, Instant::now());
        let mut journal = self.journal_in_turn();
        if journal.is_compaction_due() {
            self.compact(&mut journal, SequenceNumber(u64::MAX));
            self.note_journal(&journal);
        }
        drop(journal);
        debug_assert!(matches!(
            upkeep.state,
            SwapState::Idle | SwapState::Draining
        ));
    }
}
