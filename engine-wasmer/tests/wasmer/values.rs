//! Values, references and host functions.

use engine_api::{
    Engine, Error, Extern, ExternRef, FuncType, Imports, InstanceExt, Limits, MemoryIndex,
    TableType, Trap, Val, ValType,
};
use engine_wasmer::Wasmer;

use super::{compile, engines, invoke};

/// Values of all types that the engine supports, including NaNs with payloads.
fn all_values(engine: &Wasmer, reference: &Val) -> Vec<Val> {
    let mut values = vec![
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::F32(0x7fa0_1234),
        Val::F64(0x7ff4_0000_dead_beef),
        reference.clone(),
        Val::ExternRef(Some(ExternRef::new("object"))),
    ];
    if engine.capabilities().simd {
        values.push(Val::V128(0x0246_8ace_f135_79bd_0246_8ace_f135_79bd));
    }
    values
}

/// A module that passes a list of values to the host, and returns what the host gives back.
fn echo_module(types: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<String> = types.iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    let (params, results) = (list(types), list(results));
    let gets: Vec<String> = (0..types.len())
        .map(|at| format!("(local.get {at})"))
        .collect();
    let gets = gets.join(" ");
    format!(
        r#"(module
            (import "env" "echo" (func $echo (param {params}) (result {results})))
            (func (export "pass") (param {params}) (result {results}) (call $echo {gets}))
            (func $f (export "f") (result i32) (i32.const 7))
            (elem declare func $f)
            (func (export "ref") (result funcref) (ref.func $f)))"#
    )
}

fn check_echo(engine: &Wasmer, types: &[ValType], results: &[ValType], shift: usize) {
    let mut imports = Imports::new();
    let ty = FuncType::new(types, results);
    imports.func("env", "echo", ty, move |_, args, results| {
        results.clone_from_slice(&args[shift..shift + results.len()]);
        Ok(())
    });
    let module = compile(engine, &echo_module(types, results));
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    let instance = &mut *instance;
    let reference = invoke(instance, "ref", &[]).unwrap().remove(0);
    assert_eq!(invoke(instance, "ref", &[]).unwrap()[0], reference);
    assert!(matches!(reference, Val::FuncRef(Some(_))));
    let args = all_values(engine, &reference);
    let expected = &args[shift..shift + results.len()];
    assert_eq!(
        invoke(instance, "pass", &args).unwrap(),
        expected,
        "{engine:?}"
    );
    let nulls: Vec<Val> = types.iter().map(|ty| Val::zero(*ty)).collect();
    let expected = &nulls[shift..shift + results.len()];
    assert_eq!(invoke(instance, "pass", &nulls).unwrap(), expected);

    let mut other = module.instantiate(&imports, &Limits::default()).unwrap();
    let error = invoke(&mut *other, "pass", &args).unwrap_err();
    assert!(matches!(error, Error::ForeignReference), "{error}");
}

#[test]
fn all_value_types_pass_both_boundaries_unchanged() {
    for engine in engines() {
        let types: Vec<ValType> = all_values(&engine, &Val::FuncRef(None))
            .iter()
            .map(Val::ty)
            .collect();
        for (shift, ty) in types.iter().enumerate() {
            check_echo(&engine, &types, &[*ty], shift);
        }
        if engine.id().compiler == "singlepass" {
            let wat = echo_module(&types, &types);
            let error = engine.compile(&wat::parse_str(wat).unwrap()).err().unwrap();
            assert!(error.to_string().contains("several results"), "{error}");
        } else {
            check_echo(&engine, &types, &types, 0);
        }
    }
}

