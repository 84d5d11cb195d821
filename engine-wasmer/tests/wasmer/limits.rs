//! Memory, tables and fuel.

use engine_api::{
    EngineConfig, Error, Extern, Imports, InstanceExt, Limits, MemoryIndex, MemoryType, Trap, Val,
};
use engine_wasmer::Wasmer;

use super::{compile, compilers, engines, invoke};

#[test]
fn memory_limits_hold_over_all_memories_hidden_ones_included() {
    for engine in engines() {
        let module = compile(
            &engine,
            r#"(module
                (import "env" "m" (memory 1))
                (memory 1)
                (memory (export "own") 1 3)
                (table (export "t") 2 externref)
                (func (export "grow0") (param i32) (result i32) (memory.grow 0 (local.get 0)))
                (func (export "grow1") (param i32) (result i32) (memory.grow 1 (local.get 0)))
                (func (export "grow2") (param i32) (result i32) (memory.grow 2 (local.get 0)))
                (func (export "tgrow") (param i32) (result i32)
                    (table.grow 0 (ref.null extern) (local.get 0))))"#,
        );
        let mut imports = Imports::new();
        imports.define("env", "m", Extern::Memory(MemoryType::new(2, None)));
        let limits = Limits {
            memory_bytes_max: Some(8 << 16),
            table_elements_max: Some(5),
            ..Limits::default()
        };
        let mut instance = module.instantiate(&imports, &limits).unwrap();
        let i = &mut *instance;
        assert_eq!(i.memory_bytes(), 4 << 16);
        assert_eq!(invoke(i, "grow1", &[Val::I32(2)]).unwrap(), [Val::I32(1)]);
        assert_eq!(i.memory_bytes(), 6 << 16);
        assert_eq!(invoke(i, "grow0", &[Val::I32(3)]).unwrap(), [Val::I32(-1)]);
        assert_eq!(invoke(i, "grow2", &[Val::I32(3)]).unwrap(), [Val::I32(-1)]);
        assert_eq!(invoke(i, "grow2", &[Val::I32(-1)]).unwrap(), [Val::I32(-1)]);
        assert_eq!(i.memory_grow(MemoryIndex(0), 1).unwrap(), 2);
        assert!(matches!(
            i.memory_grow(MemoryIndex(0), 2),
            Err(Error::Growth { .. })
        ));
        assert!(matches!(
            i.memory_grow(MemoryIndex(0), 1 << 40),
            Err(Error::Growth { .. })
        ));
        assert!(matches!(
            i.memory_size(MemoryIndex(1)),
            Err(Error::NoSuchExport { .. })
        ));
        assert_eq!(invoke(i, "grow2", &[Val::I32(1)]).unwrap(), [Val::I32(1)]);
        assert_eq!(i.memory_bytes(), 8 << 16);
        assert_eq!(invoke(i, "tgrow", &[Val::I32(4)]).unwrap(), [Val::I32(-1)]);
        assert_eq!(invoke(i, "tgrow", &[Val::I32(3)]).unwrap(), [Val::I32(2)]);

        let tight = Limits {
            memory_bytes_max: Some((4 << 16) - 1),
            ..Limits::default()
        };
        let error = module.instantiate(&imports, &tight).err().unwrap();
        assert!(
            matches!(
                error,
                Error::Limit {
                    needed: 262_144,
                    ..
                }
            ),
            "{error}"
        );
        let tight = Limits {
            table_elements_max: Some(1),
            ..Limits::default()
        };
        assert!(matches!(
            module.instantiate(&imports, &tight).err(),
            Some(Error::Limit { .. })
        ));
    }
}

#[test]
fn fuel_ends_a_call_at_the_same_point_in_every_run() {
    for compiler in compilers() {
        let config = EngineConfig {
            fuel: true,
            ..EngineConfig::default()
        };
        let engine = Wasmer::with_config(compiler, &config).unwrap();
        let module = compile(
            &engine,
            r#"(module
                (global (export "count") (mut i64) (i64.const 0))
                (func $spin (loop (global.set 0 (i64.add (global.get 0) (i64.const 1))) (br 0)))
                (func (export "spin") (call $spin))
                (func (export "trap") unreachable)
                (func (export "short")))"#,
        );
        let limits = Limits {
            fuel: Some(10_000),
            ..Limits::default()
        };
        let mut counts = Vec::new();
        for _ in 0..3 {
            let mut instance = module.instantiate(&Imports::new(), &limits).unwrap();
            let error = invoke(&mut *instance, "spin", &[]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::OutOfFuel));
            assert_eq!(instance.fuel_left(), Some(0));
            let index = instance.global_index("count").unwrap();
            counts.push(instance.global(index).unwrap());
            invoke(&mut *instance, "short", &[]).unwrap();
            assert!(instance.fuel_left().is_some_and(|left| left > 9_900));
            let error = invoke(&mut *instance, "trap", &[]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::Unreachable));
        }
        assert_eq!(counts[0], counts[1]);
        assert_eq!(counts[0], counts[2]);

        let start = compile(&engine, "(module (func $s (loop (br 0))) (start $s))");
        let error = start.instantiate(&Imports::new(), &limits).err().unwrap();
        assert_eq!(error.trap(), Some(Trap::OutOfFuel));
    }
    let module = compile(&Wasmer::cranelift().unwrap(), "(module)");
    let limits = Limits {
        fuel: Some(1),
        ..Limits::default()
    };
    let error = module.instantiate(&Imports::new(), &limits).err().unwrap();
    assert!(matches!(error, Error::Unsupported { .. }));
}
