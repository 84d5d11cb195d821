//! The length of the history: a warning, and checkpoints that take the place of entries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use engine_api::{Error as EngineError, Trap, Val};
use proxy_core::{
    CallError, CheckpointPolicy, Error, Event, History, HistoryBound, Proxy, Reason,
    SequenceNumber, Source, Supervisor, Value, args,
};

use super::world::{
    EAGER, PATIENCE, World, add, counter, hash, instance_number, swap, until, value,
};
use crate::fake::FakeEngine;

/// A verified checkpoint takes the place of what came before it.
pub(super) const FOLDING: CheckpointPolicy = CheckpointPolicy {
    history: History::Checkpoint,
    ..EAGER
};

pub(super) fn build(world: &World, entries: usize) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let bytes = u64::MAX;
    let proxy = builder
        .history_bound(HistoryBound { entries, bytes })
        .build();
    world.events.clear();
    (proxy.unwrap(), engine)
}

pub(super) fn folding(world: &World) -> (Proxy, FakeEngine) {
    build(world, usize::MAX)
}

pub(super) fn prepared_from(proxy: &Proxy) -> (Source, usize) {
    let prepared = proxy.prepare_standby().unwrap();
    (prepared.source, prepared.entries)
}

#[test]
fn two_hundred_thousand_changes_of_the_module_leave_a_short_journal() {
    let armed = Arc::new(AtomicBool::new(false));
    let bomb = Arc::clone(&armed);
    let world = World::new()
        .checkpointed()
        .chain(0)
        .booming(move |_| bomb.swap(false, Ordering::SeqCst));
    let (proxy, _) = folding(&world);
    let (mut chain, mut longest, mut bytes) = (0, 0, 0);
    for step in 0..200_000_i64 {
        chain = hash(chain, step);
        let results = proxy.call("chain_step", args![step]).unwrap();
        assert_eq!(
            results.as_slice()[0],
            Value::Val(Val::from(chain)),
            "step {step}"
        );
        if step % 1000 == 0 {
            proxy.tick(Instant::now());
        }
        if step % 40_000 == 39_999 {
            swap(&proxy);
            armed.store(true, Ordering::SeqCst);
            proxy.call("boom", args![]).unwrap();
        }
        if step % 64 == 0 {
            let info = proxy.debug_info();
            longest = longest.max(info.journal_entries);
            bytes = bytes.max(info.journal_bytes);
        }
    }
    // A fold is due at 8,192 entries and done aside; at the double of it, the next tick does it.
    assert!(longest < 18_000, "{longest}");
    assert!(bytes < 16 << 20, "{bytes}");
    let info = proxy.debug_info();
    assert!(info.history_folds >= 11, "{info}");
    assert_eq!((info.swaps, info.emergencies), (10, 5));
    assert_eq!((info.divergences, info.checkpoints_rejected), (0, 0));
    assert_eq!(info.last_swap.unwrap().reason, Reason::Emergency);
}

#[test]
fn a_supervisor_folds_by_itself() {
    let world = World::new().checkpointed().chain(0);
    let (proxy, _) = build(&world, 50);
    let supervisor = Supervisor::start(&proxy, PATIENCE).unwrap();
    for step in 0..60_i64 {
        proxy.call("chain_step", args![step]).unwrap();
    }
    until("the journal is folded", || {
        proxy.debug_info().history_folds > 0
    });
    drop(supervisor);
    assert!(world.events.count("history-long") >= 1);
    swap(&proxy);
    proxy.call("chain_step", args![60_i64]).unwrap();
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn objects_live_on_and_end_over_folds() {
    let (proxy, _) = folding(&World::new().checkpointed());
    let (kept, gone) = (counter(&proxy), counter(&proxy));
    let early = counter(&proxy);
    add(&proxy, kept, 1);
    proxy.call("counter_free", args![early]).unwrap();
    let compacted = proxy.compact().unwrap();
    assert_eq!((compacted.entries, compacted.bytes), (0, 0));
    // With what freed `early`, although nothing of it is replayed.
    assert_eq!(compacted.base, Some(SequenceNumber(5)));
    assert!(compacted.entries_before >= 3 && compacted.bytes_before > 0);
    assert_eq!(proxy.debug_info().objects, 2);
    // Enough comes and goes for a compaction, and what ends an older object stays.
    add(&proxy, gone, 1);
    proxy.call("counter_free", args![gone]).unwrap();
    add(&proxy, kept, 1);
    for _ in 0..200 {
        let brief = counter(&proxy);
        proxy.call("counter_free", args![brief]).unwrap();
    }
    let (source, entries) = prepared_from(&proxy);
    assert_eq!(source, Source::Checkpoint(SequenceNumber(5)));
    assert_eq!(entries, 3, "what came and went is not done");
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, kept), 2);
    for dead in [early, gone] {
        let error = proxy.call("counter_value", args![dead]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::FreedHandle { .. })),
            "{error}"
        );
    }
    proxy.compact().unwrap();
    swap(&proxy);
    let error = proxy.call("counter_value", args![gone]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    assert_eq!((value(&proxy, kept), proxy.debug_info().objects), (2, 1));
}

