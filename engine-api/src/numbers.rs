//! Calls of numbers: their types in one word, their values in the form that the guest's code takes.

use std::fmt;
use std::num::NonZeroU64;

use crate::{FuncType, Val, ValType};

/// The type of a function whose parameters and results are all numbers, and at most [`Slot::MAX`]
/// each.
///
/// It encodes the type and is not a hash of it: comparing two words is as exact as comparing the
/// lists.
///
/// ```
/// use engine_api::{FuncType, NumericType, ValType};
///
/// let ty = FuncType::new(&[ValType::I32, ValType::F64], &[ValType::I64]);
/// let numeric = ty.numeric().expect("all of these are numbers");
/// assert_eq!((numeric.slots(), numeric.to_func_type()), (2, ty));
/// assert_eq!(FuncType::new(&[ValType::ExternRef], &[]).numeric(), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NumericType {
    /// From the lowest bit: the number of parameters, 4 bits; the number of results, 4 bits; then 2
    /// bits for each parameter up to [`Slot::MAX`], and 2 for each result. The highest bit is
    /// always set, which gives `Option` a niche.
    bits: NonZeroU64,
}

const COUNT_BITS: u32 = 4;
const TYPE_BITS: u32 = 2;
const PARAMS_AT: u32 = 2 * COUNT_BITS;
#[expect(clippy::cast_possible_truncation, reason = "it is 8")]
const RESULTS_AT: u32 = PARAMS_AT + TYPE_BITS * Slot::MAX as u32;

const MARK: u64 = 1 << 63;

const NUMBERS: [ValType; 4] = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];

impl NumericType {
    pub(crate) fn new(params: &[ValType], results: &[ValType]) -> Option<Self> {
        if params.len().max(results.len()) > Slot::MAX {
            return None;
        }
        let list = |types: &[ValType]| {
            types.iter().rev().try_fold(0_u64, |list, ty| {
                let number = NUMBERS.iter().position(|number| number == ty)?;
                Some(list << TYPE_BITS | number as u64)
            })
        };
        let counts = params.len() as u64 | (results.len() as u64) << COUNT_BITS;
        let bits = counts | list(params)? << PARAMS_AT | list(results)? << RESULTS_AT;
        NonZeroU64::new(bits | MARK).map(|bits| Self { bits })
    }

    /// How many slots a call needs. Parameters and results share them, so it is the larger number.
    #[must_use]
    #[inline]
    pub fn slots(self) -> usize {
        self.params_len().max(self.results_len())
    }

    #[inline]
    fn params_len(self) -> usize {
        self.field(0, COUNT_BITS)
    }

    #[inline]
    fn results_len(self) -> usize {
        self.field(COUNT_BITS, COUNT_BITS)
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a field has few bits")]
    fn field(self, at: u32, bits: u32) -> usize {
        (self.bits.get() >> at & ((1 << bits) - 1)) as usize
    }

    fn types(self, at: u32, len: usize) -> impl Iterator<Item = ValType> {
        (at..)
            .step_by(TYPE_BITS as usize)
            .take(len)
            .map(move |at| NUMBERS[self.field(at, TYPE_BITS)])
    }

    /// The types of the parameters.
    pub fn params(self) -> impl Iterator<Item = ValType> {
        self.types(PARAMS_AT, self.params_len())
    }

    /// The types of the results.
    pub fn results(self) -> impl Iterator<Item = ValType> {
        self.types(RESULTS_AT, self.results_len())
    }

    /// The same type as lists of parameters and results.
    #[must_use]
    pub fn to_func_type(self) -> FuncType {
        let list = |types: &mut dyn Iterator<Item = ValType>| types.collect::<Vec<_>>();
        FuncType::new(&list(&mut self.params()), &list(&mut self.results()))
    }
}

impl fmt::Debug for NumericType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NumericType({})", self.to_func_type())
    }
}

/// A place for a number, with the size and form of the values of compiled code: little endian, from
/// the first byte on. The bytes after the number mean nothing.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(16))]
pub struct Slot([u8; 16]);

macro_rules! number {
    ($($number:ty, $with:ident, $bits:ty, $to_bits:expr, $from_bits:expr;)*) => {$(
        impl From<$number> for Slot {
            #[inline]
            fn from(number: $number) -> Self {
                let to_bits: fn($number) -> $bits = $to_bits;
                Self::of_bits(u64::from(to_bits(number)))
            }
        }

        impl Slot {
            #[doc = concat!("Reads the slot as a `", stringify!($number), "`.")]
            #[must_use]
            #[inline]
            pub fn $with(&self) -> $number {
                let from_bits: fn($bits) -> $number = $from_bits;
                // Reads only as many bytes as the guest wrote: a load that is wider than a recent
                // store to the same place stalls the processor.
                from_bits(<$bits>::from_le_bytes(*self.0.first_chunk().expect("there are 16")))
            }
        }
    )*};
}

