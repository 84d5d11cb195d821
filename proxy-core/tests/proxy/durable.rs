//! The journal in a store: nothing that was acknowledged is lost, and what could not be written is
//! undone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::Val;
use proxy_core::{
    CallError, CallIdBound, CheckpointRef, Durability, Error, Event, Fault, Handle, Identity,
    JournalMismatch, JournalStore, MemoryJournal, OnDivergence, Policy, Proxy, SequenceNumber,
    Value, args,
};

use super::world::{World, add, counter, hash, instance_number, swap, until, value};

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

/// A journal whose durable checkpoints are in this folder.
pub(super) fn journal_in(world: &World, folder: &std::path::Path) -> MemoryJournal {
    journal(world).with_checkpoint_folder(folder)
}

fn files(folder: &std::path::Path) -> Vec<String> {
    let names = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// The files of states in the folder, where each has its stamp, and nothing else is.
fn states(folder: &std::path::Path) -> usize {
    let files = files(folder);
    let (stamps, states): (Vec<_>, Vec<_>) = files
        .iter()
        .partition(|name| name.contains(checkpoint_file::STAMP_SUFFIX));
    let names = states.iter().map(|name| format!("{name}.stamp"));
    assert!(names.eq(stamps.into_iter().cloned()), "{files:?}");
    states.len()
}

/// Gives states the names of an earlier release, which do not say whose content it is.
pub(super) fn with_old_names(
    store: &MemoryJournal,
    folder: &std::path::Path,
) -> Vec<CheckpointRef> {
    let mut kept = store.checkpoints().unwrap();
    for one in &mut kept {
        let name = format!("{}.state", one.position);
        std::fs::rename(folder.join(&one.file), folder.join(&name)).unwrap();
        one.file = name;
    }
    store.truncate(store.head().unwrap().epoch, &kept).unwrap();
    kept
}

pub(super) fn passed_over(world: &World) -> usize {
    world.events.count("checkpoint-passed-over")
}

pub(super) fn recovered(world: &World) -> proxy_core::Recovered {
    let mut events = world.events.all().into_iter();
    let found = events.find_map(|event| match event {
        Event::Recovered(recovered) => Some(recovered),
        _ => None,
    });
    found.unwrap()
}

pub(super) fn folding(world: &World, journal: &MemoryJournal) -> Result<Proxy, Error> {
    let engine = world.script.engine();
    let store: Arc<dyn JournalStore> = Arc::new(journal.clone());
    let builder = world.builder(&engine).checkpoints(super::history::FOLDING);
    builder.journal(store, Durability::Durable).build()
}

#[test]
fn a_durable_checkpoint_of_entries_takes_the_place_of_records() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().chain(0);
    let store = journal_in(&world, folder.path());
    let proxy = open(&world, &store);
    assert_eq!(
        proxy.checkpoint_durably().unwrap(),
        None,
        "nothing has happened"
    );
    let one = counter(&proxy);
    for n in 0..50 {
        let passing = counter(&proxy);
        add(&proxy, one, n);
        proxy.call("counter_free", args![passing]).unwrap();
    }
    let step = proxy
        .call_with_id(b"step", "chain_step", args![1_i64])
        .unwrap();
    let first = proxy.checkpoint_durably().unwrap().unwrap();
    assert_eq!(first.sequence, proxy.debug_info().journal_last);
    let head = store.head().unwrap();
    assert_eq!(head.first, head.position.next(), "all records are in it");
    assert_eq!(files(folder.path()).len(), 1);
    add(&proxy, one, 1000);
    assert!(proxy.checkpoint_durably().unwrap().is_some());
    add(&proxy, one, 1000);
    world.events.clear();
    let (proxy, store) = reopen(&world, proxy, &store);
    assert_eq!(value(&proxy, again(&proxy, one)), 49 * 25 + 2000);
    assert_eq!(recovered(&world).checkpoint, None, "entries are no state");
    let repeated = proxy
        .call_with_id(b"step", "chain_step", args![1_i64])
        .unwrap();
    assert_eq!(repeated, step);
    assert_eq!(passed_over(&world), 0);
    // The newest is damaged: the one before and the records after it give the same.
    let newest = &store.checkpoints().unwrap()[0];
    let path = folder.path().join(&newest.file);
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (proxy, store) = reopen(&world, proxy, &store);
    assert_eq!(passed_over(&world), 1);
    assert_eq!(value(&proxy, again(&proxy, one)), 49 * 25 + 2000);
    let repeated = proxy
        .call_with_id(b"step", "chain_step", args![1_i64])
        .unwrap();
    assert_eq!(repeated, step);
    // Without either, nothing is served.
    for file in files(folder.path()) {
        std::fs::remove_file(folder.path().join(file)).unwrap();
    }
    drop(proxy);
    let error = try_open(&world, &store.lose_power(), Durability::Durable).unwrap_err();
    assert!(
        matches!(&error, Error::NoRecovery { reasons, .. } if reasons.len() == 2),
        "{error}"
    );
}

