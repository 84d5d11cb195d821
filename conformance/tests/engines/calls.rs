//! Calls that do not fit are refused before anything runs.

use conformance::prelude::*;

const COUNTING: &str = r#"(module
    (memory (export "memory") 1)
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (func $hidden)
    (func (export "count") (param i32 i64) (result f64)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        f64.const 1))"#;

fn calls(instance: &mut dyn Instance) -> Val {
    let index = instance.global_index("calls").unwrap();
    instance.global(index).unwrap()
}

#[apply(every_engine)]
fn wrong_types_are_refused_before_anything_runs(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    for arguments in [
        [Val::I64(1), Val::I64(1)],
        [Val::I32(1), Val::I32(1)],
        [Val::I32(1), Val::F64(1)],
        [Val::F32(1), Val::I64(1)],
        [Val::V128(1), Val::I64(1)],
        [Val::FuncRef(None), Val::I64(1)],
        [Val::I32(1), Val::ExternRef(None)],
    ] {
        let error = refused(instance.invoke("count", &arguments));
        let Error::Signature {
            name,
            expected,
            got,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!(name, "count");
        assert_eq!(
            expected,
            FuncType::new(&[ValType::I32, ValType::I64], &[ValType::F64])
        );
        assert_eq!(got.params(), arguments.each_ref().map(Val::ty));
    }
    assert_eq!(calls(instance.as_mut()), Val::I32(0));
}

#[apply(every_engine)]
fn a_wrong_number_of_arguments_is_refused(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    let three = [Val::I32(1), Val::I64(1), Val::I64(1)];
    for arguments in [&three[..0], &three[..1], &three[..]] {
        let error = refused(instance.invoke("count", arguments));
        assert!(matches!(error, Error::Signature { .. }), "{error:?}");
    }
    assert_eq!(calls(instance.as_mut()), Val::I32(0));
}

#[apply(every_engine)]
fn a_wrong_number_of_result_slots_is_refused(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    let (count, _) = instance.info().function("count").unwrap();
    for slots in [0, 2] {
        let mut results = vec![Val::F64(0); slots];
        let error = refused(instance.call(count, &[Val::I32(1), Val::I64(1)], &mut results));
        assert!(matches!(error, Error::Signature { .. }), "{error:?}");
    }
    assert_eq!(calls(instance.as_mut()), Val::I32(0));
}

#[apply(every_engine)]
fn result_slots_are_overwritten_whatever_they_held(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    let (count, _) = instance.info().function("count").unwrap();
    for before in [
        Val::F64(42),
        Val::I32(-1),
        Val::ExternRef(Some(ExternRef::new(1_u8))),
    ] {
        let mut results = [before];
        instance
            .call(count, &[Val::I32(1), Val::I64(1)], &mut results)
            .unwrap();
        assert_eq!(results, [Val::from(1.0_f64)]);
    }
}

#[apply(every_engine)]
fn an_unknown_function_is_no_such_export(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    for index in [1, 2, 1_000, u32::MAX] {
        let error = refused(instance.call(FuncIndex(index), &[], &mut []));
        assert!(
            matches!(
                error,
                Error::NoSuchExport {
                    kind: "function",
                    ..
                }
            ),
            "{error:?}"
        );
    }
    for name in ["hidden", "memory", "calls", "", "Count"] {
        let error = refused(instance.invoke(name, &[]));
        assert!(
            matches!(
                error,
                Error::NoSuchExport {
                    kind: "function",
                    ..
                }
            ),
            "{error:?}"
        );
    }
}

#[apply(every_engine)]
fn unknown_memories_tables_and_globals_are_no_such_export(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    let null = Val::FuncRef(None);
    for index in [1, 7, u32::MAX] {
        let (memory, global) = (MemoryIndex(index), GlobalIndex(index));
        for error in [
            refused(instance.memory_size(memory)),
            refused(instance.memory_read(memory, 0, &mut [0])),
            refused(instance.memory_write(memory, 0, &[0])),
            refused(instance.memory_grow(memory, 1)),
        ] {
            assert!(
                matches!(error, Error::NoSuchExport { kind: "memory", .. }),
                "{error:?}"
            );
        }
        for error in [
            refused(instance.global(global)),
            refused(instance.set_global(global, &Val::I32(1))),
        ] {
            assert!(
                matches!(error, Error::NoSuchExport { kind: "global", .. }),
                "{error:?}"
            );
        }
    }
    for index in [0, 1, u32::MAX] {
        let table = TableIndex(index);
        for error in [
            refused(instance.table_size(table)),
            refused(instance.table_grow(table, 1, &null)),
        ] {
            assert!(
                matches!(error, Error::NoSuchExport { kind: "table", .. }),
                "{error:?}"
            );
        }
    }
}

#[apply(every_engine)]
fn one_function_under_two_names_has_two_indexes(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module (func $f (result i32) i32.const 3) (export "a" (func $f)) (export "b" (func $f)))"#,
    );
    for index in [0, 1] {
        let mut results = [Val::I32(0)];
        instance.call(FuncIndex(index), &[], &mut results).unwrap();
        assert_eq!(results, [Val::I32(3)]);
    }
}

#[apply(every_engine)]
fn an_import_exported_again_is_called_like_any_function(engine: &EngineUnderTest) {
    let mut imports = Imports::new();
    let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
    imports.func("env", "double", ty, |_, args, results| {
        results[0] = Val::I32(args[0].i32().unwrap() * 2);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(
        r#"(module
            (import "env" "double" (func $double (param i32) (result i32)))
            (export "again" (func $double)))"#,
        &imports,
    );
    assert_eq!(
        instance.invoke("again", &[Val::I32(21)]).unwrap(),
        [Val::I32(42)]
    );
}

#[apply(every_engine)]
fn an_instance_moves_between_threads(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(COUNTING);
    for _ in 0..4 {
        instance = std::thread::spawn(move || {
            instance
                .invoke("count", &[Val::I32(1), Val::I64(1)])
                .unwrap();
            instance
        })
        .join()
        .unwrap();
    }
    assert_eq!(calls(instance.as_mut()), Val::I32(4));
}

#[apply(every_engine)]
fn instances_of_one_module_share_no_state(engine: &EngineUnderTest) {
    let mut one = engine.instantiate(COUNTING);
    let mut other = engine.instantiate(COUNTING);
    one.invoke("count", &[Val::I32(1), Val::I64(1)]).unwrap();
    one.memory_write(MemoryIndex(0), 0, b"one").unwrap();
    let mut bytes = [9; 3];
    other.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
    assert_eq!((calls(other.as_mut()), bytes), (Val::I32(0), [0; 3]));
    assert_eq!(calls(one.as_mut()), Val::I32(1));
}

#[apply(every_engine)]
fn an_engine_says_its_name(engine: &EngineUnderTest) {
    assert_eq!(engine.id().to_string(), engine.name());
    let fingerprint = engine.fingerprint();
    assert!(fingerprint.contains(engine.id().runtime), "{fingerprint}");
    assert!(fingerprint.contains(engine.id().compiler), "{fingerprint}");
}
