//! The reaction to standbys that fail: wait longer each time, start later, and pause for some time.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::Error;

/// How patient the proxy is with standbys that fail.
///
/// ```
/// use std::time::Duration;
/// use proxy_core::Patience;
///
/// let eager = Patience { retry_after: Duration::from_millis(100), ..Patience::default() };
/// assert_eq!(eager.failures_max, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// The pause after the first failure; it doubles with each further one.
    pub retry_after: Duration,
    /// The longest pause.
    pub retry_after_max: Duration,
    /// After this many failures in a row the breaker opens: the pause is the longest one at once.
    pub failures_max: u32,
    /// The share that each failure adds to the warning threshold, which stays at or below 0.85.
    pub warn_step: f64,
    /// How long no swap is tried after the live state alone turned out to exceed the budget.
    pub budget_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            retry_after: Duration::from_secs(1),
            retry_after_max: Duration::from_mins(1),
            failures_max: 3,
            warn_step: 0.05,
            budget_pause: Duration::from_mins(1),
        }
    }
}

/// Failures so far, and until when to wait.
#[derive(Debug)]
pub(crate) struct Degradation {
    patience: Patience,
    failures: u32,
    retry_at: Option<Instant>,
    budget_exceeded: Option<BudgetExceeded>,
    jitter: RandomState,
}

#[derive(Clone, Debug)]
struct BudgetExceeded {
    state_mib: f64,
    threshold_mib: f64,
    /// Live objects by type.
    objects: Vec<(String, usize)>,
    until: Instant,
    /// When a swap is worthwhile nevertheless.
    worthwhile: Option<Worthwhile>,
}

/// A state that is above the warning threshold, and what has to come on top of it for a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worthwhile {
    /// The size of the active generation from which on a swap is worthwhile, in bytes.
    pub(crate) size: u64,
    /// Its size when the state was found too large.
    pub(crate) used: u64,
    /// What it had grown by in pure calls. Only such growth is not replayed: what journaled calls
    /// take is state, until objects are freed.
    pub(crate) pure_growth: u64,
}

impl Worthwhile {
    /// By how many bytes the active generation has yet to grow in pure calls, if it has this size and
    /// has grown by so much in them.
    fn missing(self, bytes: u64, pure_growth: u64) -> u64 {
        let grown = pure_growth.saturating_sub(self.pure_growth);
        let counted = bytes.min(self.used.saturating_add(grown));
        self.size.saturating_sub(counted)
    }
}

