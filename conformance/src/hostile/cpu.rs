//! Guests that take the processor.

use engine_api::Trap;

use super::Ending::{Refused, Returned, Trapped};
use super::{Case, with_fine};

const ENDLESS: &[super::Ending] = &[Trapped(Trap::DeadlineExceeded)];
const DEEP: &[super::Ending] = &[Trapped(Trap::StackOverflow)];

pub(super) const CASES: &[Case] = &[
    Case {
        name: "loop",
        module: |_| with_fine("(func (export \"attack\") (loop br 0))"),
        endings: ENDLESS,
    },
    Case {
        name: "loop-in-start",
        module: |_| {
            with_fine("(func $start (loop br 0)) (start $start) (func (export \"attack\"))")
        },
        endings: ENDLESS,
    },
    Case {
        name: "recursion",
        module: |_| with_fine("(func $f (export \"attack\") (call $f))"),
        endings: DEEP,
    },
    Case {
        name: "recursion-in-start",
        module: |_| with_fine("(func $f (call $f)) (start $f) (func (export \"attack\"))"),
        endings: DEEP,
    },
    Case {
        name: "recursion-through-table",
        module: |_| {
            with_fine(
                "(type $t (func)) (table funcref (elem $a $b))
                 (func $a (export \"attack\") (call_indirect (type $t) (i32.const 1)))
                 (func $b (call_indirect (type $t) (i32.const 0)))",
            )
        },
        endings: DEEP,
    },
    Case {
        name: "recursion-with-a-large-frame",
        module: |_| {
            let locals = "i64 ".repeat(20_000);
            with_fine(&format!(
                "(func $f (export \"attack\") (result i64) (local {locals})
                    (local.set 19999 (call $f))
                    (i64.add (local.get 0) (local.get 19999)))"
            ))
        },
        endings: DEEP,
    },
    Case {
        name: "deep-but-finite-recursion",
        module: |_| {
            with_fine(
                "(func $f (param i32)
                    (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))))))
                 (func (export \"attack\") (call $f (i32.const 1000)))",
            )
        },
        endings: &[Returned],
    },
    Case {
        name: "giant-branch-table",
        module: |_| {
            let labels = "0 1 ".repeat(50_000);
            with_fine(&format!(
                "(func (export \"attack\")
                    (block (block (br_table {labels} 1 (i32.const 99998)))))"
            ))
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "fill",
        module: |_| {
            with_fine(
                "(memory 512) (func (export \"attack\") (loop
                    (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x2000000)) (br 0)))",
            )
        },
        endings: ENDLESS,
    },
    Case {
        name: "copy",
        module: |_| {
            with_fine(
                "(memory 512) (func (export \"attack\") (loop
                    (memory.copy (i32.const 1) (i32.const 0) (i32.const 0x1ffffff)) (br 0)))",
            )
        },
        endings: ENDLESS,
    },
    Case {
        name: "table-fill",
        module: |_| {
            with_fine(
                "(table 50000 funcref) (func (export \"attack\") (loop
                    (table.fill (i32.const 0) (ref.null func) (i32.const 50000)) (br 0)))",
            )
        },
        endings: ENDLESS,
    },
    Case {
        name: "host-calls",
        module: |_| {
            with_fine(
                "(import \"env\" \"nothing\" (func $nothing))
                 (func (export \"attack\") (loop (call $nothing) (br 0)))",
            )
        },
        endings: ENDLESS,
    },
    Case {
        name: "host-calls-in-start",
        module: |_| {
            with_fine(
                "(import \"env\" \"nothing\" (func $nothing))
                 (func $start (loop (call $nothing) (br 0)))
                 (start $start) (func (export \"attack\"))",
            )
        },
        endings: ENDLESS,
    },
    Case {
        name: "wait-forever",
        module: |_| {
            with_fine(
                "(memory (export \"shared\") 1 1 shared) (func (export \"attack\") (drop
                    (memory.atomic.wait32 (i32.const 8) (i32.const 0) (i64.const -1))))",
            )
        },
        endings: &[Trapped(Trap::DeadlineExceeded), Refused],
    },
    Case {
        name: "long-expression",
        // Compilers that recurse over an expression meet one that is 60,000 deep. LLVM takes time by the
        // square of it, minutes for this one (SECURITY.md), so it gets a shorter one.
        module: |engine| {
            let is_llvm = engine.shared().id().compiler == "llvm";
            let times = if is_llvm { 3_000 } else { 30_000 };
            let operations = "local.get 0 i32.add local.get 0 i32.mul ".repeat(times);
            with_fine(&format!(
                "(func $f (param i32) (result i32) local.get 0 {operations})
                 (func (export \"attack\") (drop (call $f (i32.const 3))))"
            ))
        },
        endings: &[Returned, Refused],
    },
    Case {
        name: "wide-expression",
        module: |_| {
            let pushed = "local.get 0 ".repeat(30_000);
            let added = "i32.add ".repeat(29_999);
            with_fine(&format!(
                "(func $f (param i32) (result i32) {pushed}{added})
                 (func (export \"attack\") (drop (call $f (i32.const 3))))"
            ))
        },
        endings: &[Returned, Refused, Trapped(Trap::StackOverflow)],
    },
];
