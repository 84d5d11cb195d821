//! Guests that meet their limit and go on: what they return depends on how full the memory was, so
//! the call counts as one that ran out of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use engine_api::{Caller, FuncType, MemoryIndex, Val};
use proxy_core::{CallError, Error, Event, Proxy, args};

use super::world::{World, add, counter, leak_pages, swap, value};
use crate::fake::{FakeEngine, FakeInstance, number};

/// The code for "no memory".
const NO_MEMORY: i32 = 7;

/// As a C program: `malloc` gives 0 at the limit.
fn grows(guest: &mut FakeInstance, pages: u64) -> bool {
    guest.memory_grow(MemoryIndex(0), pages).is_ok()
}

/// `put(pages)`: grows, counts, and returns 0; or [`NO_MEMORY`]. `rows()` is the count.
fn putting(role: &str) -> World {
    World::new()
        .func(
            "put",
            "(param i32) (result i32)",
            &format!("role = \"{role}\""),
            |guest, args| {
                if !grows(guest, u64::from(number(&args[0]).cast_unsigned())) {
                    return Ok(vec![Val::I32(NO_MEMORY)]);
                }
                guest.count("rows");
                Ok(vec![Val::I32(0)])
            },
        )
        .func("rows", "(result i32)", "role = \"pure\"", |guest, _| {
            let rows = *guest.counters.entry("rows").or_default();
            Ok(vec![Val::I32(i32::try_from(rows).expect("few"))])
        })
        .leaking()
}

fn put(proxy: &Proxy, pages: i32) -> i32 {
    proxy.call("put", args![pages]).unwrap().i32().unwrap()
}

fn rows(proxy: &Proxy) -> i32 {
    proxy.call("rows", args![]).unwrap().i32().unwrap()
}

/// How many instances were made.
fn made(engine: &FakeEngine) -> u64 {
    engine.probe().made()
}

#[test]
fn a_journaled_call_that_survives_refused_growth_is_repeated_and_can_be_replayed() {
    let world = putting("mutate").pages(20);
    let (proxy, engine) = world.build();
    assert_eq!(put(&proxy, 1), 0);
    leak_pages(&proxy, 18);
    assert_eq!(put(&proxy, 1), 0, "a clean generation has room");
    assert_eq!((rows(&proxy), made(&engine)), (2, 2));
    let info = proxy.debug_info();
    assert_eq!((info.retries, info.emergencies), (1, 1));
    assert!(world.events.all().iter().any(|event| matches!(
        event,
        Event::CallRetried { export, reason } if &**export == "put" && *reason == "out_of_memory"
    )));
    swap(&proxy);
    assert_eq!((rows(&proxy), put(&proxy, 1)), (2, 0));
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn a_pure_call_is_repeated_too() {
    let (proxy, engine) = putting("pure").pages(20).build();
    leak_pages(&proxy, 19);
    assert_eq!(put(&proxy, 1), 0);
    assert_eq!((made(&engine), proxy.debug_info().retries), (2, 1));
}

#[test]
fn a_typed_pure_call_is_repeated_too() {
    let (proxy, engine) = putting("pure").pages(20).build();
    let put = proxy.typed::<(i32,), i32>("put").unwrap();
    leak_pages(&proxy, 19);
    assert_eq!((put.call((1,)).unwrap(), made(&engine)), (0, 2));
}

#[test]
fn a_pinned_scope_is_repeated_as_a_whole() {
    let (proxy, engine) = putting("pure").pages(20).build();
    leak_pages(&proxy, 18);
    let got = proxy.pinned(|pinned| {
        let first = pinned.call("put", args![1])?.i32()?;
        Ok::<_, Error>((first, pinned.call("put", args![1])?.i32()?))
    });
    assert_eq!((got.unwrap(), made(&engine)), ((0, 0), 2));
}

#[test]
fn a_call_that_never_fits_costs_one_rebuild_and_its_result_stands() {
    let (proxy, engine) = putting("mutate").pages(20).build();
    assert_eq!(put(&proxy, 3), 0);
    for _ in 0..100 {
        leak_pages(&proxy, 1);
        assert_eq!(put(&proxy, 20), NO_MEMORY);
        if proxy.memory_bytes() > 15 * 65_536 {
            swap(&proxy);
        }
    }
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.divergences), (1, 0));
    assert!(made(&engine) > 2, "swaps took place");
    assert_eq!(rows(&proxy), 1);
}

