//! Host functions reach the guest: its memory, its exports, its globals and its tables.

use conformance::prelude::*;

use super::host_functions::{NESTED, host};

const MEMORY: &str = r#"(module
    (import "env" "host" (func $host (param i32 i32) (result i32)))
    (memory (export "memory") 1 4)
    (data (i32.const 65530) "ending")
    (func (export "f") (param i32 i32) (result i32)
        (call $host (local.get 0) (local.get 1)))
    (func (export "byte") (param i32) (result i32) (i32.load8_u (local.get 0))))"#;

fn pointer(value: &Val) -> u64 {
    u64::from(value.i32().unwrap().cast_unsigned())
}

#[apply(every_engine)]
fn a_host_function_reads_and_writes_the_guests_memory(engine: &EngineUnderTest) {
    let imports = host(
        &[ValType::I32; 2],
        &[ValType::I32],
        |caller, args, results| {
            let memory = caller.memory_index("memory")?;
            let mut bytes = vec![0; usize::try_from(pointer(&args[1])).unwrap()];
            caller.memory_read(memory, pointer(&args[0]), &mut bytes)?;
            bytes.make_ascii_uppercase();
            caller.memory_write(memory, pointer(&args[0]), &bytes)?;
            results[0] = Val::I32(bytes.iter().map(|byte| i32::from(*byte)).sum());
            Ok(())
        },
    );
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    let sum = instance
        .invoke("f", &[Val::I32(65_530), Val::I32(6)])
        .unwrap();
    assert_eq!(
        sum,
        [Val::I32(
            b"ENDING".iter().map(|byte| i32::from(*byte)).sum()
        )]
    );
    let last = instance.invoke("byte", &[Val::I32(65_535)]).unwrap();
    assert_eq!(last, [Val::I32(i32::from(b'G'))]);
}

#[apply(every_engine)]
fn an_access_of_the_host_outside_the_memory_is_refused_and_ends_the_call(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32; 2], &[ValType::I32], |caller, args, _| {
        let memory = caller.memory_index("memory")?;
        let mut bytes = vec![0xee; usize::try_from(pointer(&args[1])).unwrap()];
        let read = caller.memory_read(memory, pointer(&args[0]), &mut bytes);
        assert!(bytes.iter().all(|byte| *byte == 0xee), "nothing is copied");
        let write = caller.memory_write(memory, pointer(&args[0]), &bytes);
        assert!(matches!(write, Err(Error::OutOfBounds { .. })), "{write:?}");
        read
    });
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    for (offset, len) in [
        (0xffff_fff0_u32, 0x20_i32),
        (65_530, 7),
        (65_536, 1),
        (u32::MAX, 1),
    ] {
        let arguments = [Val::from(offset), Val::I32(len)];
        let error = refused(instance.invoke("f", &arguments));
        let Error::Host {
            module,
            name,
            source,
        } = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((module.as_str(), name.as_str()), ("env", "host"));
        match source.downcast_ref::<Error>() {
            Some(Error::OutOfBounds {
                offset: told,
                len: told_len,
                size,
            }) => {
                assert_eq!(*told, u64::from(offset));
                assert_eq!(*told_len, u64::try_from(len).unwrap());
                assert_eq!(*size, PAGE_BYTES);
            }
            other => panic!("{other:?}"),
        }
    }
    let last = instance.invoke("byte", &[Val::I32(65_535)]).unwrap();
    assert_eq!(last, [Val::I32(i32::from(b'g'))], "nothing was written");
}

#[apply(every_engine)]
fn a_host_function_grows_the_memory_and_uses_it_at_once(engine: &EngineUnderTest) {
    let imports = host(
        &[ValType::I32; 2],
        &[ValType::I32],
        |caller, args, results| {
            let memory = caller.memory_index("memory")?;
            let before = caller.memory_grow(memory, pointer(&args[0]))?;
            let size = caller.memory_size(memory)?;
            caller.memory_write(memory, size - 1, &[42])?;
            results[0] = Val::I32(i32::try_from(before).unwrap());
            Ok(())
        },
    );
    let mut instance = engine.instantiate_importing(MEMORY, &imports);
    let before = instance.invoke("f", &[Val::I32(2), Val::I32(0)]).unwrap();
    assert_eq!(before, [Val::I32(1)]);
    let last = instance
        .invoke("byte", &[Val::I32(3 * 65_536 - 1)])
        .unwrap();
    assert_eq!(last, [Val::I32(42)]);
    let error = refused(instance.invoke("f", &[Val::I32(2), Val::I32(0)]));
    let Error::Host { source, .. } = error else {
        panic!("{error:?}")
    };
    let growth = source.downcast_ref::<Error>();
    assert!(
        matches!(
            growth,
            Some(Error::Growth {
                current: 3,
                delta: 2
            })
        ),
        "{growth:?}"
    );
}

#[apply(every_engine)]
fn a_host_function_calls_back_an_export(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        results[0] = caller.invoke("double", args)?.remove(0);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(21)]).unwrap(),
        [Val::I32(43)]
    );
}

#[apply(every_engine)]
fn calls_nest_many_levels_deep(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        let level = args[0].i32().unwrap();
        if level > 0 {
            results[0] = caller.invoke("outer", &[Val::I32(level - 1)])?.remove(0);
        }
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(30)]).unwrap(),
        [Val::I32(31)]
    );
}

#[apply(every_engine)]
fn a_host_function_reaches_globals_and_tables(engine: &EngineUnderTest) {
    let imports = host(&[ValType::I32], &[ValType::I32], |caller, args, results| {
        let calls = caller.global_index("calls")?;
        results[0] = caller.global(calls)?;
        caller.set_global(calls, &args[0])?;
        let table = caller.table_index("table")?;
        assert_eq!(caller.table_size(table)?, 1);
        assert_eq!(caller.table_grow(table, 3, &Val::FuncRef(None))?, 1);
        assert_eq!(caller.info().functions().len(), 3);
        Ok(())
    });
    let mut instance = engine.instantiate_importing(NESTED, &imports);
    assert_eq!(
        instance.invoke("outer", &[Val::I32(70)]).unwrap(),
        [Val::I32(2)]
    );
    let calls = instance.global_index("calls").unwrap();
    assert_eq!(instance.global(calls).unwrap(), Val::I32(70));
    assert_eq!(instance.table_size(TableIndex(0)).unwrap(), 4);
}
