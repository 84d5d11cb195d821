//! References, tables and dropped segments are in a snapshot, and mean the same on every engine.

use conformance::prelude::*;
use engine_api::{DroppedSegments, Reference, Snapshot};

/// A table that every instruction changes, one that only a host changes, and one that nothing does.
const TABLES: &str = r#"(module
    (type $number (func (result i32)))
    (import "env" "host" (func $host (type $number)))
    (table $t 4 200 funcref)
    (table $shown (export "shown") 3 3 funcref)
    (table $fixed 2 2 funcref)
    (global $chosen (mut funcref) (ref.func $three))
    (elem (table $t) (i32.const 0) func $one $two)
    (elem (table $shown) (i32.const 0) func $two)
    (elem (table $fixed) (i32.const 0) func $one $three)
    (elem $passive func $three $host $one)
    (elem declare func $exported)
    (func $one (type $number) (i32.const 1))
    (func $two (type $number) (i32.const 2))
    (func $three (type $number) (i32.const 3))
    (func $unreferred (type $number) (i32.const 4))
    (func $exported (export "exported") (type $number) (i32.const 5))
    (func (export "change")
        (table.set $t (i32.const 3) (ref.func $exported))
        (drop (table.grow $t (ref.func $two) (i32.const 3)))
        (drop (table.grow $t (ref.null func) (i32.const 40)))
        (table.fill $t (i32.const 20) (ref.func $three) (i32.const 5))
        (table.init $t $passive (i32.const 30) (i32.const 1) (i32.const 2))
        (table.copy $t $t (i32.const 40) (i32.const 19) (i32.const 4))
        (table.set $t (i32.const 0) (ref.null func))
        (global.set $chosen (table.get $t (i32.const 30))))
    (func (export "choose") (param i32) (global.set $chosen (table.get $t (local.get 0))))
    (func (export "forget") (global.set $chosen (ref.null func)))
    (func (export "chosen") (result funcref) (global.get $chosen))
    (func (export "size") (result i32) (table.size $t))
    (func (export "call") (param i32) (result i32)
        (call_indirect $t (type $number) (local.get 0)))
    (func (export "call_shown") (param i32) (result i32)
        (call_indirect $shown (type $number) (local.get 0)))
    (func (export "call_fixed") (param i32) (result i32)
        (call_indirect $fixed (type $number) (local.get 0))))"#;

fn host() -> Imports {
    let mut imports = Imports::new();
    let ty = FuncType::new(&[], &[ValType::I32]);
    imports.func("env", "host", ty, |_, _, results| {
        results[0] = Val::I32(77);
        Ok(())
    });
    imports
}

/// What a guest with a table sees in it: a number of its function, or the trap.
fn seen(instance: &mut Box<dyn Instance>, call: &str, elements: i32) -> Vec<Result<i32, Trap>> {
    (0..elements)
        .map(
            |element| match instance.invoke(call, &[Val::I32(element)]) {
                Ok(results) => Ok(results[0].i32().unwrap()),
                Err(Error::Trap(trap)) => Err(trap),
                Err(error) => panic!("{error:?}"),
            },
        )
        .collect()
}

fn tables(instance: &mut Box<dyn Instance>) -> Vec<Result<i32, Trap>> {
    let mut all = seen(instance, "call", 50);
    all.extend(seen(instance, "call_shown", 4));
    all.extend(seen(instance, "call_fixed", 3));
    all
}

#[apply(every_engine)]
fn tables_of_functions_are_the_same_on_every_engine(engine: &EngineUnderTest) {
    let imports = host();
    let mut original = engine.instantiate_importing(TABLES, &imports);
    original.invoke("change", &[]).unwrap();
    let chosen = original.invoke("chosen", &[]).unwrap().remove(0);
    let shown = original.table_index("shown").unwrap();
    original.table_set(shown, 2, &chosen).unwrap();
    let before = tables(&mut original);
    assert_eq!(
        before[40..45],
        [
            Err(Trap::IndirectCallToNull),
            Ok(3),
            Ok(3),
            Ok(3),
            Err(Trap::IndirectCallToNull)
        ]
    );
    assert_eq!((before[30], before[50 + 2]), (Ok(77), Ok(77)));
    let snapshot = original.capture().unwrap();
    // The third table never changes, and is left out.
    let sizes = snapshot.tables().iter();
    let sizes: Vec<_> = sizes
        .map(|(index, elements)| (index.0, elements.len()))
        .collect();
    assert_eq!(sizes, [(0, 47), (1, 3)]);
    assert_eq!(
        snapshot.table(TableIndex(0)).unwrap()[..5],
        [
            Reference::Null,
            Reference::Function(2),
            Reference::Null,
            Reference::Function(5),
            Reference::Function(2)
        ]
    );
    assert_eq!(
        snapshot.references(),
        [(GlobalIndex(0), Reference::Function(0))]
    );
    for target in engines::all() {
        let module = target.module(TABLES);
        let mut instance = module
            .restore(&imports, &Limits::default(), &snapshot)
            .unwrap();
        let again = instance.capture().unwrap();
        assert_eq!(snapshot.difference(&again).unwrap(), None, "{target:?}");
        assert_eq!(snapshot.digest().unwrap(), again.digest().unwrap());
        assert_eq!(tables(&mut instance), before, "{target:?}");
        assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(47)]);
        // It goes on as the original would, and the maximum is that of the module.
        instance.invoke("change", &[]).unwrap();
        assert_eq!(instance.invoke("size", &[]).unwrap(), [Val::I32(90)]);
        let delta = refused(instance.table_grow(shown, 1, &Val::FuncRef(None)));
        assert!(
            matches!(delta, Error::Growth { current: 3, .. }),
            "{delta:?}"
        );
    }
    assert_eq!(tables(&mut original), before);
}

