//! Swaps for another reason than the size of the memory.

use std::time::{Duration, Instant};

use engine_api::{Caller, FuncType, GlobalIndex, MemoryIndex, Val};
use proxy_core::{Error, Event, Proxy, Reason, Supervisor, SwapTriggers, args};

use super::world::{World, add, counter, leak_pages, until, value};
use crate::fake::FakeEngine;

/// An interval so long that only a wake-up gets the supervisor going in a test.
const NEVER: Duration = Duration::from_hours(1);

const MINUTE: Duration = Duration::from_mins(1);

fn built(world: &World, triggers: SwapTriggers) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let builder = world.builder(&engine).triggers(triggers);
    let builder = builder.hold_back(Duration::from_secs(15));
    (builder.build().unwrap(), engine)
}

#[track_caller]
fn last_reason(proxy: &Proxy) -> Option<Reason> {
    proxy.debug_info().last_swap.map(|swap| swap.reason)
}

/// `work()`: pure, gives how many calls the instance had served, and from the 100th on a wrong
/// number.
fn wearing_out() -> World {
    World::new().func("work", "(result i32)", "role = \"pure\"", |guest, _| {
        let calls = guest.count("calls");
        Ok(vec![Val::I32(i32::from(calls < 100))])
    })
}

fn work(proxy: &Proxy) -> i32 {
    proxy.call("work", args![]).unwrap().i32().unwrap()
}

#[test]
fn a_number_of_calls_is_never_exceeded_while_a_supervisor_runs() {
    let world = wearing_out();
    let triggers = SwapTriggers {
        calls_max: Some(80),
        ..SwapTriggers::default()
    };
    let (proxy, engine) = built(&world, triggers);
    let one = counter(&proxy);
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    for round in 1..=1_000 {
        assert_eq!(work(&proxy), 1, "in round {round}");
        add(&proxy, one, 1);
        assert_eq!(value(&proxy, one), round);
    }
    // Calls go on before a swap is counted.
    until("each 80 calls had a swap", || {
        proxy.debug_info().swaps == 3_000 / 80
    });
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.divergences), (0, 0));
    assert_eq!(last_reason(&proxy), Some(Reason::Calls));
    assert!(engine.probe().peak() <= 3);
}

#[test]
fn a_standby_is_prepared_before_the_last_call_and_swapped_in_after_it() {
    let world = wearing_out();
    let triggers = SwapTriggers {
        calls_max: Some(40),
        ..SwapTriggers::default()
    };
    let (proxy, _) = built(&world, triggers);
    let mut looked = Vec::new();
    for calls in 1..=41 {
        work(&proxy);
        proxy.tick(Instant::now());
        let info = proxy.debug_info();
        looked.push((calls, info.state.has_standby(), info.swaps));
    }
    assert_eq!(looked[28], (29, false, 0));
    assert_eq!(looked[29], (30, true, 0));
    assert_eq!(looked[38], (39, true, 0));
    assert_eq!(looked[39], (40, false, 1));
}

#[test]
fn an_instance_that_has_served_for_its_time_is_replaced() {
    let world = World::new();
    let triggers = SwapTriggers {
        age_max: Some(60 * MINUTE),
        ..SwapTriggers::default()
    };
    let (proxy, _) = built(&world, triggers);
    let one = counter(&proxy);
    let now = Instant::now();
    proxy.tick(now + 59 * MINUTE);
    assert_eq!(proxy.debug_info().swaps, 0);
    proxy.tick(now + 61 * MINUTE);
    assert_eq!(last_reason(&proxy), Some(Reason::Age));
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn a_short_time_wakes_the_supervisor_by_itself() {
    let triggers = SwapTriggers {
        age_max: Some(Duration::from_millis(20)),
        ..SwapTriggers::default()
    };
    let (proxy, _) = built(&World::new(), triggers);
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    until("it was swapped three times", || {
        proxy.debug_info().swaps >= 3
    });
}

#[test]
fn memory_that_is_idle_after_a_peak_is_given_back() {
    let world = World::new().leaking().pages(64);
    let (proxy, _) = built(&world, SwapTriggers::default());
    let one = counter(&proxy);
    leak_pages(&proxy, 20);
    let now = Instant::now();
    proxy.tick(now);
    add(&proxy, one, 3);
    proxy.tick(now + Duration::from_secs(59));
    assert_eq!(proxy.debug_info().swaps, 0);
    proxy.tick(now + Duration::from_secs(61));
    assert_eq!(last_reason(&proxy), Some(Reason::Idle));
    assert_eq!((proxy.memory_bytes(), value(&proxy, one)), (1 << 16, 3));
}

#[test]
fn a_live_state_is_not_taken_for_a_peak_again_and_again() {
    let world = World::new().holding().pages(64);
    let (proxy, engine) = built(&world, SwapTriggers::default());
    proxy.call("hold", args![20]).unwrap();
    let now = Instant::now();
    for minute in 0..120 {
        proxy.tick(now + minute * MINUTE);
    }
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.failures), (0, 0));
    assert_eq!(engine.probe().made(), 2, "one standby told");
    assert_eq!(engine.probe().live(), 1);
}

