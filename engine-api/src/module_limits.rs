//! What a module may be before a compiler sees it.

use crate::Error;

/// How large a module may be. No runtime promises that compiling ends soon, or in little memory,
/// so a module is measured before a compiler gets it.
///
/// The defaults are far above real modules: the o1js prover has 15 MB, 6,973 functions and bodies
/// of up to 46 KB, SQLite 0.7 MB, 1,484 functions and bodies of up to 38 KB. They are not small
/// enough to make compiling cheap: an optimising compiler takes more than linear time in the size
/// of a body.
///
/// ```
/// use engine_api::{EngineConfig, ModuleLimits};
///
/// let strict = EngineConfig {
///     module: ModuleLimits { bytes_max: 4 << 20, ..ModuleLimits::default() },
///     ..EngineConfig::default()
/// };
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ModuleLimits {
    /// Bytes of the module, custom sections included. The default is 128 MiB.
    pub bytes_max: u64,
    /// Functions with a body, which imported ones do not have. The default is 250,000.
    pub functions_max: u64,
    /// Bytes of one function's body. The default is 4 MiB.
    pub function_bytes_max: u64,
    /// Imports of all kinds. The default is 100,000.
    pub imports_max: u64,
    /// Exports of all kinds. The default is 100,000.
    pub exports_max: u64,
}

impl Default for ModuleLimits {
    fn default() -> Self {
        Self {
            bytes_max: 128 << 20,
            functions_max: 250_000,
            function_bytes_max: 4 << 20,
            imports_max: 100_000,
            exports_max: 100_000,
        }
    }
}

impl ModuleLimits {
    /// Refuses nothing that a parser takes.
    #[must_use]
    pub fn none() -> Self {
        Self {
            bytes_max: u64::MAX,
            functions_max: u64::MAX,
            function_bytes_max: u64::MAX,
            imports_max: u64::MAX,
            exports_max: u64::MAX,
        }
    }

    /// Compares the size of a module, in bytes, with its limit.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleLimit`].
    pub fn check_bytes(&self, bytes: u64) -> Result<(), Error> {
        check("bytes", bytes, self.bytes_max)
    }

    /// Compares the number of functions with their limit.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleLimit`].
    pub fn check_functions(&self, functions: u64) -> Result<(), Error> {
        check("functions", functions, self.functions_max)
    }

    /// Compares the size of one body, in bytes, with its limit.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleLimit`].
    pub fn check_function_bytes(&self, bytes: u64) -> Result<(), Error> {
        check("bytes in one function", bytes, self.function_bytes_max)
    }

    /// Compares the number of imports with their limit.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleLimit`].
    pub fn check_imports(&self, imports: u64) -> Result<(), Error> {
        check("imports", imports, self.imports_max)
    }

    /// Compares the number of exports with their limit.
    ///
    /// # Errors
    ///
    /// [`Error::ModuleLimit`].
    pub fn check_exports(&self, exports: u64) -> Result<(), Error> {
        check("exports", exports, self.exports_max)
    }
}

fn check(what: &'static str, found: u64, limit: u64) -> Result<(), Error> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::ModuleLimit { what, found, limit })
}
