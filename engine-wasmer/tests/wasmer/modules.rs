//! Features and precompiled modules.

use std::time::Duration;

use engine_api::{Engine, Error, Imports, Limits, Trap};

use super::{engines, invoke};

use super::traps::TRAPS;

#[test]
fn precompiled_modules_load_with_traps_and_interruption() {
    for engine in engines() {
        let wasm = wat::parse_str(TRAPS).unwrap();
        let precompiled = engine.compile(&wasm).unwrap().precompiled().unwrap();
        let module = engine.load(&wasm, &precompiled).unwrap();
        let mut instance = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        for (name, trap) in [
            ("unreachable", Trap::Unreachable),
            ("memory", Trap::MemoryOutOfBounds),
            ("null", Trap::IndirectCallToNull),
        ] {
            let error = invoke(&mut *instance, name, &[]).unwrap_err();
            assert_eq!(error.trap(), Some(trap), "{engine:?}");
        }
        let wasm = wat::parse_str(r#"(module (func (export "spin") (loop (br 0))))"#).unwrap();
        let precompiled = engine.compile(&wasm).unwrap().precompiled().unwrap();
        let module = engine.load(&wasm, &precompiled).unwrap();
        let limits = Limits {
            deadline: Some(Duration::from_millis(20)),
            ..Limits::default()
        };
        let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
        let error = invoke(&mut *instance, "spin", &[]).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::DeadlineExceeded));
        assert!(matches!(
            engine.load(&wat::parse_str("(module)").unwrap(), &precompiled),
            Err(Error::Precompiled { .. })
        ));
    }
}

#[test]
fn features_that_are_missing_are_unsupported_and_nonsense_is_invalid() {
    let modules = [
        (
            "simd",
            "(module (func (param v128) (result v128) (v128.not (local.get 0))))",
        ),
        (
            "relaxed",
            "(module (func (param v128 v128) (result v128)
                (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
        ),
        ("multi-memory", "(module (memory 1) (memory 1))"),
        ("memory64", "(module (memory i64 1))"),
        ("tail", "(module (func $f (return_call $f)))"),
        ("threads", "(module (memory 1 1 shared))"),
        ("exceptions", "(module (tag) (func (throw 0)))"),
        ("gc", "(module (type (struct)))"),
        ("reftypes", "(module (table 1 externref) (table 1 funcref))"),
        (
            "extended-const",
            "(module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
        ),
    ];
    for engine in engines() {
        for (name, wat) in modules {
            let outcome = engine.compile(&wat::parse_str(wat).unwrap());
            let outcome = outcome.and_then(|module| {
                let limits = Limits::default();
                module.instantiate(&Imports::new(), &limits).map(drop)
            });
            println!("{} {name}: {outcome:?}", engine.id());
            if let Err(error) = outcome {
                assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
            }
        }
        let invalid =
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x05\x01\x03\0\x6a\x0b";
        let error = engine.compile(invalid).err().unwrap();
        assert!(matches!(error, Error::InvalidModule { .. }), "{error:?}");
    }
}
