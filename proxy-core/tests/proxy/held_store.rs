//! A store in memory whose appends can be held, to look at what a proxy does meanwhile.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use proxy_core::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, MemoryJournal, Position,
    StoreError, StoredRecord,
};

use crate::fake::Gate;

/// A store in memory. Appends pass a gate before they do anything.
#[derive(Clone, Debug)]
pub(super) struct HeldStore {
    pub(super) store: MemoryJournal,
    pub(super) gate: Arc<Gate>,
    /// What was wrong with the files that truncations were given.
    faults: Arc<Mutex<Vec<String>>>,
    /// How often records were read, and appended.
    reads: Arc<AtomicUsize>,
    appends: Arc<AtomicUsize>,
    /// The bytes of the largest append.
    appended_max: Arc<AtomicUsize>,
}

impl HeldStore {
    /// A store whose gate is open.
    pub(super) fn new(store: MemoryJournal) -> Self {
        Self {
            store,
            gate: Gate::new(),
            faults: Arc::default(),
            reads: Arc::default(),
            appends: Arc::default(),
            appended_max: Arc::default(),
        }
    }

    /// The bytes of the records that were appended at once, at most.
    pub(super) fn appended_max(&self) -> usize {
        self.appended_max.load(Ordering::SeqCst)
    }

    /// How often records were read, and how often they were appended.
    pub(super) fn transfers(&self) -> (usize, usize) {
        let load = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        (load(&self.reads), load(&self.appends))
    }

    /// What was wrong with checkpoints at the moment when they took the place of records.
    pub(super) fn faults(&self) -> Vec<String> {
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.clone()
    }

    fn look_at(&self, checkpoint: &CheckpointRef) -> Option<String> {
        let path = self.store.checkpoint_folder()?.join(&checkpoint.file);
        match fs::metadata(&path) {
            Ok(file) if file.len() == checkpoint.bytes => None,
            Ok(file) => Some(format!("`{}` has {} bytes", checkpoint.file, file.len())),
            Err(error) => Some(format!("`{}`: {error}", checkpoint.file)),
        }
    }
}

impl JournalStore for HeldStore {
    fn id(&self) -> JournalId {
        self.store.id()
    }

    fn identity(&self) -> &Identity {
        self.store.identity()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.store.head()
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        self.gate.pass_host();
        self.appends.fetch_add(1, Ordering::SeqCst);
        let bytes = records.iter().map(|record| record.len()).sum();
        self.appended_max.fetch_max(bytes, Ordering::SeqCst);
        self.store.append(epoch, after, records, flush)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.store.read_after(position, bytes_max)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.store.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        self.store.checkpoints()
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        let found = checkpoints.iter().filter_map(|one| self.look_at(one));
        let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        faults.extend(found);
        drop(faults);
        self.store.truncate(epoch, checkpoints)
    }

    fn has_room(&self) -> Result<(), StoreError> {
        self.store.has_room()
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        self.store.checkpoint_folder()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.store.bytes()
    }
}
