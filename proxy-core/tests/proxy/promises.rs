//! One promise each, in the words of the fault that would break it. `docs/reliability.md` lists the
//! faults that were planted, and the test that catches each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::{FuncType, Val};
use proxy_core::{
    CallError, Durability, Error, Fault, Handle, Identity, JournalStore, MemoryJournal, Policy,
    Proxy, SequenceNumber, Value, args,
};

use super::held_store::HeldStore;
use super::history::FOLDING;
use super::world::{
    PATIENCE, World, add, counter, hash, instance_number, swap, until, value, within,
};
use crate::fake::Gate;

fn journal(world: &World) -> MemoryJournal {
    let policy: Policy = world.policy.parse().unwrap();
    MemoryJournal::new(Identity::of(&world.script.wasm(), &policy).unwrap())
}

fn open(world: &World, store: impl JournalStore + 'static) -> Proxy {
    let engine = world.script.engine();
    let builder = world.builder(&engine);
    let builder = builder.journal(Arc::new(store), Durability::Durable);
    builder.build().unwrap()
}

/// A proxy whose appends can be held.
fn held(world: &World) -> (Proxy, HeldStore) {
    let store = HeldStore::new(journal(world));
    (open(world, store.clone()), store)
}

fn chain(proxy: &Proxy, arg: i64) -> i64 {
    let results = proxy.call("chain_step", args![arg]).unwrap();
    match results.as_slice()[0] {
        Value::Val(Val::I64(chain)) => chain,
        ref other => panic!("{other:?}"),
    }
}

/// `mark()`: journaled, waits at the gate on every instance but the first.
fn marked(gate: &Arc<Gate>) -> World {
    let gate = Arc::clone(gate);
    World::new().func("mark", "", "role = \"mutate\"", move |guest, _| {
        if guest.number > 1 {
            gate.pass(guest)?;
        }
        Ok(vec![])
    })
}

/// Makes a journaled call on a thread of its own, whose record waits at the store.
fn waiting<R: Send + 'static>(
    proxy: &Proxy,
    store: &HeldStore,
    call: impl FnOnce(&Proxy) -> R + Send + 'static,
) -> thread::JoinHandle<R> {
    let before = proxy.debug_info().journal_last;
    store.gate.close();
    let proxy = proxy.clone();
    let calling = thread::spawn({
        let proxy = proxy.clone();
        move || call(&proxy)
    });
    until("the call is in the journal", || {
        proxy.debug_info().journal_last > before
    });
    calling
}

#[test]
fn a_swap_applies_all_of_the_tail_and_in_order() {
    for len in [1, 2, 3, 31] {
        let gate = Gate::closed();
        let (proxy, _) = marked(&gate).chain(0).build();
        let one = counter(&proxy);
        proxy.prepare_standby().unwrap();
        proxy.call("mark", args![]).unwrap();
        let swapping = thread::spawn({
            let proxy = proxy.clone();
            move || proxy.swap()
        });
        // What is journaled while the standby catches up is left to the swap itself.
        gate.wait_for(1);
        let mut expected = 0;
        for step in 0..len {
            expected = hash(expected, step);
            chain(&proxy, step);
        }
        gate.open();
        let swapped = swapping.join().unwrap().unwrap();
        assert_eq!(i64::try_from(swapped.tail).unwrap(), len);
        assert_eq!(chain(&proxy, len), hash(expected, len));
        assert_eq!(value(&proxy, one), 0);
        assert_eq!(proxy.debug_info().divergences, 0);
    }
}

#[test]
fn what_is_journaled_while_a_swap_waits_for_the_turn_is_on_the_new_generation() {
    let gate = Gate::closed();
    let (proxy, _) = World::new().chain(0).blocking_journaled(&gate).build();
    let one = counter(&proxy);
    proxy.prepare_standby().unwrap();
    let blocked = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.call("block_add", args![one, 5]).map(drop)
    });
    gate.wait_for(1);
    let swapping = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.swap()
    });
    let others: Vec<_> = (0..4)
        .map(|_| {
            let proxy = proxy.clone();
            thread::spawn(move || add(&proxy, one, 1))
        })
        .collect();
    gate.open();
    blocked.join().unwrap().unwrap();
    swapping.join().unwrap().unwrap();
    for other in others {
        other.join().unwrap();
    }
    assert_eq!(value(&proxy, one), 9);
    swap(&proxy);
    assert_eq!(value(&proxy, one), 9);
}

