//! The parts that the benches share: the engines, the guests, and the results.
//!
//! Every bench measures all engines that are compiled in. A row of the tables is a measurement, a
//! column is an engine. Criterion's names are `group/row/engine`, so one engine is measured by
//! `cargo bench -p wasm-proxy-benches -- wasmtime.winch`.

pub mod engines;
pub mod guests;
pub mod native;
pub mod results;
pub mod swaps;
mod thread_time;

use std::time::Duration;

use cpu_time::ThreadTime;
use criterion::Criterion;

pub use thread_time::OnThread;

/// Criterion with settings under which all benches together take minutes; arguments override them.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(800))
        .sample_size(30)
        .nresamples(10_000)
        .configure_from_args()
}

/// The time of this thread that `iters` calls of `run` take. Each `chunk` of them gets a fresh
/// value, and making and dropping the values is not measured.
///
/// A journaled call makes the journal longer for ever, so its cost is measured on a journal of 0 to
/// `chunk` entries.
pub fn chunked<T>(
    iters: u64,
    chunk: u64,
    fresh: impl Fn() -> T,
    mut run: impl FnMut(&T),
) -> Duration {
    let mut total = Duration::ZERO;
    let mut left = iters;
    while left > 0 {
        let count = left.min(chunk);
        let on = fresh();
        let started = ThreadTime::now();
        for _ in 0..count {
            run(&on);
        }
        total += started.elapsed();
        left -= count;
    }
    total
}
