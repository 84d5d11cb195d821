//! Objects as bytes: kept once, used by replays, other proxies and later processes, never trusted.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use engine_api::{FuncType, Val, ValType};
use proxy_core::{ArtifactStore, CallError, Error, Event, Proxy, args};
use tempfile::tempdir;

use super::things::{THING_BYTES, Things, thing, value, view};
use super::world::{World, swap};
use crate::fake::{address, number};

/// How many calls the store answered, and how many artifacts were refused and unusable.
fn counts(proxy: &Proxy) -> (u64, u64, u64) {
    let info = proxy.debug_info();
    (
        info.artifact_hits,
        info.artifact_refusals,
        info.artifact_faults,
    )
}

#[test]
fn equal_bytes_are_kept_once_and_no_longer_than_an_entry_has_them() {
    let things = Things::new();
    let (proxy, _, _) = things.with_store(&ArtifactStore::memory());
    // 3² is (-3)²: calls of different keys, and objects of the same bytes.
    let three = thing(&proxy, 3);
    let minus_three = thing(&proxy, -3);
    let four = thing(&proxy, 4);
    assert_eq!(proxy.debug_info().artifacts.contents, 0);
    swap(&proxy);
    let usage = proxy.debug_info().artifacts;
    assert_eq!(
        (usage.contents, usage.bytes, usage.directory_bytes),
        (2, 2 * u64::from(THING_BYTES), None)
    );
    for (freed, left) in [(three, 2), (minus_three, 1), (four, 0)] {
        proxy.call("thing_free", args![freed]).unwrap();
        // A preparation forgets what no live object needs.
        swap(&proxy);
        assert_eq!(proxy.debug_info().artifacts.contents, left);
    }
}

#[test]
fn proxies_that_share_a_store_share_the_bytes() {
    let things = Things::new();
    let store = ArtifactStore::memory();
    let (first, ..) = things.with_store(&store);
    let (second, ..) = things.with_store(&store);
    let one = thing(&first, 7);
    swap(&first);
    let computed = things.computed();
    let other = thing(&second, 7);
    assert_eq!((value(&first, one), value(&second, other)), (49, 49));
    assert_eq!((things.computed(), counts(&second)), (computed, (1, 0, 0)));
    assert_eq!(store.usage().contents, 1);
    // The second proxy's entry still has the bytes.
    drop(first);
    swap(&second);
    assert_eq!(things.computed(), computed);
    assert_eq!(value(&second, other), 49);
    drop(second);
    assert_eq!(store.usage().contents, 0);
}

#[test]
fn after_a_restart_calls_and_replays_take_objects_from_the_directory() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let digests = {
        let (proxy, world, _) = things.process(directory.path());
        thing(&proxy, 5);
        swap(&proxy);
        assert_eq!(world.events.count("artifact-kept"), 1);
        proxy.journal_digests()
    };
    let computed = things.computed();
    let (proxy, world, _) = things.process(directory.path());
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, five), counts(&proxy)), (25, (1, 0, 0)));
    assert!(matches!(
        world.events.all().as_slice(),
        [Event::ArtifactUsed { export, bytes: 5000 }] if &**export == "thing_new"
    ));
    swap(&proxy);
    assert_eq!(value(&proxy, five), 25);
    assert_eq!(proxy.debug_info().artifacts_imported, 1);
    // It was not computed again, and the journal is the same as if it had been.
    assert_eq!(things.computed(), computed);
    assert_eq!(proxy.journal_digests(), digests);
    // Another argument is another call.
    thing(&proxy, 6);
    assert_eq!(things.computed(), computed + 1);
}

#[test]
fn a_replay_takes_what_another_process_has_kept_meanwhile() {
    let directory = tempdir().unwrap();
    let (ours, theirs) = (Things::new(), Things::new());
    let (proxy, ..) = ours.process(directory.path());
    let five = thing(&proxy, 5);
    theirs.leave(directory.path(), &[5]);
    swap(&proxy);
    assert_eq!((ours.computed(), ours.read()), (1, 1));
    assert_eq!(value(&proxy, five), 25);
}

