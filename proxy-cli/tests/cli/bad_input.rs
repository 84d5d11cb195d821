//! Wrong input: exit code 2, an error that says what to do, and never a panic.

use std::fs;

use super::{Folder, engines, guest, wasm_proxy};

const COUNTER: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "counter_new") (param i32) (result i32) (i32.const 8))
    (func (export "counter_add") (param i32 i32) (result i32) (local.get 1))
    (func (export "counter_free") (param i32))
    (func (export "peek") (param i32) (result i32) (local.get 0))
    (func (export "name") (param i32 i32) (result f32) (f32.const 0.5))
    (func (export "guest_alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "guest_free") (param i32 i32)))"#;

const POLICY: &str = r#"
strict = true
[[export]]
match = "counter_new"
role = "create"
args = ["value"]
results = ["handle:counter"]
[[export]]
match = "counter_add"
role = "mutate"
args = ["handle:counter", "value"]
[[export]]
match = "counter_free"
role = "free"
args = ["handle:counter"]
[[export]]
match = "peek"
role = "pure"
args = ["handle:counter"]
results = ["pointer"]
[[export]]
match = "name"
role = "pure"
args = ["string"]
"#;

/// Runs a workload on the counter. It must be refused with these words.
#[track_caller]
fn refused(workload: &str, needles: &[&str]) {
    let folder = Folder::new();
    let module = folder.file("counter.wat", COUNTER);
    let policy = folder.file("policy.toml", POLICY);
    let workload = folder.file("w.jsonl", workload);
    let ran = wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &workload]);
    ran.assert_code(2).assert_says("error: ");
    for needle in needles {
        ran.assert_says(needle);
    }
}

#[test]
fn a_file_that_is_no_module_is_refused() {
    let folder = Folder::new();
    let workload = folder.file("w.jsonl", "{\"call\":\"f\"}");
    let prover = fs::read(guest("prebuilt/prover.wasm")).unwrap();
    for (name, content, way_out) in [
        ("truncated", &prover[..1000], "copy or build it again"),
        (
            "half",
            &prover[..prover.len() / 2],
            "copy or build it again",
        ),
        ("component", b"\0asm\x0d\0\x01\0", "component unbundle"),
        ("empty", b"", "the file is empty"),
        ("text", b"hello", "try: give a core module"),
        (
            "wat",
            b"(module (func",
            "is not a module in the text format",
        ),
        ("version", b"\0asm\x02\0\0\0", "try: give a core module"),
    ] {
        let module = folder.file(name, content);
        wasm_proxy(&["run", &module, "--workload", &workload])
            .assert_code(2)
            .assert_says(way_out);
        wasm_proxy(&["inspect", &module])
            .assert_code(2)
            .assert_says(way_out);
    }
}

#[test]
fn files_that_cannot_be_read_or_written_are_named() {
    let folder = Folder::new();
    let nowhere = folder.path("nowhere/x").display().to_string();
    let chain = guest("prebuilt/chain.wasm");
    for args in [
        &["run", &nowhere][..],
        &["inspect", &nowhere],
        &["run", "--policy", &nowhere],
        &["run", "--workload", &nowhere],
        &["run", "--report", &nowhere],
        &["inspect", &chain, "--policy", &nowhere],
        &["run", &guest("prebuilt")],
    ] {
        wasm_proxy(args)
            .assert_code(2)
            .assert_says("check ")
            .assert_says("because: ");
    }
}

#[test]
fn options_that_make_no_sense_are_refused() {
    wasm_proxy(&["run", "--engine", "v8"])
        .assert_code(2)
        .assert_says(engines()[0]);
    for listed in ::engines::LIST.iter().filter(|l| !l.is_compiled_in()) {
        wasm_proxy(&["run", "--engine", listed.name])
            .assert_code(2)
            .assert_says(&format!("--features {}", listed.feature));
    }
    wasm_proxy(&["run", "--calls", "1", "--tier-up", "v8"])
        .assert_code(2)
        .assert_says(engines()[0]);
    wasm_proxy(&["run", "--tier-up", engines()[0], "--without-proxy"]).assert_code(2);
    wasm_proxy(&["run", "--warn", "0.95"])
        .assert_code(2)
        .assert_says("the first smaller");
    for share in ["abc", "-1", "70%"] {
        wasm_proxy(&["run", "--warn", share])
            .assert_code(2)
            .assert_says("as in `0.7`");
    }
    wasm_proxy(&["run", "--artifacts", "kept", "--without-proxy"])
        .assert_code(2)
        .assert_says("cannot be used with '--without-proxy'");
    wasm_proxy(&["run", "--memory-limit", "much"])
        .assert_code(2)
        .assert_says("64MiB");
    wasm_proxy(&["run", "--deadline", "soon"])
        .assert_code(2)
        .assert_says("500ms");
    wasm_proxy(&["run", "--calls", "0"]).assert_code(2);
    wasm_proxy(&["run", "--memory-limit", "64KiB"])
        .assert_code(2)
        .assert_says("try: a larger --memory-limit");
    wasm_proxy(&["run", &guest("prebuilt/chain.wasm")])
        .assert_code(2)
        .assert_says("give --workload");
    wasm_proxy(&["walk"]).assert_code(2);
}

