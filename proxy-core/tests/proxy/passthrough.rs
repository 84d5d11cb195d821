//! Switched off, the proxy only keeps the journal. Switched on again, it misses nothing.

use std::env;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use proxy_core::{CallError, Error, Event, args};

use super::world::{
    PATIENCE, Stop, World, add, counter, hash, leak_pages, swap, until_live, value,
};

#[test]
fn switched_off_nothing_is_prepared_or_swapped() {
    let world = World::new().leaking().pages(20);
    let engine = world.script.engine();
    let proxy = world.builder(&engine).enabled(false).build().unwrap();
    assert!(!proxy.is_enabled());
    let one = counter(&proxy);
    leak_pages(&proxy, 18);
    for _ in 0..5 {
        proxy.tick(Instant::now());
    }
    assert!(matches!(proxy.prepare_standby(), Err(Error::Passthrough)));
    assert!(matches!(proxy.swap(), Err(Error::Passthrough)));
    assert_eq!(engine.probe().made(), 1);
    add(&proxy, one, 5);
    proxy.set_enabled(true);
    proxy.tick(Instant::now());
    assert_eq!(
        proxy.debug_info().swaps,
        1,
        "and then what is due is done at once"
    );
    assert_eq!(value(&proxy, one), 5);
    let switches: Vec<Event> = world
        .events
        .all()
        .into_iter()
        .filter(|event| matches!(event, Event::Switched { .. }))
        .collect();
    assert_eq!(switches, [Event::Switched { enabled: true }]);
}

#[test]
fn a_death_while_switched_off_is_mended_when_switched_on() {
    let world = World::new().booming(|number| number == 1);
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 3);
    proxy.set_enabled(false);
    add(&proxy, one, 4);
    let error = proxy.call("boom", args![]).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Call(CallError::Trapped { retried: false, .. })
        ),
        "{error}"
    );
    for outcome in [
        proxy.call("counter_value", args![one]),
        proxy.call("counter_add", args![one, 1]),
        proxy.pinned(|pinned| pinned.call("counter_value", args![one])),
    ] {
        assert!(
            matches!(outcome, Err(Error::DiedInPassthrough { .. })),
            "{outcome:?}"
        );
    }
    assert_eq!(engine.probe().made(), 1);
    proxy.set_enabled(true);
    assert_eq!(value(&proxy, one), 7);
    until_live(&proxy, &engine, 1);
}

#[test]
fn flipping_the_switch_under_load_loses_nothing() {
    const CALLS: i64 = 2_000;
    let (proxy, engine) = World::new().chain(16).build();
    let done = AtomicBool::new(false);
    let mut steps: Vec<(i64, i64, i64)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let proxy = &proxy;
                scope.spawn(move || {
                    let step = proxy.typed::<(i64,), (i64, i64)>("chain_step").unwrap();
                    let call = |call: i64| {
                        let arg = caller * CALLS + call;
                        let (hash, index) = step.call((arg,)).unwrap();
                        (index, arg, hash)
                    };
                    (0..CALLS).map(call).collect::<Vec<_>>()
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                match proxy.prepare_standby().and_then(|_| proxy.swap()) {
                    Ok(_) | Err(Error::Passthrough | Error::StillDraining | Error::NoStandby) => {}
                    Err(error) => panic!("{error}"),
                }
                thread::yield_now();
            }
        });
        let stopping = Stop(&done);
        for flip in 0..100 {
            proxy.set_enabled(flip % 2 == 1);
            thread::yield_now();
        }
        let end = Instant::now() + PATIENCE;
        let mut flip = false;
        while callers.iter().any(|caller| !caller.is_finished()) && Instant::now() < end {
            proxy.set_enabled(flip);
            flip = !flip;
            thread::yield_now();
        }
        drop(stopping);
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    });
    proxy.set_enabled(true);
    steps.sort_unstable();
    let oracle = (0..).zip(&steps).scan(0, |chain, (index, (_, arg, _))| {
        *chain = hash(*chain, *arg);
        Some((index, *arg, *chain))
    });
    assert_eq!(steps, oracle.collect::<Vec<_>>());
    if proxy.prepare_standby().is_ok() {
        proxy.swap().unwrap();
    }
    let last = steps.last().unwrap().2;
    let next = proxy
        .call("chain_step", args![0_i64])
        .unwrap()
        .i64()
        .unwrap();
    assert_eq!(next, hash(last, 0));
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_standby_from_before_the_switch_catches_up_after_it() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.set_enabled(false);
    add(&proxy, one, 6);
    proxy.set_enabled(true);
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, one), 6);
    assert_eq!(engine.probe().made(), 2);
    swap(&proxy);
}

const VARIABLE: &str = "WASM_PROXY_ENABLED";

/// Runs itself in another process, because none may change its environment while threads run.
#[test]
fn the_environment_overrides_the_builder() {
    let world = World::new();
    let engine = world.script.engine();
    let build = |enabled: bool| world.builder(&engine).enabled(enabled).build();
    match env::var(VARIABLE).as_deref() {
        Ok("off") => {
            assert!(!build(true).unwrap().is_enabled());
            return;
        }
        Ok("1") => {
            assert!(build(false).unwrap().is_enabled());
            return;
        }
        Ok("maybe") => {
            let error = build(true).unwrap_err();
            assert!(error.to_string().contains(VARIABLE), "{error}");
            return;
        }
        _ => {}
    }
    for value in ["off", "1", "maybe"] {
        let myself = env::current_exe().unwrap();
        let test = "proxy::passthrough::the_environment_overrides_the_builder";
        let output = Command::new(myself)
            .args(["--exact", test])
            .env(VARIABLE, value)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{value}: {said}"
        );
    }
}
