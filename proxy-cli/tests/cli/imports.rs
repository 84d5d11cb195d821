//! What the program gives for imports: constants, names, and what Emscripten's modules ask for.

use super::{Folder, guest, wasm_proxy};

const NEEDY: &str = r#"(module
    (import "env" "code" (func $code (result i32)))
    (import "env" "share" (func $share (result f64)))
    (import "env" "big" (func $big (result i64)))
    (import "env" "quiet" (func $quiet (param i32)))
    (import "env" "base" (global $base i32))
    (func (export "code") (result i32) (call $quiet (i32.const 1)) (call $code))
    (func (export "share") (result f64) (call $share))
    (func (export "big") (result i64) (call $big))
    (func (export "base") (result i32) (global.get $base)))"#;

const EXPECTED: &str = "{\"call\":\"code\",\"expect\":-52}\n{\"call\":\"share\",\"expect\":0.25}\n\
                        {\"call\":\"big\",\"expect\":-1}\n{\"call\":\"base\",\"expect\":1024}";

#[test]
fn a_stub_gives_the_constant_of_the_first_pattern_that_matches() {
    let folder = Folder::new();
    let module = folder.file("needy.wat", NEEDY);
    let workload = folder.file("w.jsonl", EXPECTED);
    let constants = [
        "env.share=0.25",
        "env.big=18446744073709551615",
        "env.{code,quiet}=-52",
        "env.*=1024",
    ];
    let mut args = vec!["run", &*module, "--workload", &*workload];
    for constant in constants {
        args.extend(["--stub-imports", constant]);
    }
    wasm_proxy(&args).assert_code(0);
    // With an equals sign, and the module after the option.
    let one = format!("--stub-imports={}", constants[0]);
    let mut args = vec!["run", &*one];
    for constant in &constants[1..] {
        args.extend(["--stub-imports", constant]);
    }
    args.extend(["--stub-imports", &*module, "--workload", &*workload]);
    wasm_proxy(&args).assert_code(0);
}

#[test]
fn a_global_is_not_invented() {
    let folder = Folder::new();
    let module = folder.file("needy.wat", NEEDY);
    let workload = folder.file("w.jsonl", EXPECTED);
    wasm_proxy(&["run", &module, "--workload", &workload, "--stub-imports"])
        .assert_code(2)
        .assert_says("`base`")
        .assert_says("--stub-imports 'MODULE.NAME=NUMBER'");
}

#[test]
fn a_side_module_is_told_that_there_is_no_dynamic_linker() {
    let folder = Folder::new();
    let module = folder.file(
        "side.wat",
        r#"(module
            (import "env" "__memory_base" (global $base i32))
            (import "env" "__table_base" (global i32))
            (import "env" "memory" (memory 1))
            (func (export "grammar") (result i32) (global.get $base)))"#,
    );
    let workload = folder.file("w.jsonl", "{\"call\":\"grammar\"}");
    wasm_proxy(&["run", &module, "--workload", &workload])
        .assert_code(2)
        .assert_says("`__memory_base`")
        .assert_says("there is no dynamic linker here");
}

#[test]
fn a_constant_that_fits_no_import_is_refused() {
    let folder = Folder::new();
    let module = folder.file("needy.wat", NEEDY);
    let workload = folder.file("w.jsonl", EXPECTED);
    for (constant, needle) in [
        (
            "env.cod=1",
            "the module imports nothing like `env.cod`; it imports `env.code`",
        ),
        ("env.code=0.5", "0.5 is no i32 for `env.code`"),
        ("env.code=4294967296", "is no i32"),
        ("env.code=x", "`x` is no number"),
    ] {
        let args = [
            "run",
            &*module,
            "--workload",
            &*workload,
            "--stub-imports",
            constant,
        ];
        wasm_proxy(&args).assert_code(2).assert_says(needle);
    }
    wasm_proxy(&[
        "run",
        &module,
        "--workload",
        &workload,
        "--stub-imports=env.code",
    ])
    .assert_code(2)
    .assert_says("a pattern and a number are needed, such as 'env.foo=-52'");
}

