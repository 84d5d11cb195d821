//! Closures of a guest that the host calls, in both generations of the ABI. In the older one an object
//! and a number have one type, and the glue says which is which.

use std::sync::Arc;

use bindgen_host::{BindgenHost, GivenCast, Options, Takes};
use conformance::hosted::REALM;
use conformance::prelude::*;
use draft::Draft;
use glue::Glue;
use proxy_core::js::{self, Js};
use proxy_core::{Policy, Proxy, args};

/// The guest `realm` behind proxies, with the policies that its glue gives.
fn realms(engine: &EngineUnderTest) -> Vec<Proxy> {
    let all = REALM.on(engine).into_iter().map(|hosted| {
        let text = match hosted.abi {
            "slots" => include_str!("../../../guests/prebuilt/realm_old.js"),
            _ => include_str!("../../../guests/prebuilt/realm_new.js"),
        };
        let glue = Glue::read(text).unwrap();
        let info = Arc::new(module_bytes::parse(hosted.wasm).unwrap());
        let draft = Draft::with_glue(&bindgen_host::hosted_info(&info), Some(&glue));
        let draft = draft.unwrap().with_casts(&info, hosted.wasm, &glue);
        let policy: Policy = draft.to_toml("realm").parse().unwrap();
        let options = draft::host_options(&policy);
        build(engine, hosted.wasm, policy, options)
    });
    all.collect()
}

fn build(engine: &EngineUnderTest, wasm: &[u8], policy: Policy, options: Options) -> Proxy {
    let host: Arc<dyn Engine> =
        Arc::new(BindgenHost::new(Arc::clone(engine.remembering()), options));
    Proxy::builder(host)
        .module(wasm)
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

/// Numbers of the elements that are numbers of objects in the older ABI, and others.
#[apply(every_engine)]
fn a_lent_closure_gets_elements_as_objects(engine: &EngineUnderTest) {
    for proxy in realms(engine) {
        for (array, expected) in [
            ("[]", 0.0),
            ("[1]", 0.0),
            ("[1,2,3]", 8.0),
            ("[5,0,true,-2.5]", -7.5),
            ("[128,129]", 129.0),
            ("[130,131,132,133,134]", 131.0 + 264.0 + 399.0 + 536.0),
            ("[\"x\",2,null,[4],{}]", 2.0),
        ] {
            let sum = proxy.call("each_sum", args![Js(array)]);
            let sum = sum.unwrap_or_else(|error| panic!("{array}: {}", shown(&error)));
            assert_eq!(
                sum.f64().unwrap().to_bits(),
                f64::to_bits(expected),
                "{array}"
            );
        }
    }
}

/// The guest's own closure, which takes a number and gives one.
#[apply(every_engine)]
fn a_closure_of_numbers_is_called_as_the_glue_calls_it(engine: &EngineUnderTest) {
    for proxy in realms(engine) {
        for (times, last) in [(0, "0"), (4, "10"), (200, "20100")] {
            let called = proxy.call("call_back", args![times]).unwrap();
            assert_eq!(js::encode(&called.js().unwrap()), last);
        }
    }
}

/// Two exports of one type: one takes an object, the other a number. Both give its number.
const SHIMS: &str = r#"(module
    (import "wbg" "__wbindgen_closure_wrapper7" (func $wrap (param i32 i32 i32) (result i32)))
    (import "wbg" "__wbg_call_0000000000000001" (func $call (param i32 i32 i32) (result i32)))
    (import "wbg" "__wbg_Number_0000000000000002" (func $number (param i32) (result f64)))
    (memory (export "memory") 1)
    (func (export "closure_invoke_object") (param i32 i32 i32) (result f64)
        (call $number (local.get 2)))
    (func (export "closure_invoke_number") (param i32 i32 i32) (result f64)
        (f64.convert_i32_s (local.get 2)))
    (func (export "asked") (param i32) (result i32)
        (call $call
            (call $wrap (i32.const 16) (i32.const 32) (i32.const 7))
            (local.get 0)
            (local.get 0))))"#;

/// What a closure gives for an argument. Nothing, or what its export takes, is said.
fn asked(
    engine: &EngineUnderTest,
    invoke: &str,
    takes: Option<Takes>,
    arg: &str,
) -> Result<String, String> {
    let policy =
        "[[export]]\nmatch = \"asked\"\nrole = \"pure\"\nargs = [\"js\"]\nresults = [\"js\"]";
    let mut cast = GivenCast::closure("__wbindgen_closure_wrapper7", invoke);
    cast.takes = takes.map(|takes| vec![takes]);
    let mut options = Options::default();
    options.casts = vec![cast];
    let wasm = wat::parse_str(SHIMS).unwrap();
    let proxy = build(engine, &wasm, policy.parse().unwrap(), options);
    let result = proxy.call("asked", args![Js(arg)]);
    let result = result.map_err(|error| shown(&error))?;
    Ok(js::encode(&result.js().unwrap()))
}

#[apply(every_engine)]
fn an_argument_is_what_was_said_and_nothing_is_guessed(engine: &EngineUnderTest) {
    let (object, number) = ("closure_invoke_object", "closure_invoke_number");
    for (invoke, takes, arg, expected) in [
        (object, Takes::Object, "41", "41"),
        (object, Takes::Object, "132", "132"),
        (object, Takes::Object, "\"12\"", "12"),
        (object, Takes::Object, "true", "1"),
        (object, Takes::Object, "null", "0"),
        (object, Takes::Borrowed, "41", "41"),
        (object, Takes::Borrowed, "\"12\"", "12"),
        (number, Takes::Number, "41", "41"),
        (number, Takes::Number, "-2.9", "-2"),
        (number, Takes::Number, "true", "1"),
        (number, Takes::Number, "null", "0"),
        (number, Takes::Number, "{\"$undefined\":true}", "0"),
    ] {
        let given = asked(engine, invoke, Some(takes), arg);
        assert_eq!(given.as_deref(), Ok(expected), "{invoke} of {arg}");
    }
    for arg in ["41", "\"12\"", "true", "{}"] {
        let error = asked(engine, object, None, arg).unwrap_err();
        assert!(
            error.contains("takes a number or an object"),
            "{arg}: {error}"
        );
        assert!(error.contains("--glue"), "{arg}: {error}");
    }
    let error = asked(engine, number, Some(Takes::Number), "\"12\"").unwrap_err();
    assert!(error.contains("is given string"), "{error}");
}
