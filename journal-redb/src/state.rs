//! An open journal, behind its lock: what is in memory of it, and every change of it.

use std::sync::Arc;

use proxy_core::{
    CheckpointRef, Flush, Head, Position, RECORD_BYTES_MAX, StoreError, StoredRecord, chain_next,
    check_checkpoints,
};

use crate::files::{self, CHECKPOINTS};
use crate::manifest::{Manifest, Place};
use crate::objects::{self, INLINE_BYTES_MAX, Objects};
use crate::opening::{self, Checked, follow, of_reading};
use crate::records::{Beginning, Content, Records, Row};
use crate::storage::{Access, Storage};
use crate::trouble::Trouble;
use crate::watermark::Watermark;

/// What may be appended with [`Flush::Later`] before the store flushes by itself, in bytes.
const PENDING_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
pub(crate) struct State {
    storage: Arc<dyn Storage>,
    access: Access,
    /// `None` after an error that redb does not get over, until it is opened again.
    records: Option<Records>,
    watermark: Option<Watermark>,
    objects: Objects,
    /// As the disk has it.
    manifest: Manifest,
    /// Whether the manifest names this owner. Nothing else is changed before.
    is_claimed: bool,
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

impl State {
    pub(crate) fn new(storage: Arc<dyn Storage>, access: Access, checked: Checked) -> Self {
        let Checked {
            manifest,
            records,
            objects,
            base,
            last,
        } = checked;
        Self {
            storage,
            access,
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
            is_claimed: false,
            pending: Vec::new(),
            pending_bytes: 0,
            stopped: None,
        }
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn check_running(&self) -> Result<(), StoreError> {
        match self.stopped.clone() {
            Some(reason) => Err(StoreError::Stopped { reason }),
            None => Ok(()),
        }
    }

    /// Becomes the owner of a journal that is good. Where the disk has no room for a note of that, it
    /// waits for the first change.
    pub(crate) fn take_over(&mut self) -> Result<(), Trouble> {
        self.head.epoch = self.manifest.epoch.next();
        let claimed = match self.claim() {
            Err(Trouble::Full(_)) => self.make_room().and_then(|()| self.claim()),
            claimed => claimed,
        };
        if let Err(Trouble::Full(error)) = claimed {
            tracing::warn!(
                %error,
                "the journal's disk is full: the journal can be read, and takes nothing until there is \
                 room"
            );
            return Ok(());
        }
        claimed?;
        self.tidy_up();
        Ok(())
    }

    /// Notes the owner on the disk, before anything else is changed there.
    fn claim(&mut self) -> Result<(), Trouble> {
        if self.is_claimed {
            return Ok(());
        }
        self.records()?.admit()?;
        opening::create_missing_folders(&*self.storage)?;
        let watermark = Watermark::open(&*self.storage, self.manifest.id);
        self.watermark = Some(watermark.map_err(Trouble::of_write)?);
        self.write_manifest()?;
        self.is_claimed = true;
        self.drop_records()
    }

    /// Deletes what nothing refers to: it may be what has filled the disk. A loss of power must not
    /// bring back records or a manifest that do refer to it.
    fn make_room(&mut self) -> Result<(), Trouble> {
        self.records()?.admit()?;
        self.storage.sync_folder("").map_err(Trouble::Failed)?;
        self.tidy_up();
        Ok(())
    }

    /// Closes the journal, and stops.
    pub(crate) fn finish(&mut self) -> Result<(), StoreError> {
        let result = self.close();
        let result = self.settle(result);
        self.abandon_records();
        self.stopped = Some("it was closed".to_owned());
        result
    }

    fn close(&mut self) -> Result<(), Trouble> {
        self.commit(&[])?;
        if !self.is_claimed {
            // Nothing was changed, and there is no room to change anything.
            self.abandon_records();
            return Ok(());
        }
        if self.manifest.head != self.durable {
            self.write_manifest()?;
        }
        match self.records.take() {
            Some(records) => records.close(),
            None => Ok(()),
        }
    }

    /// Appends records after the head.
    pub(crate) fn append(&mut self, records: &[&[u8]], flush: Flush) -> Result<Head, StoreError> {
        let mut bytes_appended = 0_usize;
        for record in records {
            let bytes = record.len() as u64;
            if bytes > RECORD_BYTES_MAX {
                let bytes_max = RECORD_BYTES_MAX;
                return Err(StoreError::TooLarge { bytes, bytes_max });
            }
            bytes_appended = bytes_appended.saturating_add(record.len());
        }
        let links = Link::chain(&self.head, records);
        let pending_bytes = self.pending_bytes.saturating_add(bytes_appended);
        if flush == Flush::Later && pending_bytes <= PENDING_BYTES_MAX {
            self.pending
                .extend(links.iter().copied().map(Link::to_record));
            self.pending_bytes = pending_bytes;
        } else {
            let result = self.commit(&links);
            self.settle(result)?;
        }
        if let Some(link) = links.last() {
            self.head.position = link.place.position;
            self.head.hash = link.place.hash;
        }
        Ok(self.head)
    }

    pub(crate) fn flush(&mut self) -> Result<(), StoreError> {
        let result = self.commit(&[]);
        self.settle(result)
    }

    /// The hash at a position of the journal, or before the oldest record.
    pub(crate) fn hash_at(&mut self, position: Position) -> Result<[u8; 32], StoreError> {
        self.check_range(position)?;
        if position == self.base.position {
            return Ok(self.base.hash);
        }
        let pending = self
            .pending
            .iter()
            .find(|record| record.position == position);
        if let Some(record) = pending {
            return Ok(record.hash);
        }
        let hash = self.with_records(|records| records.hash_at(position));
        hash.map_err(of_reading)?
            .ok_or_else(|| StoreError::Corrupt {
                position,
                what: "it is not there".to_owned(),
            })
    }

    pub(crate) fn read_after(
        &mut self,
        after: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        let storage = Arc::clone(&self.storage);
        let mut reading = Reading {
            last: Place {
                position: after,
                hash: self.hash_at(after)?,
            },
            storage: &*storage,
            read: Vec::new(),
            bytes: 0,
            bytes_max,
        };
        if after < self.durable.position {
            let mut fault = None;
            let visited = self.with_records(|records| {
                records.visit_after(after, |position, row| {
                    let row = row.map_err(|what| StoreError::Corrupt { position, what });
                    match row.and_then(|row| reading.take(position, &row)) {
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
                if !reading.take(record.position, &Row { hash, content })? {
                    break;
                }
            }
        }
        Ok(reading.read)
    }

    pub(crate) fn truncate(&mut self, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        let mut hashes = Vec::with_capacity(checkpoints.len());
        for checkpoint in checkpoints {
            let position = checkpoint.position;
            // One outside of the journal is refused below, by name.
            if self.check_range(position).is_ok() {
                hashes.push((position, self.hash_at(position)?));
            }
        }
        check_checkpoints(checkpoints, &self.head, |position| {
            let known = hashes.iter().find(|(known, _)| *known == position);
            Ok(known.map_or([0; 32], |(_, hash)| *hash))
        })?;
        self.check_files(checkpoints)?;
        let result = self.replace_checkpoints(checkpoints);
        self.settle(result)?;
        Ok(self.head)
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

    fn replace_checkpoints(&mut self, checkpoints: &[CheckpointRef]) -> Result<(), Trouble> {
        self.claim()?;
        self.commit(&[])?;
        let before = std::mem::replace(&mut self.manifest.checkpoints, checkpoints.to_vec());
        // The manifest comes first: a journal that begins after what its manifest knows is refused.
        if let Err(trouble) = self.write_manifest() {
            self.manifest.checkpoints = before;
            return Err(trouble);
        }
        self.drop_records()?;
        self.tidy_up();
        Ok(())
    }

    /// Drops the records that the oldest checkpoint has.
    fn drop_records(&mut self) -> Result<(), Trouble> {
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
        match self.change_records(|records| records.truncate(Beginning { id, base })) {
            Err(Trouble::Full(error)) => {
                // They are of no use, and do no harm. They go with the next checkpoint, or when the
                // journal is opened again.
                tracing::warn!(%error, "there is no room to drop the records before a checkpoint");
                return Ok(());
            }
            result => result?,
        }
        self.base = base;
        self.head.first = base.position.next();
        self.objects.forget(base.position);
        // The records are gone. That the file stays large for lack of room is no reason to say
        // otherwise.
        match self.change_records(Records::compact) {
            Err(Trouble::Full(_)) | Ok(()) => Ok(()),
            Err(trouble) => Err(trouble),
        }
    }

    /// Makes durable what is pending, and `batch` after it, in one transaction.
    fn commit(&mut self, batch: &[Link<'_>]) -> Result<(), Trouble> {
        let pending = std::mem::take(&mut self.pending);
        let mut links: Vec<_> = pending.iter().map(Link::of).collect();
        links.extend_from_slice(batch);
        let result = self.write(&links);
        match &result {
            Ok(()) => self.pending_bytes = 0,
            Err(trouble) => {
                self.pending = pending;
                if let Trouble::Full(_) = trouble {
                    // What was written of large records makes room again.
                    self.delete_objects();
                }
            }
        }
        result
    }

    fn write(&mut self, links: &[Link<'_>]) -> Result<(), Trouble> {
        let Some(last) = links.last().map(|link| link.place) else {
            return Ok(());
        };
        self.claim()?;
        let mut rows = Vec::with_capacity(links.len());
        for link in links {
            let content = if link.bytes.len() > INLINE_BYTES_MAX {
                let hash = objects::write(&*self.storage, link.bytes)?;
                let bytes = link.bytes.len() as u64;
                Content::Object { hash, bytes }
            } else {
                Content::Inline(link.bytes)
            };
            let hash = link.place.hash;
            rows.push((link.place.position, Row { hash, content }));
        }
        self.change_records(|records| records.append(&rows))?;
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

    fn write_manifest(&mut self) -> Result<(), Trouble> {
        let manifest = Manifest {
            epoch: self.head.epoch,
            head: self.durable,
            ..self.manifest.clone()
        };
        manifest.write(&*self.storage)?;
        self.manifest = manifest;
        Ok(())
    }

    /// Turns what went wrong into an error, and stops if nothing can be trusted any more.
    pub(crate) fn settle<T>(&mut self, result: Result<T, Trouble>) -> Result<T, StoreError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(trouble) => trouble.into_error(),
        };
        if !matches!(error, StoreError::Full { .. }) {
            self.abandon_records();
            self.stopped = Some(match &error {
                StoreError::Failed { source } => format!("it could not be written ({source})"),
                error => error.to_string(),
            });
        }
        Err(error)
    }

    fn abandon_records(&mut self) {
        if let Some(records) = self.records.take() {
            records.abandon();
        }
    }

    /// The open file, opened again if redb had to let go of it.
    fn records(&mut self) -> Result<&mut Records, Trouble> {
        let records = if let Some(records) = self.records.take() {
            records
        } else {
            let records = Records::open(&*self.storage, self.access)?;
            if records.last()?.unwrap_or(self.base) != self.durable {
                let what = "it does not end where it did".to_owned();
                return Err(Trouble::Damaged(what));
            }
            records
        };
        Ok(self.records.insert(records))
    }

    /// Does something with redb. After an error redb gives only errors, so it is let go of.
    fn with_records<T>(
        &mut self,
        run: impl FnOnce(&mut Records) -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let result = self.records().and_then(run);
        if result.is_err() {
            self.abandon_records();
        }
        result
    }

    /// Changes something in redb.
    fn change_records(
        &mut self,
        run: impl FnOnce(&mut Records) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        // Where there is no room for what is held back, redb has not noticed, and need not be let
        // go of.
        self.records()?.admit()?;
        self.with_records(run)
    }

    /// Deletes the objects that no record refers to. What cannot be deleted goes the next time.
    fn delete_objects(&self) {
        if let Err(error) = self.objects.delete_others(&*self.storage) {
            tracing::warn!(%error, "large records that the journal no longer needs are still there");
        }
    }

    /// Deletes the files that nothing refers to.
    fn tidy_up(&self) {
        self.delete_objects();
        let checkpoints = &self.manifest.checkpoints;
        let is_listed = |name: &str| checkpoints.iter().any(|listed| listed.owns(name));
        if let Err(error) = files::delete_others(&*self.storage, CHECKPOINTS, is_listed) {
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

    fn to_record(self) -> StoredRecord {
        StoredRecord {
            position: self.place.position,
            hash: self.place.hash,
            bytes: self.bytes.to_vec(),
        }
    }
}

/// Records as they are read.
struct Reading<'a> {
    storage: &'a dyn Storage,
    last: Place,
    read: Vec<StoredRecord>,
    bytes: usize,
    bytes_max: usize,
}

impl Reading<'_> {
    /// Takes a record, unless there is no room for it. Whether it was taken.
    fn take(&mut self, position: Position, row: &Row<'_>) -> Result<bool, StoreError> {
        let len = match row.content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Object { bytes, .. } => bytes,
        };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.bytes = self.bytes.saturating_add(len);
        if self.bytes > self.bytes_max && !self.read.is_empty() {
            return Ok(false);
        }
        let (place, bytes) = follow(self.storage, self.last, position, row)?;
        self.last = place;
        self.read.push(StoredRecord {
            position,
            hash: place.hash,
            bytes: bytes.into_owned(),
        });
        Ok(true)
    }
}
