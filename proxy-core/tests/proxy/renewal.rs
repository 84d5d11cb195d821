//! Chains of checkpoints: what each tail leaves in the guest's memory does not add up.

use std::thread;
use std::time::{Duration, Instant};

use engine_api::{MemoryIndex, PAGE_BYTES, Val};
use proxy_core::{
    CheckpointPolicy, Handle, History, Prepared, Proxy, SequenceNumber, Source, args,
};

use super::crowded::hold;
use super::world::{EAGER, World};
use crate::fake::FakeEngine;

/// A newer checkpoint for every tail, and no comparison.
const CHAINED: CheckpointPolicy = CheckpointPolicy {
    verify_every: 0,
    ..EAGER
};

/// The pages of the state, the memory's first one included.
const STATE: u64 = 65;

/// The pages that the end of a pool loses.
const LOST: u64 = 4;

/// Whether it is within a hundredth and a half of the state's size.
fn is_flat(bytes: u64) -> bool {
    bytes <= (STATE + 1) * PAGE_BYTES
}

/// `state_new()` takes `takes`, and 64 pages. The end of a `pool` loses four.
fn pooled(takes: Duration) -> World {
    let create = |what: &str| format!("role = \"create\"\nresults = [\"handle:{what}\"]");
    World::new()
        .checkpointed()
        .holding()
        .pages(1024)
        .func(
            "state_new",
            "(result i32)",
            &create("state"),
            move |guest, _| {
                thread::sleep(takes);
                engine_api::Caller::memory_grow(guest, MemoryIndex(0), 64)?;
                Ok(vec![Val::from(guest.alloc(8)?)])
            },
        )
        .func("pool_new", "(result i32)", &create("pool"), |guest, _| {
            Ok(vec![Val::from(guest.alloc(8)?)])
        })
        .func(
            "pool_free",
            "(param i32)",
            "role = \"free\"\nargs = [\"handle:pool\"]",
            |guest, _| {
                engine_api::Caller::memory_grow(guest, MemoryIndex(0), LOST)?;
                Ok(vec![])
            },
        )
}

/// A proxy whose state takes so long, in its second generation, with a pool.
fn build(world: &World, policy: CheckpointPolicy) -> (Proxy, FakeEngine, Handle) {
    let engine = world.script.engine();
    let proxy = world.builder(&engine).checkpoints(policy).build().unwrap();
    proxy.call("state_new", args![]).unwrap();
    let pool = start(&proxy);
    swap(&proxy);
    assert!(is_flat(proxy.memory_bytes()));
    (proxy, engine, pool)
}

fn start(proxy: &Proxy) -> Handle {
    let pool = proxy.call("pool_new", args![]).unwrap();
    pool.handle().unwrap()
}

fn restart(proxy: &Proxy, pool: Handle) -> Handle {
    proxy.call("pool_free", args![pool]).unwrap();
    start(proxy)
}

fn swap(proxy: &Proxy) -> Prepared {
    let prepared = proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    prepared
}

const LONG: Duration = Duration::from_millis(100);

#[test]
fn what_pools_in_tails_lose_does_not_add_up_in_hundreds_of_swaps() {
    const SWAPS: usize = 400;
    // Much longer than a tail, however busy the machine is.
    let world = pooled(10 * LONG);
    let (proxy, _, mut pool) = build(&world, CHAINED);
    for round in 0..SWAPS {
        pool = restart(&proxy, pool);
        let prepared = swap(&proxy);
        assert!(matches!(prepared.source, Source::Checkpoint(_)));
        // That of its own tail.
        let most = (STATE + LOST) * PAGE_BYTES;
        assert!(prepared.memory <= most, "{prepared:?} in round {round}");
        proxy.tick(Instant::now());
    }
    // They are no reason to make all of the state again and again: that takes longer than they do.
    let made = world.events.count("checkpoint-taken");
    assert!(made <= SWAPS / 4, "{made} checkpoints");
    let info = proxy.debug_info();
    assert_eq!((info.failures, info.checkpoints_rejected), (0, 0));
}

