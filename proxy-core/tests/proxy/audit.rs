//! The audit: which exports that the policy calls pure are not.

use engine_api::{FuncType, MemoryIndex, Val, ValType};
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
    assert_eq!(audit.asked, 2, "`sneak` returns nothing");
    assert_eq!(exports(&audit), [("sneaked", "0", "7")]);
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

/// With and without checkpoints: each question has an instance of its own, or they share two.
fn both(world: impl Fn() -> World) -> [Proxy; 2] {
    [audited(&world()), audited(&world().checkpointed())]
}

#[test]
fn a_question_that_writes_does_not_hide_what_was_written_before() {
    let world = || {
        sneaky()
            .func("set", "(param f64)", "role = \"pure\"", |guest, args| {
                let Val::F64(bits) = args[0] else {
                    return Ok(vec![]);
                };
                guest.counters.insert("set", bits.cast_signed());
                Ok(vec![])
            })
            .func("get", "(result f64)", "role = \"pure\"", |guest, _| {
                let bits = guest.counters.get("set").copied().unwrap_or(0);
                Ok(vec![Val::F64(bits.cast_unsigned())])
            })
    };
    for proxy in both(world) {
        proxy.call("set", args![2.5_f64]).unwrap();
        proxy.call("get", args![]).unwrap();
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, ["set"], "{audit:?}");
        assert_eq!(exports(&audit), [("get", "0.0", "2.5")]);
    }
}

#[test]
fn sizes_and_addresses_are_no_proof_and_who_leaks_is_told() {
    let world = || {
        sneaky()
            .leaking()
            .func("pages", "(result i32)", "role = \"pure\"", |guest, _| {
                let bytes = engine_api::Caller::memory_size(guest, MemoryIndex(0))?;
                Ok(vec![Val::I32(i32::try_from(bytes >> 16).unwrap())])
            })
            .func("grab", "(result i32)", "role = \"pure\"", |guest, _| {
                Ok(vec![Val::from(guest.alloc(100)?)])
            })
    };
    for proxy in both(world) {
        let one = counter(&proxy);
        for _ in 0..3 {
            proxy.call("leak", args![1]).unwrap();
            proxy.call("pages", args![]).unwrap();
            proxy.call("grab", args![]).unwrap();
            assert_eq!(value(&proxy, one), 0);
        }
        let audit = proxy.audit().unwrap();
        assert_eq!(exports(&audit), [], "{audit:?}");
        assert_eq!(audit.writers, [""; 0]);
        // Without checkpoints the scripted heap begins elsewhere in each instance.
        let mut said = [audit.moved, audit.undecided].concat();
        said.sort();
        assert_eq!(said, ["grab", "pages"]);
        let leaks: Vec<&str> = audit.leaks.iter().map(|leak| &*leak.export).collect();
        assert_eq!(leaks, ["leak", "grab"], "in the order of the module");
        assert_eq!(audit.leaks[0].bytes, audit.leaks[0].calls * 65_536);
        // A write is found beside them.
        proxy.call("sneak", args![1]).unwrap();
        proxy.call("sneaked", args![]).unwrap();
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, ["sneak"], "{audit:?}");
    }
}

/// `look()` is journaled, and returns what `sneak` has written.
fn looked() -> World {
    sneaky().func("look", "(result i64)", "role = \"mutate\"", |guest, _| {
        let sneaked = guest.counters.get("sneaked").copied().unwrap_or(0);
        Ok(vec![Val::from(sneaked)])
    })
}

#[test]
fn a_journal_that_only_pure_calls_make_whole_names_the_writer() {
    for proxy in both(looked) {
        proxy.call("idle", args![]).unwrap();
        proxy.call("sneak", args![3]).unwrap();
        proxy.call("look", args![]).unwrap();
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, ["sneak"], "{audit:?}");
        assert_eq!(exports(&audit), [("look", "0", "3")]);
        assert!(audit.incomplete.is_some());
        assert_eq!((audit.left_out, audit.reasons.len()), (2, 1));
    }
}

#[test]
fn a_journaled_call_that_notices_pure_calls_of_an_older_generation_names_the_writer() {
    for proxy in both(looked) {
        proxy.call("sneak", args![3]).unwrap();
        proxy.call("sneaked", args![]).unwrap();
        swap(&proxy);
        proxy.call("look", args![]).unwrap();
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, ["sneak"], "{audit:?}");
        assert_eq!(exports(&audit), [("look", "0", "3")]);
        assert_eq!((audit.left_out, audit.asked), (1, 1));
        assert!(audit.reasons[0].reason.contains("`look`"), "{audit:?}");
    }
}

#[test]
fn a_journaled_call_for_which_no_memory_is_left_names_nobody() {
    let world = || {
        let entry = "role = \"mutate\"\nexhausted = [7]";
        let take = |guest: &mut crate::fake::FakeInstance, _: &[Val]| {
            let grown = engine_api::Caller::memory_grow(guest, MemoryIndex(0), 5);
            Ok(vec![Val::I32(if grown.is_ok() { 0 } else { 7 })])
        };
        let world = sneaky().leaking().pages(20);
        world.func("take", "(result i32)", entry, take)
    };
    for proxy in both(world) {
        for _ in 0..2 {
            proxy.call("leak", args![8]).unwrap();
            swap(&proxy);
        }
        assert_eq!(proxy.call("take", args![]).unwrap().i32().unwrap(), 0);
        let audit = proxy.audit().unwrap();
        assert_eq!(audit.writers, [""; 0], "{audit:?}");
        assert_eq!((audit.calls, audit.left_out), (1, 1));
        assert!(
            audit.reasons[0].reason.contains("does not fit"),
            "{audit:?}"
        );
    }
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
