//! The contract between wasm-proxy and a WebAssembly engine.
//!
//! An *engine* is a WebAssembly runtime with one compiler, for example `wasmtime.cranelift`. This
//! crate says what wasm-proxy needs of one. It names no runtime, and has neither a parser nor an
//! encoder: `module_bytes` reads and rewrites the bytes of modules. `engine_wasmtime` and
//! `engine_wasmer` implement the contract.
//!
//! | trait | one per | what it does |
//! |---|---|---|
//! | [`Engine`] | runtime and compiler | compiles modules, loads precompiled ones, makes shared memories |
//! | [`Module`] | compiled module | instantiates itself any number of times, fresh or from a snapshot |
//! | [`Instance`] | instance | is called, measured, interrupted, captured and dropped |
//! | [`Caller`] | running call | gives a host function, and an instance's owner, the guest's memory |
//!
//! # Using an engine
//!
//! ```
//! use engine_api::{Engine, Error, Imports, InstanceExt, Limits, Val};
//!
//! fn add_one(engine: &dyn Engine, wasm: &[u8]) -> Result<i32, Error> {
//!     let module = engine.compile(wasm)?;
//!     let mut instance = module.instantiate(&Imports::new(), &Limits::default())?;
//!     let results = instance.invoke("add_one", &[Val::I32(41)])?;
//!     Ok(results[0].i32().expect("add_one returns an i32"))
//! }
//! ```
//!
//! # Writing an engine
//!
//! An engine implements the four traits, and is done when the crate `conformance` passes on it.
//! `docs/new-engine.md` has the same points in the order of the work.
//!
//! **Indexes come from the bytes.** `module_bytes::parse` gives the [`ModuleInfo`]. A [`FuncIndex`]
//! counts exported functions; the other indexes are those of the module's index spaces. They mean
//! the same on every engine, and an engine never invents one of its own.
//!
//! **An engine compiles instrumented bytes.** A snapshot needs every memory, every mutable global
//! and every table that can change, and most of them have no export. `module_bytes::Instrumented`
//! adds exports for them, under names that begin with `module_bytes::RESERVED`, and turns the start
//! section into an export. An engine compiles `Instrumented::wasm`, finds the parts under the names
//! that `Instrumented::memories`, `globals`, `tables`, `functions` and `flags` give, and calls
//! `Instrumented::start` itself, once in each fresh instance and never in a restored one. The
//! module's own exports keep their order and their indexes. [`ModuleInfo`] and [`ModuleHash`] are
//! those of the original bytes.
//!
//! **The same call gives the same bits.** NaNs are canonicalised, relaxed SIMD is off, and limits
//! refuse the same growth in every run. [`Limits::memory_bytes_max`] counts all unshared memories
//! of an instance together; no table grows above [`TABLE_ELEMENTS_MAX`]. A deadline ends a call
//! within two ticks of 10 ms. Fuel and deadline are those of the outermost call.
//!
//! **Every end has a name.** Each trap of the runtime is mapped to a [`Trap`], a failed host
//! function to [`Error::Host`], and everything else to the [`Error`] that tells the caller what to
//! do next. The runtime's own error is kept as the `source`.
//!
//! **The guest is hostile.** An engine reads a module with its [`ModuleLimits`], by
//! `module_bytes::parse_within`, before its compiler gets the bytes. Offsets are `u64`, and are checked against the size of the memory at
//! the moment of the access ([`memory_range`]). A module may make a compiler panic; `compile`
//! catches that. Host functions run through [`HostFunc::invoke`], which checks their results and
//! stops a panic at the boundary. A [`FuncRef`] of another instance is refused with
//! [`Error::ForeignReference`].
//!
//! **Snapshots are memory images.** [`Instance::capture`] gives a [`MemoryImage`] of each memory
//! and the value of each mutable global; [`Module::restore`] makes an instance from them, on any
//! engine, without running the start function. The crate `memory_image` takes and maps images. It
//! requires that each memory lies in a reservation of its own, that base and size are whole pages,
//! and that nothing of the guest runs or is borrowed meanwhile. An engine remembers the last image
//! of each memory and gives it to the next capture, which then copies only the changes. A restored
//! memory first grows to its image's size, under the limits. A shared memory is moved only while
//! its [`Attachments`] say that no other instance has it, and are held, which keeps every other
//! thread away from it. [`Module::obstacles`] is `module_bytes::obstacles` in words;
//! [`Module::snapshots`] refuses if the host of the instances stands in the way.
//!
//! **References are written as numbers.** A snapshot names a function by its index, and an object of
//! the host by its place in a list ([`Reference`], [`Objects`]). An engine finds the index of a
//! function by comparing the runtime's reference with those of `Instrumented::functions`, which are
//! all that a guest can have. A table first grows to the snapshot's size, under the limits. Flags
//! say which segments were dropped; the engine sets them in a restored instance and calls
//! `Instrumented::drops`.
//!
//! **Memory goes back.** Dropping an [`Instance`] returns memories, tables and stacks to the
//! system. [`Instance::discard_memories`] gives the pages back beforehand, in slices, by
//! `memory_image::discard`. [`Instance::memory_bytes`] is read after every call and costs a few
//! loads. If no memory is shared, the engine also keeps a [`MemoryMeter`] up to date.
//!
//! **Precompiled modules are checked.** [`Module::precompiled`] wraps the serialized code with the
//! module's hash and the engine's [fingerprint](Engine::fingerprint). [`Engine::load`] gets the
//! code from [`Precompiled::code_for`], which refuses code of another module or engine.
//!
//! **Calls of numbers do not allocate.** [`Instance::call_numbers`] compares one word with the
//! function's type ([`ModuleInfo::check_numbers`]) and passes the caller's slots to the guest.
//!
//! **An engine refuses what it cannot do** with [`Error::Unsupported`], and declares it in its
//! [`Capabilities`]. The suite compares these with what the engine really does.

mod access;
mod capabilities;
mod engine;
mod error;
mod imports;
mod instance;
mod js_value;
mod limits;
mod memory_meter;
mod module_hash;
mod module_info;
mod module_limits;
mod numbers;
mod precompiled;
mod printable;
mod shared_memory;
mod snapshot;
mod trap;
mod types;
mod val;

pub use access::{AtomicBytes, memory_range};
pub use capabilities::Capabilities;
pub use engine::{Engine, EngineId, Module};
pub use error::Error;
pub use imports::{Extern, HostFunc, Imports, ReplayObserver};
pub use instance::{Caller, Instance, InstanceExt, Interrupt, Interrupter};
pub use js_value::{ElementType, JsValue, to_int32};
pub use limits::{EngineConfig, Limits, TABLE_ELEMENTS_MAX};
pub use memory_image::{ImageError, MemoryImage};
pub use memory_meter::MemoryMeter;
pub use module_hash::ModuleHash;
pub use module_info::{Export, ExportKind, FunctionInfo, Import, ModuleContents, ModuleInfo};
pub use module_limits::ModuleLimits;
pub use numbers::{NumericType, Slot};
pub use precompiled::Precompiled;
pub use printable::Printable;
pub use shared_memory::{Access, Attachment, Attachments, Held, SharedMemory, SharedMemoryBacking};
pub use snapshot::{
    DroppedSegments, HostState, Objects, Reference, Segment, Snapshot, SnapshotParts,
};
pub use trap::Trap;
pub use types::{
    ExternType, FuncIndex, FuncType, GlobalIndex, GlobalType, MemoryIndex, MemoryType, PAGE_BYTES,
    TableIndex, TableType, ValType,
};
pub use val::{ExternRef, FuncRef, GuestError, Val};
