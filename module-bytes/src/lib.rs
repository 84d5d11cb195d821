//! Reads the bytes of modules, and rewrites them before an engine compiles them. The contract
//! itself, `engine_api`, has no parser and no encoder; engines, tools and tests that start from
//! bytes use this crate.
//!
//! | function or type | what it does |
//! |---|---|
//! | [`parse`] | reads imports, exports, types and indexes into an [`engine_api::ModuleInfo`], [`parse_within`] within limits |
//! | [`Instrumented`] | gives the bytes that an engine compiles: hidden state exported, dropped segments flagged, the start function left to the engine |
//! | [`features`] | says which proposals beyond the first release of WebAssembly a module needs, [`missing_features`] which of them an engine lacks |
//! | [`obstacles`] | says which state of a module a checkpoint could not hold |

mod code;
mod features;
mod format;
mod instrument;
mod obstacles;
mod reader;

pub use features::{Feature, features, missing_features};
pub use instrument::{Instrumented, RESERVED};
pub use obstacles::{Obstacle, Sites, obstacles};
pub use reader::{parse, parse_within};
