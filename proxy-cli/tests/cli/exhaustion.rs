//! Guests that look at what `memory.grow` gave, as every C program does that looks at the result of
//! `malloc`.

use super::{Folder, Ran, engines, report, wasm_proxy};

/// `put` is journaled and returns 0, or 7 for "no memory". `query` leaks pages.
const ROWS: &str = r#"(module
    (memory (export "memory") 1)
    (global $n (mut i32) (i32.const 0))
    (func (export "query") (param i32) (result i32)
        (drop (memory.grow (local.get 0))) (global.get $n))
    (func (export "put") (result i32)
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (return (i32.const 7))))
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.const 0)))"#;

const ROWS_POLICY: &str = "[[export]]\nmatch = \"query\"\nrole = \"pure\"\n[[export]]\nmatch = \"put\"\nrole = \"mutate\"\n";

/// The 22nd page of rows does not fit beside the leak.
const ROWS_WORKLOAD: &str = r#"{"repeat":20,"do":[{"call":"put","expect":0}]}
{"call":"query","args":[43],"expect":20}
{"call":"put","expect":0}
{"repeat":2000,"do":[{"call":"query","args":[0],"expect":21}]}
{"call":"query","args":[30],"expect":21}
{"repeat":10,"do":[{"call":"put","expect":0}]}
{"call":"query","args":[0],"expect":31}
"#;

/// How often the workload is run until a swap was not faster than the call that finds no room.
const ATTEMPTS: usize = 20;

#[test]
fn one_failed_allocation_that_the_guest_survives_harms_no_later_call() {
    let folder = Folder::new();
    for engine in engines() {
        let retried = || run_rows(&folder, engine)["calls"]["retried"] != 0;
        assert!((0..ATTEMPTS).any(|_| retried()), "{engine}");
    }
}

fn run_rows(folder: &Folder, engine: &str) -> serde_json::Value {
    let module = folder.file("rows.wat", ROWS);
    let policy = folder.file("rows.toml", ROWS_POLICY);
    let workload = folder.file("rows.jsonl", ROWS_WORKLOAD);
    let path = folder.path("report.json");
    let ran = wasm_proxy(&[
        "run",
        &module,
        "--policy",
        &policy,
        "--workload",
        &workload,
        "--memory-limit",
        "4MiB",
        // Held back, the call would find room on the next generation.
        "--hold-back",
        "off",
        "--engine",
        engine,
        "--report",
        &path.display().to_string(),
    ]);
    ran.assert_code(0).assert_says("every call succeeded");
    let report = report(&path);
    assert_eq!(report["replay"]["diverged"], 0, "{engine}");
    report
}

/// Returns what `memory.grow` gave: the size before, or -1.
const SOFT: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "put") (param $pages i32) (result i32) (memory.grow (local.get $pages))))"#;

fn soft(folder: &Folder, engine: &str, options: &[&str]) -> (Ran, serde_json::Value) {
    let module = folder.file("soft.wat", SOFT);
    let workload = r#"{"repeat":100,"do":[{"call":"put","args":[100]}]}"#;
    let workload = folder.file("soft.jsonl", workload);
    let path = folder.path("report.json");
    let report_path = path.display().to_string();
    let mut args = vec!["run", &module, "--workload", &workload, "--engine", engine];
    args.extend(["--report", &report_path]);
    args.extend(options);
    let ran = wasm_proxy(&args);
    (ran, report(&path))
}

#[test]
fn a_state_that_fills_the_memory_fails_softly_and_is_rebuilt_once() {
    let folder = Folder::new();
    for engine in engines() {
        let (bare, expected) = soft(&folder, engine, &["--without-proxy"]);
        bare.assert_code(0);
        let (ran, report) = soft(&folder, engine, &[]);
        ran.assert_code(0).assert_says("out of memory in `put`");
        assert_eq!(
            report["result_digest"], expected["result_digest"],
            "{engine}"
        );
        assert_eq!(report["calls"]["retried"], 1, "{engine}");
        assert_eq!(report["swaps"]["emergency"], 1, "{engine}");
        assert_eq!(report["replay"]["diverged"], 0, "{engine}");
    }
}

#[test]
fn inspect_knows_the_codes_for_exhaustion_and_says_which_cannot_be() {
    let folder = Folder::new();
    let module = folder.file("rows.wat", ROWS);
    let entry = |codes: &str| {
        format!("[[export]]\nmatch = \"put\"\nrole = \"mutate\"\nexhausted = {codes}\n")
    };
    let fits = folder.file("fits.toml", entry("[7, -1]"));
    wasm_proxy(&["inspect", &module, "--policy", &fits])
        .assert_code(0)
        .assert_says("by `put`, no memory if it returns 7 or -1");
    let wide = folder.file("wide.toml", entry("[4294967295]"));
    wasm_proxy(&["inspect", &module, "--policy", &wide])
        .assert_code(2)
        .assert_says("`exhausted` of `put` names 4294967295, which is no i32");
}
