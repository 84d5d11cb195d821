//! Host functions: every type passes, memory is checked, failures end the call with their cause.

use std::sync::atomic::{AtomicU32, Ordering};

use conformance::prelude::*;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("out of paper: {sheets} sheets left")]
struct OutOfPaper {
    sheets: u32,
}

/// Imports with the one function `env` `host` of a type.
fn host<F>(params: &[ValType], results: &[ValType], function: F) -> Imports
where
    F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
{
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::new(params, results), function);
    imports
}

/// A host function that returns its arguments in reverse.
fn reversing(params: &[ValType]) -> Imports {
    let mut results = params.to_vec();
    results.reverse();
    host(params, &results, |_, args, results| {
        for (result, arg) in results.iter_mut().zip(args.iter().rev()) {
            *result = arg.clone();
        }
        Ok(())
    })
}

fn passing_through(types: &[ValType]) -> String {
    let params: Vec<String> = types.iter().map(ToString::to_string).collect();
    let results: Vec<String> = types.iter().rev().map(ToString::to_string).collect();
    let (params, results) = (params.join(" "), results.join(" "));
    let gets: String = (0..types.len())
        .map(|local| format!("local.get {local} "))
        .collect();
    format!(
        r#"(module
            (import "env" "host" (func $host (param {params}) (result {results})))
            (func (export "f") (param {params}) (result {results}) {gets} call $host))"#
    )
}

#[apply(every_engine)]
fn numbers_of_every_type_pass_in_both_directions(engine: &EngineUnderTest) {
    for value in [
        Val::I32(i32::MIN),
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::I64(i64::MAX),
        Val::F32(0x7fc1_2345),
        Val::F32(0xff81_2345),
        Val::from(f32::MIN_POSITIVE),
        Val::F64(0xfff0_0000_dead_beef),
        Val::from(-0.0_f64),
        Val::from(f64::MAX),
    ] {
        passes(engine, value);
    }
}

/// Gives a value to a guest, which gives it to the host, which gives it back through the guest.
#[track_caller]
fn passes(engine: &EngineUnderTest, value: Val) {
    let types = [value.ty()];
    let mut instance = engine.instantiate_importing(&passing_through(&types), &reversing(&types));
    let back = instance.invoke("f", std::slice::from_ref(&value)).unwrap();
    assert_eq!(back, [value]);
}

#[apply(every_engine)]
fn many_arguments_of_mixed_types_reach_the_host_in_order(engine: &EngineUnderTest) {
    use ValType::{F32, F64, I32, I64};
    let types = [I32, I64, F32, F64, F64, F32, I64, I32, I32, F32, I64, F64].repeat(3);
    let arguments: Vec<Val> = (0_u8..)
        .zip(&types)
        .map(|(position, ty)| match ty {
            I32 => Val::I32(position.into()),
            I64 => Val::I64(position.into()),
            F32 => Val::F32(position.into()),
            _ => Val::F64(position.into()),
        })
        .collect();
    let expected = arguments.clone();
    let imports = host(&types, &[], move |_, args, _| {
        assert_eq!(args, expected);
        Ok(())
    });
    let params: Vec<String> = types.iter().map(ToString::to_string).collect();
    let params = params.join(" ");
    let gets: String = (0..types.len())
        .map(|local| format!("local.get {local} "))
        .collect();
    let text = format!(
        r#"(module
            (import "env" "host" (func $host (param {params})))
            (func (export "f") (param {params}) {gets} call $host))"#
    );
    engine
        .instantiate_importing(&text, &imports)
        .invoke("f", &arguments)
        .unwrap();
}

#[apply(every_engine)]
fn vectors_pass_in_both_directions(engine: &EngineUnderTest) {
    let text = passing_through(&[ValType::V128]);
    if engine
        .module_if(engine.capabilities().simd, &text)
        .is_some()
    {
        passes(engine, Val::V128(u128::MAX / 3));
        passes(engine, Val::V128(1 << 100));
    }
}

