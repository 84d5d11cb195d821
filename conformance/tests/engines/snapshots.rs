//! A snapshot is the whole state of an instance, and makes an instance on every engine.

use std::sync::atomic::{AtomicUsize, Ordering};

use conformance::prelude::*;
use engine_api::Snapshot;

/// State in a memory and in globals, none of them exported, behind a start function and a table.
const STATEFUL: &str = r#"(module
    (import "env" "started" (func $started))
    (memory 1 100)
    (data (i32.const 16) "\07\00\00\00")
    (type $number (func (result i32)))
    (table 2 2 funcref)
    (elem (i32.const 0) func $small $large)
    (global $count (mut i32) (i32.const 0))
    (global $wide (mut i64) (i64.const -1))
    (global $real (mut f64) (f64.const 0.5))
    (func $small (result i32) (i32.const 1))
    (func $large (result i32) (i32.const 1000))
    (func $start (call $started) (global.set $count (i32.const 10)))
    (start $start)
    (func (export "step") (param i32) (result i32)
        (global.set $count (i32.add (global.get $count) (local.get 0)))
        (global.set $wide (i64.mul (global.get $wide) (i64.const 3)))
        (global.set $real (f64.mul (global.get $real) (f64.const 1.25)))
        (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (global.get $count)))
        (i32.load (i32.const 16)))
    (func (export "all") (result i32 i64 f64 i32)
        (global.get $count) (global.get $wide) (global.get $real) (i32.load (i32.const 16)))
    (func (export "through_table") (param i32) (result i32)
        (call_indirect (type $number) (local.get 0)))
    (func (export "grow") (param i32) (result i32)
        (memory.grow (local.get 0)))
    (func (export "put") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "get") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "pages") (result i32) (memory.size)))"#;

fn started() -> (Imports, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let mut imports = Imports::new();
    let counted = Arc::clone(&count);
    imports.func("env", "started", FuncType::default(), move |_, _, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    (imports, count)
}

fn stateful(engine: &EngineUnderTest) -> (Box<dyn Instance>, Arc<AtomicUsize>) {
    let (imports, count) = started();
    (engine.instantiate_importing(STATEFUL, &imports), count)
}

fn restored(engine: &EngineUnderTest, snapshot: &Snapshot) -> Box<dyn Instance> {
    let (imports, count) = started();
    let module = engine.module(STATEFUL);
    let instance = module.restore(&imports, &Limits::default(), snapshot);
    assert_eq!(
        count.load(Ordering::SeqCst),
        0,
        "the start function ran again"
    );
    instance.unwrap_or_else(|error| panic!("{engine:?}: {error:?}"))
}

fn invoke(instance: &mut Box<dyn Instance>, name: &str, args: &[i32]) -> Vec<Val> {
    let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
    instance.invoke(name, &args).unwrap()
}

#[apply(every_engine)]
fn an_instance_goes_on_from_a_snapshot_on_every_engine(engine: &EngineUnderTest) {
    let (mut original, count) = stateful(engine);
    assert_eq!(count.load(Ordering::SeqCst), 1);
    for step in 1..5 {
        invoke(&mut original, "step", &[step]);
    }
    assert_eq!(invoke(&mut original, "grow", &[20]), [Val::I32(1)]);
    invoke(&mut original, "put", &[20 * 65_536, 99]);
    let snapshot = original.capture().unwrap();
    assert_eq!(snapshot.bytes(), 21 * PAGE_BYTES);
    let before = invoke(&mut original, "all", &[]);
    for target in engines::all() {
        let mut instance = restored(target, &snapshot);
        assert_eq!(invoke(&mut instance, "all", &[]), before, "{target:?}");
        assert_eq!(instance.memory_bytes(), 21 * PAGE_BYTES);
        assert_eq!(invoke(&mut instance, "get", &[20 * 65_536]), [Val::I32(99)]);
        assert_eq!(
            invoke(&mut instance, "through_table", &[1]),
            [Val::I32(1000)]
        );
        // It does the same as the original from here on, and the original does not notice.
        let (imports, _) = started();
        let mut other = engine.instantiate_importing(STATEFUL, &imports);
        for step in [1, 2, 3, 4, 50, 60] {
            invoke(&mut other, "step", &[step]);
        }
        let stepped = [50, 60].map(|step| invoke(&mut instance, "step", &[step]));
        assert_eq!(
            invoke(&mut instance, "all", &[]),
            invoke(&mut other, "all", &[])
        );
        assert_ne!(stepped[0], stepped[1]);
        assert_eq!(invoke(&mut instance, "grow", &[2]), [Val::I32(21)]);
        invoke(&mut instance, "put", &[22 * 65_536, 5]);
        assert_eq!(invoke(&mut instance, "get", &[22 * 65_536]), [Val::I32(5)]);
        assert_eq!(invoke(&mut instance, "grow", &[1000]), [Val::I32(-1)]);
    }
    assert_eq!(invoke(&mut original, "all", &[]), before);
}

#[apply(every_engine)]
fn the_same_steps_give_the_same_snapshot_on_every_engine(engine: &EngineUnderTest) {
    let digest = |engine| {
        let (mut instance, _) = stateful(engine);
        for step in 1..20 {
            invoke(&mut instance, "step", &[step]);
        }
        invoke(&mut instance, "grow", &[3]);
        instance.capture().unwrap()
    };
    let expected = digest(engine);
    for target in engines::all() {
        let other = digest(target);
        assert_eq!(expected.difference(&other).unwrap(), None, "{target:?}");
        assert_eq!(expected.digest().unwrap(), other.digest().unwrap());
    }
}

#[apply(every_engine)]
fn a_second_snapshot_keeps_what_has_changed(engine: &EngineUnderTest) {
    let (mut first, _) = stateful(engine);
    invoke(&mut first, "grow", &[60]);
    for page in 0..61 {
        invoke(&mut first, "put", &[page * 65_536 + 64, 7]);
    }
    let whole = first.capture().unwrap();
    let mut second = restored(engine, &whole);
    invoke(&mut second, "put", &[30 * 65_536, 8]);
    let changed = second.capture().unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(changed.bytes_kept(), 4096, "of {}", whole.bytes_kept());
    }
    drop((whole, first, second));
    let mut third = restored(engine, &changed);
    assert_eq!(invoke(&mut third, "get", &[30 * 65_536]), [Val::I32(8)]);
    assert_eq!(
        invoke(&mut third, "get", &[60 * 65_536 + 64]),
        [Val::I32(7)]
    );
    assert_eq!(changed.difference(&third.capture().unwrap()).unwrap(), None);
}

