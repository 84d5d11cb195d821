//! Keeps a leaking or growing WebAssembly module running for ever.
//!
//! This crate is the one to depend on: it has the proxy, the engines by name, and the host for
//! wasm-bindgen's modules. The README has an example, and the documents of the repository say what
//! a policy, a checkpoint and an artifact are.
//!
//! | what | where |
//! |---|---|
//! | the proxy, and the thread that looks after it | [`Proxy`], [`Supervisor`] |
//! | the role of each export | [`Policy`] |
//! | the limits of an instance, and when it is replaced | [`Limits`], [`Thresholds`], [`SwapTriggers`] |
//! | the limits of a module, before it is compiled | [`EngineConfig`], [`ModuleLimits`] |
//! | a journal on a disk | [`Builder::journal`], [`RedbJournal`], [`Durability`], [`JournalQueue`] |
//! | arguments and results | [`args!`], [`Arg`], [`Results`], [`Value`], [`Handle`], [`Pointer`] |
//! | calls whose types are known | [`Proxy::typed`], [`Typed`] |
//! | events and the state of the proxy | [`Event`], [`DebugInfo`] |
//! | host functions and memories | [`Imports`]; [`bindgen_host::system`] for wasm-bindgen's modules, [`emscripten::add_to`] for Emscripten's |
//! | WASI preview 1 | [`wasi`] |
//! | an engine | [`default_engine`], [`engine`], [`engine_for`], and the types of the runtimes |
//! | a third engine | [`engine_api`] |
//!
//! The features `wasmer`, `wasmtime` (both on by default) and `llvm` compile engines in.

pub use bindgen_host::{self, BindgenHost};
pub use emscripten;
pub use engine_api::{self, Engine, EngineConfig, Imports, Limits, ModuleLimits};
#[cfg(feature = "wasmer")]
pub use engine_wasmer::{self, Wasmer};
#[cfg(feature = "wasmtime")]
pub use engine_wasmtime::{self, Wasmtime};
pub use engines::{self, default_engine, engine, engine_for};
pub use journal_redb::{self, RedbJournal};
pub use proxy_core::{
    Arg, ArtifactFault, ArtifactStore, ArtifactUsage, Audit, Builder, CallError, CallIdBound,
    CheckpointPolicy, Checkpointed, Compacted, Cut, CutKind, DebugInfo, Divergence, DivergenceKind,
    Durability, DurablyCheckpointed, Error, Event, ExportInfo, Handle, History, HistoryBound,
    HookError, Identity, JournalQueue, JournalReader, JournalStore, Leak, LeftOut, LiveObject,
    MemoryJournal, Observation, OnDivergence, PRESETS, Patience, Pinned, Pointer, Policy,
    PolicyError, Prepared, Proxy, Reason, Recovered, ReplayReport, Results, Role, SequenceNumber,
    Source, StateDifference, StoreError, Submitted, Supervisor, SwapContext, SwapHooks, SwapState,
    SwapTriggers, Swapped, Thresholds, TierUp, Turn, Typed, Value, args,
};

pub use wasi;

/// The examples of the README, which must compile and run. They are about Wasmer.
#[cfg(all(doctest, feature = "wasmer"))]
#[doc = include_str!("../../README.md")]
struct Readme;
