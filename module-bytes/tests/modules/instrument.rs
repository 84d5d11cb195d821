//! Instrumented modules behave like the original ones, and all of their state can be reached.

use std::collections::HashSet;

use engine_api::{Error, Segment};
use module_bytes::{Instrumented, RESERVED, parse};
use wasmparser::{ExternalKind, Operator, Parser, Payload, Validator, WasmFeatures};

use crate::guests;

/// A module with everything that instrumentation reads: imports, hidden and exported state, a start
/// function, segments, and custom sections at both ends.
const EVERYTHING: &str = r#"(module
    (@custom "first" (before first) "abc")
    (import "env" "log" (func $log (param i32)))
    (import "env" "shift" (global $shift (mut i32)))
    (import "env" "memory" (memory $imported 1))
    (memory $hidden 1 2)
    (memory $shown 3)
    (global $fixed i32 (i32.const 1))
    (global $pointer (mut i32) (i32.const 2))
    (global $count (mut i64) (i64.const 3))
    (global $vector (mut v128) (v128.const i64x2 4 5))
    (table 2 funcref)
    (export "count" (global $count))
    (export "shown" (memory $shown))
    (export "again" (memory $shown))
    (export "run" (func $run))
    (start $begin)
    (elem (i32.const 0) $run $begin)
    (func $run (result i64) global.get $count)
    (func $begin (global.set $pointer (i32.const 9)) (data.drop 1)
        (table.set (i32.const 0) (ref.null func)))
    (data (memory $hidden) (i32.const 0) "hello")
    (data "passive")
    (@custom "last" (after last) "xyz"))"#;

fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

fn instrument(wasm: &[u8]) -> Result<Instrumented<'_>, Error> {
    Instrumented::new(wasm, &parse(wasm)?)
}

fn valid(wasm: &[u8]) -> bool {
    Validator::new_with_features(WasmFeatures::all())
        .validate_all(wasm)
        .is_ok()
}

/// The sections of a binary, custom ones included: their identifiers and contents.
fn sections(wasm: &[u8]) -> Vec<(u8, &[u8])> {
    Parser::new(0)
        .parse_all(wasm)
        .filter_map(|payload| payload.unwrap().as_section())
        .map(|(id, range)| (id, &wasm[range]))
        .collect()
}

/// The exports of a binary, with indexes in the index spaces of their kinds.
fn exports(wasm: &[u8]) -> Vec<(String, ExternalKind, u32)> {
    let mut exports = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            for export in section {
                let export = export.unwrap();
                exports.push((export.name.to_owned(), export.kind, export.index));
            }
        }
    }
    exports
}

const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const START: u8 = 8;
const CODE: u8 = 10;