#[apply(every_engine)]
fn function_references_pass_in_both_directions(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(
        r#"(module
            (import "env" "host" (func $host (param funcref) (result funcref)))
            (type $number (func (result i32)))
            (table $slot 1 funcref)
            (func $five (result i32) i32.const 5)
            (elem declare func $five)
            (func (export "through_host") (result i32)
                (table.set $slot (i32.const 0) (call $host (ref.func $five)))
                (call_indirect $slot (type $number) (i32.const 0)))
            (func (export "null_through_host") (result i32)
                (ref.is_null (call $host (ref.null func)))))"#,
        &reversing(&[ValType::FuncRef]),
    );
    assert_eq!(instance.invoke("through_host", &[]).unwrap(), [Val::I32(5)]);
    assert_eq!(
        instance.invoke("null_through_host", &[]).unwrap(),
        [Val::I32(1)]
    );
}

#[apply(every_engine)]
fn host_objects_pass_in_both_directions(engine: &EngineUnderTest) {
    let text = passing_through(&[ValType::ExternRef]);
    if engine
        .module_if(engine.capabilities().externref, &text)
        .is_some()
    {
        passes(engine, Val::ExternRef(Some(ExternRef::new("an object"))));
        passes(engine, Val::ExternRef(None));
    }
}

#[apply(every_engine)]
fn a_result_starts_as_the_zero_of_its_type(engine: &EngineUnderTest) {
    for ty in [ValType::I32, ValType::I64, ValType::F32, ValType::F64] {
        let imports = host(&[ty], &[ty], move |_, _, results| {
            assert_eq!(results, [Val::zero(ty)]);
            Ok(())
        });
        let mut instance = engine.instantiate_importing(&passing_through(&[ty]), &imports);
        assert_eq!(
            instance.invoke("f", &[Val::zero(ty)]).unwrap(),
            [Val::zero(ty)]
        );
    }
}

const MEMORY: &str = r#"(module
    (import "env" "host" (func $host (param i32 i32) (result i32)))
    (memory (export "memory") 1 4)
    (data (i32.const 65530) "ending")
    (func (export "f") (param i32 i32) (result i32)
        (call $host (local.get 0) (local.get 1)))
    (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

fn pointer(value: &Val) -> u64 {
    u64::from(value.i32().unwrap().cast_unsigned())
}

#[apply(every_engine)]
fn a_host_function_reads_and_writes_the_guests_memory(engine: &EngineUnderTest) {
    let imports = host(
        &[ValType::I32; 2],
        &[ValType::I32],
        |caller, args, results| {
            let memory = caller.memory_index("memory")?;
            let mut bytes = vec![0; usize::try_from(pointer(&args[1])).unwrap()];
            caller.memory_read(memory, pointer(&args[0]), &mut bytes)?;
            bytes.make_ascii_uppercase();
            caller.memory_write(memory, pointer(&args[0]), &bytes)?;
            results[0] = Val::I32(bytes.iter().map(|byte| i32::from(*byte)).sum());
            Ok(())
        },
    );
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    let sum = instance
        .invoke("f", &[Val::I32(65_530), Val::I32(6)])
        .unwrap();
    assert_eq!(
        sum,
        [Val::I32(
            b"ENDING".iter().map(|byte| i32::from(*byte)).sum()
        )]
    );
    let last = instance.invoke("byte", &[Val::I32(65_535)]).unwrap();
    assert_eq!(last, [Val::I32(i32::from(b'G'))]);
}

#[apply(every_engine)]
fn an_access_of_the_host_outside_the_memory_is_refused_and_ends_the_call(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32; 2], &[ValType::I32], |caller, args, _| {
        let memory = caller.memory_index("memory")?;
        let mut bytes = vec![0xee; usize::try_from(pointer(&args[1])).unwrap()];
        let read = caller.memory_read(memory, pointer(&args[0]), &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 0xee), "nothing is copied");
        let write = caller.memory_write(memory, pointer(&args[0]), &bytes);
        assert!(matches!(write, Err(Error::OutOfBounds { .. })), "{write:?}");
        read
    });
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    for (offset, len) in [
        (0xffff_fff0_u32, 0x20_i32),
        (65_530, 7),
        (65_536, 1),
        (u32::MAX, 1),
    ] {
        let arguments = [Val::from(offset), Val::I32(len)];
        let error = refused(instance.invoke("f", &arguments));
        let Error::Host {
            module,
            name,
            source,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((module.as_str(), name.as_str()), ("env", "host"));
        match source.downcast_ref::<Error>() {
            Some(Error::OutOfBounds {
                offset: told,
                len: told_len,
                size,
            }) => {
                assert_eq!(*told, u64::from(offset));
                assert_eq!(*told_len, u64::try_from(len).unwrap());
                assert_eq!(*size, PAGE_BYTES);
            }
            other => panic!("{other:?}"),
        }
    }
    let last = instance.invoke("byte", &[Val::I32(65_535)]).unwrap();
    assert_eq!(last, [Val::I32(i32::from(b'g'))], "nothing was written");
}

