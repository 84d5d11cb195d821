//! Linear memories that several instances have at once, and host access to any of them.

use std::any::Any;
use std::cell::UnsafeCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use engine_api::{Error, MemoryType, SharedMemory, SharedMemoryBacking};

use crate::runtime::Runtime;
use crate::{convert, traps};

/// The object behind a [`SharedMemory`] of this engine.
pub(crate) struct Backing {
    memory: wasmtime::SharedMemory,
    /// The engine that made it; its code alone knows how the memory is guarded.
    pub(crate) engine: wasmtime::Engine,
}

impl Backing {
    pub(crate) fn memory(&self) -> &wasmtime::SharedMemory {
        &self.memory
    }
}

impl SharedMemoryBacking for Backing {
    fn size(&self) -> u64 {
        self.memory.data_size() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        read(&self.memory, offset, buffer)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        write(&self.memory, offset, bytes)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Makes a shared memory. Address space is reserved for its maximum.
pub(crate) fn new(engine: &Runtime, ty: MemoryType) -> Result<SharedMemory, Error> {
    let unsupported = |what: &str| {
        Err(Error::Unsupported {
            engine: engine.id(),
            what: what.to_owned(),
        })
    };
    if !engine.capabilities().threads {
        return unsupported("shared memories");
    }
    if !ty.shared {
        return unsupported("a shared memory of an unshared type");
    }
    let failed = |error| traps::failed(engine.id(), "make a shared memory", error);
    let wasmtime_type = convert::memory_type(ty).map_err(failed)?;
    let memory = wasmtime::SharedMemory::new(engine.wasmtime(), wasmtime_type).map_err(failed)?;
    let backing = Backing {
        memory,
        engine: engine.wasmtime().clone(),
    };
    Ok(SharedMemory::new(engine.id(), ty, Arc::new(backing)))
}

/// Where `len` bytes at `offset` are in a memory of `size` bytes.
///
/// # Errors
///
/// [`Error::OutOfBounds`].
pub(crate) fn range(offset: u64, len: usize, size: usize) -> Result<std::ops::Range<usize>, Error> {
    let (len, size) = (len as u64, size as u64);
    match offset.checked_add(len) {
        Some(end) if end <= size => {
            let position = |at: u64| usize::try_from(at).expect("it is at most the memory's size");
            Ok(position(offset)..position(end))
        }
        _ => Err(Error::OutOfBounds { offset, len, size }),
    }
}

/// Copies bytes out of a memory that other threads may be writing.
///
/// # Errors
///
/// [`Error::OutOfBounds`].
pub(crate) fn read(
    memory: &wasmtime::SharedMemory,
    offset: u64,
    buffer: &mut [u8],
) -> Result<(), Error> {
    let cells = &memory.data()[range(offset, buffer.len(), memory.data_size())?];
    let (head, words, tail) = atomics(cells);
    let (buffer_head, rest) = buffer.split_at_mut(head.len());
    let (buffer_words, buffer_tail) = rest.split_at_mut(words.len() * WORD);
    for (byte, cell) in buffer_head.iter_mut().zip(head) {
        *byte = cell.load(Ordering::Relaxed);
    }
    for (bytes, word) in buffer_words.chunks_exact_mut(WORD).zip(words) {
        bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
    }
    for (byte, cell) in buffer_tail.iter_mut().zip(tail) {
        *byte = cell.load(Ordering::Relaxed);
    }
    Ok(())
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
    let cells = &memory.data()[range(offset, bytes.len(), memory.data_size())?];
    let (head, words, tail) = atomics(cells);
    let (bytes_head, rest) = bytes.split_at(head.len());
    let (bytes_words, bytes_tail) = rest.split_at(words.len() * WORD);
    for (byte, cell) in bytes_head.iter().zip(head) {
        cell.store(*byte, Ordering::Relaxed);
    }
    for (bytes, word) in bytes_words.chunks_exact(WORD).zip(words) {
        let word_bytes = bytes.try_into().expect("chunks have this length");
        word.store(u64::from_ne_bytes(word_bytes), Ordering::Relaxed);
    }
    for (byte, cell) in bytes_tail.iter().zip(tail) {
        cell.store(*byte, Ordering::Relaxed);
    }
    Ok(())
}

const WORD: usize = size_of::<AtomicU64>();

/// The cells as atomics: whole aligned words in the middle, single bytes around them.
fn atomics(cells: &[UnsafeCell<u8>]) -> (&[AtomicU8], &[AtomicU64], &[AtomicU8]) {
    #[expect(unsafe_code, reason = "cells of a shared memory become atomics")]
    // SAFETY: the cells are initialised bytes of a live shared memory, which neither moves nor
    // shrinks while `cells` borrows it. Every bit pattern is a valid atomic, `UnsafeCell<u8>` and
    // `AtomicU8` have the same layout and interior mutability, and `align_to` gives words only
    // where they are aligned. Guests of other threads access the same bytes by machine
    // instructions, and the host only through this function, that is atomically.
    unsafe {
        let (head, words, tail) = cells.align_to::<AtomicU64>();
        (as_bytes(head), words, as_bytes(tail))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_end_within_the_memory_even_if_its_end_overflows() {
        assert_eq!(range(10, 6, 16).ok(), Some(10..16));
        assert_eq!(range(16, 0, 16).ok(), Some(16..16));
        assert!(range(17, 0, 16).is_err());
        assert!(range(10, 7, 16).is_err());
        assert!(range(u64::MAX, 1, 16).is_err());
        assert!(range(u64::MAX - 1, 1, 16).is_err());
    }
}
