//! Objects as bytes, each kept once.
//!
//! Where a policy names an artifact, a created object can leave an instance as bytes and come back
//! in another. The store keeps these bytes by their hash and knows which calls made them, so
//! replay, another proxy, another engine and a later process find them.

mod directory;
#[cfg(test)]
mod disk;
mod entry_artifact;
mod identities;
pub(crate) mod key;
#[cfg(test)]
mod power_loss;
mod record;
mod storage;

use std::collections::HashMap;
use std::collections::hash_map;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{fmt, io};

use crate::Error;
use directory::Directory;
use record::{ContentHash, Record, Standing};
use storage::System;

pub(crate) use entry_artifact::{EntryArtifact, EntryArtifacts, News};
pub(crate) use record::{CallKey, CreatedObjects};

/// Where the bytes of created objects are kept. Clones are the same store; proxies that are
/// [given](crate::Builder::artifacts) the same store share its contents.
///
/// Equal bytes are kept once in a process, for as long as an entry of some journal refers to them.
/// A store in a directory also keeps them on disk, for later and for other processes. With
/// `artifact = { .., live = true }` a policy lets the store answer calls that create an object.
/// Bytes are checked when they are read, first against their hash, then by the guest: the object
/// must have the fingerprint of the original one. Bytes that fail a check are not used, and the
/// object is computed.
///
/// ```
/// use proxy_core::ArtifactStore;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = std::env::temp_dir().join(format!("artifact-store-doc-{}", std::process::id()));
/// let store = ArtifactStore::directory(&folder)?;
/// assert_eq!(store.usage().contents, 0);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok(())
/// # }
/// ```
///
/// **The directory is trusted**, as the module's file is: anyone who can write to it decides what
/// bytes the guest reads. `docs/artifacts.md` describes its files.
#[derive(Clone)]
pub struct ArtifactStore(Arc<Backing>);

struct Backing {
    pool: Arc<Pool>,
    directory: Option<Directory>,
}

/// The contents in memory. Its lock is held for moments, and never while a [`Content`] can be
/// dropped.
#[derive(Default)]
struct Pool(Mutex<Known>);

#[derive(Default)]
struct Known {
    contents: HashMap<ContentHash, Weak<Content>>,
    records: HashMap<CallKey, (Weak<Content>, Arc<CreatedObjects>)>,
    refused: HashMap<CallKey, ContentHash>,
}

/// The bytes of an object, shared by all owners of equal bytes.
pub(crate) struct Content {
    bytes: Box<[u8]>,
    hash: ContentHash,
    pool: Weak<Pool>,
}

/// The bytes of an object, and the results of the call that they stand for.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) content: Arc<Content>,
    pub(crate) created: Arc<CreatedObjects>,
}

/// Why an artifact could not be used or kept. The object is computed instead, so no call fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactFault {
    /// A file is not what was written: cut short, or changed. It is removed, and written anew by
    /// the next replay.
    #[error("`{}`: {how}; it was removed, look after the disk", .file.display())]
    Damaged {
        /// The file or folder.
        file: PathBuf,
        /// The damage, in words.
        how: String,
    },
    /// Something other than a regular file has the name of one. It is left alone.
    #[error(
        "`{}` is no regular file; nothing else may be in the artifact directory, move it away",
        .file.display()
    )]
    Foreign {
        /// Its path.
        file: PathBuf,
    },
    /// A file, or a folder, is there and cannot be read.
    #[error("cannot read `{}`: {source}; check its permissions and its disk", .file.display())]
    Unreadable {
        /// The file or folder.
        file: PathBuf,
        /// The system's error.
        source: FileError,
    },
    /// A file, or a folder, cannot be written.
    #[error(
        "cannot write `{}`: {source}; check the directory's permissions and the room on its disk",
        .file.display()
    )]
    Unwritable {
        /// The file or folder.
        file: PathBuf,
        /// The system's error.
        source: FileError,
    },
    /// The guest failed to export the bytes. It is not asked again.
    #[error(
        "its bytes could not be exported: {source}; see what the policy names as its artifact's export"
    )]
    NotExported {
        /// How the export failed.
        source: ExportError,
    },
    /// It would not fit even in an empty directory.
    #[error(
        "it takes {needed} bytes of {bytes_max} that the artifact directory may have; raise the limit"
    )]
    TooLarge {
        /// Its size on disk, in bytes.
        needed: u64,
        /// The directory's limit, in bytes.
        bytes_max: u64,
    },
}

