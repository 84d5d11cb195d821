//! Checkpoints: standbys that start where a verified replay ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engine_api::{Caller, FuncType, GlobalIndex, TableIndex, Val};
use proxy_core::{
    CallError, CheckpointPolicy, Error, Event, Patience, Proxy, Reason, SequenceNumber, Source,
    Supervisor, args,
};

use super::world::{
    EAGER, World, add, counter, instance_number, leak_pages, swap, until, until_live, value,
};
use crate::fake::{FakeEngine, number};

/// A newer checkpoint for every tail, and no comparison.
const UNCHECKED: CheckpointPolicy = CheckpointPolicy {
    verify_every: 0,
    ..EAGER
};

/// One checkpoint, compared after its first use.
const ONCE: CheckpointPolicy = CheckpointPolicy {
    tail_replay_max: Duration::MAX,
    ..EAGER
};

fn build(world: &World, policy: CheckpointPolicy) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(policy);
    (builder.build().expect("the world is sound"), engine)
}

fn source(proxy: &Proxy) -> (Source, usize) {
    let prepared = proxy.prepare_standby().expect("a standby can be made");
    proxy.swap().expect("it can be swapped in");
    (prepared.source, prepared.entries)
}

fn reasons(world: &World, name: &str) -> Vec<String> {
    let all = world.events.all().into_iter();
    all.filter(|event| event.name() == name)
        .map(|event| match event {
            Event::CheckpointRejected { reason, .. } => reason,
            Event::CheckpointError { error } => error,
            Event::CheckpointsRefused { reasons } => reasons.join("; "),
            other => panic!("{other:?} has no reason"),
        })
        .collect()
}

#[test]
fn the_second_standby_replays_the_tail_alone() {
    let world = World::new().checkpointed();
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    for _ in 0..10 {
        add(&proxy, one, 1);
    }
    assert_eq!(source(&proxy), (Source::Replay, 11));
    let two = counter(&proxy);
    add(&proxy, one, 5);
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(11)), 2));
    assert_eq!((value(&proxy, one), value(&proxy, two)), (15, 0));
    add(&proxy, two, 7);
    assert_eq!(value(&proxy, two), 7);
    assert_eq!(world.events.count("checkpoint-taken"), 1);
    let info = proxy.debug_info();
    let checkpoint = info.checkpoint.expect("there is one");
    assert_eq!(checkpoint.sequence, SequenceNumber(11));
    assert_eq!((info.divergences, info.checkpoints_rejected), (0, 0));
    assert!(info.checkpoint_obstacles.is_empty());
    until_live(&proxy, &engine, 1);
}

#[test]
fn what_is_freed_after_the_checkpoint_is_freed_on_the_standby() {
    let (proxy, _) = World::new().checkpointed().build();
    let (kept, gone) = (counter(&proxy), counter(&proxy));
    swap(&proxy);
    proxy.call("counter_free", args![gone]).unwrap();
    // Enough objects come and go for a compaction while the checkpoint still knows the object.
    for _ in 0..200 {
        let brief = counter(&proxy);
        proxy.call("counter_free", args![brief]).unwrap();
    }
    let (source, entries) = source(&proxy);
    assert_eq!(source, Source::Checkpoint(SequenceNumber(2)));
    assert_eq!(entries, 1, "what came and went is not done, what ends is");
    let error = proxy.call("counter_value", args![gone]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    assert_eq!(value(&proxy, kept), 0);
    proxy.verify_on(World::new().script.engine()).unwrap();
}

#[test]
fn a_long_tail_makes_a_newer_checkpoint_and_the_older_one_goes() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, UNCHECKED);
    let one = counter(&proxy);
    swap(&proxy);
    for round in 2..10 {
        add(&proxy, one, 1);
        let (source, entries) = source(&proxy);
        assert_eq!(source, Source::Checkpoint(SequenceNumber(round - 1)));
        assert_eq!(entries, 1);
        let newest = proxy.debug_info().checkpoint.expect("there is one");
        assert_eq!(newest.sequence, SequenceNumber(round));
    }
    assert_eq!(value(&proxy, one), 8);
}

