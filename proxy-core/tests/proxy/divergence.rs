//! Replay is verified: a standby that gives other results never serves, and the error says where.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine_api::{Error as EngineError, FuncType, MemoryIndex, PAGE_BYTES, Trap, Val, ValType};
use proxy_core::{
    Divergence, DivergenceKind, Error, Event, Proxy, SequenceNumber, SwapState, args,
};

use super::world::{World, add, counter, instance_number, swap, value};
use crate::fake::{FakeEngine, address};

#[track_caller]
fn diverges(proxy: &Proxy) -> Divergence {
    match proxy.prepare_standby() {
        Err(Error::Divergence(divergence)) => *divergence,
        other => panic!("{other:?}"),
    }
}

/// Expects that the standby is gone, and the active generation is untouched: counter `one` is 7.
#[track_caller]
fn the_active_goes_on(world: &World, proxy: &Proxy, engine: &FakeEngine, one: proxy_core::Handle) {
    assert_eq!(engine.probe().live(), 1);
    assert_eq!(value(proxy, one), 7);
    let info = proxy.debug_info();
    assert_eq!((info.generation, info.state), (1, SwapState::Idle));
    assert_eq!(info.tainted, None);
    assert_eq!((info.divergences, info.failures), (1, 1));
    assert!(info.last_error.is_some());
    assert!(matches!(proxy.swap(), Err(Error::NoStandby)));
    assert_eq!(world.events.count("generation-tainted"), 0);
    assert_eq!(world.events.count("swap-start"), 0);
}

#[test]
fn other_results_are_named_by_entry_export_expected_and_got() {
    let world = World::new().func("roll", "(result i32)", "role = \"mutate\"", |guest, _| {
        Ok(vec![Val::from(40 + instance_number(guest))])
    });
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy.call("roll", args![]).unwrap();
    proxy.call("roll", args![]).unwrap();
    let divergence = diverges(&proxy);
    assert_eq!(
        divergence.entry,
        SequenceNumber(3),
        "the first that differs"
    );
    assert_eq!(divergence.export, "roll");
    assert_eq!(divergence.what, DivergenceKind::Results);
    assert_eq!(divergence.expected, "41");
    assert_eq!(divergence.got, "42");
    assert!(divergence.to_string().contains("`roll`"));
    assert_eq!(
        world.events.names(),
        [
            "standby-prepare-start",
            "replay-divergence",
            "standby-prepare-error"
        ]
    );
    let reported = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::ReplayDivergence { divergence } => Some(divergence),
            _ => None,
        });
    assert_eq!(reported, Some(divergence));
    the_active_goes_on(&world, &proxy, &engine, one);
}

