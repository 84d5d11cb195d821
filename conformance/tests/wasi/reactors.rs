//! `_initialize` runs once in each fresh instance, before anything else.

use conformance::prelude::*;
use conformance::worlds::{Scene, WORLD, WORLD_POLICY};
use proxy_core::{Proxy, Source, args};

const REACTOR: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "_initialize")
        (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 7))))
    (func (export "touch"))
    (func (export "get") (result i32) (i32.load (i32.const 64))))"#;

const POLICY: &str = r#"
[[export]]
match = "get"
role = "pure"
"#;

fn swap(proxy: &Proxy) -> Source {
    let prepared = proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    prepared.source
}

#[apply(every_engine)]
fn a_reactor_is_initialized_before_its_first_call(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(REACTOR);
    assert_eq!(instance.invoke("get", &[]).unwrap(), [Val::I32(7)]);
}

#[apply(every_engine)]
fn a_standby_is_initialized_once_whether_replayed_or_from_a_checkpoint(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(REACTOR, POLICY).build().unwrap();
    let get = || proxy.call("get", args![]).unwrap().i32().unwrap();
    let mut sources = Vec::new();
    for _ in 0..3 {
        proxy.call("touch", args![]).unwrap();
        assert_eq!(get(), 7);
        sources.push(swap(&proxy));
        assert_eq!(get(), 7);
    }
    assert!(
        sources.iter().any(|source| *source != sources[0]),
        "standbys are made in both ways: {sources:?}"
    );
}

#[apply(every_engine)]
fn a_command_is_not_initialized_and_nor_is_a_function_of_another_type(engine: &EngineUnderTest) {
    let command = REACTOR.replace("(func (export \"touch\"))", "(func (export \"_start\"))");
    let mut instance = engine.instantiate(&command);
    assert_eq!(instance.invoke("get", &[]).unwrap(), [Val::I32(0)]);
    let other = REACTOR.replace("\"_initialize\")", "\"_initialize\") (param i32)");
    let mut instance = engine.instantiate(&other);
    assert_eq!(instance.invoke("get", &[]).unwrap(), [Val::I32(0)]);
}

#[apply(every_engine)]
fn a_trap_while_a_reactor_is_initialized_is_a_failed_start(engine: &EngineUnderTest) {
    let module = engine
        .compile_wat(r#"(module (func (export "_initialize") unreachable))"#)
        .unwrap();
    let made = module.instantiate(&Imports::new(), &Limits::default());
    assert_eq!(trap_of(made.map(|_| ())), Trap::Unreachable);
}

#[apply(every_engine)]
fn the_constructors_of_a_c_library_have_run(engine: &EngineUnderTest) {
    let scene = Scene::new();
    let builder = engine.proxied(WORLD, WORLD_POLICY);
    let proxy = builder.imports(scene.imports(&["world"])).build().unwrap();
    assert_eq!(proxy.call("ready", args![]).unwrap().i32().unwrap(), 7);
    let greeting = proxy.call("greeting", args![]).unwrap();
    assert_eq!(greeting.text().unwrap(), "hello = world");
}
