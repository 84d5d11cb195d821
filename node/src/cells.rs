//! The numbers of a call, as JavaScript writes and reads them.

use engine_api::{Val, ValType};

/// Bytes of one cell.
pub(crate) const CELL: usize = 8;

/// Cells of 8 bytes, in the machine's byte order: one for each parameter, and later one for each result.
#[derive(Debug)]
pub(crate) struct Cells<'a>(&'a mut [u8]);

/// A place in the staging buffer: where it begins and how many units it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) len: u32,
}

impl<'a> Cells<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    fn bits(&self, at: usize) -> u64 {
        let cells = self.0.as_chunks::<CELL>().0;
        cells.get(at).map_or(0, |cell| u64::from_ne_bytes(*cell))
    }

    fn set(&mut self, at: usize, bits: u64) {
        if let Some(cell) = self.0.as_chunks_mut::<CELL>().0.get_mut(at) {
            *cell = bits.to_ne_bytes();
        }
    }

    /// A cell as a number of 32 bits.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub(crate) fn word(&self, at: usize) -> u32 {
        self.bits(at) as u32
    }

    pub(crate) fn set_word(&mut self, at: usize, word: u32) {
        self.set(at, word.into());
    }

    /// A cell as a value of a type of numbers.
    pub(crate) fn value(&self, at: usize, ty: ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(self.word(at).cast_signed()),
            ValType::I64 => Val::I64(self.bits(at).cast_signed()),
            ValType::F32 => Val::F32(self.word(at)),
            ValType::F64 => Val::F64(self.bits(at)),
            _ => return None,
        })
    }

    pub(crate) fn set_value(&mut self, at: usize, value: &Val) -> bool {
        let bits = match value {
            Val::I32(number) => number.cast_unsigned().into(),
            Val::I64(number) => number.cast_unsigned(),
            Val::F32(bits) => (*bits).into(),
            Val::F64(bits) => *bits,
            _ => return false,
        };
        self.set(at, bits);
        true
    }

    /// A place in one cell: the start below, the length above.
    #[expect(clippy::cast_possible_truncation, reason = "each half is meant")]
    pub(crate) fn span(&self, at: usize) -> Span {
        let bits = self.bits(at);
        Span {
            start: bits as u32,
            len: (bits >> 32) as u32,
        }
    }

    pub(crate) fn set_span(&mut self, at: usize, span: Span) {
        self.set(at, u64::from(span.start) | u64::from(span.len) << 32);
    }
}

impl Span {
    /// The part of a buffer, with units of so many bytes. `None` if it is not inside.
    pub(crate) fn of(self, buffer: &[u8], unit: u32) -> Option<&[u8]> {
        let len = usize::try_from(u64::from(self.len) * u64::from(unit)).ok()?;
        let start = self.start as usize;
        buffer.get(start..start.checked_add(len)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_holds_every_type_of_number() {
        let mut bytes = [0; 16];
        let mut cells = Cells::new(&mut bytes);
        for value in [
            Val::I32(-5),
            Val::I64(i64::MIN),
            Val::from(1.5_f32),
            Val::from(-0.0_f64),
        ] {
            assert!(cells.set_value(1, &value));
            assert_eq!(cells.value(1, value.ty()), Some(value));
        }
        assert_eq!(cells.word(0), 0);
        assert!(!cells.set_value(1, &Val::ExternRef(None)));
    }

    #[test]
    fn a_place_outside_of_the_buffer_is_none() {
        let buffer = [1, 2, 3, 4];
        let of = |start, len, unit| Span { start, len }.of(&buffer, unit);
        assert_eq!(of(1, 3, 1), Some(&buffer[1..]));
        assert_eq!(of(0, 1, 4), Some(&buffer[..]));
        assert_eq!(of(1, 1, 4), None);
        assert_eq!(of(u32::MAX, u32::MAX, 8), None);
    }
}
