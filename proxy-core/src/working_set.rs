//! The working set: memory that every generation takes again soon after it took over. It is no
//! leak, and a swap gives none of it back.

/// How a generation that was swapped out had grown. A growth is *large* if it is at least half of
/// the largest recent one. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    /// The growth from when it took over to its last large growth, included.
    pub(crate) grown: u64,
    /// How many calls it served.
    pub(crate) calls: u64,
    /// How many of them came after its last large growth.
    pub(crate) quiet: u64,
    /// The most calls from one large growth to the next.
    pub(crate) gap: u64,
    /// Whether it died for want of memory.
    pub(crate) ran_out: bool,
}

/// What is known of the working set.
#[derive(Debug)]
pub(crate) struct WorkingSet {
    bytes: u64,
    /// The growth that may be one.
    suspected: u64,
    /// How many generations in a row had it.
    repeats: u32,
    /// How many must have it.
    patience: u32,
}

/// After each mistake this many times as many generations are needed.
const PATIENCE_FACTOR: u32 = 4;

const PATIENCE_MAX: u32 = 256;

impl Default for WorkingSet {
    fn default() -> Self {
        Self {
            bytes: 0,
            suspected: 0,
            repeats: 0,
            patience: 2,
        }
    }
}

impl WorkingSet {
    /// What a generation will take soon after it took over, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Learns from a generation that was swapped out.
    ///
    /// A leak goes on, and a working set is taken once. So growth is suspected to be a working set
    /// if another large growth was overdue and did not come. If the generation served one call, two
    /// of which it could not have held, nothing tells them apart, and it takes longer to find out.
    /// Generations in a row must agree. If one runs out of memory later, it was a leak after all.
    pub(crate) fn learn(&mut self, life: Life) {
        if life.ran_out {
            if self.bytes > 0 {
                self.patience = (self.patience * PATIENCE_FACTOR).min(PATIENCE_MAX);
            }
            self.bytes = 0;
            self.repeats = 0;
            return;
        }
        let has_ended = life.gap > 0 && life.quiet >= life.gap;
        if life.grown == 0 || !(has_ended || life.calls <= 1) {
            self.repeats = 0;
            return;
        }
        let is_same = life.grown.abs_diff(self.suspected) <= self.suspected / 8;
        self.repeats = if is_same { self.repeats + 1 } else { 1 };
        self.suspected = life.grown;
        let needed = if has_ended {
            self.patience
        } else {
            self.patience * PATIENCE_FACTOR
        };
        if self.repeats >= needed {
            self.bytes = life.grown;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::Thresholds;
    use crate::memory::{Decision, LargestGrowth, Situation};

    const MIB: u64 = 1 << 20;
    const LIMIT: u64 = 48 * MIB;

    /// One large growth, and calls after it.
    fn grown(mib: u64, calls: u64) -> Life {
        Life {
            grown: mib * MIB,
            calls,
            quiet: calls - 1,
            gap: 1,
            ran_out: false,
        }
    }

    fn learned(lives: &[Life]) -> u64 {
        let mut set = WorkingSet::default();
        for life in lives {
            set.learn(*life);
        }
        set.bytes() / MIB
    }

    #[test]
    fn growth_that_ends_and_returns_is_a_working_set() {
        let once = grown(26, 1);
        let ran_out = Life {
            ran_out: true,
            ..once
        };
        let steady = Life {
            quiet: 0,
            ..grown(40, 9)
        };
        let seldom = Life {
            quiet: 7,
            gap: 10,
            ..grown(40, 30)
        };
        for (lives, expected) in [
            (vec![grown(26, 2)], 0),
            (vec![grown(26, 2); 2], 26),
            (vec![grown(26, 2), grown(27, 9)], 27),
            (vec![grown(26, 2), grown(12, 2)], 0),
            (vec![once; 7], 0),
            (vec![once; 8], 26),
            (vec![steady; 50], 0),
            (vec![seldom; 50], 0),
            (vec![grown(26, 2), steady, grown(26, 2)], 0),
            (vec![grown(26, 2), grown(26, 2), ran_out], 0),
            (vec![grown(26, 2), grown(26, 2), steady], 26),
            (
                vec![grown(26, 2), grown(26, 2), grown(12, 2), grown(12, 2)],
                12,
            ),
        ] {
            assert_eq!(learned(&lives), expected, "{lives:?}");
        }
    }

    #[test]
    fn after_a_mistake_it_takes_longer_to_suspect_one() {
        let mut set = WorkingSet::default();
        let mut lives = 0;
        for expected in [2, 8, 32, 128, 256, 256] {
            while set.bytes() == 0 {
                set.learn(grown(26, 2));
                lives += 1;
            }
            assert_eq!(lives, expected);
            lives = 0;
            set.learn(Life {
                ran_out: true,
                ..grown(26, 2)
            });
        }
    }

    /// A guest that takes `set` bytes once, in its first call, and loses `leak` in each later one.
    #[derive(Clone, Copy, Debug)]
    struct Guest {
        state: u64,
        set: u64,
        leak: u64,
    }

    /// The swaps and emergencies in this many calls, if upkeep looks after every `ticks` calls.
    fn lived(guest: Guest, calls: u64, ticks: u64) -> (u64, u64) {
        let (mut swaps, mut emergencies) = (0, 0);
        let mut working_set = WorkingSet::default();
        let (all, mut above) = (LargestGrowth::default(), LargestGrowth::default());
        let thresholds = Thresholds::default();
        let fresh = Life {
            grown: 0,
            calls: 0,
            quiet: 0,
            gap: 0,
            ran_out: false,
        };
        let (mut used, mut life) = (guest.state, fresh);
        let mut ready = false;
        for call in 0..calls {
            let step = if life.calls == 0 {
                guest.set
            } else {
                guest.leak
            };
            let baseline = guest.state + working_set.bytes();
            let mut ends = None;
            if used + step > LIMIT {
                emergencies += 1;
                ends = Some(true);
            } else {
                life.calls += 1;
                life.quiet += 1;
                used += step;
                all.note(step);
                above.note(step.min(used.saturating_sub(baseline)));
                if step > 0 && 2 * step >= all.bytes() {
                    life.gap = life.gap.max(life.quiet);
                    (life.quiet, life.grown) = (0, used - guest.state);
                }
            }
            let situation = |standby_ready| Situation {
                used,
                limit: LIMIT,
                baseline,
                headroom: above.bytes(),
                growth_rate: 0.0,
                prepare_time: Duration::ZERO,
                standby_ready,
                warn_step: 0.0,
            };
            if ends.is_none() && call % ticks == 0 {
                ready |= matches!(situation(ready).decide(thresholds), Decision::Prepare(_));
                if ready && matches!(situation(ready).decide(thresholds), Decision::Swap(_)) {
                    ends = Some(false);
                }
            }
            if let Some(ran_out) = ends {
                let before = working_set.bytes();
                working_set.learn(Life { ran_out, ..life });
                if working_set.bytes() != before {
                    above = LargestGrowth::default();
                }
                swaps += 1;
                (used, life, ready) = (guest.state, fresh, false);
            }
        }
        (swaps, emergencies)
    }

    proptest! {
        #[test]
        fn without_a_leak_the_swaps_end(
            state in 1..8 * MIB,
            set in 0..40 * MIB,
            ticks in 1..10_u64,
        ) {
            let guest = Guest { state, set, leak: 0 };
            let (few, emergencies) = lived(guest, 200, ticks);
            let (many, _) = lived(guest, 20_000, ticks);
            prop_assert_eq!((few, emergencies), (many, 0));
            prop_assert!(many <= 8, "{} swaps", many);
        }

        #[test]
        fn a_leak_on_top_is_swapped_out_before_it_fills_the_memory(
            state in 1..8 * MIB,
            set in 0..30 * MIB,
            leak in 1..2 * MIB,
        ) {
            let guest = Guest { state, set, leak };
            let (swaps, emergencies) = lived(guest, 20_000, 1);
            prop_assert_eq!(emergencies, 0);
            // A leak fills most of what the working set leaves before it is swapped out.
            let room = LIMIT - state - set;
            prop_assert!(swaps <= 16 + 20_000 * leak * 3 / room, "{} swaps", swaps);
        }
    }
}
