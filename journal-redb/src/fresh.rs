//! The parts of a file that were added and never written. The disk has room for them, but keeps a note of
//! which parts have content: a flush after the first write to one has that note to flush too, a second
//! write. So they are filled with zeros, some pages ahead of what is written.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

/// How much is filled at once, in bytes. One flush in many is longer by it.
const CHUNK_BYTES: usize = 256 << 10;
const CHUNK: u64 = CHUNK_BYTES as u64;

static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Ranges that read as zero and were never written, none across the boundary of a chunk.
#[derive(Debug, Default)]
pub(crate) struct Fresh(BTreeMap<u64, u64>);

impl Fresh {
    /// The file has another length.
    pub(crate) fn resize(&mut self, before: u64, len: u64) {
        drop(self.0.split_off(&len));
        if let Some(mut last) = self.0.last_entry() {
            *last.get_mut() = len.min(*last.get());
        }
        let mut start = before;
        while start < len {
            let end = (start / CHUNK + 1).saturating_mul(CHUNK).min(len);
            self.0.insert(start, end);
            start = end;
        }
    }

    /// Before something is written to a range: fills what is fresh of the chunks that it touches.
    ///
    /// # Errors
    ///
    /// Those of `fill`. What was to be filled counts as written.
    pub(crate) fn fill(
        &mut self,
        range: Range<u64>,
        fill: impl Fn(u64, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        // A range that begins before may reach into it.
        while let Some((&start, &end)) = self.0.range(..range.end).next_back()
            && end > range.start
        {
            self.0.remove(&start);
            let bytes = usize::try_from(end - start).map_err(io::Error::other)?;
            fill(start, &ZEROS[..bytes])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The ranges that are filled, as pairs of begin and end.
    fn filled(fresh: &mut Fresh, range: Range<u64>) -> Vec<(u64, u64)> {
        let seen = RefCell::<Vec<(u64, u64)>>::default();
        let note = |start: u64, zeros: &[u8]| {
            assert!(zeros.iter().all(|byte| *byte == 0));
            seen.borrow_mut().push((start, start + zeros.len() as u64));
            Ok(())
        };
        fresh.fill(range, note).unwrap();
        let mut seen = seen.into_inner();
        seen.sort_unstable();
        seen
    }

    #[test]
    fn what_was_added_is_filled_once_by_chunks_and_nothing_else_is() {
        let mut fresh = Fresh::default();
        let begin = CHUNK / 2;
        fresh.resize(begin, 3 * CHUNK + 5);
        assert!(filled(&mut fresh, 0..begin).is_empty());
        assert_eq!(filled(&mut fresh, begin..begin + 1), [(begin, CHUNK)]);
        assert!(filled(&mut fresh, 0..CHUNK).is_empty());
        let across = 2 * CHUNK - 1..3 * CHUNK + 1;
        let chunks = [
            (CHUNK, 2 * CHUNK),
            (2 * CHUNK, 3 * CHUNK),
            (3 * CHUNK, 3 * CHUNK + 5),
        ];
        assert_eq!(filled(&mut fresh, across.clone()), chunks);
        assert!(filled(&mut fresh, across).is_empty());
    }

    #[test]
    fn what_is_cut_off_is_not_filled_and_what_is_added_again_is() {
        let mut fresh = Fresh::default();
        fresh.resize(0, 4 * CHUNK);
        fresh.resize(4 * CHUNK, CHUNK + 7);
        assert!(filled(&mut fresh, CHUNK + 7..4 * CHUNK).is_empty());
        fresh.resize(CHUNK + 7, 2 * CHUNK);
        assert_eq!(
            filled(&mut fresh, CHUNK + 6..2 * CHUNK),
            [(CHUNK, CHUNK + 7), (CHUNK + 7, 2 * CHUNK)]
        );
        assert_eq!(filled(&mut fresh, 0..2 * CHUNK), [(0, CHUNK)]);
    }

    #[test]
    fn a_fill_that_fails_is_not_tried_again() {
        let mut fresh = Fresh::default();
        fresh.resize(0, CHUNK);
        let full = |_, _: &[u8]| Err(io::ErrorKind::StorageFull.into());
        assert!(fresh.fill(0..1, full).is_err());
        assert!(filled(&mut fresh, 0..CHUNK).is_empty());
    }
}