#[test]
fn a_durable_checkpoint_of_a_state_opens_without_a_replay() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, one, 5);
    let mut chain = 0;
    for step in 0..1000_i64 {
        chain = hash(chain, step);
        proxy.call("chain_step", args![step]).unwrap();
    }
    let kept = proxy.checkpoint_durably().unwrap().unwrap();
    proxy.call("counter_free", args![two]).unwrap();
    add(&proxy, one, 1);
    world.events.clear();
    let journal = store.lose_power();
    drop(proxy);
    let proxy = folding(&world, &journal).unwrap();
    let recovery = recovered(&world);
    assert_eq!(
        (recovery.checkpoint, recovery.entries),
        (Some(kept.sequence), 2)
    );
    assert_eq!(recovery.objects, 1);
    assert!(proxy.object(two.sequence(), 0).is_none());
    let one = again(&proxy, one);
    assert_eq!(value(&proxy, one), 6);
    for step in 1000..1100_i64 {
        chain = hash(chain, step);
        let results = proxy.call("chain_step", args![step]).unwrap();
        assert_eq!(results.as_slice()[0], Value::Val(Val::from(chain)));
        if step % 10 == 0 {
            swap(&proxy);
        }
    }
    proxy.call("counter_free", args![one]).unwrap();
    proxy.compact().unwrap();
    assert!(proxy.checkpoint_durably().unwrap().is_some());
    assert_eq!(states(folder.path()), 2);
    let info = proxy.debug_info();
    assert_eq!((info.divergences, info.checkpoints_rejected), (0, 0));
    // The full history cannot be had any more.
    drop(proxy);
    let error = try_open(&world, &journal.lose_power(), Durability::Durable).unwrap_err();
    assert!(matches!(error, Error::HistoryFolded), "{error}");
}

/// The newest entries are about an object that is gone, so the state is made without them. The records
/// of these are in the store, and must not be replayed on a state that never had the object.
#[test]
fn a_state_has_the_entries_that_it_was_made_without() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, one, 5);
    add(&proxy, two, 6);
    proxy.call("counter_free", args![two]).unwrap();
    let kept = proxy.checkpoint_durably().unwrap().unwrap();
    assert_eq!(kept.sequence, proxy.debug_info().journal_last);
    let store = store.lose_power();
    drop(proxy);
    let proxy = folding(&world, &store).unwrap();
    assert_eq!(passed_over(&world), 0);
    assert_eq!(recovered(&world).entries, 0);
    assert_eq!(value(&proxy, again(&proxy, one)), 5);
    // The same where a standby is what the checkpoint is taken of.
    let three = counter(&proxy);
    add(&proxy, again(&proxy, one), 1);
    proxy.call("counter_free", args![three]).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.checkpoint().unwrap();
    let kept = proxy.checkpoint_durably().unwrap().unwrap();
    assert_eq!(kept.sequence, proxy.debug_info().journal_last);
    let store = store.lose_power();
    drop(proxy);
    let proxy = folding(&world, &store).unwrap();
    assert_eq!(passed_over(&world), 0);
    assert_eq!(value(&proxy, again(&proxy, one)), 6);
}

