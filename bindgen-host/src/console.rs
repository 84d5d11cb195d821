//! The console of guests: how much of it reaches the log.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_api::{Imports, Printable, Val};

use crate::system::system_with;

/// How much guests may print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsoleLimits {
    /// Lines in a second. The default is 100.
    pub lines_per_second: u32,
    /// Lines at once, after a time without. The default is 1,000.
    pub lines_burst: u32,
    /// Bytes of a line before it is escaped; the rest of a longer one is left out. The default is
    /// 4 KiB.
    pub line_bytes_max: usize,
}

impl Default for ConsoleLimits {
    fn default() -> Self {
        Self {
            lines_per_second: 100,
            lines_burst: 1_000,
            line_bytes_max: 4 << 10,
        }
    }
}

/// Where the lines of guests go: to events of `tracing` with the target `guest`, escaped as
/// [`Printable`] does, and no more of them than the limits say. Clones are the same console, and all
/// guests that have its imports share its limits.
///
/// A guest's replay does not depend on it: a line that was dropped was printed, as far as the guest
/// and the journal know.
#[derive(Clone, Debug)]
pub struct Console(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: ConsoleLimits,
    allowance: Mutex<Allowance>,
    dropped: AtomicU64,
}

/// The lines that may be printed now.
#[derive(Debug)]
struct Allowance {
    lines: u32,
    since: Instant,
    /// Lines dropped since one was last printed.
    dropped: u64,
}

impl Default for Console {
    fn default() -> Self {
        Self::new(ConsoleLimits::default())
    }
}

impl Console {
    /// A console with these limits.
    #[must_use]
    pub fn new(limits: ConsoleLimits) -> Self {
        Self(Arc::new(Shared {
            limits,
            allowance: Mutex::new(Allowance {
                lines: limits.lines_burst,
                since: Instant::now(),
                dropped: 0,
            }),
            dropped: AtomicU64::new(0),
        }))
    }

    /// The imports of [`system`](crate::system), with this console.
    #[must_use]
    pub fn imports(&self) -> Imports {
        system_with(self)
    }

    /// The lines that were dropped so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Prints a line, or counts it.
    pub(crate) fn print(&self, level: &Val, line: &str) {
        let Some(dropped) = self.take(Instant::now()) else {
            return;
        };
        if dropped > 0 {
            tracing::warn!(target: "guest", "{dropped} lines of guests were dropped");
        }
        let (shown, left_out) = cut(line, self.0.limits.line_bytes_max);
        let shown = Printable(shown);
        let more = match left_out {
            0 => String::new(),
            bytes => format!(" [{bytes} more bytes]"),
        };
        match level {
            Val::I32(0) => tracing::error!(target: "guest", "{shown}{more}"),
            Val::I32(1) => tracing::warn!(target: "guest", "{shown}{more}"),
            Val::I32(2) => tracing::info!(target: "guest", "{shown}{more}"),
            Val::I32(3) => tracing::debug!(target: "guest", "{shown}{more}"),
            _ => tracing::trace!(target: "guest", "{shown}{more}"),
        }
    }

    /// Takes a line from the allowance: how many were dropped before it, or `None` if it is dropped.
    fn take(&self, now: Instant) -> Option<u64> {
        let limits = self.0.limits;
        let mut allowance = self
            .0
            .allowance
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        allowance.refill(limits, now);
        if allowance.lines == 0 {
            allowance.dropped += 1;
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        allowance.lines -= 1;
        Some(std::mem::take(&mut allowance.dropped))
    }
}

impl Allowance {
    fn refill(&mut self, limits: ConsoleLimits, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let earned = passed.as_millis() * u128::from(limits.lines_per_second) / 1_000;
        if earned == 0 {
            return;
        }
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.lines = self.lines.saturating_add(earned).min(limits.lines_burst);
        // What is left of the time is worth less than a line, and is kept.
        let used = Duration::from_secs(earned.into()) / limits.lines_per_second;
        self.since = self.since.checked_add(used).unwrap_or(now).min(now);
    }
}

/// The beginning of a line, at a character's boundary, and how many bytes are left out.
fn cut(line: &str, bytes_max: usize) -> (&str, usize) {
    let end = line.floor_char_boundary(bytes_max);
    (&line[..end], line.len() - end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_rate_are_dropped_and_counted() {
        let console = Console::new(ConsoleLimits {
            lines_per_second: 10,
            lines_burst: 3,
            ..ConsoleLimits::default()
        });
        let start = Instant::now();
        let taken: Vec<_> = (0..5).map(|_| console.take(start)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!(console.dropped(), 2);
        let later = start + Duration::from_millis(150);
        assert_eq!(console.take(later), Some(2), "the next line tells of them");
        assert_eq!(console.take(later), None);
        let much_later = start + Duration::from_hours(1);
        let taken = (0..5).filter(|_| console.take(much_later).is_some());
        assert_eq!(taken.count(), 3, "time without lines earns the burst alone");
    }

    #[test]
    fn a_rate_of_no_lines_ends_with_the_burst() {
        let console = Console::new(ConsoleLimits {
            lines_per_second: 0,
            lines_burst: 1,
            ..ConsoleLimits::default()
        });
        let start = Instant::now();
        assert_eq!(console.take(start), Some(0));
        assert_eq!(console.take(start + Duration::from_hours(1)), None);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("short", 5), ("short", 0));
        assert_eq!(cut("größer", 3), ("gr", 6));
    }
}
