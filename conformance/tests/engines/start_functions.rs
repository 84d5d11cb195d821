//! The start function runs once per instance. If it fails, so does the instantiation.

use conformance::prelude::*;

#[apply(every_engine)]
fn the_start_function_has_run_when_the_instance_is_there(engine: &EngineUnderTest) {
    let text = r#"(module
        (global $runs (export "runs") (mut i32) (i32.const 0))
        (func $start (global.set $runs (i32.add (global.get $runs) (i32.const 1))))
        (start $start))"#;
    assert!(engine.module(text).info().has_start());
    for _ in 0..2 {
        let mut instance = engine.instantiate(text);
        let runs = instance.global_index("runs").unwrap();
        assert_eq!(instance.global(runs).unwrap(), Val::I32(1));
    }
}

#[apply(every_engine)]
fn data_and_elements_are_in_place_before_the_start_function(engine: &EngineUnderTest) {
    let text = r#"(module
        (type $number (func (result i32)))
        (memory 1)
        (data (i32.const 8) "\2a")
        (table 1 funcref)
        (elem (i32.const 0) func $one)
        (func $one (result i32) i32.const 1)
        (global $seen (export "seen") (mut i32) (i32.const 0))
        (func $start
            (global.set $seen (i32.add
                (i32.load8_u (i32.const 8))
                (call_indirect (type $number) (i32.const 0)))))
        (start $start))"#;
    let mut instance = engine.instantiate(text);
    let seen = instance.global_index("seen").unwrap();
    assert_eq!(instance.global(seen).unwrap(), Val::I32(43));
}

#[apply(every_engine)]
fn a_trap_in_the_start_function_is_the_instantiations(engine: &EngineUnderTest) {
    for (body, expected) in [
        ("unreachable", Trap::Unreachable),
        (
            "(drop (i32.load (i32.const 70000)))",
            Trap::MemoryOutOfBounds,
        ),
        ("(call $start)", Trap::StackOverflow),
    ] {
        let text = format!("(module (memory 1) (func $start {body}) (start $start))");
        let outcome = engine.instantiate_with(&text, &Imports::new(), &Limits::default());
        assert_eq!(trap_of(outcome), expected);
    }
}

#[apply(every_engine)]
fn a_segment_that_does_not_fit_traps(engine: &EngineUnderTest) {
    for (text, expected) in [
        (
            r#"(module (memory 1) (data (i32.const 65530) "too long"))"#,
            Trap::MemoryOutOfBounds,
        ),
        (
            r#"(module (memory 1) (data (i32.const -1) "x"))"#,
            Trap::MemoryOutOfBounds,
        ),
        (
            "(module (table 1 funcref) (elem (i32.const 1) func $f) (func $f))",
            Trap::TableOutOfBounds,
        ),
    ] {
        let outcome = engine.instantiate_with(text, &Imports::new(), &Limits::default());
        assert_eq!(trap_of(outcome), expected, "{text}");
    }
}

#[apply(every_engine)]
fn a_host_function_called_at_the_start_reaches_the_memory(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "host" (func $host))
        (memory (export "memory") 1)
        (data (i32.const 0) "start")
        (func (export "nothing"))
        (start $host))"#;
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::default(), |caller, _, _| {
        let memory = caller.memory_index("memory")?;
        let mut bytes = [0; 5];
        caller.memory_read(memory, 0, &mut bytes)?;
        assert_eq!(&bytes, b"start");
        caller.memory_write(memory, 0, b"ended")
    });
    let instance = engine.instantiate_importing(text, &imports);
    let mut bytes = [0; 5];
    instance.memory_read(MemoryIndex(0), 0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"ended");
}

#[apply(every_engine)]
fn a_host_function_called_at_the_start_calls_back_an_export(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "host" (func $host))
        (global $value (export "value") (mut i32) (i32.const 0))
        (func (export "set") (param i32) (global.set $value (local.get 0)))
        (func $start (call $host))
        (start $start))"#;
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::default(), |caller, _, _| {
        caller.invoke("set", &[Val::I32(77)]).map(drop)
    });
    let mut instance = engine.instantiate_importing(text, &imports);
    let value = instance.global_index("value").unwrap();
    assert_eq!(instance.global(value).unwrap(), Val::I32(77));
}

#[apply(every_engine)]
fn a_host_function_that_fails_at_the_start_is_named(engine: &EngineUnderTest) {
    let text = r#"(module (import "env" "host" (func $host)) (start $host))"#;
    let mut imports = Imports::new();
    imports.func("env", "host", FuncType::default(), |_, _, _| {
        Err(Error::Growth {
            current: 1,
            delta: 2,
        })
    });
    let error = refused(engine.instantiate_with(text, &imports, &Limits::default()));
    let Error::Host {
        module,
        name,
        source,
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!((module.as_str(), name.as_str()), ("env", "host"));
    assert!(matches!(
        source.downcast_ref(),
        Some(Error::Growth {
            current: 1,
            delta: 2
        })
    ));

    imports.func("env", "host", FuncType::default(), |_, _, _| {
        panic!("at the start")
    });
    let error = refused(engine.instantiate_with(text, &imports, &Limits::default()));
    assert!(matches!(error, Error::HostPanicked { .. }), "{error:?}");
}

#[apply(every_engine)]
fn growth_in_the_start_function_keeps_to_the_limit(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory 1)
        (global $grown (export "grown") (mut i32) (i32.const 0))
        (func $start (global.set $grown (memory.grow (i32.const 4))))
        (start $start))"#;
    for (pages, expected) in [(4, -1), (5, 1)] {
        let limits = Limits {
            memory_bytes_max: Some(pages * PAGE_BYTES),
            ..Limits::default()
        };
        let mut instance = engine
            .instantiate_with(text, &Imports::new(), &limits)
            .unwrap();
        let grown = instance.global_index("grown").unwrap();
        assert_eq!(instance.global(grown).unwrap(), Val::I32(expected));
    }
}
