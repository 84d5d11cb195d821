//! Globals: both sides read and set them, and are refused where the type forbids it.

use conformance::prelude::*;

const GLOBALS: &str = r#"(module
    (import "env" "imported" (global $imported (mut i32)))
    (import "env" "constant" (global $constant i64))
    (global $a (export "i32") (mut i32) (i32.const -1))
    (global $b (export "i64") (mut i64) (i64.const 0x7fffffffffffffff))
    (global $c (export "f32") (mut f32) (f32.const nan:0x412345))
    (global $d (export "f64") (mut f64) (f64.const -0))
    (global $e (export "immutable") i32 (i32.const 12))
    (global $f (export "from_import") i64 (global.get $constant))
    (global $hidden (mut i32) (i32.const 5))
    (func (export "add") (param i32)
        (global.set $a (i32.add (global.get $a) (local.get 0)))
        (global.set $imported (i32.add (global.get $imported) (local.get 0))))
    (func (export "get_f64") (result f64) global.get $d))"#;

fn imports() -> Imports {
    let mut imports = Imports::new();
    let mutable = GlobalType {
        value: ValType::I32,
        mutable: true,
    };
    let constant = GlobalType {
        value: ValType::I64,
        mutable: false,
    };
    imports.define("env", "imported", Extern::Global(mutable, Val::I32(100)));
    imports.define("env", "constant", Extern::Global(constant, Val::I64(-3)));
    imports
}

fn value(instance: &mut dyn Instance, name: &str) -> Val {
    let index = instance.global_index(name).unwrap();
    instance.global(index).unwrap()
}

fn set(instance: &mut dyn Instance, name: &str, value: &Val) -> Result<(), Error> {
    let index = instance.global_index(name).unwrap();
    instance.set_global(index, value)
}

#[apply(every_engine)]
fn globals_start_with_their_values_bit_for_bit(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    let instance = instance.as_mut();
    assert_eq!(value(instance, "i32"), Val::I32(-1));
    assert_eq!(value(instance, "i64"), Val::I64(i64::MAX));
    assert_eq!(value(instance, "f32"), Val::F32(0x7fc1_2345));
    assert_eq!(value(instance, "f64"), Val::F64(1 << 63));
    assert_eq!(value(instance, "immutable"), Val::I32(12));
    assert_eq!(value(instance, "from_import"), Val::I64(-3));
}

#[apply(every_engine)]
fn host_and_guest_see_what_the_other_sets(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    let instance = instance.as_mut();
    for (name, new) in [
        ("i32", Val::I32(i32::MIN)),
        ("i64", Val::I64(i64::MIN)),
        ("f32", Val::F32(0xff81_2345)),
        ("f64", Val::F64(0x7ff0_0000_dead_beef)),
    ] {
        set(instance, name, &new).unwrap();
        assert_eq!(value(instance, name), new);
    }
    let seen = instance.invoke("get_f64", &[]).unwrap();
    assert_eq!(seen, [Val::F64(0x7ff0_0000_dead_beef)]);
    set(instance, "i32", &Val::I32(40)).unwrap();
    instance.invoke("add", &[Val::I32(2)]).unwrap();
    assert_eq!(value(instance, "i32"), Val::I32(42));
}

#[apply(every_engine)]
fn an_imported_global_is_reached_by_its_index(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    instance.invoke("add", &[Val::I32(2)]).unwrap();
    assert_eq!(instance.global(GlobalIndex(0)).unwrap(), Val::I32(102));
    instance.set_global(GlobalIndex(0), &Val::I32(0)).unwrap();
    instance.invoke("add", &[Val::I32(2)]).unwrap();
    assert_eq!(instance.global(GlobalIndex(0)).unwrap(), Val::I32(2));
    assert_eq!(instance.global(GlobalIndex(1)).unwrap(), Val::I64(-3));
}

#[apply(every_engine)]
fn an_immutable_global_is_not_set(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    let error = refused(set(instance.as_mut(), "immutable", &Val::I32(13)));
    assert!(
        matches!(error, Error::ImmutableGlobal { global: 6 }),
        "{error:?}"
    );
    let error = refused(instance.set_global(GlobalIndex(1), &Val::I64(13)));
    assert!(
        matches!(error, Error::ImmutableGlobal { global: 1 }),
        "{error:?}"
    );
    assert_eq!(value(instance.as_mut(), "immutable"), Val::I32(12));
}

#[apply(every_engine)]
fn a_value_of_the_wrong_type_is_not_set(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    let instance = instance.as_mut();
    for wrong in [Val::I64(0), Val::F32(0), Val::V128(0), Val::FuncRef(None)] {
        match refused(set(instance, "i32", &wrong)) {
            Error::ValueType {
                expected: ValType::I32,
                got,
            } => assert_eq!(got, wrong.ty()),
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(value(instance, "i32"), Val::I32(-1));
}

#[apply(every_engine)]
fn a_hidden_global_is_not_reached(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(GLOBALS, &imports());
    let hidden = GlobalIndex(8);
    assert_eq!(instance.info().globals().len(), 9);
    let error = refused(instance.global(hidden));
    assert!(
        matches!(error, Error::NoSuchExport { kind: "global", .. }),
        "{error:?}"
    );
    let error = refused(instance.set_global(hidden, &Val::I32(1)));
    assert!(
        matches!(error, Error::NoSuchExport { kind: "global", .. }),
        "{error:?}"
    );
}

#[apply(every_engine)]
fn a_global_of_a_vector_is_read_and_set(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().simd,
        r#"(module
            (import "env" "vector" (global $i v128))
            (global $g (export "vector") (mut v128) (v128.const i64x2 1 2))
            (func (export "sum") (result v128) (i64x2.add (global.get $g) (global.get $i))))"#,
    );
    let Some(module) = module else { return };
    let mut imports = Imports::new();
    let ty = GlobalType {
        value: ValType::V128,
        mutable: false,
    };
    imports.define(
        "env",
        "vector",
        Extern::Global(ty, Val::V128((4 << 64) | 3)),
    );
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    assert_eq!(value(instance.as_mut(), "vector"), Val::V128((2 << 64) | 1));
    assert_eq!(
        instance.invoke("sum", &[]).unwrap(),
        [Val::V128((6 << 64) | 4)]
    );
    set(instance.as_mut(), "vector", &Val::V128((1 << 64) | 1)).unwrap();
    assert_eq!(
        instance.invoke("sum", &[]).unwrap(),
        [Val::V128((5 << 64) | 4)]
    );
}

