//! An engine tells of the growth that it refused, whoever asked for it and why ever it was refused.

use conformance::prelude::*;

use super::host_functions::host;

const MEMORY: &str = r#"(module
    (memory (export "memory") 1 20)
    (table $t 2 3 funcref)
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "grow_table") (param i32) (result i32)
        (table.grow $t (ref.null func) (local.get 0)))
    (func (export "nothing")))"#;

fn limited(pages: u64) -> Limits {
    Limits {
        memory_bytes_max: Some(pages * PAGE_BYTES),
        ..Limits::default()
    }
}

/// Grows as the guest does, and returns what it got.
fn grow(instance: &mut dyn Instance, pages: i32) -> i32 {
    let got = instance.invoke("grow", &[Val::I32(pages)]).unwrap();
    got[0].i32().unwrap()
}

fn pages(count: u64) -> u64 {
    count * PAGE_BYTES
}

#[apply(every_engine)]
fn growth_past_the_limit_is_told_once_with_its_size(engine: &EngineUnderTest) {
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(4))
        .unwrap();
    let instance = instance.as_mut();
    assert_eq!(instance.growth_refused(), None);
    assert_eq!(grow(instance, 2), 1);
    assert_eq!(instance.growth_refused(), None, "it was permitted");
    assert_eq!(grow(instance, 2), -1);
    assert_eq!(instance.growth_refused(), Some(pages(5)));
    assert_eq!(instance.growth_refused(), None, "it was told");
    assert_eq!(grow(instance, 0), 3);
    assert_eq!(instance.growth_refused(), None);
}

#[apply(every_engine)]
fn a_refusal_is_not_forgotten_by_later_calls_and_the_smallest_counts(engine: &EngineUnderTest) {
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(4))
        .unwrap();
    let instance = instance.as_mut();
    for wanted in [9, 5, 7] {
        assert_eq!(grow(instance, wanted), -1);
    }
    assert_eq!(grow(instance, 1), 1);
    instance.invoke("nothing", &[]).unwrap();
    assert_eq!(instance.growth_refused(), Some(pages(6)));
}

#[apply(every_engine)]
fn growth_past_the_memorys_own_maximum_is_told(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(MEMORY);
    let instance = instance.as_mut();
    assert_eq!(grow(instance, 20), -1);
    assert_eq!(instance.growth_refused(), Some(pages(21)));
    assert_eq!(grow(instance, -1), -1);
    let refused = instance.growth_refused().unwrap();
    assert!(
        refused > 1 << 32,
        "{refused}: more than there are addresses"
    );
    assert_eq!(grow(instance, 19), 1);
    assert_eq!(instance.growth_refused(), None);
    assert_eq!(grow(instance, 1), -1);
    assert_eq!(instance.growth_refused(), Some(pages(21)));
}

#[apply(every_engine)]
fn growth_of_a_memory_that_never_grows_is_told(engine: &EngineUnderTest) {
    let text = r#"(module (memory 3 3)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let mut instance = engine.instantiate(text);
    assert_eq!(grow(instance.as_mut(), 1), -1);
    assert_eq!(instance.growth_refused(), Some(pages(4)));
}

#[apply(every_engine)]
fn growth_that_is_refused_to_the_host_is_told(engine: &EngineUnderTest) {
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(4))
        .unwrap();
    let memory = instance.memory_index("memory").unwrap();
    for delta in [4, 1 << 32, u64::MAX] {
        let error = refused(instance.memory_grow(memory, delta));
        assert!(matches!(error, Error::Growth { .. }), "{error:?}");
        let told = instance.growth_refused().unwrap();
        let wanted = (1 + u128::from(delta)) * u128::from(PAGE_BYTES);
        assert!(
            u128::from(told) == wanted || told > 1 << 32,
            "{delta}: {told}"
        );
    }
    assert_eq!(instance.memory_grow(memory, 3).unwrap(), 1);
    assert_eq!(instance.growth_refused(), None);
}

#[apply(every_engine)]
fn growth_that_is_refused_to_a_host_function_is_told_after_the_call(engine: &EngineUnderTest) {
    let imports = host(&[], &[], |caller, _, _| {
        let memory = caller.memory_index("memory")?;
        assert!(caller.memory_grow(memory, 9).is_err());
        Ok(())
    });
    let text = r#"(module
        (import "env" "host" (func $host))
        (memory (export "memory") 1)
        (func (export "f") (call $host)))"#;
    let mut instance = engine
        .instantiate_with(text, &imports, &limited(4))
        .unwrap();
    instance.invoke("f", &[]).unwrap();
    assert_eq!(instance.growth_refused(), Some(pages(10)));
}

#[apply(every_engine)]
fn growth_that_is_refused_before_a_trap_is_told(engine: &EngineUnderTest) {
    let text = r#"(module (memory 1)
        (func (export "die") (drop (memory.grow (i32.const 7))) unreachable))"#;
    let mut instance = engine
        .instantiate_with(text, &Imports::new(), &limited(4))
        .unwrap();
    assert_eq!(trap_of(instance.invoke("die", &[])), Trap::Unreachable);
    assert_eq!(instance.growth_refused(), Some(pages(8)));
}

