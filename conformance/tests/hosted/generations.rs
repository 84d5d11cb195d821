//! Modules of every generation of wasm-bindgen: a small one for each thing in which they differ.

use std::sync::Arc;

use bindgen_host::{BindgenHost, GivenCast, Options, served, served_in, undescribed};
use conformance::prelude::*;
use proxy_core::{Policy, Proxy, args};

fn proxy(engine: &EngineUnderTest, text: &str, policy: &str) -> Proxy {
    let host: Arc<dyn Engine> = Arc::new(BindgenHost::new(
        Arc::clone(engine.remembering()),
        Options::default(),
    ));
    let policy: Policy = policy.parse().unwrap_or_else(|error| panic!("{error}"));
    Proxy::builder(host)
        .module(wat::parse_str(text).unwrap())
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

#[apply(every_engine)]
fn the_constants_are_where_each_release_has_them(engine: &EngineUnderTest) {
    let of_32 = include_str!("generations/slots_32.wat");
    let of_128 = include_str!("generations/slots_128.wat");
    let of_1024 = of_32.replace("i32.const 32 call", "i32.const 1024 call");
    for (release, text) in [("0.2.50", of_32), ("0.2.92", of_128), ("0.2.130", &of_1024)] {
        let with_producers = text.replacen(
            "(module",
            &format!(r#"(module (@producers (processed-by "wasm-bindgen" "{release}"))"#),
            1,
        );
        for text in [text, &with_producers] {
            let asked = proxy(engine, text, "").call("ask", args![]).unwrap();
            assert_eq!(asked.i32().unwrap(), 1, "{release}");
        }
    }
}

#[apply(every_engine)]
fn a_pool_that_starts_takes_its_objects_from_the_guest(engine: &EngineUnderTest) {
    let proxy = proxy(engine, include_str!("generations/slots_pool.wat"), "");
    let next = || proxy.call("next", args![]).unwrap().i32().unwrap();
    let first = next();
    for _ in 0..100 {
        assert!(next() <= first, "no slot is new");
    }
}

#[apply(every_engine)]
fn an_array_of_floats_is_one_though_its_imports_are_named_as_those_of_bytes(
    engine: &EngineUnderTest,
) {
    let text = include_str!("generations/float_array.wat");
    let second = proxy(engine, text, "").call("second", args![]).unwrap();
    assert_eq!(second.f32().unwrap().to_bits(), 2.5_f32.to_bits());
}

/// The same module with a hash that js-sys never had: which class it makes cannot be known, and a
/// guess could be wrong in silence.
#[apply(every_engine)]
fn an_array_of_an_unknown_class_is_refused(engine: &EngineUnderTest) {
    let text = include_str!("generations/float_array.wat");
    let text = text.replace("41e2764a343e3cb1", "0123456789abcdef");
    let error = proxy(engine, &text, "")
        .call("second", args![])
        .unwrap_err();
    let shown = shown(&error);
    assert!(
        shown.contains("__wbg_new_from_slice_0123456789abcdef"),
        "{shown}"
    );
    let info = module_bytes::parse(&wat::parse_str(&text).unwrap()).unwrap();
    let coverage = served(&info).unwrap();
    assert_eq!((coverage.served, coverage.stubs.len()), (2, 1));
}

#[apply(every_engine)]
fn the_first_releases_of_getrandom_find_the_source_of_randomness(engine: &EngineUnderTest) {
    let text = include_str!("generations/getrandom_0_1.wat");
    let found = proxy(engine, text, "").call("has_crypto", args![]).unwrap();
    assert_eq!(found.i32().unwrap(), 1);
}

#[apply(every_engine)]
fn a_table_of_externrefs_without_numbers_serves(engine: &EngineUnderTest) {
    if !engine.capabilities().externref {
        return;
    }
    let text = include_str!("generations/externref_no_alloc.wat");
    let made = proxy(engine, text, "").call("f", args![]).unwrap();
    assert_eq!(made.i32().unwrap(), 1);
}

#[apply(every_engine)]
fn intrinsics_without_underscores_are_served(engine: &EngineUnderTest) {
    let text = include_str!("generations/name_0_2_103.wat");
    let proxy = proxy(engine, text, "");
    assert_eq!(proxy.call("ask", args![]).unwrap().i32().unwrap(), 1);
    let error = proxy.call("throw", args![]).unwrap_err();
    let shown = shown(&error);
    assert!(shown.contains("null pointer passed to rust"), "{shown}");
}

#[apply(every_engine)]
fn an_allocator_without_its_names_gives_and_takes_text(engine: &EngineUnderTest) {
    let text = include_str!("generations/export_n.wat");
    let policy = r#"
        [[export]]
        match = "len"
        role = "pure"
        args = ["string"]
    "#;
    let proxy = proxy(engine, text, policy);
    assert_eq!(proxy.call("through_js", args![]).unwrap().i32().unwrap(), 5);
    assert_eq!(proxy.call("len", args!["four"]).unwrap().i32().unwrap(), 4);
}

/// A module of the younger ABI that makes a text and calls a conversion.
const CASTING: &str = r#"(module
    (import "wbg" "__wbindgen_cast_0000000000000001" (func $cast (param i32 i32) (result externref)))
    (import "wbg" "__wbg___wbindgen_is_string_1fca8072260dd261" (func $is_text (param externref) (result i32)))
    (memory (export "memory") 1)
    (func (export "is_text") (result i32) (call $is_text (call $cast (i32.const 64) (i32.const 2)))))"#;

#[apply(every_engine)]
fn a_conversion_is_served_where_the_module_has_names_and_else_refused_in_words(
    engine: &EngineUnderTest,
) {
    if !engine.capabilities().externref {
        return;
    }
    let error = proxy(engine, CASTING, "")
        .call("is_text", args![])
        .unwrap_err();
    let shown = shown(&error);
    assert!(shown.contains("what this import converts"), "{shown}");
    let wasm = wat::parse_str(CASTING).unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let coverage = served_in(&info, &wasm, &Options::default()).unwrap();
    let coverage = coverage.unwrap();
    assert_eq!((coverage.served, coverage.stubs.len()), (1, 1));

    let named = CASTING.replace(
        "$cast (param",
        r#"$cast (@name "Ref(String) -> Externref") (param"#,
    );
    let made = proxy(engine, &named, "").call("is_text", args![]).unwrap();
    assert_eq!(made.i32().unwrap(), 1);
    let wasm = wat::parse_str(&named).unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let coverage = served_in(&info, &wasm, &Options::default()).unwrap();
    assert_eq!(coverage.unwrap().served, 2);
}

#[apply(every_engine)]
fn a_conversion_of_a_module_without_names_is_served_as_it_was_given(engine: &EngineUnderTest) {
    if !engine.capabilities().externref {
        return;
    }
    let wasm = wat::parse_str(CASTING).unwrap();
    let info = module_bytes::parse(&wasm).unwrap();
    let build = |from: &str| {
        let mut options = Options::default();
        options.casts = undescribed(&info, &wasm)
            .into_iter()
            .map(|import| GivenCast::new(import, from))
            .collect();
        let host: Arc<dyn Engine> =
            Arc::new(BindgenHost::new(Arc::clone(engine.remembering()), options));
        Proxy::builder(host)
            .module(wasm.clone())
            .imports(bindgen_host::system())
            .build()
    };
    let proxy = build("Ref(String)").unwrap_or_else(|error| panic!("{error}"));
    let made = proxy.call("is_text", args![]).unwrap();
    assert_eq!(made.i32().unwrap(), 1);
    // What does not fit is refused before the module is compiled.
    let error = shown(&build("U64").unwrap_err());
    assert!(error.contains("converts no `U64`"), "{error}");
}
