//! Guests that take the memory.

use engine_api::Trap;

use super::Ending::{OutOfMemory, Refused, Returned, Trapped};
use super::{Case, with_fine};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "grow-to-maximum-in-start",
        module: |_| {
            with_fine(
                "(memory 1)
                 (func $start (drop (memory.grow (i32.const 65535))))
                 (start $start)
                 (func (export \"attack\")
                    (if (i32.ne (memory.size) (i32.const 1)) (then unreachable)))",
            )
        },
        endings: &[Returned],
    },
    Case {
        name: "grow-forever",
        module: |_| {
            with_fine(
                "(memory 1) (func (export \"attack\") (loop
                    (drop (memory.grow (i32.const 1))) (br 0)))",
            )
        },
        endings: &[Trapped(Trap::DeadlineExceeded)],
    },
    Case {
        name: "grow-and-touch-every-page",
        module: |_| {
            with_fine(
                "(memory 1) (func (export \"attack\") (local i32)
                    (block (loop
                        (local.set 0 (memory.grow (i32.const 16)))
                        (br_if 1 (i32.eq (local.get 0) (i32.const -1)))
                        (memory.fill
                            (i32.mul (local.get 0) (i32.const 65536))
                            (i32.const 1)
                            (i32.const 0x100000))
                        (br 0))))",
            )
        },
        // On a busy machine its deadline may come first.
        endings: &[Returned, Trapped(Trap::DeadlineExceeded)],
    },
    Case {
        name: "abort-when-growth-is-refused",
        module: |_| {
            with_fine(
                "(memory 1) (func (export \"attack\")
                    (if (i32.eq (memory.grow (i32.const 2000)) (i32.const -1))
                        (then unreachable)))",
            )
        },
        endings: &[Trapped(Trap::Unreachable), OutOfMemory],
    },
    Case {
        name: "all-of-the-address-space",
        module: |_| with_fine("(memory 65536) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "memory64-of-2-to-the-40-pages",
        module: |_| with_fine("(memory i64 0x10000000000) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "memory64-without-maximum",
        module: |_| {
            with_fine(
                "(memory i64 1) (func (export \"attack\")
                    (drop (memory.grow (i64.const 0x7fffffffffff))))",
            )
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "a-hundred-memories",
        module: |_| {
            let memories = "(memory 10)".repeat(100);
            with_fine(&format!("{memories} (func (export \"attack\"))"))
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "memories-above-the-limit-together",
        module: |_| with_fine("(memory 600) (memory 600) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "table-above-the-limit",
        module: |_| with_fine("(table 0xffffffff funcref) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "table64-past-the-address-space",
        module: |_| with_fine("(table i64 0xffffffffffff funcref) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "grow-a-table-without-end",
        module: |_| {
            with_fine(
                "(table 1 funcref) (func (export \"attack\")
                    (block (loop
                        (br_if 1 (i32.eq (i32.const -1)
                            (table.grow (ref.null func) (i32.const 1000))))
                        (br 0)))
                    (drop (table.grow (ref.null func) (i32.const -1))))",
            )
        },
        endings: &[Returned, Trapped(Trap::DeadlineExceeded)],
    },
    Case {
        name: "pages-of-one-byte",
        module: |_| with_fine("(memory 10 (pagesize 1)) (func (export \"attack\"))"),
        endings: &[Refused],
    },
    Case {
        name: "data-outside-the-memory",
        module: |_| {
            with_fine("(memory 1) (data (i32.const 65535) \"ab\") (func (export \"attack\"))")
        },
        endings: &[Trapped(Trap::MemoryOutOfBounds)],
    },
    Case {
        name: "elements-outside-the-table",
        module: |_| {
            with_fine(
                "(table 1 funcref) (elem (i32.const 1) func $f) (func $f (export \"attack\"))",
            )
        },
        endings: &[Trapped(Trap::TableOutOfBounds)],
    },
];
