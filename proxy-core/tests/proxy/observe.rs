//! Reports to the outside: events in order, metrics by name, debug information for people.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use proxy_core::{Event, Prepared, Reason, SequenceNumber, SwapState, Swapped, args};

use super::world::{World, add, counter, leak_pages, swap, until_live};

#[test]
fn events_tell_a_swap_in_order() {
    let world = World::new();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    proxy.tick(Instant::now());
    assert_eq!(world.events.all().len(), 1);
    assert!(matches!(
        world.events.all()[0],
        Event::MemoryCheck {
            used: 65_536,
            standby: None,
            ..
        }
    ));
    world.events.clear();
    swap(&proxy);
    until_live(&proxy, &engine, 1);
    assert_eq!(
        world.events.names(),
        [
            "standby-prepare-start",
            "standby-prepare-complete",
            "swap-start",
            "swap-complete",
            "generation-freed"
        ]
    );
    let events = world.events.all();
    assert!(matches!(
        events[0],
        Event::StandbyPrepareStart {
            reason: Reason::Manual,
            entries: 2
        }
    ));
    assert!(matches!(
        events[1],
        Event::StandbyPrepareComplete(Prepared {
            entries: 2,
            memory: 65_536,
            ..
        })
    ));
    assert!(matches!(
        events[3],
        Event::SwapComplete(Swapped {
            reason: Reason::Manual,
            from: 1,
            to: 2,
            tail: 0,
            ..
        })
    ));
    assert!(matches!(
        events[4],
        Event::GenerationFreed {
            generation: 1,
            memory: 65_536,
            ..
        }
    ));
}

#[test]
fn several_listeners_hear_everything_and_one_that_panics_harms_nobody() {
    let world = World::new().booming(|number| number == 1);
    let engine = world.script.engine();
    let builder = world.builder(&engine).on_event(|_| panic!("on purpose"));
    let later = super::world::Events::default();
    let builder = builder.on_event({
        let later = later.clone();
        move |event| later.push(event)
    });
    let proxy = builder.build().unwrap();
    let one = counter(&proxy);
    swap(&proxy);
    proxy.tick(Instant::now());
    proxy.call("boom", args![]).unwrap();
    add(&proxy, one, 1);
    assert_eq!(world.events.names(), later.names());
    assert!(world.events.count("swap-complete") >= 1);
}

