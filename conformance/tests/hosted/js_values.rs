//! JavaScript values as arguments and results, in both generations of the ABI.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bindgen_host::{BindgenHost, Callbacks, Options};
use conformance::hosted::REALM;
use conformance::prelude::*;
use engine_api::JsValue;
use proxy_core::js::{self, Js};
use proxy_core::{Arg, Policy, Proxy, Value, args};

const SLOTS: &str = include_str!("generations/js_slots.wat");
const EXTERNREFS: &str = include_str!("generations/js_externrefs.wat");

/// Exports that take a value and give one, and two that keep it in the guest.
const POLICY: &str = r#"
    [[export]]
    match = "{same,numbered,field,second,entries_of,spread,map_of,object_of,list_of}"
    role = "pure"
    args = ["js"]
    results = ["js"]

    [[export]]
    match = "len[t]"
    role = "pure"
    args = ["js:borrowed"]
    results = ["js"]

    [[export]]
    match = "is_tex[t]"
    role = "pure"
    args = ["js"]

    [[export]]
    match = "{empty_array,empty_object,empty_map,kept}"
    role = "pure"
    results = ["js"]

    [[export]]
    match = "keep"
    role = "mutate"
    args = ["js"]
"#;

/// A value of every kind.
const EVERY_KIND: [&str; 14] = [
    "null",
    "{\"$undefined\":true}",
    "true",
    "-0.1",
    "{\"$number\":\"NaN\"}",
    "\"Zoë\\n\"",
    "{\"$bigint\":\"-170141183460469231731687303715884105728\"}",
    "{\"$date\":1700000000000}",
    "{\"$bytes\":\"AAEC\"}",
    "{\"$typed\":[\"Float64Array\",[1.5,{\"$number\":\"-0\"}]]}",
    "{\"$error\":[\"RangeError\",\"no\"]}",
    "{\"z\":[[],{}],\"a\":{\"$undefined\":true},\"7\":null}",
    "{\"$map\":[[{\"$set\":[1]},{\"$buffer\":\"/w==\"}]]}",
    "{\"$object\":[[\"$map\",1]]}",
];

/// An error with everything behind it.
fn shown(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", shown(source)),
    }
}

fn proxies(engine: &EngineUnderTest) -> Vec<Proxy> {
    let all = if engine.capabilities().externref {
        vec![SLOTS, EXTERNREFS]
    } else {
        vec![SLOTS]
    };
    let host: Arc<dyn Engine> = Arc::new(BindgenHost::new(
        Arc::clone(engine.remembering()),
        Options::default(),
    ));
    let build = |text: &str| {
        let policy: Policy = POLICY.parse().unwrap_or_else(|error| panic!("{error}"));
        Proxy::builder(Arc::clone(&host))
            .module(wat::parse_str(text).unwrap())
            .policy(policy)
            .imports(bindgen_host::system())
            .build()
            .unwrap_or_else(|error| panic!("{error}"))
    };
    all.into_iter().map(build).collect()
}

fn called(proxy: &Proxy, name: &str, arg: &str) -> String {
    let results = proxy.call(name, args![Js(arg)]);
    let results = results.unwrap_or_else(|error| panic!("{name}({arg}): {error}"));
    js::encode(&results.js().unwrap())
}

#[apply(every_engine)]
fn a_value_of_every_kind_goes_through_a_guest(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        for text in EVERY_KIND {
            assert!(js::is_same(&called(&proxy, "same", text), text), "{text}");
        }
    }
    for text in EVERY_KIND {
        let lent = called(&proxies(engine)[0], "lent", text);
        assert!(js::is_same(&lent, text), "{text}");
    }
    if engine.capabilities().externref {
        let numbered = called(&proxies(engine)[1], "numbered", "[1]");
        assert_eq!(numbered, "[1]");
    }
}