#[apply(every_engine)]
fn growth_that_is_refused_to_the_start_function_is_told(engine: &EngineUnderTest) {
    let text = r"(module (memory 1)
        (func $start (drop (memory.grow (i32.const 7)))) (start $start))";
    let mut instance = engine
        .instantiate_with(text, &Imports::new(), &limited(4))
        .unwrap();
    assert_eq!(instance.growth_refused(), Some(pages(8)));
}

#[apply(every_engine)]
fn the_size_is_that_of_all_memories_together(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().multi_memory,
        r#"(module (memory $a 1 2) (memory $b 3)
            (func (export "grow") (param i32) (result i32) (memory.grow $a (local.get 0))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module.instantiate(&Imports::new(), &limited(6)).unwrap();
    assert_eq!(grow(instance.as_mut(), 2), -1);
    assert_eq!(
        instance.growth_refused(),
        Some(pages(6)),
        "past its own maximum"
    );
    assert_eq!(grow(instance.as_mut(), 3), -1);
    assert_eq!(instance.growth_refused(), Some(pages(7)));
}

#[apply(every_engine)]
fn another_instance_of_the_module_has_nothing_to_tell(engine: &EngineUnderTest) {
    let module = engine.module(MEMORY);
    let make = || module.instantiate(&Imports::new(), &limited(4)).unwrap();
    let (mut one, mut two) = (make(), make());
    assert_eq!(grow(one.as_mut(), 9), -1);
    assert_eq!(two.growth_refused(), None);
    assert_eq!(one.growth_refused(), Some(pages(10)));
}

#[apply(every_engine)]
fn growth_of_a_table_does_not_count(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(MEMORY);
    let got = instance.invoke("grow_table", &[Val::I32(2)]).unwrap();
    assert_eq!(got, [Val::I32(-1)]);
    assert_eq!(instance.growth_refused(), None);
}

#[apply(every_engine)]
fn the_meter_knows_of_a_refusal_before_it_is_told(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(MEMORY);
    let meter = instance.memory_meter().unwrap();
    assert!(!meter.is_growth_refused());
    assert_eq!(grow(instance.as_mut(), 20), -1);
    assert!(meter.is_growth_refused() && meter.is_growth_refused());
    instance.growth_refused();
    assert!(!meter.is_growth_refused());
}

/// A module on a shared memory of 1 to 4 pages, and two instances of it.
fn sharing(engine: &EngineUnderTest) -> Option<[Box<dyn Instance>; 2]> {
    let module = engine.module_if(
        engine.capabilities().threads,
        r#"(module
            (import "env" "memory" (memory 1 4 shared))
            (export "memory" (memory 0))
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    )?;
    let memory = engine.shared_memory(MemoryType::shared(1, 4)).unwrap();
    let mut imports = Imports::new();
    imports.define("env", "memory", Extern::SharedMemory(memory));
    let make = || module.instantiate(&imports, &Limits::default()).unwrap();
    Some([make(), make()])
}

#[apply(every_engine)]
fn growth_of_a_shared_memory_that_is_refused_to_the_host_is_told(engine: &EngineUnderTest) {
    let Some([mut one, _two]) = sharing(engine) else {
        return;
    };
    let memory = one.memory_index("memory").unwrap();
    assert_eq!(one.memory_grow(memory, 1).unwrap(), 1);
    assert_eq!(one.growth_refused(), None);
    for delta in [4, 1 << 32] {
        assert!(one.memory_grow(memory, delta).is_err());
        assert_eq!(one.growth_refused(), Some(pages(2 + delta)), "{delta}");
        assert_eq!(one.growth_refused(), None);
    }
}

/// wasmtime asks no limiter about the guest's growth of a shared memory, and tells nobody of its
/// failure: <https://github.com/bytecodealliance/wasmtime/issues/4240>.
#[apply(every_engine)]
fn growth_of_a_shared_memory_that_is_refused_to_a_guest_is_told_to_each_of_its_instances(
    engine: &EngineUnderTest,
) {
    let Some([mut one, mut two]) = sharing(engine) else {
        return;
    };
    let is_told = !engine.name().starts_with("wasmtime.");
    let told = |count| is_told.then(|| pages(count));
    assert_eq!(grow(one.as_mut(), 1), 1);
    assert_eq!(two.growth_refused(), None);
    assert_eq!(grow(one.as_mut(), 5), -1);
    assert_eq!(two.growth_refused(), told(7));
    assert_eq!(two.growth_refused(), None);
    assert_eq!(one.growth_refused(), told(7));
    assert_eq!(grow(one.as_mut(), 2), 2);
    assert_eq!((one.growth_refused(), two.growth_refused()), (None, None));
}
