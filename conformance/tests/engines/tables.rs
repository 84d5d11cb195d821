//! Tables: imported or own, their size, their growth, and calls through them.

use conformance::prelude::*;

const CALLS: &str = r#"(module
    (type $number (func (result i32)))
    (table $t (export "table") 2 10 funcref)
    (elem (table $t) (i32.const 0) func $seven)
    (func $seven (result i32) i32.const 7)
    (func (export "eight") (result i32) i32.const 8)
    (elem declare func $seven)
    (func (export "reference") (result funcref) ref.func $seven)
    (func (export "call") (param i32) (result i32)
        (call_indirect $t (type $number) (local.get 0)))
    (func (export "grow") (param i32) (result i32)
        (table.grow $t (ref.func $seven) (local.get 0)))
    (func (export "size") (result i32) (table.size $t)))"#;

const NULL: Val = Val::FuncRef(None);

fn calls(engine: &EngineUnderTest) -> (Box<dyn Instance>, TableIndex) {
    let instance = engine.instantiate(CALLS);
    let table = instance.table_index("table").unwrap();
    (instance, table)
}

#[apply(every_engine)]
fn the_host_sees_the_size_and_grows_within_the_maximum(engine: &EngineUnderTest) {
    let (mut instance, table) = calls(engine);
    assert_eq!(instance.table_size(table).unwrap(), 2);
    assert_eq!(instance.table_grow(table, 3, &NULL).unwrap(), 2);
    assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(5)]);
    for delta in [6, 1 << 32, u64::MAX] {
        match refused(instance.table_grow(table, delta, &NULL)) {
            Error::Growth {
                current: 5,
                delta: told,
            } => assert_eq!(told, delta),
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(instance.table_grow(table, 5, &NULL).unwrap(), 5);
    assert_eq!(instance.table_grow(table, 0, &NULL).unwrap(), 10);
    assert_eq!(instance.table_size(table).unwrap(), 10);
}

#[apply(every_engine)]
fn growth_by_the_guest_is_seen_by_the_host(engine: &EngineUnderTest) {
    let (mut instance, table) = calls(engine);
    assert_eq!(
        instance.invoke("grow", &[Val::I32(4)]).unwrap(),
        [Val::I32(2)]
    );
    assert_eq!(instance.table_size(table).unwrap(), 6);
    assert_eq!(
        instance.invoke("grow", &[Val::I32(5)]).unwrap(),
        [Val::I32(-1)]
    );
    assert_eq!(
        instance.invoke("call", &[Val::I32(5)]).unwrap(),
        [Val::I32(7)]
    );
}

#[apply(every_engine)]
fn elements_added_by_the_host_are_called(engine: &EngineUnderTest) {
    let (mut instance, table) = calls(engine);
    let reference = instance.invoke("reference", &[]).unwrap().remove(0);
    assert_eq!(instance.table_grow(table, 2, &reference).unwrap(), 2);
    for element in [0, 2, 3] {
        assert_eq!(
            instance.invoke("call", &[Val::I32(element)]).unwrap(),
            [Val::I32(7)]
        );
    }
    assert_eq!(
        trap_of(instance.invoke("call", &[Val::I32(1)])),
        Trap::IndirectCallToNull
    );
    assert_eq!(
        trap_of(instance.invoke("call", &[Val::I32(4)])),
        Trap::TableOutOfBounds
    );
    assert_eq!(instance.table_grow(table, 1, &NULL).unwrap(), 4);
    assert_eq!(
        trap_of(instance.invoke("call", &[Val::I32(4)])),
        Trap::IndirectCallToNull
    );
}

#[apply(every_engine)]
fn an_initial_element_of_the_wrong_type_is_refused(engine: &EngineUnderTest) {
    let (mut instance, table) = calls(engine);
    for wrong in [Val::I32(0), Val::F64(0), Val::V128(0), Val::ExternRef(None)] {
        match refused(instance.table_grow(table, 1, &wrong)) {
            Error::ValueType {
                expected: ValType::FuncRef,
                got,
            } => assert_eq!(got, wrong.ty()),
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(instance.table_size(table).unwrap(), 2);
}

#[apply(every_engine)]
fn a_function_of_another_instance_cannot_get_into_a_table(engine: &EngineUnderTest) {
    let (mut one, _) = calls(engine);
    let (mut other, table) = calls(engine);
    let reference = one.invoke("reference", &[]).unwrap().remove(0);
    let error = refused(other.table_grow(table, 1, &reference));
    assert!(matches!(error, Error::ForeignReference), "{error:?}");
    assert_eq!(other.table_size(table).unwrap(), 2);
}

#[apply(every_engine)]
fn the_host_reads_and_sets_elements(engine: &EngineUnderTest) {
    let (mut instance, table) = calls(engine);
    let reference = instance.invoke("reference", &[]).unwrap().remove(0);
    assert_eq!(instance.table_get(table, 0).unwrap(), reference);
    assert_eq!(instance.table_get(table, 1).unwrap(), NULL);
    instance.table_set(table, 1, &reference).unwrap();
    assert_eq!(instance.table_get(table, 1).unwrap(), reference);
    let called = instance.invoke("call", &[Val::I32(1)]).unwrap();
    assert_eq!(called, [Val::I32(7)]);
    instance.table_set(table, 0, &NULL).unwrap();
    let trap = trap_of(instance.invoke("call", &[Val::I32(0)]));
    assert_eq!(trap, Trap::IndirectCallToNull);
    for outside in [2, 1 << 32, u64::MAX] {
        let refusals = [
            refused(instance.table_get(table, outside).map(drop)),
            refused(instance.table_set(table, outside, &NULL)),
        ];
        for refusal in refusals {
            match refusal {
                Error::NoSuchElement { element, size: 2 } => assert_eq!(element, outside),
                error => panic!("{error:?}"),
            }
        }
    }
    let wrong = refused(instance.table_set(table, 0, &Val::ExternRef(None)));
    assert!(matches!(wrong, Error::ValueType { .. }), "{wrong:?}");
    let (mut other, _) = calls(engine);
    let foreign = other.invoke("reference", &[]).unwrap().remove(0);
    let error = refused(instance.table_set(table, 0, &foreign));
    assert!(matches!(error, Error::ForeignReference), "{error:?}");
}

#[apply(every_engine)]
fn an_imported_table_is_fresh_null_and_grows(engine: &EngineUnderTest) {
    let text = r#"(module
        (type $number (func (result i32)))
        (import "env" "table" (table $t 1 20 funcref))
        (elem (table $t) (i32.const 1) func $five)
        (func $five (result i32) i32.const 5)
        (func (export "call") (param i32) (result i32)
            (call_indirect $t (type $number) (local.get 0)))
        (func (export "size") (result i32) (table.size $t)))"#;
    let ty = TableType {
        element: ValType::FuncRef,
        elements_min: 3,
        elements_max: Some(4),
    };
    let mut imports = Imports::new();
    imports.define("env", "table", Extern::Table(ty));
    let mut instance = engine.instantiate_importing(text, &imports);
    assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(3)]);
    assert_eq!(
        instance.invoke("call", &[Val::I32(1)]).unwrap(),
        [Val::I32(5)]
    );
    assert_eq!(
        trap_of(instance.invoke("call", &[Val::I32(0)])),
        Trap::IndirectCallToNull
    );
    assert_eq!(instance.table_grow(TableIndex(0), 1, &NULL).unwrap(), 3);
    // The maximum of the given table holds. It is smaller than the import's.
    let error = refused(instance.table_grow(TableIndex(0), 1, &NULL));
    assert!(
        matches!(
            error,
            Error::Growth {
                current: 4,
                delta: 1
            }
        ),
        "{error:?}"
    );
    assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(4)]);
}