#[apply(every_engine)]
fn a_guest_reads_what_the_caller_gave(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        let field = called(&proxy, "field", "{\"a\":1,\"key\":{\"$bigint\":\"2\"}}");
        assert_eq!(field, "{\"$bigint\":\"2\"}");
        assert_eq!(called(&proxy, "field", "{}"), "{\"$undefined\":true}");
    }
    let slots = &proxies(engine)[0];
    for (export, arg, expected) in [
        ("second", "[1,\"two\"]", "\"two\""),
        ("second", "[]", "{\"$undefined\":true}"),
        (
            "entries_of",
            "{\"b\":1,\"a\":[2],\"10\":0,\"9\":0}",
            "[[\"9\",0],[\"10\",0],[\"b\",1],[\"a\",[2]]]",
        ),
        ("spread", "[3,[4]]", "[3,[4]]"),
        ("spread", "{\"$map\":[[1,2]]}", "[[1,2]]"),
        ("spread", "{\"$set\":[1,2,1]}", "[1,2]"),
        ("spread", "{\"$typed\":[\"Int16Array\",[-1,7]]}", "[-1,7]"),
        ("map_of", "1", "{\"$map\":[[\"key\",1]]}"),
        ("object_of", "[]", "{\"key\":[]}"),
    ] {
        assert_eq!(called(slots, export, arg), expected, "{export}({arg})");
    }
}

#[apply(every_engine)]
fn what_a_constructor_makes_is_told_by_its_hash(engine: &EngineUnderTest) {
    let made = |proxy: &Proxy, name: &str| {
        let results = proxy.call(name, args![]).unwrap();
        js::encode(&results.js().unwrap())
    };
    let proxies = proxies(engine);
    assert_eq!(made(&proxies[0], "empty_array"), "[]");
    assert_eq!(made(&proxies[0], "empty_object"), "{}");
    if let Some(externrefs) = proxies.get(1) {
        assert_eq!(made(externrefs, "empty_array"), "[]");
        assert_eq!(made(externrefs, "empty_map"), "{\"$map\":[]}");
        assert_eq!(called(externrefs, "list_of", "[]"), "[[]]");
        let is_text = externrefs.call("is_text", args![Js("\"x\"")]).unwrap();
        assert_eq!(is_text.i32().unwrap(), 1);
    }
}

#[apply(every_engine)]
fn a_journaled_value_is_there_after_a_swap(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        let kept = "{\"list\":[1,{\"$bigint\":\"2\"}],\"when\":{\"$date\":5}}";
        proxy.call("keep", args![Js("1")]).unwrap();
        proxy.call("keep", args![Js(kept)]).unwrap();
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let after = proxy.call("kept", args![]).unwrap();
        assert_eq!(js::encode(&after.js().unwrap()), kept);
    }
}

#[apply(every_engine)]
fn what_is_no_value_is_refused_before_the_guest_runs(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        for (text, needle) in [
            ("{", "EOF"),
            ("{\"$nothing\":1}", "no tag"),
            ("{\"$opaque\":\"a function\"}", "only its guest has"),
        ] {
            let error = proxy.call("keep", args![Js(text)]).unwrap_err().to_string();
            assert!(error.contains(needle), "{error}");
        }
        let text = proxy.call("same", args!["text"]).unwrap_err().to_string();
        assert!(text.contains("of kind js"), "{text}");
        assert_eq!(called(&proxy, "same", "[1]"), "[1]");
    }
}

#[apply(every_engine)]
fn a_result_is_a_value_for_rust_too(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        let results = proxy.call("same", args![Js("{\"a\":[1,null]}")]).unwrap();
        let list = JsValue::Array(vec![JsValue::Number(1.0), JsValue::Null]);
        let expected = JsValue::Object(vec![("a".to_owned(), list)]);
        assert_eq!(results.js().unwrap(), expected);
    }
}

/// Gives back the array of numbers that it is given; names one object twice; and names an array outside
/// of its memory.
const LISTS: &str = r#"
    (memory (export "memory") 1)
    (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 4096)
    (func (export "__wbindgen_free") (param i32 i32 i32))
    (func (export "listed") (param $at i32) (param $count i32) (result i64)
        (i64.or
            (i64.extend_i32_u (local.get $at))
            (i64.shl (i64.extend_i32_u (local.get $count)) (i64.const 32))))
    (func (export "twice") (param $at i32) (param $count i32) (result i64)
        (i32.store offset=4 (local.get $at) (i32.load (local.get $at)))
        (i64.or (i64.extend_i32_u (local.get $at)) (i64.const 0x200000000)))
    (func (export "outside") (result i64) (i64.const 0x7fffffff00000040)))"#;

const OF_SLOTS: &str = r#"(module
    (import "wbg" "__wbindgen_object_drop_ref" (func (param i32)))"#;

const OF_EXTERNREFS: &str = r#"(module
    (import "wbg" "__wbg___wbindgen_is_string_1fca8072260dd261" (func (param externref) (result i32)))
    (table $refs (export "__wbindgen_externrefs") 128 externref)
    (func (export "__externref_table_alloc") (result i32)
        (table.grow $refs (ref.null extern) (i32.const 1)))
    (func (export "__externref_table_dealloc") (param i32)
        (table.set $refs (local.get 0) (ref.null extern)))"#;