#[apply(every_engine)]
fn a_host_function_grows_the_memory_and_uses_it_at_once(engine: &EngineUnderTest) {
    let imports = host(
        &[ValType::I32; 2],
        &[ValType::I32],
        |caller, args, results| {
            let memory = caller.memory_index("memory")?;
            let before = caller.memory_grow(memory, pointer(&args[0]))?;
            let size = caller.memory_size(memory)?;
            caller.memory_write(memory, size - 1, &[42])?;
            results[0] = Val::I32(i32::try_from(before).unwrap());
            Ok(())
        },
    );
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    let before = instance.invoke("f", &[Val::I32(2), Val::I32(0)]).unwrap();
    assert_eq!(before, [Val::I32(1)]);
    let last = instance
        .invoke("byte", &[Val::I32(3 * 65_536 - 1)])
        .unwrap();
    assert_eq!(last, [Val::I32(42)]);
    let error = refused(instance.invoke("f", &[Val::I32(2), Val::I32(0)]));
    let Error::Host { source, .. } = error else {
        panic!("{error:?}")
    };
    let growth = source.downcast_ref::<Error>();
    assert!(
        matches!(
            growth,
            Some(Error::Growth {
                current: 3,
                delta: 2
            })
        ),
        "{growth:?}"
    );
}

const NESTED: &str = r#"(module
    (import "env" "host" (func $host (param i32) (result i32)))
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (table (export "table") 1 10 funcref)
    (func (export "outer") (param i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.add (call $host (local.get 0)) (i32.const 1)))
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "oops") (param i32) (result i32) unreachable))"#;

#[apply(every_engine)]
fn a_host_function_calls_back_an_export(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        results[0] = caller.invoke("double", args)?.remove(0);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(21)]).unwrap(),
        [Val::I32(43)]
    );
}

#[apply(every_engine)]
fn calls_nest_many_levels_deep(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        let level = args[0].i32().unwrap();
        if level > 0 {
            results[0] = caller.invoke("outer", &[Val::I32(level - 1)])?.remove(0);
        }
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(30)]).unwrap(),
        [Val::I32(31)]
    );
}

#[apply(every_engine)]
fn a_host_function_reaches_globals_and_tables(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        let calls = caller.global_index("calls")?;
        results[0] = caller.global(calls)?;
        caller.set_global(calls, &args[0])?;
        let table = caller.table_index("table")?;
        assert_eq!(caller.table_size(table)?, 1);
        assert_eq!(caller.table_grow(table, 3, &Val::FuncRef(None))?, 1);
        assert_eq!(caller.info().functions().len(), 3);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(70)]).unwrap(),
        [Val::I32(2)]
    );
    let calls = instance.global_index("calls").unwrap();
    assert_eq!(instance.global(calls).unwrap(), Val::I32(70));
    assert_eq!(instance.table_size(TableIndex(0)).unwrap(), 4);
}

