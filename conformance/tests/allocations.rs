//! The allocations of calls, on every engine. Those of other threads are not counted.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

use allocation_counter::AllocationInfo;
use conformance::prelude::*;
use engine_api::Slot;
use proxy_core::{Arg, CheckpointPolicy, Handle, Proxy, args};

const ADDING: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "add_journaled") (param i32 i32) (result i32)
        (i32.add (local.get 0) (local.get 1)))
    (func (export "object_new") (result i32) (i32.const 1024))
    (func (export "object_read") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "object_of") (param i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048)))"#;

const POLICY: &str = r#"
    strict = true
    [[export]]
    match = "add"
    role = "pure"
    args = ["value", "value"]
    results = ["value"]
    [[export]]
    match = "add_journaled"
    role = "mutate"
    args = ["value", "value"]
    results = ["value"]
    [[export]]
    match = "object_new"
    role = "create"
    results = ["handle:object"]
    [[export]]
    match = "object_read"
    role = "pure"
    args = ["handle:object"]
    results = ["value"]
    [[export]]
    match = "object_of"
    role = "create"
    args = ["handle:object", "handle:object", "handle:object", "handle:object", "handle:object",
            "handle:object", "handle:object"]
    results = ["handle:whole"]
    consumes = [0, 1, 2, 3, 4, 5, 6]"#;

const CALLS: u64 = 1_000;

fn proxy(engine: &EngineUnderTest) -> Proxy {
    engine.proxied_wat(ADDING, POLICY).build().unwrap()
}

/// The allocations of many calls, without those that happen once per thread and instance.
fn measure(mut call: impl FnMut()) -> AllocationInfo {
    call();
    allocation_counter::measure(|| (0..CALLS).for_each(|_| call()))
}

#[apply(every_engine)]
fn a_call_of_the_contract_allocates_nothing(engine: &EngineUnderTest) {
    for deadline in [None, Some(Duration::from_mins(1))] {
        let limits = Limits {
            deadline,
            ..Limits::default()
        };
        let module = engine.module(ADDING);
        let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
        let (add, function) = module.info().function("add").unwrap();
        let ty = function.ty.numeric().unwrap();
        let by_values = measure(|| {
            let mut results = [Val::I32(0)];
            let args = [Val::I32(1), Val::I32(2)];
            instance.call(add, &args, &mut results).unwrap();
        });
        let by_slots = measure(|| {
            let mut slots = [Slot::from(1), Slot::from(2)];
            instance.call_numbers(add, ty, &mut slots).unwrap();
        });
        assert_eq!((by_values.count_total, by_slots.count_total), (0, 0));
    }
}

#[apply(every_engine)]
fn a_pure_call_of_numbers_and_handles_allocates_nothing(engine: &EngineUnderTest) {
    let proxy = proxy(engine);
    let object = proxy.call("object_new", args![]).unwrap().handle().unwrap();
    let add = proxy.typed::<(i32, i32), i32>("add").unwrap();
    let read = proxy.typed::<(Handle,), i32>("object_read").unwrap();
    let typed = measure(|| assert_eq!(add.call((1, 2)).unwrap(), 3));
    let dynamic = measure(|| drop(proxy.call("add", args![1, 2]).unwrap()));
    let handle_typed = measure(|| assert_eq!(read.call((object,)).unwrap(), 0));
    let handle = measure(|| drop(proxy.call("object_read", args![object]).unwrap()));
    let counts = [typed, dynamic, handle_typed, handle].map(|info| info.count_total);
    assert_eq!(counts, [0; 4]);
}

/// The list of entries doubles, and grows to more than a thousand entries in fewer steps than this.
const DOUBLINGS_MAX: u64 = 12;

#[apply(every_engine)]
fn a_journaled_call_of_numbers_allocates_its_entry(engine: &EngineUnderTest) {
    let proxy = proxy(engine);
    let add = proxy.typed::<(i32, i32), i32>("add_journaled").unwrap();
    let typed = measure(|| assert_eq!(add.call((1, 2)).unwrap(), 3));
    let dynamic = measure(|| drop(proxy.call("add_journaled", args![1, 2]).unwrap()));
    for count in [typed.count_total, dynamic.count_total] {
        assert!(
            (CALLS..=CALLS + DOUBLINGS_MAX).contains(&count),
            "{count} allocations in {CALLS} calls"
        );
    }
    assert_eq!(proxy.journal_digests().len() as u64, 2 * (CALLS + 1));
}

/// Entries in a row, each of which takes or makes objects. What is allocated is for the standby, and
/// for batches of entries.
#[apply(every_engine)]
fn a_replayed_entry_of_numbers_and_handles_allocates_nothing(engine: &EngineUnderTest) {
    const WHOLES: u64 = 1_000;
    let builder = engine.proxied_wat(ADDING, POLICY);
    let proxy = builder
        .checkpoints(CheckpointPolicy::off())
        .build()
        .unwrap();
    for _ in 0..WHOLES {
        let parts = [(); 7].map(|()| proxy.call("object_new", args![]).unwrap().handle().unwrap());
        proxy.call("object_of", &parts.map(Arg::from)).unwrap();
    }
    let mut entries = 0;
    let measured = allocation_counter::measure(|| {
        entries = proxy.prepare_standby().unwrap().entries as u64;
    });
    assert_eq!(entries, 8 * WHOLES);
    let count = measured.count_total;
    assert!(
        count < entries / 16,
        "{count} allocations for {entries} entries"
    );
}
