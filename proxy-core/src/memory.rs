//! When to prepare and when to swap: memory against thresholds, growth against time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Error;

/// Bytes in a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

/// Bytes as MiB, for people and metrics.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes of memories are exact in an f64"
)]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB
}

/// A number of MiB that a module reported, in bytes. NaN and negative numbers are 0 bytes, and
/// numbers that no `u64` holds saturate.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates"
)]
pub(crate) fn bytes_of(reported_mib: f64) -> u64 {
    (reported_mib * MIB) as u64
}

/// Shares of the memory limit at which something happens.
///
/// ```
/// use proxy_core::Thresholds;
///
/// let early = Thresholds::new(0.5, 0.8)?;
/// assert!(early.warn() < Thresholds::default().warn());
/// assert!(Thresholds::new(0.9, 0.7).is_err());
/// # Ok::<(), proxy_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thresholds {
    warn: f64,
    critical: f64,
}

impl Default for Thresholds {
    /// A standby at 70 %, a swap at 90 %.
    fn default() -> Self {
        Self {
            warn: 0.70,
            critical: 0.90,
        }
    }
}

impl Thresholds {
    /// Prepare a standby at the share `warn` of the limit, swap at the share `critical`.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] unless 0 < warn < critical <= 1.
    pub fn new(warn: f64, critical: f64) -> Result<Self, Error> {
        if warn > 0.0 && warn < critical && critical <= 1.0 {
            Ok(Self { warn, critical })
        } else {
            Err(Error::Setting {
                reason: format!(
                    "thresholds must be 0 < warn < critical <= 1, got {warn} and {critical}"
                ),
            })
        }
    }

    /// The share at which a standby is prepared.
    #[must_use]
    pub fn warn(&self) -> f64 {
        self.warn
    }

    /// The share at which it takes over.
    #[must_use]
    pub fn critical(&self) -> f64 {
        self.critical
    }

    /// The share of `limit` bytes.
    pub(crate) fn warn_bytes(&self, limit: u64, step: f64) -> u64 {
        // Stepping up after failures must not reach the other threshold.
        share(
            limit,
            (self.warn + step)
                .min(self.warn.max(0.85))
                .min(self.critical),
        )
    }

    pub(crate) fn critical_bytes(&self, limit: u64) -> u64 {
        share(limit, self.critical)
    }
}

/// The size of the active generation from which on a swap is worthwhile although the standby, of
/// `state` bytes, is above the warning threshold: the swap gives back a quarter of the room that
/// there is beside the state. `None` if there is no room.
pub(crate) fn worthwhile(state: u64, limit: u64) -> Option<u64> {
    let room = limit.checked_sub(state).filter(|room| *room > 0)?;
    // Not a few bytes at a time, however little room there is.
    state.checked_add((room / 4).max(limit / 64))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of a memory's size is positive and exact enough to the byte"
)]
fn share(limit: u64, share: f64) -> u64 {
    (limit as f64 * share) as u64
}

/// The facts on which the supervisor decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Situation {
    pub(crate) used: u64,
    pub(crate) limit: u64,
    /// The size of the active generation when it took over, and the working set on top of it.
    pub(crate) baseline: u64,
    /// The largest growth of a recent single call, as far as it was beyond the working set.
    pub(crate) headroom: u64,
    /// Bytes per second.
    pub(crate) growth_rate: f64,
    /// How long a preparation is expected to take.
    pub(crate) prepare_time: Duration,
    pub(crate) standby_ready: bool,
    /// The share that failures have added to the warning threshold.
    pub(crate) warn_step: f64,
}

/// What the supervisor does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Nothing,
    Prepare(Reason),
    Swap(Reason),
}

/// Why the proxy prepares or swaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// Memory passed a threshold.
    Threshold,
    /// The next call may grow by as much as a recent one did, and that would not fit.
    Headroom,
    /// At its rate of growth, memory reaches the critical threshold before a standby is ready.
    Prediction,
    /// A caller asked for it.
    Manual,
    /// Better code is ready: [`TierUp`](crate::TierUp).
    TierUp,
    /// The active generation has served as many calls as it may
    /// ([`SwapTriggers::calls_max`](crate::SwapTriggers::calls_max)).
    Calls,
    /// It has served for as long as it may ([`SwapTriggers::age_max`](crate::SwapTriggers::age_max)).
    Age,
    /// Its memory has not grown for a while after a peak
    /// ([`SwapTriggers::idle_after`](crate::SwapTriggers::idle_after)).
    Idle,
    /// The export that the policy names as `swap_request_export` asked for it.
    Asked,
    /// The guest's stack pointer has drifted
    /// ([`SwapTriggers::stack_drift_bytes_max`](crate::SwapTriggers::stack_drift_bytes_max)).
    Stack,
    /// Growth was refused to a call that went on
    /// ([`SwapTriggers::growth_refused`](crate::SwapTriggers::growth_refused)).
    GrowthRefused,
    /// The active generation died.
    Emergency,
}

