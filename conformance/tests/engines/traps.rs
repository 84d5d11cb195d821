//! Every trap that a guest can cause has its name, and harms no other instance.

use conformance::prelude::*;

/// One exported function per trap, named after its cause.
const TRAPS: &str = r#"(module
    (type $nothing (func))
    (type $number (func (result i32)))
    (memory (export "memory") 1 1)
    (data $bytes "0123456789")
    (table $functions 3 funcref)
    (elem (table $functions) (i32.const 0) func $none)
    (elem $passive func $none $none)
    (func $none)
    (func (export "fine") (result i32) i32.const 1)
    (func (export "unreachable") unreachable)
    (func (export "load_past_end") (result i32) (i32.load (i32.const 65533)))
    (func (export "load_far") (result i32) (i32.load offset=0xffffffff (i32.const -1)))
    (func (export "load_8_at_end") (result i32) (i32.load8_u (i32.const 65536)))
    (func (export "load_i64") (result i64) (i64.load (i32.const 65529)))
    (func (export "load_f64") (result f64) (f64.load (i32.const 65529)))
    (func (export "store_past_end") (i32.store (i32.const 65533) (i32.const 1)))
    (func (export "store_far") (i64.store offset=0xfffffff0 (i32.const -1) (i64.const 1)))
    (func (export "fill_past_end")
        (memory.fill (i32.const 65530) (i32.const 1) (i32.const 7)))
    (func (export "fill_wraps")
        (memory.fill (i32.const -16) (i32.const 1) (i32.const 32)))
    (func (export "copy_from_past_end")
        (memory.copy (i32.const 0) (i32.const 65530) (i32.const 7)))
    (func (export "copy_to_past_end")
        (memory.copy (i32.const 65530) (i32.const 0) (i32.const 7)))
    (func (export "init_past_data")
        (memory.init $bytes (i32.const 0) (i32.const 4) (i32.const 7)))
    (func (export "init_dropped")
        (data.drop $bytes) (memory.init $bytes (i32.const 0) (i32.const 0) (i32.const 1)))
    (func (export "divide_i32") (param i32 i32) (result i32)
        (i32.div_s (local.get 0) (local.get 1)))
    (func (export "divide_i64") (param i64 i64) (result i64)
        (i64.div_s (local.get 0) (local.get 1)))
    (func (export "divide_u32") (param i32 i32) (result i32)
        (i32.div_u (local.get 0) (local.get 1)))
    (func (export "remainder_i32") (param i32 i32) (result i32)
        (i32.rem_s (local.get 0) (local.get 1)))
    (func (export "remainder_u64") (param i64 i64) (result i64)
        (i64.rem_u (local.get 0) (local.get 1)))
    (func (export "i32_of_f32") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
    (func (export "u32_of_f64") (param f64) (result i32) (i32.trunc_f64_u (local.get 0)))
    (func (export "i64_of_f32") (param f32) (result i64) (i64.trunc_f32_s (local.get 0)))
    (func (export "u64_of_f64") (param f64) (result i64) (i64.trunc_f64_u (local.get 0)))
    (func (export "call_past_table") (call_indirect (type $nothing) (i32.const 3)))
    (func (export "call_far_past_table") (call_indirect (type $nothing) (i32.const -1)))
    (func (export "call_null") (call_indirect (type $nothing) (i32.const 1)))
    (func (export "call_other_signature") (result i32)
        (call_indirect (type $number) (i32.const 0)))
    (func (export "call_element") (call_indirect (type $nothing) (i32.const 0)))
    (func (export "table_get_past_end") (drop (table.get $functions (i32.const 3))))
    (func (export "table_set_past_end")
        (table.set $functions (i32.const 3) (ref.null func)))
    (func (export "table_fill_past_end")
        (table.fill $functions (i32.const 2) (ref.null func) (i32.const 2)))
    (func (export "table_copy_past_end")
        (table.copy $functions $functions (i32.const 2) (i32.const 0) (i32.const 2)))
    (func (export "table_init_past_end")
        (table.init $functions $passive (i32.const 2) (i32.const 0) (i32.const 2))))"#;

fn trap(instance: &mut dyn Instance, name: &str, arguments: &[Val]) -> Trap {
    let trap = trap_of(instance.invoke(name, arguments));
    assert!(!trap.is_host_imposed());
    trap
}