#[test]
fn a_later_checkpoint_is_compared_with_a_replay_from_the_base() {
    let world = World::new().checkpointed();
    let (proxy, _) = folding(&world);
    let one = counter(&proxy);
    proxy.compact().unwrap();
    for round in 1..=4 {
        add(&proxy, one, 1);
        let base = proxy.compact().unwrap().base;
        assert_eq!(base, Some(SequenceNumber(round + 1)));
    }
    assert_eq!(world.events.count("checkpoint-verified"), 5);
    assert_eq!(world.events.count("history-folded"), 5);
    let compacted = proxy.compact().unwrap();
    assert_eq!(
        compacted.base,
        Some(SequenceNumber(5)),
        "there is nothing to fold"
    );
    assert_eq!(world.events.count("checkpoint-taken"), 5);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 4);
    assert_eq!(proxy.debug_info().checkpoint.unwrap().entries, 0);
}

#[test]
fn a_standby_that_waits_has_all_that_a_fold_drops() {
    let (proxy, _) = folding(&World::new().checkpointed());
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    for _ in 0..50 {
        add(&proxy, one, 1);
    }
    assert_eq!(proxy.compact().unwrap().entries, 0);
    add(&proxy, one, 1);
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, one), 51);
    // Its history began with what is gone, so no checkpoint was made of it.
    add(&proxy, one, 1);
    proxy.compact().unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, one), 52);
    assert_eq!(proxy.debug_info().checkpoints_rejected, 0);
}

#[test]
fn a_checkpoint_that_differs_never_takes_the_place_of_entries() {
    let world = World::new().checkpointed().func(
        "note",
        "(result i32)",
        "role = \"mutate\"",
        |guest, _| {
            let number = instance_number(guest);
            guest.write(1024, &number.to_le_bytes())?;
            Ok(vec![Val::I32(1)])
        },
    );
    let (proxy, _) = folding(&world);
    let one = counter(&proxy);
    add(&proxy, one, 5);
    assert_eq!(proxy.compact().unwrap().base, Some(SequenceNumber(2)));
    proxy.call("note", args![]).unwrap();
    for _ in 0..4 {
        let error = proxy.compact().unwrap_err();
        assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
    }
    assert_eq!(
        world.events.count("checkpoint-rejected"),
        3,
        "then none is taken any more"
    );
    let info = proxy.debug_info();
    assert_eq!(
        (info.journal_entries, info.history_base),
        (1, Some(SequenceNumber(2)))
    );
    // The base is still what standbys are made from.
    assert_eq!(
        prepared_from(&proxy),
        (Source::Checkpoint(SequenceNumber(2)), 1)
    );
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, one), 5);
}

#[test]
fn a_base_that_cannot_be_restored_for_now_is_tried_again() {
    let refused = Arc::new(AtomicU64::new(u64::MAX));
    let full = Arc::clone(&refused);
    let world = World::new().checkpointed().script(|script| {
        script.before_instantiate(move |number| {
            if number >= full.load(Ordering::SeqCst) {
                return Err(EngineError::Trap(Trap::StackOverflow));
            }
            Ok(())
        })
    });
    let (proxy, _) = folding(&world);
    let one = counter(&proxy);
    add(&proxy, one, 3);
    proxy.compact().unwrap();
    refused.store(0, Ordering::SeqCst);
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, Error::Preparation { .. }), "{error}");
    assert_eq!(value(&proxy, one), 3, "the active goes on");
    refused.store(u64::MAX, Ordering::SeqCst);
    assert_eq!(
        prepared_from(&proxy),
        (Source::Checkpoint(SequenceNumber(2)), 0)
    );
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.debug_info().checkpoints_rejected, 0);
}

