//! What an engine and an instance may use.

use std::time::Duration;

use crate::{Error, Extern, MemoryType, ModuleInfo, ModuleLimits};

/// How an engine compiles. It cannot change during the engine's life, because the code depends on
/// it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EngineConfig {
    /// Bytes of stack that a guest's calls may use before [`crate::Trap::StackOverflow`].
    ///
    /// [`crate::Capabilities::stack_limit`] says how exactly an engine keeps to it.
    pub stack_bytes_max: usize,
    /// Whether to compile in the accounting that [`Limits::fuel`] needs. Off by default, because
    /// every basic block pays for it.
    pub fuel: bool,
    /// How large a module may be. It changes no code, so it is no part of a
    /// [fingerprint](crate::Engine::fingerprint).
    pub module: ModuleLimits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            stack_bytes_max: 1 << 20,
            fuel: false,
            module: ModuleLimits::default(),
        }
    }
}

/// The most elements that a table can have, whatever its module and its [`Limits`] say. It is the
/// limit of the JavaScript embeddings (WebAssembly JavaScript interface, section 5.9), and the same
/// on every engine, because growth that succeeds on one and fails on another would be a divergence.
/// Some engines allocate tables on the heap, where a request that is too large ends the process.
pub const TABLE_ELEMENTS_MAX: u64 = 10_000_000;

/// What one instance may use. By default only the module's own maxima and [`TABLE_ELEMENTS_MAX`]
/// limit it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all the instance's unshared linear memories may have together. Beyond it
    /// `memory.grow` returns -1; an instance whose memories start larger is refused with
    /// [`crate::Error::Limit`]. A shared memory has the maximum that it was made with.
    pub memory_bytes_max: Option<u64>,
    /// Elements that each table may have; beyond it `table.grow` returns -1. At most
    /// [`TABLE_ELEMENTS_MAX`]. Tables do not count towards `memory_bytes_max`.
    pub table_elements_max: Option<u64>,
    /// How long one outermost call may take, the start function included, before
    /// [`crate::Trap::DeadlineExceeded`]. The call ends within two ticks of 10 ms, with these
    /// exceptions: a host function runs to its end; some engines cannot end a bulk instruction,
    /// such as a `memory.fill` of gigabytes, in its middle; and some cannot end a loop that
    /// consists of long bulk instructions. A call that returns after its deadline and before the
    /// next tick may still succeed.
    pub deadline: Option<Duration>,
    /// Units of fuel that each outermost call starts with, the start function included. It runs out
    /// at the same point in every run on the same engine. Needs [`EngineConfig::fuel`]; units
    /// differ between engines.
    pub fuel: Option<u64>,
}

impl Limits {
    /// Elements that each table may have: `table_elements_max`, but at most [`TABLE_ELEMENTS_MAX`].
    #[must_use]
    pub fn table_elements(&self) -> u64 {
        let own = self.table_elements_max.unwrap_or(TABLE_ELEMENTS_MAX);
        own.min(TABLE_ELEMENTS_MAX)
    }

    /// For engines: refuses an instance that would start larger than its limits allow. `given`
    /// comes from [`Imports::resolve_all`](crate::Imports::resolve_all).
    ///
    /// # Errors
    ///
    /// [`Error::Limit`].
    pub fn check_start(&self, info: &ModuleInfo, given: &[&Extern]) -> Result<(), Error> {
        let own = info.memories()[info.imported_memories()..].iter();
        let mut memories: Vec<&MemoryType> = own.filter(|memory| !memory.shared).collect();
        let mut tables: Vec<_> = info.tables()[info.imported_tables()..].iter().collect();
        for item in given {
            match item {
                Extern::Memory(ty) => memories.push(ty),
                Extern::Table(ty) => tables.push(ty),
                _ => {}
            }
        }
        let bytes = memories.into_iter().map(MemoryType::bytes_min);
        let bytes = bytes.fold(0, u64::saturating_add);
        let elements = tables.iter().map(|table| table.elements_min).max();
        let bytes_max = self.memory_bytes_max.unwrap_or(u64::MAX);
        check("bytes of memory", bytes, bytes_max)?;
        check(
            "table elements",
            elements.unwrap_or(0),
            self.table_elements(),
        )
    }
}

fn check(what: &'static str, needed: u64, limit: u64) -> Result<(), Error> {
    if needed <= limit {
        return Ok(());
    }
    Err(Error::Limit {
        what,
        needed,
        limit,
    })
}
