//! Standbys that fail cost callers nothing, and are tried less and less often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine_api::{Error as EngineError, Val};
use proxy_core::{Error, Event, Patience, Proxy, Reason, SwapState, Thresholds, args};

use super::world::{World, counter, leak_pages, swap, until_live, value};
use crate::fake::FakeEngine;

/// Standbys fail for as long as the flag is set. The memory may have 100 pages.
fn failing() -> (World, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(false));
    let world = World::new()
        .leaking()
        .holding()
        .pages(100)
        .script(|script| {
            let fails = Arc::clone(&fails);
            script.before_instantiate(move |_| {
                if fails.load(Ordering::SeqCst) {
                    return Err(EngineError::Growth {
                        current: 0,
                        delta: 1,
                    });
                }
                Ok(())
            })
        });
    (world, fails)
}

/// Leaks single pages until the memory has this many.
fn leak_to(proxy: &Proxy, pages: u64) {
    let used = proxy.memory_bytes() / 65_536;
    leak_pages(proxy, u32::try_from(pages - used).expect("it is small"));
}

fn tick_after(proxy: &Proxy, start: Instant, seconds: u64) {
    proxy.tick(start + Duration::from_secs(seconds));
}

#[test]
fn memory_is_watched_against_both_thresholds() {
    let (world, _) = failing();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    let start = Instant::now();
    leak_to(&proxy, 69);
    tick_after(&proxy, start, 0);
    assert_eq!(engine.probe().made(), 1);
    leak_to(&proxy, 71);
    tick_after(&proxy, start, 100);
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    leak_to(&proxy, 89);
    tick_after(&proxy, start, 200);
    assert_eq!(proxy.debug_info().swaps, 0);
    leak_to(&proxy, 91);
    tick_after(&proxy, start, 300);
    assert_eq!(proxy.debug_info().swaps, 1);
    assert_eq!(proxy.memory_bytes(), 65_536);
    assert_eq!(value(&proxy, one), 0);
    assert!(world.events.all().contains(&Event::SwapStart {
        reason: Reason::Threshold,
        from: 1,
        to: 2
    }));
    until_live(&proxy, &engine, 1);
}

#[test]
fn the_largest_growth_of_a_call_is_kept_free() {
    let (world, _) = failing();
    let (proxy, _) = world.build();
    proxy.call("leak", args![30]).unwrap();
    leak_to(&proxy, 45);
    proxy.tick(Instant::now());
    assert_eq!(
        proxy.debug_info().state,
        SwapState::Ready,
        "well below the warning"
    );
    leak_to(&proxy, 71);
    proxy.tick(Instant::now());
    let swapped = proxy.debug_info().last_swap.expect("it swapped");
    assert_eq!(swapped.reason, Reason::Headroom);
    proxy
        .call("leak", args![30])
        .expect("it would not have fitted before");
}

#[test]
fn failures_raise_the_threshold_back_off_and_open_the_breaker() {
    let (world, fails) = failing();
    let (proxy, engine) = world.build();
    fails.store(true, Ordering::SeqCst);
    let start = Instant::now();
    let attempts = || engine.probe().made() - 1;
    leak_to(&proxy, 71);
    tick_after(&proxy, start, 0);
    assert_eq!((attempts(), proxy.debug_info().failures), (1, 1));
    leak_to(&proxy, 76);
    tick_after(&proxy, start, 0);
    assert_eq!(attempts(), 1, "it waits a moment after a failure");
    leak_pages(&proxy, 0);
    tick_after(&proxy, start, 2);
    assert_eq!(attempts(), 2);
    tick_after(&proxy, start, 10);
    assert_eq!(attempts(), 2, "the threshold is at 80 % now");
    leak_to(&proxy, 81);
    assert_eq!(world.events.count("breaker-open"), 0);
    tick_after(&proxy, start, 10);
    assert_eq!((attempts(), proxy.debug_info().failures), (3, 3));
    assert_eq!(world.events.count("breaker-open"), 1);
    leak_to(&proxy, 95);
    tick_after(&proxy, start, 35);
    assert_eq!(attempts(), 3, "the breaker is open for 30 to 60 s");
    tick_after(&proxy, start, 80);
    assert_eq!(attempts(), 4, "one more attempt after the pause");
    assert_eq!(world.events.count("breaker-open"), 1, "it is said once");
    fails.store(false, Ordering::SeqCst);
    tick_after(&proxy, start, 200);
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.failures), (1, 0), "and all is well again");
    let retries: Vec<(u32, Duration)> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::StandbyPrepareError {
                failures, retry_in, ..
            } => Some((failures, retry_in)),
            _ => None,
        })
        .collect();
    let failures: Vec<u32> = retries.iter().map(|(failures, _)| *failures).collect();
    assert_eq!(failures, [1, 2, 3, 4]);
    assert!(
        retries[0].1 <= retries[1].1 && retries[1].1 < retries[2].1,
        "{retries:?}"
    );
}

