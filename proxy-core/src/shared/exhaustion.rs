//! Calls that returned although the guest had no memory left: whether their result stands.
//!
//! A guest that looks at what its allocator gave goes on and says so. Its result then depends on
//! how full its memory was, and a replay on an emptier instance would give another one. So the call
//! is made again on a clean generation, and the result of that stands. A guest that meets the same
//! on a clean generation would meet it in each replay too; nothing is rebuilt for it again.

use std::sync::atomic::{AtomicU32, Ordering};

use engine_api::FuncIndex;

use super::{Ended, Failed, Shared};
use crate::Role;
use crate::generation::{Exhaustion, Generation, lock};
use crate::policy::plan::ExportPlan;

/// What the exports have shown so far.
#[derive(Debug)]
pub(crate) struct Exhaustions {
    /// By export: how often in a row a clean generation met the same.
    fruitless: Box<[AtomicU32]>,
}

impl Exhaustions {
    /// For a module with so many exported functions.
    pub(crate) fn new(exports: usize) -> Self {
        Self {
            fruitless: (0..exports).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn of(&self, func: FuncIndex) -> &AtomicU32 {
        &self.fruitless[func.0 as usize]
    }

    fn fruitless(&self, func: FuncIndex) -> u32 {
        self.of(func).load(Ordering::Relaxed)
    }

    fn note_fruitless(&self, func: FuncIndex) {
        let more = self.fruitless(func).saturating_add(1);
        self.of(func).store(more, Ordering::Relaxed);
    }

    fn note_fruitful(&self, func: FuncIndex) {
        self.of(func).store(0, Ordering::Relaxed);
    }
}

impl Shared {
    /// How a call ends that returned although the guest had no memory left. `None` if it returned
    /// and nothing is wrong, or if its result stands nevertheless.
    pub(super) fn ran_out(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        ended: &Ended,
    ) -> Option<Failed> {
        let repetitions = ended.repetitions?;
        let Some(exhaustion) = ended.exhaustion else {
            if repetitions.any() {
                self.exhaustions.note_fruitful(plan.func);
            }
            return None;
        };
        let leaked = generation
            .memory_bytes()
            .saturating_sub(generation.fresh_bytes());
        if !repetitions.allow(ended.clean) {
            self.exhaustions.note_fruitless(plan.func);
            return None;
        }
        // Nothing would come after a generation that is given up while no standby can be made, or
        // something else than its state.
        let can_rebuild =
            self.is_enabled() && lock(&self.divergence).is_none() && !self.pure_calls.has_written();
        if !can_rebuild || self.would_recur(plan, generation, exhaustion, leaked) {
            return None;
        }
        let is_pure = plan.role == Role::Pure;
        let has_room =
            exhaustion == Exhaustion::StatusCode || self.may_fit_later(generation, ended);
        if is_pure && (ended.side_effects || !has_room) {
            // Nothing that a replay would have to repeat depends on it.
            return None;
        }
        if ended.side_effects {
            // What a clean generation would give is never seen. Errors in a row become rare.
            self.exhaustions.note_fruitless(plan.func);
        }
        self.taint(generation, format!("out of memory in `{}`", plan.name));
        Some(Failed {
            error: self.out_of_memory(plan.name.to_string(), ended),
            retry: (!ended.side_effects).then_some("out_of_memory"),
            clean: ended.clean,
        })
    }

    /// Whether a clean generation would meet the same, as far as can be known.
    ///
    /// Refused growth has a size: without what has leaked since, it may fit. The first time a clean
    /// generation is asked nevertheless, because a fresh heap may not need to grow. A status code
    /// has no size. After clean generations have given it, they are asked again only at the double
    /// of calls each time.
    fn would_recur(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        exhaustion: Exhaustion,
        leaked: u64,
    ) -> bool {
        let fruitless = self.exhaustions.fruitless(plan.func);
        match exhaustion {
            Exhaustion::GrowthRefused(_) if !self.can_grow() => true,
            Exhaustion::GrowthRefused(bytes) => {
                fruitless > 0 && bytes.saturating_sub(leaked) > self.config.memory_bytes_max
            }
            Exhaustion::StatusCode => {
                fruitless > 0 && generation.calls() < 1 << fruitless.min(u64::BITS - 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_export_counts_for_itself_and_a_fruitful_repetition_starts_anew() {
        let exhaustions = Exhaustions::new(2);
        exhaustions.note_fruitless(FuncIndex(0));
        exhaustions.note_fruitless(FuncIndex(0));
        exhaustions.note_fruitless(FuncIndex(1));
        exhaustions.note_fruitful(FuncIndex(1));
        assert_eq!(exhaustions.fruitless(FuncIndex(0)), 2);
        assert_eq!(exhaustions.fruitless(FuncIndex(1)), 0);
    }
}
