//! The supervisor prepares and swaps by itself, wakes when needed, and ends when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::Error as EngineError;
use proxy_core::{Error, Patience, Supervisor, SwapState, args};

use super::world::{PATIENCE, World, add, counter, leak_pages, until, value, within};
use crate::fake::Gate;

/// An interval so long that only a wake-up gets the supervisor going in a test.
const NEVER: Duration = Duration::from_hours(1);

#[test]
fn a_leaking_module_lives_for_ever() {
    let world = World::new().leaking().pages(32);
    let (proxy, engine) = world.build();
    let supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let one = counter(&proxy);
    for round in 1..=1000 {
        add(&proxy, one, 1);
        leak_pages(&proxy, 1);
        assert_eq!(value(&proxy, one), round);
    }
    let info = proxy.debug_info();
    assert!(info.swaps >= 1000 / 32, "{info}");
    assert_eq!(info.divergences, 0);
    assert!(engine.probe().peak() <= 3);
    drop(supervisor);
}

#[test]
fn growth_wakes_it_before_memory_runs_out() {
    let world = World::new().leaking().pages(100);
    let (proxy, engine) = world.build();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let one = counter(&proxy);
    leak_pages(&proxy, 71);
    until("a standby is prepared", || {
        proxy.debug_info().state == SwapState::Ready
    });
    leak_pages(&proxy, 20);
    until("it is swapped in", || proxy.debug_info().swaps == 1);
    until("the old generation is freed", || engine.probe().live() == 1);
    assert_eq!(proxy.debug_info().emergencies, 0);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn another_may_take_its_place() {
    let world = World::new().leaking().pages(32);
    let (proxy, engine) = world.build();
    let first = Supervisor::start(&proxy, NEVER).unwrap();
    let second = Supervisor::start(&proxy, NEVER).unwrap();
    within("the first ends", PATIENCE, move || drop(first));
    for swaps in 1..3 {
        leak_pages(&proxy, 24);
        until("a standby is prepared", || {
            proxy.debug_info().state == SwapState::Ready
        });
        leak_pages(&proxy, 4);
        until("it is swapped in", || proxy.debug_info().swaps == swaps);
        until("the old generation is freed", || engine.probe().live() == 1);
    }
    let third = Supervisor::start(&proxy, NEVER).unwrap();
    within("the third ends", PATIENCE, move || drop(third));
    within("the second ends", PATIENCE, move || drop(second));
}

#[test]
fn it_looks_at_least_once_per_interval() {
    let world = World::new();
    let (proxy, _) = world.build();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    until("it has looked often", || {
        world.events.count("memory-check") > 20
    });
}

#[test]
fn it_rebuilds_a_generation_that_died_and_frees_the_dead_one() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let one = counter(&proxy);
    proxy.call("boom", args![]).unwrap();
    until("the dead generation is freed", || {
        engine.probe().live() == 1
    });
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.emergencies), (1, 1), "{info}");
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn the_last_call_on_an_old_generation_wakes_it() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking(&gate).build();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![])
    });
    gate.wait_for(1);
    super::world::swap(&proxy);
    assert_eq!(engine.probe().live(), 2);
    gate.open();
    blocked.join().unwrap().unwrap();
    until("the old generation is freed", || engine.probe().live() == 1);
}

#[test]
fn its_thread_ends_when_it_is_dropped() {
    let (proxy, engine) = World::new().build();
    let supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    within("dropping the supervisor", PATIENCE, move || {
        drop(supervisor);
    });
    drop(proxy);
    assert_eq!(
        engine.probe().live(),
        0,
        "its thread held the proxy, and is gone"
    );
}

#[test]
fn its_thread_ends_when_the_proxy_is_shut_down() {
    let (proxy, engine) = World::new().leaking().pages(100).build();
    let supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    leak_pages(&proxy, 75);
    assert!(proxy.shutdown());
    assert_eq!(engine.probe().live(), 0);
    within("dropping the supervisor", PATIENCE, move || {
        drop(supervisor);
    });
    assert!(matches!(
        proxy.call("counter_new", args![]),
        Err(Error::ShutDown)
    ));
}

#[test]
fn a_proxy_can_get_another_supervisor() {
    let world = World::new().leaking().pages(32);
    let (proxy, _) = world.build();
    for _ in 0..3 {
        let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
        let swaps = proxy.debug_info().swaps;
        let end = Instant::now() + PATIENCE;
        while proxy.debug_info().swaps == swaps && Instant::now() < end {
            leak_pages(&proxy, 1);
        }
        assert!(proxy.debug_info().swaps > swaps);
    }
}

#[test]
fn standbys_that_fail_do_not_stop_it() {
    let fails = Arc::new(AtomicBool::new(true));
    let world = World::new().leaking().pages(100).script(|script| {
        let fails = Arc::clone(&fails);
        script.before_instantiate(move |number| {
            if number > 1 && fails.load(Ordering::SeqCst) {
                return Err(EngineError::Growth {
                    current: 0,
                    delta: 1,
                });
            }
            Ok(())
        })
    });
    let engine = world.script.engine();
    let patience = Patience {
        retry_after: Duration::from_millis(2),
        retry_after_max: Duration::from_millis(5),
        ..Patience::default()
    };
    let proxy = world.builder(&engine).patience(patience).build().unwrap();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(2)).unwrap();
    let one = counter(&proxy);
    leak_pages(&proxy, 92);
    until("several attempts have failed", || {
        proxy.debug_info().failures >= 4
    });
    assert_eq!(value(&proxy, one), 0);
    fails.store(false, Ordering::SeqCst);
    until("one succeeds", || proxy.debug_info().swaps == 1);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn callers_under_a_supervisor_lose_nothing() {
    let world = World::new().leaking().pages(40);
    let (proxy, engine) = world.build();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    let one = counter(&proxy);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    add(&proxy, one, 1);
                    // At the limit this traps, and is repeated on a clean generation.
                    proxy.call("leak", args![1]).unwrap();
                }
            });
        }
    });
    assert_eq!(value(&proxy, one), 1200);
    assert!(engine.probe().peak() <= 3);
    until("the old generations are freed", || {
        engine.probe().live() <= 2
    });
}