/// The system's error about a file. Two are equal if their kinds and their numbers, if any, are.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct FileError(#[source] Arc<io::Error>);

impl FileError {
    /// The error itself.
    #[must_use]
    pub fn io(&self) -> &io::Error {
        &self.0
    }
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for FileError {
    fn eq(&self, other: &Self) -> bool {
        let known = |error: &Self| (error.0.kind(), error.0.raw_os_error());
        known(self) == known(other)
    }
}

impl Eq for FileError {}

/// Why an export gave no artifact. Two are equal if their messages are.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ExportError(#[source] pub(crate) Arc<Error>);

impl ExportError {
    /// The error itself.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }
}

impl PartialEq for ExportError {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for ExportError {}

/// The size of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ArtifactUsage {
    /// How many objects' bytes are in memory, each counted once.
    pub contents: usize,
    /// How many bytes those are.
    pub bytes: u64,
    /// The size of the directory's files on disk when this process last wrote there, in bytes;
    /// `None` for a store without a directory.
    pub directory_bytes: Option<u64>,
}

/// Refusals are remembered in memory up to this number; then all are forgotten, and each bad
/// artifact is tried once more at most.
const REFUSALS_MAX: usize = 1 << 16;

impl ArtifactStore {
    /// The default limit of a directory's size on disk: 1 GiB. [`Self::directory_up_to`] takes
    /// another.
    pub const DIRECTORY_BYTES_MAX: u64 = 1 << 30;

    /// A store that ends with the process: the default of a proxy.
    #[must_use]
    pub fn memory() -> Self {
        Self::with(None)
    }

    /// A store in a directory, which is created if it does not exist. Other processes may use it at
    /// the same time. The least recently used files go when all would take more than
    /// [`Self::DIRECTORY_BYTES_MAX`].
    ///
    /// # Errors
    ///
    /// [`Error::ArtifactDirectory`] if it cannot be created or listed. A read-only directory is
    /// used as it is, and each artifact that cannot be written there is an event.
    pub fn directory(path: impl Into<PathBuf>) -> Result<Self, Error> {
        Self::directory_up_to(path, Self::DIRECTORY_BYTES_MAX)
    }

    /// The same, with a limit of `bytes_max` on what its files take on disk.
    ///
    /// # Errors
    ///
    /// As [`Self::directory`].
    pub fn directory_up_to(path: impl Into<PathBuf>, bytes_max: u64) -> Result<Self, Error> {
        let path = path.into();
        match Directory::open(Arc::new(System), &path, bytes_max) {
            Ok(directory) => Ok(Self::with(Some(directory))),
            Err(source) => Err(Error::ArtifactDirectory { path, source }),
        }
    }

    fn with(directory: Option<Directory>) -> Self {
        Self(Arc::new(Backing {
            pool: Arc::default(),
            directory,
        }))
    }

    /// The objects and bytes that it holds now.
    #[must_use]
    pub fn usage(&self) -> ArtifactUsage {
        let (mut contents, mut bytes) = (0, 0);
        let alive: Vec<Arc<Content>> = {
            let known = self.0.pool.lock();
            known.contents.values().filter_map(Weak::upgrade).collect()
        };
        for content in &alive {
            contents += 1;
            bytes += content.bytes.len() as u64;
        }
        ArtifactUsage {
            contents,
            bytes,
            directory_bytes: self.0.directory.as_ref().map(Directory::bytes),
        }
    }

    pub(crate) fn has_directory(&self) -> bool {
        self.0.directory.is_some()
    }

    /// The bytes as the store has them: a second copy is dropped.
    pub(crate) fn intern(&self, bytes: Vec<u8>) -> Arc<Content> {
        let hash = ContentHash::of(&bytes);
        let mut known = self.0.pool.lock();
        if let Some(content) = known.contents.get(&hash).and_then(Weak::upgrade) {
            return content;
        }
        let content = Arc::new(Content {
            bytes: bytes.into(),
            hash,
            pool: Arc::downgrade(&self.0.pool),
        });
        known.contents.insert(hash, Arc::downgrade(&content));
        content
    }

