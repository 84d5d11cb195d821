//! With `History::Checkpoint` calls wait, for a bounded time, while the journal is full and a fold is
//! to come: they would only make it longer.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use proxy_core::{Error, HistoryBound, Proxy, Supervisor, args};

use super::history::FOLDING;
use super::world::{PATIENCE, World, until, within};
use crate::fake::Gate;

/// A bound that no test reaches.
const LONG: Duration = Duration::from_hours(1);

/// A fold is due at this length, and the journal is full at the double of it.
const DUE: usize = 50;

/// A proxy whose folds wait at the gate for an instance.
fn gated(gate: &Arc<Gate>, bound: Duration) -> Proxy {
    let at_gate = Arc::clone(gate);
    let world = World::new().checkpointed().chain(0).script(|script| {
        script.before_instantiate(move |number| {
            if number > 1 {
                at_gate.pass_host();
            }
            Ok(())
        })
    });
    folding(&world, bound)
}

fn folding(world: &World, bound: Duration) -> Proxy {
    let engine = world.script.engine();
    let history_bound = HistoryBound {
        entries: DUE,
        bytes: u64::MAX,
    };
    let builder = world.builder(&engine).checkpoints(FOLDING).hold_back(bound);
    builder.history_bound(history_bound).build().unwrap()
}

fn steps(proxy: &Proxy, count: usize) {
    for step in 0..i64::try_from(count).unwrap() {
        proxy.call("chain_step", args![step]).unwrap();
    }
}

fn waits(proxy: &Proxy) -> u64 {
    proxy.debug_info().held_for_fold
}

#[test]
fn calls_wait_while_the_journal_is_full_until_a_fold_has_made_room() {
    const THREADS: usize = 4;
    let gate = Gate::closed();
    let proxy = gated(&gate, LONG);
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let proxy = proxy.clone();
            thread::spawn(move || steps(&proxy, 200))
        })
        .collect();
    until("all wait", || {
        waits(&proxy) == u64::try_from(THREADS).unwrap()
    });
    let entries = proxy.debug_info().journal_entries;
    assert!((2 * DUE..2 * DUE + THREADS).contains(&entries), "{entries}");
    gate.open();
    within("all calls", PATIENCE, || {
        for thread in threads {
            thread.join().unwrap();
        }
    });
    let info = proxy.debug_info();
    assert!(info.history_folds >= 1, "{info}");
    assert!(info.journal_entries < 2 * DUE + THREADS, "{info}");
    assert_eq!(info.divergences, 0, "{info}");
}

#[test]
fn a_fold_that_takes_too_long_holds_a_call_back_each_time_that_the_journal_has_doubled() {
    let gate = Gate::closed();
    let proxy = gated(&gate, Duration::from_millis(10));
    let supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    steps(&proxy, 2 * DUE);
    gate.wait_for(1);
    assert_eq!(waits(&proxy), 0);
    steps(&proxy, 2 * DUE);
    assert_eq!(waits(&proxy), 1);
    steps(&proxy, 4 * DUE);
    assert_eq!(waits(&proxy), 2);
    gate.open();
    until("it is folded", || proxy.debug_info().history_folds > 0);
    drop(supervisor);
}

#[test]
fn the_wait_can_be_switched_off() {
    let gate = Gate::closed();
    let proxy = gated(&gate, Duration::ZERO);
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    steps(&proxy, 8 * DUE);
    assert_eq!(waits(&proxy), 0);
    gate.open();
}

#[test]
fn nobody_waits_without_a_supervisor_for_a_preparation_or_in_a_turn() {
    let gate = Gate::closed();
    let proxy = gated(&gate, LONG);
    steps(&proxy, 4 * DUE);
    // The preparation waits at the gate, and the supervisor for it.
    let preparing = proxy.clone();
    let prepared = thread::spawn(move || preparing.prepare_standby().map(drop));
    gate.wait_for(1);
    let supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    steps(&proxy, 4 * DUE);
    gate.open();
    prepared.join().unwrap().unwrap();
    until("it is folded", || proxy.debug_info().journal_entries == 0);
    gate.close();
    let mut turn = proxy.turn().unwrap();
    for step in 0..3 * i64::try_from(DUE).unwrap() {
        turn.call("chain_step", args![step]).unwrap();
    }
    assert!(proxy.debug_info().journal_entries >= 3 * DUE);
    assert_eq!(waits(&proxy), 0);
    drop(turn);
    gate.open();
    until("it is folded", || proxy.debug_info().journal_entries == 0);
    drop(supervisor);
}

#[test]
fn a_supervisor_that_goes_and_a_proxy_that_is_switched_off_let_calls_go() {
    for ends in [
        (|proxy: &Proxy| proxy.set_enabled(false)) as fn(&Proxy),
        |proxy| assert!(proxy.shutdown()),
    ] {
        let gate = Gate::closed();
        let proxy = gated(&gate, LONG);
        let supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
        steps(&proxy, 2 * DUE);
        gate.wait_for(1);
        let waiting = proxy.clone();
        let call = thread::spawn(move || waiting.call("chain_step", args![0_i64]));
        until("it waits", || waits(&proxy) == 1);
        gate.open();
        ends(&proxy);
        let outcome = within("the call", PATIENCE, || call.join().unwrap());
        assert!(
            matches!(outcome, Ok(_) | Err(Error::ShutDown)),
            "{outcome:?}"
        );
        drop(supervisor);
    }
}

#[test]
fn nobody_waits_once_folds_have_failed() {
    let world = World::new().checkpointed().chain(0).func(
        "note",
        "(result i32)",
        "role = \"mutate\"",
        |guest, _| {
            let number = super::world::instance_number(guest);
            guest.write(1024, &number.to_le_bytes())?;
            Ok(vec![engine_api::Val::I32(1)])
        },
    );
    let proxy = folding(&world, LONG);
    let _supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    proxy.call("note", args![]).unwrap();
    let stepping = proxy.clone();
    within("all calls", PATIENCE, move || steps(&stepping, 20 * DUE));
    let info = proxy.debug_info();
    assert!(info.checkpoints_rejected >= 1, "{info}");
    assert_eq!(info.history_folds, 0, "{info}");
}
