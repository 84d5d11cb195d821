//! What the trait promises, on a disk that works.

use proxy_core::{Epoch, Flush, JournalId, JournalStore, Position, RECORD_BYTES_MAX, StoreError};

use super::{append, checkpoint, create, identity, open, open_read_only, read_all, record};
use crate::RedbJournal;
use crate::files::{MANIFEST, OBJECTS, RECORDS, WATERMARK};
use crate::storage::Storage;
use crate::testing::{Disk, Loss, Playback, Step};

#[test]
fn what_was_appended_is_read_after_opening_again() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let records: Vec<_> = (1..=60).map(record).collect();
    assert!(
        records.iter().any(|record| record.len() > 64 << 10),
        "objects too"
    );
    for pair in records.chunks(2) {
        append(&journal, &[&pair[0], &pair[1]], Flush::Now).unwrap();
    }
    let head = journal.head().unwrap();
    assert_eq!(
        (head.position, head.first, head.epoch),
        (Position(60), Position(1), Epoch(1))
    );
    let before = read_all(&journal).unwrap();
    journal.close().unwrap();

    let journal = open(&disk).unwrap();
    let again = journal.head().unwrap();
    assert_eq!((again.hash, again.epoch), (head.hash, Epoch(2)));
    assert_eq!(read_all(&journal).unwrap(), before);
    assert!(before.iter().map(|record| &record.bytes).eq(&records));
    assert_eq!(before.last().unwrap().hash, head.hash);
}

#[test]
fn an_append_is_one_flush() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    for _ in 0..20 {
        append(&journal, &[b"warm"], Flush::Now).unwrap();
    }
    let before = disk.log().len();
    append(&journal, &[b"one", b"two", b"three"], Flush::Now).unwrap();
    let log = disk.log();
    let flushes = log[before..]
        .iter()
        .filter(|step| matches!(step, Step::Sync(_)));
    assert_eq!(flushes.count(), 1, "{:?}", &log[before..]);
}

#[test]
fn what_waits_for_a_flush_is_read_and_counts() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    let steps = disk.log().len();
    let head = append(&journal, &[b"two", b"three"], Flush::Later).unwrap();
    assert_eq!(disk.log().len(), steps, "nothing was written yet");
    assert_eq!(head.position, Position(3));
    assert_eq!(read_all(&journal).unwrap().len(), 3);
    assert_eq!(
        journal.read_after(Position(2), 100).unwrap()[0].bytes,
        b"three"
    );
    assert_eq!(journal.hash_at(Position(3)).unwrap(), head.hash);
    journal.flush().unwrap();
    let after = open(&after_power_loss(&disk)).unwrap();
    assert_eq!(after.head().unwrap().position, Position(3));
}

#[test]
fn an_append_that_is_durable_makes_those_before_it_durable() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Later).unwrap();
    append(&journal, &[b"two"], Flush::Now).unwrap();
    let after = open(&after_power_loss(&disk)).unwrap();
    assert_eq!(read_all(&after).unwrap().len(), 2);
}

#[test]
fn a_truncation_makes_durable_what_waits() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    append(&journal, &[b"two", b"three"], Flush::Later).unwrap();
    let list = [2, 1].map(|at| checkpoint(&disk, &journal, Position(at)).unwrap());
    journal.truncate(Epoch(1), &list).unwrap();
    let after = open(&after_power_loss(&disk)).unwrap();
    assert_eq!(after.head().unwrap().position, Position(3));
    assert_eq!(read_all(&after).unwrap().len(), 2);
}

#[test]
fn closing_flushes() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Later).unwrap();
    drop(journal);
    assert_eq!(open(&disk).unwrap().head().unwrap().position, Position(1));
}

#[test]
fn what_waits_for_a_flush_is_bounded() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let large = vec![1; 10 << 20];
    append(&journal, &[&large], Flush::Later).unwrap();
    append(&journal, &[&large], Flush::Later).unwrap();
    let after = open(&after_power_loss(&disk)).unwrap();
    assert_eq!(after.head().unwrap().position, Position(2));
}

