//! A call in which the guest ran out of memory and went on is repeated on a clean generation.

use conformance::prelude::*;
use proxy_core::{Proxy, args};

/// As a C program: `put` gives 7 where `malloc` gives null. `leak` is pure. `cells` come from a
/// heap of 100 that the guest has for itself; `take` gives 7 where fewer are left.
const ROWS: &str = r#"(module
    (memory 1)
    (global $rows (mut i32) (i32.const 0))
    (global $cells (mut i32) (i32.const 100))
    (func (export "leak") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "put") (param i32) (result i32)
        (if (i32.eq (memory.grow (local.get 0)) (i32.const -1)) (then (return (i32.const 7))))
        (global.set $rows (i32.add (global.get $rows) (i32.const 1)))
        (i32.const 0))
    (func (export "rows") (result i32) (global.get $rows))
    (func $take (param i32) (result i32)
        (if (i32.gt_u (local.get 0) (global.get $cells)) (then (return (i32.const 7))))
        (global.set $cells (i32.sub (global.get $cells) (local.get 0)))
        (i32.const 0))
    (export "take" (func $take))
    (export "waste" (func $take)))"#;

const POLICY: &str = r#"
    [[export]]
    match = "put"
    role = "mutate"
    [[export]]
    match = "take"
    role = "mutate"
    exhausted = [7]
    [[export]]
    match = "*"
    role = "pure"
"#;

fn proxied(engine: &EngineUnderTest, text: &str) -> Proxy {
    let limits = Limits {
        memory_bytes_max: Some(64 * PAGE_BYTES),
        ..Limits::default()
    };
    let builder = engine.proxied_wat(text, POLICY).limits(limits);
    builder.build().unwrap()
}

fn call(proxy: &Proxy, name: &str, arg: i32) -> i32 {
    proxy.call(name, args![arg]).unwrap().i32().unwrap()
}

fn rows(proxy: &Proxy) -> i32 {
    proxy.call("rows", args![]).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn refused_growth_costs_the_generation_and_not_the_call(engine: &EngineUnderTest) {
    let proxy = proxied(engine, ROWS);
    for round in 1..=3 {
        let before = i32::try_from(proxy.memory_bytes() / PAGE_BYTES).unwrap();
        assert_eq!(call(&proxy, "leak", 64 - before), before);
        assert_eq!(call(&proxy, "put", 1), 0);
        assert_eq!(rows(&proxy), round);
        assert_eq!(
            proxy.debug_info().emergencies,
            u64::try_from(round).unwrap()
        );
    }
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!((rows(&proxy), proxy.debug_info().divergences), (3, 0));
}

#[apply(every_engine)]
fn growth_that_never_fits_is_refused_after_one_rebuild(engine: &EngineUnderTest) {
    let proxy = proxied(engine, ROWS);
    for _ in 0..20 {
        assert_eq!(call(&proxy, "put", 64), 7);
        assert_eq!(call(&proxy, "put", 1), 0);
    }
    assert_eq!((rows(&proxy), proxy.debug_info().emergencies), (20, 1));
    proxy.prepare_standby().unwrap();
}

#[apply(every_engine)]
fn a_memory_that_never_grows_costs_no_rebuild(engine: &EngineUnderTest) {
    let text = ROWS.replace("(memory 1)", "(memory 2 2)");
    let proxy = proxied(engine, &text);
    for _ in 0..5 {
        assert_eq!(call(&proxy, "put", 1), 7);
    }
    assert_eq!(proxy.debug_info().emergencies, 0);
    let verified = proxy.verify_on(Arc::clone(engine.shared())).unwrap();
    assert_eq!(verified.entries, 5);
}

#[apply(every_engine)]
fn a_status_code_for_exhaustion_costs_the_generation_and_not_the_call(engine: &EngineUnderTest) {
    let proxy = proxied(engine, ROWS);
    assert_eq!(call(&proxy, "take", 10), 0);
    assert_eq!(call(&proxy, "waste", 85), 0);
    assert_eq!(
        call(&proxy, "take", 10),
        0,
        "a clean generation has the cells"
    );
    assert_eq!(proxy.debug_info().emergencies, 1);
    assert_eq!(call(&proxy, "take", 90), 7, "no generation has");
    assert_eq!(proxy.debug_info().emergencies, 2);
    assert_eq!(call(&proxy, "take", 80), 0);
    proxy.prepare_standby().unwrap();
    assert_eq!(proxy.debug_info().divergences, 0);
}
