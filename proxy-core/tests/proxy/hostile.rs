//! Hostile guests and confused callers get typed errors, cause no panic, and harm nobody else.

use std::time::Instant;

use engine_api::{Error as EngineError, Trap, Val};
use proxy_core::{CallError, Error, Value, args};

use super::world::{World, add, counter, leak_pages, swap, until_live, value};
use crate::fake::number;

/// Exports that return any two numbers as the pointer and length of bytes or text, in both forms.
fn liar(role: &str) -> World {
    let entry = |kind: &str| format!("role = \"{role}\"\nresults = [\"{kind}\"]");
    let pair = |_: &mut crate::fake::FakeInstance, args: &[Val]| Ok(args.to_vec());
    let packed = |_: &mut crate::fake::FakeInstance, args: &[Val]| {
        let (address, len) = (
            number(&args[0]).cast_unsigned(),
            number(&args[1]).cast_unsigned(),
        );
        Ok(vec![Val::from(u64::from(address) | (u64::from(len) << 32))])
    };
    World::new()
        .func(
            "bytes",
            "(param i32 i32) (result i32 i32)",
            &entry("bytes"),
            pair,
        )
        .func(
            "bytes_borrowed",
            "(param i32 i32) (result i32 i32)",
            &entry("bytes:borrowed"),
            pair,
        )
        .func(
            "text",
            "(param i32 i32) (result i32 i32)",
            &entry("string:borrowed"),
            pair,
        )
        .func(
            "packed",
            "(param i32 i32) (result i64)",
            &entry("bytes:borrowed"),
            packed,
        )
}

#[test]
fn pointers_and_lengths_outside_the_memory_are_refused() {
    for role in ["pure", "mutate"] {
        let (proxy, engine) = liar(role).build();
        let one = counter(&proxy);
        add(&proxy, one, 1);
        for (pointer, len) in [
            (0xffff_fff0_u32, 0x20_u32),
            (0xffff_ffff, 0xffff_ffff),
            (1, 0xffff_ffff),
            (65_536, 1),
            (65_535, 2),
            (8, 0x8000_0000),
        ] {
            for export in ["bytes", "bytes_borrowed", "text", "packed"] {
                let error = proxy.call(export, args![pointer, len]).unwrap_err();
                assert!(
                    matches!(&error, Error::Call(CallError::GuestData { export: named, .. }) if named == export),
                    "{export}({pointer}, {len}): {error}"
                );
            }
        }
        assert_eq!(value(&proxy, one), 1);
        let last = proxy.call("bytes_borrowed", args![65_535, 1]).unwrap();
        assert_eq!(last.bytes().unwrap(), [0], "the last byte is in it");
        let null = proxy.call("bytes", args![0, 100]).unwrap();
        assert_eq!(null.as_slice(), [Value::Null]);
        swap(&proxy);
        assert_eq!(value(&proxy, one), 1);
        until_live(&proxy, &engine, 1);
    }
}

#[test]
fn text_that_is_no_utf8_is_refused() {
    for role in ["pure", "mutate"] {
        let world = World::new().func(
            "name",
            "(param i32) (result i32 i32)",
            &format!("role = \"{role}\"\nresults = [\"string:borrowed\"]"),
            |guest, args| {
                let texts: [&[u8]; 4] = [b"caf\xc3\xa9", b"\xff\xfe", b"\xc3", b"nul\0"];
                let text = texts[number(&args[0]).cast_unsigned() as usize];
                guest.write(1024, text)?;
                let len = u32::try_from(text.len()).expect("it is short");
                Ok(vec![Val::I32(1024), Val::from(len)])
            },
        );
        let (proxy, _) = world.build();
        let one = counter(&proxy);
        let name = |which: i32| proxy.call("name", args![which]);
        assert_eq!(name(0).unwrap().text().unwrap(), "café");
        assert!(matches!(
            name(1),
            Err(Error::Call(CallError::GuestData { .. }))
        ));
        assert!(matches!(
            name(2),
            Err(Error::Call(CallError::GuestData { .. }))
        ));
        assert_eq!(name(3).unwrap().text().unwrap(), "nul\0");
        swap(&proxy);
        assert_eq!(value(&proxy, one), 0);
    }
}

