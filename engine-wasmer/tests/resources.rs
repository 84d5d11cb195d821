//! Instances and calls give back everything that they take from the process. This is a binary of
//! its own, because it counts the resources of the whole process.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a failed expectation is a failed test"
)]
#![expect(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{
    Engine, EngineConfig, Extern, ExternRef, FuncType, Imports, Limits, MemoryType, Val, ValType,
};
use engine_wasmer::{Compiler, Wasmer};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: it is the system's allocator, which it only counts for.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn engines() -> Vec<Wasmer> {
    let compilers = [
        Compiler::Cranelift,
        Compiler::Singlepass,
        #[cfg(feature = "llvm")]
        Compiler::Llvm,
    ];
    let config = EngineConfig::default();
    compilers
        .into_iter()
        .map(|compiler| Wasmer::with_config(compiler, &config).unwrap())
        .collect()
}

/// The tests run one after the other, so the harness has the same threads throughout.
#[test]
fn nothing_is_taken_that_is_not_given_back() {
    calls_allocate_nothing_whatever_their_signature();
    a_thousand_instances_leave_nothing_behind();
    modules_give_their_code_back();
    the_watchdog_lives_as_long_as_something_is_watched();
}

/// How many allocations this thread made while `work` ran.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

fn calls_allocate_nothing_whatever_their_signature() {
    let wat = r#"(module
        (import "env" "host" (func $host (param i32) (result i32)))
        (func (export "nop"))
        (func (export "add") (param i32 i64) (result i64) (local.get 1))
        (func (export "many") (param i32 i64 f32 f64 i32 i64) (result i32 i64)
            (local.get 0) (local.get 1))
        (func (export "host") (param i32) (result i32) (call $host (local.get 0))))"#;
    let wasm = wat::parse_str(wat).unwrap();
    for engine in engines() {
        let module = engine.compile(&wasm).unwrap();
        let mut imports = Imports::new();
        let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
        imports.func("env", "host", ty, |_, args, results| {
            results[0] = args[0].clone();
            Ok(())
        });
        for deadline in [None, Some(Duration::from_mins(1))] {
            let limits = Limits {
                deadline,
                ..Limits::default()
            };
            let mut instance = module.instantiate(&imports, &limits).unwrap();
            for function in module.info().functions() {
                let (func, _) = module.info().function(&function.name).unwrap();
                let zeros = |types: &[ValType]| types.iter().map(|ty| Val::zero(*ty)).collect();
                let args: Vec<Val> = zeros(function.ty.params());
                let mut results: Vec<Val> = zeros(function.ty.results());
                // The first call resolves the export and takes a stack.
                instance.call(func, &args, &mut results).unwrap();
                let count = allocations(|| {
                    for _ in 0..100 {
                        instance.call(func, &args, &mut results).unwrap();
                    }
                });
                assert_eq!(count, 0, "{} {} {deadline:?}", engine.id(), function.name);
            }
        }
    }
}

/// How many resources of each kind the process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Footprint {
    maps: usize,
    files: usize,
    threads: usize,
}

fn footprint() -> Footprint {
    // The allocator's own mappings are left out: they depend on the heap, not on instances.
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    Footprint {
        maps: maps.lines().count(),
        files: fs::read_dir("/proc/self/fd").unwrap().count(),
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
    }
}

/// Waits until the process has as much as before: threads end, and free their stacks, a moment
/// after they are told to.
fn settle(what: &str, before: Footprint, is_back: impl Fn(Footprint) -> bool) {
    let start = Instant::now();
    while !is_back(footprint()) {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{what}: {before:?} became {:?}",
            footprint()
        );
        thread::sleep(Duration::from_millis(5));
    }
}

/// The footprint after the threads of the last compilation have ended.
fn settled() -> Footprint {
    let mut last = footprint();
    loop {
        thread::sleep(Duration::from_millis(50));
        let now = footprint();
        if now == last {
            return now;
        }
        last = now;
    }
}

fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

