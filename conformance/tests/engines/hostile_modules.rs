//! Modules of hostile shapes: each compiles and works, or is refused with a typed error.

use std::fmt::Write;

use conformance::prelude::*;

/// Compiles and instantiates, with stubs for all imports.
fn instance(engine: &EngineUnderTest, wasm: &[u8]) -> Box<dyn Instance> {
    let module = engine.compile(wasm).unwrap();
    let mut imports = Imports::new();
    imports.stub_missing(module.info());
    module.instantiate(&imports, &Limits::default()).unwrap()
}

fn is_typed(error: &Error) -> bool {
    matches!(
        error,
        Error::InvalidModule { .. }
            | Error::Unsupported { .. }
            | Error::Limit { .. }
            | Error::ModuleLimit { .. }
    )
}

#[apply(every_engine)]
fn ten_thousand_imports_and_exports_keep_their_order(engine: &EngineUnderTest) {
    let mut text = String::from("(module");
    for number in 0..10_000 {
        write!(text, r#"(import "env" "i{number}" (func (param i32)))"#).unwrap();
    }
    for number in 0..10_000 {
        write!(
            text,
            r#"(func (export "e{number}") (result i32) i32.const {number})"#
        )
        .unwrap();
    }
    let mut instance = instance(engine, &binary(&(text + ")")));
    for number in [0, 1, 5_000, 9_999] {
        let result = instance.invoke(&format!("e{number}"), &[]).unwrap();
        assert_eq!(result, [Val::I32(number)]);
    }
}

#[apply(every_engine)]
fn a_hundred_thousand_missing_imports_are_one_error(engine: &EngineUnderTest) {
    let mut text = String::from("(module");
    for number in 0..100_000 {
        write!(text, r#"(import "env" "i{number}" (global i32))"#).unwrap();
    }
    let wasm = binary(&(text + ")"));
    match engine.compile(&wasm) {
        Ok(module) => {
            let error = refused(module.instantiate(&Imports::new(), &Limits::default()));
            assert!(
                matches!(&error, Error::Import { name, .. } if name == "i0"),
                "{error:?}"
            );
        }
        Err(error) => assert!(is_typed(&error), "{error:?}"),
    }
}

#[apply(every_engine)]
fn fifty_thousand_locals_are_zero(engine: &EngineUnderTest) {
    let locals = "i64 ".repeat(49_990);
    let text = format!(
        r#"(module
            (func (export "f") (result i64) (local {locals})
                (local.set 49989 (i64.const 6))
                (i64.add (local.get 25000) (local.get 49989)))
            (func (export "fine") (result i32) i32.const 1))"#
    );
    let mut instance = instance(engine, &binary(&text));
    match instance.invoke("f", &[]) {
        Ok(results) => assert_eq!(results, [Val::I64(6)]),
        Err(error) => assert_eq!(error.trap(), Some(Trap::StackOverflow), "{error:?}"),
    }
    assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn more_locals_than_the_limit_are_invalid(engine: &EngineUnderTest) {
    let text = format!("(module (func (local {})))", "i64 ".repeat(50_001));
    let _ = module_error(engine.compile(&binary(&text)));
}

fn branch_table(targets: usize) -> Vec<u8> {
    let labels: String = (0..targets)
        .map(|target| if target % 2 == 0 { "0 " } else { "1 " })
        .collect();
    binary(&format!(
        r#"(module (func (export "f") (param i32) (result i32)
            (block (block (br_table {labels} 1 (local.get 0))) (return (i32.const 10)))
            (i32.const 11)))"#
    ))
}

#[apply(every_engine)]
fn a_giant_branch_table_branches(engine: &EngineUnderTest) {
    let mut instance = instance(engine, &branch_table(60_000));
    for (index, expected) in [(0, 10), (1, 11), (59_998, 10), (60_000, 11), (-1, 11)] {
        let result = instance.invoke("f", &[Val::I32(index)]).unwrap();
        assert_eq!(result, [Val::I32(expected)]);
    }
}

#[apply(every_engine)]
fn a_branch_table_past_the_limit_is_invalid_or_works(engine: &EngineUnderTest) {
    if let Err(error) = engine.compile(&branch_table(100_000)) {
        assert!(is_typed(&error), "{error:?}");
    }
}

#[apply(every_engine)]
fn blocks_nested_ten_thousand_deep_compile(engine: &EngineUnderTest) {
    // Written as bytes, past the parser of the text format. `block` is 02 40.
    let depth = 10_000;
    let mut body = vec![0];
    body.extend([0x02, 0x40].repeat(depth));
    body.extend([0x0b].repeat(depth + 1));
    let mut instance = instance(engine, &one_function(&body));
    instance.invoke("f", &[]).unwrap();
}

