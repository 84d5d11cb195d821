//! A key-value store. Nothing leaks: what grows the memory is fragmentation, as in a long-lived database
//! whose small values outlive their large neighbours.
//!
//! Objects are raw pointers, 0 is "none": an export given 0 returns 0. They depend on each other in the
//! two ways that matter to a journal: a snapshot copies its store, and a view goes on reading the store
//! that it was made from, also after the store was freed.

mod snapshot;
mod store;
mod view;

pub use snapshot::*;
pub use store::*;
pub use view::*;
