//! Copies, and what is left of a damaged journal, on the system's disk.

use std::fs;
use std::path::{Path, PathBuf};

use proxy_core::{CheckpointRef, Flush, JournalStore, Position, StoreError};

use super::{append, identity, read_all, record};
use crate::{JournalCopy, Origin, RedbJournal, Salvaged, salvage};

/// A journal with this many records, the last two of which are flushed together.
fn journal(path: &Path, count: u64) -> RedbJournal {
    let journal = RedbJournal::create(path, identity()).unwrap();
    let records: Vec<_> = (1..=count).map(record).collect();
    let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
    append(&journal, &records, Flush::Now).unwrap();
    journal
}

fn checkpoint(journal: &RedbJournal, position: u64) -> CheckpointRef {
    let file = format!("{position}.ckpt");
    let folder = journal.checkpoint_folder().unwrap();
    fs::write(folder.join(&file), b"checkpoint").unwrap();
    CheckpointRef {
        position: Position(position),
        hash: journal.hash_at(Position(position)).unwrap(),
        file,
        bytes: 10,
    }
}

/// Keeps checkpoints at these positions, newest first, and drops what comes before the oldest.
fn truncate(journal: &RedbJournal, positions: &[u64]) {
    let list: Vec<_> = positions
        .iter()
        .map(|at| checkpoint(journal, *at))
        .collect();
    let epoch = journal.head().unwrap().epoch;
    journal.truncate(epoch, &list).unwrap();
}

fn origin(journal: &RedbJournal) -> Origin {
    let head = journal.head().unwrap();
    let position = head.first.previous();
    Origin {
        id: journal.id(),
        identity: journal.identity().clone(),
        epoch: head.epoch,
        position,
        hash: journal.hash_at(position).unwrap(),
    }
}

fn paths() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    (folder, from, to)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "it is called as one that may refuse"
)]
fn good(_: &Path) -> Result<(), String> {
    Ok(())
}

#[test]
fn a_copy_is_the_same_journal() {
    let (_folder, from, to) = paths();
    let source = journal(&from, 60);
    truncate(&source, &[20, 10]);
    let mut copy = JournalCopy::create(&to, origin(&source)).unwrap();
    for record in read_all(&source).unwrap() {
        copy.append(&record).unwrap();
    }
    let list = source.checkpoints().unwrap();
    for checkpoint in &list {
        fs::write(
            copy.checkpoint_folder().join(&checkpoint.file),
            b"checkpoint",
        )
        .unwrap();
    }
    let head = copy.finish(list.clone()).unwrap();
    assert_eq!(head, source.head().unwrap());
    let copied = RedbJournal::open_read_only(&to).unwrap();
    assert_eq!(copied.id(), source.id());
    assert_eq!(copied.head().unwrap(), head);
    assert_eq!(copied.checkpoints().unwrap(), list);
    assert_eq!(read_all(&copied).unwrap(), read_all(&source).unwrap());
    drop(copied);
    // Its owner goes on with it.
    let owned = RedbJournal::open(&to).unwrap();
    append(&owned, &[b"more"], Flush::Now).unwrap();
}

/// The names in a folder, and in those within it.
fn names(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            let within = self::names(&entry.path()).into_iter();
            names.extend(within.map(|file| format!("{name}/{file}")));
        }
        names.push(name);
    }
    names.sort();
    names
}

#[test]
fn a_copy_that_is_given_up_takes_with_it_what_it_has_made() {
    let (folder, from, to) = paths();
    let source = journal(&from, 30);
    let list = vec![checkpoint(&source, 10)];
    let records = read_all(&source).unwrap();
    let begin = |to: &Path| {
        let mut copy = JournalCopy::create(to, origin(&source)).unwrap();
        copy.append(&records[0]).unwrap();
        fs::write(copy.checkpoint_folder().join("1-aa.state"), b"half").unwrap();
        copy
    };
    drop(begin(&to));
    assert!(!to.exists());
    // The end is no better: the checkpoint is of a record that the copy has not.
    begin(&to).finish(list).unwrap_err();
    assert!(!to.exists());
    // A directory that was there stays.
    let there = folder.path().join("there");
    fs::create_dir(&there).unwrap();
    drop(begin(&there));
    assert_eq!(names(&there), Vec::<String>::new());
}

