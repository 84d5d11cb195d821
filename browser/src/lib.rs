//! The engine contract over the `WebAssembly` that a browser has: a spike, which `docs/browser.md`
//! explains.
//!
//! This crate is compiled for `wasm32-wasip1` and runs in a worker of a page. Its guests are modules
//! beside it in the same worker, which JavaScript compiles and instantiates for it
//! (`web/engine.mjs`). A call of a guest goes from here to JavaScript and from there into the
//! guest, on the same stack.
//!
//! | file | job |
//! |---|---|
//! | `engine.rs`, `module.rs`, `instance.rs` | the traits of the contract |
//! | `journal.rs` | a journal in a file of the origin's private file system |
//! | `js.rs` | the functions of `web/engine.mjs`; the only unsafe code |
//! | `growth.rs` | limits growth inside the module, because no browser asks the host |
//! | `traps.rs` | V8's messages as traps |
//!
//! It cannot end a call, so there are no deadlines and no interruption, and it has no fuel, no shared
//! memories, no references across the boundary and no control over NaNs.

mod engine;
mod growth;
mod instance;
mod journal;
mod js;
mod module;
mod traps;

pub use engine::Browser;
pub use journal::FileJournal;
