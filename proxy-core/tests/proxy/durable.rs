//! The journal in a store: nothing that was acknowledged is lost, and what could not be written is
//! undone.

mod checkpoints;
mod migration;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::Val;
use proxy_core::{
    CallError, CallIdBound, Durability, Error, Event, Fault, Handle, Identity, JournalMismatch,
    JournalStore, MemoryJournal, OnDivergence, Policy, Proxy, SequenceNumber, Value, args,
};

use super::world::{World, add, counter, hash, instance_number, swap, until, value};

pub(super) use checkpoints::{folding, journal_in, passed_over, recovered, with_old_names};

const NEVER: Duration = Duration::from_hours(1);

/// An empty journal for a world.
fn journal(world: &World) -> MemoryJournal {
    let policy: Policy = world.policy.parse().unwrap();
    MemoryJournal::new(Identity::of(&world.script.wasm(), &policy).unwrap())
}

fn try_open(world: &World, journal: &MemoryJournal, mode: Durability) -> Result<Proxy, Error> {
    let engine = world.script.engine();
    let store: Arc<dyn JournalStore> = Arc::new(journal.clone());
    world.builder(&engine).journal(store, mode).build()
}

fn open(world: &World, journal: &MemoryJournal) -> Proxy {
    try_open(world, journal, Durability::Durable).unwrap()
}

/// The proxy's process is killed and another one opens the journal.
fn reopen(world: &World, proxy: Proxy, journal: &MemoryJournal) -> (Proxy, MemoryJournal) {
    let journal = journal.lose_power();
    drop(proxy);
    (open(world, &journal), journal)
}

/// The handle of the same object in a later process.
fn again(proxy: &Proxy, handle: Handle) -> Handle {
    proxy.object(handle.sequence(), handle.result()).unwrap()
}

#[test]
fn a_state_is_made_again_from_its_journal() {
    let world = World::new().chain(0);
    let journal = journal(&world);
    let proxy = open(&world, &journal);
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, one, 5);
    add(&proxy, two, 7);
    proxy.call("counter_free", args![two]).unwrap();
    let mut chain = 0;
    for step in 0..100_i64 {
        chain = hash(chain, step);
        proxy.call("chain_step", args![step]).unwrap();
        if step == 50 {
            swap(&proxy);
        }
    }
    let digests = proxy.journal_digests();
    let last = proxy.debug_info().journal_last;
    world.events.clear();
    let (proxy, journal) = reopen(&world, proxy, &journal);
    let recovered = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::Recovered(recovered) => Some(recovered),
            _ => None,
        });
    let recovered = recovered.unwrap();
    assert_eq!((recovered.sequence, recovered.objects), (last, 1));
    assert_eq!(value(&proxy, again(&proxy, one)), 5);
    assert!(proxy.object(two.sequence(), 0).is_none(), "it was freed");
    let kept = proxy.journal_digests();
    assert_eq!(kept.len(), proxy.debug_info().journal_entries);
    assert!(kept.iter().all(|digest| digests.contains(digest)));
    // It goes on from there, and a third process has both halves.
    add(&proxy, again(&proxy, one), 1);
    let results = proxy.call("chain_step", args![100_i64]).unwrap();
    assert_eq!(
        results.as_slice()[0],
        Value::Val(Val::from(hash(chain, 100)))
    );
    let (proxy, _) = reopen(&world, proxy, &journal);
    swap(&proxy);
    assert_eq!(value(&proxy, again(&proxy, one)), 6);
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[test]
fn a_journal_of_another_module_or_policy_is_refused_before_anything_runs() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, &store);
    counter(&proxy);
    drop(proxy);
    let before = store.head().unwrap().position;
    let other = World::new().chain(0);
    let error = try_open(&other, &store.reopen(), Durability::Durable).unwrap_err();
    let is_module = |error: &Error| match error {
        Error::OtherJournal(mismatch) => matches!(**mismatch, JournalMismatch::Module { .. }),
        _ => false,
    };
    assert!(is_module(&error), "{error}");
    let other = World::new().policy("\n[[import]]\nmatch = \"x*\"\neffect = \"none\"\n");
    let error = try_open(&other, &store.reopen(), Durability::Durable).unwrap_err();
    assert!(error.to_string().contains("policy"), "{error}");
    let foreign = MemoryJournal::new(Identity {
        module: *engine_api::ModuleHash::of(&world.script.wasm()).as_bytes(),
        notes: b"something".to_vec(),
    });
    let error = try_open(&world, &foreign, Durability::Durable).unwrap_err();
    assert!(error.to_string().contains("not made by a proxy"), "{error}");
    assert_eq!(store.head().unwrap().position, before);
}

