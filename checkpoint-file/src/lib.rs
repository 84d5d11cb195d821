//! Snapshots in files.
//!
//! [`write()`] keeps a [`Snapshot`](engine_api::Snapshot) in a file, and [`open`] makes a snapshot
//! of the file, in the same process or another one, for the same module on any engine. The memories
//! are not read into memory: an instance that is restored from the snapshot has them mapped from
//! the file, copy-on-write. What [`open`] costs is the check of their hashes, on all processors:
//! [`Check::Later`] puts it off, and with [`Found`] it runs beside the compilation of the module.
//!
//! # Who must leave the file alone
//!
//! A file is written under another name, synced, made read-only for everybody, and renamed. It is
//! mapped only if it is still so: a regular file that nobody may write to, and that belongs to the
//! user of this process or to the system's (`memory_image::ImageFile::is_private`). Any other file,
//! such as a copy made by `cp`, is copied into sealed memory first: slower, and safe whoever writes
//! to it. Nobody who may write to this process's memory anyway must change or truncate a mapped
//! file. Unlinking and renaming it are harmless.
//!
//! # Layout
//!
//! All numbers are little endian, all hashes blake3.
//!
//! ```text
//! offset    bytes      content
//! 0         16         "wasm-proxy state"
//! 16        4          version of this layout: LAYOUT
//! 20        4          version of the sections' encoding: ENCODING
//! 24        4          Snapshot::FORMAT
//! 28        32         hash of the module's binary form
//! 60        8          length of the file
//! 68        8          end of the memories' contents
//! 76        4 x 40     for each section: 8 bytes of length, 32 of hash
//! 236       32         hash of the 236 bytes before
//! 268                  zeros up to 65,536
//! 65,536               contents of the memories: extents one after the other, each a multiple of
//!                      65,536 bytes; pages of zeros in them may be holes
//! end of contents      section 0: memories
//!                      section 1: globals, tables, segments
//!                      section 2: state of the host, as its `HostState::encode` gives it
//!                      section 3: notes of whoever wrote the file
//! ```
//!
//! Sections 0 and 1 are encoded by postcard (`src/encoding.rs`). Section 0 has a hash of each MiB
//! of a memory's extents. So the hash of the header stands for all of the file: [`Written::hash`].
//!
//! # Stamps
//!
//! Whoever has written a file, or checked it, can put a [stamp](stamp()) beside it: what the system says
//! of it at that moment. While it fits ([`Found::is_untouched`]) nobody has written to the file since,
//! and the check of the contents can wait until after the start. Where there is none, or it does not
//! fit, nothing but time is lost.
//!
//! # What a damaged file does
//!
//! Files are not trusted. A file that is cut, changed, or of another module or version gives an
//! [`Error`] that says which. So does one whose hashes are right and whose content does not fit the
//! module. No length in a file is believed before it is compared with the file's own.

mod contents;
mod encoding;
mod error;
mod fit;
mod header;
mod open;
mod stamp;
mod write;

pub use error::{Error, Part};
pub use header::{ENCODING, LAYOUT};
pub use open::{Check, Found, Inspected, Opened, inspect, open, open_with};
pub use stamp::{STAMP_SUFFIX, stamp};
pub use write::{Written, write, write_renamed};
