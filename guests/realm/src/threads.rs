//! A module made with `wasm-bindgen` whose work is done by a pool of threads.
//!
//! Compiled against the same two releases of `wasm-bindgen` as `realm`.

mod hex;
mod jobs;
mod memory;
mod panics;
mod pool;

pub use jobs::*;
pub use memory::*;
pub use panics::*;
pub use pool::*;
