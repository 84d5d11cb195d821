//! A journal that rots, or that somebody changes, is found out or reads as before.
//!
//! `JOURNAL_BIT_FLIPS` says how many bits of the file of records are flipped, one at a time; `all`
//! flips every one.

use std::collections::BTreeMap;

use proxy_core::{Flush, Head, JournalStore, Position, StoreError, StoredRecord};
use redb::{Database, ReadableTable, Table};

use super::{append, checkpoint, create, open, open_read_only, read_all};
use crate::files::{MANIFEST, OBJECTS, RECORDS, WATERMARK};
use crate::records::LOG;
use crate::staged::Staged;
use crate::storage::{Access, Storage};
use crate::testing::{Dice, Disk};

/// How many bits every run flips.
const FLIPS: usize = 10_000;

/// A journal that was truncated, with small records and a large one, some 64 KiB on the disk; once
/// closed, and once as it is when its owner was killed.
fn journals() -> [(&'static str, Disk); 2] {
    let disk = Disk::default();
    let journal = create(&disk).unwrap();
    let large = vec![9; (64 << 10) + 1];
    for position in 1..=40_u8 {
        append(
            &journal,
            &[&vec![position; 300 + usize::from(position) * 20]],
            Flush::Now,
        )
        .unwrap();
    }
    let list = [checkpoint(&disk, &journal, Position(30)).unwrap()];
    journal
        .truncate(journal.head().unwrap().epoch, &list)
        .unwrap();
    append(&journal, &[b"before", &large, b"after"], Flush::Now).unwrap();
    for position in 0..30_u8 {
        append(&journal, &[&vec![position; 900]], Flush::Now).unwrap();
    }
    let killed = disk.copy();
    drop(journal);
    [("closed", disk), ("killed", killed)]
}

fn contents(disk: &Disk) -> (Head, Vec<StoredRecord>) {
    let journal = open_read_only(disk).unwrap();
    (journal.head().unwrap(), read_all(&journal).unwrap())
}

/// What became of a damaged journal: the error's name, or that it reads as before.
fn verdict(disk: &Disk, (head, records): &(Head, Vec<StoredRecord>), what: &str) -> &'static str {
    let journal = match open_read_only(disk) {
        Ok(journal) => journal,
        Err(StoreError::Corrupt { .. }) => return "corrupt",
        Err(StoreError::Older { .. }) => return "older",
        Err(StoreError::Empty { .. }) => return "empty",
        Err(StoreError::Foreign { .. }) => return "foreign",
        Err(error) => panic!("{what}: {error}"),
    };
    let found = journal.head().unwrap();
    let is_same =
        (found.position, found.hash, found.first) == (head.position, head.hash, head.first);
    assert!(is_same, "{what}: {found:?}");
    assert!(read_all(&journal).unwrap() == *records, "{what}");
    "as before"
}

