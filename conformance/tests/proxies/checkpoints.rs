//! Standbys from checkpoints: the same results as replay, on every engine and between all of them.

use conformance::prelude::*;
use conformance::probe;
use conformance::proxied::{CHAIN, KV, PROVER, STATE, STATE_POLICY};
use proxy_core::{
    CallError, CheckpointPolicy, Error as ProxyError, Event, Proxy, Source, Supervisor, args,
};

use super::super::PROBE;
use super::guests;

/// A checkpoint for every tail, and a comparison after every use.
fn eager() -> CheckpointPolicy {
    CheckpointPolicy {
        tail_replay_max: Duration::ZERO,
        verify_every: 1,
        ..CheckpointPolicy::default()
    }
}

fn is_from_checkpoint(source: Source) -> bool {
    matches!(source, Source::Checkpoint(_))
}

#[track_caller]
fn assert_sound(proxy: &Proxy) {
    let info = proxy.debug_info();
    assert_eq!(
        (info.divergences, info.checkpoints_rejected, info.failures),
        (0, 0, 0),
        "{info}"
    );
    assert!(info.checkpoint_obstacles.is_empty(), "{info}");
}

#[apply(every_engine)]
fn a_chain_is_unbroken_over_checkpointed_swaps_and_the_other_engines(engine: &EngineUnderTest) {
    let plain = CHAIN
        .on(engine)
        .checkpoints(CheckpointPolicy::off())
        .build()
        .unwrap();
    let proxy = CHAIN.on(engine).checkpoints(eager()).build().unwrap();
    for proxy in [&plain, &proxy] {
        proxy.call("set_leak_kib", args![3]).unwrap();
    }
    let everywhere = engines::all().into_iter().cycle();
    let mut from_checkpoints = 0;
    for (round, target) in (0..24_u64).zip(everywhere) {
        for step in 0..10 {
            let call = |proxy: &Proxy| {
                let results = proxy.call("step", args![round * 10 + step, step * step]);
                results.unwrap_or_else(|error| panic!("{error}"))
            };
            assert_eq!(call(&proxy), call(&plain), "round {round}, step {step}");
        }
        let prepared = if round % 2 == 0 {
            proxy.prepare_standby()
        } else {
            proxy.prepare_standby_on(Arc::clone(target.remembering()))
        };
        from_checkpoints += u32::from(is_from_checkpoint(prepared.unwrap().source));
        proxy.swap().unwrap();
    }
    assert_eq!(from_checkpoints, 23);
    assert_sound(&proxy);
}

#[apply(every_engine)]
fn a_checkpoint_of_one_engine_serves_on_every_other(engine: &EngineUnderTest) {
    let proxy = KV.on(engine).build().unwrap();
    let store = proxy
        .call("store_create", args![])
        .unwrap()
        .handle()
        .unwrap();
    for number in 0..50_u8 {
        let value = vec![number; 1000];
        proxy
            .call("put", args![store, [number].as_slice(), &value])
            .unwrap();
    }
    let taken = proxy.checkpoint().unwrap();
    let digest = proxy.call("store_digest", args![store]).unwrap();
    for target in engines::all() {
        let prepared = proxy
            .prepare_standby_on(Arc::clone(target.remembering()))
            .unwrap();
        assert_eq!(prepared.source, Source::Checkpoint(taken.sequence));
        assert_eq!(prepared.entries, 0);
        proxy.swap().unwrap();
        assert_eq!(proxy.engine(), target.id());
        assert_eq!(proxy.call("store_digest", args![store]).unwrap(), digest);
    }
    proxy
        .call("put", args![store, b"more".as_slice(), b"value".as_slice()])
        .unwrap();
    assert_ne!(proxy.call("store_digest", args![store]).unwrap(), digest);
    assert_sound(&proxy);
}

