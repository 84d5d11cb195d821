//! Turns: pure and journaled calls one after the other, raw pointers that are names, and no swap in
//! between.

mod deaths;
mod log;
mod swaps;

use engine_api::{Error as EngineError, Trap};
use proxy_core::{CallError, Error, Handle, Pointer, Proxy, Turn, Value, args};

use super::world::{World, counter, swap, value};
use crate::fake::{FakeInstance, address, number};

/// `copy_add(copy, n)`: raw, adds to a copy. `copy_die(copy, n)`: the same, but traps on instances
/// for which `dies` is true. `add_die(counter, n)`: journaled, traps there too. `copies(counter, n)`:
/// raw, gives so many copies.
fn world(dies: impl Fn(u64) -> bool + Clone + Send + Sync + 'static) -> World {
    let dies_too = dies.clone();
    World::new()
        .func("copy_add", "(param i32 i32)", COPY_ADD, |guest, args| {
            copy_add(guest, address(&args[0]), number(&args[1]))
        })
        .func(
            "copy_die",
            "(param i32 i32)",
            COPY_ADD,
            move |guest, args| {
                if dies(guest.number) {
                    return Err(EngineError::Trap(Trap::IntegerDivisionByZero));
                }
                copy_add(guest, address(&args[0]), number(&args[1]))
            },
        )
        .func(
            "add_die",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:counter\", \"value\"]\nmutates = [0]",
            move |guest, args| {
                if dies_too(guest.number) {
                    return Err(EngineError::Trap(Trap::IntegerDivisionByZero));
                }
                *guest.object(&args[0])? += i64::from(number(&args[1]));
                Ok(vec![])
            },
        )
        .func(
            "copies",
            "(param i32 i32) (result i32 i32)",
            "role = \"pure\"\nargs = [\"handle:counter\", \"value\"]\nresults = [\"pointers\"]",
            |guest, args| {
                let (value, count) = (*guest.object(&args[0])?, address(&args[1]));
                let list = guest.alloc(4 * count)?;
                for at in 0..count {
                    let copy = guest.alloc(8)?;
                    guest.write(copy, &value.to_le_bytes())?;
                    guest.write(list + 4 * at, &copy.to_le_bytes())?;
                }
                Ok(vec![list.into(), count.into()])
            },
        )
}

const COPY_ADD: &str = "role = \"pure\"\nargs = [\"pointer\", \"value\"]";

fn copy_add(
    guest: &mut FakeInstance,
    copy: u32,
    n: i32,
) -> Result<Vec<engine_api::Val>, EngineError> {
    let bytes = guest.read(copy, 4)?.try_into().unwrap();
    let sum = i32::from_le_bytes(bytes) + n;
    guest.write(copy, &sum.to_le_bytes())?;
    Ok(vec![])
}

fn copy_of(turn: &mut Turn, counter: Handle) -> Pointer {
    turn.call("snapshot", args![counter])
        .unwrap()
        .pointer()
        .unwrap()
}

fn read(turn: &mut Turn, copy: Pointer) -> Result<i32, Error> {
    Ok(turn.call("snapshot_value", args![copy])?.i32()?)
}

/// A turn with a counter of 1 and a raw copy of it, to which 10 was added.
fn begun(proxy: &Proxy) -> (Turn, Handle, Pointer) {
    let mut turn = proxy.turn().unwrap();
    let counter = turn.call("counter_new", args![]).unwrap().handle().unwrap();
    turn.call("counter_add", args![counter, 1]).unwrap();
    let copy = copy_of(&mut turn, counter);
    turn.call("copy_add", args![copy, 10]).unwrap();
    (turn, counter, copy)
}

#[test]
fn pure_and_journaled_calls_alternate() {
    let (proxy, _) = world(|_| false).build();
    let (mut turn, one, copy) = begun(&proxy);
    turn.call("counter_add", args![one, 5]).unwrap();
    let later = copy_of(&mut turn, one);
    assert_eq!(
        turn.call("counter_value", args![one])
            .unwrap()
            .i32()
            .unwrap(),
        6
    );
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
    assert_eq!(read(&mut turn, later).unwrap(), 6);
    assert_eq!(turn.generation(), 1);
    turn.end();
    assert_eq!(value(&proxy, one), 6, "a handle is good for ever");
    assert_eq!(proxy.debug_info().journal_entries, 3);
}

#[test]
fn pointers_are_names_of_their_turn_alone() {
    let (proxy, _) = world(|_| false).build();
    let (mut turn, one, copy) = begun(&proxy);
    let same_address = {
        turn.call("snapshot_free", args![copy]).unwrap();
        copy_of(&mut turn, one)
    };
    assert_ne!(copy, same_address, "no name is used twice");
    let used = turn.call("snapshot_value", args![copy]).unwrap_err();
    assert!(
        matches!(used, Error::Call(CallError::UsedPointer { .. })),
        "{used}"
    );
    let (mut other, ..) = begun(&proxy);
    for outcome in [
        other.call("snapshot_value", args![same_address]),
        proxy.call("snapshot_value", args![same_address]),
        proxy.pinned(|pinned| pinned.call("snapshot_value", args![same_address])),
        turn.call(
            "snapshot_value",
            args![Pointer::new(7, same_address.scope())],
        ),
        turn.call(
            "snapshot_value",
            args![Pointer::new(0, same_address.scope())],
        ),
    ] {
        let error = outcome.unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::PointerOutsideScope { .. })),
            "{error}"
        );
    }
    assert!(proxy.debug_info().tainted.is_none(), "nothing ran");
}