#[test]
fn after_tails_that_took_long_enough_the_next_checkpoint_is_made_from_nothing() {
    let world = pooled(Duration::from_millis(5));
    let (proxy, _, mut pool) = build(&world, CHAINED);
    let first = proxy.debug_info().checkpoint.expect("there is one");
    let newest = || proxy.debug_info().checkpoint.expect("there is one");
    let end = Instant::now() + super::world::PATIENCE;
    while newest().sequence == first.sequence {
        assert!(Instant::now() < end, "none is made");
        pool = restart(&proxy, pool);
        swap(&proxy);
        for _ in 0..3 {
            proxy.tick(Instant::now());
        }
    }
    // The state and the pool, without what came and went.
    assert_eq!(newest().entries, 2);
    assert!(is_flat(newest().bytes), "{:?}", newest());
    assert_eq!(proxy.debug_info().journal_entries, 2);
}

#[test]
fn one_in_the_background_that_would_be_too_large_is_not_kept_and_not_made_again() {
    let world = pooled(LONG);
    let (proxy, engine, pool) = build(&world, CHAINED);
    let first = proxy.debug_info().checkpoint.expect("there is one");
    restart(&proxy, pool);
    for _ in 0..10 {
        proxy.tick(Instant::now());
    }
    let made = engine.probe().made();
    for _ in 0..100 {
        proxy.tick(Instant::now());
    }
    assert_eq!(engine.probe().made(), made);
    assert_eq!(proxy.debug_info().checkpoint, Some(first));
    assert_eq!(engine.probe().live(), 1);
    // A standby from the old one still has all of its tail.
    let prepared = swap(&proxy);
    assert_eq!(prepared.source, Source::Checkpoint(first.sequence));
    assert_eq!(prepared.entries, 2);
}

#[test]
fn a_checkpoint_on_demand_is_made_from_nothing_at_once() {
    for with_a_standby in [false, true] {
        let world = pooled(LONG);
        let (proxy, _, pool) = build(&world, CHAINED);
        restart(&proxy, pool);
        if with_a_standby {
            let prepared = proxy.prepare_standby().unwrap();
            assert!(!is_flat(prepared.memory));
        }
        let taken = proxy.checkpoint().unwrap();
        assert!(is_flat(taken.bytes), "{taken:?}");
        assert_eq!(taken.entries, 2);
    }
}

#[test]
fn a_state_in_the_making_is_continued_however_large_it_becomes() {
    let world = pooled(LONG);
    let (proxy, _, _) = build(&world, CHAINED);
    // The tail makes as much as there was: what that needs, no instance from nothing has shown yet.
    for new in [2_usize, 4, 8, 16, 32] {
        for _ in 0..new {
            hold(&proxy, 4);
        }
        assert_eq!(swap(&proxy).entries, new);
        assert_eq!(swap(&proxy).entries, 0);
    }
    assert_eq!(proxy.debug_info().journal_entries, 64);
}

#[test]
fn with_a_base_nothing_can_be_made_from_nothing_and_chains_go_on() {
    let policy = CheckpointPolicy {
        history: History::Checkpoint,
        ..CHAINED
    };
    let world = pooled(LONG);
    let (proxy, _, mut pool) = build(&world, policy);
    proxy.compact().unwrap();
    let folded = proxy.debug_info().history_base;
    assert_eq!(folded, Some(SequenceNumber(2)));
    proxy.call("state_new", args![]).unwrap();
    swap(&proxy);
    for round in 1..=20 {
        pool = restart(&proxy, pool);
        // No tail becomes long.
        assert_eq!(swap(&proxy).entries, 2);
        let newest = proxy.debug_info().checkpoint.expect("there is one");
        assert_eq!(newest.sequence, SequenceNumber(3 + 2 * round));
    }
}
