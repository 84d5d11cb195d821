//! Work on checkpoints beside swaps: verifications that take long, and what becomes of them.

use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{Error as EngineError, Val};
use proxy_core::{
    CheckpointPolicy, Event, Handle, History, Proxy, Reason, SequenceNumber, Source, Supervisor,
    SwapState, args,
};

use super::world::{World, counter, instance_number, leak_pages, swap, until};
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

/// Where `build` waits, in every instance, while it is closed.
#[derive(Default)]
struct Barrier {
    /// Whether it is closed, and how many calls wait at it.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Barrier {
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        state = self
            .changed
            .wait_while(state, |(closed, _)| *closed)
            .unwrap();
        state.1 -= 1;
    }

    fn close(&self) {
        self.state.lock().unwrap().0 = true;
    }

    fn open(&self) {
        self.state.lock().unwrap().0 = false;
        self.changed.notify_all();
    }

    fn wait_for_a_call(&self) {
        let state = self.state.lock().unwrap();
        drop(
            self.changed
                .wait_while(state, |(_, waiting)| *waiting == 0)
                .unwrap(),
        );
    }
}

/// A proxy in its second generation, whose checkpoint has the first of two `build`. After that,
/// so many counters were made.
fn behind(world: &World, counters: usize) -> (Proxy, FakeEngine, Vec<Handle>) {
    let engine = world.script.engine();
    let policy = CheckpointPolicy {
        verify_every: 0,
        ..CHAINED
    };
    let proxy = world.builder(&engine).checkpoints(policy).build().unwrap();
    proxy.call("build", args![]).unwrap();
    swap(&proxy);
    proxy.call("build", args![]).unwrap();
    let made = (0..counters).map(|_| counter(&proxy)).collect();
    world.events.clear();
    (proxy, engine, made)
}

#[test]
fn a_panic_aside_ends_the_verification_and_nothing_else() {
    let world = slow(|number| {
        assert_ne!(number, 4, "the instance that verifies");
        0
    });
    let (proxy, engine) = due(&world, ONCE);
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    until("it is told", || world.events.count("checkpoint-error") == 1);
    until("its instance is gone", || engine.probe().live() == 1);
    swap(&proxy);
    assert_eq!(world.events.count("checkpoint-verified"), 0);
    drop(supervisor);
}

#[test]
fn the_journal_keeps_nothing_for_an_instance_aside_that_panicked() {
    let world = slow(|number| {
        assert_ne!(number, 3, "the instance for the next checkpoint");
        0
    });
    let (proxy, engine, made) = behind(&world, 1);
    tick_until(&proxy, &world, "checkpoint-error");
    assert_eq!(engine.probe().live(), 1);
    proxy.call("counter_free", args![made[0]]).unwrap();
    assert_eq!(proxy.compact().unwrap().entries, 2, "the calls of `build`");
}

#[test]
fn what_an_instance_aside_has_begun_with_is_freed_in_it_whatever_is_compacted() {
    let barrier = Arc::new(Barrier::default());
    let world = slow({
        let barrier = Arc::clone(&barrier);
        move |_| {
            barrier.pass();
            0
        }
    });
    let (proxy, engine, made) = behind(&world, 9);
    barrier.close();
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    barrier.wait_for_a_call();
    for counter in made {
        proxy.call("counter_free", args![counter]).unwrap();
    }
    let compacted = proxy.compact();
    barrier.open();
    // It was at the first of its entries, has all up to the last, and needs what frees them.
    assert_eq!(compacted.unwrap().entries, 2 + 9 + 9);
    until("the checkpoint is taken", || {
        let newest = proxy.debug_info().checkpoint.expect("there is one");
        newest.sequence >= SequenceNumber(2 + 9)
    });
    until("its instance is gone", || engine.probe().live() == 1);
    drop(supervisor);
    swap(&proxy);
    assert_eq!(proxy.debug_info().divergences, 0);
    assert_eq!(proxy.debug_info().objects, 0);
}

#[test]
fn what_a_supervisor_leaves_aside_is_finished_by_hand() {
    for delay in 0..8 {
        let world = slow(|_| 0);
        let (proxy, engine) = due(&world, ONCE);
        let supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
        until("it is begun", || engine.probe().live() == 2);
        thread::sleep(Duration::from_millis(5 * delay));
        drop(supervisor);
        let _ = proxy.prepare_standby().unwrap();
        assert_eq!(world.events.count("checkpoint-verified"), 1);
    }
}

/// A supervised proxy whose verification has met a closed barrier in the middle of an entry.
fn stuck_aside() -> (World, Proxy, FakeEngine, Supervisor, Arc<Barrier>) {
    let barrier = Arc::new(Barrier::default());
    let world = slow({
        let barrier = Arc::clone(&barrier);
        move |_| {
            barrier.pass();
            0
        }
    });
    let (proxy, engine) = due(&world, ONCE);
    barrier.close();
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(1)).unwrap();
    barrier.wait_for_a_call();
    (world, proxy, engine, supervisor, barrier)
}

#[test]
fn a_preparation_and_a_swap_do_not_wait_for_the_end_of_one_entry_aside() {
    let (world, proxy, engine, _supervisor, barrier) = stuck_aside();
    for _ in 0..3 {
        until("a standby is prepared", || proxy.prepare_standby().is_ok());
        proxy.swap().unwrap();
    }
    // The supervisor swaps too.
    let generation = proxy.debug_info().generation;
    leak_pages(&proxy, 23);
    until("a standby is prepared", || {
        proxy.debug_info().state == SwapState::Ready
    });
    leak_pages(&proxy, 6);
    until("it is swapped in", || {
        proxy.debug_info().generation == generation + 1
    });
    assert_eq!(world.events.count("checkpoint-verified"), 0);
    barrier.open();
    until("the checkpoint is verified", || {
        world.events.count("checkpoint-verified") == 1
    });
    assert_eq!(proxy.debug_info().emergencies, 0);
    assert!(engine.probe().peak() <= 4);
}

#[test]
fn a_shutdown_gives_back_what_a_thread_has_aside() {
    let (_world, proxy, engine, supervisor, barrier) = stuck_aside();
    let ended = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.shutdown()
    });
    until("nothing is active", || {
        proxy.call("leak", args![0]).is_err()
    });
    assert!(!ended.is_finished());
    barrier.open();
    assert!(ended.join().unwrap());
    drop(supervisor);
    assert_eq!(engine.probe().live(), 0);
}

#[test]
fn what_is_recalled_from_a_thread_is_begun_anew_when_it_is_gone() {
    let (world, proxy, engine, _supervisor, barrier) = stuck_aside();
    proxy.set_enabled(false);
    // At the next tick nobody wants it any more, and its thread does not know yet.
    let checks = world.events.count("memory-check");
    until("upkeep has looked", || {
        world.events.count("memory-check") > checks + 1
    });
    proxy.set_enabled(true);
    let checks = world.events.count("memory-check");
    until("upkeep has looked", || {
        world.events.count("memory-check") > checks + 1
    });
    assert_eq!(engine.probe().live(), 2);
    barrier.open();
    until("the checkpoint is verified", || {
        world.events.count("checkpoint-verified") == 1
    });
    assert_eq!(proxy.debug_info().checkpoints_rejected, 0);
}