    /// Whether exactly these bytes were refused for a call.
    pub(crate) fn is_refused(&self, key: CallKey, content: &Content) -> bool {
        self.0.pool.lock().refused.get(&key) == Some(&content.hash)
    }

    /// The artifact of a call, if there is one that has not been refused.
    pub(crate) fn find(&self, key: CallKey) -> Result<Option<Stored>, ArtifactFault> {
        let refused = {
            let known = self.0.pool.lock();
            let refused = known.refused.get(&key).copied();
            if let Some((content, created)) = known.records.get(&key)
                && let Some(content) = content.upgrade()
            {
                let created = Arc::clone(created);
                drop(known);
                let is_good = refused != Some(content.hash);
                return Ok(is_good.then_some(Stored { content, created }));
            }
            refused
        };
        let Some(directory) = &self.0.directory else {
            return Ok(None);
        };
        let Some(record) = directory.record(key)? else {
            return Ok(None);
        };
        if record.standing == Standing::Refused {
            self.0.pool.lock().refuse(key, record.content);
            return Ok(None);
        }
        if refused == Some(record.content) {
            return Ok(None);
        }
        let in_memory = {
            let known = self.0.pool.lock();
            known.contents.get(&record.content).and_then(Weak::upgrade)
        };
        let content = match in_memory {
            Some(content) => content,
            None => match directory.content(&record)? {
                Some(bytes) => self.intern(bytes),
                None => return Ok(None),
            },
        };
        let created = Arc::new(record.created);
        let stored = Stored { content, created };
        self.remember(key, &stored);
        Ok(Some(stored))
    }

    /// Keeps an object's bytes for later calls of the same key, unless exactly these were refused
    /// before. Returns whether it did; if not, the entry that has them may still use them.
    pub(crate) fn keep(&self, key: CallKey, stored: &Stored) -> Result<bool, ArtifactFault> {
        if self.is_refused(key, &stored.content) {
            return Ok(false);
        }
        if let Some(directory) = &self.0.directory {
            let before = directory.record(key);
            if let Ok(Some(before)) = &before
                && (before.standing, before.content) == (Standing::Refused, stored.content.hash)
            {
                return Ok(false);
            }
            self.remember(key, stored);
            // A damaged file is written anew.
            if let Err(fault @ ArtifactFault::Foreign { .. }) = before {
                return Err(fault);
            }
            directory.keep(&record(Standing::Kept, key, stored), &stored.content.bytes)?;
        } else {
            self.remember(key, stored);
        }
        Ok(true)
    }

    /// The bytes made a different object than the call did, or harmed the guest: they must not be
    /// used again, now or later.
    pub(crate) fn refuse(&self, key: CallKey, stored: &Stored) -> Result<(), ArtifactFault> {
        self.0.pool.lock().refuse(key, stored.content.hash);
        match &self.0.directory {
            Some(directory) => directory.refuse(&record(Standing::Refused, key, stored)),
            None => Ok(()),
        }
    }

    fn remember(&self, key: CallKey, stored: &Stored) {
        let content = Arc::downgrade(&stored.content);
        let created = Arc::clone(&stored.created);
        self.0.pool.lock().records.insert(key, (content, created));
    }
}

fn record(standing: Standing, key: CallKey, stored: &Stored) -> Record {
    Record {
        standing,
        key,
        content: stored.content.hash,
        content_len: stored.content.bytes.len() as u64,
        created: (*stored.created).clone(),
    }
}

impl Known {
    fn refuse(&mut self, key: CallKey, content: ContentHash) {
        if self.refused.len() >= REFUSALS_MAX {
            self.refused.clear();
        }
        self.refused.insert(key, content);
        self.records.remove(&key);
    }
}

impl Content {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else {
            return;
        };
        let mut known = pool.lock();
        // Equal bytes may have come in again before this had the lock.
        if let hash_map::Entry::Occupied(row) = known.contents.entry(self.hash)
            && row.get().strong_count() == 0
        {
            row.remove();
        }
        let is_alive = |content: &Weak<Content>| content.strong_count() > 0;
        known.records.retain(|_, (content, _)| is_alive(content));
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ArtifactStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArtifactStore")
            .field("usage", &self.usage())
            .field("directory", &self.0.directory)
            .finish()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes, {:?})", self.bytes.len(), self.hash)
    }
}
