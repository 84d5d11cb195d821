//! Criterion's clock for calls.

use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};

/// The time that the processor spends on the thread, including the kernel's part for it.
///
/// A call waits for nothing, so on an idle machine this is the time on the wall. On a busy machine
/// it is still the cost of the call, however often the thread was put aside.
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
