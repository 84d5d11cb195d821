//! Errors, told apart by what the caller does next.

use crate::{EngineId, ExternType, FuncType, Trap, ValType};

/// An error of an engine. Each variant says what the caller can do next. If the runtime has an
/// error of its own, it is kept as the `source`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not a valid core WebAssembly module. Give another module.
    #[error("invalid module: {reason}")]
    InvalidModule {
        /// What is wrong, and how to repair it, if that is known.
        reason: String,
    },

    /// The module is larger than [`crate::ModuleLimits`] allow, and no compiler saw it. Raise the
    /// limit for a module that is trusted.
    #[error(
        "the module has {found} {what}, and the limit is {limit}; raise it in \
         `EngineConfig::module` if the module is trusted"
    )]
    ModuleLimit {
        /// What is limited: `bytes`, `functions`, `bytes in one function`, `imports`, `exports`.
        what: &'static str,
        /// How much the module has.
        found: u64,
        /// How much it may have.
        limit: u64,
    },

    /// This engine lacks a feature. Choose another engine, or do without the feature.
    #[error(
        "{engine} does not support {what}; `wasm-proxy inspect MODULE` says which engine can run a module"
    )]
    Unsupported {
        /// The engine that was asked.
        engine: EngineId,
        /// What it cannot do.
        what: String,
    },

    /// An import is missing or of the wrong type. Add it to the [`crate::Imports`].
    #[error("import `{module}` `{name}` ({expected}): {reason}")]
    Import {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
        /// The type that the module needs there.
        expected: ExternType,
        /// Why the given entry does not fit, or that there is none.
        reason: String,
    },

    /// No export of that name or index, or one of another kind. See
    /// [`crate::ModuleInfo::exports`].
    #[error("no exported {kind} `{name}` in the module; `wasm-proxy inspect` lists its exports")]
    NoSuchExport {
        /// The kind that the caller asked for: `function`, `memory`, `table` or `global`.
        kind: &'static str,
        /// The name, or the index as `#7`.
        name: String,
    },

    /// The arguments or results do not fit the function. Fix the call.
    #[error("function `{name}` has type {expected}, called with {got}")]
    Signature {
        /// The export's name.
        name: String,
        /// Its type.
        expected: FuncType,
        /// The types it was called with.
        got: FuncType,
    },

    /// A value has the wrong type, for example for a global. Fix the value.
    #[error("expected a value of type {expected}, got {got}")]
    ValueType {
        /// The type that the value must have.
        expected: ValType,
        /// The type that it has.
        got: ValType,
    },

    /// An immutable global cannot be set. Choose another global.
    #[error("global {global} is immutable")]
    ImmutableGlobal {
        /// Its position in the module's global index space.
        global: u32,
    },

    /// A [`crate::FuncRef`] was given to an instance that did not make it. Give it to its own.
    #[error("the function reference belongs to another instance")]
    ForeignReference,

    /// The host's access lies outside the linear memory. Nothing was read or written.
    #[error("{len} bytes at offset {offset} are outside the linear memory of {size} bytes")]
    OutOfBounds {
        /// The first byte of the access.
        offset: u64,
        /// The length of the access in bytes.
        len: u64,
        /// The size of the memory in bytes at that moment.
        size: u64,
    },

    /// The host's access lies outside the table.
    #[error("element {element} is outside the table of {size} elements")]
    NoSuchElement {
        /// The element that the host accessed.
        element: u64,
        /// The size of the table in elements at that moment.
        size: u64,
    },

    /// A limit of [`crate::Limits`] refuses the instance. Raise the limit.
    #[error("the instance needs {needed} {what}, its limit is {limit}")]
    Limit {
        /// What is limited, with its unit: `bytes of memory`, `table elements`.
        what: &'static str,
        /// How much the instance needs.
        needed: u64,
        /// How much it may have.
        limit: u64,
    },

    /// A memory or a table did not grow: its maximum or a limit is reached.
    #[error("cannot grow by {delta} from {current}: the maximum or a limit is reached")]
    Growth {
        /// Pages or elements it has.
        current: u64,
        /// Pages or elements asked for.
        delta: u64,
    },

    /// The guest trapped. Its instance's state is lost.
    #[error("guest trapped: {0}")]
    Trap(Trap),

    /// The guest ended itself, as a program does that calls `exit`. Its instance's state is lost.
    #[error("the guest exited with code {code}")]
    Exit {
        /// The code that it gave.
        code: u32,
    },

    /// A host function failed, which ended the call.
    #[error("host function `{module}` `{name}` failed")]
    Host {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
        /// The host function's own error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// A host function panicked; the panic was stopped at the boundary.
    #[error("host function `{module}` `{name}` panicked: {message}")]
    HostPanicked {
        /// The import's module name.
        module: String,
        /// The import's name.
        name: String,
        /// The panic's message.
        message: String,
    },

    /// The precompiled module is damaged, or was made for another module, engine, version or
    /// machine. Compile again.
    #[error("the precompiled module cannot be used: {reason}; compile the module again")]
    Precompiled {
        /// The property that does not fit, or the damage.
        reason: String,
        /// The error of the system or the runtime, if one of them refused it.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },

    /// The snapshot does not fit the module. Make the instance anew, and replay.
    #[error("the snapshot cannot be used: {reason}")]
    Snapshot {
        /// The difference, or the part that is missing.
        reason: String,
    },

    /// What the host keeps of an instance's state cannot be written down as bytes, or read. Keep
    /// the journal, and replay.
    #[error("the host's part of a state cannot be kept as bytes: {reason}")]
    HostState {
        /// What stands in the way, or what is wrong with the bytes.
        reason: String,
    },

    /// An image of a linear memory could not be taken or mapped. Make the instance anew, and
    /// replay.
    #[error("a memory could not be captured or restored")]
    Image {
        /// The failed step, with the system's error.
        source: memory_image::ImageError,
    },

    /// The runtime failed for a reason of its own, for example because it could not map memory. Try
    /// again later, or on another engine.
    #[error("{engine} failed to {action}")]
    Runtime {
        /// The engine.
        engine: EngineId,
        /// The step that failed, as in "failed to ...".
        action: &'static str,
        /// The runtime's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// For engines: [`Error::NoSuchExport`] for an index that the host cannot reach.
    #[must_use]
    pub fn no_such_index(kind: &'static str, index: u32) -> Self {
        Error::NoSuchExport {
            kind,
            name: format!("#{index}"),
        }
    }

    /// The trap, if the guest trapped.
    #[must_use]
    pub fn trap(&self) -> Option<Trap> {
        if let Error::Trap(trap) = self {
            Some(*trap)
        } else {
            None
        }
    }
}
