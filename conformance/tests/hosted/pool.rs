//! A thread pool in the guest is started, used and ended in every way, and never hangs.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bindgen_host::{
    BindgenHost, HostError, Options, SYSTEM, THREAD_POOL_START, THREAD_POOL_STOP, WorkerExit,
};
use conformance::hosted::THREADS;
use conformance::prelude::*;
use proxy_core::{CallError, Error as ProxyError, Source, args};

/// Cases that count threads run one at a time.
pub(super) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads of this process that belong to a pool.
fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let is_worker = |task: std::io::Result<std::fs::DirEntry>| {
        // A thread that ends meanwhile is not counted.
        let name = task.and_then(|task| std::fs::read_to_string(task.path().join("comm")));
        name.is_ok_and(|name| name.starts_with("guest worker"))
    };
    tasks
        .filter_map(|task| is_worker(task).then_some(()))
        .count()
}

/// Waits until there are this many workers: Linux may list a joined thread for a moment longer.
#[track_caller]
pub(super) fn assert_workers(expected: usize) {
    let mut here = workers();
    for _ in 0..500 {
        if here == expected {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
        here = workers();
    }
    panic!("{here} workers instead of {expected}");
}

pub(super) fn limits() -> Limits {
    Limits {
        memory_bytes_max: Some(48 << 20),
        ..Limits::default()
    }
}

pub(super) fn start(instance: &mut dyn Instance, threads: i32) -> i32 {
    let started = instance.invoke(THREAD_POOL_START, &[Val::I32(threads)]);
    started.unwrap()[0].i32().unwrap()
}

pub(super) fn sum(instance: &mut dyn Instance) -> i64 {
    let sum = instance.invoke("parallel_sum", &[Val::I32(100_000)]);
    sum.unwrap()[0].i64().unwrap()
}

pub(super) const SUM: i64 = 4_999_950_000;

#[apply(every_engine)]
fn a_pool_works_and_ends_with_every_thread_joined(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let mut instance = hosted.instantiate(&limits()).unwrap();
        let instance = &mut *instance;
        let first = start(instance, 2);
        assert_eq!(sum(instance), SUM);
        assert_eq!(instance.invoke("workers", &[]).unwrap(), [Val::I32(2)]);
        assert_workers(2);
        instance
            .invoke(THREAD_POOL_STOP, &[Val::I32(first)])
            .unwrap();
        assert_workers(0);
        // Once more, with other numbers of threads. Workers give their memory back each time.
        let after_one = instance.memory_bytes();
        for threads in [1, 3, 2, 3, 2, 3, 2, 3, 2, 3] {
            let pool = start(instance, threads);
            assert_eq!(sum(instance), SUM);
            instance
                .invoke(THREAD_POOL_STOP, &[Val::I32(pool)])
                .unwrap();
        }
        assert_workers(0);
        let grown = instance.memory_bytes() - after_one;
        assert!(grown <= 4 << 20, "{}: {grown} bytes are lost", hosted.abi);
    }
}

#[apply(every_engine)]
fn abandoned_workers_lose_their_stacks(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.with_exit(engine, WorkerExit::Abandon) {
        let mut instance = hosted.instantiate(&limits()).unwrap();
        let instance = &mut *instance;
        let before = instance.memory_bytes();
        for _ in 0..8 {
            let pool = start(instance, 1);
            assert_eq!(sum(instance), SUM);
            instance
                .invoke(THREAD_POOL_STOP, &[Val::I32(pool)])
                .unwrap();
        }
        assert_workers(0);
        let grown = instance.memory_bytes() - before;
        assert!(
            grown >= 7 << 20,
            "{}: only {grown} bytes are lost",
            hosted.abi
        );
    }
}

#[apply(every_engine)]
fn a_worker_that_dies_ends_the_call_without_a_hang(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        for (export, is_expected) in [
            (
                "trap_in_worker",
                (|trap| trap == Trap::Unreachable) as fn(Trap) -> bool,
            ),
            // Rust's allocator gives up with a panic, an abort or an access past the end.
            ("exhaust_in_worker", |trap| !trap.is_host_imposed()),
        ] {
            let mut instance = hosted.instantiate(&limits()).unwrap();
            start(&mut *instance, 2);
            let trap = trap_of(instance.invoke(export, &[]));
            assert!(is_expected(trap), "{} {export}: {trap:?}", hosted.abi);
            // The instance is lost, and says so from now on.
            assert!(instance.invoke("parallel_sum", &[Val::I32(10)]).is_err());
            drop(instance);
            assert_workers(0);
        }
    }
}

