//! Calls by name and typed calls, and those that do not fit.

use engine_api::{Val, ValType};
use proxy_core::{CallError, Error, Handle, Policy, Proxy, Role, args};

use super::world::{World, add, counter, swap, value};
use crate::fake::{COUNTER_POLICY, Script, counter_proxy, number};

#[test]
fn the_example_of_the_documentation_works() {
    let proxy = counter_proxy().unwrap();
    let one = counter(&proxy);
    add(&proxy, one, 42);
    assert_eq!(value(&proxy, one), 42);
}

#[test]
fn wrong_arguments_are_refused_before_anything_runs() {
    let world = World::new().func(
        "pair_new",
        "(result i32)",
        "role = \"create\"\nresults = [\"handle:pair\"]",
        |guest, _| Ok(vec![Val::from(guest.alloc(8)?)]),
    );
    let (proxy, engine) = world.build();
    let one = counter(&proxy);
    let pair = proxy.call("pair_new", args![]).unwrap().handle().unwrap();
    let refused =
        |export: &str, args: &[proxy_core::Arg<'_>]| proxy.call(export, args).unwrap_err();
    assert!(matches!(
        refused("counter_add", args![one]),
        Error::Call(CallError::Argument { position: 1, .. })
    ));
    assert!(matches!(
        refused("counter_add", args![one, 1, 2]),
        Error::Call(CallError::Argument { position: 2, .. })
    ));
    assert!(matches!(
        refused("counter_add", args![one, 1_i64]),
        Error::Call(CallError::Argument { position: 1, .. })
    ));
    assert!(matches!(
        refused("counter_add", args![7, 1]),
        Error::Call(CallError::Argument { position: 0, .. })
    ));
    assert!(matches!(
        refused("counter_add", args!["text", 1]),
        Error::Call(CallError::Argument { .. })
    ));
    assert!(matches!(
        refused("counter_value", args![&[1_u8][..]]),
        Error::Call(CallError::Argument { .. })
    ));
    assert!(matches!(
        refused("counter_add", args![pair, 1]),
        Error::Call(CallError::HandleType { handle, .. }) if handle == pair
    ));
    assert!(matches!(
        refused("counter_frob", args![]),
        Error::Call(CallError::UnknownExport {
            similar: Some(_),
            ..
        })
    ));
    assert!(matches!(
        refused("memory", args![]),
        Error::Call(CallError::UnknownExport { .. })
    ));
    assert_eq!(proxy.debug_info().tainted, None);
    assert_eq!(
        (proxy.journal_digests().len(), engine.probe().made()),
        (2, 1)
    );
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn an_unlisted_export_is_journaled_and_warned_about_once() {
    let world = World::new().func("bump", "(result i64)", "", |guest, _| {
        Ok(vec![Val::from(guest.count("bumps"))])
    });
    let (proxy, _) = world.build();
    assert!(!proxy.export("bump").unwrap().listed);
    for bumps in 0..5 {
        assert_eq!(proxy.call("bump", args![]).unwrap().i64().unwrap(), bumps);
        swap(&proxy);
    }
    assert_eq!(world.events.count("unlisted-export"), 1);
}

#[test]
fn a_strict_policy_refuses_what_it_does_not_list() {
    let mut world = World::new().func("bump", "", "", |_, _| Ok(vec![]));
    world.policy.insert_str(0, "strict = true\n");
    let (proxy, _) = world.build();
    let error = proxy.call("bump", args![]).unwrap_err();
    assert!(matches!(error, Error::Call(CallError::NotInPolicy { export }) if export == "bump"));
    let typed = proxy.typed::<(), ()>("bump").unwrap().call(());
    assert!(matches!(
        typed,
        Err(Error::Call(CallError::NotInPolicy { .. }))
    ));
    counter(&proxy);
}

#[test]
fn a_typed_call_is_resolved_once_and_survives_swaps() {
    let world = World::new()
        .func(
            "half",
            "(param f64 i64) (result f64 i64)",
            "role = \"pure\"",
            |_, args| {
                let half = args[0].f64().expect("it takes an f64") / 2.0;
                Ok(vec![Val::from(half), args[1].clone()])
            },
        )
        .func(
            "shout",
            "(param i32 i32) (result i32 i32)",
            "role = \"pure\"\nargs = [\"string\"]\nresults = [\"string\"]",
            |guest, args| {
                let text = guest.read(
                    crate::fake::address(&args[0]),
                    crate::fake::address(&args[1]),
                )?;
                let loud = text.to_ascii_uppercase();
                let address = guest.alloc(u32::try_from(loud.len()).expect("it is short"))?;
                guest.write(address, &loud)?;
                Ok(vec![Val::from(address), args[1].clone()])
            },
        );
    let (proxy, _) = world.build();
    let new = proxy.typed::<(), Handle>("counter_new").unwrap();
    let add = proxy.typed::<(Handle, i32), ()>("counter_add").unwrap();
    let value = proxy.typed::<(Handle,), i32>("counter_value").unwrap();
    let half = proxy.typed::<(f64, u64), (f64, i64)>("half").unwrap();
    let shout = proxy.typed::<(String,), String>("shout").unwrap();
    let one = new.call(()).unwrap();
    for round in 1..=3 {
        add.call((one, 7)).unwrap();
        swap(&proxy);
        assert_eq!(value.call((one,)).unwrap(), 7 * round);
        assert_eq!(half.call((3.0, u64::MAX)).unwrap(), (1.5, -1));
        assert_eq!(shout.call(("hey".to_owned(),)).unwrap(), "HEY");
    }
}

#[test]
fn types_that_do_not_fit_are_refused_when_the_call_is_resolved() {
    let (proxy, _) = World::new().build();
    let refusals = [
        proxy.typed::<(), i32>("counter_new").map(drop),
        proxy.typed::<(i32,), i32>("counter_value").map(drop),
        proxy.typed::<(Handle,), i64>("counter_value").map(drop),
        proxy.typed::<(Handle,), ()>("counter_value").map(drop),
        proxy
            .typed::<(Handle,), (i32, i32)>("counter_value")
            .map(drop),
        proxy.typed::<(Handle,), ()>("counter_add").map(drop),
        proxy.typed::<(Handle, f32), ()>("counter_add").map(drop),
        proxy
            .typed::<(Handle, i32, i32), ()>("counter_add")
            .map(drop),
        proxy.typed::<(Vec<u8>, i32), ()>("counter_add").map(drop),
    ];
    for refusal in refusals {
        let error = refusal.unwrap_err();
        assert!(
            matches!(
                error,
                Error::Call(CallError::Argument { .. } | CallError::ResultKind { .. })
            ),
            "{error}"
        );
    }
    let unknown = proxy.typed::<(), ()>("nothing");
    assert!(matches!(
        unknown,
        Err(Error::Call(CallError::UnknownExport { .. }))
    ));
}

#[test]
fn every_type_of_number_crosses_unchanged() {
    let all = [
        Val::I32(-1),
        Val::I64(i64::MIN),
        Val::F32(0x7fc0_1234),
        Val::F64(0xfff8_0000_0000_beef),
        Val::V128(u128::MAX - 5),
    ];
    let world = World::new().func(
        "echo",
        "(param i32 i64 f32 f64 v128) (result i32 i64 f32 f64 v128)",
        "role = \"mutate\"",
        |_, args| Ok(args.to_vec()),
    );
    let (proxy, _) = world.build();
    let args = all.clone().map(proxy_core::Arg::from);
    let results = proxy.call("echo", &args).unwrap();
    assert_eq!(results.into_vec(), all.map(proxy_core::Value::Val));
    swap(&proxy);
}

#[test]
fn references_cross_in_pure_calls_only() {
    let echo = |_: &mut crate::fake::FakeInstance, args: &[Val]| Ok(args.to_vec());
    let world = World::new()
        .func(
            "echo",
            "(param externref) (result externref)",
            "role = \"pure\"",
            echo,
        )
        .func("keep", "(param externref) (result externref)", "", echo);
    let (proxy, _) = world.build();
    let reference = Val::ExternRef(Some(engine_api::ExternRef::new(7_u8)));
    let echoed = proxy.call("echo", args![reference.clone()]).unwrap();
    assert_eq!(
        echoed.as_slice(),
        [proxy_core::Value::Val(reference.clone())]
    );
    let error = proxy.call("keep", args![reference]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::Argument { position: 0, .. })),
        "{error}"
    );
    proxy.call("keep", args![Val::ExternRef(None)]).unwrap();
    assert_eq!(proxy.journal_digests().len(), 1);
    swap(&proxy);
}

