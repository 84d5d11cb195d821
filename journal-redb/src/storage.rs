//! The operations that a journal needs of a file system.
//!
//! Everything that reaches the disk goes through here. The tests replace it by a disk that fails
//! and loses power.
//!
//! The journal relies on this: the bytes and the length of a file are on the disk when its `sync`
//! has returned, and the names in a folder when that folder's has. Until then any of them may be
//! there or not, and bytes may be torn or zero. A rename within a folder happens as a whole or not
//! at all.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One directory. Names are relative to it, with at most one folder before them; the empty name is
/// the directory itself. Errors are the system's own.
pub(crate) trait Storage: fmt::Debug + Send + Sync {
    /// Opens a file that exists, for reading alone if the journal is only read.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StoredFile>>;

    /// Creates an empty file. Fails if the name is taken.
    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>>;

    /// Creates a folder unless it is there.
    fn create_folder(&self, name: &str) -> io::Result<()>;

    /// Renames a file within its folder, over another file if there is one.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names in a folder, with the lengths of what has them, in bytes.
    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>>;

    /// Waits until the names in a folder are on the disk.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Takes the lock of the directory until the result is dropped. `None` if somebody has it:
    /// one writer, or any number of readers. A reader needs no lock where no writer ever was.
    fn lock(&self, access: Access) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>>;
}

/// An open file.
pub(crate) trait StoredFile: fmt::Debug + Send + Sync {
    fn len(&self) -> io::Result<u64>;

    /// Fills a buffer. Fails if the file ends before.
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of it. If it fails, any part may have been written.
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or adds zeros, for which the disk keeps room if it can.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Waits until the bytes and the length are on the disk.
    fn sync(&self) -> io::Result<()>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// A directory of the system.
#[derive(Debug)]
pub(crate) struct Directory(PathBuf);

impl Directory {
    /// A directory that is there.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Creates a directory where none is, and those around it.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        if !path.is_dir() {
            let around = match path.parent() {
                Some(around) if around != Path::new("") => around,
                _ => Path::new("."),
            };
            fs::create_dir_all(around)?;
            fs::create_dir(path)?;
            File::open(around)?.sync_all()?;
        }
        Ok(Self::new(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        if name.is_empty() {
            self.0.clone()
        } else {
            self.0.join(name)
        }
    }
}

pub(crate) const LOCK: &str = "lock";

impl Storage for Directory {
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn StoredFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(access == Access::Write);
        let path = self.path(name);
        check_file(&path)?;
        Ok(Arc::new(options.open(path)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StoredFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        Ok(Arc::new(options.open(self.path(name))?))
    }

    fn create_folder(&self, name: &str) -> io::Result<()> {
        match fs::create_dir(self.path(name)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name))
    }

    fn list(&self, folder: &str) -> io::Result<Vec<(String, u64)>> {
        let entries = fs::read_dir(self.path(folder))?.map(|entry| {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Ok((name, entry.metadata()?.len()))
        });
        entries.collect()
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder))?.sync_all()
    }

    fn lock(&self, access: Access) -> io::Result<Option<Box<dyn fmt::Debug + Send + Sync>>> {
        let mut options = OpenOptions::new();
        options.read(true);
        if access == Access::Write {
            options.write(true).create(true).truncate(false);
        }
        let path = self.path(LOCK);
        if path.exists() {
            check_file(&path)?;
        }
        let file = match options.open(path) {
            Err(error) if access == Access::Read && error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some(Box::new("a copy without a lock")));
            }
            file => file?,
        };
        let taken = match access {
            Access::Read => file.try_lock_shared(),
            Access::Write => file.try_lock(),
        };
        match taken {
            Ok(()) => Ok(Some(Box::new(Locked(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Refuses what is no file. To open a pipe would wait for somebody at its other end.
fn check_file(path: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_file() {
        Ok(())
    } else {
        Err(io::Error::other("it is not a file"))
    }
}

/// A file that is locked until this is dropped. Closing it is not enough: a process that another
/// thread is just starting has the file too, until it runs its own program.
#[derive(Debug)]
struct Locked(File);

impl Drop for Locked {
    fn drop(&mut self) {
        // If it fails, closing it is what is left.
        let _ = self.0.unlock();
    }
}

impl StoredFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        FileExt::read_exact_at(self, out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let before = StoredFile::len(self)?;
        if len <= before {
            return File::set_len(self, len);
        }
        reserve(self, before, len).inspect_err(|_| {
            // A part of the room may have been taken. The error is the one to report.
            drop(File::set_len(self, before));
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Makes a file longer, and takes room for it at once: what is written later finds it.
#[cfg(target_os = "linux")]
fn reserve(file: &File, before: u64, len: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;

    match fallocate(file, FallocateFlags::empty(), before, len - before) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => File::set_len(file, len),
        result => Ok(result?),
    }
}

#[cfg(not(target_os = "linux"))]
fn reserve(file: &File, _: u64, len: u64) -> io::Result<()> {
    File::set_len(file, len)
}