/// The start function of every instance but the first never returns.
const NEVER_STARTS: &str = r#"(module
    (import "env" "memory" (memory 1 10 shared))
    (import "wbg" "__wbg_startWorkers_0123456789abcdef"
        (func $start_workers (param i32) (result i32)))
    (global $threads (mut i32) (i32.const 0))
    (func (export "__wbindgen_start") (param i32)
        (if (i32.atomic.rmw.add (i32.const 0) (i32.const 1))
            (then (loop $again (br $again)))))
    (func (export "initThreadPool") (param i32) (result i32)
        (global.set $threads (local.get 0))
        (call $start_workers (i32.const 64)))
    (func (export "wbg_rayon_poolbuilder_numThreads") (param i32) (result i32)
        (global.get $threads))
    (func (export "wbg_rayon_poolbuilder_receiver") (param i32) (result i32) (i32.const 0))
    (func (export "wbg_rayon_poolbuilder_build") (param i32))
    (func (export "wbg_rayon_start_worker") (param i32)))"#;

#[apply(every_engine)]
fn workers_that_never_start_are_ended_by_an_interruption(engine: &EngineUnderTest) {
    let _alone = alone();
    let capabilities = engine.capabilities();
    if !(capabilities.threads && capabilities.interruption) {
        return;
    }
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    let module = host.compile(&binary(NEVER_STARTS)).unwrap();
    let instance = module.instantiate(&bindgen_host::system(), &limits());
    let mut instance = instance.unwrap();
    let interrupter = instance.interrupter().unwrap();
    let interrupting = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        interrupter.interrupt();
    });
    let trap = trap_of(instance.invoke(THREAD_POOL_START, &[Val::I32(2)]));
    assert_eq!(trap, Trap::Interrupted);
    interrupting.join().unwrap();
    drop(instance);
    assert_workers(0);
}

#[apply(every_engine)]
fn a_worker_that_the_host_fails_is_the_source_of_the_calls_error(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let mut imports = bindgen_host::system();
        let random = FuncType::new(&[], &[ValType::I64, ValType::I64]);
        imports.func(SYSTEM, "random", random, |_, _, _| {
            Err(Error::Host {
                module: SYSTEM.to_owned(),
                name: "random".to_owned(),
                source: "no entropy".into(),
            })
        });
        let mut instance = hosted.instantiate_with(&imports, &limits()).unwrap();
        start(&mut *instance, 1);
        let returns = Arc::clone(instance.info());
        let returns = returns
            .function("random_in_workers")
            .unwrap()
            .1
            .ty
            .results();
        let pointer = returns.is_empty().then_some(Val::I32(64));
        let args: Vec<_> = pointer.into_iter().chain([Val::I32(1)]).collect();
        let error = refused(instance.invoke("random_in_workers", &args));
        let Error::Host { source, .. } = error else {
            panic!("{}: {error:?}", hosted.abi)
        };
        let Some(HostError::Worker { worker: 1, source }) = source.downcast_ref() else {
            panic!("{}: {source:?}", hosted.abi)
        };
        let Error::Host { name, .. } = &**source else {
            panic!("{}: {source:?}", hosted.abi)
        };
        assert_eq!(name, "random");
        drop(instance);
        assert_workers(0);
    }
}

#[apply(every_engine)]
fn a_worker_that_spins_is_ended_by_the_deadline(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let limits = Limits {
            deadline: Some(Duration::from_millis(200)),
            ..limits()
        };
        let mut instance = hosted.instantiate(&limits).unwrap();
        start(&mut *instance, 2);
        let trap = trap_of(instance.invoke("spin_in_worker", &[]));
        assert_eq!(trap, Trap::DeadlineExceeded, "{}", hosted.abi);
        drop(instance);
        assert_workers(0);
    }
}

