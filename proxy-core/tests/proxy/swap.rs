//! A swap drops no call, loses no effect, and waits only for a journaled call in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use proxy_core::{CallError, Error, Proxy, SwapState, args};

use super::world::{
    PATIENCE, Stop, World, add, counter, hash, leak_pages, swap, until, until_live, value, within,
};
use crate::fake::{Gate, number};

/// A world whose second instantiation waits at the gate.
fn slow_standby(gate: &Arc<Gate>) -> World {
    let gate = Arc::clone(gate);
    World::new().script(|script| {
        script.before_instantiate(move |number| {
            if number == 2 {
                gate.pass_host();
            }
            Ok(())
        })
    })
}

#[test]
fn a_call_journaled_during_a_preparation_is_in_the_tail() {
    let gate = Gate::closed();
    let (proxy, _) = slow_standby(&gate).build();
    let one = counter(&proxy);
    let preparing = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.prepare_standby()
    });
    gate.wait_for(1);
    assert_eq!(proxy.debug_info().state, SwapState::Preparing);
    add(&proxy, one, 7);
    let late = counter(&proxy);
    assert_eq!(value(&proxy, one), 7, "calls go on meanwhile");
    gate.open();
    let prepared = preparing.join().unwrap().unwrap();
    assert_eq!(prepared.entries, 3);
    add(&proxy, late, 5);
    add(&proxy, one, 1);
    proxy.swap().unwrap();
    assert_eq!((value(&proxy, one), value(&proxy, late)), (8, 5));
}

#[test]
fn preparing_again_brings_the_same_standby_up_to_date() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    let first = proxy.prepare_standby().unwrap();
    add(&proxy, one, 3);
    let second = proxy.prepare_standby().unwrap();
    assert_eq!(first.generation, second.generation);
    assert_eq!((second.entries, second.duration), (1, Duration::ZERO));
    assert_eq!(engine.probe().made(), 2);
    assert_eq!(proxy.swap().unwrap().to, second.generation);
    assert_eq!(value(&proxy, one), 3);
}

#[test]
fn a_swap_gives_leaked_memory_back() {
    let (proxy, engine) = World::new().leaking().build();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    let baseline = proxy.memory_bytes();
    for _ in 0..20 {
        leak_pages(&proxy, 8);
        proxy.prepare_standby().unwrap();
        let swapped = proxy.swap().unwrap();
        assert_eq!(swapped.memory_before, baseline + 8 * 65_536);
        assert_eq!(swapped.memory_after, baseline);
        assert_eq!(proxy.memory_bytes(), baseline);
        until_live(&proxy, &engine, 1);
    }
    assert_eq!(value(&proxy, one), 1);
    assert_eq!(engine.probe().peak(), 2);
}

