//! The audit: which exports that the policy calls pure are not.

use engine_api::{FuncType, Val, ValType};
use proxy_core::{Audit, Error, Proxy, args};

use super::world::{World, add, counter, instance_number, swap, value};

/// `sneak(n)` writes and is called pure, `sneaked()` reads that, and `idle()` does neither.
fn sneaky() -> World {
    World::new()
        .func("sneak", "(param i32)", "role = \"pure\"", |guest, args| {
            let by = args[0].i32().unwrap();
            *guest.counters.entry("sneaked").or_default() += i64::from(by);
            Ok(vec![])
        })
        .func("sneaked", "(result i64)", "role = \"pure\"", |guest, _| {
            Ok(vec![Val::from(
                guest.counters.get("sneaked").copied().unwrap_or(0),
            )])
        })
        .func("idle", "(result i32)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::I32(1)])
        })
}

fn audited(world: &World) -> Proxy {
    let engine = world.script.engine();
    world.builder(&engine).audit(true).build().unwrap()
}

fn exports(audit: &Audit) -> Vec<(&str, &str, &str)> {
    let lost = audit.lost.iter();
    lost.map(|seen| (&*seen.export, &*seen.without, &*seen.with))
        .collect()
}

#[test]
fn an_audit_names_who_writes_and_who_reads_it() {
    let proxy = audited(&sneaky().checkpointed());
    let one = counter(&proxy);
    proxy.call("sneak", args![3]).unwrap();
    add(&proxy, one, 1);
    proxy.call("sneak", args![4]).unwrap();
    proxy.call("idle", args![]).unwrap();
    proxy.typed::<(), i64>("sneaked").unwrap().call(()).unwrap();
    let audit = proxy.audit().unwrap();
    assert_eq!((audit.entries, audit.calls, audit.left_out), (2, 4, 0));
    assert_eq!(audit.asked, 4, "two of `sneak`, one of each other");
    // The questions themselves write, in the same way on each instance.
    assert_eq!(exports(&audit), [("sneaked", "I64(7)", "I64(14)")]);
    assert_eq!(audit.writers, ["sneak"]);
    assert!(audit.undecided.is_empty());
    let memory = audit.memory.unwrap();
    assert!(memory[0].contains("memory 1"), "{memory:?}");
    let sneaked = proxy.call("sneaked", args![]).unwrap().i64().unwrap();
    assert_eq!(sneaked, 7, "the active generation was not asked");
}

#[test]
fn an_audit_finds_nothing_where_pure_is_pure() {
    let world = World::new().checkpointed();
    let proxy = audited(&world);
    let one = counter(&proxy);
    add(&proxy, one, 5);
    assert_eq!(value(&proxy, one), 5);
    let audit = proxy.audit().unwrap();
    assert!(
        audit.lost.is_empty() && audit.writers.is_empty(),
        "{audit:?}"
    );
    assert_eq!(audit.memory, Some(vec![]));
    // A leak is a trace in memory that no call can notice.
    proxy
        .pinned(|pinned| pinned.call("snapshot", args![one]).map(drop))
        .unwrap();
    let audit = proxy.audit().unwrap();
    assert!(audit.lost.is_empty(), "{audit:?}");
    assert_ne!(audit.memory, Some(vec![]), "a hint, and no proof");
}

#[test]
fn a_write_that_a_swap_has_lost_is_still_found() {
    let proxy = audited(&sneaky());
    proxy.call("sneak", args![1]).unwrap();
    proxy.call("sneaked", args![]).unwrap();
    swap(&proxy);
    let audit = proxy.audit().unwrap();
    assert_eq!(audit.writers, ["sneak"]);
    assert_eq!(audit.memory, None, "this engine captures nothing");
}

#[test]
fn what_is_not_deterministic_proves_nothing() {
    let world = sneaky().func("who", "(result i32)", "role = \"pure\"", |guest, _| {
        Ok(vec![Val::I32(instance_number(guest))])
    });
    let proxy = audited(&world);
    proxy.call("who", args![]).unwrap();
    let audit = proxy.audit().unwrap();
    assert!(audit.lost.is_empty(), "{audit:?}");
    assert_eq!(audit.undecided, ["who"]);
}

#[test]
fn calls_with_pointers_or_of_the_host_are_left_out_and_no_host_function_runs() {
    let asked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    let ty = FuncType::new(&[], &[ValType::I32]);
    let world = sneaky()
        .import("ask", ("(result i32)", ty), move |_, _, results| {
            counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            results[0] = Val::I32(1);
            Ok(())
        })
        .func("ask", "(result i32)", "role = \"pure\"", |guest, _| {
            guest.host("env", "ask", &[])
        });
    let proxy = audited(&world);
    let one = counter(&proxy);
    proxy.call("ask", args![]).unwrap();
    proxy
        .pinned(|pinned| {
            let copy = pinned.call("snapshot", args![one])?.pointer()?;
            pinned.call("snapshot_value", args![copy])
        })
        .unwrap();
    let audit = proxy.audit().unwrap();
    assert_eq!((audit.calls, audit.left_out), (1, 2));
    assert_eq!(asked.load(std::sync::atomic::Ordering::SeqCst), 1);
}

#[test]
fn calls_that_no_longer_fit_are_left_out() {
    let world = sneaky().leaking().pages(8);
    let proxy = audited(&world);
    proxy.call("sneak", args![1]).unwrap();
    for _ in 0..3 {
        proxy.call("leak", args![4]).unwrap();
        proxy.call("sneaked", args![]).unwrap();
        swap(&proxy);
    }
    let audit = proxy.audit().unwrap();
    assert!(audit.left_out > 0 && audit.calls > 0, "{audit:?}");
    assert_eq!(audit.writers, ["sneak"]);
}

#[test]
fn a_proxy_that_keeps_no_pure_calls_says_how_to_keep_them() {
    let (proxy, _) = sneaky().build();
    let error = proxy.audit().unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
    assert!(error.to_string().contains("Builder::audit"), "{error}");
}
