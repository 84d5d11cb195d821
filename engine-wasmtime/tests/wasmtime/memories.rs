//! Memories and tables, and that nothing of them is left behind.

use std::time::Duration;

use engine_api::{
    Engine, Error, Extern, Imports, InstanceExt, Limits, MemoryIndex, MemoryType, TableIndex, Val,
};
use engine_wasmtime::Wasmtime;

use crate::{compile, engines, limited};

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn memories_are_limited_and_counted_together() {
    let text = r#"(module
        (memory $a (export "a") 1 8) (memory $b 2)
        (table (export "t") 5 funcref)
        (func (export "grow_a") (param i32) (result i32) (memory.grow $a (local.get 0)))
        (func (export "grow_b") (param i32) (result i32) (memory.grow $b (local.get 0)))
        (func (export "grow_t") (param i32) (result i32)
            (table.grow (ref.null func) (local.get 0))))"#;
    let page = 65_536;
    let limits = Limits {
        memory_bytes_max: Some(10 * page),
        table_elements_max: Some(8),
        ..Limits::default()
    };
    for engine in engines() {
        let mut guest = limited(&engine, text, &limits).unwrap();
        assert_eq!(guest.memory_bytes(), 3 * page);
        let mut grow = |name: &str, delta: i32| {
            guest.invoke(name, &[Val::I32(delta)]).unwrap()[0]
                .i32()
                .unwrap()
        };
        assert_eq!(grow("grow_b", 4), 2);
        assert_eq!(grow("grow_a", 4), -1, "the limit of all memories");
        assert_eq!(grow("grow_a", 3), 1);
        assert_eq!(grow("grow_b", i32::MAX), -1, "beyond the index type");
        assert_eq!(grow("grow_a", 1), -1);
        assert_eq!(grow("grow_b", 1), -1);
        assert_eq!(grow("grow_t", 4), -1);
        assert_eq!(grow("grow_t", 3), 5);
        assert_eq!(guest.memory_bytes(), 10 * page);
        assert!(matches!(
            guest.memory_grow(MemoryIndex(0), 1),
            Err(Error::Growth {
                current: 4,
                delta: 1
            })
        ));
        assert!(matches!(
            guest.table_grow(TableIndex(0), 1, &Val::FuncRef(None)),
            Err(Error::Growth {
                current: 8,
                delta: 1
            })
        ));
        assert!(matches!(
            guest.memory_size(MemoryIndex(1)),
            Err(Error::NoSuchExport { .. })
        ));
        let tight = Limits {
            memory_bytes_max: Some(2 * page),
            ..Limits::default()
        };
        let outcome = limited(&engine, text, &tight).map(drop);
        assert!(matches!(outcome, Err(Error::Limit { needed, limit, .. })
                if needed == 3 * page && limit == 2 * page));
    }
}

#[test]
fn shared_memories_of_the_module_itself_are_counted_but_not_limited() {
    let text = r#"(module
        (memory (export "m") 2 4 shared) (memory $hidden 3 3 shared) (memory $own 1 5)
        (func (export "grow_shared") (result i32) (memory.grow 0 (i32.const 1)))
        (func (export "grow_own") (result i32) (memory.grow $own (i32.const 1))))"#;
    let page = 65_536;
    let limits = Limits {
        memory_bytes_max: Some(2 * page),
        ..Limits::default()
    };
    for engine in engines() {
        let mut guest = limited(&engine, text, &limits).unwrap();
        assert_eq!(guest.memory_bytes(), 6 * page);
        assert_eq!(guest.invoke("grow_shared", &[]).unwrap(), [Val::I32(2)]);
        assert_eq!(guest.invoke("grow_own", &[]).unwrap(), [Val::I32(1)]);
        assert_eq!(guest.invoke("grow_own", &[]).unwrap(), [Val::I32(-1)]);
        assert_eq!(guest.memory_bytes(), 8 * page);
    }
}

fn maps() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
}

#[test]
fn a_thousand_instances_leave_mappings_and_threads_as_they_were() {
    let text = r#"(module
        (memory (export "m") 4) (data (i32.const 100) "some initial content")
        (func (export "touch") (memory.fill (i32.const 0) (i32.const 1) (i32.const 262144))))"#;
    for engine in engines() {
        let module = compile(&engine, text);
        let limits = Limits {
            deadline: Some(Duration::from_secs(5)),
            ..Limits::default()
        };
        let round = || {
            let mut guest = module.instantiate(&Imports::new(), &limits).unwrap();
            guest.invoke("touch", &[]).unwrap();
            guest.memory_grow(MemoryIndex(0), 16).unwrap();
        };
        (0..10).for_each(|_| round());
        let before = (maps(), threads());
        (0..1_000).for_each(|_| round());
        let after = (maps(), threads());
        // Other tests run at the same time. A leak would be a thousand of them.
        assert!(after.0 < before.0 + 100, "{before:?} {after:?}");
        assert!(after.1 < before.1 + 20, "{before:?} {after:?}");
    }
}

#[test]
fn shared_memories_are_seen_by_all_and_belong_to_one_engine() {
    let text = r#"(module (import "env" "m" (memory 1 4 shared))
        (func (export "add") (result i32)
            (i32.atomic.rmw.add (i32.const 8) (i32.const 1)))
        (func (export "grow") (result i32) (memory.grow (i32.const 1))))"#;
    for engine in engines() {
        let module = compile(&engine, text);
        let memory = engine.shared_memory(MemoryType::shared(1, 4)).unwrap();
        let mut imports = Imports::new();
        imports.define("env", "m", Extern::SharedMemory(memory.clone()));
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let mut guest = module.instantiate(&imports, &Limits::default()).unwrap();
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        guest.invoke("add", &[]).unwrap();
                    }
                    guest.memory_bytes()
                })
            })
            .collect();
        for worker in workers {
            assert_eq!(worker.join().unwrap(), 65_536);
        }
        let mut counter = [0; 4];
        memory.read(8, &mut counter).unwrap();
        assert_eq!(u32::from_le_bytes(counter), 4_000);
        let bytes: Vec<u8> = (0..=255).cycle().take(1_003).collect();
        memory.write(77, &bytes).unwrap();
        let mut back = vec![0; bytes.len()];
        memory.read(77, &mut back).unwrap();
        assert_eq!(back, bytes);
        assert!(memory.write(65_530, b"too long").is_err());
        let mut guest = module.instantiate(&imports, &Limits::default()).unwrap();
        guest.invoke("grow", &[]).unwrap();
        assert_eq!((guest.memory_bytes(), memory.size()), (131_072, 131_072));
        assert_eq!(guest.memory_grow(MemoryIndex(0), 2).unwrap(), 2);
        assert!(matches!(
            guest.memory_grow(MemoryIndex(0), 1),
            Err(Error::Growth { current: 4, .. })
        ));
        let another = Wasmtime::cranelift().unwrap();
        let outcome = compile(&another, text).instantiate(&imports, &Limits::default());
        assert!(matches!(outcome.map(drop), Err(Error::Import { .. })));
    }
}
