//! A turn notices nothing when its generation dies: its raw objects are made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use engine_api::{FuncType, ValType};
use proxy_core::{CallError, Error, Event, args};

use super::{begun, copy_of, read, world};
use crate::fake::{address, number};
use crate::proxy::world::{World, counter, instance_number, value};

fn repeated(world: &World) -> Vec<(u64, usize)> {
    let events = world.events.all();
    let repeated = events.iter().filter_map(|event| match event {
        Event::TurnRepeated { generation, calls } => Some((*generation, *calls)),
        _ => None,
    });
    repeated.collect()
}

#[test]
fn a_death_in_a_pure_call_is_not_noticed() {
    let world = world(|number| number == 1);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    turn.call("copy_die", args![copy, 100]).unwrap();
    assert_eq!(turn.generation(), 2);
    assert_eq!(
        read(&mut turn, copy).unwrap(),
        111,
        "all of it is repeated, and once"
    );
    assert_eq!(repeated(&world), [(2, 2)]);
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.retries), (1, 1));
    turn.call("counter_add", args![one, 1]).unwrap();
    drop(turn);
    assert_eq!(value(&proxy, one), 2);
}

#[test]
fn a_death_in_a_journaled_call_is_not_noticed() {
    let world = world(|number| number == 1);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let two = counter(&proxy);
    turn.call("add_die", args![two, 100]).unwrap();
    assert_eq!(turn.generation(), 1, "no raw object was needed yet");
    let value = turn.call("counter_value", args![two]).unwrap();
    assert_eq!(value.i32().unwrap(), 100);
    let later = copy_of(&mut turn, two);
    assert_eq!(turn.generation(), 2);
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
    assert_eq!(read(&mut turn, later).unwrap(), 100);
    turn.call("counter_add", args![one, 1]).unwrap();
}

#[test]
fn a_raw_object_of_one_that_was_changed_since_is_not_made_again_of_the_change() {
    let world =
        world(|number| number == 1).func("change_all", "", "role = \"mutate\"", |_, _| Ok(vec![]));
    for change in ["counter_add", "change_all"] {
        let (proxy, _) = world.build();
        let (mut turn, one, copy) = begun(&proxy);
        match change {
            "counter_add" => turn.call(change, args![one, 100]).unwrap(),
            _ => turn.call(change, args![]).unwrap(),
        };
        assert_eq!(read(&mut turn, copy).unwrap(), 11);
        let error = turn.call("copy_die", args![copy, 1]).unwrap_err();
        assert!(
            matches!(&error, Error::TurnLost { reason } if reason.contains(change)),
            "{error}"
        );
    }
}

#[test]
fn a_death_in_a_call_of_somebody_else_is_not_noticed() {
    let world = world(|number| number < 3);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let (mut other, two, second) = begun(&proxy);
    proxy.call("add_die", args![one, 1]).unwrap_err();
    for (turn, copy) in [(&mut turn, copy), (&mut other, second)] {
        assert_eq!(read(turn, copy).unwrap(), 11);
    }
    other.call("copy_die", args![second, 1]).unwrap();
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
    assert_eq!(turn.generation(), other.generation());
    assert_eq!(value(&proxy, two), 1);
}

#[test]
fn a_second_death_goes_to_the_caller_and_the_turn_goes_on() {
    let world = world(|_| true);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let error = turn.call("copy_die", args![copy, 100]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::Trapped { retried: true, .. })),
        "{error}"
    );
    assert_eq!(
        read(&mut turn, copy).unwrap(),
        11,
        "the call that died left nothing"
    );
    turn.call("counter_add", args![one, 1]).unwrap();
}

#[test]
fn a_turn_goes_on_until_the_guest_runs_out_of_memory_and_then_on_a_clean_generation() {
    let world = world(|_| false).leaking().pages(16);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    for _ in 0..40 {
        turn.call("leak", args![1]).unwrap();
        turn.call("copy_add", args![copy, 1]).unwrap();
    }
    let info = proxy.debug_info();
    assert!(info.emergencies >= 2, "{info}");
    assert_eq!(info.swaps, info.emergencies, "no other swap inside");
    assert_eq!(read(&mut turn, copy).unwrap(), 51);
    drop(turn);
    assert_eq!(value(&proxy, one), 1);
}

