//! One suite for every engine: each promise of `engine-api`, asserted on each runtime and compiler.
//!
//! The list of engines is that of the crate [`::engines`]. Here it is also a test template. A case
//! looks like this:
//!
//! ```
//! use conformance::prelude::*;
//!
//! #[apply(every_engine)]
//! fn an_i32_comes_back(engine: &EngineUnderTest) {
//!     let mut instance = engine.instantiate(
//!         r#"(module (func (export "same") (param i32) (result i32) local.get 0))"#,
//!     );
//!     assert_eq!(instance.invoke("same", &[Val::I32(7)]).unwrap(), [Val::I32(7)]);
//! }
//! ```
//!
//! Nothing is skipped. An engine must refuse a module that it cannot run with
//! [`engine_api::Error::Unsupported`], and [`EngineUnderTest::module_if`] asserts that it does. A
//! known divergence is asserted in `tests/engines/divergence.rs` with its upstream issue.
//!
//! A case that measures its process, or could end it, runs the binary `conformance-probe`; see
//! [`probe`].
//!
//! [`EngineUnderTest::module_if`]: engines::EngineUnderTest::module_if

#[cfg(not(any(feature = "wasmtime", feature = "wasmer")))]
compile_error!("no engine to test: build with the feature `wasmtime`, `wasmer` or both");

pub mod cases;
pub mod database;
pub mod durable;
pub mod engines;
pub mod expect;
pub mod hosted;
pub mod hostile;
pub mod kept;
pub mod latency;
pub mod prelude;
pub mod probe;
pub mod process;
pub mod proxied;
pub mod remembering;
pub mod worlds;
