//! Why the host ends a call.

use std::io;
use std::sync::Arc;

use engine_api::{Error, JsValue};

use crate::convert;
use crate::value::Js;

/// Why the host ended a call of a guest: the source of an [`Error::Host`] of the module
/// `bindgen-host`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// An exception that the guest does not catch. Look into the guest, or at the arguments.
    #[error("{message}")]
    Uncaught {
        /// What it says.
        message: String,
        /// The exception, where it means something outside of the guest.
        thrown: Option<JsValue>,
    },

    /// The module breaks the ABI as this host knows it. Build it with another release of
    /// wasm-bindgen, or with its names.
    #[error("{0}")]
    Abi(String),

    /// What [`Options::casts`](crate::Options::casts) says of an import does not fit the module.
    /// Correct it, or draft it again by the module's own glue.
    #[error("{0}")]
    Cast(String),

    /// A JavaScript value that cannot leave the realm: it contains itself, is nested too deep or is too
    /// large. Ask the guest for less.
    #[error("{0}")]
    Value(String),

    /// No pool can be started or stopped like this. Change the call.
    #[error("{0}")]
    Pool(String),

    /// A snapshot was taken or restored while a pool runs, and the pool cannot be stopped and started
    /// again like this. Stop it first, or do without snapshots.
    #[error("{0}")]
    Restart(String),

    /// Workers did not arrive or end in time. Ask for fewer, or see what keeps them.
    #[error("{0}")]
    Late(String),

    /// The system has no thread for a worker. Raise its limits.
    #[error("worker {worker} of the thread pool could not be started")]
    Thread {
        /// Its number in the pool, from 1.
        worker: u32,
        /// The system's reason.
        source: io::Error,
    },

    /// A worker ended early, and the instance with it. Make a new one.
    #[error("worker {worker} of the thread pool ended early")]
    Worker {
        /// Its number in the pool, from 1.
        worker: u32,
        /// The error of its call.
        source: Arc<Error>,
    },
}

impl HostError {
    /// An exception that nobody catches.
    pub(crate) fn uncaught(exception: &Js) -> Self {
        HostError::Uncaught {
            message: exception.to_string(),
            thrown: convert::thrown(exception),
        }
    }

    /// The error of the call, which names the import or the function that failed.
    pub(crate) fn ends(self, name: &str) -> Error {
        Error::Host {
            module: "bindgen-host".to_owned(),
            name: name.to_owned(),
            source: Box::new(self),
        }
    }
}

/// An error with everything behind it, in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
