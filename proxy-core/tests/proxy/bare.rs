//! Instances without a proxy: they call by the same policy, and leave the rest to their owner.

use std::sync::atomic::Ordering;

use engine_api::{Engine, Imports};
use proxy_core::{Bare, CallError, args};

use super::things::{THING_BYTES, Things};
use super::world::World;

fn bare(world: &World) -> Bare {
    let engine = world.script.engine();
    let module = engine.compile(&world.script.wasm()).unwrap();
    let policy = world.policy.parse().unwrap();
    Bare::new(module, &policy, Imports::new(), world.limits.clone()).unwrap()
}

#[test]
fn an_instance_that_died_stays_dead_and_a_new_one_knows_nothing_of_it() {
    let bare = bare(&World::new().booming(|number| number == 1));
    let mut first = bare.instance().unwrap();
    let counter = first
        .call("counter_new", args![])
        .unwrap()
        .handle()
        .unwrap();
    first.call("counter_add", args![counter, 3]).unwrap();
    let value = first.call("counter_value", args![counter]).unwrap();
    assert_eq!(value.i32().unwrap(), 3);
    let error = first.call("boom", args![]).unwrap_err();
    assert!(matches!(error, CallError::Trapped { .. }), "{error}");
    assert!(first.died().is_some());
    let error = first.call("counter_value", args![counter]).unwrap_err();
    assert!(matches!(error, CallError::Died { .. }), "{error}");
    let mut second = bare.instance().unwrap();
    let error = second.call("counter_value", args![counter]).unwrap_err();
    assert!(matches!(error, CallError::ForeignHandle { .. }), "{error}");
    let own = second
        .call("counter_new", args![])
        .unwrap()
        .handle()
        .unwrap();
    let value = second.call("counter_value", args![own]).unwrap();
    assert_eq!(value.i32().unwrap(), 0);
    assert!(second.died().is_none());
}

#[test]
fn wrong_arguments_and_freed_handles_are_refused_and_kill_nothing() {
    let bare = bare(&Things::new().world());
    let mut instance = bare.instance().unwrap();
    let thing = instance
        .call("thing_new", args![3])
        .unwrap()
        .handle()
        .unwrap();
    instance.call("thing_free", args![thing]).unwrap();
    let error = instance.call("thing_value", args![thing]).unwrap_err();
    assert!(matches!(error, CallError::FreedHandle { .. }), "{error}");
    let error = instance.call("thing_new", args![]).unwrap_err();
    assert!(matches!(error, CallError::Argument { .. }), "{error}");
    let error = instance.call("thing_neu", args![3]).unwrap_err();
    assert!(matches!(error, CallError::UnknownExport { .. }), "{error}");
    assert!(instance.died().is_none());
}

#[test]
fn an_object_goes_to_another_instance_as_an_artifact_and_no_fingerprint_is_taken() {
    let things = Things::new();
    let bare = bare(&things.world());
    assert!(bare.export("thing_new").unwrap().artifact);
    assert!(!bare.export("thing_set").unwrap().artifact);
    let mut first = bare.instance().unwrap();
    let thing = first.call("thing_new", args![5]).unwrap().handle().unwrap();
    let bytes = first.export_artifact("thing_new", thing).unwrap().unwrap();
    assert_eq!(bytes.len(), THING_BYTES as usize);
    assert_eq!(first.export_artifact("thing_read", thing).unwrap(), None);
    let mut second = bare.instance().unwrap();
    let imported = second
        .import_artifact("thing_new", args![5], &bytes)
        .unwrap();
    let imported = imported.handle().unwrap();
    let read = |instance: &mut proxy_core::BareInstance, thing| {
        instance.call("thing_value", args![thing]).unwrap()
    };
    assert_eq!(read(&mut second, imported), read(&mut first, thing));
    assert_eq!(things.computed.load(Ordering::SeqCst), 1);
    let error = second
        .import_artifact("thing_read", args![&bytes], &bytes)
        .unwrap_err();
    assert!(matches!(error, CallError::NoArtifact { .. }), "{error}");
}

#[test]
fn a_trap_near_the_limit_is_running_out_of_memory() {
    let bare = bare(&World::new().leaking().pages(20).booming(|_| true));
    assert_eq!(bare.memory_limit_bytes(), 20 << 16);
    let mut instance = bare.instance().unwrap();
    let mut before = instance.memory_bytes();
    while instance.memory_bytes() < 19 << 16 {
        instance.call("leak", args![1]).unwrap();
        assert!(instance.memory_bytes() > before);
        before = instance.memory_bytes();
    }
    let error = instance.call("boom", args![]).unwrap_err();
    assert!(matches!(error, CallError::OutOfMemory { .. }), "{error}");
}
