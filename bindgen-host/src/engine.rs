//! The engine around an engine.

use std::sync::Arc;

use engine_api::{
    Capabilities, Engine, EngineId, Error, Imports, MemoryType, Module, ModuleInfo, Precompiled,
    SharedMemory,
};

use crate::coverage::{hosted_info, is_served};
use crate::link::is_stub;
use crate::module::HostedModule;
use crate::surface::{Surface, is_bindgen};
use crate::{Options, casts, producers};

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

    fn hosted(&self, module: Arc<dyn Module>, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let Some(mut surface) = Surface::read(module.info(), is_served) else {
            return Ok(module);
        };
        surface.set_casts(casts::read(module.info(), wasm, &self.options.casts)?);
        surface.set_release(producers::release(wasm));
        Ok(Arc::new(HostedModule {
            engine: Arc::clone(&self.engine),
            module,
            surface: Arc::new(surface),
            options: self.options.clone(),
        }))
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

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        let info = self.engine.read(wasm)?;
        if is_bindgen(&info) && !self.options.casts.is_empty() {
            casts::read(&info, wasm, &self.options.casts)?;
        }
        Ok(hosted_info(&info))
    }

    /// What nobody gives is a stub in a hosted module.
    fn check_imports(&self, info: &ModuleInfo, imports: &Imports) -> Result<(), Error> {
        if !is_bindgen(info) {
            return self.engine.check_imports(info, imports);
        }
        let mut imports = imports.clone();
        imports.stub_missing_where(info, is_stub);
        imports.check_all(info)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        self.hosted(self.engine.compile(wasm)?, wasm)
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        self.hosted(self.engine.load(wasm, precompiled)?, wasm)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        self.engine.shared_memory(ty)
    }
}