#[apply(every_engine)]
fn a_difference_in_a_table_or_a_reference_is_named(engine: &EngineUnderTest) {
    let imports = host();
    let capture = |change: &dyn Fn(&mut Box<dyn Instance>)| {
        let mut instance = engine.instantiate_importing(TABLES, &imports);
        change(&mut instance);
        instance.capture().unwrap()
    };
    let one = capture(&|_| {});
    let grown = capture(&|instance| drop(instance.invoke("change", &[]).unwrap()));
    let forgetful = capture(&|instance| drop(instance.invoke("forget", &[]).unwrap()));
    let shown = capture(&|instance| {
        let shown = instance.table_index("shown").unwrap();
        instance.table_set(shown, 0, &Val::FuncRef(None)).unwrap();
    });
    for (other, difference) in [
        (grown, "global 0 is function 0 instead of function 3"),
        (forgetful, "global 0 is null instead of function 3"),
        (shown, "element 0 of table 1 is null instead of function 2"),
    ] {
        let found = one.difference(&other).unwrap();
        assert_eq!(found.as_deref(), Some(difference));
        assert_ne!(one.digest().unwrap(), other.digest().unwrap());
    }
}

/// Objects of the host in a table and in globals, own and imported.
const OBJECTS: &str = r#"(module
    (import "env" "table" (table $given 2 9 externref))
    (import "env" "global" (global $from (mut externref)))
    (table $t 3 externref)
    (global $last (mut externref) (ref.null extern))
    (func (export "put") (param i32 externref)
        (table.set $t (local.get 0) (local.get 1))
        (global.set $last (local.get 1)))
    (func (export "give") (param i32 externref)
        (table.set $given (local.get 0) (local.get 1)))
    (func (export "grow") (param i32 externref) (result i32)
        (table.grow $t (local.get 1) (local.get 0)))
    (func (export "get") (param i32) (result externref) (table.get $t (local.get 0)))
    (func (export "given") (param i32) (result externref) (table.get $given (local.get 0)))
    (func (export "globals") (result externref externref) (global.get $from) (global.get $last)))"#;

fn object(number: u32) -> Val {
    Val::ExternRef(Some(ExternRef::new(number)))
}

