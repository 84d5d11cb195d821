//! The state digest: a write that the policy calls pure is found before a swap loses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Caller, Error as EngineError, MemoryIndex, Trap, Val};
use proxy_core::{Error, Event, Patience, Proxy, Reason, SequenceNumber, StateDifference, args};

use super::world::{PATIENCE, World, add, counter, swap, until_live, value, within};
use crate::fake::{FakeInstance, Gate, number};

/// `sneak()` writes and is called pure. `sneaked()` reads that. `state()` is the state digest.
fn sneaky() -> World {
    sneaky_and(|world| world)
}

/// The same with more exports.
fn sneaky_and(more: impl FnOnce(World) -> World) -> World {
    let sneaked = |guest: &mut FakeInstance| guest.counters.get("sneaked").copied().unwrap_or(0);
    let mut world = more(World::new())
        .func("sneak", "(result i64)", "role = \"pure\"", |guest, _| {
            Ok(vec![Val::from(guest.count("sneaked") + 1)])
        })
        .func(
            "sneaked",
            "(result i64)",
            "role = \"pure\"",
            move |guest, _| Ok(vec![Val::from(sneaked(guest))]),
        )
        .func(
            "state",
            "(result i64)",
            "role = \"pure\"",
            move |guest, _| {
                let objects: i64 = guest.objects.values().sum();
                Ok(vec![Val::from(objects * 1000 + sneaked(guest))])
            },
        );
    world.policy.insert_str(0, "state_digest = \"state\"\n");
    world
}

fn sneaked(proxy: &Proxy) -> i64 {
    proxy.call("sneaked", args![]).unwrap().i64().unwrap()
}

#[track_caller]
fn differs(outcome: Result<proxy_core::Swapped, Error>) -> StateDifference {
    match outcome {
        Err(Error::StateDiffers(difference)) => *difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_write_that_the_policy_calls_pure_is_found_before_the_swap() {
    let world = sneaky();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    for _ in 0..3 {
        proxy.call("sneak", args![]).unwrap();
    }
    proxy.prepare_standby().unwrap();
    let difference = differs(proxy.swap());
    assert_eq!(
        (&*difference.active, &*difference.standby),
        ("7003", "7000")
    );
    assert_eq!(difference.sequence, SequenceNumber(2));
    assert_eq!(difference.digest, "state");
    assert_eq!(difference.suspects, ["sneak"]);
    let said = difference.to_string();
    assert!(
        said.contains("`sneak`") && said.contains("mutate"),
        "{said}"
    );
    assert_eq!(
        world.events.names(),
        [
            "standby-prepare-start",
            "standby-prepare-complete",
            "swap-start",
            "state-differs",
            "swap-error"
        ]
    );
    let info = proxy.debug_info();
    assert_eq!(
        (info.generation, info.swaps, info.state_differences),
        (1, 0, 1)
    );
    assert_eq!((info.failures, info.tainted), (1, None));
    assert!(info.last_error.unwrap().contains("the state differs"));
    assert_eq!(
        (value(&proxy, one), sneaked(&proxy)),
        (7, 3),
        "the active goes on"
    );
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn equal_states_are_swapped_and_what_came_later_is_compared_too() {
    let world = sneaky();
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    for round in 1..=3 {
        add(&proxy, one, 1);
        proxy.prepare_standby().unwrap();
        add(&proxy, one, 1);
        assert_eq!((value(&proxy, one), sneaked(&proxy)), (2 * round, 0));
        proxy.swap().unwrap();
    }
    assert_eq!(proxy.debug_info().failures, 0);
    assert_eq!(world.events.count("state-not-compared"), 0);
    proxy.prepare_standby().unwrap();
    proxy.call("sneak", args![]).unwrap();
    assert_eq!(
        differs(proxy.swap()).suspects,
        ["sneak"],
        "since the last swap alone"
    );
}

#[test]
fn a_write_in_a_pinned_scope_or_a_typed_call_is_found_too() {
    let (proxy, _) = sneaky().build();
    proxy
        .pinned(|pinned| pinned.call("sneak", args![]))
        .unwrap();
    proxy.prepare_standby().unwrap();
    assert_eq!(differs(proxy.swap()).suspects, ["sneak"]);
    let (proxy, _) = sneaky().build();
    proxy.typed::<(), i64>("sneak").unwrap().call(()).unwrap();
    proxy.prepare_standby().unwrap();
    assert_eq!(differs(proxy.swap()).suspects, ["sneak"]);
}

#[test]
fn differences_in_a_row_open_the_breaker_though_each_preparation_succeeds() {
    let world = sneaky_and(World::leaking).pages(20);
    let engine = world.script.engine();
    let patience = Patience {
        retry_after: Duration::ZERO,
        retry_after_max: Duration::ZERO,
        ..Patience::default()
    };
    let proxy = world.builder(&engine).patience(patience).build().unwrap();
    proxy.call("sneak", args![]).unwrap();
    for failures in 1..=4 {
        proxy.prepare_standby().unwrap();
        differs(proxy.swap());
        assert_eq!(proxy.debug_info().failures, failures);
    }
    assert_eq!(world.events.count("breaker-open"), 1);
    // By itself the proxy does not lose the write either, until the memory is full.
    for _ in 0..18 {
        proxy.call("leak", args![1]).unwrap();
        proxy.tick(Instant::now());
    }
    assert_eq!((proxy.debug_info().generation, sneaked(&proxy)), (1, 1));
}

#[test]
fn a_swap_waits_for_a_busy_generation_and_then_takes_place_without() {
    let gate = Gate::closed();
    let world = sneaky_and(|world| world.blocking(&gate));
    let engine = world.script.engine();
    let proxy = world
        .builder(&engine)
        .state_digest_patience(Duration::from_millis(30))
        .build()
        .unwrap();
    proxy.call("sneak", args![]).unwrap();
    proxy.prepare_standby().unwrap();
    let inside = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap().i32().unwrap()
    });
    gate.wait_for(1);
    let swapped = within("the swap", PATIENCE, {
        let proxy = proxy.clone();
        move || proxy.swap().unwrap()
    });
    assert_eq!(swapped.to, 2);
    let reason = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::StateNotCompared { reason } => Some(reason),
            _ => None,
        });
    assert!(reason.unwrap().contains("state_digest_patience"));
    gate.open();
    assert_eq!(inside.join().unwrap(), 1, "it ended where it began");
}

