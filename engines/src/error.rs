//! Errors of looking an engine up by its name, and of making it.

use crate::compiled_in;

/// Why an engine cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No engine has this name. Choose another.
    #[error("no engine `{name}`; choose one of: {}", names())]
    Unknown {
        /// The name that was looked up.
        name: String,
    },

    /// The engine is known, but this build lacks it. Build with the feature, or choose another
    /// engine.
    #[error(
        "the engine `{name}` is not compiled in; build with `--features {feature}`, or choose one of: {}",
        names()
    )]
    NotCompiledIn {
        /// The engine's name in the list.
        name: &'static str,
        /// The cargo feature that adds it.
        feature: &'static str,
    },

    /// This build has no engine at all. Build with a feature.
    #[error("no engine is compiled in; build with `--features wasmer` or `--features wasmtime`")]
    NoneCompiledIn,

    /// The engine does not start on this machine, or does not start with this configuration.
    #[error(transparent)]
    Engine(#[from] engine_api::Error),
}

fn names() -> String {
    let names: Vec<&str> = compiled_in().map(|listed| listed.name).collect();
    names.join(", ")
}
