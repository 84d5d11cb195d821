//! Values, objects, errors and the world outside, in both generations of the ABI.

use std::sync::atomic::{AtomicI32, Ordering};

use bindgen_host::{BindgenHost, Options};
use conformance::hosted::REALM;
use conformance::prelude::*;
use engine_api::JsValue;
use proxy_core::{CallError, Error, Handle, Proxy, Value, args};

#[apply(every_engine)]
fn values_cross_in_every_way(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let call = |name: &str, args: &[proxy_core::Arg<'_>]| {
            let outcome = proxy.call(name, args);
            outcome.unwrap_or_else(|error| panic!("{}: `{name}`: {error}", hosted.abi))
        };
        assert_eq!(call("add", args![40, 2]).i32().unwrap(), 42);
        let greeting = call("greet", args!["Zoë"]).text().unwrap();
        assert_eq!(greeting, "Hello, Zoë!");
        assert_eq!(call("greet", args![""]).text().unwrap(), "Hello, !");
        let reversed = call("reverse_bytes", args![&vec![1, 2, 3]]);
        assert_eq!(reversed.bytes().unwrap(), [3, 2, 1]);
        let words = |numbers: &[u32]| -> Vec<u8> {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect()
        };
        let squares = call("squares", args![&words(&[2, 3, 1000])]);
        assert_eq!(squares.bytes().unwrap(), words(&[4, 9, 1_000_000]));
        let doubles = |numbers: &[f64]| -> Vec<u8> {
            numbers
                .iter()
                .flat_map(|number| number.to_le_bytes())
                .collect()
        };
        let totals = call("running_total", args![&doubles(&[1.5, 2.5])]);
        assert_eq!(totals.bytes().unwrap(), doubles(&[1.5, 4.0]));
        // An option with a value.
        let some = call("maybe_greet", args!["Ada"]);
        assert!(matches!(&some.as_slice()[0], Value::Text(text) if text.contains("Ada")));
    }
}

#[apply(every_engine)]
fn numbers_that_do_not_fill_an_array_are_refused(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let error = proxy.call("squares", args![&vec![1, 2, 3]]).unwrap_err();
        assert!(error.to_string().contains("multiples of 4"), "{error}");
    }
}

fn counter(proxy: &Proxy, value: u32) -> Handle {
    let counter = proxy.call("counter_new", args![value]).unwrap();
    counter.handle().unwrap()
}

#[apply(every_engine)]
fn objects_last_are_used_up_and_survive_swaps(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let (one, other) = (counter(&proxy, 3), counter(&proxy, 4));
        proxy.call("counter_increment", args![one]).unwrap();
        let merged = proxy.call("counter_merge", args![one, other]).unwrap();
        let merged = merged.handle().unwrap();
        let used_up = proxy.call("counter_value", args![one]).unwrap_err();
        assert!(
            matches!(used_up, Error::Call(CallError::FreedHandle { .. })),
            "{used_up}"
        );

        let registry = proxy
            .call("registry_new", args![])
            .unwrap()
            .handle()
            .unwrap();
        let value = vec![7_u8; 1000];
        let put = proxy.call("registry_put", args![registry, "name", &value]);
        put.unwrap();
        proxy.call("chain_step", args!["a"]).unwrap();
        let state = |proxy: &Proxy| {
            let bits = |name: &str, args| proxy.call(name, args).unwrap().u64().unwrap();
            let value = proxy.call("counter_value", args![merged]).unwrap();
            (
                value.u32().unwrap(),
                bits("registry_digest", args![registry]),
                bits("chain_value", args![]),
            )
        };
        let before = state(&proxy);
        assert_eq!(before.0, 8);
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_eq!(state(&proxy), before, "{}", hosted.abi);
    }
}