/// `exec()`: pure, takes 64 bytes of the stack of 64 KiB and never gives them back. Once the stack
/// is at its end it gives 0.
fn drifting() -> World {
    let sp = GlobalIndex(0);
    World::new()
        .script(|script| {
            script
                .item("(global $__stack_pointer (mut i32) (i32.const 65536))")
                .start(move |guest, _| {
                    guest.set_global(sp, &Val::I32(65_536))?;
                    Ok(vec![])
                })
        })
        .func(
            "exec",
            "(result i32)",
            "role = \"pure\"",
            move |guest, _| {
                let Val::I32(at) = guest.global(sp)? else {
                    panic!("it is an i32")
                };
                guest.set_global(sp, &Val::I32(at - 64))?;
                Ok(vec![Val::I32(i32::from(at > 1_024))])
            },
        )
}

#[test]
fn a_stack_that_drifts_is_swapped_out_before_it_meets_the_data() {
    let (proxy, _) = built(&drifting(), SwapTriggers::default());
    let one = counter(&proxy);
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let exec = proxy.typed::<(), i32>("exec").unwrap();
    for call in 0..10_000 {
        assert_eq!(exec.call(()).unwrap(), 1, "at call {call}");
    }
    assert_eq!(last_reason(&proxy), Some(Reason::Stack));
    let info = proxy.debug_info();
    assert!(info.swaps >= 10_000 * 64 / 65_536, "{info}");
    assert_eq!((info.emergencies, value(&proxy, one)), (0, 0));
}

#[test]
fn a_drift_is_not_looked_for_where_that_is_switched_off() {
    let (proxy, _) = built(&drifting(), SwapTriggers::none());
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let sum: i32 = (0..2_000)
        .map(|_| proxy.call("exec", args![]).unwrap().i32().unwrap())
        .sum();
    assert_eq!(sum, 1_008);
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.stack_drift), (0, 0));
}

#[test]
fn the_policy_can_name_the_global_and_a_wrong_name_is_refused() {
    let own = "\n[module]\nstack_pointer_global = \"0\"\n";
    let (proxy, _) = built(&drifting().policy(own), SwapTriggers::default());
    proxy.call("exec", args![]).unwrap();
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().stack_drift, 64);
    let other = drifting().policy("\n[module]\nstack_pointer_global = \"sp\"\n");
    let engine = other.script.engine();
    let error = other.builder(&engine).build().unwrap_err().to_string();
    assert!(error.contains("the module has no global `sp`"), "{error}");
    assert_eq!(engine.probe().made(), 0);
}

#[test]
fn an_export_can_ask_for_a_swap() {
    let world = wearing_out()
        .func("worn", "(result i32)", "role = \"pure\"", |guest, _| {
            let calls = *guest.counters.entry("calls").or_default();
            Ok(vec![Val::I32(i32::from(calls > 10))])
        })
        .policy("\n[module]\nswap_request_export = \"worn\"\n");
    let (proxy, _) = built(&world, SwapTriggers::default());
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    for _ in 0..1_000 {
        assert_eq!(work(&proxy), 1);
    }
    assert_eq!(last_reason(&proxy), Some(Reason::Asked));
    assert!(proxy.debug_info().swaps >= 8, "{}", proxy.debug_info());
}

#[test]
fn an_export_that_asks_from_the_start_is_not_obeyed_in_circles() {
    let world = World::new()
        .func("worn", "(result i32)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::I32(1)])
        })
        .policy("\n[module]\nswap_request_export = \"worn\"\n");
    let (proxy, _) = built(&world, SwapTriggers::default());
    for _ in 0..200 {
        proxy.tick(Instant::now());
    }
    assert!(proxy.debug_info().swaps <= 5, "{}", proxy.debug_info());
}