#[test]
fn a_journal_of_a_newer_format_is_refused_by_its_number() {
    let world = World::new();
    let mut identity = journal(&world).identity().clone();
    // Behind the magic.
    let format = &mut identity.notes[8];
    let known = u32::from(*format);
    *format += 1;
    let error = try_open(&world, &MemoryJournal::new(identity), Durability::Durable).unwrap_err();
    let newer = JournalMismatch::Format {
        journal: known + 1,
        known,
    };
    assert!(
        matches!(&error, Error::OtherJournal(mismatch) if **mismatch == newer),
        "{error}"
    );
}

#[test]
fn calls_that_find_the_disk_full_are_undone_and_refused_until_there_is_room() {
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, &store);
    let one = counter(&proxy);
    add(&proxy, one, 5);
    store.inject(Fault::Full);
    let error = proxy.call("counter_add", args![one, 100]).unwrap_err();
    assert!(matches!(error, Error::NotDurable { .. }), "{error}");
    // Nobody sees what it did.
    assert_eq!(value(&proxy, one), 5);
    let error = proxy.call("counter_add", args![one, 100]).unwrap_err();
    assert!(matches!(error, Error::JournalFull { .. }), "{error}");
    assert!(error.to_string().contains("free space"), "{error}");
    assert_eq!(value(&proxy, one), 5);
    swap(&proxy);
    store.mend();
    until("a call is taken again", || {
        proxy.call("counter_add", args![one, 1]).is_ok()
    });
    assert_eq!(value(&proxy, one), 6);
    assert_eq!(world.events.count("calls-undone"), 1);
    let (proxy, _) = reopen(&world, proxy, &store);
    assert_eq!(value(&proxy, again(&proxy, one)), 6);
}

#[test]
fn a_turn_is_lost_whose_raw_calls_may_have_seen_an_undone_call() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, &store);
    let one = counter(&proxy);
    let mut turn = proxy.turn().unwrap();
    let copy = turn.call("snapshot", args![one]).unwrap();
    let copy = copy.pointer().unwrap();
    store.inject(Fault::Full);
    turn.call("counter_add", args![one, 100]).unwrap_err();
    let error = turn.call("snapshot_value", args![copy]).unwrap_err();
    assert!(
        matches!(&error, Error::TurnLost { reason } if reason.contains("undone")),
        "{error}"
    );
    let value = turn.call("counter_value", args![one]).unwrap();
    assert_eq!(value.i32().unwrap(), 0);
}

#[test]
fn an_object_that_an_undone_call_freed_is_alive() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, &store);
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, one, 3);
    store.inject(Fault::Full);
    proxy.call("counter_free", args![one]).unwrap_err();
    assert_eq!(value(&proxy, one), 3);
    assert_eq!(proxy.debug_info().objects, 2);
    store.mend();
    until("it can be freed", || {
        proxy.call("counter_free", args![one]).is_ok()
    });
    let error = proxy.call("counter_value", args![one]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::FreedHandle { .. })),
        "{error}"
    );
    assert_eq!(value(&proxy, two), 0);
}

