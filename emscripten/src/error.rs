//! Why Emscripten's imports end a call.

use engine_api::Error;

use crate::MODULE;

/// Why a call ended: the source of an [`Error::Host`] of the module `env`.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmscriptenError {
    /// The guest gave up. Look into the guest, or at the arguments.
    #[error("the guest aborted{0}")]
    Aborted(String),

    /// An assertion of the guest failed.
    #[error("assertion failed in the guest: {0}")]
    Assertion(String),

    /// An exception of C++ for which the module asks JavaScript. Build it without exceptions: no
    /// engine here has those of WebAssembly (`-fwasm-exceptions`).
    #[error(
        "the guest threw a C++ exception, for which it asks JavaScript; build it with \
         -fno-exceptions, since no engine here has those of WebAssembly"
    )]
    Thrown,

    /// A `longjmp` that no call through `invoke_*` was there to catch: what it jumps to has returned.
    /// Look into the guest.
    #[error("the guest jumped (longjmp) to where no call of it is any more")]
    Jumped,

    /// The import does what only Emscripten's JavaScript can do.
    #[error("`{import}` needs Emscripten's JavaScript: {what}")]
    Unsupported {
        /// The import.
        import: String,
        /// What it is for, and the way out.
        what: &'static str,
    },
}

impl EmscriptenError {
    /// The error of the call, which names the import.
    pub(crate) fn ends(self, name: &str) -> Error {
        Error::Host {
            module: MODULE.to_owned(),
            name: name.to_owned(),
            source: Box::new(self),
        }
    }
}