#[test]
fn a_journaled_call_that_returns_a_reference_costs_the_generation() {
    let world = World::new().func("give", "(result externref)", "", |guest, _| {
        guest.counters.insert("given", 1);
        Ok(vec![Val::ExternRef(Some(engine_api::ExternRef::new(7_u8)))])
    });
    let (proxy, _) = world.build();
    let one = counter(&proxy);
    let error = proxy.call("give", args![]).unwrap_err();
    assert!(
        matches!(error, Error::Call(CallError::GuestData { .. })),
        "it cannot be recorded: {error}"
    );
    swap(&proxy);
    assert_eq!(value(&proxy, one), 0);
}

#[test]
fn the_policy_and_the_module_describe_an_export_together() {
    let (proxy, _) = World::new().build();
    let export = proxy.export("counter_add").unwrap();
    assert_eq!(export.role, Role::Mutate);
    assert_eq!(export.ty.params(), [ValType::I32, ValType::I32]);
    assert!(export.listed);
    assert!(matches!(
        proxy.export("nothing"),
        Err(CallError::UnknownExport { .. })
    ));
}

#[test]
fn a_policy_that_does_not_fit_the_module_fails_the_build() {
    for (policy, needle) in [
        ("[[export]]\nmatch = \"gone\"\nrole = \"pure\"\n", "`gone`"),
        (
            "[[export]]\nmatch = \"counter_value\"\nrole = \"create\"\n",
            "no result is a handle",
        ),
        (
            "[module]\nmemory_usage_export = \"counter_value\"\n",
            "number of MiB",
        ),
    ] {
        let policy: Policy = policy.parse().unwrap();
        let script = Script::counter();
        let engine = script.engine();
        let builder = Proxy::builder(engine.clone())
            .module(script.wasm())
            .policy(policy);
        let error = builder.build().unwrap_err();
        assert!(error.to_string().contains(needle), "{error}");
        assert_eq!(engine.probe().made(), 0);
    }
}

