//! Whatever a module imports, and with whatever type, the host never panics.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use bindgen_host::{BindgenHost, Options};
use conformance::prelude::*;
use engine_api::{Engine, Error, Limits, Val};

/// The base names that the host knows, and some that it does not.
const NAMES: &str = "object_drop_ref object_clone_ref memory string_new number_new bigint_from_i64 \
    bigint_from_u64 number_get string_get bigint_get_as_i64 boolean_get debug_string throw rethrow \
    error_new Error is_undefined is_null is_string is_bigint is_object is_function is_symbol is_falsy \
    is_array jsval_eq jsval_loose_eq typeof as_number json_serialize json_parse in new new0 from of push \
    pop unshift concat slice join reverse includes length forEach get set has delete deleteProperty \
    defineProperty ownKeys getwithrefkey get_index getindex set_index setindex assign freeze keys values \
    entries iterator asyncIterator for next done value size add clear getTime valueOf now String \
    stringify parse buffer new_from_slice newwithlength newwithbyteoffset \
    newwithbyteoffsetandlength subarray byteLength byteOffset copy_to_typed_array prototypesetcall fill \
    instanceof_Uint8Array instanceof_Float32Array instanceof_Map instanceof_Error instanceof_Memory \
    isArray isSafeInteger stack message name toString self window require process crypto \
    static_accessor_SELF getRandomValues randomFillSync log error warn debug mark measure call apply \
    newnoargs cb_drop _wbg_cb_unref closure_wrapper12 cast_0000000000000001 generic_0 class_new \
    class_unwrap Number fromCodePoint get_unchecked startWorkers terminateWorkers nobody_knows_this";

/// Names whose hash says what they are.
const HASHED: [&str; 12] = [
    "__wbg_new_16b304a2cfa7ff4a",
    "__wbg_new_63b92bc8671ed464",
    "__wbg_new_cf3ec55744a78578",
    "__wbg_new_d9bc3a0147634640",
    "__wbg_new_from_slice_41e2764a343e3cb1",
    "__wbg_newwithlength_e9b4878cebadb3d3",
    "__wbg_newwithbyteoffsetandlength_aa4a17c33a06e5cb",
    "__wbg_set_8417257aaedc936b",
    "__wbg_set_1f9b04f170055d33",
    "__wbg_set_a47bac70306a19a7",
    "__wbg_get_bd8e338fbd5f5cc8",
    "__wbg_values_9c75e6e2bfbdb70d",
];

/// How many imports are tried on each engine.
const TRIED: usize = 600;

/// Numbers of a sequence that a seed begins (Knuth's constants for 64 bits).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// A module that calls each of its imports in an export of its own, and where its constants are.
fn module(seed: u64, references: bool) -> String {
    let names: Vec<String> = NAMES
        .split_whitespace()
        .flat_map(|name| {
            [
                format!("__wbindgen_{name}"),
                format!("__wbg_{name}_0123456789abcdef"),
            ]
        })
        .chain(HASHED.map(str::to_owned))
        .collect();
    let types = ["i32", "i32", "f64", "i64", "f32", "externref"];
    let known = if references {
        types.len()
    } else {
        types.len() - 1
    };
    // A slot of an object, a constant, a small number, an address, and one outside of everything.
    let numbers = ["132", "128", "129", "0", "1", "1028", "2048", "-1"];
    let mut random = Numbers(seed);
    let (mut imports, mut exports) = (String::new(), String::new());
    let mut used = HashSet::new();
    for at in 0..TRIED {
        let name = &names[random.below(names.len())];
        // A stub has one type.
        if !used.insert(name) {
            continue;
        }
        let params: Vec<&str> = (0..random.below(5))
            .map(|_| types[random.below(known)])
            .collect();
        let result = match random.below(3) {
            0 => None,
            _ => Some(types[random.below(known)]),
        };
        let result_of = result.map_or(String::new(), |ty| format!("(result {ty})"));
        writeln!(
            imports,
            r#"(import "wbg" "{name}" (func $f{at} (param {}) {result_of}))"#,
            params.join(" ")
        )
        .unwrap();
        let args: String = params
            .iter()
            .map(|ty| match *ty {
                "externref" => "(ref.null extern)".to_owned(),
                ty => format!("({ty}.const {})", numbers[random.below(numbers.len())]),
            })
            .collect();
        let dropped = if result.is_some() { "drop" } else { "" };
        writeln!(
            exports,
            r#"(func (export "call{at}") (call $f{at} {args}) {dropped})"#
        )
        .unwrap();
    }
    format!(
        r#"(module {imports}
            (memory (export "memory") 1)
            (func (export "__wbindgen_malloc") (param i32 i32) (result i32) i32.const 4096)
            (func (export "__wbindgen_free") (param i32 i32 i32))
            (func (export "__wbindgen_exn_store") (param i32))
            {exports})"#
    )
}

#[apply(every_engine)]
fn no_import_of_any_type_makes_the_host_panic(engine: &EngineUnderTest) {
    let host = BindgenHost::new(Arc::clone(engine.remembering()), Options::default());
    for seed in 1..=6 {
        for references in [false, true] {
            if references && !engine.capabilities().externref {
                continue;
            }
            let wasm = wat::parse_str(module(seed, references)).unwrap();
            let module = host.compile(&wasm).unwrap();
            let mut instance = module
                .instantiate(&bindgen_host::system(), &Limits::default())
                .unwrap();
            for at in 0..TRIED {
                let Ok((func, _)) = module.info().function(&format!("call{at}")) else {
                    continue;
                };
                let outcome = instance.call(func, &[] as &[Val], &mut []);
                if let Err(error @ Error::HostPanicked { .. }) = outcome {
                    panic!("seed {seed}, call {at}: {error}");
                }
            }
        }
    }
}