number! {
    i32, i32, u32, i32::cast_unsigned, u32::cast_signed;
    u32, u32, u32, |bits| bits, |bits| bits;
    i64, i64, u64, i64::cast_unsigned, u64::cast_signed;
    u64, u64, u64, |bits| bits, |bits| bits;
    f32, f32, u32, f32::to_bits, f32::from_bits;
    f64, f64, u64, f64::to_bits, f64::from_bits;
}

impl Slot {
    /// The most parameters, and the most results, that a call by slots can have.
    pub const MAX: usize = 8;

    #[inline]
    fn of_bits(bits: u64) -> Self {
        let mut slot = Self::default();
        slot.0[..8].copy_from_slice(&bits.to_le_bytes());
        slot
    }

    /// A slot with this value, or `None` if the value is not a number.
    #[must_use]
    pub fn of(val: &Val) -> Option<Self> {
        Some(match val {
            Val::I32(value) => Self::from(*value),
            Val::I64(value) => Self::from(*value),
            Val::F32(bits) => Self::from(*bits),
            Val::F64(bits) => Self::from(*bits),
            Val::V128(_) | Val::FuncRef(_) | Val::ExternRef(_) => return None,
        })
    }

    /// Reads the slot as a value of `ty`, or gives `None` if `ty` is not a type of numbers.
    #[must_use]
    pub fn to_val(&self, ty: ValType) -> Option<Val> {
        Some(match ty {
            ValType::I32 => Val::I32(self.i32()),
            ValType::I64 => Val::I64(self.i64()),
            ValType::F32 => Val::F32(self.u32()),
            ValType::F64 => Val::F64(self.u64()),
            ValType::V128 | ValType::FuncRef | ValType::ExternRef => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All lists of up to three numbers, and the longest.
    fn lists() -> Vec<Vec<ValType>> {
        let mut lists = vec![vec![]];
        for _ in 0..3 {
            let longer = lists.iter().flat_map(|list| {
                NUMBERS.map(|ty| list.iter().copied().chain([ty]).collect::<Vec<_>>())
            });
            lists = longer.chain(lists.clone()).collect();
            lists.sort_by_key(|list| format!("{list:?}"));
            lists.dedup();
        }
        lists.push(vec![ValType::F64; Slot::MAX]);
        lists
    }

    #[test]
    fn a_type_comes_back_from_its_word_and_no_two_share_one() {
        let lists = lists();
        assert_eq!(lists.len(), 1 + 4 + 16 + 64 + 1);
        let mut words = std::collections::HashSet::new();
        for params in &lists {
            for results in &lists {
                let ty = FuncType::new(params, results);
                let numeric = ty.numeric().expect("all are numbers");
                assert_eq!(numeric.slots(), params.len().max(results.len()));
                assert_eq!(numeric.to_func_type(), ty);
                assert!(words.insert(numeric), "{ty} has the word of another");
            }
        }
    }

    #[test]
    fn what_is_no_number_or_too_long_has_no_word() {
        for ty in [ValType::V128, ValType::FuncRef, ValType::ExternRef] {
            assert_eq!(FuncType::new(&[ty], &[]).numeric(), None);
            assert_eq!(FuncType::new(&[], &[ValType::I32, ty]).numeric(), None);
        }
        let long = [ValType::I32; Slot::MAX + 1];
        assert_eq!(FuncType::new(&long, &[]).numeric(), None);
        assert_eq!(FuncType::new(&[], &long).numeric(), None);
        assert!(FuncType::default().numeric().is_some());
    }

    #[test]
    fn numbers_come_back_from_their_slots() {
        assert_eq!(Slot::from(-7_i32).i32(), -7);
        assert_eq!(Slot::from(u32::MAX).u64(), u64::from(u32::MAX));
        assert_eq!(Slot::from(i64::MIN).i64(), i64::MIN);
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        assert_eq!(Slot::from(nan).f64().to_bits(), nan.to_bits());
        for val in [
            Val::from(-1),
            Val::from(-1_i64),
            Val::from(0.5_f32),
            Val::from(nan),
        ] {
            let slot = Slot::of(&val).expect("it is a number");
            assert_eq!(slot.to_val(val.ty()), Some(val));
        }
        assert!(Slot::of(&Val::V128(1)).is_none());
        assert!(Slot::default().to_val(ValType::FuncRef).is_none());
    }
}
