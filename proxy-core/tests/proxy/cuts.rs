//! The ways out of a divergence: accept, skip, and save the objects.

use engine_api::{Error as EngineError, FuncType, Trap, Val};
use proxy_core::{
    CallError, CutKind, DivergenceKind, Error, Event, Handle, OnDivergence, Proxy, SequenceNumber,
    Source, args,
};

use super::world::{World, add, counter, swap, value};
use crate::fake::{address, number};

/// `roll()` counts, and returns 40 on the first instance and 41 on others.
fn rolling() -> World {
    World::new()
        .func("roll", "(result i32)", "role = \"mutate\"", |guest, _| {
            guest.count("rolls");
            Ok(vec![Val::I32(if guest.number == 1 { 40 } else { 41 })])
        })
        .func("rolls", "(result i32)", "role = \"pure\"", |guest, _| {
            let rolls = *guest.counters.entry("rolls").or_default();
            Ok(vec![Val::I32(i32::try_from(rolls).expect("few"))])
        })
}

fn call(proxy: &Proxy, name: &str) -> i32 {
    proxy.call(name, args![]).unwrap().i32().unwrap()
}

#[track_caller]
fn diverges_at(proxy: &Proxy, entry: u64) -> SequenceNumber {
    let error = proxy.prepare_standby().unwrap_err();
    let Error::Divergence(divergence) = error else {
        panic!("{error}");
    };
    assert_eq!(proxy.divergence(), Some((*divergence).clone()));
    assert_eq!(divergence.entry, SequenceNumber(entry));
    divergence.entry
}

#[test]
fn an_accepted_divergence_closes_the_breaker_and_is_remembered() {
    let world = rolling();
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    assert_eq!(call(&proxy, "roll"), 40);
    add(&proxy, one, 7);
    for _ in 0..3 {
        diverges_at(&proxy, 2);
    }
    assert_eq!(world.events.count("breaker-open"), 1);
    let cut = proxy.accept_divergence(SequenceNumber(2)).unwrap();
    assert_eq!(
        (cut.entry, cut.kind),
        (SequenceNumber(2), CutKind::Accepted)
    );
    assert_eq!((&*cut.expected, &*cut.got), ("40", "41"));
    assert_eq!(
        (&*cut.export, cut.journal_last),
        ("roll", SequenceNumber(3))
    );
    let info = proxy.debug_info();
    assert_eq!((info.failures, info.divergence), (0, None));
    assert_eq!(info.cuts, std::slice::from_ref(&cut));
    let told = format!("cut: {cut}");
    assert!(proxy.debug_info().to_string().contains(&told), "{told}");
    let told = world
        .events
        .all()
        .into_iter()
        .any(|event| matches!(event, Event::DivergenceAccepted { cut: told } if told == cut));
    assert!(told);
    swap(&proxy);
    assert_eq!((value(&proxy, one), call(&proxy, "rolls")), (7, 1));
    swap(&proxy);
    assert_eq!(proxy.debug_info().cuts.len(), 1);
}

#[test]
fn a_skipped_entry_is_left_out() {
    let world = rolling();
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    call(&proxy, "roll");
    add(&proxy, one, 7);
    let entry = diverges_at(&proxy, 2);
    let cut = proxy.skip_divergence(entry).unwrap();
    assert_eq!((cut.entry, cut.kind), (entry, CutKind::Skipped));
    assert_eq!(world.events.count("divergence-skipped"), 1);
    assert_eq!(proxy.journal_digests().len(), 2);
    assert_eq!(
        call(&proxy, "rolls"),
        1,
        "the active generation has its effect"
    );
    swap(&proxy);
    assert_eq!((value(&proxy, one), call(&proxy, "rolls")), (7, 0));
    assert_eq!(proxy.debug_info().cuts, [cut]);
    add(&proxy, one, 1);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 8);
}