#[test]
fn unless_the_policy_says_live_only_replays_of_the_same_entry_import() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let store = ArtifactStore::directory(directory.path()).unwrap();
    let process = || {
        let mut world = things.world();
        world.policy = world.policy.replace(", live = true", "");
        let engine = world.script.engine();
        let builder = world.builder(&engine).artifacts(store.clone());
        builder.build().unwrap()
    };
    let proxy = process();
    thing(&proxy, 5);
    swap(&proxy);
    swap(&proxy);
    assert_eq!((things.computed(), things.read()), (2, 1));
    thing(&proxy, 5);
    thing(&process(), 5);
    assert_eq!((things.computed(), things.read()), (4, 1));
    assert_eq!(
        fs::read_dir(directory.path().join("records"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn an_object_of_another_fingerprint_is_refused_for_good_and_computed() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    things.leave(directory.path(), &[5]);
    let computed = things.computed();
    things.distortion.store(1, Ordering::SeqCst);
    let read = things.read();
    let (proxy, world, engine) = things.process(directory.path());
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, five), things.computed()), (25, computed + 1));
    let events = world.events.all();
    let [Event::ArtifactRefused { reason, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert!(
        reason.contains("[I64(25)]") && reason.contains("[I64(26)]"),
        "{reason}"
    );
    // The instance is whole, and so is its table.
    assert_eq!(engine.probe().made(), 1);
    let again = thing(&proxy, 5);
    assert_eq!((value(&proxy, again), counts(&proxy)), (25, (0, 1, 0)));
    swap(&proxy);
    assert_eq!(value(&proxy, again), 25);
    assert_eq!(things.read(), read + 1);
    // Another process does not try those bytes again either, though its own import is sound.
    things.distortion.store(0, Ordering::SeqCst);
    let (later, ..) = things.process(directory.path());
    thing(&later, 5);
    assert_eq!((counts(&later), things.read()), ((0, 0, 0), read + 1));
    // Its replay would keep the same bytes, which are refused already.
    swap(&later);
    let (last, ..) = things.process(directory.path());
    thing(&last, 5);
    assert_eq!(counts(&last), (0, 0, 0));
}

#[test]
fn without_a_fingerprint_the_bytes_themselves_are_compared() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let process = || {
        let mut world = things.world();
        world.policy = world.policy.replace("fingerprint = \"thing_value\"\n", "");
        let store = ArtifactStore::directory(directory.path()).unwrap();
        let builder = world.builder(&world.script.engine()).artifacts(store);
        (builder.build().unwrap(), world)
    };
    thing(&process().0, 5);
    let (proxy, _) = process();
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, five), counts(&proxy)), (25, (1, 0, 0)));
    things.distortion.store(1, Ordering::SeqCst);
    let (proxy, world) = process();
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, five), counts(&proxy)), (25, (0, 1, 0)));
    let events = world.events.all();
    let [Event::ArtifactRefused { reason, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert!(reason.contains("exported again"), "{reason}");
}

#[test]
fn an_import_that_traps_costs_an_instance_and_no_call() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    things.leave(directory.path(), &[5]);
    things.traps.store(true, Ordering::SeqCst);
    let (proxy, world, engine) = things.process(directory.path());
    let before = thing(&proxy, 2);
    world.events.clear();
    let read = things.read();
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, before), value(&proxy, five)), (4, 25));
    assert_eq!(
        world.events.names()[..2],
        ["generation-tainted", "artifact-refused"]
    );
    // The entry before had bytes that were no better, so the clean instance was begun twice.
    assert_eq!((counts(&proxy), things.read()), ((0, 2, 0), read + 2));
    assert_eq!((engine.probe().made(), engine.probe().live()), (3, 1));
    let info = proxy.debug_info();
    assert_eq!(
        (info.retries, info.divergences, info.emergencies),
        (0, 0, 1)
    );
    thing(&proxy, 5);
    thing(&things.process(directory.path()).0, 5);
    assert_eq!(things.read(), read + 2);
}

