//! An import is there and fits, or the error names it.

use conformance::prelude::*;

const NEEDY: &str = r#"(module
    (import "env" "function" (func $function (param i32) (result i64)))
    (import "env" "memory" (memory 2 10))
    (import "other env" "table" (table 3 20 funcref))
    (import "" "global" (global $global (mut i64)))
    (func (export "call") (param i32) (result i64) (call $function (local.get 0)))
    (func (export "pages") (result i32) memory.size)
    (func (export "elements") (result i32) table.size)
    (func (export "global") (result i64) global.get $global)
    (func (export "set_global") (param i64) (global.set $global (local.get 0))))"#;

fn all_of_them() -> Imports {
    let mut imports = Imports::new();
    imports
        .func("env", "function", function_type(), |_, args, results| {
            results[0] = Val::I64(i64::from(args[0].i32().unwrap()) * 3);
            Ok(())
        })
        .define(
            "env",
            "memory",
            Extern::Memory(MemoryType::new(4, Some(10))),
        )
        .define("other env", "table", Extern::Table(table_type(5, Some(20))))
        .define("", "global", Extern::Global(global_type(), Val::I64(-9)));
    imports
}

fn function_type() -> FuncType {
    FuncType::new(&[ValType::I32], &[ValType::I64])
}

fn table_type(elements_min: u64, elements_max: Option<u64>) -> TableType {
    TableType {
        element: ValType::FuncRef,
        elements_min,
        elements_max,
    }
}

fn global_type() -> GlobalType {
    GlobalType {
        value: ValType::I64,
        mutable: true,
    }
}

#[track_caller]
fn refused_by(engine: &EngineUnderTest, imports: &Imports, module: &str, name: &str) -> String {
    let error = refused(engine.instantiate_with(NEEDY, imports, &Limits::default()));
    let text = error.to_string();
    match error {
        Error::Import {
            module: told_module,
            name: told_name,
            ..
        } => {
            assert_eq!((told_module.as_str(), told_name.as_str()), (module, name));
        }
        error => panic!("{error:?}"),
    }
    assert!(text.contains(&format!("`{module}` `{name}`")), "{text}");
    text
}

#[apply(every_engine)]
fn all_four_kinds_of_imports_are_given_as_they_are(engine: &EngineUnderTest) {
    let mut instance = engine.instantiate_importing(NEEDY, &all_of_them());
    assert_eq!(
        instance.invoke("call", &[Val::I32(-5)]).unwrap(),
        [Val::I64(-15)]
    );
    assert_eq!(instance.invoke("pages", &[]).unwrap(), [Val::I32(4)]);
    assert_eq!(instance.invoke("elements", &[]).unwrap(), [Val::I32(5)]);
    assert_eq!(instance.invoke("global", &[]).unwrap(), [Val::I64(-9)]);
    // An imported item is reached by its index, without an export.
    assert_eq!(
        instance.memory_size(MemoryIndex(0)).unwrap(),
        4 * PAGE_BYTES
    );
    assert_eq!(instance.table_size(TableIndex(0)).unwrap(), 5);
    assert_eq!(instance.global(GlobalIndex(0)).unwrap(), Val::I64(-9));
    assert_eq!(instance.memory_bytes(), 4 * PAGE_BYTES);
}

#[apply(every_engine)]
fn each_instance_gets_memories_tables_and_globals_of_its_own(engine: &EngineUnderTest) {
    let imports = all_of_them();
    let mut one = engine.instantiate_importing(NEEDY, &imports);
    let mut other = engine.instantiate_importing(NEEDY, &imports);
    one.invoke("set_global", &[Val::I64(1)]).unwrap();
    one.memory_write(MemoryIndex(0), 0, &[1]).unwrap();
    one.memory_grow(MemoryIndex(0), 1).unwrap();
    one.table_grow(TableIndex(0), 1, &Val::FuncRef(None))
        .unwrap();
    let mut byte = [9];
    other.memory_read(MemoryIndex(0), 0, &mut byte).unwrap();
    assert_eq!(byte, [0]);
    assert_eq!(other.invoke("global", &[]).unwrap(), [Val::I64(-9)]);
    assert_eq!(other.invoke("pages", &[]).unwrap(), [Val::I32(4)]);
    assert_eq!(other.invoke("elements", &[]).unwrap(), [Val::I32(5)]);
}

#[apply(every_engine)]
fn imports_that_the_module_does_not_need_are_ignored(engine: &EngineUnderTest) {
    let mut imports = all_of_them();
    imports.func("env", "more", FuncType::default(), |_, _, _| Ok(()));
    imports.define("env", "memory 2", Extern::Memory(MemoryType::new(1, None)));
    let instance = engine.instantiate_importing(NEEDY, &imports);
    assert_eq!(instance.memory_bytes(), 4 * PAGE_BYTES);
}

#[apply(every_engine)]
fn a_missing_import_is_named(engine: &EngineUnderTest) {
    for (module, name) in [
        ("env", "function"),
        ("env", "memory"),
        ("other env", "table"),
        ("", "global"),
    ] {
        let mut imports = Imports::new();
        for (given_module, given_name, item) in all_of_them().iter() {
            if (given_module, given_name) != (module, name) {
                imports.define(given_module, given_name, item.clone());
            }
        }
        let text = refused_by(engine, &imports, module, name);
        assert!(text.contains("missing"), "{text}");
    }
}

#[apply(every_engine)]
fn a_function_of_another_type_is_refused(engine: &EngineUnderTest) {
    for ty in [
        FuncType::default(),
        FuncType::new(&[ValType::I64], &[ValType::I64]),
        FuncType::new(&[ValType::I32], &[ValType::I32]),
        FuncType::new(&[ValType::I32], &[]),
        FuncType::new(&[ValType::I32], &[ValType::I64, ValType::I64]),
    ] {
        let mut imports = all_of_them();
        imports.func("env", "function", ty.clone(), |_, _, _| Ok(()));
        let text = refused_by(engine, &imports, "env", "function");
        assert!(text.contains(&ty.to_string()), "{text}");
    }
}

