//! Work on checkpoints beside swaps: verifications that take long, and what becomes of them.

use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Error as EngineError, Val};
use proxy_core::{
    CheckpointPolicy, Event, History, Proxy, Reason, SequenceNumber, Source, Supervisor, SwapState,
    args,
};

use super::world::{World, instance_number, leak_pages, swap, until};
use crate::fake::FakeEngine;

/// One checkpoint, compared after its first use.
const ONCE: CheckpointPolicy = CheckpointPolicy {
    enabled: true,
    tail_replay_max: Duration::MAX,
    verify_every: 1,
    history: History::Full,
};

/// A newer one for every tail, compared after the first use of any.
const CHAINED: CheckpointPolicy = CheckpointPolicy {
    tail_replay_max: Duration::ZERO,
    ..ONCE
};

/// The entries of a state that takes long to replay: each takes more than a slice of work aside.
pub(super) const ENTRIES: u64 = 12;

/// `build()` takes a while, and `leak(pages)` leaks. `trace` is what `build` leaves in memory.
pub(super) fn slow(trace: impl Fn(u64) -> i32 + Send + Sync + 'static) -> World {
    World::new().checkpointed().leaking().pages(32).func(
        "build",
        "(result i32)",
        "role = \"mutate\"\nresults = [\"value\"]",
        move |guest, _| {
            thread::sleep(Duration::from_millis(15));
            guest.write(2048, &trace(guest.number).to_le_bytes())?;
            let steps = guest.count("steps");
            Ok(vec![Val::I32(i32::try_from(steps).expect("few steps"))])
        },
    )
}

/// A proxy whose checkpoint is due for verification, in its third generation.
fn due(world: &World, policy: CheckpointPolicy) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(policy);
    let proxy = builder.build().expect("the world is sound");
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    swap(&proxy);
    swap(&proxy);
    assert_eq!(proxy.debug_info().checkpoint_uses, 1);
    world.events.clear();
    (proxy, engine)
}

/// Leaks until a standby is due, lets upkeep look once, and the same for the swap.
pub(super) fn leak_to_a_swap(proxy: &Proxy) {
    let generation = proxy.debug_info().generation;
    leak_pages(proxy, 23);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    leak_pages(proxy, 6);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().generation, generation + 1);
}

/// Ticks until one event of this name was sent.
#[track_caller]
pub(super) fn tick_until(proxy: &Proxy, world: &World, event: &str) {
    for _ in 0..10 * ENTRIES {
        if world.events.count(event) > 0 {
            return;
        }
        proxy.tick(Instant::now());
    }
    panic!("no {event} in {:?}", world.events.names());
}

#[test]
fn swaps_do_not_wait_for_a_verification_that_takes_longer_than_filling_the_memory() {
    let world = slow(|_| 0);
    let (proxy, engine) = due(&world, ONCE);
    proxy.tick(Instant::now());
    for _ in 0..3 {
        leak_to_a_swap(&proxy);
        assert_eq!(world.events.count("checkpoint-verified"), 0);
        let swapped = proxy.debug_info().last_swap.expect("there was one");
        assert_eq!(swapped.reason, Reason::Threshold);
    }
    tick_until(&proxy, &world, "checkpoint-verified");
    let info = proxy.debug_info();
    assert_eq!((info.emergencies, info.checkpoints_rejected), (0, 0));
    assert_eq!(info.checkpoint_uses, 0);
    // One beside active, standby and draining.
    assert!(engine.probe().peak() <= 4);
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn a_supervisor_goes_on_with_a_verification_without_waiting_for_its_interval() {
    let world = slow(|_| 0);
    let (proxy, _) = due(&world, ONCE);
    let _supervisor = Supervisor::start(&proxy, Duration::from_hours(1)).unwrap();
    until("the checkpoint is verified", || {
        world.events.count("checkpoint-verified") == 1
    });
    leak_pages(&proxy, 20);
    until("a standby is prepared", || {
        leak_pages(&proxy, 1);
        world.events.count("standby-prepare-complete") > 0
    });
}

#[test]
fn a_verification_counts_for_the_checkpoint_that_continued_the_compared_one() {
    let world = slow(|_| 0);
    let (proxy, _) = due(&world, CHAINED);
    proxy.tick(Instant::now());
    proxy.call("build", args![]).unwrap();
    leak_to_a_swap(&proxy);
    let newer = proxy.debug_info().checkpoint.expect("there is one");
    assert_eq!(newer.sequence, SequenceNumber(ENTRIES + 1));
    tick_until(&proxy, &world, "checkpoint-verified");
    let events = world.events.all();
    let verified = events.iter().find_map(|event| match event {
        Event::CheckpointVerified { sequence, .. } => Some(*sequence),
        _ => None,
    });
    assert_eq!(verified, Some(SequenceNumber(ENTRIES)));
    assert_eq!(proxy.debug_info().checkpoint_uses, 0);
    assert_eq!(proxy.debug_info().checkpoint, Some(newer));
}

#[test]
fn a_checkpoint_goes_with_the_one_that_it_continued() {
    let world = slow(|number| i32::try_from(number).expect("few instances"));
    let (proxy, _) = due(&world, CHAINED);
    proxy.tick(Instant::now());
    proxy.call("build", args![]).unwrap();
    leak_to_a_swap(&proxy);
    assert!(proxy.debug_info().checkpoint.is_some());
    tick_until(&proxy, &world, "checkpoint-rejected");
    assert_eq!(proxy.debug_info().checkpoint, None);
    assert_eq!(proxy.prepare_standby().unwrap().source, Source::Replay);
}

#[test]
fn a_verification_makes_room_for_a_standby() {
    let world = slow(|_| 0).script(|script| {
        // The first four serve, and verify.
        script.before_instantiate(|number| match number {
            5 => Err(EngineError::Growth {
                current: 0,
                delta: 1,
            }),
            _ => Ok(()),
        })
    });
    let (proxy, engine) = due(&world, ONCE);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 2);
    leak_pages(&proxy, 23);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    assert_eq!(engine.probe().live(), 2, "active and standby");
    assert_eq!(world.events.count("checkpoint-error"), 1);
    assert_eq!(world.events.count("standby-prepare-error"), 0);
}

