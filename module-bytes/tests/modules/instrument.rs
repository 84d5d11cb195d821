//! Instrumented modules behave like the original ones, and all of their state can be reached.

use std::collections::HashSet;

use engine_api::Error;
use module_bytes::{Instrumented, RESERVED, parse};
use wasmparser::{ExternalKind, Parser, Payload, Validator, WasmFeatures};

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
    (func $begin (global.set $pointer (i32.const 9)))
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

const EXPORT: u8 = 7;
const START: u8 = 8;

/// Asserts the properties that every instrumented module has, and returns the new exports.
fn assert_equivalent(wasm: &[u8]) -> Vec<(String, ExternalKind, u32)> {
    let instrumented = instrument(wasm).unwrap();
    let rewritten = instrumented.wasm();
    assert!(valid(rewritten));

    let others = |wasm| -> Vec<_> {
        let unchanged = |(id, _): &(u8, &[u8])| *id != EXPORT && *id != START;
        sections(wasm).into_iter().filter(unchanged).collect()
    };
    assert_eq!(others(wasm), others(rewritten));
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
    let after = parse(rewritten).unwrap();
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
            ("wasm-proxy:start".to_owned(), ExternalKind::Func, 2),
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
         build the module with fewer exports or mutable globals"
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
