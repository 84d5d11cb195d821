//! What C functions take and give: strings, buffers by pointer alone, places for results, options,
//! and results at a return pointer.

use conformance::prelude::*;
use proxy_core::{Arg, Bare, BareInstance, CallError, Policy, Proxy, Results, Value, args};

const C: &str = include_str!("../../../guests/wat/c_kinds.wat");
const POLICY: &str = include_str!("../../../guests/policies/c_kinds.toml");

fn bare_by(engine: &EngineUnderTest, policy: &str) -> BareInstance {
    let policy: Policy = policy.parse().unwrap();
    let (module, imports) = (engine.module(C), Imports::new());
    let bare = Bare::new(module, &policy, imports, Limits::default()).unwrap();
    bare.instance().unwrap()
}

fn bare(engine: &EngineUnderTest) -> BareInstance {
    bare_by(engine, POLICY)
}

/// The guest with another result for one export.
fn lending(engine: &EngineUnderTest, export: &str, result: &str) -> BareInstance {
    let entry =
        format!("[[export]]\nmatch = \"{export}\"\nrole = \"pure\"\nresults = [\"{result}\"]\n");
    bare_by(engine, &format!("{entry}{POLICY}"))
}

#[track_caller]
fn called(guest: &mut BareInstance, export: &str, args: &[Arg<'_>]) -> Results {
    guest.call(export, args).unwrap()
}

#[track_caller]
fn refused(guest: &mut BareInstance, export: &str, args: &[Arg<'_>]) -> String {
    guest.call(export, args).unwrap_err().to_string()
}

/// Blocks that nobody has freed.
#[track_caller]
fn live(guest: &mut BareInstance) -> i32 {
    called(guest, "live", args![]).i32().unwrap()
}

#[apply(every_engine)]
fn a_c_string_crosses_with_its_zero_byte_and_is_freed(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    for text in ["", "A", "tëxt", &"long".repeat(2000)] {
        let len = i32::try_from(text.len()).unwrap();
        assert_eq!(
            called(&mut guest, "strlen", args![text]).i32().unwrap(),
            len
        );
        let back = called(&mut guest, "strdup", args![text]);
        assert_eq!(back.text().unwrap(), text);
        assert_eq!(live(&mut guest), 0);
    }
    // C does not ask for UTF-8.
    let latin1 = called(&mut guest, "strlen", args![&[0xff_u8, 0xfe][..]]);
    assert_eq!(latin1.i32().unwrap(), 2);
}

#[apply(every_engine)]
fn a_zero_byte_in_a_c_string_is_refused_before_the_guest_runs(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    for arg in [Arg::from("A\0B"), Arg::from(&b"A\0"[..])] {
        let error = refused(&mut guest, "strlen", &[arg]);
        assert!(
            error.contains("argument 0 must be text without a zero byte"),
            "{error}"
        );
        assert!(error.ends_with("got text with one at 1"), "{error}");
    }
    assert_eq!(live(&mut guest), 0);
}

#[apply(every_engine)]
fn a_c_string_of_the_guest_s_own_is_copied_and_not_freed(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    assert_eq!(called(&mut guest, "lent", args![]).text().unwrap(), "lent");
    // The text lies in the argument, which is freed after it was read.
    let rest = called(&mut guest, "rest", args!["text"]);
    assert_eq!(rest.text().unwrap(), "ext");
    assert_eq!(
        called(&mut guest, "none", args![]).as_slice(),
        [Value::Null]
    );
    assert_eq!(live(&mut guest), 0);
}

#[apply(every_engine)]
fn the_search_for_the_end_of_a_c_string_ends_with_the_memory(engine: &EngineUnderTest) {
    for (export, needle) in [
        ("endless", "a C string at 65000 without an end"),
        ("beyond", "a C string at 65536 without an end"),
        ("latin1", "no UTF-8"),
    ] {
        let mut guest = bare(engine);
        let error = guest.call(export, args![]).unwrap_err();
        assert!(matches!(error, CallError::GuestData { .. }), "{error}");
        assert!(error.to_string().contains(needle), "{error}");
    }
}

#[apply(every_engine)]
fn a_buffer_by_its_pointer_alone_is_aligned_to_its_numbers_and_freed(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    let first = called(&mut guest, "first", args![&b"A\0"[..]]);
    assert_eq!(first.i32().unwrap(), 65);
    let numbers: Vec<u8> = [40_u32, 2].iter().flat_map(|n| n.to_le_bytes()).collect();
    let sum = called(&mut guest, "sum32", args![&numbers]);
    assert_eq!(sum.i32().unwrap(), 42);
    let numbers: Vec<u8> = [1.5_f64, 1.0]
        .iter()
        .flat_map(|n| n.to_le_bytes())
        .collect();
    let sum = called(&mut guest, "sum64", args![&numbers]);
    assert_eq!(sum.f64().unwrap().to_bits(), 2.5_f64.to_bits());
    assert_eq!(live(&mut guest), 0);
    let error = refused(&mut guest, "sum32", args![&[1_u8, 2, 3][..]]);
    assert!(error.contains("bytes in multiples of 4"), "{error}");
}

#[apply(every_engine)]
fn null_stands_for_what_is_optional_and_for_nothing_else(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    for export in ["maybe_len", "maybe_text", "object_or"] {
        let none = called(&mut guest, export, &[Arg::NULL]);
        assert_eq!(none.i32().unwrap(), -1, "{export}");
    }
    for export in ["maybe_len", "maybe_text"] {
        let some = called(&mut guest, export, args!["text"]);
        assert_eq!(some.i32().unwrap(), 4, "{export}");
    }
    assert_eq!(live(&mut guest), 0);
    let object = called(&mut guest, "object_new", args![7]).handle().unwrap();
    let number = called(&mut guest, "object_or", args![object]);
    assert_eq!(number.i32().unwrap(), 7);
    let error = refused(&mut guest, "strlen", &[Arg::NULL]);
    assert!(
        error.ends_with("must be of kind cstring, got null"),
        "{error}"
    );
}

#[apply(every_engine)]
fn a_number_that_may_be_left_out_comes_after_a_flag(engine: &EngineUnderTest) {
    const KEEPS: &str = r#"(module
        (global $kept (mut f64) (f64.const -1))
        (func (export "keep") (param i32 f64)
            (if (local.get 0) (then (global.set $kept (local.get 1)))))
        (func (export "kept") (result f64) (global.get $kept))
        (func (export "small") (param i32 i32) (result i32)
            (i32.sub (i32.mul (local.get 0) (i32.const 100)) (local.get 1)))
        (func (export "truth") (param i32) (result i32) (local.get 0))
        (func $wide (export "wide") (param f64) (result f64) (local.get 0))
        (export "word" (func $wide))
        (export "int" (func $wide))
        (export "single" (func $wide))
        (func (export "large") (param i32 i64) (result i64)
            (select (local.get 1) (i64.const -7) (local.get 0))))"#;
    let policy: Policy = r#"
        [[export]]
        match = "keep"
        role = "mutate"
        args = ["optional:value"]
        [[export]]
        match = "{small,large}"
        role = "pure"
        args = ["optional:value"]
        [[export]]
        match = "truth"
        role = "pure"
        args = ["value:null:16777215"]
        [[export]]
        match = "wide"
        role = "pure"
        args = ["value:null:4294967297"]
        [[export]]
        match = "word"
        role = "pure"
        args = ["value:null:4294967297:u32"]
        [[export]]
        match = "int"
        role = "pure"
        args = ["value:null:4294967297:i32"]
        [[export]]
        match = "single"
        role = "pure"
        args = ["value:null:4294967297:f32"]
        [[export]]
        match = "kept"
        role = "pure""#
        .parse()
        .unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::builder(Arc::clone(engine.remembering()))
        .module(wat::parse_str(KEEPS).unwrap())
        .policy(policy)
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    let i32_of = |arg: Arg<'_>| proxy.call("small", &[arg]).unwrap().i32().unwrap();
    assert_eq!((i32_of(Arg::NULL), i32_of(7.into())), (0, 93));
    let i64_of = |arg: Arg<'_>| proxy.call("large", &[arg]).unwrap().i64().unwrap();
    assert_eq!((i64_of(Arg::NULL), i64_of(Arg::Val(Val::I64(5)))), (-7, 5));
    let truth = |arg: Arg<'_>| proxy.call("truth", &[arg]).unwrap().i32().unwrap();
    assert_eq!((truth(Arg::NULL), truth(1.into())), (0xff_ffff, 1));
    let wide = |arg: Arg<'_>| proxy.call("wide", &[arg]).unwrap().f64().unwrap();
    let none = 4_294_967_297.0_f64;
    assert_eq!(wide(Arg::NULL).to_bits(), none.to_bits());
    assert_eq!(wide(7.0.into()).to_bits(), 7.0_f64.to_bits());
    // What does not fit wraps, or is rounded, as JavaScript does it, and is never taken for none.
    for (export, given, taken) in [
        ("word", -1.0, 4_294_967_295.0),
        ("word", none, 1.0),
        ("word", 4_294_967_298.9, 2.0),
        ("word", 1e300, 0.0),
        ("word", f64::NAN, 0.0),
        ("int", 4_294_967_295.0, -1.0),
        ("int", none, 1.0),
        ("single", 1e300, f64::INFINITY),
        ("single", none, 4_294_967_296.0),
        ("single", 0.5, 0.5),
    ] {
        let got = proxy.call(export, args![given]).unwrap().f64().unwrap();
        assert_eq!(got.to_bits(), f64::to_bits(taken), "{export}({given})");
        let got = proxy.call(export, &[Arg::NULL]).unwrap().f64().unwrap();
        assert_eq!(got.to_bits(), none.to_bits(), "{export}(null)");
    }
    proxy.call("keep", args![2.5]).unwrap();
    proxy.call("keep", &[Arg::NULL]).unwrap();
    let error = proxy.call("keep", args![1_i32]).unwrap_err().to_string();
    assert!(error.contains("optional:value"), "{error}");
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let kept = proxy.call("kept", args![]).unwrap().f64().unwrap();
    assert_eq!(kept.to_bits(), 2.5_f64.to_bits());
}

#[apply(every_engine)]
fn a_number_that_may_be_nothing_is_null(engine: &EngineUnderTest) {
    const GIVES: &str = r#"(module
        (memory (export "memory") 1)
        (global $stack (mut i32) (i32.const 4096))
        (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32)
            (global.set $stack (i32.add (global.get $stack) (local.get 0)))
            (global.get $stack))
        (func (export "truth") (param i32) (result i32) (local.get 0))
        (func (export "wide") (param f64) (result f64) (local.get 0))
        (func (export "flagged") (param i32 f64) (result i32 f64) (local.get 0) (local.get 1))
        (func (export "placed") (param i32 i32 i64)
            (i32.store (local.get 0) (local.get 1))
            (i64.store (i32.add (local.get 0) (i32.const 8)) (local.get 2)))
        (func (export "placed_f64") (param i32 f64)
            (f64.store (local.get 0) (local.get 1))))"#;
    let policy: Policy = r#"
        [[export]]
        match = "truth"
        role = "pure"
        results = ["value:null:16777215"]
        [[export]]
        match = "wide"
        role = "pure"
        results = ["value:null:4294967297"]
        [[export]]
        match = "flagged"
        role = "pure"
        results = ["optional:value"]
        [[export]]
        match = "placed"
        role = "pure"
        results = ["optional:value:i64"]
        [[export]]
        match = "placed_f64"
        role = "mutate"
        results = ["value:null:9007199254740991:f64"]"#
        .parse()
        .unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::builder(Arc::clone(engine.remembering()))
        .module(wat::parse_str(GIVES).unwrap())
        .policy(policy)
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    let gives = |export: &str, args: &[Arg<'_>]| {
        let results = proxy.call(export, args);
        let results = results.unwrap_or_else(|error| panic!("{export}: {error}"));
        results.as_slice().to_vec()
    };
    let number = |value: f64| vec![Value::Val(Val::from(value))];
    assert_eq!(gives("truth", args![0xff_ffff]), [Value::Null]);
    assert_eq!(gives("truth", args![0]), [Value::Val(Val::I32(0))]);
    assert_eq!(gives("wide", args![4_294_967_297.0]), [Value::Null]);
    assert_eq!(
        gives("wide", args![4_294_967_296.0]),
        number(4_294_967_296.0)
    );
    assert_eq!(gives("flagged", args![0, 2.5]), [Value::Null]);
    assert_eq!(gives("flagged", args![1, 2.5]), number(2.5));
    assert_eq!(
        gives("placed", &[0.into(), Arg::Val(Val::I64(7))]),
        [Value::Null]
    );
    assert_eq!(
        gives("placed", &[1.into(), Arg::Val(Val::I64(-7))]),
        [Value::Val(Val::I64(-7))]
    );
    // Null is a result like any other in the journal.
    assert_eq!(
        gives("placed_f64", args![9_007_199_254_740_991.0]),
        [Value::Null]
    );
    assert_eq!(gives("placed_f64", args![1.5]), number(1.5));
    assert_eq!(proxy.prepare_standby().unwrap().entries, 2);
    proxy.swap().unwrap();
}

