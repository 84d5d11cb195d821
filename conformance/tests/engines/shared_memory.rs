//! Memories shared by several instances on their own threads.

use conformance::prelude::*;
use engine_api::SharedMemory;

const WORKER: &str = r#"(module
    (import "env" "memory" (memory $m 1 10 shared))
    (func (export "add") (param i32 i32)
        (loop $again
            (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1)))
            (drop (i64.atomic.rmw.add offset=8 (local.get 0) (i64.const 2)))
            (local.set 1 (i32.sub (local.get 1) (i32.const 1)))
            (br_if $again (local.get 1))))
    (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1)))
    (func (export "wait") (param i32 i32 i64) (result i32)
        (memory.atomic.wait32 (local.get 0) (local.get 1) (local.get 2)))
    (func (export "notify") (param i32 i32) (result i32)
        (memory.atomic.notify (local.get 0) (local.get 1)))
    (func (export "exchange") (param i32 i32 i32) (result i32)
        (i32.atomic.rmw.cmpxchg (local.get 0) (local.get 1) (local.get 2)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) memory.size))"#;

/// A memory of 1 to 10 pages and the module that works on it, on an engine with threads.
fn worker(engine: &EngineUnderTest) -> Option<(Arc<dyn Module>, SharedMemory)> {
    let threads = engine.capabilities().threads;
    let module = engine.module_if(threads, WORKER);
    let memory = engine.shared_memory(MemoryType::shared(1, 10));
    if !threads {
        let error = refused(memory);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
    module.map(|module| {
        (
            module,
            engine.shared_memory(MemoryType::shared(1, 10)).unwrap(),
        )
    })
}

fn importing(memory: &SharedMemory) -> Imports {
    let mut imports = Imports::new();
    imports.define("env", "memory", Extern::SharedMemory(memory.clone()));
    imports
}

fn instance(module: &Arc<dyn Module>, memory: &SharedMemory) -> Box<dyn Instance> {
    module
        .instantiate(&importing(memory), &Limits::default())
        .unwrap()
}

fn i32_at(memory: &SharedMemory, offset: u64) -> i32 {
    let mut bytes = [0; 4];
    memory.read(offset, &mut bytes).unwrap();
    i32::from_le_bytes(bytes)
}

#[apply(every_engine)]
fn atomics_of_several_instances_on_their_own_threads_count_exactly(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut instance = instance(&module, &memory);
                instance
                    .invoke("add", &[Val::I32(16), Val::I32(50_000)])
                    .unwrap();
            });
        }
    });
    assert_eq!(i32_at(&memory, 16), 200_000);
    assert_eq!(i32_at(&memory, 24), 400_000);
}

#[apply(every_engine)]
fn a_waiting_thread_is_woken_by_another(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    let woken = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut instance = instance(&module, &memory);
            let ten_seconds = Val::I64(10_000_000_000);
            instance
                .invoke("wait", &[Val::I32(32), Val::I32(0), ten_seconds])
                .unwrap()
        });
        let mut instance = instance(&module, &memory);
        let start = Instant::now();
        loop {
            let count = instance
                .invoke("notify", &[Val::I32(32), Val::I32(1)])
                .unwrap();
            if count == [Val::I32(1)] {
                break;
            }
            assert!(
                start.elapsed() < Duration::from_secs(8),
                "nobody ever waits"
            );
            std::thread::yield_now();
        }
        waiting.join().unwrap()
    });
    assert_eq!(
        woken,
        [Val::I32(0)],
        "0 is ok, 1 is not equal, 2 is timed out"
    );
}

#[apply(every_engine)]
fn a_wait_times_out_and_does_not_wait_for_another_value(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    let mut instance = instance(&module, &memory);
    let timed_out = instance.invoke("wait", &[Val::I32(0), Val::I32(0), Val::I64(1_000_000)]);
    assert_eq!(timed_out.unwrap(), [Val::I32(2)]);
    let not_equal = instance.invoke("wait", &[Val::I32(0), Val::I32(1), Val::I64(-1)]);
    assert_eq!(not_equal.unwrap(), [Val::I32(1)]);
    assert_eq!(
        instance
            .invoke("notify", &[Val::I32(0), Val::I32(-1)])
            .unwrap(),
        [Val::I32(0)]
    );
}

