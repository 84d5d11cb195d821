//! Drafts by glue, and by names that only fit one type.

use std::fmt::Write;
use std::sync::Arc;

use glue::Glue;
use guest_calls::{Policy, Role};

use super::{Certainty, Draft, Drafted};

/// A module of wasm-bindgen's with these exports.
fn module(exports: &[(&str, &str)]) -> engine_api::ModuleInfo {
    let mut functions = String::new();
    let services = [
        ("__wbindgen_malloc", "(param i32 i32) (result i32)"),
        ("__wbindgen_free", "(param i32 i32 i32)"),
        (
            "__wbindgen_add_to_stack_pointer",
            "(param i32) (result i32)",
        ),
    ];
    for (name, ty) in exports.iter().chain(&services) {
        let _ = write!(functions, "(func (export \"{name}\") {ty} unreachable)");
    }
    let wasm = wat::parse_str(format!("(module {functions})")).unwrap();
    module_bytes::parse(&wasm).unwrap()
}

fn of<'a>(draft: &'a Draft, name: &str) -> &'a Drafted {
    let found = draft.exports.iter().find(|export| export.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

/// The kinds as the file writes them.
fn kinds(drafted: &Drafted) -> (String, String) {
    let args = drafted.args.iter().flatten().map(ToString::to_string);
    let results = drafted.results.iter().flatten().map(ToString::to_string);
    let args: Vec<String> = args.collect();
    let results: Vec<String> = results.collect();
    (args.join(" "), results.join(" "))
}

fn read(toml: &str) -> Policy {
    toml.parse()
        .unwrap_or_else(|error| panic!("{error}\n{toml}"))
}

/// The draft and its file fit the module.
fn bind(draft: &Draft, info: &engine_api::ModuleInfo) {
    use guest_calls::policy::plan::Plan;
    // The host shows what is behind an error.
    let info = bindgen_host::hosted_info(&Arc::new(info.clone()));
    Plan::bind(&draft.policy(), &info).unwrap();
    let toml = draft.to_toml("the module");
    Plan::bind(&read(&toml), &info).unwrap_or_else(|error| panic!("{error}\n{toml}"));
}

const STORE: &str = "
class Store {
    free() { const ptr = this.__destroy_into_raw(); wasm.__wbg_store_free(ptr, 0); }
    /**
     * @param {Uint8Array} data
     */
    constructor(data) {
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            const ptr0 = passArray8ToWasm0(data, wasm.__wbindgen_malloc);
            const len0 = WASM_VECTOR_LEN;
            wasm.store_new(retptr, ptr0, len0);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            var r2 = getInt32Memory0()[retptr / 4 + 2];
            if (r2) { throw takeObject(r1); }
            this.__wbg_ptr = r0 >>> 0;
            return this;
        } finally { wasm.__wbindgen_add_to_stack_pointer(16); }
    }
    put(key, value) {
        const ptr0 = passStringToWasm0(key, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        wasm.store_put(this.__wbg_ptr, ptr0, len0, value);
    }
    getText() {
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.store_text(retptr, this.__wbg_ptr);
            var r0 = getInt32Memory0()[retptr / 4 + 0];
            var r1 = getInt32Memory0()[retptr / 4 + 1];
            return getStringFromWasm0(r0, r1);
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
            wasm.__wbindgen_free(r0, r1, 1);
        }
    }
    merge(view) {
        _assertClass(view, View);
        var ptr0 = view.__destroy_into_raw();
        wasm.store_merge(this.__wbg_ptr, ptr0);
    }
    /** @returns {Promise<void>} */
    later() { const ret = wasm.store_later(this.__wbg_ptr); return takeObject(ret); }
    all() {
        const ret = wasm.store_all(this.__wbg_ptr);
        var v0 = getArrayJsValueFromWasm0(ret[0], ret[1]).slice();
        wasm.__wbindgen_free(ret[0], ret[1] * 4, 4);
        return v0;
    }
}
class Counter { add(n) { const ret = wasm.counter_add(this.__wbg_ptr, n); return ret; } }
";

