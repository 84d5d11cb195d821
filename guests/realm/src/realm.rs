//! A module made with `wasm-bindgen` whose exports cross the boundary in every way that such modules do.
//!
//! The same source is compiled against two releases of `wasm-bindgen`: with the older one JavaScript
//! objects are `i32` slots of a heap that the host keeps, and results that may fail come back through a
//! return pointer; with the newer one objects are `externref` and results are several values.

mod errors;
mod hex;
mod host;
mod memory;
mod objects;
mod panics;
mod script;
mod state;
mod values;

pub use errors::*;
pub use host::*;
pub use memory::*;
pub use objects::*;
pub use panics::*;
pub use script::*;
pub use state::*;
pub use values::*;
