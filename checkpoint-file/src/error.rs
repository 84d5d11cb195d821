//! Errors, told apart by what is wrong with the file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use engine_api::{ImageError, ModuleHash};

/// Why a checkpoint was not written, or not opened. A file that cannot be opened is of no use to
/// this process: take an older one, or replay the journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The snapshot has a part that no file can hold. Keep the journal instead.
    #[error("the snapshot cannot be kept in a file: {reason}")]
    Unsupported {
        /// The part, in words.
        reason: String,
    },

    /// The file is no checkpoint.
    #[error("`{path}` is no checkpoint", path = .path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },

    /// The file was written by another release. Open it with that one.
    #[error(
        "`{path}` has version {found} of the {what}, this program knows version {known}",
        path = .path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What has that version: `layout`, `encoding`, `snapshot's format`.
        what: &'static str,
        /// The version in the file.
        found: u32,
        /// The version that this release reads.
        known: u32,
    },

    /// The checkpoint is of another module.
    #[error("`{path}` is of module {found}, this is {expected}", path = .path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// The module of the checkpoint.
        found: ModuleHash,
        /// The module that it was opened for.
        expected: ModuleHash,
    },

    /// The file was cut, or something was added to it.
    #[error(
        "`{path}` has {bytes} bytes instead of {expected}: it was cut, or added to",
        path = .path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        bytes: u64,
        /// The length in bytes that it says of itself, or the least that a checkpoint has.
        expected: u64,
    },

    /// A part of the file has not the hash that it had.
    #[error("`{path}` is damaged in its {part}", path = .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The first part that was found to be damaged.
        part: Part,
    },

    /// The hashes are right, and the content is no state of the module: somebody made the file on
    /// purpose, or the program that wrote it has a fault.
    #[error("`{path}` holds no state of the module: {reason}", path = .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },

    /// The module's host does not take the state that the file has for it.
    #[error("the host's state in `{path}` cannot be used", path = .path.display())]
    Host {
        /// The file.
        path: PathBuf,
        /// The host's own error.
        source: Box<engine_api::Error>,
    },

    /// The system refused. After a failed [`write()`](crate::write()) there is no new file, and an
    /// older one of that name is as before. Only where the folder could not be synced the new one
    /// is in its place, and the older one may be there again after a loss of power.
    #[error("failed to {action} `{path}`", path = .path.display())]
    Io {
        /// The step that failed, as in "failed to ...".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },

    /// An image of a memory could not be read or made. Memory or file descriptors are short.
    #[error("failed to {action} a memory of `{path}`", path = .path.display())]
    Image {
        /// The step that failed, as in "failed to ...".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The image's error.
        source: ImageError,
    },
}

/// A part of a file with a hash of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The first bytes, with lengths and hashes.
    Header,
    /// The list of memories.
    Memories,
    /// The content of a memory.
    Content {
        /// The memory's index.
        memory: u32,
        /// Where the damaged piece begins in the memory, in bytes.
        offset: u64,
    },
    /// Globals, tables and dropped segments.
    State,
    /// The state of the host.
    Host,
    /// The notes.
    Notes,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Header => f.write_str("header"),
            Part::Memories => f.write_str("list of memories"),
            Part::Content { memory, offset } => {
                write!(f, "content of memory {memory}, near offset {offset:#x}")
            }
            Part::State => f.write_str("globals and tables"),
            Part::Host => f.write_str("state of the host"),
            Part::Notes => f.write_str("notes"),
        }
    }
}

impl Error {
    pub(crate) fn invalid(path: &Path, reason: impl Into<String>) -> Self {
        Error::Invalid {
            path: path.to_owned(),
            reason: reason.into(),
        }
    }

    pub(crate) fn damaged(path: &Path, part: Part) -> Self {
        Error::Damaged {
            path: path.to_owned(),
            part,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// An image's error; one of the file's own is the file's.
    pub(crate) fn image(action: &'static str, path: &Path) -> impl FnOnce(ImageError) -> Self {
        move |source| match source {
            ImageError::File { action, source } => Error::io(action, path)(source),
            ImageError::Extents { reason } => Error::invalid(path, reason),
            source => Error::Image {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }
}