#[apply(every_engine)]
fn results_come_from_the_places_that_a_call_gives_the_guest(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    let opened = called(&mut guest, "open", args!["name"]);
    let [Value::Val(Val::I32(0)), Value::Handle(object)] = *opened.as_slice() else {
        panic!("{opened:?}");
    };
    let len = called(&mut guest, "object_or", args![object]);
    assert_eq!(len.i32().unwrap(), 4);
    called(&mut guest, "object_free", args![object]);
    assert_eq!(called(&mut guest, "data", args![]).bytes().unwrap(), b"le");
    let numbers = called(&mut guest, "numbers", args![-3]);
    let expected = [Value::Val(Val::I64(-3)), Value::Val(Val::from(-3.0_f64))];
    assert_eq!(numbers.as_slice(), expected);
    assert_eq!(live(&mut guest), 0);
}

#[apply(every_engine)]
fn another_export_gives_the_length_of_a_buffer(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    let object = called(&mut guest, "object_new", args![7]).handle().unwrap();
    for (len, expected) in [(0, &b""[..]), (1, b"l"), (4, b"lent")] {
        let blob = called(&mut guest, "column_blob", args![object, len]);
        assert_eq!(blob.bytes().unwrap(), expected);
    }
    let mut guest = lending(engine, "lent", "string:borrowed:length:last_bytes");
    assert_eq!(called(&mut guest, "lent", args![]).text().unwrap(), "len");
    let mut guest = lending(engine, "lent", "bytes:borrowed:length:huge_bytes");
    let error = guest.call("lent", args![]).unwrap_err();
    assert!(matches!(error, CallError::GuestData { .. }), "{error}");
}