#[test]
fn a_checkpoint_that_diverges_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    for round in 0..2_i64 {
        proxy.call("chain_step", args![round]).unwrap();
        proxy.checkpoint_durably().unwrap().unwrap();
    }
    let last = proxy.call("chain_step", args![2_i64]).unwrap();
    drop(proxy);
    // Somebody puts the older state in the newer one's place, with good hashes.
    let kept = with_old_names(&store, folder.path());
    let [newer, older] = [&kept[0].file, &kept[1].file].map(|file| folder.path().join(file));
    std::fs::remove_file(&newer).unwrap();
    std::fs::copy(&older, &newer).unwrap();
    world.events.clear();
    let journal = store.lose_power();
    let proxy = folding(&world, &journal).unwrap();
    assert_eq!(passed_over(&world), 1);
    let why = world
        .events
        .all()
        .into_iter()
        .find_map(|event| match event {
            Event::CheckpointPassedOver { reason, .. } => Some(reason),
            _ => None,
        });
    let why = why.unwrap();
    assert!(why.contains("diverged"), "{why}");
    let recovery = recovered(&world);
    assert_eq!(
        (recovery.entries, recovery.sequence),
        (2, SequenceNumber(3))
    );
    assert_eq!(last.as_slice()[1], Value::Val(Val::from(2_i64)));
    let next = proxy.call("chain_step", args![3_i64]).unwrap();
    assert_eq!(next.as_slice()[1], Value::Val(Val::from(3_i64)));
}

#[test]
fn records_that_grow_fast_are_not_kept_until_a_second_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().func(
        "put",
        "(param i32 i32)",
        "role = \"mutate\"\nargs = [\"bytes\"]",
        |_, _| Ok(vec![]),
    );
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    let (start, bytes) = (Instant::now(), vec![0; 1 << 20]);
    for _ in 0..6 {
        for _ in 0..32 {
            proxy.call("put", args![&bytes[..]]).unwrap();
        }
        until("one is written", || {
            // To upkeep it is the same moment.
            proxy.tick(start);
            world.events.count("checkpoint-durable") > 0
        });
        world.events.clear();
    }
    // Of 192 MiB, what came after the checkpoint before the newest.
    let kept = store.bytes().unwrap();
    assert!(kept <= 80 << 20, "{kept}");
}

#[test]
fn upkeep_writes_durable_checkpoints_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    let mut chain = 0;
    for step in 0..30_000_i64 {
        chain = hash(chain, step);
        proxy.call("chain_step", args![step]).unwrap();
        if step % 1000 == 0 {
            proxy.tick(Instant::now());
        }
    }
    until("one is written", || {
        proxy.tick(Instant::now());
        world.events.count("checkpoint-durable") > 0
    });
    world.events.clear();
    drop(proxy);
    let proxy = folding(&world, &store.lose_power()).unwrap();
    assert!(recovered(&world).entries < 25_000);
    let results = proxy.call("chain_step", args![30_000_i64]).unwrap();
    assert_eq!(
        results.as_slice()[0],
        Value::Val(Val::from(hash(chain, 30_000)))
    );
}

/// The world with one more export, whose module is another one.
fn renumbered() -> World {
    World::new()
        .func("another", "(result i32)", "role = \"pure\"", |_, _| {
            Ok(vec![Val::I32(0)])
        })
        .chain(0)
}

fn migrate(world: &World, old: &MemoryJournal, new: &MemoryJournal) -> Result<Proxy, Error> {
    let engine = world.script.engine();
    let [old, new] = [old, new].map(|one| -> Arc<dyn JournalStore> { Arc::new(one.clone()) });
    let builder = world.builder(&engine).migrate(old);
    builder.journal(new, Durability::Durable).build()
}