#[apply(every_engine)]
fn objects_of_the_host_keep_their_identity(engine: &EngineUnderTest) {
    let Some(module) = engine.module_if(engine.capabilities().externref, OBJECTS) else {
        return;
    };
    let [a, b, c] = [1, 2, 3].map(object);
    let mut imports = Imports::new();
    let table = TableType {
        element: ValType::ExternRef,
        elements_min: 2,
        elements_max: Some(9),
    };
    let global = GlobalType {
        value: ValType::ExternRef,
        mutable: true,
    };
    imports.define("env", "table", Extern::Table(table));
    imports.define("env", "global", Extern::Global(global, c.clone()));
    let mut original = module.instantiate(&imports, &Limits::default()).unwrap();
    let grown = original.invoke("grow", &[Val::I32(4_000), b.clone()]);
    assert_eq!(grown.unwrap(), [Val::I32(3)]);
    for (name, element, value) in [("put", 0, &a), ("put", 2, &b), ("give", 1, &a)] {
        let args = [Val::I32(element), value.clone()];
        original.invoke(name, &args).unwrap();
    }
    let snapshot = original.capture().unwrap();
    let objects = [&c, &b, &a].map(|object| match object {
        Val::ExternRef(Some(object)) => object.clone(),
        _ => unreachable!("they are objects"),
    });
    assert_eq!(snapshot.objects(), objects);
    let others =
        Snapshot::with_objects(snapshot.clone(), (7_u32..10).map(ExternRef::new).collect());
    assert!(snapshot.difference(&others).unwrap().is_some());
    let null = Val::ExternRef(None);
    for target in engines::all() {
        let Some(module) = target.module_if(target.capabilities().externref, OBJECTS) else {
            continue;
        };
        let restore = |snapshot| {
            let restored = module.restore(&imports, &Limits::default(), snapshot);
            restored.unwrap_or_else(|error| panic!("{target:?}: {error:?}"))
        };
        let mut instance = restore(&snapshot);
        let again = instance.capture().unwrap();
        assert_eq!(snapshot.difference(&again).unwrap(), None, "{target:?}");
        for (name, element, value) in [
            ("get", 0, &a),
            ("get", 1, &null),
            ("get", 2, &b),
            ("get", 4_002, &b),
            ("given", 0, &null),
            ("given", 1, &a),
        ] {
            let found = instance.invoke(name, &[Val::I32(element)]).unwrap();
            assert_eq!(found, [value.clone()], "{target:?}: {name} {element}");
        }
        let globals = instance.invoke("globals", &[]).unwrap();
        assert_eq!(globals, [c.clone(), b.clone()]);
        // Other objects take the places of the snapshot's own.
        let mut other = restore(&others);
        let found = other.invoke("globals", &[]).unwrap();
        assert_eq!(others.difference(&other.capture().unwrap()).unwrap(), None);
        let numbers = found.iter().map(|found| match found {
            Val::ExternRef(Some(object)) => object.get::<u32>().copied(),
            _ => None,
        });
        assert_eq!(numbers.collect::<Vec<_>>(), [Some(7), Some(8)]);
    }
}

/// Segments of every kind, which several functions drop.
const SEGMENTS: &str = r#"(module
    (memory (export "memory") 1)
    (table $t 10 funcref)
    (global (mut i32) (i32.const 41))
    (data (i32.const 0) "active")
    (data $first "first")
    (data $second "second")
    (data $empty "")
    (elem (table $t) (i32.const 0) func $f)
    (elem $one func $f $f)
    (elem $two func $f)
    (elem declare func $f)
    (func $f)
    (func $begin (data.drop $first) (global.set 0 (i32.add (global.get 0) (i32.const 1))))
    (start $begin)
    (func (export "global") (result i32) (global.get 0))
    (func (export "drop_second") (param i32)
        (if (local.get 0) (then (data.drop $second) (data.drop 0) (data.drop $empty)))
        (if (i32.eqz (local.get 0)) (then (elem.drop $one))))
    (func (export "drop_elements") (elem.drop $two) (elem.drop 0) (elem.drop 3))
    (func (export "first") (memory.init $first (i32.const 8) (i32.const 0) (i32.const 5)))
    (func (export "second") (memory.init $second (i32.const 8) (i32.const 0) (i32.const 6)))
    (func (export "one") (table.init $t $one (i32.const 2) (i32.const 0) (i32.const 2)))
    (func (export "two") (table.init $t $two (i32.const 2) (i32.const 0) (i32.const 1)))
    (func (export "spin") (loop (br 0))))"#;

/// Which of the segments are still there.
fn left(instance: &mut Box<dyn Instance>) -> [Result<(), Trap>; 4] {
    ["first", "second", "one", "two"].map(|name| match instance.invoke(name, &[]) {
        Ok(_) => Ok(()),
        Err(Error::Trap(trap)) => Err(trap),
        Err(error) => panic!("{error:?}"),
    })
}

/// An export and its arguments.
type Step = (&'static str, &'static [Val]);