impl Reason {
    /// A short stable name for events and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Reason::Threshold => "threshold",
            Reason::Headroom => "headroom",
            Reason::Prediction => "prediction",
            Reason::Manual => "manual",
            Reason::TierUp => "tier-up",
            Reason::Calls => "calls",
            Reason::Age => "age",
            Reason::Idle => "idle",
            Reason::Asked => "asked",
            Reason::Stack => "stack",
            Reason::GrowthRefused => "growth-refused",
            Reason::Emergency => "emergency",
        }
    }

    /// Whether a swap for it helps however large the live state is.
    pub(crate) fn helps_at_any_size(self) -> bool {
        matches!(
            self,
            Reason::Calls | Reason::Age | Reason::Asked | Reason::Stack
        )
    }

    /// Whether it is about memory that is to be given back, so that a standby that is as large is of
    /// no use.
    pub(crate) fn is_to_give_back(self) -> bool {
        matches!(self, Reason::Idle | Reason::GrowthRefused)
    }
}

impl Situation {
    /// Where the swap is due, in bytes, and why there.
    fn swap_at(&self, thresholds: Thresholds) -> (u64, Reason) {
        let critical = thresholds.critical_bytes(self.limit);
        if self.baseline >= critical {
            // A swap there would give nothing back.
            return (self.baseline.midpoint(self.limit), Reason::Threshold);
        }
        let with_headroom = self.limit.saturating_sub(self.kept_free());
        if with_headroom < critical {
            (with_headroom, Reason::Headroom)
        } else {
            (critical, Reason::Threshold)
        }
    }

    /// The headroom, but never more than half of what lies between baseline and limit: a call that
    /// jumps by more would have us swap after every single one.
    fn kept_free(&self) -> u64 {
        self.headroom
            .min(self.limit.saturating_sub(self.baseline) / 2)
    }

    /// Where the preparation is due, in bytes, and why there.
    fn prepare_at(&self, thresholds: Thresholds) -> (u64, Reason) {
        let (swap, reason) = self.swap_at(thresholds);
        let mut warn = thresholds.warn_bytes(self.limit, self.warn_step);
        if self.baseline >= warn {
            // There it would be due from the first moment on, again and again.
            let quarter = worthwhile(self.baseline, self.limit);
            let middle = self.baseline.midpoint(swap);
            warn = quarter.map_or(middle, |quarter| quarter.max(middle).min(swap));
        }
        let before_swap =
            swap.saturating_sub(self.kept_free().min(swap.saturating_sub(self.baseline) / 2));
        let (at, reason) = if reason == Reason::Headroom && before_swap < warn {
            (before_swap, Reason::Headroom)
        } else {
            (warn, Reason::Threshold)
        };
        let predicted = self.predicted(swap);
        if predicted < at {
            (predicted, Reason::Prediction)
        } else {
            (at, reason)
        }
    }

    /// Where a preparation has to begin, at this rate of growth, to end before the swap is due with
    /// half of its time to spare. Never below the middle between baseline and swap: a burst at the
    /// start is no trend.
    fn predicted(&self, swap: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is not positive becomes 0, and what is too large the largest"
        )]
        let growth = (self.growth_rate * self.prepare_time.as_secs_f64() * 1.5) as u64;
        if growth == 0 {
            return swap;
        }
        let middle = self.baseline.midpoint(swap);
        swap.saturating_sub(growth).max(middle)
    }

    /// The size at which to wake the supervisor.
    pub(crate) fn wake_at(&self, thresholds: Thresholds) -> u64 {
        if self.standby_ready {
            self.swap_at(thresholds).0
        } else {
            self.prepare_at(thresholds).0
        }
    }

    /// How long it takes until the standby can be swapped in.
    pub(crate) fn time_to_swap(&self) -> Duration {
        if self.standby_ready {
            Duration::ZERO
        } else {
            self.prepare_time
        }
    }

    /// The size from which on a call would better wait for a swap that is near: the memory cannot
    /// grow once more as it did, and the swap is due.
    pub(crate) fn hold_from(&self, thresholds: Thresholds) -> u64 {
        let growth = self.headroom.max(engine_api::PAGE_BYTES);
        let last = self.limit.saturating_sub(growth).saturating_add(1);
        last.max(self.swap_at(thresholds).0)
    }

    pub(crate) fn decide(&self, thresholds: Thresholds) -> Decision {
        let (swap_at, swap_reason) = self.swap_at(thresholds);
        if self.standby_ready {
            return if self.used >= swap_at {
                Decision::Swap(swap_reason)
            } else {
                Decision::Nothing
            };
        }
        let (prepare_at, prepare_reason) = self.prepare_at(thresholds);
        if self.used >= prepare_at {
            Decision::Prepare(prepare_reason)
        } else {
            Decision::Nothing
        }
    }
}

