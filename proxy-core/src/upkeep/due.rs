//! What is due: by the memory, or by what else the active generation shows.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{State, Upkeep};
use crate::generation::Generation;
use crate::memory::{Decision, Situation};
use crate::triggers::{Signs, is_worth_a_swap};
use crate::{Error, Reason};

impl Upkeep {
    /// What the memory asks for, or else something other than the memory.
    pub(super) fn decide(&self, state: &State, situation: &Situation, signs: &Signs) -> Decision {
        match situation.decide(self.shared.budget.thresholds) {
            Decision::Nothing => {
                let triggers = &self.shared.config.triggers;
                triggers.decide(signs, &state.idle, &state.stack, situation.standby_ready)
            }
            decision => decision,
        }
    }

    /// Swaps, unless that is to give memory back and gives none back.
    pub(super) fn swap_for(&self, state: &mut State, reason: Reason) {
        if reason.is_to_give_back()
            && let Some(bytes) = state.standby_memory()
        {
            let active = self.shared.active.load();
            let used = active.as_ref().map_or(0, |active| active.memory_bytes());
            if !is_worth_a_swap(used.saturating_sub(bytes), self.shared.budget.limit()) {
                drop(active);
                state.memory.state_bytes = bytes;
                if reason == Reason::Idle {
                    state.idle.wait_longer();
                }
                self.discard(state);
                return;
            }
        }
        self.promote_or_wait(state, reason);
    }

    /// How soon time alone may ask for a swap.
    pub(super) fn next_trigger(&self, state: &State, now: Instant) -> Option<Duration> {
        let active = self.shared.active.load_full()?;
        let signs = self.signs(state, &active, now);
        let (idle, is_ready) = (&state.idle, state.standby.is_some());
        let next = self.shared.config.triggers.next_in(&signs, idle, is_ready);
        // After a failure it is the next regular look that tries again.
        let is_free = state.draining.is_none() && permits(state, Reason::Age, now);
        next.filter(|next| is_free || !next.is_zero())
    }

    /// What is known of the active generation, apart from its size.
    pub(super) fn signs(&self, state: &State, active: &Generation, now: Instant) -> Signs {
        let (watch, memory) = (&active.watch, &state.memory);
        let since = |then: Instant| now.saturating_duration_since(then);
        let floor = memory.baseline.max(memory.state_bytes);
        Signs {
            calls: active.calls(),
            age: since(memory.since),
            stack_drift: watch.stack_drift(),
            refused: watch.refused(),
            asked: watch.asked() && state.ask.permits(now),
            reclaimable: active.memory_bytes().saturating_sub(floor),
            quiet: since(memory.peak.1),
            limit: self.shared.budget.limit(),
            prepare_time: state
                .prepare_time
                .unwrap_or(self.shared.journal.size.took()),
        }
    }

    /// Asks the export that may ask for a swap, if no call is inside.
    pub(super) fn learn_request(&self, active: &Generation) {
        let Some(func) = self.shared.config.plan.swap_request else {
            return;
        };
        if let Some(number) = self.shared.ask(active, func) {
            active.watch.set_asked(number > 0.0);
        }
    }

    /// Learns from why the old generation was replaced.
    pub(super) fn learn_trigger(
        &self,
        state: &mut State,
        reason: Reason,
        old: &Generation,
        now: Instant,
    ) {
        let triggers = &self.shared.config.triggers;
        match reason {
            Reason::Idle => {
                let quiet = now.saturating_duration_since(state.memory.peak.1);
                state
                    .idle
                    .swapped(now, triggers.idle_after.unwrap_or_default(), quiet);
            }
            Reason::Asked => state.ask.swapped(now, old.calls()),
            Reason::Stack => {
                state.stack.swapped(old.calls());
                let max = state.stack.bytes_max(triggers).unwrap_or_default();
                self.shared.stack_drift_max.store(max, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Whether a preparation may be tried for this reason.
pub(super) fn permits(state: &State, reason: Reason, now: Instant) -> bool {
    match state.degradation.permit(now) {
        Ok(()) => true,
        // It may help all the same.
        Err(Error::StateExceedsBudget { .. }) => reason.helps_at_any_size(),
        Err(_) => false,
    }
}
