//! A store in memory, for tests: what it keeps survives a proxy, and faults can be asked for.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, Position,
    RECORD_BYTES_MAX, StoreError, StoredRecord, chain_next, chain_origin, check_checkpoints,
};

/// A journal that is gone with the process. Openings share what it keeps, and the last one made is
/// the owner.
///
/// It keeps to the contract as a store on a disk does, with faults at command, so what a proxy does
/// about them can be tested without a disk.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    identity: Arc<Identity>,
    checkpoint_folder: Option<PathBuf>,
    state: Arc<Mutex<State>>,
}

/// What goes wrong in a [`MemoryJournal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every append finds the disk full, until [`MemoryJournal::mend`].
    Full,
    /// The next flush fails, and the store stops.
    Flush,
}

#[derive(Debug)]
struct State {
    /// The hash before the oldest record.
    base: [u8; 32],
    head: Head,
    records: Vec<StoredRecord>,
    /// The newest record that a loss of power leaves.
    flushed: Position,
    checkpoints: Vec<CheckpointRef>,
    fault: Option<Fault>,
    stopped: Option<String>,
}

const ID: JournalId = JournalId(*b"journal in memor");

impl MemoryJournal {
    /// An empty journal with its first owner.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        let origin = chain_origin(ID, &identity);
        let state = State {
            base: origin,
            head: Head {
                position: Position::ZERO,
                hash: origin,
                epoch: Epoch(1),
                first: Position(1),
            },
            records: Vec::new(),
            flushed: Position::ZERO,
            checkpoints: Vec::new(),
            fault: None,
            stopped: None,
        };
        Self {
            identity: Arc::new(identity),
            checkpoint_folder: None,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Where files of checkpoints belong. Those that are not in the list go when the journal is
    /// truncated.
    #[must_use]
    pub fn with_checkpoint_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.checkpoint_folder = Some(folder.into());
        self
    }

    /// The journal as it is when its process was killed and another one has opened it.
    #[must_use]
    pub fn reopen(&self) -> Self {
        self.open_with(|_| ())
    }

    /// The journal as it is when the power was lost: without what was not flushed.
    #[must_use]
    pub fn lose_power(&self) -> Self {
        self.open_with(|state| {
            let flushed = state.flushed;
            state.records.retain(|record| record.position <= flushed);
            state.head.position = flushed;
            state.head.hash = state
                .records
                .last()
                .map_or(state.base, |record| record.hash);
        })
    }

    /// From now on this goes wrong.
    pub fn inject(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Nothing goes wrong any more. A store that has stopped stays so.
    pub fn mend(&self) {
        self.state().fault = None;
    }

    fn open_with(&self, change: impl FnOnce(&mut State)) -> Self {
        let mut state = self.state();
        state.head.epoch = state.head.epoch.next();
        state.stopped = None;
        state.fault = None;
        change(&mut state);
        drop(state);
        self.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_of(&self, epoch: Epoch) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        state.check_running()?;
        let owner = state.head.epoch;
        if epoch == owner {
            Ok(state)
        } else {
            Err(StoreError::NotOwner { epoch, owner })
        }
    }
}

impl State {
    fn check_running(&self) -> Result<(), StoreError> {
        match self.stopped.clone() {
            Some(reason) => Err(StoreError::Stopped { reason }),
            None => Ok(()),
        }
    }