#[test]
fn a_dead_generation_is_replaced_without_a_comparison() {
    let armed = Arc::new(AtomicBool::new(false));
    let bomb = Arc::clone(&armed);
    let world = sneaky_and(|world| world.booming(move |_| bomb.swap(false, Ordering::SeqCst)));
    let (proxy, _) = world.build();
    proxy.call("sneak", args![]).unwrap();
    armed.store(true, Ordering::SeqCst);
    proxy.call("boom", args![]).unwrap();
    assert_eq!(
        sneaked(&proxy),
        0,
        "what no entry has is lost with its generation"
    );
    let last = proxy.debug_info().last_swap.unwrap();
    assert_eq!(last.reason, Reason::Emergency);
    assert_eq!(world.events.count("state-differs"), 0);
}

/// A world whose digest traps on the instances for which `traps` is true.
fn trapping(traps: impl Fn(u64) -> bool + Send + Sync + 'static) -> World {
    sneaky().script(|script| {
        script.func("state", "(result i64)", move |guest, _| {
            if traps(guest.number) {
                return Err(EngineError::Trap(Trap::Unreachable));
            }
            Ok(vec![Val::from(0_i64)])
        })
    })
}

/// What the events say of swaps without a comparison.
fn not_compared(world: &World) -> Vec<String> {
    let events = world.events.all().into_iter();
    let reasons = events.filter_map(|event| match event {
        Event::StateNotCompared { reason } => Some(reason),
        _ => None,
    });
    reasons.collect()
}

fn tainted(world: &World) -> Vec<u64> {
    let events = world.events.all().into_iter();
    let tainted = events.filter_map(|event| match event {
        Event::GenerationTainted { generation, .. } => Some(generation),
        _ => None,
    });
    tainted.collect()
}

#[test]
fn a_digest_that_traps_costs_a_standby_once_and_never_the_active_generation() {
    let world = trapping(|_| true);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 7);
    proxy
        .pinned(|pinned| {
            let copy = pinned.call("snapshot", args![one])?.pointer()?;
            proxy.prepare_standby()?;
            assert_eq!(proxy.swap()?.to, 3, "the second standby took over");
            // The generation that the scope is on was not asked.
            let copied = pinned.call("snapshot_value", args![copy])?;
            assert_eq!(copied.i32()?, 7);
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(tainted(&world), [2]);
    until_live(&proxy, &engine, 1);
    swap(&proxy);
    let reasons = not_compared(&world);
    assert_eq!(reasons.len(), 1, "it is not asked again: {reasons:?}");
    assert!(
        reasons[0].contains("ended the standby") && reasons[0].contains("unreachable"),
        "{reasons:?}"
    );
    assert_eq!((value(&proxy, one), tainted(&world)), (7, vec![2]));
    let info = proxy.debug_info();
    assert_eq!((info.failures, info.emergencies), (0, 0), "{info}");
}

#[test]
fn an_endless_digest_is_ended_on_the_standby_and_calls_go_on() {
    let gate = Gate::closed();
    let inside = Arc::clone(&gate);
    let world = sneaky().script(|script| {
        script.func("state", "(result i64)", move |guest, _| {
            inside.pass(guest)?;
            Ok(vec![Val::from(0_i64)])
        })
    });
    let engine = world.script.engine();
    let patience = Duration::from_millis(30);
    let builder = world.builder(&engine).state_digest_patience(patience);
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    let swapped = within("the swap", PATIENCE, {
        let proxy = proxy.clone();
        move || {
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap()
        }
    });
    assert_eq!((swapped.from, swapped.to, value(&proxy, one)), (1, 3, 0));
    assert_eq!(tainted(&world), [2]);
    let reasons = not_compared(&world);
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("state_digest_patience"), "{reasons:?}");
}

