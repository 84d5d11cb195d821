//! Capabilities, NaNs and precompiled modules.

use engine_api::{Engine, EngineConfig, Error, Imports, InstanceExt, Limits, Precompiled, Val};

use engine_wasmtime::{Compiler, Tuning, Wasmtime};

use crate::{SPIN, engines, engines_with, instance, wat};

/// For each capability a module that needs it.
const FEATURES: &[(&str, &str)] = &[
    (
        "simd",
        "(module (func (export \"f\") (result v128) (i32x4.add (v128.const i32x4 1 2 3 4) (v128.const i32x4 1 2 3 4))))",
    ),
    (
        "externref",
        "(module (table 1 externref) (func (export \"f\") (param externref) (result externref) (table.set (i32.const 0) (local.get 0)) (table.get (i32.const 0))))",
    ),
    (
        "multi-memory",
        "(module (memory 1) (memory $b 1) (func (export \"f\") (result i32) (i32.load $b (i32.const 0))))",
    ),
    (
        "memory64",
        "(module (memory i64 1) (func (export \"f\") (result i32) (i32.load (i64.const 0))))",
    ),
    (
        "tail-calls",
        "(module (func $g) (func (export \"f\") (return_call $g)))",
    ),
    (
        "threads",
        "(module (memory 1 1 shared) (func (export \"f\") (result i32) (i32.atomic.rmw.add (i32.const 0) (i32.const 1))))",
    ),
];

#[test]
fn capabilities_are_what_the_compilers_can_do() {
    for engine in engines() {
        for (name, text) in FEATURES {
            let listed = engine.capabilities().list();
            let (_, claimed) = listed.iter().find(|(listed, _)| listed == name).unwrap();
            match engine.compile(&wat(text)) {
                Ok(_) => assert!(claimed, "{} can do {name}", engine.id()),
                Err(Error::Unsupported { what, .. }) => {
                    assert!(!claimed, "{} cannot do {name}: {what}", engine.id());
                }
                Err(other) => panic!("{} {name}: {other:?}", engine.id()),
            }
        }
    }
}

#[test]
fn invalid_modules_are_told_from_unsupported_ones() {
    let relaxed = "(module (func (param v128 v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))";
    for engine in engines() {
        // The body leaves a value of the wrong type on the stack.
        let mut invalid = wat("(module (func (result i32) i32.const 0))");
        let position = invalid.len() - 3;
        assert_eq!(invalid[position], 0x41);
        invalid[position] = 0x42;
        assert!(matches!(
            engine.compile(&invalid),
            Err(Error::InvalidModule { .. })
        ));
        let error = engine.compile(&wat(relaxed)).unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported { what, .. } if what.contains("relaxed-simd")),
            "{error:?}"
        );
    }
}

/// Every operation that may produce a NaN: the prefix of its type, its operands, and its name.
const FLOAT_OPERATIONS: &[(&str, usize)] = &[
    ("add", 2),
    ("sub", 2),
    ("mul", 2),
    ("div", 2),
    ("min", 2),
    ("max", 2),
    ("sqrt", 1),
    ("ceil", 1),
    ("floor", 1),
    ("trunc", 1),
    ("nearest", 1),
];

