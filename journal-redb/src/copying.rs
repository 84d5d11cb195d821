//! A copy of a journal, made from records that come from elsewhere.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proxy_core::{
    CheckpointRef, Epoch, Head, Identity, JournalId, Position, RECORD_BYTES_MAX, StoreError,
    StoredRecord, chain_next, chain_origin, check_checkpoints,
};

use crate::files::{self, CHECKPOINTS, MANIFEST, NEW, OBJECTS, RECORDS, within};
use crate::journal::{Lock, take_lock};
use crate::manifest::{Manifest, Place};
use crate::objects::{self, INLINE_BYTES_MAX};
use crate::opening;
use crate::records::{Beginning, Content, Records, Row};
use crate::storage::{Access, Directory, LOCK, Storage};
use crate::trouble::Trouble;

/// Records of a copy are written together until they have this many bytes.
const BATCH_BYTES: usize = 1 << 20;

/// The journal that a copy is of, and where the copy begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its name, which the copy keeps.
    pub id: JournalId,
    /// What it was made for.
    pub identity: Identity,
    /// Of its last owner.
    pub epoch: Epoch,
    /// The place before the oldest record of the copy.
    pub position: Position,
    /// The chain's hash there.
    pub hash: [u8; 32],
}

/// A journal in the making: a copy of another one. Before [`finish`](Self::finish) its directory is
/// no journal. A copy that is dropped before takes all that it has made with it. What the end of
/// the process leaves there is no obstacle to the next attempt.
pub struct JournalCopy {
    made: Made,
    storage: Arc<dyn Storage>,
    origin: Origin,
    records: Records,
    last: Place,
    batch: Vec<(Place, Copied)>,
    batch_bytes: usize,
    _lock: Lock,
}

enum Copied {
    Inline(Vec<u8>),
    Object { hash: [u8; 32], bytes: u64 },
}