#[test]
fn by_hand_a_verification_takes_no_longer_than_a_preparation_may() {
    let world = slow(|_| 0);
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(ONCE);
    let proxy = builder
        .prepare_timeout(Duration::from_millis(1))
        .build()
        .unwrap();
    proxy.call("leak", args![0]).unwrap();
    swap(&proxy);
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    let _ = proxy.checkpoint().unwrap();
    swap(&proxy);
    swap(&proxy);
    assert_eq!(world.events.count("checkpoint-verified"), 0);
    tick_until(&proxy, &world, "checkpoint-verified");
}

#[test]
fn a_proxy_that_is_switched_off_or_shut_down_keeps_no_instance_aside() {
    let world = slow(|_| 0);
    let (proxy, engine) = due(&world, ONCE);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 2);
    proxy.set_enabled(false);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 1);
    proxy.set_enabled(true);
    proxy.tick(Instant::now());
    assert_eq!(engine.probe().live(), 2);
    assert!(proxy.shutdown());
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn a_checkpoint_in_the_background_is_made_across_swaps() {
    let world = slow(|_| 0);
    let engine = world.script.engine();
    let policy = CheckpointPolicy {
        tail_replay_max: Duration::from_millis(100),
        verify_every: 0,
        ..ONCE
    };
    let proxy = world.builder(&engine).checkpoints(policy).build().unwrap();
    proxy.call("build", args![]).unwrap();
    swap(&proxy);
    for _ in 0..ENTRIES {
        proxy.call("build", args![]).unwrap();
    }
    proxy.tick(Instant::now());
    assert_eq!(world.events.count("checkpoint-taken"), 1);
    leak_pages(&proxy, 23);
    world.events.clear();
    // The standby's tail is long: it brings a newer checkpoint, and the one aside is not needed.
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().state, SwapState::Ready);
    leak_pages(&proxy, 6);
    proxy.tick(Instant::now());
    assert_eq!(proxy.debug_info().emergencies, 0);
    for _ in 0..2 * ENTRIES {
        proxy.tick(Instant::now());
    }
    assert_eq!(engine.probe().live(), 1);
    let newest = proxy.debug_info().checkpoint.expect("there is one");
    assert_eq!(newest.sequence, SequenceNumber(ENTRIES + 1));
    assert_eq!(proxy.call("build", args![]).unwrap().i32().unwrap(), 13);
}

/// Instances leave other bytes, and `counter_new` has a fingerprint, which `odd` instances tell
/// otherwise.
fn unlike(odd: u64) -> World {
    slow(|number| i32::try_from(number).expect("few instances"))
        .script(crate::fake::Script::replays_unlike)
        .func("print", "(param i32) (result i32)", "role = \"pure\"", {
            move |guest, _| Ok(vec![Val::I32(i32::from(guest.number == odd))])
        })
        .func(
            "thing_new",
            "(result i32)",
            "role = \"create\"\nresults = [\"handle:thing\"]\nfingerprint = \"print\"",
            |guest, _| {
                assert!(instance_number(guest) > 0);
                Ok(vec![Val::from(guest.alloc(16)?)])
            },
        )
}

#[test]
fn a_module_that_does_not_replay_alike_is_verified_by_results_and_fingerprints() {
    for (odd, verified, rejected) in [(0, 1, 0), (5, 0, 1)] {
        let world = unlike(odd);
        let engine = world.script.engine();
        let proxy = world.builder(&engine).checkpoints(ONCE).build().unwrap();
        proxy.call("thing_new", args![]).unwrap();
        proxy.call("build", args![]).unwrap();
        swap(&proxy);
        swap(&proxy);
        // The fourth instance replays, and the fifth is what the checkpoint makes.
        let name = ["checkpoint-rejected", "checkpoint-verified"][verified];
        tick_until(&proxy, &world, name);
        assert_eq!(engine.probe().made(), 5);
        assert_eq!(world.events.count("checkpoint-verified"), verified);
        assert_eq!(world.events.count("checkpoint-rejected"), rejected);
        assert_eq!(engine.probe().live(), 1);
    }
}