/// An exponentially weighted moving average of growth, over samples at uneven times.
#[derive(Debug, Default)]
pub(crate) struct GrowthRate {
    last: Option<(Instant, u64)>,
    /// The sum of the weighted samples, and of their weights. The latter reaches 1 only after a
    /// while: an average that took it for 1 from the start would report no growth for many seconds.
    weighted: f64,
    weights: f64,
}

/// The time after which a sample weighs a third.
const GROWTH_MEMORY: Duration = Duration::from_secs(10);

impl GrowthRate {
    pub(crate) fn sample(&mut self, now: Instant, bytes: u64) -> f64 {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_duration_since(then).as_secs_f64();
            if seconds < 1e-3 {
                return self.bytes_per_second();
            }
            #[expect(
                clippy::cast_precision_loss,
                reason = "sizes of memories are exact in an f64"
            )]
            let rate = bytes.saturating_sub(before) as f64 / seconds;
            let weight = 1.0 - (-seconds / GROWTH_MEMORY.as_secs_f64()).exp();
            self.weighted += weight * (rate - self.weighted);
            self.weights += weight * (1.0 - self.weights);
        }
        self.last = Some((now, bytes));
        self.bytes_per_second()
    }

    /// After a swap: the size jumps, the rate stays.
    pub(crate) fn rebase(&mut self) {
        self.last = None;
    }

    pub(crate) fn bytes_per_second(&self) -> f64 {
        if self.weights > 0.0 {
            self.weighted / self.weights
        } else {
            0.0
        }
    }
}

/// The largest growth of a single call among the last 64 to 128 that grew.
#[derive(Debug, Default)]
pub(crate) struct LargestGrowth {
    current: AtomicU64,
    previous: AtomicU64,
    count: AtomicU32,
}

const GROWTHS_PER_WINDOW: u32 = 64;

