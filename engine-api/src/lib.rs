//! The contract between wasm-proxy and a WebAssembly engine.
//!
//! An *engine* is a WebAssembly runtime with one compiler, for example `wasmtime.cranelift`. This
//! crate names no runtime: it says what wasm-proxy needs of one, and `engine-wasmtime` and
//! `engine-wasmer` implement it. Whoever writes a third engine implements four traits and runs the
//! `conformance` suite against it.
//!
//! | trait | one per | what it does |
//! |---|---|---|
//! | [`Engine`] | runtime and compiler | compiles modules, loads precompiled ones, makes shared memories |
//! | [`Module`] | compiled module | instantiates itself any number of times |
//! | [`Instance`] | instance | is called, measured, interrupted and dropped |
//! | [`Caller`] | running call | gives a host function, and an instance's owner, the guest's memory |
//!
//! # For the user of an engine
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
//! # For the implementor of an engine
//!
//! * Compile once, instantiate often: a [`Module`] is shared by every generation, and dropping an
//!   [`Instance`] must return its linear memories, tables and stacks to the operating system.
//! * Names and types come from [`ModuleInfo`], which `module_bytes::parse` reads from the wasm
//!   binary. An index then means the same on every engine. An engine never invents indexes of its own.
//! * Floats canonicalise their NaNs, relaxed SIMD is off, and limits refuse the same growth on every
//!   run: a call replayed on another engine must give the same bits.
//! * Everything the guest can reach is hostile. Offsets are `u64` and checked against the size of
//!   the memory at the moment of the access; host functions run through [`HostFunc::invoke`],
//!   which checks what they return and stops a panic at the boundary.
//! * What an engine cannot do it answers with [`Error::Unsupported`], and says in its
//!   [`Capabilities`], which the conformance suite compares with what it really does.

mod capabilities;
mod engine;
mod error;
mod imports;
mod instance;
mod limits;
mod memory_meter;
mod module_hash;
mod module_info;
mod numbers;
mod precompiled;
mod shared_memory;
mod snapshot;
mod trap;
mod types;
mod val;

pub use capabilities::Capabilities;
pub use engine::{Engine, EngineId, Module};
pub use error::Error;
pub use imports::{Extern, HostFunc, Imports};
pub use instance::{Caller, Instance, InstanceExt, Interrupt, Interrupter};
pub use limits::{EngineConfig, Limits, TABLE_ELEMENTS_MAX};
pub use memory_image::{ImageError, MemoryImage};
pub use memory_meter::MemoryMeter;
pub use module_hash::ModuleHash;
pub use module_info::{Export, ExportKind, FunctionInfo, Import, ModuleContents, ModuleInfo};
pub use numbers::{NumericType, Slot};
pub use precompiled::Precompiled;
pub use shared_memory::{SharedMemory, SharedMemoryBacking};
pub use snapshot::Snapshot;
pub use trap::Trap;
pub use types::{
    ExternType, FuncIndex, FuncType, GlobalIndex, GlobalType, MemoryIndex, MemoryType, PAGE_BYTES,
    TableIndex, TableType, ValType,
};
pub use val::{ExternRef, FuncRef, GuestError, Val};