#[apply(every_engine)]
fn proofs_are_the_same_from_a_checkpoint_and_its_handles_stay(engine: &EngineUnderTest) {
    let proxy = PROVER.on(engine).checkpoints(eager()).build().unwrap();
    let srs = proxy
        .call("srs_create", args![4])
        .unwrap()
        .handle()
        .unwrap();
    let index = proxy
        .call("index_create", args![srs, 0])
        .unwrap()
        .handle()
        .unwrap();
    let before = guests::prove(&proxy, index, 7).unwrap();
    for round in 0..4 {
        let prepared = proxy.prepare_standby().unwrap();
        assert_eq!(is_from_checkpoint(prepared.source), round > 0);
        proxy.swap().unwrap();
        assert_eq!(guests::prove(&proxy, index, 7).unwrap(), before);
        // An object made and freed after the checkpoint, and one that the checkpoint knows.
        let brief = proxy
            .call("index_create", args![srs, 0])
            .unwrap()
            .handle()
            .unwrap();
        proxy.call("index_free", args![brief]).unwrap();
    }
    proxy.call("srs_free", args![srs]).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let error = proxy.call("index_create", args![srs, 0]).unwrap_err();
    assert!(
        matches!(error, ProxyError::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    assert_eq!(guests::prove(&proxy, index, 7).unwrap(), before);
    assert_sound(&proxy);
}

#[apply(every_engine)]
fn a_crash_costs_a_mapping_and_not_a_replay(engine: &EngineUnderTest) {
    let sources = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&sources);
    let proxy = engine
        .proxied_wat(STATE, STATE_POLICY)
        .on_event(move |event| {
            if let Event::StandbyPrepareComplete(prepared) = event {
                seen.lock().unwrap().push(prepared.source);
            }
        })
        .build()
        .unwrap();
    proxy.call("fill", args![16]).unwrap();
    let taken = proxy.checkpoint().unwrap();
    let expected = proxy.call("look", args![]).unwrap();
    for _ in 0..3 {
        let error = proxy.call("crash", args![]).unwrap_err();
        assert!(
            matches!(
                error,
                ProxyError::Call(CallError::Trapped { retried: true, .. })
            ),
            "{error}"
        );
        assert_eq!(proxy.call("look", args![]).unwrap(), expected);
    }
    let sources = sources.lock().unwrap();
    assert!(!sources.is_empty());
    assert!(
        sources
            .iter()
            .all(|source| *source == Source::Checkpoint(taken.sequence))
    );
}

#[apply(every_engine)]
fn a_leaking_module_lives_on_checkpoints(engine: &EngineUnderTest) {
    let proxy = engine
        .proxied_wat(STATE, STATE_POLICY)
        .limits(Limits {
            memory_bytes_max: Some(32 << 20),
            ..Limits::default()
        })
        .checkpoints(eager())
        .build()
        .unwrap();
    let supervisor = Supervisor::start(&proxy, Duration::from_secs(5)).unwrap();
    proxy.call("fill", args![4]).unwrap();
    let expected = 0x5a_i32 * 1024;
    for _ in 0..300 {
        proxy.call("leak", args![16]).unwrap();
        let seen = proxy.call("look", args![]).unwrap().i32().unwrap();
        assert_eq!(seen, expected);
    }
    assert!(
        proxy.debug_info().swaps >= 300 / 32,
        "{}",
        proxy.debug_info()
    );
    assert_sound(&proxy);
    drop(supervisor);
    assert!(proxy.shutdown());
    assert_eq!(proxy.debug_info().generations_alive, 0);
}

#[apply(every_engine)]
fn a_thousand_checkpointed_swaps_leave_the_process_as_it_was(engine: &EngineUnderTest) {
    probe::run(PROBE, &["checkpointed-swaps", engine.name()]);
}

#[apply(every_engine)]
fn active_and_standby_share_the_pages_of_a_checkpoint(engine: &EngineUnderTest) {
    probe::run(PROBE, &["checkpoint-sharing", engine.name()]);
}