#[test]
fn an_allocator_that_lies_is_refused() {
    for (address, entry) in [
        (0xffff_fff0_u32, "role = \"pure\"\nargs = [\"bytes\"]"),
        (65_530, "role = \"mutate\"\nargs = [\"bytes\"]"),
    ] {
        let world = World::new()
            .func(
                "guest_alloc",
                "(param i32) (result i32)",
                "",
                move |_, _| Ok(vec![Val::from(address)]),
            )
            .func("take", "(param i32 i32)", entry, |_, _| Ok(vec![]));
        let (proxy, _) = world.build();
        let one = counter(&proxy);
        let error = proxy.call("take", args![&[0_u8; 64][..]]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::GuestData { .. })),
            "{error}"
        );
        assert_eq!(value(&proxy, one), 0);
    }
}

#[test]
fn an_allocator_that_traps_costs_the_generation() {
    let world = World::new()
        .func("guest_alloc", "(param i32) (result i32)", "", |guest, _| {
            if guest.number == 1 {
                return Err(EngineError::Trap(Trap::MemoryOutOfBounds));
            }
            Ok(vec![Val::from(guest.alloc(64)?)])
        })
        .func(
            "take",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"bytes\"]",
            |_, _| Ok(vec![]),
        );
    let (proxy, _) = world.build();
    proxy.call("take", args![&[0_u8; 64][..]]).unwrap();
    assert_eq!(proxy.debug_info().emergencies, 1);
}

#[test]
fn a_deallocator_that_traps_after_the_call_leaves_no_effect_behind() {
    let world = World::new()
        .func("guest_free", "(param i32 i32)", "", |guest, _| {
            if guest.number == 1 {
                return Err(EngineError::Trap(Trap::MemoryOutOfBounds));
            }
            Ok(vec![])
        })
        .func(
            "add_text",
            "(param i32 i32 i32)",
            "role = \"mutate\"\nargs = [\"handle\", \"string\"]\nmutates = [0]",
            |guest, args| {
                *guest.object(&args[0])? += 1;
                Ok(vec![])
            },
        );
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.call("add_text", args![one, "text"]).unwrap();
    assert_eq!(value(&proxy, one), 1, "made twice, counted once");
}

#[test]
fn handles_of_another_proxy_are_refused() {
    let (proxy, _) = World::new().build();
    let (other, _) = World::new().build();
    let (ours, theirs) = (counter(&proxy), counter(&other));
    assert_ne!(ours, theirs);
    for export in ["counter_value", "counter_free"] {
        let error = proxy.call(export, args![theirs]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::ForeignHandle { handle }) if handle == theirs),
            "{error}"
        );
    }
    let pinned = proxy.pinned(|pinned| pinned.call("counter_value", args![theirs]));
    assert!(matches!(
        pinned,
        Err(Error::Call(CallError::ForeignHandle { .. }))
    ));
    assert_eq!((value(&proxy, ours), value(&other, theirs)), (0, 0));
    assert_eq!(proxy.debug_info().tainted, None);
}

#[test]
fn freed_handles_are_refused_before_and_after_a_swap() {
    let (proxy, _) = World::new().build();
    let (kept, freed) = (counter(&proxy), counter(&proxy));
    proxy.call("counter_free", args![freed]).unwrap();
    for _ in 0..2 {
        for outcome in [
            proxy.call("counter_value", args![freed]),
            proxy.call("counter_add", args![freed, 1]),
            proxy.call("counter_free", args![freed]),
            proxy.pinned(|pinned| pinned.call("counter_value", args![freed])),
        ] {
            let error = outcome.unwrap_err();
            assert!(
                matches!(error, Error::Call(CallError::FreedHandle { handle }) if handle == freed),
                "{error}"
            );
        }
        assert_eq!(value(&proxy, kept), 0);
        swap(&proxy);
    }
    let info = proxy.debug_info();
    assert_eq!(info.journal_last.0, 3, "refused calls are not journaled");
    assert_eq!(info.journal_entries, 1, "what was freed is not replayed");
}

