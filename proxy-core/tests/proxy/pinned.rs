//! Pinned scopes: several calls on one generation, with raw pointers between them.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{CallError, Error, Pinned, Pointer, args};

use super::world::{PATIENCE, World, add, counter, leak_pages, swap, until_live, value, within};
use crate::fake::Gate;

fn snapshot(pinned: &Pinned<'_>, counter: proxy_core::Handle) -> Result<Pointer, Error> {
    Ok(pinned.call("snapshot", args![counter])?.pointer()?)
}

fn snapshot_value(pinned: &Pinned<'_>, pointer: Pointer) -> Result<i32, Error> {
    Ok(pinned.call("snapshot_value", args![pointer])?.i32()?)
}

#[test]
fn a_scope_keeps_its_generation_over_a_swap() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    add(&proxy, one, 5);
    let (before, after) = proxy
        .pinned(|pinned| {
            let pointer = snapshot(pinned, one)?;
            let before = snapshot_value(pinned, pointer)?;
            swap(&proxy);
            add(&proxy, one, 10);
            assert_eq!((pinned.generation(), proxy.debug_info().generation), (1, 2));
            assert_eq!(
                pinned.call("counter_value", args![one])?.i32()?,
                5,
                "the old state"
            );
            assert_eq!(engine.probe().live(), 2);
            let after = snapshot_value(pinned, pointer)?;
            pinned.call("snapshot_free", args![pointer])?;
            Ok::<_, Error>((before, after))
        })
        .unwrap();
    assert_eq!((before, after), (5, 5));
    assert_eq!(
        engine.probe().live(),
        1,
        "the scope's end frees the generation"
    );
    assert_eq!(value(&proxy, one), 15);
}

