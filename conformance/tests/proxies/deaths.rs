//! A generation that dies is rebuilt from the journal, and the call that killed it is repeated
//! where that is safe.

use std::sync::atomic::{AtomicU32, Ordering};

use conformance::prelude::*;
use proxy_core::{CallError, Error as ProxyError, args};

/// `make` and `touch` trap when the switch is thrown; `kick` throws it and is not journaled.
const FRAGILE: &str = r#"(module
    (import "host" "effect" (func $effect))
    (global $broken (mut i32) (i32.const 0))
    (global $count (mut i32) (i32.const 0))
    (func $check (if (global.get $broken) (then (unreachable))))
    (func (export "break") (global.set $broken (i32.const 1)))
    (func (export "add") (result i32)
        (call $check)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.get $count))
    (func (export "add_with_effect") (result i32)
        (call $effect)
        (call $check)
        (global.get $count))
    (func (export "count") (result i32) (call $check) (global.get $count))
    (func (export "always") (i32.div_s (i32.const 1) (i32.const 0)) (drop)))"#;

const POLICY: &str = r#"
    strict = true
    [[export]]
    match = "add*"
    role = "mutate"
    [[export]]
    match = "{break,count,always}"
    role = "pure"
"#;

fn fragile(engine: &EngineUnderTest, policy: &str) -> (proxy_core::Proxy, Arc<AtomicU32>) {
    let effects = Arc::new(AtomicU32::new(0));
    let mut imports = Imports::new();
    imports.func("host", "effect", FuncType::new(&[], &[]), {
        let effects = Arc::clone(&effects);
        move |_, _, _| {
            effects.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }
    });
    let proxy = engine
        .proxied_wat(FRAGILE, policy)
        .imports(imports)
        .build()
        .unwrap();
    for count in 1..=3 {
        assert_eq!(proxy.call("add", args![]).unwrap().i32().unwrap(), count);
    }
    (proxy, effects)
}

#[apply(every_engine)]
fn a_pure_call_that_traps_is_repeated_on_a_clean_generation(engine: &EngineUnderTest) {
    let (proxy, _) = fragile(engine, POLICY);
    proxy.call("break", args![]).unwrap();
    assert_eq!(proxy.call("count", args![]).unwrap().i32().unwrap(), 3);
    let info = proxy.debug_info();
    assert_eq!((info.retries, info.emergencies, info.generation), (1, 1, 2));
    assert_eq!(info.generations_alive, 1);
}

#[apply(every_engine)]
fn a_journaled_call_that_traps_is_repeated_and_journaled_once(engine: &EngineUnderTest) {
    let (proxy, _) = fragile(engine, POLICY);
    proxy.call("break", args![]).unwrap();
    assert_eq!(proxy.call("add", args![]).unwrap().i32().unwrap(), 4);
    assert_eq!(proxy.debug_info().journal_entries, 4);
}

#[apply(every_engine)]
fn a_call_with_an_effect_outside_is_not_repeated(engine: &EngineUnderTest) {
    let (proxy, effects) = fragile(engine, POLICY);
    proxy.call("break", args![]).unwrap();
    let error = proxy.call("add_with_effect", args![]).unwrap_err();
    assert!(
        matches!(
            error,
            ProxyError::Call(CallError::Trapped {
                side_effects: true,
                retried: false,
                ..
            })
        ),
        "{error}"
    );
    assert_eq!(effects.load(Ordering::Relaxed), 1);
    assert_eq!(proxy.call("count", args![]).unwrap().i32().unwrap(), 3);
}

#[apply(every_engine)]
fn a_call_whose_host_functions_have_no_effect_outside_is_repeated(engine: &EngineUnderTest) {
    let policy = format!("{POLICY}\n[[import]]\nmatch = \"host.*\"\neffect = \"none\"");
    let (proxy, effects) = fragile(engine, &policy);
    proxy.call("break", args![]).unwrap();
    assert_eq!(
        proxy
            .call("add_with_effect", args![])
            .unwrap()
            .i32()
            .unwrap(),
        3
    );
    assert_eq!(effects.load(Ordering::Relaxed), 2);
}

#[apply(every_engine)]
fn a_call_that_always_traps_fails_by_name_and_costs_nobody_else(engine: &EngineUnderTest) {
    let (proxy, _) = fragile(engine, POLICY);
    let error = proxy.call("always", args![]).unwrap_err();
    let trap = Trap::IntegerDivisionByZero;
    assert!(
        matches!(error, ProxyError::Call(CallError::Trapped { trap: t, retried: true, .. }) if t == trap),
        "{error}"
    );
    assert_eq!(proxy.call("add", args![]).unwrap().i32().unwrap(), 4);
}

#[apply(every_engine)]
fn switched_off_a_death_is_reported_and_switched_on_it_is_mended(engine: &EngineUnderTest) {
    let (proxy, _) = fragile(engine, POLICY);
    proxy.set_enabled(false);
    assert_eq!(proxy.call("add", args![]).unwrap().i32().unwrap(), 4);
    proxy.call("break", args![]).unwrap();
    assert!(matches!(
        proxy.call("count", args![]),
        Err(ProxyError::Call(CallError::Trapped { .. }))
    ));
    assert!(matches!(
        proxy.call("count", args![]),
        Err(ProxyError::DiedInPassthrough { .. })
    ));
    assert!(matches!(
        proxy.prepare_standby(),
        Err(ProxyError::Passthrough)
    ));
    proxy.set_enabled(true);
    assert_eq!(proxy.call("count", args![]).unwrap().i32().unwrap(), 4);
}
