//! Compiled modules, which their instances share.

use std::fmt;
use std::sync::Arc;

use engine_api::{
    Caller, Error, GlobalIndex, Imports, Instance, Limits, Module, ModuleInfo, Precompiled,
    Snapshot,
};
use module_bytes::Instrumented;
use wasmtime::{Store, UpdateDeadline};

use crate::caller::GuestAccess;
use crate::exports::{Exports, hides_shared_memory, unwakeable};
use crate::imports::{self, ImportType};
use crate::settings::Runtime;
use crate::state::State;
use crate::traps;

/// The module behind [`engine_api::Module`].
pub(crate) struct CompiledModule {
    engine: Arc<Runtime>,
    module: wasmtime::Module,
    info: Arc<ModuleInfo>,
    imports: Vec<ImportType>,
    exports: Arc<Exports>,
}

impl CompiledModule {
    /// Joins a compiled module with its imports and exports.
    ///
    /// # Errors
    ///
    /// [`Error::Runtime`] if the module's exports are not those of `info`.
    pub(crate) fn new(
        engine: Arc<Runtime>,
        module: wasmtime::Module,
        info: ModuleInfo,
        instrumented: &Instrumented<'_>,
    ) -> Result<Self, Error> {
        let exports = Exports::new(&module, &info, instrumented).ok_or_else(|| {
            let error = wasmtime::Error::msg("the compiled module lacks an export");
            traps::failed(engine.id(), "find the exports", error)
        })?;
        Ok(Self {
            imports: module.imports().map(|import| import.ty().into()).collect(),
            exports: Arc::new(exports),
            info: Arc::new(info),
            module,
            engine,
        })
    }

    /// Makes a store with the limits of one instance.
    fn store(&self, limits: &Limits) -> Result<Store<State>, Error> {
        let failed = |error| traps::failed(self.engine.id(), "make a store", error);
        let state = State::new(&self.engine, &self.info, &self.exports, limits);
        let mut store = Store::try_new(&self.engine.engine, state).map_err(failed)?;
        store.limiter(|state| &mut state.limiter);
        store.epoch_deadline_callback(|context| {
            context.data().clock.check().map_err(wasmtime::Error::new)?;
            Ok(UpdateDeadline::Continue(1))
        });
        store.set_epoch_deadline(1);
        Ok(store)
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), Error> {
        if limits.fuel.is_some() && !self.engine.config.fuel {
            let what = "fuel unless `EngineConfig::fuel` is set";
            return Err(self.engine.unsupported(what));
        }
        if limits.deadline.is_some() && !self.engine.tuning.interruption {
            let what = "deadlines with `Tuning::interruption` off";
            return Err(self.engine.unsupported(what));
        }
        if limits.deadline.is_some() && hides_shared_memory(&self.info) {
            return Err(unwakeable(&self.engine));
        }
        // The ticker also ends guests that wait in a shared memory.
        let may_wait = self.engine.tuning.interruption && !self.exports.shared_memories.is_empty();
        if limits.deadline.is_some() || may_wait {
            let started = self.engine.ticker.start(&self.engine.engine);
            started.map_err(|source| Error::Runtime {
                engine: self.engine.id(),
                action: "start the thread that watches deadlines",
                source: Box::new(source),
            })?;
        }
        Ok(())
    }
}

impl Module for CompiledModule {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.info
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        let code = self
            .module
            .serialize()
            .map_err(|error| traps::failed(self.engine.id(), "serialize a module", error))?;
        let fingerprint = self.engine.fingerprint.clone();
        Ok(Precompiled::new(self.info.hash(), fingerprint, code))
    }

    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        let mut guest = self.unstarted(imports, limits)?;
        if let Some(start) = &self.exports.start {
            guest.start(start).map_err(start_failed)?;
        }
        if let Some(initialize) = self.info.initializer() {
            let initialized = guest.call(initialize, &[], &mut []);
            initialized.map_err(start_failed)?;
        }
        Ok(Box::new(guest))
    }

    fn snapshots(&self) -> Result<(), Error> {
        Ok(())
    }

    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
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
        snapshot.check_module(self.info.hash())?;
        let mut guest = self.unstarted(imports, limits)?;
        guest.restore_state(snapshot)?;
        Ok(Box::new(guest))
    }
}

impl CompiledModule {
    /// Makes an instance without running its start function.
    fn unstarted(
        &self,
        imports: &Imports,
        limits: &Limits,
    ) -> Result<GuestAccess<Store<State>>, Error> {
        self.check_limits(limits)?;
        let given = imports::resolve(&self.engine, &self.info, imports)?;
        limits.check_start(&self.info, &given)?;
        let mut store = self.store(limits)?;
        let externs = imports::make(&mut store, &self.imports, &given)?;
        let mut guest = GuestAccess(store);
        // Filling memories and tables needs no limits of calls, but wasmtime requires them to be
        // set.
        guest.enter()?;
        let instance = wasmtime::Instance::new(&mut guest.0, &self.module, &externs);
        let in_time = guest.leave();
        let instance =
            instance.map_err(|error| start_failed(traps::call_failed(self.engine.id(), error)))?;
        in_time?;
        guest.0.data_mut().instance = Some(instance);
        guest.link();
        Ok(guest)
    }
}

fn start_failed(error: Error) -> Error {
    match error {
        Error::Runtime { engine, source, .. } => Error::Runtime {
            engine,
            action: "instantiate the module",
            source,
        },
        error => error,
    }
}

impl fmt::Debug for CompiledModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledModule")
            .field("engine", &self.engine.id())
            .field("module", &self.info.hash())
            .finish_non_exhaustive()
    }
}
