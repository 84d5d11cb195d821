//! Checkpoints hold the realm and stop the pool: standbys made from them go on like those made by
//! replay, and share nothing with each other.

use bindgen_host::{
    BindgenHost, HostError, Options, THREAD_POOL_START, THREAD_POOL_STOP, WorkerExit,
};
use conformance::hosted::{Hosted, REALM, THREADS};
use conformance::prelude::*;
use proxy_core::{CheckpointPolicy, Handle, Proxy, Source, args};

use super::pool::{SUM, alone, assert_workers, limits, start, sum};

/// A checkpoint for every tail, and a comparison with replay after every use.
fn eager() -> CheckpointPolicy {
    CheckpointPolicy {
        tail_replay_max: Duration::ZERO,
        verify_every: 1,
        ..CheckpointPolicy::default()
    }
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

fn hosted(engine: &EngineUnderTest) -> BindgenHost {
    BindgenHost::new(Arc::clone(engine.remembering()), Options::default())
}

#[apply(every_engine)]
fn standbys_of_a_realm_from_checkpoints_are_those_of_a_replay(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let plain = hosted.proxied().checkpoints(CheckpointPolicy::off());
        let plain = plain.build().unwrap();
        let proxy = hosted.proxied().checkpoints(eager()).build().unwrap();
        let both = [&plain, &proxy];
        let both = both.map(|proxy| {
            let made = proxy.call("registry_new", args![]).unwrap();
            (proxy, made.handle().unwrap())
        });
        for round in 0..40_u32 {
            let [one, other] = both.map(|(proxy, registry)| {
                let call = |name: &str, args: &[proxy_core::Arg<'_>]| {
                    let outcome = proxy.call(name, args);
                    outcome.unwrap_or_else(|error| panic!("{}: `{name}`: {error}", hosted.abi))
                };
                let counter = call("counter_new", args![round]).handle().unwrap();
                call("counter_increment", args![counter]);
                call("chain_step", args![&*format!("step {round}")]);
                let value = vec![7_u8; round as usize];
                call(
                    "registry_put",
                    args![registry, &*format!("{round}"), &value],
                );
                assert!(proxy.call("account_new", args![-1_i64]).is_err());
                (
                    call("counter_value", args![counter]).u32().unwrap(),
                    call("chain_value", args![]).u64().unwrap(),
                    call("registry_digest", args![registry]).u64().unwrap(),
                    call("greet", args!["Zoë"]).text().unwrap(),
                )
            });
            assert_eq!(one, other, "{} in round {round}", hosted.abi);
            proxy.call("random_hex", args![]).unwrap();
            let prepared = proxy.prepare_standby().unwrap();
            let from_checkpoint = matches!(prepared.source, Source::Checkpoint(_));
            assert_eq!(
                from_checkpoint,
                round > 0,
                "{} in round {round}",
                hosted.abi
            );
            proxy.swap().unwrap();
        }
        assert_sound(&proxy);
    }
}

/// Holds an array that contains itself under two names.
const KEEPS_SLOTS: &str = r#"(module
    (import "wbg" "__wbg_new_0123456789abcdef" (func $new (result i32)))
    (import "wbg" "__wbg_push_0123456789abcdef" (func $push (param i32 i32) (result i32)))
    (import "wbg" "__wbg_length_0123456789abcdef" (func $length (param i32) (result i32)))
    (import "wbg" "__wbindgen_object_clone_ref" (func $clone (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $one (mut i32) (i32.const 0))
    (global $other (mut i32) (i32.const 0))
    (func (export "make")
        (global.set $one (call $new))
        (global.set $other (call $clone (global.get $one)))
        (drop (call $push (global.get $one) (global.get $other))))
    (func (export "grow") (result i32) (call $push (global.get $other) (call $new)))
    (func (export "len") (result i32) (call $length (global.get $one))))"#;

/// The same, in a table and in a global.
const KEEPS_REFERENCES: &str = r#"(module
    (import "wbg" "__wbg_new_0123456789abcdef" (func $new (result externref)))
    (import "wbg" "__wbg_push_0123456789abcdef"
        (func $push (param externref externref) (result i32)))
    (import "wbg" "__wbg_length_0123456789abcdef" (func $length (param externref) (result i32)))
    (memory (export "memory") 1)
    (table $objects 4 externref)
    (global $other (mut externref) (ref.null extern))
    (func (export "make")
        (table.set $objects (i32.const 1) (call $new))
        (global.set $other (table.get $objects (i32.const 1)))
        (drop (call $push (global.get $other) (table.get $objects (i32.const 1)))))
    (func (export "grow") (result i32) (call $push (global.get $other) (call $new)))
    (func (export "len") (result i32) (call $length (table.get $objects (i32.const 1)))))"#;

