//! Runs wasm-bindgen modules without JavaScript.
//!
//! wasm-bindgen compiles a Rust crate for a JavaScript host: its imports are JavaScript functions, its
//! objects are JavaScript objects. [`BindgenHost`] is an [`engine_api::Engine`] around another engine
//! that serves these imports itself: each instance gets a small *realm*, the objects that the guest
//! holds and the functions it calls on them. Everything that takes an engine takes it, the proxy
//! included.
//!
//! ```
//! use bindgen_host::{BindgenHost, Options};
//! use engine_api::{Engine, Error, InstanceExt, Limits, Val};
//!
//! fn pool_of_two(engine: std::sync::Arc<dyn Engine>, wasm: &[u8]) -> Result<(), Error> {
//!     let host = BindgenHost::new(engine, Options::default());
//!     let module = host.compile(wasm)?;
//!     let mut instance = module.instantiate(&bindgen_host::system(), &Limits::default())?;
//!     let pool = instance.invoke(bindgen_host::THREAD_POOL_START, &[Val::I32(2)])?;
//!     // ... calls that use the pool ...
//!     instance.invoke(bindgen_host::THREAD_POOL_STOP, &pool)?;
//!     Ok(())
//! }
//! ```
//!
//! # What it serves
//!
//! Both generations of wasm-bindgen's ABI: objects as slots of a heap, with results through a return
//! pointer; and objects as externrefs, with several results. Which one a module speaks is read from
//! the module. Imports are recognised by their base name, without wasm-bindgen's hash: memory, strings,
//! numbers, errors, typed arrays of bytes and their buffers, arrays, plain objects, randomness, the clock,
//! the console, closures, and the start and end of a thread pool. Every other import is a stub that fails
//! when it is called, with its name.
//!
//! # What it adds to the module
//!
//! Functions of its own after the module's, so that one call does what takes JavaScript several:
//!
//! | function | type | |
//! |---|---|---|
//! | [`TAKE_ERROR`] | `(i32) -> externref` | the [`engine_api::GuestError`] behind the error index of a `Result`; forgets it |
//! | [`THREAD_POOL_START`] | `(i32) -> i32` | starts that many workers and returns when all have arrived; the pool's number |
//! | [`THREAD_POOL_STOP`] | `(i32)` | ends the pool of that number, and joins every worker |
//!
//! The last two exist where the module exports a pool by the protocol of wasm-bindgen-rayon.
//!
//! # What comes from outside
//!
//! A realm is deterministic, so that a proxy can replay it. What is not comes through imports that
//! [`system`] gives, and which a proxy records: randomness, the clock, and the console's output.

mod call;
mod casts;
mod coverage;
mod engine;
mod error;
mod facade;
mod heap;
mod imports;
mod instance;
mod link;
mod module;
mod names;
mod pool;
mod realm;
mod surface;
mod system;
mod value;

pub use coverage::{Coverage, served};
pub use engine::BindgenHost;
pub use error::HostError;
pub use surface::{Abi, hosted_info, is_bindgen};
pub use system::{SYSTEM, system};

/// See the table above.
pub const TAKE_ERROR: &str = "bindgen_host_take_error";

/// See the table above.
pub const THREAD_POOL_START: &str = "thread_pool_start";

/// See the table above.
pub const THREAD_POOL_STOP: &str = "thread_pool_stop";

/// How a host treats its guests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What becomes of a worker's stack and thread-local block when its pool ends.
    pub worker_exit: WorkerExit,
    /// Bytes of stack in linear memory that each worker gets, where the module lets the host choose.
    pub worker_stack_bytes: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            worker_exit: WorkerExit::default(),
            worker_stack_bytes: 1 << 20,
        }
    }
}

/// What becomes of a worker's stack and thread-local block, which are in linear memory, when its pool
/// ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerExit {
    /// They are freed, as `__wbindgen_thread_destroy` does.
    #[default]
    Destroy,
    /// They are lost, about 1 MiB for each worker: what happens in JavaScript when a pool's workers are
    /// terminated, as o1js up to 2.14 does around every proof.
    Abandon,
}
