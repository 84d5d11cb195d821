//! The data of a store, besides the guest.

use std::collections::HashMap;
use std::sync::Arc;

use engine_api::{Attachment, Limits, MemoryImage, MemoryIndex, ModuleInfo, Val};
use wasmtime::{Func, Global, Table, ValRaw};

use crate::exports::Exports;
use crate::func_refs::FuncRefs;
use crate::interrupt::Clock;
use crate::limits::Limiter;
use crate::settings::Runtime;

/// A linear memory that the host reaches by its index in the module.
#[derive(Clone)]
pub(crate) enum Memory {
    Unshared(wasmtime::Memory),
    Shared(wasmtime::SharedMemory),
}

/// The data of a store: everything about one instance that wasmtime itself does not keep.
pub(crate) struct State {
    pub(crate) engine: Arc<Runtime>,
    pub(crate) info: Arc<ModuleInfo>,
    pub(crate) exports: Arc<Exports>,
    pub(crate) limiter: Limiter,
    pub(crate) clock: Clock,
    /// Fuel that each outermost call starts with, if it is limited.
    pub(crate) fuel: Option<u64>,
    /// The instance, once wasmtime has made it. Before that, host functions reach its exports
    /// through wasmtime's caller.
    pub(crate) instance: Option<wasmtime::Instance>,
    /// Whether the exported memories, tables and globals are filled in.
    pub(crate) linked: bool,
    /// Exported functions by [`engine_api::FuncIndex`]. Each is looked up at its first call.
    pub(crate) functions: Vec<Option<Func>>,
    pub(crate) memories: Vec<Option<Memory>>,
    pub(crate) tables: Vec<Option<Table>>,
    pub(crate) globals: Vec<Option<Global>>,
    pub(crate) func_refs: FuncRefs,
    /// Host objects passed to the guest since the last garbage collection.
    pub(crate) externrefs_passed: u32,
    pub(crate) scratch: Scratch,
    /// The image that each memory was last restored from or captured to.
    pub(crate) images: HashMap<MemoryIndex, MemoryImage>,
    /// What says that this instance has the shared memories that it imports.
    pub(crate) attachments: HashMap<MemoryIndex, Attachment>,
}

impl State {
    pub(crate) fn new(
        engine: &Arc<Runtime>,
        info: &Arc<ModuleInfo>,
        exports: &Arc<Exports>,
        limits: &Limits,
    ) -> Self {
        Self {
            engine: Arc::clone(engine),
            info: Arc::clone(info),
            exports: Arc::clone(exports),
            limiter: Limiter::new(limits, exports.shared_bytes),
            clock: Clock::new(&engine.ticker, limits.deadline),
            fuel: limits.fuel,
            instance: None,
            linked: false,
            functions: vec![None; info.functions().len()],
            memories: vec![None; info.memories().len()],
            tables: vec![None; info.tables().len()],
            globals: vec![None; info.globals().len()],
            func_refs: FuncRefs::new(),
            externrefs_passed: 0,
            scratch: Scratch::default(),
            images: HashMap::new(),
            attachments: HashMap::new(),
        }
    }

    /// The size of all linear memories in bytes.
    ///
    /// wasmtime tells the size of a shared memory only through a handle. A memory that the module
    /// defines and does not export has no handle, and counts with the size that it starts with.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let mut bytes = self.limiter.memory_bytes();
        for memory in &self.exports.shared_memories {
            bytes += match &self.memories[*memory as usize] {
                Some(Memory::Shared(memory)) => memory.data_size() as u64,
                _ => self.info.memories()[*memory as usize].bytes_min(),
            };
        }
        bytes
    }
}

/// Buffers for the values of calls, kept between calls to save the allocations. Nested calls take
/// one each.
#[derive(Default)]
pub(crate) struct Scratch {
    raw: Vec<Vec<ValRaw>>,
    values: Vec<Vec<Val>>,
}

impl Scratch {
    /// An empty buffer of raw values, new if none is kept.
    pub(crate) fn take_raw(&mut self) -> Vec<ValRaw> {
        self.raw.pop().unwrap_or_default()
    }

    pub(crate) fn put_raw(&mut self, mut buffer: Vec<ValRaw>) {
        buffer.clear();
        self.raw.push(buffer);
    }

    /// An empty buffer of values, new if none is kept.
    pub(crate) fn take_values(&mut self) -> Vec<Val> {
        self.values.pop().unwrap_or_default()
    }

    pub(crate) fn put_values(&mut self, mut buffer: Vec<Val>) {
        buffer.clear();
        self.values.push(buffer);
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("module", &self.info.hash())
            .finish_non_exhaustive()
    }
}