/// A constructor that fails loses nothing, and the next call works.
#[apply(every_engine)]
fn an_error_that_the_guest_returns_arrives_with_its_message(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let message = |error: Error| match error {
            Error::Call(CallError::Guest { message, .. }) => message,
            error => panic!("{}: {error}", hosted.abi),
        };
        let refused = proxy.call("account_new", args![-5_i64]).unwrap_err();
        assert_eq!(message(refused), "an account cannot open with -5");
        let account = proxy.call("account_new", args![10_i64]).unwrap();
        let account = account.handle().unwrap();
        let balance = proxy.call("account_balance", args![account]).unwrap();
        assert_eq!(balance.i64().unwrap(), 10);
        // A string is thrown, and a result is empty.
        let parsed = proxy.call("parse", args![" 2.50 "]).unwrap();
        assert_eq!(parsed.text().unwrap(), "2.5");
        let invalid = proxy.call("parse", args!["two"]).unwrap_err();
        assert_eq!(message(invalid), "invalid float literal");
        assert!(proxy.call("check", args![1]).unwrap().as_slice().is_empty());
        assert_eq!(
            message(proxy.call("check", args![0]).unwrap_err()),
            "the check failed"
        );
        // The value is there too: an error with its class, or a text.
        let thrown = |error: Error| match error {
            Error::Call(CallError::Guest { thrown, .. }) => thrown.map(|value| *value),
            error => panic!("{}: {error}", hosted.abi),
        };
        let invalid = proxy.call("parse", args!["two"]).unwrap_err();
        let text = JsValue::Text("invalid float literal".to_owned());
        assert_eq!(thrown(invalid), Some(text));
        let check = JsValue::Error {
            name: "Error".to_owned(),
            message: "the check failed".to_owned(),
        };
        assert_eq!(
            thrown(proxy.call("check", args![0]).unwrap_err()),
            Some(check)
        );
        // A call that fails but uses up its object is repeated on replay.
        let open = proxy.call("account_close", args![account]).unwrap_err();
        assert!(!message(open).is_empty());
        assert!(proxy.call("account_balance", args![account]).is_err());
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        let info = proxy.debug_info();
        assert_eq!((info.divergences, info.retries), (0, 0));
    }
}

#[apply(every_engine)]
fn randomness_is_recorded_and_replay_gives_the_same(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let draw = || proxy.call("random_hex", args![]).unwrap().text().unwrap();
        let (one, other) = (draw(), draw());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
        // The standby's strings are compared with these by their hash.
        proxy.prepare_standby().unwrap();
        proxy.swap().unwrap();
        assert_ne!(draw(), other);
    }
}

#[apply(every_engine)]
fn an_import_that_no_host_serves_fails_with_its_name(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let failed = proxy.call("alert", args!["hello"]).unwrap_err();
        let mut text = failed.to_string();
        let mut source = std::error::Error::source(&failed);
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        assert!(text.contains("__wbg_alert_"), "{text}");
        // The proxy goes on, and so it does after a panic, whose message is printed.
        assert_eq!(proxy.call("add", args![1, 1]).unwrap().i32().unwrap(), 2);
        assert!(proxy.call("panic_with", args!["a panic"]).is_err());
        assert!(proxy.call("throw_text", args!["thrown"]).is_err());
        assert_eq!(proxy.call("add", args![1, 2]).unwrap().i32().unwrap(), 3);
    }
}