#[apply(every_engine)]
fn host_and_guests_see_the_same_bytes(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    let mut one = instance(&module, &memory);
    let mut other = instance(&module, &memory);
    one.invoke("store", &[Val::I32(40), Val::I32(-7)]).unwrap();
    assert_eq!(
        other.invoke("load", &[Val::I32(40)]).unwrap(),
        [Val::I32(-7)]
    );
    assert_eq!(i32_at(&memory, 40), -7);
    memory.write(40, &5_i32.to_le_bytes()).unwrap();
    assert_eq!(one.invoke("load", &[Val::I32(40)]).unwrap(), [Val::I32(5)]);
    other
        .memory_write(MemoryIndex(0), 40, &6_i32.to_le_bytes())
        .unwrap();
    let mut bytes = [0; 4];
    one.memory_read(MemoryIndex(0), 40, &mut bytes).unwrap();
    assert_eq!(i32::from_le_bytes(bytes), 6);
    let exchanged = other.invoke("exchange", &[Val::I32(40), Val::I32(6), Val::I32(9)]);
    assert_eq!(exchanged.unwrap(), [Val::I32(6)]);
    assert_eq!(i32_at(&memory, 40), 9);
}

#[apply(every_engine)]
fn accesses_of_the_host_to_a_shared_memory_are_checked(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    let mut instance = instance(&module, &memory);
    let mut bytes = [3; 4];
    for offset in [65_533, 65_536, 10 * 65_536, u64::MAX - 3, u64::MAX] {
        for error in [
            refused(memory.read(offset, &mut bytes)),
            refused(memory.write(offset, &[0; 4])),
            refused(instance.memory_read(MemoryIndex(0), offset, &mut bytes)),
            refused(instance.memory_write(MemoryIndex(0), offset, &[0; 4])),
        ] {
            assert!(
                matches!(
                    error,
                    Error::OutOfBounds {
                        len: 4,
                        size: PAGE_BYTES,
                        ..
                    }
                ),
                "{error:?}"
            );
        }
    }
    assert_eq!(bytes, [3; 4]);
    memory.read(65_536, &mut []).unwrap();
}

#[apply(every_engine)]
fn growth_is_seen_by_everyone_from_any_thread(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    assert_eq!(memory.size(), PAGE_BYTES);
    let mut here = instance(&module, &memory);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut there = instance(&module, &memory);
            assert_eq!(there.invoke("grow", &[Val::I32(2)]).unwrap(), [Val::I32(1)]);
            there
                .invoke("store", &[Val::I32(3 * 65_536 - 4), Val::I32(11)])
                .unwrap();
        });
    });
    assert_eq!(memory.size(), 3 * PAGE_BYTES);
    assert_eq!(here.invoke("size", &[]).unwrap(), [Val::I32(3)]);
    assert_eq!(here.memory_size(MemoryIndex(0)).unwrap(), 3 * PAGE_BYTES);
    assert_eq!(here.memory_bytes(), 3 * PAGE_BYTES);
    assert_eq!(
        here.invoke("load", &[Val::I32(3 * 65_536 - 4)]).unwrap(),
        [Val::I32(11)]
    );
    assert_eq!(here.memory_grow(MemoryIndex(0), 1).unwrap(), 3);
    assert_eq!(memory.size(), 4 * PAGE_BYTES);
    assert_eq!(i32_at(&memory, 4 * PAGE_BYTES - 4), 0);
}

#[apply(every_engine)]
fn a_shared_memory_is_limited_by_its_own_maximum_alone(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    let limits = Limits {
        memory_bytes_max: Some(PAGE_BYTES),
        ..Limits::default()
    };
    let mut instance = module.instantiate(&importing(&memory), &limits).unwrap();
    assert_eq!(
        instance.invoke("grow", &[Val::I32(9)]).unwrap(),
        [Val::I32(1)]
    );
    assert_eq!(
        instance.invoke("grow", &[Val::I32(1)]).unwrap(),
        [Val::I32(-1)]
    );
    let error = refused(instance.memory_grow(MemoryIndex(0), 1));
    assert!(
        matches!(
            error,
            Error::Growth {
                current: 10,
                delta: 1
            }
        ),
        "{error:?}"
    );
    assert_eq!(instance.memory_bytes(), 10 * PAGE_BYTES);
}