#[test]
fn metrics_have_the_documented_names_and_the_proxys_label() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let world = World::new()
        .leaking()
        .pages(20)
        .booming(|number| number == 2);
    let engine = world.script.engine();
    metrics::with_local_recorder(&recorder, || {
        let proxy = world.builder(&engine).name("provers").build().unwrap();
        let one = counter(&proxy);
        for _ in 0..200 {
            super::world::value(&proxy, one);
        }
        leak_pages(&proxy, 4);
        swap(&proxy);
        proxy.call("boom", args![]).unwrap();
        proxy.tick(Instant::now());
    });
    let snapshot = snapshotter.snapshot().into_vec();
    let find = |kind: MetricKind, name: &str| {
        let mut found = snapshot
            .iter()
            .filter(|(key, ..)| key.kind() == kind && key.key().name() == name);
        let (key, _, _, value) = found.next().unwrap_or_else(|| panic!("no {name}"));
        let labels: Vec<_> = key.key().labels().map(|l| (l.key(), l.value())).collect();
        assert!(labels.contains(&("proxy", "provers")), "{name}: {labels:?}");
        value
    };
    let counter = |name: &str| match find(MetricKind::Counter, name) {
        DebugValue::Counter(count) => *count,
        other => panic!("{name}: {other:?}"),
    };
    let gauge = |name: &str| match find(MetricKind::Gauge, name) {
        DebugValue::Gauge(value) => value.into_inner(),
        other => panic!("{name}: {other:?}"),
    };
    let samples = |name: &str| match find(MetricKind::Histogram, name) {
        DebugValue::Histogram(samples) => samples.len(),
        other => panic!("{name}: {other:?}"),
    };
    let swaps = snapshot
        .iter()
        .filter(|(key, ..)| key.key().name() == "wasm_proxy_swaps_total");
    let swaps: BTreeSet<_> = swaps
        .map(|(key, _, _, value)| {
            let mut labels = key.key().labels();
            let reason = labels.find(|label| label.key() == "reason");
            let reason = reason.expect("each swap has a reason").value();
            assert_eq!(*value, DebugValue::Counter(1), "{reason}");
            reason
        })
        .collect();
    assert_eq!(swaps, BTreeSet::from(["emergency", "manual"]));
    assert_eq!(counter("wasm_proxy_emergency_swaps_total"), 1);
    assert_eq!(counter("wasm_proxy_retries_total"), 1);
    assert_eq!(counter("wasm_proxy_prepare_failures_total"), 0);
    assert_eq!(counter("wasm_proxy_replay_divergences_total"), 0);
    assert!((gauge("wasm_memory_usage_mb") - 0.0625).abs() < 1e-9);
    assert!((gauge("wasm_memory_limit_mb") - 1.25).abs() < 1e-9);
    assert!(gauge("wasm_standby_memory_usage_mb").abs() < 1e-9);
    assert!((gauge("wasm_proxy_generations_alive") - 1.0).abs() < 1e-9);
    assert!((gauge("wasm_proxy_journal_entries") - 1.0).abs() < 1e-9);
    assert_eq!(samples("wasm_swap_duration_seconds"), 2);
    assert_eq!(samples("wasm_proxy_prepare_duration_seconds"), 2);
    assert!(samples("wasm_proxy_call_duration_seconds") >= 2);
    let retry = snapshot
        .iter()
        .find(|(key, ..)| key.key().name() == "wasm_proxy_retries_total")
        .expect("it was found before");
    let labels: BTreeSet<_> = retry
        .0
        .key()
        .labels()
        .map(|l| (l.key(), l.value()))
        .collect();
    assert!(
        labels.contains(&("reason", "integer_division_by_zero")),
        "{labels:?}"
    );
}

#[test]
fn debug_info_tells_the_whole_story() {
    let world = World::new().leaking().pages(64);
    let engine = world.script.engine();
    let proxy = world.builder(&engine).name("story").build().unwrap();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    leak_pages(&proxy, 3);
    proxy.prepare_standby().unwrap();
    let info = proxy.debug_info();
    assert_eq!(
        (info.name.as_str(), info.enabled, info.state),
        ("story", true, SwapState::Ready)
    );
    assert_eq!(
        (info.generation, info.generations_alive, info.objects),
        (1, 2, 1)
    );
    assert_eq!((info.memory, info.memory_limit), (4 * 65_536, 64 * 65_536));
    assert_eq!(
        (info.memory_baseline, info.standby_memory),
        (65_536, Some(65_536))
    );
    assert_eq!(info.largest_growth, 65_536);
    assert_eq!(
        (info.journal_entries, info.journal_last),
        (2, SequenceNumber(2))
    );
    assert_eq!(
        (info.entries_verified, info.divergences, info.failures),
        (2, 0, 0)
    );
    assert_eq!((info.last_swap, info.last_error.as_deref()), (None, None));
    proxy.swap().unwrap();
    let info = proxy.debug_info();
    let last = info.last_swap.expect("it swapped");
    assert_eq!(
        (last.memory_before, last.memory_after),
        (4 * 65_536, 65_536)
    );
    assert!(last.pause < Duration::from_secs(5) && last.prepare < Duration::from_secs(5));
    let text = info.to_string();
    for needle in [
        "proxy `story`",
        "fake.script",
        "generation 2",
        "swaps: 1",
        "last swap (manual)",
    ] {
        assert!(text.contains(needle), "{needle}: {text}");
    }
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_journal_entry_is_verified_each_time_it_is_replayed() {
    let (proxy, _) = World::new().build();
    for _ in 0..10 {
        counter(&proxy);
    }
    swap(&proxy);
    swap(&proxy);
    assert_eq!(proxy.debug_info().entries_verified, 20);
}
