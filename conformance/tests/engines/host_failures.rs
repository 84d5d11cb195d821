//! A host function that fails ends the call, and the error names the cause.

use conformance::prelude::*;

use super::host_functions::{NESTED, host};

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("out of paper: {sheets} sheets left")]
struct OutOfPaper {
    sheets: u32,
}

#[apply(every_engine)]
fn a_trap_of_a_nested_call_ends_the_outer_call_with_the_same_trap(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, _| {
        caller.invoke("oops", args).map(drop)
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for _ in 0..3 {
        assert_eq!(
            trap_of(instance.invoke("outer", &[Val::I32(1)])),
            Trap::Unreachable
        );
        assert_eq!(
            instance.invoke("double", &[Val::I32(4)]).unwrap(),
            [Val::I32(8)]
        );
    }
}

#[apply(every_engine)]
fn a_host_function_that_swallows_a_nested_trap_goes_on(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        assert_eq!(trap_of(caller.invoke("oops", args)), Trap::Unreachable);
        results[0] = Val::I32(6);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(1)]).unwrap(),
        [Val::I32(7)]
    );
}

#[apply(every_engine)]
fn a_trap_that_a_host_function_returns_is_the_guests_trap(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, _, _| {
        Err(Error::Trap(Trap::IntegerOverflow))
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        trap_of(instance.invoke("outer", &[Val::I32(1)])),
        Trap::IntegerOverflow
    );
}

#[apply(every_engine)]
fn a_wrong_nested_call_is_refused_like_any_other(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, _, results| {
        let error = refused(caller.invoke("double", &[Val::I64(1)]));
        assert!(matches!(error, Error::Signature { .. }), "{error:?}");
        let error = refused(caller.call(FuncIndex(99), &[], &mut []));
        assert!(matches!(error, Error::NoSuchExport { .. }), "{error:?}");
        results[0] = Val::I32(1);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(1)]).unwrap(),
        [Val::I32(2)]
    );
}

#[apply(every_engine)]
fn a_host_functions_own_error_comes_out_as_the_source(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, _, _| {
        Err(Error::Host {
            module: "env".to_owned(),
            name: "host".to_owned(),
            source: Box::new(OutOfPaper { sheets: 3 }),
        })
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for _ in 0..3 {
        let error = refused(instance.invoke("outer", &[Val::I32(1)]));
        assert_eq!(error.to_string(), "host function `env` `host` failed");
        let Error::Host { source, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(source.downcast_ref(), Some(&OutOfPaper { sheets: 3 }));
    }
    assert_eq!(
        instance.invoke("double", &[Val::I32(4)]).unwrap(),
        [Val::I32(8)]
    );
}

#[apply(every_engine)]
fn an_error_of_a_nested_host_function_comes_out_through_both(engine: &EngineUnderTest) {
    // Level 1 fails, level 0 passes the error on: it still names the function that failed.
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        if args[0] == Val::I32(0) {
            return Err(Error::Growth {
                current: 8,
                delta: 9,
            });
        }
        results[0] = caller.invoke("outer", &[Val::I32(0)])?.remove(0);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    let error = refused(instance.invoke("outer", &[Val::I32(1)]));
    let Error::Host { source, .. } = error else {
        panic!("{error:?}")
    };
    let inner = source.downcast_ref::<Error>();
    assert!(
        matches!(
            inner,
            Some(Error::Growth {
                current: 8,
                delta: 9
            })
        ),
        "{inner:?}"
    );
}

#[apply(every_engine)]
fn a_panic_in_a_host_function_is_an_error_and_the_process_lives(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |_, args, _| {
        panic!(
            "this panic belongs to the case, number {}",
            args[0].i32().unwrap()
        )
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    for number in 0..3 {
        match refused(instance.invoke("outer", &[Val::I32(number)])) {
            Error::HostPanicked {
                module,
                name,
                message,
            } => {
                assert_eq!((module.as_str(), name.as_str()), ("env", "host"));
                assert!(message.ends_with(&format!("number {number}")), "{message}");
            }
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(
        instance.invoke("double", &[Val::I32(4)]).unwrap(),
        [Val::I32(8)]
    );
}

#[apply(every_engine)]
fn results_of_the_wrong_type_are_an_error_of_the_host(engine: &EngineUnderTest) {
    for wrong in [
        Val::I64(1),
        Val::F32(1),
        Val::FuncRef(None),
        Val::ExternRef(None),
        Val::V128(1),
    ] {
        let given = wrong.clone();
        let imports = host(&[ValType::I32], &[ValType::I32], move |_, _, results| {
            results[0] = given.clone();
            Ok(())
        });
        let mut instance = engine.instantiate_importing(NESTED, &imports);
        let error = refused(instance.invoke("outer", &[Val::I32(1)]));
        let Error::Host { source, .. } = error else {
            panic!("{error:?}")
        };
        match source.downcast_ref::<Error>() {
            Some(Error::ValueType {
                expected: ValType::I32,
                got,
            }) => assert_eq!(*got, wrong.ty()),
            other => panic!("{other:?}"),
        }
    }
}

#[apply(every_engine)]
fn a_forged_function_reference_from_a_host_function_ends_the_call(engine: &EngineUnderTest) {
    let imports = host(&[], &[ValType::FuncRef], |_, _, results| {
        results[0] = Val::FuncRef(Some(FuncRef::new(u64::MAX, 0)));
        Ok(())
    });
    let mut instance = engine.instantiate_importing(
        r#"(module
            (import "env" "host" (func $host (result funcref)))
            (func (export "f") (result i32) (ref.is_null (call $host))))"#,
        &imports,
    );
    let error = refused(instance.invoke("f", &[]));
    let foreign = match &error {
        Error::ForeignReference => true,
        Error::Host { source, .. } => {
            matches!(source.downcast_ref(), Some(Error::ForeignReference))
        }
        _ => false,
    };
    assert!(foreign, "{error:?}");
}
