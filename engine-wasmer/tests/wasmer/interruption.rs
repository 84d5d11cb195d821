//! Deadlines and interrupts.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use engine_api::{Engine, FuncType, Imports, Limits, MemoryIndex, Trap, Val};

use super::{compile, engines, instantiate, invoke};

const SPINNERS: &str = r#"(module
    (import "env" "host" (func $host))
    (memory (export "m") 1024)
    (func (export "spin") (loop (br 0)))
    (func (export "calls") (loop (call $host) (br 0)))
    (func (export "fills") (loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 0x4000000)) (br 0)))
    (func (export "grows") (loop (drop (memory.grow (i32.const 0))) (br 0)))
    (func (export "short") (result i32) (i32.const 1)))"#;

#[test]
fn deadlines_end_loops_of_every_kind_and_leave_the_next_call_alone() {
    for engine in engines() {
        let module = compile(&engine, SPINNERS);
        let mut imports = Imports::new();
        imports.func("env", "host", FuncType::default(), |_, _, _| Ok(()));
        let limits = Limits {
            deadline: Some(Duration::from_millis(50)),
            ..Limits::default()
        };
        for name in ["spin", "calls", "fills", "grows"] {
            let mut instance = module.instantiate(&imports, &limits).unwrap();
            for _ in 0..3 {
                let start = Instant::now();
                let error = invoke(&mut *instance, name, &[]).unwrap_err();
                let took = start.elapsed();
                assert_eq!(
                    error.trap(),
                    Some(Trap::DeadlineExceeded),
                    "{engine:?} {name} {error:?}"
                );
                assert!(took >= Duration::from_millis(50), "{took:?}");
                println!("{} {name} {took:?}", engine.id());
                for _ in 0..1000 {
                    invoke(&mut *instance, "short", &[]).unwrap();
                }
            }
        }
        let start = compile(&engine, "(module (func $s (loop (br 0))) (start $s))");
        let error = start.instantiate(&Imports::new(), &limits).err().unwrap();
        assert_eq!(error.trap(), Some(Trap::DeadlineExceeded));
    }
}

#[test]
fn an_interrupt_sticks() {
    for engine in engines() {
        let module = compile(&engine, SPINNERS);
        let mut imports = Imports::new();
        imports.func("env", "host", FuncType::default(), |_, _, _| Ok(()));
        let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
        let interrupter = instance.interrupter().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(30));
                interrupter.interrupt();
            });
            let error = invoke(&mut *instance, "spin", &[]).unwrap_err();
            assert_eq!(error.trap(), Some(Trap::Interrupted));
        });
        let error = invoke(&mut *instance, "short", &[]).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::Interrupted));
        drop(instance);
        interrupter.interrupt();
    }
}

/// A host function of a `wasmer::Store` may call guests of ours. Such a store has wasmer's own way
/// to interrupt its guests.
#[test]
fn a_guest_inside_of_another_store_ends_at_its_deadline() {
    for engine in engines() {
        let limits = Limits {
            deadline: Some(Duration::from_millis(50)),
            ..Limits::default()
        };
        let module = compile(&engine, r#"(module (func (export "spin") (loop (br 0))))"#);
        let inner = Mutex::new(module.instantiate(&Imports::new(), &limits).unwrap());
        let mut store = wasmer::Store::default();
        let host = wasmer::Function::new_typed(&mut store, move || {
            let error = invoke(&mut **inner.lock().unwrap(), "spin", &[]).unwrap_err();
            i32::from(error.trap() == Some(Trap::DeadlineExceeded))
        });
        let outer = wat::parse_str(
            r#"(module (import "env" "host" (func $host (result i32)))
                (func (export "ended") (result i32) (call $host)))"#,
        )
        .unwrap();
        let outer = wasmer::Module::new(&store, outer).unwrap();
        let imports = wasmer::imports! { "env" => { "host" => host } };
        let outer = wasmer::Instance::new(&mut store, &outer, &imports).unwrap();
        let ended = outer.exports.get_typed_function::<(), i32>(&store, "ended");
        let ended = ended.unwrap();
        for _ in 0..2 {
            assert_eq!(ended.call(&mut store).unwrap(), 1, "{engine:?}");
        }
    }
}