#[test]
fn a_call_that_the_guest_rejected_is_in_the_journal() {
    let world = World::new()
        .func(
            "spend",
            "(param i32) (result i32 i32)",
            "role = \"mutate\"\nargs = [\"handle:counter\"]\nmutates = [0]\nresults = [\"error\"]",
            |guest, args| {
                // It gives an error after it has changed something.
                *guest.object(&args[0])? += 7;
                Ok(vec![Val::I32(1), Val::I32(1)])
            },
        )
        .func(
            "bindgen_host_take_error",
            "(param i32) (result externref)",
            "role = \"pure\"",
            |_, _| Ok(vec![Val::ExternRef(None)]),
        );
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let one = counter(&proxy);
    let error = proxy.call("spend", args![one]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::Guest { .. })),
        "{error}"
    );
    assert_eq!(value(&proxy, one), 7);
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(2));
    swap(&proxy);
    assert_eq!(value(&proxy, one), 7);
    drop(proxy);
    let proxy = open(&world, store.lose_power());
    let one = proxy.object(one.sequence(), 0).unwrap();
    assert_eq!(value(&proxy, one), 7);
}

/// A freed object whose creation the standby has applied, and whose end it has not, must end there.
#[test]
fn compaction_keeps_what_the_standby_in_preparation_has_yet_to_free() {
    let gate = Gate::closed();
    let world = marked(&gate);
    let (proxy, _) = world.build();
    let gone = counter(&proxy);
    proxy.call("mark", args![]).unwrap();
    let preparing = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.prepare_standby().map(drop)
    });
    gate.wait_for(1);
    proxy.call("counter_free", args![gone]).unwrap();
    // One that the standby never knows can go.
    let passing = counter(&proxy);
    proxy.call("counter_free", args![passing]).unwrap();
    // So much that a compaction is due when the standby has applied the first entries.
    let kept: Vec<Handle> = (0..100).map(|_| counter(&proxy)).collect();
    gate.open();
    preparing.join().unwrap().unwrap();
    assert!(world.events.count("journal-compacted") > 0);
    proxy.swap().unwrap();
    let error = proxy.call("counter_value", args![gone]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    assert_eq!(proxy.debug_info().objects, kept.len());
    assert_eq!(value(&proxy, kept[99]), 0);
}