#[test]
fn a_standby_that_a_digest_has_cost_is_made_again_on_its_own_engine() {
    let world = trapping(|_| true);
    let (proxy, _) = world.build();
    let other = world.script.clone().compiler("other").engine();
    proxy.prepare_standby_on(other).unwrap();
    proxy.swap().unwrap();
    assert_eq!(proxy.engine().compiler, "other");
}

#[test]
fn a_digest_that_traps_on_the_active_generation_alone_is_told_and_not_asked_again() {
    let world = trapping(|number| number == 1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    swap(&proxy);
    assert_eq!((value(&proxy, one), tainted(&world)), (0, vec![1]));
    until_live(&proxy, &engine, 1);
    swap(&proxy);
    let reasons = not_compared(&world);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(
        reasons[0].contains("ended the active generation"),
        "{reasons:?}"
    );
}

#[test]
fn a_proof_asks_a_digest_that_traps_on_its_own_instance_first() {
    let world = trapping(|_| true);
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let other = || world.script.clone().compiler("other").engine();
    for _ in 0..2 {
        let report = proxy.verify_on(other()).unwrap();
        assert!(!report.state_compared);
    }
    assert_eq!((value(&proxy, one), proxy.debug_info().generation), (0, 1));
    assert!(!tainted(&world).contains(&1));
    assert_eq!(not_compared(&world).len(), 1);
}

#[test]
fn a_proof_on_another_engine_compares_the_state() {
    let (proxy, _) = sneaky().build();
    let other = || sneaky().script.compiler("other").engine();
    counter(&proxy);
    let report = proxy.verify_on(other()).unwrap();
    assert!(report.state_compared);
    proxy.call("sneak", args![]).unwrap();
    let error = proxy.verify_on(other()).unwrap_err();
    assert!(matches!(error, Error::StateDiffers(_)), "{error}");
    let (plain, _) = World::new().build();
    let report = plain.verify_on(World::new().script.engine()).unwrap();
    assert!(!report.state_compared);
}

#[test]
fn swaps_that_compare_lose_nothing_under_callers() {
    // Each caller makes so many calls. The journal, and with it each replay, must stay short.
    const CALLS: i32 = 2_000;
    let world = sneaky();
    let engine = world.script.engine();
    let builder = world.builder(&engine).state_digest_patience(PATIENCE);
    let proxy = builder.build().unwrap();
    let counters: Vec<_> = (0..4).map(|_| counter(&proxy)).collect();
    thread::scope(|scope| {
        let callers: Vec<_> = counters
            .iter()
            .map(|own| {
                scope.spawn(|| {
                    for calls in 1..=CALLS {
                        add(&proxy, *own, 1);
                        assert_eq!(value(&proxy, *own), calls);
                    }
                })
            })
            .collect();
        while !callers.iter().all(thread::ScopedJoinHandle::is_finished) {
            match proxy.prepare_standby() {
                Ok(_) => drop(proxy.swap().unwrap()),
                Err(Error::StillDraining) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    });
    for own in counters {
        assert_eq!(value(&proxy, own), CALLS);
    }
    assert_eq!(world.events.count("state-not-compared"), 0);
    let info = proxy.debug_info();
    assert_eq!((info.state_differences, info.failures), (0, 0));
    assert!(info.swaps > 0, "{info}");
}

#[test]
fn a_generation_whose_state_differs_is_not_given_up_for_refused_growth() {
    let grow = |guest: &mut FakeInstance, args: &[Val]| {
        let pages = u64::from(number(&args[0]).cast_unsigned());
        let grown = guest.memory_grow(MemoryIndex(0), pages).is_ok();
        Ok(vec![Val::I32(i32::from(grown))])
    };
    let pure = "role = \"pure\"";
    let world = sneaky_and(|world| world.func("grow", "(param i32) (result i32)", pure, grow));
    let (proxy, _) = world.pages(20).build();
    let grow = |pages: i32| {
        let grown = proxy.call("grow", args![pages]).unwrap();
        grown.i32().unwrap()
    };
    proxy.call("sneak", args![]).unwrap();
    proxy.prepare_standby().unwrap();
    differs(proxy.swap());
    assert_eq!((grow(18), grow(2)), (1, 0), "its own result stands");
    let info = proxy.debug_info();
    assert_eq!((info.generation, sneaked(&proxy)), (1, 1));
    assert_eq!((info.retries, info.emergencies), (0, 0));
}
