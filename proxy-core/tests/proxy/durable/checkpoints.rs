//! Files that take the place of records.

use std::sync::Arc;
use std::time::Instant;

use engine_api::Val;
use proxy_core::{
    CheckpointRef, Durability, Error, Event, JournalStore, MemoryJournal, Proxy, SequenceNumber,
    Value, args,
};

use super::super::history::FOLDING;
use super::super::world::{World, add, counter, hash, instance_number, swap, until, value};
use super::{again, journal, open, reopen, try_open};

/// A journal whose durable checkpoints are in this folder.
pub(crate) fn journal_in(world: &World, folder: &std::path::Path) -> MemoryJournal {
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
pub(crate) fn with_old_names(
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

pub(crate) fn passed_over(world: &World) -> usize {
    world.events.count("checkpoint-passed-over")
}

pub(crate) fn recovered(world: &World) -> proxy_core::Recovered {
    let mut events = world.events.all().into_iter();
    let found = events.find_map(|event| match event {
        Event::Recovered(recovered) => Some(recovered),
        _ => None,
    });
    found.unwrap()
}

pub(crate) fn folding(world: &World, journal: &MemoryJournal) -> Result<Proxy, Error> {
    let engine = world.script.engine();
    let store: Arc<dyn JournalStore> = Arc::new(journal.clone());
    let builder = world.builder(&engine).checkpoints(FOLDING);
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
fn upkeep_writes_durable_checkpoints_by_itself_in_every_process() {
    const STEPS: i64 = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let mut store = journal_in(&world, folder.path());
    let mut chain = 0;
    for process in 0..2 {
        world.events.clear();
        let proxy = folding(&world, &store).unwrap();
        if process > 0 {
            assert!(recovered(&world).entries < 25_000);
        }
        for step in process * STEPS..(process + 1) * STEPS {
            chain = hash(chain, step);
            let results = proxy.call("chain_step", args![step]).unwrap();
            assert_eq!(results.as_slice()[0], Value::Val(Val::from(chain)));
            if step % 1000 == 0 {
                proxy.tick(Instant::now());
            }
        }
        until("one is written", || {
            proxy.tick(Instant::now());
            world.events.count("checkpoint-durable") > 0
        });
        drop(proxy);
        store = store.lose_power();
    }
}

#[test]
fn a_cut_that_a_checkpoint_has_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0).func(
        "odd",
        "(result i32)",
        "role = \"mutate\"",
        |guest, _| Ok(vec![Val::from(instance_number(guest))]),
    );
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    proxy.call("odd", args![]).unwrap();
    proxy.call("chain_step", args![1_i64]).unwrap();
    proxy.prepare_standby().map(drop).unwrap_err();
    // Its record comes after the entry that the checkpoint is of.
    proxy.skip_divergence(SequenceNumber(1)).unwrap();
    let cuts = proxy.debug_info().cuts;
    assert_eq!(cuts.len(), 1);
    proxy.checkpoint_durably().unwrap().unwrap();
    drop(proxy);
    let proxy = folding(&world, &store.lose_power()).unwrap();
    assert_eq!(proxy.debug_info().cuts, cuts);
}