#[test]
fn errors_of_host_functions_come_back_through_nested_calls() {
    for engine in engines() {
        let module = compile(
            &engine,
            r#"(module
                (import "env" "back" (func $back (param i32) (result i32)))
                (memory (export "m") 1)
                (func (export "go") (param i32) (result i32)
                    (i32.add (i32.const 1) (call $back (local.get 0))))
                (func (export "trap") unreachable))"#,
        );
        let mut imports = Imports::new();
        let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
        imports.func("env", "back", ty, |caller, args, results| {
            let depth = args[0].i32().unwrap();
            let index = caller.memory_index("m")?;
            caller.memory_write(index, u64::try_from(depth).unwrap(), &[1])?;
            match depth {
                0 => results[0] = Val::I32(100),
                50 => drop(caller.invoke("trap", &[])?),
                60 => {
                    return Err(Error::Growth {
                        current: 1,
                        delta: 2,
                    });
                }
                70 => panic!("on purpose"),
                80 => results[0] = Val::I64(1),
                _ => results[0] = caller.invoke("go", &[Val::I32(depth - 1)])?.remove(0),
            }
            Ok(())
        });
        let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
        let instance = &mut *instance;
        assert_eq!(
            invoke(instance, "go", &[Val::I32(5)]).unwrap(),
            [Val::I32(106)]
        );
        let mut bytes = [0; 7];
        instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
        assert_eq!(bytes, [1, 1, 1, 1, 1, 1, 0]);
        for depth in [50, 52] {
            let error = invoke(instance, "go", &[Val::I32(depth)]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::Unreachable));
        }
        for depth in [60, 63, 80] {
            let error = invoke(instance, "go", &[Val::I32(depth)]).unwrap_err();
            assert!(matches!(error, Error::Host { .. }), "{error:?}");
        }
        for depth in [70, 73] {
            let error = invoke(instance, "go", &[Val::I32(depth)]).unwrap_err();
            assert!(matches!(error, Error::HostPanicked { .. }), "{error:?}");
        }
        assert_eq!(
            invoke(instance, "go", &[Val::I32(3)]).unwrap(),
            [Val::I32(104)]
        );
    }
}

#[test]
fn tables_globals_and_references_work_from_the_host() {
    for engine in engines() {
        let module = compile(
            &engine,
            r#"(module
                (import "env" "t" (table $t 1 externref))
                (import "env" "g" (global $g (mut externref)))
                (table $f (export "f") 1 4 funcref)
                (func $seven (export "seven") (result i32) (i32.const 7))
                (func (export "put") (param i32 externref) (table.set $t (local.get 0) (local.get 1)))
                (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
                (func (export "global") (result externref) (global.get $g))
                (func (export "call") (param i32) (result i32)
                    (call_indirect $f (result i32) (local.get 0)))
                (elem declare func $seven)
                (func (export "ref") (result funcref) (ref.func $seven)))"#,
        );
        let object = Val::ExternRef(Some(ExternRef::new(5_u8)));
        let mut imports = Imports::new();
        let table = TableType {
            element: ValType::ExternRef,
            elements_min: 2,
            elements_max: None,
        };
        imports.define("env", "t", Extern::Table(table));
        let ty = engine_api::GlobalType {
            value: ValType::ExternRef,
            mutable: true,
        };
        imports.define("env", "g", Extern::Global(ty, object.clone()));
        let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
        let i = &mut *instance;
        assert_eq!(invoke(i, "global", &[]).unwrap()[0], object);
        for at in 0..2 {
            invoke(i, "put", &[Val::I32(at), object.clone()]).unwrap();
            assert_eq!(invoke(i, "get", &[Val::I32(at)]).unwrap()[0], object);
        }
        let other = Val::ExternRef(Some(ExternRef::new(6_u8)));
        assert_eq!(
            i.table_grow(engine_api::TableIndex(0), 3, &other).unwrap(),
            2
        );
        assert_eq!(invoke(i, "get", &[Val::I32(4)]).unwrap()[0], other);
        i.set_global(engine_api::GlobalIndex(0), &other).unwrap();
        assert_eq!(i.global(engine_api::GlobalIndex(0)).unwrap(), other);
        let reference = invoke(i, "ref", &[]).unwrap().remove(0);
        assert_eq!(
            i.table_grow(engine_api::TableIndex(1), 1, &reference)
                .unwrap(),
            1
        );
        assert_eq!(invoke(i, "call", &[Val::I32(1)]).unwrap(), [Val::I32(7)]);
        assert!(
            i.table_grow(engine_api::TableIndex(1), 3, &reference)
                .is_err()
        );
    }
}

#[test]
fn an_exported_import_can_be_called_from_the_host() {
    for engine in engines() {
        let module = compile(
            &engine,
            r#"(module
                (import "env" "twice" (func $twice (param i32) (result i32)))
                (table (export "t") 1 funcref)
                (elem (i32.const 0) $twice)
                (export "twice" (func $twice))
                (func (export "via") (param i32) (result i32)
                    (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0))))"#,
        );
        let mut imports = Imports::new();
        let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
        imports.func("env", "twice", ty, |_, args, results| {
            let number = args[0].i32().unwrap();
            if number < 0 {
                return Err(Error::Trap(Trap::IntegerOverflow));
            }
            results[0] = Val::I32(number * 2);
            Ok(())
        });
        let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
        for name in ["twice", "via"] {
            assert_eq!(
                invoke(&mut *instance, name, &[Val::I32(4)]).unwrap(),
                [Val::I32(8)]
            );
            let error = invoke(&mut *instance, name, &[Val::I32(-1)]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::IntegerOverflow));
        }
    }
}