#[apply(every_engine)]
fn a_shared_memory_outlives_the_instances_that_used_it(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    for round in 0..5 {
        let mut instance = instance(&module, &memory);
        assert_eq!(
            instance.invoke("load", &[Val::I32(0)]).unwrap(),
            [Val::I32(round)]
        );
        instance
            .invoke("store", &[Val::I32(0), Val::I32(round + 1)])
            .unwrap();
    }
    assert_eq!(i32_at(&memory, 0), 5);
    let mut last = instance(&module, &memory);
    drop(memory);
    assert_eq!(last.invoke("load", &[Val::I32(0)]).unwrap(), [Val::I32(5)]);
}

#[apply(every_engine)]
fn a_shared_memory_of_another_engine_is_refused(engine: &EngineUnderTest) {
    let Some((module, memory)) = worker(engine) else {
        return;
    };
    assert_eq!(memory.engine(), engine.id());
    for other in engines::all() {
        if other.id() == engine.id() || !other.capabilities().threads {
            continue;
        }
        let foreign = other.shared_memory(MemoryType::shared(1, 10)).unwrap();
        let error = refused(module.instantiate(&importing(&foreign), &Limits::default()));
        assert!(
            matches!(error, Error::Import { .. }),
            "{other:?}: {error:?}"
        );
    }
}

#[apply(every_engine)]
fn a_shared_memory_of_the_same_kind_of_engine_is_taken_or_refused_but_never_misused(
    engine: &EngineUnderTest,
) {
    let Some((module, _)) = worker(engine) else {
        return;
    };
    let other = engine.with_config(&EngineConfig::default()).unwrap();
    let memory = other.shared_memory(MemoryType::shared(1, 10)).unwrap();
    match module.instantiate(&importing(&memory), &Limits::default()) {
        Ok(mut instance) => {
            instance
                .invoke("store", &[Val::I32(0), Val::I32(3)])
                .unwrap();
            assert_eq!(i32_at(&memory, 0), 3);
        }
        Err(error) => assert!(matches!(error, Error::Import { .. }), "{error:?}"),
    }
}

#[apply(every_engine)]
fn a_shared_memory_that_does_not_fit_is_refused(engine: &EngineUnderTest) {
    let Some((module, _)) = worker(engine) else {
        return;
    };
    let larger = engine.shared_memory(MemoryType::shared(1, 11)).unwrap();
    let error = refused(module.instantiate(&importing(&larger), &Limits::default()));
    assert!(matches!(error, Error::Import { .. }), "{error:?}");
    let mut imports = Imports::new();
    imports.define(
        "env",
        "memory",
        Extern::Memory(MemoryType::new(1, Some(10))),
    );
    let error = refused(module.instantiate(&imports, &Limits::default()));
    assert!(matches!(error, Error::Import { .. }), "{error:?}");
}

#[apply(every_engine)]
fn a_shared_memory_of_an_unshared_type_is_unsupported(engine: &EngineUnderTest) {
    let error = refused(engine.shared_memory(MemoryType::new(1, Some(10))));
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[apply(every_engine)]
fn a_shared_memory_of_the_instance_itself_is_counted_and_reached(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().threads,
        r#"(module
            (memory (export "memory") 2 4 shared)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
            (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    let memory = instance.memory_index("memory").unwrap();
    assert_eq!(instance.memory_bytes(), 2 * PAGE_BYTES);
    instance.memory_write(memory, 8, &[4, 0, 0, 0]).unwrap();
    assert_eq!(
        instance.invoke("load", &[Val::I32(8)]).unwrap(),
        [Val::I32(4)]
    );
    assert_eq!(
        instance.invoke("grow", &[Val::I32(1)]).unwrap(),
        [Val::I32(2)]
    );
    assert_eq!(instance.memory_size(memory).unwrap(), 3 * PAGE_BYTES);
    assert_eq!(instance.memory_bytes(), 3 * PAGE_BYTES);
}
