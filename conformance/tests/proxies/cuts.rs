//! The ways out of a divergence.

use conformance::prelude::*;
use proxy_core::{CutKind, Error as ProxyError, Proxy, SequenceNumber, args};

/// `bump` is declared pure, but `put` gives something else after it.
const BUMPED: &str = r#"(module
    (memory 1)
    (global $bump (mut i32) (i32.const 0))
    (global $n (mut i32) (i32.const 0))
    (func (export "bump") (global.set $bump (i32.const 1)))
    (func (export "put") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.add (global.get $bump) (i32.mul (global.get $n) (i32.const 10))))
    (func (export "count") (result i32) (global.get $n)))"#;

const POLICY: &str =
    "[[export]]\nmatch = \"put\"\nrole = \"mutate\"\n[[export]]\nmatch = \"*\"\nrole = \"pure\"";

fn diverged(engine: &EngineUnderTest) -> (Proxy, SequenceNumber) {
    let proxy = engine.proxied_wat(BUMPED, POLICY).build().unwrap();
    proxy.call("put", args![]).unwrap();
    proxy.call("bump", args![]).unwrap();
    proxy.call("put", args![]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, ProxyError::Divergence(_)), "{error}");
    let entry = proxy.divergence().unwrap().entry;
    assert_eq!(entry, SequenceNumber(2));
    (proxy, entry)
}

fn count(proxy: &Proxy) -> i32 {
    proxy.call("count", args![]).unwrap().i32().unwrap()
}

#[apply(every_engine)]
fn an_accepted_divergence_lets_the_module_live_on(engine: &EngineUnderTest) {
    let (proxy, entry) = diverged(engine);
    let cut = proxy.accept_divergence(entry).unwrap();
    assert_eq!(
        (cut.kind, &*cut.expected, &*cut.got),
        (CutKind::Accepted, "21", "20")
    );
    for _ in 0..2 {
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(count(&proxy), 2);
    }
    let put = proxy.call("put", args![]).unwrap();
    assert_eq!(put.i32().unwrap(), 30);
}

#[apply(every_engine)]
fn a_skipped_divergence_lets_the_module_live_on(engine: &EngineUnderTest) {
    let (proxy, entry) = diverged(engine);
    let cut = proxy.skip_divergence(entry).unwrap();
    assert_eq!(cut.kind, CutKind::Skipped);
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(count(&proxy), 1);
    assert_eq!(proxy.debug_info().cuts, [cut]);
}