/// Asserts the properties that every instrumented module has, and returns the new exports.
fn assert_equivalent(wasm: &[u8]) -> Vec<(String, ExternalKind, u32)> {
    let instrumented = instrument(wasm).unwrap();
    let rewritten = instrumented.wasm();
    assert!(valid(rewritten));

    let others = |wasm| -> Vec<_> {
        let unchanged = |(id, _): &(u8, &[u8])| {
            let has_flags = !instrumented.flags().is_empty();
            let for_flags = [TYPE, FUNCTION, GLOBAL, CODE].contains(id) && has_flags;
            *id != EXPORT && *id != START && !for_flags
        };
        sections(wasm).into_iter().filter(unchanged).collect()
    };
    assert_eq!(others(wasm), others(rewritten));
    assert_eq!(
        instrumented.flags().is_empty(),
        instrumented.drops().is_none()
    );
    assert_same_code(wasm, rewritten, instrumented.flags().len());
    assert!(sections(rewritten).iter().all(|(id, _)| *id != START));

    let (own, all) = (exports(wasm), exports(rewritten));
    assert_eq!(own, all[..own.len()]);
    let added = all[own.len()..].to_vec();
    assert!(added.iter().all(|(name, ..)| name.starts_with(RESERVED)));

    // The names lead to the globals and memories that they are for.
    let is = |name: &str, kind, index| all.contains(&(name.to_owned(), kind, index));
    for (global, name) in instrumented.globals() {
        assert!(is(name, ExternalKind::Global, global.0), "{name}");
    }
    for (memory, name) in instrumented.memories() {
        assert!(is(name, ExternalKind::Memory, memory.0), "{name}");
    }
    for (table, name) in instrumented.tables() {
        assert!(is(name, ExternalKind::Table, table.0), "{name}");
    }
    for (function, name) in instrumented.functions() {
        assert!(is(name, ExternalKind::Func, *function), "{name}");
    }
    let after = parse(rewritten).unwrap();
    if let Some(drops) = instrumented.drops() {
        let (_, function) = after.function(drops).unwrap();
        assert_eq!(function.ty.to_string(), "() -> ()");
    }
    if let Some(start) = instrumented.start() {
        let (_, function) = after.function(start).unwrap();
        assert_eq!(function.ty.to_string(), "() -> ()");
    }

    // The contract's indexes are the same before and after.
    let before = parse(wasm).unwrap();
    assert_eq!(
        before.functions(),
        &after.functions()[..before.functions().len()]
    );
    assert_eq!(before.exports(), &after.exports()[..own.len()]);
    assert_eq!(before.imports(), after.imports());
    assert_eq!(before.has_start(), instrumented.start().is_some());
    assert!(!after.has_start());
    added
}

/// The instructions of each function.
fn bodies(wasm: &[u8]) -> Vec<Vec<Operator<'_>>> {
    let mut bodies = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let Payload::CodeSectionEntry(body) = payload.unwrap() {
            let operators = body.get_operators_reader().unwrap();
            bodies.push(operators.into_iter().map(Result::unwrap).collect());
        }
    }
    bodies
}

/// Asserts that the code is the same but for flags, which are set right after a drop, and for the
/// function that drops segments.
fn assert_same_code(before: &[u8], after: &[u8], flags: usize) {
    let globals = parse(before).unwrap().globals().len();
    let is_flag = |operator: &Operator<'_>| match operator {
        Operator::GlobalSet { global_index } => {
            (globals..globals + flags).contains(&(*global_index as usize))
        }
        _ => false,
    };
    let (before, mut after) = (bodies(before), bodies(after));
    after.truncate(before.len());
    for body in &mut after {
        while let Some(at) = body.iter().position(is_flag) {
            let drops = &body[at - 2];
            let is_drop = matches!(drops, Operator::DataDrop { .. } | Operator::ElemDrop { .. });
            assert!(is_drop, "{drops:?}");
            assert_eq!(body[at - 1], Operator::I32Const { value: 1 });
            body.drain(at - 1..=at);
        }
    }
    assert_eq!(before, after);
}

fn names<T>(of: &[(T, String)]) -> Vec<&str> {
    of.iter().map(|(_, name)| name.as_str()).collect()
}

#[test]
fn hidden_state_and_the_start_function_get_exports_after_the_modules_own() {
    let original = wasm(EVERYTHING);
    let added = assert_equivalent(&original);
    assert_eq!(
        added,
        [
            ("wasm-proxy:global:2".to_owned(), ExternalKind::Global, 2),
            ("wasm-proxy:global:4".to_owned(), ExternalKind::Global, 4),
            ("wasm-proxy:memory:1".to_owned(), ExternalKind::Memory, 1),
            ("wasm-proxy:table:0".to_owned(), ExternalKind::Table, 0),
            ("wasm-proxy:start".to_owned(), ExternalKind::Func, 2),
            ("wasm-proxy:data:1".to_owned(), ExternalKind::Global, 5),
            ("wasm-proxy:drop".to_owned(), ExternalKind::Func, 3),
        ]
    );
    let instrumented = instrument(&original).unwrap();
    assert_eq!(
        names(instrumented.globals()),
        ["wasm-proxy:global:2", "count", "wasm-proxy:global:4"]
    );
    assert_eq!(
        names(instrumented.memories()),
        ["wasm-proxy:memory:1", "shown"]
    );
    assert_eq!(instrumented.start(), Some("wasm-proxy:start"));
}

