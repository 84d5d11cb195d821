//! How modules are compiled.

use std::path::PathBuf;

use clap::Args;
use engine_api::ModuleLimits;

/// How the module is compiled, and where its code is kept.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct CompileArgs {
    /// The folder for compiled modules, for the next run [default: `wasm-proxy` in the user's folder
    /// for caches]
    #[arg(long, value_name = "DIR")]
    pub(crate) cache: Option<PathBuf>,

    /// Compile the module, whether it was compiled before or not, and keep nothing of it
    #[arg(long, conflicts_with = "cache")]
    pub(crate) no_cache: bool,

    /// Take a module of any size, which must be trusted. By default it has at most 128 MiB, 250,000
    /// functions of up to 4 MiB each, 100,000 imports and 100,000 exports
    #[arg(long)]
    pub(crate) any_size: bool,
}

impl CompileArgs {
    /// The folder for compiled modules, if they are kept.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        match &self.cache {
            _ if self.no_cache => None,
            Some(folder) => Some(folder.clone()),
            None => compile_cache::usual_folder(),
        }
    }

    /// The limits of the module.
    pub(crate) fn limits(&self) -> ModuleLimits {
        if self.any_size {
            ModuleLimits::none()
        } else {
            ModuleLimits::default()
        }
    }
}