#[apply(every_engine)]
fn a_pool_that_cannot_be_is_refused_with_the_reason(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let refuse = |instance: &mut dyn Instance, export: &str, number: i32| {
            let error = refused(instance.invoke(export, &[Val::I32(number)]));
            match error {
                Error::Host { source, .. } => source.to_string(),
                error => panic!("{}: {error:?}", hosted.abi),
            }
        };
        let mut instance = hosted.instantiate(&limits()).unwrap();
        let instance = &mut *instance;
        for threads in [0, -1, 1_000_000] {
            let message = refuse(instance, THREAD_POOL_START, threads);
            assert!(message.contains("1 to 1024"), "{message}");
        }
        let pool = start(instance, 1);
        let message = refuse(instance, THREAD_POOL_START, 1);
        assert!(message.contains("stop it first"), "{message}");
        let message = refuse(instance, THREAD_POOL_STOP, pool + 1);
        assert!(message.contains("not running"), "{message}");
        assert_eq!(sum(instance), SUM);
        instance
            .invoke(THREAD_POOL_STOP, &[Val::I32(pool)])
            .unwrap();

        // No room for the workers' stacks: the start fails, instead of a later call.
        let small = Limits {
            memory_bytes_max: Some(3 << 20),
            ..Limits::default()
        };
        let mut instance = hosted.instantiate(&small).unwrap();
        let outcome = instance.invoke(THREAD_POOL_START, &[Val::I32(4)]);
        assert!(outcome.is_err(), "{}", hosted.abi);
        drop(instance);
        assert_workers(0);
    }
}

/// The pool is an object like any other: each generation has one of its own.
#[apply(every_engine)]
fn a_standby_gets_a_pool_of_its_own_and_a_trap_costs_one_generation(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let proxy = hosted.proxied().limits(limits()).build().unwrap();
        let needs = proxy.call("parallel_sum", args![10_u32]).unwrap_err();
        assert!(
            matches!(needs, ProxyError::Call(CallError::Needs { .. })),
            "{needs}"
        );
        let start = || {
            let pool = proxy.call(THREAD_POOL_START, args![2_u32]).unwrap();
            pool.handle().unwrap()
        };
        let pool = start();
        let sum = || {
            proxy
                .call("parallel_sum", args![100_000_u32])
                .unwrap()
                .i64()
                .unwrap()
        };
        assert_eq!(sum(), SUM);
        proxy.prepare_standby().unwrap();
        assert_workers(4);
        proxy.swap().unwrap();
        assert_eq!(sum(), SUM);
        assert_workers(2);
        let error = proxy.call("trap_in_worker", args![]).unwrap_err();
        assert!(
            matches!(error, ProxyError::Call(CallError::Trapped { .. })),
            "{error}"
        );
        assert_eq!(sum(), SUM);
        proxy.call(THREAD_POOL_STOP, args![pool]).unwrap();
        assert_workers(0);
        // Pools that have ended leave nothing to replay.
        for _ in 0..50 {
            let pool = start();
            proxy.call(THREAD_POOL_STOP, args![pool]).unwrap();
        }
        let _pool = start();
        let prepared = proxy.prepare_standby().unwrap();
        // The checkpoint still has the first pool: its end comes before the start of the last one.
        assert_eq!(prepared.entries, 2, "{}", hosted.abi);
        assert!(
            matches!(prepared.source, Source::Checkpoint(_)),
            "{prepared:?}"
        );
        assert!(proxy.shutdown());
        assert_workers(0);
    }
}

/// One worker does everything in one order, and draws the same again.
#[apply(every_engine)]
fn randomness_of_one_worker_is_replayed(engine: &EngineUnderTest) {
    let _alone = alone();
    for hosted in THREADS.on(engine) {
        let proxy = hosted.proxied().limits(limits()).build().unwrap();
        proxy.call(THREAD_POOL_START, args![1_u32]).unwrap();
        let draw = || {
            let drawn = proxy.call("random_in_workers", args![20_u32]).unwrap();
            drawn.text().unwrap()
        };
        let first = draw();
        assert_ne!(draw(), first);
        // Replay compares both digests with those of the journal.
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let info = proxy.debug_info();
        assert_eq!(info.divergences, 0);
        assert!(proxy.shutdown());
    }
}
