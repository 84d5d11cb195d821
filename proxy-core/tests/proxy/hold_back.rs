//! Calls near the memory limit wait, for a bounded time, for a swap that is near.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{Error, Event, Proxy, Supervisor, args};

use super::world::{PATIENCE, World, counter, leak_pages, until, within};
use crate::fake::{FakeEngine, Gate};

/// A bound that no test reaches.
const LONG: Duration = Duration::from_hours(1);

/// A module whose second instance waits at the gate, one page below its limit while a standby is
/// being prepared on a thread.
fn near(world: World, gate: &Arc<Gate>, bound: Duration) -> (World, Proxy, FakeEngine) {
    let at_gate = Arc::clone(gate);
    let world = world.leaking().pages(32).script(|script| {
        script.before_instantiate(move |number| {
            if number == 2 {
                at_gate.pass_host();
            }
            Ok(())
        })
    });
    let engine = world.script.engine();
    let proxy = world.builder(&engine).hold_back(bound).build().unwrap();
    leak_pages(&proxy, 23);
    thread::spawn({
        let proxy = proxy.clone();
        move || proxy.tick(Instant::now())
    });
    gate.wait_for(1);
    // From one page to all of them.
    leak_pages(&proxy, 8);
    assert_eq!(proxy.memory_bytes(), proxy.memory_limit_bytes());
    (world, proxy, engine)
}

fn waits(world: &World) -> Vec<bool> {
    let events = world.events.all();
    let waits = events.iter().filter_map(|event| match event {
        Event::CallHeldBack { in_time, .. } => Some(*in_time),
        _ => None,
    });
    waits.collect()
}

#[test]
fn calls_near_the_limit_wait_for_a_swap_that_is_near() {
    let gate = Gate::closed();
    let (world, proxy, _) = near(World::new(), &gate, LONG);
    let calls: Vec<_> = (0..3_u64)
        .map(|call| {
            let proxy = proxy.clone();
            thread::spawn(move || match call {
                0 => proxy.call("leak", args![1]).map(drop),
                1 => proxy.call("counter_new", args![]).map(drop),
                _ => proxy.pinned(|pinned| pinned.call("leak", args![1]).map(drop)),
            })
        })
        .collect();
    until("all wait", || proxy.debug_info().held_back == 3);
    gate.open();
    for call in calls {
        within("the call", PATIENCE, || call.join().unwrap()).unwrap();
    }
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.emergencies, info.retries), (1, 0, 0));
    assert_eq!(waits(&world), [true; 3]);
}

#[test]
fn a_preparation_that_takes_too_long_holds_nobody_back() {
    let gate = Gate::closed();
    let (world, proxy, _) = near(World::new(), &gate, Duration::from_millis(10));
    proxy.call("leak", args![0]).unwrap();
    proxy.call("leak", args![0]).unwrap();
    assert_eq!(waits(&world), [false], "the second did not wait");
    gate.open();
    until("it is swapped in", || proxy.debug_info().swaps == 1);
}

#[test]
fn it_can_be_switched_off() {
    let gate = Gate::closed();
    let (world, proxy, _) = near(World::new(), &gate, Duration::ZERO);
    proxy.call("leak", args![0]).unwrap();
    assert_eq!(waits(&world), [false; 0]);
    gate.open();
    until("it is swapped in", || proxy.debug_info().swaps == 1);
}

#[test]
fn a_pinned_scope_in_progress_is_not_held_back() {
    let world = World::new().leaking().pages(32);
    let gate = Gate::closed();
    let at_gate = Arc::clone(&gate);
    let world = world.script(|script| {
        script.before_instantiate(move |number| {
            if number == 2 {
                at_gate.pass_host();
            }
            Ok(())
        })
    });
    let engine = world.script.engine();
    let proxy = world.builder(&engine).hold_back(LONG).build().unwrap();
    let ticking = proxy.clone();
    proxy
        .pinned(|pinned| {
            for _ in 0..23 {
                pinned.call("leak", args![1])?;
            }
            let ticking = ticking.clone();
            thread::spawn(move || ticking.tick(Instant::now()));
            gate.wait_for(1);
            for _ in 0..8 {
                pinned.call("leak", args![1])?;
            }
            pinned.call("leak", args![0])?;
            Ok::<_, Error>(())
        })
        .unwrap();
    assert_eq!(proxy.debug_info().held_back, 0);
    gate.open();
}

#[test]
fn without_a_supervisor_a_standby_that_waits_holds_nobody_back() {
    let (proxy, _) = World::new().leaking().pages(32).build();
    proxy.prepare_standby().unwrap();
    leak_pages(&proxy, 31);
    proxy.call("leak", args![0]).unwrap();
    assert_eq!(proxy.debug_info().held_back, 0);
}

#[test]
fn callers_that_fill_the_memory_at_once_see_no_emergency() {
    let world = World::new().leaking().pages(64);
    let engine = world.script.engine();
    let proxy = world.builder(&engine).hold_back(LONG).build().unwrap();
    let _supervisor = Supervisor::start(&proxy, LONG).unwrap();
    until("it watches", || world.events.count("memory-check") > 0);
    counter(&proxy);
    for _ in 0..500 {
        proxy.call("leak", args![1]).unwrap();
    }
    let info = proxy.debug_info();
    assert!(info.swaps >= 500 / 64, "{info}");
    assert_eq!((info.emergencies, info.retries), (0, 0), "{info}");
}

#[test]
fn a_shut_down_lets_calls_go() {
    let gate = Gate::closed();
    let (_, proxy, _) = near(World::new(), &gate, LONG);
    let call = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("leak", args![1]).map(drop)
    });
    until("it waits", || proxy.debug_info().held_back == 1);
    let closing = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    until("it is shut down", || {
        matches!(proxy.call("leak", args![0]), Err(Error::ShutDown))
    });
    gate.open();
    assert!(closing.join().unwrap());
    let outcome = within("the call", PATIENCE, || call.join().unwrap());
    assert!(matches!(outcome, Err(Error::ShutDown)), "{outcome:?}");
}
