//! A state that has grown holes: standbys from a checkpoint would begin near the limit, and those
//! made from nothing do not. And a state that does not fit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine_api::{Caller, Error as EngineError, MemoryIndex, PAGE_BYTES, Trap, Val};
use proxy_core::{CallError, Error, Handle, Proxy, SequenceNumber, Source, args};

use super::world::{EAGER, World, swap, until};
use crate::fake::{FakeEngine, FakeInstance, address};

pub(super) fn hold(proxy: &Proxy, pages: i32) -> Handle {
    let held = proxy.call("hold", args![pages]).unwrap();
    held.handle().unwrap()
}

/// The checkpoint has 17 of 32 pages, for an object that was freed since. The state has nine.
fn with_a_hole(world: &World) -> (Proxy, FakeEngine) {
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(EAGER);
    let proxy = builder.build().unwrap();
    let large = hold(&proxy, 16);
    swap(&proxy);
    proxy.call("hold_free", args![large]).unwrap();
    hold(&proxy, 8);
    (proxy, engine)
}

#[test]
fn a_standby_that_a_checkpoint_makes_too_large_is_made_from_nothing() {
    let world = World::new().checkpointed().holding().pages(32);
    let (proxy, _) = with_a_hole(&world);
    let prepared = proxy.prepare_standby().unwrap();
    assert_eq!(prepared.source, Source::Replay);
    assert_eq!(prepared.memory, 9 * PAGE_BYTES);
    let newest = proxy.debug_info().checkpoint.expect("it was replaced");
    assert_eq!(newest.sequence, SequenceNumber(3));
    assert_eq!(newest.entries, 1);
    proxy.swap().unwrap();
    let info = proxy.debug_info();
    assert!(!info.state_exceeds_budget);
    assert_eq!((info.checkpoints_rejected, info.journal_entries), (0, 1));
    assert_eq!(
        proxy.prepare_standby().unwrap().source,
        Source::Checkpoint(SequenceNumber(3))
    );
}

#[test]
fn so_is_one_that_replaces_a_dead_generation() {
    let armed = Arc::new(AtomicBool::new(false));
    let bomb = Arc::clone(&armed);
    let world = World::new()
        .checkpointed()
        .holding()
        .pages(32)
        .booming(move |_| bomb.swap(false, Ordering::SeqCst));
    let (proxy, engine) = with_a_hole(&world);
    armed.store(true, Ordering::SeqCst);
    proxy.call("boom", args![]).unwrap();
    assert_eq!(proxy.memory_bytes(), 9 * PAGE_BYTES);
    assert!(
        proxy.debug_info().checkpoint.is_none(),
        "not in the way of the call"
    );
    // It is made in slices, each as long as a tick may take.
    until("it is made when there is time", || {
        proxy.tick(std::time::Instant::now());
        proxy.debug_info().checkpoint.is_some()
    });
    assert!(engine.probe().peak() <= 3);
}

/// Takes at least eight pages from the engine at a time, and hands out single ones.
fn take(guest: &mut FakeInstance, pages: i64) -> Result<Vec<Val>, EngineError> {
    let at = guest.counters.get("at").copied().unwrap_or(0);
    let end = guest.counters.get("end").copied().unwrap_or(0);
    let at = if at + pages > end {
        let grown = guest.memory_grow(MemoryIndex(0), u64::try_from(pages.max(8)).unwrap());
        let at = grown.map_err(|_| EngineError::Trap(Trap::Unreachable))?;
        let at = i64::try_from(at).unwrap();
        guest.counters.insert("end", at + pages.max(8));
        at
    } else {
        at
    };
    guest.counters.insert("at", at + pages);
    Ok(vec![Val::I32(i32::try_from(at * 65_536).unwrap())])
}

#[test]
fn a_standby_that_runs_out_of_memory_is_no_divergence() {
    let world = World::new()
        .pages(14)
        .func(
            "region_new",
            "(param i32) (result i32)",
            "role = \"create\"\nresults = [\"handle:region\"]",
            |guest, args| take(guest, i64::from(address(&args[0]))),
        )
        .func(
            "region_free",
            "(param i32)",
            "role = \"free\"\nargs = [\"handle:region\"]",
            |guest, args| {
                let at = i64::from(address(&args[0]) / 65_536);
                guest.counters.insert("at", at);
                Ok(vec![])
            },
        );
    let (proxy, _) = world.build();
    let region = |pages: i32| {
        let made = proxy.call("region_new", args![pages]).unwrap();
        made.handle().unwrap()
    };
    let first = region(10);
    proxy.call("region_free", args![first]).unwrap();
    region(4);
    region(6);
    let error = proxy.prepare_standby().unwrap_err();
    let Error::StandbyOutOfMemory { entry, export, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((*entry, &**export), (SequenceNumber(4), "region_new"));
    assert!(
        error.to_string().contains("raise the memory limit"),
        "{error}"
    );
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.failures), (0, 1));
    assert_eq!(world.events.count("replay-divergence"), 0);
}

#[test]
fn calls_that_cannot_fit_beside_the_live_state_cost_no_rebuild_each() {
    let (proxy, engine) = World::new().holding().pages(32).build();
    let held: Vec<_> = (0..31).map(|_| hold(&proxy, 1)).collect();
    let error = proxy.call("hold", args![1]).unwrap_err();
    let is_out_of_memory = matches!(error, Error::Call(CallError::OutOfMemory { .. }));
    assert!(is_out_of_memory, "{error}");
    let made = engine.probe().made();
    for _ in 0..50 {
        let error = proxy.call("hold", args![1]).unwrap_err();
        let Error::StateExceedsBudget { objects, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(*objects, [("hold".to_owned(), 31)]);
    }
    assert!(engine.probe().made() <= made + 1);
    assert_eq!(proxy.debug_info().objects, 31, "nothing is lost");
    for held in &held[..4] {
        proxy.call("hold_free", args![*held]).unwrap();
    }
    // The generation that serves has no room for it, and the one after has.
    let _ = proxy.call("hold", args![1]);
    hold(&proxy, 1);
}

#[test]
fn a_checkpoint_whose_tail_is_longer_than_a_replay_is_forgotten() {
    let world = World::new()
        .checkpointed()
        .func(
            "slow_new",
            "(result i32)",
            "role = \"create\"\nresults = [\"handle:counter\"]",
            |guest, _| {
                std::thread::sleep(std::time::Duration::from_millis(5));
                let address = guest.alloc(16)?;
                guest.objects.insert(address, 0);
                Ok(vec![Val::from(address)])
            },
        )
        .func(
            "slow_free",
            "(param i32)",
            "role = \"free\"\nargs = [\"handle:counter\"]",
            |_, _| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                Ok(vec![])
            },
        );
    let (proxy, _) = world.build_eager();
    let slow = || proxy.call("slow_new", args![]).unwrap().handle().unwrap();
    let old: Vec<_> = (0..4).map(|_| slow()).collect();
    swap(&proxy);
    for one in old {
        proxy.call("slow_free", args![one]).unwrap();
    }
    slow();
    let prepared = proxy.prepare_standby().unwrap();
    assert_eq!((prepared.source, prepared.entries), (Source::Replay, 1));
}
