//! The engine around an engine.

use std::sync::Arc;

use engine_api::{
    Capabilities, Engine, EngineId, Error, MemoryType, Module, Precompiled, SharedMemory,
};

use crate::coverage::is_served;
use crate::module::HostedModule;
use crate::surface::Surface;
use crate::{Options, casts};

/// An engine that runs wasm-bindgen modules: another engine, and a host for their imports. It
/// leaves all other modules to the other engine.
#[derive(Clone, Debug)]
pub struct BindgenHost {
    engine: Arc<dyn Engine>,
    options: Options,
}

impl From<BindgenHost> for Arc<dyn Engine> {
    fn from(host: BindgenHost) -> Self {
        Arc::new(host)
    }
}

impl BindgenHost {
    /// A host on `engine`. Thread pools need its capabilities `threads` and `interruption`, and the
    /// younger ABI needs `externref`.
    #[must_use]
    pub fn new(engine: Arc<dyn Engine>, options: Options) -> Self {
        Self { engine, options }
    }

    fn hosted(&self, module: Arc<dyn Module>, wasm: &[u8]) -> Arc<dyn Module> {
        let Some(mut surface) = Surface::read(module.info(), is_served) else {
            return module;
        };
        surface.casts = casts::read(module.info(), wasm);
        Arc::new(HostedModule {
            engine: Arc::clone(&self.engine),
            module,
            surface: Arc::new(surface),
            options: self.options.clone(),
        })
    }
}

impl Engine for BindgenHost {
    fn id(&self) -> EngineId {
        self.engine.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.engine.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.engine.fingerprint()
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        Ok(self.hosted(self.engine.compile(wasm)?, wasm))
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        Ok(self.hosted(self.engine.load(wasm, precompiled)?, wasm))
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        self.engine.shared_memory(ty)
    }
}
