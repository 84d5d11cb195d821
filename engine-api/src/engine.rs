//! Engines and the modules they compile.

use std::fmt;
use std::sync::Arc;

use crate::{
    Capabilities, Error, Imports, Instance, Limits, MemoryType, ModuleInfo, Precompiled,
    SharedMemory, Snapshot,
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
    /// Which engine this is.
    fn id(&self) -> EngineId;

    /// What it can do beyond the core of the contract.
    fn capabilities(&self) -> Capabilities;

    /// Everything that a precompiled module depends on besides its bytes: runtime, version,
    /// compiler, configuration, and the processor's features. Two engines with one fingerprint can
    /// load each other's precompiled modules.
    fn fingerprint(&self) -> String;

    /// Compiles a core module from its binary form.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`] if the bytes are no valid module (also for the text format and for
    /// components); [`Error::Unsupported`] if the module needs what this engine lacks.
    fn compile(&self, wasm: &[u8]) -> Result<Arc<dyn Module>, Error>;

    /// Loads what [`Module::precompiled`] gave, without compiling. `wasm` is the module that it was
    /// made from: names and types are read from there.
    ///
    /// Requires [`Capabilities::precompiled`].
    ///
    /// # Errors
    ///
    /// [`Error::Precompiled`] if it was made from other bytes, by an engine of another
    /// [fingerprint](Engine::fingerprint), or is damaged; [`Error::Unsupported`].
    fn load(&self, wasm: &[u8], precompiled: &Precompiled) -> Result<Arc<dyn Module>, Error>;

    /// Makes a memory that several instances of this engine can import, each on a thread of its
    /// own. It lives as long as somebody holds it.
    ///
    /// Requires [`Capabilities::threads`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] without the capability or if `ty` is not shared; [`Error::Runtime`]
    /// if the address space cannot be had.
    fn shared_memory(&self, ty: MemoryType) -> Result<SharedMemory, Error>;
}

/// A compiled module: shared by all generations, instantiated any number of times, on any thread.
pub trait Module: Send + Sync + fmt::Debug {
    /// Names, types and indexes of what it imports and exports.
    fn info(&self) -> &Arc<ModuleInfo>;

    /// The compiled code, which [`Engine::load`] takes without compiling.
    ///
    /// Requires [`Capabilities::precompiled`].
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`]; [`Error::Runtime`] if the runtime cannot serialize it.
    fn precompiled(&self) -> Result<Precompiled, Error>;

    /// A new instance with its own memories, tables and globals. The start function has run, under
    /// the limits.
    ///
    /// Imports that the module does not need are ignored. Dropping the instance returns its memory
    /// to the operating system.
    ///
    /// # Errors
    ///
    /// [`Error::Import`] if one is missing or does not fit; [`Error::Limit`] if it starts larger
    /// than allowed; [`Error::Trap`] if the start function or the initialisation of a memory or
    /// table trapped; [`Error::Host`] if a host function failed; [`Error::Unsupported`] for a limit
    /// that the engine cannot keep; [`Error::Runtime`].
    fn instantiate(&self, imports: &Imports, limits: &Limits) -> Result<Box<dyn Instance>, Error>;

    /// Whether the host of its instances lets them be [captured](Instance::capture) and
    /// [restored](Module::restore). What stands in the way in the module's own code,
    /// [`Module::obstacles`] says.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`] with the reason in words.
    fn snapshots(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What stands in the way of snapshots in the module's own code: nothing, or each reason once,
    /// as a sentence. `wasm` is the module's bytes, which an engine need not keep. It reads all of
    /// the code.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidModule`].
    fn obstacles(&self, wasm: &[u8]) -> Result<Vec<String>, Error>;

    /// A new instance in the state of a snapshot, which may have been taken on another engine. Its
    /// start function does not run, and no host function is called. The memories share the
    /// snapshot's pages until they are written to, where the system can do that.
    ///
    /// # Errors
    ///
    /// As [`Module::instantiate`]; [`Error::Snapshot`] if it is another module's; [`Error::Image`];
    /// [`Error::Unsupported`].
    fn restore(
        &self,
        imports: &Imports,
        limits: &Limits,
        snapshot: &Snapshot,
    ) -> Result<Box<dyn Instance>, Error>;
}