#[apply(every_engine)]
fn dropped_segments_stay_dropped_on_every_engine(engine: &EngineUnderTest) {
    let gone = Err(Trap::MemoryOutOfBounds);
    let no_elements = Err(Trap::TableOutOfBounds);
    let cases: [(&[Step], _, [&[u32]; 2]); 4] = [
        (&[], [gone, Ok(()), Ok(()), Ok(())], [&[1], &[]]),
        (
            &[("drop_second", &[Val::I32(1)])],
            [gone, gone, Ok(()), Ok(())],
            [&[1, 2, 3], &[]],
        ),
        (
            &[("drop_second", &[Val::I32(0)])],
            [gone, Ok(()), no_elements, Ok(())],
            [&[1], &[1]],
        ),
        (
            &[("drop_elements", &[]), ("drop_second", &[Val::I32(0)])],
            [gone, Ok(()), no_elements, no_elements],
            [&[1], &[1, 2]],
        ),
    ];
    for (steps, expected, [data, elements]) in cases {
        let mut original = engine.instantiate(SEGMENTS);
        for (name, args) in steps {
            original.invoke(name, args).unwrap();
        }
        let snapshot = original.capture().unwrap();
        let dropped = DroppedSegments {
            data: data.into(),
            elements: elements.into(),
        };
        assert_eq!(snapshot.dropped(), &dropped);
        assert_eq!(left(&mut original), expected, "{steps:?}");
        for target in engines::all() {
            let module = target.module(SEGMENTS);
            let mut instance = module
                .restore(&Imports::new(), &Limits::default(), &snapshot)
                .unwrap();
            let again = instance.capture().unwrap();
            assert_eq!(snapshot.difference(&again).unwrap(), None, "{target:?}");
            assert_eq!(instance.invoke("global", &[]).unwrap(), [Val::I32(42)]);
            assert_eq!(left(&mut instance), expected, "{target:?}: {steps:?}");
            // Whatever was not dropped can be dropped from here on.
            instance.invoke("drop_second", &[Val::I32(1)]).unwrap();
            assert_eq!(left(&mut instance)[1], gone);
            let later = instance.capture().unwrap();
            assert!(later.dropped().data.contains(&2));
        }
    }
}

#[apply(every_engine)]
fn a_restored_instance_drops_its_segments_without_fuel_of_its_owner(engine: &EngineUnderTest) {
    let module = engine.fuelled().compile(&binary(SEGMENTS)).unwrap();
    let limits = |fuel| Limits {
        fuel: Some(fuel),
        ..Limits::default()
    };
    let mut original = module.instantiate(&Imports::new(), &limits(1_000)).unwrap();
    original.invoke("drop_elements", &[]).unwrap();
    let snapshot = original.capture().unwrap();
    let mut instance = module
        .restore(&Imports::new(), &limits(3), &snapshot)
        .unwrap();
    assert_eq!(instance.fuel_left(), Some(3));
    assert_eq!(instance.invoke("global", &[]).unwrap(), [Val::I32(42)]);
    let trap = trap_of(instance.invoke("spin", &[]));
    assert_eq!(trap, Trap::OutOfFuel);
}

#[apply(every_engine)]
fn a_table_grows_to_its_snapshot_under_the_limits(engine: &EngineUnderTest) {
    let imports = host();
    let mut original = engine.instantiate_importing(TABLES, &imports);
    original.invoke("change", &[]).unwrap();
    let snapshot = original.capture().unwrap();
    let limits = |elements| Limits {
        table_elements_max: Some(elements),
        ..Limits::default()
    };
    let module = engine.module(TABLES);
    let error = refused(module.restore(&imports, &limits(46), &snapshot));
    assert!(
        matches!(
            error,
            Error::Limit {
                what: "table elements",
                needed: 47,
                limit: 46
            }
        ),
        "{error:?}"
    );
    let mut instance = module.restore(&imports, &limits(47), &snapshot).unwrap();
    assert_eq!(tables(&mut instance), tables(&mut original));
}

#[apply(every_engine)]
fn a_table_of_the_largest_size_is_in_a_snapshot(engine: &EngineUnderTest) {
    let text = r#"(module
        (table $t (export "table") 0 funcref)
        (func $f (result i32) (i32.const 9))
        (elem declare func $f)
        (func (export "fill") (param i32)
            (drop (table.grow $t (ref.func $f) (local.get 0))))
        (func (export "call") (param i32) (result i32)
            (call_indirect $t (result i32) (local.get 0))))"#;
    let mut original = engine.instantiate(text);
    let elements = i32::try_from(TABLE_ELEMENTS_MAX).unwrap();
    original.invoke("fill", &[Val::I32(elements)]).unwrap();
    let table = original.table_index("table").unwrap();
    original.table_set(table, 5, &Val::FuncRef(None)).unwrap();
    let snapshot = original.capture().unwrap();
    let all = snapshot.table(table).unwrap();
    assert_eq!(all.len() as u64, TABLE_ELEMENTS_MAX);
    let nulls = all.iter().filter(|element| **element == Reference::Null);
    assert_eq!(nulls.count(), 1);
    assert_eq!(snapshot.bytes_kept(), 8 * TABLE_ELEMENTS_MAX);
    let module = engine.module(text);
    let mut instance = module
        .restore(&Imports::new(), &Limits::default(), &snapshot)
        .unwrap();
    let last = instance.invoke("call", &[Val::I32(elements - 1)]).unwrap();
    assert_eq!(last, [Val::I32(9)]);
    let trap = trap_of(instance.invoke("call", &[Val::I32(5)]));
    assert_eq!(trap, Trap::IndirectCallToNull);
}
