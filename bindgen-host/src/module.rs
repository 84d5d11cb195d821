//! A compiled module whose instances get realms.

use std::fmt;
use std::sync::Arc;

use engine_api::{
    Engine, Error, GlobalIndex, HostState, Imports, Instance, Limits, MemoryType, Module,
    ModuleInfo, PAGE_BYTES, Precompiled, SharedMemory, Snapshot,
};

use crate::Options;
use crate::image::RealmImage;
use crate::instance::HostedInstance;
use crate::realm::Realm;
use crate::surface::Surface;

/// A module of the inner engine, and how the host treats its instances.
pub(crate) struct HostedModule {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) module: Arc<dyn Module>,
    pub(crate) surface: Arc<Surface>,
    pub(crate) options: Options,
}

impl HostedModule {
    /// The realm of a new guest.
    fn realm(&self, imports: &Imports, limits: &Limits) -> Result<Arc<Realm>, Error> {
        let memory = self.shared_memory(imports, limits)?;
        let realm = Realm::new(
            &self.module,
            &self.surface,
            &self.options,
            imports,
            limits,
            memory,
        )?;
        Ok(Arc::new(realm))
    }

    /// The memory that all threads of one guest share, unless the user gives one.
    fn shared_memory(
        &self,
        imports: &Imports,
        limits: &Limits,
    ) -> Result<Option<SharedMemory>, Error> {
        let Some((import, ty)) = &self.surface.shared_memory else {
            return Ok(None);
        };
        if imports.get(&import.module, &import.name).is_some() {
            return Ok(None);
        }
        // Engines limit a shared memory by its maximum alone.
        let limit = limits.memory_bytes_max.map(|bytes| bytes / PAGE_BYTES);
        let pages_max = match (ty.pages_max, limit) {
            (Some(max), Some(limit)) => Some(max.min(limit)),
            (max, limit) => max.or(limit),
        };
        if let Some(limit) = pages_max.filter(|max| *max < ty.pages_min) {
            return Err(Error::Limit {
                what: "bytes of memory",
                needed: ty.pages_min * PAGE_BYTES,
                limit: limit * PAGE_BYTES,
            });
        }
        let ty = MemoryType { pages_max, ..*ty };
        self.engine.shared_memory(ty).map(Some)
    }
}

impl Module for HostedModule {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.surface.outer
    }

    fn precompiled(&self) -> Result<Precompiled, Error> {
        self.module.precompiled()
    }

    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error> {
        let realm = self.realm(imports, limits)?;
        Ok(Box::new(HostedInstance::new(realm, self.engine.id())?))
    }

    fn snapshots(&self) -> Result<(), Error> {
        self.module.snapshots()
    }

    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
        self.module.stack_pointer(wasm)
    }

    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error> {
        self.module.obstacles(wasm)
    }

    /// Workers allocate side by side, each time in another order.
    fn replays_alike(&self) -> bool {
        self.surface.pool.is_none() && self.module.replays_alike()
    }

    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error> {
        let realm = self.realm(imports, limits)?;
        Ok(Box::new(HostedInstance::restored(
            realm,
            self.engine.id(),
            snapshot,
        )?))
    }

    fn decode_host_state(&self, bytes: &[u8]) -> Result<Arc<dyn HostState>, Error> {
        Ok(Arc::new(RealmImage::decode(bytes, &self.surface.invokers)?))
    }
}

impl fmt::Debug for HostedModule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostedModule")
            .field("engine", &self.engine.id())
            .field("module", &self.surface.inner.hash())
            .finish_non_exhaustive()
    }
}