#[test]
fn the_same_bytes_give_the_same_bytes() {
    let original = wasm(EVERYTHING);
    let copy = original.clone();
    assert_eq!(
        instrument(&original).unwrap().wasm(),
        instrument(&copy).unwrap().wasm()
    );
}

#[test]
fn a_module_without_an_export_section_gets_one_before_what_must_follow_it() {
    let hidden = "(global (mut i32) (i32.const 0))";
    for rest in [
        "",
        "(@custom \"last\" (after last) \"x\")",
        "(func $f) (start $f)",
        "(func $f) (table 1 funcref) (elem (i32.const 0) $f)",
        "(memory 1) (data \"passive\") (func (data.drop 0))",
        "(memory 1) (data (i32.const 0) \"active\")",
        "(@custom \"middle\" (before start) \"x\") (func $f) (start $f)",
    ] {
        let original = wasm(&format!("(module {hidden} {rest})"));
        assert!(exports(&original).is_empty());
        assert!(!assert_equivalent(&original).is_empty(), "{rest}");
    }
}

#[test]
fn an_imported_start_function_is_exported() {
    let original = wasm(r#"(module (import "env" "begin" (func $begin)) (start $begin))"#);
    let added = assert_equivalent(&original);
    assert_eq!(
        added,
        [("wasm-proxy:start".to_owned(), ExternalKind::Func, 0)]
    );
}

#[test]
fn a_start_function_that_is_exported_keeps_its_first_name() {
    let original = wasm(
        r#"(module
            (func (export "other"))
            (func $f (export "begin") (export "twice"))
            (start $f))"#,
    );
    assert_eq!(assert_equivalent(&original), []);
    let instrumented = instrument(&original).unwrap();
    assert_eq!(instrumented.start(), Some("begin"));
    assert_eq!(exports(instrumented.wasm()), exports(&original));
}

#[test]
fn a_module_that_needs_nothing_is_borrowed() {
    for wat in [
        "(module)",
        r#"(module (memory (export "m") 1) (global (export "g") (mut f32) (f32.const 0)))"#,
        r#"(module (import "env" "m" (memory 1)) (import "env" "g" (global (mut i32))))"#,
        "(module (global i32 (i32.const 1)) (func))",
    ] {
        let original = wasm(wat);
        assert_equivalent(&original);
        let instrumented = instrument(&original).unwrap();
        assert_eq!(instrumented.wasm().as_ptr(), original.as_ptr());
        assert_eq!(instrumented.wasm().len(), original.len());
    }
}

#[test]
fn globals_of_references_are_reached_too() {
    let original = wasm(
        "(module (global (mut externref) (ref.null extern)) (global (mut funcref) (ref.null func)))",
    );
    assert_eq!(assert_equivalent(&original).len(), 2);
}

