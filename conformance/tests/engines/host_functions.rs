//! Host functions: values of every type get through, and no call is lost.

use std::sync::atomic::{AtomicU32, Ordering};

use conformance::prelude::*;

/// Imports with one function, `env` `host`, of this type.
pub(super) fn host<F>(params: &[ValType], results: &[ValType], function: F) -> Imports
where
    F: Fn(&mut dyn Caller, &[Val], &mut [Val]) -> Result<(), Error> + Send + Sync + 'static,
{
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::new(params, results), function);
    imports
}

/// A module whose exports count their calls, double, trap, and call the host.
pub(super) const NESTED: &str = r#"(module
    (import "env" "host" (func $host (param i32) (result i32)))
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (table (export "table") 1 10 funcref)
    (func (export "outer") (param i32) (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.add (call $host (local.get 0)) (i32.const 1)))
    (func (export "double") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "oops") (param i32) (result i32) unreachable))"#;

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

/// Passes a value through a guest to the host, and back the same way.
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
