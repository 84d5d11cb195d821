//! The journal on a disk that fails, fills up, loses power and rots.

mod contract;
mod copying;
mod crash_images;
mod damage;
mod failing;

use std::path::Path;
use std::sync::Arc;

use proxy_core::{
    CheckpointRef, Flush, Head, Identity, JournalStore, Position, StoreError, StoredRecord,
};

use crate::RedbJournal;
use crate::files::CHECKPOINTS;
use crate::storage::{Access, Storage};
use crate::testing::{Dice, Disk};

const PATH: &str = "/journal";

fn identity() -> Identity {
    Identity {
        module: [7; 32],
        notes: b"notes".to_vec(),
    }
}

fn create(disk: &Disk) -> Result<RedbJournal, StoreError> {
    RedbJournal::create_on(Arc::new(disk.clone()), Path::new(PATH), identity())
}

fn open(disk: &Disk) -> Result<RedbJournal, StoreError> {
    RedbJournal::open_on(Arc::new(disk.clone()), Path::new(PATH), Access::Write)
}

fn open_read_only(disk: &Disk) -> Result<RedbJournal, StoreError> {
    RedbJournal::open_on(Arc::new(disk.clone()), Path::new(PATH), Access::Read)
}

fn append(journal: &RedbJournal, records: &[&[u8]], flush: Flush) -> Result<Head, StoreError> {
    let head = journal.head()?;
    journal.append(head.epoch, head.position, records, flush)
}

/// Everything that a journal has, read in pieces.
fn read_all(journal: &RedbJournal) -> Result<Vec<StoredRecord>, StoreError> {
    let mut after = journal.head()?.first.previous();
    let mut all = Vec::new();
    loop {
        let read = journal.read_after(after, 4000)?;
        let Some(last) = read.last() else {
            return Ok(all);
        };
        after = last.position;
        all.extend(read);
    }
}

/// The record that belongs at a position: sizes are small, but for some above the limit of redb's.
fn record(position: u64) -> Vec<u8> {
    let mut dice = Dice(position);
    let len = match dice.roll(24) {
        0 => (64 << 10) + 1 + dice.roll(5000),
        1..4 => dice.roll(6000),
        _ => dice.roll(200),
    };
    let salt = position.to_le_bytes()[0];
    let mut bytes: Vec<_> = (0..=250).cycle().take(len).collect();
    for byte in &mut bytes {
        *byte ^= salt;
    }
    bytes
}

/// Writes a checkpoint's file as its writer does, and gives what names it.
fn checkpoint(
    disk: &Disk,
    journal: &RedbJournal,
    position: Position,
) -> Result<CheckpointRef, StoreError> {
    let hash = journal.hash_at(position)?;
    let file = format!("{position}.ckpt");
    let path = format!("{CHECKPOINTS}/{file}");
    let write = || {
        let opened = disk
            .create(&path)
            .or_else(|_| disk.open(&path, Access::Write))?;
        opened.write(0, b"checkpoint")?;
        opened.sync()?;
        disk.sync_folder(CHECKPOINTS)
    };
    write().map_err(|error| crate::files::unreadable(&path, error))?;
    Ok(CheckpointRef {
        position,
        hash,
        file,
        bytes: 10,
    })
}