const LISTS_POLICY: &str = r#"
    [[export]]
    match = "{listed,twice}"
    role = "pure"
    args = ["optional:js:list"]
    results = ["js:list"]

    [[export]]
    match = "outside"
    role = "pure"
    results = ["js:list"]
"#;

fn of_lists(engine: &EngineUnderTest) -> Vec<Proxy> {
    let mut all = vec![OF_SLOTS];
    if engine.capabilities().externref {
        all.push(OF_EXTERNREFS);
    }
    let build = |head: &str| {
        let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
        let policy: Policy = LISTS_POLICY
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
        Proxy::builder(Arc::new(host) as Arc<dyn Engine>)
            .module(wat::parse_str(format!("{head}{LISTS}")).unwrap())
            .policy(policy)
            .imports(bindgen_host::system())
            .build()
            .unwrap_or_else(|error| panic!("{error}"))
    };
    all.into_iter().map(build).collect()
}

#[apply(every_engine)]
fn an_array_goes_through_a_guest_as_the_numbers_of_its_elements(engine: &EngineUnderTest) {
    for proxy in of_lists(engine) {
        for list in [
            "[]",
            "[1]",
            "[{\"a\":[1]},\"two\",{\"$undefined\":true},null]",
        ] {
            assert_eq!(called(&proxy, "listed", list), list);
        }
        let nothing = proxy.call("listed", &[Arg::NULL]).unwrap();
        assert_eq!(nothing.as_slice(), [Value::Null]);
        let error = proxy.call("listed", args![Js("{\"0\":1}")]).unwrap_err();
        assert!(error.to_string().contains("an array"), "{error}");
    }
}

#[apply(every_engine)]
fn an_array_that_a_guest_makes_up_is_refused(engine: &EngineUnderTest) {
    for proxy in of_lists(engine) {
        let error = proxy.call("outside", args![]).unwrap_err();
        assert!(
            shown(&error).contains("outside the linear memory"),
            "{}",
            shown(&error)
        );
    }
    // A slot has one object, and the guest gives it up once.
    let error = of_lists(engine)[0]
        .call("twice", args![Js("[1,2]")])
        .unwrap_err();
    assert!(
        shown(&error).contains("holds none there"),
        "{}",
        shown(&error)
    );
}

#[apply(every_engine)]
fn null_is_nothing_where_a_value_may_be_left_out(engine: &EngineUnderTest) {
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    let policy = "[[export]]\nmatch = \"same\"\nrole = \"pure\"\nargs = [\"js:optional\"]";
    let policy: Policy = policy.parse().unwrap_or_else(|error| panic!("{error}"));
    let proxy = Proxy::builder(Arc::new(host) as Arc<dyn Engine>)
        .module(wat::parse_str(SLOTS).unwrap())
        .policy(policy)
        .imports(bindgen_host::system())
        .build()
        .unwrap_or_else(|error| panic!("{error}"));
    // Without an object the parameter is 0, and with one the number of its slot.
    for nothing in [Arg::NULL, Arg::Js("null"), Arg::Js("{\"$undefined\":true}")] {
        assert_eq!(proxy.call("same", &[nothing]).unwrap().i32().unwrap(), 0);
    }
    assert_ne!(
        proxy.call("same", args![Js("0")]).unwrap().i32().unwrap(),
        0
    );
}