#[test]
fn every_float_operation_gives_the_canonical_nan() {
    // A signalling and a quiet NaN, both with a sign and a payload.
    let floats = [
        ("f32", "(f32.reinterpret_i32 (i32.const 0xffa0beef))"),
        ("f32", "(f32.reinterpret_i32 (i32.const 0xffe0beef))"),
        (
            "f64",
            "(f64.reinterpret_i64 (i64.const 0xfff400000000beef))",
        ),
        (
            "f64",
            "(f64.reinterpret_i64 (i64.const 0xfffc00000000beef))",
        ),
    ];
    let canonical = |ty: &str| match ty {
        "f32" => (
            0x7fc0_0000_u64,
            0x7fc0_0000_7fc0_0000_7fc0_0000_7fc0_0000_u128,
        ),
        _ => (
            0x7ff8_0000_0000_0000,
            0x7ff8_0000_0000_0000_7ff8_0000_0000_0000,
        ),
    };
    for engine in engines() {
        assert!(engine.capabilities().nan_canonicalization);
        for (ty, nan) in floats {
            let shape = if ty == "f32" { "f32x4" } else { "f64x2" };
            for (operation, operands) in FLOAT_OPERATIONS {
                let scalars = [nan; 2][..*operands].join(" ");
                let vector = format!("({shape}.splat {nan})");
                let vectors = [vector.as_str(); 2][..*operands].join(" ");
                let text = format!(
                    r#"(module
                    (func (export "scalar") (result {ty}) ({ty}.{operation} {scalars}))
                    (func (export "vector") (result v128) ({shape}.{operation} {vectors})))"#
                );
                let mut guest = instance(&engine, &text);
                let scalar = match guest.invoke("scalar", &[]).unwrap()[0] {
                    Val::F32(bits) => u64::from(bits),
                    Val::F64(bits) => bits,
                    ref other => panic!("{other:?}"),
                };
                let vector = guest.invoke("vector", &[]).unwrap();
                let expected = canonical(ty);
                assert_eq!(scalar, expected.0, "{} {ty}.{operation}", engine.id());
                assert_eq!(
                    vector,
                    [Val::V128(expected.1)],
                    "{} {shape}.{operation}",
                    engine.id()
                );
            }
        }
        let conversions = r#"(module
            (func (export "down") (result f32)
                (f32.demote_f64 (f64.reinterpret_i64 (i64.const 0xfff400000000beef))))
            (func (export "up") (result f64)
                (f64.promote_f32 (f32.reinterpret_i32 (i32.const 0xffa0beef)))))"#;
        let mut guest = instance(&engine, conversions);
        assert_eq!(guest.invoke("down", &[]).unwrap(), [Val::F32(0x7fc0_0000)]);
        assert_eq!(
            guest.invoke("up", &[]).unwrap(),
            [Val::F64(0x7ff8_0000_0000_0000)]
        );
    }
}

#[test]
fn precompiled_modules_load_into_an_engine_of_the_same_fingerprint_only() {
    let wasm = wat(SPIN);
    for (mut first, second) in engines().into_iter().zip(engines()) {
        let precompiled = first.compile(&wasm).unwrap().precompiled().unwrap();
        let bytes = precompiled.to_bytes();
        first = second;
        #[expect(unsafe_code, reason = "the bytes were made two lines above")]
        // SAFETY: they come from `Module::precompiled` of this process.
        let precompiled = unsafe { Precompiled::from_bytes(&bytes) }.unwrap();
        let module = first.load(&wasm, &precompiled).unwrap();
        let mut guest = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        assert_eq!(guest.invoke("work", &[Val::I32(3)]).unwrap(), [Val::I32(7)]);
        let fuelled = EngineConfig {
            fuel: true,
            ..EngineConfig::default()
        };
        for other in engines_with(&fuelled) {
            assert!(matches!(
                other.load(&wasm, &precompiled),
                Err(Error::Precompiled { .. })
            ));
        }
    }
}

#[test]
fn inlining_changes_code_and_fingerprint_but_no_result() {
    let text = r#"(module
        (func $half (param i32) (result i32) (i32.shr_u (local.get 0) (i32.const 1)))
        (func (export "quarter") (param i32) (result i32)
            (call $half (call $half (local.get 0)))))"#;
    let wasm = wat(text);
    let [with, without] = [true, false].map(|inlining| {
        let tuning = Tuning::default().inlining(inlining);
        Wasmtime::with_tuning(Compiler::Cranelift, &EngineConfig::default(), tuning).unwrap()
    });
    assert_eq!(
        with.fingerprint(),
        Wasmtime::cranelift().unwrap().fingerprint()
    );
    assert_ne!(with.fingerprint(), without.fingerprint());
    let precompiled = with.compile(&wasm).unwrap().precompiled().unwrap();
    assert!(matches!(
        without.load(&wasm, &precompiled),
        Err(Error::Precompiled { .. })
    ));
    for engine in [with, without] {
        let mut guest = instance(&engine, text);
        assert_eq!(
            guest.invoke("quarter", &[Val::I32(40)]).unwrap(),
            [Val::I32(10)]
        );
    }
}
