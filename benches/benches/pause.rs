//! The effect of a swap on pure calls, on every engine.
//!
//! *Latency*: one thread calls the prover's `index_digest` in a tight loop and times every call,
//! while another prepares and swaps. Calls that overlap a swap, and the first one after it, are
//! kept apart from the others, and from those of a run without swaps. On a busy machine the
//! scheduler puts threads aside for milliseconds, and a swap often happens just because the caller
//! was put aside. So a call with an involuntary context switch says nothing about the proxy, and
//! goes into a histogram of its own. A call that waits for a lock switches voluntarily, and stays.
//!
//! *In flight*: a pure call that takes two seconds is on the old generation while a standby is
//! prepared and swapped in.
//!
//! Criterion is for averages, and this bench is about the worst of many calls. It has a form of its
//! own, and takes criterion's `--test` and a filter over the engines' names.

use std::env;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use benches::engines::{self, Column};
use benches::guests::GuestModule;
use benches::results::{latency_folder, put_aside, show_ns, write_json};
use hdrhistogram::Histogram;
use proxy_core::{Error, Handle, Proxy, args};
use serde_json::json;

/// Parameters for 2^4 rows, and a circuit of 8 rounds: a preparation takes tens of milliseconds.
const SRS_K: i32 = 4;
const CIRCUIT: i32 = 0;

/// How long calls are timed without a swap.
const QUIET: Duration = Duration::from_secs(1);

/// How long the call in flight takes.
const IN_FLIGHT: Duration = Duration::from_secs(2);

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    // Only `cargo bench` passes `--bench`. For `cargo test --benches` a short run is enough.
    let is_bench = arguments.iter().any(|argument| argument == "--bench")
        && !arguments.iter().any(|argument| argument == "--test");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let swaps = if is_bench { 100 } else { 3 };
    for column in engines::all() {
        if filter.is_some_and(|filter| !format!("pause/{}", column.name).contains(filter)) {
            continue;
        }
        let latency = Latency::measure(column, swaps)?;
        let in_flight = InFlight::measure(column, swaps)?;
        println!("pause/{}", column.name);
        latency.print(swaps);
        in_flight.print();
        if is_bench {
            keep(column, swaps, &latency, &in_flight)?;
        }
    }
    Ok(())
}

fn keep(column: Column, swaps: u32, latency: &Latency, in_flight: &InFlight) -> anyhow::Result<()> {
    let folder = latency_folder();
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let file = folder.join(format!("{}.json", column.name));
    let result = json!({
        "swaps": swaps,
        "quiet": summary(&latency.quiet.took),
        "preparing": summary(&latency.preparing.took),
        "swapping": summary(&latency.swapping.took),
        "quiet_put_aside": summary(&latency.quiet.put_aside),
        "preparing_put_aside": summary(&latency.preparing.put_aside),
        "swapping_put_aside": summary(&latency.swapping.put_aside),
        "pause": summary(&latency.pauses),
        "in_flight_ns": nanoseconds(in_flight.call),
        "swap_during_ns": nanoseconds(in_flight.swap),
        "pause_during_ns": nanoseconds(in_flight.pause),
        "next_call_ns": nanoseconds(in_flight.next_call),
    });
    write_json(&file, &result)
}

/// The times of pure calls.
struct Latency {
    /// Without a second generation.
    quiet: Calls,
    /// While a standby was being prepared.
    preparing: Calls,
    /// While a swap took place, and right after it.
    swapping: Calls,
    /// The pauses that the swaps themselves report, in nanoseconds.
    pauses: Histogram<u64>,
}

impl Latency {
    fn measure(column: Column, swaps: u32) -> anyhow::Result<Self> {
        let proxy = column.proxy(&GuestModule::prover());
        let srs = proxy.call("srs_create", args![SRS_K])?.handle()?;
        let index = proxy.call("index_create", args![srs, CIRCUIT])?.handle()?;
        let [quiet, _] = observe(&proxy, index, |_| {
            thread::sleep(QUIET);
            Ok(())
        })?;
        let mut pauses = histogram();
        let [preparing, swapping] = observe(&proxy, index, |swapping| {
            for _ in 0..swaps {
                prepare(&proxy)?;
                swapping.fetch_add(1, Ordering::SeqCst);
                let swapped = proxy.swap();
                swapping.fetch_add(1, Ordering::SeqCst);
                pauses.saturating_record(nanoseconds(swapped?.pause));
            }
            Ok(())
        })?;
        Ok(Self {
            quiet,
            preparing,
            swapping,
            pauses,
        })
    }

    fn print(&self, swaps: u32) {
        let line = |what: &str, histogram: &Histogram<u64>| {
            println!(
                "    {what:<26} p50 {:>9}  p99 {:>9}  max {:>9}  of {}",
                show(histogram.value_at_quantile(0.5)),
                show(histogram.value_at_quantile(0.99)),
                show(histogram.max()),
                histogram.len(),
            );
        };
        for (what, calls) in [
            ("calls without swaps", &self.quiet),
            ("calls during preparations", &self.preparing),
            ("calls during swaps", &self.swapping),
        ] {
            line(what, &calls.took);
            line("  put aside by the system", &calls.put_aside);
        }
        line("pauses of the swaps", &self.pauses);
        println!("    ({swaps} swaps of the prover)");
    }
}

