//! Policies drafted by glue, and checked by what calls do.

use crate::{Folder, guest, wasm_proxy};

/// A module of wasm-bindgen's: a counter of text, with a return pointer and an allocator that only
/// counts upwards.
const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (global $heap (mut i32) (i32.const 4096))
    (global $stack (mut i32) (i32.const 2048))
    (global $made (mut i32) (i32.const 0))
    (func $alloc (export "__wbindgen_malloc") (param $len i32) (param $align i32) (result i32)
        (local $at i32)
        (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
        (global.set $heap (i32.add (local.get $at) (local.get $len)))
        (local.get $at))
    (func (export "__wbindgen_free") (param i32 i32 i32))
    (func (export "__wbindgen_add_to_stack_pointer") (param $by i32) (result i32)
        (global.set $stack (i32.add (global.get $stack) (local.get $by)))
        (global.get $stack))
    (func (export "counter_new") (param $text i32) (param $len i32) (result i32)
        (local $at i32)
        (local.set $at (call $alloc (i32.const 4) (i32.const 4)))
        (i32.store (local.get $at) (local.get $len))
        (local.get $at))
    (func (export "counter_add") (param $at i32) (param $n i32)
        (i32.store (local.get $at) (i32.add (i32.load (local.get $at)) (local.get $n))))
    (func (export "counter_text") (param $to i32) (param $at i32)
        (local $text i32)
        (local.set $text (call $alloc (i32.const 1) (i32.const 1)))
        (i32.store8 (local.get $text) (i32.add (i32.const 48) (i32.load (local.get $at))))
        (i32.store (local.get $to) (local.get $text))
        (i32.store offset=4 (local.get $to) (i32.const 1)))
    (func (export "__wbg_counter_free") (param i32 i32)))"#;

const GLUE: &str = "
class Counter {
    free() {
        const ptr = this.__destroy_into_raw();
        wasm.__wbg_counter_free(ptr, 0);
    }
    /**
     * @param {string} text
     */
    constructor(text) {
        const ptr0 = passStringToWasm0(text, wasm.__wbindgen_malloc, wasm.__wbindgen_realloc);
        const len0 = WASM_VECTOR_LEN;
        const ret = wasm.counter_new(ptr0, len0);
        this.__wbg_ptr = ret >>> 0;
        return this;
    }
    add(n) {
        wasm.counter_add(this.__wbg_ptr, n);
    }
    toText() {
        let deferred1_0;
        let deferred1_1;
        try {
            const retptr = wasm.__wbindgen_add_to_stack_pointer(-16);
            wasm.counter_text(retptr, this.__wbg_ptr);
            var r0 = getDataViewMemory0().getInt32(retptr + 4 * 0, true);
            var r1 = getDataViewMemory0().getInt32(retptr + 4 * 1, true);
            deferred1_0 = r0;
            deferred1_1 = r1;
            return getStringFromWasm0(r0, r1);
        } finally {
            wasm.__wbindgen_add_to_stack_pointer(16);
            wasm.__wbindgen_free(deferred1_0, deferred1_1, 1);
        }
    }
}
module.exports.Counter = Counter;
";

const CALLS: &str = r#"{"call":"counter_new","args":[{"text":"ab"}],"as":"c"}
{"call":"counter_add","args":[{"handle":"c"},3]}
{"call":"counter_text","args":[{"handle":"c"}],"expect":"5"}
{"call":"__wbg_counter_free","args":[{"handle":"c"}]}"#;

#[test]
fn a_policy_drafted_by_glue_runs_as_it_is() {
    let folder = Folder::new();
    let module = folder.file("counter.wat", MODULE);
    let glue = folder.file("counter.js", GLUE);
    let types = folder.file(
        "counter.d.ts",
        "export class Counter { add(n: number): void; toText(): string; }",
    );
    let drafted = wasm_proxy(&[
        "inspect",
        &module,
        "--glue",
        &glue,
        "--types",
        &types,
        "--emit-policy",
    ]);
    drafted
        .assert_code(0)
        .assert_says("# Counter: 4 exports")
        .assert_says("# sure: makes the object. constructor(text: string)")
        .assert_says(r#"{ match = "counter_text", role = "pure", args = ["handle:Counter"], results = ["string"] },"#)
        .assert_says("add(n: number): void");
    let others = folder.file("other.d.ts", "export function other(a: number): void;");
    wasm_proxy(&["inspect", &module, "--glue", &glue, "--types", &others])
        .assert_code(2)
        .assert_says("declares nothing that is in");
    let policy = folder.file("counter.toml", &drafted.stdout);
    let calls = folder.file("counter.jsonl", CALLS);
    wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &calls]).assert_code(0);
    wasm_proxy(&["inspect", &module, "--glue", &glue])
        .assert_code(0)
        .assert_says("missing: nothing")
        .assert_says("glue: members 4, classes 1; no heap of objects")
        .assert_says("with roles drafted from the glue and names");
}