#[apply(every_engine)]
fn a_trap_of_a_nested_call_ends_the_outer_call_with_the_same_trap(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, _| {
        caller.invoke("oops", args).map(drop)
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for _ in 0..3 {
        assert_eq!(
            trap_of(instance.invoke("outer", &[Val::I32(1)])),
            Trap::Unreachable
        );
        assert_eq!(
            instance.invoke("double", &[Val::I32(4)]).unwrap(),
            [Val::I32(8)]
        );
    }
}

#[apply(every_engine)]
fn a_host_function_that_swallows_a_nested_trap_goes_on(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        assert_eq!(trap_of(caller.invoke("oops", args)), Trap::Unreachable);
        results[0] = Val::I32(6);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(1)]).unwrap(),
        [Val::I32(7)]
    );
}

#[apply(every_engine)]
fn a_trap_that_a_host_function_returns_is_the_guests_trap(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, _, _| {
        Err(Error::Trap(Trap::IntegerOverflow))
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        trap_of(instance.invoke("outer", &[Val::I32(1)])),
        Trap::IntegerOverflow
    );
}

#[apply(every_engine)]
fn a_wrong_nested_call_is_refused_like_any_other(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, _, results| {
        let error = refused(caller.invoke("double", &[Val::I64(1)]));
        assert!(matches!(error, Error::Signature { .. }), "{error:?}");
        let error = refused(caller.call(FuncIndex(99), &[], &mut []));
        assert!(matches!(error, Error::NoSuchExport { .. }), "{error:?}");
        results[0] = Val::I32(1);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(1)]).unwrap(),
        [Val::I32(2)]
    );
}

