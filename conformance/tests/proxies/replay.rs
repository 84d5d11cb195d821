//! Replay gives identical results, on every engine and between all of them.

use conformance::prelude::*;
use proxy_core::{Proxy, Reason, TierUp, args};

use super::guests;

fn journals(engine: &EngineUnderTest) -> Vec<(&'static str, Proxy)> {
    vec![
        ("prover", guests::prover(engine).0),
        ("chain", guests::chain(engine)),
        ("kv", guests::kv(engine).0),
    ]
}

#[apply(every_engine)]
fn a_journal_replays_on_every_engine(engine: &EngineUnderTest) {
    for (name, proxy) in journals(engine) {
        let entries = proxy.debug_info().journal_entries;
        for target in engines::all() {
            let report = proxy
                .verify_on(Arc::clone(target.remembering()))
                .unwrap_or_else(|error| panic!("{name} from {engine:?} on {target:?}: {error}"));
            assert_eq!((report.engine, report.entries), (target.id(), entries));
        }
        assert_eq!(proxy.debug_info().generations_alive, 1);
    }
}

#[test]
fn the_digests_of_a_journal_are_the_same_on_every_engine() {
    let digests = |engine| -> Vec<_> {
        journals(engine)
            .iter()
            .map(|(name, proxy)| (*name, proxy.journal_digests()))
            .collect()
    };
    let all = engines::all();
    let expected = digests(all[0]);
    assert!(expected.iter().all(|(_, digests)| !digests.is_empty()));
    for engine in &all[1..] {
        assert_eq!(digests(engine), expected, "{engine:?}");
    }
}

#[apply(every_engine)]
fn proofs_are_the_same_bytes_before_and_after_a_swap(engine: &EngineUnderTest) {
    let (proxy, index) = guests::prover(engine);
    let before = guests::prove(&proxy, index, 7).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(guests::prove(&proxy, index, 7).unwrap(), before);
}

#[apply(every_engine)]
fn a_running_module_moves_to_every_other_engine(engine: &EngineUnderTest) {
    let (proxy, store) = guests::kv(engine);
    for target in engines::all() {
        let before = proxy.call("store_digest", args![store]).unwrap();
        proxy
            .prepare_standby_on(Arc::clone(target.remembering()))
            .unwrap();
        proxy.swap().unwrap();
        assert_eq!(proxy.engine(), target.id());
        assert_eq!(proxy.call("store_digest", args![store]).unwrap(), before);
        let key = target.name().as_bytes();
        proxy
            .call("put", args![store, key, b"was here".as_slice()])
            .unwrap();
        let value = proxy
            .call("get", args![store, key])
            .unwrap()
            .bytes()
            .unwrap();
        assert_eq!(value, b"was here");
    }
}

#[apply(every_engine)]
fn a_running_module_tiers_up_to_every_other_engine(engine: &EngineUnderTest) {
    let (proxy, store) = guests::kv(engine);
    let before = proxy.call("store_digest", args![store]).unwrap();
    for target in engines::all() {
        let moving = TierUp::start(&proxy, Arc::clone(target.remembering())).unwrap();
        let swapped = moving.wait().unwrap();
        assert_eq!(
            (swapped.reason, proxy.engine()),
            (Reason::TierUp, target.id())
        );
        assert_eq!(proxy.call("store_digest", args![store]).unwrap(), before);
    }
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[apply(every_engine)]
fn compaction_leaves_what_live_objects_need(engine: &EngineUnderTest) {
    let (proxy, store) = guests::kv(engine);
    let digest = proxy.call("store_digest", args![store]).unwrap();
    let live = proxy.debug_info().journal_entries;
    // Enough objects come and go that the journal is compacted again and again.
    for round in 0..500_u32 {
        let short = proxy
            .call("store_create", args![])
            .unwrap()
            .handle()
            .unwrap();
        let key = round.to_le_bytes();
        proxy
            .call("put", args![short, key.as_slice(), key.as_slice()])
            .unwrap();
        proxy.call("store_free", args![short]).unwrap();
    }
    let kept = proxy.debug_info().journal_entries;
    assert!(kept < live + 3 * 200, "{live} entries before, {kept} after");
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(proxy.call("store_digest", args![store]).unwrap(), digest);
}
