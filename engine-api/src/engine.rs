//! Engines and the modules they compile.

use std::fmt;
use std::sync::Arc;

use crate::{
    Capabilities, Error, GlobalIndex, HostState, Imports, Instance, Limits, MemoryType, ModuleInfo,
    Precompiled, SharedMemory, Snapshot,
};

/// The name of an engine: its runtime and its compiler, as in `wasmtime.cranelift`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EngineId {
    /// The runtime, in lower case.
    pub runtime: &'static str,
    /// The compiler, in lower case.
    pub compiler: &'static str,
}

impl fmt::Display for EngineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.runtime, self.compiler)
    }
}

/// A WebAssembly runtime with one compiler and one configuration.
///
/// Object-safe on purpose: the two generations of a proxy may run on different engines, so nothing
/// above this trait is generic over it, and no runtime's type appears in a signature.
pub trait Engine: Send + Sync + fmt::Debug {
    /// Its name, which is the same for all engines of one runtime and compiler.
    fn id(&self) -> EngineId;

    /// What the engine can do beyond the core of the contract.
    fn capabilities(&self) -> Capabilities;

    /// Everything that a precompiled module depends on besides its bytes: runtime, version,
    /// compiler, configuration, and the processor's features. Two engines with the same fingerprint
    /// can load each other's precompiled modules.
    fn fingerprint(&self) -> String;

    /// Reads names and types of a module as [`Engine::compile`] would give them, where that is
    /// possible without compiling: mistakes in what is given to a module can then be told before a
    /// long compilation.
    ///
    /// # Errors
    ///
    /// As [`Engine::compile`], which may refuse more.
    fn read(&self, wasm: &[u8]) -> Result<Arc<ModuleInfo>, Error> {
        Ok(Arc::clone(self.compile(wasm)?.info()))
    }

    /// Compares what is given to a module with its imports, as [`Engine::read`] shows them, before
    /// anything is compiled.
    ///
    /// # Errors
    ///
    /// [`Error::Import`], which names all that are missing or of another type.
    fn check_imports(&self, info: &ModuleInfo, imports: &Imports) -> Result<(), Error> {
        imports.check_all(info)
    }

    /// Compiles a core module from its binary form.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] if the bytes are not a valid core module, which the text format and
    /// components are not; [`Error::Unsupported`] if the module needs a feature that this engine
    /// lacks.
    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error>;

    /// Loads the result of [`Module::precompiled`], without compiling. `wasm` is the module that it
    /// was made from: the engine reads names and types from there.
    ///
    /// Requires [`Capabilities::precompiled`].
    ///
    /// # Errors
    ///
    /// [`Error::Precompiled`] if it was made from other bytes or by an engine with another
    /// [fingerprint](Engine::fingerprint), or if it is damaged; [`Error::Unsupported`].
    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error>;

    /// Makes a memory that several instances of this engine can import, each on a thread of its
    /// own. It lives as long as a handle or an instance holds it.
    ///
    /// Requires [`Capabilities::threads`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without the capability or if `ty` is not shared; [`Error::Runtime`]
    /// if there is not enough address space.
    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error>;
}

/// A compiled module. All generations share it; any thread can instantiate it, any number of times.
pub trait Module: Send + Sync + fmt::Debug {
    /// Names, types and indexes of the module's imports and exports.
    fn info(&self) -> &Arc<ModuleInfo>;

    /// The compiled code, which [`Engine::load`] takes without compiling.
    ///
    /// Requires [`Capabilities::precompiled`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`]; [`Error::Runtime`] if the runtime cannot serialize it.
    fn precompiled(&self) -> Result<Precompiled, Error>;

    /// Makes an instance with its own memories, tables and globals, and runs the start function,
    /// under the limits.
    ///
    /// Imports that the module does not need are ignored. Dropping the instance returns its memory
    /// to the operating system.
    ///
    /// # Errors
    ///
    /// [`Error::Import`] if an import is missing or does not fit; [`Error::Limit`] if the instance
    /// would start larger than allowed; [`Error::Trap`] if the start function or the initialisation
    /// of a memory or table trapped; [`Error::Host`] if a host function failed;
    /// [`Error::Unsupported`] for a limit that the engine cannot enforce; [`Error::Runtime`].
    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error>;

    /// Whether the host of its instances lets them be [captured](Instance::capture) and
    /// [restored](Module::restore). [`Module::obstacles`] says what in the module's own code stands
    /// in the way.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] with the reason in words.
    fn snapshots(&self) -> Result<(), Error>;

    /// Whether the same calls leave the same bytes in every instance of the module. A module whose
    /// threads run side by side does not replay alike: its calls give the same results, and its
    /// allocator serves its threads in whichever order they come. A checkpoint of such a module is
    /// compared with a replay by results and fingerprints, and not byte by byte.
    fn replays_alike(&self) -> bool {
        true
    }

    /// What in the module's own code stands in the way of snapshots: nothing, or each reason once,
    /// as a sentence. `wasm` is the module's bytes, which an engine need not keep. The call reads
    /// all of the code.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`].
    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error>;

    /// The global that holds the guest's stack pointer, if the module's own code shows which one it
    /// is: compilers of C and Rust keep a shadow stack in the linear memory. `wasm` is the module's
    /// bytes. The call may read all of the code.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`].
    fn stack_pointer(&self, wasm: &[u8]) -> Result<Option<GlobalIndex>, Error> {
        let _ = wasm;
        Ok(None)
    }

    /// Makes an instance in the state of a snapshot, which may have been taken on another engine.
    /// The start function does not run, and no host function is called. The memories share the
    /// snapshot's pages until somebody writes to them, if the system supports that. Objects of the
    /// host are shared with the snapshot ([`Snapshot::with_objects`] puts others in their places).
    /// A shared memory among the imports loses what it held.
    ///
    /// # Errors
    ///
    /// As [`Module::instantiate`]; [`Error::Snapshot`] for a snapshot of another module;
    /// [`Error::Image`]; [`Error::Unsupported`], also for a shared memory that another instance has
    /// too.
    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error>;

    /// The state of the module's host from the bytes of [`HostState::encode`], which may come from
    /// anywhere: they are checked.
    ///
    /// # Errors
    ///
    /// [`Error::HostState`] if the module has no host that keeps state, or if the bytes are of
    /// another version or damaged.
    fn decode_host_state(&self, bytes: &[u8]) -> Result<Arc<dyn HostState>, Error> {
        let _ = bytes;
        Err(Error::HostState {
            reason: "the module has no host here that reads one".to_owned(),
        })
    }
}