#[test]
fn a_checkpoint_is_compared_with_a_replay_byte_by_byte() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, ONCE);
    let one = counter(&proxy);
    add(&proxy, one, 3);
    for _ in 0..4 {
        swap(&proxy);
    }
    // The first standby was made by replay. For each later one but the second, the checkpoint had
    // been used before.
    assert_eq!(world.events.count("checkpoint-verified"), 2);
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("checkpoint-verified"), 3);
    assert_eq!(proxy.debug_info().checkpoint_uses, 0);
    assert_eq!(value(&proxy, one), 3);
}

#[test]
fn a_comparison_repeats_what_was_done_and_not_what_the_journal_has_kept() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, ONCE);
    let brief = counter(&proxy);
    let one = counter(&proxy);
    swap(&proxy);
    swap(&proxy);
    // A replay of the compacted journal would put the other object at this address.
    proxy.call("counter_free", args![brief]).unwrap();
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("checkpoint-verified"), 1);
    assert_eq!(world.events.count("checkpoint-rejected"), 0);
    add(&proxy, one, 1);
    assert_eq!(source(&proxy).0, Source::Checkpoint(SequenceNumber(2)));
    assert_eq!(value(&proxy, one), 1);
}

/// `note()` gives the same on every instance, but leaves other memory.
fn secretive() -> World {
    World::new().checkpointed().func(
        "note",
        "(result i32)",
        "role = \"mutate\"\nresults = [\"value\"]",
        |guest, _| {
            let number = instance_number(guest);
            guest.write(1024, &number.to_le_bytes())?;
            Ok(vec![Val::I32(1)])
        },
    )
}

#[test]
fn a_checkpoint_that_differs_from_a_replay_is_rejected_and_never_chosen_again() {
    let world = secretive();
    let (proxy, _) = build(&world, ONCE);
    proxy.call("note", args![]).unwrap();
    assert_eq!(source(&proxy), (Source::Replay, 1));
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(1)), 0));
    assert_eq!(source(&proxy), (Source::Replay, 1));
    let rejected = reasons(&world, "checkpoint-rejected");
    assert_eq!(rejected.len(), 1);
    assert!(
        rejected[0].contains("memory 0 from offset 0x400 on"),
        "{}",
        rejected[0]
    );
    assert_eq!(proxy.debug_info().checkpoints_rejected, 1);
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn after_three_rejections_there_are_no_more_checkpoints() {
    let world = secretive();
    let (proxy, _) = build(&world, ONCE);
    proxy.call("note", args![]).unwrap();
    for _ in 0..12 {
        swap(&proxy);
    }
    assert_eq!(world.events.count("checkpoint-rejected"), 3);
    let info = proxy.debug_info();
    assert!(info.checkpoint.is_none());
    assert!(info.checkpoint_obstacles[0].contains("something else than a replay"));
    assert_eq!(source(&proxy), (Source::Replay, 1));
    let error = proxy.checkpoint().unwrap_err().to_string();
    assert!(error.contains("made by replay"), "{error}");
}

#[test]
fn a_tail_that_fails_on_a_checkpoint_is_replayed_from_nothing_in_the_same_preparation() {
    // A checkpoint does not hold how often this very instance was asked.
    let forgetful = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&forgetful);
    let world = World::new().checkpointed().func(
        "step",
        "(result i32)",
        "role = \"mutate\"\nresults = [\"value\"]",
        move |guest, _| {
            let step = guest.count("steps");
            let forgot = seen.load(Ordering::SeqCst) && guest.number > 2 && step == 1;
            let step = if forgot { 0 } else { step };
            seen.store(!forgot && seen.load(Ordering::SeqCst), Ordering::SeqCst);
            Ok(vec![Val::I32(i32::try_from(step).expect("few steps"))])
        },
    );
    let (proxy, engine) = world.build();
    proxy.call("step", args![]).unwrap();
    assert_eq!(source(&proxy), (Source::Replay, 1));
    proxy.call("step", args![]).unwrap();
    forgetful.store(true, Ordering::SeqCst);
    assert_eq!(source(&proxy), (Source::Replay, 2));
    let rejected = reasons(&world, "checkpoint-rejected");
    assert!(rejected[0].contains("step"), "{}", rejected[0]);
    assert_eq!(world.events.count("standby-prepare-error"), 0);
    // The replay's own checkpoint is as good as any.
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(2)), 0));
    assert_eq!(proxy.call("step", args![]).unwrap().i32().unwrap(), 2);
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_dead_generation_is_replaced_from_the_checkpoint() {
    let armed = Arc::new(AtomicBool::new(false));
    let bomb = Arc::clone(&armed);
    let world = World::new()
        .checkpointed()
        .booming(move |_| bomb.swap(false, Ordering::SeqCst));
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    swap(&proxy);
    add(&proxy, one, 2);
    world.events.clear();
    armed.store(true, Ordering::SeqCst);
    proxy.call("boom", args![]).unwrap();
    let emergency = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::StandbyPrepareComplete(prepared) => Some((prepared.source, prepared.entries)),
            _ => None,
        });
    assert_eq!(emergency, Some((Source::Checkpoint(SequenceNumber(1)), 1)));
    assert_eq!(value(&proxy, one), 2);
    assert_eq!(
        proxy.debug_info().last_swap.unwrap().reason,
        Reason::Emergency
    );
}

