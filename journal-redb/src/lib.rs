//! A durable journal: the storage trait of `proxy-core` on [redb](https://www.redb.org).
//!
//! ```
//! use journal_redb::RedbJournal;
//! use proxy_core::{Flush, Identity, JournalStore, Position};
//!
//! # fn main() -> Result<(), proxy_core::StoreError> {
//! # let scratch = tempfile::tempdir().expect("a folder");
//! # let path = scratch.path().join("journal");
//! let identity = Identity { module: [0; 32], notes: Vec::new() };
//! let journal = RedbJournal::create(&path, identity)?;
//! let head = journal.head()?;
//! journal.append(head.epoch, head.position, &[b"a record"], Flush::Now)?;
//! drop(journal);
//!
//! let journal = RedbJournal::open(&path)?;
//! assert_eq!(journal.read_after(Position::ZERO, 1 << 20)?[0].bytes, b"a record");
//! # Ok(())
//! # }
//! ```
//!
//! What is in the directory:
//!
//! ```text
//! DIR/journal.redb   the records, chained by hashes
//! DIR/manifest       what the journal is, and its head when it was last opened or truncated
//! DIR/watermark      how far it was acknowledged since
//! DIR/objects/H      records above 64 KiB; H is their blake3, in hexadecimal
//! DIR/checkpoints/   files of checkpoints, which the caller writes
//! DIR/lock           locked by the owner
//! ```
//!
//! An acknowledged record is read as it was appended, or reading it is an error: an empty, older,
//! foreign or damaged journal is told apart by [`StoreError`](proxy_core::StoreError), and refused
//! without being changed. It takes a Unix system. `docs/durability.md` has the layout, and what each failure gives.
//!
//! | file | job |
//! |---|---|
//! | `journal.rs` | the public face: one owner, one lock, the contract of the trait |
//! | `state.rs` | an open journal behind that lock: every change of it |
//! | `opening.rs` | what must hold of a directory before it is a journal |
//! | `records.rs` | records in redb |
//! | `staged.rs` | the file under redb, whose changes can be held back |
//! | `manifest.rs`, `watermark.rs` | the head kept outside of redb |
//! | `objects.rs` | large records |
//! | `files.rs`, `bytes.rs`, `storage.rs` | names and whole files; reading bytes; the file system |
//! | `copying.rs`, `salvage.rs` | a journal made of another's records; what is left of a damaged one |
//! | `trouble.rs` | what went wrong in writing: no room, failed, damaged |

mod bytes;
mod copying;
mod files;
mod fresh;
mod journal;
mod manifest;
mod objects;
mod opening;
mod records;
mod salvage;
mod staged;
mod state;
mod storage;
mod trouble;
mod watermark;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use copying::{JournalCopy, Origin};
pub use journal::RedbJournal;
pub use salvage::{Salvaged, salvage};