#[apply(every_engine)]
fn a_hidden_table_is_not_reached(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate("(module (table 3 funcref) (func (export \"f\")))");
    let error = refused(instance.table_size(TableIndex(0)));
    assert!(
        matches!(error, Error::NoSuchExport { kind: "table", .. }),
        "{error:?}"
    );
    let error = refused(instance.table_grow(TableIndex(0), 1, &NULL));
    assert!(
        matches!(error, Error::NoSuchExport { kind: "table", .. }),
        "{error:?}"
    );
}

#[apply(every_engine)]
fn a_table_of_host_objects_grows_by_the_object_given(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().externref,
        r#"(module
            (table $t (export "table") 1 5 externref)
            (func (export "at") (param i32) (result externref) (table.get $t (local.get 0)))
            (func (export "grow") (param externref i32) (result i32)
                (table.grow $t (local.get 0) (local.get 1))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    let table = instance.table_index("table").unwrap();
    let object = Val::ExternRef(Some(ExternRef::new(3_u8)));
    assert_eq!(instance.table_grow(table, 2, &object).unwrap(), 1);
    assert_eq!(
        instance.invoke("at", &[Val::I32(0)]).unwrap(),
        [Val::ExternRef(None)]
    );
    assert_eq!(
        instance.invoke("at", &[Val::I32(2)]).unwrap(),
        [object.clone()]
    );
    let grown = instance
        .invoke("grow", &[object.clone(), Val::I32(2)])
        .unwrap();
    assert_eq!(grown, [Val::I32(3)]);
    assert_eq!(
        instance.invoke("at", &[Val::I32(4)]).unwrap(),
        [object.clone()]
    );
    let error = refused(instance.table_grow(table, 1, &object));
    assert!(
        matches!(
            error,
            Error::Growth {
                current: 5,
                delta: 1
            }
        ),
        "{error:?}"
    );
    let error = refused(instance.table_grow(table, 0, &NULL));
    assert!(matches!(error, Error::ValueType { .. }), "{error:?}");
}

#[apply(every_engine)]
fn several_tables_keep_their_indexes(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module
            (table $hidden 1 funcref)
            (table $a (export "a") 2 funcref)
            (table $b (export "b") 3 funcref)
            (func (export "hidden") (result i32) (table.size $hidden)))"#,
    );
    assert_eq!(instance.table_index("b").unwrap(), TableIndex(2));
    assert_eq!(instance.table_grow(TableIndex(2), 4, &NULL).unwrap(), 3);
    assert_eq!(instance.table_size(TableIndex(1)).unwrap(), 2);
    assert_eq!(instance.table_size(TableIndex(2)).unwrap(), 7);
    assert_eq!(instance.invoke("hidden", &[]).unwrap(), [Val::I32(1)]);
}