#[test]
fn an_allocator_that_asks_for_much_and_takes_less_costs_one_rebuild() {
    let world = World::new()
        .func("probe", "", "role = \"mutate\"", |guest, _| {
            assert!(!grows(guest, 1_000) && !grows(guest, 100));
            grows(guest, 1);
            Ok(vec![])
        })
        .pages(60);
    let (proxy, engine) = world.build();
    for _ in 0..40 {
        proxy.call("probe", args![]).unwrap();
    }
    assert_eq!(made(&engine), 2);
    proxy.prepare_standby().unwrap();
}

#[test]
fn what_fits_only_on_a_clean_generation_is_repeated_however_often_more_was_refused() {
    let (proxy, engine) = putting("mutate").pages(40).build();
    assert_eq!(put(&proxy, 100), NO_MEMORY);
    assert_eq!(made(&engine), 2);
    for round in 1..5 {
        leak_pages(&proxy, 25);
        assert_eq!(put(&proxy, 100), NO_MEMORY, "never fits: no rebuild");
        assert_eq!(put(&proxy, 1), 0);
        leak_pages(&proxy, 39 - 25 - 2 * round.min(1) - (round - 1));
        assert_eq!(put(&proxy, 1), 0, "round {round}");
    }
    proxy.prepare_standby().unwrap();
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn a_memory_that_never_grows_refuses_as_a_matter_of_course() {
    let world = putting("mutate").script(|script| script.memory(4, Some(4)));
    let (proxy, engine) = world.build();
    for _ in 0..10 {
        assert_eq!(put(&proxy, 1), NO_MEMORY);
    }
    assert_eq!((made(&engine), proxy.debug_info().retries), (1, 0));
    proxy.verify_on(engine).unwrap();
}

#[test]
fn a_state_that_fills_the_memory_is_rebuilt_once_and_not_for_every_call() {
    let (proxy, engine) = putting("mutate").pages(64).build();
    let mut given = Vec::new();
    for _ in 0..100 {
        given.push(put(&proxy, 7));
    }
    let (fits, rest) = given.split_at(9);
    assert!(fits.iter().all(|code| *code == 0), "{given:?}");
    assert!(rest.iter().all(|code| *code == NO_MEMORY), "{given:?}");
    assert_eq!((made(&engine), rows(&proxy)), (2, 9));
}

#[test]
fn a_pure_call_is_not_repeated_where_the_state_alone_fills_the_memory() {
    let world = putting("pure").holding().pages(20);
    let (proxy, engine) = world.build();
    proxy.call("hold", args![15]).unwrap();
    proxy.set_enabled(true);
    leak_pages(&proxy, 2);
    // The generation that serves began above the warning threshold.
    proxy.call("leak", args![9]).unwrap_err();
    assert_eq!(rows(&proxy), 0);
    let before = made(&engine);
    for _ in 0..10 {
        assert_eq!(put(&proxy, 9), NO_MEMORY);
    }
    assert_eq!(made(&engine), before);
}

#[test]
fn a_call_with_side_effects_is_not_repeated_and_leaves_nothing_behind() {
    let rung = Arc::new(AtomicUsize::new(0));
    let world = World::new()
        .import("ring", ("", FuncType::default()), {
            let rung = Arc::clone(&rung);
            move |_, _, _| {
                rung.fetch_add(1, Ordering::SeqCst);
                Ok(())
            }
        })
        .func(
            "ring_and_grow",
            "(param i32)",
            "role = \"mutate\"\nargs = [\"handle\"]",
            |guest, args| {
                guest.host("env", "ring", &[])?;
                *guest.object(&args[0])? += if grows(guest, 1) { 1 } else { 100 };
                Ok(vec![])
            },
        )
        .leaking()
        .pages(20);
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 5);
    leak_pages(&proxy, 19);
    let error = proxy.call("ring_and_grow", args![one]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::OutOfMemory {
                side_effects: true,
                retried: false,
                ..
            })
        ),
        "{error}"
    );
    assert!(
        error.to_string().contains("host functions had already run"),
        "{error}"
    );
    assert_eq!((rung.load(Ordering::SeqCst), value(&proxy, one)), (1, 5));
    proxy.call("ring_and_grow", args![one]).unwrap();
    assert_eq!(value(&proxy, one), 6);
    proxy.prepare_standby().unwrap();
}

#[test]
fn growth_that_is_refused_while_a_standby_is_made_is_no_calls() {
    let world = World::new()
        .func("once", "(result i32)", "role = \"mutate\"", |guest, _| {
            Ok(vec![Val::I32(i32::from(grows(guest, 100)))])
        })
        .pages(20);
    let (proxy, engine) = world.build();
    proxy.call("once", args![]).unwrap();
    assert_eq!(made(&engine), 2);
    swap(&proxy);
    let one = counter(&proxy);
    assert_eq!((value(&proxy, one), made(&engine)), (0, 3));
}