/// Asks a function that the host does not have, and one that it has.
const ASKING: &str = r#"(module
    (import "wbg" "__wbg_ask_0123456789abcdef" (func $ask (param i32) (result i32)))
    (import "wbg" "__wbindgen_is_undefined" (func $is_undefined (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $sum (mut i32) (i32.const 0))
    (func (export "add_answer") (param i32) (result i32)
        (global.set $sum (i32.add (global.get $sum) (call $ask (local.get 0))))
        (i32.add (i32.load (i32.const 64)) (call $is_undefined (i32.const 128))))
    (func (export "sum") (result i32) (global.get $sum)))"#;

#[apply(every_engine)]
fn a_function_that_the_user_gives_is_recorded_and_not_called_on_replay(engine: &EngineUnderTest) {
    let asked = Arc::new(AtomicI32::new(0));
    let mut imports = bindgen_host::system();
    let ty = FuncType::new(&[ValType::I32], &[ValType::I32]);
    let asking = Arc::clone(&asked);
    let name = "__wbg_ask_0123456789abcdef";
    imports.func("wbg", name, ty, move |caller, args, results| {
        let answer = asking.fetch_add(1, Ordering::Relaxed);
        caller.memory_write(MemoryIndex(0), 64, &(answer + 7).to_le_bytes())?;
        results[0] = Val::I32(answer + args[0].i32().unwrap());
        Ok(())
    });
    let policy = r#"
        [[export]]
        match = "add_answer"
        role = "mutate"
        [[export]]
        match = "sum"
        role = "pure"
    "#;
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    let proxy = Proxy::builder(host)
        .module(binary(ASKING))
        .policy(policy.parse().unwrap())
        .imports(imports)
        .build()
        .unwrap();
    let number =
        |name, args: &[proxy_core::Arg<'_>]| proxy.call(name, args).unwrap().i32().unwrap();
    assert_eq!(number("add_answer", args![100]), 8);
    assert_eq!(number("add_answer", args![100]), 9);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    proxy.prepare_standby().unwrap();
    proxy.swap().unwrap();
    assert_eq!(number("sum", args![]), 201);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    assert_eq!(proxy.debug_info().divergences, 0);
}

#[apply(every_engine)]
fn every_kind_of_value_is_made_and_recognised(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let proxy = hosted.proxied().build().unwrap();
        let described = |kind: &str| {
            let value = proxy.call("make", args![kind]).unwrap();
            let value = value.as_slice()[0].as_arg().unwrap();
            proxy.call("describe", &[value]).unwrap().text().unwrap()
        };
        for (kind, expected) in [
            ("undefined", "undefined"),
            ("null", "null"),
            ("true", "boolean true"),
            ("number", "number 1.5"),
            ("integer", "number 7"),
            ("string", "string \"text\""),
            ("bigint", "bigint"),
        ] {
            assert_eq!(described(kind), expected, "{}", hosted.abi);
        }
        for kind in ["bytes", "array", "object", "error", "function"] {
            let text = described(kind);
            assert!(!text.is_empty() && text != "undefined", "{kind}: {text}");
        }
    }
}

/// The host calls a closure of the guest. A module of the older ABI does not say which export calls
/// which closure. This one has several, and the host refuses to guess.
#[apply(every_engine)]
fn closures_are_called_where_the_module_says_how(engine: &EngineUnderTest) {
    for hosted in REALM.on(engine) {
        let mut instance = hosted.instantiate(&Limits::default()).unwrap();
        let info = Arc::clone(instance.info());
        let (_, function) = info.function("call_back").unwrap();
        if function.ty.results().is_empty() {
            let error = instance.invoke("call_back", &[Val::I32(64), Val::I32(3)]);
            let error = format!("{:?}", error.unwrap_err());
            assert!(error.contains("one is needed"), "{error}");
            continue;
        }
        let result = instance.invoke("call_back", &[Val::I32(4)]).unwrap();
        assert_eq!(result[2], Val::I32(0), "{result:?}");
        let described = instance.invoke("describe", &result[..1]);
        // The first result is the number of an object in the table; the value itself is in there.
        assert!(described.is_err());
        let table = instance.table_index("__wbindgen_externrefs").unwrap();
        let element = u64::from(result[0].i32().unwrap().cast_unsigned());
        let last = instance.table_get(table, element).unwrap();
        let text = instance.invoke("describe", &[last]).unwrap();
        let mut bytes = vec![0; usize::try_from(text[1].i32().unwrap()).unwrap()];
        let at = u64::from(text[0].i32().unwrap().cast_unsigned());
        let memory = instance.memory_index("memory").unwrap();
        instance.memory_read(memory, at, &mut bytes).unwrap();
        // 1 + 2 + 3 + 4, by a closure that remembers.
        assert_eq!(String::from_utf8(bytes).unwrap(), "number 10");
    }
}
