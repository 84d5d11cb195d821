//! Keeps a growing WebAssembly module running forever.
//!
//! A module's memory only grows, and at its limit the module dies with all its state. The proxy
//! keeps a *journal* of the calls that made the state; when memory passes a threshold it makes a
//! second instance from the journal, checks that it gives the same results, swaps the two
//! atomically, and frees the old one. Callers notice nothing.
//!
//! ```
//! # #[path = "../tests/fake/mod.rs"] mod fake;
//! # fn main() -> Result<(), proxy_core::Error> {
//! # let engine = fake::FakeEngine::counter();
//! # let wasm = fake::counter_wasm();
//! use proxy_core::{Policy, Proxy, args};
//!
//! let policy: Policy = r#"
//!     [[export]]
//!     match = "counter_new"
//!     role = "create"
//!     results = ["handle:counter"]
//!
//!     [[export]]
//!     match = "counter_add"
//!     role = "mutate"
//!     args = ["handle:counter", "value"]
//!     mutates = [0]
//!
//!     [[export]]
//!     match = "counter_value"
//!     role = "pure"
//!     args = ["handle:counter"]
//! "#
//! .parse()?;
//!
//! let proxy = Proxy::builder(engine).module(wasm).policy(policy).build()?;
//! let counter = proxy.call("counter_new", args![])?.handle()?;
//! proxy.call("counter_add", args![counter, 41])?;
//! proxy.prepare_standby()?;
//! proxy.call("counter_add", args![counter, 1])?;
//! proxy.swap()?; // the handle now names an object in another instance
//! assert_eq!(proxy.call("counter_value", args![counter])?.i32()?, 42);
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here starts a thread but what the edge asks for: a [`Supervisor`], which calls
//! [`Proxy::tick`], and a [`TierUp`], which moves to better code.
//! Engines come from outside, through `engine-api`. `docs/swap-protocol.md` says why no call is
//! lost, `docs/policy.md` what a policy can say.

mod artifact_store;
mod batch;
mod budget;
mod checkpoint;
mod committer;
#[cfg(test)]
mod committer_tests;
mod compile;
mod data_plane;
mod debug_info;
mod degradation;
mod durable_checkpoint;
mod error;
mod event;
mod gate;
mod generation;
mod holding;
mod hooks;
mod journal;
mod journal_reader;
mod journal_store;
mod lane;
mod ledger;
mod live_generations;
mod locking;
mod memory;
mod open_turns;
mod proxy;
mod recorder;
mod recovery;
mod reentrancy;
mod renewal;
mod reports;
mod shared;
mod shown;
mod state;
mod supervisor;
mod sync;
mod tier_up;
mod triggers;
mod turns;
mod upkeep;
mod val_bytes;
mod wakeup;
mod working_set;

/// The scripted engine, which unit tests share with integration tests, names this crate so.
#[cfg(test)]
extern crate self as proxy_core;

use guest_calls::{policy, value};

pub use artifact_store::{ArtifactFault, ArtifactStore, ArtifactUsage, ExportError, FileError};
pub use checkpoint::{CheckpointPolicy, History, HistoryBound};
pub use committer::{Durability, JournalQueue};
pub use data_plane::{Pinned, Submitted, Turn, Typed};
pub use debug_info::DebugInfo;
pub use degradation::Patience;
pub use error::{Divergence, DivergenceKind, Error, JournalMismatch, StateDifference};
pub use event::{Event, Listener};
pub use guest_calls::typed::{TypedArgs, TypedResults};
pub use guest_calls::{
    AllocatorPolicy, Arg, ArgKind, ArtifactPolicy, Bare, BareInstance, CallError, Callee,
    CastPolicy, Coercion, Effect, ExportInfo, ExportPolicy, FieldPolicy, Handle, ImportPolicy,
    JsPassing, ModulePolicy, OwnedArg, Ownership, PRESETS, Pointer, Policy, PolicyError,
    ResultKind, Results, ReturnPlacePolicy, Role, ScopedCallee, SequenceNumber, StructPolicy,
    Value, Width, args, js, with_causes,
};
pub use hooks::{HookError, SwapContext, SwapHooks};
pub use journal::{
    AnswerView, CALL_ID_BYTES_MAX, CallIdBound, Cut, CutKind, Entry, EntryView, HostCallView,
    RecordView, ResultView,
};
pub use journal_reader::{
    CheckpointContent, CheckpointKind, CheckpointView, JournalReader, JournalSubject, ReadRecord,
    Records,
};
pub use journal_store::{
    CheckpointRef, Epoch, Fault, Flush, Head, Identity, JournalId, JournalStore, MemoryJournal,
    Position, RECORD_BYTES_MAX, StoreError, StoredRecord, chain_next, chain_origin,
    check_checkpoints,
};
pub use memory::{Reason, Thresholds};
pub use proxy::{Builder, Proxy};
pub use reports::{
    Audit, Checkpointed, Compacted, DurablyCheckpointed, Leak, LeftOut, Observation, Prepared,
    Recovered, ReplayReport, Source, Swapped,
};
pub use shared::LiveObject;
pub use state::SwapState;
pub use supervisor::Supervisor;
pub use tier_up::TierUp;
pub use triggers::SwapTriggers;
pub use upkeep::OnDivergence;
