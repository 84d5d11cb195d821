//! Journals on a disk, and proxies that keep theirs there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use journal_redb::RedbJournal;
use proxy_core::{Builder, Durability, Error, Event, Identity, Policy, Proxy, Recovered};
use tempfile::TempDir;

/// A journal of a module in a folder of its own, which goes with it. No process has it open.
#[derive(Debug)]
pub struct JournalFolder {
    scratch: TempDir,
}

impl JournalFolder {
    /// A new journal for a module, in the binary format, with a policy, as the text of a file.
    #[must_use]
    #[track_caller]
    pub fn of(wasm: &[u8], policy: &str) -> Self {
        let folder = Self::empty();
        create(&folder.path(), wasm, policy);
        folder
    }

    fn empty() -> Self {
        let scratch = tempfile::tempdir();
        Self {
            scratch: scratch.unwrap_or_else(|error| panic!("no folder for a journal: {error}")),
        }
    }

    /// Where the journal is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("journal")
    }

    /// The journal, which nobody else has open.
    #[must_use]
    #[track_caller]
    pub fn open(&self) -> Arc<RedbJournal> {
        let opened = RedbJournal::open(self.path());
        Arc::new(opened.unwrap_or_else(|error| panic!("{error}")))
    }

    /// What is left if the process that has the journal is killed now. Nobody may be writing.
    #[must_use]
    #[track_caller]
    pub fn killed(&self) -> Self {
        let left = Self::empty();
        copy(&self.path(), &left.path()).unwrap_or_else(|error| panic!("cannot copy: {error}"));
        left
    }

    /// A proxy that keeps its journal here, and what its state was made again from, unless the
    /// journal was empty.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    #[track_caller]
    pub fn try_proxy(&self, builder: Builder) -> Result<(Proxy, Option<Recovered>), Error> {
        let recovered = Arc::new(Mutex::new(None));
        let seen = Arc::clone(&recovered);
        let proxy = builder
            .journal(self.open(), Durability::Durable)
            .on_event(move |event| {
                if let Event::Recovered(recovered) = event {
                    *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(*recovered);
                }
            })
            .build()?;
        let recovered = *recovered.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((proxy, recovered))
    }

    /// A proxy that begins a journal here.
    #[must_use]
    #[track_caller]
    pub fn begin(&self, builder: Builder) -> Proxy {
        let made = self.try_proxy(builder);
        let (proxy, recovered) = made.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(recovered, None, "the journal is not empty");
        proxy
    }

    /// A proxy with the state that the journal here has.
    #[must_use]
    #[track_caller]
    pub fn recover(&self, builder: Builder) -> (Proxy, Recovered) {
        let made = self.try_proxy(builder);
        let (proxy, recovered) = made.unwrap_or_else(|error| panic!("{error}"));
        (
            proxy,
            recovered.unwrap_or_else(|| panic!("the journal is empty")),
        )
    }
}

/// A hash chain in the text format. Calls of `step` are linked; `leak` adds pages that are written to
/// and never used, and traps where there are none; `fill` makes state of so many MiB.
pub const LINKS: &str = r#"(module
    (memory 1)
    (global $hash (mut i64) (i64.const 0))
    (func $grow (param $pages i32)
        (local $at i32)
        (local.set $at (memory.grow (local.get $pages)))
        (if (i32.eq (local.get $at) (i32.const -1)) (then (unreachable)))
        (memory.fill
            (i32.shl (local.get $at) (i32.const 16))
            (i32.const 0x5a)
            (i32.shl (local.get $pages) (i32.const 16))))
    (func (export "leak") (param i32) (call $grow (local.get 0)))
    (func (export "fill") (param i32) (call $grow (i32.shl (local.get 0) (i32.const 4))))
    (func (export "step") (param $id i64) (param $arg i64) (result i64)
        (global.set $hash
            (i64.rotl
                (i64.mul
                    (i64.xor (global.get $hash) (local.get $id))
                    (i64.const 0x9e3779b97f4a7c15))
                (i64.const 23)))
        (global.set $hash
            (i64.mul
                (i64.add (i64.xor (global.get $hash) (local.get $arg)) (i64.const 0x2545f491))
                (i64.const 0xd6e8feb86659fd93)))
        (global.get $hash))
    (func (export "value") (result i64) (global.get $hash)))"#;

/// The policy of [`LINKS`]: `step` and `fill` make the state, everything else is pure.
pub const LINKS_POLICY: &str = "[[export]]\nmatch = \"{step,fill}\"\nrole = \"mutate\"\n\
                                [[export]]\nmatch = \"*\"\nrole = \"pure\"";

/// What [`LINKS`] has after a step.
#[must_use]
pub fn link(hash: u64, id: u64, arg: u64) -> u64 {
    let mixed = (hash ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed.rotate_left(23) ^ arg).wrapping_add(0x2545_f491);
    mixed.wrapping_mul(0xd6e8_feb8_6659_fd93)
}

/// Makes an empty journal in a folder that is not there yet.
#[track_caller]
pub fn create(path: &Path, wasm: &[u8], policy: &str) {
    let policy: Policy = policy
        .parse()
        .unwrap_or_else(|error| panic!("{error}\n{policy}"));
    let identity = Identity::of(wasm, &policy).unwrap_or_else(|error| panic!("{error}"));
    let made = RedbJournal::create(path, identity).and_then(RedbJournal::close);
    made.unwrap_or_else(|error| panic!("{error}"));
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}
