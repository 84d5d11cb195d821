//! Bytes that are no module are refused as invalid.

use conformance::prelude::*;

const MODULE: &str = r#"(module
    (import "env" "f" (func $f (param i32)))
    (memory (export "memory") 1 2)
    (table 1 funcref)
    (elem (i32.const 0) func $f)
    (global (export "g") (mut i64) (i64.const 5))
    (func (export "call") (param i32) (call $f (local.get 0)))
    (data (i32.const 0) "bytes"))"#;

#[apply(every_engine)]
fn a_module_truncated_at_any_length_is_invalid(engine: &EngineUnderTest) {
    let wasm = binary(MODULE);
    let mut refusals = 0;
    for len in 0..wasm.len() {
        let cut = &wasm[..len];
        // A cut between two sections can leave a shorter module that is valid.
        if module_bytes::features(cut).is_ok() && module_bytes::parse(cut).is_ok() {
            engine.compile(cut).unwrap();
        } else {
            let _ = module_error(engine.compile(cut));
            refusals += 1;
        }
    }
    assert!(
        refusals > wasm.len() * 9 / 10,
        "{refusals} of {}",
        wasm.len()
    );
}

#[apply(every_engine)]
fn a_module_with_any_flipped_bit_is_valid_or_refused_but_harmless(engine: &EngineUnderTest) {
    let wasm = binary(MODULE);
    for at in 0..wasm.len() {
        let mut damaged = wasm.clone();
        damaged[at] ^= 1 << (at % 8);
        match engine.compile(&damaged) {
            Ok(_) | Err(Error::InvalidModule { .. } | Error::Unsupported { .. }) => {}
            Err(error) => panic!("byte {at}: {error:?}"),
        }
    }
}

#[apply(every_engine)]
fn bytes_that_are_not_wasm_are_refused_with_the_way_out(engine: &EngineUnderTest) {
    for (bytes, way_out) in [
        (&b""[..], "empty"),
        (b"(module)", "text format"),
        (b"\x1f\x8b\x08\0\0", "gunzip"),
        (b"\x28\xb5\x2f\xfd\0", "unzstd"),
        (b"  ;; a comment\n(module)", "text format"),
        (b"\x7fELF\x02\x01\x01\0", "magic number"),
        (b"{\"json\": true}", "magic number"),
        (&[0xff; 64], "magic number"),
    ] {
        let reason = module_error(engine.compile(bytes));
        assert!(reason.contains(way_out), "{reason}");
    }
}

#[apply(every_engine)]
fn a_component_is_refused_with_the_way_out(engine: &EngineUnderTest) {
    let reason = module_error(engine.compile(&binary("(component)")));
    assert!(reason.contains("component"), "{reason}");
}

#[apply(every_engine)]
fn garbage_behind_a_valid_header_is_invalid(engine: &EngineUnderTest) {
    let header = b"\0asm\x01\0\0\0";
    for garbage in [
        &b"\x01"[..],
        b"\xff\xff\xff\xff\xff",
        b"\x0e\x01\x00",
        &[0xaa; 200],
        &[1; 100],
    ] {
        let _ = module_error(engine.compile(&[&header[..], garbage].concat()));
    }
    let _ = module_error(engine.compile(b"\0asm\x02\0\0\0"));
    engine.compile(header).unwrap();
}

#[apply(every_engine)]
fn a_module_that_does_not_validate_is_invalid(engine: &EngineUnderTest) {
    for text in [
        "(module (func (result i32)))",
        "(module (func (result i32) i64.const 1))",
        "(module (func local.get 3))",
        "(module (func call 9))",
        "(module (func i32.const 0 i32.load drop))",
        "(module (func (export \"f\")) (start 1))",
        "(module (global i32 (i32.const 0)) (func i32.const 1 global.set 0))",
        "(module (memory 2 1))",
        "(module (memory 65537))",
        "(module (func br 2))",
    ] {
        let _ = module_error(engine.compile(&binary(text)));
    }
}

#[apply(every_engine)]
fn a_duplicate_export_is_invalid_and_named(engine: &EngineUnderTest) {
    // The text format refuses it, so a valid module's second name is overwritten.
    let mut wasm = binary(r#"(module (func (export "twin_a")) (func (export "twin_b")))"#);
    let at = wasm.windows(6).position(|name| name == b"twin_b").unwrap();
    wasm[at + 5] = b'a';
    let reason = module_error(engine.compile(&wasm));
    assert!(reason.contains("twin_a"), "{reason}");
}

#[apply(every_engine)]
fn a_name_that_is_no_text_is_invalid(engine: &EngineUnderTest) {
    let mut wasm = binary(r#"(module (func (export "name")))"#);
    let at = wasm.windows(4).position(|name| name == b"name").unwrap();
    wasm[at] = 0xff;
    let _ = module_error(engine.compile(&wasm));
}
