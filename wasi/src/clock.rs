//! The monotonic clock. In a new process it goes on from the last time that a journal has, so that
//! the guest never sees it go back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cap_std::time::Instant;
use wasi_common::WasiMonotonicClock;
use wasi_common::sync::clocks::MonotonicClock;

/// How far clocks are ahead of this process's own, in nanoseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ahead(Arc<AtomicU64>);

impl Ahead {
    /// A guest was told this time by an earlier process, whose clock began at zero as this one's.
    pub(crate) fn seen(&self, nanoseconds: u64) {
        // A journal may say anything: a time that no process lives to see is none.
        if i64::try_from(nanoseconds).is_ok() {
            self.0.fetch_max(nanoseconds, Ordering::Relaxed);
        }
    }

    fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// The system's clock, and how far it is ahead.
pub(crate) struct Continued {
    pub(crate) clock: MonotonicClock,
    pub(crate) ahead: Ahead,
}

impl WasiMonotonicClock for Continued {
    fn resolution(&self) -> Duration {
        self.clock.resolution()
    }

    fn now(&self, precision: Duration) -> Instant {
        let now = self.clock.now(precision);
        now.checked_add(self.ahead.get()).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use wasi_common::sync::ambient_authority;

    use super::*;

    #[test]
    fn the_clock_goes_on_from_the_latest_time_that_was_seen() {
        let ahead = Ahead::default();
        let clock = Continued {
            clock: MonotonicClock::new(ambient_authority()),
            ahead: ahead.clone(),
        };
        let begun = clock.now(clock.resolution());
        for seen in [5_000_000_000, 3_000_000_000, u64::MAX] {
            ahead.seen(seen);
        }
        assert_eq!(ahead.get(), Duration::from_secs(5));
        let gone = clock.now(clock.resolution()).duration_since(begun);
        assert!(gone >= Duration::from_secs(5));
    }
}
