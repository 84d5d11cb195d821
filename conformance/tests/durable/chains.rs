//! One call lost, doubled or reordered by a restart would change every later result.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::Instant;

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY, link};
use conformance::prelude::*;
use conformance::proxied::CHAIN;
use proxy_core::{CheckpointPolicy, Error as ProxyError, History, Proxy, args};

fn step(proxy: &Proxy, id: u64) -> u64 {
    let results = proxy.call("step", args![id, id * id]);
    results.unwrap().u64().unwrap()
}

fn swap(proxy: &Proxy) {
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
}

#[track_caller]
fn assert_sound(proxy: &Proxy) {
    let info = proxy.debug_info();
    let faults = (info.divergences, info.checkpoints_rejected, info.failures);
    assert_eq!(faults, (0, 0, 0), "{info}");
}

#[apply(every_engine)]
fn a_chain_is_unbroken_over_restarts_and_the_other_engines(engine: &EngineUnderTest) {
    let plain = CHAIN.on(engine).build().unwrap();
    let folder = JournalFolder::of(CHAIN.wasm, CHAIN.policy);
    let mut proxy = folder.begin(CHAIN.on(engine));
    for proxy in [&plain, &proxy] {
        proxy.call("set_leak_kib", args![1]).unwrap();
    }
    let mut id = 0;
    let mut steps = |proxy: &Proxy| {
        for _ in 0..25 {
            id += 1;
            assert_eq!(step(proxy, id), step(&plain, id), "step {id}");
        }
    };
    for target in engines::all().into_iter().cycle().take(7) {
        steps(&proxy);
        swap(&proxy);
        steps(&proxy);
        let entries = proxy.debug_info().journal_entries;
        assert_eq!(proxy.journal_digests(), plain.journal_digests());
        // Dropped without a shutdown, and opened by another engine.
        drop(proxy);
        let recovered;
        (proxy, recovered) = folder.recover(CHAIN.on(target));
        assert_eq!((proxy.engine(), recovered.entries), (target.id(), entries));
        assert_eq!(recovered.sequence, plain.debug_info().journal_last);
        assert_eq!(proxy.journal_digests(), plain.journal_digests());
        assert_eq!(
            proxy.call("value", args![]).unwrap(),
            plain.call("value", args![]).unwrap()
        );
        assert_sound(&proxy);
    }
    steps(&proxy);
}

#[apply(every_engine)]
fn a_chain_is_unbroken_over_kills_with_its_history_in_a_checkpoint(engine: &EngineUnderTest) {
    let folding = || CheckpointPolicy {
        tail_replay_max: Duration::ZERO,
        verify_every: 1,
        history: History::Checkpoint,
        ..CheckpointPolicy::default()
    };
    let plain = CHAIN.on(engine).build().unwrap();
    let mut folder = JournalFolder::of(CHAIN.wasm, CHAIN.policy);
    let mut proxy = folder.begin(CHAIN.on(engine).checkpoints(folding()));
    for (round, target) in (1..).zip(engines::all().into_iter().cycle().take(6)) {
        for id in 0..40_u64 {
            assert_eq!(
                step(&proxy, id),
                step(&plain, id),
                "step {id} in round {round}"
            );
            if id == 20 {
                swap(&proxy);
                proxy.checkpoint_durably().unwrap();
            }
        }
        let left = folder.killed();
        drop(proxy);
        let recovered;
        (proxy, recovered) = left.recover(CHAIN.on(target).checkpoints(folding()));
        assert!(
            recovered.checkpoint.is_some() && recovered.entries <= 40,
            "{recovered:?}"
        );
        assert_eq!(recovered.sequence.0, round * 40);
        assert_sound(&proxy);
        folder = left;
    }
    assert_eq!(
        proxy.call("value", args![]).unwrap(),
        plain.call("value", args![]).unwrap()
    );
}

