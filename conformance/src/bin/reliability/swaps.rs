//! R1, R11, R16 and R17: what callers see of swaps, and of what keeps swaps from being made.

use std::hash::Hasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY, link};
use conformance::engines::EngineUnderTest;
use conformance::expect::binary;
use conformance::proxied::CHAIN;
use engine_api::{Limits, PAGE_BYTES};
use proxy_core::{CheckpointPolicy, History, Proxy, Supervisor, args};
use siphasher::sip::SipHasher24;

use crate::Scale;
use crate::child::{Past, swap};
use crate::oracle::{Oracle, arg, id};
use crate::report::Measured;

/// What the guest `chain` has after a step.
fn chained(hash: u64, id: u64, arg: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(hash, u64::from_le_bytes(*b"chain/v1"));
    hasher.write(&id.to_le_bytes());
    hasher.write(&arg.to_le_bytes());
    hasher.finish()
}

/// Callers that call until they have made so many calls, and may be held back.
struct Load {
    /// How many calls all callers may have made.
    permitted: AtomicU64,
    made: AtomicU64,
}

impl Load {
    fn new(permitted: u64) -> Self {
        Self {
            permitted: AtomicU64::new(permitted),
            made: AtomicU64::new(0),
        }
    }

    /// Calls of one caller. Returns the results.
    fn calls(&self, proxy: &Proxy, caller: usize, calls: u64) -> Vec<u64> {
        let call = |number| {
            while self.made.load(Ordering::Relaxed) >= self.permitted.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            let results = proxy.call("step", args![id(caller, number), arg(caller, number)]);
            self.made.fetch_add(1, Ordering::Relaxed);
            results.unwrap().u64().unwrap()
        };
        (0..calls).map(call).collect()
    }
}

/// Lets all callers go to their ends when the swaps end, however they do.
struct Permit<'a>(&'a Load);

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.permitted.store(u64::MAX, Ordering::Relaxed);
    }
}

fn value(proxy: &Proxy) -> u64 {
    proxy.call("value", args![]).unwrap().u64().unwrap()
}

/// R1: swaps under load lose, double and reorder nothing.
pub(crate) fn exactness(scale: &Scale) -> Measured {
    const CLIENTS: usize = 8;
    let mut measured = Measured::default();
    let (calls, swaps) = scale.of((100_000_u64, 1_000_u64), (1_000_000, 10_000));
    let folding = || CheckpointPolicy {
        history: History::Checkpoint,
        ..CheckpointPolicy::default()
    };
    for engine in &scale.engines {
        let proxy = CHAIN.on(engine).checkpoints(folding()).build().unwrap();
        let each = calls / CLIENTS as u64;
        let per_swap = calls / swaps;
        // Calls are ahead of swaps by a few swaps' worth, so that all swaps are under load.
        let load = Load::new(per_swap);
        let results: Vec<Vec<u64>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (load, proxy) = (&load, &proxy);
                    scope.spawn(move || load.calls(proxy, client, each))
                })
                .collect();
            let permit = Permit(&load);
            for _ in 0..swaps {
                load.permitted.fetch_add(per_swap, Ordering::Relaxed);
                swap(&proxy);
            }
            drop(permit);
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect()
        });
        let mut oracle = Oracle::new(chained, CLIENTS);
        let followed = oracle.follow(&results, value(&proxy));
        let followed = followed.unwrap_or_else(|error| panic!("{}: {error}", engine.name()));
        assert_eq!(
            (followed.acknowledged, followed.unacknowledged),
            (each * 8, 0)
        );
        let info = proxy.debug_info();
        assert_eq!((info.swaps, info.divergences), (swaps, 0), "{info}");
        let bound = 3.0 / calls as f64;
        measured.figure(format!(
            "{}: {calls} calls, {swaps} swaps: 0 wrong (<= {bound:.0e} per call, {:.0e} per swap)",
            engine.name(),
            3.0 / swaps as f64,
        ));
    }
    measured
}

/// R11: the old instance is freed soon after its last call.
pub(crate) fn drain(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let rounds = scale.of(20, 500);
    for engine in &scale.engines {
        let proxy = Past::Full.chain(engine).build().unwrap();
        let supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
        proxy.call("fill", args![4]).unwrap();
        let mut longest = Duration::ZERO;
        for _ in 0..rounds {
            let ended = pinned_over_a_swap(&proxy);
            while proxy.debug_info().generations_alive > 1 {
                assert!(ended.elapsed() < Duration::from_secs(30), "it is not freed");
                thread::sleep(Duration::from_micros(200));
            }
            longest = longest.max(ended.elapsed());
        }
        drop(supervisor);
        measured.must(
            longest <= Duration::from_secs(1),
            format!(
                "{}: freed after {longest:.1?} at most, {rounds} times",
                engine.name()
            ),
        );
    }
    measured
}

