//! Calls in both directions, start functions and traps.

use std::sync::Arc;

use engine_api::{
    Engine, Error, Extern, FuncType, GlobalType, Imports, InstanceExt, Limits, MemoryIndex,
    MemoryType, TableIndex, TableType, Trap, Val, ValType,
};

use crate::{allocations, compile, engines, trap_of};

#[test]
fn calls_of_scalar_functions_allocate_nothing() {
    let text = r#"(module
        (import "env" "host" (func $host (param i64 f64) (result i64)))
        (func (export "scalars") (param i32 i64 f32 f64 v128) (result i64 i32)
            local.get 1 local.get 0)
        (func (export "twenty") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32
                                       i32 i32 i32 i32 i32 i32 i32 i32 i32 i32))
        (func (export "through_host") (param i64) (result i64)
            (call $host (local.get 0) (f64.const 1)))
        (func (export "plus_one") (param i64) (result i64)
            (i64.add (local.get 0) (i64.const 1))))"#;
    for engine in engines() {
        let mut imports = Imports::new();
        let ty = FuncType::new(&[ValType::I64, ValType::F64], &[ValType::I64]);
        imports.func("env", "host", ty, |caller, args, results| {
            let (plus_one, _) = caller.info().function("plus_one")?;
            caller.call(plus_one, &args[..1], results)
        });
        let mut guest = compile(&engine, text)
            .instantiate(&imports, &Limits::default())
            .unwrap();
        let index = |name: &str| guest.info().function(name).unwrap().0;
        let (scalars, twenty, through_host) =
            (index("scalars"), index("twenty"), index("through_host"));
        let args = [
            Val::I32(1),
            Val::I64(2),
            Val::from(3.0_f32),
            Val::from(4.0_f64),
            Val::V128(5),
        ];
        let mut results = [Val::I64(0), Val::I32(0)];
        let many = [const { Val::I32(7) }; 20];
        let mut round = || {
            guest.call(scalars, &args, &mut results).unwrap();
            guest.call(twenty, &many, &mut []).unwrap();
            let mut result = [Val::I64(0)];
            guest
                .call(through_host, &[Val::I64(41)], &mut result)
                .unwrap();
            assert_eq!(result, [Val::I64(42)]);
        };
        round();
        let count = allocations(|| (0..1_000).for_each(|_| round()));
        assert_eq!(count, 0, "{}", engine.id());
        assert_eq!(results, [Val::I64(2), Val::I32(1)]);
    }
}

#[test]
fn traps_come_back_from_any_thread_also_with_a_deep_stack() {
    let text = r#"(module
        (func $f (export "recurse") (param i32) (result i32)
            (i32.add (call $f (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
        (func (export "unreachable") unreachable)
        (memory 1)
        (func (export "load") (result i32) (i32.load (i32.const 65536))))"#;
    for engine in engines() {
        let module = compile(&engine, text);
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let module = Arc::clone(&module);
                std::thread::spawn(move || {
                    let mut guest = module
                        .instantiate(&Imports::new(), &Limits::default())
                        .unwrap();
                    for _ in 0..10 {
                        let trap = trap_of(guest.invoke("recurse", &[Val::I32(0)]));
                        assert_eq!(trap, Trap::StackOverflow);
                        let trap = trap_of(guest.invoke("unreachable", &[]));
                        assert_eq!(trap, Trap::Unreachable);
                        let trap = trap_of(guest.invoke("load", &[]));
                        assert_eq!(trap, Trap::MemoryOutOfBounds);
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

#[test]
fn errors_of_host_functions_come_back_through_every_level() {
    let text = r#"(module
        (import "env" "again" (func $again (param i32)))
        (import "env" "fail" (func $fail (param i32)))
        (func (export "outer") (param i32) (call $again (local.get 0)))
        (func (export "inner") (param i32) (call $fail (local.get 0))))"#;
    for engine in engines() {
        let mut imports = Imports::new();
        let ty = FuncType::new(&[ValType::I32], &[]);
        imports.func("env", "again", ty.clone(), |caller, args, _| {
            let (inner, _) = caller.info().function("inner")?;
            caller.call(inner, args, &mut [])
        });
        imports.func("env", "fail", ty, |_, args, _| match args[0] {
            Val::I32(0) => Ok(()),
            Val::I32(1) => Err(Error::Trap(Trap::OutOfFuel)),
            Val::I32(2) => Err(Error::ForeignReference),
            _ => panic!("the host function is broken"),
        });
        let mut guest = compile(&engine, text)
            .instantiate(&imports, &Limits::default())
            .unwrap();
        let mut outer = |arg: i32| guest.invoke("outer", &[Val::I32(arg)]).map(drop);
        assert!(outer(0).is_ok());
        assert_eq!(trap_of(outer(1)), Trap::OutOfFuel);
        let error = outer(2).unwrap_err();
        assert!(
            matches!(&error, Error::Host { name, source, .. }
                if name == "fail"
                    && matches!(source.downcast_ref(), Some(Error::ForeignReference))),
            "{error:?}"
        );
        assert!(matches!(outer(3), Err(Error::HostPanicked { message, .. })
                if message == "the host function is broken"));
        assert!(outer(0).is_ok());
    }
}

#[test]
fn a_start_function_reaches_imports_and_exports_through_the_host() {
    let text = r#"(module
        (import "env" "m" (memory 1))
        (import "env" "g" (global $g (mut i64)))
        (import "env" "t" (table 2 funcref))
        (import "env" "host" (func $host))
        (memory (export "own") 1)
        (global (export "done") (mut i32) (i32.const 0))
        (func (export "seven") (result i32) i32.const 7)
        (func $start (call $host))
        (start $start))"#;
    for engine in engines() {
        let mut imports = Imports::new();
        imports
            .define("env", "m", Extern::Memory(MemoryType::new(1, Some(3))))
            .define(
                "env",
                "g",
                Extern::Global(
                    GlobalType {
                        value: ValType::I64,
                        mutable: true,
                    },
                    Val::I64(-5),
                ),
            )
            .define(
                "env",
                "t",
                Extern::Table(TableType {
                    element: ValType::FuncRef,
                    elements_min: 2,
                    elements_max: None,
                }),
            )
            .func("env", "host", FuncType::default(), |caller, _, _| {
                assert_eq!(caller.memory_size(MemoryIndex(0))?, 65_536);
                caller.memory_write(MemoryIndex(1), 65_530, b"begun!")?;
                let done = caller.global_index("done")?;
                let seven = caller.invoke("seven", &[])?;
                caller.set_global(done, &seven[0])?;
                assert_eq!(caller.table_size(TableIndex(0))?, 2);
                Ok::<(), Error>(())
            });
        let mut guest = compile(&engine, text)
            .instantiate(&imports, &Limits::default())
            .unwrap();
        let done = guest.global_index("done").unwrap();
        assert_eq!(guest.global(done).unwrap(), Val::I32(7));
        let mut buffer = [0; 6];
        guest
            .memory_read(MemoryIndex(1), 65_530, &mut buffer)
            .unwrap();
        assert_eq!(&buffer, b"begun!");
        assert!(matches!(
            guest.memory_read(MemoryIndex(1), u64::MAX, &mut buffer),
            Err(Error::OutOfBounds { .. })
        ));
    }
}