#[test]
fn a_guest_that_has_no_room_for_the_bytes_computes() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let has_room = Arc::new(AtomicBool::new(true));
    let process = || {
        let has_room = Arc::clone(&has_room);
        let world = things.world().script(|script| {
            let ty = "(param i32) (result i32)";
            script.func("guest_alloc", ty, move |guest, args| {
                let len = address(&args[0]);
                let fits = len < THING_BYTES || has_room.load(Ordering::SeqCst);
                let found = if fits { guest.try_alloc(len) } else { None };
                Ok(vec![Val::from(found.unwrap_or(0))])
            })
        });
        let store = ArtifactStore::directory(directory.path()).unwrap();
        let builder = world.builder(&world.script.engine()).artifacts(store);
        builder.build().unwrap()
    };
    let proxy = process();
    thing(&proxy, 5);
    swap(&proxy);
    has_room.store(false, Ordering::SeqCst);
    let proxy = process();
    let five = thing(&proxy, 5);
    assert_eq!((value(&proxy, five), counts(&proxy)), (25, (0, 1, 0)));
}

#[test]
fn bytes_that_a_replay_refuses_answer_no_call() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, world, _) = things.process(directory.path());
    let five = thing(&proxy, 5);
    swap(&proxy);
    things.distortion.store(1, Ordering::SeqCst);
    world.events.clear();
    // The standby is made anew at once, and computes.
    proxy.prepare_standby().unwrap();
    assert_eq!(
        world.events.names(),
        [
            "standby-prepare-start",
            "artifact-refused",
            "standby-prepare-complete"
        ]
    );
    proxy.swap().unwrap();
    assert_eq!((value(&proxy, five), counts(&proxy)), (25, (0, 1, 0)));
    things.distortion.store(0, Ordering::SeqCst);
    let read = things.read();
    thing(&proxy, 5);
    thing(&things.process(directory.path()).0, 5);
    swap(&proxy);
    assert_eq!(things.read(), read);
}

#[test]
fn an_object_made_from_another_is_known_by_both() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, ..) = things.process(directory.path());
    let five = thing(&proxy, 5);
    view(&proxy, five, 1);
    swap(&proxy);
    let computed = things.computed();
    let (proxy, ..) = things.process(directory.path());
    let five = thing(&proxy, 5);
    let of_five = view(&proxy, five, 1);
    assert_eq!((value(&proxy, of_five), counts(&proxy)), (26, (2, 0, 0)));
    assert_eq!(things.computed(), computed);
    // The same number with another object.
    let six = thing(&proxy, 6);
    let of_six = view(&proxy, six, 1);
    assert_eq!(value(&proxy, of_six), 37);
    assert_eq!(counts(&proxy), (2, 0, 0));
}

#[test]
fn an_object_that_was_changed_is_no_longer_what_its_call_made() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, ..) = things.process(directory.path());
    let five = thing(&proxy, 5);
    view(&proxy, five, 1);
    swap(&proxy);
    let changes: [fn(&Proxy, proxy_core::Handle); 2] = [
        |proxy, thing| drop(proxy.call("thing_set", args![thing, 100]).unwrap()),
        |proxy, _| drop(proxy.call("touch_module", args![]).unwrap()),
    ];
    for (change, expected) in changes.into_iter().zip([101, 26]) {
        let (proxy, ..) = things.process(directory.path());
        let five = thing(&proxy, 5);
        change(&proxy, five);
        let computed = things.computed();
        let of_five = view(&proxy, five, 1);
        assert_eq!(value(&proxy, of_five), expected);
        assert_eq!(
            (things.computed(), counts(&proxy)),
            (computed + 1, (1, 0, 0))
        );
        // An object made from it is now kept for its entry, but answers no call.
        swap(&proxy);
        assert_eq!(value(&proxy, of_five), expected);
    }
    assert_eq!(
        fs::read_dir(directory.path().join("records"))
            .unwrap()
            .count(),
        2
    );
}