#[apply(every_engine)]
fn objects_go_to_every_engine_and_no_two_instances_share_one(engine: &EngineUnderTest) {
    let mut modules = vec![KEEPS_SLOTS];
    modules.extend(engine.capabilities().externref.then_some(KEEPS_REFERENCES));
    for text in modules {
        let wasm = binary(text);
        let module = hosted(engine).compile(&wasm).unwrap();
        assert!(module.snapshots().is_ok() && module.replays_alike());
        assert_eq!(module.obstacles(&wasm).unwrap(), Vec::<String>::new());
        let imports = bindgen_host::system();
        let mut original = module.instantiate(&imports, &Limits::default()).unwrap();
        original.invoke("make", &[]).unwrap();
        original.invoke("grow", &[]).unwrap();
        let snapshot = original.capture().unwrap();
        // Changes to the original come too late for the snapshot.
        assert_eq!(original.invoke("grow", &[]).unwrap(), [Val::I32(3)]);
        let changed = original.capture().unwrap();
        assert!(snapshot.difference(&changed).unwrap().is_some());
        for target in engines::all() {
            if text == KEEPS_REFERENCES && !target.capabilities().externref {
                continue;
            }
            let target = hosted(target).compile(&wasm).unwrap();
            let restored = target.restore(&imports, &Limits::default(), &snapshot);
            let mut restored = restored.unwrap();
            let same = restored.capture().unwrap();
            assert_eq!(snapshot.difference(&same).unwrap(), None);
            assert_eq!(snapshot.digest().unwrap(), same.digest().unwrap());
            assert_eq!(restored.invoke("len", &[]).unwrap(), [Val::I32(2)]);
            // Both names still mean the one array, and it is this instance's own.
            assert_eq!(restored.invoke("grow", &[]).unwrap(), [Val::I32(3)]);
            assert_eq!(restored.invoke("len", &[]).unwrap(), [Val::I32(3)]);
        }
        assert_eq!(original.invoke("len", &[]).unwrap(), [Val::I32(3)]);
        // Without the host nobody could give the objects.
        let bare = engine.remembering().compile(&wasm).unwrap();
        let mut stubs = Imports::new();
        stubs.stub_missing(bare.info());
        let mut bare = bare.instantiate(&stubs, &Limits::default()).unwrap();
        let realmless = bare.capture().unwrap();
        let error = refused(module.restore(&imports, &Limits::default(), &realmless));
        assert!(matches!(error, Error::Snapshot { .. }), "{error:?}");
    }
}

fn pool_of(instance: &mut dyn Instance) -> i32 {
    let workers = instance.invoke("workers", &[]).unwrap();
    workers[0].i32().unwrap()
}