/// Calls what it is given with a list, and keeps what that gives.
const CALLING: &str = r#"(module
    (import "wbg" "__wbindgen_object_drop_ref" (func $drop (param i32)))
    (import "wbg" "__wbindgen_object_clone_ref" (func $clone (param i32) (result i32)))
    (import "wbg" "__wbg_call_b3ca7c6051f9bec1" (func $call (param i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (global $kept (mut i32) (i32.const 128))
    (func (export "keep_result") (param $function i32) (param $arg i32)
        (global.set $kept (call $call (local.get $function) (i32.const 128) (local.get $arg))))
    (func (export "kept") (result i32) (call $clone (global.get $kept))))"#;

const CALLING_POLICY: &str = r#"
    [[export]]
    match = "keep_result"
    role = "mutate"
    args = ["js", "js"]

    [[export]]
    match = "kept"
    role = "pure"
    results = ["js"]
"#;

fn calling(engine: &EngineUnderTest, imports: Imports) -> Proxy {
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    let policy: Policy = CALLING_POLICY
        .parse()
        .unwrap_or_else(|error| panic!("{error}"));
    Proxy::builder(Arc::new(host) as Arc<dyn Engine>)
        .module(wat::parse_str(CALLING).unwrap())
        .policy(policy)
        .imports(imports)
        .build()
        .unwrap_or_else(|error| panic!("{error}"))
}

#[apply(every_engine)]
fn a_callback_is_recorded_and_not_called_on_replay(engine: &EngineUnderTest) {
    let called = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&called);
    let mut callbacks = Callbacks::default();
    callbacks.add("times", move |args: &[JsValue]| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        let given = JsValue::Array(args.to_vec());
        Ok(JsValue::Array(vec![JsValue::Number(number.into()), given]))
    });
    let mut imports = bindgen_host::system();
    callbacks.serve(&mut imports);
    let proxy = calling(engine, imports);
    let given = args![
        Js("{\"$callback\":\"times\"}"),
        Js("\"a long enough text to take several words\"")
    ];
    proxy.call("keep_result", given).unwrap();
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    let kept = proxy.call("kept", args![]).unwrap().js().unwrap();
    assert_eq!(
        js::encode(&kept),
        "[1,[\"a long enough text to take several words\"]]"
    );
    assert_eq!(called.load(Ordering::SeqCst), 1);
}

#[apply(every_engine)]
fn a_callback_that_nobody_gave_is_refused_by_its_name(engine: &EngineUnderTest) {
    let proxy = calling(engine, bindgen_host::system());
    let given = args![Js("{\"$callback\":\"onChange\"}"), Js("1")];
    let error = proxy.call("keep_result", given).unwrap_err();
    let shown = shown(&error);
    assert!(
        shown.contains("onChange") && shown.contains("Callbacks"),
        "{shown}"
    );
}

/// The guest of `guests/realm`, which wasm-bindgen made, with exports for values of any kind.
const REALM_POLICY: &str = r#"
    [[export]]
    match = "describe"
    role = "pure"
    args = ["js:borrowed"]
    results = ["string"]

    [[export]]
    match = "echo"
    role = "pure"
    args = ["js"]
    results = ["js"]
"#;

#[apply(every_engine)]
fn a_guest_that_wasm_bindgen_made_tells_every_kind_apart(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
        let policy: Policy = REALM_POLICY
            .parse()
            .unwrap_or_else(|error| panic!("{error}"));
        let proxy = Proxy::builder(Arc::new(host) as Arc<dyn Engine>)
            .module(hosted.wasm)
            .policy(policy)
            .imports(bindgen_host::system())
            .build()
            .unwrap_or_else(|error| panic!("{error}"));
        for (value, expected) in [
            ("{\"$undefined\":true}", "undefined"),
            ("null", "null"),
            ("true", "boolean true"),
            ("-1.5", "number -1.5"),
            ("\"a\"", "string \"a\""),
            ("{\"$bigint\":\"1\"}", "bigint"),
            ("{\"$callback\":\"f\"}", "function"),
            ("{\"$error\":[\"TypeError\",\"no\"]}", "error \"no\""),
            ("{\"$bytes\":\"AAEC\"}", "bytes of length 3"),
            ("[1,2]", "array of length 2"),
            ("[]", "array of length 0"),
            ("{}", "object"),
            ("{\"$date\":1}", "object"),
            ("{\"$typed\":[\"Float32Array\",[1]]}", "object"),
        ] {
            let described = proxy.call("describe", args![Js(value)]).unwrap();
            assert_eq!(
                described.text().unwrap(),
                expected,
                "{}: {value}",
                hosted.abi
            );
            let echoed = called(&proxy, "echo", value);
            assert!(js::is_same(&echoed, value), "{}: {value}", hosted.abi);
        }
    }
}

#[apply(every_engine)]
fn values_go_through_a_guest_in_a_turn(engine: &EngineUnderTest) {
    for proxy in proxies(engine) {
        let mut turn = proxy.turn().unwrap();
        for text in EVERY_KIND {
            let same = turn.call("same", args![Js(text)]).unwrap().js().unwrap();
            assert!(js::is_same(&js::encode(&same), text), "{text}");
            turn.call("keep", args![Js(text)]).unwrap();
            let kept = turn.call("kept", args![]).unwrap().js().unwrap();
            assert!(js::is_same(&js::encode(&kept), text), "{text}");
        }
    }
}
