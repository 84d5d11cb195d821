//! Compiled modules, and the instances made from them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use engine_api::{Error, Imports, Instance, Limits, Module, ModuleInfo, Precompiled, Snapshot};
use module_bytes::Instrumented;
use wasmer_compiler::ArtifactCreate;
use wasmer_types::{ExportIndex, GlobalIndex};

use crate::compiled::{Changes, Compiled, FuelGlobals, Reach};
use crate::instance::WasmerInstance;
use crate::interrupt::Watched;
use crate::limits::InstanceTunables;
use crate::middleware::{EXHAUSTED, REMAINING};
use crate::settings::Settings;
use crate::{imports, interrupt, relink};

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
        let machine_code = module
            .sys_artifact()
            .ok_or_else(|| settings.failed("use the module", "it has no machine code"))?;
        if !machine_code.allocated() {
            return Err(settings.failed("use the module", "it is for another architecture"));
        }
        let code = code_range(machine_code);
        if settings.compiler.links_library() {
            relink::relink(settings, &module, machine_code, &code)?;
        }
        // The middleware exports its globals under these names.
        for name in [REMAINING, EXHAUSTED] {
            if info.export(name).is_some() {
                return Err(settings.unsupported(format!("an export of the name `{name}`")));
            }
        }
        let fuel = fuel_globals(&module);
        if settings.config.fuel != fuel.is_some() {
            return Err(settings.failed("use the module", "it accounts for fuel differently"));
        }
        let changes = Changes::new(machine_code.module_info(), &info, instrumented)
            .ok_or_else(|| settings.failed("use the module", "it lacks an export"))?;
        Ok(Self(Arc::new(Compiled {
            changes,
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
        make(&self.0, imports, limits, None)
    }

    fn snapshots(&self) -> Result<(), Error> {
        Ok(())
    }

    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<engine_api::GlobalIndex>, Error> {
        module_bytes::stack_pointer(wasm)
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
        make(&self.0, imports, limits, Some(snapshot))
    }
}

/// Makes an instance: a fresh one whose start function has run, or one in the state of a snapshot.
fn make(
    compiled: &Arc<Compiled>,
    imports: &Imports,
    limits: &Limits,
    snapshot: Option<&Snapshot>,
) -> Result<Box<dyn Instance>, Error> {
    let settings = &compiled.settings;
    if limits.fuel.is_some() && compiled.fuel.is_none() {
        return Err(settings.unsupported("fuel: make the engine with `EngineConfig::fuel`"));
    }
    if limits.deadline.is_some() && !interrupt::AVAILABLE {
        return Err(settings.unsupported("deadlines on this machine"));
    }
    let given = imports.resolve_all(&compiled.info)?;
    limits.check_start(&compiled.info, &given)?;

    let watched = Watched::new(&compiled.code);
    let tunables = InstanceTunables::new(limits, &watched);
    let instance = WasmerInstance::new(compiled, watched, &tunables, limits);
    let externs = imports::link(instance.state, &tunables, &given)?;
    let state = instance.state();
    if limits.deadline.is_some() {
        state.keep_watch()?;
    }
    state.populate(&tunables, &externs)?;
    match snapshot {
        None => state.start()?,
        Some(snapshot) => {
            state.fill(false)?;
            state.restore(snapshot)?;
        }
    }
    Ok(Box::new(instance))
}

/// The addresses from the first to the last byte of the guest's functions. Only compiled code lies
/// between them.
fn code_range(machine_code: &wasmer_compiler::Artifact) -> Range<usize> {
    let extents = machine_code.finished_function_extents().unwrap_or_default();
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
