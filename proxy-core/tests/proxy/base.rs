//! Work aside, cuts, holes and live objects, where a checkpoint has taken the place of entries.

use std::time::{Duration, Instant};

use engine_api::{PAGE_BYTES, Val};
use proxy_core::{CallError, CutKind, Error, HistoryBound, SequenceNumber, Source, args};

use super::aside::{ENTRIES, leak_to_a_swap, slow, tick_until};
use super::crowded::hold;
use super::history::{FOLDING, build, folding, prepared_from};
use super::world::{World, add, counter, leak_pages, swap, value};
use crate::fake::Script;

#[test]
fn swaps_do_not_wait_for_a_fold() {
    let world = slow(|_| 0);
    let (proxy, engine) = build(&world, 12);
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("history-long"), 1);
    assert_eq!(engine.probe().live(), 2, "one makes the checkpoint");
    leak_to_a_swap(&proxy);
    assert_eq!(world.events.count("history-folded"), 0);
    tick_until(&proxy, &world, "history-folded");
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.checkpoints_rejected), (0, 0));
    assert_eq!((info.journal_entries, engine.probe().live()), (0, 1));
    // One beside active, standby and draining.
    assert!(engine.probe().peak() <= 4);
    swap(&proxy);
    assert_eq!(proxy.call("build", args![]).unwrap().i32().unwrap(), 12);
}

#[test]
fn a_fold_by_hand_leaves_nothing_aside() {
    let world = slow(|_| 0);
    let (proxy, engine) = build(&world, 12);
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 2);
    assert_eq!(proxy.compact().unwrap().base, Some(SequenceNumber(ENTRIES)));
    assert_eq!(engine.probe().live(), 1);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 1, "nothing is due");
    assert_eq!(
        prepared_from(&proxy),
        (Source::Checkpoint(SequenceNumber(ENTRIES)), 0)
    );
}

#[test]
fn a_comparison_that_does_not_end_by_hand_goes_on_aside() {
    let world = slow(|_| 0);
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let proxy = builder
        .prepare_timeout(Duration::from_millis(1))
        .build()
        .unwrap();
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    let error = proxy.compact().unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
    assert!(error.to_string().contains("did not end"), "{error}");
    assert_eq!(proxy.debug_info().journal_entries, 12);
    tick_until(&proxy, &world, "checkpoint-verified");
    assert_eq!(proxy.compact().unwrap().entries, 0);
    assert_eq!(world.events.count("checkpoint-taken"), 1);
}

#[test]
fn callers_wait_for_a_fold_that_is_overdue() {
    let world = slow(|_| 0);
    let engine = world.script.engine();
    let bound = HistoryBound {
        entries: 6,
        bytes: u64::MAX,
    };
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let proxy = builder.history_bound(bound).build().unwrap();
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    // Each entry takes longer than a slice.
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().journal_entries, 0);
    assert_eq!(proxy.debug_info().history_folds, 1);
}

#[test]
fn a_standby_that_is_too_large_is_made_from_the_base() {
    let world = World::new().checkpointed().holding().pages(32);
    let (proxy, _) = folding(&world);
    hold(&proxy, 1);
    proxy.compact().unwrap();
    let large = hold(&proxy, 16);
    swap(&proxy);
    proxy.call("hold_free", args![large]).unwrap();
    hold(&proxy, 8);
    let prepared = proxy.prepare_standby().unwrap();
    assert_eq!(prepared.source, Source::Checkpoint(SequenceNumber(1)));
    assert_eq!(prepared.memory, 10 * PAGE_BYTES);
    proxy.swap().unwrap();
    let info = proxy.debug_info();
    assert!(!info.state_exceeds_budget);
    assert_eq!(info.history_base, Some(SequenceNumber(1)));
    assert_eq!(proxy.memory_bytes(), 10 * PAGE_BYTES);
}