#[apply(every_engine)]
fn a_trap_without_arguments_has_its_name(
    engine: &EngineUnderTest,
    #[values(
        ("unreachable", Trap::Unreachable),
        ("load_past_end", Trap::MemoryOutOfBounds),
        ("load_far", Trap::MemoryOutOfBounds),
        ("load_8_at_end", Trap::MemoryOutOfBounds),
        ("load_i64", Trap::MemoryOutOfBounds),
        ("load_f64", Trap::MemoryOutOfBounds),
        ("store_past_end", Trap::MemoryOutOfBounds),
        ("store_far", Trap::MemoryOutOfBounds),
        ("fill_past_end", Trap::MemoryOutOfBounds),
        ("fill_wraps", Trap::MemoryOutOfBounds),
        ("copy_from_past_end", Trap::MemoryOutOfBounds),
        ("copy_to_past_end", Trap::MemoryOutOfBounds),
        ("init_past_data", Trap::MemoryOutOfBounds),
        ("init_dropped", Trap::MemoryOutOfBounds),
        ("call_past_table", Trap::TableOutOfBounds),
        ("call_far_past_table", Trap::TableOutOfBounds),
        ("table_get_past_end", Trap::TableOutOfBounds),
        ("table_set_past_end", Trap::TableOutOfBounds),
        ("table_fill_past_end", Trap::TableOutOfBounds),
        ("table_copy_past_end", Trap::TableOutOfBounds),
        ("table_init_past_end", Trap::TableOutOfBounds),
        ("call_null", Trap::IndirectCallToNull),
        ("call_other_signature", Trap::BadSignature),
    )]
    case: (&str, Trap),
) {
    let (name, expected) = case;
    let mut instance = engine.instantiate(TRAPS);
    assert_eq!(trap(instance.as_mut(), name, &[]), expected);
    instance.invoke("call_element", &[]).unwrap();
}

#[apply(every_engine)]
fn division_by_zero_traps_in_every_integer_division(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(TRAPS);
    for name in ["divide_i32", "divide_u32", "remainder_i32"] {
        let trap = trap(instance.as_mut(), name, &[Val::I32(1), Val::I32(0)]);
        assert_eq!(trap, Trap::IntegerDivisionByZero, "{name}");
    }
    for name in ["divide_i64", "remainder_u64"] {
        let trap = trap(instance.as_mut(), name, &[Val::I64(1), Val::I64(0)]);
        assert_eq!(trap, Trap::IntegerDivisionByZero, "{name}");
    }
}

#[apply(every_engine)]
fn the_quotient_that_does_not_fit_is_an_overflow_and_the_remainder_is_zero(
    engine: &EngineUnderTest,
) {
    let mut instance = engine.instantiate(TRAPS);
    let i32s = [Val::I32(i32::MIN), Val::I32(-1)];
    let i64s = [Val::I64(i64::MIN), Val::I64(-1)];
    assert_eq!(
        trap(instance.as_mut(), "divide_i32", &i32s),
        Trap::IntegerOverflow
    );
    assert_eq!(
        trap(instance.as_mut(), "divide_i64", &i64s),
        Trap::IntegerOverflow
    );
    assert_eq!(
        instance.invoke("remainder_i32", &i32s).unwrap(),
        [Val::I32(0)]
    );
}

#[apply(every_engine)]
fn a_float_out_of_range_does_not_become_an_integer(engine: &EngineUnderTest) {
    // The core specification (section 4.3.2) tells the two reasons apart: a number out of range is
    // an overflow, a NaN a bad conversion.
    let mut instance = engine.instantiate(TRAPS);
    for (name, value) in [
        ("i32_of_f32", Val::from(2_147_483_648_f32)),
        ("i32_of_f32", Val::from(f32::NEG_INFINITY)),
        ("u32_of_f64", Val::from(4_294_967_296_f64)),
        ("u32_of_f64", Val::from(-1_f64)),
        ("i64_of_f32", Val::from(1e30_f32)),
        ("u64_of_f64", Val::from(f64::INFINITY)),
    ] {
        let trap = trap(instance.as_mut(), name, std::slice::from_ref(&value));
        assert_eq!(trap, Trap::IntegerOverflow, "{name} of {value:?}");
    }
}

#[apply(every_engine)]
fn a_nan_does_not_become_an_integer(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(TRAPS);
    for (name, value) in [
        ("i32_of_f32", Val::from(f32::NAN)),
        ("u32_of_f64", Val::from(f64::NAN)),
        ("i64_of_f32", Val::from(f32::NAN)),
        ("u64_of_f64", Val::from(f64::NAN)),
    ] {
        let trap = trap(instance.as_mut(), name, std::slice::from_ref(&value));
        assert_eq!(trap, Trap::BadConversionToInteger, "{name}");
    }
}