#[test]
fn an_append_at_another_place_or_by_another_owner_changes_nothing() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    let behind = journal.append(Epoch(1), Position::ZERO, &[b"x"], Flush::Now);
    assert!(
        matches!(behind, Err(StoreError::OutOfOrder { .. })),
        "{behind:?}"
    );
    let ahead = journal.append(Epoch(1), Position(2), &[b"x"], Flush::Now);
    assert!(
        matches!(ahead, Err(StoreError::OutOfOrder { .. })),
        "{ahead:?}"
    );
    let other = journal.append(Epoch(2), Position(1), &[b"x"], Flush::Now);
    assert!(
        matches!(other, Err(StoreError::NotOwner { .. })),
        "{other:?}"
    );
    let truncated = journal.truncate(Epoch(0), &[]);
    assert!(
        matches!(truncated, Err(StoreError::NotOwner { .. })),
        "{truncated:?}"
    );
    assert_eq!(read_all(&journal).unwrap().len(), 1);
}

#[test]
fn a_record_beyond_the_limit_is_refused() {
    let journal = create(&Disk::default()).unwrap();
    let large = vec![0; usize::try_from(RECORD_BYTES_MAX + 1).unwrap()];
    let refused = append(&journal, &[b"small", &large], Flush::Now);
    assert!(
        matches!(refused, Err(StoreError::TooLarge { .. })),
        "{refused:?}"
    );
    assert_eq!(journal.head().unwrap().position, Position::ZERO);
}

#[test]
fn checkpoints_take_the_place_of_records_and_files_go() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let large = vec![1; 100 << 10];
    append(&journal, &[b"one", &large, b"three", b"four"], Flush::Now).unwrap();
    assert_eq!(
        disk.names()
            .iter()
            .filter(|name| name.starts_with(OBJECTS))
            .count(),
        1
    );
    let list = [2, 3].map(|at| checkpoint(&disk, &journal, Position(at)).unwrap());
    let unlisted = checkpoint(&disk, &journal, Position(1)).unwrap();
    let stamps = [&list[0], &unlisted].map(|of| format!("checkpoints/{}.stamp", of.file));
    for stamp in &stamps {
        disk.create(stamp).unwrap();
    }

    let older = &list[..1];
    let head = journal.truncate(Epoch(1), older).unwrap();
    assert_eq!((head.position, head.first), (Position(4), Position(3)));
    assert_eq!(journal.checkpoints().unwrap(), older);
    assert!(!disk.has(&format!("checkpoints/{}", unlisted.file)));
    assert!(disk.has(&stamps[0]) && !disk.has(&stamps[1]));
    assert!(!disk.names().iter().any(|name| name.starts_with(OBJECTS)));
    let gone = journal.read_after(Position(1), 100);
    assert!(
        matches!(gone, Err(StoreError::Truncated { .. })),
        "{gone:?}"
    );
    assert_eq!(journal.hash_at(Position(2)).unwrap(), list[0].hash);
    let before = read_all(&journal).unwrap();
    drop(journal);

    let journal = open(&disk).unwrap();
    assert_eq!(journal.head().unwrap().first, Position(3));
    assert_eq!(journal.checkpoints().unwrap(), older);
    assert_eq!(read_all(&journal).unwrap(), before);
}

#[test]
fn a_checkpoint_without_its_file_is_refused() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    let good = checkpoint(&disk, &journal, Position(1)).unwrap();
    let mut absent = good.clone();
    "2.ckpt".clone_into(&mut absent.file);
    let mut short = good.clone();
    short.bytes = 9;
    let mut beyond = good.clone();
    beyond.position = Position(2);
    for list in [absent, short, beyond] {
        let refused = journal.truncate(Epoch(1), &[list]);
        assert!(
            matches!(refused, Err(StoreError::Checkpoint { .. })),
            "{refused:?}"
        );
    }
    assert_eq!(journal.head().unwrap().first, Position(1));
    journal.truncate(Epoch(1), &[good]).unwrap();
}