#[test]
fn an_answer_from_the_store_needs_arguments_that_the_call_would_take() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, ..) = things.process(directory.path());
    let five = thing(&proxy, 5);
    view(&proxy, five, 1);
    swap(&proxy);
    let (proxy, ..) = things.process(directory.path());
    let five = thing(&proxy, 5);
    let of_five = view(&proxy, five, 1);
    let error = proxy.call("view_new", args![of_five, 1]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::HandleType { .. })),
        "{error}"
    );
    proxy.call("thing_free", args![five]).unwrap();
    let error = proxy.call("view_new", args![five, 1]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    let error = proxy.call("thing_new", args![5_i64]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::Argument { .. })),
        "{error}"
    );
    let error = proxy.call("thing_new", args![]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::Argument { .. })),
        "{error}"
    );
}

/// `keygen(n)` makes an object that holds a number from the host. `import_asks` says whether the
/// import asks the host too.
fn seeded(things: &Things, asked: &Arc<AtomicUsize>, import_asks: bool) -> World {
    let asked = Arc::clone(asked);
    let seed = Arc::new(AtomicI64::new(1000));
    let ty = ("(result i64)", FuncType::new(&[], &[ValType::I64]));
    things
        .world()
        .func(
            "keygen",
            "(param i32) (result i32)",
            "role = \"create\"\nresults = [\"handle:key\"]\nfingerprint = \"thing_value\"\n\
             artifact = { export = \"thing_write\", import = \"key_read\", live = true }",
            |guest, args| {
                let seed = guest.host("env", "seed", &[])?;
                let seed = seed[0].i64().expect("it gives an i64");
                let address = guest.alloc(16)?;
                guest
                    .objects
                    .insert(address, seed + i64::from(number(&args[0])));
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "key_read",
            "(param i32 i32) (result i32)",
            "role = \"create\"\nargs = [\"bytes\"]\nresults = [\"handle:key\"]",
            move |guest, args| {
                if import_asks {
                    guest.host("env", "seed", &[])?;
                }
                let bytes = guest.read(address(&args[0]), 8)?;
                let bytes = bytes.try_into().expect("eight were read");
                let address = guest.alloc(16)?;
                guest.objects.insert(address, i64::from_le_bytes(bytes));
                Ok(vec![Val::from(address)])
            },
        )
        .import("seed", ty, move |_, _, results| {
            asked.fetch_add(1, Ordering::SeqCst);
            results[0] = Val::from(seed.fetch_add(1, Ordering::SeqCst));
            Ok(())
        })
        .effect_none("seed")
}

#[test]
fn an_object_that_the_host_had_a_part_in_answers_no_other_call() {
    let asked = Arc::new(AtomicUsize::new(0));
    let world = seeded(&Things::new(), &asked, false);
    let (proxy, _) = world.build();
    let key = |n: i32| proxy.call("keygen", args![n]).unwrap().handle().unwrap();
    let first = key(0);
    swap(&proxy);
    swap(&proxy);
    // Replay imports: the host's answer is in the bytes.
    assert_eq!(proxy.debug_info().artifacts_imported, 1);
    let second = key(0);
    assert_eq!((value(&proxy, first), value(&proxy, second)), (1000, 1001));
    assert_eq!(
        (asked.load(Ordering::SeqCst), counts(&proxy)),
        (2, (0, 0, 0))
    );
}

#[test]
fn an_import_on_a_standby_asks_the_host_nothing() {
    let asked = Arc::new(AtomicUsize::new(0));
    let world = seeded(&Things::new(), &asked, true);
    let (proxy, _) = world.build();
    let key = proxy.call("keygen", args![0]).unwrap().handle().unwrap();
    swap(&proxy);
    world.events.clear();
    swap(&proxy);
    let events = world.events.all();
    let Event::ArtifactRefused { reason, .. } = &events[1] else {
        panic!("{events:?}");
    };
    assert!(reason.contains("called the host: `env.seed`"), "{reason}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(value(&proxy, key), 1000);
}

#[test]
fn an_export_that_traps_costs_a_standby_and_is_not_tried_again() {
    let things = Things::new();
    let mut world = things.world();
    world = world.script(|script| {
        script.func("thing_write", "(param i32) (result i64)", |_, _| {
            Err(engine_api::Error::Trap(engine_api::Trap::Unreachable))
        })
    });
    let (proxy, engine) = world.build();
    let five = thing(&proxy, 5);
    thing(&proxy, 6);
    swap(&proxy);
    swap(&proxy);
    assert_eq!(value(&proxy, five), 25);
    assert_eq!((engine.probe().made(), counts(&proxy)), (4, (0, 0, 1)));
    let fault = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::ArtifactUnusable { fault, .. } => Some(fault.to_string()),
            _ => None,
        });
    let fault = fault.unwrap();
    assert!(
        fault.contains("expected its artifact to be exported"),
        "{fault}"
    );
}

