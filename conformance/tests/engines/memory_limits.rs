//! Limits on memories and tables: the same growth is refused to guest and host.

use conformance::prelude::*;

const MEMORY: &str = r#"(module
    (memory $m (export "memory") 1 20)
    (table $t (export "table") 2 100 funcref)
    (func (export "grow") (param i32) (result i32) (memory.grow $m (local.get 0)))
    (func (export "size") (result i32) memory.size)
    (func (export "touch") (param i32) (result i32)
        (i32.store8 (local.get 0) (i32.const 7)) (i32.load8_u (local.get 0)))
    (func (export "grow_table") (param i32) (result i32)
        (table.grow $t (ref.null func) (local.get 0)))
    (func (export "table_size") (result i32) (table.size $t)))"#;

fn limited(pages: u64) -> Limits {
    Limits {
        memory_bytes_max: Some(pages * PAGE_BYTES),
        ..Limits::default()
    }
}

fn i32_of(instance: &mut dyn Instance, name: &str, argument: Option<i32>) -> i32 {
    let arguments: Vec<Val> = argument.map(Val::I32).into_iter().collect();
    instance.invoke(name, &arguments).unwrap()[0].i32().unwrap()
}

#[apply(every_engine)]
fn grow_past_the_limit_returns_minus_one(engine: &EngineUnderTest) {
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(4))
        .unwrap();
    let instance = instance.as_mut();
    assert_eq!(i32_of(instance, "grow", Some(2)), 1);
    assert_eq!(i32_of(instance, "grow", Some(2)), -1);
    assert_eq!(i32_of(instance, "size", None), 3);
    assert_eq!(i32_of(instance, "grow", Some(1)), 3);
    assert_eq!(i32_of(instance, "grow", Some(1)), -1);
    assert_eq!(i32_of(instance, "grow", Some(0)), 4);
    assert_eq!(i32_of(instance, "touch", Some(4 * 65_536 - 1)), 7);
    assert_eq!(
        trap_of(instance.invoke("touch", &[Val::I32(4 * 65_536)])),
        Trap::MemoryOutOfBounds
    );
}

#[apply(every_engine)]
fn grow_past_the_maximum_returns_minus_one(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(MEMORY);
    let instance = instance.as_mut();
    assert_eq!(i32_of(instance, "grow", Some(20)), -1);
    assert_eq!(i32_of(instance, "grow", Some(-1)), -1);
    assert_eq!(i32_of(instance, "grow", Some(19)), 1);
    assert_eq!(i32_of(instance, "grow", Some(1)), -1);
    assert_eq!(i32_of(instance, "size", None), 20);
}

#[apply(every_engine)]
fn the_host_grows_a_memory_under_the_same_limits(engine: &EngineUnderTest) {
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(4))
        .unwrap();
    let memory = instance.memory_index("memory").unwrap();
    assert_eq!(instance.memory_grow(memory, 2).unwrap(), 1);
    for delta in [2, 17, 1 << 32, u64::MAX] {
        match refused(instance.memory_grow(memory, delta)) {
            Error::Growth {
                current: 3,
                delta: told,
            } => assert_eq!(told, delta),
            error => panic!("{error:?}"),
        }
    }
    assert_eq!(instance.memory_size(memory).unwrap(), 3 * PAGE_BYTES);
    assert_eq!(instance.memory_bytes(), 3 * PAGE_BYTES);
    assert_eq!(i32_of(instance.as_mut(), "size", None), 3);
    assert_eq!(instance.memory_grow(memory, 0).unwrap(), 3);
    assert_eq!(instance.memory_grow(memory, 1).unwrap(), 3);
}

#[apply(every_engine)]
fn the_host_cannot_grow_a_memory_past_its_maximum(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate(MEMORY);
    let memory = instance.memory_index("memory").unwrap();
    let error = refused(instance.memory_grow(memory, 20));
    assert!(
        matches!(
            error,
            Error::Growth {
                current: 1,
                delta: 20
            }
        ),
        "{error:?}"
    );
    assert_eq!(instance.memory_grow(memory, 19).unwrap(), 1);
}

#[apply(every_engine)]
fn a_limit_that_is_no_multiple_of_a_page_holds(engine: &EngineUnderTest) {
    let limits = Limits {
        memory_bytes_max: Some(3 * PAGE_BYTES - 1),
        ..Limits::default()
    };
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limits)
        .unwrap();
    assert_eq!(i32_of(instance.as_mut(), "grow", Some(1)), 1);
    assert_eq!(i32_of(instance.as_mut(), "grow", Some(1)), -1);
}

