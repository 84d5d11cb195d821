//! The engine contract on [wasmtime](https://docs.rs/wasmtime), with the compilers Cranelift and
//! Winch.
//!
//! ```
//! use engine_api::{Engine, Error, Imports, InstanceExt, Limits, Val};
//! use engine_wasmtime::Wasmtime;
//!
//! # fn main() -> Result<(), Error> {
//! # let wasm = wat::parse_str(
//! #     "(module (func (export \"add_one\") (param i32) (result i32)
//! #         (i32.add (local.get 0) (i32.const 1))))").expect("valid text");
//! let engine = Wasmtime::cranelift()?;
//! let module = engine.compile(&wasm)?;
//! let mut instance = module.instantiate(&Imports::new(), &Limits::default())?;
//! assert_eq!(instance.invoke("add_one", &[Val::I32(41)])?, [Val::I32(42)]);
//! # Ok(())
//! # }
//! ```
//!
//! | file | content |
//! |---|---|
//! | `engine` | [`Wasmtime`]: constructors and configuration |
//! | `module` | compiled modules, and their precompiled form |
//! | `settings` | the state that modules and instances share with their engine |
//! | `exports` | the places of a module's exports |
//! | `state` | the data of a store, besides the guest |
//! | `instance` | the owner's view of an instance |
//! | `caller` | calls, memories, globals and tables, as host functions and owners see them |
//! | `func_refs` | functions that the host holds references to |
//! | `snapshot` | the state of an instance, captured and restored |
//! | `references` | its references, as numbers that mean the same in every instance |
//! | `imports` | the host's imports, made into objects that wasmtime links |
//! | `convert` | types and values in both directions |
//! | `traps` | wasmtime's errors, mapped by name |
//! | `limits` | accounting of memories and tables |
//! | `interrupt` | deadlines and interrupters, on epochs |
//! | `shared_memory` | memories that several instances share |

mod caller;
mod convert;
mod engine;
mod exports;
mod func_refs;
mod imports;
mod instance;
mod interrupt;
mod limits;
mod module;
mod references;
mod settings;
mod shared_memory;
mod snapshot;
mod state;
mod traps;

pub use engine::Wasmtime;
pub use settings::{Compiler, Tuning};
