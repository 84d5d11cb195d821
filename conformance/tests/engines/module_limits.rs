//! A module is measured before a compiler gets it.

use conformance::prelude::*;
use engine_api::ModuleLimits;

const MODULE: &str = r#"(module
    (import "env" "a" (func)) (import "env" "b" (global i32)) (import "env" "c" (memory 1))
    (func (export "f") (result i32)
        (i32.add (i32.add (i32.const 1) (i32.const 2)) (i32.const 3)))
    (func (export "g"))
    (func))"#;

/// What the module has, each as limits that it just fits, and as limits that it just does not.
fn limits(wasm: &[u8]) -> Vec<(&'static str, ModuleLimits, ModuleLimits)> {
    let none = ModuleLimits::none();
    let bytes = wasm.len() as u64;
    let bytes_max = |bytes_max| ModuleLimits { bytes_max, ..none };
    let functions_max = |functions_max| ModuleLimits {
        functions_max,
        ..none
    };
    let function_bytes_max = |function_bytes_max| ModuleLimits {
        function_bytes_max,
        ..none
    };
    let imports_max = |imports_max| ModuleLimits {
        imports_max,
        ..none
    };
    let exports_max = |exports_max| ModuleLimits {
        exports_max,
        ..none
    };
    vec![
        ("bytes", bytes_max(bytes), bytes_max(bytes - 1)),
        ("functions", functions_max(3), functions_max(2)),
        // No locals, five instructions of nine bytes, and the end.
        (
            "bytes in one function",
            function_bytes_max(10),
            function_bytes_max(9),
        ),
        ("imports", imports_max(3), imports_max(2)),
        ("exports", exports_max(2), exports_max(1)),
    ]
}

#[apply(every_engine)]
fn a_module_above_a_limit_is_refused_and_one_at_it_is_not(engine: &EngineUnderTest) {
    let wasm = binary(MODULE);
    let within = |module| {
        let config = EngineConfig {
            module,
            ..EngineConfig::default()
        };
        engine.with_config(&config).unwrap()
    };
    for (named, fits, exceeds) in limits(&wasm) {
        let compiled = within(fits).compile(&wasm).unwrap();
        let strict = within(exceeds);
        let precompiled = compiled.precompiled().unwrap();
        for outcome in [strict.compile(&wasm), strict.load(&wasm, &precompiled)] {
            let error = refused(outcome);
            let Error::ModuleLimit { what, found, limit } = error else {
                panic!("{named}: {error:?}");
            };
            assert_eq!((what, found), (named, limit + 1));
        }
    }
}