#[test]
fn a_policy_that_does_not_fit_is_refused() {
    let folder = Folder::new();
    let chain = guest("prebuilt/chain.wasm");
    let workload = guest("workloads/chain.jsonl");
    for (policy, needle) in [
        (
            "[[export]]\nmatch = \"steps\"\nrole = \"pure\"",
            "did you mean `step`?",
        ),
        ("[[export]]\nmatch = \"step\"\nrole = \"purr\"", "purr"),
        ("[[export]]\nmatch = \"step\"", "role"),
        ("strikt = true", "strikt"),
        (
            "[module]\nmemory_usage_export = \"gone\"",
            "no function `gone`",
        ),
    ] {
        let policy = folder.file("policy.toml", policy);
        for args in [
            &["run", &chain, "--workload", &workload, "--policy", &policy][..],
            &["inspect", &chain, "--policy", &policy],
        ] {
            wasm_proxy(args)
                .assert_code(2)
                .assert_says(needle)
                .assert_says(&policy)
                .assert_says("--emit-policy");
        }
    }
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    let folder = Folder::new();
    let chain = guest("prebuilt/chain.wasm");
    let mut files = ["policies/chain.toml", "workloads/chain.jsonl"].map(guest);
    for (file, name) in files.iter_mut().zip(["p.toml", "w.jsonl"]) {
        let marked = format!("\u{feff}{}", fs::read_to_string(&*file).unwrap());
        *file = folder.file(name, marked);
    }
    let [policy, workload] = &files;
    let args = [
        "run",
        &chain,
        "--policy",
        policy,
        "--workload",
        workload,
        "--calls",
        "5",
    ];
    wasm_proxy(&args).assert_code(0);
}

#[test]
fn a_missing_import_is_named_with_the_way_to_a_stub() {
    let folder = Folder::new();
    let workload = folder.file(
        "w.jsonl",
        "{\"call\":\"double\",\"args\":[21],\"expect\":42}",
    );
    let module = guest("wat/imports.wat");
    wasm_proxy(&["run", &module, "--workload", &workload])
        .assert_code(2)
        .assert_says("import `env` `i32`")
        .assert_says("--stub-imports");
    wasm_proxy(&["run", &module, "--workload", &workload, "--stub-imports"])
        .assert_code(0)
        .assert_says("the policy does not list `double`");
    // A stub that is called at the start is not mended by more stubs.
    let starts = folder.file(
        "starts.wat",
        r#"(module (func $f (import "e" "f")) (start $f)
            (func (export "double") (param i32) (result i32) (local.get 0)))"#,
    );
    wasm_proxy(&["run", &starts, "--workload", &workload, "--stub-imports"])
        .assert_code(2)
        .assert_says("only a stub")
        .assert_says("a program of your own");
}

#[test]
fn arguments_of_the_wrong_type_are_refused_before_anything_runs() {
    refused(
        "{\"call\":\"counter_new\"}",
        &[
            "w.jsonl:1",
            "takes 1 argument (`value`, says the policy), got 0",
        ],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[1.5]}",
        &["no whole number"],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[4294967296]}",
        &["out of range for i32"],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[{\"text\":\"x\"}]}",
        &["argument 0", "text where a number of type i32 is needed"],
    );
    refused(
        "{\"call\":\"counter_add\",\"args\":[8,1]}",
        &["a handle of type `counter`"],
    );
    refused(
        "{\"call\":\"name\",\"args\":[1]}",
        &["text, {\"text\":\"...\"}"],
    );
    refused(
        "{\"call\":\"counter_now\"}",
        &["did you mean `counter_new`?"],
    );
    refused(
        "{\"call\":\"guest_alloc\",\"args\":[1]}",
        &["has no entry for `guest_alloc`"],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[1],\"expect\":1}",
        &["only null"],
    );
}

