//! An engine has the capabilities that it names, and refuses modules that need others.

use conformance::prelude::*;

/// Runs `f` of a module that needs a capability and compares the result, or expects a refusal.
fn runs(engine: &EngineUnderTest, capable: bool, text: &str, expected: &Val) {
    if let Some(module) = engine.module_if(capable, text) {
        let mut instance = module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap();
        let results = instance.invoke("f", &[]).unwrap();
        assert_eq!(results, std::slice::from_ref(expected));
    }
}

#[apply(every_engine)]
fn simd_is_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module (func (export "f") (result i32)
        (i32x4.extract_lane 2 (i32x4.add
            (v128.const i32x4 1 2 3 4) (v128.const i32x4 10 20 30 40)))))"#;
    runs(engine, engine.capabilities().simd, text, &Val::I32(33));
}

#[apply(every_engine)]
fn host_objects_are_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module
        (table $t 1 externref)
        (func $is_null (param externref) (result i32) (ref.is_null (local.get 0)))
        (func (export "f") (result i32) (call $is_null (table.get $t (i32.const 0)))))"#;
    runs(engine, engine.capabilities().externref, text, &Val::I32(1));
}

#[apply(every_engine)]
fn several_memories_are_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory $a 1) (memory $b 2)
        (func (export "f") (result i32)
            (i32.store $b (i32.const 65536) (i32.const 9))
            (i32.add (i32.load $b (i32.const 65536)) (i32.load $a (i32.const 0)))))"#;
    runs(
        engine,
        engine.capabilities().multi_memory,
        text,
        &Val::I32(9),
    );
}

#[apply(every_engine)]
fn memories_of_64_bits_are_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory i64 1)
        (func (export "f") (result i64)
            (i64.store (i64.const 8) (i64.const 6))
            (i64.add (i64.load (i64.const 8)) (memory.size))))"#;
    runs(engine, engine.capabilities().memory64, text, &Val::I64(7));
}

#[apply(every_engine)]
fn tail_calls_are_as_the_capability_says(engine: &EngineUnderTest) {
    // A million calls: they end without a trap only if each tail call replaces its frame.
    let text = r#"(module
        (func $count (param i32 i32) (result i32)
            (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
            (return_call $count
                (i32.sub (local.get 0) (i32.const 1))
                (i32.add (local.get 1) (i32.const 2))))
        (func (export "f") (result i32)
            (return_call $count (i32.const 1000000) (i32.const 0))))"#;
    runs(
        engine,
        engine.capabilities().tail_calls,
        text,
        &Val::I32(2_000_000),
    );
}

#[apply(every_engine)]
fn threads_are_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory 1 1 shared)
        (func (export "f") (result i32)
            (drop (i32.atomic.rmw.add (i32.const 0) (i32.const 5)))
            (atomic.fence)
            (i32.atomic.load (i32.const 0))))"#;
    runs(engine, engine.capabilities().threads, text, &Val::I32(5));
    let memory = engine.shared_memory(MemoryType::shared(1, 2));
    if engine.capabilities().threads {
        assert_eq!(memory.unwrap().size(), PAGE_BYTES);
    } else {
        let error = refused(memory);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
}

#[apply(every_engine)]
fn interruption_is_as_the_capability_says(engine: &EngineUnderTest) {
    let text = r#"(module (func (export "f") (result i32) i32.const 1))"#;
    let limits = Limits {
        deadline: Some(Duration::from_mins(1)),
        ..Limits::default()
    };
    let limited = engine.instantiate_with(text, &Imports::new(), &limits);
    let interrupter = engine.instantiate(text).interrupter();
    if engine.capabilities().interruption {
        assert_eq!(limited.unwrap().invoke("f", &[]).unwrap(), [Val::I32(1)]);
        interrupter.unwrap();
    } else {
        let error = refused(limited);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        let error = refused(interrupter);
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    }
}

#[apply(every_engine)]
fn every_engine_has_what_a_proxy_cannot_do_without(engine: &EngineUnderTest) {
    // Both runtimes and all compilers have these.
    let can = engine.capabilities();
    assert!(can.interruption, "deadlines");
    assert!(can.precompiled, "precompiled modules");
    assert!(engine.fuelled().capabilities().fuel, "fuel");
}

#[apply(every_engine)]
fn features_of_the_core_need_no_capability(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory 1)
        (table $t 3 funcref)
        (data $passive "\01\02\03\04")
        (func $pair (result i32 i32) i32.const 30 i32.const 12)
        (func (export "f") (result i32)
            (memory.init $passive (i32.const 0) (i32.const 0) (i32.const 4))
            (memory.copy (i32.const 8) (i32.const 0) (i32.const 4))
            (table.fill $t (i32.const 0) (ref.func $pair) (i32.const 2))
            (drop (table.grow $t (ref.null func) (i32.const 1)))
            (i32.add (call $pair))
            (i32.add (i32.extend8_s (i32.load8_u (i32.const 11))))
            (i32.add (i32.trunc_sat_f32_s (f32.const -1e30)))
            (i32.sub (i32.const -2147483648)))
        (elem declare func $pair))"#;
    runs(engine, true, text, &Val::I32(46));
}

#[apply(every_engine)]
fn relaxed_simd_is_never_on_because_its_results_differ(engine: &EngineUnderTest) {
    let error = refused(engine.compile_wat(
        r#"(module (func (export "f") (param v128 v128 v128) (result v128)
            (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))"#,
    ));
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
}

#[apply(every_engine)]
fn other_proposals_run_or_are_unsupported_but_never_invalid(
    engine: &EngineUnderTest,
    #[values(
        "(module (func (export \"f\") (result i32)
            (block $caught (try_table (catch_all $caught) (nop)))
            (i32.const 1)))",
        "(module (type $s (struct (field i32)))
            (func (export \"f\") (result i32)
                (struct.get $s 0 (struct.new $s (i32.const 1)))))",
        "(module (type $t (func (result i32))) (elem declare func $one)
            (func $one (type $t) i32.const 1)
            (func (export \"f\") (result i32) (call_ref $t (ref.func $one))))",
        "(module (global $a i32 (i32.const 3)) (global $b i32 (i32.sub (global.get $a) (i32.const 2)))
            (func (export \"f\") (result i32) (global.get $b)))",
        "(module (table $t i64 1 funcref)
            (func (export \"f\") (result i32) (i32.wrap_i64 (table.size $t))))",
        "(module (func (export \"f\") (result i32) (local i64 i64)
            (i64.add128 (i64.const 1) (i64.const 0) (i64.const 0) (i64.const 0))
            (local.set 0) (i32.wrap_i64)))"
    )]
    text: &str,
) {
    match engine.compile_wat(text) {
        Ok(module) => {
            let mut instance = module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap();
            assert_eq!(instance.invoke("f", &[]).unwrap(), [Val::I32(1)]);
        }
        Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error:?}"),
    }
}

#[apply(every_engine)]
fn the_list_of_capabilities_is_complete_and_named(engine: &EngineUnderTest) {
    let list = engine.capabilities().list();
    let names: std::collections::BTreeSet<_> = list.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), list.len());
}