#[test]
fn a_checkpoint_is_taken_on_demand_of_the_standby_or_without_one() {
    let world = World::new().checkpointed();
    let (proxy, engine) = build(&world, ONCE);
    let one = counter(&proxy);
    let taken = proxy.checkpoint().unwrap();
    assert_eq!(
        (taken.sequence, taken.bytes >= 65_536),
        (SequenceNumber(1), true)
    );
    assert_eq!(engine.probe().live(), 1, "what it was taken of is gone");
    add(&proxy, one, 1);
    assert_eq!(
        proxy.prepare_standby().unwrap().source,
        Source::Checkpoint(SequenceNumber(1))
    );
    add(&proxy, one, 1);
    let taken = proxy.checkpoint().unwrap();
    assert_eq!(taken.sequence, SequenceNumber(3));
    assert_eq!(engine.probe().live(), 2);
    proxy.swap().unwrap();
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(3)), 0));
    assert_eq!(value(&proxy, one), 2);
    proxy.set_enabled(false);
    assert!(matches!(proxy.checkpoint(), Err(Error::Passthrough)));
    proxy.set_enabled(true);
    assert!(proxy.shutdown());
    assert!(matches!(proxy.checkpoint(), Err(Error::ShutDown)));
}

#[test]
fn a_module_whose_instances_cannot_be_captured_is_replayed_and_the_reason_given() {
    let world = World::new();
    let (proxy, _) = build(&world, EAGER);
    counter(&proxy);
    swap(&proxy);
    assert_eq!(source(&proxy), (Source::Replay, 1));
    let refused = reasons(&world, "checkpoints-refused");
    assert!(
        refused[0].contains("does not support snapshots"),
        "{}",
        refused[0]
    );
    assert_eq!(proxy.debug_info().checkpoint_obstacles, refused);
    let error = proxy.checkpoint().unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }), "{error}");
}

#[test]
fn a_module_that_changes_typed_references_is_replayed_and_the_instruction_is_named() {
    let world = World::new().checkpointed().script(|script| {
        script
            .item("(table 4 nullfuncref)")
            .item("(func $f (table.set (i32.const 0) (ref.null nofunc)))")
    });
    let (proxy, _) = build(&world, EAGER);
    counter(&proxy);
    swap(&proxy);
    assert_eq!(source(&proxy), (Source::Replay, 1));
    let refused = reasons(&world, "checkpoints-refused");
    assert!(refused[0].contains("table.set"), "{}", refused[0]);
}

#[test]
fn a_table_that_a_host_function_changed_is_in_a_checkpoint() {
    let ty = FuncType::new(&[], &[]);
    let world = World::new()
        .checkpointed()
        .script(|script| script.item("(table (export \"table\") 4 funcref)"))
        .import("grow", ("", ty), |caller, _, _| {
            caller
                .table_grow(TableIndex(0), 1, &Val::FuncRef(None))
                .map(drop)
        })
        .func("grow_table", "", "role = \"mutate\"", |guest, _| {
            guest.host("env", "grow", &[])?;
            Ok(vec![])
        });
    let (proxy, _) = build(&world, EAGER);
    counter(&proxy);
    swap(&proxy);
    for sequence in 2..10 {
        proxy.call("grow_table", args![]).unwrap();
        let newest = Source::Checkpoint(SequenceNumber(sequence - 1));
        assert_eq!(source(&proxy), (newest, 1));
        swap(&proxy);
    }
    assert_eq!(proxy.debug_info().checkpoint_obstacles, [""; 0]);
    assert_eq!(proxy.debug_info().checkpoints_rejected, 0);
}