#[test]
fn bytes_that_are_no_module_fail_the_build() {
    let wasm = Script::counter().wasm();
    for bytes in [&b""[..], b"(module)", &wasm[..wasm.len() / 2]] {
        let error = Proxy::builder(Script::counter().engine())
            .module(bytes)
            .build();
        assert!(matches!(error, Err(Error::Engine(_))));
    }
    let started_too_large = {
        let mut world = World::new().pages(2);
        world.script = world.script.memory(3, None);
        world.builder(&world.script.engine()).build()
    };
    assert!(matches!(started_too_large, Err(Error::Engine(_))));
}

#[test]
fn without_a_policy_every_call_is_journaled() {
    let script = Script::new().func("step", "(param i32) (result i32)", |guest, args| {
        *guest.counters.entry("sum").or_default() += i64::from(number(&args[0]));
        Ok(vec![Val::from(
            i32::try_from(guest.counters["sum"]).expect("it is small"),
        )])
    });
    let proxy = Proxy::builder(script.engine())
        .module(script.wasm())
        .build()
        .unwrap();
    for round in 1..=4 {
        let sum = proxy.call("step", args![10]).unwrap().i32().unwrap();
        assert_eq!(sum, round * 10);
        swap(&proxy);
    }
    assert_eq!(proxy.journal_digests().len(), 4);
    assert_eq!(proxy.calls(), 4);
    assert!(!COUNTER_POLICY.contains("step"));
}
