//! The public face: one owner, one lock, the contract of the trait.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proxy_core::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, Position, StoreError,
    StoredRecord,
};

use crate::files::{self, CHECKPOINTS, MANIFEST, NEW, OBJECTS, RECORDS, WATERMARK};
use crate::opening;
use crate::state::State;
use crate::storage::{Access, Directory, Storage};
use crate::trouble::Trouble;

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

/// How much room there has to be after there was none, in bytes: for an append of usual size, and
/// what redb adds to it.
const ROOM: u64 = 1 << 20;

pub(crate) type Lock = Box<dyn fmt::Debug + Send + Sync>;

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
    /// not changed unless it is good. Files in the folder for checkpoints that are not in the list
    /// are deleted. On a full disk it can be read, and the first change is [`StoreError::Full`].
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
        if opening::check_there(&*storage, path).is_err() {
            // Nothing is left in somebody else's directory, not even a lock.
            opening::check_unused(&*storage, path)?;
        }
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
        let checked = opening::check(&*storage, path, access)?;
        let mut state = State::new(Arc::clone(&storage), access, checked);
        if access == Access::Write {
            let taken = state.take_over();
            taken.map_err(Trouble::into_error)?;
        }
        Ok(Self {
            path: path.to_owned(),
            id: state.manifest().id,
            identity: state.manifest().identity.clone(),
            access,
            storage,
            state: Mutex::new(state),
            _lock: lock,
        })
    }

    fn finish(&self) -> Result<(), StoreError> {
        match self.access {
            Access::Read => Ok(()),
            Access::Write => self.running()?.finish(),
        }
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
        let owner = state.head().epoch;
        if epoch == owner {
            Ok(state)
        } else {
            Err(StoreError::NotOwner { epoch, owner })
        }
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

pub(crate) fn take_lock(
    storage: &dyn Storage,
    path: &Path,
    access: Access,
) -> Result<Lock, StoreError> {
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

impl JournalStore for RedbJournal {
    fn id(&self) -> JournalId {
        self.id
    }

    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn head(&self) -> Result<Head, StoreError> {
        Ok(self.running()?.head())
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        let mut state = self.owned(epoch)?;
        let expected = state.head().position;
        if after == expected {
            state.append(records, flush)
        } else {
            let got = after;
            Err(StoreError::OutOfOrder { expected, got })
        }
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.writable()?.flush()
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.running()?.read_after(position, bytes_max)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.running()?.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        Ok(self.running()?.manifest().checkpoints.clone())
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        self.owned(epoch)?.truncate(checkpoints)
    }

    /// Tries to make a file of 1 MiB beside the records. It is not flushed: a failed flush
    /// of a file that nobody needs must not stop the journal.
    fn has_room(&self) -> Result<(), StoreError> {
        drop(self.running()?);
        let name = format!("room{NEW}");
        // What a crash has left.
        drop(self.storage.remove(&name));
        let tried = self.storage.create(&name).and_then(|file| {
            let tried = file.set_len(ROOM);
            drop(file);
            self.storage.remove(&name)?;
            tried
        });
        tried.map_err(|error| StoreError::Full {
            source: Arc::new(error),
        })
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        Some(self.path.join(CHECKPOINTS))
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        let list = |folder: &str| {
            match self.storage.list(folder) {
                // A copy may lack empty folders.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
                files => files.map_err(|error| files::unreadable(folder, error)),
            }
        };
        let is_ours = |name: &str| [RECORDS, MANIFEST, WATERMARK].contains(&name);
        let top = list("")?.into_iter().filter(|(name, _)| is_ours(name));
        Ok(top.chain(list(OBJECTS)?).map(|(_, bytes)| bytes).sum())
    }
}
