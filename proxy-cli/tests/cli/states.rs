//! `run` with a state digest, with `--audit` and with `--history`.

use serde_json::Value;

use super::{Folder, Ran, command, report, wasm_proxy};

/// `write` is called pure by mistake, and nothing that is journaled looks at what it writes.
const ROWS: &str = r#"(module
    (memory (export "memory") 1)
    (global $rows (mut i32) (i32.const 0))
    (func (export "write") (result i32)
        (global.set $rows (i32.add (global.get $rows) (i32.const 1)))
        (global.get $rows))
    (func (export "touch") (result i32) (i32.const 0))
    (func (export "leak") (drop (memory.grow (i32.const 8))))
    (func (export "rows") (result i32) (global.get $rows)))"#;

const POLICY: &str = r#"
strict = true
[[export]]
match = "{write,leak,rows}"
role = "pure"
[[export]]
match = "touch"
role = "mutate"
"#;

const WORKLOAD: &str = r#"
{"repeat":5,"do":[{"call":"write"},{"call":"touch","expect":0}]}
{"call":"rows","expect":5}
{"repeat":8,"do":[{"call":"leak"},{"repeat":20000,"do":[{"call":"rows"}]}]}
{"call":"rows","expect":5}
"#;

fn run(module: &str, policy: &str, workload: &str, options: &[&str]) -> (Ran, Value) {
    let folder = Folder::new();
    let module = folder.file("m.wat", module);
    let policy = folder.file("m.toml", policy);
    let workload = folder.file("w.jsonl", workload);
    let path = folder.path("report.json");
    let report_path = path.display().to_string();
    let mut args = vec!["run", &module, "--policy", &policy, "--workload", &workload];
    args.extend(["--report", &report_path, "--memory-limit", "4MiB"]);
    args.extend(options);
    let ran = wasm_proxy(&args);
    let report = report(&path);
    (ran, report)
}

#[test]
fn a_write_called_pure_is_found_before_a_swap_loses_it() {
    let policy = format!("state_digest = \"rows\"\n{POLICY}");
    let (ran, report) = run(ROWS, &policy, WORKLOAD, &[]);
    ran.assert_code(0)
        .assert_says("the state differs")
        .assert_says("`write`");
    assert_eq!(report["swaps"]["count"], 0);
    assert!(report["state_differences"].as_u64() >= Some(1), "{report}");
    assert!(
        ran.stdout.contains("  state    differed before"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("has written, one of `"),
        "{}",
        ran.stdout
    );
    let first = &report["differences"][0];
    assert_eq!(first["digest"], "rows");
    let suspects = first["suspects"].as_array().expect("a list");
    assert!(suspects.contains(&"write".into()), "{report}");
}

#[test]
fn an_audit_names_the_export_that_writes() {
    let (ran, report) = run(ROWS, POLICY, WORKLOAD, &["--audit"]);
    ran.assert_code(1)
        .assert_says("the policy calls `write` pure, which writes; declare it `mutate`");
    assert_eq!(report["audit"]["writers"], serde_json::json!(["write"]));
    let right = POLICY
        .replace("{write,leak,rows}", "{leak,rows}")
        .replace("\"touch\"", "\"{write,touch}\"");
    let (ran, report) = run(ROWS, &right, WORKLOAD, &["--audit"]);
    ran.assert_code(0).assert_says("0 depend on pure calls");
    assert_eq!(report["audit"]["writers"], serde_json::json!([]));
}

/// `set` is called pure, and `get` reads what it wrote; `look` is journaled, and reads it too.
const SET: &str = r#"(module
    (memory (export "memory") 1)
    (global $set (mut f64) (f64.const 0))
    (func (export "set") (param f64) (global.set $set (local.get 0)))
    (func (export "get") (result f64) (global.get $set))
    (func (export "size") (result i32) (memory.size))
    (func (export "leak") (drop (memory.grow (i32.const 1))))
    (func (export "look") (result f64) (global.get $set)))"#;

const SET_POLICY: &str = r#"
strict = true
[[export]]
match = "{set,get,size,leak}"
role = "pure"
[[export]]
match = "look"
role = "mutate"
"#;