#[test]
fn only_the_entry_that_diverged_can_be_settled() {
    let (proxy, _) = rolling().build();
    let not_diverged = |error: Error, entry: u64| {
        let is_so = matches!(error, Error::NotDiverged { entry: told } if told.0 == entry);
        assert!(is_so, "{error}");
    };
    not_diverged(proxy.accept_divergence(SequenceNumber(1)).unwrap_err(), 1);
    counter(&proxy);
    call(&proxy, "roll");
    diverges_at(&proxy, 2);
    not_diverged(proxy.accept_divergence(SequenceNumber(1)).unwrap_err(), 1);
    not_diverged(proxy.skip_divergence(SequenceNumber(3)).unwrap_err(), 3);
    proxy.accept_divergence(SequenceNumber(2)).unwrap();
    not_diverged(proxy.accept_divergence(SequenceNumber(2)).unwrap_err(), 2);
}

#[test]
fn an_entry_that_does_not_return_any_more_can_only_be_skipped() {
    let world = World::new().func("fragile", "", "role = \"mutate\"", |guest, _| {
        if guest.number > 1 {
            return Err(EngineError::Trap(Trap::IndirectCallToNull));
        }
        Ok(vec![])
    });
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    proxy.call("fragile", args![]).unwrap();
    let entry = diverges_at(&proxy, 2);
    let error = proxy.accept_divergence(entry).unwrap_err();
    assert!(matches!(error, Error::NotSettled { .. }), "{error}");
    assert!(
        error.to_string().contains("indirect call to null"),
        "{error}"
    );
    assert_eq!(
        (engine.probe().live(), proxy.debug_info().cuts.len()),
        (1, 0)
    );
    assert!(proxy.divergence().is_some(), "nothing has changed");
    proxy.skip_divergence(entry).unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn other_host_calls_cannot_be_accepted() {
    let world = World::new()
        .import("ring", ("", FuncType::default()), |_, _, _| Ok(()))
        .func("ask", "", "role = \"mutate\"", |guest, _| {
            if guest.number > 1 {
                guest.host("env", "ring", &[])?;
            }
            Ok(vec![])
        });
    let (proxy, _) = world.build();
    proxy.call("ask", args![]).unwrap();
    let entry = diverges_at(&proxy, 1);
    assert_eq!(proxy.divergence().unwrap().what, DivergenceKind::HostCalls);
    let error = proxy.accept_divergence(entry).unwrap_err();
    assert!(matches!(error, Error::NotSettled { .. }), "{error}");
    proxy.skip_divergence(entry).unwrap();
    proxy.prepare_standby().unwrap();
}

/// `counter_new` makes a counter on the first instance, and gives null on others.
fn barren() -> World {
    World::new().func(
        "counter_new",
        "(result i32)",
        "role = \"create\"\nresults = [\"handle:counter\"]",
        |guest, _| {
            if guest.number > 1 {
                return Ok(vec![Val::I32(0)]);
            }
            let address = guest.alloc(16)?;
            guest.objects.insert(address, 0);
            Ok(vec![Val::from(address)])
        },
    )
}

#[test]
fn an_entry_whose_object_is_alive_can_neither_be_accepted_nor_skipped() {
    let (proxy, _) = barren().build();
    let one = counter(&proxy);
    let entry = diverges_at(&proxy, 1);
    let error = proxy.accept_divergence(entry).unwrap_err();
    assert!(matches!(error, Error::NotSettled { .. }), "{error}");
    let error = proxy.skip_divergence(entry).unwrap_err();
    assert!(
        matches!(error, Error::EntryNeeded { handle, needed_by: None, .. } if handle == one),
        "{error}"
    );
    assert_eq!(value(&proxy, one), 0);
    // Freed, it is compacted away, and nothing is left to settle.
    proxy.call("counter_free", args![one]).unwrap();
    let error = proxy.skip_divergence(entry).unwrap_err();
    assert!(matches!(error, Error::NotDiverged { .. }), "{error}");
    proxy.prepare_standby().unwrap();
    assert_eq!(proxy.divergence(), None);
}

#[test]
fn an_entry_whose_object_a_later_entry_needs_cannot_be_skipped() {
    let world = barren().func(
        "copy",
        "(param i32) (result i32)",
        "role = \"create\"\nargs = [\"handle:counter\"]\nresults = [\"handle:copy\"]",
        |guest, args| {
            let value = *guest.object(&args[0])?;
            let address = guest.alloc(24)?;
            guest.objects.insert(address, value);
            Ok(vec![Val::from(address)])
        },
    );
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.call("copy", args![one]).unwrap();
    proxy.call("counter_free", args![one]).unwrap();
    let entry = diverges_at(&proxy, 1);
    let error = proxy.skip_divergence(entry).unwrap_err();
    let needed = matches!(
        error,
        Error::EntryNeeded { handle, needed_by: Some(SequenceNumber(2)), .. } if handle == one
    );
    assert!(needed, "{error}");
}

#[test]
fn a_start_function_that_differs_cannot_be_settled() {
    let ty = FuncType::default();
    let world = World::new()
        .import("ring", ("", ty), |_, _, _| Ok(()))
        .script(|script| {
            script.start(|guest, _| {
                if guest.number > 1 {
                    guest.host("env", "ring", &[])?;
                }
                Ok(vec![])
            })
        });
    let (proxy, _) = world.build();
    let entry = diverges_at(&proxy, 0);
    for error in [
        proxy.accept_divergence(entry).unwrap_err(),
        proxy.skip_divergence(entry).unwrap_err(),
    ] {
        assert!(matches!(error, Error::NotSettled { .. }), "{error}");
    }
}

#[test]
fn a_divergence_in_the_tail_of_a_swap_can_be_settled() {
    let (proxy, _) = rolling().build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    call(&proxy, "roll");
    assert!(matches!(proxy.swap().unwrap_err(), Error::Divergence(_)));
    proxy.accept_divergence(SequenceNumber(2)).unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn calls_go_on_after_the_generation_died_and_its_divergence_was_settled() {
    let (proxy, _) = rolling().booming(|number| number == 1).build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    call(&proxy, "roll");
    let error = proxy.call("boom", args![]).unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    assert!(proxy.call("counter_value", args![one]).is_err());
    let entry = proxy.divergence().unwrap().entry;
    proxy.accept_divergence(entry).unwrap();
    assert_eq!(value(&proxy, one), 7);
}

#[test]
fn a_proxy_can_be_told_to_settle_divergences_by_itself() {
    for (what, kind, rolls) in [
        (OnDivergence::Accept, CutKind::Accepted, 3),
        (OnDivergence::Skip, CutKind::Skipped, 0),
    ] {
        let world = rolling().booming(|number| number == 1);
        let engine = world.script.engine();
        let proxy = world.builder(&engine).on_divergence(what).build().unwrap();
        let one = counter(&proxy);
        for _ in 0..3 {
            call(&proxy, "roll");
        }
        add(&proxy, one, 7);
        assert!(call(&proxy, "boom") > 1, "an emergency settles them too");
        let info = proxy.debug_info();
        let cuts: Vec<_> = info
            .cuts
            .iter()
            .map(|cut| (cut.entry.0, cut.kind))
            .collect();
        assert_eq!(cuts, [(2, kind), (3, kind), (4, kind)]);
        assert_eq!((value(&proxy, one), call(&proxy, "rolls")), (7, rolls));
        assert_eq!((info.failures, info.divergences), (0, 3));
    }
}

#[test]
fn a_module_that_never_repeats_itself_is_not_prepared_for_ever() {
    let world = World::new().func("roll", "(result i32)", "role = \"mutate\"", |guest, _| {
        Ok(vec![Val::from(u32::try_from(guest.number).expect("few"))])
    });
    let engine = world.script.engine();
    let builder = world.builder(&engine).on_divergence(OnDivergence::Accept);
    let proxy = builder.build().unwrap();
    proxy.call("roll", args![]).unwrap();
    diverges_at(&proxy, 1);
    assert_eq!(proxy.debug_info().cuts.len(), 1);
}

/// `roll()` gives 1 on the second instance, and 0 on others.
fn once_changed() -> World {
    let roll = |guest: &mut crate::fake::FakeInstance, _: &[Val]| {
        guest.count("rolls");
        Ok(vec![Val::I32(i32::from(guest.number == 2))])
    };
    World::new()
        .func("roll", "(result i32)", "role = \"mutate\"", roll)
        .checkpointed()
}

#[test]
fn a_checkpoint_with_the_entry_is_dropped_and_one_from_before_it_stays() {
    for takes_newer in [true, false] {
        let (proxy, _) = once_changed().build();
        let one = counter(&proxy);
        add(&proxy, one, 7);
        // A checkpoint is taken of it, and then it gives something else than the others.
        proxy.prepare_standby().unwrap();
        call(&proxy, "roll");
        let entry = diverges_at(&proxy, 3);
        let newest = || proxy.debug_info().checkpoint.map(|taken| taken.sequence);
        if takes_newer {
            proxy.checkpoint().unwrap();
            assert_eq!(newest(), Some(entry));
        }
        proxy.skip_divergence(entry).unwrap();
        assert_eq!(newest(), Some(SequenceNumber(2)), "{takes_newer}");
        let prepared = proxy.prepare_standby().unwrap();
        assert_eq!(prepared.source, Source::Checkpoint(SequenceNumber(2)));
        assert_eq!(prepared.entries, 0);
        proxy.swap().unwrap();
        assert_eq!(value(&proxy, one), 7);
    }
}

#[test]
fn live_objects_can_be_saved_while_no_standby_can_be_made() {
    let world = rolling()
        .func(
            "counter_new",
            "(result i32)",
            "role = \"create\"\nresults = [\"handle:counter\"]\n\
             artifact = { export = \"counter_write\", import = \"counter_read\" }",
            |guest, _| {
                let address = guest.alloc(16)?;
                guest.objects.insert(address, 0);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "counter_write",
            "(param i32) (result i64)",
            "role = \"pure\"\nargs = [\"handle:counter\"]\nresults = [\"bytes\"]",
            |guest, args| {
                let value = *guest.object(&args[0])?;
                let address = guest.alloc(8)?;
                guest.write(address, &value.to_le_bytes())?;
                Ok(vec![Val::from(i64::from(address) | (8 << 32))])
            },
        )
        .func(
            "counter_read",
            "(param i32 i32) (result i32)",
            "role = \"create\"\nargs = [\"bytes\"]\nresults = [\"handle:counter\"]",
            |guest, args| {
                let bytes = guest.read(address(&args[0]), number(&args[1]).cast_unsigned())?;
                let bytes = bytes
                    .try_into()
                    .map_err(|_| EngineError::Trap(Trap::Unreachable))?;
                let address = guest.alloc(16)?;
                guest.objects.insert(address, i64::from_le_bytes(bytes));
                Ok(vec![Val::from(address)])
            },
        )
        .holding();
    let (proxy, _) = world.build();
    let freed = counter(&proxy);
    let one = counter(&proxy);
    let hold = proxy.call("hold", args![1]).unwrap().handle().unwrap();
    proxy.call("counter_free", args![freed]).unwrap();
    add(&proxy, one, 7);
    call(&proxy, "roll");
    proxy.prepare_standby().unwrap_err();
    let objects = proxy.live_objects();
    let told: Vec<(Handle, Option<&str>, &str, bool)> = objects
        .iter()
        .map(|object| {
            (
                object.handle,
                object.ty.as_deref(),
                &*object.made_by,
                object.is_exportable,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (one, Some("counter"), "counter_new", true),
            (hold, Some("hold"), "hold", false)
        ]
    );
    let bytes = proxy.export_object(one).unwrap();
    assert_eq!(bytes, 7_i64.to_le_bytes());
    let back = proxy
        .call("counter_read", args![&bytes[..]])
        .unwrap()
        .handle()
        .unwrap();
    assert_eq!(value(&proxy, back), 7);
    let error = proxy.export_object(hold).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::NoArtifact { .. })),
        "{error}"
    );
    let error = proxy.export_object(freed).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
}
