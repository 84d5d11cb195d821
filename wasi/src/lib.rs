//! WASI preview 1 for the modules of wasm-proxy, the same on every engine.
//!
//! A [`Config`] says what a guest sees of the world: arguments, environment, folders, standard
//! streams. [`Wasi`] is that world with its open descriptors. It belongs to one proxy and is shared
//! by all of its generations: give [`Wasi::add_to`] the imports from which they are made.
//!
//! ```
//! use engine_api::Imports;
//! use wasi::{Access, Config, Preopen, Wasi};
//!
//! # fn main() -> Result<(), wasi::Error> {
//! let wasi = Wasi::new(Config {
//!     args: vec!["app".to_owned(), "--verbose".to_owned()],
//!     preopens: vec![Preopen {
//!         host: std::env::temp_dir(),
//!         guest: "/tmp".to_owned(),
//!         access: Access::ReadOnly,
//!     }],
//!     ..Config::default()
//! })?;
//! let mut imports = Imports::new();
//! wasi.add_to(&mut imports);
//! assert!(imports.get("wasi_snapshot_preview1", "fd_write").is_some());
//! # Ok(())
//! # }
//! ```
//!
//! The functions are host functions like others: what they did during a journaled call is recorded,
//! and a replay gets it from the journal. `docs/wasi.md` says what this means for files, and what
//! happens after the end of a process.
//!
//! `wasi-common` does the work. It knows no runtime, so one implementation serves every engine. Its
//! functions take a whole linear memory, which the contract of engines does not give. So each call
//! has a small memory of its own (`scratch`), with copies of what the function reads and room for
//! what it writes. Every pointer of a guest is checked on the way, and exactly the bytes that WASI
//! wrote are recorded.
//!
//! | file | its job |
//! |---|---|
//! | `config` | what a guest sees of the world |
//! | `world` | the descriptors that the generations share; one call |
//! | `functions` | the functions of preview 1 by what their parameters mean |
//! | `scratch` | the small memory of a call |
//! | `streams` | standard streams that are not those of the process |
//! | `strings` | arguments and environment |
//! | `descriptors` | numbers of descriptors, and those that are lost |
//! | `replayed` | the descriptors of an earlier process, made again from a replay |
//! | `preopens` | the folders, found by the names that the guest knows |
//! | `identity` | whether a path leads to the file that was open |
//! | `clock` | the monotonic clock, which goes on in a new process |
//! | `waiting` | sleeping and polling, in slices between which a deadline can end the call |
//! | `read_only` | folders that cannot be written to |

mod clock;
mod config;
mod descriptors;
mod error;
mod functions;
mod identity;
mod preopens;
mod read_only;
mod replayed;
mod scratch;
mod streams;
mod strings;
mod waiting;
mod world;

pub use config::{Access, Config, Input, Output, Preopen};
pub use error::Error;
pub use world::Wasi;

/// The name of the module that guests import these functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";
