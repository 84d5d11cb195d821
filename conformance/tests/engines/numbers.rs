//! Calls of numbers do the same as other calls, and are refused like them.

use conformance::prelude::*;
use engine_api::{NumericType, Slot};

const NUMBERS: &str = r#"(module
    (memory (export "memory") 1 3)
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (func $called (global.set $calls (i32.add (global.get $calls) (i32.const 1))))
    (func (export "mixed") (param i32 i64 f32 f64) (result f64 f32 i64 i32)
        (call $called)
        local.get 3 local.get 2 local.get 1 local.get 0)
    (func (export "wide") (param i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
        (call $called)
        (i64.sub (local.get 0) (local.get 7)))
    (func (export "spread") (result i32 i64 i32)
        (call $called)
        i32.const -1 i64.const -2 i32.const -3)
    (func (export "nothing") (call $called))
    (func (export "oops") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn resolve(instance: &dyn Instance, name: &str) -> (FuncIndex, Option<NumericType>) {
    let (func, function) = instance.info().function(name).unwrap();
    (func, function.ty.numeric())
}

fn call(instance: &mut dyn Instance, name: &str, slots: &mut [Slot]) -> Result<(), Error> {
    let (func, ty) = resolve(instance, name);
    instance.call_numbers(func, ty.expect("a function of numbers"), slots)
}

fn calls(instance: &mut dyn Instance) -> Val {
    let index = instance.global_index("calls").unwrap();
    instance.global(index).unwrap()
}

#[apply(every_engine)]
fn numbers_of_every_type_go_in_and_come_out(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    let (float, double) = (
        f32::from_bits(0x7fc0_0001),
        f64::from_bits(0xfff8_0000_0000_0001),
    );
    let mut slots = [
        Slot::from(i32::MIN),
        Slot::from(i64::MAX),
        Slot::from(float),
        Slot::from(double),
        Slot::from(77),
    ];
    call(instance.as_mut(), "mixed", &mut slots).unwrap();
    assert_eq!(slots[0].f64().to_bits(), double.to_bits());
    assert_eq!(slots[1].f32().to_bits(), float.to_bits());
    assert_eq!(slots[2].i64(), i64::MAX);
    assert_eq!(slots[3].i32(), i32::MIN);
    assert_eq!(slots[4].i32(), 77, "a slot too many is left alone");

    let mut slots = [3, 0, 0, 0, 0, 0, 0, 10].map(|number: i64| Slot::from(number));
    call(instance.as_mut(), "wide", &mut slots).unwrap();
    assert_eq!(slots[0].i64(), -7);

    let mut slots = [Slot::default(); 3];
    call(instance.as_mut(), "spread", &mut slots).unwrap();
    assert_eq!(
        (slots[0].i32(), slots[1].i64(), slots[2].i32()),
        (-1, -2, -3)
    );

    call(instance.as_mut(), "nothing", &mut []).unwrap();
    assert_eq!(calls(instance.as_mut()), Val::I32(4));
}

#[apply(every_engine)]
fn numbers_that_do_not_fit_are_refused_before_anything_runs(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    let mut slots = [Slot::from(u64::MAX); Slot::MAX];
    let of = |params: &[ValType], results: &[ValType]| {
        FuncType::new(params, results)
            .numeric()
            .expect("all are numbers")
    };
    let (wide, own) = resolve(instance.as_ref(), "wide");
    let own = own.unwrap();
    for (func, ty, len) in [
        // Too few slots, for arguments and for results.
        (wide, own, 7),
        (
            resolve(instance.as_ref(), "spread").0,
            of(&[], &[ValType::I32, ValType::I64, ValType::I32]),
            2,
        ),
        // The type of another function, by number and by kind.
        (wide, of(&[ValType::I64; 7], &[ValType::I64]), 8),
        (wide, of(&[ValType::F64; 8], &[ValType::I64]), 8),
        (wide, of(&[ValType::I64; 8], &[]), 8),
        (resolve(instance.as_ref(), "nothing").0, own, 8),
    ] {
        let error = refused(instance.call_numbers(func, ty, &mut slots[..len]));
        assert!(
            matches!(error, Error::Signature { .. }),
            "{ty:?}: {error:?}"
        );
    }
    let error = refused(instance.call_numbers(FuncIndex(99), own, &mut slots));
    assert!(matches!(error, Error::NoSuchExport { .. }), "{error:?}");
    assert_eq!(calls(instance.as_mut()), Val::I32(0));
    assert_eq!(slots[7].u64(), u64::MAX, "the slots are as they were");
}

#[apply(every_engine)]
fn traps_have_the_same_names(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    let error = refused(call(instance.as_mut(), "oops", &mut [Slot::from(-4)]));
    assert_eq!(error.trap(), Some(Trap::MemoryOutOfBounds));
    instance.interrupter().unwrap().interrupt();
    let error = refused(call(instance.as_mut(), "nothing", &mut []));
    assert_eq!(error.trap(), Some(Trap::Interrupted));
}

#[apply(every_engine)]
fn the_meter_shows_what_the_memories_have(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(NUMBERS);
    let meter = instance.memory_meter().expect("no memory is shared");
    assert_eq!(meter.bytes(), PAGE_BYTES);
    for (delta, pages_before, pages) in [(1, 1, 2), (5, -1, 2), (1, 2, 3)] {
        let mut slots = [Slot::from(delta)];
        call(instance.as_mut(), "grow", &mut slots).unwrap();
        assert_eq!(slots[0].i32(), pages_before);
        assert_eq!(meter.bytes(), pages * PAGE_BYTES);
        assert_eq!(instance.memory_bytes(), meter.bytes());
    }
    let shared = engine.instantiate(r#"(module (memory (export "memory") 1 2 shared))"#);
    assert!(
        shared.memory_meter().is_none(),
        "it may grow by another's hand"
    );
}