const EXPORTS: &[(&str, &str)] = &[
    ("__wbg_store_free", "(param i32 i32)"),
    ("store_new", "(param i32 i32 i32)"),
    ("store_put", "(param i32 i32 i32 f64)"),
    ("store_text", "(param i32 i32)"),
    ("store_merge", "(param i32 i32)"),
    ("store_later", "(param i32) (result i32)"),
    ("store_all", "(param i32) (result i32 i32)"),
    ("counter_add", "(param i32 i32) (result i32)"),
];

#[test]
fn glue_says_what_arguments_and_results_are() {
    let info = module(EXPORTS);
    let draft = Draft::with_glue(&info, Some(&Glue::read(STORE).unwrap())).unwrap();
    let new = of(&draft, "store_new");
    assert_eq!((new.role, new.certainty), (Role::Create, Certainty::Sure));
    assert_eq!(
        kinds(new),
        ("bytes:moved".into(), "handle:Store error".into())
    );
    let free = of(&draft, "__wbg_store_free");
    assert_eq!(
        (free.role, kinds(free).0),
        (Role::Free, "handle:Store zero".into())
    );
    let text = of(&draft, "store_text");
    assert_eq!((text.role, text.certainty), (Role::Pure, Certainty::Likely));
    assert_eq!(kinds(text), ("handle:Store".into(), "string".into()));
    let merge = of(&draft, "store_merge");
    assert_eq!((merge.role, &merge.consumes[..]), (Role::Mutate, &[1][..]));
    let later = of(&draft, "store_later");
    assert!(
        !later.listed && later.reason.contains("promise"),
        "{later:?}"
    );
    let all = of(&draft, "store_all");
    assert_eq!(kinds(all), ("handle:Store".into(), "js:list".into()));
    assert!(of(&draft, "__wbindgen_malloc").is_service);
    let toml = draft.to_toml("store.wasm");
    assert!(toml.contains("# Store: 7 exports"), "{toml}");
    assert!(toml.contains("constructor(data: Uint8Array)"), "{toml}");
    assert_eq!(read(&toml).exports.len(), draft.policy().exports.len());
    bind(&draft, &info);
}

#[test]
fn a_method_changes_its_object_alone_if_that_shares_nothing() {
    let info = module(EXPORTS);
    let draft = Draft::with_glue(&info, Some(&Glue::read(STORE).unwrap())).unwrap();
    let add = of(&draft, "counter_add");
    assert_eq!(
        (add.mutates.as_deref(), add.certainty),
        (Some(&[0][..]), Certainty::Likely)
    );
    // A store takes in views, and can have parts of them afterwards.
    let put = of(&draft, "store_put");
    assert_eq!(
        (put.mutates.as_deref(), put.certainty),
        (None, Certainty::Safe)
    );
}

#[test]
fn an_export_of_two_classes_takes_objects_of_both() {
    let folded = "class A { len() { const ret = wasm.a_len(this.__wbg_ptr); return ret; } }
        class B { len() { const ret = wasm.a_len(this.__wbg_ptr); return ret; } }";
    let info = module(&[("a_len", "(param i32) (result i32)")]);
    let draft = Draft::with_glue(&info, Some(&Glue::read(folded).unwrap())).unwrap();
    assert_eq!(kinds(of(&draft, "a_len")).0, "handle");
}