#[test]
fn a_failed_flush_stops_the_journal_and_not_the_pure_calls() {
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, &store);
    let one = counter(&proxy);
    store.inject(Fault::Flush);
    let error = proxy.call("counter_add", args![one, 1]).unwrap_err();
    assert!(matches!(error, Error::NotDurable { .. }), "{error}");
    store.mend();
    for _ in 0..3 {
        let error = proxy.call("counter_add", args![one, 1]).unwrap_err();
        assert!(matches!(error, Error::JournalStopped { .. }), "{error}");
        assert_eq!(value(&proxy, one), 0);
    }
    let (proxy, _) = reopen(&world, proxy, &store);
    let one = again(&proxy, one);
    add(&proxy, one, 2);
    assert_eq!(value(&proxy, one), 2);
}

#[test]
fn callers_share_flushes_and_none_is_lost_when_one_fails() {
    const CALLERS: usize = 8;
    const CALLS: usize = 200;
    let world = World::new();
    let store = journal(&world);
    let proxy = open(&world, &store);
    let counters: Vec<Handle> = (0..CALLERS).map(|_| counter(&proxy)).collect();
    let acknowledged: Vec<i32> = thread::scope(|scope| {
        let callers: Vec<_> = counters
            .iter()
            .enumerate()
            .map(|(number, counter)| {
                let (proxy, store) = (&proxy, &store);
                scope.spawn(move || {
                    let mut acknowledged = 0;
                    for call in 0..CALLS {
                        if number == 0 && call % 50 == 25 {
                            store.inject(Fault::Full);
                        } else if number == 0 && call % 50 == 30 {
                            store.mend();
                        }
                        let outcome = proxy.call("counter_add", args![*counter, 1]);
                        acknowledged += i32::from(outcome.is_ok());
                    }
                    acknowledged
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .collect()
    });
    store.mend();
    let values = |proxy: &Proxy, counters: &[Handle]| -> Vec<i32> {
        counters
            .iter()
            .map(|counter| value(proxy, *counter))
            .collect()
    };
    assert_eq!(values(&proxy, &counters), acknowledged);
    assert!(world.events.count("calls-undone") >= 1);
    let (proxy, _) = reopen(&world, proxy, &store);
    let counters: Vec<Handle> = counters.iter().map(|one| again(&proxy, *one)).collect();
    assert_eq!(values(&proxy, &counters), acknowledged);
}

#[test]
fn relaxed_calls_are_acknowledged_at_once_and_flushed_soon_and_at_the_end() {
    let world = World::new();
    let store = journal(&world);
    let every = NEVER;
    let proxy = try_open(&world, &store, Durability::Relaxed { every }).unwrap();
    let one = counter(&proxy);
    add(&proxy, one, 1);
    let head = store.head().unwrap();
    assert_eq!(head.position.0, 1, "the genesis alone");
    assert!(proxy.shutdown());
    drop(proxy);
    let every = Duration::from_millis(1);
    let proxy = try_open(&world, &store.lose_power(), Durability::Relaxed { every }).unwrap();
    let one = again(&proxy, one);
    assert_eq!(value(&proxy, one), 1);
    add(&proxy, one, 1);
    until("it is flushed", || store.head().unwrap().position.0 == 4);
    // A full disk loses nothing that was acknowledged.
    store.inject(Fault::Full);
    add(&proxy, one, 1);
    until("nothing more is taken", || {
        proxy.call("counter_add", args![one, 1]).is_err()
    });
    let seen = value(&proxy, one);
    assert!(seen >= 3, "{seen}");
    store.mend();
    until("it is written", || {
        proxy.call("counter_add", args![one, 0]).is_ok()
    });
    assert!(proxy.shutdown());
    drop(proxy);
    let proxy = open(&world, &store.lose_power());
    assert_eq!(value(&proxy, again(&proxy, one)), seen);
}

#[test]
fn what_was_acknowledged_and_never_written_is_told_at_the_end() {
    for fault in [Fault::Full, Fault::Flush] {
        let world = World::new();
        let store = journal(&world);
        let every = NEVER;
        let proxy = try_open(&world, &store, Durability::Relaxed { every }).unwrap();
        let one = counter(&proxy);
        add(&proxy, one, 1);
        store.inject(fault);
        assert_eq!(proxy.debug_info().calls_lost, 0);
        assert!(proxy.shutdown());
        assert_eq!(proxy.debug_info().calls_lost, 2);
        let lost = world
            .events
            .all()
            .into_iter()
            .find_map(|event| match event {
                Event::CallsLost { entries, error } => Some((entries, error)),
                _ => None,
            });
        let (entries, error) = lost.expect("it is told");
        assert_eq!(entries, 2);
        assert!(!error.is_empty());
        let head = store.lose_power().head().unwrap();
        assert_eq!(head.position.0, 1, "the genesis alone");
    }
}

#[test]
fn a_store_that_takes_nothing_is_told_while_calls_are_acknowledged() {
    let world = World::new();
    let store = journal(&world);
    let every = Duration::from_millis(1);
    let proxy = try_open(&world, &store, Durability::Relaxed { every }).unwrap();
    store.inject(Fault::Full);
    counter(&proxy);
    until("it is told", || {
        proxy.tick(Instant::now());
        world.events.count("journal-error") > 0
    });
    for _ in 0..3 {
        proxy.tick(Instant::now());
    }
    assert_eq!(world.events.count("journal-error"), 1, "and once");
    store.mend();
    assert!(proxy.shutdown());
    assert_eq!(world.events.count("calls-lost"), 0);
}

#[test]
fn a_repeated_id_gets_the_first_answer_and_runs_nothing() {
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, &store);
    let made = proxy
        .call_with_id(b"make", "counter_new", args![])
        .unwrap()
        .handle()
        .unwrap();
    let again_made = proxy.call_with_id(b"make", "counter_new", args![]).unwrap();
    assert_eq!(again_made.handle().unwrap(), made);
    let first = proxy
        .call_with_id(b"one", "chain_step", args![1_i64])
        .unwrap();
    let error = proxy
        .call_with_id(b"one", "chain_step", args![2_i64])
        .unwrap_err();
    assert!(matches!(error, Error::CallIdReused { .. }), "{error}");
    swap(&proxy);
    assert_eq!(
        proxy
            .call_with_id(b"one", "chain_step", args![1_i64])
            .unwrap(),
        first
    );
    let (proxy, store) = reopen(&world, proxy, &store);
    assert_eq!(
        proxy
            .call_with_id(b"one", "chain_step", args![1_i64])
            .unwrap(),
        first
    );
    let made_again = proxy.call_with_id(b"make", "counter_new", args![]).unwrap();
    assert_eq!(made_again.handle().unwrap(), again(&proxy, made));
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(2));
    // A call that was not acknowledged has no answer.
    store.inject(Fault::Full);
    proxy
        .call_with_id(b"two", "chain_step", args![2_i64])
        .unwrap_err();
    store.mend();
    let second = Value::Val(Val::from(hash(hash(0, 1), 2)));
    until("there is room", || {
        proxy
            .call_with_id(b"two", "chain_step", args![2_i64])
            .is_ok_and(|results| results.as_slice()[0] == second)
    });
    for id in [&[][..], &[0; 129][..]] {
        let error = proxy.call_with_id(id, "counter_new", args![]).unwrap_err();
        assert!(matches!(error, Error::CallIdRefused { .. }), "{error}");
    }
}

#[test]
fn the_newest_answers_are_kept() {
    let world = World::new().chain(0);
    let engine = world.script.engine();
    let bound = CallIdBound {
        answers: 2,
        ..CallIdBound::default()
    };
    let proxy = world.builder(&engine).call_ids(bound).build().unwrap();
    let call = |id: &[u8]| {
        let results = proxy.call_with_id(id, "chain_step", args![1_i64]).unwrap();
        results.as_slice()[1].clone()
    };
    let first = call(b"a");
    call(b"b");
    assert_eq!(call(b"a"), first);
    call(b"c");
    assert_ne!(call(b"a"), first, "it has run again");
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(4));
}

#[test]
fn one_id_from_many_threads_runs_once() {
    let world = World::new().chain(0);
    let store = journal(&world);
    let proxy = open(&world, &store);
    thread::scope(|scope| {
        let call = || {
            for id in 0..50_u32 {
                let id = id.to_le_bytes();
                proxy.call_with_id(&id, "chain_step", args![1_i64]).unwrap();
            }
        };
        for _ in 0..4 {
            scope.spawn(call);
        }
    });
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(50));
    proxy.tick(Instant::now());
}

