//! Imports that are not JavaScript's, in modules that wasm-bindgen made.

use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use conformance::prelude::*;

/// Beside its neighbours of wasm-bindgen, each of these is treated as in any other module.
#[apply(every_engine)]
fn wasi_and_globals_are_missing_beside_javascript_too(engine: &EngineUnderTest) {
    let javascript = r#"(import "./a_bg.js" "__wbindgen_throw" (func (param i32 i32)))
                        (import "./a_bg.js" "__wbg_paint_0123456789abcdef" (func (param i32)))"#;
    let wasi = r#"(import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))"#;
    let global = r#"(import "env" "base" (global i32))"#;
    let host = BindgenHost::new(Arc::clone(engine.shared()), Options::default());
    let outcome = |imports: &[&str]| {
        let text = format!(
            "(module {} (memory (export \"memory\") 1))",
            imports.concat()
        );
        let wasm = wat::parse_str(text).unwrap();
        let module = host.compile(&wasm).unwrap();
        module.instantiate(&bindgen_host::system(), &Limits::default())
    };
    // What nobody serves of JavaScript is a stub.
    outcome(&[javascript]).unwrap();
    for (import, named) in [(wasi, "fd_close"), (global, "base")] {
        let hosted = refused(outcome(&[javascript, import])).to_string();
        let plain = refused(outcome(&[import])).to_string();
        assert!(hosted.contains(named), "{hosted}");
        assert_eq!(hosted, plain);
    }
}
