//! The places of a module's exports, in wasmtime's terms.

use engine_api::{
    Error, ExportKind, GlobalIndex, MemoryIndex, MemoryType, ModuleInfo, Segment, TableIndex,
};
use module_bytes::Instrumented;
use wasmtime::ModuleExport;

use crate::settings::Runtime;

/// Where a module's exports are. With these, no instance looks anything up by name.
pub(crate) struct Exports {
    /// By [`engine_api::FuncIndex`].
    pub(crate) functions: Vec<ModuleExport>,
    pub(crate) memories: Vec<(MemoryIndex, ModuleExport)>,
    pub(crate) tables: Vec<(TableIndex, ModuleExport)>,
    pub(crate) globals: Vec<(GlobalIndex, ModuleExport)>,
    /// All memories that the module defines, exported or not.
    pub(crate) own_memories: Vec<(MemoryIndex, ModuleExport)>,
    /// All mutable globals that the module defines, exported or not.
    pub(crate) own_globals: Vec<(GlobalIndex, ModuleExport)>,
    /// All tables that the module defines and that can change, exported or not.
    pub(crate) own_tables: Vec<(TableIndex, ModuleExport)>,
    /// The functions that a reference can be to, in ascending order of their indexes in the
    /// function index space.
    pub(crate) referable: Vec<(u32, ModuleExport)>,
    /// The globals that say which segments were dropped.
    pub(crate) flags: Vec<(Segment, ModuleExport)>,
    /// The function that drops the segments whose flags are set, if there are flags.
    pub(crate) drops: Option<ModuleExport>,
    /// The module's start function, which instrumentation made an export.
    pub(crate) start: Option<ModuleExport>,
    /// The indexes of all shared memories.
    pub(crate) shared_memories: Vec<u32>,
    /// The size that the shared memories of the module's own start with, in bytes.
    pub(crate) shared_bytes: u64,
}

/// Whether the module defines a shared memory that it does not export.
pub(crate) fn hides_shared_memory(info: &ModuleInfo) -> bool {
    let mut own = (0..).zip(info.memories()).skip(info.imported_memories());
    let is_exported = |index: u32| {
        let kind = ExportKind::Memory(MemoryIndex(index));
        info.exports().iter().any(|export| export.kind == kind)
    };
    own.any(|(index, memory)| memory.shared && !is_exported(index))
}

/// The refusal to interrupt a guest that may wait in a memory without a handle, where nobody
/// outside can wake it (<https://github.com/bytecodealliance/wasmtime/issues/12809>).
pub(crate) fn unwakeable(engine: &Runtime) -> Error {
    engine.unsupported(
        "ending a guest that may wait in a shared memory of its own: export that memory, or \
         import one",
    )
}

impl Exports {
    pub(crate) fn new(
        module: &wasmtime::Module,
        info: &ModuleInfo,
        instrumented: &Instrumented<'_>,
    ) -> Option<Self> {
        let mut exports = Self {
            own_memories: find_all(module, instrumented.memories())?,
            own_globals: find_all(module, instrumented.globals())?,
            own_tables: find_all(module, instrumented.tables())?,
            referable: find_all(module, instrumented.functions())?,
            flags: find_all(module, instrumented.flags())?,
            drops: find_if(module, instrumented.drops())?,
            start: find_if(module, instrumented.start())?,
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
        exports.shared_bytes = info.memories()[info.imported_memories()..]
            .iter()
            .filter(|memory| memory.shared)
            .map(MemoryType::bytes_min)
            .fold(0, u64::saturating_add);
        exports.shared_memories = (0..)
            .zip(info.memories())
            .filter(|(_, memory)| memory.shared)
            .map(|(index, _)| index)
            .collect();
        Some(exports)
    }
}

fn find_all<I: Copy>(
    module: &wasmtime::Module,
    names: &[(I, String)],
) -> Option<Vec<(I, ModuleExport)>> {
    let find = |(index, name): &(I, String)| Some((*index, module.get_export_index(name)?));
    names.iter().map(find).collect()
}

/// `None` if there is a name, and no export of that name.
#[expect(clippy::option_option, reason = "no name needs no export")]
fn find_if(module: &wasmtime::Module, name: Option<&str>) -> Option<Option<ModuleExport>> {
    name.map_or(Some(None), |name| module.get_export_index(name).map(Some))
}