#[test]
fn calls_that_change_state_are_refused_inside() {
    let (proxy, _) = World::new().build();
    let one = counter(&proxy);
    let outcome: Result<(), Error> = proxy.pinned(|pinned| {
        assert!(matches!(
            pinned.call("no_such_export", args![]),
            Err(Error::Call(CallError::UnknownExport { .. }))
        ));
        pinned.call("counter_add", args![one, 1]).map(drop)
    });
    assert!(
        matches!(outcome, Err(Error::Call(CallError::JournaledInPinned { export })) if export == "counter_add")
    );
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn a_pointer_is_good_only_in_its_scope() {
    let (proxy, _) = World::new().build();
    let one = counter(&proxy);
    let outside = proxy.call("snapshot", args![one]);
    assert!(matches!(
        outside,
        Err(Error::Call(CallError::PointerOutsideScope { .. }))
    ));
    let escaped = proxy.pinned(|pinned| snapshot(pinned, one)).unwrap();
    let outside = proxy.call("snapshot_value", args![escaped]);
    assert!(matches!(
        outside,
        Err(Error::Call(CallError::PointerOutsideScope { .. }))
    ));
    let other = proxy.pinned(|pinned| {
        let own = snapshot(pinned, one)?;
        assert_eq!(snapshot_value(pinned, own)?, 0);
        snapshot_value(pinned, escaped)
    });
    assert!(matches!(
        other,
        Err(Error::Call(CallError::PointerOutsideScope { .. }))
    ));
    assert!(proxy.debug_info().tainted.is_none(), "nothing ran");
}

#[test]
fn the_drain_deadline_ends_a_scope() {
    let gate = Gate::closed();
    let world = World::new().blocking(&gate);
    let engine = world.script.engine();
    let builder = world
        .builder(&engine)
        .drain_timeout(Duration::from_millis(20));
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    let scope = thread::spawn({
        let proxy = proxy.clone();
        move || {
            proxy.pinned(|pinned| {
                let outcome = pinned.call("block", args![]);
                let again = pinned.call("counter_value", args![one]);
                assert!(
                    matches!(again, Err(Error::DrainDeadline { .. })),
                    "{again:?}"
                );
                outcome.map(drop)
            })
        }
    });
    gate.wait_for(1);
    swap(&proxy);
    assert!(!scope.is_finished());
    until_live(&proxy, &engine, 1);
    let outcome = scope.join().unwrap();
    assert!(
        matches!(&outcome, Err(Error::DrainDeadline { export, .. }) if export == "block"),
        "{outcome:?}"
    );
    assert_eq!(world.events.count("drain-killed"), 1);
    assert_eq!(world.events.count("generation-freed"), 1);
    assert_eq!(world.events.count("generation-tainted"), 0);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn the_drain_deadline_ends_a_scope_of_short_calls_where_the_engine_cannot_interrupt() {
    let world = World::new().script(crate::fake::Script::without_interruption);
    let engine = world.script.engine();
    let builder = world.builder(&engine).drain_timeout(Duration::ZERO);
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    let end = Instant::now() + PATIENCE;
    let outcome: Result<(), Error> = proxy.pinned(|pinned| {
        swap(&proxy);
        while Instant::now() < end {
            proxy.tick(Instant::now());
            pinned.call("counter_value", args![one])?;
        }
        panic!("the scope was never ended");
    });
    assert!(matches!(outcome, Err(Error::DrainDeadline { .. })));
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_scope_that_runs_out_of_memory_is_run_again_from_its_start() {
    let world = World::new().leaking().pages(8);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 3);
    leak_pages(&proxy, 5);
    let runs = Cell::new(0);
    let result = proxy.pinned(|pinned| {
        runs.set(runs.get() + 1);
        let pointer = snapshot(pinned, one)?;
        pinned.call("leak", args![4])?;
        snapshot_value(pinned, pointer)
    });
    assert_eq!(result.unwrap(), 3);
    assert_eq!(runs.get(), 2);
    assert_eq!(proxy.debug_info().emergencies, 1);
    assert_eq!(proxy.debug_info().retries, 1);
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_scope_is_run_again_only_once() {
    let (proxy, _) = World::new().booming(|_| true).build();
    let runs = Cell::new(0);
    let outcome: Result<(), Error> = proxy.pinned(|pinned| {
        runs.set(runs.get() + 1);
        pinned.call("boom", args![]).map(drop)
    });
    assert!(
        matches!(
            outcome,
            Err(Error::Call(CallError::Trapped { retried: true, .. }))
        ),
        "{outcome:?}"
    );
    assert_eq!(runs.get(), 2);
    assert_eq!(value(&proxy, counter(&proxy)), 0, "the proxy goes on");
}

#[test]
fn a_scope_whose_generation_another_call_ended_is_run_again() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let generations = std::cell::RefCell::new(Vec::new());
    let result = proxy.pinned(|pinned| {
        generations.borrow_mut().push(pinned.generation());
        let pointer = snapshot(pinned, one)?;
        let other = proxy.clone();
        let number = within("a call of another thread", PATIENCE, move || {
            other
                .call("boom", args![])
                .and_then(|number| Ok(number.i32()?))
        });
        assert_eq!(number.unwrap(), 2, "it was repeated on the new generation");
        snapshot_value(pinned, pointer)
    });
    assert_eq!(result.unwrap(), 0);
    assert_eq!(generations.into_inner(), [1, 2]);
}

#[test]
fn a_scope_that_needs_an_object_of_the_new_generation_is_run_again_there() {
    let (proxy, _) = World::new().build();
    let young = std::cell::OnceCell::new();
    let generations = std::cell::RefCell::new(Vec::new());
    let result = proxy.pinned(|pinned| {
        generations.borrow_mut().push(pinned.generation());
        let young = *young.get_or_init(|| {
            swap(&proxy);
            counter(&proxy)
        });
        Ok::<_, Error>(pinned.call("counter_value", args![young])?.i32()?)
    });
    assert_eq!(result.unwrap(), 0);
    assert_eq!(generations.into_inner(), [1, 2]);
}

#[test]
fn an_error_of_the_scope_itself_is_returned_as_it_is() {
    #[derive(Debug)]
    enum Failure {
        Proxy(Error),
        Own(u32),
    }
    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            Failure::Proxy(error)
        }
    }
    let (proxy, _) = World::new().build();
    let runs = Cell::new(0);
    let own: Result<(), Failure> = proxy.pinned(|_| {
        runs.set(runs.get() + 1);
        Err(Failure::Own(7))
    });
    assert!(matches!(own, Err(Failure::Own(7))));
    assert_eq!(runs.get(), 1);
    assert!(proxy.shutdown());
    let shut: Result<(), Failure> = proxy.pinned(|_| Ok(()));
    assert!(matches!(shut, Err(Failure::Proxy(Error::ShutDown))));
}

#[test]
fn scopes_of_several_threads_see_their_own_pointers_only() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for _ in 0..100 {
                    let value = proxy.pinned(|pinned| {
                        let pointer = snapshot(pinned, one)?;
                        let value = snapshot_value(pinned, pointer)?;
                        pinned.call("snapshot_free", args![pointer])?;
                        Ok::<_, Error>(value)
                    });
                    assert_eq!(value.unwrap(), 1);
                }
            });
        }
        for _ in 0..20 {
            if proxy.prepare_standby().is_ok() {
                proxy.swap().unwrap();
            }
        }
    });
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_scope_may_hold_its_generation_through_a_long_call() {
    let gate = Gate::closed();
    let world = World::new().blocking(&gate);
    let (proxy, engine) = world.build();
    let scope = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.pinned(|pinned| Ok::<_, Error>(pinned.call("block", args![])?.i32()?))
    });
    gate.wait_for(1);
    swap(&proxy);
    proxy.tick(Instant::now() + Duration::from_secs(1));
    assert_eq!(engine.probe().live(), 2, "the deadline is not yet");
    gate.open();
    assert_eq!(scope.join().unwrap().unwrap(), 1);
    until_live(&proxy, &engine, 1);
}
