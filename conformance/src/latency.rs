//! How long after its deadline a guest is ended.

use std::time::{Duration, Instant};

use engine_api::{
    Engine, Extern, FuncType, Imports, Instance, InstanceExt, Limits, MemoryType, Trap,
};

use crate::expect::{binary, trap_of};

/// How a guest spends its time: the name of an export, and what it does.
pub const WAYS: [(&str, &str); 8] = [
    ("loop", "an empty loop"),
    ("calls", "a loop of calls"),
    ("fill", "a loop of fills of 16 MiB"),
    ("fill-1-gib", "one fill of 1 GiB after another"),
    ("copy", "a loop of copies of 8 MiB"),
    ("host-calls", "a loop of calls of a host function"),
    ("wait", "one atomic wait"),
    ("waits", "a loop of atomic waits"),
];

const TEXT: &str = r#"(module
    (import "env" "nothing" (func $host))
    (memory 256 16384)
    (func $nothing)
    (func (export "loop") (loop br 0))
    (func (export "calls") (loop (call $nothing) (br 0)))
    (func (export "fill")
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x1000000)) (br 0)))
    (func (export "fill-1-gib")
        (drop (memory.grow (i32.const 16128)))
        (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x40000000)) (br 0)))
    (func (export "copy")
        (loop (memory.copy (i32.const 0) (i32.const 0x800000) (i32.const 0x800000)) (br 0)))
    (func (export "host-calls") (loop (call $host) (br 0))))"#;

const WAITING: &str = r#"(module
    (import "env" "memory" (memory 1 4 shared))
    (func (export "wait") (drop
        (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))
    (func (export "waits") (loop (drop
        (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const 1000000))) (br 0))))"#;

/// How long after the deadline the calls of one way ended, shortest first.
///
/// # Panics
///
/// If a call ends for another reason.
#[must_use]
pub fn kills(engine: &dyn Engine, way: &str, deadline: Duration, count: usize) -> Vec<Duration> {
    let mut late: Vec<Duration> = (0..count)
        .map(|_| {
            let mut instance = instance(engine, way, deadline);
            let started = Instant::now();
            let trap = trap_of(instance.invoke(way, &[]));
            assert_eq!(trap, Trap::DeadlineExceeded, "{way}");
            started.elapsed().saturating_sub(deadline)
        })
        .collect();
    late.sort();
    late
}

fn instance(engine: &dyn Engine, way: &str, deadline: Duration) -> Box<dyn Instance> {
    let limits = Limits {
        deadline: Some(deadline),
        ..Limits::default()
    };
    let mut imports = Imports::new();
    imports.func("env", "nothing", FuncType::default(), |_, _, _| Ok(()));
    let text = if way.starts_with("wait") {
        let memory = engine.shared_memory(MemoryType::shared(1, 4));
        let memory = memory.expect("every engine has shared memories");
        imports.define("env", "memory", Extern::SharedMemory(memory));
        WAITING
    } else {
        TEXT
    };
    let made = engine
        .compile(&binary(text))
        .and_then(|module| module.instantiate(&imports, &limits));
    made.expect("the guest is made")
}
