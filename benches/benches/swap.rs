//! How long a standby takes to prepare, and how long a swap holds back journaled calls, against the
//! size of the state and the length of the journal, on every engine.
//!
//! Both happen on the thread that asks for them, so it is that thread's time that is measured; the pause is on
//! the wall, as the swap itself reports it.

use std::cell::LazyCell;
use std::time::Duration;

use benches::OnThread;
use benches::engines::{self, Column};
use benches::guests::Guest;
use benches::results::{PAUSE, PREPARE, SWAP, state};
use cpu_time::ThreadTime;
use criterion::{BenchmarkId, Criterion, SamplingMode};
use proxy_core::{Proxy, args};

const SERVED: &str = "the guest's functions do not fail";

fn main() {
    let mut criterion = benches::criterion().with_measurement(OnThread);
    for column in engines::all() {
        for (row, mib) in state::SIZES {
            measure(&mut criterion, column, row, |proxy| {
                proxy.call("fill_mib", args![mib]).expect(SERVED);
            });
        }
        for (row, entries) in state::LENGTHS {
            measure(&mut criterion, column, row, |proxy| {
                let count = proxy.typed::<(), i32>("count").expect(SERVED);
                for _ in 0..entries {
                    count.call(()).expect(SERVED);
                }
            });
        }
    }
    criterion.final_summary();
}

/// One preparation and one swap per iteration, of which each group counts its part.
fn measure(criterion: &mut Criterion<OnThread>, column: Column, row: &str, fill: impl Fn(&Proxy)) {
    let proxy = LazyCell::new(|| {
        let proxy = column.proxy(&Guest::state());
        fill(&proxy);
        proxy
    });
    for (name, part) in [
        (PREPARE, Times::prepare as fn(Times) -> Duration),
        (PAUSE, Times::pause),
        (SWAP, Times::swap),
    ] {
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat).sample_size(10);
        group.bench_function(BenchmarkId::new(row, column.name), |bencher| {
            bencher.iter_custom(|iters| (0..iters).map(|_| part(Times::of(&proxy))).sum());
        });
        group.finish();
    }
}

struct Times {
    prepare: Duration,
    pause: Duration,
    swap: Duration,
}

impl Times {
    fn of(proxy: &Proxy) -> Self {
        let started = ThreadTime::now();
        proxy.prepare_standby().expect("the replay is the same");
        let prepare = started.elapsed();
        let started = ThreadTime::now();
        let swapped = proxy.swap().expect("there is a standby");
        Self {
            prepare,
            pause: swapped.pause,
            swap: started.elapsed(),
        }
    }

    /// The standby: instance, replay, comparison.
    fn prepare(self) -> Duration {
        self.prepare
    }

    /// What callers of journaled exports can notice.
    fn pause(self) -> Duration {
        self.pause
    }

    /// The swap as who asks for it sees it: the old generation's memory is given back in it.
    fn swap(self) -> Duration {
        self.swap
    }
}
