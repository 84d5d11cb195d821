//! The public face: one owner, one lock, the contract of the trait.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, Position,
    RECORD_BYTES_MAX, StoreError, StoredRecord, chain_next, check_checkpoints,
};

use crate::files::{self, CHECKPOINTS, MANIFEST, OBJECTS, RECORDS, WATERMARK, within};
use crate::manifest::{Manifest, Place};
use crate::objects::{self, INLINE_BYTES_MAX, Objects};
use crate::opening::{self, Checked, follow, of_reading};
use crate::records::{Beginning, Content, Records, Row};
use crate::storage::{Access, Directory, Storage};
use crate::trouble::Trouble;
use crate::watermark::Watermark;

/// What may be appended with [`Flush::Later`] before the store flushes by itself, in bytes.
const PENDING_BYTES_MAX: usize = 16 << 20;

/// A journal in a directory.
///
/// Dropping it flushes, and lets the next opening do without a repair. Errors of that are lost;
/// [`close`](Self::close) returns them.
#[derive(Debug)]
pub struct RedbJournal {
    path: PathBuf,
    id: JournalId,
    identity: Identity,
    access: Access,
    storage: Arc<dyn Storage>,
    state: Mutex<State>,
    /// Given back after everything else.
    _lock: Lock,
}

type Lock = Box<dyn fmt::Debug + Send + Sync>;

#[derive(Debug)]
struct State {
    /// `None` after an error that redb does not get over, until it is opened again.
    records: Option<Records>,
    watermark: Option<Watermark>,
    objects: Objects,
    manifest: Manifest,
    /// The place before the oldest record.
    base: Place,
    /// The newest record in redb.
    durable: Place,
    head: Head,
    /// The records after `durable`.
    pending: Vec<StoredRecord>,
    pending_bytes: usize,
    /// Why nothing goes any more.
    stopped: Option<String>,
}

impl RedbJournal {
    /// Makes a journal in a directory that is empty or not there, and opens it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`], [`StoreError::InUse`], [`StoreError::Full`], [`StoreError::Failed`]
    /// and [`StoreError::Unreadable`]. What an unfinished creation left is no obstacle to the next.
    pub fn create(path: impl AsRef<Path>, identity: Identity) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let storage = Directory::create(path).map_err(|source| StoreError::Unreadable {
            path: path.to_owned(),
            source: Arc::new(source),
        })?;
        Self::create_on(Arc::new(storage), path, identity)
    }

    /// Opens a journal, and becomes its owner. The whole journal is read and checked first, and is
    /// not changed unless it is good.
    ///
    /// # Errors
    ///
    /// * [`StoreError::InUse`] and [`StoreError::Missing`].
    /// * [`StoreError::Empty`], [`StoreError::Older`], [`StoreError::Foreign`],
    ///   [`StoreError::Corrupt`] and [`StoreError::Format`] say what is wrong with it.
    /// * [`StoreError::Full`], [`StoreError::Failed`] and [`StoreError::Unreadable`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        Self::open_on(Arc::new(Directory::new(path)), path, Access::Write)
    }

    /// Opens a journal that has no owner at the moment, or a copy of one, without changing anything
    /// and without becoming its owner. Any number of readers may have it open.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        Self::open_on(Arc::new(Directory::new(path)), path, Access::Read)
    }

    /// Flushes and closes the journal.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`], [`StoreError::Failed`] and [`StoreError::Stopped`]. What was durable
    /// stays so.
    pub fn close(self) -> Result<(), StoreError> {
        self.finish()
    }

    pub(crate) fn create_on(
        storage: Arc<dyn Storage>,
        path: &Path,
        identity: Identity,
    ) -> Result<Self, StoreError> {
        let lock = take_lock(&*storage, path, Access::Write)?;
        opening::create(&*storage, path, identity)?;
        Self::open_locked(storage, path, Access::Write, lock)
    }

    pub(crate) fn open_on(
        storage: Arc<dyn Storage>,
        path: &Path,
        access: Access,
    ) -> Result<Self, StoreError> {
        opening::check_there(&*storage, path)?;
        let lock = take_lock(&*storage, path, access)?;
        Self::open_locked(storage, path, access, lock)
    }

    fn open_locked(
        storage: Arc<dyn Storage>,
        path: &Path,
        access: Access,
        lock: Lock,
    ) -> Result<Self, StoreError> {
        let Checked {
            manifest,
            records,
            objects,
            base,
            last,
        } = opening::check(&*storage, path, access)?;
        let mut state = State {
            records: Some(records),
            watermark: None,
            objects,
            base,
            durable: last,
            head: Head {
                position: last.position,
                hash: last.hash,
                epoch: manifest.epoch,
                first: base.position.next(),
            },
            manifest,
            pending: Vec::new(),
            pending_bytes: 0,
            stopped: None,
        };
        if access == Access::Write {
            state.take_over(&*storage).map_err(Trouble::into_error)?;
        }
        Ok(Self {
            path: path.to_owned(),
            id: state.manifest.id,
            identity: state.manifest.identity.clone(),
            access,
            storage,
            state: Mutex::new(state),
            _lock: lock,
        })
    }

    fn finish(&self) -> Result<(), StoreError> {
        let mut state = self.state();
        if self.access == Access::Read {
            return Ok(());
        }
        state.check_running()?;
        let result = state.finish(&*self.storage);
        let result = state.settle(result);
        state.stopped = Some("it was closed".to_owned());
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of redb's is caught where redb is called, and nothing else panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        state.check_running()?;
        Ok(state)
    }

    fn writable(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        if self.access == Access::Read {
            return Err(StoreError::ReadOnly {
                path: self.path.clone(),
            });
        }
        self.running()
    }

    fn owned(&self, epoch: Epoch) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.writable()?;
        let owner = state.head.epoch;
        if epoch == owner {
            Ok(state)
        } else {
            Err(StoreError::NotOwner { epoch, owner })
        }
    }

    /// Whether the files of checkpoints are there, with the lengths that the list says.
    fn check_files(&self, checkpoints: &[CheckpointRef]) -> Result<(), StoreError> {
        let there = self.storage.list(CHECKPOINTS);
        let there = there.map_err(|error| files::unreadable(CHECKPOINTS, error))?;
        for checkpoint in checkpoints {
            let found = there.iter().find(|(name, _)| *name == checkpoint.file);
            let reason = match found {
                Some((_, bytes)) if *bytes == checkpoint.bytes => continue,
                Some((_, bytes)) => format!("it has {bytes} bytes, not {}", checkpoint.bytes),
                None => "it is not in the folder for checkpoints".to_owned(),
            };
            let file = checkpoint.file.clone();
            return Err(StoreError::Checkpoint { file, reason });
        }
        Ok(())
    }
}