#[test]
fn a_journal_goes_on_with_another_module_that_gives_the_same() {
    for kept in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().chain(0);
        let old = journal_in(&world, folder.path());
        let proxy = open(&world, &old);
        let one = counter(&proxy);
        add(&proxy, one, 5);
        let step = proxy
            .call_with_id(b"s", "chain_step", args![1_i64])
            .unwrap();
        if kept {
            proxy.checkpoint_durably().unwrap().unwrap();
        }
        add(&proxy, one, 1);
        drop(proxy);
        let before = old.head().unwrap();
        let other = renumbered();
        let new = journal(&other);
        let proxy = migrate(&other, &old, &new).unwrap();
        assert_eq!(value(&proxy, again(&proxy, one)), 6);
        assert_eq!(old.head().unwrap(), before, "it is only read");
        let (proxy, _) = reopen(&other, proxy, &new);
        assert_eq!(value(&proxy, again(&proxy, one)), 6);
        let repeated = proxy
            .call_with_id(b"s", "chain_step", args![1_i64])
            .unwrap();
        assert_eq!(repeated, step);
        swap(&proxy);
        let error = migrate(&other, &old, &new).unwrap_err();
        assert!(error.to_string().contains("create another"), "{error}");
    }
}

#[test]
fn a_migration_names_the_first_call_that_gives_something_else() {
    let world = World::new().chain(0);
    let old = journal(&world);
    let proxy = open(&world, &old);
    counter(&proxy);
    proxy.call("chain_step", args![1_i64]).unwrap();
    drop(proxy);
    let other = renumbered().script(|script| {
        script.func("chain_step", "(param i64) (result i64 i64)", |_, _| {
            Ok(vec![Val::I64(0), Val::I64(0)])
        })
    });
    let new = journal(&other);
    let error = migrate(&other, &old, &new).unwrap_err();
    let Error::Divergence(divergence) = error else {
        panic!("{error}");
    };
    assert_eq!(divergence.entry, SequenceNumber(2));
    assert_eq!(new.head().unwrap().position.0, 0, "nothing was written");
    // An export that is gone is named too.
    let other = World::new().func("another", "(result i32)", "", |_, _| Ok(vec![Val::I32(0)]));
    let error = migrate(&other, &old, &journal(&other)).unwrap_err();
    assert!(
        error.to_string().contains("no export `chain_step`"),
        "{error}"
    );
}

#[test]
fn a_journal_of_host_calls_is_opened_without_the_host_and_migrated_by_names() {
    use engine_api::{FuncType, ValType};
    let clock = |world: World, at: i64| {
        let ty = FuncType::new(&[], &[ValType::I64]);
        world.import("clock", ("(result i64)", ty), move |_, _, results| {
            results[0] = Val::from(at);
            Ok(())
        })
    };
    let stamping = |world: World| {
        world.func("stamp", "(result i64)", "role = \"mutate\"", |guest, _| {
            let now = guest.host("env", "clock", &[])?;
            guest
                .counters
                .insert("stamped", now[0].i64().expect("a time"));
            Ok(now)
        })
    };
    let world = clock(stamping(World::new()), 7);
    let old = journal(&world);
    let proxy = open(&world, &old);
    assert_eq!(proxy.call("stamp", args![]).unwrap().i64().unwrap(), 7);
    drop(proxy);
    let later = clock(stamping(World::new()), 1000);
    let proxy = open(&later, &old.lose_power());
    swap(&proxy);
    assert_eq!(proxy.debug_info().divergences, 0);
    drop(proxy);
    // In the other module the clock is the second import.
    let ty = FuncType::new(&[], &[]);
    let other = stamping(World::new()).import("other", ("", ty), |_, _, _| Ok(()));
    let other = clock(other, 1000);
    let new = journal(&other);
    let proxy = migrate(&other, &old, &new).unwrap();
    swap(&proxy);
    // And where it is gone, that is said.
    let other = World::new().func("stamp", "(result i64)", "role = \"mutate\"", |_, _| {
        Ok(vec![Val::I64(7)])
    });
    let error = migrate(&other, &old, &journal(&other)).unwrap_err();
    assert!(
        error.to_string().contains("does not import `env.clock`"),
        "{error}"
    );
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
    let world = World::new().func("odd", "(result i64)", "role = \"mutate\"", move |_, _| {
        Ok(vec![Val::I64(given.fetch_add(1, Ordering::SeqCst))])
    });
    let store = journal(&world);
    let proxy = open(&world, &store);
    proxy.call("odd", args![]).unwrap();
    drop(proxy);
    let journal = store.lose_power();
    let head = journal.head().unwrap().position;
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
