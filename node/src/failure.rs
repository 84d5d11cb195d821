//! What JavaScript is thrown.

use std::fmt::Write;

use crate::journal;

/// Why a function of the addon throws. Its code is the `code` of the error in JavaScript.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An option is wrong. Change it.
    #[error("{0}")]
    Option(String),

    /// The package's glue cannot be read, or is of another module. Name a policy.
    #[error("{0}")]
    Glue(String),

    /// The policy does not fit the module, or has kinds that JavaScript cannot pass. Change it.
    #[error("{0}")]
    Policy(String),

    /// The module cannot run here.
    #[error("{0}")]
    Module(String),

    /// Somebody else has the journal open. End it, or give another folder.
    #[error("{0}")]
    JournalInUse(String),

    /// The journal was made with another module or policy. Give it these, or another folder.
    #[error("{0}")]
    JournalOther(String),

    /// The journal cannot be read or written.
    #[error("{0}")]
    Journal(String),

    /// What is given cannot cross. Give something else.
    #[error("{0}")]
    Value(String),

    /// The proxy refused what was asked of it.
    #[error("{0}")]
    Proxy(String),

    /// A bug of the package's own JavaScript part, or of this addon.
    #[error("{0}")]
    Internal(String),
}

impl Failure {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Failure::Option(_) => "WASM_PROXY_OPTION",
            Failure::Glue(_) => "WASM_PROXY_GLUE",
            Failure::Policy(_) => "WASM_PROXY_POLICY",
            Failure::Module(_) => "WASM_PROXY_MODULE",
            Failure::JournalInUse(_) => "WASM_PROXY_JOURNAL_IN_USE",
            Failure::JournalOther(_) => "WASM_PROXY_JOURNAL_OTHER",
            Failure::Journal(_) => "WASM_PROXY_JOURNAL",
            Failure::Value(_) => "WASM_PROXY_VALUE",
            Failure::Proxy(_) => "WASM_PROXY_REFUSED",
            Failure::Internal(_) => "WASM_PROXY_INTERNAL",
        }
    }

    pub(crate) fn argument(at: usize, what: &str) -> Self {
        Failure::Internal(format!("argument {at} of the addon's function {what}"))
    }

    pub(crate) fn node(what: &str, status: i32) -> Self {
        Failure::Internal(format!("Node refused {what} with status {status}"))
    }

    pub(crate) fn reentrant() -> Self {
        Failure::Internal("the addon was called while it was being called".to_owned())
    }

    pub(crate) fn bug() -> Self {
        Failure::Internal(
            "the addon panicked, which is a bug of wasm-proxy; stderr has the place".to_owned(),
        )
    }
}

impl From<proxy_core::Error> for Failure {
    fn from(error: proxy_core::Error) -> Self {
        let text = described(&error);
        match error {
            proxy_core::Error::OtherJournal(_) => Failure::JournalOther(text),
            proxy_core::Error::JournalStore(error) => journal::of_store(&error),
            error if is_of_journal(&error) => Failure::Journal(text),
            proxy_core::Error::Policy(_) => Failure::Policy(text),
            proxy_core::Error::Setting { .. } => Failure::Option(text),
            proxy_core::Error::Engine(_) | proxy_core::Error::CompileTimeout { .. } => {
                Failure::Module(text)
            }
            _ => Failure::Proxy(text),
        }
    }
}

/// Whether the store of the journal, or what is in it, is in the way.
pub(crate) fn is_of_journal(error: &proxy_core::Error) -> bool {
    use proxy_core::Error;
    matches!(
        error,
        Error::JournalStore(_)
            | Error::JournalRecord { .. }
            | Error::JournalFull { .. }
            | Error::JournalStopped { .. }
            | Error::JournalBusy { .. }
            | Error::NotDurable { .. }
            | Error::NotStorable { .. }
            | Error::NoRecovery { .. }
            | Error::HistoryFolded
    )
}

/// An error with everything behind it, in one line.
pub(crate) fn described(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let inner = error.to_string();
        if !text.ends_with(&inner) {
            let _ = write!(text, ": {inner}");
        }
        source = error.source();
    }
    text
}
