//! Linear memories, one or several, seen from both sides.

use conformance::prelude::*;

const ONE: &str = r#"(module
    (memory (export "memory") 1 3)
    (data (i32.const 4) "data")
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1))))"#;

const SEVERAL: &str = r#"(module
    (import "env" "imported" (memory $imported 1 5))
    (memory $own (export "own") 2)
    (memory $hidden 3 10)
    (export "imported again" (memory $imported))
    (func (export "store_everywhere")
        (i32.store $imported (i32.const 0) (i32.const 1))
        (i32.store $own (i32.const 0) (i32.const 2))
        (i32.store $hidden (i32.const 0) (i32.const 3)))
    (func (export "sum") (result i32)
        (i32.add (i32.load $imported (i32.const 0))
            (i32.add (i32.load $own (i32.const 0)) (i32.load $hidden (i32.const 0)))))
    (func (export "grow_hidden") (param i32) (result i32)
        (memory.grow $hidden (local.get 0)))
    (func (export "copy_to_hidden")
        (memory.copy $hidden $own (i32.const 0) (i32.const 0) (i32.const 4))))"#;

const FIRST: MemoryIndex = MemoryIndex(0);

#[apply(every_engine)]
fn host_and_guest_see_the_same_bytes(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(ONE);
    let mut bytes = [0; 6];
    instance.memory_read(FIRST, 3, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0data\0");
    instance
        .memory_write(FIRST, 65_532, &0x0102_0304_i32.to_le_bytes())
        .unwrap();
    let loaded = instance.invoke("load", &[Val::I32(65_532)]).unwrap();
    assert_eq!(loaded, [Val::I32(0x0102_0304)]);
    instance
        .invoke("store", &[Val::I32(100), Val::I32(-2)])
        .unwrap();
    let mut bytes = [0; 4];
    instance.memory_read(FIRST, 100, &mut bytes).unwrap();
    assert_eq!(i32::from_le_bytes(bytes), -2);
}

#[apply(every_engine)]
fn accesses_of_the_host_are_checked_without_overflow(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(ONE);
    let mut buffer = [0x55; 16];
    for offset in [
        65_521,
        65_536,
        1 << 32,
        u64::MAX - 15,
        u64::MAX - 3,
        u64::MAX,
    ] {
        let error = refused(instance.memory_read(FIRST, offset, &mut buffer));
        match error {
            Error::OutOfBounds {
                offset: told,
                len: 16,
                size: PAGE_BYTES,
            } => {
                assert_eq!(told, offset);
            }
            error => panic!("{error:?}"),
        }
        let error = refused(instance.memory_write(FIRST, offset, &buffer));
        assert!(matches!(error, Error::OutOfBounds { .. }), "{error:?}");
    }
    assert_eq!(buffer, [0x55; 16]);
    let mut last = [9];
    instance.memory_read(FIRST, 65_535, &mut last).unwrap();
    assert_eq!(last, [0]);
}

#[apply(every_engine)]
fn an_access_of_no_bytes_is_allowed_up_to_the_end(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(ONE);
    instance.memory_read(FIRST, 65_536, &mut []).unwrap();
    instance.memory_write(FIRST, 65_536, &[]).unwrap();
    let error = refused(instance.memory_read(FIRST, 65_537, &mut []));
    assert!(matches!(error, Error::OutOfBounds { .. }), "{error:?}");
    let error = refused(instance.memory_write(FIRST, u64::MAX, &[]));
    assert!(matches!(error, Error::OutOfBounds { .. }), "{error:?}");
}

#[apply(every_engine)]
fn growth_by_the_guest_is_seen_by_the_host_at_once_and_keeps_the_contents(
    engine: &EngineUnderTest,
) {
    let mut instance = engine.instantiate(ONE);
    assert_eq!(instance.memory_bytes(), PAGE_BYTES);
    assert_eq!(
        instance.invoke("grow", &[Val::I32(1)]).unwrap(),
        [Val::I32(1)]
    );
    assert_eq!(instance.memory_size(FIRST).unwrap(), 2 * PAGE_BYTES);
    assert_eq!(instance.memory_bytes(), 2 * PAGE_BYTES);
    instance
        .memory_write(FIRST, 2 * PAGE_BYTES - 4, &[1, 0, 0, 0])
        .unwrap();
    assert_eq!(instance.memory_grow(FIRST, 1).unwrap(), 2);
    let loaded = instance
        .invoke("load", &[Val::I32(2 * 65_536 - 4)])
        .unwrap();
    assert_eq!(loaded, [Val::I32(1)]);
    let loaded = instance
        .invoke("load", &[Val::I32(3 * 65_536 - 4)])
        .unwrap();
    assert_eq!(loaded, [Val::I32(0)]);
    let mut bytes = [0; 4];
    instance.memory_read(FIRST, 4, &mut bytes).unwrap();
    assert_eq!(&bytes, b"data");
}

#[apply(every_engine)]
fn a_memory_without_pages_works(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module (memory (export "memory") 0 1)
            (func (export "size") (result i32) memory.size))"#,
    );
    assert_eq!(
        (
            instance.memory_size(FIRST).unwrap(),
            instance.memory_bytes()
        ),
        (0, 0)
    );
    let error = refused(instance.memory_read(FIRST, 0, &mut [0]));
    assert!(
        matches!(error, Error::OutOfBounds { size: 0, .. }),
        "{error:?}"
    );
    assert_eq!(instance.memory_grow(FIRST, 1).unwrap(), 0);
    instance.memory_write(FIRST, 0, &[1]).unwrap();
    assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(1)]);
}