#[test]
fn tables_that_can_change_and_what_is_in_them_get_exports() {
    let original = wasm(
        r#"(module
            (import "env" "f" (func $imported))
            (import "env" "t" (table $given 1 funcref))
            (table $fixed 2 funcref)
            (table $set 2 funcref)
            (table $shown (export "shown") 1 externref)
            (table $objects 1 externref)
            (table $typed 2 2 (ref $v) (ref.func $first))
            (type $v (func))
            (global funcref (ref.func $constant))
            (global (mut funcref) (ref.null func))
            (elem (table $fixed) (i32.const 0) func $active)
            (elem $expressions funcref (ref.func $passive) (ref.null func) (ref.func $imported))
            (elem declare func $declared)
            (func $first) (func $constant) (func $active) (func $passive) (func $declared)
            (func $exported (export "exported") (export "again"))
            (func $never
                (table.set $set (i32.const 0) (ref.func $declared))
                (table.set $typed (i32.const 0) (ref.func $first))
                (table.init $given $expressions (i32.const 0) (i32.const 0) (i32.const 1)))
            (func $begin)
            (start $begin))"#,
    );
    let added = assert_equivalent(&original);
    let instrumented = instrument(&original).unwrap();
    let tables = instrumented.tables().iter();
    let tables: Vec<_> = tables
        .map(|(index, name)| (index.0, name.as_str()))
        .collect();
    assert_eq!(tables, [(2, "wasm-proxy:table:2"), (3, "shown")]);
    let functions = instrumented.functions().iter();
    let functions: Vec<_> = functions
        .map(|(index, name)| (*index, name.strip_prefix(RESERVED).unwrap_or(name)))
        .collect();
    assert_eq!(
        functions,
        [
            (0, "function:0"),
            (1, "function:1"),
            (2, "function:2"),
            (3, "function:3"),
            (4, "function:4"),
            (5, "function:5"),
            (6, "exported"),
            (8, "start"),
        ]
    );
    // A global, a table, the start function, and six functions.
    assert_eq!(added.len(), 9);
}

#[test]
fn functions_get_no_exports_where_nothing_that_can_change_holds_them() {
    let filled = "(table $t 2 funcref) (elem (table $t) (i32.const 0) func $f)";
    let code = "(func $f (drop (table.get $t (i32.const 0))))";
    for rest in [
        "",
        r#"(table (export "objects") 1 externref)"#,
        "(global (mut externref) (ref.null extern))",
    ] {
        let original = wasm(&format!("(module {rest} {filled} {code})"));
        let instrumented = instrument(&original).unwrap();
        assert_eq!(instrumented.functions(), [], "{rest}");
    }
    for rest in [
        r#"(import "env" "t" (table 1 funcref))"#,
        "(global (mut funcref) (ref.null func))",
    ] {
        let original = wasm(&format!("(module {rest} {filled} {code})"));
        assert_eq!(instrument(&original).unwrap().functions().len(), 1);
    }
}

#[test]
fn each_passive_segment_that_is_dropped_gets_a_flag() {
    let original = wasm(
        r#"(module
            (memory 1)
            (data (i32.const 0) "active")
            (data $a "passive")
            (data $kept "passive")
            (elem $e funcref)
            (elem declare func $f)
            (func $f (elem.drop $e) (elem.drop 1) (data.drop 0))
            (func $g (param i32) (result i32)
                (block (loop (data.drop $a) (br_if 1 (local.get 0)) (br 0)))
                (data.drop $a)
                (i32.const 7))
            (func $h (memory.init $kept (i32.const 0) (i32.const 0) (i32.const 1))))"#,
    );
    assert_eq!(
        assert_equivalent(&original),
        [
            ("wasm-proxy:memory:0".to_owned(), ExternalKind::Memory, 0),
            ("wasm-proxy:data:1".to_owned(), ExternalKind::Global, 0),
            ("wasm-proxy:element:0".to_owned(), ExternalKind::Global, 1),
            ("wasm-proxy:drop".to_owned(), ExternalKind::Func, 3),
        ]
    );
    let instrumented = instrument(&original).unwrap();
    let segments: Vec<_> = instrumented
        .flags()
        .iter()
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(segments, [Segment::Data(1), Segment::Element(0)]);
    let (before, after) = (bodies(&original), bodies(instrumented.wasm()));
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(before[2], after[2]);
    assert_eq!(before[1].len() + 4, after[1].len());
    // Nothing but active and declared segments is dropped: nothing changes.
    let original =
        wasm(r"(module (table 1 funcref) (elem declare func $f) (func $f (elem.drop 0)))");
    assert_eq!(assert_equivalent(&original), []);
}

