//! What can go wrong with a store, told apart by what the operator or the caller does next.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::{Epoch, JournalId, Position};

/// An error of a store. It can be given to everybody who waited for the same append.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Somebody else has the journal open.
    #[error("the journal `{}` is in use; stop the other owner first", .path.display())]
    InUse {
        /// Its directory.
        path: PathBuf,
    },

    /// There is no journal here.
    #[error("there is no journal in `{}`; create one, or correct the path", .path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },

    /// There is a journal already, or something else.
    #[error(
        "`{}` is not an empty directory; open the journal in it, or take another one",
        .path.display()
    )]
    Exists {
        /// The directory.
        path: PathBuf,
    },

    /// The file with the records is empty or gone, and the manifest knows of some.
    #[error(
        "`{}` has no records, but had them up to {expected}; put the file back, or restore the whole \
         directory from a backup",
        .path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
        /// The newest record of which the manifest knows.
        expected: Position,
    },

    /// The records end before the newest one that was acknowledged.
    #[error(
        "the journal ends at {got}, but had records up to {expected}: it is an older copy, or its \
         end is damaged; restore the whole directory, or accept the loss with `journal salvage`"
    )]
    Older {
        /// The newest record that is known to have been there.
        expected: Position,
        /// The newest record that is there.
        got: Position,
    },

    /// The records are another journal's.
    #[error(
        "the records are of the journal {got}, and the manifest is of {expected}; put files of one \
         journal together"
    )]
    Foreign {
        /// The manifest's journal.
        expected: JournalId,
        /// The records' journal.
        got: JournalId,
    },

    /// Something is not what was written.
    #[error("the journal is damaged at {position}: {what}; {}", way_out(.what))]
    Corrupt {
        /// The first record that is not good, or [`Position::ZERO`] if no record was reached.
        position: Position,
        /// What was found.
        what: String,
    },

    /// The format is another release's.
    #[error(
        "the journal has format {found}, and this release reads {known}; use the release that made it"
    )]
    Format {
        /// The journal's.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },

    /// No room: on the disk, in a quota, within a limit of file sizes or of open files. Nothing was
    /// appended, and a later append succeeds when there is room.
    #[error("no room for the journal: {source}; free space on its disk, and calls are taken again")]
    Full {
        /// The system's error.
        source: Arc<io::Error>,
    },

    /// A flush or a write failed. The store has stopped.
    #[error(
        "the journal has stopped, because it could not be written: {source}; look after the disk, \
         and open the journal again"
    )]
    Failed {
        /// The system's error.
        source: Arc<io::Error>,
    },

    /// The store had stopped before.
    #[error("the journal has stopped: {reason}; look after the disk, and open the journal again")]
    Stopped {
        /// What stopped it.
        reason: String,
    },

    /// The caller's place in the log is not the store's.
    #[error(
        "the journal is at {expected}, and not at {got}; read what is there, and go on from it"
    )]
    OutOfOrder {
        /// The newest record.
        expected: Position,
        /// The caller's.
        got: Position,
    },

    /// Somebody else has become the owner.
    #[error("owner {epoch} was replaced by owner {owner}; open the journal again")]
    NotOwner {
        /// The caller's.
        epoch: Epoch,
        /// The owner's.
        owner: Epoch,
    },

    /// Records are gone, because a checkpoint took their place.
    #[error("the records after {after} begin at {first}; restore a checkpoint first")]
    Truncated {
        /// From where records were asked for.
        after: Position,
        /// The oldest that is kept.
        first: Position,
    },

    /// A record is too large.
    #[error(
        "a record of {bytes} bytes does not go into the journal, which takes {bytes_max}; pass less in one call"
    )]
    TooLarge {
        /// The record's.
        bytes: u64,
        /// The most that it may have.
        bytes_max: u64,
    },

    /// A checkpoint does not fit the journal.
    #[error("the checkpoint `{file}` does not fit the journal: {reason}; take another one")]
    Checkpoint {
        /// Its file.
        file: String,
        /// Why not.
        reason: String,
    },

    /// The journal was opened for reading.
    #[error("the journal in `{}` was opened for reading; open it for writing", .path.display())]
    ReadOnly {
        /// Its directory.
        path: PathBuf,
    },

    /// The system did not let a file be opened, listed or read.
    #[error("cannot read `{}`: {source}; check its permissions and the disk", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
}

/// What to do about damage. Without the manifest nothing tells what the records should be, so nothing can
/// be salvaged.
fn way_out(what: &str) -> &'static str {
    if what.starts_with("its manifest") {
        "restore the directory from a backup"
    } else {
        "restore the directory from a backup, or keep what comes before with `journal salvage`"
    }
}
