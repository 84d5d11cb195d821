//! The engine: wasmtime with one of its compilers.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engine_api::{
    Capabilities, Engine, EngineConfig, EngineId, Error, MemoryType, Module, ModuleHash,
    ModuleInfo, Precompiled, SharedMemory,
};
use module_bytes::Instrumented;

use crate::interrupt::Ticker;
use crate::module::CompiledModule;
use crate::settings::{Compiler, Runtime, Tuning, has_threads};
use crate::{shared_memory, traps};

/// wasmtime with one compiler and one configuration. Clones are the same engine.
#[derive(Clone)]
pub struct Wasmtime(Arc<Runtime>);

impl From<Wasmtime> for Arc<dyn Engine> {
    fn from(engine: Wasmtime) -> Self {
        Arc::new(engine)
    }
}

impl Wasmtime {
    /// wasmtime with Cranelift, in the default configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Runtime`] if the processor or the system lacks what wasmtime needs.
    pub fn cranelift() -> Result<Self, Error> {
        Self::with_config(Compiler::Cranelift, &EngineConfig::default())
    }

    /// wasmtime with Winch, in the default configuration.
    ///
    /// # Errors
    ///
    /// As [`Wasmtime::cranelift`]; Winch exists for fewer processors.
    pub fn winch() -> Result<Self, Error> {
        Self::with_config(Compiler::Winch, &EngineConfig::default())
    }

    /// wasmtime with this compiler and this configuration.
    ///
    /// Guests run on the stack of the calling thread. That needs `stack_bytes_max` and some more
    /// for the host functions at the deepest point: the limit counts from where the call begins.
    ///
    /// # Errors
    ///
    /// As [`Wasmtime::cranelift`]; also for a configuration that wasmtime does not accept, such as
    /// a stack of 0 bytes.
    pub fn with_config(compiler: Compiler, config: &EngineConfig) -> Result<Self, Error> {
        Self::with_tuning(compiler, config, Tuning::default())
    }

    /// As [`Wasmtime::with_config`], with a tuning of its own.
    ///
    /// # Errors
    ///
    /// As [`Wasmtime::with_config`].
    pub fn with_tuning(
        compiler: Compiler,
        config: &EngineConfig,
        tuning: Tuning,
    ) -> Result<Self, Error> {
        let id = EngineId {
            runtime: "wasmtime",
            compiler: compiler.name(),
        };
        let engine = wasmtime::Engine::new(&runtime_config(compiler, config, tuning))
            .map_err(|error| traps::failed(id, "start", error))?;
        let fingerprint = fingerprint(id, &engine);
        Ok(Self(Arc::new(Runtime {
            engine,
            compiler,
            config: config.clone(),
            tuning,
            fingerprint,
            ticker: Ticker::new(),
        })))
    }

    /// Whether a compilation failed because the module is invalid or because the engine lacks
    /// something.
    fn compilation_failed(&self, wasm: &[u8], error: &wasmtime::Error) -> Error {
        match module_bytes::missing_features(wasm, self.0.capabilities()) {
            Err(invalid) => invalid,
            Ok(None) => self.0.unsupported(format!("this module: {error:#}")),
            Ok(Some(missing)) => self
                .0
                .unsupported(format!("{missing}, which the module needs ({error:#})")),
        }
    }
}

/// Stack that host functions may need at the deepest point of a guest's stack. wasmtime checks the
/// sum even though it never makes such a stack here.
const HOST_STACK_BYTES: usize = 1 << 20;

/// Address space that each store reserves for externrefs, instead of wasmtime's 4 GiB. A heap that
/// grows beyond it moves.
const GC_HEAP_RESERVED_BYTES: u64 = 1 << 20;