#[apply(every_engine)]
fn a_global_of_a_function_keeps_references_of_its_own_instance_only(engine: &EngineUnderTest) {
    let text = r#"(module
        (type $number (func (result i32)))
        (table $slot 1 funcref)
        (func $nine (result i32) i32.const 9)
        (global $f (export "function") (mut funcref) (ref.func $nine))
        (func (export "call") (result i32)
            (table.set $slot (i32.const 0) (global.get $f))
            (call_indirect $slot (type $number) (i32.const 0))))"#;
    let mut one = engine.instantiate(text);
    let mut other = engine.instantiate(text);
    let reference = value(one.as_mut(), "function");
    assert!(matches!(reference, Val::FuncRef(Some(_))), "{reference:?}");
    set(one.as_mut(), "function", &Val::FuncRef(None)).unwrap();
    assert_eq!(trap_of(one.invoke("call", &[])), Trap::IndirectCallToNull);
    set(one.as_mut(), "function", &reference).unwrap();
    assert_eq!(one.invoke("call", &[]).unwrap(), [Val::I32(9)]);
    let error = refused(set(other.as_mut(), "function", &reference));
    assert!(matches!(error, Error::ForeignReference), "{error:?}");
}

#[apply(every_engine)]
fn a_global_of_a_host_object_is_given_and_set(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().externref,
        r#"(module
            (import "env" "object" (global $i externref))
            (global $g (export "object") (mut externref) (ref.null extern))
            (func (export "get") (result externref) global.get $i)
            (func (export "copy") (global.set $g (global.get $i))))"#,
    );
    let Some(module) = module else { return };
    let object = Val::ExternRef(Some(ExternRef::new("object")));
    let mut imports = Imports::new();
    let ty = GlobalType {
        value: ValType::ExternRef,
        mutable: false,
    };
    imports.define("env", "object", Extern::Global(ty, object.clone()));
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    assert_eq!(instance.invoke("get", &[]).unwrap(), [object.clone()]);
    assert_eq!(value(instance.as_mut(), "object"), Val::ExternRef(None));
    instance.invoke("copy", &[]).unwrap();
    assert_eq!(value(instance.as_mut(), "object"), object);
    set(instance.as_mut(), "object", &Val::ExternRef(None)).unwrap();
    assert_eq!(value(instance.as_mut(), "object"), Val::ExternRef(None));
}

#[apply(every_engine)]
fn a_watched_global_need_not_be_exported(engine: &EngineUnderTest) {
    let wasm = binary(GLOBALS);
    let module = engine.shared().compile(&wasm).unwrap();
    let mut instance = module.instantiate(&imports(), &Limits::default()).unwrap();
    let mut watched = |index| instance.watched_global(GlobalIndex(index)).ok();
    assert_eq!(watched(8), Some(Val::I32(5)), "hidden");
    assert_eq!(watched(0), Some(Val::I32(100)), "imported");
    assert_eq!(watched(2), Some(Val::I32(-1)), "exported");
    assert_eq!(watched(6), None, "immutable");
    assert_eq!(watched(9), None, "there is none");
    instance.invoke("add", &[Val::I32(3)]).unwrap();
    let after = instance.watched_global(GlobalIndex(2)).unwrap();
    assert_eq!(after, Val::I32(2));
}

#[apply(every_engine)]
fn the_stack_pointer_is_found_in_the_code(engine: &EngineUnderTest) {
    let text = r#"(module
        (global (mut i32) (i32.const 0))
        (global $sp (mut i32) (i32.const 65536))
        (func (export "f") (local i32)
            (global.set $sp (local.tee 0 (i32.sub (global.get $sp) (i32.const 32))))))"#;
    let wasm = binary(text);
    let module = engine.shared().compile(&wasm).unwrap();
    let found = module.stack_pointer(&wasm).unwrap();
    assert_eq!(found, Some(GlobalIndex(1)));
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    instance.invoke("f", &[]).unwrap();
    let lowered = instance.watched_global(GlobalIndex(1)).unwrap();
    assert_eq!(lowered, Val::I32(65_536 - 32));
}

#[apply(every_engine)]
fn a_module_is_read_without_being_compiled(engine: &EngineUnderTest) {
    let wasm = binary(GLOBALS);
    let read = engine.shared().read(&wasm).unwrap();
    let compiled = engine.shared().compile(&wasm).unwrap();
    assert_eq!(read.exports(), compiled.info().exports());
    assert_eq!(read.imports(), compiled.info().imports());
    assert_eq!(read.hash(), compiled.info().hash());
    let compressed = engine.shared().read(&[0x1f, 0x8b, 8, 0]).unwrap_err();
    assert!(compressed.to_string().contains("gunzip"), "{compressed}");
}