impl JournalCopy {
    /// Begins a copy in a directory that is empty or not there.
    ///
    /// # Errors
    ///
    /// As [`RedbJournal::create`](crate::RedbJournal::create); [`StoreError::Corrupt`] if the origin
    /// is at no record and has another hash than its identity.
    pub fn create(path: impl AsRef<Path>, origin: Origin) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let is_new = !path.exists();
        let storage = Directory::create(path).map_err(|source| StoreError::Unreadable {
            path: path.to_owned(),
            source: Arc::new(source),
        })?;
        // Nothing is left in somebody else's directory, not even a lock.
        opening::check_unused(&storage, path)?;
        let lock = take_lock(&storage, path, Access::Write)?;
        opening::check_unused(&storage, path)?;
        let made = Made {
            path: path.to_owned(),
            is_new,
            is_finished: false,
        };
        if origin.position == Position::ZERO
            && origin.hash != chain_origin(origin.id, &origin.identity)
        {
            return Err(StoreError::Corrupt {
                position: Position::ZERO,
                what: "the chain does not begin as the journal's identity says".to_owned(),
            });
        }
        let last = Place {
            position: origin.position,
            hash: origin.hash,
        };
        let beginning = Beginning {
            id: origin.id,
            base: last,
        };
        let records = lay_out(&storage, beginning).map_err(Trouble::into_error)?;
        Ok(Self {
            made,
            storage: Arc::new(storage),
            origin,
            records,
            last,
            batch: Vec::new(),
            batch_bytes: 0,
            _lock: lock,
        })
    }

    /// The folder into which files of checkpoints are to be written, and flushed, before the end.
    #[must_use]
    pub fn checkpoint_folder(&self) -> PathBuf {
        self.made.path.join(CHECKPOINTS)
    }

    /// Appends the next record.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] if it does not belong there; [`StoreError::TooLarge`];
    /// [`StoreError::Full`] and [`StoreError::Failed`].
    pub fn append(&mut self, record: &StoredRecord) -> Result<(), StoreError> {
        let StoredRecord { position, hash, .. } = *record;
        let due = self.last.position.next();
        let corrupt = |what: &str| StoreError::Corrupt {
            position: due,
            what: what.to_owned(),
        };
        if position != due {
            return Err(corrupt("another record comes next"));
        }
        let bytes = record.bytes.len() as u64;
        if bytes > RECORD_BYTES_MAX {
            let bytes_max = RECORD_BYTES_MAX;
            return Err(StoreError::TooLarge { bytes, bytes_max });
        }
        if chain_next(&self.last.hash, position, &record.bytes) != hash {
            return Err(corrupt("its hash is not the chain's"));
        }
        let copied = if record.bytes.len() > INLINE_BYTES_MAX {
            let hash = objects::write(&*self.storage, &record.bytes);
            let hash = hash.map_err(Trouble::into_error)?;
            Copied::Object { hash, bytes }
        } else {
            self.batch_bytes += record.bytes.len();
            Copied::Inline(record.bytes.clone())
        };
        self.last = Place { position, hash };
        self.batch.push((self.last, copied));
        if self.batch_bytes > BATCH_BYTES {
            self.write_batch()?;
        }
        Ok(())
    }

    fn write_batch(&mut self) -> Result<(), StoreError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let rows: Vec<(Position, Row<'_>)> = batch
            .iter()
            .map(|(place, copied)| {
                let content = match copied {
                    Copied::Inline(bytes) => Content::Inline(bytes),
                    Copied::Object { hash, bytes } => Content::Object {
                        hash: *hash,
                        bytes: *bytes,
                    },
                };
                let hash = place.hash;
                (place.position, Row { hash, content })
            })
            .collect();
        let written = self.records.append(&rows);
        written.map_err(Trouble::into_error)
    }

    /// Makes the directory a journal. `checkpoints`, newest first, have their files in the
    /// [folder](Self::checkpoint_folder).
    ///
    /// # Errors
    ///
    /// [`StoreError::Checkpoint`] if one does not fit, or is not there; [`StoreError::Full`] and
    /// [`StoreError::Failed`].
    pub fn finish(mut self, checkpoints: Vec<CheckpointRef>) -> Result<Head, StoreError> {
        self.write_batch()?;
        let head = Head {
            position: self.last.position,
            hash: self.last.hash,
            epoch: self.origin.epoch,
            first: self.origin.position.next(),
        };
        check_checkpoints(&checkpoints, &head, |position| self.hash_at(position))?;
        for checkpoint in &checkpoints {
            self.check_file(checkpoint)?;
        }
        let manifest = Manifest {
            id: self.origin.id,
            identity: self.origin.identity,
            epoch: self.origin.epoch,
            head: self.last,
            checkpoints,
        };
        let (storage, records) = (self.storage, self.records);
        let finished = records.close().and_then(|()| {
            storage.sync_folder(CHECKPOINTS).map_err(Trouble::Failed)?;
            let new = format!("{RECORDS}{NEW}");
            storage.rename(&new, RECORDS).map_err(Trouble::of_write)?;
            storage.sync_folder("").map_err(Trouble::Failed)?;
            manifest.write(&*storage)
        });
        finished.map_err(Trouble::into_error)?;
        self.made.is_finished = true;
        Ok(head)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        if position == self.origin.position {
            return Ok(self.origin.hash);
        }
        let hash = self.records.hash_at(position);
        hash.map_err(Trouble::into_error)?
            .ok_or_else(|| StoreError::Corrupt {
                position,
                what: "it is not there".to_owned(),
            })
    }

    fn check_file(&self, checkpoint: &CheckpointRef) -> Result<(), StoreError> {
        let name = within(CHECKPOINTS, &checkpoint.file);
        let length = self
            .storage
            .open(&name, Access::Read)
            .and_then(|file| file.len());
        match length {
            Ok(length) if length == checkpoint.bytes => Ok(()),
            Ok(length) => Err(StoreError::Checkpoint {
                file: checkpoint.file.clone(),
                reason: format!("it has {length} bytes in place of {}", checkpoint.bytes),
            }),
            Err(error) => Err(files::unreadable(&name, error)),
        }
    }
}

/// What a copy makes, from its lock on. It goes unless the copy is finished: on a full disk half of a
/// journal would take the room that is needed for anything else.
struct Made {
    path: PathBuf,
    /// Whether the directory was not there before.
    is_new: bool,
    is_finished: bool,
}

impl Drop for Made {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        // Why the copy was given up is the error to report. What cannot be removed is in nobody's way.
        let files = [MANIFEST, RECORDS, LOCK].map(str::to_owned);
        let new = [MANIFEST, RECORDS].map(|name| format!("{name}{NEW}"));
        for name in files.iter().chain(&new) {
            let _ = fs::remove_file(self.path.join(name));
        }
        for folder in [OBJECTS, CHECKPOINTS] {
            let _ = fs::remove_dir_all(self.path.join(folder));
        }
        if self.is_new {
            let _ = fs::remove_dir(&self.path);
        }
    }
}

fn lay_out(storage: &dyn Storage, beginning: Beginning) -> Result<Records, Trouble> {
    opening::create_folders(storage)?;
    opening::remove_left(storage)?;
    // Nobody may write to a checkpoint that an earlier attempt has left, the next one included.
    for folder in [OBJECTS, CHECKPOINTS] {
        files::delete_others(storage, folder, |_| false).map_err(Trouble::of_write)?;
    }
    Records::create_open(storage, &format!("{RECORDS}{NEW}"), beginning)
}

impl fmt::Debug for JournalCopy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalCopy")
            .field("path", &self.made.path)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