#[test]
fn an_evicted_call_with_an_outside_effect_is_not_repeated() {
    for (effects, rings) in [(true, 1), (false, 2)] {
        let gate = Gate::closed();
        let rung = Arc::new(AtomicUsize::new(0));
        let world = World::new()
            .booming(|number| number == 2)
            .import("ring", ("", FuncType::default()), {
                let rung = Arc::clone(&rung);
                move |_, _, _| {
                    rung.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
            })
            .func("ring_and_wait", "", "role = \"pure\"", {
                let gate = Arc::clone(&gate);
                move |guest, _| {
                    guest.host("env", "ring", &[])?;
                    if guest.number == 1 {
                        gate.pass(guest)?;
                    }
                    Ok(vec![])
                }
            });
        let world = if effects {
            world
        } else {
            world.effect_none("ring")
        };
        let (proxy, _) = world.build();
        let evicted = thread::spawn({
            let proxy = proxy.clone();
            move || proxy.call("ring_and_wait", args![]).map(drop)
        });
        gate.wait_for(1);
        swap(&proxy);
        // The new generation dies, and the rescue needs the old one's place.
        let other = proxy.clone();
        let rescued = within("the rescue", PATIENCE, move || other.call("boom", args![]));
        assert_eq!(rescued.unwrap().i32().unwrap(), 3);
        let outcome = evicted.join().unwrap();
        assert_eq!(rung.load(Ordering::SeqCst), rings);
        assert_eq!(outcome.is_err(), effects, "{outcome:?}");
    }
}

#[test]
fn a_call_is_acknowledged_after_its_flush() {
    let world = World::new();
    let (proxy, store) = held(&world);
    let one = counter(&proxy);
    let flushed = store.store.head().unwrap().position;
    let calling = waiting(&proxy, &store, move |proxy| {
        proxy.call("counter_add", args![one, 1]).map(drop)
    });
    until("the record is at the store", || {
        proxy.debug_info().journal_last == SequenceNumber(2)
    });
    // Were it acknowledged early, the caller would be gone by the time that pure calls are done.
    for _ in 0..1000 {
        value(&proxy, one);
    }
    assert!(!calling.is_finished());
    assert_eq!(store.store.head().unwrap().position, flushed);
    store.gate.open();
    calling.join().unwrap().unwrap();
    assert_eq!(store.store.head().unwrap().position, flushed.next());
}

#[test]
fn an_undone_call_leaves_no_entry() {
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let first = chain(&proxy, 1);
    let digests = proxy.journal_digests();
    store.inject(Fault::Full);
    proxy.call("chain_step", args![2_i64]).unwrap_err();
    assert_eq!(proxy.journal_digests(), digests);
    swap(&proxy);
    store.mend();
    until("there is room", || {
        proxy.call("counter_new", args![]).is_ok()
    });
    assert_eq!(chain(&proxy, 3), hash(first, 3));
}

#[test]
fn an_undone_call_leaves_no_change() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let one = counter(&proxy);
    add(&proxy, one, 3);
    store.inject(Fault::Full);
    proxy.call("counter_add", args![one, 4]).unwrap_err();
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.debug_info().generation, 2);
}

#[test]
fn an_undone_call_leaves_no_object_freed() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let one = counter(&proxy);
    add(&proxy, one, 3);
    store.inject(Fault::Full);
    proxy.call("counter_free", args![one]).unwrap_err();
    assert_eq!(proxy.live_objects().len(), 1);
    assert_eq!(value(&proxy, one), 3);
}

#[test]
fn an_undone_call_is_on_no_standby() {
    let world = World::new();
    let (proxy, store) = held(&world);
    let one = counter(&proxy);
    add(&proxy, one, 3);
    let calling = waiting(&proxy, &store, move |proxy| {
        proxy.call("counter_add", args![one, 4]).map(drop)
    });
    proxy.prepare_standby().unwrap();
    store.store.inject(Fault::Full);
    store.gate.open();
    calling.join().unwrap().unwrap_err();
    assert_eq!(value(&proxy, one), 3);
}

#[test]
fn an_undo_leaves_the_answers_that_the_store_has() {
    let runs = Arc::new(AtomicUsize::new(0));
    let world = World::new()
        .func(
            "thing_new",
            "(result i32 i32 i32)",
            "role = \"create\"\nresults = [\"handle:thing\", \"error\"]",
            {
                let runs = Arc::clone(&runs);
                move |_, _| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Ok(vec![Val::I32(0), Val::I32(1), Val::I32(1)])
                }
            },
        )
        .func(
            "bindgen_host_take_error",
            "(param i32) (result externref)",
            "role = \"pure\"",
            |_, _| Ok(vec![Val::ExternRef(None)]),
        );
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let one = counter(&proxy);
    let rejected = |proxy: &Proxy| {
        let error = proxy.call_with_id(b"id", "thing_new", args![]).unwrap_err();
        assert!(
            matches!(error, Error::Call(CallError::Guest { .. })),
            "{error}"
        );
    };
    rejected(&proxy);
    store.inject(Fault::Full);
    proxy.call("counter_add", args![one, 1]).unwrap_err();
    rejected(&proxy);
    assert_eq!(runs.load(Ordering::SeqCst), 1, "it left no entry");
    // Likewise what an earlier process has answered.
    let store = store.lose_power();
    let proxy = open(&world, store.clone());
    let one = proxy.object(one.sequence(), 0).unwrap();
    store.inject(Fault::Full);
    proxy.call("counter_add", args![one, 1]).unwrap_err();
    rejected(&proxy);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn an_undone_call_leaves_no_object() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let one = counter(&proxy);
    store.inject(Fault::Full);
    proxy.call("counter_new", args![]).unwrap_err();
    assert_eq!(proxy.debug_info().objects, 1);
    assert_eq!(proxy.live_objects().len(), 1);
    assert!(
        proxy
            .object(SequenceNumber(one.sequence().0 + 1), 0)
            .is_none()
    );
    store.mend();
    until("there is room", || {
        proxy.call("counter_add", args![one, 1]).is_ok()
    });
    assert_eq!(proxy.debug_info().objects, 1);
}