/// The files of states are as they were written, so they are checked while the proxy serves.
#[apply(every_engine)]
fn a_state_is_served_while_it_is_checked_and_no_longer_when_it_is_damaged(
    engine: &EngineUnderTest,
) {
    let folding = |engine: &EngineUnderTest| {
        let builder = engine.proxied_wat(LINKS, LINKS_POLICY);
        builder.checkpoints(CheckpointPolicy {
            history: History::Checkpoint,
            ..CheckpointPolicy::default()
        })
    };
    let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
    let proxy = folder.begin(folding(engine));
    proxy.call("fill", args![64]).unwrap();
    let (mut hash, mut id) = (0, 0);
    let mut next = || {
        id += 1;
        hash = link(hash, id, id * id);
        (id, hash)
    };
    let mut go_on = |proxy: &Proxy| {
        let (id, hash) = next();
        assert_eq!(step(proxy, id), hash, "step {id}");
        proxy.checkpoint_durably().unwrap().unwrap()
    };
    go_on(&proxy);
    let mut kept = go_on(&proxy);
    drop(proxy);
    for target in engines::all() {
        let (proxy, recovered) = folder.recover(folding(target));
        assert_eq!(recovered.checkpoint, Some(kept.sequence), "{target:?}");
        // It waits for the end of the check.
        kept = go_on(&proxy);
        assert_sound(&proxy);
    }
    let journal = folder.open();
    let newest = proxy_core::JournalStore::checkpoints(&*journal)
        .unwrap()
        .remove(0);
    drop(journal);
    rot(
        &folder.path().join("checkpoints").join(&newest.file),
        40 << 20,
    );
    let (proxy, recovered) = folder.recover(folding(engine));
    assert_eq!(recovered.checkpoint, Some(kept.sequence));
    let end = Instant::now() + Duration::from_mins(1);
    let (mut acknowledged, mut served) = (hash, id);
    let error = loop {
        let (id, hash) = (served + 1, link(acknowledged, served + 1, 0));
        match proxy.call("step", args![id, 0_u64]) {
            Ok(results) => assert_eq!(results.u64().unwrap(), hash, "step {id}"),
            Err(error) => break error,
        }
        (acknowledged, served) = (hash, id);
        assert!(Instant::now() < end, "the damage is not found");
    };
    assert!(
        matches!(&error, ProxyError::CheckpointDamaged { file, .. } if *file == newest.file),
        "{error}"
    );
    drop(proxy);
    // The state before it and the records since make what was acknowledged.
    let (proxy, recovered) = folder.recover(folding(engine));
    assert!(recovered.checkpoint < Some(kept.sequence), "{recovered:?}");
    let value = proxy.call("value", args![]).unwrap().u64().unwrap();
    assert_eq!(value, acknowledged, "{served} steps");
}

/// Changes a byte of a state's memory, `at` bytes after its beginning, without a trace in the file's
/// inode: as a disk would.
fn rot(path: &Path, at: u64) {
    let writable = |is: bool| {
        let mode = if is { 0o600 } else { 0o400 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    writable(true);
    let file = fs::OpenOptions::new().read(true).write(true).open(path);
    let file = file.unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 65_536 + at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 65_536 + at).unwrap();
    drop(file);
    writable(false);
    checkpoint_file::stamp(path).unwrap();
}

#[apply(every_engine)]
fn generations_that_die_between_kills_lose_nothing(engine: &EngineUnderTest) {
    let small = || {
        let builder = engine.proxied_wat(LINKS, LINKS_POLICY);
        builder.limits(Limits {
            memory_bytes_max: Some(32 * PAGE_BYTES),
            ..Limits::default()
        })
    };
    let mut folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
    let mut proxy = folder.begin(small());
    let (mut hash, mut id) = (0, 0);
    for round in 0..5 {
        for _ in 0..4 {
            // The third of them does not fit, and takes the generation with it.
            for _ in 0..3 {
                proxy.call("leak", args![12]).unwrap();
                id += 1;
                hash = link(hash, id, id * id);
                assert_eq!(step(&proxy, id), hash, "step {id} in round {round}");
            }
        }
        assert!(proxy.debug_info().swaps >= 4, "{}", proxy.debug_info());
        assert_sound(&proxy);
        let left = folder.killed();
        drop(proxy);
        (proxy, _) = left.recover(small());
        folder = left;
    }
    assert_eq!(proxy.call("value", args![]).unwrap().u64().unwrap(), hash);
}

#[apply(every_engine)]
fn an_id_gets_its_answer_after_a_restart_on_another_engine(engine: &EngineUnderTest) {
    let folder = JournalFolder::of(CHAIN.wasm, CHAIN.policy);
    let mut proxy = folder.begin(CHAIN.on(engine));
    let call = |proxy: &Proxy, id: u64, arg: u64| {
        proxy.call_with_id(&id.to_le_bytes(), "step", args![id, arg])
    };
    let answers: Vec<_> = (0..20).map(|id| call(&proxy, id, 7).unwrap()).collect();
    for target in engines::all() {
        drop(proxy);
        (proxy, _) = folder.recover(CHAIN.on(target));
        for (id, answer) in (0..).zip(&answers) {
            assert_eq!(call(&proxy, id, 7).unwrap(), *answer, "{target:?}, id {id}");
        }
        let error = call(&proxy, 3, 8).unwrap_err();
        assert!(matches!(error, ProxyError::CallIdReused { .. }), "{error}");
        assert_eq!(
            proxy.debug_info().journal_last.0,
            20,
            "nothing has run again"
        );
    }
}
