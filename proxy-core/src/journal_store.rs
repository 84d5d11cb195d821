//! Where a journal outlives its process: the storage trait, and what every store has in common.
//!
//! A store keeps a log of *stored records*: opaque bytes, each with a position. Records form a
//! chain of hashes ([`chain_next`]), so that a record that was changed, dropped, doubled or moved is
//! found when it is read. The proxy encodes entries as records and never looks below this trait.
//!
//! A store has one owner at a time. Each opening for writing takes the next [`Epoch`], and an
//! append with an older one is refused. In one process that never happens; in a replicated log it
//! is what keeps an owner out that does not know yet that it was replaced.

mod chain;
mod error;
mod memory_journal;

use std::fmt;
use std::path::PathBuf;

pub use chain::{chain_next, chain_origin};
pub use error::StoreError;
pub use memory_journal::{Fault, MemoryJournal};

/// The most bytes that one record may have: 1 GiB.
pub const RECORD_BYTES_MAX: u64 = 1 << 30;

/// A log of records with one owner.
///
/// Methods take `&self` and may be called by several threads. Appends, truncations and flushes wait
/// for one another; reads see what was appended before them.
///
/// After [`StoreError::Failed`] the store has stopped: what it acknowledged before is on the disk
/// as far as it said so, and whatever is tried afterwards gives [`StoreError::Stopped`]. Nothing is retried, because a flush that is repeated after an error can
/// succeed without having written anything. Open the journal again to go on.
pub trait JournalStore: fmt::Debug + Send + Sync {
    /// The journal's name, which it keeps for life.
    fn id(&self) -> JournalId;

    /// What the journal was made for.
    fn identity(&self) -> &Identity;

    /// The newest record's position and hash, the owner, and the oldest record.
    ///
    /// What an owner learns from it when it has opened the journal is its own epoch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`].
    fn head(&self) -> Result<Head, StoreError>;

    /// Appends records after the one at `after`, which must be the newest: all of them, or none.
    /// Returns the new head. Without records it only flushes, if it is told to.
    ///
    /// # Errors
    ///
    /// * [`StoreError::OutOfOrder`], [`StoreError::NotOwner`], [`StoreError::TooLarge`] and
    ///   [`StoreError::ReadOnly`]: nothing was appended; the store goes on.
    /// * [`StoreError::Full`]: nothing was appended; a later append succeeds when there is room.
    /// * [`StoreError::Failed`]: the store has stopped. After a crash the records may be there, all
    ///   of them or none.
    /// * [`StoreError::Stopped`]: it had stopped before.
    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError>;

    /// Makes durable what was appended with [`Flush::Later`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Failed`], [`StoreError::Stopped`], and [`StoreError::Full`]: what was
    /// acknowledged is still there, but not durable yet.
    fn flush(&self) -> Result<(), StoreError>;

    /// The records after a position, oldest first: at least one if there is one, and then as many
    /// as have `bytes_max` bytes together. The chain is checked from `position` on.
    ///
    /// # Errors
    ///
    /// * [`StoreError::Truncated`]: some of them are gone; a checkpoint took their place.
    /// * [`StoreError::OutOfOrder`]: the position is after the newest record.
    /// * [`StoreError::Corrupt`]: a record is not what was appended.
    /// * [`StoreError::Unreadable`]: the system's error. The store goes on.
    /// * [`StoreError::Stopped`].
    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError>;

    /// The chain's hash at a position that still has its record, or just before the oldest one.
    ///
    /// # Errors
    ///
    /// As [`read_after`](Self::read_after).
    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError>;

    /// The checkpoints that the last [`truncate`](Self::truncate) was given, newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stopped`].
    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError>;

    /// Replaces the list of checkpoints, newest first, and drops the records up to the oldest of
    /// them. Durable when it returns.
    ///
    /// The files must be on the disk before, with their folder flushed. Files in the folder that no
    /// checkpoint of the list [owns](CheckpointRef::owns) are deleted, so nobody may be writing one
    /// meanwhile. An empty list is good while no record was ever dropped.
    ///
    /// # Errors
    ///
    /// * [`StoreError::Checkpoint`]: one of them does not fit the journal; nothing was changed.
    /// * [`StoreError::NotOwner`] and [`StoreError::ReadOnly`]: nothing was changed.
    /// * [`StoreError::Full`]: the list is either the old or the new one, and records may be there
    ///   that could have been dropped. The journal is whole, and truncating again is good.
    /// * [`StoreError::Failed`] and [`StoreError::Stopped`], as for [`append`](Self::append).
    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError>;