#[test]
fn another_fingerprint_is_found() {
    let world = World::new()
        .func(
            "counter_new",
            "(result i32)",
            "role = \"create\"\nresults = [\"handle:counter\"]\nfingerprint = \"digest\"",
            |guest, _| {
                let address = guest.alloc(16)?;
                guest.objects.insert(address, 0);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "digest",
            "(param i32) (result i64)",
            "role = \"pure\"",
            |guest, args| {
                guest.object(&args[0])?;
                let second = guest.count("digests") == 1;
                Ok(vec![Val::from(if second {
                    i64::from(instance_number(guest))
                } else {
                    0
                })])
            },
        );
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    counter(&proxy);
    let divergence = diverges(&proxy);
    assert_eq!(divergence.entry, SequenceNumber(3));
    assert_eq!(divergence.what, DivergenceKind::Fingerprint);
    assert_eq!(
        (&*divergence.expected, &*divergence.got),
        ("[I64(1)]", "[I64(2)]")
    );
    the_active_goes_on(&world, &proxy, &engine, one);
}

/// `ask(n)` calls the host `n(instance)` times, with `arg(instance)`.
fn asking(times: fn(u64) -> u64, arg: fn(u64) -> i32) -> World {
    let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
    World::new()
        .import(
            "answer",
            ("(param i32) (result i32)", ty),
            |_, args, results| {
                results[0] = args[0].clone();
                Ok(())
            },
        )
        .func("ask", "", "role = \"mutate\"", move |guest, _| {
            for _ in 0..times(guest.number) {
                let arg = arg(guest.number);
                guest.host("env", "answer", &[Val::from(arg)])?;
            }
            Ok(vec![])
        })
}

#[test]
fn other_host_calls_are_found() {
    let one = |_| 1;
    let by_instance = |number: u64| i32::try_from(number).expect("it is small");
    for (world, needle) in [
        (
            asking(|_| 1, by_instance),
            "[I32(2)] instead of `env.answer` with [I32(1)]",
        ),
        (asking(|number| number, one), "no further host call"),
        // In a row of entries that made none.
        (asking(|number| number - 1, one), "no further host call"),
        (asking(|number| 2 - number, one), "1 fewer"),
    ] {
        let (proxy, engine) = world.build();
        let one = counter(&proxy);
        add(&proxy, one, 7);
        proxy.call("ask", args![]).unwrap();
        let divergence = diverges(&proxy);
        assert_eq!(divergence.entry, SequenceNumber(3));
        assert_eq!(divergence.what, DivergenceKind::HostCalls);
        assert!(divergence.got.contains(needle), "{}", divergence.got);
        the_active_goes_on(&world, &proxy, &engine, one);
    }
}

#[test]
fn a_standby_that_traps_is_discarded() {
    let world = World::new().func("fragile", "", "role = \"mutate\"", |guest, _| {
        if guest.number > 1 {
            return Err(EngineError::Trap(Trap::IndirectCallToNull));
        }
        Ok(vec![])
    });
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy.call("fragile", args![]).unwrap();
    let divergence = diverges(&proxy);
    assert_eq!(divergence.what, DivergenceKind::Outcome);
    assert!(
        divergence.got.contains("indirect call to null"),
        "{}",
        divergence.got
    );
    the_active_goes_on(&world, &proxy, &engine, one);
}

#[test]
fn a_standby_that_runs_out_of_memory_is_discarded() {
    let world = World::new()
        .pages(16)
        .func("greedy", "", "role = \"mutate\"", |guest, _| {
            let pages = if guest.number == 1 { 1 } else { 20 };
            guest.alloc(pages * 65_536)?;
            Ok(vec![])
        });
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy.call("greedy", args![]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::StandbyOutOfMemory { .. }), "{text}");
    assert!(
        text.contains(": 1.25 MiB more were asked for at 0.1 of 1.0 MiB"),
        "{text}"
    );
    assert_eq!((engine.probe().live(), value(&proxy, one)), (1, 7));
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.failures), (0, 1));
    assert!(proxy.memory_bytes() < 16 * PAGE_BYTES);
}

/// More than there are addresses, which an engine tells as a size that is not known.
#[test]
fn a_growth_of_unknown_size_is_told_without_a_number() {
    let world =
        World::new()
            .pages(16)
            .func("greedy", "(result i32)", "role = \"mutate\"", |guest, _| {
                let is_first = guest.number == 1;
                let pages = if is_first { 1 } else { u64::MAX };
                let has_grown =
                    engine_api::Caller::memory_grow(guest, MemoryIndex(0), pages).is_ok();
                assert_eq!(has_grown, is_first);
                Ok(vec![Val::I32(has_grown.into())])
            });
    let (proxy, _) = world.build();
    proxy.call("greedy", args![]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::StandbyOutOfMemory { .. }), "{text}");
    assert!(!text.contains("were asked for"), "{text}");
}

#[test]
fn a_standby_that_cannot_be_instantiated_is_no_divergence() {
    let world = World::new().script(|script| {
        script.before_instantiate(|number| match number {
            2 => Err(EngineError::Growth {
                current: 0,
                delta: 1,
            }),
            _ => Ok(()),
        })
    });
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    let Err(Error::Preparation { source }) = proxy.prepare_standby() else {
        panic!("the instance cannot be made");
    };
    assert!(matches!(*source, Error::Engine(_)), "{source}");
    assert_eq!((engine.probe().live(), proxy.debug_info().failures), (1, 1));
    swap(&proxy);
    assert_eq!(value(&proxy, one), 0);
    assert_eq!(proxy.debug_info().failures, 0);
}