#[test]
fn an_undone_call_leaves_no_answer() {
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    let first = chain(&proxy, 1);
    store.inject(Fault::Full);
    let call = |arg: i64| proxy.call_with_id(b"id", "chain_step", args![arg]);
    call(2).unwrap_err();
    store.mend();
    // The id is free: another call may have it.
    until("there is room", || match call(3) {
        Err(error @ Error::CallIdReused { .. }) => panic!("{error}"),
        outcome => outcome.is_ok(),
    });
    let second = hash(first, 3);
    assert_eq!(
        call(3).unwrap().as_slice()[0],
        Value::Val(Val::from(second))
    );
    assert_eq!(chain(&proxy, 4), hash(second, 4));
}

#[test]
fn compaction_keeps_what_an_undo_may_need() {
    let world = World::new();
    let (proxy, store) = held(&world);
    let one = counter(&proxy);
    add(&proxy, one, 3);
    let freeing = waiting(&proxy, &store, move |proxy| {
        proxy.call("counter_free", args![one]).map(drop)
    });
    proxy.compact().unwrap();
    store.store.inject(Fault::Full);
    store.gate.open();
    let error = freeing.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::NotDurable { .. }), "{error}");
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.debug_info().journal_entries, 2);
}

#[test]
fn a_fold_takes_no_entry_that_may_be_undone() {
    let world = World::new().checkpointed().chain(0);
    let store = HeldStore::new(journal(&world));
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
    let proxy = builder.journal(shared, Durability::Durable);
    let proxy = proxy.build().unwrap();
    let first = chain(&proxy, 1);
    let calling = waiting(&proxy, &store, move |proxy| {
        proxy.call("chain_step", args![2_i64]).map(drop)
    });
    let folding = thread::spawn({
        let proxy = proxy.clone();
        move || proxy.compact()
    });
    // It has the checkpoint, and waits for the store.
    until("a checkpoint is verified", || {
        world.events.count("checkpoint-verified") > 0
    });
    store.store.inject(Fault::Full);
    store.gate.open();
    calling.join().unwrap().unwrap_err();
    let error = folding.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("not written"), "{error}");
    assert_eq!(proxy.debug_info().history_base, None);
    store.store.mend();
    until("there is room", || {
        proxy.call("counter_new", args![]).is_ok()
    });
    assert_eq!(chain(&proxy, 3), hash(first, 3));
    proxy.compact().unwrap();
    assert_eq!(chain(&proxy, 4), hash(hash(first, 3), 4));
}

#[test]
fn a_durable_checkpoint_is_on_the_disk_before_it_takes_the_place_of_records() {
    for folds in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().checkpointed().chain(0);
        let store = HeldStore::new(journal(&world).with_checkpoint_folder(folder.path()));
        let engine = world.script.engine();
        let mut builder = world.builder(&engine);
        if folds {
            builder = builder.checkpoints(FOLDING);
        }
        let shared: Arc<dyn JournalStore> = Arc::new(store.clone());
        let proxy = builder.journal(shared, Durability::Durable);
        let proxy = proxy.build().unwrap();
        for step in 0..3 {
            chain(&proxy, step);
            proxy.checkpoint_durably().unwrap().unwrap();
        }
        assert_eq!(store.faults(), Vec::<String>::new());
        // Nothing else is there: no half of a file, no third checkpoint. A state has a stamp.
        let files = folder.path().read_dir().unwrap();
        assert_eq!(files.count(), if folds { 4 } else { 2 });
    }
}