#[test]
fn a_call_leaves_its_object_before_it_returns() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, world, _) = things.process(directory.path());
    thing(&proxy, 5);
    assert_eq!(
        (world.events.names(), proxy.calls()),
        (vec!["artifact-kept"], 1)
    );
    // No standby has ever been made.
    drop(proxy);
    let (proxy, ..) = things.process(directory.path());
    thing(&proxy, 5);
    assert_eq!((things.computed(), counts(&proxy)), (1, (1, 0, 0)));
}

#[test]
fn an_export_that_traps_while_the_instance_serves_costs_no_call_and_is_not_tried_again() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let world = things.world().script(|script| {
        script.func("thing_write", "(param i32) (result i64)", |_, _| {
            Err(engine_api::Error::Trap(engine_api::Trap::Unreachable))
        })
    });
    let engine = world.script.engine();
    let store = ArtifactStore::directory(directory.path()).unwrap();
    let proxy = world.builder(&engine).artifacts(store).build().unwrap();
    let five = thing(&proxy, 5);
    let six = thing(&proxy, 6);
    assert_eq!((value(&proxy, five), value(&proxy, six)), (25, 36));
    assert_eq!(world.events.count("artifact-unusable"), 1);
    assert_eq!(counts(&proxy), (0, 0, 1));
    assert_eq!(proxy.debug_info().tainted, None);
}

#[test]
fn switched_off_the_proxy_computes() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    things.leave(directory.path(), &[5]);
    let (computed, read) = (things.computed(), things.read());
    let (proxy, ..) = things.process(directory.path());
    proxy.set_enabled(false);
    thing(&proxy, 5);
    assert_eq!((things.computed(), things.read()), (computed + 1, read));
    proxy.set_enabled(true);
    thing(&proxy, 5);
    assert_eq!((things.computed(), things.read()), (computed + 1, read + 1));
}

#[test]
fn the_debug_information_and_the_metrics_count_artifacts() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};
    let directory = tempdir().unwrap();
    let things = Things::new();
    things.leave(directory.path(), &[5, 6]);
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let shown = metrics::with_local_recorder(&recorder, || {
        let (proxy, ..) = things.process(directory.path());
        thing(&proxy, 5);
        things.distortion.store(1, Ordering::SeqCst);
        thing(&proxy, 6);
        thing(&proxy, 7);
        proxy.tick(std::time::Instant::now());
        proxy.debug_info().to_string()
    });
    assert!(
        shown
            .contains("artifacts: 2 of 0.0 MiB; 0 replays and 1 calls used one, 1 were refused, 0"),
        "{shown}"
    );
    let gauge = |value: f64| Some(DebugValue::Gauge(value.into()));
    let snapshot = snapshotter.snapshot().into_vec();
    let by_name = |name: &str| {
        let mut same = snapshot.iter().filter(|(key, ..)| key.key().name() == name);
        same.next().map(|(.., value)| value)
    };
    assert_eq!(by_name("wasm_proxy_artifacts"), gauge(2.0).as_ref());
    assert_eq!(
        by_name("wasm_proxy_artifact_bytes"),
        gauge(10_000.0).as_ref()
    );
    assert_eq!(
        by_name("wasm_proxy_artifact_hits_total"),
        Some(&DebugValue::Counter(1))
    );
    assert_eq!(
        by_name("wasm_proxy_artifact_refusals_total"),
        Some(&DebugValue::Counter(1))
    );
}