#[test]
fn numbers_for_nothing_are_drafted_with_what_glue_makes_of_the_others() {
    let glue = "
        export function search(a, b, c, d, e) {
            const ret = wasm.search(isLikeNone(a) ? 0x100000001 : (a) >>> 0,
                isLikeNone(b) ? 0x100000001 : (b) >> 0,
                isLikeNone(c) ? 0x100000001 : Math.fround(c),
                isLikeNone(d) ? Number.MAX_SAFE_INTEGER : (d) >>> 0,
                isLikeNone(e) ? 0xFFFFFF : e ? 1 : 0);
            return ret === Number.MAX_SAFE_INTEGER ? undefined : ret;
        }
        export function truth() {
            const ret = wasm.truth();
            return ret === 0xFFFFFF ? undefined : ret !== 0;
        }
        export function limit() {
            const ret = wasm.limit();
            return ret[0] === 0 ? undefined : ret[1];
        }
        export function time() {
            try {
                const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
                wasm.time(retptr);
                var r0 = getDataViewMemory0().getInt32(retptr + 4 * 0, true);
                var r2 = getDataViewMemory0().getFloat64(retptr + 8 * 1, true);
                return r0 === 0 ? undefined : r2;
            } finally {
                wasm.__wbindgen_add_to_stack_pointer(16);
            }
        }
        class A { get mode() { const ret = wasm.mode(this.__wbg_ptr); return ret === 3 ? undefined : ret; } }
        class B { get mode() { const ret = wasm.mode(this.__wbg_ptr); return ret === 5 ? undefined : ret; } }";
    let info = module(&[
        ("search", "(param f64 f64 f64 f64 i32) (result f64)"),
        ("truth", "(result i32)"),
        ("limit", "(result i32 f64)"),
        ("time", "(param i32)"),
        ("mode", "(param i32) (result i32)"),
    ]);
    let draft = Draft::with_glue(&info, Some(&Glue::read(glue).unwrap())).unwrap();
    let search = kinds(of(&draft, "search"));
    let args = "value:null:4294967297:u32 value:null:4294967297:i32 value:null:4294967297:f32 \
                value:null:9007199254740991:u32 value:null:16777215";
    assert_eq!(search, (args.into(), "value:null:9007199254740991".into()));
    assert_eq!(kinds(of(&draft, "truth")).1, "value:null:16777215");
    assert_eq!(kinds(of(&draft, "limit")).1, "optional:value");
    assert_eq!(kinds(of(&draft, "time")).1, "optional:value:f64");
    // Two exports in one, with two numbers for nothing.
    assert_eq!(kinds(of(&draft, "mode")).1, "");
    bind(&draft, &info);
}

#[test]
fn a_slice_that_the_guest_writes_into_is_left_out() {
    let glue = "
        export function older(out) {
            var ptr0 = passArray8ToWasm0(out, wasm.__wbindgen_malloc);
            var len0 = WASM_VECTOR_LEN;
            wasm.older(ptr0, len0, addHeapObject(out));
        }
        export function younger(out) {
            var ptr0 = passArray8ToWasm0(out, wasm.__wbindgen_malloc);
            var len0 = WASM_VECTOR_LEN;
            wasm.younger(ptr0, len0, out);
        }
        export function oldest(out) {
            try {
                var ptr0 = passArray8ToWasm0(out, wasm.__wbindgen_malloc);
                var len0 = WASM_VECTOR_LEN;
                wasm.oldest(ptr0, len0);
            } finally {
                out.set(getUint8Memory0().subarray(ptr0 / 1, ptr0 / 1 + len0));
                wasm.__wbindgen_free(ptr0, len0 * 1);
            }
        }
        export function two(bytes, value) {
            const ptr0 = passArray8ToWasm0(bytes, wasm.__wbindgen_malloc);
            const len0 = WASM_VECTOR_LEN;
            wasm.two(ptr0, len0, addHeapObject(value));
        }";
    let info = module(&[
        ("oldest", "(param i32 i32)"),
        ("older", "(param i32 i32 i32)"),
        ("younger", "(param i32 i32 externref)"),
        ("two", "(param i32 i32 i32)"),
    ]);
    let draft = Draft::with_glue(&info, Some(&Glue::read(glue).unwrap())).unwrap();
    for name in ["oldest", "older", "younger"] {
        let left_out = of(&draft, name);
        assert!(!left_out.listed, "{name}");
        let reason = &left_out.reason;
        assert!(reason.contains("the guest writes into"), "{reason}");
    }
    assert_eq!(kinds(of(&draft, "two")).0, "bytes:moved js");
}

#[test]
fn glue_of_another_module_is_refused() {
    let info = module(&[
        ("other", ""),
        ("counter_add", "(param i32 i32) (result i32)"),
    ]);
    let error = Draft::with_glue(&info, Some(&Glue::read(STORE).unwrap())).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("another module's") && error.contains("7 of the 8"),
        "{error}"
    );
}