#[test]
fn a_durable_checkpoint_has_no_entry_that_may_be_undone() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().chain(0).func(
        "put",
        "(param i32 i32)",
        "role = \"mutate\"\nargs = [\"bytes\"]",
        |_, _| Ok(vec![]),
    );
    let store = HeldStore::new(journal(&world).with_checkpoint_folder(folder.path()));
    let proxy = open(&world, store.clone());
    let first = chain(&proxy, 1);
    // So much that one is due.
    let bytes = vec![0; 1 << 20];
    for _ in 0..17 {
        proxy.call("put", args![&bytes[..]]).unwrap();
    }
    let calling = waiting(&proxy, &store, move |proxy| {
        proxy.call("chain_step", args![2_i64]).map(drop)
    });
    until("one is written", || {
        proxy.tick(Instant::now());
        world.events.count("checkpoint-durable") > 0
    });
    store.store.inject(Fault::Full);
    store.gate.open();
    calling.join().unwrap().unwrap_err();
    drop(proxy);
    let proxy = open(&world, store.store.lose_power());
    assert_eq!(world.events.count("checkpoint-passed-over"), 0);
    assert_eq!(chain(&proxy, 3), hash(first, 3));
}

#[test]
fn an_id_is_answered_after_its_record_is_durable() {
    let world = World::new().chain(0);
    let (proxy, store) = held(&world);
    let call = |proxy: &Proxy| {
        let results = proxy.call_with_id(b"id", "chain_step", args![1_i64]);
        results.map(drop)
    };
    let first = waiting(&proxy, &store, call);
    let second = thread::spawn({
        let proxy = proxy.clone();
        move || call(&proxy)
    });
    // Were it given early, the second caller would most likely be gone by then.
    thread::sleep(Duration::from_millis(50));
    assert!(!first.is_finished() && !second.is_finished());
    store.store.inject(Fault::Full);
    store.gate.open();
    for outcome in [first.join().unwrap(), second.join().unwrap()] {
        let error = outcome.unwrap_err();
        // A second caller that comes late is refused, because the disk is full.
        let is_told = matches!(error, Error::NotDurable { .. } | Error::JournalFull { .. });
        assert!(is_told, "{error}");
    }
}

#[test]
fn records_are_in_the_order_of_the_calls() {
    const CALLERS: i64 = 4;
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, store.clone());
    thread::scope(|scope| {
        for caller in 0..CALLERS {
            let proxy = &proxy;
            scope.spawn(move || {
                for call in 0..150 {
                    chain(proxy, caller << 32 | call);
                }
            });
        }
    });
    let last = chain(&proxy, -1);
    drop(proxy);
    // The replay compares every hash.
    let proxy = open(&world, store.lose_power());
    assert_eq!(chain(&proxy, -2), hash(last, -2));
    assert_eq!(proxy.debug_info().journal_last.0, 602);
}

#[test]
fn recovery_has_the_last_record() {
    let world = World::new().chain(0);
    for calls in [1, 2, 7] {
        let store = journal(&world);
        let proxy = open(&world, store.clone());
        let last = (0..calls).fold(0, |_, step| chain(&proxy, step));
        drop(proxy);
        let proxy = open(&world, store.lose_power());
        assert_eq!(chain(&proxy, -1), hash(last, -1));
    }
}

#[test]
fn recovery_has_the_tail_of_a_checkpoint() {
    for folds in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().checkpointed().chain(0);
        let store = journal(&world).with_checkpoint_folder(folder.path());
        let build = |store: MemoryJournal| {
            let engine = world.script.engine();
            let mut builder = world.builder(&engine);
            if folds {
                builder = builder.checkpoints(FOLDING);
            }
            let builder = builder.journal(Arc::new(store), Durability::Durable);
            builder.build().unwrap()
        };
        let proxy = build(store.clone());
        chain(&proxy, 1);
        proxy.checkpoint_durably().unwrap().unwrap();
        let last = chain(&proxy, 2);
        drop(proxy);
        let proxy = build(store.lose_power());
        assert_eq!(chain(&proxy, 3), hash(last, 3), "folds: {folds}");
    }
}