#[test]
fn the_host_is_not_asked_again_for_what_a_raw_call_got() {
    let asked = Arc::new(AtomicI32::new(0));
    let world = world(|number| number == 1)
        .import(
            "dice",
            ("(result i32)", FuncType::new(&[], &[ValType::I32])),
            {
                let asked = Arc::clone(&asked);
                move |_, _, results| {
                    results[0] = asked.fetch_add(1, Ordering::SeqCst).into();
                    Ok(())
                }
            },
        )
        .func(
            "roll",
            "(result i32)",
            "role = \"pure\"\nresults = [\"pointer\"]",
            |guest, _| {
                let rolled = number(&guest.host("env", "dice", &[])?[0]);
                let copy = guest.alloc(8)?;
                guest.write(copy, &rolled.to_le_bytes())?;
                Ok(vec![copy.into()])
            },
        );
    let (proxy, _) = world.build();
    let (mut turn, ..) = begun(&proxy);
    turn.call("roll", args![]).unwrap();
    let second = turn.call("roll", args![]).unwrap().pointer().unwrap();
    assert_eq!(read(&mut turn, second).unwrap(), 1);
    turn.call("copy_die", args![second, 0]).unwrap();
    assert_eq!(read(&mut turn, second).unwrap(), 1);
    assert_eq!(
        asked.load(Ordering::SeqCst),
        2,
        "effects outside happen once"
    );
}

#[test]
fn a_raw_call_that_gives_something_else_is_a_divergence_and_the_rest_goes_on() {
    let world = world(|number| number == 1).func(
        "odd",
        "(param i32) (result i32)",
        "role = \"pure\"\nargs = [\"pointer\"]",
        |guest, _| Ok(vec![instance_number(guest).into()]),
    );
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    assert_eq!(turn.call("odd", args![copy]).unwrap().i32().unwrap(), 1);
    let error = turn.call("copy_die", args![copy, 1]).unwrap_err();
    assert!(
        matches!(&error, Error::TurnDiverged { export, expected, got }
            if export == "odd" && expected != got),
        "{error}"
    );
    let error = read(&mut turn, copy).unwrap_err();
    assert!(
        matches!(&error, Error::TurnLost { reason } if reason.contains("`odd`")),
        "{error}"
    );
    turn.call("counter_add", args![one, 5]).unwrap();
    assert_eq!(
        turn.call("counter_value", args![one])
            .unwrap()
            .i32()
            .unwrap(),
        6
    );
    assert!(
        proxy.debug_info().tainted.is_none(),
        "the new generation is whole"
    );
    drop(turn);
    let (mut turn, _, copy) = begun(&proxy);
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
}

#[test]
fn a_raw_object_of_one_that_was_freed_meanwhile_cannot_be_made_again() {
    let world = world(|number| number == 1);
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    turn.call("counter_free", args![one]).unwrap();
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
    let error = turn.call("copy_die", args![copy, 1]).unwrap_err();
    assert!(
        matches!(&error, Error::TurnDiverged { export, got, .. }
            if export == "snapshot" && got.contains("freed")),
        "{error}"
    );
}

#[test]
fn the_addresses_on_the_next_generation_are_others() {
    let world = world(|number| number == 1).func(
        "where_is",
        "(param i32) (result i32)",
        "role = \"pure\"\nargs = [\"handle:counter\"]",
        |_, args| Ok(vec![address(&args[0]).cast_signed().into()]),
    );
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let mut addresses = Vec::new();
    for _ in 0..2 {
        addresses.push(turn.call("where_is", args![one]).unwrap().i32().unwrap());
        turn.call("copy_die", args![copy, 0]).unwrap();
    }
    assert_ne!(addresses[0], addresses[1]);
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
}
