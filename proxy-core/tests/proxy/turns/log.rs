//! What a turn remembers, and that it is bounded.

use proxy_core::{Error, args};

use super::{begun, copy_of, read, world};
use crate::proxy::world::counter;

#[test]
fn what_is_used_up_is_forgotten() {
    let (proxy, _) = world(|number| number == 1).build();
    let one = counter(&proxy);
    let mut turn = proxy.turn().unwrap();
    for _ in 0..1000 {
        let copy = copy_of(&mut turn, one);
        turn.call("copy_add", args![copy, 1]).unwrap();
        turn.call("snapshot_free", args![copy]).unwrap();
        assert_eq!(turn.log_bytes(), 0);
    }
    let kept = copy_of(&mut turn, one);
    turn.call("copy_add", args![kept, 2]).unwrap();
    let bytes = turn.log_bytes();
    assert!(bytes > 0);
    let passing = copy_of(&mut turn, one);
    turn.call("snapshot_free", args![passing]).unwrap();
    assert_eq!(turn.log_bytes(), bytes, "what is alive stays");
    turn.call("copy_die", args![kept, 3]).unwrap();
    assert_eq!(read(&mut turn, kept).unwrap(), 5);
}

#[test]
fn raw_objects_that_met_are_forgotten_together() {
    let world = world(|number| number == 1).func(
        "copy_to",
        "(param i32 i32)",
        "role = \"pure\"\nargs = [\"pointer\", \"pointer\"]\nconsumes = [0]",
        |guest, args| {
            let [from, to] = [0, 1].map(|at| crate::fake::address(&args[at]));
            let bytes = guest.read(from, 4)?;
            guest.write(to, &bytes)?;
            Ok(vec![])
        },
    );
    let (proxy, _) = world.build();
    let (mut turn, one, copy) = begun(&proxy);
    let target = copy_of(&mut turn, one);
    turn.call("copy_to", args![copy, target]).unwrap();
    turn.call("copy_die", args![target, 0]).unwrap();
    assert_eq!(
        read(&mut turn, target).unwrap(),
        11,
        "its source was made again too"
    );
    turn.call("snapshot_free", args![target]).unwrap();
    assert_eq!(turn.log_bytes(), 0);
}

#[test]
fn a_turn_that_needs_too_much_is_lost_with_its_generation_and_only_then() {
    let world = world(|number| number == 1);
    let engine = world.script.engine();
    let builder = world.builder(&engine).turn_log_bytes_max(4096);
    let proxy = builder.build().unwrap();
    let (mut turn, one, copy) = begun(&proxy);
    for _ in 0..1000 {
        turn.call("copy_add", args![copy, 1]).unwrap();
    }
    assert_eq!(turn.log_bytes(), 0);
    assert_eq!(read(&mut turn, copy).unwrap(), 1011);
    let error = turn.call("copy_die", args![copy, 1]).unwrap_err();
    assert!(
        matches!(&error, Error::TurnLost { reason } if reason.contains("turn_log_bytes_max")),
        "{error}"
    );
    turn.call("counter_add", args![one, 1]).unwrap();
}

#[test]
fn a_turn_that_had_nothing_alive_remembers_again() {
    let world = world(|number| number == 1);
    let engine = world.script.engine();
    let builder = world.builder(&engine).turn_log_bytes_max(4096);
    let proxy = builder.build().unwrap();
    let (mut turn, one, copy) = begun(&proxy);
    for _ in 0..1000 {
        turn.call("copy_add", args![copy, 1]).unwrap();
    }
    turn.call("snapshot_free", args![copy]).unwrap();
    let copy = copy_of(&mut turn, one);
    assert!(turn.log_bytes() > 0);
    turn.call("copy_die", args![copy, 4]).unwrap();
    assert_eq!(read(&mut turn, copy).unwrap(), 5);
}
