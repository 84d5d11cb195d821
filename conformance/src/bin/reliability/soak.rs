//! R21: a module that leaks all the time, under load, with a durable journal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY, link};
use conformance::engines::EngineUnderTest;
use conformance::expect::binary;
use conformance::process::Footprint;
use engine_api::Limits;
use journal_redb::RedbJournal;
use proxy_core::{Durability, Proxy, Supervisor, args};

use crate::Scale;
use crate::child::Past;
use crate::memory::{slope, tell, told_by};
use crate::oracle::{Oracle, arg, id};
use crate::report::Measured;

const CLIENTS: usize = 2;

/// A slope that is as good as none, in KiB per second.
const SLOPE_KIB_MAX: f64 = 1.0;

/// R21, each engine in a process of its own, one after the other. They share the time.
pub(crate) fn soak(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let engines = scale.engines.len() as u64;
    let seconds = (scale.soak_seconds / engines).max(2).to_string();
    for engine in &scale.engines {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        let path = folder.path().display().to_string();
        told_by(&mut measured, "soak", &[engine.name(), &path, &seconds]);
    }
    measured
}

/// What the callers have done.
#[derive(Default)]
struct Done {
    ended: AtomicBool,
    leaks: AtomicU64,
    failed: AtomicU64,
}

/// Leaks 1 MiB each second, or thirty times as much where the time is short. 16 MiB are the limit.
pub(crate) fn child(engine: &'static EngineUnderTest, path: &Path, seconds: u64) {
    let mut measured = Measured::default();
    let leak_every = if seconds < 60 { 2 } else { 62 };
    let builder = Past::Checkpoint.chain(engine).limits(Limits {
        memory_bytes_max: Some(16 << 20),
        ..Limits::default()
    });
    let store = Arc::new(RedbJournal::open(path).unwrap());
    let builder = builder.journal(store, Durability::Durable);
    let proxy = builder.build().unwrap();
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(200)).unwrap();
    let done = Done::default();
    let mut samples = Vec::new();
    let (results, begun) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (proxy, done) = (&proxy, &done);
                scope.spawn(move || call(proxy, client, done))
            })
            .collect();
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(seconds) {
            let failed = proxy.call("leak", args![1]).is_err();
            done.failed.fetch_add(u64::from(failed), Ordering::Relaxed);
            let leaks = done.leaks.fetch_add(1, Ordering::Relaxed);
            if leaks % 8 == 0 {
                let rss = Footprint::now().unwrap().rss_kib as f64;
                samples.push((begun.elapsed().as_secs_f64(), rss));
            }
            thread::sleep(Duration::from_millis(leak_every));
        }
        done.ended.store(true, Ordering::Release);
        let results: Vec<Vec<u64>> = clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect();
        (results, begun)
    });
    let took = begun.elapsed();
    let calls: u64 = results.iter().map(|results| results.len() as u64).sum();
    let value = proxy.call("value", args![]).unwrap().u64().unwrap();
    let mut oracle = Oracle::new(link, CLIENTS);
    let followed = oracle.follow(&results, value);
    let info = proxy.debug_info();
    let name = engine.name();
    let failed = done.failed.load(Ordering::Relaxed);
    let leaks = done.leaks.load(Ordering::Relaxed);
    measured.must(
        failed == 0 && followed.is_ok(),
        format!(
            "{name}: {:.0} s, {calls} durable calls, {leaks} leaks of 64 KiB, {} swaps ({} emergencies): \
             {failed} errors, chain {}",
            took.as_secs_f64(),
            info.swaps,
            info.emergencies,
            followed.as_ref().err().map_or("whole", |error| error),
        ),
    );
    let counted = (proxy.calls(), info.journal_last.0);
    let expected = (calls + leaks + 1, calls);
    measured.must(
        counted == expected,
        format!("{name}: counted calls, entries {counted:?}, made {expected:?}"),
    );
    // The first quarter makes what is made once. A slope over few swaps is that of the leak.
    let settled = &samples[samples.len() / 4..];
    if info.swaps >= 100 {
        let (slope, upper) = slope(settled);
        measured.must(
            upper <= SLOPE_KIB_MAX,
            format!("{name}: resident memory grows by {slope:.2} KiB/s, at most {upper:.2}"),
        );
    }
    drop(supervisor);
    assert!(proxy.shutdown(), "a generation is left");
    tell(&measured);
}

fn call(proxy: &Proxy, client: usize, done: &Done) -> Vec<u64> {
    let mut results = Vec::new();
    while !done.ended.load(Ordering::Acquire) {
        let number = results.len() as u64;
        let Ok(result) = proxy.call("step", args![id(client, number), arg(client, number)]) else {
            done.failed.fetch_add(1, Ordering::Relaxed);
            break;
        };
        results.push(result.u64().unwrap());
    }
    results
}