#[test]
fn a_handle_of_a_call_that_failed_does_not_exist() {
    // The object is made, but the second result is garbage.
    let world = World::new().func(
        "make",
        "(result i32 i32 i32)",
        "role = \"create\"\nresults = [\"handle:counter\", \"bytes\"]",
        |guest, _| {
            let address = guest.alloc(16)?;
            guest.objects.insert(address, 0);
            let len = if guest.number == 1 { -1 } else { 0 };
            Ok(vec![Val::from(address), Val::I32(8), Val::I32(len)])
        },
    );
    let (proxy, _) = world.build();
    assert!(matches!(
        proxy.call("make", args![]),
        Err(Error::Call(CallError::GuestData { .. }))
    ));
    assert_eq!(proxy.journal_digests().len(), 0);
    let made = proxy.call("make", args![]).unwrap().handle().unwrap();
    assert_eq!(made.sequence().0, 1);
    assert_eq!(value(&proxy, made), 0);
    assert_eq!(proxy.debug_info().objects, 1);
}

#[test]
fn memory_reports_that_are_no_numbers_are_ignored() {
    for report in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0] {
        let world = World::new()
            .pages(100)
            .policy(
                "[module]\nmemory_usage_export = \"usage\"\ncritical_memory_export = \"usage\"\n",
            )
            .func("usage", "(result f64)", "role = \"pure\"", move |_, _| {
                Ok(vec![Val::from(report)])
            });
        let (proxy, engine) = world.build();
        assert_eq!(proxy.memory_limit_bytes(), 100 * 65_536, "{report}");
        proxy.tick(Instant::now());
        assert_eq!(engine.probe().made(), 1, "{report}");
    }
}

#[test]
fn a_report_above_the_limit_is_not_swapped_in_circles() {
    for report in [7, -1] {
        let world = World::new()
            .pages(100)
            .policy("[module]\nmemory_usage_export = \"usage\"\n")
            .func("usage", "(result i64)", "role = \"pure\"", move |_, _| {
                Ok(vec![Val::I64(report)])
            });
        let (proxy, engine) = world.build();
        for _ in 0..50 {
            proxy.tick(Instant::now());
        }
        let made = engine.probe().made();
        assert!(made <= 3, "a new instance reports as much: {made} made");
        assert!(proxy.debug_info().state_exceeds_budget);
    }
}

#[test]
fn a_guest_that_takes_all_memory_at_once_harms_nobody() {
    let (healthy, _) = World::new().build();
    let theirs = counter(&healthy);
    let world = World::new().leaking().pages(64);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    for _ in 0..20 {
        proxy.call("leak", args![63]).unwrap();
        assert_eq!(value(&proxy, one), 0);
        add(&healthy, theirs, 1);
    }
    leak_pages(&proxy, 3);
    assert_eq!(value(&healthy, theirs), 20);
    assert!(engine.probe().peak() <= 3);
    until_live(&proxy, &engine, 1);
}

#[test]
fn names_of_all_kinds_are_only_names() {
    for name in [
        "",
        "\"\n{}",
        "<script>",
        "../../etc/passwd",
        "\u{1b}[31m",
        "日本",
    ] {
        let world = World::new().func(name, "(result i32)", "", |_, _| Ok(vec![Val::I32(1)]));
        let (proxy, _) = world.build();
        assert_eq!(proxy.call(name, args![]).unwrap().i32().unwrap(), 1);
        swap(&proxy);
    }
}
