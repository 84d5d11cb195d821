//! What can go wrong while the journal is written, told apart by what the store does about it.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use proxy_core::{Position, StoreError};

/// A step of writing that did not succeed.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There is no room, and nothing was changed that counts.
    Full(io::Error),
    /// Nobody knows what is on the disk now.
    Failed(io::Error),
    /// What is on the disk is not what was written.
    Damaged(String),
}

impl Trouble {
    /// Of an operation that can be given up: a file that is created or written before anything
    /// refers to it.
    pub(crate) fn of_write(error: io::Error) -> Self {
        if is_full(&error) {
            Self::Full(error)
        } else {
            Self::Failed(error)
        }
    }

    /// The error to report. `Failed` and `Damaged` stop the store.
    pub(crate) fn into_error(self) -> StoreError {
        match self {
            Self::Full(error) => StoreError::Full {
                source: Arc::new(error),
            },
            Self::Failed(error) => StoreError::Failed {
                source: Arc::new(error),
            },
            Self::Damaged(what) => StoreError::Corrupt {
                position: Position::ZERO,
                what,
            },
        }
    }
}

/// Whether there was no room: on the disk, in a quota, in a file, or for another open file.
fn is_full(error: &io::Error) -> bool {
    /// `EMFILE` and `ENFILE`, which have no kind.
    const OPEN_FILES: [i32; 2] = [24, 23];

    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    ) || error
        .raw_os_error()
        .is_some_and(|code| OPEN_FILES.contains(&code))
}
