//! Swaps take place between turns, and turns do not put them off for ever.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{Error, Supervisor, SwapState, args};

use super::{begun, read, world};
use crate::fake::Gate;
use crate::proxy::world::{PATIENCE, Stop, counter, leak_pages, swap, until, value, within};

/// An interval so long that only a wake-up gets the supervisor going in a test.
const NEVER: Duration = Duration::from_hours(1);

#[test]
fn a_swap_by_hand_is_refused_while_a_turn_is_open_and_the_standby_waits() {
    let world = world(|_| false);
    let engine = world.script.engine();
    let builder = world.builder(&engine).hold_back(Duration::from_millis(1));
    let proxy = builder.build().unwrap();
    let (mut turn, one, copy) = begun(&proxy);
    proxy.prepare_standby().unwrap();
    let error = proxy.swap().unwrap_err();
    assert!(matches!(error, Error::TurnsOpen { turns: 1 }), "{error}");
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    turn.call("counter_add", args![one, 1]).unwrap();
    assert_eq!((read(&mut turn, copy).unwrap(), turn.generation()), (11, 1));
    turn.end();
    assert_eq!(proxy.swap().unwrap().to, 2);
    assert_eq!(value(&proxy, one), 2);
}

#[test]
fn a_swap_by_hand_waits_for_a_turn_to_end_and_holds_up_the_next() {
    let world = world(|_| false);
    let engine = world.script.engine();
    let proxy = world.builder(&engine).hold_back(NEVER).build().unwrap();
    let (turn, one, _) = begun(&proxy);
    proxy.prepare_standby().unwrap();
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.swap()
    });
    // The turn is dropped while the swap waits for it, or before that.
    drop(turn);
    let swapped = within("the swap", PATIENCE, || swapping.join().unwrap()).unwrap();
    assert_eq!(swapped.to, 2);
    assert_eq!(
        (proxy.turn().unwrap().generation(), value(&proxy, one)),
        (2, 1)
    );
}

#[test]
fn a_swap_that_is_due_takes_place_when_the_last_turn_ends() {
    let world = world(|_| false).leaking().pages(100);
    let (proxy, _) = world.build();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let (turn, one, _) = begun(&proxy);
    let (mut second, _, copy) = begun(&proxy);
    leak_pages(&proxy, 71);
    until("a standby is prepared", || {
        proxy.debug_info().state == SwapState::Ready
    });
    leak_pages(&proxy, 20);
    // Each call finds a swap due, and none is made.
    for _ in 0..100 {
        second.call("copy_add", args![copy, 1]).unwrap();
    }
    drop(turn);
    assert_eq!(
        (read(&mut second, copy).unwrap(), second.generation()),
        (111, 1)
    );
    assert_eq!(proxy.debug_info().swaps, 0);
    drop(second);
    until("it is swapped in", || proxy.debug_info().swaps == 1);
    assert_eq!(proxy.debug_info().emergencies, 0);
    assert_eq!(value(&proxy, one), 1);
}

#[test]
fn turns_that_overlap_do_not_put_off_a_swap_for_ever() {
    let world = world(|_| false).leaking().pages(64);
    let (proxy, _) = world.build();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let (stop, open) = (AtomicBool::new(false), AtomicUsize::new(0));
    let overlapped = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = None;
                // Each thread has a turn open until the other has one too, or none can begin.
                while !stop.load(Ordering::SeqCst) {
                    let (mut turn, _, copy) = begun(&proxy);
                    let others = open.fetch_add(1, Ordering::SeqCst);
                    overlapped.fetch_or(others > 0, Ordering::SeqCst);
                    turn.call("leak", args![1]).unwrap();
                    assert_eq!(read(&mut turn, copy).unwrap(), 11);
                    let generation = turn.generation();
                    assert!(last.is_none_or(|last| last <= generation));
                    last = Some(generation);
                    open.fetch_sub(1, Ordering::SeqCst);
                    drop(turn);
                }
            });
        }
        let stopping = Stop(&stop);
        until("there are swaps among overlapping turns", || {
            proxy.debug_info().swaps >= 5 && overlapped.load(Ordering::SeqCst)
        });
        drop(stopping);
    });
}

#[test]
fn a_turn_waits_for_a_swap_that_is_due_unless_its_thread_has_one_open() {
    let world = world(|_| false).leaking().pages(100);
    let engine = world.script.engine();
    let builder = world.builder(&engine).drain_timeout(NEVER);
    let proxy = builder.build().unwrap();
    let _supervisor = Supervisor::start(&proxy, NEVER).unwrap();
    let (turn, ..) = begun(&proxy);
    leak_pages(&proxy, 71);
    until("a standby is prepared", || {
        proxy.debug_info().state == SwapState::Ready
    });
    leak_pages(&proxy, 20);
    until("the swap is due", || {
        proxy.debug_info().turns_before_swap.is_some()
    });
    let own = proxy.turn().unwrap();
    assert_eq!(proxy.debug_info().open_turns, 2);
    let waiting = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.turn().unwrap().generation()
    });
    drop(own);
    drop(turn);
    let generation = within("the turn begins", PATIENCE, || waiting.join().unwrap());
    assert_eq!(generation, 2, "after the swap");
}

#[test]
fn a_swap_that_is_due_no_longer_holds_nobody() {
    let world = world(|_| false).leaking().pages(100);
    let engine = world.script.engine();
    let builder = world.builder(&engine).drain_timeout(NEVER);
    let proxy = builder.build().unwrap();
    let _supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    let (turn, ..) = begun(&proxy);
    leak_pages(&proxy, 95);
    until("the swap is due", || {
        proxy.debug_info().turns_before_swap.is_some()
    });
    proxy.set_enabled(false);
    let other = within("another turn begins", PATIENCE, {
        let proxy = proxy.clone();
        move || proxy.turn().unwrap()
    });
    assert_eq!(proxy.debug_info().open_turns, 2);
    drop((turn, other));
    proxy.set_enabled(true);
    until("it is swapped in", || proxy.debug_info().swaps == 1);
}

#[test]
fn a_tick_without_a_supervisor_holds_no_turn_back() {
    let world = world(|_| false).leaking().pages(100);
    let engine = world.script.engine();
    let proxy = world.builder(&engine).drain_timeout(NEVER).build().unwrap();
    let (turn, ..) = begun(&proxy);
    leak_pages(&proxy, 95);
    proxy.tick(Instant::now());
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    let other = within("another turn begins", PATIENCE, {
        let proxy = proxy.clone();
        move || proxy.turn().unwrap()
    });
    drop((turn, other));
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().swaps, 1);
    swap(&proxy);
}

#[test]
fn turns_begin_while_the_standby_catches_up_for_a_swap() {
    let gate = Gate::new();
    let world = world(|_| false).leaking().pages(100);
    let world = world.blocking_journaled(&gate);
    let engine = world.script.engine();
    let builder = world.builder(&engine).drain_timeout(NEVER);
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    leak_pages(&proxy, 71);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    proxy.call("block_add", args![one, 1]).unwrap();
    leak_pages(&proxy, 20);
    gate.close();
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.tick(Instant::now())
    });
    // Once was on the active generation.
    gate.wait_for(2);
    let turn = within("a turn begins", PATIENCE, {
        let proxy = proxy.clone();
        move || proxy.turn().unwrap()
    });
    assert_eq!((turn.generation(), proxy.debug_info().swaps), (1, 0));
    drop(turn);
    gate.open();
    within("the swap", PATIENCE, || swapping.join().unwrap());
    assert_eq!((proxy.debug_info().swaps, value(&proxy, one)), (1, 1));
}