#[test]
fn a_directory_of_somebody_elses_stays_as_it_is() {
    let (folder, from, _) = paths();
    let source = journal(&from, 1);
    for file in [
        "notes",
        "checkpoints/model.bin",
        "objects/teapot.obj",
        "checkpoints/1",
    ] {
        let to = folder.path().join(file.replace('/', "-"));
        fs::create_dir_all(to.join(file).parent().unwrap()).unwrap();
        fs::write(to.join(file), b"theirs").unwrap();
        let before = names(&to);
        let refused = [
            JournalCopy::create(&to, origin(&source)).map(drop),
            RedbJournal::create(&to, identity()).map(drop),
        ];
        for refused in refused {
            let error = refused.unwrap_err();
            assert!(
                matches!(error, StoreError::Exists { .. }),
                "{file}: {error}"
            );
        }
        assert_eq!(names(&to), before);
    }
}

#[test]
fn what_a_copy_left_whose_process_was_killed_is_in_nobodys_way() {
    let (_folder, from, to) = paths();
    let source = journal(&from, 30);
    let records = read_all(&source).unwrap();
    let object = "0123456789abcdef".repeat(4);
    for folder in ["objects", "checkpoints"] {
        fs::create_dir_all(to.join(folder)).unwrap();
    }
    for left in [
        "lock",
        "journal.redb.new",
        "manifest.new",
        &format!("objects/{object}"),
        &format!("objects/{object}.new"),
        "checkpoints/12-0123456789abcdef0123456789abcdef.state",
        "checkpoints/12-0123456789abcdef0123456789abcdef.entries",
    ] {
        fs::write(to.join(left), b"half").unwrap();
    }
    let error = RedbJournal::open(&to).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    let mut copy = JournalCopy::create(&to, origin(&source)).unwrap();
    let left = names(&to);
    assert_eq!(
        left,
        [
            "checkpoints",
            "journal.redb.new",
            "lock",
            "manifest.new",
            "objects"
        ]
    );
    for record in &records {
        copy.append(record).unwrap();
    }
    copy.finish(Vec::new()).unwrap();
    let error = JournalCopy::create(&to, origin(&source)).unwrap_err();
    assert!(matches!(error, StoreError::Exists { .. }), "{error}");
    // Its owner deletes what no record needs.
    RedbJournal::open(&to).unwrap().close().unwrap();
    let left = [
        "checkpoints",
        "journal.redb",
        "lock",
        "manifest",
        "objects",
        "watermark",
    ];
    assert_eq!(names(&to), left);
}

#[test]
fn a_folder_among_the_checkpoints_keeps_no_old_file() {
    let (_folder, from, _) = paths();
    let source = journal(&from, 30);
    truncate(&source, &[20, 10]);
    let folder = source.checkpoint_folder().unwrap();
    for theirs in ["0", "zz"] {
        fs::create_dir(folder.join(theirs)).unwrap();
    }
    truncate(&source, &[30, 20]);
    assert_eq!(names(&folder), ["0", "20.ckpt", "30.ckpt", "zz"]);
}

#[test]
fn what_does_not_belong_into_a_copy_is_refused() {
    let (folder, from, to) = paths();
    let source = journal(&from, 5);
    let records = read_all(&source).unwrap();
    let is_corrupt =
        |result: Result<(), StoreError>| matches!(result.unwrap_err(), StoreError::Corrupt { .. });
    let mut copy = JournalCopy::create(&to, origin(&source)).unwrap();
    assert!(is_corrupt(copy.append(&records[1])), "one is left out");
    let mut other = records[0].clone();
    other.bytes.push(0);
    assert!(is_corrupt(copy.append(&other)), "it is another");
    copy.append(&records[0]).unwrap();
    // Of a checkpoint the file has to be there.
    let list = vec![checkpoint(&source, 1)];
    let error = copy.finish(list).unwrap_err();
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    let wrong = Origin {
        hash: [0; 32],
        ..origin(&source)
    };
    let created = JournalCopy::create(folder.path().join("other"), wrong);
    assert!(is_corrupt(created.map(drop)));
}

