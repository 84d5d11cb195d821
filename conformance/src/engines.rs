//! The engines under test, written once.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine_api::{Engine, EngineConfig, Error, Imports, Instance, Limits, Module};

use crate::expect::{binary, refused};
use crate::remembering::Remembering;

/// One engine of the list: itself in its default configuration, the way to make another one, and the
/// modules it has compiled, because compiling is what a suite spends its time on.
pub struct EngineUnderTest {
    name: &'static str,
    make: fn(&EngineConfig) -> Result<Arc<dyn Engine>, Error>,
    shared: OnceLock<Arc<dyn Engine>>,
    fuelled: OnceLock<Arc<dyn Engine>>,
    remembering: OnceLock<Arc<dyn Engine>>,
    modules: Mutex<BTreeMap<String, Arc<dyn Module>>>,
}

impl EngineUnderTest {
    /// Its name, as in `wasmtime.cranelift`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// A new engine of this kind.
    ///
    /// # Errors
    ///
    /// As the engine's own constructor.
    pub fn with_config(&self, config: &EngineConfig) -> Result<Arc<dyn Engine>, Error> {
        (self.make)(config)
    }

    /// The engine in its default configuration, one per process.
    pub fn shared(&self) -> &Arc<dyn Engine> {
        self.shared
            .get_or_init(|| self.made(&EngineConfig::default()))
    }

    /// The engine with the accounting for fuel, one per process.
    pub fn fuelled(&self) -> &Arc<dyn Engine> {
        self.fuelled.get_or_init(|| {
            self.made(&EngineConfig {
                fuel: true,
                ..EngineConfig::default()
            })
        })
    }

    /// The shared engine, compiling each module once.
    pub fn remembering(&self) -> &Arc<dyn Engine> {
        self.remembering
            .get_or_init(|| Arc::new(Remembering::new(Arc::clone(self.shared()))))
    }

    fn made(&self, config: &EngineConfig) -> Arc<dyn Engine> {
        self.with_config(config)
            .unwrap_or_else(|error| panic!("{} with {config:?}: {error}", self.name))
    }

    /// Compiles a module of the text format, or finds it where it was compiled before.
    ///
    /// # Errors
    ///
    /// As [`Engine::compile`].
    pub fn compile_wat(&self, text: &str) -> Result<Arc<dyn Module>, Error> {
        let cached = |this: &Self| {
            let modules = this.modules.lock().unwrap_or_else(PoisonError::into_inner);
            modules.get(text).cloned()
        };
        if let Some(module) = cached(self) {
            return Ok(module);
        }
        // Compiled outside the lock: two cases may do it at once, and the later one is kept.
        let module = self.shared().compile(&binary(text))?;
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        modules.insert(text.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    /// Compiles a module that every engine must be able to compile.
    #[must_use]
    #[track_caller]
    pub fn module(&self, text: &str) -> Arc<dyn Module> {
        self.compile_wat(text)
            .unwrap_or_else(|error| panic!("{} cannot compile: {error:?}\n{text}", self.name))
    }

    /// Compiles a module that needs a capability. With it the module must compile; without, it must
    /// be refused with [`Error::Unsupported`], and there is none.
    #[must_use]
    #[track_caller]
    pub fn module_if(&self, capable: bool, text: &str) -> Option<Arc<dyn Module>> {
        if capable {
            return Some(self.module(text));
        }
        match refused(self.compile_wat(text)) {
            Error::Unsupported { engine, what } => {
                assert_eq!(engine, self.id());
                assert!(!what.is_empty());
                None
            }
            error => panic!("{} must answer Unsupported, not: {error:?}", self.name),
        }
    }

    /// An instance without imports and limits.
    #[must_use]
    #[track_caller]
    pub fn instantiate(&self, text: &str) -> Box<dyn Instance> {
        self.instantiate_with(text, &Imports::new(), &Limits::default())
            .unwrap_or_else(|error| panic!("{} cannot instantiate: {error:?}", self.name))
    }

    /// An instance without limits.
    #[must_use]
    #[track_caller]
    pub fn instantiate_importing(&self, text: &str, imports: &Imports) -> Box<dyn Instance> {
        self.instantiate_with(text, imports, &Limits::default())
            .unwrap_or_else(|error| panic!("{} cannot instantiate: {error:?}", self.name))
    }

    /// An instance of a module that every engine must be able to compile.
    ///
    /// # Errors
    ///
    /// As [`Module::instantiate`].
    #[track_caller]
    pub fn instantiate_with(
        &self,
        text: &str,
        imports: &Imports,
        limits: &Limits,
    ) -> Result<Box<dyn Instance>, Error> {
        self.module(text).instantiate(imports, limits)
    }
}

impl Deref for EngineUnderTest {
    type Target = dyn Engine;

    fn deref(&self) -> &Self::Target {
        self.shared().as_ref()
    }
}

impl fmt::Debug for EngineUnderTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Writes, from one list, a function per engine, [`all`] and the template [`every_engine`].
macro_rules! engines {
    ($(#[cfg($enabled:meta)] $function:ident $name:literal => $make:expr;)*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            #[cfg($enabled)]
            #[must_use]
            pub fn $function() -> &'static EngineUnderTest {
                static ENGINE: EngineUnderTest = EngineUnderTest {
                    name: $name,
                    make: |config| Ok(Arc::new($make(config)?)),
                    shared: OnceLock::new(),
                    fuelled: OnceLock::new(),
                    remembering: OnceLock::new(),
                    modules: Mutex::new(BTreeMap::new()),
                };
                &ENGINE
            }
        )*

        /// Every engine that is compiled in, in the order of the list.
        #[must_use]
        pub fn all() -> Vec<&'static EngineUnderTest> {
            vec![$(#[cfg($enabled)] $function(),)*]
        }

        #[rstest_reuse::template]
        #[export]
        #[rstest]
        $(#[cfg_attr($enabled, case::$function(conformance::engines::$function()))])*
        fn every_engine(#[case] engine: &'static conformance::engines::EngineUnderTest) {}
    };
}

engines! {
    #[cfg(feature = "wasmtime")]
    wasmtime_cranelift "wasmtime.cranelift" => |config|
        engine_wasmtime::Wasmtime::with_config(engine_wasmtime::Compiler::Cranelift, config);
    #[cfg(feature = "wasmtime")]
    wasmtime_winch "wasmtime.winch" => |config|
        engine_wasmtime::Wasmtime::with_config(engine_wasmtime::Compiler::Winch, config);
    #[cfg(feature = "wasmer")]
    wasmer_cranelift "wasmer.cranelift" => |config|
        engine_wasmer::Wasmer::with_config(engine_wasmer::Compiler::Cranelift, config);
    #[cfg(feature = "wasmer")]
    wasmer_singlepass "wasmer.singlepass" => |config|
        engine_wasmer::Wasmer::with_config(engine_wasmer::Compiler::Singlepass, config);
    #[cfg(feature = "llvm")]
    wasmer_llvm "wasmer.llvm" => |config|
        engine_wasmer::Wasmer::with_config(engine_wasmer::Compiler::Llvm, config);
}

/// The engine of a name, as [`EngineUnderTest::name`] gives it.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static EngineUnderTest> {
    all().into_iter().find(|engine| engine.name == name)
}