/// A table with imported functions and the guest's own, in any place and put there in any way. A
/// compiler that passes more than the parameters to its own functions must not confuse the two.
#[apply(every_engine)]
fn imported_and_own_functions_are_called_through_one_table(
    engine: &EngineUnderTest,
    #[values(
        // In one segment, not at the start of the table.
        "(elem (table $t) (i32.const 3) func $own $host $own)",
        "(elem (table $t) (i32.const 3) func $own) (elem (table $t) (i32.const 4) func $host $own)",
        "(elem (table $t) (i32.const 3) funcref (ref.func $own) (ref.func $host) (ref.func $own))",
        "(elem $rest funcref (ref.func $host) (ref.func $own))
         (elem (table $t) (i32.const 3) func $own)
         (func $init (table.init $t $rest (i32.const 4) (i32.const 0) (i32.const 2)))
         (start $init)",
        "(elem (table $t) (i32.const 3) func $own $own $own)
         (elem declare func $host)
         (func $init (table.set $t (i32.const 4) (ref.func $host)))
         (start $init)",
        "(elem (table $t) (i32.const 3) func $own $own $own)
         (global $value funcref (ref.func $host))
         (func $init (table.set $t (i32.const 4) (global.get $value)))
         (start $init)",
        "(elem (table $t) (i32.const 3) func $own $own $own)
         (export \"host\" (func $host))
         (func $init (table.fill $t (i32.const 4) (ref.func $host) (i32.const 1)))
         (start $init)"
    )]
    elements: &str,
) {
    let text = format!(
        r#"(module
            (type $binary (func (param i32 i32) (result i32)))
            (import "env" "host" (func $host (type $binary)))
            (memory 1)
            (data (i32.const 100) "\2a")
            (table $t 8 funcref)
            (func $own (type $binary)
                (i32.add (i32.load8_u (local.get 0)) (local.get 1)))
            {elements}
            (func (export "call") (param i32 i32 i32) (result i32)
                (call_indirect $t (type $binary)
                    (local.get 1) (local.get 2) (local.get 0))))"#
    );
    let mut imports = Imports::new();
    let ty = FuncType::new(&[ValType::I32, ValType::I32], &[ValType::I32]);
    imports.func("env", "host", ty, |_, args, results| {
        let (first, second) = (args[0].i32().unwrap(), args[1].i32().unwrap());
        results[0] = Val::I32(first * 1000 + second);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(&text, &imports);
    let mut call = |at, first, second| instance.invoke("call", &[at, first, second].map(Val::I32));
    for _ in 0..2 {
        assert_eq!(call(3, 100, 1).unwrap(), [Val::I32(43)]);
        assert_eq!(call(4, 100, 1).unwrap(), [Val::I32(100_001)]);
        assert_eq!(call(5, 100, 2).unwrap(), [Val::I32(44)]);
        assert_eq!(trap_of(call(5, 65_536, 0)), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(call(5, -1, 0)), Trap::MemoryOutOfBounds);
        assert_eq!(trap_of(call(2, 0, 0)), Trap::IndirectCallToNull);
        assert_eq!(trap_of(call(8, 0, 0)), Trap::TableOutOfBounds);
    }
}

#[apply(every_engine)]
fn an_element_that_the_host_sets_in_a_table_of_fixed_size_is_called(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module
            (table $t (export "table") 2 2 funcref)
            (func $seven (result i32) (i32.const 7))
            (elem declare func $seven)
            (func (export "reference") (result funcref) (ref.func $seven))
            (func (export "call") (param i32) (result i32)
                (call_indirect $t (result i32) (local.get 0))))"#,
    );
    let table = instance.table_index("table").unwrap();
    let reference = instance.invoke("reference", &[]).unwrap().remove(0);
    instance.table_set(table, 1, &reference).unwrap();
    let called = instance.invoke("call", &[Val::I32(1)]).unwrap();
    assert_eq!(called, [Val::I32(7)]);
    instance.table_set(table, 1, &NULL).unwrap();
    let trap = trap_of(instance.invoke("call", &[Val::I32(1)]));
    assert_eq!(trap, Trap::IndirectCallToNull);
}
