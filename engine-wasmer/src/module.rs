//! A compiled module.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use engine_api::{
    Error, ExportKind, ExternType, Imports, Instance, Limits, Module, ModuleInfo, Precompiled,
    Snapshot,
};
use module_bytes::Instrumented;
use wasmer_compiler::ArtifactCreate;
use wasmer_types::{ExportIndex, GlobalIndex};

use crate::engine::Settings;
use crate::instance::WasmerInstance;
use crate::middleware::{EXHAUSTED, REMAINING};
use crate::relink;

/// A compiled module, shared by its instances.
pub(crate) struct Compiled {
    // Declared before the engine, because dropping it unregisters what points into the engine's code.
    module: wasmer::Module,
    pub(crate) engine: wasmer_compiler::Engine,
    pub(crate) settings: Arc<Settings>,
    pub(crate) info: Arc<ModuleInfo>,
    /// Where the guest's functions lie in this process.
    pub(crate) code: Range<usize>,
    pub(crate) reach: Reach,
    pub(crate) fuel: Option<FuelGlobals>,
    /// The export that was the start function.
    pub(crate) start: Option<String>,
}

/// The globals that the metering middleware adds to a module.
#[derive(Clone, Copy)]
pub(crate) struct FuelGlobals {
    /// An i64: the fuel that is left.
    pub(crate) remaining: GlobalIndex,
    /// An i32: 1 once a block asked for more than was left.
    pub(crate) exhausted: GlobalIndex,
}

/// What of a module the host can address: what it imports or exports.
pub(crate) struct Reach {
    pub(crate) memories: Box<[bool]>,
    pub(crate) tables: Box<[bool]>,
    pub(crate) globals: Box<[bool]>,
}

impl Reach {
    fn of(info: &ModuleInfo) -> Self {
        let mut memories = vec![false; info.memories().len()];
        let mut tables = vec![false; info.tables().len()];
        let mut globals = vec![false; info.globals().len()];
        let (mut memory, mut table, mut global) = (0, 0, 0);
        for import in info.imports() {
            let (flags, next) = match import.ty {
                ExternType::Memory(_) => (&mut memories, &mut memory),
                ExternType::Table(_) => (&mut tables, &mut table),
                ExternType::Global(_) => (&mut globals, &mut global),
                ExternType::Func(_) | ExternType::Tag => continue,
            };
            flags[*next] = true;
            *next += 1;
        }
        for export in info.exports() {
            match export.kind {
                ExportKind::Memory(index) => memories[index.0 as usize] = true,
                ExportKind::Table(index) => tables[index.0 as usize] = true,
                ExportKind::Global(index) => globals[index.0 as usize] = true,
                ExportKind::Func(_) | ExportKind::Tag => {}
            }
        }
        Self {
            memories: memories.into(),
            tables: tables.into(),
            globals: globals.into(),
        }
    }
}

impl Compiled {
    pub(crate) fn artifact(&self) -> &wasmer_compiler::Artifact {
        self.module
            .sys_artifact()
            .expect("the only backend compiled in is `sys`")
    }

    /// Where wasmer finds an exported function.
    pub(crate) fn function_index(&self, name: &str) -> ExportIndex {
        let exports = &self.artifact().module_info().exports;
        *exports
            .get(name)
            .expect("both read the exports of the same bytes")
    }
}

/// The module behind [`engine_api::Module`].
pub(crate) struct WasmerModule(Arc<Compiled>);

impl WasmerModule {
    pub(crate) fn new(
        settings: &Arc<Settings>,
        engine: wasmer_compiler::Engine,
        module: wasmer::Module,
        info: ModuleInfo,
        instrumented: &Instrumented<'_>,
    ) -> Result<Self, Error> {
        let artifact = module
            .sys_artifact()
            .ok_or_else(|| settings.failed("use the module", "it has no machine code"))?;
        if !artifact.allocated() {
            return Err(settings.failed("use the module", "it is for another architecture"));
        }
        let code = code_range(artifact);
        if settings.compiler.links_library() {
            relink::relink(settings, &module, artifact, &code)?;
        }
        // The middleware takes the names of its globals from the guest.
        for name in [REMAINING, EXHAUSTED] {
            if info.export(name).is_some() {
                return Err(settings.unsupported(format!("an export of the name `{name}`")));
            }
        }
        let fuel = fuel_globals(&module);
        if settings.config.fuel != fuel.is_some() {
            return Err(settings.failed("use the module", "it accounts for fuel differently"));
        }
        Ok(Self(Arc::new(Compiled {
            module,
            engine,
            settings: Arc::clone(settings),
            code,
            reach: Reach::of(&info),
            info: Arc::new(info),
            fuel,
            start: instrumented.start().map(ToOwned::to_owned),
        })))
    }
}

impl fmt::Debug for WasmerModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmerModule")
            .field("engine", &self.0.settings.id())
            .field("hash", &self.0.info.hash())
            .finish()
    }
}

impl Module for WasmerModule {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.0.info
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        let settings = &self.0.settings;
        let code = self
            .0
            .module
            .serialize()
            .map_err(|error| settings.failed("serialize the module", error))?;
        Ok(Precompiled::new(
            self.0.info.hash(),
            settings.fingerprint.clone(),
            code.to_vec(),
        ))
    }

    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        let instance = WasmerInstance::new(&self.0, imports, limits, None)?;
        Ok(Box::new(instance))
    }

    fn snapshots(&self) -> Result<(), Error> {
        Ok(())
    }

    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error> {
        let obstacles = module_bytes::obstacles(wasm)?;
        Ok(obstacles.iter().map(ToString::to_string).collect())
    }

    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error> {
        snapshot.check_module(self.0.info.hash())?;
        let instance = WasmerInstance::new(&self.0, imports, limits, Some(snapshot))?;
        Ok(Box::new(instance))
    }
}

/// From the first to the last byte of the guest's functions. Nothing but compiled code lies between.
fn code_range(artifact: &wasmer_compiler::Artifact) -> Range<usize> {
    let extents = artifact.finished_function_extents().unwrap_or_default();
    let ranges = extents.into_iter().map(|(_, extent)| {
        let start = extent.ptr.0.addr();
        start..start + extent.length
    });
    ranges
        .reduce(|all, one| all.start.min(one.start)..all.end.max(one.end))
        .unwrap_or_default()
}

fn fuel_globals(module: &wasmer::Module) -> Option<FuelGlobals> {
    Some(FuelGlobals {
        remaining: exported_global(module, REMAINING)?,
        exhausted: exported_global(module, EXHAUSTED)?,
    })
}

fn exported_global(module: &wasmer::Module, name: &str) -> Option<GlobalIndex> {
    match module.sys_artifact()?.module_info().exports.get(name) {
        Some(ExportIndex::Global(index)) => Some(*index),
        _ => None,
    }
}