#[apply(every_engine)]
fn an_instance_that_starts_larger_than_its_limit_is_refused(engine: &EngineUnderTest) {
    let text = r#"(module (memory (export "memory") 5))"#;
    let limit = 5 * PAGE_BYTES - 1;
    let limits = Limits {
        memory_bytes_max: Some(limit),
        ..Limits::default()
    };
    match refused(engine.instantiate_with(text, &Imports::new(), &limits)) {
        Error::Limit {
            needed,
            limit: told,
            what,
        } => {
            assert_eq!((needed, told), (5 * PAGE_BYTES, limit));
            assert!(what.contains("bytes"), "{what}");
        }
        error => panic!("{error:?}"),
    }
    engine
        .instantiate_with(text, &Imports::new(), &limited(5))
        .unwrap();
}

#[apply(every_engine)]
fn a_limit_of_nothing_refuses_a_memory_and_allows_a_module_without(engine: &EngineUnderTest) {
    let error = refused(engine.instantiate_with(MEMORY, &Imports::new(), &limited(0)));
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
    let none = "(module (func (export \"f\")))";
    engine
        .instantiate_with(none, &Imports::new(), &limited(0))
        .unwrap();
}

#[apply(every_engine)]
fn the_limit_is_for_all_memories_together(engine: &EngineUnderTest) {
    let module = engine.module_if(
        engine.capabilities().multi_memory,
        r#"(module
            (memory $a (export "a") 1)
            (memory $hidden 1)
            (func (export "grow_a") (param i32) (result i32) (memory.grow $a (local.get 0)))
            (func (export "grow_hidden") (param i32) (result i32)
                (memory.grow $hidden (local.get 0))))"#,
    );
    let Some(module) = module else { return };
    let mut instance = module.instantiate(&Imports::new(), &limited(5)).unwrap();
    assert_eq!(i32_of(instance.as_mut(), "grow_a", Some(1)), 1);
    assert_eq!(i32_of(instance.as_mut(), "grow_hidden", Some(3)), -1);
    assert_eq!(i32_of(instance.as_mut(), "grow_hidden", Some(2)), 1);
    assert_eq!(i32_of(instance.as_mut(), "grow_a", Some(1)), -1);
    let a = instance.memory_index("a").unwrap();
    let error = refused(instance.memory_grow(a, 1));
    assert!(matches!(error, Error::Growth { .. }), "{error:?}");
    assert_eq!(instance.memory_bytes(), 5 * PAGE_BYTES);
    match refused(module.instantiate(&Imports::new(), &limited(1))) {
        Error::Limit { needed, .. } => assert_eq!(needed, 2 * PAGE_BYTES),
        error => panic!("{error:?}"),
    }
}

#[apply(every_engine)]
fn a_refused_growth_leaves_no_debt(engine: &EngineUnderTest) {
    // If an engine accounts for growth before it happens, a failure must take the account back.
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(10))
        .unwrap();
    for _ in 0..100 {
        assert_eq!(i32_of(instance.as_mut(), "grow", Some(10)), -1);
    }
    // Within the limit, but past the module's own maximum.
    let mut wide = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(1_000))
        .unwrap();
    for _ in 0..100 {
        assert_eq!(i32_of(wide.as_mut(), "grow", Some(100)), -1);
    }
    assert_eq!(i32_of(instance.as_mut(), "grow", Some(9)), 1);
    assert_eq!(i32_of(wide.as_mut(), "grow", Some(19)), 1);
}

#[apply(every_engine)]
fn an_imported_memory_counts_towards_the_limit(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "memory" (memory 1 100))
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;
    let mut imports = Imports::new();
    imports.define(
        "env",
        "memory",
        Extern::Memory(MemoryType::new(2, Some(50))),
    );
    let mut instance = engine
        .instantiate_with(text, &imports, &limited(3))
        .unwrap();
    assert_eq!(instance.memory_bytes(), 2 * PAGE_BYTES);
    assert_eq!(i32_of(instance.as_mut(), "grow", Some(2)), -1);
    assert_eq!(i32_of(instance.as_mut(), "grow", Some(1)), 2);
    let error = refused(engine.instantiate_with(text, &imports, &limited(1)));
    assert!(matches!(error, Error::Limit { .. }), "{error:?}");
}