#[test]
fn a_journal_that_is_truncated_stays_small() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let record = [1; 2000];
    let batch = vec![&record[..]; 500];
    let mut sizes = Vec::new();
    for _ in 0..12 {
        for _ in 0..10 {
            append(&journal, &batch, Flush::Now).unwrap();
        }
        let head = journal.head().unwrap();
        let newest = checkpoint(&disk, &journal, head.position).unwrap();
        sizes.push(journal.bytes().unwrap());
        journal.truncate(head.epoch, &[newest]).unwrap();
    }
    let small = journal.bytes().unwrap();
    assert!(small < 1 << 20, "{small} bytes with nothing in it");
    let most = sizes.iter().max().unwrap();
    assert!(*most < 40 << 20, "10 MB of records took up to {most} bytes");
    drop(journal);
    assert_eq!(read_all(&open(&disk).unwrap()).unwrap(), []);
}

#[test]
fn an_open_journal_is_in_use() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    for other in [open(&disk), create(&disk), open_read_only(&disk)] {
        assert!(matches!(other, Err(StoreError::InUse { .. })), "{other:?}");
    }
    drop(journal);
    open(&disk).unwrap();
}

/// A copy may lack folders that were empty.
#[test]
fn folders_that_are_gone_are_empty() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let journal = RedbJournal::create(&path, identity()).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    drop(journal);
    for gone in ["objects", "checkpoints"] {
        std::fs::remove_dir(path.join(gone)).unwrap();
    }
    let reader = RedbJournal::open_read_only(&path).unwrap();
    assert!(reader.bytes().unwrap() > 0);
    drop(reader);
    let journal = RedbJournal::open(&path).unwrap();
    append(&journal, &[&vec![1; 70_000]], Flush::Now).unwrap();
    assert_eq!(read_all(&journal).unwrap().len(), 2);
}

#[test]
fn what_is_no_file_is_refused_by_name() {
    for name in [MANIFEST, RECORDS, WATERMARK, "lock"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        drop(RedbJournal::create(&path, identity()).unwrap());
        std::fs::remove_file(path.join(name)).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(path.join(name))
            .status();
        assert!(made.unwrap().success());
        let error = RedbJournal::open(&path).unwrap_err().to_string();
        assert!(error.contains("it is not a file"), "{name}: {error}");
    }
}

#[test]
fn nothing_is_left_in_a_directory_that_is_no_journal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "somebody's").unwrap();
    let refused = RedbJournal::create(folder.path(), identity());
    assert!(
        matches!(refused, Err(StoreError::Exists { .. })),
        "{refused:?}"
    );
    let names = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(names.count(), 1);
}

#[test]
fn reading_changes_nothing() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one", b"two"], Flush::Now).unwrap();
    let list = [checkpoint(&disk, &journal, Position(1)).unwrap()];
    journal.truncate(Epoch(1), &list).unwrap();
    append(&journal, &[b"three"], Flush::Now).unwrap();
    // Its owner was killed: redb has to repair the file.
    let killed = disk.copy();
    let contents = || {
        killed
            .names()
            .into_iter()
            .map(|name| (killed.bytes(&name), name))
    };
    let before: Vec<_> = contents().collect();
    let reader = open_read_only(&killed).unwrap();
    assert_eq!(reader.head().unwrap(), journal.head().unwrap());
    assert_eq!(read_all(&reader).unwrap(), read_all(&journal).unwrap());
    assert_eq!(reader.checkpoints().unwrap(), list);
    let refused = append(&reader, &[b"x"], Flush::Now);
    assert!(
        matches!(refused, Err(StoreError::ReadOnly { .. })),
        "{refused:?}"
    );
    drop(reader);
    assert!(contents().eq(before));
    assert_eq!(killed.log().len(), 0);
}

