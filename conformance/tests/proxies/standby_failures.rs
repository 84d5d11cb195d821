//! A standby that fails leaves the active generation as it was.
//!
//! The guest misbehaves because its policy lies: it calls `arm` pure, although `arm` changes what
//! `make` does, and pure calls are not replayed.

use conformance::prelude::*;
use proxy_core::{DivergenceKind, Error as ProxyError, Proxy, args};

const LYING: &str = r#"(module
    (memory (export "memory") 1)
    (global $armed (mut i32) (i32.const 0))
    (global $objects (mut i32) (i32.const 0))
    (func $new (result i32)
        (global.set $objects (i32.add (global.get $objects) (i32.const 1)))
        (global.get $objects))
    (func (export "arm") (global.set $armed (i32.const 1)))
    (func (export "armed") (result i32) (global.get $armed))
    (func (export "objects") (result i32) (global.get $objects))
    ;; Tells in a second result whether it was armed.
    (func (export "tell") (result i32 i32) (call $new) (global.get $armed))
    ;; Traps unless it was armed.
    (func (export "trap") (result i32)
        (if (i32.eqz (global.get $armed)) (then (unreachable)))
        (call $new))
    ;; Takes 64 MiB unless it was armed, and traps if it does not get them.
    (func (export "grow") (result i32)
        (if (i32.eqz (global.get $armed))
            (then (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then (unreachable)))))
        (call $new))
    ;; The object is the same, its fingerprint is not.
    (func (export "stamp") (result i32) (call $new))
    (func (export "fingerprint") (param i32) (result i32) (global.get $armed)))"#;

const LIE: &str = r#"
    strict = true
    [[export]]
    match = "tell"
    role = "create"
    results = ["handle", "value"]
    [[export]]
    match = "{trap,grow}"
    role = "create"
    results = ["handle"]
    [[export]]
    match = "stamp"
    role = "create"
    results = ["handle"]
    fingerprint = "fingerprint"
    [[export]]
    match = "{arm,armed,objects}"
    role = "pure"
    [[export]]
    match = "fingerprint"
    role = "pure"
    args = ["handle"]
"#;

fn lying(engine: &EngineUnderTest) -> Proxy {
    let limits = Limits {
        memory_bytes_max: Some(16 << 20),
        ..Limits::default()
    };
    engine
        .proxied_wat(LYING, LIE)
        .limits(limits)
        .build()
        .unwrap()
}

/// Makes an object with `export` while armed, and prepares a standby, which is not armed. All state
/// must still be there, on the same generation.
fn failed_standby(engine: &EngineUnderTest, export: &str) -> ProxyError {
    let proxy = lying(engine);
    proxy.call("stamp", args![]).unwrap();
    proxy.call("arm", args![]).unwrap();
    proxy.call(export, args![]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    let info = proxy.debug_info();
    assert_eq!(
        (info.generation, info.generations_alive, info.standby_memory),
        (1, 1, None)
    );
    assert_eq!((info.tainted, info.failures), (None, 1));
    assert_eq!(proxy.call("armed", args![]).unwrap().i32().unwrap(), 1);
    assert_eq!(proxy.call("objects", args![]).unwrap().i32().unwrap(), 2);
    assert!(matches!(proxy.swap(), Err(ProxyError::NoStandby)));
    error
}

fn divergence(error: &ProxyError) -> &proxy_core::Divergence {
    let ProxyError::Divergence(divergence) = error else {
        panic!("not a divergence: {error}")
    };
    divergence
}

#[apply(every_engine)]
fn other_results_are_a_divergence_that_names_everything(engine: &EngineUnderTest) {
    let error = failed_standby(engine, "tell");
    let divergence = divergence(&error);
    assert_eq!(divergence.entry.0, 2);
    assert_eq!(
        (divergence.export.as_str(), divergence.what),
        ("tell", DivergenceKind::Results)
    );
    assert_eq!(divergence.expected, "object #2.0, 1");
    assert_eq!(divergence.got, "object #2.0, 0");
    assert!(error.to_string().contains("entry #2 (`tell`)"), "{error}");
}

#[apply(every_engine)]
fn another_fingerprint_is_a_divergence(engine: &EngineUnderTest) {
    let error = failed_standby(engine, "stamp");
    assert_eq!(divergence(&error).what, DivergenceKind::Fingerprint);
}

#[apply(every_engine)]
fn a_standby_that_traps_is_discarded(engine: &EngineUnderTest) {
    let error = failed_standby(engine, "trap");
    let divergence = divergence(&error);
    assert_eq!(divergence.what, DivergenceKind::Outcome);
    assert!(divergence.got.contains("unreachable"), "{}", divergence.got);
}

#[apply(every_engine)]
fn a_standby_that_runs_out_of_memory_is_discarded(engine: &EngineUnderTest) {
    let error = failed_standby(engine, "grow");
    let is_out_of_memory = matches!(error, ProxyError::StandbyOutOfMemory { .. });
    assert!(is_out_of_memory, "{error}");
    assert!(error.to_string().contains("more were asked for"), "{error}");
}

#[apply(every_engine)]
fn a_state_over_the_threshold_is_not_swapped_in_circles(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory (export "memory") 1)
        (func (export "take") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let policy = "[[export]]\nmatch = \"take\"\nrole = \"mutate\"";
    let limits = Limits {
        memory_bytes_max: Some(16 << 20),
        ..Limits::default()
    };
    let proxy = engine
        .proxied_wat(text, policy)
        .limits(limits)
        .build()
        .unwrap();
    proxy.call("take", args![200]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    assert!(
        matches!(error, ProxyError::StateExceedsBudget { .. }),
        "{error}"
    );
    let now = Instant::now();
    for second in 0..30 {
        proxy.tick(now + Duration::from_secs(second));
    }
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.generation), (0, 1));
    assert!(info.state_exceeds_budget);
    assert_eq!(proxy.call("take", args![1]).unwrap().i32().unwrap(), 201);
}
