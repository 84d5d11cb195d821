//! Snapshots of shared memories: taken while one instance has the memory, and refused otherwise.

use conformance::prelude::*;
use engine_api::{SharedMemory, Snapshot};

const IMPORTS: &str = r#"(module
    (import "env" "memory" (memory 1 10 shared))
    (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.atomic.store (local.get 0) (local.get 1)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "size") (result i32) memory.size))"#;

struct Shared {
    module: Arc<dyn Module>,
    memory: SharedMemory,
}

impl Shared {
    fn on(engine: &EngineUnderTest) -> Option<Self> {
        let module = engine.module_if(engine.capabilities().threads, IMPORTS)?;
        let memory = engine.shared_memory(MemoryType::shared(1, 10)).unwrap();
        Some(Self { module, memory })
    }

    fn imports(&self) -> Imports {
        let mut imports = Imports::new();
        imports.define("env", "memory", Extern::SharedMemory(self.memory.clone()));
        imports
    }

    fn instantiate(&self) -> Box<dyn Instance> {
        let instance = self.module.instantiate(&self.imports(), &Limits::default());
        instance.unwrap()
    }

    fn restore(&self, snapshot: &Snapshot) -> Result<Box<dyn Instance>, Error> {
        self.module
            .restore(&self.imports(), &Limits::default(), snapshot)
    }

    fn at(&self, offset: u64) -> u8 {
        let mut bytes = [0];
        self.memory.read(offset, &mut bytes).unwrap();
        bytes[0]
    }
}

fn number(instance: &mut dyn Instance, name: &str, args: &[i32]) -> i32 {
    let args: Vec<_> = args.iter().copied().map(Val::I32).collect();
    instance.invoke(name, &args).unwrap()[0].i32().unwrap()
}

fn store(instance: &mut dyn Instance, at: i32, value: i32) {
    let args = [Val::I32(at), Val::I32(value)];
    instance.invoke("store", &args).unwrap();
}

#[apply(every_engine)]
fn a_shared_memory_goes_to_every_engine(engine: &EngineUnderTest) {
    let Some(original) = Shared::on(engine) else {
        return;
    };
    let mut instance = original.instantiate();
    assert_eq!(number(&mut *instance, "grow", &[3]), 1);
    store(&mut *instance, 200_000, 7);
    let snapshot = instance.capture().unwrap();
    // The instance goes on, and its handle with it.
    store(&mut *instance, 200_000, 8);
    assert_eq!(original.at(200_000), 8);
    for target in engines::all() {
        let Some(fresh) = Shared::on(target) else {
            continue;
        };
        let mut restored = fresh.restore(&snapshot).unwrap();
        assert_eq!(number(&mut *restored, "size", &[]), 4);
        assert_eq!(number(&mut *restored, "load", &[200_000]), 7);
        assert_eq!(
            (fresh.memory.size(), fresh.at(200_000)),
            (4 * PAGE_BYTES, 7)
        );
        assert_eq!(restored.memory_bytes(), 4 * PAGE_BYTES);
        // Instances that come later see the same memory, and it still grows.
        let mut other = fresh.instantiate();
        store(&mut *other, 200_000, 9);
        assert_eq!(number(&mut *restored, "load", &[200_000]), 9);
        assert_eq!(number(&mut *other, "grow", &[1]), 4);
        assert_eq!(number(&mut *restored, "size", &[]), 5);
        assert_eq!(number(&mut *restored, "load", &[5 * 65_536 - 4]), 0);
    }
    assert_eq!(number(&mut *instance, "load", &[200_000]), 8);
}

/// What others wrote in the meantime is part of the next image.
#[apply(every_engine)]
fn a_second_snapshot_has_the_changes_of_every_instance_and_handle(engine: &EngineUnderTest) {
    let Some(shared) = Shared::on(engine) else {
        return;
    };
    let mut instance = shared.instantiate();
    assert_eq!(number(&mut *instance, "grow", &[9]), 1);
    store(&mut *instance, 8, 1);
    let first = instance.capture().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| store(&mut *shared.instantiate(), 70_000, 2));
    });
    shared.memory.write(140_000, &[3]).unwrap();
    let second = instance.capture().unwrap();
    assert!(second.bytes_kept() <= 3 * PAGE_BYTES, "{second:?}");
    drop(instance);
    let fresh = Shared::on(engine).unwrap();
    let mut restored = fresh.restore(&second).unwrap();
    let found = [8, 70_000, 140_000].map(|at| number(&mut *restored, "load", &[at]));
    assert_eq!(found, [1, 2, 3]);
    assert_eq!(
        second.difference(&restored.capture().unwrap()).unwrap(),
        None
    );
    assert!(first.difference(&second).unwrap().is_some());
}

#[apply(every_engine)]
fn a_memory_that_another_instance_has_is_left_alone(engine: &EngineUnderTest) {
    let Some(shared) = Shared::on(engine) else {
        return;
    };
    let mut instance = shared.instantiate();
    let snapshot = instance.capture().unwrap();
    store(&mut *instance, 8, 5);
    let mut other = shared.instantiate();
    for error in [
        refused(instance.capture()),
        refused(other.capture()),
        refused(shared.restore(&snapshot)),
    ] {
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains("shared memory 0"), "{error}");
    }
    assert!(!shared.memory.discard());
    assert_eq!(number(&mut *other, "load", &[8]), 5);
    drop(other);
    instance.capture().unwrap();
    instance.discard_memories();
    assert_eq!(shared.at(8), 5);
    drop(instance);
    // Nobody has it any more. It can be given back, and taken into use again.
    assert!(shared.memory.discard());
    let mut restored = shared.restore(&snapshot).unwrap();
    assert_eq!(number(&mut *restored, "load", &[8]), 0);
}

#[apply(every_engine)]
fn a_shared_memory_of_the_modules_own_is_in_a_snapshot(engine: &EngineUnderTest) {
    for export in [r#"(export "memory")"#, ""] {
        let text = format!(
            r#"(module (memory {export} 1 4 shared) (data (i32.const 8) "\05")
                (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
                (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
                (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1))))"#
        );
        let Some(module) = engine.module_if(engine.capabilities().threads, &text) else {
            return;
        };
        let (imports, limits) = (Imports::new(), Limits::default());
        let mut original = module.instantiate(&imports, &limits).unwrap();
        assert_eq!(number(&mut *original, "grow", &[2]), 1);
        store(&mut *original, 150_000, 6);
        let snapshot = original.capture().unwrap();
        store(&mut *original, 8, 0);
        let mut restored = module.restore(&imports, &limits, &snapshot).unwrap();
        let found = [8, 150_000].map(|at| number(&mut *restored, "load", &[at]));
        assert_eq!(found, [5, 6]);
        assert_eq!(number(&mut *restored, "grow", &[0]), 3);
    }
}
