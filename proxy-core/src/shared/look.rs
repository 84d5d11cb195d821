//! A closer look at a generation, by the thread that has just called it: the stack pointer, what the
//! module's own exports report, and the number of calls.

use std::sync::atomic::Ordering;

use super::Shared;
use crate::generation::{Generation, RecordedInstance};

/// The first calls of a generation are each looked at, later ones in these steps, unless the stack
/// drifts.
const STEP: u64 = 64;

impl Shared {
    /// Looks at the generation that has just returned from a call, if that is due.
    #[inline]
    pub(crate) fn look_if_due(&self, generation: &Generation, guest: &mut RecordedInstance) {
        if generation.watch.is_due(generation.calls()) {
            self.look(generation, guest);
        }
    }

    #[cold]
    fn look(&self, generation: &Generation, guest: &mut RecordedInstance) {
        let (watch, calls) = (&generation.watch, generation.calls());
        let mut is_due = self.note_stack(generation, guest);
        is_due |= calls.is_multiple_of(STEP) && self.ask_exports(generation, guest);
        is_due |= self
            .config
            .triggers
            .calls_max
            .is_some_and(|calls_max| calls >= calls_max);
        let marked = self.config.triggers.next_look(calls);
        watch.look_at(marked.min(self.next_step(calls)));
        let is_mended = self.is_enabled() && self.wakeup.is_supervised();
        if is_due && is_mended {
            // The swap is what ends that. Upkeep lets calls go on if none can be made.
            watch.hold();
        }
        if is_due || marked < u64::MAX || watch.stack_drift() > 0 {
            self.wake_for(generation, calls);
        }
    }

    /// Wakes upkeep if a standby is to be prepared, or a swap is due.
    fn wake_for(&self, generation: &Generation, calls: u64) {
        let near_calls = self
            .config
            .triggers
            .calls_max
            .is_some_and(|max| calls >= max - max / 4);
        let near_stack = self
            .stack_drift_max()
            .is_some_and(|max| generation.watch.stack_drift() >= max / 2);
        if near_calls || near_stack || generation.watch.needs_swap() {
            self.wakeup.wake();
        }
    }

    /// Whether a call should wait for a swap before it goes to this generation.
    #[inline]
    pub(crate) fn is_held_back(&self, generation: &Generation) -> bool {
        self.holding.is_reached(generation.memory_bytes()) || generation.watch.is_held()
    }

    /// No swap is near: lets all calls go on that wait for one.
    pub(crate) fn let_calls_go(&self) {
        self.holding.release();
        let active = self.active.load();
        if active.as_ref().is_some_and(|active| active.watch.let_go()) {
            self.holding.look_again();
        }
    }

    /// The number of calls at which to look at the stack or to ask exports again.
    fn next_step(&self, calls: u64) -> u64 {
        let plan = &self.config.plan;
        let is_stack = self.config.stack_pointer.is_some() && self.stack_drift_max().is_some();
        let asks = plan.swap_request.is_some()
            || (plan.memory_usage.is_some() && !self.budget.sees_growth());
        if is_stack && (calls < STEP || self.drifts.load(Ordering::Relaxed)) {
            calls + 1
        } else if is_stack || asks {
            (calls / STEP + 1) * STEP
        } else {
            u64::MAX
        }
    }

    /// Reads the stack pointer, and returns whether a swap is due because of it.
    fn note_stack(&self, generation: &Generation, guest: &mut RecordedInstance) -> bool {
        let Some(max) = self.stack_drift_max() else {
            return false;
        };
        let Some(pointer) = guest.stack_pointer() else {
            return false;
        };
        let drift = generation.watch.note_stack(pointer);
        if drift > 0 && !self.drifts.load(Ordering::Relaxed) {
            self.drifts.store(true, Ordering::Relaxed);
        }
        drift >= max
    }

    /// Asks the exports that the policy names, and returns whether a swap is due because of them.
    fn ask_exports(&self, generation: &Generation, guest: &mut RecordedInstance) -> bool {
        let plan = &self.config.plan;
        let mut is_due = false;
        if let Some(func) = plan.swap_request {
            let asked = self.ask_inside(generation, guest, func);
            let asked = asked.is_some_and(|number| number > 0.0);
            generation.watch.set_asked(asked);
            is_due |= asked;
        }
        if let Some(func) = plan.memory_usage.filter(|_| !self.budget.sees_growth())
            && let Some(reported) = self.ask_inside(generation, guest, func)
        {
            let bytes = crate::memory::bytes_of(reported);
            generation.watch.set_reported(bytes);
            if bytes >= self.budget.warn_share() {
                self.wakeup.wake();
            }
            is_due |= bytes >= self.budget.critical_share();
        }
        is_due
    }

    /// How far the stack pointer may come down, in bytes.
    fn stack_drift_max(&self) -> Option<u64> {
        self.config.triggers.stack_drift_bytes_max?;
        Some(self.stack_drift_max.load(Ordering::Relaxed))
    }
}
