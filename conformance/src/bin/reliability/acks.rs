//! What an acknowledgement costs, beside what the disk takes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY};
use conformance::expect::binary;
use conformance::process::processor_time;
use hdrhistogram::Histogram;
use proxy_core::{Proxy, args};

use crate::Scale;
use crate::child::Past;
use crate::oracle::{arg, id};
use crate::report::Measured;

const CALLERS: usize = 128;

const CALL_MAX: Duration = Duration::from_micros(5);

/// Makes so many calls for each caller, and says how long that took.
type Way = fn(&Proxy, u64) -> Duration;

/// The ways to have that many callers.
const WAYS: [(&str, Way); 2] = [
    ("callers on threads", on_threads),
    ("callers in flight of one thread", in_flight),
];

/// The amortised cost of a durable call, with 128 callers at once: each a thread that is put to sleep
/// for its call, or all of them calls in flight of one thread.
pub(crate) fn cost(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let flushes = flushes(scale.of(200, 2000));
    let at = |quantile| Duration::from_micros(flushes.value_at_quantile(quantile));
    measured.figure(format!(
        "fdatasync after 4 KiB, {} times: p10 {:.0?}, median {:.0?}, p90 {:.0?}, p99 {:.0?}, longest {:.0?}",
        flushes.len(),
        at(0.1),
        at(0.5),
        at(0.9),
        at(0.99),
        at(1.0),
    ));
    let allowed = (at(0.5) / 50).max(CALL_MAX);
    let calls = scale.of(100_u64, 1000);
    for engine in &scale.engines {
        for (what, way) in WAYS {
            let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
            let proxy = folder.begin(Past::Full.chain(engine));
            let before = processor_time().unwrap();
            let took = way(&proxy, calls);
            let all = calls * CALLERS as u64;
            assert_eq!(proxy.debug_info().journal_last.0, all);
            let calls_made = u32::try_from(all).unwrap();
            let worked = processor_time().unwrap().saturating_sub(before) / calls_made;
            let each = took / calls_made;
            measured.must(
                each <= allowed,
                format!(
                    "{}: {all} durable calls of {CALLERS} {what}: {each:.1?} each ({worked:.1?} of \
                     a processor), {allowed:.1?} asked",
                    engine.name()
                ),
            );
        }
    }
    measured
}

/// Each caller on a thread of its own, which waits for each of its calls.
fn on_threads(proxy: &Proxy, calls: u64) -> Duration {
    let barrier = Barrier::new(CALLERS + 1);
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                for number in 0..calls {
                    proxy
                        .call("step", args![id(caller, number), arg(caller, number)])
                        .unwrap();
                }
                barrier.wait();
            });
        }
        barrier.wait();
        let begun = Instant::now();
        barrier.wait();
        begun.elapsed()
    })
}

/// All callers' calls submitted by one thread. Each caller makes its next call when the one before is
/// acknowledged.
fn in_flight(proxy: &Proxy, calls: u64) -> Duration {
    let submit = |caller, number| {
        let call = proxy.submit("step", args![id(caller, number), arg(caller, number)]);
        call.unwrap()
    };
    let begun = Instant::now();
    let mut flying: VecDeque<_> = (0..CALLERS).map(|caller| submit(caller, 0)).collect();
    for number in 1..calls {
        for caller in 0..CALLERS {
            flying.pop_front().unwrap().wait().unwrap();
            flying.push_back(submit(caller, number));
        }
    }
    for call in flying {
        call.wait().unwrap();
    }
    begun.elapsed()
}

/// How long the disk takes, in microseconds, where journals are.
fn flushes(times: u32) -> Histogram<u64> {
    let folder = tempfile::tempdir().unwrap();
    let mut file = File::create(folder.path().join("flushed")).unwrap();
    let mut histogram = Histogram::new(3).unwrap();
    for _ in 0..times {
        file.write_all(&[7; 4096]).unwrap();
        let begun = Instant::now();
        file.sync_data().unwrap();
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap();
        histogram.record(took).unwrap();
    }
    histogram
}
