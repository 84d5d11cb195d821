//! Linear memories that several instances share.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use crate::{EngineId, Error, MemoryType};

/// A shared linear memory of one engine; see [`crate::Engine::shared_memory`]. Clones are the same
/// memory.
#[derive(Clone)]
pub struct SharedMemory {
    ty: MemoryType,
    engine: EngineId,
    backing: Arc<dyn SharedMemoryBacking>,
}

/// The engine's side of a [`SharedMemory`].
pub trait SharedMemoryBacking: Send + Sync {
    /// The size in bytes at this moment, readable from any thread.
    fn size(&self) -> u64;

    /// See [`SharedMemory::read`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`].
    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error>;

    /// See [`SharedMemory::write`].
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`].
    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// The engine's own object, for [`SharedMemory::backing`].
    fn as_any(&self) -> &dyn Any;
}

impl SharedMemory {
    /// For engines: wraps `backing`.
    #[must_use]
    pub fn new(engine: EngineId, ty: MemoryType, backing: Arc<dyn SharedMemoryBacking>) -> Self {
        Self {
            ty,
            engine,
            backing,
        }
    }

    /// The type it was made with.
    #[must_use]
    pub fn ty(&self) -> MemoryType {
        self.ty
    }

    /// The engine that made it. Only its instances can import the memory.
    #[must_use]
    pub fn engine(&self) -> EngineId {
        self.engine
    }

    /// The size in bytes at this moment.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.backing.size()
    }

    /// Copies bytes out. Other threads may be writing: each byte copied was there at some moment.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], with nothing copied.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.backing.read(offset, buffer)
    }

    /// Copies bytes in.
    ///
    /// # Errors
    ///
    /// [`Error::OutOfBounds`], with nothing written.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.backing.write(offset, bytes)
    }

    /// For engines: the object given to [`SharedMemory::new`], if it is a `T`.
    #[must_use]
    pub fn backing<T: Any>(&self) -> Option<&T> {
        self.backing.as_any().downcast_ref()
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("ty", &self.ty)
            .field("engine", &self.engine)
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}