impl Drop for RedbJournal {
    fn drop(&mut self) {
        if let Err(error) = self.finish()
            && !matches!(error, StoreError::Stopped { .. })
        {
            tracing::warn!(%error, path = %self.path.display(), "the journal was not closed cleanly");
        }
    }
}

fn take_lock(storage: &dyn Storage, path: &Path, access: Access) -> Result<Lock, StoreError> {
    let path = path.to_owned();
    match storage.lock(access) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(StoreError::InUse { path }),
        Err(source) => Err(StoreError::Unreadable {
            path: path.join("lock"),
            source: Arc::new(source),
        }),
    }
}

impl State {
    fn check_running(&self) -> Result<(), StoreError> {
        match self.stopped.clone() {
            Some(reason) => Err(StoreError::Stopped { reason }),
            None => Ok(()),
        }
    }

    /// Becomes the owner of a journal that is good.
    fn take_over(&mut self, storage: &dyn Storage) -> Result<(), Trouble> {
        if let Some(records) = &self.records {
            records.admit()?;
        }
        self.watermark =
            Some(Watermark::open(storage, self.manifest.id).map_err(Trouble::of_write)?);
        self.head.epoch = self.manifest.epoch.next();
        self.write_manifest(storage)?;
        self.drop_records(storage)?;
        self.tidy_up(storage);
        Ok(())
    }

    fn finish(&mut self, storage: &dyn Storage) -> Result<(), Trouble> {
        self.commit(storage, &[])?;
        if self.manifest.head != self.durable {
            self.write_manifest(storage)?;
        }
        match self.records.take() {
            Some(records) => records.close(),
            None => Ok(()),
        }
    }