#[test]
fn state_that_turns_out_not_to_be_held_ends_checkpoints() {
    let world =
        World::new()
            .checkpointed()
            .func("entangle", "", "role = \"mutate\"", |guest, _| {
                guest.has_unheld_state = true;
                Ok(vec![])
            });
    let (proxy, _) = build(&world, EAGER);
    counter(&proxy);
    swap(&proxy);
    assert_eq!(source(&proxy).0, Source::Checkpoint(SequenceNumber(1)));
    proxy.call("entangle", args![]).unwrap();
    // The tail can be applied to an instance from the checkpoint, but no other checkpoint is taken.
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(1)), 1));
    assert_eq!(source(&proxy), (Source::Replay, 2));
    let obstacles = proxy.debug_info().checkpoint_obstacles;
    assert!(
        obstacles[0].contains("does not support snapshots of this"),
        "{obstacles:?}"
    );
}

#[test]
fn globals_are_in_a_checkpoint() {
    let world = World::new()
        .checkpointed()
        .script(|script| script.item("(global (mut i32) (i32.const 0))"))
        .func(
            "turn",
            "(result i32)",
            "role = \"mutate\"\nresults = [\"value\"]",
            |guest, _| {
                let turns = number(&guest.global(GlobalIndex(0))?) + 1;
                guest.set_global(GlobalIndex(0), &Val::I32(turns))?;
                Ok(vec![Val::I32(turns)])
            },
        );
    let (proxy, _) = world.build();
    for _ in 0..3 {
        proxy.call("turn", args![]).unwrap();
    }
    swap(&proxy);
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(3)), 0));
    assert_eq!(proxy.call("turn", args![]).unwrap().i32().unwrap(), 4);
}

#[test]
fn without_checkpoints_every_standby_is_a_replay() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, CheckpointPolicy::off());
    counter(&proxy);
    for _ in 0..3 {
        assert_eq!(source(&proxy), (Source::Replay, 1));
    }
    assert_eq!(world.events.count("checkpoint-taken"), 0);
    assert!(
        world.events.count("checkpoints-refused") == 0,
        "nobody asked for any"
    );
    let error = proxy.checkpoint().unwrap_err().to_string();
    assert!(error.contains("switched off"), "{error}");
}

#[test]
fn another_engine_goes_on_from_the_checkpoint() {
    let world = World::new().checkpointed();
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    add(&proxy, one, 41);
    swap(&proxy);
    add(&proxy, one, 1);
    let other = world.script.clone().compiler("other").engine();
    let prepared = proxy.prepare_standby_on(other).unwrap();
    assert_eq!(
        (prepared.source, prepared.entries),
        (Source::Checkpoint(SequenceNumber(2)), 1)
    );
    proxy.swap().unwrap();
    assert_eq!((proxy.engine().compiler, value(&proxy, one)), ("other", 42));
}

#[test]
fn a_journal_that_has_shrunk_makes_a_better_checkpoint() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, ONCE);
    let kept = counter(&proxy);
    let brief: Vec<_> = (0..200).map(|_| counter(&proxy)).collect();
    swap(&proxy);
    assert_eq!(
        proxy.debug_info().checkpoint.unwrap().sequence,
        SequenceNumber(201)
    );
    for brief in brief {
        proxy.call("counter_free", args![brief]).unwrap();
    }
    add(&proxy, kept, 1);
    // Only the next standby still needs these entries: they end objects that the checkpoint holds.
    assert_eq!(
        source(&proxy),
        (Source::Checkpoint(SequenceNumber(201)), 201)
    );
    assert_eq!(proxy.debug_info().journal_entries, 402);
    // The first tick makes the comparison that is due, the second takes the better checkpoint.
    proxy.tick(Instant::now());
    proxy.tick(Instant::now());
    let checkpoint = proxy.debug_info().checkpoint.unwrap();
    assert_eq!(checkpoint.sequence, SequenceNumber(402));
    assert_eq!(proxy.debug_info().journal_entries, 2);
    assert_eq!(source(&proxy), (Source::Checkpoint(SequenceNumber(402)), 0));
    assert_eq!(value(&proxy, kept), 1);
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("checkpoint-rejected"), 0);
}

