//! Tests of what only this engine promises: calls that do not allocate, its own capabilities, and
//! nothing left behind. `conformance` tests the behaviour that all engines share.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod features;
mod interruption;
mod memories;
mod references;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use engine_api::{Engine, EngineConfig, Error, Imports, Instance, Limits, Module, Trap};
use engine_wasmtime::{Compiler, Wasmtime};

/// Counts the allocations of each thread separately.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

#[expect(unsafe_code, reason = "the trait of allocators is unsafe")]
// SAFETY: everything is left to the system's allocator; a `const` thread-local does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

fn engines() -> [Wasmtime; 2] {
    [Wasmtime::cranelift().unwrap(), Wasmtime::winch().unwrap()]
}

fn engines_with(config: &EngineConfig) -> [Wasmtime; 2] {
    [Compiler::Cranelift, Compiler::Winch]
        .map(|compiler| Wasmtime::with_config(compiler, config).unwrap())
}

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn compile(engine: &Wasmtime, text: &str) -> Arc<dyn Module> {
    engine
        .compile(&wat(text))
        .unwrap_or_else(|error| panic!("{}: {error}", engine.id()))
}

fn instance(engine: &Wasmtime, text: &str) -> Box<dyn Instance> {
    limited(engine, text, &Limits::default()).unwrap()
}

fn limited(engine: &Wasmtime, text: &str, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
    compile(engine, text).instantiate(&Imports::new(), limits)
}

fn trap_of<T>(outcome: Result<T, Error>) -> Trap {
    match outcome {
        Err(Error::Trap(trap)) => trap,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it returned"),
    }
}

/// A function that never returns, and one that returns after some rounds.
const SPIN: &str = r#"(module
    (func (export "spin") (loop br 0))
    (func (export "work") (param i32) (result i32)
        (loop (local.set 0 (i32.sub (local.get 0) (i32.const 1))) (br_if 0 (local.get 0)))
        i32.const 7))"#;