    /// Turns what went wrong into an error, and stops if nothing can be trusted any more.
    fn settle<T>(&mut self, result: Result<T, Trouble>) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(trouble) => trouble.into_error(),
        };
        if !matches!(error, StoreError::Full { .. }) {
            self.abandon_records();
            self.stopped = Some(error.to_string());
        }
        Err(error)
    }

    fn abandon_records(&mut self) {
        if let Some(records) = self.records.take() {
            records.abandon();
        }
    }

    /// The open file, opened again if redb had to let go of it.
    fn records(&mut self, storage: &dyn Storage, access: Access) -> Result<&mut Records, Trouble> {
        let records = match self.records.take() {
            Some(records) => records,
            None => {
                let records = Records::open(storage, access)?;
                if records.last()?.unwrap_or(self.base) != self.durable {
                    return Err(Trouble::Damaged("it does not end where it did".to_owned()));
                }
                records
            }
        };
        Ok(self.records.insert(records))
    }

    /// Does something with redb. After an error redb gives only errors, so it is let go of.
    fn with_records<T>(
        &mut self,
        storage: &dyn Storage,
        access: Access,
        run: impl FnOnce(&mut Records) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let result = self.records(storage, access).and_then(run);
        if result.is_err() {
            self.abandon_records();
        }
        result
    }

    /// Changes something in redb.
    fn change_records(
        &mut self,
        storage: &dyn Storage,
        run: impl FnOnce(&mut Records) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        // Where there is no room for what is held back, redb has not noticed, and need not be let
        // go of.
        self.records(storage, Access::Write)?.admit()?;
        self.with_records(storage, Access::Write, run)
    }

    /// Makes durable what is pending, and `batch` after it, in one transaction.
    fn commit(&mut self, storage: &dyn Storage, batch: &[Link<'_>]) -> Result<(), Trouble> {
        let pending = std::mem::take(&mut self.pending);
        let mut links: Vec<_> = pending.iter().map(Link::of).collect();
        links.extend_from_slice(batch);
        let result = self.write(storage, &links);
        if result.is_ok() {
            self.pending_bytes = 0;
        } else {
            self.pending = pending;
        }
        if let Err(Trouble::Full(_)) = result {
            // What was written of large records makes room again.
            self.delete_objects(storage);
        }
        result
    }

    fn write(&mut self, storage: &dyn Storage, links: &[Link<'_>]) -> Result<(), Trouble> {
        let Some(last) = links.last().map(|link| link.place) else {
            return Ok(());
        };
        let mut rows = Vec::with_capacity(links.len());
        for link in links {
            let content = if link.bytes.len() > INLINE_BYTES_MAX {
                let hash = objects::write(storage, link.bytes)?;
                let bytes = link.bytes.len() as u64;
                Content::Object { hash, bytes }
            } else {
                Content::Inline(link.bytes)
            };
            let hash = link.place.hash;
            rows.push((link.place.position, Row { hash, content }));
        }
        let append = |records: &mut Records| records.append(rows.iter().cloned());
        self.change_records(storage, append)?;
        for (position, row) in rows {
            if let Content::Object { hash, .. } = row.content {
                self.objects.insert(position, hash);
            }
        }
        self.durable = last;
        self.mark(last)
    }

    /// Says beside redb how far the journal is acknowledged. Without room it says less, and only a
    /// damage to the newest records is not told from a crash.
    fn mark(&mut self, place: Place) -> Result<(), Trouble> {
        let Some(watermark) = &mut self.watermark else {
            return Ok(());
        };
        match watermark.write(place).map_err(Trouble::of_write) {
            Err(Trouble::Full(_)) | Ok(()) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    fn write_manifest(&mut self, storage: &dyn Storage) -> Result<(), Trouble> {
        let manifest = Manifest {
            epoch: self.head.epoch,
            head: self.durable,
            ..self.manifest.clone()
        };
        manifest.write(storage)?;
        self.manifest = manifest;
        Ok(())
    }

    /// Drops the records that the oldest checkpoint has.
    fn drop_records(&mut self, storage: &dyn Storage) -> Result<(), Trouble> {
        let Some(oldest) = self.manifest.checkpoints.last() else {
            return Ok(());
        };
        let base = Place {
            position: oldest.position,
            hash: oldest.hash,
        };
        if base == self.base {
            return Ok(());
        }
        let id = self.manifest.id;
        self.change_records(storage, |records| records.truncate(Beginning { id, base }))?;
        self.base = base;
        self.head.first = base.position.next();
        self.objects.forget(base.position);
        // Redb must be opened again if this fails, which is no reason to call the truncation failed
        // unless the disk cannot be trusted.
        match self.change_records(storage, Records::compact) {
            Err(Trouble::Full(_)) | Ok(()) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Deletes the objects that no record refers to. What cannot be deleted goes the next time.
    fn delete_objects(&self, storage: &dyn Storage) {
        if let Err(error) = self.objects.delete_others(storage) {
            tracing::warn!(%error, "large records that the journal no longer needs are still there");
        }
    }

    /// Deletes the files that nothing refers to.
    fn tidy_up(&self, storage: &dyn Storage) {
        self.delete_objects(storage);
        let checkpoints = &self.manifest.checkpoints;
        let delete = || -> io::Result<()> {
            for (name, _) in storage.list(CHECKPOINTS)? {
                if checkpoints.iter().all(|listed| listed.file != name) {
                    storage.remove(&within(CHECKPOINTS, &name))?;
                }
            }
            Ok(())
        };
        if let Err(error) = delete() {
            tracing::warn!(%error, "files of old checkpoints are still there");
        }
    }

    fn check_range(&self, after: Position) -> Result<(), StoreError> {
        if after > self.head.position {
            return Err(StoreError::OutOfOrder {
                expected: self.head.position,
                got: after,
            });
        }
        if after < self.base.position {
            return Err(StoreError::Truncated {
                after,
                first: self.head.first,
            });
        }
        Ok(())
    }

    fn hash_at(
        &mut self,
        storage: &dyn Storage,
        access: Access,
        position: Position,
    ) -> Result<[u8; 32], StoreError> {
        self.check_range(position)?;
        if position == self.base.position {
            return Ok(self.base.hash);
        }
        if let Some(record) = self
            .pending
            .iter()
            .find(|record| record.position == position)
        {
            return Ok(record.hash);
        }
        let hash = self.with_records(storage, access, |records| records.hash_at(position));
        hash.map_err(of_reading)?
            .ok_or_else(|| StoreError::Corrupt {
                position,
                what: "it is not there".to_owned(),
            })
    }

    fn read_after(
        &mut self,
        storage: &dyn Storage,
        access: Access,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut reading = Reading {
            last: Place {
                position: after,
                hash: self.hash_at(storage, access, after)?,
            },
            read: Vec::new(),
            bytes: 0,
            bytes_max,
        };
        if after < self.durable.position {
            let mut fault = None;
            let visited = self.with_records(storage, access, |records| {
                records.visit_after(after, |position, row| {
                    let row = row.map_err(|what| StoreError::Corrupt { position, what });
                    let taken = row.and_then(|row| reading.take(storage, position, &row));
                    match taken {
                        Ok(goes_on) => goes_on,
                        Err(error) => {
                            fault = Some(error);
                            false
                        }
                    }
                })
            });
            visited.map_err(of_reading)?;
            if let Some(fault) = fault {
                return Err(fault);
            }
        }
        for record in &self.pending {
            if record.position == reading.last.position.next() {
                let content = Content::Inline(&record.bytes);
                let hash = record.hash;
                if !reading.take(storage, record.position, &Row { hash, content })? {
                    break;
                }
            }
        }
        Ok(reading.read)
    }

    /// Truncates a journal whose list of checkpoints was checked.
    fn truncate(
        &mut self,
        storage: &dyn Storage,
        checkpoints: &[CheckpointRef],
    ) -> Result<(), Trouble> {
        self.commit(storage, &[])?;
        let before = std::mem::replace(&mut self.manifest.checkpoints, checkpoints.to_vec());
        // The manifest comes first: a journal that begins after what its manifest knows is refused.
        if let Err(trouble) = self.write_manifest(storage) {
            self.manifest.checkpoints = before;
            return Err(trouble);
        }
        self.drop_records(storage)?;
        self.tidy_up(storage);
        Ok(())
    }
}

/// A record on its way into the journal.
#[derive(Clone, Copy, Debug)]
struct Link<'a> {
    place: Place,
    bytes: &'a [u8],
}

impl<'a> Link<'a> {
    fn of(record: &'a StoredRecord) -> Self {
        let place = Place {
            position: record.position,
            hash: record.hash,
        };
        let bytes = &record.bytes;
        Self { place, bytes }
    }

    /// Records in their places after the head.
    fn chain(head: &Head, records: &[&'a [u8]]) -> Vec<Self> {
        let mut last = Place {
            position: head.position,
            hash: head.hash,
        };
        let links = records.iter().map(|bytes| {
            let position = last.position.next();
            let hash = chain_next(&last.hash, position, bytes);
            last = Place { position, hash };
            Self { place: last, bytes }
        });
        links.collect()
    }
}

/// Records as they are read.
struct Reading {
    last: Place,
    read: Vec<StoredRecord>,
    bytes: usize,
    bytes_max: usize,
}

impl Reading {
    /// Takes a record, unless there is no room for it. Whether it was taken.
    fn take(
        &mut self,
        storage: &dyn Storage,
        position: Position,
        row: &Row<'_>,
    ) -> Result<bool, StoreError> {
        let len = match row.content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Object { bytes, .. } => bytes,
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(len);
        if self.bytes > self.bytes_max && !self.read.is_empty() {
            return Ok(false);
        }
        let (place, bytes) = follow(storage, self.last, position, &row.hash, &row.content)?;
        self.last = place;
        let hash = place.hash;
        self.read.push(StoredRecord {
            position,
            hash,
            bytes,
        });
        Ok(true)
    }
}

impl JournalStore for RedbJournal {
    fn id(&self) -> JournalId {
        self.id
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn head(&self) -> Result<Head, StoreError> {
        Ok(self.running()?.head)
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        let mut state = self.owned(epoch)?;
        let state = &mut *state;
        if after != state.head.position {
            return Err(StoreError::OutOfOrder {
                expected: state.head.position,
                got: after,
            });
        }
        let mut bytes_appended = 0_usize;
        for record in records {
            let bytes = record.len() as u64;
            if bytes > RECORD_BYTES_MAX {
                let bytes_max = RECORD_BYTES_MAX;
                return Err(StoreError::TooLarge { bytes, bytes_max });
            }
            bytes_appended = bytes_appended.saturating_add(record.len());
        }
        let links = Link::chain(&state.head, records);
        let pending_bytes = state.pending_bytes.saturating_add(bytes_appended);
        if flush == Flush::Later && pending_bytes <= PENDING_BYTES_MAX {
            state.pending.extend(links.iter().map(|link| StoredRecord {
                position: link.place.position,
                hash: link.place.hash,
                bytes: link.bytes.to_vec(),
            }));
            state.pending_bytes = pending_bytes;
        } else {
            let result = state.commit(&*self.storage, &links);
            state.settle(result)?;
        }
        if let Some(link) = links.last() {
            state.head.position = link.place.position;
            state.head.hash = link.place.hash;
        }
        Ok(state.head)
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut state = self.writable()?;
        let result = state.commit(&*self.storage, &[]);
        state.settle(result)
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let mut state = self.running()?;
        state.read_after(&*self.storage, self.access, position, bytes_max)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.running()?
            .hash_at(&*self.storage, self.access, position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        Ok(self.running()?.manifest.checkpoints.clone())
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        let mut state = self.owned(epoch)?;
        let mut hashes = Vec::with_capacity(checkpoints.len());
        for checkpoint in checkpoints {
            // A position outside of the journal is refused below, with the checkpoint's name.
            let hash = match state.check_range(checkpoint.position) {
                Ok(()) => state.hash_at(&*self.storage, self.access, checkpoint.position)?,
                Err(_) => [0; 32],
            };
            hashes.push((checkpoint.position, hash));
        }
        check_checkpoints(checkpoints, &state.head, |position| {
            let known = hashes.iter().find(|(known, _)| *known == position);
            Ok(known.map_or([0; 32], |(_, hash)| *hash))
        })?;
        self.check_files(checkpoints)?;
        let result = state.truncate(&*self.storage, checkpoints);
        state.settle(result)?;
        Ok(state.head)
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        Some(self.path.join(CHECKPOINTS))
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let list = |folder: &str| -> io::Result<Vec<(String, u64)>> { self.storage.list(folder) };
        let top = list("").map_err(|error| files::unreadable(".", error))?;
        let objects = list(OBJECTS).map_err(|error| files::unreadable(OBJECTS, error))?;
        let is_ours = |name: &str| [RECORDS, MANIFEST, WATERMARK].contains(&name);
        let top = top.iter().filter(|(name, _)| is_ours(name));
        Ok(top.chain(&objects).map(|(_, bytes)| bytes).sum())
    }
}