#[test]
fn eight_threads_lose_nothing_under_swaps() {
    const SWAPS: usize = 60;
    let (proxy, engine) = World::new().chain(64).build();
    let total = counter(&proxy);
    let stop = AtomicBool::new(false);
    let mut steps: Vec<(i64, i64, i64)> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|caller| {
                let (proxy, stop) = (&proxy, &stop);
                scope.spawn(move || {
                    let chain = proxy.typed::<(i64,), (i64, i64)>("chain_step").unwrap();
                    let call = |call: i64| {
                        let arg = caller << 32 | call;
                        let (hash, index) = chain.call((arg,)).unwrap();
                        add(proxy, total, 1);
                        assert!(value(proxy, total) > 0);
                        (index, arg, hash)
                    };
                    // Ten journaled calls per swap on average, and pure calls until the swap comes:
                    // journaled calls alone would outrun a standby on two cores.
                    let paced = |call: &i64| {
                        while proxy.debug_info().swaps < call.cast_unsigned() / 10
                            && !stop.load(Ordering::Relaxed)
                        {
                            value(proxy, total);
                        }
                        !stop.load(Ordering::Relaxed)
                    };
                    (0..i64::MAX)
                        .take_while(paced)
                        .map(call)
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let stopping = Stop(&stop);
        let end = Instant::now() + PATIENCE;
        while proxy.debug_info().swaps < SWAPS as u64 && Instant::now() < end {
            match proxy.prepare_standby() {
                Ok(_) => drop(proxy.swap().unwrap()),
                Err(Error::StillDraining) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
            assert!(engine.probe().live() <= 3);
        }
        drop(stopping);
        assert!(proxy.debug_info().swaps >= SWAPS as u64);
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    });
    steps.sort_unstable();
    let oracle = (0..).zip(&steps).scan(0, |chain, (index, (_, arg, _))| {
        *chain = hash(*chain, *arg);
        Some((index, *arg, *chain))
    });
    assert_eq!(steps, oracle.collect::<Vec<_>>());
    assert_eq!(usize::try_from(value(&proxy, total)).unwrap(), steps.len());
    let info = proxy.debug_info();
    assert_eq!((info.swaps, info.divergences), (SWAPS as u64, 0));
    assert!(engine.probe().peak() <= 3);
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_pure_call_that_lasts_does_not_delay_a_swap() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking(&gate).build();
    let one = counter(&proxy);
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap().i32().unwrap()
    });
    gate.wait_for(1);
    swap(&proxy);
    assert_eq!(proxy.debug_info().state, SwapState::Draining);
    add(&proxy, one, 2);
    assert_eq!(
        value(&proxy, one),
        2,
        "new calls are served by the new generation"
    );
    assert_eq!(engine.probe().live(), 2);
    assert!(!blocked.is_finished());
    gate.open();
    assert_eq!(blocked.join().unwrap(), 1, "it ended where it began");
    assert_eq!(proxy.call("block", args![]).unwrap().i32().unwrap(), 2);
    until_live(&proxy, &engine, 1);
    assert_eq!(proxy.debug_info().state, SwapState::Idle);
}

#[test]
fn an_old_generation_is_freed_by_its_last_call_without_a_supervisor() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking(&gate).build();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap()
    });
    gate.wait_for(1);
    swap(&proxy);
    gate.open();
    blocked.join().unwrap();
    assert_eq!(engine.probe().live(), 1);
}

#[test]
fn callers_behind_a_long_call_move_to_the_new_generation_at_once() {
    let gate = Gate::closed();
    let (proxy, _) = World::new().blocking(&gate).build();
    let one = counter(&proxy);
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap().i32().unwrap()
    });
    gate.wait_for(1);
    let waiting: Vec<_> = (0..4)
        .map(|caller| {
            let proxy = proxy.clone();
            thread::spawn(move || {
                if caller % 2 == 0 {
                    add(&proxy, one, 1);
                }
                value(&proxy, one)
            })
        })
        .collect();
    // Most likely they wait by now. If one is late, the case is only easier.
    thread::sleep(Duration::from_millis(20));
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    swap(&proxy);
    for waiting in waiting {
        assert!((0..=2).contains(&waiting.join().unwrap()));
    }
    assert_eq!(value(&proxy, one), 2);
    assert!(!blocked.is_finished());
    gate.open();
    assert_eq!(blocked.join().unwrap(), 1);
}

#[test]
fn a_journaled_call_in_flight_is_waited_for() {
    let gate = Gate::new();
    let (proxy, _) = World::new().blocking_journaled(&gate).build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    gate.close();
    let journaled = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block_add", args![one, 40])
    });
    gate.wait_for(1);
    let swapped = Arc::new(AtomicBool::new(false));
    let swapping = thread::spawn({
        let (proxy, swapped) = (proxy.clone(), Arc::clone(&swapped));
        move || {
            let outcome = proxy.swap();
            swapped.store(true, Ordering::SeqCst);
            outcome
        }
    });
    thread::sleep(Duration::from_millis(20));
    assert!(!swapped.load(Ordering::SeqCst));
    assert_eq!(proxy.debug_info().generation, 1);
    gate.open();
    journaled.join().unwrap().unwrap();
    swapping.join().unwrap().unwrap();
    assert_eq!(proxy.debug_info().generation, 2);
    assert_eq!(value(&proxy, one), 40);
}