#[apply(every_engine)]
fn a_limit_holds_for_its_instance_only(engine: &EngineUnderTest) {
    let mut small = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(2))
        .unwrap();
    let mut large = engine
        .instantiate_with(MEMORY, &Imports::new(), &limited(20))
        .unwrap();
    assert_eq!(i32_of(large.as_mut(), "grow", Some(19)), 1);
    assert_eq!(i32_of(small.as_mut(), "grow", Some(2)), -1);
    assert_eq!(i32_of(small.as_mut(), "grow", Some(1)), 1);
}

#[apply(every_engine)]
fn table_growth_past_the_limit_fails_for_guest_and_host(engine: &EngineUnderTest) {
    let limits = Limits {
        table_elements_max: Some(10),
        ..Limits::default()
    };
    let mut instance = engine
        .instantiate_with(MEMORY, &Imports::new(), &limits)
        .unwrap();
    assert_eq!(i32_of(instance.as_mut(), "grow_table", Some(9)), -1);
    assert_eq!(i32_of(instance.as_mut(), "grow_table", Some(7)), 2);
    assert_eq!(i32_of(instance.as_mut(), "table_size", None), 9);
    let table = instance.table_index("table").unwrap();
    let null = Val::FuncRef(None);
    let error = refused(instance.table_grow(table, 2, &null));
    assert!(
        matches!(
            error,
            Error::Growth {
                current: 9,
                delta: 2
            }
        ),
        "{error:?}"
    );
    assert_eq!(instance.table_grow(table, 1, &null).unwrap(), 9);
    assert_eq!(i32_of(instance.as_mut(), "grow_table", Some(1)), -1);
    assert_eq!(instance.table_size(table).unwrap(), 10);
}

#[apply(every_engine)]
fn a_table_that_starts_larger_than_its_limit_is_refused(engine: &EngineUnderTest) {
    let limits = Limits {
        table_elements_max: Some(1),
        ..Limits::default()
    };
    match refused(engine.instantiate_with(MEMORY, &Imports::new(), &limits)) {
        Error::Limit {
            needed,
            limit,
            what,
        } => {
            assert_eq!((needed, limit), (2, 1));
            assert!(what.contains("table"), "{what}");
        }
        error => panic!("{error:?}"),
    }
}

#[apply(every_engine)]
fn a_table_has_the_same_limit_on_every_engine_where_none_is_given(engine: &EngineUnderTest) {
    let text = r#"(module
        (table 2 funcref)
        (func (export "grow_table") (param i32) (result i32)
            (table.grow (ref.null func) (local.get 0))))"#;
    let mut instance = engine
        .instantiate_with(text, &Imports::new(), &Limits::default())
        .unwrap();
    let beyond = i32::try_from(TABLE_ELEMENTS_MAX).unwrap() - 1;
    assert_eq!(i32_of(instance.as_mut(), "grow_table", Some(beyond)), -1);
    assert_eq!(i32_of(instance.as_mut(), "grow_table", Some(1)), 2);
    let text = format!("(module (table {} funcref))", TABLE_ELEMENTS_MAX + 1);
    for table_elements_max in [None, Some(u64::MAX)] {
        let limits = Limits {
            table_elements_max,
            ..Limits::default()
        };
        match refused(engine.instantiate_with(&text, &Imports::new(), &limits)) {
            Error::Limit { limit, .. } => assert_eq!(limit, TABLE_ELEMENTS_MAX),
            error => panic!("{error:?}"),
        }
    }
}

#[apply(every_engine)]
fn the_largest_memory_is_refused_under_a_limit_before_it_is_made(engine: &EngineUnderTest) {
    let text = r#"(module (memory (export "memory") 65536))"#;
    match refused(engine.instantiate_with(text, &Imports::new(), &limited(1_000))) {
        Error::Limit { needed, .. } => assert_eq!(needed, 1 << 32),
        error => panic!("{error:?}"),
    }
}

#[apply(every_engine)]
fn growing_by_one_page_for_ever_ends_at_the_limit(engine: &EngineUnderTest) {
    let text = r#"(module
        (memory 0)
        (func (export "grow_for_ever") (result i32)
            (loop $more
                (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
            memory.size))"#;
    let mut instance = engine
        .instantiate_with(text, &Imports::new(), &limited(200))
        .unwrap();
    assert_eq!(i32_of(instance.as_mut(), "grow_for_ever", None), 200);
    assert_eq!(instance.memory_bytes(), 200 * PAGE_BYTES);
}