impl LargestGrowth {
    /// Called only when a call grew the memory, so its cost does not matter.
    pub(crate) fn note(&self, bytes: u64) {
        self.current.fetch_max(bytes, Ordering::Relaxed);
        if self.count.fetch_add(1, Ordering::Relaxed) + 1 >= GROWTHS_PER_WINDOW {
            self.count.store(0, Ordering::Relaxed);
            self.previous
                .store(self.current.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    pub(crate) fn forget(&self) {
        self.current.store(0, Ordering::Relaxed);
        self.previous.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.current
            .load(Ordering::Relaxed)
            .max(self.previous.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u64 = 100 << 20;

    fn at(percent: u64) -> Situation {
        Situation {
            used: LIMIT / 100 * percent,
            limit: LIMIT,
            baseline: LIMIT / 10,
            headroom: 1 << 20,
            growth_rate: 0.0,
            prepare_time: Duration::from_millis(100),
            standby_ready: false,
            warn_step: 0.0,
        }
    }

    fn decide(situation: Situation) -> Decision {
        situation.decide(Thresholds::default())
    }

    #[test]
    fn prepares_at_the_warning_and_swaps_at_the_critical_threshold() {
        assert_eq!(decide(at(69)), Decision::Nothing);
        assert_eq!(decide(at(71)), Decision::Prepare(Reason::Threshold));
        let ready = Situation {
            standby_ready: true,
            ..at(89)
        };
        assert_eq!(decide(ready), Decision::Nothing);
        let ready = Situation {
            standby_ready: true,
            ..at(91)
        };
        assert_eq!(decide(ready), Decision::Swap(Reason::Threshold));
    }

    #[test]
    fn the_largest_growth_is_kept_free() {
        let jumpy = Situation {
            headroom: 30 << 20,
            standby_ready: true,
            ..at(71)
        };
        assert_eq!(decide(jumpy), Decision::Swap(Reason::Headroom));
        let jumpy = Situation {
            standby_ready: false,
            used: LIMIT / 100 * 45,
            ..jumpy
        };
        assert_eq!(decide(jumpy), Decision::Prepare(Reason::Headroom));
    }

    #[test]
    fn a_jump_larger_than_the_memory_does_not_swap_after_every_call() {
        let huge = Situation {
            headroom: 10 << 30,
            standby_ready: true,
            ..at(40)
        };
        assert_eq!(decide(huge), Decision::Nothing);
        let huge = Situation {
            standby_ready: false,
            used: LIMIT / 100 * 20,
            ..huge
        };
        assert_eq!(decide(huge), Decision::Nothing);
    }

    #[test]
    fn a_working_set_is_no_reason_to_swap() {
        let set = |percent, used, headroom| Situation {
            baseline: LIMIT / 100 * percent,
            headroom: LIMIT / 100 * headroom,
            standby_ready: true,
            ..at(used)
        };
        for (situation, expected) in [
            (set(10, 56, 46), Decision::Swap(Reason::Headroom)),
            (set(56, 56, 0), Decision::Nothing),
            (set(56, 81, 20), Decision::Swap(Reason::Headroom)),
            (set(56, 91, 2), Decision::Swap(Reason::Threshold)),
            (set(94, 94, 0), Decision::Nothing),
            (set(94, 97, 0), Decision::Swap(Reason::Threshold)),
        ] {
            assert_eq!(decide(situation), expected, "{situation:?}");
        }
    }

    #[test]
    fn a_baseline_above_the_warning_is_no_reason_to_prepare_at_once() {
        let above = |used| Situation {
            baseline: LIMIT / 100 * 76,
            ..at(used)
        };
        assert_eq!(decide(above(76)), Decision::Nothing);
        assert_eq!(decide(above(82)), Decision::Nothing);
        assert_eq!(decide(above(84)), Decision::Prepare(Reason::Threshold));
    }

    #[test]
    fn a_swap_is_worthwhile_that_gives_back_a_quarter_of_the_room() {
        assert_eq!(worthwhile(76, 100), Some(82));
        assert_eq!(worthwhile(9_999, 10_000), Some(9_999 + 156));
        assert_eq!(worthwhile(100, 100), None);
        assert_eq!(worthwhile(u64::MAX, 100), None);
    }

    #[test]
    fn fast_growth_prepares_early() {
        let fast = Situation {
            growth_rate: 400.0 * MIB,
            ..at(60)
        };
        assert_eq!(decide(fast), Decision::Prepare(Reason::Prediction));
        assert_eq!(
            decide(Situation {
                used: LIMIT / 5,
                ..fast
            }),
            Decision::Nothing
        );
        let slow = Situation {
            growth_rate: 100.0 * MIB,
            ..fast
        };
        assert_eq!(decide(slow), Decision::Nothing);
        let long = Situation {
            prepare_time: Duration::from_secs(3),
            ..slow
        };
        assert_eq!(decide(long), Decision::Prepare(Reason::Prediction));
    }

    #[test]
    fn failures_move_the_warning_up_to_85_percent() {
        let thresholds = Thresholds::default();
        assert_eq!(thresholds.warn_bytes(1000, 0.05), 750);
        assert_eq!(thresholds.warn_bytes(1000, 0.5), 850);
        assert_eq!(
            Thresholds::new(0.5, 0.6).unwrap().warn_bytes(1000, 0.5),
            600
        );
        let reversed = Thresholds::new(0.9, 0.7);
        assert!(matches!(reversed, Err(Error::Setting { .. })));
    }

    #[test]
    fn the_supervisor_is_woken_where_it_decides() {
        for percent in 1..100 {
            for (standby_ready, growth_rate) in [(false, 0.0), (true, 0.0), (false, 200.0 * MIB)] {
                let situation = Situation {
                    growth_rate,
                    standby_ready,
                    ..at(percent)
                };
                let due = situation.used >= situation.wake_at(Thresholds::default());
                assert_eq!(due, decide(situation) != Decision::Nothing, "{situation:?}");
            }
        }
    }

    #[test]
    fn the_growth_rate_follows_and_survives_a_swap() {
        let mut rate = GrowthRate::default();
        let start = Instant::now();
        for second in 0..60 {
            rate.sample(start + Duration::from_secs(second), second << 20);
            if second > 0 {
                assert!((rate.bytes_per_second() / MIB - 1.0).abs() < 0.01);
            }
        }
        rate.rebase();
        rate.sample(start + Duration::from_mins(1), 0);
        assert!((rate.bytes_per_second() / MIB - 1.0).abs() < 0.01);
    }

    #[test]
    fn every_number_that_a_module_reports_is_some_size() {
        for (reported, bytes) in [
            (0.0, 0),
            (1.5, 3 << 19),
            (f64::MIN_POSITIVE, 0),
            (f64::NAN, 0),
            (-0.0, 0),
            (-1.0, 0),
            (f64::NEG_INFINITY, 0),
            (1e30, u64::MAX),
            (f64::MAX, u64::MAX),
            (f64::INFINITY, u64::MAX),
        ] {
            assert_eq!(bytes_of(reported), bytes, "{reported}");
        }
    }
}