#[apply(every_engine)]
fn a_module_without_memory_has_no_bytes(engine: &EngineUnderTest) {
    let instance = engine.instantiate("(module (func (export \"f\")))");
    assert_eq!(instance.memory_bytes(), 0);
}

#[apply(every_engine)]
fn a_hidden_memory_is_counted_but_not_reached(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module (memory 2 9)
            (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#,
    );
    assert_eq!(instance.memory_bytes(), 2 * PAGE_BYTES);
    instance.invoke("grow", &[Val::I32(5)]).unwrap();
    assert_eq!(instance.memory_bytes(), 7 * PAGE_BYTES);
    let error = refused(instance.memory_size(FIRST));
    assert!(matches!(error, Error::NoSuchExport { .. }), "{error:?}");
}

#[apply(every_engine)]
fn several_memories_keep_their_indexes_and_are_counted_together(engine: &EngineUnderTest) {
    let Some(module) = engine.module_if(engine.capabilities().multi_memory, SEVERAL) else {
        return;
    };
    let mut imports = Imports::new();
    imports.define(
        "env",
        "imported",
        Extern::Memory(MemoryType::new(1, Some(5))),
    );
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    assert_eq!(instance.memory_bytes(), 6 * PAGE_BYTES);
    instance.invoke("store_everywhere", &[]).unwrap();
    assert_eq!(instance.invoke("sum", &[]).unwrap(), [Val::I32(6)]);

    let own = instance.memory_index("own").unwrap();
    assert_eq!(own, MemoryIndex(1));
    assert_eq!(instance.memory_index("imported again").unwrap(), FIRST);
    for (memory, expected) in [(FIRST, 1), (own, 2)] {
        let mut byte = [0];
        instance.memory_read(memory, 0, &mut byte).unwrap();
        assert_eq!(byte, [expected]);
    }
    let error = refused(instance.memory_size(MemoryIndex(2)));
    assert!(matches!(error, Error::NoSuchExport { .. }), "{error:?}");

    instance.memory_write(own, 0, &[20]).unwrap();
    instance.invoke("copy_to_hidden", &[]).unwrap();
    assert_eq!(instance.invoke("sum", &[]).unwrap(), [Val::I32(41)]);
    assert_eq!(
        instance.invoke("grow_hidden", &[Val::I32(4)]).unwrap(),
        [Val::I32(3)]
    );
    assert_eq!(instance.memory_grow(own, 1).unwrap(), 2);
    assert_eq!(instance.memory_grow(FIRST, 1).unwrap(), 1);
    assert_eq!(instance.memory_bytes(), 12 * PAGE_BYTES);
}

#[apply(every_engine)]
fn a_64_bit_memory_is_reached_by_host_and_guest(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().memory64,
        r#"(module
            (memory (export "memory") i64 1 4)
            (func (export "load") (param i64) (result i32) (i32.load (local.get 0)))
            (func (export "grow") (param i64) (result i64) (memory.grow (local.get 0))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    instance.memory_write(FIRST, 8, &[5, 0, 0, 0]).unwrap();
    assert_eq!(
        instance.invoke("load", &[Val::I64(8)]).unwrap(),
        [Val::I32(5)]
    );
    assert_eq!(
        instance.invoke("grow", &[Val::I64(2)]).unwrap(),
        [Val::I64(1)]
    );
    assert_eq!(
        instance.invoke("grow", &[Val::I64(1 << 40)]).unwrap(),
        [Val::I64(-1)]
    );
    assert_eq!(instance.memory_bytes(), 3 * PAGE_BYTES);
    for offset in [3 * 65_536, 1 << 32, -4, i64::MIN] {
        let trap = trap_of(instance.invoke("load", &[Val::I64(offset)]));
        assert_eq!(trap, Trap::MemoryOutOfBounds, "{offset:#x}");
    }
}

#[apply(every_engine)]
fn a_memory_grows_large_and_keeps_every_byte(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(
        r#"(module (memory (export "memory") 1)
            (func (export "fill") (param i32 i32)
                (memory.fill (local.get 0) (local.get 1) (i32.const 65536))))"#,
    );
    for page in 1..64_u8 {
        assert_eq!(instance.memory_grow(FIRST, 1).unwrap(), u64::from(page));
        let offset = i32::from(page) * 65_536;
        instance
            .invoke("fill", &[Val::I32(offset), Val::I32(page.into())])
            .unwrap();
    }
    let mut bytes = vec![0; usize::try_from(64 * PAGE_BYTES).unwrap()];
    instance.memory_read(FIRST, 0, &mut bytes).unwrap();
    let wrong = bytes
        .iter()
        .enumerate()
        .find(|(at, byte)| usize::from(**byte) != at / 65_536);
    assert_eq!(wrong, None);
}
