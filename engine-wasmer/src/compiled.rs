//! The compiled code and the data that the instances of a module share.

use std::ops::Range;
use std::sync::Arc;

use engine_api::{ExportKind, ModuleInfo, Segment, TableIndex};
use module_bytes::Instrumented;
use wasmer_compiler::ArtifactCreate;
use wasmer_types::{ExportIndex, GlobalIndex};

use crate::settings::Settings;

/// A compiled module, shared by its instances.
pub(crate) struct Compiled {
    // Declared before the engine, because dropping it unregisters what points into the engine's
    // code.
    pub(crate) module: wasmer::Module,
    pub(crate) engine: wasmer_compiler::Engine,
    pub(crate) settings: Arc<Settings>,
    pub(crate) info: Arc<ModuleInfo>,
    /// The addresses of the guest's functions in this process.
    pub(crate) code: Range<usize>,
    pub(crate) reach: Reach,
    pub(crate) fuel: Option<FuelGlobals>,
    pub(crate) changes: Changes,
    /// The export under which the start function is found.
    pub(crate) start: Option<String>,
}

/// What can change in an instance besides its memories and globals.
pub(crate) struct Changes {
    /// All tables that can change, in the order of their indexes.
    pub(crate) tables: Box<[TableIndex]>,
    /// The functions that a reference can be to, by their indexes in the function index space, in
    /// ascending order.
    pub(crate) referable: Box<[u32]>,
    /// The globals that say which segments were dropped.
    pub(crate) flags: Box<[(Segment, GlobalIndex)]>,
    /// The export of the function that drops the segments whose flags are set, if there are flags.
    pub(crate) drops: Option<String>,
}

impl Changes {
    /// `None` if the compiled module lacks an export.
    pub(crate) fn new(
        module: &wasmer_types::ModuleInfo,
        info: &ModuleInfo,
        instrumented: &Instrumented<'_>,
    ) -> Option<Self> {
        let imported = (0..).map(TableIndex).take(info.imported_tables());
        let own = instrumented.tables().iter().map(|(index, _)| *index);
        let functions = instrumented.functions().iter();
        let flag = |(segment, name): &(Segment, String)| match module.exports.get(name) {
            Some(ExportIndex::Global(index)) => Some((*segment, *index)),
            _ => None,
        };
        Some(Self {
            tables: imported.chain(own).collect(),
            referable: functions.map(|(index, _)| *index).collect(),
            flags: instrumented
                .flags()
                .iter()
                .map(flag)
                .collect::<Option<_>>()?,
            drops: instrumented.drops().map(ToOwned::to_owned),
        })
    }
}

/// The globals that the metering middleware adds to a module.
#[derive(Clone, Copy)]
pub(crate) struct FuelGlobals {
    /// An i64 with the fuel that is left.
    pub(crate) remaining: GlobalIndex,
    /// An i32, which is 1 once a block needed more fuel than was left.
    pub(crate) exhausted: GlobalIndex,
}

/// The memories, tables and globals that the host reaches: those that the module imports or
/// exports.
pub(crate) struct Reach {
    pub(crate) memories: Box<[bool]>,
    pub(crate) tables: Box<[bool]>,
    pub(crate) globals: Box<[bool]>,
}

impl Reach {
    pub(crate) fn of(info: &ModuleInfo) -> Self {
        // Imports come first.
        let flags =
            |len: usize, imported| -> Box<[bool]> { (0..len).map(|at| at < imported).collect() };
        let mut reach = Self {
            memories: flags(info.memories().len(), info.imported_memories()),
            tables: flags(info.tables().len(), info.imported_tables()),
            globals: flags(info.globals().len(), info.imported_globals()),
        };
        for export in info.exports() {
            match export.kind {
                ExportKind::Memory(index) => reach.memories[index.0 as usize] = true,
                ExportKind::Table(index) => reach.tables[index.0 as usize] = true,
                ExportKind::Global(index) => reach.globals[index.0 as usize] = true,
                ExportKind::Func(_) | ExportKind::Tag => {}
            }
        }
        reach
    }
}

impl Compiled {
    pub(crate) fn machine_code(&self) -> &wasmer_compiler::Artifact {
        self.module
            .sys_artifact()
            .expect("the only backend compiled in is `sys`")
    }

    /// Wasmer's index of an exported function.
    pub(crate) fn function_index(&self, name: &str) -> ExportIndex {
        let exports = &self.machine_code().module_info().exports;
        *exports
            .get(name)
            .expect("both read the exports of the same bytes")
    }
}