#[apply(every_engine)]
fn a_body_of_two_megabytes_compiles(engine: &EngineUnderTest) {
    // `nop` is 01.
    let mut body = vec![0];
    body.extend([0x01].repeat(2 << 20));
    body.push(0x0b);
    let mut instance = instance(engine, &one_function(&body));
    instance.invoke("f", &[]).unwrap();
}

/// A module of one function without parameters and results, exported as `f`.
fn one_function(body: &[u8]) -> Vec<u8> {
    let mut wasm =
        b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x07\x05\x01\x01f\0\0".to_vec();
    let size = leb128(body.len());
    wasm.push(10);
    wasm.extend(leb128(1 + size.len() + body.len()));
    wasm.push(1);
    wasm.extend(size);
    wasm.extend(body);
    wasm
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

#[apply(every_engine)]
fn twenty_thousand_functions_compile_and_are_called_through_a_table(engine: &EngineUnderTest) {
    let mut text = String::from("(module (type $t (func (result i32))) (table funcref (elem");
    for number in 0..20_000 {
        write!(text, " $f{number}").unwrap();
    }
    text += "))";
    for number in 0..20_000 {
        write!(text, "(func $f{number} (type $t) i32.const {number})").unwrap();
    }
    text += r#"(func (export "f") (param i32) (result i32)
        (call_indirect (type $t) (local.get 0))))"#;
    let mut instance = instance(engine, &binary(&text));
    for number in [0, 19_999] {
        assert_eq!(
            instance.invoke("f", &[Val::I32(number)]).unwrap(),
            [Val::I32(number)]
        );
    }
    assert_eq!(
        trap_of(instance.invoke("f", &[Val::I32(20_000)])),
        Trap::TableOutOfBounds
    );
}

#[apply(every_engine)]
fn a_huge_custom_section_and_a_broken_name_section_are_ignored(engine: &EngineUnderTest) {
    let mut wasm = binary(r#"(module (func (export "f") (result i32) i32.const 1))"#);
    for (name, contents) in [("junk", vec![0xaa; 4 << 20]), ("name", vec![0xff; 1_000])] {
        let mut section = vec![u8::try_from(name.len()).unwrap()];
        section.extend(name.bytes());
        section.extend(contents);
        wasm.push(0);
        wasm.extend(leb128(section.len()));
        wasm.extend(section);
    }
    let mut instance = instance(engine, &wasm);
    assert_eq!(instance.invoke("f", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn a_name_of_a_hundred_kilobytes_is_invalid_or_works(engine: &EngineUnderTest) {
    for len in [10_000, 100_000] {
        let name = "n".repeat(len);
        let text = format!(r#"(module (func (export "{name}") (result i32) i32.const 1))"#);
        match engine.compile(&binary(&text)) {
            Ok(module) => {
                let mut instance = module
                    .instantiate(&Imports::new(), &Limits::default())
                    .unwrap();
                assert_eq!(instance.invoke(&name, &[]).unwrap(), [Val::I32(1)]);
            }
            Err(error) => assert!(is_typed(&error), "{error:?}"),
        }
    }
}

#[apply(every_engine)]
fn memories_and_tables_past_the_address_space_are_typed_errors(
    engine: &EngineUnderTest,
    #[values(
        "(module (memory i64 0x10000000000))",
        "(module (memory i64 0x1000000000000))",
        "(module (table i64 0xffffffffffff funcref))",
        "(module (table 0xffffffff funcref))",
        "(module (table 10000001 funcref))"
    )]
    text: &str,
) {
    let limits = Limits {
        memory_bytes_max: Some(1 << 30),
        table_elements_max: Some(1_000_000),
        ..Limits::default()
    };
    let wasm = binary(text);
    let outcome = engine
        .compile(&wasm)
        .and_then(|module| module.instantiate(&Imports::new(), &limits));
    let error = refused(outcome);
    assert!(is_typed(&error), "{error:?}");
}

#[apply(every_engine)]
fn a_memory_with_pages_of_one_byte_is_a_typed_error(engine: &EngineUnderTest) {
    let wasm = binary("(module (memory 10 (pagesize 1)))");
    let error = refused(engine.compile(&wasm));
    assert!(is_typed(&error), "{error:?}");
}

#[apply(every_engine)]
fn random_bytes_behind_a_header_never_panic(engine: &EngineUnderTest) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..2_000_usize {
        let mut wasm = b"\0asm\x01\0\0\0".to_vec();
        for _ in 0..round % 64 {
            // A xorshift generator with the seed above: a failure repeats.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            wasm.push(state.to_le_bytes()[0] & if round % 2 == 0 { 0xff } else { 0x0f });
        }
        if let Err(error) = engine.compile(&wasm) {
            assert!(is_typed(&error), "round {round}: {error:?}");
        }
    }
}
