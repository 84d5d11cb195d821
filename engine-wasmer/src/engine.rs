//! The engine: a compiler and its configuration.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine_api::{
    Capabilities, Engine, EngineConfig, EngineId, Error, ExternType, Import, MemoryType, Module,
    ModuleInfo, Precompiled, SharedMemory,
};
use module_bytes::Instrumented;
use wasmer::sys::{CompilerConfig, Cranelift, EngineBuilder, Features, Singlepass, Target};
use wasmer_types::CompileError;
use wasmer_vm::{MAX_STACK_SIZE, VMConfig};

use crate::import_abi;
use crate::interrupt;
use crate::middleware;
use crate::module::WasmerModule;
use crate::settings::{Compiler, Settings, Tuning};
use crate::shared_memory;

/// The smallest stack of a guest. Wasmer's library calls use some of it (see [`crate::libcalls`]).
const STACK_BYTES_MIN: usize = 128 << 10;

/// wasmer with one of its compilers.
///
/// ```
/// use engine_api::{Engine, Imports, InstanceExt, Limits, Val};
/// use engine_wasmer::Wasmer;
///
/// let wasm = wat::parse_str(
///     r#"(module (func (export "add_one") (param i32) (result i32)
///          (i32.add (local.get 0) (i32.const 1))))"#,
/// )
/// .unwrap();
/// let module = Wasmer::cranelift()?.compile(&wasm)?;
/// let mut instance = module.instantiate(&Imports::new(), &Limits::default())?;
/// assert_eq!(instance.invoke("add_one", &[Val::I32(41)])?, [Val::I32(42)]);
/// # Ok::<(), engine_api::Error>(())
/// ```
#[derive(Clone)]
pub struct Wasmer {
    settings: Arc<Settings>,
}

impl From<Wasmer> for Arc<dyn Engine> {
    fn from(engine: Wasmer) -> Self {
        Arc::new(engine)
    }
}

impl Wasmer {
    /// wasmer with Cranelift and the default configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if Cranelift has no back end for this machine.
    pub fn cranelift() -> Result<Self, Error> {
        Self::with_config(Compiler::Cranelift, &EngineConfig::default())
    }

    /// wasmer with Singlepass and the default configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if Singlepass has no back end for this machine.
    pub fn singlepass() -> Result<Self, Error> {
        Self::with_config(Compiler::Singlepass, &EngineConfig::default())
    }

    /// wasmer with LLVM and the default configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if this LLVM has no back end for this machine.
    #[cfg(feature = "llvm")]
    pub fn llvm() -> Result<Self, Error> {
        Self::with_config(Compiler::Llvm, &EngineConfig::default())
    }

    /// wasmer with this compiler and this configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] if the compiler has no back end for this machine.
    pub fn with_config(compiler: Compiler, config: &EngineConfig) -> Result<Self, Error> {
        Self::with_tuning(compiler, config, Tuning::default())
    }

    /// As [`Wasmer::with_config`], with a tuning of its own.
    ///
    /// # Errors
    ///
    /// As [`Wasmer::with_config`].
    pub fn with_tuning(
        compiler: Compiler,
        config: &EngineConfig,
        tuning: Tuning,
    ) -> Result<Self, Error> {
        wasmer_vm::init_traps();
        let mut settings = Settings {
            compiler,
            config: config.clone(),
            tuning,
            vm_config: VMConfig {
                wasm_stack_size: Some(
                    config
                        .stack_bytes_max
                        .clamp(STACK_BYTES_MIN, MAX_STACK_SIZE),
                ),
            },
            fingerprint: String::new(),
        };
        let engine = settings.backend()?;
        settings.fingerprint = settings.fingerprint_of(&engine);
        Ok(Self {
            settings: Arc::new(settings),
        })
    }
}

impl fmt::Debug for Wasmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasmer")
            .field("compiler", &self.settings.compiler)
            .field("config", &self.settings.config)
            .finish()
    }
}