fn runtime_config(compiler: Compiler, config: &EngineConfig, tuning: Tuning) -> wasmtime::Config {
    let cranelift = compiler == Compiler::Cranelift;
    let inlining = if tuning.inlining && cranelift {
        wasmtime::Inlining::Yes
    } else {
        wasmtime::Inlining::No
    };
    let mut runtime = wasmtime::Config::new();
    runtime
        .strategy(compiler.strategy())
        .compiler_inlining(inlining)
        .epoch_interruption(tuning.interruption)
        .consume_fuel(config.fuel)
        .max_wasm_stack(config.stack_bytes_max)
        .async_stack_size(config.stack_bytes_max.saturating_add(HOST_STACK_BYTES))
        // The contract's trap has no backtrace, and walking the stack for one costs more than most
        // calls.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .gc_heap_reservation(GC_HEAP_RESERVED_BYTES)
        .gc_heap_reservation_for_growth(GC_HEAP_RESERVED_BYTES)
        .gc_heap_guard_size(0)
        .wasm_bulk_memory(true)
        .wasm_multi_value(true)
        .wasm_multi_memory(true)
        .wasm_memory64(true)
        .wasm_simd(true)
        .wasm_threads(has_threads(compiler))
        .shared_memory(has_threads(compiler))
        .wasm_reference_types(true)
        .wasm_tail_call(cranelift)
        // Features whose results differ between machines, or whose values cannot cross the
        // contract.
        .wasm_relaxed_simd(false)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    // Winch reads this setting too, despite its name.
    runtime.cranelift_nan_canonicalization(true);
    runtime
}

fn fingerprint(id: EngineId, runtime: &wasmtime::Engine) -> String {
    /// Records the bytes to be hashed: the standard library's hasher may differ between versions.
    #[derive(Default)]
    struct Recorder(Vec<u8>);

    impl Hasher for Recorder {
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }

        fn finish(&self) -> u64 {
            0
        }
    }

    // The compatibility hash covers wasmtime's version, the target, the processor's features and
    // every setting that changes the code.
    let mut recorder = Recorder::default();
    runtime.precompile_compatibility_hash().hash(&mut recorder);
    format!(
        "{id} {}-{} {}",
        std::env::consts::ARCH,
        std::env::consts::OS,
        ModuleHash::of(&recorder.0)
    )
}

impl Engine for Wasmtime {
    fn id(&self) -> EngineId {
        self.0.id()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn fingerprint(&self) -> String {
        self.0.fingerprint.clone()
    }

    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        module_bytes::parse_within(wasm, &self.0.config.module).map(Arc::new)
    }

    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
        let info = module_bytes::parse_within(wasm, &self.0.config.module)?;
        let instrumented = Instrumented::new(wasm, &info)?;
        // A hostile module may find a panic in the compiler.
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            wasmtime::Module::from_binary(&self.0.engine, instrumented.wasm())
        }));
        let module = match compiled {
            Ok(Ok(module)) => module,
            Ok(Err(error)) => return Err(self.compilation_failed(wasm, &error)),
            Err(_panic) => {
                let error = wasmtime::Error::msg("the compiler panicked");
                return Err(traps::failed(self.0.id(), "compile the module", error));
            }
        };
        let module = CompiledModule::new(Arc::clone(&self.0), module, info, &instrumented)?;
        Ok(Arc::new(module))
    }

    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error> {
        let info = module_bytes::parse_within(wasm, &self.0.config.module)?;
        let instrumented = Instrumented::new(wasm, &info)?;
        let code = precompiled.code_for(wasm, &self.0.fingerprint)?;
        #[expect(unsafe_code, reason = "machine code is loaded; see SAFETY")]
        // SAFETY: a `Precompiled` comes from `CompiledModule::precompiled`, or from a file for
        // which the caller of the unsafe `Precompiled::from_bytes` has vouched. `code_for` has
        // checked that an engine of the same fingerprint made it, and from this module.
        let module = unsafe { wasmtime::Module::deserialize(&self.0.engine, code) };
        let module = module.map_err(|error| Error::Precompiled {
            reason: "wasmtime does not take its code".to_owned(),
            source: Some(error.into_boxed_dyn_error()),
        })?;
        let module = CompiledModule::new(Arc::clone(&self.0), module, info, &instrumented)?;
        Ok(Arc::new(module))
    }

    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error> {
        shared_memory::new(&self.0, ty)
    }
}

impl fmt::Debug for Wasmtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wasmtime")
            .field("compiler", &self.0.compiler)
            .field("config", &self.0.config)
            .field("tuning", &self.0.tuning)
            .finish_non_exhaustive()
    }
}
