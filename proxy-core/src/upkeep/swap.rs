//! The swap: hold back journaled calls, apply the rest, store one pointer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, MutexGuard};
use std::time::Instant;

use super::drain::Draining;
use super::prepare::Standby;
use super::replay::apply_alone;
use super::{State, Upkeep};
use crate::data_plane::Pinned;
use crate::event::Event;
use crate::generation::Generation;
use crate::hooks::{HookError, SwapContext};
use crate::open_turns::BetweenTurns;
use crate::reentrancy::Entered;
use crate::state::Step;
use crate::turns::SwapTurn;
use crate::{Error, Reason, SwapState, Swapped};

impl Upkeep {
    pub(crate) fn swap_manually(&self) -> Result<Swapped, Error> {
        self.promote_between_turns(self.by_hand()?, Reason::Manual)
    }

    /// Swaps when no turn is open, which it waits for with nothing locked, for a bounded time.
    ///
    /// # Errors
    ///
    /// [`Error::TurnsOpen`], and the standby waits; [`Error::NoStandby`]; those of a swap.
    pub(super) fn promote_between_turns<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        reason: Reason,
    ) -> Result<Swapped, Error> {
        if state.standby.is_none() {
            return Err(Error::NoStandby);
        }
        let open_turns = &self.shared.open_turns;
        let between = if let Some(between) = open_turns.close(false) {
            between
        } else {
            drop(state);
            let between = open_turns.close_within(self.shared.holding.bound());
            let between = between.ok_or_else(|| {
                let turns = open_turns.count();
                Error::TurnsOpen { turns }
            })?;
            state = self.by_hand()?;
            between
        };
        let swapped = self.promote(&mut state, reason, &mut Some(between));
        self.publish(&state);
        drop(state);
        swapped
    }

    /// Swaps if no turn is open. Otherwise the swap is due, and the end of the last turn wakes the
    /// supervisor.
    pub(super) fn promote_or_wait(&self, state: &mut State, reason: Reason) {
        // Turns do not wait for what can be done before: the tail, and a compaction. An error has
        // been reported by an event where it arose.
        if self.catch_up(state).is_err() {
            return;
        }
        if self.discard_crowded(state) {
            // It has grown with the tail. The next attempt begins with the compacted journal.
            self.shared.wakeup.wake();
            return;
        }
        let is_supervised = self.shared.wakeup.is_supervised();
        let Some(between) = self.shared.open_turns.close(is_supervised) else {
            // No swap is near: a turn may last.
            self.shared.let_calls_go();
            return;
        };
        // An error has been reported by an event where it arose.
        let _ = self.promote(state, reason, &mut Some(between));
    }

    /// Makes the standby active. On failure the standby is gone and the active generation goes on.
    /// Turns that it held back begin once the pointer is stored: what comes after that is no
    /// concern of theirs, and may take longer than the swap.
    pub(super) fn promote(
        &self,
        state: &mut State,
        reason: Reason,
        between: &mut Option<BetweenTurns<'_>>,
    ) -> Result<Swapped, Error> {
        let active = self
            .shared
            .active
            .load_full()
            .ok_or_else(|| self.shared.why_ended())?;
        let Some(standby) = &state.standby else {
            return Err(Error::NoStandby);
        };
        let (trust, blueprint) = (state.digest_trust, standby.blueprint.clone());
        // It may have died since the decision to swap.
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
        let proxy = &*self.shared.config.name;
        let span = tracing::info_span!("swap", proxy, reason = reason.name());
        let _entered = span.enter();
        self.shared.ledger.emit(&Event::SwapStart {
            reason,
            from: context.from,
            to: context.to,
        });
        let outcome = self.before_swap(state, &context).and_then(|()| {
            self.catch_up(state)?;
            self.exchange(state, &context, between)
        });
        match &outcome {
            Ok(_) => self.after_swap(state, &context),
            Err(Error::GenerationLost { .. }) if state.digest_trust != trust => {
                // The digest has cost the standby, and no other one is asked.
                self.discard(state);
                self.settling(state, |state| {
                    self.prepare_from(state, blueprint.clone(), reason, Instant::now())
                })?;
                return self.promote(state, reason, between);
            }
            Err(error) => {
                self.discard(state);
                self.shared.ledger.note_error(error);
                self.shared.ledger.emit(&Event::SwapError {
                    error: error.to_string(),
                });
            }
        }
        outcome
    }

    fn before_swap(&self, state: &State, context: &SwapContext) -> Result<(), Error> {
        let Some(standby) = &state.standby else {
            return Err(Error::NoStandby);
        };
        let pinned = Pinned::new(&self.shared, &standby.generation, None);
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

    /// Runs a hook, which can neither call back into upkeep nor end this thread by a panic.
    fn run_hook(&self, hook: impl FnOnce() -> Result<(), HookError>) -> Result<(), HookError> {
        let _inside = Entered::hook(self.shared.config.tag);
        catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|_| Err("the hook panicked".into()))
    }

    fn report_hook(&self, source: &HookError) {
        let error = format!("a hook failed, and the swap takes place all the same: {source}");
        self.shared.ledger.emit(&Event::SwapError { error });
    }

    /// The pause: from taking the turn to storing the pointer.
    fn exchange(
        &self,
        state: &mut State,
        context: &SwapContext,
        between: &mut Option<BetweenTurns<'_>>,
    ) -> Result<Swapped, Error> {
        let Some(Standby {
            generation,
            prepare,
            blueprint,
            ..
        }) = state.standby.take()
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
        state.step(Step::Swap);
        // Nobody waits while it is dropped, which takes as long as the journal is.
        let history = generation.take_history();
        let active = self
            .shared
            .active
            .load_full()
            .ok_or_else(|| self.shared.why_ended())?;
        // A lane comes before the turn. While this thread has both, nothing changes the state.
        let mut inside = self.hold_active(state.digest_trust, &active, context.reason);
        let started = Instant::now();
        let journal = &self.shared.journal;
        let turn = journal.turn_for_swap();
        let tail = journal.lock().after(generation.applied(), usize::MAX);
        if let Err(error) = apply_alone(&self.shared, &generation, &tail) {
            drop(turn);
            drop(inside);
            drop(generation);
            return Err(self.tail_failed(state, error));
        }
        let compared = inside.as_mut().map_or(Ok(()), |guest| {
            self.compare_before_swap(&mut state.digest_trust, &active, guest, &generation)
        });
        if let Err(error) = compared {
            drop(turn);
            drop(inside);
            drop(generation);
            self.not_swapped(state, &error);
            return Err(error);
        }
        let memory_after = generation.memory_bytes();
        let Some(old) = self.store_pointer(generation, &turn) else {
            self.shared.active.store(None);
            return Err(self.shared.why_ended());
        };
        drop(turn);
        drop(inside);
        drop(active);
        let pause = started.elapsed();
        drop(between.take());
        drop(history);
        old.send_away();
        state.step(Step::Promoted);
        state.blueprint = blueprint;
        let swapped = Swapped {
            reason: context.reason,
            from: context.from,
            to: context.to,
            prepare,
            pause,
            tail: tail.len(),
            memory_before: old.memory_bytes(),
            memory_after,
        };
        self.settle(state, swapped, old);
        Ok(swapped)
    }

    /// Lets calls go to the new generation, and none to the old one. It takes the turn as a witness:
    /// had a call it meanwhile, its entry would be on neither.
    fn store_pointer(
        &self,
        generation: Arc<Generation>,
        _turn: &SwapTurn<'_>,
    ) -> Option<Arc<Generation>> {
        let old = self.shared.active.swap(Some(generation));
        if let Some(old) = &old {
            old.retire();
        }
        old
    }

    fn tail_failed(&self, state: &mut State, error: Error) -> Error {
        self.discard(state);
        self.report_divergence(&error);
        state.degradation.failed(Instant::now());
        error
    }

    /// Settles the state after the pointer was stored.
    fn settle(&self, state: &mut State, swapped: Swapped, old: Arc<Generation>) {
        self.shared.journal.forget_applied();
        self.shared.pure_calls.forget_suspects();
        if self.shared.config.plan.state_digest.is_some() {
            // The preparation could not tell.
            state.degradation.succeeded();
        }
        state.checkpoints.settle();
        self.hold_journal(state);
        let now = Instant::now();
        let is_new = match swapped.reason {
            // It was not its growth that ended it.
            Reason::Calls | Reason::Age | Reason::Idle | Reason::Asked | Reason::Stack => false,
            _ => self.learn_working_set(state, &old),
        };
        self.learn_trigger(state, swapped.reason, &old, now);
        state.memory.growth.rebase();
        let sees_growth = self.shared.budget.sees_growth();
        state
            .memory
            .begin(if sees_growth { swapped.memory_after } else { 0 }, now);
        self.shared.budget.settle_at(state.memory.settled(), is_new);
        state.draining = Some(Draining {
            generation: old,
            since: Instant::now(),
        });
        self.look_anew(state, Instant::now());
        if !self.shared.wakeup.is_supervised() {
            self.shared.holding.release();
        }
        self.shared.holding.look_again();
        // If it was an emergency, turns may be open.
        self.shared.open_turns.not_due();
        self.publish(state);
        self.shared.ledger.emit(&Event::SwapComplete(swapped));
    }

    /// Learns from how the old generation grew. Returns whether that is something new.
    fn learn_working_set(&self, state: &mut State, old: &Generation) -> bool {
        let ran_out = old.taint().is_some() && self.shared.budget.is_exhausted(old.memory_bytes());
        let working_set = &mut state.memory.working_set;
        let before = working_set.bytes();
        working_set.learn(old.life(ran_out));
        working_set.bytes() != before
    }

    fn after_swap(&self, state: &mut State, context: &SwapContext) {
        for hooks in &self.options.hooks {
            let outcome = self.run_hook(|| {
                pollster::block_on(hooks.after_swap(context));
                Ok(())
            });
            if let Err(source) = outcome {
                self.report_hook(&source);
            }
        }
        self.reap(state, Instant::now());
        self.compact_if_due();
        debug_assert!(matches!(state.swap, SwapState::Idle | SwapState::Draining));
    }
}