impl Degradation {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience,
            failures: 0,
            retry_at: None,
            budget_exceeded: None,
            jitter: RandomState::new(),
        }
    }

    /// Whether a preparation may be tried.
    pub(crate) fn permit(&self, now: Instant) -> Result<(), Error> {
        if let Some(exceeded) = &self.budget_exceeded
            && now < exceeded.until
        {
            return Err(Error::StateExceedsBudget {
                state_mib: exceeded.state_mib,
                threshold_mib: exceeded.threshold_mib,
                objects: exceeded.objects.clone(),
            });
        }
        match self.retry_at {
            Some(at) if now < at => Err(Error::BackingOff {
                failures: self.failures,
                retry_in: at - now,
            }),
            _ => Ok(()),
        }
    }

    /// A preparation failed. Returns the pause until the next attempt.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = if self.is_open() {
            self.patience.retry_after_max
        } else {
            let doubled = self
                .patience
                .retry_after
                .saturating_mul(1 << (self.failures - 1).min(20));
            doubled.min(self.patience.retry_after_max)
        };
        // Between half and all of it, so many proxies do not retry in step.
        let random = self.jitter.hash_one(self.failures) % 1000;
        #[expect(clippy::cast_precision_loss, reason = "the number is below 1000")]
        let pause = pause.mul_f64(0.5 + random as f64 / 2000.0);
        self.retry_at = Some(now + pause);
        pause
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.budget_exceeded = None;
    }

    /// The live state alone is too large. Trying again would only burn time.
    pub(crate) fn budget_exceeded(
        &mut self,
        now: Instant,
        (state_mib, threshold_mib, objects): (f64, f64, Vec<(String, usize)>),
        worthwhile: Option<Worthwhile>,
    ) {
        let until = now + self.patience.budget_pause;
        self.budget_exceeded = Some(BudgetExceeded {
            state_mib,
            threshold_mib,
            objects,
            until,
            worthwhile,
        });
    }

    /// Objects were freed: the state may fit again.
    pub(crate) fn state_shrank(&mut self) {
        self.budget_exceeded = None;
    }

    /// The active generation has this size, and has grown by so much in pure calls: much of it may
    /// not be state.
    pub(crate) fn memory_grew(&mut self, bytes: u64, pure_growth: u64) {
        let is_reached = |worthwhile: Worthwhile| worthwhile.missing(bytes, pure_growth) == 0;
        self.budget_exceeded
            .take_if(|exceeded| exceeded.worthwhile.is_some_and(is_reached));
    }

    /// The size of the active generation at which the pause ends early, in bytes, if one does and it
    /// grows in pure calls alone from here on. Growth does not end the pause after a failure.
    pub(crate) fn ends_at(&self, now: Instant, bytes: u64, pure_growth: u64) -> Option<u64> {
        if self.retry_at.is_some_and(|at| now < at) {
            return None;
        }
        let worthwhile = self.budget_exceeded.as_ref()?.worthwhile?;
        bytes.checked_add(worthwhile.missing(bytes, pure_growth))
    }

    pub(crate) fn exceeds_budget(&self) -> bool {
        self.budget_exceeded.is_some()
    }

    /// Too many failures in a row.
    pub(crate) fn is_open(&self) -> bool {
        self.failures >= self.patience.failures_max
    }

    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The share to add to the warning threshold.
    pub(crate) fn warn_step(&self) -> f64 {
        f64::from(self.failures) * self.patience.warn_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_with_jitter_until_the_breaker_opens() {
        let mut degradation = Degradation::new(Patience::default());
        let now = Instant::now();
        assert!(degradation.permit(now).is_ok());
        let first = degradation.failed(now);
        let second = degradation.failed(now);
        assert!((0.5..=1.0).contains(&first.as_secs_f64()), "{first:?}");
        assert!((1.0..=2.0).contains(&second.as_secs_f64()), "{second:?}");
        assert!(!degradation.is_open());
        let third = degradation.failed(now);
        assert!((30.0..=60.0).contains(&third.as_secs_f64()), "{third:?}");
        assert!(degradation.is_open());
        assert!(matches!(
            degradation.permit(now),
            Err(Error::BackingOff { failures: 3, .. })
        ));
        assert!(degradation.permit(now + third).is_ok());
        degradation.succeeded();
        assert!(degradation.permit(now).is_ok());
        assert!(degradation.warn_step() < f64::EPSILON);
    }

    /// A generation of 50 bytes, and a swap that is worthwhile from 60 bytes on.
    const WORTHWHILE: Option<Worthwhile> = Some(Worthwhile {
        size: 60,
        used: 50,
        pure_growth: 5,
    });

    #[test]
    fn a_state_that_is_too_large_is_not_swapped_in_circles() {
        let mut degradation = Degradation::new(Patience::default());
        let now = Instant::now();
        let exceeded = (50.0, 44.8, vec![("store".to_owned(), 3)]);
        degradation.budget_exceeded(now, exceeded, WORTHWHILE);
        assert!(matches!(
            degradation.permit(now),
            Err(Error::StateExceedsBudget { .. })
        ));
        assert!(degradation.permit(now + Duration::from_secs(61)).is_ok());
        degradation.memory_grew(59, 14);
        assert!(degradation.permit(now).is_err());
        degradation.memory_grew(60, 15);
        assert!(degradation.permit(now).is_ok());
        degradation.budget_exceeded(now, (50.0, 44.8, vec![]), WORTHWHILE);
        degradation.state_shrank();
        assert!(degradation.permit(now).is_ok());
    }

    #[test]
    fn growth_that_is_replayed_ends_no_pause() {
        let mut degradation = Degradation::new(Patience::default());
        let now = Instant::now();
        degradation.budget_exceeded(now, (50.0, 44.8, vec![]), WORTHWHILE);
        degradation.memory_grew(64, 5);
        assert!(degradation.permit(now).is_err());
        degradation.memory_grew(64, 14);
        assert!(degradation.permit(now).is_err());
        degradation.memory_grew(64, 15);
        assert!(degradation.permit(now).is_ok());
    }

    #[test]
    fn the_size_at_which_a_pause_ends_is_no_size_that_it_outlasts() {
        let mut degradation = Degradation::new(Patience::default());
        let now = Instant::now();
        assert_eq!(degradation.ends_at(now, 50, 5), None);
        degradation.budget_exceeded(now, (50.0, 44.8, vec![]), WORTHWHILE);
        for (bytes, pure_growth, end) in [(50, 5, 60), (55, 10, 60), (64, 5, 74), (64, 12, 67)] {
            assert_eq!(degradation.ends_at(now, bytes, pure_growth), Some(end));
            degradation.memory_grew(end - 1, pure_growth + end - 1 - bytes);
            assert!(degradation.permit(now).is_err(), "{bytes} {pure_growth}");
        }
        assert_eq!(degradation.ends_at(now, 64, 15), Some(64));
        let pause = degradation.failed(now);
        assert_eq!(degradation.ends_at(now, 64, 15), None);
        assert_eq!(degradation.ends_at(now + pause, 64, 15), Some(64));
    }
}