#[apply(every_engine)]
fn numbers_of_every_type_are_read_at_a_return_pointer(engine: &EngineUnderTest) {
    let mut guest = bare(engine);
    let before = called(&mut guest, "stack", args![]).i32().unwrap();
    let maybe = called(&mut guest, "maybe", args![2.5]);
    let expected = [Value::Val(Val::I32(1)), Value::Val(Val::from(2.5_f64))];
    assert_eq!(maybe.as_slice(), expected);
    let mixed = called(&mut guest, "mixed", args![]);
    let expected = [
        Val::I64(-2),
        Val::I32(3),
        Val::from(0.5_f32),
        Val::I64(4),
        Val::I32(5),
    ];
    assert_eq!(mixed.as_slice(), expected.map(Value::Val));
    assert_eq!(called(&mut guest, "stack", args![]).i32().unwrap(), before);
}

#[apply(every_engine)]
fn journaled_calls_with_null_and_places_for_results_are_replayed(engine: &EngineUnderTest) {
    let proxy = engine.proxied_wat(C, POLICY).build().unwrap();
    let opened = proxy.call("open", args!["name"]).unwrap();
    let Value::Handle(object) = opened.as_slice()[1] else {
        panic!("{opened:?}");
    };
    for arg in [Arg::NULL, Arg::Handle(object)] {
        let number = proxy.call("object_or", std::slice::from_ref(&arg)).unwrap();
        let expected = if arg == Arg::NULL { -1 } else { 4 };
        assert_eq!(number.i32().unwrap(), expected);
    }
    let prepared = proxy.prepare_standby().unwrap();
    assert_eq!(prepared.entries, 3);
    proxy.swap().unwrap();
    let number = proxy.call("object_or", args![object]).unwrap();
    assert_eq!(number.i32().unwrap(), 4);
}