    fn check_room(&self) -> Result<(), StoreError> {
        if self.fault == Some(Fault::Full) {
            let source = Arc::new(io::ErrorKind::StorageFull.into());
            return Err(StoreError::Full { source });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        if self.fault == Some(Fault::Flush) {
            let source = io::Error::other("the flush failed");
            self.stopped = Some(source.to_string());
            let source = Arc::new(source);
            return Err(StoreError::Failed { source });
        }
        self.flushed = self.head.position;
        Ok(())
    }

    fn index_after(&self, after: Position) -> Result<usize, StoreError> {
        let first = self.head.first;
        if after > self.head.position {
            return Err(StoreError::OutOfOrder {
                expected: self.head.position,
                got: after,
            });
        }
        let index = after.next().0.checked_sub(first.0);
        let index = index.and_then(|index| usize::try_from(index).ok());
        index.ok_or(StoreError::Truncated { after, first })
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        Ok(match self.index_after(position)? {
            0 => self.base,
            index => self.records[index - 1].hash,
        })
    }
}

impl JournalStore for MemoryJournal {
    fn id(&self) -> JournalId {
        ID
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn head(&self) -> Result<Head, StoreError> {
        let state = self.state();
        state.check_running()?;
        Ok(state.head)
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        let mut state = self.state_of(epoch)?;
        if after != state.head.position {
            return Err(StoreError::OutOfOrder {
                expected: state.head.position,
                got: after,
            });
        }
        if let Some(record) = records
            .iter()
            .find(|record| record.len() as u64 > RECORD_BYTES_MAX)
        {
            return Err(StoreError::TooLarge {
                bytes: record.len() as u64,
                bytes_max: RECORD_BYTES_MAX,
            });
        }
        state.check_room()?;
        for bytes in records {
            let position = state.head.position.next();
            let hash = chain_next(&state.head.hash, position, bytes);
            let bytes = bytes.to_vec();
            state.records.push(StoredRecord {
                position,
                hash,
                bytes,
            });
            state.head.position = position;
            state.head.hash = hash;
        }
        if flush == Flush::Now {
            state.flush()?;
        }
        Ok(state.head)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        state.check_running()?;
        state.flush()
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let state = self.state();
        state.check_running()?;
        let index = state.index_after(position)?;
        let mut previous = state.hash_at(position)?;
        let mut bytes = 0_usize;
        let mut read = Vec::new();
        for record in &state.records[index..] {
            bytes = bytes.saturating_add(record.bytes.len());
            if bytes > bytes_max && !read.is_empty() {
                break;
            }
            let hash = chain_next(&previous, record.position, &record.bytes);
            if hash != record.hash {
                return Err(StoreError::Corrupt {
                    position: record.position,
                    what: "its hash is not the chain's".to_owned(),
                });
            }
            read.push(record.clone());
            previous = hash;
        }
        Ok(read)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        let state = self.state();
        state.check_running()?;
        state.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        let state = self.state();
        state.check_running()?;
        Ok(state.checkpoints.clone())
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        let mut state = self.state_of(epoch)?;
        check_checkpoints(checkpoints, &state.head, |position| state.hash_at(position))?;
        state.flush()?;
        state.checkpoints = checkpoints.to_vec();
        if let Some(oldest) = checkpoints.last() {
            state
                .records
                .retain(|record| record.position > oldest.position);
            state.base = oldest.hash;
            state.head.first = oldest.position.next();
        }
        if let Some(folder) = &self.checkpoint_folder {
            delete_others(folder, checkpoints)?;
        }
        Ok(state.head)
    }

    fn has_room(&self) -> Result<(), StoreError> {
        let state = self.state();
        state.check_running()?;
        state.check_room()
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        self.checkpoint_folder.clone()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let records = &self.state().records;
        Ok(records.iter().map(|record| record.bytes.len() as u64).sum())
    }
}

fn delete_others(folder: &Path, checkpoints: &[CheckpointRef]) -> Result<(), StoreError> {
    let unreadable = |source| StoreError::Unreadable {
        path: folder.to_owned(),
        source: Arc::new(source),
    };
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !checkpoints.iter().any(|listed| listed.owns(&name)) {
            std::fs::remove_file(entry.path()).map_err(unreadable)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> MemoryJournal {
        MemoryJournal::new(Identity {
            module: [1; 32],
            notes: Vec::new(),
        })
    }

    fn append(
        journal: &MemoryJournal,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        let head = journal.head()?;
        journal.append(head.epoch, head.position, records, flush)
    }

    fn checkpoint_at(journal: &MemoryJournal, position: u64) -> CheckpointRef {
        let position = Position(position);
        CheckpointRef {
            position,
            hash: journal.hash_at(position).unwrap(),
            file: format!("{position}.ckpt"),
            bytes: 0,
        }
    }

    #[test]
    fn what_was_appended_is_read() {
        let journal = journal();
        let head = append(&journal, &[b"one", b"two"], Flush::Now).unwrap();
        assert_eq!((head.position, head.first), (Position(2), Position(1)));
        let read = journal.read_after(Position::ZERO, 1).unwrap();
        assert_eq!(read.len(), 1, "at least one, whatever the limit is");
        let read = journal.read_after(Position(1), 100).unwrap();
        assert_eq!(read[0].bytes, b"two");
        assert_eq!(read[0].hash, head.hash);
        assert!(journal.read_after(Position(2), 100).unwrap().is_empty());
        let beyond = journal.read_after(Position(3), 100);
        assert!(
            matches!(beyond, Err(StoreError::OutOfOrder { .. })),
            "{beyond:?}"
        );
    }

    #[test]
    fn a_loss_of_power_takes_what_was_not_flushed() {
        let journal = journal();
        let flushed = append(&journal, &[b"one"], Flush::Now).unwrap();
        append(&journal, &[b"two"], Flush::Later).unwrap();
        assert_eq!(journal.reopen().head().unwrap().position, Position(2));
        let head = journal.lose_power().head().unwrap();
        assert_eq!((head.position, head.hash), (Position(1), flushed.hash));
    }

    #[test]
    fn an_owner_that_was_replaced_appends_nothing() {
        let journal = journal();
        let epoch = journal.head().unwrap().epoch;
        let owner = journal.reopen().head().unwrap().epoch;
        let refused = journal.append(epoch, Position::ZERO, &[b"one"], Flush::Now);
        let expected =
            |e: &StoreError| matches!(e, StoreError::NotOwner { owner: o, .. } if *o == owner);
        assert!(refused.as_ref().is_err_and(expected), "{refused:?}");
        assert_eq!(journal.head().unwrap().position, Position::ZERO);
    }

    #[test]
    fn a_full_disk_appends_nothing_until_there_is_room() {
        let journal = journal();
        journal.inject(Fault::Full);
        let refused = append(&journal, &[b"one"], Flush::Now);
        assert!(
            matches!(refused, Err(StoreError::Full { .. })),
            "{refused:?}"
        );
        journal.mend();
        let head = append(&journal, &[b"one"], Flush::Now).unwrap();
        assert_eq!(head.position, Position(1));
    }

    #[test]
    fn a_failed_flush_stops_the_store() {
        let journal = journal();
        journal.inject(Fault::Flush);
        let failed = append(&journal, &[b"one"], Flush::Now);
        assert!(
            matches!(failed, Err(StoreError::Failed { .. })),
            "{failed:?}"
        );
        journal.mend();
        let stopped = journal.append(Epoch(1), Position(1), &[b"two"], Flush::Now);
        assert!(
            matches!(stopped, Err(StoreError::Stopped { .. })),
            "{stopped:?}"
        );
        assert_eq!(
            journal.lose_power().head().unwrap().position,
            Position::ZERO
        );
    }

    #[test]
    fn checkpoints_take_the_place_of_records() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal().with_checkpoint_folder(folder.path());
        append(&journal, &[b"one", b"two", b"three"], Flush::Now).unwrap();
        let list = [checkpoint_at(&journal, 2), checkpoint_at(&journal, 1)];
        // A stamp goes with its checkpoint, and what else begins with the name of one is not its own.
        let stays = ["2.ckpt", "1.ckpt", "1.ckpt.stamp"];
        let goes = ["0.ckpt", "0.ckpt.stamp", "1.ckpt.stamp.stamp", "1.ckptx"];
        for name in stays.iter().chain(&goes) {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let head = journal.truncate(Epoch(1), &list).unwrap();
        assert_eq!((head.position, head.first), (Position(3), Position(2)));
        assert_eq!(journal.checkpoints().unwrap(), list);
        assert!(stays.iter().all(|name| folder.path().join(name).exists()));
        assert!(!goes.iter().any(|name| folder.path().join(name).exists()));
        let gone = journal.read_after(Position::ZERO, 100);
        assert!(
            matches!(gone, Err(StoreError::Truncated { .. })),
            "{gone:?}"
        );
        assert_eq!(journal.read_after(Position(1), 100).unwrap().len(), 2);
    }

    #[test]
    fn checkpoints_that_do_not_fit_are_refused() {
        let journal = journal();
        append(&journal, &[b"one", b"two"], Flush::Now).unwrap();
        let good = checkpoint_at(&journal, 1);
        let newer = checkpoint_at(&journal, 2);
        let with = |change: fn(&mut CheckpointRef)| {
            let mut checkpoint = good.clone();
            change(&mut checkpoint);
            vec![checkpoint]
        };
        let lists = [
            with(|checkpoint| checkpoint.hash[0] ^= 1),
            with(|checkpoint| checkpoint.position = Position(3)),
            with(|checkpoint| "../1.ckpt".clone_into(&mut checkpoint.file)),
            with(|checkpoint| ".1.ckpt".clone_into(&mut checkpoint.file)),
            vec![good.clone(), newer],
            vec![good.clone(), good.clone()],
        ];
        for list in lists {
            let refused = journal.truncate(Epoch(1), &list);
            assert!(
                matches!(refused, Err(StoreError::Checkpoint { .. })),
                "{list:?}: {refused:?}"
            );
        }
        journal.truncate(Epoch(1), &[good]).unwrap();
        let refused = journal.truncate(Epoch(1), &[]);
        assert!(
            matches!(refused, Err(StoreError::Checkpoint { .. })),
            "{refused:?}"
        );
    }
}
