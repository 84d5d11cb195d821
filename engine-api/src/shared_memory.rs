//! Linear memories that several instances share.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

    /// See [`SharedMemory::discard`].
    fn discard(&self) -> bool;

    /// The engine's own object, for [`SharedMemory::backing`].
    fn as_any(&self) -> &dyn Any;
}

/// For engines: which instances have a shared memory. With it an engine finds the moments at which
/// a memory may be moved into an image: nobody but the instance that it captures can reach it.
#[derive(Debug, Default)]
pub struct Attachments(RwLock<usize>);

/// For engines: an instance has the memory for as long as this exists.
#[derive(Debug)]
pub struct Attachment(Arc<Attachments>);

/// For engines: until it is dropped, no further instance gets the memory, and no handle accesses
/// it.
#[derive(Debug)]
pub struct Held<'a>(#[expect(dead_code, reason = "a guard")] RwLockWriteGuard<'a, usize>);

/// For engines: until it is dropped, the memory is not held, so a handle may access it.
#[derive(Debug)]
pub struct Access<'a>(#[expect(dead_code, reason = "a guard")] RwLockReadGuard<'a, usize>);

impl Attachments {
    /// One more instance gets the memory. Waits while it is held.
    #[must_use]
    pub fn attach(self: &Arc<Self>) -> Attachment {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) += 1;
        Attachment(Arc::clone(self))
    }

    /// A handle of the host accesses the memory. Waits while it is held.
    #[must_use]
    pub fn access(&self) -> Access<'_> {
        Access(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Holds the memory, if exactly this many instances have it. Waits for accesses to end.
    #[must_use]
    pub fn hold(&self, instances: usize) -> Option<Held<'_>> {
        let attached = self.0.write().unwrap_or_else(PoisonError::into_inner);
        (*attached == instances).then_some(Held(attached))
    }
}

impl Attachment {
    /// All that have the memory.
    #[must_use]
    pub fn all(&self) -> &Arc<Attachments> {
        &self.0
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        *self.0.0.write().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
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

    /// Gives the memory's pages back to the system, a few MiB at a time, and returns whether it did:
    /// not while an instance has the memory. The content is unspecified afterwards.
    #[must_use]
    pub fn discard(&self) -> bool {
        self.backing.discard()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_memory_is_held_for_the_instances_that_have_it_and_no_others() {
        let attachments = Arc::new(Attachments::default());
        assert!(attachments.hold(0).is_some() && attachments.hold(1).is_none());
        let one = attachments.attach();
        assert!(one.all().hold(1).is_some());
        let other = attachments.attach();
        assert!(one.all().hold(1).is_none());
        drop(other);
        assert!(one.all().hold(1).is_some());
        drop(one);
        drop(attachments.access());
        assert!(attachments.hold(0).is_some());
    }

    #[test]
    fn nobody_comes_while_a_memory_is_held() {
        let attachments = Arc::new(Attachments::default());
        let held = attachments.hold(0).unwrap();
        let coming = Arc::clone(&attachments);
        let comes = std::thread::spawn(move || {
            drop(coming.access());
            drop(coming.attach());
        });
        // It may not have begun to wait, so this can only miss a fault, not make one up.
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!comes.is_finished());
        drop(held);
        comes.join().unwrap();
    }
}