/// Emscripten's imports have short names where nothing else is asked of it.
#[test]
fn a_module_with_short_names_runs_with_a_file_of_names() {
    let module = guest("prebuilt/toolchains/emscripten_short.wasm");
    let file = guest("prebuilt/toolchains/emscripten_short.toml");
    let policy = guest("policies/words.toml");
    let workload = guest("workloads/words.jsonl");
    let args = [
        "run",
        &module,
        "--policy",
        &policy,
        "--workload",
        &workload,
        "--memory-limit",
        "40MiB",
    ];
    let folder = Folder::new();
    let plain = folder.file("plain.jsonl", "{\"call\":\"e\",\"args\":[0]}");
    let short = wasm_proxy(&["run", &module, "--workload", &plain]);
    short.assert_code(2).assert_says("--names F.toml gives");
    let mut with_names = args.to_vec();
    with_names.extend(["--names", &file]);
    wasm_proxy(&with_names).assert_code(0).assert_says("swaps");
    for (text, needle) in [
        ("[exports]\nzz = \"a\"", "the module exports no `zz`"),
        (
            "[imports]\n\"a.zz\" = \"env.a\"",
            "the module imports no `a.zz`",
        ),
        ("[imports]\n\"a.a\" = \"grow\"", "write `module.name`"),
        (
            "[exports]\nd = \"same\"\ne = \"same\"",
            "duplicate export name",
        ),
        ("imports = 1", "cannot use the names of"),
    ] {
        let wrong = folder.file("names.toml", text);
        let mut with_names = args.to_vec();
        with_names.extend(["--names", &wrong]);
        wasm_proxy(&with_names).assert_code(2).assert_says(needle);
    }
}

/// The names of the case are those of a module that asks its host to grow the memory.
#[test]
fn growth_through_an_import_is_bounded_by_the_memory_limit() {
    const MODULE: &str = r#"(module
        (import "env" "emscripten_resize_heap" (func $grow (param i32) (result i32)))
        (memory (export "memory") 1 1024)
        (func (export "malloc") (param i32) (result i32)
            (if (i32.eqz (call $grow (i32.add (local.get 0)
                    (i32.mul (memory.size) (i32.const 65536)))))
                (then (return (i32.const 0))))
            (i32.const 65536))
        (func (export "free") (param i32)))"#;
    let folder = Folder::new();
    let module = folder.file("emscripten.wat", MODULE);
    let policy = folder.file("p.toml", "[[export]]\nmatch = \"*\"\nrole = \"pure\"");
    // A block of 64 KiB after the other: nobody frees them, and swaps do.
    let workload = folder.file(
        "w.jsonl",
        "{\"repeat\":200,\"do\":[{\"call\":\"malloc\",\"args\":[65536],\"expect\":65536}]}",
    );
    let args = [
        "run",
        &module,
        "--policy",
        &policy,
        "--workload",
        &workload,
        "--memory-limit",
        "1MiB",
    ];
    wasm_proxy(&args).assert_code(0);
}

#[test]
fn c_strings_options_and_places_for_results_are_written_in_a_workload() {
    let folder = Folder::new();
    let module = guest("wat/c_kinds.wat");
    let policy = guest("policies/c_kinds.toml");
    let right = folder.file(
        "right.jsonl",
        r#"{"call":"strlen","args":[{"text":"four"}],"expect":4}
{"call":"first","args":[{"text":"A\u0000"}],"expect":65}
{"call":"sum32","args":[{"u32s":[40,2]}],"expect":42}
{"call":"maybe","args":[2.5],"expect":[1,2.5]}
{"call":"maybe_len","args":[null],"expect":-1}
{"call":"maybe_text","args":[{"text":"four"}],"expect":4}
{"call":"open","args":[{"text":"name"}],"as":["code","object"]}
{"call":"object_or","args":[{"handle":"object"}],"expect":4}
{"call":"object_or","args":[null],"expect":-1}
{"call":"none","as":"nothing","expect":null}
{"call":"maybe_len","args":[{"handle":"nothing"}],"expect":-1}
{"call":"numbers","args":[-3],"expect":[-3,-3.0]}"#,
    );
    wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &right]).assert_code(0);
    for (call, needle) in [
        (
            r#"{"call":"strlen","args":[null]}"#,
            "null where text, {\"text\":\"...\"}, is needed",
        ),
        (r#"{"call":"maybe_len","args":[7]}"#, "a number where text"),
        (
            r#"{"call":"open","args":[{"text":"name"},0]}"#,
            "takes 1 argument (`cstring`, says the policy), got 2",
        ),
    ] {
        let wrong = folder.file("wrong.jsonl", call);
        wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &wrong])
            .assert_code(2)
            .assert_says(needle);
    }
}