#[apply(every_engine)]
fn a_snapshot_is_not_changed_by_what_comes_after(engine: &EngineUnderTest) {
    let (mut original, _) = stateful(engine);
    let snapshot = original.capture().unwrap();
    let digest = snapshot.digest().unwrap();
    invoke(&mut original, "step", &[1]);
    let mut one = restored(engine, &snapshot);
    invoke(&mut one, "step", &[100]);
    let mut two = restored(engine, &snapshot);
    assert_eq!(invoke(&mut two, "get", &[16]), [Val::I32(7)]);
    assert_eq!(snapshot.digest().unwrap(), digest);
}

#[apply(every_engine)]
fn limits_hold_for_restored_instances(engine: &EngineUnderTest) {
    let (mut original, _) = stateful(engine);
    invoke(&mut original, "grow", &[9]);
    let snapshot = original.capture().unwrap();
    let (imports, _) = started();
    let limits = |pages| Limits {
        memory_bytes_max: Some(pages * PAGE_BYTES),
        ..Limits::default()
    };
    let module = engine.module(STATEFUL);
    let error = refused(module.restore(&imports, &limits(9), &snapshot));
    assert!(
        matches!(error, Error::Limit { needed, limit, .. } if (needed, limit) == (10 * PAGE_BYTES, 9 * PAGE_BYTES)),
        "{error:?}"
    );
    let mut instance = module.restore(&imports, &limits(11), &snapshot).unwrap();
    assert_eq!(invoke(&mut instance, "grow", &[2]), [Val::I32(-1)]);
    assert_eq!(invoke(&mut instance, "grow", &[1]), [Val::I32(10)]);
}

#[apply(every_engine)]
fn a_snapshot_of_another_module_is_refused(engine: &EngineUnderTest) {
    let text = r#"(module (memory 1) (func (export "f")))"#;
    let snapshot = engine.instantiate(text).capture().unwrap();
    let (imports, _) = started();
    let module = engine.module(STATEFUL);
    let error = refused(module.restore(&imports, &Limits::default(), &snapshot));
    assert!(matches!(error, Error::Snapshot { .. }), "{error:?}");
}

