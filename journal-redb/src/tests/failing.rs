//! The Nth operation fails, for every N and every fault.

use std::cell::Cell;

use proxy_core::{Flush, JournalStore, Position, StoreError};

use super::{append, checkpoint, create, open, read_all, record};
use crate::RedbJournal;
use crate::manifest::Manifest;
use crate::storage::Storage;
use crate::testing::{Dice, Disk, Fault, Loss, Playback};

/// What a caller knows while the disk fails.
#[derive(Default)]
struct Caller {
    /// The newest record whose append was durable when it returned.
    acknowledged: Position,
    /// The newest record that was ever tried.
    tried: Position,
    /// The first error.
    error: Option<StoreError>,
}

impl Caller {
    /// Thirty calls. The first error ends them.
    fn run(&mut self, disk: &Disk, journal: &RedbJournal) -> Result<(), StoreError> {
        let mut newest = None;
        for call in 0..30 {
            let head = journal.head()?;
            match call % 10 {
                4 => {
                    self.append(journal, 2, Flush::Later)?;
                    journal.flush()?;
                    self.acknowledged = journal.head()?.position;
                }
                7 => {
                    read_all(journal)?;
                }
                9 => {
                    let next = checkpoint(disk, journal, head.position)?;
                    let list: Vec<_> = [Some(next.clone()), newest.replace(next)]
                        .into_iter()
                        .flatten()
                        .collect();
                    journal.truncate(head.epoch, &list)?;
                    self.acknowledged = head.position;
                }
                _ => self.append(journal, 1 + call % 3, Flush::Now)?,
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        journal: &RedbJournal,
        count: u64,
        flush: Flush,
    ) -> Result<(), StoreError> {
        let before = journal.head()?.position;
        let records: Vec<_> = (1..=count).map(|n| record(before.0 + n)).collect();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        self.tried = Position(before.0 + count);
        let head = append(journal, &records, flush)?;
        assert_eq!(head.position, self.tried);
        if flush == Flush::Now {
            self.acknowledged = head.position;
        }
        Ok(())
    }

    /// The journal opens, and has what was acknowledged, and nothing that was not tried.
    fn check(&self, disk: &Disk, what: &str) {
        let journal = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
        let head = journal.head().unwrap();
        assert!(
            head.position >= self.acknowledged,
            "{what}: {}",
            head.position
        );
        assert!(head.position <= self.tried, "{what}: {}", head.position);
        for read in read_all(&journal).unwrap() {
            assert!(
                read.bytes == record(read.position.0),
                "{what}: record {}",
                read.position
            );
        }
    }
}

/// How many operations the calls make on a disk that works, opening included.
fn operations() -> usize {
    let (disk, before) = prepared();
    let journal = open(&disk).unwrap();
    Caller::default().run(&disk, &journal).unwrap();
    drop(journal);
    disk.operations() - before
}

/// A disk with an empty journal.
fn prepared() -> (Disk, usize) {
    let disk = Disk::default();
    drop(create(&disk).unwrap());
    let before = disk.operations();
    (disk, before)
}

/// Lets each operation fail in turn, and gives the outcome to a check.
fn for_every_operation(fault: Fault, check: impl Fn(&Disk, Option<RedbJournal>, Caller, String)) {
    let operations = operations();
    for operation in 0..operations {
        let (disk, before) = prepared();
        disk.fail_at(before + operation, fault);
        let mut caller = Caller::default();
        let journal = match open(&disk) {
            Ok(journal) => {
                caller.error = caller.run(&disk, &journal).err();
                Some(journal)
            }
            Err(error) => {
                caller.error = Some(error);
                None
            }
        };
        check(
            &disk,
            journal,
            caller,
            format!("{fault:?} in operation {operation} of {operations}"),
        );
    }
    println!("{fault:?}: {operations} operations");
}

#[test]
fn a_full_disk_loses_nothing_and_is_got_over_without_opening_again() {
    for fault in [Fault::Full, Fault::ShortThenFull, Fault::OpenFiles] {
        let got_over = Cell::new(0);
        for_every_operation(fault, |disk, journal, mut caller, what| {
            let Some(error) = caller.error.take() else {
                return;
            };
            let is_known = matches!(error, StoreError::Full { .. })
                || matches!(error, StoreError::Unreadable { .. });
            assert!(is_known, "{what}: {error}");
            if let Some(journal) = journal {
                let head = journal.head().unwrap();
                let again = append(&journal, &[&vec![1; 70_000]], Flush::Now);
                if let Err(error) = &again {
                    assert!(matches!(error, StoreError::Full { .. }), "{what}: {error}");
                    assert_eq!(journal.head().unwrap(), head, "{what}");
                    disk.mend();
                    caller
                        .append(&journal, 2, Flush::Now)
                        .unwrap_or_else(|error| {
                            panic!("{what}: there is room again, and yet {error}")
                        });
                    let read = journal.read_after(head.position, 1 << 20).unwrap();
                    assert_eq!(read.len(), 2, "{what}");
                    got_over.set(got_over.get() + 1);
                    drop(journal);
                } else {
                    // It was something else than the journal that had no room.
                    return;
                }
            }
            disk.mend();
            caller.check(disk, &what);
            caller.check(&disk.after_power_loss(), &what);
        });
        println!("{fault:?}: got over in {} places", got_over.get());
        assert!(got_over.get() > 20);
    }
}

/// A disk that has room for the list of checkpoints, and none for what redb writes to drop records.
#[test]
fn a_checkpoint_takes_the_place_of_records_that_there_is_no_room_to_drop() {
    let records = vec![&[1; 100][..]; 200];
    let kept = Position(199);
    let pending = |operation: usize| {
        let (disk, _) = prepared();
        let journal = open(&disk).unwrap();
        append(&journal, &records, Flush::Now).unwrap();
        let list = [checkpoint(&disk, &journal, kept).unwrap()];
        let epoch = journal.head().unwrap().epoch;
        disk.fail_at(disk.operations() + operation, Fault::Full);
        match journal.truncate(epoch, &list) {
            Ok(head) if head.first == Position(1) => Some(disk),
            Ok(head) => {
                assert_eq!(head.first, kept.next());
                None
            }
            Err(error) => {
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                None
            }
        }
    };
    let disks: Vec<Disk> = (0..60).filter_map(pending).collect();
    assert!(!disks.is_empty());
    let mut opened = 0;
    for disk in disks {
        for operation in 0..60 {
            let copy = disk.copy();
            copy.fail_at(operation, Fault::Full);
            match open(&copy) {
                Ok(journal) => {
                    opened += usize::from(journal.head().unwrap().first == Position(1));
                    assert_eq!(read_all(&journal).unwrap().last().unwrap().bytes, [1; 100]);
                }
                Err(error) => assert!(matches!(error, StoreError::Full { .. }), "{error}"),
            }
        }
        let copy = disk.copy();
        let journal = open(&copy).unwrap();
        assert_eq!(
            journal.head().unwrap().first,
            kept.next(),
            "they went later"
        );
        assert_eq!(journal.checkpoints().unwrap().len(), 1);
        assert_eq!(read_all(&journal).unwrap().len(), 1);
    }
    assert!(opened > 0, "none was opened without room to drop them");
}

#[test]
fn a_full_disk_still_gives_what_it_has() {
    let (disk, _) = prepared();
    let journal = open(&disk).unwrap();
    append(&journal, &[b"one", b"two"], Flush::Now).unwrap();
    append(&journal, &[b"three"], Flush::Later).unwrap();
    disk.limit(0);
    let large = vec![1; 200 << 10];
    let many = vec![&[2; 4000][..]; 200];
    for records in [&[&large[..]][..], &many] {
        let full = append(&journal, records, Flush::Now);
        assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
        let records = read_all(&journal).unwrap();
        assert_eq!(records.len(), 3);
        assert_eq!(records[2].bytes, b"three");
    }
    disk.mend();
    append(&journal, &many, Flush::Now).unwrap();
    assert_eq!(read_all(&journal).unwrap().len(), 203);
}

/// An operator starts the process again because the disk is full. What only reads goes on.
#[test]
fn a_journal_opens_on_a_full_disk_and_takes_records_as_soon_as_there_is_room() {
    for was_killed in [false, true] {
        let (disk, _) = prepared();
        let journal = open(&disk).unwrap();
        append(&journal, &[&[1; 100][..]; 200], Flush::Now).unwrap();
        let disk = if was_killed { disk.copy() } else { disk };
        drop(journal);
        let manifest = disk.bytes("manifest");
        disk.limit(0);
        // Nobody else takes over meanwhile, so it is the same owner each time.
        for _ in 0..3 {
            let journal = open(&disk).unwrap();
            assert_eq!(journal.head().unwrap().epoch, proxy_core::Epoch(3));
            assert_eq!(read_all(&journal).unwrap().len(), 200);
            let full = append(&journal, &[b"x"], Flush::Now);
            assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
            let full = journal.truncate(proxy_core::Epoch(3), &[]);
            assert!(matches!(full, Err(StoreError::Full { .. })), "{full:?}");
            journal.close().unwrap();
            assert_eq!(disk.bytes("manifest"), manifest);
        }
        let journal = open(&disk).unwrap();
        disk.mend();
        let head = append(&journal, &[b"x"], Flush::Now).unwrap();
        assert_eq!((head.position, head.epoch.0), (Position(201), 3));
        assert_ne!(disk.bytes("manifest"), manifest, "the owner is noted first");
        // A copy does not know what was flushed.
        let after_power_loss = (!was_killed).then(|| disk.after_power_loss());
        for disk in [Some(disk.copy()), after_power_loss].into_iter().flatten() {
            let next = open(&disk).unwrap();
            assert_eq!(next.head().unwrap().epoch.0, 4);
            assert_eq!(read_all(&next).unwrap().len(), 201);
        }
    }
}

/// What a process left that died while it wrote a checkpoint takes the room that its next start needs.
#[test]
fn what_nothing_refers_to_makes_room_for_the_next_owner() {
    let (disk, _) = prepared();
    let journal = open(&disk).unwrap();
    append(&journal, &[b"one"], Flush::Now).unwrap();
    drop(journal);
    let used: usize = disk.names().iter().map(|name| disk.bytes(name).len()).sum();
    let left = disk.create("checkpoints/1.77-0.partial").unwrap();
    left.write(0, &[1; 4096]).unwrap();
    disk.limit(used as u64 + 4096);
    let journal = open(&disk).unwrap();
    assert!(!disk.has("checkpoints/1.77-0.partial"));
    let manifest = Manifest::read(&disk).unwrap().unwrap();
    assert_eq!(manifest.epoch, journal.head().unwrap().epoch);
}

#[test]
fn an_error_of_the_disk_stops_the_journal_and_loses_nothing() {
    for fault in [Fault::Io, Fault::Short] {
        let stopped = Cell::new(0);
        for_every_operation(fault, |disk, journal, caller, what| {
            if let (Some(error), Some(journal)) = (&caller.error, &journal) {
                match error {
                    StoreError::Failed { .. } => {
                        check_stopped(journal, &what);
                        stopped.set(stopped.get() + 1);
                    }
                    // It came while something was read, or while a checkpoint's file was written.
                    StoreError::Unreadable { .. } => {}
                    _ => panic!("{what}: {error}"),
                }
            }
            drop(journal);
            caller.check(&disk.copy(), &what);
            caller.check(&disk.after_power_loss(), &what);
        });
        println!("{fault:?}: stopped in {} places", stopped.get());
        assert!(stopped.get() > 50);
    }
}

#[test]
fn a_failed_flush_stops_the_journal_for_good() {
    let stopped = Cell::new(0);
    for_every_operation(Fault::Sync, |disk, journal, caller, what| {
        if let (Some(StoreError::Failed { .. }), Some(journal)) = (&caller.error, &journal) {
            // The fault is over: a flush would succeed now, and mean nothing.
            assert!(!disk.has_fault(), "{what}");
            check_stopped(journal, &what);
            stopped.set(stopped.get() + 1);
        }
        drop(journal);
        let lost = disk.after_power_loss();
        caller.check(&lost, &what);
    });
    println!("stopped in {} places", stopped.get());
    assert!(stopped.get() > 50);
}

/// Nothing goes any more, and nothing is written.
fn check_stopped(journal: &RedbJournal, what: &str) {
    let stopped = [
        journal.head().err(),
        journal.flush().err(),
        journal
            .append(proxy_core::Epoch(2), Position(1), &[b"x"], Flush::Now)
            .err(),
        journal.truncate(proxy_core::Epoch(2), &[]).err(),
    ];
    for error in stopped {
        assert!(
            matches!(error, Some(StoreError::Stopped { .. })),
            "{what}: {error:?}"
        );
    }
}

impl Disk {
    /// The disk when the power is back, without anything that was not flushed.
    fn after_power_loss(&self) -> Self {
        let mut playback = Playback::default();
        for step in self.log() {
            playback.play(&step);
        }
        playback.disk(Loss::All, &mut Dice(0))
    }
}