#[test]
fn a_journaled_caller_that_waits_out_a_swap_is_applied_once() {
    let gate = Gate::closed();
    let world = World::new().blocking(&gate);
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap()
    });
    gate.wait_for(1);
    let adders: Vec<_> = (0..8)
        .map(|_| {
            let proxy = proxy.clone();
            thread::spawn(move || add(&proxy, one, 1))
        })
        .collect();
    swap(&proxy);
    for adder in adders {
        adder.join().unwrap();
    }
    assert_eq!(value(&proxy, one), 8);
    assert_eq!(proxy.journal_digests().len(), 9);
    gate.open();
    blocked.join().unwrap();
}

#[test]
fn a_standby_catches_up_with_callers_who_journal_without_pause() {
    const ROUNDS: i32 = 5_000;
    let (proxy, engine) = World::new().build();
    let kept = counter(&proxy);
    let tails: Vec<usize> = thread::scope(|scope| {
        let callers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    for _ in 0..ROUNDS {
                        let short = counter(&proxy);
                        add(&proxy, short, 1);
                        proxy.call("counter_free", args![short]).unwrap();
                    }
                    add(&proxy, kept, ROUNDS);
                })
            })
            .collect();
        let mut tails = Vec::new();
        while callers.iter().all(|caller| !caller.is_finished()) {
            match proxy.prepare_standby() {
                Ok(_) => tails.push(proxy.swap().unwrap().tail),
                Err(Error::StillDraining) => thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        tails
    });
    assert_eq!(value(&proxy, kept), 8 * ROUNDS);
    assert!(
        !tails.is_empty(),
        "no swap took place while callers went on"
    );
    assert_eq!(proxy.debug_info().objects, 1);
    until_live(&proxy, &engine, 1);
}

#[test]
fn a_standby_slower_than_its_callers_catches_up_all_the_same() {
    const CALLS_MAX: usize = 300_000;
    let world = World::new().func("slow", "", "role = \"mutate\"", |guest, _| {
        let end = Instant::now() + Duration::from_micros(10);
        while guest.number > 1 && Instant::now() < end {
            std::hint::spin_loop();
        }
        Ok(vec![])
    });
    let (proxy, _) = world.build();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    for _ in (0..CALLS_MAX).take_while(|_| !stop.load(Ordering::Relaxed)) {
                        proxy.call("slow", args![]).unwrap();
                    }
                })
            })
            .collect();
        let stopping = Stop(&stop);
        until("callers have begun", || proxy.calls() > 100);
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let is_in_time = callers.iter().all(|caller| !caller.is_finished());
        drop(stopping);
        assert!(
            is_in_time,
            "it ran after them until they stopped by themselves"
        );
    });
}

#[test]
fn the_pause_holds_back_journaled_calls_only() {
    let gates = [Gate::closed(), Gate::closed()];
    let world = gates
        .iter()
        .zip(["mark_a", "mark_b"])
        .fold(World::new(), |world, (gate, name)| {
            let gate = Arc::clone(gate);
            world.func(name, "", "role = \"mutate\"", move |guest, _| {
                if guest.number == 2 {
                    gate.pass(guest)?;
                }
                Ok(vec![])
            })
        });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    proxy.call("mark_a", args![]).unwrap();
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.swap()
    });
    // The standby catches up with one entry while the next is journaled, which becomes the tail.
    gates[0].wait_for(1);
    proxy.call("mark_b", args![]).unwrap();
    gates[0].open();
    gates[1].wait_for(1);
    let journaled = thread::spawn({
        let proxy = proxy.clone();
        move || add(&proxy, one, 5)
    });
    thread::sleep(Duration::from_millis(20));
    let pure = proxy.clone();
    assert_eq!(
        within("a pure call", Duration::from_secs(5), move || value(
            &pure, one
        )),
        0
    );
    assert!(!journaled.is_finished());
    gates[1].open();
    journaled.join().unwrap();
    assert_eq!(swapping.join().unwrap().unwrap().tail, 1);
    assert_eq!(value(&proxy, one), 5);
}

#[test]
fn no_second_standby_is_made_while_a_generation_drains() {
    let gate = Gate::closed();
    let (proxy, engine) = World::new().blocking(&gate).build();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block", args![]).unwrap()
    });
    gate.wait_for(1);
    swap(&proxy);
    assert!(matches!(proxy.prepare_standby(), Err(Error::StillDraining)));
    assert_eq!(engine.probe().live(), 2);
    assert_eq!(proxy.debug_info().failures, 0, "it counts as no failure");
    gate.open();
    blocked.join().unwrap();
    swap(&proxy);
    assert_eq!(engine.probe().peak(), 2);
}

