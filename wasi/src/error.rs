//! What can go wrong beside what a guest is told by an error number.

use std::path::PathBuf;

/// An error of WASI's host. What preview 1 has an error number for, the guest gets as that number.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder cannot be opened. Give another, or make it first.
    #[error("the folder `{}` cannot be opened for the guest", path.display())]
    Preopen {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// An argument or a variable has a zero byte in it, or all of them are too large for a guest.
    #[error("{what} cannot be given to a guest: {reason}")]
    Strings {
        /// `the arguments` or `the environment`.
        what: &'static str,
        /// The reason.
        reason: &'static str,
    },

    /// The guest uses a descriptor of an earlier process that could not be opened again. Open the
    /// file anew, in a call of its own.
    #[error(
        "descriptor {descriptor} was opened by an earlier process and cannot be opened again: \
         {reason}; put the file or folder back and start again, or have the guest open it anew"
    )]
    LostDescriptor {
        /// Its number.
        descriptor: u32,
        /// Why it is lost.
        reason: String,
    },

    /// The guest asks for what this host does not do.
    #[error("the guest asked for `{what}`, which is not supported")]
    Unsupported {
        /// The function.
        what: &'static str,
    },

    /// The module has no memory that the functions can use.
    #[error("the module exports no memory named `memory`, which WASI needs")]
    NoMemory,

    /// The implementation failed for a reason of its own.
    #[error("`{function}` failed: {reason}")]
    Failed {
        /// The function.
        function: &'static str,
        /// The implementation's words.
        reason: String,
    },
}
