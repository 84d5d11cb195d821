//! What the JavaScript that wasm-bindgen emitted says of a module's exports.
//!
//! A module of wasm-bindgen's has numbers for all that its exports take and give. Its *glue*, the
//! JavaScript beside it, turns them into texts, buffers, objects and values, and says so plainly:
//! which function belongs to which class, what is passed as a pointer and a length, who frees it,
//! and what is an error. This crate reads that. It knows neither the module nor a policy.
//!
//! ```
//! use glue::{Glue, Passed};
//!
//! let glue = Glue::read(
//!     "class Counter {
//!          free() { const ptr = this.__destroy_into_raw(); wasm.__wbg_counter_free(ptr, 0); }
//!          add(n) { wasm.counter_add(this.__wbg_ptr, n); }
//!      }",
//! )?;
//! let add = glue.members.iter().find(|member| member.export == "counter_add").unwrap();
//! assert_eq!(add.class.as_deref(), Some("Counter"));
//! assert_eq!(add.params[1].passed, Passed::Plain);
//! # Ok::<(), glue::Error>(())
//! ```
//!
//! All targets of wasm-bindgen are read (bundler, nodejs, web, no-modules), from 0.2.50 on.
//!
//! | file | its job |
//! |---|---|
//! | `script`, `parse`, `tree` | from a file to a small tree, by a parser of JavaScript |
//! | `collect` | the walk over the file: classes, functions, imports |
//! | `body`, `member` | one function: what it passes to an export, and what it makes of the results |
//! | `names` | the glue's helpers by their names |
//! | `docs`, `types` | the types in comments, and in `.d.ts` files |
//! | `model` | what is found |

mod body;
mod collect;
mod docs;
mod error;
mod member;
mod model;
mod names;
mod parse;
mod script;
#[cfg(test)]
mod tests;
mod tree;
mod types;

pub use error::Error;
pub use model::{
    Cast, Closure, Coerced, Elements, Glue, Member, MemberKind, NumberType, Outcome, Param, Passed,
    Services, Slot, StackPointer, Taken,
};
pub use types::Types;

impl Glue {
    /// Reads a file of glue.
    ///
    /// # Errors
    ///
    /// [`Error::Syntax`] if it is not JavaScript, [`Error::TooLarge`] and [`Error::TooDeep`] if it
    /// is nothing that wasm-bindgen emits, and [`Error::NoGlue`] if no function in it calls an
    /// export.
    pub fn read(source: &str) -> Result<Self, Error> {
        let glue = collect::collect(source, &parse::parse(source)?);
        if glue.members.is_empty() {
            return Err(Error::NoGlue);
        }
        Ok(glue)
    }
}
