//! The configuration of an engine, which all of its modules and instances share.

use engine_api::{EngineConfig, EngineId, Error};
use wasmer_vm::VMConfig;

/// The compilers of wasmer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compiler {
    /// Optimises, and takes more time for it than Singlepass.
    Cranelift,
    /// Compiles in one pass over the bytes, without optimising.
    Singlepass,
    /// Optimises most, and compiles slowest.
    #[cfg(feature = "llvm")]
    Llvm,
}

impl Compiler {
    pub(crate) fn id(self) -> EngineId {
        EngineId {
            runtime: "wasmer",
            compiler: match self {
                Compiler::Cranelift => "cranelift",
                Compiler::Singlepass => "singlepass",
                #[cfg(feature = "llvm")]
                Compiler::Llvm => "llvm",
            },
        }
    }

    /// Whether its code contains the addresses of wasmer's library, besides the table that each
    /// instance has (see [`crate::relink`]).
    pub(crate) fn links_library(self) -> bool {
        !matches!(self, Compiler::Cranelift | Compiler::Singlepass)
    }

    /// Whether its functions take the base of memory 0 as a parameter (see [`crate::import_abi`]).
    pub(crate) fn passes_base(self) -> bool {
        !matches!(self, Compiler::Cranelift | Compiler::Singlepass)
    }

    pub(crate) fn simd(self) -> bool {
        self != Compiler::Singlepass
    }
}

/// How code is generated, beyond what every engine can be told. Calls that return give the same
/// results with any tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tuning {
    /// Whether LLVM keeps every access to memory as the module has it. Otherwise it may leave one
    /// out whose result nobody needs, which then does not trap out of bounds, and a store across
    /// the end of memory may write its first bytes before it traps. Every store is preceded by a
    /// load for this. The other compilers keep all accesses. On by default.
    pub strict_memory: bool,
}

impl Tuning {
    /// This tuning with or without strict memory.
    #[must_use]
    pub fn strict_memory(mut self, strict_memory: bool) -> Self {
        self.strict_memory = strict_memory;
        self
    }
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            strict_memory: true,
        }
    }
}

/// The configuration of an engine, with what wasmer makes of it.
pub(crate) struct Settings {
    pub(crate) compiler: Compiler,
    pub(crate) config: EngineConfig,
    #[cfg_attr(
        not(feature = "llvm"),
        expect(dead_code, reason = "it is about LLVM alone")
    )]
    pub(crate) tuning: Tuning,
    pub(crate) vm_config: VMConfig,
    pub(crate) fingerprint: String,
}

impl Settings {
    pub(crate) fn id(&self) -> EngineId {
        self.compiler.id()
    }

    pub(crate) fn unsupported(&self, what: impl Into<String>) -> Error {
        Error::Unsupported {
            engine: self.id(),
            what: what.into(),
        }
    }

    pub(crate) fn failed<E>(&self, action: &'static str, source: E) -> Error
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Error::Runtime {
            engine: self.id(),
            action,
            source: source.into(),
        }
    }
}