#[test]
fn there_is_nothing_to_swap_to_without_a_standby() {
    let (proxy, _) = World::new().build();
    assert!(matches!(proxy.swap(), Err(Error::NoStandby)));
    swap(&proxy);
    assert!(matches!(proxy.swap(), Err(Error::NoStandby)));
    assert_eq!(proxy.debug_info().swaps, 1);
}

#[test]
fn several_threads_may_prepare_and_swap_at_once() {
    let (proxy, engine) = World::new().build();
    let one = counter(&proxy);
    let work = |proxy: &Proxy| {
        for _ in 0..50 {
            add(proxy, one, 1);
            match proxy.prepare_standby() {
                Ok(_) | Err(Error::StillDraining) => {}
                Err(error) => panic!("{error}"),
            }
            match proxy.swap() {
                Ok(_) | Err(Error::NoStandby) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| work(&proxy));
        }
    });
    assert_eq!(value(&proxy, one), 200);
    assert!(engine.probe().peak() <= 3);
    until_live(&proxy, &engine, 1);
}

#[test]
fn looking_at_a_proxy_waits_for_nobody() {
    let (instantiating, journaling) = (Gate::closed(), Gate::closed());
    let world = slow_standby(&instantiating).blocking_journaled(&journaling);
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let look = |proxy: &Proxy| {
        let proxy = proxy.clone();
        within("looking", PATIENCE, move || {
            (
                proxy.debug_info(),
                proxy.memory_bytes(),
                proxy.engine(),
                proxy.memory_limit_bytes(),
            )
        })
    };
    let preparing = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.prepare_standby()
    });
    instantiating.wait_for(1);
    let journaled = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block_add", args![one, 1])
    });
    journaling.wait_for(1);
    let (info, memory, engine, _) = look(&proxy);
    assert_eq!(info.state, SwapState::Preparing);
    assert_eq!((info.memory, info.engine), (memory, engine));
    assert!(!preparing.is_finished() && !journaled.is_finished());
    instantiating.open();
    journaling.open();
    journaled.join().unwrap().unwrap();
    preparing.join().unwrap().unwrap();
    until("the standby is ready", || {
        look(&proxy).0.state == SwapState::Ready
    });
    assert!(look(&proxy).0.standby_memory.is_some());
}

/// `mark(n)` is held at the n-th gate by every instance but the first.
fn marked(gates: [Arc<Gate>; 2]) -> World {
    World::new().func(
        "mark",
        "(param i32)",
        "role = \"mutate\"",
        move |guest, args| {
            if guest.number > 1 {
                gates[usize::try_from(number(&args[0])).unwrap()].pass(guest)?;
            }
            Ok(vec![])
        },
    )
}

#[test]
fn a_pure_call_with_a_stale_handle_does_not_wait_for_a_swap() {
    let gates = [Gate::closed(), Gate::closed()];
    let (proxy, _) = marked(gates.clone()).build();
    let (kept, freed) = (counter(&proxy), counter(&proxy));
    proxy.call("counter_free", args![freed]).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.call("mark", args![0]).unwrap();
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.swap()
    });
    // The standby catches up with the first mark; the second is left to the swap itself.
    gates[0].wait_for(1);
    proxy.call("mark", args![1]).unwrap();
    gates[0].open();
    gates[1].wait_for(1);
    let calls = thread::spawn({
        let proxy = proxy.clone();
        move || {
            (
                proxy.call("counter_value", args![freed]),
                value(&proxy, kept),
            )
        }
    });
    let end = Instant::now() + PATIENCE;
    while !calls.is_finished() && Instant::now() < end {
        thread::yield_now();
    }
    assert!(calls.is_finished(), "it waits for the swap");
    gates[1].open();
    let (stale, kept) = calls.join().unwrap();
    assert!(matches!(
        stale,
        Err(Error::Call(CallError::FreedHandle { .. }))
    ));
    assert_eq!(kept, 0);
    assert_eq!(swapping.join().unwrap().unwrap().tail, 1);
}
