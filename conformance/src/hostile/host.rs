//! Guests that abuse host functions.

use engine_api::Trap;

use super::Ending::{HostFailed, HostPanicked, Trapped};
use super::{Case, with_fine};

/// A guest that gives the host this pointer and this length.
fn taking(pointer: u32, len: u32) -> Vec<u8> {
    with_fine(&format!(
        "(import \"env\" \"take\" (func $take (param i32 i32)))
         (memory (export \"memory\") 1)
         (func (export \"attack\") (call $take (i32.const {pointer}) (i32.const {len})))"
    ))
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "pointer-that-wraps",
        module: |_| taking(0xffff_fff0, 0x20),
        endings: &[HostFailed],
    },
    Case {
        name: "length-of-4-gib",
        module: |_| taking(1, u32::MAX),
        endings: &[HostFailed],
    },
    Case {
        name: "pointer-at-the-end",
        module: |_| taking(65_536, 1),
        endings: &[HostFailed],
    },
    Case {
        name: "host-that-panics",
        module: |_| {
            with_fine(
                "(import \"env\" \"panic\" (func $panic))
                 (func (export \"attack\") (call $panic))",
            )
        },
        endings: &[HostPanicked, HostFailed],
    },
    Case {
        name: "host-that-panics-in-start",
        module: |_| {
            with_fine(
                "(import \"env\" \"panic\" (func $panic))
                 (start $panic) (func (export \"attack\"))",
            )
        },
        endings: &[HostPanicked, HostFailed],
    },
    Case {
        name: "host-that-calls-back-for-ever",
        module: |_| {
            with_fine(
                "(import \"env\" \"again\" (func $again))
                 (func (export \"attack\") (call $again))",
            )
        },
        endings: &[Trapped(Trap::StackOverflow)],
    },
];