#[test]
fn an_audit_finds_a_write_that_its_own_questions_make_again_and_shows_json() {
    let workload = r#"
        {"call":"set","args":[2.5]}
        {"call":"get","expect":2.5}
        {"call":"leak"}
        {"call":"size","expect":2}"#;
    let (ran, report) = run(SET, SET_POLICY, workload, &["--audit"]);
    ran.assert_code(1)
        .assert_says("the policy calls `set` pure, which writes; declare it `mutate`")
        .assert_says("`get()` gives 2.5, and 0.0 after a swap")
        .assert_says("4 pure calls were repeated, 0 left out, 2 answers were compared, 1 depends")
        .assert_says("`leak` leaves memory behind")
        .assert_says("every call succeeded");
    let audit = &report["audit"];
    assert_eq!(audit["writers"], serde_json::json!(["set"]));
    assert_eq!(audit["moved"], serde_json::json!(["size"]));
    assert_eq!(audit["leaks"][0]["export"], "leak");
    let right = SET_POLICY
        .replace("{set,get,size,leak}", "{get,size,leak}")
        .replace("\"look\"", "\"{look,set}\"");
    let (ran, report) = run(SET, &right, workload, &["--audit"]);
    ran.assert_code(0);
    assert_eq!(report["audit"]["lost"], serde_json::json!([]));
}

#[test]
fn a_journal_that_diverges_is_a_finding_of_the_audit_and_the_report_is_written() {
    let workload = r#"
        {"call":"set","args":[2.5]}
        {"call":"look","expect":2.5}"#;
    let (ran, report) = run(SET, SET_POLICY, workload, &["--audit"]);
    ran.assert_code(1)
        .assert_says("the policy calls `set` pure")
        .assert_says("`look()` gives 2.5, and 0.0 after a swap")
        .assert_says("it is incomplete");
    let audit = &report["audit"];
    assert_eq!(audit["writers"], serde_json::json!(["set"]));
    assert_eq!(
        (&audit["left_out"], &report["calls"]["failed"]),
        (&1.into(), &0.into()),
        "{report}"
    );
}

#[test]
fn an_audit_of_a_proxy_that_is_switched_off_is_not_passed_over_in_silence() {
    let folder = Folder::new();
    let module = folder.file("m.wat", ROWS);
    let policy = folder.file("m.toml", POLICY);
    let workload = folder.file("w.jsonl", "{\"call\":\"write\"}");
    let args = ["run", &module, "--policy", &policy, "--workload", &workload];
    for word in ["false", "0"] {
        let output = command(&[&args[..], &["--audit"]].concat())
            .env("WASM_PROXY_ENABLED", word)
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0));
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("there is no audit"), "{said}");
        assert!(
            said.contains("  audit    none: the proxy was switched off"),
            "{said}"
        );
    }
}

/// `put` adds a text to the module's sum, and every call counts.
const SUMS: &str = r#"(module
    (memory (export "memory") 2)
    (global $sum (mut i64) (i64.const 7))
    (func (export "put") (param $at i32) (param $len i32) (result i64)
        (local $end i32)
        (local.set $end (i32.add (local.get $at) (local.get $len)))
        (loop $next
            (global.set $sum (i64.add
                (i64.mul (global.get $sum) (i64.const 31))
                (i64.load8_u (local.get $at))))
            (br_if $next (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 1)))
                (local.get $end))))
        (global.get $sum))
    (func (export "alloc") (param i32) (result i32) (i32.const 1024))
    (func (export "free") (param i32 i32)))"#;

const SUMS_POLICY: &str = r#"
[module]
allocator = { alloc = "alloc", free = "free" }
[[export]]
match = "put"
role = "mutate"
args = ["string"]
[[export]]
match = "{alloc,free}"
role = "pure"
"#;

#[test]
fn a_history_kept_as_a_checkpoint_stays_short_and_so_does_the_process() {
    let text = "x".repeat(300);
    let workload = format!(
        "{{\"repeat\":600000,\"do\":[{{\"call\":\"put\",\"args\":[{{\"text\":\"{text}\"}}]}}]}}"
    );
    let of = |options: &[&str]| {
        let (ran, report) = run(SUMS, SUMS_POLICY, &workload, options);
        ran.assert_code(0);
        let grown = report["memory_mib"]["rss_peak"]
            .as_f64()
            .unwrap_or_default()
            - report["memory_mib"]["rss_start"]
                .as_f64()
                .unwrap_or_default();
        (ran, report, grown)
    };
    let (ran, folded, grown) = of(&["--history", "checkpoint"]);
    // 600,000 entries with 300 bytes each are 270 MiB.
    assert!(grown < 60.0, "{grown} MiB");
    ran.assert_says("history  a checkpoint has the entries up to");
    assert_eq!(folded["history"]["keeps"], "checkpoint");
    // A fold is due at 8,192 entries, and at the double of it calls wait for one.
    let entries = folded["journal_entries"].as_u64();
    assert!(entries <= Some(16_384), "{folded}");
    assert!(folded["history"]["folds"].as_u64() >= Some(1), "{folded}");
    let (_, full, grown_full) = of(&[]);
    assert!(grown_full > 2.0 * grown, "{grown} of {grown_full} MiB");
    assert_eq!(full["history"]["keeps"], "full");
    assert_eq!(full["journal_entries"], 600_000);
    assert_eq!(full["result_digest"], folded["result_digest"]);
}
