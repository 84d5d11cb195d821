//! The parts of an image, and where each is kept.

/// A part of an image. Offsets and lengths are in bytes, and whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent<F> {
    /// The offset in the memory.
    pub(crate) start: usize,
    /// The length, which is never zero.
    pub(crate) len: usize,
    /// The file and the offset there, or `None` for zeros.
    pub(crate) source: Option<(F, u64)>,
}

impl<F: Clone> Extent<F> {
    pub(crate) fn end(&self) -> usize {
        self.start + self.len
    }

    /// The part of it between the offsets `from` and `to`.
    pub(crate) fn part(&self, from: usize, to: usize) -> Option<Self> {
        let (start, end) = (self.start.max(from), self.end().min(to));
        (start < end).then(|| Self {
            start,
            len: end - start,
            source: self
                .source
                .as_ref()
                .map(|(file, offset)| (file.clone(), offset + (start - self.start) as u64)),
        })
    }
}

/// Lays `newer` over `older`. Both are in order and without overlaps.
pub(crate) fn overlay<F: Clone>(older: &[Extent<F>], newer: &[Extent<F>]) -> Vec<Extent<F>> {
    let mut result = Vec::with_capacity(older.len() + 2 * newer.len());
    let mut hidden = newer.iter().peekable();
    for extent in older {
        let mut at = extent.start;
        while at < extent.end() {
            // A cover that ends before here hides nothing more.
            while hidden.next_if(|cover| cover.end() <= at).is_some() {}
            let (gap_end, next) = match hidden.peek() {
                Some(cover) if cover.start < extent.end() => (cover.start.max(at), cover.end()),
                _ => (extent.end(), extent.end()),
            };
            result.extend(extent.part(at, gap_end));
            at = next;
        }
    }
    result.extend_from_slice(newer);
    result.sort_by_key(|extent| extent.start);
    result
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Extents in order, from gaps and lengths.
    fn runs(shape: &[(usize, usize)], file: u8) -> Vec<Extent<u8>> {
        let mut at = 0;
        let run = |(gap, len): &(usize, usize)| {
            let start = at + gap;
            at = start + len;
            Extent {
                start,
                len: *len,
                source: (len % 3 != 0).then_some((file, 1000 + start as u64)),
            }
        };
        shape.iter().map(run).collect()
    }

    /// The source of each byte, with file 0 for zeros.
    fn flat(extents: &[Extent<u8>]) -> Vec<Option<(u8, u64)>> {
        let mut bytes = vec![None; 200];
        for extent in extents {
            for position in 0..extent.len {
                let source = extent.source;
                bytes[extent.start + position] =
                    Some(source.map_or((0, 0), |(file, offset)| (file, offset + position as u64)));
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn the_newer_hides_the_older_and_nothing_else(
            older in proptest::collection::vec((0_usize..5, 1_usize..9), 0..12),
            newer in proptest::collection::vec((0_usize..5, 1_usize..9), 0..12),
        ) {
            let (older, newer) = (runs(&older, 1), runs(&newer, 2));
            let both = overlay(&older, &newer);
            let (below, above) = (flat(&older), flat(&newer));
            let expected: Vec<_> = above.iter().zip(&below).map(|(new, old)| new.or(*old)).collect();
            prop_assert_eq!(flat(&both), expected);
            for pair in both.windows(2) {
                prop_assert!(pair[0].end() <= pair[1].start);
            }
        }
    }
}