#[apply(every_engine)]
fn what_does_not_fit_a_c_function_is_named(engine: &EngineUnderTest) {
    for (entry, needle) in [
        (
            "match='sum64'\nrole='pure'\nargs=['optional:zero']",
            "`optional` goes before value, handles, pointers, buffers, texts and js:list",
        ),
        (
            "match='object_new'\nrole='pure'\nargs=['value:null:4294967297']",
            "no place there for an argument of kind `value:null:4294967297`",
        ),
        (
            "match='object_new'\nrole='pure'\nargs=['value:null:1:u32']",
            "no place there for an argument of kind `value:null:1:u32`",
        ),
        (
            "match='sum64'\nrole='pure'\nresults=['optional:value']",
            "no place there for a result of kind `optional:value`",
        ),
        (
            "match='object_new'\nrole='pure'\nresults=['value:null:4294967297']",
            "no place there for a result of kind `value:null:4294967297`",
        ),
        (
            "match='object_new'\nrole='pure'\nargs=['value:null:x']",
            "a whole number below 2^53",
        ),
        (
            "match='sum64'\nrole='pure'\nargs=['bytes']",
            "cstring and bytes:pointer take one",
        ),
        (
            "match='sum64'\nrole='pure'\nresults=['value:i64']",
            "no place there for a result of kind `value:i64`",
        ),
        (
            "match='open'\nrole='pure'\nargs=['cstring','out']",
            "name the kinds of its results, those of each `out` last",
        ),
        (
            "match='maybe'\nrole='pure'\nargs=['value','out']\nresults=['value']",
            "parameter 1 is f64, and no pointer",
        ),
        (
            "match='lent'\nrole='pure'\nresults=['bytes:length:nothing']",
            "no function `nothing` for the length of a result",
        ),
        (
            "match='lent'\nrole='pure'\nresults=['bytes:length:column_bytes']",
            "takes the first parameters of `lent`, or none, and gives one i32",
        ),
        (
            "match='lent'\nrole='pure'\nresults=['cstring:length:last_bytes']",
            "goes after bytes, string, u16s, u32s and u64s",
        ),
    ] {
        let policy = format!("[[export]]\n{entry}").parse::<Policy>();
        let error = match policy {
            Err(error) => error.to_string(),
            Ok(policy) => Bare::new(engine.module(C), &policy, Imports::new(), Limits::default())
                .map(drop)
                .unwrap_err()
                .to_string(),
        };
        assert!(error.contains(needle), "{entry}: {error}");
    }
}
