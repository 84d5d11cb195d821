//! Host functions are recorded during journaled calls, and not asked again on replay.

use std::sync::atomic::{AtomicU64, Ordering};

use conformance::prelude::*;
use proxy_core::args;

/// Draws randomness from the host, by result and by memory, and calls back into the guest.
const DRAWING: &str = r#"(module
    (import "host" "now" (func $now (result i64)))
    (import "host" "fill" (func $fill (param i32 i32)))
    (import "host" "back" (func $back (param i64) (result i64)))
    (memory (export "memory") 1)
    (global $sum (mut i64) (i64.const 0))
    (global $started (mut i64) (i64.const 0))
    (func $start (global.set $started (call $now)))
    (start $start)
    (func (export "add") (param i64) (result i64)
        (global.set $sum (i64.add (global.get $sum) (local.get 0)))
        (global.get $sum))
    (func (export "draw") (result i64)
        (call $fill (i32.const 64) (i32.const 8))
        (drop (call $back (i64.load (i32.const 64))))
        (global.set $sum (i64.add (global.get $sum) (call $now)))
        (global.get $sum))
    (func (export "sum") (result i64) (i64.add (global.get $sum) (global.get $started))))"#;

const POLICY: &str = r#"
    [[export]]
    match = "{draw,add}"
    role = "mutate"
    [[export]]
    match = "sum"
    role = "pure"
"#;

/// A host that never gives the same answer twice.
fn restless_host() -> (Imports, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(1000));
    let mut imports = Imports::new();
    let clock = Arc::clone(&asked);
    imports.func(
        "host",
        "now",
        FuncType::new(&[], &[ValType::I64]),
        move |_, _, results| {
            results[0] = Val::from(clock.fetch_add(1, Ordering::Relaxed));
            Ok(())
        },
    );
    let random = Arc::clone(&asked);
    let pointer_and_len = FuncType::new(&[ValType::I32, ValType::I32], &[]);
    imports.func("host", "fill", pointer_and_len, move |caller, args, _| {
        let (Some(pointer), Some(len)) = (args[0].i32(), args[1].i32()) else {
            unreachable!()
        };
        let byte = random.fetch_add(1, Ordering::Relaxed).to_le_bytes()[0];
        let bytes = vec![byte; usize::try_from(len).unwrap()];
        caller.memory_write(MemoryIndex(0), u64::from(pointer.cast_unsigned()), &bytes)
    });
    let back = FuncType::new(&[ValType::I64], &[ValType::I64]);
    imports.func("host", "back", back, |caller, args, results| {
        let add = caller.info().function("add")?.0;
        caller.call(add, args, results)
    });
    (imports, asked)
}

#[apply(every_engine)]
fn answers_and_writes_of_the_host_are_fed_back_on_every_engine(engine: &EngineUnderTest) {
    let (imports, asked) = restless_host();
    let proxy = engine
        .proxied_wat(DRAWING, POLICY)
        .imports(imports)
        .build()
        .unwrap();
    for _ in 0..5 {
        proxy.call("draw", args![]).unwrap();
    }
    proxy.call("add", args![3_i64]).unwrap();
    let sum = proxy.call("sum", args![]).unwrap();
    let answers = asked.load(Ordering::Relaxed);
    for target in engines::all() {
        proxy.verify_on(Arc::clone(target.remembering())).unwrap();
    }
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(proxy.call("sum", args![]).unwrap(), sum);
    assert_eq!(
        asked.load(Ordering::Relaxed),
        answers,
        "the host was asked again"
    );
    proxy.call("draw", args![]).unwrap();
    assert!(
        asked.load(Ordering::Relaxed) > answers,
        "the new generation asks the host"
    );
}

#[apply(every_engine)]
fn a_host_function_that_calls_the_proxy_is_refused(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "host" "call" (func $call))
        (func (export "go") (call $call)))"#;
    let slot: Arc<std::sync::OnceLock<proxy_core::Proxy>> = Arc::default();
    let mut imports = Imports::new();
    let inner = Arc::clone(&slot);
    imports.func("host", "call", FuncType::new(&[], &[]), move |_, _, _| {
        let error = inner.get().unwrap().call("go", args![]).unwrap_err();
        assert!(matches!(error, proxy_core::Error::Reentrant), "{error}");
        let error = inner.get().unwrap().prepare_standby().unwrap_err();
        assert!(matches!(error, proxy_core::Error::Reentrant), "{error}");
        Ok(())
    });
    let policy = "[[export]]\nmatch = \"go\"\nrole = \"pure\"";
    let proxy = engine
        .proxied_wat(text, policy)
        .imports(imports)
        .build()
        .unwrap();
    slot.set(proxy.clone()).unwrap();
    proxy.call("go", args![]).unwrap();
    assert!(proxy.shutdown());
}