#[test]
fn other_bytes_are_found() {
    let world = World::new().func(
        "stamp",
        "(result i64)",
        "role = \"mutate\"\nresults = [\"bytes\"]",
        |guest, _| {
            let address = guest.alloc(8)?;
            guest.write(address, &guest.number.to_le_bytes())?;
            Ok(vec![Val::from(i64::from(address) | (8 << 32))])
        },
    );
    let (proxy, _) = world.build();
    let stamp = proxy.call("stamp", args![]).unwrap();
    assert_eq!(stamp.bytes().unwrap(), [1, 0, 0, 0, 0, 0, 0, 0]);
    let divergence = diverges(&proxy);
    assert_eq!(divergence.what, DivergenceKind::Results);
    assert!(
        divergence.got.contains("8 bytes of blake3"),
        "{}",
        divergence.got
    );
}

#[test]
fn null_instead_of_an_object_is_found() {
    let world = World::new().func(
        "counter_new",
        "(result i32)",
        "role = \"create\"\nresults = [\"handle:counter\"]",
        |guest, _| {
            Ok(vec![Val::from(if guest.number == 1 {
                guest.alloc(16)?
            } else {
                0
            })])
        },
    );
    let (proxy, _) = world.build();
    counter(&proxy);
    let divergence = diverges(&proxy);
    assert_eq!(
        (&*divergence.expected, &*divergence.got),
        ("object #1.0", "null")
    );
}

/// `tick_tock()` agrees on every instance until the count on that instance reaches `differs_from`.
fn late(differs_from: i64) -> World {
    World::new().func(
        "tick_tock",
        "(result i32)",
        "role = \"mutate\"",
        move |guest, _| {
            let differs = guest.count("ticks") >= differs_from && guest.number > 1;
            Ok(vec![Val::from(i32::from(differs))])
        },
    )
}

#[test]
fn a_divergence_in_the_tail_stops_the_swap() {
    let world = late(1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy.call("tick_tock", args![]).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.call("tick_tock", args![]).unwrap();
    let error = proxy.swap().unwrap_err();
    assert!(
        matches!(&error, Error::Divergence(divergence) if divergence.entry == SequenceNumber(4)),
        "{error}"
    );
    assert_eq!(world.events.count("swap-error"), 1);
    assert_eq!(world.events.count("swap-complete"), 0);
    world.events.clear();
    the_active_goes_on(&world, &proxy, &engine, one);
}

#[test]
fn a_divergence_while_catching_up_discards_the_standby() {
    let world = late(1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy.call("tick_tock", args![]).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.call("tick_tock", args![]).unwrap();
    assert_eq!(diverges(&proxy).entry, SequenceNumber(4));
    the_active_goes_on(&world, &proxy, &engine, one);
}

#[test]
fn the_entry_is_named_among_thousands() {
    let world = late(2_000);
    let (proxy, _) = world.build();
    for _ in 0..3_000 {
        proxy.call("tick_tock", args![]).unwrap();
    }
    assert_eq!(diverges(&proxy).entry, SequenceNumber(2_001));
}

#[test]
fn a_failed_proof_on_another_engine_changes_nothing() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    let made = Arc::new(AtomicU64::new(0));
    let other = World::new()
        .script(|script| script.compiler("other"))
        .func("counter_add", "(param i32 i32)", "", {
            let made = Arc::clone(&made);
            move |guest, args| {
                made.fetch_add(1, Ordering::SeqCst);
                guest.objects.remove(&address(&args[0]));
                Err(EngineError::Trap(Trap::Unreachable))
            }
        })
        .script
        .engine();
    let error = proxy.verify_on(other.clone()).unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert_eq!((engine.probe().live(), other.probe().live()), (1, 0));
    assert_eq!(proxy.debug_info().failures, 0);
    assert_eq!(value(&proxy, one), 7);
}

#[test]
fn a_failed_move_to_another_engine_leaves_the_old_engine_in_charge() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    let other = World::new()
        .script(|script| script.compiler("other"))
        .func("counter_add", "(param i32 i32)", "", |_, _| {
            Err(EngineError::Trap(Trap::Unreachable))
        })
        .script
        .engine();
    let error = proxy.prepare_standby_on(other.clone()).unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    assert_eq!(other.probe().live(), 0);
    the_active_goes_on(&world, &proxy, &engine, one);
    let number = proxy.call("boom", args![]).unwrap().i32().unwrap();
    assert_eq!(number, 2, "rebuilt where it was");
    assert_eq!(proxy.engine().compiler, "script");
    assert_eq!(value(&proxy, one), 7);
}
