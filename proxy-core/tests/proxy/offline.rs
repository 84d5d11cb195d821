//! A journal that nobody owns: looked at without its module, and replayed without being written.

use std::sync::Arc;

use proxy_core::{
    CheckpointKind, Durability, Error, Event, Identity, JournalReader, JournalStore, MemoryJournal,
    OwnedArg, Policy, Proxy, RecordView, ResultView, SequenceNumber, args,
};

use super::durable::with_old_names;
use super::history::FOLDING;
use super::world::{World, add, counter, value};

const ALL: SequenceNumber = SequenceNumber(u64::MAX);

fn journal(world: &World, folder: &std::path::Path) -> MemoryJournal {
    let policy: Policy = world.policy.parse().unwrap();
    let identity = Identity::of(&world.script.wasm(), &policy).unwrap();
    MemoryJournal::new(identity).with_checkpoint_folder(folder)
}

fn kept(world: &World, journal: &MemoryJournal) -> Proxy {
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let store = Arc::new(journal.clone());
    builder.journal(store, Durability::Durable).build().unwrap()
}

fn replayed(
    world: &World,
    journal: &MemoryJournal,
    until: SequenceNumber,
) -> Result<(Proxy, usize), Error> {
    world.events.clear();
    let engine = world.script.engine();
    let builder = world.builder(&engine).checkpoints(FOLDING);
    let proxy = builder.replay(Arc::new(journal.clone()), until).build()?;
    let mut events = world.events.all().into_iter();
    let entries = events.find_map(|event| match event {
        Event::Recovered(recovered) => Some(recovered.entries),
        _ => None,
    });
    Ok((proxy, entries.unwrap_or(0)))
}

#[test]
fn a_replay_applies_what_nothing_needs_too_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed();
    let store = journal(&world, folder.path());
    let proxy = kept(&world, &store);
    let (one, two) = (counter(&proxy), counter(&proxy));
    add(&proxy, two, 7);
    proxy.call("counter_free", args![two]).unwrap();
    add(&proxy, one, 5);
    drop(proxy);
    let head = store.head().unwrap();
    let (proxy, entries) = replayed(&world, &store, ALL).unwrap();
    assert_eq!(entries, 5);
    let one = proxy.object(one.sequence(), 0).unwrap();
    add(&proxy, one, 1);
    assert_eq!(value(&proxy, one), 6, "in memory it goes on");
    assert_eq!(store.head().unwrap(), head);
    let (proxy, entries) = replayed(&world, &store, SequenceNumber(3)).unwrap();
    assert_eq!((entries, proxy.debug_info().objects), (3, 2));
    assert_eq!(proxy.debug_info().journal_last, SequenceNumber(3));
    // A journal in which nothing is has nothing to replay.
    let empty = journal(&world, folder.path());
    let (_, entries) = replayed(&world, &empty, ALL).unwrap();
    assert_eq!((entries, empty.head().unwrap().position.0), (0, 0));
}

#[test]
fn a_replay_begins_with_the_oldest_state_and_hides_no_divergence_behind_a_newer_one() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let store = journal(&world, folder.path());
    let proxy = kept(&world, &store);
    let aside = tempfile::tempdir().unwrap();
    let saved = aside.path().join("first");
    for step in 0..6_i64 {
        proxy.call("chain_step", args![step]).unwrap();
        if step % 2 == 0 {
            proxy.checkpoint_durably().unwrap().unwrap();
        }
        if step == 0 {
            let first = &store.checkpoints().unwrap()[0].file;
            std::fs::copy(folder.path().join(first), &saved).unwrap();
        }
    }
    drop(proxy);
    // The two that are kept have the entries up to 3 and up to 5.
    for (until, entries) in [(ALL, 3), (SequenceNumber(4), 1), (SequenceNumber(3), 0)] {
        let (proxy, applied) = replayed(&world, &store, until).unwrap();
        assert_eq!(applied, entries, "up to {until}");
        assert_eq!(proxy.debug_info().journal_last.0, 3 + entries as u64);
    }
    let error = replayed(&world, &store, SequenceNumber(2))
        .map(drop)
        .unwrap_err();
    let Error::BeforeJournal { until, first } = error else {
        panic!("{error}");
    };
    assert_eq!((until, first), (SequenceNumber(2), SequenceNumber(3)));
    // Somebody puts the first state in the older one's place, with good hashes.
    let older = folder
        .path()
        .join(&with_old_names(&store, folder.path())[1].file);
    std::fs::remove_file(&older).unwrap();
    std::fs::copy(&saved, &older).unwrap();
    let error = replayed(&world, &store, ALL).map(drop).unwrap_err();
    assert!(matches!(error, Error::Divergence(_)), "{error}");
}

