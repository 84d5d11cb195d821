//! The rows of docs/toolchains.md: one list of words, built by several compilers.

use conformance::prelude::*;
use proxy_core::{Proxy, Value, args};

const POLICY: &str = include_str!("../../../guests/policies/words.toml");

/// Every module begins with at most 256 pages.
const MEMORY_BYTES_MAX: u64 = 40 << 20;

macro_rules! built {
    ($name:literal) => {
        include_bytes!(concat!(
            "../../../guests/prebuilt/toolchains/",
            $name,
            ".wasm"
        ))
    };
}

fn proxy(engine: &EngineUnderTest, wasm: &[u8]) -> Proxy {
    let info = module_bytes::parse(wasm).unwrap();
    let mut imports = Imports::new();
    emscripten::add_to(&mut imports, &info, None);
    // What a C library imports for files that this guest does not open.
    imports.stub_missing_where(&info, |import| import.module.starts_with("wasi_"));
    let limits = Limits {
        memory_bytes_max: Some(MEMORY_BYTES_MAX),
        ..Limits::default()
    };
    engine
        .proxied(wasm, POLICY)
        .imports(imports)
        .limits(limits)
        .build()
        .unwrap()
}

/// Adds three words, and asks for them on several generations while every call leaks.
fn remembers_its_words(engine: &EngineUnderTest, wasm: &[u8]) {
    let proxy = proxy(engine, wasm);
    let longest = || proxy.call("words_longest", args![]).unwrap();
    assert_eq!(longest().as_slice(), [Value::Null]);
    for (count, word) in (1..).zip(["the", "longest", "wörd"]) {
        let added = proxy.call("words_add", args![word]).unwrap();
        assert_eq!(added.i32().unwrap(), count);
    }
    for _ in 0..60 {
        let joined = proxy.call("words_joined", args![]).unwrap();
        assert_eq!(joined.text().unwrap(), "wörd longest the");
        assert_eq!(longest().text().unwrap(), "longest");
        let mean = proxy.call("words_mean", args![]).unwrap();
        let expected = [Value::Val(Val::I32(0)), Value::Val(Val::from(5.0_f64))];
        assert_eq!(mean.as_slice(), expected);
        assert_eq!(proxy.call("leak", args![1024]).unwrap().i32().unwrap(), 0);
    }
    let info = proxy.debug_info();
    assert_eq!(info.divergences, 0);
    // 60 MiB were lost in 40 MiB.
    assert!(info.generation > 1, "{info:?}");
}

#[apply(every_engine)]
fn a_reactor_of_clang_and_wasi_libc_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("clang_wasi"));
}

#[apply(every_engine)]
fn a_module_of_zig_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("zig"));
}

#[apply(every_engine)]
fn a_reactor_of_zig_cc_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("zig_cc"));
}

#[apply(every_engine)]
fn a_module_of_assemblyscript_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("assemblyscript"));
}

#[apply(every_engine)]
fn a_standalone_module_of_emscripten_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("emscripten_standalone"));
}

#[apply(every_engine)]
fn a_module_of_emscripten_with_glue_remembers_its_words(engine: &EngineUnderTest) {
    remembers_its_words(engine, built!("emscripten_glue"));
}

/// AssemblyScript says with UTF-16 texts why it aborts.
#[apply(every_engine)]
fn a_module_of_assemblyscript_says_why_it_aborts(engine: &EngineUnderTest) {
    let policy = "[[export]]\nmatch = \"words_add\"\nrole = \"pure\"";
    let wasm = built!("assemblyscript");
    let mut imports = Imports::new();
    let info = module_bytes::parse(wasm).unwrap();
    emscripten::add_to(&mut imports, &info, None);
    let builder = engine.proxied(wasm, policy).imports(imports);
    let error = builder.build().unwrap().call("words_add", args![0]);
    let error = error.unwrap_err();
    let mut causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| {
        error.source()
    });
    let said = causes.any(|error| {
        error
            .to_string()
            .starts_with("the guest aborted: no text, at ")
    });
    assert!(said, "{error:?}");
}
