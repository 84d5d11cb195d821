//! Standard streams that are not those of the process. Like pipes they have no offset.

use std::any::Any;
use std::io::{self, IoSlice, IoSliceMut, Read, SeekFrom, Write};
use std::sync::{Mutex, PoisonError};

use wasi_common::file::{FdFlags, FileType};
use wasi_common::{Error, ErrorExt, WasiFile};

/// A stream that a guest reads from.
pub(crate) struct Incoming<R>(pub(crate) Mutex<R>);

/// A stream that a guest writes to. What it writes is taken whole.
pub(crate) struct Outgoing<W>(pub(crate) Mutex<W>);

#[wiggle::async_trait]
impl<R: Read + Send + 'static> WasiFile for Incoming<R> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(FileType::Pipe)
    }

    async fn read_vectored<'a>(&self, bufs: &mut [IoSliceMut<'a>]) -> Result<u64, Error> {
        let mut reader = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(reader.read_vectored(bufs)? as u64)
    }

    async fn seek(&self, _: SeekFrom) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }
}

#[wiggle::async_trait]
impl<W: Write + Send + 'static> WasiFile for Outgoing<W> {
    fn as_any(&self) -> &dyn Any {
        self
    }

    async fn get_filetype(&self) -> Result<FileType, Error> {
        Ok(FileType::Pipe)
    }

    async fn get_fdflags(&self) -> Result<FdFlags, Error> {
        Ok(FdFlags::APPEND)
    }

    async fn write_vectored<'a>(&self, bufs: &[IoSlice<'a>]) -> Result<u64, Error> {
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = || -> io::Result<usize> {
            for piece in bufs {
                writer.write_all(piece)?;
            }
            writer.flush()?;
            Ok(bufs.iter().map(|piece| piece.len()).sum())
        };
        Ok(written()? as u64)
    }

    async fn seek(&self, _: SeekFrom) -> Result<u64, Error> {
        Err(Error::seek_pipe())
    }
}