#[apply(every_engine)]
fn atomics_trap_where_they_are_unaligned_or_wait_on_an_unshared_memory(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().threads,
        r#"(module
            (memory 1)
            (func (export "load") (param i32) (result i32) (i32.atomic.load (local.get 0)))
            (func (export "add") (param i32) (result i64)
                (i64.atomic.rmw.add (local.get 0) (i64.const 1)))
            (func (export "store") (param i32)
                (i32.atomic.store16 (local.get 0) (i32.const 1)))
            (func (export "wait") (param i32) (result i32)
                (memory.atomic.wait32 (local.get 0) (i32.const 0) (i64.const 0))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    for (name, offset) in [("load", 2), ("add", 4), ("store", 1)] {
        instance.invoke(name, &[Val::I32(offset * 8)]).unwrap();
        let trap = trap(instance.as_mut(), name, &[Val::I32(offset)]);
        assert_eq!(trap, Trap::UnalignedAtomic, "{name}");
    }
    let trap = trap(instance.as_mut(), "wait", &[Val::I32(0)]);
    assert_eq!(trap, Trap::AtomicWaitUnshared);
}

#[apply(every_engine)]
fn a_null_reference_traps_or_typed_references_are_unsupported(engine: &EngineUnderTest) {
    let compiled = engine.compile_wat(
        r#"(module
            (type $nothing (func))
            (func (export "f") (call_ref $nothing (ref.null $nothing))))"#,
    );
    match compiled {
        Ok(module) => {
            let mut instance = module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap();
            assert_eq!(trap_of(instance.invoke("f", &[])), Trap::NullReference);
        }
        Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error:?}"),
    }
}

#[apply(every_engine)]
fn an_uncaught_exception_traps_or_exceptions_are_unsupported(engine: &EngineUnderTest) {
    let compiled = engine.compile_wat(r#"(module (tag $oops) (func (export "f") (throw $oops)))"#);
    match compiled {
        Ok(module) => {
            let mut instance = module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap();
            assert_eq!(trap_of(instance.invoke("f", &[])), Trap::Uncaught);
        }
        Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error:?}"),
    }
}

#[apply(every_engine)]
fn after_a_trap_the_instance_answers_and_others_are_untouched(engine: &EngineUnderTest) {
    let mut trapping = engine.instantiate(TRAPS);
    let mut other = engine.instantiate(TRAPS);
    for _ in 0..50 {
        assert_eq!(
            trap(trapping.as_mut(), "unreachable", &[]),
            Trap::Unreachable
        );
        assert_eq!(
            trap(trapping.as_mut(), "load_past_end", &[]),
            Trap::MemoryOutOfBounds
        );
        assert_eq!(other.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
        assert_eq!(trapping.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
    }
    assert_eq!(trapping.memory_size(MemoryIndex(0)).unwrap(), PAGE_BYTES);
}

#[apply(every_engine)]
fn traps_on_many_threads_at_once_are_told_apart(engine: &EngineUnderTest) {
    let module = engine.module(TRAPS);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let module = &module;
            scope.spawn(move || {
                let mut instance = module
                    .instantiate(&Imports::new(), &Limits::default())
                    .unwrap();
                let (name, expected) = [
                    ("load_past_end", Trap::MemoryOutOfBounds),
                    ("unreachable", Trap::Unreachable),
                    ("call_null", Trap::IndirectCallToNull),
                    ("fill_past_end", Trap::MemoryOutOfBounds),
                ][thread % 4];
                for _ in 0..100 {
                    assert_eq!(trap(instance.as_mut(), name, &[]), expected);
                    assert_eq!(instance.invoke("fine", &[]).unwrap(), [Val::I32(1)]);
                }
            });
        }
    });
}

#[apply(every_engine)]
fn bulk_operations_out_of_bounds_write_nothing(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(TRAPS);
    for name in ["fill_past_end", "copy_to_past_end", "init_past_data"] {
        let before = contents(instance.as_ref());
        assert_eq!(trap(instance.as_mut(), name, &[]), Trap::MemoryOutOfBounds);
        assert_eq!(contents(instance.as_ref()), before, "{name}");
    }
}

fn contents(instance: &dyn Instance) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(PAGE_BYTES).unwrap()];
    instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
    bytes
}