#[test]
fn a_file_without_glue_is_refused_with_a_way_out() {
    let folder = Folder::new();
    let module = folder.file("counter.wat", MODULE);
    let shell = folder.file("counter.js", "export * from './counter_bg.js';");
    wasm_proxy(&["inspect", &module, "--glue", &shell, "--emit-policy"])
        .assert_code(2)
        .assert_says("is not glue of wasm-bindgen's")
        .assert_says("take that other one (`*_bg.js`)");
    let broken = folder.file("broken.js", "let a;\nclass {");
    wasm_proxy(&["inspect", &module, "--glue", &broken])
        .assert_code(2)
        .assert_says("line 2");
    let other = guest("prebuilt/kv.wasm");
    let glue = folder.file("glue.js", GLUE);
    wasm_proxy(&["inspect", &other, "--glue", &glue, "--emit-policy"])
        .assert_code(2)
        .assert_says("the glue is another module's");
}

#[test]
fn a_check_finds_the_export_that_is_called_pure_and_writes() {
    let folder = Folder::new();
    let module = folder.file("counter.wat", MODULE);
    let entry = |name: &str, role: &str, args: &str, results: &str| {
        format!(
            "[[export]]\nmatch = \"{name}\"\nrole = \"{role}\"\nargs = {args}\nresults = {results}\n"
        )
    };
    let policy = |add: &str| {
        entry(
            "counter_new",
            "create",
            "[\"string:moved\"]",
            "[\"handle:c\"]",
        ) + &entry("counter_add", add, "[\"handle:c\", \"value\"]", "[]")
            + &entry("counter_text", "mutate", "[\"handle:c\"]", "[\"string\"]")
    };
    let calls = folder.file(
        "calls.jsonl",
        "{\"call\":\"counter_new\",\"args\":[{\"text\":\"ab\"}],\"as\":\"c\"}\n\
         {\"call\":\"counter_add\",\"args\":[{\"handle\":\"c\"},3]}\n\
         {\"call\":\"counter_text\",\"args\":[{\"handle\":\"c\"}],\"expect\":\"5\"}",
    );
    let check = |add: &str| {
        let policy = folder.file(&format!("{add}.toml"), policy(add));
        wasm_proxy(&[
            "inspect",
            &module,
            "--check-policy",
            "--policy",
            &policy,
            "--workload",
            &calls,
        ])
    };
    check("pure")
        .assert_code(1)
        .assert_says("wrong")
        .assert_says("`counter_text(object #");
    check("mutate")
        .assert_code(0)
        .assert_says("maybe      `counter_text` is `mutate`, and no other call noticed");
}

#[test]
fn a_check_needs_a_policy_and_calls() {
    let module = guest("prebuilt/kv.wasm");
    wasm_proxy(&["inspect", &module, "--check-policy"])
        .assert_code(2)
        .assert_says("--workload");
    let calls = guest("workloads/kv_small.jsonl");
    wasm_proxy(&["inspect", &module, "--check-policy", "--workload", &calls])
        .assert_code(2)
        .assert_says("name one with --policy");
    let policy = guest("policies/kv.toml");
    wasm_proxy(&[
        "inspect",
        &module,
        "--check-policy",
        "--workload",
        &calls,
        "--policy",
        &policy,
    ])
    .assert_code(0)
    .assert_says("roles compared with what");
}