#[test]
fn there_is_one_journal_in_a_directory_or_none() {
    let disk = Disk::default();
    let missing = open(&disk);
    assert!(
        matches!(missing, Err(StoreError::Missing { .. })),
        "{missing:?}"
    );
    drop(create(&disk).unwrap());
    let exists = create(&disk);
    assert!(
        matches!(exists, Err(StoreError::Exists { .. })),
        "{exists:?}"
    );
}

#[test]
fn files_that_are_gone_empty_or_foreign_are_named() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    drop(journal);
    let other = Disk::default();
    let journal = create(&other).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    let foreign_id = journal.id();
    drop(journal);

    let with = |change: &dyn Fn(&Disk)| {
        let disk = disk.copy();
        change(&disk);
        open(&disk).unwrap_err()
    };
    let remove = |disk: &Disk, name: &str| Storage::remove(disk, name).unwrap();

    let error = with(&|disk| remove(disk, RECORDS));
    assert!(
        matches!(
            error,
            StoreError::Empty {
                expected: Position(1),
                ..
            }
        ),
        "{error}"
    );
    let error = with(&|disk| disk.damage(RECORDS, Vec::clear));
    assert!(
        matches!(
            error,
            StoreError::Empty {
                expected: Position(1),
                ..
            }
        ),
        "{error}"
    );
    let error = with(&|disk| remove(disk, MANIFEST));
    assert!(
        matches!(
            error,
            StoreError::Corrupt {
                position: Position::ZERO,
                ..
            }
        ),
        "{error}"
    );
    let error = with(&|disk| disk.damage(RECORDS, |bytes| *bytes = other.bytes(RECORDS)));
    let is_foreign = |got: JournalId| got == foreign_id;
    assert!(
        matches!(error, StoreError::Foreign { got, .. } if is_foreign(got)),
        "{error}"
    );
    let error = with(&|disk| disk.damage(RECORDS, |bytes| bytes.fill(0)));
    assert!(
        matches!(
            error,
            StoreError::Corrupt {
                position: Position::ZERO,
                ..
            }
        ),
        "{error}"
    );
    // Nothing is lost without it, but for the knowledge of how far the journal went.
    let without = disk.copy();
    remove(&without, WATERMARK);
    assert_eq!(
        open(&without).unwrap().head().unwrap().position,
        Position(1)
    );
}

#[test]
fn an_older_copy_of_the_records_is_refused() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    drop(journal);
    let older = disk.bytes(RECORDS);
    let journal = open(&disk).unwrap();
    append(&journal, &[b"two"], Flush::Now).unwrap();
    // Once with the manifest written at the end, and once without.
    let killed = disk.copy();
    drop(journal);
    for disk in [disk, killed] {
        disk.damage(RECORDS, |bytes| bytes.clone_from(&older));
        let error = open(&disk).unwrap_err();
        let (expected, got) = (Position(2), Position(1));
        assert!(
            matches!(error, StoreError::Older { expected: e, got: g } if (e, g) == (expected, got)),
            "{error}"
        );
        assert_eq!(disk.bytes(RECORDS), older, "what was refused is unchanged");
    }
}

#[test]
fn a_manifest_that_is_older_than_the_records_is_refused() {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let older = disk.bytes(MANIFEST);
    append(&journal, &[b"one"], Flush::Now).unwrap();
    let list = [checkpoint(&disk, &journal, Position(1)).unwrap()];
    journal.truncate(Epoch(1), &list).unwrap();
    drop(journal);
    disk.damage(MANIFEST, |bytes| *bytes = older);
    let error = open(&disk).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Corrupt {
                position: Position(1),
                ..
            }
        ),
        "{error}"
    );
}

/// The disk when the power is back, without anything that was not flushed.
fn after_power_loss(disk: &Disk) -> Disk {
    let mut playback = Playback::default();
    for step in disk.log() {
        playback.play(&step);
    }
    playback.disk(Loss::All, &mut crate::testing::Dice(0))
}