#[test]
fn calls_are_served_whatever_happens_to_standbys() {
    let (world, fails) = failing();
    let patience = Patience {
        retry_after: Duration::ZERO,
        retry_after_max: Duration::ZERO,
        ..Patience::default()
    };
    let engine = world.script.engine();
    let proxy = world.builder(&engine).patience(patience).build().unwrap();
    let one = counter(&proxy);
    fails.store(true, Ordering::SeqCst);
    leak_to(&proxy, 95);
    for round in 1..=20 {
        proxy.tick(Instant::now());
        super::world::add(&proxy, one, 1);
        assert_eq!(value(&proxy, one), round);
    }
    assert!(engine.probe().made() > 10);
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn a_manual_preparation_ignores_the_pause() {
    let (world, fails) = failing();
    let (proxy, _) = world.build();
    fails.store(true, Ordering::SeqCst);
    for failures in 1..=5 {
        let error = proxy.prepare_standby().unwrap_err();
        assert!(matches!(error, Error::Preparation { .. }), "{error}");
        assert_eq!(proxy.debug_info().failures, failures);
    }
    fails.store(false, Ordering::SeqCst);
    swap(&proxy);
}

fn over_budget() -> (World, Proxy, FakeEngine, Vec<proxy_core::Handle>) {
    let (world, _) = failing();
    let (proxy, engine) = world.build();
    let hold = |pages: i32| {
        let held = proxy.call("hold", args![pages]);
        held.unwrap().handle().unwrap()
    };
    let all = (0..75).map(|_| hold(1)).collect();
    (world, proxy, engine, all)
}

#[test]
fn a_state_that_exceeds_the_budget_is_not_swapped_in_circles() {
    let (world, proxy, engine, held) = over_budget();
    let start = Instant::now();
    for second in 0..30 {
        tick_after(&proxy, start, second);
    }
    assert_eq!(engine.probe().made(), 2, "one attempt showed it");
    assert_eq!(world.events.count("state-exceeds-budget"), 1);
    let info = proxy.debug_info();
    assert!(info.state_exceeds_budget);
    assert_eq!(
        (info.swaps, info.failures, info.generations_alive),
        (0, 0, 1)
    );
    assert!(info.to_string().contains("state exceeds budget"));
    tick_after(&proxy, start, 100);
    assert_eq!(engine.probe().made(), 3, "and one more after the pause");
    proxy.call("leak", args![5]).unwrap();
    for second in 101..130 {
        tick_after(&proxy, start, second);
    }
    let info = proxy.debug_info();
    assert_eq!((info.swaps, engine.probe().made()), (0, 3));
    for held in held {
        proxy.call("hold_free", args![held]).unwrap();
    }
    proxy.call("leak", args![15]).unwrap();
    tick_after(&proxy, start, 130);
    assert_eq!(
        proxy.debug_info().swaps,
        1,
        "freed objects make room at once"
    );
    assert!(!proxy.debug_info().state_exceeds_budget);
}

#[test]
fn a_standby_on_demand_is_refused_where_the_state_exceeds_the_budget() {
    let (_, proxy, engine, _) = over_budget();
    let error = proxy.prepare_standby().unwrap_err();
    let Error::StateExceedsBudget {
        state_mib,
        threshold_mib,
        ref objects,
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(*objects, [("hold".to_owned(), 75)]);
    assert!(error.to_string().contains("75 of `hold`"), "{error}");
    assert!(state_mib > threshold_mib);
    assert_eq!(engine.probe().live(), 1);
    assert!(matches!(proxy.swap(), Err(Error::NoStandby)));
}

#[test]
fn fast_growth_prepares_before_the_threshold() {
    let slow = Arc::new(AtomicBool::new(false));
    let world = World::new().leaking().pages(100).script(|script| {
        let slow = Arc::clone(&slow);
        script.before_instantiate(move |_| {
            if slow.load(Ordering::SeqCst) {
                // The work of a preparation, which the proxy measures.
                std::thread::sleep(Duration::from_millis(60));
            }
            Ok(())
        })
    });
    let (proxy, _) = world.build();
    let mut now = Instant::now();
    let mut tick = || {
        now += Duration::from_millis(2);
        proxy.tick(now);
    };
    for round in 0..100 {
        // Whoever prepares in the last round, a tick or the call below, takes as long.
        slow.store(round == 99, Ordering::SeqCst);
        tick();
        leak_to(&proxy, 60);
        tick();
        if proxy.debug_info().state != SwapState::Ready {
            proxy.prepare_standby().unwrap();
        }
        proxy.swap().unwrap();
    }
    assert!(proxy.debug_info().growth_rate > 100.0 * 65_536.0);
    world.events.clear();
    tick();
    leak_to(&proxy, 66);
    tick();
    assert_eq!(reasons(&world), [Reason::Prediction]);
}

/// Why standbys were prepared.
fn reasons(world: &World) -> Vec<Reason> {
    let events = world.events.all();
    let reasons = events.into_iter().filter_map(|event| match event {
        Event::StandbyPrepareStart { reason, .. } => Some(reason),
        _ => None,
    });
    reasons.collect()
}

#[test]
fn a_state_that_took_long_to_make_has_its_first_standby_in_time() {
    for (took, expected) in [(0, &[][..]), (450, &[Reason::Prediction])] {
        let world = World::new().leaking().pages(100).script(|script| {
            script.func("counter_new", "(result i32)", move |guest, _| {
                std::thread::sleep(Duration::from_millis(took));
                let address = guest.alloc(16)?;
                guest.objects.insert(address, 0);
                Ok(vec![Val::from(address)])
            })
        });
        let (proxy, _) = world.build();
        let start = Instant::now();
        counter(&proxy);
        proxy.tick(start);
        leak_to(&proxy, 55);
        // At 60 pages a second, the 35 free ones would be full before the call has been replayed.
        proxy.tick(start + Duration::from_millis(900));
        assert_eq!(reasons(&world), expected, "{took} ms");
    }
}

#[test]
fn a_preparation_that_takes_too_long_is_given_up() {
    let world = World::new();
    let engine = world.script.engine();
    let builder = world.builder(&engine).prepare_timeout(Duration::ZERO);
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, Error::PreparationTimeout { .. }), "{error}");
    assert_eq!((engine.probe().live(), value(&proxy, one)), (1, 0));
}