#[test]
fn a_cut_outlives_the_process() {
    for kind in ["accept", "skip"] {
        let world = World::new().func("odd", "(result i32)", "role = \"mutate\"", |guest, _| {
            Ok(vec![Val::from(instance_number(guest))])
        });
        let store = journal(&world);
        let proxy = open(&world, &store);
        proxy.call("odd", args![]).unwrap();
        let one = counter(&proxy);
        let error = proxy.prepare_standby().unwrap_err();
        assert!(matches!(error, Error::Divergence(_)), "{error}");
        let entry = SequenceNumber(1);
        if kind == "skip" {
            proxy.skip_divergence(entry).unwrap();
        } else {
            proxy.accept_divergence(entry).unwrap();
        }
        let cuts = proxy.debug_info().cuts;
        let journal = store.lose_power();
        drop(proxy);
        // Each process counts its instances anew, so what was accepted differs again.
        let outcome = try_open(&world, &journal, Durability::Durable);
        if kind == "skip" {
            let proxy = outcome.unwrap();
            assert_eq!(proxy.debug_info().cuts, cuts);
            assert_eq!(value(&proxy, again(&proxy, one)), 0);
        } else {
            let error = outcome.unwrap_err();
            let Error::Divergence(divergence) = &error else {
                panic!("{error}");
            };
            assert_eq!(divergence.expected, "3", "what the third instance gave");
            // It can be settled as the journal is opened, and that is written too.
            let engine = world.script.engine();
            let store: Arc<dyn JournalStore> = Arc::new(journal.reopen());
            let builder = world.builder(&engine).journal(store, Durability::Durable);
            let proxy = builder.on_divergence(OnDivergence::Skip).build().unwrap();
            assert_eq!(proxy.debug_info().cuts.len(), 2);
            assert_eq!(value(&proxy, again(&proxy, one)), 0);
            drop(proxy);
            let proxy = open(&world, &journal.lose_power());
            assert_eq!(proxy.debug_info().cuts.len(), 2);
        }
    }
}

#[test]
fn a_module_that_never_repeats_itself_is_not_opened_for_ever() {
    let given = Arc::new(AtomicI64::new(0));
    let giving = Arc::clone(&given);
    let world = World::new().func("odd", "(result i64)", "role = \"mutate\"", move |_, _| {
        Ok(vec![Val::I64(giving.fetch_add(1, Ordering::SeqCst))])
    });
    let store = journal(&world);
    let proxy = open(&world, &store);
    proxy.call("odd", args![]).unwrap();
    drop(proxy);
    let journal = store.lose_power();
    let head = journal.head().unwrap().position;
    let error = try_open(&world, &journal, Durability::Durable).unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
    assert_eq!(
        given.load(Ordering::SeqCst),
        2,
        "a second replay has nothing to settle"
    );
    let engine = world.script.engine();
    let kept: Arc<dyn JournalStore> = Arc::new(journal.clone());
    let builder = world.builder(&engine).journal(kept, Durability::Durable);
    let opened = builder.on_divergence(OnDivergence::Accept).build();
    let error = opened.map(drop).unwrap_err();
    assert!(
        matches!(&error, Error::Divergence(divergence) if divergence.entry.0 == 1),
        "{error}"
    );
    assert_eq!(journal.head().unwrap().position, head);
}
