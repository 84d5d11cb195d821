//! Values that are none of those that an import is for. What Node gives for them is what a guest gets.

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use conformance::prelude::*;
use proxy_core::js::{self, Js};
use proxy_core::{Policy, Proxy, args};

/// Exports that hand a value to one import each.
const ASKING: &str = r#"(module
    (import "wbg" "__wbindgen_debug_string" (func $debug (param i32 i32)))
    (import "wbg" "__wbg_length_cd7af8117672b8b8" (func $length (param i32) (result i32)))
    (import "wbg" "__wbg_size_0000000000000001" (func $size (param i32) (result i32)))
    (import "wbg" "__wbg_byteLength_0000000000000002" (func $bytes (param i32) (result i32)))
    (import "wbg" "__wbg_get_e3c254076557e348" (func $reflect_get (param i32 i32) (result i32)))
    (import "wbg" "__wbg_has_0000000000000003" (func $has (param i32 i32) (result i32)))
    (import "wbg" "__wbg_ownKeys_0000000000000004" (func $own_keys (param i32) (result i32)))
    (import "wbg" "__wbg_getwithrefkey_0000000000000005" (func $key (param i32 i32) (result i32)))
    (import "wbg" "__wbg_iterator_2cee6dadfd956dfa" (func $iterator (result i32)))
    (import "wbg" "__wbg_getunchecked_0000000000000006" (func $at (param i32 i32) (result i32)))
    (import "wbg" "__wbg_Number_0000000000000007" (func $number (param i32) (result f64)))
    (import "wbg" "__wbg_fromCodePoint_0000000000000008" (func $point (param i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "key")
    (global $stack (mut i32) (i32.const 2048))
    (func (export "__wbindgen_add_to_stack_pointer") (param i32) (result i32)
        (global.set $stack (i32.add (global.get $stack) (local.get 0)))
        (global.get $stack))
    (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 4096)
    (func (export "__wbindgen_free") (param i32 i32 i32))
    (func (export "shown") (param i32 i32) (call $debug (local.get 0) (local.get 1)))
    (func (export "length_of") (param i32) (result i32) (call $length (local.get 0)))
    (func (export "size_of") (param i32) (result i32) (call $size (local.get 0)))
    (func (export "bytes_of") (param i32) (result i32) (call $bytes (local.get 0)))
    (func (export "get_in") (param i32) (result i32)
        (call $reflect_get (local.get 0) (call $iterator)))
    (func (export "has_in") (param i32) (result i32) (call $has (local.get 0) (call $iterator)))
    (func (export "keys_of") (param i32) (result i32) (call $own_keys (local.get 0)))
    (func (export "key_of") (param i32) (result i32) (call $key (local.get 0) (call $iterator)))
    (func (export "second_of") (param i32) (result i32) (call $at (local.get 0) (i32.const 1)))
    (func (export "number_of") (param i32) (result f64) (call $number (local.get 0)))
    (func (export "character") (param i32) (result i32) (call $point (local.get 0))))"#;

const POLICY: &str = r#"
    [[export]]
    match = "shown"
    role = "pure"
    args = ["js"]
    results = ["string"]

    [[export]]
    match = "{length_of,size_of,bytes_of,has_in,number_of}"
    role = "pure"
    args = ["js"]

    [[export]]
    match = "{get_in,keys_of,key_of,second_of}"
    role = "pure"
    args = ["js"]
    results = ["js"]

    [[export]]
    match = "character"
    role = "pure"
    results = ["js"]
"#;

fn asking(engine: &EngineUnderTest) -> Proxy {
    asking_as_of(engine, "")
}

/// The same as a release of wasm-bindgen has made it.
fn asking_as_of(engine: &EngineUnderTest, made_by: &str) -> Proxy {
    let module = ASKING.replacen("(module", &format!("(module {made_by}"), 1);
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    let policy: Policy = POLICY.parse().unwrap_or_else(|error| panic!("{error}"));
    Proxy::builder(Arc::new(host) as Arc<dyn Engine>)
        .module(wat::parse_str(module).unwrap())
        .policy(policy)
        .imports(bindgen_host::system())
        .build()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// An error with everything behind it.
fn shown(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", shown(source)),
    }
}

fn failure(proxy: &Proxy, name: &str, arg: &str) -> String {
    shown(&proxy.call(name, args![Js(arg)]).unwrap_err())
}

#[apply(every_engine)]
fn a_length_that_is_not_there_is_zero(engine: &EngineUnderTest) {
    let proxy = asking(engine);
    for (name, arg, expected) in [
        ("length_of", "[1,2]", 2),
        ("length_of", "\"Zo\u{eb}\"", 3),
        ("length_of", "{\"$bytes\":\"AAEC\"}", 3),
        ("length_of", "{\"length\":7.9}", 7),
        ("length_of", "{\"$map\":[[\"a\",\"b\"]]}", 0),
        ("length_of", "{\"$set\":[1]}", 0),
        ("length_of", "{\"$buffer\":\"AAEC\"}", 0),
        ("length_of", "{\"$date\":5}", 0),
        ("length_of", "{}", 0),
        ("length_of", "5", 0),
        ("length_of", "true", 0),
        ("size_of", "{\"$map\":[[\"a\",\"b\"]]}", 1),
        ("size_of", "[1,2]", 0),
        ("size_of", "{\"size\":3}", 3),
        ("bytes_of", "{\"$buffer\":\"AAEC\"}", 3),
        ("bytes_of", "{\"$typed\":[\"Float64Array\",[1,2]]}", 16),
        ("bytes_of", "[1,2]", 0),
        ("bytes_of", "\"text\"", 0),
    ] {
        let results = proxy.call(name, args![Js(arg)]);
        let results = results.unwrap_or_else(|error| panic!("{name}({arg}): {error}"));
        assert_eq!(results.i32().unwrap(), expected, "{name}({arg})");
    }
    let error = failure(&proxy, "length_of", "null");
    let words = "Cannot read properties of null (reading 'length')";
    assert!(error.contains(words), "{error}");
}

#[apply(every_engine)]
fn reflect_takes_objects_alone(engine: &EngineUnderTest) {
    let proxy = asking(engine);
    for arg in ["5", "true", "\"text\"", "null", "{\"$bigint\":\"1\"}"] {
        for (name, function) in [("get_in", "get"), ("has_in", "has"), ("keys_of", "ownKeys")] {
            let error = failure(&proxy, name, arg);
            let words = format!("Reflect.{function} called on non-object");
            assert!(error.contains(&words), "{name}({arg}): {error}");
        }
    }
    let keys = proxy.call("keys_of", args![Js("{\"a\":1}")]).unwrap();
    assert_eq!(js::encode(&keys.js().unwrap()), "[\"a\"]");
    // A property of a number is none, and null has none.
    let property = proxy.call("key_of", args![Js("5")]).unwrap();
    assert_eq!(js::encode(&property.js().unwrap()), "{\"$undefined\":true}");
    let error = failure(&proxy, "key_of", "null");
    let words = "Cannot read properties of null (reading 'Symbol(Symbol.iterator)')";
    assert!(error.contains(words), "{error}");
}

#[apply(every_engine)]
fn a_value_is_shown_as_the_glue_shows_it(engine: &EngineUnderTest) {
    let proxy = asking(engine);
    for (arg, expected) in [
        ("null", "null"),
        ("{\"$undefined\":true}", "undefined"),
        ("true", "true"),
        ("{\"$number\":\"-0\"}", "0"),
        ("1e21", "1e+21"),
        ("\"a\\\"b\"", "\"a\"b\""),
        ("{\"$bigint\":\"12\"}", "BigInt"),
        ("[]", "[]"),
        (
            "[1,\"x\",{\"a\":1},[null]]",
            "[1, \"x\", Object({\"a\":1}), [null]]",
        ),
        ("{}", "Object({})"),
        ("{\"b\":[1]}", "Object({\"b\":[1]})"),
        ("{\"b\":{\"$bigint\":\"1\"}}", "Object"),
        (
            "{\"when\":{\"$date\":0}}",
            "Object({\"when\":\"1970-01-01T00:00:00.000Z\"})",
        ),
        ("{\"$date\":0}", "Date"),
        ("{\"$map\":[[1,2]]}", "Map"),
        ("{\"$set\":[1]}", "Set"),
        ("{\"$bytes\":\"AAEC\"}", "Uint8Array"),
        ("{\"$typed\":[\"Float64Array\",[1]]}", "Float64Array"),
        ("{\"$buffer\":\"AAEC\"}", "ArrayBuffer"),
        ("{\"$error\":[\"RangeError\",\"no\"]}", "RangeError: no"),
    ] {
        let results = proxy.call("shown", args![Js(arg)]);
        let results = results.unwrap_or_else(|error| panic!("{arg}: {error}"));
        assert_eq!(results.text().unwrap(), expected, "{arg}");
    }
}

/// Release 0.2.130 writes texts and big integers as literals, and 0.2.129 does not.
#[apply(every_engine)]
fn a_value_is_shown_as_the_release_shows_it(engine: &EngineUnderTest) {
    for (release, text, number, list) in [
        (129, "\"a\"b\u{1b}\n\"", "BigInt", "[\"a\"b\", BigInt]"),
        (130, r#""a\"b\u001b\n""#, "-12n", r#"["a\"b", 7n]"#),
    ] {
        let made_by = format!("(@producers (processed-by \"wasm-bindgen\" \"0.2.{release}\"))");
        let proxy = asking_as_of(engine, &made_by);
        for (arg, expected) in [
            (r#""a\"b\u001b\n""#, text),
            (r#"{"$bigint":"-12"}"#, number),
            (r#"["a\"b",{"$bigint":"7"}]"#, list),
            (r#"{"a":"b\"c"}"#, r#"Object({"a":"b\"c"})"#),
            ("null", "null"),
        ] {
            let results = proxy.call("shown", args![Js(arg)]).unwrap();
            assert_eq!(results.text().unwrap(), expected, "0.2.{release}: {arg}");
        }
    }
}

#[apply(every_engine)]
fn numbers_characters_and_elements_are_those_of_javascript(engine: &EngineUnderTest) {
    let proxy = asking(engine);
    for (arg, expected) in [
        ("\" 12 \"", 12.0),
        ("\"0x10\"", 16.0),
        ("\"\"", 0.0),
        ("null", 0.0),
        ("{\"$bigint\":\"7\"}", 7.0),
        ("{\"$date\":5}", 5.0),
    ] {
        let number = proxy.call("number_of", args![Js(arg)]).unwrap();
        assert_eq!(
            number.f64().unwrap().to_bits(),
            f64::to_bits(expected),
            "{arg}"
        );
    }
    let nan = proxy.call("number_of", args![Js("\"inf\"")]).unwrap();
    assert!(nan.f64().unwrap().is_nan());
    let character = proxy.call("character", args![0x1_F600]).unwrap();
    assert_eq!(js::encode(&character.js().unwrap()), "\"\u{1f600}\"");
    let error = shown(&proxy.call("character", args![0x11_0000]).unwrap_err());
    assert!(error.contains("Invalid code point 1114112"), "{error}");
    for (arg, expected) in [
        ("[1,2]", "2"),
        ("\"ab\"", "\"b\""),
        ("[1]", "{\"$undefined\":true}"),
    ] {
        let element = proxy.call("second_of", args![Js(arg)]).unwrap();
        assert_eq!(js::encode(&element.js().unwrap()), expected, "{arg}");
    }
}