    /// Whether there is room for an append after one that found none. It is asked now and then while
    /// the disk is full. A store that cannot tell says yes: then the next append is the test.
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`]; [`StoreError::Stopped`].
    fn has_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// The folder in which files of checkpoints belong, if the store has one.
    fn checkpoint_folder(&self) -> Option<PathBuf>;

    /// How many bytes the journal takes on the disk, without the files of checkpoints.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`].
    fn bytes(&self) -> Result<u64, StoreError>;
}

/// A record's place in the log: 1 for the first record ever, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// Before the first record.
    pub const ZERO: Self = Self(0);

    /// The place after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The place before this one, [`Self::ZERO`] at the least.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which owner: the first has 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The epoch of the next owner.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A journal's random name, by which a copy is told from another journal of the same module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub [u8; 16]);

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a journal was made for. Opaque to a store, but for its hash, with which the chain begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// blake3 of the module's bytes.
    pub module: [u8; 32],
    /// What else must be the same when the journal is opened, in the proxy's encoding.
    pub notes: Vec<u8>,
}

/// Where a log ends, and where it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the newest record ever appended.
    pub position: Position,
    /// The chain's hash there.
    pub hash: [u8; 32],
    /// The owner's.
    pub epoch: Epoch,
    /// Of the oldest record that is kept; the one after `position` if none is.
    pub first: Position,
}

/// A record as it was appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place.
    pub position: Position,
    /// The chain's hash there.
    pub hash: [u8; 32],
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A checkpoint that takes the place of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointRef {
    /// Of the newest record that it has.
    pub position: Position,
    /// The chain's hash there.
    pub hash: [u8; 32],
    /// The file's name in [`JournalStore::checkpoint_folder`].
    pub file: String,
    /// The file's length.
    pub bytes: u64,
}

impl CheckpointRef {
    /// Whether a name in the folder is that of the checkpoint's file, or of its
    /// [stamp](checkpoint_file::stamp()).
    #[must_use]
    pub fn owns(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&*self.file);
        rest.is_some_and(|rest| rest.is_empty() || rest == checkpoint_file::STAMP_SUFFIX)
    }
}

/// When an append is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// When it returns.
    Now,
    /// With the next flush, or with the next append that is durable.
    Later,
}

/// Checks a list of checkpoints, newest first, against the journal that they are for.
///
/// # Errors
///
/// [`StoreError::Checkpoint`]. Errors of `hash_at` are passed on.
pub fn check_checkpoints(
    checkpoints: &[CheckpointRef],
    head: &Head,
    hash_at: impl Fn(Position) -> Result<[u8; 32], StoreError>,
) -> Result<(), StoreError> {
    if checkpoints.is_empty() && head.first > Position(1) {
        return Err(StoreError::Checkpoint {
            file: String::new(),
            reason: format!(
                "records before {} are gone, and no other takes their place",
                head.first
            ),
        });
    }
    let mut newer: Option<&CheckpointRef> = None;
    for checkpoint in checkpoints {
        let refuse = |reason: String| StoreError::Checkpoint {
            file: checkpoint.file.clone(),
            reason,
        };
        if !is_file_name(&checkpoint.file) {
            return Err(refuse(
                "it is not the name of a file in a folder".to_owned(),
            ));
        }
        if newer.is_some_and(|newer| newer.position <= checkpoint.position) {
            return Err(refuse("the list must go from newer to older".to_owned()));
        }
        if checkpoints
            .iter()
            .filter(|other| other.file == checkpoint.file)
            .count()
            > 1
        {
            return Err(refuse("it is in the list twice".to_owned()));
        }
        if checkpoint.position > head.position || checkpoint.position < head.first.previous() {
            return Err(refuse(format!(
                "it is at {}, and the journal has {} to {}",
                checkpoint.position,
                head.first.previous(),
                head.position
            )));
        }
        if hash_at(checkpoint.position)? != checkpoint.hash {
            return Err(refuse("it was made from other records".to_owned()));
        }
        newer = Some(checkpoint);
    }
    Ok(())
}

/// Whether a text names a file in a folder, whatever the folder is: no path, and nothing hidden.
fn is_file_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(is_plain)
}
