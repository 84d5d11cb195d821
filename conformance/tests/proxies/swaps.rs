//! Swaps give memory back, and end calls that take too long.

use std::thread;

use conformance::prelude::*;
use conformance::probe;
use proxy_core::{SwapState, args};

use super::super::PROBE;

#[apply(every_engine)]
fn a_thousand_swaps_of_64_mib_leave_the_process_as_it_was(engine: &EngineUnderTest) {
    probe::run(PROBE, &["swaps", engine.name()]);
}

const SPINNING: &str = r#"(module
    (global $count (mut i32) (i32.const 0))
    (func (export "spin") (loop $again (br $again)))
    (func (export "add") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (global.get $count))
    (func (export "count") (result i32) (global.get $count)))"#;

const SPINNING_POLICY: &str = r#"
    strict = true
    [[export]]
    match = "add"
    role = "mutate"
    [[export]]
    match = "{spin,count}"
    role = "pure"
"#;

#[apply(every_engine)]
fn a_call_that_never_ends_is_ended_at_the_drain_deadline(engine: &EngineUnderTest) {
    let proxy = engine
        .proxied_wat(SPINNING, SPINNING_POLICY)
        .drain_timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    proxy.call("add", args![]).unwrap();
    thread::scope(|scope| {
        let scope_of_two = scope.spawn(|| {
            proxy.pinned(|pinned| {
                pinned.call("count", args![])?;
                pinned.call("spin", args![])
            })
        });
        // Until the scope has made its first call, a swap would just move it to the new generation.
        while proxy.calls() < 2 {
            thread::yield_now();
        }
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(proxy.call("count", args![]).unwrap().i32().unwrap(), 1);
        while proxy.debug_info().state == SwapState::Draining {
            proxy.tick(Instant::now());
            thread::sleep(Duration::from_millis(5));
        }
        let error = scope_of_two.join().unwrap().unwrap_err();
        assert!(
            matches!(error, proxy_core::Error::DrainDeadline { .. }),
            "{error}"
        );
    });
    assert_eq!(proxy.debug_info().generations_alive, 1);
}

#[apply(every_engine)]
fn a_call_past_its_deadline_costs_the_generation_and_not_the_state(engine: &EngineUnderTest) {
    let proxy = engine
        .proxied_wat(SPINNING, SPINNING_POLICY)
        .limits(Limits {
            deadline: Some(Duration::from_millis(100)),
            ..Limits::default()
        })
        .build()
        .unwrap();
    proxy.call("add", args![]).unwrap();
    let error = proxy.call("spin", args![]).unwrap_err();
    let trap = Trap::DeadlineExceeded;
    assert!(
        matches!(error, proxy_core::Error::Call(proxy_core::CallError::Trapped { trap: t, retried: true, .. }) if t == trap),
        "{error}"
    );
    assert_eq!(proxy.call("add", args![]).unwrap().i32().unwrap(), 2);
    assert_eq!(proxy.debug_info().emergencies, 2);
}

#[apply(every_engine)]
fn after_the_shutdown_nothing_is_left(engine: &EngineUnderTest) {
    let proxy = engine
        .proxied_wat(SPINNING, SPINNING_POLICY)
        .build()
        .unwrap();
    proxy.call("add", args![]).unwrap();
    proxy.prepare_standby().unwrap();
    assert!(proxy.shutdown());
    assert_eq!(proxy.debug_info().generations_alive, 0);
    let error = proxy.call("add", args![]).unwrap_err();
    assert!(matches!(error, proxy_core::Error::ShutDown), "{error}");
}

/// Three thousand swaps each, in which a KiB that a swap leaves behind would show.
#[apply(every_engine)]
fn swaps_of_a_wasi_guest_leave_no_memory_and_no_descriptor_behind(engine: &EngineUnderTest) {
    probe::run(PROBE, &["swaps-with-wasi", engine.name()]);
}

#[apply(every_engine)]
fn swaps_of_a_guest_of_emscripten_leave_no_memory_behind(engine: &EngineUnderTest) {
    probe::run(PROBE, &["swaps-with-emscripten", engine.name()]);
}

#[apply(every_engine)]
fn swaps_of_guests_with_javascript_values_leave_no_memory_behind(engine: &EngineUnderTest) {
    probe::run(PROBE, &["swaps-with-values", engine.name()]);
}
