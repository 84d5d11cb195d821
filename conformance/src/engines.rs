//! The engines under test: those of the list that are compiled in.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine_api::{Engine, EngineConfig, Error, Imports, Instance, Limits, Module};

use crate::expect::{binary, refused};
use crate::remembering::Remembering;

/// One engine of the list, with the modules that it has compiled: the suite spends most of its time
/// on compiling.
pub struct EngineUnderTest {
    name: &'static str,
    shared: OnceLock<Arc<dyn Engine>>,
    fuelled: OnceLock<Arc<dyn Engine>>,
    remembering: OnceLock<Arc<dyn Engine>>,
    modules: Mutex<BTreeMap<String, Arc<dyn Module>>>,
}

impl EngineUnderTest {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            shared: OnceLock::new(),
            fuelled: OnceLock::new(),
            remembering: OnceLock::new(),
            modules: Mutex::new(BTreeMap::new()),
        }
    }

    /// Its name, as in `wasmer.cranelift`.
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
        let made = ::engines::find(self.name).and_then(|listed| listed.make(config));
        made.map_err(|error| match error {
            ::engines::Error::Engine(error) => error,
            error => unreachable!("{} is compiled in: {error}", self.name),
        })
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

    /// Compiles a module in the text format, unless it has done so before.
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

    /// Compiles a module that needs a capability. Without the capability the engine must refuse the
    /// module with [`Error::Unsupported`], and the result is `None`.
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

/// Writes a function per engine, [`all`] and the template [`every_engine`].
macro_rules! suite {
    ($([$function:ident $name:literal])*) => {
        $(
            #[doc = concat!("`", $name, "`.")]
            #[must_use]
            pub fn $function() -> &'static EngineUnderTest {
                static ENGINE: EngineUnderTest = EngineUnderTest::new($name);
                &ENGINE
            }
        )*

        /// Every engine that is compiled in, in the order of the list.
        #[must_use]
        pub fn all() -> Vec<&'static EngineUnderTest> {
            vec![$($function()),*]
        }

        #[rstest_reuse::template]
        #[export]
        #[rstest]
        $(#[case::$function(conformance::engines::$function())])*
        fn every_engine(#[case] engine: &'static conformance::engines::EngineUnderTest) {}
    };
}

::engines::for_each! { suite }

/// The engine of a name, as [`EngineUnderTest::name`] gives it.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static EngineUnderTest> {
    all().into_iter().find(|engine| engine.name == name)
}