#[test]
fn a_tail_that_diverges_on_the_base_is_a_divergence() {
    let world = World::new().checkpointed().func(
        "roll",
        "(result i32)",
        "role = \"mutate\"",
        |guest, _| Ok(vec![Val::I32(instance_number(guest))]),
    );
    let (proxy, _) = folding(&world);
    let one = counter(&proxy);
    proxy.compact().unwrap();
    proxy.call("roll", args![]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.checkpoints_rejected), (1, 0));
    assert_eq!(
        (info.history_base, value(&proxy, one)),
        (Some(SequenceNumber(1)), 0)
    );
}

#[test]
fn another_engine_goes_on_from_the_base_if_it_can_restore_it() {
    let world = World::new().checkpointed();
    let (proxy, _) = folding(&world);
    let one = counter(&proxy);
    add(&proxy, one, 41);
    proxy.compact().unwrap();
    add(&proxy, one, 1);
    let unable = World::new().script.compiler("unable").engine();
    for error in [
        proxy.prepare_standby_on(unable.clone()).unwrap_err(),
        proxy.verify_on(unable).unwrap_err(),
    ] {
        assert!(matches!(error, Error::BaseNotRestorable { .. }), "{error}");
    }
    let other = world.script.clone().compiler("other").engine();
    assert_eq!(proxy.verify_on(other.clone()).unwrap().entries, 1);
    let prepared = proxy.prepare_standby_on(other).unwrap();
    assert_eq!(prepared.source, Source::Checkpoint(SequenceNumber(2)));
    proxy.swap().unwrap();
    assert_eq!((proxy.engine().compiler, value(&proxy, one)), ("other", 42));
    proxy.compact().unwrap();
    swap(&proxy);
    assert_eq!(value(&proxy, one), 42);
}

#[test]
fn a_module_without_checkpoints_cannot_keep_its_history_as_one() {
    let refusal = |world: &World, policy: CheckpointPolicy| {
        let engine = world.script.engine();
        match world.builder(&engine).checkpoints(policy).build() {
            Err(Error::HistoryNeedsCheckpoints { obstacles }) => obstacles,
            other => panic!("{other:?}"),
        }
    };
    let obstacles = refusal(&World::new(), FOLDING);
    assert!(
        obstacles[0].contains("does not support snapshots"),
        "{obstacles:?}"
    );
    let off = CheckpointPolicy {
        enabled: false,
        ..FOLDING
    };
    let obstacles = refusal(&World::new().checkpointed(), off);
    assert!(obstacles[0].contains("switched off"), "{obstacles:?}");
}

#[test]
fn a_long_history_is_told_each_time_that_it_has_doubled() {
    let world = World::new().chain(0);
    let engine = world.script.engine();
    let bound = HistoryBound {
        entries: 100,
        bytes: u64::MAX,
    };
    let proxy = world.builder(&engine).history_bound(bound).build().unwrap();
    for step in 0..850_i64 {
        proxy.call("chain_step", args![step]).unwrap();
    }
    let told = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::HistoryLong { entries, bytes } => Some((entries, bytes > 0)),
            _ => None,
        });
    let told: Vec<_> = told.collect();
    assert_eq!(told, [(100, true), (200, true), (400, true), (800, true)]);
    assert_eq!(
        proxy.debug_info().journal_entries,
        850,
        "nothing is dropped"
    );
}

#[test]
fn with_a_full_history_compact_drops_what_no_object_needs() {
    let (proxy, _) = World::new().build();
    let (kept, gone) = (counter(&proxy), counter(&proxy));
    add(&proxy, gone, 1);
    proxy.call("counter_free", args![gone]).unwrap();
    let compacted = proxy.compact().unwrap();
    assert_eq!((compacted.entries_before, compacted.entries), (4, 1));
    assert!(compacted.bytes < compacted.bytes_before);
    assert_eq!(compacted.bytes, proxy.debug_info().journal_bytes);
    assert_eq!(compacted.base, None);
    swap(&proxy);
    assert_eq!(value(&proxy, kept), 0);
    proxy.set_enabled(false);
    assert!(matches!(proxy.compact(), Err(Error::Passthrough)));
}
