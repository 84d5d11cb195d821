//! Folders that cannot be written to, and the files in them.

use std::any::Any;
use std::io::{IoSliceMut, SeekFrom};
use std::path::PathBuf;

use wasi_common::dir::{OpenResult, ReaddirCursor, ReaddirEntity};
use wasi_common::file::{Advice, FdFlags, FileType, Filestat, OFlags};
use wasi_common::sync::dir::Dir;
use wasi_common::{Error, ErrorExt, SystemTimeSpec, WasiDir, WasiFile};

/// A folder, all folders in it included. What would change something gives `EPERM`.
pub(crate) struct ReadOnlyDir(pub(crate) Dir);

#[wiggle::async_trait]
impl WasiDir for ReadOnlyDir {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn open_file(
        &self,
        symlink_follow: bool,
        path: &str,
        oflags: OFlags,
        read: bool,
        write: bool,
        fdflags: FdFlags,
    ) -> Result<OpenResult, Error> {
        use wasi_common::sync::dir::OpenResult::{Dir as Folder, File};

        if write || oflags.intersects(OFlags::CREATE | OFlags::TRUNCATE) {
            return Err(Error::perm());
        }
        match self
            .0
            .open_file_(symlink_follow, path, oflags, read, false, fdflags)?
        {
            File(file) => Ok(OpenResult::File(Box::new(ReadOnlyFile(Box::new(file))))),
            Folder(folder) => Ok(OpenResult::Dir(Box::new(ReadOnlyDir(folder)))),
        }
    }

    async fn create_dir(&self, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn readdir(
        &self,
        cursor: ReaddirCursor,
    ) -> Result<Box<dyn Iterator<Item = Result<ReaddirEntity, Error>> + Send>, Error> {
        self.0.readdir(cursor).await
    }

    async fn symlink(&self, _: &str, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn remove_dir(&self, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn unlink_file(&self, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn read_link(&self, path: &str) -> Result<PathBuf, Error> {
        self.0.read_link(path).await
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        self.0.get_filestat().await
    }

    async fn get_path_filestat(&self, path: &str, follow: bool) -> Result<Filestat, Error> {
        self.0.get_path_filestat(path, follow).await
    }

    async fn rename(&self, _: &str, _: &dyn WasiDir, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn hard_link(&self, _: &str, _: &dyn WasiDir, _: &str) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn set_times(
        &self,
        _: &str,
        _: Option<SystemTimeSpec>,
        _: Option<SystemTimeSpec>,
        _: bool,
    ) -> Result<(), Error> {
        Err(Error::perm())
    }
}

/// A file of such a folder. It is open for reading alone, but its times could be set nevertheless.
struct ReadOnlyFile(Box<dyn WasiFile>);

#[wiggle::async_trait]
impl WasiFile for ReadOnlyFile {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn pollable(&self) -> Option<rustix::fd::BorrowedFd<'_>> {
        self.0.pollable()
    }

    fn isatty(&self) -> bool {
        self.0.isatty()
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        self.0.get_filetype().await
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        self.0.get_fdflags().await
    }

    async fn set_fdflags(&mut self, flags: FdFlags) -> Result<(), Error> {
        self.0.set_fdflags(flags).await
    }

    async fn get_filestat(&self) -> Result<Filestat, Error> {
        self.0.get_filestat().await
    }

    async fn set_filestat_size(&self, _: u64) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn set_times(
        &self,
        _: Option<SystemTimeSpec>,
        _: Option<SystemTimeSpec>,
    ) -> Result<(), Error> {
        Err(Error::perm())
    }

    async fn advise(&self, offset: u64, len: u64, advice: Advice) -> Result<(), Error> {
        self.0.advise(offset, len, advice).await
    }

    async fn read_vectored<'a>(&self, bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        self.0.read_vectored(bufs).await
    }

    async fn read_vectored_at<'a>(
        &self,
        bufs: &mut [IoSliceMut<'a>],
        offset: u64,
    ) -> Result<u64, Error> {
        self.0.read_vectored_at(bufs, offset).await
    }

    async fn seek(&self, to: SeekFrom) -> Result<u64, Error> {
        self.0.seek(to).await
    }

    async fn peek(&self, buf: &mut [u8]) -> Result<u64, Error> {
        self.0.peek(buf).await
    }

    fn num_ready_bytes(&self) -> Result<u64, Error> {
        self.0.num_ready_bytes()
    }
}
