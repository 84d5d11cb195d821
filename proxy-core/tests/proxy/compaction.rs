//! The journal forgets what no live object needs, and replay gives the same.

use std::sync::Arc;
use std::thread;

use engine_api::Val;
use proxy_core::{CallError, Error, args};

use super::world::{World, add, counter, swap, value};
use crate::fake::Gate;

#[test]
fn short_lived_objects_leave_the_journal() {
    let world = World::new();
    let (proxy, _) = world.build();
    let kept = counter(&proxy);
    // Every round adds one entry that `kept` needs. The others are forgotten before there are more
    // of them.
    for round in 1..=2000 {
        let short = counter(&proxy);
        add(&proxy, short, 1);
        proxy.call("counter_free", args![short]).unwrap();
        add(&proxy, kept, 1);
        let entries = proxy.debug_info().journal_entries;
        assert!(
            entries < 2 * (round + 1) + 300,
            "{entries} after {round} rounds"
        );
    }
    let info = proxy.debug_info();
    assert_eq!((info.objects, info.journal_last.0), (1, 8001));
    assert!(world.events.count("journal-compacted") > 1);
    swap(&proxy);
    assert_eq!(value(&proxy, kept), 2000);
}

#[test]
fn a_handle_that_the_journal_has_forgotten_is_still_known_as_freed() {
    let (proxy, _) = World::new().build();
    let first = counter(&proxy);
    proxy.call("counter_free", args![first]).unwrap();
    assert!(matches!(
        proxy.call("counter_value", args![first]),
        Err(Error::Call(CallError::FreedHandle { .. }))
    ));
    for _ in 0..200 {
        let short = counter(&proxy);
        proxy.call("counter_free", args![short]).unwrap();
    }
    assert!(matches!(
        proxy.call("counter_value", args![first]),
        Err(Error::Call(CallError::FreedHandle { .. }))
    ));
    swap(&proxy);
    assert!(matches!(
        proxy.call("counter_value", args![first]),
        Err(Error::Call(CallError::FreedHandle { .. }))
    ));
}

#[test]
fn a_change_of_the_whole_module_is_never_forgotten() {
    let (proxy, _) = World::new().chain(0).build();
    let mut last = 0;
    for arg in 0..300_i64 {
        last = proxy.call("chain_step", args![arg]).unwrap().i64().unwrap();
        let short = counter(&proxy);
        proxy.call("counter_free", args![short]).unwrap();
    }
    assert!(proxy.debug_info().journal_entries >= 300);
    swap(&proxy);
    let next = proxy
        .call("chain_step", args![0_i64])
        .unwrap()
        .i64()
        .unwrap();
    assert_eq!(next, super::world::hash(last, 0));
}

/// Holds the standby's replay at the entry of `mark`, while callers free objects and the journal is
/// compacted. Everything must still fit together afterwards.
#[test]
fn objects_freed_while_a_standby_is_prepared_are_freed_there_too() {
    let gate = Gate::closed();
    let world = World::new().func("mark", "", "role = \"mutate\"", {
        let gate = Arc::clone(&gate);
        move |guest, _| {
            if guest.number > 1 {
                gate.pass(guest)?;
            }
            Ok(vec![])
        }
    });
    let (proxy, _) = world.build();
    let kept = counter(&proxy);
    let before: Vec<_> = (0..600).map(|_| counter(&proxy)).collect();
    proxy.call("mark", args![]).unwrap();
    let after: Vec<_> = (0..600).map(|_| counter(&proxy)).collect();
    let preparing = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.prepare_standby()
    });
    gate.wait_for(1);
    for (position, one) in before.iter().chain(&after).enumerate() {
        add(&proxy, *one, 1);
        add(&proxy, kept, 1);
        if position % 3 > 0 {
            proxy.call("counter_free", args![*one]).unwrap();
        }
    }
    gate.open();
    preparing.join().unwrap().unwrap();
    let left: Vec<_> = before.iter().chain(&after).step_by(3).collect();
    for one in &left[..100] {
        proxy.call("counter_free", args![**one]).unwrap();
    }
    proxy.swap().unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, kept), 1200);
    for one in &left[100..] {
        assert_eq!(value(&proxy, **one), 1);
    }
    assert_eq!(proxy.debug_info().objects, 301);
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn freeing_while_other_threads_prepare_and_swap_loses_nothing() {
    let world = World::new().func(
        "counter_copy",
        "(param i32) (result i32)",
        "role = \"create\"\nargs = [\"handle:counter\"]\nresults = [\"handle:counter\"]",
        |guest, args| {
            let copied = *guest.object(&args[0])?;
            let address = guest.alloc(16)?;
            guest.objects.insert(address, copied);
            Ok(vec![Val::from(address)])
        },
    );
    let (proxy, engine) = world.build();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let proxy = &proxy;
                scope.spawn(move || {
                    let mut one = counter(proxy);
                    for round in 1..=300 {
                        add(proxy, one, caller + 1);
                        let copy = proxy.call("counter_copy", args![one]);
                        let copy = copy.unwrap().handle().unwrap();
                        proxy.call("counter_free", args![one]).unwrap();
                        one = copy;
                        assert_eq!(value(proxy, one), round * (caller + 1));
                    }
                    one
                })
            })
            .collect();
        while callers.iter().any(|caller| !caller.is_finished()) {
            match proxy.prepare_standby() {
                Ok(_) => drop(proxy.swap().unwrap()),
                Err(Error::StillDraining) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        swap(&proxy);
        for (caller, one) in (1..).zip(callers) {
            assert_eq!(value(&proxy, one.join().unwrap()), 300 * caller);
        }
    });
    assert_eq!(proxy.debug_info().divergences, 0);
    assert_eq!(proxy.debug_info().objects, 4);
    assert!(engine.probe().peak() <= 3);
}
