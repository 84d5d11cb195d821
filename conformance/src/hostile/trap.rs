//! Guests that trap, in every way that needs no host.

use engine_api::Trap;

use super::Ending::{Refused, Returned, Trapped};
use super::{Case, with_fine};

macro_rules! traps {
    ($($name:literal: $text:literal => $trap:ident;)*) => {
        &[$(Case {
            name: $name,
            module: |_| with_fine($text),
            endings: &[Trapped(Trap::$trap)],
        },)*
        Case {
            name: "misaligned-atomic",
            module: |_| with_fine(
                "(memory (export \"shared\") 1 1 shared) (func (export \"attack\")
                    (drop (i32.atomic.load (i32.const 1))))",
            ),
            endings: &[Trapped(Trap::UnalignedAtomic), Refused],
        },
        Case {
            name: "nan-payload",
            module: |_| with_fine(
                "(func $add (param f32 f32) (result f32) (f32.add (local.get 0) (local.get 1)))
                 (func (export \"attack\")
                    (if (i32.ne
                            (i32.and (i32.const 0x7fffffff) (i32.reinterpret_f32 (call $add
                                (f32.reinterpret_i32 (i32.const 0xffa00001))
                                (f32.const 1))))
                            (i32.const 0x7fc00000))
                        (then unreachable)))",
            ),
            endings: &[Returned],
        },
        Case {
            name: "relaxed-simd",
            module: |_| with_fine(
                "(func (export \"attack\") (drop (f32x4.relaxed_madd
                    (v128.const i64x2 0 0) (v128.const i64x2 0 0) (v128.const i64x2 0 0))))",
            ),
            endings: &[Refused],
        }]
    };
}

pub(super) const CASES: &[Case] = traps! {
    "unreachable": "(func (export \"attack\") unreachable)" => Unreachable;
    "division-by-zero": "(func $d (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
        (func (export \"attack\") (call $d (i32.const 0)))" => IntegerDivisionByZero;
    "division-that-overflows":
        "(func $d (param i32) (drop (i32.div_s (i32.const 0x80000000) (local.get 0))))
        (func (export \"attack\") (call $d (i32.const -1)))" => IntegerOverflow;
    "conversion-of-nan": "(func $c (param f64) (drop (i32.trunc_f64_s (local.get 0))))
        (func (export \"attack\") (call $c (f64.const nan)))" => BadConversionToInteger;
    "conversion-that-overflows": "(func $c (param f64) (drop (i32.trunc_f64_s (local.get 0))))
        (func (export \"attack\") (call $c (f64.const 1e300)))" => IntegerOverflow;
    "call-null": "(type $t (func)) (table 1 funcref)
        (func (export \"attack\") (call_indirect (type $t) (i32.const 0)))" => IndirectCallToNull;
    "call-outside-the-table": "(type $t (func)) (table 1 funcref)
        (func (export \"attack\") (call_indirect (type $t) (i32.const -1)))" => TableOutOfBounds;
    "call-of-another-signature":
        "(type $t (func (param i64))) (table funcref (elem $f)) (func $f)
        (func (export \"attack\") (call_indirect (type $t) (i64.const 0) (i32.const 0)))"
        => BadSignature;
    "load-outside-the-memory": "(memory 1)
        (func (export \"attack\") (drop (i64.load offset=0xffffffff (i32.const -1))))"
        => MemoryOutOfBounds;
    "fill-outside-the-memory": "(memory 1) (func (export \"attack\")
        (memory.fill (i32.const 1) (i32.const 7) (i32.const -1)))" => MemoryOutOfBounds;
    "init-outside-the-data": "(memory 1) (data $d \"abc\") (func (export \"attack\")
        (memory.init $d (i32.const 0) (i32.const 2) (i32.const 2)))" => MemoryOutOfBounds;
};
