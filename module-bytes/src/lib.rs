//! Reads the bytes of modules, and rewrites them before an engine compiles them. The contract
//! itself, `engine_api`, has no parser and no encoder; engines, tools and tests that start from
//! bytes use this crate.
//!
//! | function or type | what it does |
//! |---|---|
//! | [`parse`] | reads imports, exports, types and indexes into an [`engine_api::ModuleInfo`], [`parse_within`] within limits |
//! | [`Instrumented`] | gives the bytes that an engine compiles: hidden state exported, dropped segments flagged, the start function left to the engine |
//! | [`features`] | says which proposals beyond the first release of WebAssembly a module needs, [`missing_features`] which of them an engine lacks |
//! | [`rename`] | gives imports and exports other names |
//! | [`dyn_calls`] | adds exports through which a host calls functions of the table |
//! | [`dylink`] | says how much memory and table a module for dynamic linking needs |
//! | [`stack_pointer`] | finds the global that holds the guest's stack pointer |
//! | [`obstacles`] | says which state of a module a checkpoint could not hold |

mod code;
mod dyn_calls;
mod features;
mod format;
mod instrument;
mod obstacles;
mod reader;
mod rename;
mod stack_pointer;

pub use dyn_calls::dyn_calls;
pub use features::{Feature, features, missing_features};
pub use instrument::{Instrumented, RESERVED};
pub use obstacles::{Obstacle, Sites, obstacles};
pub use reader::{parse, parse_within};
pub use rename::{Dylink, dylink, rename};
pub use stack_pointer::stack_pointer;