#[test]
fn a_number_that_may_be_left_out_is_null_or_the_number() {
    const OR: &str = r#"(module (func (export "or") (param i32 f64) (result f64)
        (select (local.get 1) (f64.const -1) (local.get 0))))"#;
    let folder = Folder::new();
    let module = folder.file("or.wat", OR);
    let policy = "[[export]]\nmatch = \"or\"\nrole = \"pure\"\nargs = [\"optional:value\"]";
    let policy = folder.file("p.toml", policy);
    let run = |calls: &str| {
        let calls = folder.file("w.jsonl", calls);
        wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &calls])
    };
    run(r#"{"call":"or","args":[null],"expect":-1}
{"repeat":2,"do":[{"call":"or","args":[{"index":true}],"as":"x"}]}
{"call":"or","args":[{"handle":"x"}],"expect":1}
{"call":"or","args":[2.5],"expect":2.5}"#)
    .assert_code(0);
    run(r#"{"call":"or","args":[{"text":"1"}]}"#)
        .assert_code(2)
        .assert_says("text where a number of type f64 is needed");
}

/// A memory and a table by the names that linkers give them, of a module that is nobody's.
#[test]
fn a_memory_and_a_table_are_made_as_any_module_asks() {
    let folder = Folder::new();
    let module = folder.file(
        "room.wat",
        r#"(module
            (import "env" "abort" (func (param i32 i32 i32 i32)))
            (import "env" "memory" (memory 2))
            (import "env" "__indirect_function_table" (table 3 funcref))
            (func (export "pages") (result i32) (memory.size))
            (func (export "elements") (result i32) (table.size)))"#,
    );
    let workload = folder.file(
        "w.jsonl",
        "{\"call\":\"pages\",\"expect\":2}\n{\"call\":\"elements\",\"expect\":3}",
    );
    wasm_proxy(&["run", &module, "--workload", &workload]).assert_code(0);
    wasm_proxy(&["inspect", &module])
        .assert_code(0)
        .assert_says("missing: nothing");
}

/// What the program gives itself is not replaced by a number.
#[test]
fn a_constant_is_for_what_nobody_serves() {
    let module = guest("prebuilt/toolchains/emscripten_glue.wasm");
    let policy = guest("policies/words.toml");
    let workload = guest("workloads/words.jsonl");
    let run = |constant: &str| {
        let args = ["run", &module, "--policy", &policy, "--workload", &workload];
        let more = ["--memory-limit", "40MiB", "--stub-imports", constant];
        wasm_proxy(&[&args[..], &more].concat())
    };
    run("env.emscripten_resize_heap=0")
        .assert_code(2)
        .assert_says("the program gives what `env.emscripten_resize_heap` matches");
    let folder = Folder::new();
    let module = folder.file(
        "two.wat",
        r#"(module
            (import "env" "emscripten_get_heap_max" (func $max (result i32)))
            (import "env" "seed" (func $seed (result i32)))
            (memory (export "memory") 1)
            (func (export "max") (result i32) (i32.ne (call $max) (i32.const 7)))
            (func (export "seed") (result i32) (call $seed)))"#,
    );
    let workload = folder.file(
        "w.jsonl",
        "{\"call\":\"max\",\"expect\":1}\n{\"call\":\"seed\",\"expect\":7}",
    );
    wasm_proxy(&[
        "run",
        &module,
        "--workload",
        &workload,
        "--stub-imports=env.*=7",
    ])
    .assert_code(0);
}

#[test]
fn an_entry_for_an_import_that_is_not_there_is_refused() {
    let folder = Folder::new();
    let module = folder.file("needy.wat", NEEDY);
    let workload = folder.file("w.jsonl", EXPECTED);
    for (policy, needle) in [
        (
            "import = [{ match = \"env.quie\", effect = \"none\" }]",
            "[[import]] `env.quie` matches no import of the module; did you mean `env.quiet`?",
        ),
        (
            "cast = [{ import = \"quiet\", from = \"Garbage\" }]",
            "wasm-bindgen did not make this module",
        ),
    ] {
        let policy = folder.file("p.toml", policy);
        let args = ["run", &module, "--workload", &workload, "--policy", &policy];
        wasm_proxy(&[&args[..], &["--stub-imports=env.*=1"]].concat())
            .assert_code(2)
            .assert_says(needle);
    }
}