#[test]
fn all_that_is_missing_is_said_at_once() {
    let folder = Folder::new();
    let module = folder.file(
        "missing.wat",
        r#"(module
            (import "wbg" "__wbg_paint_0123456789abcdef" (func))
            (import "wbg" "__wbg_play_0123456789abcdef" (func (param i32)))
            (import "wbg" "__wbindgen_throw" (func (param i32 i32)))
            (import "wbg" "tag" (tag))
            (memory (export "memory") 1)
            (func (export "later") (result i32) (i32.const 0)))"#,
    );
    let glue = folder.file(
        "missing.js",
        "/**\n * @returns {Promise<any>}\n */\nexport function later() { const ret = wasm.later(); return takeObject(ret); }",
    );
    wasm_proxy(&["inspect", &module, "--glue", &glue])
        .assert_code(0)
        .assert_says("the host serves 1 of 4 imports; those below are only stubs")
        .assert_says("whose calls fail unless you give them: 3")
        .assert_says("    wbg.__wbg_paint_0123456789abcdef")
        .assert_says("    wbg.__wbg_play_0123456789abcdef")
        .assert_says("features that no engine here takes: 1")
        .assert_says("exports that no entry of a policy describes: 1")
        .assert_says("gives a promise");
}

/// A module without names: nothing in it says that its import makes an object of text.
const NAMELESS: &str = r#"(module
    (import "wbg" "__wbindgen_cast_0000000000000001"
        (func $cast (param i32 i32) (result externref)))
    (import "wbg" "__wbg___wbindgen_is_string_1fca8072260dd261"
        (func $is_text (param externref) (result i32)))
    (memory (export "memory") 1)
    (func (export "is_text") (result i32)
        (call $is_text (call $cast (i32.const 64) (i32.const 2)))))"#;

const NAMELESS_GLUE: &str = "
export function isText() {
    const ret = wasm.is_text();
    return ret !== 0;
}
const imports = {
    __wbindgen_cast_0000000000000001: function(arg0, arg1) {
        // Cast intrinsic for `Ref(String) -> Externref`.
        const ret = getStringFromWasm0(arg0, arg1);
        return ret;
    },
};
";

#[test]
fn what_imports_convert_goes_from_the_glue_into_the_policy_and_to_every_command() {
    let folder = Folder::new();
    let module = folder.file("module.wat", NAMELESS);
    let glue = folder.file("glue.js", NAMELESS_GLUE);
    let calls = folder.file("w.jsonl", "{\"call\":\"is_text\",\"expect\":1}");
    wasm_proxy(&["inspect", &module])
        .assert_code(0)
        .assert_says("the host serves 1 of 2 imports")
        .assert_says("wbg.__wbindgen_cast_0000000000000001");
    wasm_proxy(&["inspect", &module, "--glue", &glue])
        .assert_code(0)
        .assert_says("the host serves 2 of 2 imports")
        .assert_says("missing: nothing");
    wasm_proxy(&["run", &module, "--workload", &calls, "--no-cache"])
        .assert_code(1)
        .assert_says("does not serve 1 imports")
        .assert_says("`__wbindgen_cast_0000000000000001`")
        .assert_says("--glue FILE --emit-policy");

    let drafted = wasm_proxy(&["inspect", &module, "--glue", &glue, "--emit-policy"]);
    drafted.assert_code(0);
    let cast = "{ import = \"__wbindgen_cast_0000000000000001\", from = \"Ref(String)\" },";
    assert!(drafted.stdout.contains(cast), "{}", drafted.stdout);
    let journaled = drafted
        .stdout
        .replace("role = \"pure\"", "role = \"mutate\"");
    let policy = folder.file("policy.toml", &journaled);
    let journal = folder.path("journal").display().to_string();
    let subject = ["--policy", &policy, "--workload", &calls];
    let with = |first: &[&str], last: &[&str]| wasm_proxy(&[first, &subject, last].concat());
    with(&["run", &module], &["--no-cache", "--journal", &journal]).assert_code(0);
    wasm_proxy(&["replay", &journal, "--module", &module, "--policy", &policy]).assert_code(0);
    with(&["inspect", &module, "--check-policy"], &[]).assert_code(0);

    let wrong = folder.file("wrong.toml", journaled.replace("Ref(String)", "U64"));
    wasm_proxy(&[
        "run",
        &module,
        "--policy",
        &wrong,
        "--workload",
        &calls,
        "--no-cache",
    ])
    .assert_code(2)
    .assert_says("the policy's `cast` of `__wbindgen_cast_0000000000000001`")
    .assert_says("converts no `U64`");
}