#[test]
fn growth_that_was_refused_to_a_call_that_went_on_brings_a_swap() {
    let world = World::new()
        .leaking()
        .pages(32)
        .import("ring", ("", FuncType::default()), |_, _, _| Ok(()))
        .func("probe", "", "role = \"pure\"", |guest, _| {
            // It is not repeated, because of what it did outside.
            guest.host("env", "ring", &[])?;
            let _ = guest.memory_grow(MemoryIndex(0), 20);
            Ok(vec![])
        });
    let (proxy, _) = built(&world, SwapTriggers::default());
    leak_pages(&proxy, 15);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().swaps, 0);
    proxy.call("probe", args![]).unwrap();
    proxy.tick(Instant::now());
    assert_eq!(last_reason(&proxy), Some(Reason::GrowthRefused));
    proxy.call("probe", args![]).unwrap();
    assert_eq!(proxy.memory_bytes(), 21 << 16);
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.emergencies), (1, 0));
}

/// `take()`: pure, takes 100 KiB of a fixed memory of 1 MiB and never frees it; gives 0 if there is
/// no room. `used()` says how much is taken, in MiB.
fn fixed() -> World {
    World::new()
        .script(|script| script.memory(16, Some(16)))
        .func("take", "(result i32)", "role = \"pure\"", |guest, _| {
            let taken = guest.count("taken");
            Ok(vec![Val::I32(i32::from(taken < 10))])
        })
        .func("used", "(result f64)", "role = \"pure\"", |guest, _| {
            let taken = *guest.counters.entry("taken").or_default();
            let taken = f64::from(i32::try_from(taken).expect("few"));
            Ok(vec![Val::from(taken.min(10.0) / 10.0)])
        })
}

fn take(proxy: &Proxy) -> i32 {
    proxy.call("take", args![]).unwrap().i32().unwrap()
}

#[test]
fn growth_that_cannot_be_seen_is_said_so_and_is_no_live_state() {
    let world = fixed();
    let (proxy, engine) = built(&world, SwapTriggers::default());
    assert_eq!(world.events.names(), ["growth-unseen"]);
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    for call in 0..300 {
        assert_eq!(take(&proxy), i32::from(call < 10));
    }
    let info = proxy.debug_info();
    assert!(!info.sees_growth && !info.state_exceeds_budget, "{info}");
    assert_eq!((info.swaps, info.held_back), (0, 0));
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!((take(&proxy), engine.probe().made()), (1, 2));
    assert_eq!(world.events.count("state-exceeds-budget"), 0);
}

#[test]
fn a_report_is_the_sign_where_growth_cannot_be_seen() {
    let world = fixed().policy("\n[module]\nmemory_usage_export = \"used\"\n");
    let (proxy, _) = built(&world, SwapTriggers::default());
    assert_eq!(world.events.names(), Vec::<&str>::new());
    for _ in 0..100 {
        assert_eq!(take(&proxy), 1);
        proxy.tick(Instant::now());
    }
    let info = proxy.debug_info();
    assert!((10..=13).contains(&info.swaps), "{info}");
    assert_eq!(last_reason(&proxy), Some(Reason::Threshold));
    assert!(!info.state_exceeds_budget);
}

#[test]
fn a_status_code_is_the_sign_where_growth_cannot_be_seen() {
    let world = fixed().func(
        "take",
        "(result i32)",
        "role = \"pure\"\nexhausted = [0]",
        |guest, _| {
            let taken = guest.count("taken");
            Ok(vec![Val::I32(i32::from(taken < 10))])
        },
    );
    let (proxy, _) = built(&world, SwapTriggers::default());
    for _ in 0..100 {
        assert_eq!(take(&proxy), 1);
    }
    assert_eq!(proxy.debug_info().emergencies, 9);
}

#[test]
fn each_swap_says_why_it_took_place() {
    let world = wearing_out();
    let triggers = SwapTriggers {
        calls_max: Some(4),
        ..SwapTriggers::default()
    };
    let (proxy, _) = built(&world, triggers);
    for _ in 0..4 {
        work(&proxy);
    }
    proxy.tick(Instant::now());
    let starts = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::StandbyPrepareStart { reason, .. } | Event::SwapStart { reason, .. } => {
                Some(reason)
            }
            _ => None,
        });
    assert_eq!(starts.collect::<Vec<_>>(), [Reason::Calls; 2]);
}

#[test]
fn a_bound_of_zero_is_refused() {
    let world = World::new();
    let engine = world.script.engine();
    let zero = SwapTriggers {
        age_max: Some(Duration::ZERO),
        ..SwapTriggers::default()
    };
    let error = world.builder(&engine).triggers(zero).build().unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
}
