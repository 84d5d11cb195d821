//! Runs wasm-bindgen modules without JavaScript.
//!
//! wasm-bindgen compiles a Rust crate for a JavaScript host: the imports are JavaScript functions,
//! and the objects are JavaScript objects. [`BindgenHost`] is an [`engine_api::Engine`] around
//! another engine and serves these imports itself. Each instance gets a small *realm*: the objects
//! that the guest holds and the functions that it calls on them. A proxy takes it as it takes any
//! engine. `docs/bindgen-host.md` says more.
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
//! Both generations of wasm-bindgen's ABI: objects as slots of a heap, with results through a
//! return pointer; and objects as externrefs, with several results. The module's imports and
//! exports tell which it is. Imports are recognised by their base name, without wasm-bindgen's
//! hash: memory, strings, numbers, errors, arrays of bytes and their buffers, arrays, plain
//! objects, randomness, the clock, the console, closures, and the start and end of a thread pool.
//! Every other import is the user's to give. A proxy sees it and records it. Without a function of
//! the user it is a stub, which fails with its name when it is called.
//!
//! # What it adds to the module
//!
//! Functions after the module's own. Each does in one call what JavaScript does in several:
//!
//! | function | type | |
//! |---|---|---|
//! | [`TAKE_ERROR`] | `(i32) -> externref` | the [`engine_api::GuestError`] behind the error index of a `Result`; forgets it |
//! | [`GIVE_JS`] | `(externref) -> i32` | makes an object of a [`engine_api::JsValue`]; the number by which the guest names it |
//! | [`GIVE_JS_REF`] | `(externref) -> externref` | the same, as a reference for the guest |
//! | [`TAKE_JS`] | `(i32) -> externref` | the [`engine_api::JsValue`] of a number, which the guest gives up |
//! | [`TAKE_JS_REF`] | `(externref) -> externref` | the same of a reference |
//! | [`FORGET_JS`] | `(i32)` | forgets the object of a number |
//! | [`MALLOC`], [`FREE`] | as the module's own | the guest's allocator, where its exports do not have its names |
//! | [`THREAD_POOL_START`] | `(i32) -> i32` | starts that many workers and returns when all have arrived; the pool's number |
//! | [`THREAD_POOL_STOP`] | `(i32)` | ends the pool of that number, and joins every worker |
//!
//! The pool's two exist where the module exports a pool by the protocol of wasm-bindgen-rayon.
//!
//! # What comes from outside
//!
//! A realm is deterministic, and a proxy can replay it. Randomness, the clock and the console's
//! output pass through the imports of [`system`], which a proxy records.

mod allocator;
mod call;
mod callbacks;
mod casts;
mod collection;
mod console;
mod convert;
mod coverage;
mod engine;
mod error;
mod facade;
mod heap;
mod image;
mod imports;
mod instance;
mod json;
mod known;
mod link;
mod module;
mod names;
mod pool;
mod producers;
mod realm;
mod surface;
mod system;
mod turns;
mod value;

pub use callbacks::Callbacks;
pub use casts::{GivenCast, Takes, undescribed};
pub use console::{Console, ConsoleLimits};
pub use coverage::{Coverage, hosted_info, served, served_in};
pub use engine::BindgenHost;
pub use error::HostError;
pub use surface::{Abi, abi, is_bindgen};
pub use system::{SYSTEM, system};

/// The examples of the page on this crate.
#[cfg(doctest)]
#[doc = include_str!("../../docs/bindgen-host.md")]
struct Page;

/// The function that takes the error behind the error index of a `Result`.
pub const TAKE_ERROR: &str = "bindgen_host_take_error";

/// The function that makes an object of a JavaScript value, and gives its number.
pub const GIVE_JS: &str = "bindgen_host_give_js";

/// The function that makes an object of a JavaScript value, and gives a reference to it.
pub const GIVE_JS_REF: &str = "bindgen_host_give_js_ref";

/// The function that reads the object of a number, which the guest gives up.
pub const TAKE_JS: &str = "bindgen_host_take_js";

/// The function that reads the object of a reference.
pub const TAKE_JS_REF: &str = "bindgen_host_take_js_ref";

/// The function that forgets the object of a number.
pub const FORGET_JS: &str = "bindgen_host_forget_js";

/// The function that calls the guest's `malloc`, where no export has its name.
pub const MALLOC: &str = "bindgen_host_malloc";

/// The function that calls the guest's `free`, where no export has its name.
pub const FREE: &str = "bindgen_host_free";

/// The function that starts a thread pool.
pub const THREAD_POOL_START: &str = "thread_pool_start";

/// The function that stops a thread pool.
pub const THREAD_POOL_STOP: &str = "thread_pool_stop";

/// How a host treats its guests.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How a worker leaves linear memory when its pool ends.
    pub worker_exit: WorkerExit,
    /// Bytes of stack in linear memory for each worker, where the module lets the host choose.
    pub worker_stack_bytes: u32,
    /// What imports convert, where the module does not say it. See [`undescribed`].
    pub casts: Vec<GivenCast>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            worker_exit: WorkerExit::default(),
            worker_stack_bytes: 1 << 20,
            casts: Vec::new(),
        }
    }
}

/// How a worker leaves linear memory, where its stack and its thread-local block are, when its pool
/// ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerExit {
    /// Both are freed, by `__wbindgen_thread_destroy`.
    #[default]
    Destroy,
    /// Both are lost, about 1 MiB for each worker. This happens in JavaScript when workers are
    /// terminated, as o1js up to 2.14 does around every proof. A pool that the host started again,
    /// for a snapshot or from one, is freed all the same.
    Abandon,
}
