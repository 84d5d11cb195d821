//! Bare instances and their calls, on a scripted engine and without a proxy.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../proxy-core/tests/fake/mod.rs"]
mod fake;

use engine_api::{Engine, Error, FuncType, Imports, Limits, Trap};
use guest_calls::{Arg, Bare, BareInstance, CallError, Callee, ScopedCallee, args};

/// An instance whose `boom` calls the host and then traps.
fn booming(policy_of_import: &str) -> BareInstance {
    let script = fake::Script::new()
        .import("env", "tell", "")
        .func("boom", "", |guest, _| {
            guest.host("env", "tell", &[])?;
            Err(Error::Trap(Trap::Unreachable))
        })
        .func("quiet", "", |_, _| Err(Error::Trap(Trap::Unreachable)));
    let mut imports = Imports::new();
    imports.func("env", "tell", FuncType::new(&[], &[]), |_, _, _| Ok(()));
    let module = script.engine().compile(&script.wasm()).unwrap();
    let policy = policy_of_import.parse().unwrap();
    let bare = Bare::new(module, &policy, imports, Limits::default()).unwrap();
    bare.instance().unwrap()
}

fn had_side_effects(error: &CallError) -> bool {
    match error {
        CallError::Trapped { side_effects, .. } => *side_effects,
        other => panic!("{other}"),
    }
}

#[test]
fn a_trap_says_whether_host_functions_with_effects_had_run() {
    let error = booming("").call("boom", args![]).unwrap_err();
    assert!(had_side_effects(&error), "{error}");
    let error = booming("").call("quiet", args![]).unwrap_err();
    assert!(!had_side_effects(&error), "{error}");
    let harmless = "[[import]]\nmatch = \"env.*\"\neffect = \"none\"";
    let error = booming(harmless).call("boom", args![]).unwrap_err();
    assert!(!had_side_effects(&error), "{error}");
}

#[test]
fn raw_pointers_are_good_in_the_scope_that_they_came_from() {
    let mut instance = fake::counter_bare().unwrap().instance().unwrap();
    let counter = instance
        .call("counter_new", args![])
        .unwrap()
        .handle()
        .unwrap();
    let snapshot = |callee: &mut dyn Callee<Error = CallError>| {
        let pointer = callee.call("snapshot", args![counter])?.pointer()?;
        let value = callee.call("snapshot_value", args![pointer])?.i32()?;
        assert_eq!(value, 0);
        Ok::<_, CallError>(pointer)
    };
    let pointer = instance.scope(snapshot).unwrap();
    let stale = instance.scope(|callee| callee.call("snapshot_value", args![pointer]));
    assert!(
        matches!(stale, Err(CallError::PointerOutsideScope { .. })),
        "{stale:?}"
    );
}

#[test]
fn a_call_that_changes_state_takes_no_raw_pointer_for_an_object() {
    let mut instance = fake::counter_bare().unwrap().instance().unwrap();
    let counter = instance
        .call("counter_new", args![])
        .unwrap()
        .handle()
        .unwrap();
    instance.call("counter_add", args![counter, 2]).unwrap();
    let pointer = instance.call("snapshot", args![counter]).unwrap();
    let pointer = Arg::Pointer(pointer.pointer().unwrap());
    let refused = instance.call("counter_add", &[pointer, Arg::from(1)]);
    assert!(
        matches!(refused, Err(CallError::Argument { position: 0, .. })),
        "{refused:?}"
    );
}

#[test]
fn an_unreadable_policy_keeps_the_error_of_its_parser() {
    let error = "strict = 1".parse::<guest_calls::Policy>().unwrap_err();
    let source = std::error::Error::source(&error).expect("the parser's");
    assert!(error.to_string().contains("line 1"), "{error}");
    assert!(source.to_string().contains("line 1"), "{source}");
}
