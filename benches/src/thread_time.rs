//! Criterion's clock for calls.

use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// The time that the processor spends on the thread, the kernel's part for it included.
///
/// A call waits for nothing, so on an idle machine this is the time on the wall; on one with other
/// work it is what the call costs, and not how often the thread was put aside.
#[derive(Clone, Copy, Debug)]
pub struct OnThread;

impl Measurement for OnThread {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }

    fn end(&self, started: ThreadTime) -> Duration {
        started.elapsed()
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}