/// A length of several pieces of a long operation.
const LEN: usize = 20_000_000;

/// Long operations work in pieces. A guest must not be able to tell.
#[test]
fn long_copies_and_fills_are_what_they_would_be_at_once() {
    let wat = r#"(module
        (memory (export "m") 1024)
        (func (export "copy") (param i32 i32 i32)
            (memory.copy (local.get 0) (local.get 1) (local.get 2)))
        (func (export "fill") (param i32 i32 i32)
            (memory.fill (local.get 0) (local.get 1) (local.get 2))))"#;
    let m = MemoryIndex(0);
    let number = |number: usize| Val::I32(i32::try_from(number).unwrap());
    let pattern: Vec<u8> = (0..=250_u8).cycle().take(LEN).collect();
    for engine in engines() {
        let mut instance = instantiate(&engine, wat);
        let i = &mut *instance;
        let mut copied = vec![0; LEN];
        for (from, to) in [(0, 10_000), (10_000, 0), (0, 30_000_000), (30_000_000, 0)] {
            i.memory_write(m, from as u64, &pattern).unwrap();
            invoke(i, "copy", &[number(to), number(from), number(LEN)]).unwrap();
            i.memory_read(m, to as u64, &mut copied).unwrap();
            assert!(copied == pattern, "{engine:?} {from} to {to}");
        }
        invoke(i, "fill", &[number(5), Val::I32(3), number(LEN)]).unwrap();
        i.memory_read(m, 5, &mut copied).unwrap();
        assert!(copied.iter().all(|byte| *byte == 3));

        let size = 1024 << 16;
        let before = [number(size - LEN + 1), Val::I32(9), number(LEN)];
        let error = invoke(i, "fill", &before).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
        let args = [number(size - LEN + 1), number(0), number(LEN)];
        let error = invoke(i, "copy", &args).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
        let mut last = [0; 2];
        i.memory_read(m, (size - 2) as u64, &mut last).unwrap();
        assert_eq!(last, [0, 0], "written before the bounds were checked");
    }
}

/// Deadlines pass at every moment of short calls, on several threads at once.
#[test]
fn deadlines_that_pass_at_any_moment_end_only_their_own_call() {
    let wat = r#"(module
        (import "env" "host" (func $host))
        (memory 2)
        (func (export "work") (param i32)
            (loop
                (call $host)
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 1000))
                (drop (memory.grow (i32.const 0)))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "short") (result i32) (i32.const 1)))"#;
    for engine in engines() {
        let module = compile(&engine, wat);
        let mut imports = Imports::new();
        imports.func("env", "host", FuncType::default(), |_, _, _| {
            // It allocates, as host functions do.
            std::hint::black_box(vec![0_u8; 64]);
            Ok(())
        });
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (module, imports) = (&module, &imports);
                scope.spawn(move || {
                    let (mut ended, mut finished) = (0, 0);
                    for round in 0..150 {
                        let limits = Limits {
                            deadline: Some(Duration::from_micros(200 + round * 7 + thread)),
                            ..Limits::default()
                        };
                        let mut instance = module.instantiate(imports, &limits).unwrap();
                        for _ in 0..3 {
                            match invoke(&mut *instance, "work", &[Val::I32(3000)]) {
                                Ok(_) => finished += 1,
                                Err(error) => {
                                    assert_eq!(error.trap(), Some(Trap::DeadlineExceeded));
                                    ended += 1;
                                }
                            }
                        }
                        let plain = Limits::default();
                        let mut plain = module.instantiate(imports, &plain).unwrap();
                        invoke(&mut *plain, "work", &[Val::I32(100)]).unwrap();
                    }
                    println!("{ended} ended, {finished} finished");
                });
            }
        });
    }
}