#[apply(every_engine)]
fn several_memories_and_imported_state_are_in_a_snapshot(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "memory" (memory $given 1 4))
        (import "env" "global" (global $from (mut i64)))
        (memory $own 2)
        (memory $empty 0)
        (func (export "set") (param i64)
            (global.set $from (local.get 0))
            (i64.store $given (i32.const 0) (local.get 0))
            (i64.store $own (i32.const 65536) (i64.mul (local.get 0) (i64.const 2))))
        (func (export "f") (result i64 i64 i64)
            (global.get $from)
            (i64.load $given (i32.const 0))
            (i64.load $own (i32.const 65536))))"#;
    let Some(module) = engine.module_if(engine.capabilities().multi_memory, text) else {
        return;
    };
    let mut imports = Imports::new();
    let global = GlobalType {
        value: ValType::I64,
        mutable: true,
    };
    imports.define("env", "memory", Extern::Memory(MemoryType::new(1, Some(4))));
    imports.define("env", "global", Extern::Global(global, Val::I64(1)));
    let mut original = module.instantiate(&imports, &Limits::default()).unwrap();
    original.invoke("set", &[Val::I64(21)]).unwrap();
    let snapshot = original.capture().unwrap();
    assert_eq!(snapshot.memories().len(), 3);
    for target in engines::all() {
        let Some(module) = target.module_if(target.capabilities().multi_memory, text) else {
            continue;
        };
        let mut instance = module
            .restore(&imports, &Limits::default(), &snapshot)
            .unwrap();
        let expected = [Val::I64(21), Val::I64(21), Val::I64(42)];
        assert_eq!(instance.invoke("f", &[]).unwrap(), expected, "{target:?}");
    }
}

#[apply(every_engine)]
fn vectors_and_wide_memories_are_in_a_snapshot_where_the_engine_has_them(engine: &EngineUnderTest) {
    let capabilities = engine.capabilities();
    let vectors = r#"(module
        (global $v (mut v128) (v128.const i64x2 0 0))
        (func (export "set") (global.set $v (v128.const i32x4 1 2 3 4)))
        (func (export "f") (result i32) (i32x4.extract_lane 2 (global.get $v))))"#;
    let wide = r#"(module
        (memory i64 1)
        (func (export "set")
            (drop (memory.grow (i64.const 3)))
            (i64.store (i64.const 200000) (i64.const 3)))
        (func (export "f") (result i32) (i32.wrap_i64 (i64.load (i64.const 200000)))))"#;
    for (capable, text) in [(capabilities.simd, vectors), (capabilities.memory64, wide)] {
        let Some(module) = engine.module_if(capable, text) else {
            continue;
        };
        let imports = Imports::new();
        let mut original = module.instantiate(&imports, &Limits::default()).unwrap();
        original.invoke("set", &[]).unwrap();
        let snapshot = original.capture().unwrap();
        let mut instance = module
            .restore(&imports, &Limits::default(), &snapshot)
            .unwrap();
        assert_eq!(instance.invoke("f", &[]).unwrap(), [Val::I32(3)]);
    }
}

#[apply(every_engine)]
fn memory_given_back_can_be_dropped_but_not_missed(engine: &EngineUnderTest) {
    let (mut original, _) = stateful(engine);
    invoke(&mut original, "grow", &[50]);
    invoke(&mut original, "put", &[40 * 65_536, 3]);
    let snapshot = original.capture().unwrap();
    invoke(&mut original, "put", &[40 * 65_536, 4]);
    original.discard_memories();
    drop(original);
    let mut instance = restored(engine, &snapshot);
    assert_eq!(invoke(&mut instance, "get", &[40 * 65_536]), [Val::I32(3)]);
}

#[apply(every_engine)]
fn a_module_loaded_precompiled_takes_snapshots_too(engine: &EngineUnderTest) {
    let wasm = binary(STATEFUL);
    let (imports, _) = started();
    let precompiled = engine.module(STATEFUL).precompiled().unwrap();
    let loaded = engine.load(&wasm, &precompiled).unwrap();
    let mut original = loaded.instantiate(&imports, &Limits::default()).unwrap();
    invoke(&mut original, "step", &[5]);
    let snapshot = original.capture().unwrap();
    let mut instance = restored(engine, &snapshot);
    assert_eq!(
        invoke(&mut instance, "all", &[]),
        invoke(&mut original, "all", &[])
    );
}

#[apply(every_engine)]
fn an_imported_or_exported_function_starts_a_module_once(engine: &EngineUnderTest) {
    let imported = r#"(module (import "env" "started" (func $s)) (start $s)
        (func (export "f") (result i32) (i32.const 1)))"#;
    let exported = r#"(module (import "env" "started" (func $s))
        (func $start (export "f") (result i32) (i32.const 1))
        (func $go (export "go") (call $s)) (start $go))"#;
    for text in [imported, exported] {
        let (imports, count) = started();
        let mut original = engine.instantiate_importing(text, &imports);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let snapshot = original.capture().unwrap();
        let module = engine.module(text);
        let mut instance = module
            .restore(&imports, &Limits::default(), &snapshot)
            .unwrap();
        assert_eq!(instance.invoke("f", &[]).unwrap(), [Val::I32(1)]);
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
}