#[test]
fn stale_and_forged_handles_are_refused() {
    refused(
        "{\"call\":\"counter_add\",\"args\":[{\"handle\":\"c\"},1]}",
        &["no earlier call names its result `c`"],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[1],\"as\":\"c\"}\n\
         {\"call\":\"counter_free\",\"args\":[{\"handle\":\"c\"}]}\n\
         {\"call\":\"counter_add\",\"args\":[{\"handle\":\"c\"},1]}",
        &[
            "w.jsonl:3",
            "handle #1.0",
            "freed",
            "try: make the object again",
        ],
    );
    refused(
        "{\"call\":\"counter_new\",\"args\":[1],\"as\":\"c\"}\n\
         {\"pinned\":[{\"call\":\"peek\",\"args\":[{\"handle\":\"c\"}],\"as\":\"p\"}]}\n\
         {\"call\":\"counter_add\",\"args\":[{\"handle\":\"p\"},1]}",
        &["`p` is a raw pointer"],
    );
}

#[test]
fn calls_in_the_wrong_place_are_refused() {
    let new = "{\"call\":\"counter_new\",\"args\":[1],\"as\":\"c\"}";
    refused(
        &format!("{new}\n{{\"call\":\"peek\",\"args\":[{{\"handle\":\"c\"}}]}}"),
        &["raw pointers", "{\"pinned\":[...]}"],
    );
    refused(
        &format!("{{\"pinned\":[{new}]}}"),
        &["`counter_new` is journaled"],
    );
}

#[test]
fn lines_that_are_no_steps_are_refused() {
    refused("", &["has no calls"]);
    refused("# nothing\n{\"call\":\"f\",}", &["w.jsonl:2"]);
    refused(
        "{\"call\":\"f\",\"arguments\":[]}",
        &["w.jsonl:1", "no field \"arguments\""],
    );
    refused("{\"repeat\":\"often\",\"do\":[]}", &["number of turns"]);
    refused(&"[".repeat(10_000), &["recursion limit"]);
}

#[test]
fn what_only_a_proxy_has_is_refused_without_one() {
    for option in [
        &["--warn", "0.5"][..],
        &["--critical", "0.8"],
        &["--drain-timeout", "1s"],
        &["--hold-back", "1s"],
        &["--tier-up", "wasmtime.winch"],
        &["--artifacts", "kept"],
        &["--history", "checkpoint"],
        &["--history", "full"],
        &["--audit"],
        &["--on-divergence", "fail"],
        &["--swap-calls", "25"],
        &["--swap-age", "1m"],
        &["--swap-idle", "1m"],
        &["--stack-drift", "1MiB"],
        &["--total-memory", "1GiB"],
        &["--journal", "j"],
        &["--journal", "j", "--journal-callers", "8"],
        &["--journal", "j", "--durability", "durable"],
        &["--migrate", "old"],
        &["--migrate", "old", "--dry-run"],
    ] {
        wasm_proxy(&[&["run", "--without-proxy"], option].concat())
            .assert_code(2)
            .assert_says("cannot be used with");
    }
    let help = wasm_proxy(&["run", "--help"]).stdout;
    // Each other option of `run` means something to a bare instance.
    let known = [
        "--policy",
        "--preset",
        "--memory-limit",
        "--stub-imports",
        "--names",
        "--worker-exit",
        "--deadline",
        "--dir",
        "--dir-read-only",
        "--env",
        "--workload",
        "--engine",
        "--calls",
        "--export-objects",
        "--without-proxy",
        "--report",
        "--help",
        "--cache",
        "--no-cache",
        "--any-size",
        "--compile-timeout",
        "--swap-calls",
        "--swap-age",
        "--swap-idle",
        "--stack-drift",
        "--total-memory",
        "--journal-callers",
        "--dir",
        "--dir-read-only",
        "--env",
        "--names",
        "--warn",
        "--critical",
        "--drain-timeout",
        "--hold-back",
        "--tier-up",
        "--artifacts",
        "--artifacts-limit",
        "--history",
        "--audit",
        "--on-divergence",
        "--journal",
        "--durability",
        "--migrate",
        "--dry-run",
    ];
    for line in help.lines() {
        let option = line.split_whitespace().find(|word| word.starts_with("--"));
        // What may have a value says so in brackets.
        let option = option.and_then(|option| option.split('[').next());
        let is_option = line.trim_start().starts_with('-');
        if let Some(option) = option.filter(|_| is_option) {
            assert!(known.contains(&option), "{option}: does it need a proxy?");
        }
    }
}

#[test]
fn moving_to_the_engine_that_it_begins_on_is_refused() {
    for engine in engines() {
        wasm_proxy(&[
            "run",
            "--calls",
            "1",
            "--engine",
            engine,
            "--tier-up",
            engine,
        ])
        .assert_code(2)
        .assert_says("the engine that --engine")
        .assert_says("name a better one");
    }
}

#[test]
fn help_names_every_kind_of_argument() {
    let help = wasm_proxy(&["run", "--help"]);
    help.assert_code(0);
    for kind in [
        "struct:TYPE",
        "structs:TYPE",
        "\"handles\"",
        "\"pointers\"",
        "optional:KIND",
    ] {
        help.assert_says(kind);
    }
}
