//! A program that depends on this crate alone: it gives the proxy engines as they are, and its
//! state survives a swap.

use std::path::Path;
use std::sync::mpsc;

use wasm_proxy::bindgen_host::Options;
use wasm_proxy::{Builder, Event, Policy, Proxy, args};

fn guest(path: &str) -> Vec<u8> {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    std::fs::read(guests.join(path)).expect("the guests are in the repository")
}

/// A chain of hashes goes on in the next instance where it stood in the last.
fn assert_state_survives_a_swap(builder: Builder) {
    let policy = String::from_utf8(guest("policies/chain.toml")).expect("a policy is text");
    let policy: Policy = policy.parse().expect("the policy of the guest");
    let (sender, events) = mpsc::channel();
    let proxy = builder
        .module(guest("prebuilt/chain.wasm"))
        .policy(policy)
        .on_event(move |event| drop(sender.send(event.clone())))
        .build()
        .expect("the guest runs");
    let value = || {
        let value = proxy.call("value", args![]).expect("a pure call");
        value.i64().expect("a number")
    };
    proxy.call("step", args![1_i64, 1_i64]).expect("a step");
    let before = value();
    proxy.prepare_standby().expect("a standby");
    proxy.swap().expect("a swap");
    assert_eq!((before, value()), (7_963_582_413_768_108_425, before));
    let mut events = events.try_iter();
    assert!(events.any(|event| matches!(event, Event::SwapComplete { .. })));
}

#[cfg(feature = "wasmer")]
#[test]
fn wasmer_is_taken_as_it_is() {
    let engine = wasm_proxy::Wasmer::cranelift().expect("the engine");
    assert_state_survives_a_swap(Proxy::builder(engine));
}

#[cfg(feature = "wasmtime")]
#[test]
fn wasmtime_is_taken_as_it_is() {
    let engine = wasm_proxy::Wasmtime::cranelift().expect("the engine");
    assert_state_survives_a_swap(Proxy::builder(engine));
}

#[test]
fn the_default_engine_and_a_host_around_it_are_taken_as_they_are() {
    let engine = wasm_proxy::default_engine().expect("the engine");
    let options = Options::default();
    let host = wasm_proxy::BindgenHost::new(engine.clone(), options);
    assert_state_survives_a_swap(Proxy::builder(engine));
    assert_state_survives_a_swap(Proxy::builder(host));
}
