//! What a module exports, in wasmtime's terms.

use engine_api::{
    EngineId, Error, ExportKind, ExternType, GlobalIndex, MemoryIndex, ModuleInfo, PAGE_BYTES,
    TableIndex,
};
use module_bytes::Instrumented;
use wasmtime::ModuleExport;

/// Where a module's exports are: no instance looks anything up by name.
pub(crate) struct Exports {
    /// By [`engine_api::FuncIndex`].
    pub(crate) functions: Vec<ModuleExport>,
    pub(crate) memories: Vec<(MemoryIndex, ModuleExport)>,
    pub(crate) tables: Vec<(TableIndex, ModuleExport)>,
    pub(crate) globals: Vec<(GlobalIndex, ModuleExport)>,
    /// All memories that the module defines, those included that it does not export.
    pub(crate) hidden_memories: Vec<(MemoryIndex, ModuleExport)>,
    /// All mutable globals that the module defines, likewise.
    pub(crate) hidden_globals: Vec<(GlobalIndex, ModuleExport)>,
    /// What was the start function.
    pub(crate) start: Option<ModuleExport>,
    /// The indexes of all shared memories.
    pub(crate) shared_memories: Vec<u32>,
    /// What those that the module defines itself start with.
    pub(crate) shared_bytes: u64,
}

/// Whether the module makes a shared memory that nobody outside can reach.
pub(crate) fn hides_shared_memory(info: &ModuleInfo) -> bool {
    let imports = info.imports().iter();
    let imported = imports.filter(|import| matches!(import.ty, ExternType::Memory(_)));
    let own = (0..).zip(info.memories()).skip(imported.count());
    let is_exported = |index: u32| {
        let kind = ExportKind::Memory(MemoryIndex(index));
        info.exports().iter().any(|export| export.kind == kind)
    };
    own.into_iter()
        .any(|(index, memory)| memory.shared && !is_exported(index))
}

/// The guest may wait in a memory that cannot be notified from outside
/// (<https://github.com/bytecodealliance/wasmtime/issues/12809>).
pub(crate) fn unwakeable(engine: EngineId) -> Error {
    Error::Unsupported {
        engine,
        what: "ending a guest that may wait in a shared memory of its own: export that memory, or \
               import one"
            .to_owned(),
    }
}

impl Exports {
    pub(crate) fn new(
        module: &wasmtime::Module,
        info: &ModuleInfo,
        instrumented: &Instrumented<'_>,
    ) -> Option<Self> {
        let find = |name: &str| module.get_export_index(name);
        let memories = instrumented.memories().iter();
        let globals = instrumented.globals().iter();
        let mut exports = Self {
            hidden_memories: memories
                .map(|(index, name)| Some((*index, find(name)?)))
                .collect::<Option<_>>()?,
            hidden_globals: globals
                .map(|(index, name)| Some((*index, find(name)?)))
                .collect::<Option<_>>()?,
            start: match instrumented.start() {
                Some(name) => Some(find(name)?),
                None => None,
            },
            functions: Vec::with_capacity(info.functions().len()),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            shared_memories: Vec::new(),
            shared_bytes: 0,
        };
        for export in info.exports() {
            let found = module.get_export_index(&export.name)?;
            match export.kind {
                ExportKind::Func(_) => exports.functions.push(found),
                ExportKind::Memory(index) => exports.memories.push((index, found)),
                ExportKind::Table(index) => exports.tables.push((index, found)),
                ExportKind::Global(index) => exports.globals.push((index, found)),
                ExportKind::Tag => {}
            }
        }
        let imported = info
            .imports()
            .iter()
            .filter(|import| matches!(import.ty, ExternType::Memory(_)))
            .count();
        exports.shared_bytes = info.memories()[imported..]
            .iter()
            .filter(|memory| memory.shared)
            .map(|memory| memory.pages_min.saturating_mul(PAGE_BYTES))
            .fold(0, u64::saturating_add);
        exports.shared_memories = (0..)
            .zip(info.memories())
            .filter(|(_, memory)| memory.shared)
            .map(|(index, _)| index)
            .collect();
        Some(exports)
    }
}
