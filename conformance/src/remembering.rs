//! An engine that compiles each module once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{
    Capabilities, Engine, EngineId, Error, Imports, MemoryType, Module, ModuleHash, ModuleInfo,
    Precompiled, SharedMemory,
};

/// An engine that compiles each module once. Cases of proxies compile the same few modules.
#[derive(Debug)]
pub struct Remembering {
    inner: Arc<dyn Engine>,
    modules: Mutex<HashMap<ModuleHash, Arc<dyn Module>>>,
}

impl Remembering {
    /// Keeps every module that `inner` compiles.
    #[must_use]
    pub fn new(inner: Arc<dyn Engine>) -> Self {
        Self {
            inner,
            modules: Mutex::new(HashMap::new()),
        }
    }
}

impl Engine for Remembering {
    fn id(&self) -> EngineId {
        self.inner.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.inner.fingerprint()
    }

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        self.inner.read(wasm)
    }

    fn check_imports(&self, info: &ModuleInfo, imports: &Imports) -> Result<(), Error> {
        self.inner.check_imports(info, imports)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        // Held while compiling: a case that needs the same module waits instead of compiling it
        // too.
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let hash = ModuleHash::of(wasm);
        if let Some(module) = modules.get(&hash) {
            return Ok(Arc::clone(module));
        }
        let module = self.inner.compile(wasm)?;
        modules.insert(hash, Arc::clone(&module));
        Ok(module)
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        self.inner.load(wasm, precompiled)
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        self.inner.shared_memory(ty)
    }
}
