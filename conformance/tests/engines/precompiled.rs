//! Compiled code can leave the process and be loaded again, by the same engine only.

use conformance::prelude::*;
use engine_api::{ModuleHash, Precompiled};

const MODULE: &str = r#"(module
    (import "env" "offset" (func $offset (result i64)))
    (memory (export "memory") 1)
    (data (i32.const 0) "compiled")
    (table 2 funcref)
    (elem (i32.const 0) func $double $half)
    (type $unary (func (param i64) (result i64)))
    (func $double (param i64) (result i64) (i64.mul (local.get 0) (i64.const 2)))
    (func $half (param i64) (result i64) (i64.div_s (local.get 0) (i64.const 2)))
    (func (export "f") (param i32 i64) (result i64)
        (i64.add (call $offset)
            (call_indirect (type $unary) (local.get 1) (local.get 0))))
    (func (export "root") (param f64) (result f64) (f64.sqrt (local.get 0)))
    (func (export "oops") unreachable))"#;

fn wasm() -> Vec<u8> {
    binary(MODULE)
}

#[expect(
    unsafe_code,
    reason = "the suite made the bytes itself, from what an engine compiled"
)]
fn read(bytes: &[u8]) -> Result<Precompiled, Error> {
    // SAFETY: either the bytes are unchanged, or their hash no longer fits and they are refused.
    unsafe { Precompiled::from_bytes(bytes) }
}

/// The module precompiled, on an engine that can do that; without the capability both directions
/// must be refused.
fn precompiled(engine: &EngineUnderTest) -> Option<Precompiled> {
    let made = engine.module(MODULE).precompiled();
    if engine.capabilities().precompiled {
        return Some(made.unwrap());
    }
    let error = refused(made);
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let forged = Precompiled::new(ModuleHash::of(&wasm()), engine.fingerprint(), Vec::new());
    let error = refused(engine.load(&wasm(), &forged));
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    None
}

fn results(module: &Arc<dyn Module>) -> Vec<Val> {
    let mut imports = Imports::new();
    imports.func(
        "env",
        "offset",
        FuncType::new(&[], &[ValType::I64]),
        |_, _, results| {
            results[0] = Val::I64(1_000);
            Ok(())
        },
    );
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    let mut results = Vec::new();
    for (name, arguments) in [
        ("f", vec![Val::I32(0), Val::I64(-21)]),
        ("f", vec![Val::I32(1), Val::I64(-21)]),
        ("root", vec![Val::from(2.0_f64)]),
        ("root", vec![Val::from(-2.0_f64)]),
    ] {
        results.extend(instance.invoke(name, &arguments).unwrap());
    }
    assert_eq!(trap_of(instance.invoke("oops", &[])), Trap::Unreachable);
    let mut bytes = [0; 8];
    instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"compiled");
    results
}

#[apply(every_engine)]
fn a_precompiled_module_runs_in_a_new_engine_as_the_module_it_was_made_from(
    engine: &EngineUnderTest,
) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let expected = results(&engine.module(MODULE));
    assert_eq!(
        results(&engine.load(&wasm(), &precompiled).unwrap()),
        expected
    );
    let new = engine.with_config(&EngineConfig::default()).unwrap();
    assert_eq!(new.fingerprint(), engine.fingerprint());
    let loaded = new.load(&wasm(), &precompiled).unwrap();
    assert_eq!(results(&loaded), expected);
    assert_eq!(
        loaded.info().functions(),
        engine.module(MODULE).info().functions()
    );
    assert_eq!(loaded.info().hash(), ModuleHash::of(&wasm()));
}

#[apply(every_engine)]
fn a_precompiled_module_survives_its_way_through_a_file(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    assert_eq!(precompiled.module(), ModuleHash::of(&wasm()));
    assert_eq!(precompiled.fingerprint(), engine.fingerprint());
    let back = read(&precompiled.to_bytes()).unwrap();
    assert_eq!(back, precompiled);
    let expected = results(&engine.module(MODULE));
    assert_eq!(results(&engine.load(&wasm(), &back).unwrap()), expected);
}

#[apply(every_engine)]
fn a_loaded_module_can_be_precompiled_again(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let loaded = engine.load(&wasm(), &precompiled).unwrap();
    let again = loaded.precompiled().unwrap();
    let expected = results(&loaded);
    assert_eq!(results(&engine.load(&wasm(), &again).unwrap()), expected);
}

#[apply(every_engine)]
fn a_precompiled_module_of_other_bytes_is_refused(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let other = binary("(module (func (export \"f\")))");
    let error = refused(engine.load(&other, &precompiled));
    assert!(matches!(error, Error::Precompiled { .. }), "{error:?}");
}

#[apply(every_engine)]
fn a_precompiled_module_of_another_engine_is_refused(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    for other in engines::all() {
        if other.id() == engine.id() || !other.capabilities().precompiled {
            continue;
        }
        assert_ne!(other.fingerprint(), engine.fingerprint());
        let error = refused(other.load(&wasm(), &precompiled));
        assert!(
            matches!(error, Error::Precompiled { .. }),
            "{other:?}: {error:?}"
        );
    }
}

#[apply(every_engine)]
fn a_precompiled_module_of_another_configuration_is_refused(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    if !engine.fuelled().capabilities().fuel {
        return;
    }
    assert_ne!(engine.fuelled().fingerprint(), engine.fingerprint());
    let error = refused(engine.fuelled().load(&wasm(), &precompiled));
    assert!(matches!(error, Error::Precompiled { .. }), "{error:?}");
}

#[apply(every_engine)]
fn a_truncated_precompiled_module_is_refused_at_every_length(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let bytes = precompiled.to_bytes();
    // Each attempt hashes the rest: all lengths of the header, then a sample of the code.
    for len in (0..400).chain((400..bytes.len()).step_by(bytes.len() / 200 + 1)) {
        let error = refused(read(&bytes[..len.min(bytes.len() - 1)]));
        assert!(matches!(error, Error::Precompiled { .. }), "{error:?}");
    }
}

#[apply(every_engine)]
fn a_damaged_precompiled_module_is_refused(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let bytes = precompiled.to_bytes();
    for at in (0..bytes.len()).step_by(bytes.len() / 200 + 1) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        // The body's hash does not cover the module's: a flipped bit there names another module.
        let loaded = read(&damaged).and_then(|precompiled| engine.load(&wasm(), &precompiled));
        let error = refused(loaded);
        assert!(
            matches!(error, Error::Precompiled { .. }),
            "byte {at}: {error:?}"
        );
    }
}

#[apply(every_engine)]
fn code_that_no_engine_made_is_refused(engine: &EngineUnderTest) {
    if precompiled(engine).is_none() {
        return;
    }
    for code in [&b""[..], b"\x7fELF", b"\0asm\x01\0\0\0", &[0xaa; 100]] {
        let forged = Precompiled::new(ModuleHash::of(&wasm()), engine.fingerprint(), code.to_vec());
        let error = refused(engine.load(&wasm(), &forged));
        assert!(matches!(error, Error::Precompiled { .. }), "{error:?}");
    }
}

#[apply(every_engine)]
fn a_precompiled_module_offered_as_wasm_is_refused(engine: &EngineUnderTest) {
    let Some(precompiled) = precompiled(engine) else {
        return;
    };
    let code = precompiled
        .code_for(&wasm(), &engine.fingerprint())
        .unwrap();
    for bytes in [precompiled.to_bytes(), code.to_vec()] {
        let reason = module_error(engine.compile(&bytes));
        assert!(!reason.is_empty());
    }
}
