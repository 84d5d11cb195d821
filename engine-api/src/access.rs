//! What the host reads and writes in a linear memory: bounds, and bytes that other threads write.

use std::ops::Range;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::Error;

/// For engines: where `len` bytes at `offset` lie in a memory of `size` bytes.
///
/// # Errors
///
/// [`Error::OutOfBounds`].
#[inline]
pub fn memory_range(offset: u64, len: usize, size: u64) -> Result<Range<usize>, Error> {
    let len = len as u64;
    match offset.checked_add(len).filter(|end| *end <= size) {
        Some(end) => {
            let position = |at: u64| usize::try_from(at).expect("it is at most the memory's size");
            Ok(position(offset)..position(end))
        }
        None => Err(Error::OutOfBounds { offset, len, size }),
    }
}

/// For engines: bytes of a shared memory as atomics, whole aligned words in the middle. Guests of
/// other threads may write them meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct AtomicBytes<'a> {
    /// The bytes before the first word.
    pub head: &'a [AtomicU8],
    /// The words.
    pub words: &'a [AtomicU64],
    /// The bytes after the last word.
    pub tail: &'a [AtomicU8],
}

impl AtomicBytes<'_> {
    /// Copies the bytes out into a buffer of their length.
    pub fn read(&self, buffer: &mut [u8]) {
        let (to_head, rest) = buffer.split_at_mut(self.head.len());
        let (to_words, to_tail) = rest.split_at_mut(8 * self.words.len());
        for (to, from) in to_words.as_chunks_mut().0.iter_mut().zip(self.words) {
            *to = from.load(Ordering::Relaxed).to_ne_bytes();
        }
        let ends = self.head.iter().chain(self.tail);
        for (to, from) in to_head.iter_mut().chain(to_tail).zip(ends) {
            *to = from.load(Ordering::Relaxed);
        }
    }

    /// Overwrites the bytes with as many others.
    pub fn write(&self, bytes: &[u8]) {
        let (from_head, rest) = bytes.split_at(self.head.len());
        let (from_words, from_tail) = rest.split_at(8 * self.words.len());
        for (from, to) in from_words.as_chunks().0.iter().zip(self.words) {
            to.store(u64::from_ne_bytes(*from), Ordering::Relaxed);
        }
        let ends = self.head.iter().chain(self.tail);
        for (from, to) in from_head.iter().chain(from_tail).zip(ends) {
            to.store(*from, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_end_within_the_memory_even_if_its_end_overflows() {
        assert_eq!(memory_range(10, 6, 16).ok(), Some(10..16));
        assert_eq!(memory_range(16, 0, 16).ok(), Some(16..16));
        assert!(memory_range(17, 0, 16).is_err());
        assert!(memory_range(10, 7, 16).is_err());
        assert!(memory_range(u64::MAX, 1, 16).is_err());
        assert!(memory_range(u64::MAX - 1, 1, 16).is_err());
    }

    #[test]
    fn bytes_before_between_and_after_words_are_read_and_written() {
        let head = [const { AtomicU8::new(1) }; 3];
        let words = [const { AtomicU64::new(0) }; 2];
        let tail = [const { AtomicU8::new(2) }; 5];
        let bytes = AtomicBytes {
            head: &head,
            words: &words,
            tail: &tail,
        };
        let mut read = [9; 24];
        bytes.read(&mut read);
        assert_eq!(read[..3], [1; 3]);
        assert_eq!(read[3..19], [0; 16]);
        assert_eq!(read[19..], [2; 5]);
        let written: Vec<u8> = (10..34).collect();
        bytes.write(&written);
        bytes.read(&mut read);
        assert_eq!(read[..], written);
    }
}
