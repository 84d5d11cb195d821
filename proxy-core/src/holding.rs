//! Where calls wait, for a bounded time and with nothing in hand, for a swap that is near: a call
//! near the memory limit would run into it.

use std::time::Duration;

use crate::locking::lock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex, PoisonError};

/// The size at which calls wait for the swap, and where they wait.
#[derive(Debug)]
pub(crate) struct Holding {
    /// How long a call waits at most. Zero for not at all.
    bound: Duration,
    /// `u64::MAX` while no swap is near.
    from: AtomicU64,
    /// How often calls were released.
    releases: Mutex<u64>,
    changed: Condvar,
}

impl Holding {
    pub(crate) fn new(bound: Duration) -> Self {
        Self {
            bound,
            from: AtomicU64::new(u64::MAX),
            releases: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    /// How long a call waits at most.
    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Whether a call should wait, if the memories have this size. One load and one compare.
    #[inline]
    pub(crate) fn is_reached(&self, bytes: u64) -> bool {
        bytes >= self.from.load(Ordering::Relaxed)
    }

    /// A swap is near: from this size on, calls wait for it. If the preparation is `expected` to take
    /// much longer than calls may wait, it is not near, and they would only lose the time. Some of
    /// that is over when a call reaches the size.
    pub(crate) fn hold_from(&self, bytes: u64, expected: Duration) {
        if self.is_far(expected) {
            self.release();
        } else if self.from.swap(bytes, Ordering::Relaxed) < bytes {
            // Some that wait need not any more.
            self.look_again();
        }
    }

    /// Whether a preparation that is `expected` to take so long takes much longer than calls may
    /// wait.
    pub(crate) fn is_far(&self, expected: Duration) -> bool {
        self.bound.is_zero() || expected / 2 > self.bound
    }

    /// No swap is near any more: lets the calls go on that wait because of the size.
    pub(crate) fn release(&self) {
        if self.from.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            self.look_again();
        }
    }

    /// A swap took place: lets the calls that wait look at the generation that serves now.
    pub(crate) fn look_again(&self) {
        *lock(&self.releases) += 1;
        self.changed.notify_all();
    }

    /// How long a call that began to wait at `since` may still do so.
    pub(crate) fn left(&self, since: Instant) -> Option<Duration> {
        let left = self.bound.saturating_sub(since.elapsed());
        (!left.is_zero()).then_some(left)
    }

    /// How often calls were released so far. A call asks before it looks whether to wait.
    pub(crate) fn releases(&self) -> u64 {
        *lock(&self.releases)
    }

    /// Waits until it makes sense to look again: calls have been released more often than `seen`
    /// times. The next swap may be near at once, so it is not the size that counts. Returns `false`
    /// if that takes longer than `left`: the swap is not as near as it seemed, and the others should
    /// go on too.
    pub(crate) fn wait(&self, seen: u64, left: Duration) -> bool {
        let releases = lock(&self.releases);
        let (guard, timeout) = self
            .changed
            .wait_timeout_while(releases, left, |releases| *releases == seen)
            .unwrap_or_else(PoisonError::into_inner);
        drop(guard);
        !timeout.timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_held_from_a_size_on_until_they_are_released() {
        let holding = Holding::new(Duration::from_hours(1));
        assert!(!holding.is_reached(u64::MAX - 1));
        holding.hold_from(100, Duration::ZERO);
        assert!(!holding.is_reached(99));
        assert!(holding.is_reached(100));
        std::thread::scope(|scope| {
            let seen = holding.releases();
            let holding = &holding;
            let waiting = scope.spawn(move || holding.wait(seen, Duration::from_hours(1)));
            holding.release();
            assert!(waiting.join().unwrap());
        });
        assert!(!holding.is_reached(100));
    }

    #[test]
    fn calls_that_no_longer_reach_the_size_look_again() {
        let holding = Holding::new(Duration::from_hours(1));
        holding.hold_from(100, Duration::ZERO);
        let seen = holding.releases();
        holding.hold_from(90, Duration::ZERO);
        assert_eq!(holding.releases(), seen);
        holding.hold_from(200, Duration::ZERO);
        assert!(holding.wait(seen, Duration::from_hours(1)));
        assert!(!holding.is_reached(199));
    }

    #[test]
    fn a_swap_between_the_look_and_the_wait_is_not_missed() {
        let holding = Holding::new(Duration::from_hours(1));
        holding.hold_from(100, Duration::ZERO);
        let seen = holding.releases();
        holding.look_again();
        assert!(holding.is_reached(100));
        assert!(holding.wait(seen, Duration::from_hours(1)));
    }

    #[test]
    fn a_call_waits_no_longer_than_the_bound() {
        let holding = Holding::new(Duration::from_millis(1));
        holding.hold_from(100, Duration::ZERO);
        assert!(!holding.wait(holding.releases(), Duration::from_millis(1)));
    }

    #[test]
    fn a_swap_that_is_expected_much_later_than_the_bound_holds_nobody() {
        let holding = Holding::new(Duration::from_secs(1));
        holding.hold_from(100, Duration::from_secs(2));
        assert!(holding.is_reached(100));
        holding.hold_from(100, Duration::from_secs(3));
        assert!(!holding.is_reached(100));
    }

    #[test]
    fn a_bound_of_zero_holds_nobody() {
        let holding = Holding::new(Duration::ZERO);
        holding.hold_from(100, Duration::ZERO);
        assert!(!holding.is_reached(100));
    }
}
