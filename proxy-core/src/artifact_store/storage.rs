//! The operations that the artifact directory needs of a file system.
//!
//! Everything that reaches the disk goes through here. The tests replace it by a disk that loses
//! power.
//!
//! The directory relies on this: the bytes of a file are on the disk when its `sync` has returned,
//! and the names in a folder when that folder's has. Until then any of them may be there or not,
//! and bytes may be torn or zero. A rename within a folder happens as a whole or not at all.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// The operations of a file system. Errors are the system's own.
pub(super) trait Storage: fmt::Debug + Send + Sync {
    /// Creates a folder in an existing one.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Creates an empty file for writing. Fails if the name is taken.
    fn create_file(&self, path: &Path) -> io::Result<Box<dyn NewFile>>;

    /// Renames a file within its folder, over another file if there is one.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Looks at the file under a name, without following links.
    fn look(&self, path: &Path) -> io::Result<Found>;

    /// A regular file's first `len_max` bytes.
    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>>;

    /// The paths of everything in a folder.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes a file the most recently used one.
    fn touch(&self, path: &Path) -> io::Result<()>;

    fn now(&self) -> SystemTime;
}

/// A file that has no reader yet.
pub(super) trait NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Waits until what was written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// The result of [`Storage::look`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) is_file: bool,
    /// In bytes.
    pub(super) len: u64,
    /// When it was last used.
    pub(super) used: SystemTime,
}

/// The system's file system.
#[derive(Debug)]
pub(super) struct System;

impl Storage for System {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn create_file(&self, path: &Path) -> io::Result<Box<dyn NewFile>> {
        Ok(Box::new(File::create_new(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn look(&self, path: &Path) -> io::Result<Found> {
        let metadata = fs::symlink_metadata(path)?;
        Ok(Found {
            is_file: metadata.is_file(),
            len: metadata.len(),
            // A system without times evicts by the names, which are as good as random.
            used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        })
    }

    fn read(&self, path: &Path, len_max: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        bytes.reserve_exact(usize::try_from(len_max).map_err(io::Error::other)?);
        File::open(path)?.take(len_max).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.set_modified(self.now())
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
