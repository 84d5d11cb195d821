//! Externrefs and funcrefs.

use std::sync::atomic::{AtomicUsize, Ordering};

use engine_api::{
    Error, ExternRef, FuncRef, FuncType, Imports, InstanceExt, Limits, Trap, Val, ValType,
};
use engine_wasmtime::Wasmtime;

use crate::{compile, engines, trap_of};

#[test]
fn a_million_externrefs_keep_neither_objects_nor_memory() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Object;
    impl Drop for Object {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let text = r#"(module
        (import "env" "make" (func $make (result externref)))
        (func (export "same") (param externref) (result externref) (local.get 0))
        (func (export "made") (drop (call $make))))"#;
    let engine = Wasmtime::cranelift().unwrap();
    let mut imports = Imports::new();
    let ty = FuncType::new(&[], &[ValType::ExternRef]);
    imports.func("env", "make", ty, |_, _, results| {
        results[0] = Val::ExternRef(Some(ExternRef::new(Object)));
        Ok::<(), Error>(())
    });
    let limits = Limits {
        memory_bytes_max: Some(0),
        ..Limits::default()
    };
    let mut guest = compile(&engine, text)
        .instantiate(&imports, &limits)
        .unwrap();
    let (same, _) = guest.info().function("same").unwrap();
    let (made, _) = guest.info().function("made").unwrap();
    let calls = 500_000;
    for _ in 0..calls {
        let args = [Val::ExternRef(Some(ExternRef::new(Object)))];
        let mut results = [Val::ExternRef(None)];
        guest.call(same, &args, &mut results).unwrap();
        assert_eq!(args, results);
        guest.call(made, &[], &mut []).unwrap();
    }
    let kept = 2 * calls - DROPPED.load(Ordering::Relaxed);
    assert!(kept <= 2_048, "{kept} objects are alive");
    assert_eq!(guest.memory_bytes(), 0);
    drop(guest);
    assert_eq!(DROPPED.load(Ordering::Relaxed), 2 * calls);
}

#[test]
fn funcrefs_belong_to_one_instance_and_cannot_be_forged() {
    let text = r#"(module
        (table (export "t") 1 funcref)
        (elem declare func $f)
        (func $f (result i32) i32.const 3)
        (func (export "give") (result funcref) ref.func $f)
        (func (export "take") (param funcref) (result i32)
            (table.set (i32.const 0) (local.get 0))
            (call_indirect (result i32) (i32.const 0))))"#;
    for engine in engines() {
        let module = compile(&engine, text);
        let make = || {
            module
                .instantiate(&Imports::new(), &Limits::default())
                .unwrap()
        };
        let (mut one, mut other) = (make(), make());
        let given = one.invoke("give", &[]).unwrap();
        assert_eq!(one.invoke("give", &[]).unwrap(), given);
        assert_eq!(one.invoke("take", &given).unwrap(), [Val::I32(3)]);
        assert!(matches!(
            other.invoke("take", &given),
            Err(Error::ForeignReference)
        ));
        let Val::FuncRef(Some(reference)) = given[0] else {
            panic!("{given:?}")
        };
        let forged = FuncRef::new(reference.instance(), reference.slot() + 1);
        assert!(matches!(
            one.invoke("take", &[Val::FuncRef(Some(forged))]),
            Err(Error::ForeignReference)
        ));
        assert_eq!(
            trap_of(one.invoke("take", &[Val::FuncRef(None)])),
            Trap::IndirectCallToNull
        );
    }
}
