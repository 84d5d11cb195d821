//! The end of a proxy: its memory comes back, and later calls get an error.

use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{CallError, Error, args};

use super::world::{World, add, counter, swap, value};
use crate::fake::Gate;

#[test]
fn shutdown_gives_the_memory_back_and_ends_all_calls() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    let typed = proxy
        .typed::<(), proxy_core::Handle>("counter_new")
        .unwrap();
    proxy.prepare_standby().unwrap();
    assert_eq!(engine.probe().live(), 2);
    assert!(proxy.shutdown());
    assert_eq!(engine.probe().live(), 0);
    for outcome in [
        proxy.call("counter_value", args![one]).map(drop),
        proxy.call("counter_add", args![one, 1]).map(drop),
        typed.call(()).map(drop),
        proxy.pinned(|pinned| pinned.call("counter_value", args![one]).map(drop)),
        proxy.prepare_standby().map(drop),
        proxy.swap().map(drop),
    ] {
        assert!(matches!(outcome, Err(Error::ShutDown)), "{outcome:?}");
    }
    proxy.tick(Instant::now());
    assert!(proxy.shutdown(), "again");
    let info = proxy.debug_info();
    assert_eq!(
        (info.generation, info.memory, info.generations_alive),
        (0, 0, 0)
    );
    assert_eq!((proxy.memory_bytes(), proxy.engine().runtime), (0, "fake"));
    assert_eq!(proxy.journal_digests().len(), 1, "the journal stays");
}

#[test]
fn shutdown_waits_for_calls_in_flight() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking_journaled(&gate).build();
    let one = counter(&proxy);
    let call = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block_add", args![one, 1])
    });
    gate.wait_for(1);
    let down = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    super::world::until("new calls are refused", || {
        matches!(
            proxy.call("no_wait", args![]),
            Err(Error::Call(CallError::UnknownExport { .. }))
        ) && matches!(proxy.pinned(|_| Ok::<(), Error>(())), Err(Error::ShutDown))
    });
    assert!(!down.is_finished());
    gate.open();
    call.join().unwrap().unwrap();
    assert!(down.join().unwrap());
    assert_eq!(engine.probe().live(), 0);
    assert_eq!(proxy.journal_digests().len(), 2);
}

#[test]
fn shutdown_ends_calls_at_the_drain_deadline() {
    let gate = Gate::closed();
    let world = World::new().blocking(&gate);
    let engine = world.script.engine();
    let builder = world
        .builder(&engine)
        .drain_timeout(Duration::from_millis(20));
    let proxy = builder.build().unwrap();
    let block = |proxy: &proxy_core::Proxy| {
        let proxy = proxy.clone();
        thread::spawn(move || proxy.call("block", args![]))
    };
    let old = block(&proxy);
    gate.wait_for(1);
    swap(&proxy);
    let new = block(&proxy);
    gate.wait_for(2);
    assert!(proxy.shutdown());
    for call in [old, new] {
        let error = call.join().unwrap().unwrap_err();
        assert!(
            matches!(error, Error::DrainDeadline { .. } | Error::ShutDown),
            "{error}"
        );
    }
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn waiting_callers_are_told_at_once() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking(&gate).build();
    let one = counter(&proxy);
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![])
    });
    gate.wait_for(1);
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let proxy = proxy.clone();
            thread::spawn(move || proxy.call("counter_add", args![one, 1]))
        })
        .collect();
    let down = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    for waiting in waiting {
        // A call that came before the shutdown waits for the long one until the shutdown begins.
        assert!(matches!(waiting.join().unwrap(), Err(Error::ShutDown)));
    }
    gate.open();
    blocked.join().unwrap().unwrap();
    assert!(down.join().unwrap());
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_dropped_proxy_frees_everything() {
    let gate = Gate::closed();
    let world = World::new().blocking(&gate);
    let (proxy, engine) = world.build();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).map(drop)
    });
    gate.wait_for(1);
    swap(&proxy);
    let one = counter(&proxy);
    add(&proxy, one, 1);
    assert_eq!(value(&proxy, one), 1);
    drop(proxy);
    gate.open();
    blocked.join().unwrap().unwrap();
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn many_proxies_live_side_by_side() {
    let world = World::new();
    let engine = world.script.engine();
    let proxies: Vec<_> = (0..50)
        .map(|_| world.builder(&engine).build().unwrap())
        .collect();
    let handles: Vec<_> = proxies.iter().map(counter).collect();
    for (proxy, handle) in proxies.iter().zip(&handles) {
        swap(proxy);
        assert_eq!(value(proxy, *handle), 0);
    }
    assert!(proxies.iter().all(proxy_core::Proxy::shutdown));
    assert_eq!(engine.probe().live(), 0);
}