#[test]
fn in_passthrough_the_result_stands() {
    let (proxy, engine) = putting("mutate").pages(20).build();
    proxy.set_enabled(false);
    leak_pages(&proxy, 19);
    assert_eq!((put(&proxy, 1), made(&engine)), (NO_MEMORY, 1));
}

#[test]
fn a_trap_after_refused_growth_is_out_of_memory_however_small_the_memory_is() {
    let (proxy, _) = World::new().leaking().pages(100).build();
    let error = proxy.call("leak", args![200]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::OutOfMemory { retried: true, .. })
        ),
        "{error}"
    );
}

/// A guest with a heap of `cells` of its own, in a memory that never grows. `take(n)` returns 0, or
/// [`NO_MEMORY`] if fewer are left; `waste()` is pure and loses a cell.
fn celled(cells: i64, role: &str) -> World {
    let left = move |guest: &mut FakeInstance, n: i64| {
        let used = guest.counters.entry("used").or_default();
        let fits = *used + n <= cells;
        *used += if fits { n } else { 0 };
        fits
    };
    World::new()
        .script(|script| script.memory(1, Some(1)))
        .func(
            "take",
            "(param i32) (result i32)",
            &format!("role = \"{role}\"\nexhausted = [{NO_MEMORY}]"),
            move |guest, args| {
                let fits = left(guest, i64::from(number(&args[0])));
                Ok(vec![Val::I32(if fits { 0 } else { NO_MEMORY })])
            },
        )
        .func("waste", "", "role = \"pure\"", move |guest, _| {
            left(guest, 1);
            Ok(vec![])
        })
}

fn take(proxy: &Proxy, cells: i32) -> i32 {
    proxy.call("take", args![cells]).unwrap().i32().unwrap()
}

#[test]
fn a_status_code_for_exhaustion_is_repeated_on_a_clean_generation() {
    for role in ["mutate", "pure"] {
        let (proxy, engine) = celled(10, role).build();
        assert_eq!(take(&proxy, 2), 0);
        for round in 2..5 {
            for _ in 0..8 {
                proxy.call("waste", args![]).unwrap();
            }
            assert_eq!(take(&proxy, 2), 0, "{role}: round {round}");
            assert_eq!(made(&engine), round, "{role}");
        }
        proxy.verify_on(engine).unwrap();
    }
}

#[test]
fn a_typed_call_that_gives_a_status_code_is_repeated() {
    let (proxy, engine) = celled(10, "pure").build();
    let take = proxy.typed::<(i32,), i32>("take").unwrap();
    assert_eq!(take.call((9,)).unwrap(), 0);
    assert_eq!((take.call((2,)).unwrap(), made(&engine)), (0, 2));
}

#[test]
fn a_status_code_of_a_clean_generation_is_the_result_and_rebuilds_become_rare() {
    let (proxy, engine) = celled(10, "mutate").build();
    assert_eq!(take(&proxy, 10), 0);
    for _ in 0..1_000 {
        assert_eq!(take(&proxy, 1), NO_MEMORY);
    }
    let rebuilds = made(&engine) - 1;
    assert!((1..=11).contains(&rebuilds), "{rebuilds}");
    proxy.verify_on(engine).unwrap();
}

#[test]
fn without_the_policy_a_status_code_is_a_number() {
    let world = celled(10, "pure").func(
        "take",
        "(param i32) (result i32)",
        "role = \"pure\"",
        |_, _| Ok(vec![Val::I32(NO_MEMORY)]),
    );
    let (proxy, engine) = world.build();
    assert_eq!((take(&proxy, 1), made(&engine)), (NO_MEMORY, 1));
}

#[test]
fn while_no_standby_can_be_made_the_result_stands() {
    let world = putting("mutate")
        .func("roll", "(result i32)", "role = \"mutate\"", |guest, _| {
            Ok(vec![Val::I32(i32::from(guest.number > 1))])
        })
        .pages(20);
    let (proxy, engine) = world.build();
    proxy.call("roll", args![]).unwrap();
    proxy.prepare_standby().unwrap_err();
    leak_pages(&proxy, 19);
    assert_eq!(
        put(&proxy, 1),
        NO_MEMORY,
        "nothing could replace the generation"
    );
    assert_eq!((rows(&proxy), made(&engine)), (0, 2));
    // What was journaled meanwhile has to be settled too.
    for _ in 0..2 {
        let entry = proxy.divergence().unwrap().entry;
        proxy.accept_divergence(entry).unwrap();
        let _ = proxy.prepare_standby();
    }
    proxy.swap().unwrap();
    assert_eq!((rows(&proxy), put(&proxy, 1), rows(&proxy)), (1, 0, 2));
}