#[test]
fn no_flipped_bit_is_read_as_something_else() {
    for (state, disk) in journals() {
        let expected = contents(&disk);
        let bits = disk.bytes(RECORDS).len() * 8;
        let flips = match std::env::var("JOURNAL_BIT_FLIPS").as_deref() {
            Ok("all") => bits,
            Ok(flips) => flips.parse().unwrap(),
            Err(_) => FLIPS / 2,
        };
        let mut dice = Dice(7);
        let mut verdicts = BTreeMap::new();
        for flip in 0..flips {
            let bit = if flips == bits { flip } else { dice.roll(bits) };
            let flipped = disk.copy();
            flipped.damage(RECORDS, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
            let verdict = verdict(&flipped, &expected, &format!("{state}, bit {bit}"));
            *verdicts.entry(verdict).or_insert(0) += 1;
        }
        println!("{state}: {flips} of {bits} bits: {verdicts:?}");
        assert!(verdicts["corrupt"] > flips / 10);
    }
}

#[test]
fn no_flipped_bit_of_the_small_files_and_objects_is_read_as_something_else() {
    for (state, disk) in journals() {
        let expected = contents(&disk);
        let object = disk
            .names()
            .into_iter()
            .find(|name| name.starts_with(OBJECTS))
            .unwrap();
        for (name, step) in [(MANIFEST, 1), (WATERMARK, 7), (&object, 997)] {
            let bits = disk.bytes(name).len() * 8;
            let mut verdicts = BTreeMap::new();
            for bit in (0..bits).step_by(step) {
                let flipped = disk.copy();
                flipped.damage(name, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
                let verdict = verdict(&flipped, &expected, &format!("{state}, {name}, bit {bit}"));
                *verdicts.entry(verdict).or_insert(0) += 1;
            }
            println!("{state}: {name}: {verdicts:?}");
            assert_eq!(verdicts.contains_key("as before"), name == WATERMARK);
        }
    }
}

/// Changes rows as one who knows redb does.
fn change_rows(disk: &Disk, change: impl FnOnce(&mut Table<'_, u64, &[u8]>)) {
    let file = Staged::new(disk.open(RECORDS, Access::Write).unwrap()).unwrap();
    file.admit().unwrap();
    let database = Database::builder().create_with_backend(file).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(LOG).unwrap());
    transaction.commit().unwrap();
}

fn row(table: &Table<'_, u64, &[u8]>, position: u64) -> Vec<u8> {
    table.get(position).unwrap().unwrap().value().to_vec()
}

/// Changes rows and expects a complaint about the record at a position.
fn expect_corrupt(position: u64, change: impl Fn(&mut Table<'_, u64, &[u8]>)) {
    for (state, disk) in journals() {
        let watched = disk.copy();
        change_rows(&watched, &change);
        let before = watched.bytes(RECORDS);
        let error = open(&watched).unwrap_err();
        let expected = Position(position);
        assert!(
            matches!(error, StoreError::Corrupt { position, .. } if position == expected),
            "{state}: {error}"
        );
        assert_eq!(
            watched.bytes(RECORDS),
            before,
            "{state}: refused, and not changed"
        );
    }
}

#[test]
fn a_record_that_was_deleted_is_missed() {
    expect_corrupt(50, |table| drop(table.remove(50)));
    expect_corrupt(31, |table| drop(table.remove(31)));
}

#[test]
fn a_record_that_was_copied_over_another_is_found() {
    expect_corrupt(51, |table| {
        let copied = row(table, 50);
        table.insert(51, copied.as_slice()).unwrap();
    });
}

#[test]
fn records_that_changed_places_are_found() {
    expect_corrupt(60, |table| {
        let (one, other) = (row(table, 60), row(table, 61));
        table.insert(60, other.as_slice()).unwrap();
        table.insert(61, one.as_slice()).unwrap();
    });
}

#[test]
fn a_record_with_another_content_and_its_own_hash_is_found() {
    expect_corrupt(70, |table| {
        let mut changed = row(table, 70);
        *changed.last_mut().unwrap() ^= 1;
        table.insert(70, changed.as_slice()).unwrap();
    });
}

#[test]
fn a_row_without_a_known_layout_is_found() {
    expect_corrupt(45, |table| drop(table.insert(45, &[0; 32][..])));
    expect_corrupt(45, |table| drop(table.insert(45, &[7; 60][..])));
    expect_corrupt(45, |table| drop(table.insert(45, &[][..])));
}

#[test]
fn records_before_the_beginning_are_never_read() {
    for (state, disk) in journals() {
        let expected = contents(&disk);
        change_rows(&disk, |table| drop(table.insert(3, &[1; 50][..])));
        assert_eq!(verdict(&disk, &expected, state), "as before");
    }
}

/// A chain that is whole, and ends elsewhere, is told by the head that is kept outside of it.
#[test]
fn a_whole_chain_that_was_cut_or_replaced_is_found() {
    for (state, disk) in journals() {
        let cut = disk.copy();
        change_rows(&cut, |table| drop(table.remove(73)));
        let error = open(&cut).unwrap_err();
        let (expected, got) = (Position(73), Position(72));
        assert!(
            matches!(error, StoreError::Older { expected: e, got: g } if (e, g) == (expected, got)),
            "{state}: {error}"
        );
        let replaced = disk.copy();
        change_rows(&replaced, |table| {
            let mut changed = row(table, 73);
            let before = row(table, 72)[..32].try_into().unwrap();
            changed[33] ^= 1;
            let hash = proxy_core::chain_next(&before, Position(73), &changed[33..]);
            changed[..32].copy_from_slice(&hash);
            table.insert(73, changed.as_slice()).unwrap();
        });
        let error = open(&replaced).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Corrupt {
                    position: Position(73),
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_was_cut_filled_with_zeros_or_grew_is_found_or_reads_as_before() {
    for (state, disk) in journals() {
        let expected = contents(&disk);
        let len = disk.bytes(RECORDS).len();
        let mut verdicts = BTreeMap::new();
        let mut judge = |what: String, change: &dyn Fn(&mut Vec<u8>)| {
            let damaged = disk.copy();
            damaged.damage(RECORDS, change);
            *verdicts
                .entry(verdict(&damaged, &expected, &what))
                .or_insert(0) += 1;
        };
        for at in (0..len).step_by(2048) {
            judge(format!("{state}, cut at {at}"), &|bytes| bytes.truncate(at));
            judge(format!("{state}, zeros from {at}"), &|bytes| {
                bytes[at..].fill(0);
            });
            judge(format!("{state}, a page of zeros at {at}"), &|bytes| {
                let end = len.min(at + 4096);
                bytes[at..end].fill(0);
            });
        }
        for more in [1, 512, 4096, 100_000] {
            judge(format!("{state}, {more} more"), &|bytes| {
                bytes.resize(len + more, 0xa5);
            });
        }
        println!("{state}: {verdicts:?}");
        assert!(verdicts["corrupt"] > len / 4096);
    }
}

#[test]
fn an_object_that_is_gone_or_another_is_found() {
    for (state, disk) in journals() {
        let object = disk
            .names()
            .into_iter()
            .find(|name| name.starts_with(OBJECTS))
            .unwrap();
        let gone = disk.copy();
        gone.remove(&object).unwrap();
        let other = disk.copy();
        other.damage(&object, |bytes| bytes.truncate(64 << 10));
        for disk in [gone, other] {
            let error = open(&disk).unwrap_err();
            assert!(
                matches!(
                    error,
                    StoreError::Corrupt {
                        position: Position(42),
                        ..
                    }
                ),
                "{state}: {error}"
            );
        }
    }
}