impl Engine for Wasmer {
    fn id(&self) -> EngineId {
        self.settings.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.settings.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.settings.fingerprint.clone()
    }

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        let info = module_bytes::parse_within(wasm, &self.settings.config.module)?;
        self.settings.check_imports(&info)?;
        Ok(Arc::new(info))
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let info = module_bytes::parse_within(wasm, &self.settings.config.module)?;
        let instrumented = Instrumented::new(wasm, &info)?;
        self.settings.check_imports(&info)?;
        // A wasmer engine keeps all code that it ever compiled, so each module gets its own.
        let mut engine = self.settings.backend()?;
        if self.settings.compiler.passes_base() {
            // The compiler refuses a module that cannot be read.
            let movable = import_abi::imports_are_values(wasm).unwrap_or(true);
            if movable {
                engine.set_tunables(import_abi::Movable::new());
            }
        }
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            wasmer::Module::new(&wasmer::Engine::from(engine.clone()), instrumented.wasm())
        }));
        match compiled {
            Ok(Ok(module)) => {
                let module =
                    WasmerModule::new(&self.settings, engine, module, info, &instrumented)?;
                Ok(Arc::new(module))
            }
            Ok(Err(error)) => Err(self.settings.refusal(wasm, error)),
            // The module may be invalid. Otherwise the compiler is at fault, and another engine
            // may compile it.
            Err(_) => {
                module_bytes::features(wasm)?;
                Err(self
                    .settings
                    .unsupported("this module: its compiler panicked"))
            }
        }
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        let code = precompiled.code_for(wasm, &self.settings.fingerprint)?;
        let info = module_bytes::parse_within(wasm, &self.settings.config.module)?;
        let instrumented = Instrumented::new(wasm, &info)?;
        let engine = self.settings.backend()?;
        let wasmer_engine = wasmer::Engine::from(engine.clone());
        // SAFETY: `Precompiled::from_bytes` made its caller vouch that the bytes are those that
        // `Module::precompiled` returned, and what never left the process is unchanged.
        let loaded = unsafe { wasmer::Module::deserialize(&wasmer_engine, code.to_vec()) };
        let module = loaded.map_err(|error| Error::Precompiled {
            reason: "wasmer does not take its code".to_owned(),
            source: Some(error.into()),
        })?;
        let module = WasmerModule::new(&self.settings, engine, module, info, &instrumented)?;
        Ok(Arc::new(module))
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        shared_memory::create(&self.settings, ty)
    }
}

impl Settings {
    /// Makes a new wasmer engine. That takes microseconds: compilers have no state of their own.
    fn backend(&self) -> Result<wasmer_compiler::Engine, Error> {
        let build = || {
            let mut config = self.compiler_config();
            for middleware in middleware::all(self) {
                config.push_middleware(middleware);
            }
            EngineBuilder::new(config)
                .set_features(Some(self.features()))
                .engine()
        };
        catch_unwind(AssertUnwindSafe(build))
            .map_err(|_| self.unsupported("this machine: its compiler has no back end for it"))
    }

    fn compiler_config(&self) -> Box<dyn CompilerConfig> {
        let mut config: Box<dyn CompilerConfig> = match self.compiler {
            Compiler::Cranelift => Box::new(Cranelift::new()),
            Compiler::Singlepass => Box::new(Singlepass::new()),
            #[cfg(feature = "llvm")]
            Compiler::Llvm => {
                let mut config = wasmer::sys::LLVM::new();
                config.non_volatile_memops(!self.tuning.strict_memory);
                Box::new(config)
            }
        };
        config.canonicalize_nans(true);
        config
    }

    fn features(&self) -> Features {
        Features {
            threads: true,
            reference_types: true,
            simd: self.compiler.simd(),
            bulk_memory: true,
            multi_value: true,
            tail_call: false,
            module_linking: false,
            multi_memory: true,
            memory64: false,
            exceptions: false,
            relaxed_simd: false,
            extended_const: true,
            wide_arithmetic: false,
        }
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            simd: self.compiler.simd(),
            externref: true,
            multi_memory: true,
            memory64: false,
            tail_calls: false,
            threads: true,
            fuel: self.config.fuel,
            interruption: interrupt::AVAILABLE,
            stack_limit: false,
            precompiled: true,
            nan_canonicalization: true,
        }
    }

    /// Refuses imports on which the compiler would panic.
    ///
    /// Singlepass 7.3.0 asserts that an imported function has at most one result
    /// (`gen_std_dynamic_import_trampoline` in its `machine_x64.rs`).
    fn check_imports(&self, info: &ModuleInfo) -> Result<(), Error> {
        let several =
            |import: &&Import| matches!(&import.ty, ExternType::Func(ty) if ty.results().len() > 1);
        match info.imports().iter().find(several) {
            Some(import) if self.compiler == Compiler::Singlepass => {
                Err(self.unsupported(format!(
                    "imported functions with several results (`{}` `{}`)",
                    import.module, import.name
                )))
            }
            _ => Ok(()),
        }
    }

    /// Why a module did not compile: it is invalid, or this engine lacks a feature.
    fn refusal(&self, wasm: &[u8], error: CompileError) -> Error {
        match module_bytes::missing_features(wasm, self.capabilities()) {
            Err(invalid) => return invalid,
            Ok(Some(missing)) => return self.unsupported(missing),
            Ok(None) => {}
        }
        match error {
            CompileError::Validate(reason)
            | CompileError::UnsupportedFeature(reason)
            | CompileError::UnsupportedTarget(reason)
            | CompileError::Codegen(reason) => self.unsupported(format!("this module: {reason}")),
            CompileError::Wasm(error) => self.unsupported(format!("this module: {error}")),
            error => self.failed("compile the module", error),
        }
    }

    fn fingerprint_of(&self, engine: &wasmer_compiler::Engine) -> String {
        let target = Target::default();
        format!(
            "{} {} {} {} fuel={} nan=canonical {} cpu={:?}",
            self.id(),
            wasmer_vm::VERSION,
            engine.deterministic_id(),
            engine.artifact_format(),
            self.config.fuel,
            target.triple(),
            target.cpu_features(),
        )
    }
}