#[test]
fn a_journal_is_read_without_its_module() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed();
    let store = journal(&world, folder.path());
    let proxy = kept(&world, &store);
    let one = counter(&proxy);
    proxy
        .call_with_id(b"an id", "counter_add", args![one, 5])
        .unwrap();
    proxy.call("counter_free", args![one]).unwrap();
    let reader = JournalReader::new(&store).unwrap();
    assert_eq!(reader.subject().module, proxy.module_info().hash());
    let records: Vec<_> = reader.records().unwrap().map(Result::unwrap).collect();
    let [genesis, create, add, free] = &*records else {
        panic!("{records:?}");
    };
    assert!(matches!(genesis.record, RecordView::Genesis { .. }));
    let RecordView::Entry {
        entry,
        answer: None,
    } = &create.record
    else {
        panic!("{create:?}");
    };
    assert_eq!(
        (entry.sequence, &*entry.export),
        (SequenceNumber(1), "counter_new")
    );
    let ResultView::Object { handle, .. } = &entry.results[0] else {
        panic!("{entry:?}");
    };
    assert_eq!((handle.sequence(), handle.result()), (one.sequence(), 0));
    let RecordView::Entry {
        entry,
        answer: Some(answer),
    } = &add.record
    else {
        panic!("{add:?}");
    };
    assert_eq!(answer.id, b"an id");
    assert!(matches!(&entry.args[0], OwnedArg::Handle(own) if own.sequence() == one.sequence()));
    let RecordView::Entry { entry, .. } = &free.record else {
        panic!("{free:?}");
    };
    assert_eq!(entry.frees.len(), 1);
    let after = reader.records_after(add.position).unwrap();
    assert_eq!(after.count(), 1);
    // A checkpoint takes their place, and is looked at too.
    let two = counter(&proxy);
    proxy.checkpoint_durably().unwrap().unwrap();
    let reader = JournalReader::new(&store).unwrap();
    assert_eq!(reader.records().unwrap().count(), 0);
    let checkpoints = reader.checkpoints().unwrap();
    let content = checkpoints[0].content.as_ref().unwrap();
    assert_eq!(
        (content.sequence, content.objects, content.answers),
        (two.sequence(), 1, 1)
    );
    assert!(matches!(content.kind, CheckpointKind::State { .. }));
    let file = folder.path().join(&checkpoints[0].reference.file);
    let mut bytes = std::fs::read(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let damaged = JournalReader::new(&store).unwrap().checkpoints().unwrap();
    assert!(damaged[0].content.is_err());
    std::fs::write(&file, &bytes[..50]).unwrap();
    let cut = JournalReader::new(&store).unwrap().checkpoints().unwrap();
    assert!(
        cut[0]
            .content
            .as_ref()
            .unwrap_err()
            .contains("50 bytes in place of")
    );
}

#[test]
fn what_no_proxy_made_is_not_read() {
    let foreign = MemoryJournal::new(Identity {
        module: [0; 32],
        notes: b"something".to_vec(),
    });
    let error = JournalReader::new(&foreign).unwrap_err();
    assert!(matches!(error, Error::OtherJournal(_)), "{error}");
}
