//! References: functions are opaque and belong to one instance, host objects keep their identity.

use conformance::prelude::*;

const FUNCTIONS: &str = r#"(module
    (type $number (func (result i32)))
    (func $seven (result i32) i32.const 7)
    (func $eight (result i32) i32.const 8)
    (elem declare func $seven $eight)
    (table $slot 1 funcref)
    (func (export "seven") (result funcref) ref.func $seven)
    (func (export "eight") (result funcref) ref.func $eight)
    (func (export "null") (result funcref) ref.null func)
    (func (export "same") (param funcref) (result funcref) local.get 0)
    (func (export "is_null") (param funcref) (result i32) local.get 0 ref.is_null)
    (func (export "call") (param funcref) (result i32)
        (table.set $slot (i32.const 0) (local.get 0))
        (call_indirect $slot (type $number) (i32.const 0))))"#;

const OBJECTS: &str = r#"(module
    (table $kept (export "kept") 4 externref)
    (global $last (export "last") (mut externref) (ref.null extern))
    (func (export "same") (param externref) (result externref) local.get 0)
    (func (export "null") (result externref) ref.null extern)
    (func (export "is_null") (param externref) (result i32) local.get 0 ref.is_null)
    (func (export "keep") (param i32 externref)
        (table.set $kept (local.get 0) (local.get 1)))
    (func (export "kept_at") (param i32) (result externref)
        (table.get $kept (local.get 0)))
    (func (export "swapped") (param externref i32 externref) (result externref i32 externref)
        local.get 2 local.get 1 local.get 0))"#;

