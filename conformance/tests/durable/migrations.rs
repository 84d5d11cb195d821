//! A journal goes on with a module that was built again.

use conformance::durable::JournalFolder;
use conformance::prelude::*;
use proxy_core::{Durability, Error as ProxyError, JournalStore, SequenceNumber, args};

const OLD: &str = r#"(module
    (memory 1)
    (global $sum (mut i64) (i64.const 7))
    (func (export "add") (param i64) (result i64)
        (global.set $sum (i64.mul (i64.const 31) (i64.add (global.get $sum) (local.get 0))))
        (global.get $sum))
    (func (export "sum") (result i64) (global.get $sum)))"#;

/// The same, with its functions in another order and one more of them.
const REBUILT: &str = r#"(module
    (memory 2)
    (global $other (mut i32) (i32.const 0))
    (global $sum (mut i64) (i64.const 7))
    (func (export "version") (result i32) (i32.const 2))
    (func (export "sum") (result i64) (global.get $sum))
    (func (export "add") (param i64) (result i64)
        (global.set $sum (i64.mul (i64.add (local.get 0) (global.get $sum)) (i64.const 31)))
        (global.get $sum)))"#;

const POLICY: &str = r#"
    [[export]]
    match = "add"
    role = "mutate"
    [[export]]
    match = "*"
    role = "pure"
"#;

fn folder(text: &str) -> JournalFolder {
    JournalFolder::of(&binary(text), POLICY)
}

#[apply(every_engine)]
fn a_rebuilt_module_takes_the_journal_over(engine: &EngineUnderTest) {
    let old = folder(OLD);
    let proxy = old.begin(engine.proxied_wat(OLD, POLICY));
    for number in 0..20_i64 {
        proxy.call("add", args![number]).unwrap();
    }
    let last = proxy.call_with_id(b"last", "add", args![20_i64]).unwrap();
    let sum = proxy.call("sum", args![]).unwrap();
    drop(proxy);
    // Without being asked to, no proxy of another module opens it.
    let refused = old.try_proxy(engine.proxied_wat(REBUILT, POLICY));
    let error = refused.err().unwrap();
    assert!(matches!(error, ProxyError::OtherJournal(_)), "{error}");
    for target in engines::all() {
        let new = folder(REBUILT);
        let from = old.open();
        let before = from.head().unwrap();
        let builder = target.proxied_wat(REBUILT, POLICY).migrate(from.clone());
        let migrated = builder.journal(new.open(), Durability::Durable).build();
        drop(migrated.unwrap());
        assert_eq!(from.head().unwrap(), before, "it is only read");
        let (proxy, recovered) = new.recover(engine.proxied_wat(REBUILT, POLICY));
        assert_eq!(recovered.entries, 21);
        assert_eq!(proxy.call("sum", args![]).unwrap(), sum);
        let repeated = proxy.call_with_id(b"last", "add", args![20_i64]).unwrap();
        assert_eq!(repeated, last, "{target:?}");
        assert_eq!(proxy.call("version", args![]).unwrap().i32().unwrap(), 2);
    }
}

#[apply(every_engine)]
fn a_rebuilt_module_that_gives_something_else_is_refused(engine: &EngineUnderTest) {
    let old = folder(OLD);
    let proxy = old.begin(engine.proxied_wat(OLD, POLICY));
    for number in 0..5_i64 {
        proxy.call("add", args![number]).unwrap();
    }
    drop(proxy);
    let otherwise = REBUILT.replace("(i64.const 31)", "(i64.const 37)");
    let new = folder(&otherwise);
    let builder = engine.proxied_wat(&otherwise, POLICY).migrate(old.open());
    let store = new.open();
    let migrated = builder.journal(store.clone(), Durability::Durable).build();
    let error = migrated.err().unwrap();
    let ProxyError::Divergence(divergence) = &error else {
        panic!("{error}");
    };
    assert_eq!(divergence.entry, SequenceNumber(1));
    assert_eq!(store.head().unwrap().position.0, 0, "nothing was written");
    let (proxy, _) = old.recover(engine.proxied_wat(OLD, POLICY));
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(5));
}
