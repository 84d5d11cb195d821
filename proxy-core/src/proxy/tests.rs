//! What a proxy does that its callers cannot see.

use std::sync::Arc;

use engine_api::Val;

use super::Proxy;
use crate::journal::ResultRecord;
use crate::{Durability, Error, Handle, Identity, MemoryJournal, Policy, SequenceNumber, args};
use fake::Script;

#[path = "../../tests/fake/mod.rs"]
mod fake;

const POLICY: &str = r#"
[[export]]
match = "name"
role = "pure"
results = ["bytes"]

[[export]]
match = "rename"
role = "mutate"
results = ["bytes"]

[[export]]
match = "thing_new"
role = "create"
args = ["value"]
results = ["handle:thing"]
artifact = { export = "thing_write", import = "thing_read" }

[[export]]
match = "thing_write"
role = "pure"
args = ["handle:thing"]
results = ["bytes"]

[[export]]
match = "thing_read"
role = "create"
args = ["bytes"]
results = ["handle:thing"]

[[export]]
match = "thing_free"
role = "free"
args = ["handle:thing"]
"#;

fn proxy() -> Proxy {
    let buffer = |guest: &mut fake::FakeInstance, value: i64| {
        let address = guest.alloc(8)?;
        guest.write(address, &value.to_le_bytes())?;
        Ok(vec![Val::from(u64::from(address) | 8 << 32)])
    };
    let object = |guest: &mut fake::FakeInstance, value: i64| {
        let address = guest.alloc(16)?;
        guest.objects.insert(address, value);
        Ok(vec![Val::from(address)])
    };
    let script = Script::counter()
        .func("name", "(result i64)", move |guest, _| buffer(guest, 7))
        .func("rename", "(result i64)", move |guest, _| buffer(guest, 8))
        .func(
            "thing_new",
            "(param i32) (result i32)",
            move |guest, args| object(guest, i64::from(fake::number(&args[0]))),
        )
        .func(
            "thing_write",
            "(param i32) (result i64)",
            move |guest, args| {
                let value = *guest.object(&args[0])?;
                buffer(guest, value)
            },
        )
        .func(
            "thing_read",
            "(param i32 i32) (result i32)",
            move |guest, args| {
                let bytes = guest.read(fake::address(&args[0]), 8)?;
                object(guest, i64::from_le_bytes(bytes.try_into().unwrap()))
            },
        )
        .func("thing_free", "(param i32)", |guest, args| {
            guest.objects.remove(&fake::address(&args[0]));
            guest.free(fake::address(&args[0]), 16);
            Ok(vec![])
        });
    Proxy::builder(script.engine())
        .module(script.wasm())
        .policy(POLICY.parse().unwrap())
        .build()
        .unwrap()
}

#[test]
fn a_replay_makes_records_of_what_calls_gave_only_where_it_is_something_else() {
    let proxy = proxy();
    for _ in 0..20 {
        proxy.call("rename", args![]).unwrap();
    }
    let before = ResultRecord::made();
    proxy.prepare_standby().unwrap();
    assert_eq!(ResultRecord::made(), before);
}

#[test]
fn a_pure_call_that_returns_a_buffer_makes_no_record_for_the_journal() {
    let proxy = proxy();
    let seven = 7_i64.to_le_bytes();
    let before = ResultRecord::made();
    let by_name = proxy.call("name", args![]).unwrap();
    assert_eq!(by_name.bytes().unwrap(), seven);
    let pinned = proxy.pinned(|pinned| pinned.call("name", args![])).unwrap();
    assert_eq!(pinned.bytes().unwrap(), seven);
    let typed = proxy.typed::<(), Vec<u8>>("name").unwrap();
    assert_eq!(typed.call(()).unwrap(), seven);
    assert_eq!(ResultRecord::made(), before);
    proxy.call("rename", args![]).unwrap();
    assert!(ResultRecord::made() > before);
}

#[test]
fn rows_of_artifacts_go_with_the_objects_that_a_proxy_frees() {
    let proxy = proxy();
    let thing =
        |n: i32| -> Result<Handle, Error> { Ok(proxy.call("thing_new", args![n])?.handle()?) };
    let rows = || proxy.shared.artifacts.of_entries().rows_len();
    let kept = thing(-1).unwrap();
    for n in 0..3_000 {
        let passing = thing(n).unwrap();
        if n % 500 == 0 {
            // Gives the passing object and the kept one their bytes.
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
        }
        proxy.call("thing_free", args![passing]).unwrap();
        // What the journal may have, twice, and the 64 that are never looked at.
        assert!(rows() <= 3 * 64, "{} rows after {n} objects", rows());
    }
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!((rows(), proxy.debug_info().artifacts.contents), (1, 1));
    proxy.call("thing_free", args![kept]).unwrap();
    proxy.prepare_standby().unwrap();
    assert_eq!((rows(), proxy.debug_info().artifacts.contents), (0, 0));
}

/// Nothing else than the memory they take shows what is known of records that are gone.
#[test]
fn where_the_records_before_a_durable_checkpoint_were_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let script = Script::counter();
    let policy: Policy = fake::COUNTER_POLICY.parse().unwrap();
    let identity = Identity::of(&script.wasm(), &policy).unwrap();
    let store = MemoryJournal::new(identity).with_checkpoint_folder(folder.path());
    let proxy = Proxy::builder(script.engine())
        .module(script.wasm())
        .policy(policy)
        .journal(Arc::new(store), Durability::Durable)
        .build()
        .unwrap();
    proxy.call("counter_new", args![]).unwrap();
    proxy.call("counter_new", args![]).unwrap();
    let committer = proxy.shared.committer().unwrap();
    assert!(committer.position_of(SequenceNumber(1)).is_some());
    assert!(proxy.checkpoint_durably().unwrap().is_some());
    assert_eq!(committer.position_of(SequenceNumber(2)), None);
    proxy.call("counter_new", args![]).unwrap();
    assert!(committer.position_of(SequenceNumber(3)).is_some());
    assert_eq!(committer.position_of(SequenceNumber(2)), None);
}