#[test]
fn a_divergence_after_the_base_is_settled_from_the_base() {
    for kind in [CutKind::Accepted, CutKind::Skipped] {
        let world = World::new().checkpointed().func(
            "roll",
            "(result i32)",
            "role = \"mutate\"",
            |guest, _| Ok(vec![Val::I32(i32::from(guest.number > 1))]),
        );
        let (proxy, _) = folding(&world);
        let one = counter(&proxy);
        add(&proxy, one, 7);
        proxy.compact().unwrap();
        proxy.call("roll", args![]).unwrap();
        let bytes = proxy.debug_info().journal_bytes;
        proxy.prepare_standby().unwrap_err();
        let entry = SequenceNumber(3);
        let (cut, left) = match kind {
            CutKind::Accepted => (proxy.accept_divergence(entry), (1, bytes)),
            _ => (proxy.skip_divergence(entry), (0, 0)),
        };
        assert_eq!(cut.unwrap().kind, kind);
        let info = proxy.debug_info();
        assert_eq!((info.journal_entries, info.journal_bytes), left);
        assert_eq!(info.history_base, Some(SequenceNumber(2)));
        let (source, entries) = prepared_from(&proxy);
        assert_eq!(source, Source::Checkpoint(SequenceNumber(2)));
        assert_eq!(entries, left.0);
        proxy.swap().unwrap();
        assert_eq!(value(&proxy, one), 7);
    }
}

#[test]
fn objects_of_the_base_are_still_listed_by_their_makers() {
    let (proxy, _) = folding(&World::new().checkpointed());
    let objects = [counter(&proxy), counter(&proxy)];
    let gone = counter(&proxy);
    proxy.call("counter_free", args![gone]).unwrap();
    let before = proxy.live_objects();
    proxy.compact().unwrap();
    assert_eq!(proxy.live_objects(), before);
    let error = proxy.export_object(objects[0]).unwrap_err();
    assert!(
        matches!(&error, Error::Call(CallError::NoArtifact { export }) if export == "counter_new"),
        "{error}"
    );
    let newer = counter(&proxy);
    let handles = || -> Vec<_> {
        let live = proxy.live_objects();
        live.iter().map(|object| object.handle).collect()
    };
    assert_eq!(handles(), [objects[0], objects[1], newer]);
    proxy.call("counter_free", args![objects[0]]).unwrap();
    assert_eq!(handles(), [objects[1], newer]);
    proxy.compact().unwrap();
    assert_eq!(handles(), [objects[1], newer]);
}

#[test]
fn a_module_whose_threads_run_side_by_side_keeps_its_full_history() {
    let unlike = World::new().checkpointed().script(Script::replays_unlike);
    let engine = unlike.script.engine();
    let refused = unlike.builder(&engine).checkpoints(FOLDING).build();
    let error = refused.unwrap_err();
    assert!(
        matches!(error, Error::HistoryNeedsCheckpoints { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("threads"), "{error}");
    // The same for another engine, on which it has threads.
    let (proxy, _) = folding(&World::new().checkpointed());
    let one = counter(&proxy);
    for error in [
        proxy.prepare_standby_on(engine.clone()).unwrap_err(),
        proxy.verify_on(engine).unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::HistoryNeedsCheckpoints { .. }),
            "{error}"
        );
    }
    add(&proxy, one, 1);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 1);
}

#[test]
fn a_fold_begins_again_after_the_proxy_was_switched_off() {
    let world = slow(|_| 0);
    let (proxy, engine) = build(&world, 12);
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 2);
    proxy.set_enabled(false);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 1, "nothing is kept aside");
    proxy.set_enabled(true);
    leak_pages(&proxy, 1);
    tick_until(&proxy, &world, "history-folded");
}

/// The comparison of a checkpoint waits, because the active generation is dead, when another one is
/// asked for.
#[test]
fn a_checkpoint_by_hand_takes_the_place_of_work_aside() {
    let world = World::new().checkpointed().booming(|number| number == 1);
    let (proxy, engine) = folding(&world);
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.compact().unwrap();
    proxy.set_enabled(false);
    add(&proxy, one, 1);
    proxy.call("boom", args![]).unwrap_err();
    proxy.set_enabled(true);
    let error = proxy.compact().unwrap_err();
    assert!(error.to_string().contains("did not end"), "{error}");
    assert_eq!(engine.probe().live(), 3, "active, standby, and one aside");
    proxy.checkpoint().unwrap();
    assert_eq!(engine.probe().peak(), 3);
    assert_eq!(value(&proxy, one), 1);
}