#[test]
fn new_indexes_make_no_invalid_body_valid() {
    for (wrong, right) in [
        ("(drop (global.get 0))", "(drop (i32.const 0))"),
        ("(call 1)", "(call 0)"),
        ("(block (type 1))", "(block (type 0))"),
    ] {
        let module =
            |code| format!(r#"(module (memory 1) (data "x") (func (data.drop 0) {code}))"#);
        let original = wasm(&module(right));
        assert_equivalent(&original);
        // The text form takes an index that is not there.
        let invalid = wasm(&module(wrong));
        assert!(!valid(&invalid));
        let error = instrument(&invalid).unwrap_err();
        assert!(matches!(error, Error::InvalidModule { .. }), "{error}");
    }
}

#[test]
fn more_functions_in_tables_than_exports_are_refused() {
    let module = |functions: u32| {
        let mut module = wasm_encoder::Module::new();
        let mut types = wasm_encoder::TypeSection::new();
        types.ty().function([], []);
        let mut declared = wasm_encoder::FunctionSection::new();
        let mut code = wasm_encoder::CodeSection::new();
        for _ in 0..functions {
            declared.function(0);
            code.raw(&[0, 0x0b]);
        }
        let mut tables = wasm_encoder::TableSection::new();
        tables.table(wasm_encoder::TableType {
            element_type: wasm_encoder::RefType::FUNCREF,
            table64: false,
            minimum: 1,
            maximum: None,
            shared: false,
        });
        let mut exports = wasm_encoder::ExportSection::new();
        exports.export("t", wasm_encoder::ExportKind::Table, 0);
        let all: Vec<u32> = (0..functions).collect();
        let mut elements = wasm_encoder::ElementSection::new();
        elements.declared(wasm_encoder::Elements::Functions(all.into()));
        module
            .section(&types)
            .section(&declared)
            .section(&tables)
            .section(&exports)
            .section(&elements)
            .section(&code);
        module.finish()
    };
    let largest = module(999_999);
    assert_eq!(instrument(&largest).unwrap().functions().len(), 999_999);
    let error = instrument(&module(1_000_000)).unwrap_err().to_string();
    assert!(
        error.contains("1 exports and 1000000 more for checkpoints exceed the limit of 1000000"),
        "{error}"
    );
}

#[test]
fn sections_with_padded_sizes_stay_as_they_are() {
    // A type section whose size takes five bytes, as linkers that patch sizes later write it.
    let mut original = b"\0asm\x01\0\0\0\x01\x84\x80\x80\x80\0\x01\x60\0\0".to_vec();
    original.extend_from_slice(b"\x06\x06\x01\x7f\x01\x41\0\x0b");
    assert!(valid(&original));
    assert_equivalent(&original);
    let instrumented = instrument(&original).unwrap();
    assert!(instrumented.wasm().starts_with(&original));
}

#[test]
fn reserved_exports_are_refused_even_where_nothing_has_to_change() {
    let error = instrument(&wasm(r#"(module (func (export "wasm-proxy:mine")))"#))
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "invalid module: the export `wasm-proxy:mine` begins with `wasm-proxy:`, which is kept for \
         the exports that wasm-proxy adds; rename it, or give the module as its compiler wrote it"
    );
    let original = wasm(EVERYTHING);
    let twice = instrument(&original).unwrap().wasm().to_vec();
    assert!(instrument(&twice).is_err());
}

#[test]
fn more_exports_than_an_engine_takes_are_refused() {
    // The largest number that passes, and one more. The binary is built without a text parser,
    // which would be slow.
    let module = |hidden: u32| {
        let mut globals = wasm_encoder::GlobalSection::new();
        let ty = wasm_encoder::GlobalType {
            val_type: wasm_encoder::ValType::I32,
            mutable: true,
            shared: false,
        };
        for _ in 0..hidden {
            globals.global(ty, &wasm_encoder::ConstExpr::i32_const(0));
        }
        let mut exports = wasm_encoder::ExportSection::new();
        for index in 0..500_000 {
            exports.export(&index.to_string(), wasm_encoder::ExportKind::Memory, 0);
        }
        let mut memories = wasm_encoder::MemorySection::new();
        memories.memory(wasm_encoder::MemoryType {
            minimum: 1,
            maximum: None,
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        let mut module = wasm_encoder::Module::new();
        module
            .section(&memories)
            .section(&globals)
            .section(&exports);
        module.finish()
    };
    assert_eq!(
        exports(instrument(&module(500_000)).unwrap().wasm()).len(),
        1_000_000
    );
    let error = instrument(&module(500_001)).unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid module: 500000 exports and 500001 more for checkpoints exceed the limit of 1000000; \
         build the module with fewer of them, with fewer mutable globals, or with fewer functions in \
         tables"
    );
}

#[test]
fn what_is_wrong_with_a_start_section_is_not_hidden_by_dropping_it() {
    let takes_a_parameter = b"\0asm\x01\0\0\0\x01\x05\x01\x60\x01\x7f\0\x03\x02\x01\0\x08\x01\0\
        \x0a\x04\x01\x02\0\x0b";
    let missing = b"\0asm\x01\0\0\0\x08\x01\x07";
    for wasm in [&takes_a_parameter[..], &missing[..]] {
        assert!(parse(wasm).is_ok());
        assert!(matches!(
            instrument(wasm).unwrap_err(),
            Error::InvalidModule { .. }
        ));
    }
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_module() {
    let original = wasm(EVERYTHING);
    let info = parse(&original).unwrap();
    let mut shorter = 0;
    for len in 0..original.len() {
        let cut = &original[..len];
        // With its own info, and with that of the whole module: a mistake, which must not panic.
        let whole = Instrumented::new(cut, &info);
        match instrument(cut) {
            Ok(instrumented) => {
                assert!(valid(cut) && valid(instrumented.wasm()), "{len} bytes");
                shorter += 1;
            }
            Err(Error::InvalidModule { .. }) => assert!(!valid(cut) && whole.is_err()),
            Err(other) => panic!("{len} bytes: {other}"),
        }
    }
    // The cuts between two sections that leave every function its body.
    assert!((1..20).contains(&shorter), "{shorter}");
}

#[test]
fn every_changed_byte_is_an_error_or_an_equivalent_module() {
    let original = wasm(EVERYTHING);
    let info = parse(&original).unwrap();
    let mut outcomes = HashSet::new();
    for position in 0..original.len() {
        for byte in 0..=u8::MAX {
            let mut changed = original.clone();
            changed[position] = byte;
            // Another module's info is a mistake, which must not panic.
            let _ = Instrumented::new(&changed, &info);
            let reserved = exports_reserved(&changed);
            match instrument(&changed) {
                Ok(_) if valid(&changed) => {
                    assert_equivalent(&changed);
                    outcomes.insert("equivalent");
                }
                // The compiler checks bodies, and gets them unchanged.
                Ok(instrumented) => {
                    assert!(!valid(instrumented.wasm()), "{position}: {byte}");
                    outcomes.insert("invalid body");
                }
                Err(Error::InvalidModule { .. }) => {
                    assert!(!valid(&changed) || reserved || foreign(&changed));
                    outcomes.insert("error");
                }
                Err(other) => panic!("{position}: {byte}: {other}"),
            }
        }
    }
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
}

fn exports_reserved(wasm: &[u8]) -> bool {
    parse(wasm).is_ok_and(|info| {
        let exports = info.exports();
        exports
            .iter()
            .any(|export| export.name.starts_with(RESERVED))
    })
}

/// Whether the contract refuses the module before any rewriting.
fn foreign(wasm: &[u8]) -> bool {
    parse(wasm).is_err()
}

#[test]
fn every_guest_is_equivalent_and_valid() {
    for (name, wasm) in guests() {
        let added = assert_equivalent(&wasm);
        let instrumented = instrument(&wasm).unwrap();
        // rust-lld linked each of them, and makes the stack pointer a hidden global.
        assert!(
            added
                .iter()
                .any(|(_, kind, _)| *kind == ExternalKind::Global),
            "{name}: {added:?}"
        );
        Validator::new()
            .validate_all(instrumented.wasm())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}
