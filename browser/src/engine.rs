//! The engine: the browser's own compiler.

use std::sync::Arc;

use engine_api::{
    Capabilities, Engine, EngineConfig, EngineId, Error, MemoryType, Module, ModuleInfo,
    Precompiled, SharedMemory,
};
use module_bytes::{Feature, Instrumented, features, parse_within};

use crate::growth::limit_growth;
use crate::js::Object;
use crate::module::Compiled;

pub(crate) const ID: EngineId = EngineId {
    runtime: "browser",
    compiler: "webassembly",
};

/// The `WebAssembly` of the browser that this code runs in.
#[derive(Clone, Debug, Default)]
pub struct Browser {
    config: EngineConfig,
}

impl From<Browser> for Arc<dyn Engine> {
    fn from(engine: Browser) -> Self {
        Arc::new(engine)
    }
}

pub(crate) fn unsupported(what: impl Into<String>) -> Error {
    Error::Unsupported {
        engine: ID,
        what: what.into(),
    }
}

impl Engine for Browser {
    fn id(&self) -> EngineId {
        ID
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            simd: true,
            externref: false,
            multi_memory: false,
            memory64: false,
            tail_calls: true,
            threads: false,
            fuel: false,
            interruption: false,
            stack_limit: false,
            precompiled: false,
            nan_canonicalization: false,
        }
    }

    fn fingerprint(&self) -> String {
        ID.to_string()
    }

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        parse_within(wasm, &self.config.module).map(Arc::new)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let info = self.read(wasm)?;
        refuse_features(wasm)?;
        let instrumented = Instrumented::new(wasm, &info)?;
        let limited = limit_growth(instrumented.wasm())?;
        let bytes = limited.as_deref().unwrap_or(instrumented.wasm());
        let object = Object::compile(bytes).map_err(|reason| Error::InvalidModule { reason })?;
        let module = Compiled::new(object, info, &instrumented, limited.is_some())?;
        Ok(Arc::new(module))
    }

    fn load(&self, _wasm: &[u8], _precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        Err(unsupported("precompiled modules"))
    }

    fn shared_memory(&self, _ty: MemoryType) -> Result<SharedMemory, Error> {
        Err(unsupported("shared memories"))
    }
}

/// Refuses what the engine cannot limit, or what may not replay.
fn refuse_features(wasm: &[u8]) -> Result<(), Error> {
    let refused = [
        Feature::Threads,
        Feature::MultiMemory,
        Feature::Memory64,
        Feature::RelaxedSimd,
        Feature::Exceptions,
        Feature::Gc,
    ];
    match features(wasm)?.iter().find(|one| refused.contains(one)) {
        Some(feature) => Err(unsupported(format!("{feature}, which the module needs"))),
        None => Ok(()),
    }
}