#[apply(every_engine)]
fn a_null_function_reference_is_null_on_both_sides(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(FUNCTIONS);
    let null = Val::FuncRef(None);
    assert_eq!(instance.invoke("null", &[]).unwrap(), [null.clone()]);
    assert_eq!(
        instance.invoke("same", &[null.clone()]).unwrap(),
        [null.clone()]
    );
    assert_eq!(instance.invoke("is_null", &[null]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn a_function_reference_given_back_is_the_same_function(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(FUNCTIONS);
    for (name, number) in [("seven", 7), ("eight", 8)] {
        let reference = instance.invoke(name, &[]).unwrap();
        assert!(
            matches!(reference[0], Val::FuncRef(Some(_))),
            "{reference:?}"
        );
        assert_eq!(
            instance.invoke("is_null", &reference).unwrap(),
            [Val::I32(0)]
        );
        assert_eq!(
            instance.invoke("call", &reference).unwrap(),
            [Val::I32(number)]
        );
        let round = instance.invoke("same", &reference).unwrap();
        assert_eq!(instance.invoke("call", &round).unwrap(), [Val::I32(number)]);
    }
}

#[apply(every_engine)]
fn one_function_has_one_reference_however_often_it_crosses(engine: &EngineUnderTest) {
    // The contract promises that references can be compared. Besides, a table of references that
    // grew with every crossing would be a leak.
    let mut instance = engine.instantiate(FUNCTIONS);
    let first = instance.invoke("seven", &[]).unwrap();
    for _ in 0..100 {
        assert_eq!(instance.invoke("seven", &[]).unwrap(), first);
        assert_eq!(instance.invoke("same", &first).unwrap(), first);
    }
    assert_ne!(instance.invoke("eight", &[]).unwrap(), first);
}

#[apply(every_engine)]
fn a_function_reference_of_another_instance_is_refused(engine: &EngineUnderTest) {
    let mut one = engine.instantiate(FUNCTIONS);
    let mut other = engine.instantiate(FUNCTIONS);
    let reference = one.invoke("seven", &[]).unwrap();
    // The other instance has handed out a reference too, so the slot exists there.
    other.invoke("seven", &[]).unwrap();
    let error = refused(other.invoke("call", &reference));
    assert!(matches!(error, Error::ForeignReference), "{error:?}");
    assert_eq!(one.invoke("call", &reference).unwrap(), [Val::I32(7)]);
}

#[apply(every_engine)]
fn a_forged_function_reference_is_refused(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(FUNCTIONS);
    let real = instance.invoke("seven", &[]).unwrap();
    let Val::FuncRef(Some(real)) = real[0] else {
        panic!("{real:?}")
    };
    for slot in [1_000, u32::MAX] {
        let forged = Val::FuncRef(Some(FuncRef::new(real.instance(), slot)));
        let error = refused(instance.invoke("call", &[forged]));
        assert!(matches!(error, Error::ForeignReference), "{error:?}");
    }
}

#[apply(every_engine)]
fn a_function_reference_outlives_its_instance_without_harm(engine: &EngineUnderTest) {
    let mut gone = engine.instantiate(FUNCTIONS);
    let reference = gone.invoke("seven", &[]).unwrap();
    drop(gone);
    for _ in 0..10 {
        let mut instance = engine.instantiate(FUNCTIONS);
        instance.invoke("seven", &[]).unwrap();
        let error = refused(instance.invoke("call", &reference));
        assert!(matches!(error, Error::ForeignReference), "{error:?}");
    }
}

fn objects(engine: &EngineUnderTest) -> Option<Box<dyn Instance>> {
    let module = engine.module_if(engine.capabilities().externref, OBJECTS)?;
    Some(
        module
            .instantiate(&Imports::new(), &Limits::default())
            .unwrap(),
    )
}

#[apply(every_engine)]
fn a_host_object_comes_back_as_itself(engine: &EngineUnderTest) {
    let Some(mut instance) = objects(engine) else {
        return;
    };
    let one = ExternRef::new("one".to_owned());
    let two = ExternRef::new(2_u64);
    let back = instance
        .invoke("same", &[Val::ExternRef(Some(one.clone()))])
        .unwrap();
    assert_eq!(back, [Val::ExternRef(Some(one.clone()))]);
    let Val::ExternRef(Some(back)) = &back[0] else {
        panic!("{back:?}")
    };
    assert_eq!(back.get::<String>().unwrap(), "one");

    let arguments = [
        Val::ExternRef(Some(one)),
        Val::I32(5),
        Val::ExternRef(Some(two)),
    ];
    let mut expected = arguments.to_vec();
    expected.reverse();
    assert_eq!(instance.invoke("swapped", &arguments).unwrap(), expected);
}

#[apply(every_engine)]
fn a_null_host_object_is_null_on_both_sides(engine: &EngineUnderTest) {
    let Some(mut instance) = objects(engine) else {
        return;
    };
    let null = Val::ExternRef(None);
    assert_eq!(instance.invoke("null", &[]).unwrap(), [null.clone()]);
    assert_eq!(
        instance.invoke("same", &[null.clone()]).unwrap(),
        [null.clone()]
    );
    assert_eq!(instance.invoke("is_null", &[null]).unwrap(), [Val::I32(1)]);
    let object = Val::ExternRef(Some(ExternRef::new(())));
    assert_eq!(
        instance.invoke("is_null", &[object]).unwrap(),
        [Val::I32(0)]
    );
}

#[apply(every_engine)]
fn a_guest_keeps_host_objects_in_a_table_and_a_global(engine: &EngineUnderTest) {
    let Some(mut instance) = objects(engine) else {
        return;
    };
    let kept: Vec<Val> = (0..4_u32)
        .map(|number| Val::ExternRef(Some(ExternRef::new(number))))
        .collect();
    for (place, object) in (0..).zip(&kept) {
        instance
            .invoke("keep", &[Val::I32(place), object.clone()])
            .unwrap();
    }
    for (place, object) in (0..).zip(&kept) {
        let found = instance.invoke("kept_at", &[Val::I32(place)]).unwrap();
        assert_eq!(found, std::slice::from_ref(object));
    }
    let last = instance.global_index("last").unwrap();
    instance.set_global(last, &kept[2]).unwrap();
    assert_eq!(instance.global(last).unwrap(), kept[2]);
}

#[apply(every_engine)]
fn a_host_object_that_a_guest_held_is_freed_with_the_instance(engine: &EngineUnderTest) {
    let Some(mut instance) = objects(engine) else {
        return;
    };
    let object = Arc::new(());
    let held = Val::ExternRef(Some(ExternRef::new(Arc::clone(&object))));
    instance
        .invoke("keep", &[Val::I32(0), held.clone()])
        .unwrap();
    drop(held);
    assert!(
        Arc::strong_count(&object) > 1,
        "the guest must keep it alive"
    );
    drop(instance);
    assert_eq!(Arc::strong_count(&object), 1);
}

#[apply(every_engine)]
fn a_reference_of_the_wrong_kind_is_refused_before_the_call(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(FUNCTIONS);
    let object = Val::ExternRef(Some(ExternRef::new(1_u8)));
    let error = refused(instance.invoke("is_null", &[object]));
    assert!(matches!(error, Error::Signature { .. }), "{error:?}");
}
