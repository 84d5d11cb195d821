//! Recursion: endless recursion traps, and deep recursion succeeds.

use conformance::prelude::*;

const RECURSION: &str = r#"(module
    (type $endless (func (param i64) (result i64)))
    (table funcref (elem $ping $pong))
    (global $depth (export "depth") (mut i32) (i32.const 0))
    (func $forever (export "forever")
        (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
        (call $forever))
    (func $ping (export "mutual") (param i64) (result i64)
        (i64.add (local.get 0)
            (call_indirect (type $endless) (i64.add (local.get 0) (i64.const 1)) (i32.const 1))))
    (func $pong (param i64) (result i64)
        (i64.add (local.get 0)
            (call_indirect (type $endless) (i64.add (local.get 0) (i64.const 1)) (i32.const 0))))
    (func $sum (export "sum") (param i32) (result i64)
        (if (result i64) (i32.eqz (local.get 0))
            (then (i64.const 0))
            (else (i64.add
                (i64.extend_i32_u (local.get 0))
                (call $sum (i32.sub (local.get 0) (i32.const 1)))))))
    (func (export "fine") (result i32) i32.const 1))"#;

#[apply(every_engine)]
fn endless_recursion_is_a_stack_overflow(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(RECURSION);
    for _ in 0..3 {
        assert_eq!(
            trap_of(instance.invoke("forever", &[])),
            Trap::StackOverflow
        );
        assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    }
}

#[apply(every_engine)]
fn endless_mutual_recursion_through_a_table_is_a_stack_overflow(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(RECURSION);
    assert_eq!(
        trap_of(instance.invoke("mutual", &[Val::I64(1)])),
        Trap::StackOverflow
    );
}

#[apply(every_engine)]
fn endless_recursion_with_large_frames_is_a_stack_overflow(engine: &EngineUnderTest) {
    // Frames of 16 KiB and more step over a guard page of one page, unless they are probed.
    let locals = "i64 ".repeat(2_000);
    let adds: String = (0..2_000)
        .map(|local| format!("(local.set {local} (i64.add (local.get {local}) (local.get 0)))"))
        .collect();
    let sums: String = (0..2_000)
        .map(|local| format!("local.get {local} i64.add "))
        .collect();
    let text = format!(
        r#"(module (func $f (export "f") (param i64) (result i64) (local {locals})
            {adds} (call $f (i64.add (local.get 0) (i64.const 1))) {sums}))"#
    );
    let mut instance = engine.instantiate(&text);
    assert_eq!(
        trap_of(instance.invoke("f", &[Val::I64(1)])),
        Trap::StackOverflow
    );
}

#[apply(every_engine)]
fn deep_but_finite_recursion_returns(engine: &EngineUnderTest) {
    // 4,000 calls fit in the default stack of 1 MiB with frames of 256 bytes.
    let mut instance = engine.instantiate(RECURSION);
    let sum = instance.invoke("sum", &[Val::I32(4_000)]).unwrap();
    assert_eq!(sum, [Val::I64(4_000 * 4_001 / 2)]);
}

#[apply(every_engine)]
fn stack_overflows_on_several_threads_are_traps(engine: &EngineUnderTest) {
    let module = engine.module(RECURSION);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut instance = module
                    .instantiate(&Imports::new(), &Limits::default())
                    .unwrap();
                for _ in 0..3 {
                    assert_eq!(
                        trap_of(instance.invoke("forever", &[])),
                        Trap::StackOverflow
                    );
                }
            });
        }
    });
}

#[apply(every_engine)]
fn the_stack_limit_belongs_to_the_engine_or_its_runtime_as_the_capability_says(
    engine: &EngineUnderTest,
) {
    // In a process of its own, because without the capability it changes the runtime for all cases.
    conformance::probe::run(crate::PROBE, &["stack", engine.name()]);
}

#[apply(every_engine)]
fn endless_recursion_through_a_host_function_is_a_stack_overflow(engine: &EngineUnderTest) {
    // In a process of its own, because a failure would end the process.
    conformance::probe::run(crate::PROBE, &["recursion-through-host", engine.name()]);
}