/// Changes a byte of the record at a position, wherever redb has it.
fn damage(path: &Path, position: u64) {
    let record = record(position);
    let file = path.join("journal.redb");
    let mut bytes = fs::read(&file).unwrap();
    let found = bytes.windows(record.len()).position(|part| part == record);
    let found = found.expect("the record is in the file");
    bytes[found + record.len() / 2] ^= 1;
    fs::write(&file, bytes).unwrap();
}

/// A record with enough bytes to be found, and few enough to be in redb.
fn in_redb(from: u64) -> u64 {
    let fits = |position: &u64| (100..10_000).contains(&record(*position).len());
    (from..from + 1_000).find(fits).expect("there is one")
}

fn saved(from: &Path, to: &Path) -> (Salvaged, Vec<u64>) {
    let before = fs::read(from.join("journal.redb")).ok();
    let salvaged = salvage(from, to, good).unwrap();
    assert_eq!(fs::read(from.join("journal.redb")).ok(), before);
    let journal = RedbJournal::open(to).unwrap();
    let records = read_all(&journal).unwrap();
    for stored in &records {
        assert_eq!(stored.bytes, record(stored.position.0));
    }
    (
        salvaged,
        records.iter().map(|record| record.position.0).collect(),
    )
}

#[test]
fn the_records_before_the_damage_are_saved() {
    let (_folder, from, to) = paths();
    drop(journal(&from, 60));
    let bad = in_redb(30);
    damage(&from, bad);
    assert!(RedbJournal::open(&from).is_err());
    let (salvaged, records) = saved(&from, &to);
    assert!(salvaged.fault.is_some());
    assert_eq!(salvaged.expected, Position(60));
    assert_eq!(records, (1..bad).collect::<Vec<_>>());
}

#[test]
fn a_checkpoint_leads_beyond_the_damage() {
    let (_folder, from, to) = paths();
    let source = journal(&from, 60);
    truncate(&source, &[40, 10]);
    drop(source);
    let bad = in_redb(12);
    assert!(bad < 40);
    damage(&from, bad);
    let (salvaged, records) = saved(&from, &to);
    assert!(salvaged.fault.is_none(), "{:?}", salvaged.fault);
    assert_eq!(records, (41..=60).collect::<Vec<_>>());
    assert_eq!(salvaged.checkpoints.len(), 1);
    assert_eq!(salvaged.checkpoints_lost.len(), 1, "it is older");
}

#[test]
fn without_its_newest_checkpoint_the_older_one_and_the_records_are_saved() {
    let (_folder, from, to) = paths();
    let source = journal(&from, 60);
    truncate(&source, &[40, 10]);
    drop(source);
    fs::write(from.join("checkpoints/40.ckpt"), b"cut").unwrap();
    let (salvaged, records) = saved(&from, &to);
    assert_eq!(records, (11..=60).collect::<Vec<_>>());
    let lost = &salvaged.checkpoints_lost[0];
    assert_eq!(
        (lost.0.position, &*lost.1),
        (Position(40), "it has 3 bytes in place of 10")
    );
}

#[test]
fn without_records_there_is_the_newest_checkpoint() {
    let (_folder, from, to) = paths();
    let source = journal(&from, 60);
    truncate(&source, &[40, 10]);
    drop(source);
    fs::remove_file(from.join("journal.redb")).unwrap();
    let (salvaged, records) = saved(&from, &to);
    assert_eq!((salvaged.head.position, records.len()), (Position(40), 0));
    assert!(salvaged.fault.is_some());
}

#[test]
fn nothing_is_made_of_nothing() {
    let (folder, from, to) = paths();
    let error = salvage(&from, &to, good).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    let source = journal(&from, 60);
    let error = salvage(&from, &to, good).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    truncate(&source, &[10]);
    drop(source);
    let refuse = |_: &Path| Err("it is damaged".to_owned());
    let error = salvage(&from, &to, refuse).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    // The records of another journal are not this one's.
    let other = folder.path().join("other");
    drop(journal(&other, 5));
    fs::copy(other.join("journal.redb"), from.join("journal.redb")).unwrap();
    let error = salvage(&from, &to, good).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    fs::remove_file(from.join("manifest")).unwrap();
    assert!(salvage(&from, &to, good).is_err());
    assert!(!to.exists());
}