#[test]
fn a_cut_outlives_the_records_before_a_durable_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().func("odd", "(result i32)", "role = \"mutate\"", |guest, _| {
        Ok(vec![Val::from(instance_number(guest))])
    });
    let store = journal(&world).with_checkpoint_folder(folder.path());
    let proxy = open(&world, store.clone());
    proxy.call("odd", args![]).unwrap();
    proxy.prepare_standby().unwrap_err();
    proxy.skip_divergence(SequenceNumber(1)).unwrap();
    let one = counter(&proxy);
    proxy.checkpoint_durably().unwrap().unwrap();
    let cuts = proxy.debug_info().cuts;
    assert_eq!(cuts.len(), 1);
    let head = store.head().unwrap();
    assert_eq!(head.first, head.position.next(), "all records are in it");
    drop(proxy);
    let proxy = open(&world, store.lose_power());
    assert_eq!(proxy.debug_info().cuts, cuts);
    assert_eq!(value(&proxy, proxy.object(one.sequence(), 0).unwrap()), 0);
}

#[test]
fn no_checkpoint_of_entries_is_written_for_a_few_records() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().chain(0);
    let store = journal(&world).with_checkpoint_folder(folder.path());
    let proxy = open(&world, store);
    for step in 0..100 {
        chain(&proxy, step);
        proxy.tick(Instant::now());
    }
    // It waits for one that is being written.
    drop(proxy);
    assert_eq!(folder.path().read_dir().unwrap().count(), 0);
}

/// The standby never had the object. Its checkpoint counts the entries about it, the free too, or the
/// replay of the free would find nothing.
#[test]
fn recovery_leaves_out_what_came_and_went_before_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed();
    let store = journal(&world).with_checkpoint_folder(folder.path());
    let build = |store: MemoryJournal| {
        let engine = world.script.engine();
        let builder = world.builder(&engine).checkpoints(FOLDING);
        let builder = builder.journal(Arc::new(store), Durability::Durable);
        builder.build().unwrap()
    };
    let proxy = build(store.clone());
    let (gone, kept) = (counter(&proxy), counter(&proxy));
    add(&proxy, kept, 3);
    proxy.call("counter_free", args![gone]).unwrap();
    proxy.prepare_standby().unwrap();
    let written = proxy.checkpoint_durably().unwrap().unwrap();
    assert_eq!(written.sequence, SequenceNumber(4));
    let last = proxy.debug_info().journal_last;
    drop(proxy);
    world.events.clear();
    let proxy = build(store.lose_power());
    assert_eq!(world.events.count("checkpoint-passed-over"), 0);
    assert_eq!(proxy.debug_info().objects, 1);
    assert!(proxy.object(gone.sequence(), 0).is_none());
    let kept = proxy.object(kept.sequence(), 0).unwrap();
    assert_eq!(value(&proxy, kept), 3);
    assert!(counter(&proxy).sequence() > last);
    swap(&proxy);
    assert_eq!(value(&proxy, kept), 3);
}

#[test]
fn no_sequence_number_is_given_out_twice() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new();
    let store = journal(&world).with_checkpoint_folder(folder.path());
    let proxy = open(&world, store.clone());
    // In this process: numbers that were undone stay gone.
    counter(&proxy);
    store.inject(Fault::Full);
    proxy.call("counter_new", args![]).unwrap_err();
    store.mend();
    until("a call is taken", || {
        match proxy.call("counter_new", args![]) {
            Ok(made) => {
                assert!(made.handle().unwrap().sequence() > SequenceNumber(2));
                true
            }
            Err(_) => false,
        }
    });
    // In the next: those whose entries no object needs any more, too.
    let gone = counter(&proxy);
    proxy.call("counter_free", args![gone]).unwrap();
    let last = proxy.debug_info().journal_last;
    proxy.compact().unwrap();
    proxy.checkpoint_durably().unwrap().unwrap();
    drop(proxy);
    let proxy = open(&world, store.lose_power());
    assert!(counter(&proxy).sequence() > last);
    assert!(proxy.object(gone.sequence(), 0).is_none());
}
