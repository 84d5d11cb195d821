//! R12: generations that die of memory, with a durable journal.

use std::time::{Duration, Instant};

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY, link};
use conformance::expect::binary;
use engine_api::{Limits, PAGE_BYTES};
use proxy_core::{CheckpointPolicy, Proxy, args};

use crate::Scale;
use crate::report::Measured;

const PAGES: u64 = 96;

fn value(proxy: &Proxy) -> u64 {
    proxy.call("value", args![]).unwrap().u64().unwrap()
}

/// R12: forced deaths, and what is acknowledged before and after each.
pub(crate) fn of_memory(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let deaths = scale.of(100, 1000);
    for engine in &scale.engines {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        let builder = || {
            let off = CheckpointPolicy::off();
            let builder = engine.proxied_wat(LINKS, LINKS_POLICY).checkpoints(off);
            builder.limits(Limits {
                memory_bytes_max: Some(PAGES * PAGE_BYTES),
                ..Limits::default()
            })
        };
        let proxy = folder.begin(builder());
        proxy.call("fill", args![3]).unwrap();
        let (mut hash, mut calls) = (0, 0_u64);
        let mut emergencies = Vec::new();
        let mut replays = Vec::new();
        for death in 0..deaths {
            for _ in 0..3 {
                calls += 1;
                hash = link(hash, calls, death);
                let got = proxy.call("step", args![calls, death]).unwrap();
                assert_eq!(got.u64().unwrap(), hash, "{}: call {calls}", engine.name());
            }
            replays.push(replay(&proxy));
            emergencies.push(die(&proxy));
            assert_eq!(
                value(&proxy),
                hash,
                "{}: after death {death}",
                engine.name()
            );
        }
        let died = proxy.debug_info().emergencies;
        assert_eq!(died, deaths, "{}", proxy.debug_info());
        let left = folder.killed();
        drop(proxy);
        let (proxy, recovered) = left.recover(builder());
        assert_eq!((value(&proxy), recovered.sequence.0), (hash, calls + 1));
        let (emergency, replay) = (median(&mut emergencies), median(&mut replays));
        measured.must(
            emergency <= 2 * replay,
            format!(
                "{}: {died} deaths, {calls} durable calls, 0 lost, each call repeated; serving again \
                 after {emergency:.1?} (median), a swap by replay takes {replay:.1?}",
                engine.name(),
            ),
        );
    }
    measured
}

/// How long a swap by replay takes, of a generation as large as one that dies.
fn replay(proxy: &Proxy) -> Duration {
    fill_up(proxy);
    let begun = Instant::now();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    begun.elapsed()
}

/// Fills the memory, and makes a call that does not fit. Returns how long that call took.
fn die(proxy: &Proxy) -> Duration {
    fill_up(proxy);
    let before = proxy.debug_info().emergencies;
    let begun = Instant::now();
    proxy.call("leak", args![1]).unwrap();
    let took = begun.elapsed();
    assert_eq!(
        proxy.debug_info().emergencies,
        before + 1,
        "{}",
        proxy.debug_info()
    );
    took
}

fn fill_up(proxy: &Proxy) {
    let free = PAGES - proxy.memory_bytes() / PAGE_BYTES;
    let free = i32::try_from(free).unwrap();
    proxy.call("leak", args![free]).unwrap();
}

fn median(durations: &mut [Duration]) -> Duration {
    durations.sort_unstable();
    durations[durations.len() / 2]
}