#[apply(every_engine)]
fn a_host_functions_own_error_comes_out_as_the_source(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, _, _| {
        Err(Error::Host {
            module: "env".to_owned(),
            name: "host".to_owned(),
            source: Box::new(OutOfPaper { sheets: 3 }),
        })
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for _ in 0..3 {
        let error = refused(instance.invoke("outer", &[Val::I32(1)]));
        assert_eq!(error.to_string(), "host function `env` `host` failed");
        let Error::Host { source, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(source.downcast_ref(), Some(&OutOfPaper { sheets: 3 }));
    }
    assert_eq!(
        instance.invoke("double", &[Val::I32(4)]).unwrap(),
        [Val::I32(8)]
    );
}

#[apply(every_engine)]
fn an_error_of_a_nested_host_function_comes_out_through_both(engine: &EngineUnderTest) {
    // Level 1 fails, level 0 passes the error on: it still names the function that failed.
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        if args[0] == Val::I32(0) {
            return Err(Error::Growth {
                current: 8,
                delta: 9,
            });
        }
        results[0] = caller.invoke("outer", &[Val::I32(0)])?.remove(0);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    let error = refused(instance.invoke("outer", &[Val::I32(1)]));
    let Error::Host { source, .. } = error else {
        panic!("{error:?}")
    };
    let inner = source.downcast_ref::<Error>();
    assert!(
        matches!(
            inner,
            Some(Error::Growth {
                current: 8,
                delta: 9
            })
        ),
        "{inner:?}"
    );
}

#[apply(every_engine)]
fn a_panic_in_a_host_function_is_an_error_and_the_process_lives(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, args, _| {
        panic!(
            "this panic belongs to the case, number {}",
            args[0].i32().unwrap()
        )
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for number in 0..3 {
        match refused(instance.invoke("outer", &[Val::I32(number)])) {
            Error::HostPanicked {
                module,
                name,
                message,
            } => {
                assert_eq!((module.as_str(), name.as_str()), ("env", "host"));
                assert!(message.ends_with(&format!("number {number}")), "{message}");
            }
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(
        instance.invoke("double", &[Val::I32(4)]).unwrap(),
        [Val::I32(8)]
    );
}

#[apply(every_engine)]
fn results_of_the_wrong_type_are_an_error_of_the_host(engine: &EngineUnderTest) {
    for wrong in [
        Val::I64(1),
        Val::F32(1),
        Val::FuncRef(None),
        Val::ExternRef(None),
        Val::V128(1),
    ] {
        let given = wrong.clone();
        let imports = host(&[ValType::I32], &[ValType::I32], move |_, _, results| {
            results[0] = given.clone();
            Ok(())
        });
        let mut instance = engine.instantiate_importing(NESTED, &imports);
        let error = refused(instance.invoke("outer", &[Val::I32(1)]));
        let Error::Host { source, .. } = error else {
            panic!("{error:?}")
        };
        match source.downcast_ref::<Error>() {
            Some(Error::ValueType {
                expected: ValType::I32,
                got,
            }) => assert_eq!(*got, wrong.ty()),
            other => panic!("{other:?}"),
        }
    }
}

#[apply(every_engine)]
fn a_forged_function_reference_from_a_host_function_ends_the_call(engine: &EngineUnderTest) {
    let imports = host(&[], &[ValType::FuncRef], |_, _, results| {
        results[0] = Val::FuncRef(Some(FuncRef::new(u64::MAX, 0)));
        Ok(())
    });
    let mut instance = engine.instantiate_importing(
        r#"(module
            (import "env" "host" (func $host (result funcref)))
            (func (export "f") (result i32) (ref.is_null (call $host))))"#,
        &imports,
    );
    let error = refused(instance.invoke("f", &[]));
    let foreign = match &error {
        Error::ForeignReference => true,
        Error::Host { source, .. } => {
            matches!(source.downcast_ref(), Some(Error::ForeignReference))
        }
        _ => false,
    };
    assert!(foreign, "{error:?}");
}

#[apply(every_engine)]
fn a_storm_of_host_calls_loses_none(engine: &EngineUnderTest) {
    const CALLS: u32 = 100_000;
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let imports = host(&[ValType::I32], &[ValType::I32], move |_, args, results| {
        counter.fetch_add(1, Ordering::Relaxed);
        results[0] = Val::I32(args[0].i32().unwrap() - 1);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(
        r#"(module
            (import "env" "host" (func $host (param i32) (result i32)))
            (func (export "storm") (param i32)
                (loop $again
                    (local.set 0 (call $host (local.get 0)))
                    (br_if $again (local.get 0)))))"#,
        &imports,
    );
    instance.invoke("storm", &[Val::from(CALLS)]).unwrap();
    assert_eq!(count.load(Ordering::Relaxed), CALLS);
}

#[apply(every_engine)]
fn host_functions_serve_instances_on_several_threads_at_once(engine: &EngineUnderTest) {
    let count = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&count);
    let imports = host(&[ValType::I32], &[ValType::I32], move |_, args, results| {
        counter.fetch_add(1, Ordering::Relaxed);
        results[0] = args[0].clone();
        Ok(())
    });
    let module = engine.module(NESTED);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
                for number in 0..500 {
                    let result = instance.invoke("outer", &[Val::I32(number)]).unwrap();
                    assert_eq!(result, [Val::I32(number + 1)]);
                }
            });
        }
    });
    assert_eq!(count.load(Ordering::Relaxed), 2_000);
}

#[apply(every_engine)]
fn a_host_function_is_dropped_with_its_last_owner(engine: &EngineUnderTest) {
    let owned = Arc::new(());
    let inside = Arc::clone(&owned);
    let imports = host(&[ValType::I32], &[ValType::I32], move |_, _, _| {
        let _ = &inside;
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    instance.invoke("outer", &[Val::I32(1)]).unwrap();
    drop(imports);
    assert_eq!(Arc::strong_count(&owned), 2);
    drop(instance);
    assert_eq!(
        Arc::strong_count(&owned),
        1,
        "a dropped instance keeps its host functions"
    );
}
