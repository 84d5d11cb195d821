//! A live state that leaves little room: swaps that give room back are made all the same, and a call
//! fails only if no clean generation has room for it.

use std::time::{Duration, Instant};

use proxy_core::{Error, Supervisor, args};

use super::crowded::hold;
use super::world::{World, leak_pages, until};

/// A generation that began with 15 of 20 pages, above the warning threshold.
fn crowded() -> (World, proxy_core::Proxy, proxy_core::Handle) {
    let world = World::new().holding().leaking().pages(20);
    let (proxy, _) = world.build();
    let held = hold(&proxy, 14);
    leak_pages(&proxy, 5);
    proxy.call("leak", args![0]).unwrap();
    proxy.call("leak", args![1]).unwrap();
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.memory / 65_536), (1, 16));
    (world, proxy, held)
}

#[test]
fn a_call_that_fits_without_what_has_leaked_is_repeated() {
    let (_world, proxy, _) = crowded();
    for round in 2..6 {
        leak_pages(&proxy, 4);
        proxy.call("leak", args![1]).unwrap();
        assert_eq!(proxy.debug_info().emergencies, round);
    }
}

#[test]
fn a_call_that_fits_without_what_was_freed_is_repeated() {
    let (_world, proxy, held) = crowded();
    proxy.call("hold_free", args![held]).unwrap();
    hold(&proxy, 6);
    assert_eq!(proxy.memory_bytes() / 65_536, 7);
}

/// A generation of 19 of 20 pages, of which ten were an object's that was freed while the generation
/// waited as a standby.
#[test]
fn a_call_that_fits_without_what_was_freed_on_the_standby_is_repeated() {
    let (proxy, _) = World::new().holding().pages(20).build();
    proxy.prepare_standby().unwrap();
    let passing = hold(&proxy, 10);
    proxy.prepare_standby().unwrap();
    proxy.call("hold_free", args![passing]).unwrap();
    hold(&proxy, 8);
    let swapped = proxy.swap().unwrap();
    assert_eq!(swapped.memory_after / 65_536, 19);
    hold(&proxy, 6);
    assert_eq!(proxy.memory_bytes() / 65_536, 15);
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.retries), (1, 1), "{info}");
}

/// An active generation of 18 of 20 pages, which is the critical threshold. The standby has eleven,
/// and as many as the active one once it has applied the rest.
fn with_a_standby_that_grows() -> proxy_core::Proxy {
    let (proxy, _) = World::new().holding().pages(20).build();
    let passing = hold(&proxy, 10);
    proxy.prepare_standby().unwrap();
    proxy.call("hold_free", args![passing]).unwrap();
    hold(&proxy, 7);
    proxy
}

#[test]
fn a_standby_that_grows_as_it_catches_up_is_made_anew() {
    let proxy = with_a_standby_that_grows();
    let now = Instant::now();
    proxy.tick(now);
    proxy.tick(now + Duration::from_secs(1));
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.memory / 65_536), (1, 8), "{info}");
}

#[test]
fn so_is_one_that_should_replace_a_dead_generation() {
    let proxy = with_a_standby_that_grows();
    hold(&proxy, 6);
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.retries), (1, 1), "{info}");
    assert_eq!((info.swaps, info.memory / 65_536), (1, 14), "{info}");
}

#[test]
fn a_call_that_cannot_fit_names_the_limit_and_the_live_objects() {
    let (_world, proxy, _) = crowded();
    for _ in 0..2 {
        let error = proxy.call("hold", args![6]).unwrap_err().to_string();
        assert!(error.contains("alive are 1 of `hold`"), "{error}");
        assert!(
            error.contains("free objects or raise the memory limit"),
            "{error}"
        );
    }
    // Smaller calls go on.
    proxy.call("leak", args![1]).unwrap();
    let scope = proxy.pinned(|pinned| pinned.call("leak", args![6]).map(drop));
    let error = scope.unwrap_err();
    let said = error.to_string();
    assert!(said.contains("of 1.2 MiB"), "{said}");
    assert!(said.contains("alive are 1 of `hold`"), "{said}");
}

#[test]
fn a_standby_above_the_warning_is_swapped_in_where_it_gives_back_enough() {
    let world = World::new().holding().leaking().pages(100);
    let (proxy, engine) = world.build();
    hold(&proxy, 75);
    let start = Instant::now();
    for second in 0..30 {
        proxy.tick(start + Duration::from_secs(second));
    }
    let info = proxy.debug_info();
    assert!(info.state_exceeds_budget);
    assert_eq!((info.swaps, engine.probe().made()), (0, 2));
    for page in 0..200 {
        leak_pages(&proxy, 1);
        proxy.tick(start + Duration::from_secs(30 + page));
    }
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.retries), (0, 0), "{info}");
    // Each swap gives back at least six pages.
    assert!((5..=200 / 6).contains(&info.swaps), "{info}");
    let made = engine.probe().made();
    for second in 300..400 {
        proxy.tick(start + Duration::from_secs(second));
    }
    let later = (proxy.debug_info().swaps, engine.probe().made());
    assert!(
        later.0 <= info.swaps + 1 && later.1 <= made + 2,
        "{later:?}"
    );
}

#[test]
fn callers_that_fill_what_the_state_leaves_see_no_emergency() {
    let world = World::new().holding().leaking().pages(64);
    let engine = world.script.engine();
    let builder = world.builder(&engine).hold_back(Duration::from_hours(1));
    let proxy = builder.build().unwrap();
    let _supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    until("it watches", || world.events.count("memory-check") > 0);
    hold(&proxy, 46);
    for _ in 0..300 {
        proxy.call("leak", args![1]).unwrap();
    }
    let info = proxy.debug_info();
    assert!(info.swaps >= 300 / 18, "{info}");
    assert_eq!((info.emergencies, info.retries), (0, 0), "{info}");
}

/// The state is too large for a swap, and journaled calls make it larger: none is near.
#[test]
fn callers_wait_for_no_swap_that_their_growth_brings_no_nearer() {
    let world = World::new().holding().leaking().pages(64);
    let engine = world.script.engine();
    let builder = world.builder(&engine).hold_back(Duration::from_hours(1));
    let proxy = builder.build().unwrap();
    hold(&proxy, 46);
    proxy.tick(Instant::now());
    assert!(proxy.debug_info().state_exceeds_budget);
    world.events.clear();
    let _supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    until("it watches", || world.events.count("memory-check") > 0);
    for _ in 0..16 {
        hold(&proxy, 1);
    }
    let info = proxy.debug_info();
    assert_eq!(
        (info.objects, info.swaps, info.failures),
        (17, 0, 0),
        "{info}"
    );
}

#[test]
fn a_state_that_fills_all_of_the_memory_costs_few_attempts() {
    let world = World::new().holding().pages(100);
    let (proxy, engine) = world.build();
    let start = Instant::now();
    for page in 0..99 {
        hold(&proxy, 1);
        // So slow that however long a preparation takes here, none is early for it.
        proxy.tick(start + Duration::from_secs(page));
    }
    let error = proxy.call("hold", args![1]).unwrap_err();
    assert!(matches!(error, Error::Call(_)), "{error}");
    // A quarter of the room is less each time.
    let made = engine.probe().made();
    assert!(made <= 16, "{made} made");
    assert_eq!(proxy.debug_info().swaps, 1, "in place of the dead one");
}