#[apply(every_engine)]
fn an_import_of_another_kind_is_refused(engine: &EngineUnderTest) {
    let mut imports = all_of_them();
    imports.define("env", "function", Extern::Memory(MemoryType::new(1, None)));
    refused_by(engine, &imports, "env", "function");
    let mut imports = all_of_them();
    imports.func("env", "memory", function_type(), |_, _, _| Ok(()));
    refused_by(engine, &imports, "env", "memory");
    let mut imports = all_of_them();
    imports.define("", "global", Extern::Table(table_type(5, None)));
    refused_by(engine, &imports, "", "global");
    let mut imports = all_of_them();
    imports.define(
        "other env",
        "table",
        Extern::Global(global_type(), Val::I64(0)),
    );
    refused_by(engine, &imports, "other env", "table");
}

#[apply(every_engine)]
fn a_memory_or_table_that_does_not_fit_is_refused(engine: &EngineUnderTest) {
    for ty in [
        MemoryType::new(1, Some(10)),
        MemoryType::new(2, Some(11)),
        MemoryType::new(2, None),
        MemoryType::shared(2, 10),
        MemoryType {
            memory64: true,
            ..MemoryType::new(2, Some(10))
        },
    ] {
        let mut imports = all_of_them();
        imports.define("env", "memory", Extern::Memory(ty));
        refused_by(engine, &imports, "env", "memory");
    }
    for ty in [
        table_type(2, Some(20)),
        table_type(3, Some(21)),
        table_type(3, None),
        TableType {
            element: ValType::ExternRef,
            ..table_type(3, Some(20))
        },
    ] {
        let mut imports = all_of_them();
        imports.define("other env", "table", Extern::Table(ty));
        refused_by(engine, &imports, "other env", "table");
    }
}

#[apply(every_engine)]
fn a_global_that_does_not_fit_is_refused(engine: &EngineUnderTest) {
    for (ty, value) in [
        (
            GlobalType {
                mutable: false,
                ..global_type()
            },
            Val::I64(0),
        ),
        (
            GlobalType {
                value: ValType::I32,
                mutable: true,
            },
            Val::I32(0),
        ),
        // The value contradicts its own declared type.
        (global_type(), Val::I32(0)),
    ] {
        let mut imports = all_of_them();
        imports.define("", "global", Extern::Global(ty, value));
        refused_by(engine, &imports, "", "global");
    }
}

#[apply(every_engine)]
fn one_import_given_twice_to_a_module_serves_both(engine: &EngineUnderTest) {
    let text = r#"(module
        (import "env" "function" (func $a (param i32) (result i64)))
        (import "env" "function" (func $b (param i32) (result i64)))
        (func (export "both") (param i32) (result i64)
            (i64.add (call $a (local.get 0)) (call $b (local.get 0)))))"#;
    let mut instance = engine.instantiate_importing(text, &all_of_them());
    assert_eq!(
        instance.invoke("both", &[Val::I32(2)]).unwrap(),
        [Val::I64(12)]
    );
}

#[apply(every_engine)]
fn a_stubbed_import_fails_with_its_name_only_when_it_is_called(engine: &EngineUnderTest) {
    let module = engine.module(NEEDY);
    let mut imports = Imports::new();
    imports.stub_missing(module.info());
    // Nobody can know the value of a global.
    match refused(module.instantiate(&imports, &Limits::default())) {
        Error::Import { name, reason, .. } => {
            assert_eq!(name, "global");
            assert!(reason.starts_with("missing"), "{reason}");
        }
        error => panic!("{error:?}"),
    }
    let global = all_of_them().get("", "global").unwrap().clone();
    imports.define("", "global", global);
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    assert_eq!(instance.invoke("pages", &[]).unwrap(), [Val::I32(2)]);
    assert_eq!(instance.invoke("global", &[]).unwrap(), [Val::I64(-9)]);
    match refused(instance.invoke("call", &[Val::I32(1)])) {
        Error::Host {
            module,
            name,
            source,
        } => {
            assert_eq!((module.as_str(), name.as_str()), ("env", "function"));
            assert!(source.to_string().contains("stub"), "{source}");
        }
        error => panic!("{error:?}"),
    }
}

#[apply(every_engine)]
fn names_with_quotes_newlines_and_paths_are_only_names(engine: &EngineUnderTest) {
    let names = [
        "\"quoted\"\n{}",
        "<script>",
        "../../etc",
        "\u{1b}[31m",
        "\u{0}",
        "☃ snow",
        "",
    ];
    for name in names {
        let escaped: String = name.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let text = format!(
            r#"(module
                (import "{escaped}" "{escaped}" (func $f (result i32)))
                (func (export "{escaped}") (result i32) call $f))"#
        );
        let error = refused(engine.instantiate_with(&text, &Imports::new(), &Limits::default()));
        match error {
            Error::Import {
                module, name: told, ..
            } => {
                assert_eq!((module.as_str(), told.as_str()), (name, name));
            }
            error => panic!("{error:?}"),
        }
        let mut imports = Imports::new();
        let ty = FuncType::new(&[], &[ValType::I32]);
        imports.func(name, name, ty, |_, _, results| {
            results[0] = Val::I32(5);
            Ok(())
        });
        let mut instance = engine.instantiate_importing(&text, &imports);
        assert_eq!(instance.invoke(name, &[]).unwrap(), [Val::I32(5)]);
    }
}