fn a_thousand_instances_leave_nothing_behind() {
    let wat = r#"(module
        (import "env" "m" (memory 1))
        (import "env" "s" (memory 1 10 shared))
        (import "env" "host" (func $host (param externref)))
        (memory (export "own") 16)
        (table 100 externref)
        (func (export "touch") (param externref)
            (memory.fill 2 (i32.const 0) (i32.const 7) (i32.const 1048576))
            (drop (memory.grow 2 (i32.const 16)))
            (memory.fill 2 (i32.const 1048576) (i32.const 7) (i32.const 1048576))
            (table.set 0 (i32.const 5) (local.get 0))
            (call $host (local.get 0)))
        (func (export "trap") unreachable))"#;
    let wasm = wat::parse_str(wat).unwrap();
    for engine in engines() {
        let module = engine.compile(&wasm).unwrap();
        let shared = engine.shared_memory(MemoryType::shared(1, 10)).unwrap();
        let mut imports = Imports::new();
        imports.define("env", "m", Extern::Memory(MemoryType::new(1, None)));
        imports.define("env", "s", Extern::SharedMemory(shared));
        let ty = FuncType::new(&[ValType::ExternRef], &[]);
        imports.func("env", "host", ty, |_, _, _| Ok(()));
        let limits = Limits {
            deadline: Some(Duration::from_mins(1)),
            ..Limits::default()
        };
        let touch = module.info().function("touch").unwrap().0;
        let trap = module.info().function("trap").unwrap().0;
        let round = || {
            let mut instance = module.instantiate(&imports, &limits).unwrap();
            let object = Val::ExternRef(Some(ExternRef::new(vec![0_u8; 10_000])));
            instance.call(touch, &[object], &mut []).unwrap();
            assert!(instance.call(trap, &[], &mut []).is_err());
            assert_eq!(instance.memory_bytes(), (1 + 1 + 32) << 16);
        };
        for _ in 0..50 {
            round();
        }
        let (before, resident) = (settled(), resident_bytes());
        for _ in 0..1000 {
            round();
        }
        settle(&engine.id().to_string(), before, |now| now == before);
        let grown = resident_bytes().saturating_sub(resident);
        assert!(grown < 4 << 20, "{} kept {grown} bytes", engine.id());
    }
}

fn modules_give_their_code_back() {
    let wasm = wat::parse_str(r#"(module (memory 1) (func (export "f")))"#).unwrap();
    for engine in engines() {
        let round = || {
            let module = engine.compile(&wasm).unwrap();
            let mut instance = module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap();
            drop(module);
            let func = engine_api::FuncIndex(0);
            instance.call(func, &[], &mut []).unwrap();
        };
        // The compilers' threads make the allocator create its arenas, whose number is limited.
        for _ in 0..100 {
            round();
        }
        let before = settled();
        for _ in 0..100 {
            round();
        }
        // On a busy machine more of those threads run at once, and the allocator may create a few
        // more arenas. A module that is kept has mappings of its own, so a hundred would show.
        settle(&engine.id().to_string(), before, |now| {
            now.maps <= before.maps + 50 && now.threads == before.threads
        });
    }
}

fn the_watchdog_lives_as_long_as_something_is_watched() {
    let wasm = wat::parse_str(r#"(module (func (export "spin") (loop (br 0))))"#).unwrap();
    let engine = Wasmer::cranelift().unwrap();
    let module = engine.compile(&wasm).unwrap();
    let threads = || footprint().threads;
    let limits = Limits {
        deadline: Some(Duration::from_millis(10)),
        ..Limits::default()
    };
    let before = settled().threads;
    let plain = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    assert_eq!(threads(), before);
    let mut instances: Vec<_> = (0..10)
        .map(|_| module.instantiate(&Imports::new(), &limits).unwrap())
        .collect();
    assert_eq!(threads(), before + 1);
    for instance in &mut instances {
        let spin = engine_api::FuncIndex(0);
        assert!(instance.call(spin, &[], &mut []).is_err());
    }
    drop(instances);
    assert_eq!(threads(), before);
    let interrupter = plain.interrupter().unwrap();
    assert_eq!(threads(), before + 1);
    drop(plain);
    assert_eq!(threads(), before);
    interrupter.interrupt();
}
