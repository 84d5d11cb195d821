//! What calls of a WebAssembly module mean: a policy says what each export does and what its
//! arguments and results are, and instances are called by it.
//!
//! A [`Policy`] is bound to a module ([`policy::plan::Plan`]). A [`BoundInstance`] then takes
//! arguments as callers have them, puts them into the guest, and reads the results: numbers,
//! buffers, text, and guest objects by their [`Handle`]s. [`Bare`] makes such instances and nothing
//! more: no journal, no second instance. `proxy-core` adds these.

mod bare;
mod callee;
mod error;
mod export_info;
mod handle;
mod instance;
pub mod js;
mod objects;
mod param;
pub mod policy;
pub mod typed;
pub mod value;

pub use bare::{Bare, BareInstance, memory_limit};
pub use callee::{Callee, ScopedCallee};
pub use error::{CallError, PolicyError, if_asked, listed, with_causes};
pub use export_info::ExportInfo;
pub use handle::{Handle, HandleMap, Pointer, Scope, SequenceNumber, new_handle_tag};
pub use instance::{BoundInstance, CallFailure, Ran, consumed};
pub use objects::{Object, ObjectTable, Objects};
pub use param::{Param, Shape};
pub use policy::{
    AllocatorPolicy, ArgKind, ArtifactPolicy, CastPolicy, ClosureArgument, Coercion, Effect,
    ExportPolicy, FieldPolicy, ImportPolicy, JsPassing, ModulePolicy, Ownership, PRESETS, Policy,
    ResultKind, ReturnPlacePolicy, Role, StructPolicy, Width,
};
pub use value::{Arg, OwnedArg, Results, Value};