#[apply(every_engine)]
fn each_restored_instance_has_a_pool_of_its_own_under_the_same_number(engine: &EngineUnderTest) {
    let _alone = alone();
    let imports = bindgen_host::system();
    for hosted in THREADS.with_exit(engine, WorkerExit::Abandon) {
        let module = hosted.compile().unwrap();
        assert!(!module.replays_alike());
        let mut original = module.instantiate(&imports, &limits()).unwrap();
        start(&mut *original, 1);
        let stop = |instance: &mut dyn Instance, pool: i32| {
            instance
                .invoke(THREAD_POOL_STOP, &[Val::I32(pool)])
                .map(drop)
        };
        stop(&mut *original, 1).unwrap();
        // Without a pool there is nothing to stop.
        let poolless = original.capture().unwrap();
        let pool = start(&mut *original, 2);
        assert_eq!(pool, 2);
        let snapshot = original.capture().unwrap();
        assert_workers(2);
        assert_eq!(sum(&mut *original), SUM);
        for target in engines::all() {
            let is_old = hosted.abi == "slots";
            if !target.capabilities().threads || !(is_old || target.capabilities().externref) {
                continue;
            }
            let all = THREADS.with_exit(target, WorkerExit::Abandon);
            let target = all.iter().find(|other| other.abi == hosted.abi).unwrap();
            let target = target.compile().unwrap();
            let mut restored = target.restore(&imports, &limits(), &snapshot).unwrap();
            assert_workers(4);
            assert_eq!((sum(&mut *restored), pool_of(&mut *restored)), (SUM, 2));
            stop(&mut *restored, pool).unwrap();
            assert!(stop(&mut *restored, pool).is_err());
            assert_eq!(start(&mut *restored, 3), 3);
            assert_eq!(sum(&mut *restored), SUM);
            drop(restored);
            assert_workers(2);
            let mut restored = target.restore(&imports, &limits(), &poolless).unwrap();
            assert_workers(2);
            assert_eq!(start(&mut *restored, 1), 2);
            assert_eq!(sum(&mut *restored), SUM);
        }
        assert_eq!((sum(&mut *original), pool_of(&mut *original)), (SUM, 2));
        stop(&mut *original, pool).unwrap();
        drop(original);
        assert_workers(0);
    }
}

#[apply(every_engine)]
fn a_pool_that_the_host_started_again_gives_its_stacks_back_whoever_ends_it(
    engine: &EngineUnderTest,
) {
    let _alone = alone();
    for hosted in THREADS.with_exit(engine, WorkerExit::Abandon) {
        let module = hosted.compile().unwrap();
        let instance = module.instantiate(&bindgen_host::system(), &limits());
        let mut instance = instance.unwrap();
        let mut pool = start(&mut *instance, 2);
        let before = instance.memory_bytes();
        for _ in 0..8 {
            instance.capture().unwrap();
            instance
                .invoke(THREAD_POOL_STOP, &[Val::I32(pool)])
                .unwrap();
            pool = start(&mut *instance, 2);
            assert_eq!(sum(&mut *instance), SUM);
        }
        let grown = instance.memory_bytes() - before;
        assert!(grown < 1 << 20, "{}: {grown} bytes are lost", hosted.abi);
    }
}

/// What becomes of a pool after each swap.
#[derive(Clone, Copy, Debug)]
enum Pool {
    /// It goes on.
    Lasts,
    /// The guest ends it, and starts another.
    IsRenewed,
}

/// Swaps 40 times, with a pool of two, and takes a checkpoint of each standby. Returns the memory
/// after each swap.
fn swap_with_a_pool(hosted: &Hosted, fate: Pool) -> Vec<u64> {
    let builder = hosted.proxied().limits(limits()).checkpoints(eager());
    let proxy = builder.build().unwrap();
    let sum = || {
        let sum = proxy.call("parallel_sum", args![100_000_u32]).unwrap();
        sum.i64().unwrap()
    };
    let start = || {
        let pool = proxy.call(THREAD_POOL_START, args![2_u32]).unwrap();
        pool.handle().unwrap()
    };
    let stop = |pool: Handle| proxy.call(THREAD_POOL_STOP, args![pool]).unwrap();
    let mut pool = start();
    let mut memory = Vec::new();
    for round in 0..40 {
        assert_eq!(sum(), SUM);
        let prepared = proxy.prepare_standby().unwrap();
        if let Pool::Lasts = fate {
            let from_checkpoint = matches!(prepared.source, Source::Checkpoint(_));
            // There is none yet for the first.
            assert_eq!(
                from_checkpoint,
                round > 0,
                "{} in round {round}",
                hosted.abi
            );
        }
        proxy.swap().unwrap();
        assert_eq!(sum(), SUM);
        memory.push(proxy.memory_bytes());
        if let Pool::IsRenewed = fate {
            stop(pool);
            pool = start();
        }
    }
    assert_sound(&proxy);
    stop(pool);
    assert!(proxy.shutdown());
    assert_workers(0);
    memory
}

