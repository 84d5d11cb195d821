//! wasm-proxy's engine contract on [wasmer](https://wasmer.io), with its compilers Cranelift,
//! Singlepass and (feature `llvm`) LLVM.
//!
//! # Why below `wasmer::Store`
//!
//! Modules are compiled, serialized and loaded by the `wasmer` crate. Instances are made one layer
//! further down, with `wasmer_compiler::Artifact` and `wasmer_vm::StoreObjects`, on which
//! `wasmer::Instance` is built. That layer has what the contract needs and the upper layer hides:
//!
//! * one call path without allocation for every signature (`wasmer::Function::call` allocates three
//!   times, and typed functions need their type at compile time), at a third of the time;
//! * host functions that read the guest's values in place;
//! * memories, tables and globals by their index, exported or not, and tunables for each instance,
//!   which count its limits in one place;
//! * the point between the initialisation of globals and the start function, where fuel is set;
//! * our own signal (SIGURG), which ends a guest only when that is safe: while the processor
//!   executes the guest's own code. (`wasmer::Store::interrupter` also unwinds wasmer's library
//!   calls and host function prologues, with locks held, and each call pays for its registry.)
//!
//! The version is pinned (`=7.3.0`), because that layer promises no stability.
//!
//! # What differs from other engines
//!
//! * A host object that a guest has seen stays alive until its instance is dropped: wasmer has no
//!   garbage collector. Each distinct host object is kept once per instance.
//! * [`EngineConfig::stack_bytes_max`](engine_api::EngineConfig) is a minimum: wasmer keeps stacks
//!   for reuse by all engines of the process, and a guest may get a larger one.
//! * LLVM needs a machine on which its code contains whole addresses of wasmer's library, which can
//!   be replaced, such as x86-64. On other machines modules are refused.
//! * A data segment at or above 2 GiB traps at instantiation, although it is in bounds (wasmer
//!   reads the offset as signed).

// The crate is a binding to machine code. Every block says why it is sound.
#![expect(
    unsafe_code,
    reason = "calls compiled code, reads its memory and installs its host functions"
)]

mod caller;
mod calls;
mod compiled;
mod convert;
mod engine;
mod import_abi;
mod imports;
mod instance;
mod interrupt;
mod layout;
mod libcalls;
mod limits;
mod middleware;
mod module;
mod references;
mod relink;
mod settings;
mod shared_memory;
#[cfg_attr(
    not(all(
        target_os = "linux",
        any(target_arch = "x86_64", target_arch = "aarch64")
    )),
    path = "signal_none.rs"
)]
mod signal;
mod snapshot;
mod state;
mod traps;

pub use engine::Wasmer;
pub use settings::{Compiler, Tuning};