#[test]
fn memory_that_the_module_reports_counts_too() {
    let world = World::new()
        .pages(1600)
        .policy(
            "[module]\nmemory_usage_export = \"usage\"\ncritical_memory_export = \"critical\"\n",
        )
        .func("usage", "(result i32)", "role = \"pure\"", |guest, _| {
            Ok(vec![Val::from(if guest.number == 1 { 38 } else { 4 })])
        })
        .func("critical", "(result f64)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::from(40.0)])
        });
    let (proxy, _) = world.build();
    assert_eq!(proxy.memory_limit_bytes(), 40 << 20);
    proxy.tick(Instant::now());
    let info = proxy.debug_info();
    assert_eq!(
        (info.swaps, info.generation),
        (1, 2),
        "38 of 40 MiB, prepared and swapped at once"
    );
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().swaps, 1);
}

#[test]
fn thresholds_must_be_in_order() {
    for (warn, critical) in [
        (0.0, 0.5),
        (0.9, 0.7),
        (0.5, 0.5),
        (0.5, 1.1),
        (f64::NAN, 0.5),
    ] {
        let error = Thresholds::new(warn, critical).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{warn} {critical}");
    }
    let thresholds = Thresholds::new(0.5, 1.0).unwrap();
    let world = World::new().leaking().pages(20);
    let engine = world.script.engine();
    let proxy = world
        .builder(&engine)
        .thresholds(thresholds)
        .build()
        .unwrap();
    leak_to(&proxy, 11);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
}
