//! Shared memories and waits.

use std::time::Duration;

use engine_api::{Engine, Extern, Imports, Limits, MemoryIndex, MemoryType, Trap, Val};

use super::{compile, engines, invoke};

const THREADED: &str = r#"(module
    (import "env" "m" (memory 1 10 shared))
    (func (export "wait") (param i64) (result i32)
        (memory.atomic.wait32 (i32.const 8) (i32.const 0) (local.get 0)))
    (func (export "notify") (result i32)
        (memory.atomic.notify (i32.const 8) (i32.const 1)))
    (func (export "add") (param i32)
        (loop
            (drop (i32.atomic.rmw.add (i32.const 16) (i32.const 1)))
            (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "size") (result i32) (memory.size)))"#;

#[test]
fn shared_memories_are_one_memory_to_all_instances_on_all_threads() {
    for engine in engines() {
        let module = compile(&engine, THREADED);
        let memory = engine.shared_memory(MemoryType::shared(1, 10)).unwrap();
        let mut imports = Imports::new();
        imports.define("env", "m", Extern::SharedMemory(memory.clone()));
        let make = |limits: &Limits| module.instantiate(&imports, limits).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mut instance = make(&Limits::default());
                    invoke(&mut *instance, "add", &[Val::I32(10_000)]).unwrap();
                });
            }
        });
        let mut bytes = [0; 4];
        memory.read(16, &mut bytes).unwrap();
        assert_eq!(u32::from_le_bytes(bytes), 40_000);

        let mut one = make(&Limits::default());
        let mut two = make(&Limits::default());
        assert_eq!(invoke(&mut *one, "grow", &[]).unwrap(), [Val::I32(1)]);
        assert_eq!(invoke(&mut *two, "size", &[]).unwrap(), [Val::I32(2)]);
        assert_eq!((memory.size(), two.memory_bytes()), (2 << 16, 2 << 16));
        assert_eq!(two.memory_size(MemoryIndex(0)).unwrap(), 2 << 16);
        two.memory_write(MemoryIndex(0), (2 << 16) - 1, &[9])
            .unwrap();
        assert!(two.memory_write(MemoryIndex(0), u64::MAX, &[9, 9]).is_err());
        assert!(memory.read((2 << 16) - 1, &mut [0, 0]).is_err());

        assert_eq!(
            invoke(&mut *one, "wait", &[Val::I64(1_000_000)]).unwrap(),
            [Val::I32(2)]
        );
        std::thread::scope(|scope| {
            let waiter = scope
                .spawn(|| invoke(&mut *make(&Limits::default()), "wait", &[Val::I64(-1)]).unwrap());
            while invoke(&mut *one, "notify", &[]).unwrap() == [Val::I32(0)] {
                std::thread::yield_now();
            }
            assert_eq!(waiter.join().unwrap(), [Val::I32(0)]);
        });
        memory.write(8, &[1]).unwrap();
        assert_eq!(
            invoke(&mut *one, "wait", &[Val::I64(-1)]).unwrap(),
            [Val::I32(1)]
        );
        memory.write(8, &[0]).unwrap();
        let limits = Limits {
            deadline: Some(Duration::from_millis(30)),
            ..Limits::default()
        };
        let error = invoke(&mut *make(&limits), "wait", &[Val::I64(-1)]).unwrap_err();
        assert_eq!(error.trap(), Some(Trap::DeadlineExceeded));
        assert_eq!(invoke(&mut *one, "notify", &[]).unwrap(), [Val::I32(0)]);
    }
}