#[test]
fn old_generations_are_freed_by_the_reaper_while_calls_go_on() {
    let world = World::new().checkpointed().leaking().pages(32);
    let (proxy, engine) = world.build();
    let supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    let one = counter(&proxy);
    for round in 1..=500 {
        add(&proxy, one, 1);
        leak_pages(&proxy, 1);
        assert_eq!(value(&proxy, one), round);
    }
    until("the old ones are freed", || engine.probe().live() <= 2);
    // The last growth may bring one more swap meanwhile.
    until("each is reported", || {
        let swaps = usize::try_from(proxy.debug_info().swaps).unwrap();
        world.events.count("generation-freed") == swaps
    });
    assert!(engine.probe().peak() <= 3);
    drop(supervisor);
    assert!(proxy.shutdown());
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_state_over_budget_is_no_fault_of_the_checkpoint() {
    let world = World::new().checkpointed().holding().pages(20);
    let engine = world.script.engine();
    let patience = Patience::default();
    let proxy = world
        .builder(&engine)
        .checkpoints(EAGER)
        .patience(patience)
        .build()
        .unwrap();
    swap(&proxy);
    proxy.call("hold", args![16]).unwrap();
    let error = proxy.prepare_standby().unwrap_err();
    assert!(matches!(error, Error::StateExceedsBudget { .. }), "{error}");
    assert_eq!(proxy.debug_info().checkpoints_rejected, 0);
}

/// Replaces a third of twelve counters per round, and calls `each` after it.
fn churn(proxy: &Proxy, rounds: usize, mut each: impl FnMut()) {
    let mut alive: Vec<_> = (0..12).map(|_| counter(proxy)).collect();
    for _ in 0..rounds {
        for one in alive.drain(..4) {
            proxy.call("counter_free", args![one]).unwrap();
        }
        alive.extend((0..4).map(|_| counter(proxy)));
        each();
    }
    for one in alive {
        assert_eq!(value(proxy, one), 0);
    }
}

#[test]
fn chained_checkpoints_keep_no_more_entries_than_the_live_state_allows() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, ONCE);
    let mut most = 0;
    churn(&proxy, 50, || {
        most = most.max(proxy.checkpoint().unwrap().entries);
    });
    // Twice the twelve that are alive, a constant, and one round.
    assert!(most <= 2 * 12 + 32 + 8, "{most}");
    assert_eq!(source(&proxy).0, Source::Checkpoint(SequenceNumber(412)));
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("checkpoint-verified"), 1);
    assert_eq!(world.events.count("checkpoint-rejected"), 0);
}

/// Each tail is shorter than one may be, and longer than the one before.
#[test]
fn tails_that_are_long_together_renew_the_checkpoint() {
    let world =
        World::new()
            .checkpointed()
            .func("slow_step", "", "role = \"mutate\"", |guest, _| {
                std::thread::sleep(Duration::from_millis(5));
                guest.count("steps");
                Ok(vec![])
            });
    let policy = CheckpointPolicy {
        tail_replay_max: Duration::from_millis(100),
        ..CheckpointPolicy::default()
    };
    let (proxy, _) = build(&world, policy);
    let mut most = 0;
    for _ in 0..20 {
        for _ in 0..2 {
            proxy.call("slow_step", args![]).unwrap();
        }
        most = most.max(proxy.prepare_standby().unwrap().entries);
        proxy.swap().unwrap();
    }
    // 2 + 4 + 6 + 8 steps take 100 ms, and 20 alone would.
    assert!(most <= 10, "{most}");
    assert_eq!(world.events.count("checkpoint-rejected"), 0);
}

#[test]
fn standbys_that_renew_their_checkpoint_keep_no_more_either() {
    let world = World::new().checkpointed();
    let (proxy, _) = build(&world, EAGER);
    let mut most = 0;
    churn(&proxy, 50, || {
        swap(&proxy);
        let newest = proxy.debug_info().checkpoint.expect("there is one");
        most = most.max(newest.entries);
    });
    assert!(most <= 2 * 12 + 32 + 8, "{most}");
    assert_eq!(world.events.count("checkpoint-rejected"), 0);
}