/// How long calls took, in nanoseconds.
struct Calls {
    took: Histogram<u64>,
    /// Calls that the scheduler interrupted.
    put_aside: Histogram<u64>,
}

impl Calls {
    fn new() -> Self {
        Self {
            took: histogram(),
            put_aside: histogram(),
        }
    }
}

/// Prepares a standby. On a busy machine the caller may have been put aside in a call on the
/// generation before; the preparation waits for that call.
fn prepare(proxy: &Proxy) -> Result<(), Error> {
    loop {
        match proxy.prepare_standby() {
            Err(Error::StillDraining) => thread::sleep(Duration::from_millis(1)),
            prepared => return prepared.map(drop),
        }
    }
}

/// Times calls on a thread of their own while `act` runs. `act` makes the number odd while it
/// swaps. The first result is of calls that met no swap; the second of those that did, or were the
/// first to begin after it.
fn observe(
    proxy: &Proxy,
    index: Handle,
    act: impl FnOnce(&AtomicU64) -> Result<(), Error>,
) -> Result<[Calls; 2], Error> {
    let digest = proxy.typed::<(Handle,), i64>("index_digest")?;
    let (swapping, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let caller = || {
        let (mut others, mut overlapping) = (Calls::new(), Calls::new());
        let expected = digest.call((index,))?;
        let mut preemptions = put_aside();
        // The number when the last call began.
        let mut last = swapping.load(Ordering::SeqCst);
        while !stop.load(Ordering::Relaxed) {
            let before = swapping.load(Ordering::SeqCst);
            let started = Instant::now();
            let got = digest.call((index,))?;
            let took = started.elapsed();
            let after = swapping.load(Ordering::SeqCst);
            assert_eq!(got, expected, "every generation is the same");
            let is_swap = before % 2 == 1 || after != before || last != before;
            last = before;
            let calls = if is_swap {
                &mut overlapping
            } else {
                &mut others
            };
            // A thread that is put aside stays so for longer than this.
            let was_put_aside = took > Duration::from_micros(20) && {
                let preemptions_before = preemptions;
                preemptions = put_aside();
                preemptions > preemptions_before
            };
            let histogram = if was_put_aside {
                &mut calls.put_aside
            } else {
                &mut calls.took
            };
            histogram.saturating_record(nanoseconds(took));
        }
        Ok([others, overlapping])
    };
    thread::scope(|scope| {
        let caller = scope.spawn(caller);
        let acted = act(&swapping);
        stop.store(true, Ordering::Relaxed);
        let calls = caller.join().expect("the caller asserts what must hold");
        acted.and(calls)
    })
}

/// A swap while a long pure call is in flight.
struct InFlight {
    /// How long the call took.
    call: Duration,
    /// How long the swap took, while the call ran.
    swap: Duration,
    /// The part of that time in which it held back journaled calls.
    pause: Duration,
    /// How long the first call after the swap took, while the long one still ran.
    next_call: Duration,
}

impl InFlight {
    fn measure(column: Column, swaps: u32) -> anyhow::Result<Self> {
        let proxy = column.proxy(&GuestModule::state());
        proxy.call("fill_mib", args![16])?;
        let spin = proxy.typed::<(i64,), i64>("spin")?;
        let look = proxy.typed::<(), i32>("look")?;
        // A trial says how many rounds fill the time.
        let trial: i64 = 10_000_000;
        let mut shortest = Duration::MAX;
        for _ in 0..5 {
            let started = Instant::now();
            spin.call((trial,))?;
            shortest = shortest.min(started.elapsed());
        }
        let wanted = if swaps > 3 { IN_FLIGHT } else { IN_FLIGHT / 20 };
        let times = wanted.as_nanos() / shortest.as_nanos().max(1) + 1;
        let rounds = trial * i64::try_from(times)?;
        thread::scope(|scope| {
            let long = scope.spawn(|| {
                let started = Instant::now();
                spin.call((rounds,)).map(|_| started.elapsed())
            });
            thread::sleep(wanted / 10);
            proxy.prepare_standby()?;
            let started = Instant::now();
            let swapped = proxy.swap()?;
            let swap = started.elapsed();
            let started = Instant::now();
            look.call(())?;
            let next_call = started.elapsed();
            anyhow::ensure!(!long.is_finished(), "the call ended before the swap did");
            Ok(Self {
                call: long.join().expect("a call does not panic")?,
                swap,
                pause: swapped.pause,
                next_call,
            })
        })
    }

    fn print(&self) {
        println!(
            "    while a pure call of {} ran, a swap took {} (pause {}), the next call {}",
            show(nanoseconds(self.call)),
            show(nanoseconds(self.swap)),
            show(nanoseconds(self.pause)),
            show(nanoseconds(self.next_call)),
        );
    }
}

/// Up to a minute, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds make sense")
}

fn summary(histogram: &Histogram<u64>) -> serde_json::Value {
    json!({
        "count": histogram.len(),
        "p50_ns": histogram.value_at_quantile(0.5),
        "p99_ns": histogram.value_at_quantile(0.99),
        "max_ns": histogram.max(),
    })
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
fn show(nanoseconds: u64) -> String {
    show_ns(nanoseconds as f64)
}