/// Even where every stop of the guest's own leaks a stack.
#[apply(every_engine)]
fn memory_does_not_creep_from_swap_to_swap_with_a_pool(engine: &EngineUnderTest) {
    let _alone = alone();
    for exit in [WorkerExit::Destroy, WorkerExit::Abandon] {
        for hosted in THREADS.with_exit(engine, exit) {
            for fate in [Pool::Lasts, Pool::IsRenewed] {
                let memory = swap_with_a_pool(&hosted, fate);
                let (first, most) = (memory[0], memory.iter().max().unwrap());
                assert!(
                    *most <= first + first / 50,
                    "{} {exit:?} {fate:?}: {memory:?}",
                    hosted.abi
                );
            }
        }
    }
}

#[apply(every_engine)]
fn a_pool_that_the_guest_cannot_stop_is_named_and_goes_on(engine: &EngineUnderTest) {
    let _alone = alone();
    let imports = bindgen_host::system();
    for module in THREADS.on(engine) {
        let wasm = module.with_renamed_export("exitThreadPool", "exitThreadPoo_");
        let module = hosted(engine).compile(&wasm).unwrap();
        assert!(module.info().function(THREAD_POOL_STOP).is_err());
        let mut instance = module.instantiate(&imports, &limits()).unwrap();
        instance.capture().unwrap();
        start(&mut *instance, 1);
        let error = refused(instance.capture());
        assert!(error.to_string().contains("exitThreadPool"), "{error}");
        assert_eq!(sum(&mut *instance), SUM);
        drop(instance);
        assert_workers(0);
    }
}

/// A pool whose start asks for the time. Its workers have nothing to do.
const ASKS_AT_START: &str = r#"(module
    (import "env" "memory" (memory 1 10 shared))
    (import "wbg" "__wbg_startWorkers_0123456789abcdef"
        (func $start_workers (param i32) (result i32)))
    (import "wbg" "__wbg_now_0123456789abcdef" (func $now (result f64)))
    (global $threads (mut i32) (i32.const 0))
    (func (export "initThreadPool") (param i32) (result i32)
        (global.set $threads (local.get 0))
        (drop (call $now))
        (call $start_workers (i32.const 64)))
    (func (export "exitThreadPool") (result i32) (i32.const 128))
    (func (export "wbg_rayon_poolbuilder_numThreads") (param i32) (result i32)
        (global.get $threads))
    (func (export "wbg_rayon_poolbuilder_receiver") (param i32) (result i32) (i32.const 0))
    (func (export "wbg_rayon_poolbuilder_build") (param i32))
    (func (export "wbg_rayon_start_worker") (param i32)))"#;

#[apply(every_engine)]
fn a_pool_whose_start_cannot_be_repeated_is_no_part_of_a_snapshot(engine: &EngineUnderTest) {
    let _alone = alone();
    let capabilities = engine.capabilities();
    if !(capabilities.threads && capabilities.interruption) {
        return;
    }
    let module = hosted(engine).compile(&binary(ASKS_AT_START)).unwrap();
    let imports = bindgen_host::system();
    let mut instance = module.instantiate(&imports, &limits()).unwrap();
    let pool = start(&mut *instance, 2);
    match refused(instance.capture()) {
        Error::Host { source, .. } => {
            let error = source.downcast_ref();
            assert!(matches!(error, Some(HostError::Restart(_))), "{source:?}");
        }
        error => panic!("{error:?}"),
    }
    // The pool is there as before, and without it there is a snapshot.
    let stopped = instance.invoke(THREAD_POOL_STOP, &[Val::I32(pool)]);
    stopped.unwrap();
    let snapshot = instance.capture().unwrap();
    let mut restored = module.restore(&imports, &limits(), &snapshot).unwrap();
    assert_eq!(start(&mut *restored, 1), pool + 1);
}