#[test]
fn lists_of_raw_objects_have_names_too() {
    let (proxy, _) = world(|_| false).build();
    let (mut turn, one, _) = begun(&proxy);
    let copies = turn
        .call("copies", args![one, 3])
        .unwrap()
        .pointers()
        .unwrap();
    assert_eq!(copies.len(), 3);
    turn.call("copy_add", args![copies[1], 4]).unwrap();
    let values = copies.iter().map(|copy| read(&mut turn, *copy).unwrap());
    assert_eq!(values.collect::<Vec<_>>(), [1, 5, 1]);
    let outside = proxy.call("copies", args![one, 3]).unwrap_err();
    assert!(matches!(
        outside,
        Error::Call(CallError::PointerOutsideScope { .. })
    ));
}

#[test]
fn null_is_no_raw_object() {
    let world = world(|_| false)
        .func(
            "maybe",
            "(param i32) (result i32)",
            "role = \"pure\"\nresults = [\"pointer\"]",
            |_, args| Ok(vec![args[0].clone()]),
        )
        .func(
            "is_null",
            "(param i32) (result i32)",
            "role = \"pure\"\nargs = [\"optional:pointer\"]",
            |_, args| Ok(vec![i32::from(number(&args[0]) == 0).into()]),
        );
    let (proxy, _) = world.build();
    let (mut turn, _, copy) = begun(&proxy);
    let bytes = turn.log_bytes();
    let nothing = turn.call("maybe", args![0]).unwrap();
    assert_eq!(turn.log_bytes(), bytes, "there is nothing to make again");
    assert_eq!(nothing.as_slice(), [Value::Null]);
    let asked = turn.call("is_null", &[proxy_core::Arg::NULL]).unwrap();
    assert_eq!(asked.i32().unwrap(), 1);
    let asked = turn.call("is_null", args![copy]).unwrap();
    assert_eq!(asked.i32().unwrap(), 0);
}

#[test]
fn a_turn_can_go_to_another_thread() {
    let (proxy, _) = world(|_| false).build();
    let (mut turn, one, copy) = begun(&proxy);
    let turn = std::thread::spawn(move || {
        assert_eq!(read(&mut turn, copy).unwrap(), 11);
        turn
    });
    let mut turn = turn.join().unwrap();
    turn.call("counter_add", args![one, 1]).unwrap();
    drop(turn);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 2);
}

#[test]
fn an_error_of_the_call_changes_nothing() {
    let (proxy, _) = world(|_| false).build();
    let (mut turn, one, copy) = begun(&proxy);
    assert!(matches!(
        turn.call("nothing", args![]),
        Err(Error::Call(CallError::UnknownExport { .. }))
    ));
    assert!(
        turn.call("counter_new", args![copy]).is_err(),
        "it is journaled"
    );
    assert!(turn.call("snapshot_value", args![one, copy]).is_err());
    turn.call("counter_free", args![one]).unwrap();
    assert!(matches!(
        turn.call("snapshot", args![one]),
        Err(Error::Call(CallError::FreedHandle { .. }))
    ));
    assert_eq!(read(&mut turn, copy).unwrap(), 11);
    assert!(proxy.debug_info().tainted.is_none());
}

#[test]
fn no_turn_begins_or_goes_on_after_the_end() {
    let (proxy, _) = world(|_| false).build();
    let one = counter(&proxy);
    let (mut turn, _, copy) = begun(&proxy);
    let ending = std::thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    assert!(ending.join().unwrap(), "an open turn keeps no generation");
    assert!(matches!(read(&mut turn, copy), Err(Error::ShutDown)));
    assert!(matches!(
        turn.call("counter_value", args![one]),
        Err(Error::ShutDown)
    ));
    drop(turn);
    assert!(matches!(proxy.turn(), Err(Error::ShutDown)));
}

#[test]
fn exports_that_free_and_change_what_lasts_do_the_same_to_raw_objects() {
    let world = world(|number| number == 1)
        .func(
            "bump",
            "(param i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:copy\", \"value\"]\nmutates = [0]",
            |guest, args| copy_add(guest, address(&args[0]), number(&args[1])),
        )
        .func(
            "drop_copy",
            "(param i32)",
            "role = \"free\"\nargs = [\"handle:copy\"]",
            |guest, args| {
                guest.free(address(&args[0]), 8);
                Ok(vec![])
            },
        );
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let entries = proxy.debug_info().journal_entries;
    turn.call("bump", args![copy, 100]).unwrap();
    turn.call("copy_die", args![copy, 1000]).unwrap();
    assert_eq!(read(&mut turn, copy).unwrap(), 1111);
    turn.call("drop_copy", args![copy]).unwrap();
    assert!(matches!(
        turn.call("bump", args![copy, 1]),
        Err(Error::Call(CallError::UsedPointer { .. }))
    ));
    assert_eq!(turn.log_bytes(), 0);
    assert_eq!(
        proxy.debug_info().journal_entries,
        entries,
        "nothing lasts of it"
    );
    assert!(proxy.call("bump", args![copy, 1]).is_err());
    turn.call("counter_add", args![one, 1]).unwrap();
}
