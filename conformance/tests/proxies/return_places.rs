//! Results at a return pointer in modules that have no function to move their stack pointer, as
//! those of wasm-bindgen before 0.2.69.

use conformance::prelude::*;
use proxy_core::{Bare, BareInstance, Policy, Value, args};

/// It leaves its argument and twice that where it is told, and says where that was.
const GUEST: &str = r#"(module
    (memory (export "memory") 1)
    (global $stack (export "__wbindgen_export_2") (mut i32) (i32.const 2048))
    (global (export "fixed") i32 (i32.const 1024))
    (global $last (mut i32) (i32.const 0))
    (func (export "pair") (param $to i32) (param $n i32)
        (global.set $last (local.get $to))
        (i32.store (local.get $to) (local.get $n))
        (i32.store offset=4 (local.get $to) (i32.mul (local.get $n) (i32.const 2))))
    (func (export "last") (result i32) (global.get $last))
    (func (export "stack") (result i32) (global.get $stack))
    (func (export "break") (global.set $stack (i32.const -8))))"#;

fn policy(place: &str) -> Policy {
    format!(
        "[module]\nreturn_place = {place}\n\
         [[export]]\nmatch = \"pair\"\nrole = \"pure\"\nresults = [\"value\", \"value\"]\n\
         [[export]]\nmatch = \"{{last,stack,break}}\"\nrole = \"pure\"\n"
    )
    .parse()
    .unwrap()
}

fn bare(engine: &EngineUnderTest, place: &str) -> BareInstance {
    let (module, imports) = (engine.module(GUEST), Imports::new());
    let bare = Bare::new(module, &policy(place), imports, Limits::default()).unwrap();
    bare.instance().unwrap()
}

#[track_caller]
fn number(guest: &mut BareInstance, export: &str) -> i32 {
    guest.call(export, args![]).unwrap().i32().unwrap()
}

#[track_caller]
fn pair(guest: &mut BareInstance, n: i32) -> [i32; 2] {
    let results = guest.call("pair", args![n]).unwrap();
    [0, 1].map(|at| match &results.as_slice()[at] {
        Value::Val(Val::I32(n)) => *n,
        other => panic!("{other:?}"),
    })
}

#[apply(every_engine)]
fn results_are_read_at_a_fixed_address(engine: &EngineUnderTest) {
    let mut guest = bare(engine, "8");
    for n in [3, -4] {
        assert_eq!(pair(&mut guest, n), [n, 2 * n]);
        assert_eq!(number(&mut guest, "last"), 8);
    }
}

#[apply(every_engine)]
fn results_are_read_below_the_global_that_is_the_stack_pointer(engine: &EngineUnderTest) {
    let mut guest = bare(engine, "\"__wbindgen_export_2\"");
    for n in [3, -4] {
        assert_eq!(pair(&mut guest, n), [n, 2 * n]);
        let at = number(&mut guest, "last");
        assert!((1024..2048).contains(&at) && at % 16 == 0, "{at}");
        assert_eq!(number(&mut guest, "stack"), 2048, "the room is given back");
    }
    // A stack pointer outside of the memory ends the call, and not the host.
    guest.call("break", args![]).unwrap();
    let error = guest.call("pair", args![1]).unwrap_err().to_string();
    assert!(error.contains("pair"), "{error}");
}

#[apply(every_engine)]
fn a_place_that_cannot_be_one_is_refused(engine: &EngineUnderTest) {
    for place in ["9", "65530", "\"fixed\"", "\"last\"", "\"nothing\""] {
        let made = Bare::new(
            engine.module(GUEST),
            &policy(place),
            Imports::new(),
            Limits::default(),
        );
        let error = made.expect_err("it is no place").to_string();
        assert!(error.contains("module.return_place"), "{error}");
    }
}
