//! Linear memories that several instances share, and the host's access to them.

use std::any::Any;
use std::cell::UnsafeCell;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64};

use engine_api::{
    AtomicBytes, Attachments, Error, MemoryType, SharedMemory, SharedMemoryBacking, memory_range,
};
use memory_image::Region;

use crate::settings::Runtime;
use crate::{convert, traps};

/// The object behind a [`SharedMemory`] of this engine.
pub(crate) struct Backing {
    pub(crate) memory: wasmtime::SharedMemory,
    /// The engine that made it. Only code of this engine matches the memory's guard pages.
    pub(crate) engine: wasmtime::Engine,
    /// The instances that have it.
    pub(crate) attachments: Arc<Attachments>,
}

impl SharedMemoryBacking for Backing {
    fn size(&self) -> u64 {
        self.memory.data_size() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let _access = self.attachments.access();
        read(&self.memory, offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let _access = self.attachments.access();
        write(&self.memory, offset, bytes)
    }

    fn discard(&self) -> bool {
        let Some(_held) = self.attachments.hold(0) else {
            return false;
        };
        let Ok(region) = region(&self.memory) else {
            return false;
        };
        #[expect(unsafe_code, reason = "the memory's pages are given back; see SAFETY")]
        // SAFETY: `region` is the whole of a memory in a reservation of its own. No instance has
        // it, and while it is held none gets it and no handle accesses it.
        unsafe {
            memory_image::discard(region);
        }
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Makes a shared memory, and reserves address space for its maximum.
pub(crate) fn new(engine: &Runtime, ty: MemoryType) -> Result<SharedMemory, Error> {
    if !engine.capabilities().threads {
        return Err(engine.unsupported("shared memories"));
    }
    if !ty.shared {
        return Err(engine.unsupported("a shared memory of an unshared type"));
    }
    let failed = |error| traps::failed(engine.id(), "make a shared memory", error);
    let wasmtime_type = convert::memory_type(ty).map_err(failed)?;
    let memory = wasmtime::SharedMemory::new(&engine.engine, wasmtime_type).map_err(failed)?;
    let backing = Backing {
        memory,
        engine: engine.engine.clone(),
        attachments: Arc::default(),
    };
    Ok(SharedMemory::new(engine.id(), ty, Arc::new(backing)))
}

/// Where a memory lies at this moment.
pub(crate) fn region(memory: &wasmtime::SharedMemory) -> Result<Region, Error> {
    let bytes = memory.data();
    Ok(Region::new(NonNull::from(bytes).cast(), bytes.len())?)
}

/// Copies bytes out of a memory to which other threads may be writing.
///
/// # Errors
///
/// [`Error::OutOfBounds`].
pub(crate) fn read(
    memory: &wasmtime::SharedMemory,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), Error> {
    atomics(memory, offset, buffer.len()).map(|bytes| bytes.read(buffer))
}

/// Copies bytes into a memory that other threads may be using.
///
/// # Errors
///
/// [`Error::OutOfBounds`].
pub(crate) fn write(
    memory: &wasmtime::SharedMemory,
    offset: u64,
    bytes: &[u8],
) -> Result<(), Error> {
    atomics(memory, offset, bytes.len()).map(|to| to.write(bytes))
}

/// The bytes of an access, as atomics.
fn atomics(
    memory: &wasmtime::SharedMemory,
    offset: u64,
    len: usize,
) -> Result<AtomicBytes<'_>, Error> {
    let cells = &memory.data()[memory_range(offset, len, memory.data_size() as u64)?];
    #[expect(unsafe_code, reason = "cells of a shared memory become atomics")]
    // SAFETY: the cells are initialised bytes of a live shared memory, which neither moves nor
    // shrinks while `cells` borrows it. Every bit pattern is a valid atomic, `UnsafeCell<u8>` and
    // `AtomicU8` have the same layout and interior mutability, and `align_to` gives words only
    // where they are aligned. Guests of other threads access the same bytes by machine
    // instructions, and the host only through this function, that is atomically.
    unsafe {
        let (head, words, tail) = cells.align_to::<AtomicU64>();
        Ok(AtomicBytes {
            head: as_bytes(head),
            words,
            tail: as_bytes(tail),
        })
    }
}

/// # Safety
///
/// The cells are accessed by nothing but atomics and guests.
#[expect(unsafe_code, reason = "cells of a shared memory become atomics")]
unsafe fn as_bytes(cells: &[UnsafeCell<u8>]) -> &[AtomicU8] {
    // SAFETY: same length, layout and lifetime; the rest is the caller's promise.
    unsafe { std::slice::from_raw_parts(cells.as_ptr().cast(), cells.len()) }
}