/// A scope that begins before a swap and ends after it. Returns when it ended.
fn pinned_over_a_swap(proxy: &Proxy) -> Instant {
    let (inside, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let scoped = scope.spawn(|| {
            let value = proxy.pinned(|pinned| {
                pinned.call("value", args![])?;
                inside.store(true, Ordering::Release);
                while !go_on.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                pinned.call("value", args![])
            });
            value.unwrap();
            Instant::now()
        });
        while !inside.load(Ordering::Acquire) {
            thread::yield_now();
        }
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let alive = proxy.debug_info().generations_alive;
        // Before anything may fail, since the scope would wait for it without end.
        go_on.store(true, Ordering::Release);
        let ended = scoped.join().unwrap();
        // One more may be verified aside.
        assert!(alive >= 2, "the old one is in use, and {alive} are alive");
        ended
    })
}

/// R16: a state that alone is past the threshold is not swapped in circles.
pub(crate) fn storms(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let calls = scale.of(200, 5_000);
    for engine in &scale.engines {
        let builder = Past::Full.chain(engine).limits(Limits {
            memory_bytes_max: Some(16 << 20),
            ..Limits::default()
        });
        let proxy = builder.build().unwrap();
        proxy.call("fill", args![14]).unwrap();
        let now = Instant::now();
        for _ in 0..calls {
            proxy.call("step", args![1_u64, 1_u64]).unwrap();
            proxy.tick(now);
        }
        let info = proxy.debug_info();
        measured.must(
            info.state_exceeds_budget && info.swaps <= 1,
            format!(
                "{}: 14 of 16 MiB are state: {} swaps in {calls} calls and ticks, state-exceeds-budget {}",
                engine.name(),
                info.swaps,
                info.state_exceeds_budget,
            ),
        );
    }
    measured
}

/// R17: the proxy switched off and on under load, with a durable journal.
pub(crate) fn flips(scale: &Scale) -> Measured {
    const CLIENTS: usize = 4;
    let mut measured = Measured::default();
    let flips = scale.of(100, 1_000);
    for engine in &scale.engines {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        let limits = Limits {
            memory_bytes_max: Some(64 * PAGE_BYTES),
            ..Limits::default()
        };
        let builder = |engine: &EngineUnderTest| Past::Full.chain(engine).limits(limits.clone());
        let proxy = folder.begin(builder(engine));
        let supervisor = Supervisor::start(&proxy, Duration::from_millis(5)).unwrap();
        let ended = AtomicBool::new(false);
        let failed = Mutex::new(Vec::new());
        let results: Vec<Vec<u64>> = thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let (proxy, ended, failed) = (&proxy, &ended, &failed);
                    scope.spawn(move || call_until(proxy, client, ended, failed))
                })
                .collect();
            for flip in 0..flips {
                proxy.set_enabled(flip % 2 == 1);
                if flip % 2 == 1 {
                    // There is something to swap for.
                    proxy.call("leak", args![8]).unwrap();
                }
                thread::sleep(Duration::from_millis(10));
            }
            ended.store(true, Ordering::Release);
            clients
                .into_iter()
                .map(|client| client.join().unwrap())
                .collect()
        });
        let failed = failed.into_inner().unwrap();
        assert_eq!(failed, Vec::<String>::new(), "{}", engine.name());
        let seen = value(&proxy);
        let mut oracle = Oracle::new(link, CLIENTS);
        let followed = oracle.follow(&results, seen);
        let followed = followed.unwrap_or_else(|error| panic!("{}: {error}", engine.name()));
        let swaps = proxy.debug_info().swaps;
        let last = proxy.debug_info().journal_last;
        drop(supervisor);
        let left = folder.killed();
        drop(proxy);
        let (proxy, recovered) = left.recover(builder(engine));
        assert_eq!(
            (value(&proxy), recovered.sequence),
            (seen, last),
            "a gap in the journal"
        );
        measured.must(
            followed.unacknowledged == 0,
            format!(
                "{}: {flips} flips, {} calls, {swaps} swaps: 0 failed, no gap in the journal",
                engine.name(),
                followed.acknowledged,
            ),
        );
    }
    measured
}

fn call_until(
    proxy: &Proxy,
    client: usize,
    ended: &AtomicBool,
    failed: &Mutex<Vec<String>>,
) -> Vec<u64> {
    let mut results = Vec::new();
    while !ended.load(Ordering::Acquire) {
        let number = results.len() as u64;
        match proxy.call("step", args![id(client, number), arg(client, number)]) {
            Ok(result) => results.push(result.u64().unwrap()),
            Err(error) => {
                failed.lock().unwrap().push(error.to_string());
                return results;
            }
        }
    }
    results
}