#[test]
fn glue_that_passes_other_parameters_leaves_the_export_out() {
    let exports: Vec<(&str, &str)> = EXPORTS
        .iter()
        .map(|(name, ty)| {
            (
                *name,
                if *name == "store_put" {
                    "(param i32)"
                } else {
                    *ty
                },
            )
        })
        .collect();
    let draft = Draft::with_glue(&module(&exports), Some(&Glue::read(STORE).unwrap())).unwrap();
    let put = of(&draft, "store_put");
    assert!(
        !put.listed && put.reason.contains("other parameters"),
        "{put:?}"
    );
}

#[test]
fn what_can_only_be_a_return_pointer_is_one() {
    let draft = Draft::of(&module(&[
        ("__wbg_hash_free", "(param i32 i32)"),
        ("hash_to_hex", "(param i32 i32)"),
        ("hash_to_bytes", "(param i32 i32)"),
        ("hash_from_str", "(param i32 i32 i32)"),
        ("hash_from_bytes", "(param i32 i32) (result i32)"),
        ("hash_new", "(param i32 i32) (result i32)"),
        ("hash_set", "(param i32 i32)"),
    ]));
    let drafted = |name: &str| {
        let drafted = of(&draft, name);
        let (args, results) = kinds(drafted);
        (drafted.role, args, results)
    };
    let kinds = |role, args: &str, results: &str| (role, args.to_owned(), results.to_owned());
    assert_eq!(
        drafted("__wbg_hash_free"),
        kinds(Role::Free, "handle:hash zero", "")
    );
    assert_eq!(
        drafted("hash_to_hex"),
        kinds(Role::Pure, "handle:hash", "string")
    );
    assert_eq!(
        drafted("hash_to_bytes"),
        kinds(Role::Pure, "handle:hash", "bytes")
    );
    let made = kinds(Role::Create, "string:moved", "handle:hash error");
    assert_eq!(drafted("hash_from_str"), made);
    let made = kinds(Role::Create, "bytes:moved", "handle:hash");
    assert_eq!(drafted("hash_from_bytes"), made);
    assert_eq!(drafted("hash_new"), made);
    assert_eq!(
        drafted("hash_set"),
        kinds(Role::Mutate, "handle:hash value", "")
    );
}

#[test]
fn a_draft_for_thousands_of_exports_is_readable() {
    let mut source = String::new();
    let mut names = Vec::new();
    for class in 0..240 {
        let _ = write!(source, "class C{class} {{");
        let _ = write!(
            source,
            "free() {{ const ptr = this.__destroy_into_raw(); wasm.__wbg_c{class}_free(ptr, 0); }}
             static new() {{ const ret = wasm.c{class}_new(); return C{class}.__wrap(ret); }}"
        );
        names.push((format!("__wbg_c{class}_free"), "(param i32 i32)"));
        names.push((format!("c{class}_new"), "(result i32)"));
        for field in 0..4 {
            let _ = write!(
                source,
                "get f{field}() {{ const ret = wasm.__wbg_get_c{class}_f{field}(this.__wbg_ptr); return ret; }}
                 set f{field}(a) {{ wasm.__wbg_set_c{class}_f{field}(this.__wbg_ptr, a); }}"
            );
            let get = "(param i32) (result i32)";
            names.push((format!("__wbg_get_c{class}_f{field}"), get));
            names.push((format!("__wbg_set_c{class}_f{field}"), "(param i32 i32)"));
        }
        source.push_str("}\n");
    }
    let exports: Vec<(&str, &str)> = names.iter().map(|(name, ty)| (&**name, *ty)).collect();
    let info = module(&exports);
    let draft = Draft::with_glue(&info, Some(&Glue::read(&source).unwrap())).unwrap();
    assert_eq!(draft.exports.len(), 2403);
    let toml = draft.to_toml("large.wasm");
    let lines = toml.lines().count();
    assert!(lines < 2_900, "{lines} lines");
    let widest = toml.lines().map(str::len).max();
    assert!(widest < Some(200), "{widest:?}");
    bind(&draft, &info);
}
