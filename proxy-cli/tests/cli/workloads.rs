//! All that a workload can express, on any module with any policy.

use serde_json::Value;

use super::{Folder, Ran, engines, guest, report, wasm_proxy};

/// Echoes of every type; text and bytes come back as they went in.
const ECHO: &str = r#"(module
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (global $sum (mut i64) (i64.const 0))
    (func (export "i32") (param i32) (result i32) (local.get 0))
    (func (export "i64") (param i64) (result i64) (local.get 0))
    (func (export "f32") (param f32) (result f32) (local.get 0))
    (func (export "f64") (param f64) (result f64) (local.get 0))
    (func (export "both") (param i32) (result i32 i64) (local.get 0) (i64.const 7))
    (func (export "bytes") (param i32 i32) (result i32 i32) (local.get 0) (local.get 1))
    (func (export "text") (param i32 i32) (result i32 i32) (local.get 0) (local.get 1))
    (func (export "nothing") (result i64) (i64.const 0))
    (func (export "add") (param i64) (result i64)
        (global.set $sum (i64.add (global.get $sum) (local.get 0)))
        (global.get $sum))
    (func (export "trap") unreachable)
    (func (export "alloc") (param i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 0))))
    (func (export "free") (param i32 i32)))"#;

const POLICY: &str = r#"
[module]
allocator = { alloc = "alloc", free = "free" }
[[export]]
match = "bytes"
role = "pure"
args = ["bytes"]
results = ["bytes:borrowed"]
[[export]]
match = "text"
role = "pure"
args = ["string"]
results = ["string:borrowed"]
[[export]]
match = "nothing"
role = "pure"
results = ["bytes"]
[[export]]
match = "add"
role = "mutate"
[[export]]
match = "{alloc,free}"
role = "pure"
[[export]]
match = "*"
role = "pure"
"#;

fn echo(workload: &str, options: &[&str]) -> (Ran, Value) {
    let folder = Folder::new();
    let module = folder.file("echo.wat", ECHO);
    let policy = folder.file("policy.toml", POLICY);
    let workload = folder.file("w.jsonl", workload);
    let path = folder.path("report.json");
    let report_path = path.display().to_string();
    let mut args = vec!["run", &module, "--policy", &policy, "--workload", &workload];
    args.extend(["--report", &report_path]);
    args.extend(options);
    let ran = wasm_proxy(&args);
    let report = report(&path);
    (ran, report)
}

const EVERYTHING: &str = r#"
# Numbers take the type of the parameter.
{"call":"i32","args":[4294967295],"as":"minus one","expect":-1}
{"call":"i32","args":[{"handle":"minus one"}],"expect":-1}
{"call":"i64","args":[18446744073709551615],"expect":-1}
{"call":"f32","args":[0.1],"expect":0.1}
{"call":"f64","args":[1],"expect":1.0}
{"call":"both","args":[3],"as":["a","b"],"expect":[3,7]}
{"call":"i64","args":[{"handle":"b"}],"expect":7}
// Buffers.
{"call":"bytes","args":[{"bytes":"AAEC"}],"as":"x","expect":{"bytes":"AAEC"}}
{"call":"bytes","args":[{"handle":"x"}],"expect":{"bytes":"AAEC"}}
{"call":"bytes","args":[{"text":"plain"}],"expect":"plain"}
{"call":"text","args":[{"text":"Grüße"}],"as":"t","expect":"Grüße"}
{"call":"text","args":[{"handle":"t"}],"expect":"Grüße"}
{"call":"nothing","expect":null}

{"repeat":3,"do":[{"repeat":4,"do":[{"call":"add","args":[{"index":true}],"as":"sum"}]},{"call":"i64","args":[{"handle":"sum"}]}]}
{"call":"i64","args":[{"handle":"sum"}],"expect":18}
{"pinned":[{"call":"i32","args":[5],"as":"five"},{"repeat":2,"do":[{"call":"i32","args":[{"handle":"five"}],"expect":5}]}]}
{"call":"i32","args":[{"handle":"five"}],"expect":5}
"#;

#[test]
fn every_kind_of_argument_and_result_crosses_on_every_engine() {
    let (ran, bare) = echo(EVERYTHING, &["--without-proxy"]);
    ran.assert_code(0);
    for engine in engines() {
        let (ran, report) = echo(EVERYTHING, &["--engine", engine]);
        ran.assert_code(0).assert_says("every call succeeded");
        assert_eq!(report["calls"]["total"], 13 + 15 + 1 + 3 + 1);
        assert_eq!(report["result_digest"], bare["result_digest"], "{engine}");
    }
}

#[test]
fn a_result_that_was_not_expected_is_a_failed_call() {
    let (ran, report) = echo(
        "{\"call\":\"add\",\"args\":[1],\"expect\":2}\n\
         {\"pinned\":[{\"call\":\"text\",\"args\":[{\"text\":\"a\"}],\"expect\":\"b\"}]}\n\
         {\"call\":\"add\",\"args\":[1],\"expect\":2}",
        &[],
    );
    ran.assert_code(1)
        .assert_says("line 1: `add` returned 1, expected was 2")
        .assert_says("line 2: `text` returned \"a\", expected was \"b\"");
    assert_eq!(
        (&report["calls"]["total"], &report["calls"]["failed"]),
        (&3.into(), &2.into())
    );
}

#[test]
fn a_call_that_traps_fails_and_the_state_lives_on() {
    let (ran, report) = echo(
        "{\"call\":\"add\",\"args\":[5]}\n{\"call\":\"trap\"}\n{\"call\":\"add\",\"args\":[1],\"expect\":6}",
        &[],
    );
    ran.assert_code(1).assert_says("`trap` trapped");
    assert_eq!(report["calls"]["failed"], 1);
    assert_eq!(report["calls"]["retried"], 1);
    assert!(
        report["swaps"]["emergency"].as_u64() >= Some(1),
        "{report:#}"
    );
}

#[test]
fn a_workload_is_given_up_when_calls_keep_failing() {
    let trap = "{\"call\":\"trap\"}";
    let good = "{\"call\":\"i32\",\"args\":[1]}";
    for (steps, failed) in [(trap.to_owned(), 100), (format!("{trap},{good}"), 111)] {
        let (ran, report) = echo(&format!("{{\"repeat\":100000,\"do\":[{steps}]}}"), &[]);
        ran.assert_code(1).assert_says("given up at call");
        assert_eq!(report["calls"]["failed"], failed);
    }
}

#[test]
fn calls_can_be_limited_within_a_workload() {
    let (ran, report) = echo(
        "{\"repeat\":1000,\"do\":[{\"call\":\"add\",\"args\":[1]},{\"call\":\"i32\",\"args\":[1]}]}",
        &["--calls", "7"],
    );
    ran.assert_code(0);
    assert_eq!(report["calls"]["total"], 7);
}

#[test]
fn the_other_guests_run_with_their_policies_and_workloads() {
    for (name, workload, calls) in [
        ("chain", "chain", "400"),
        ("kv", "kv", "6000"),
        ("kv", "kv_small", "9126"),
        ("prover", "two_circuits", "13"),
    ] {
        let module = guest(&format!("prebuilt/{name}.wasm"));
        let policy = guest(&format!("policies/{name}.toml"));
        let workload = guest(&format!("workloads/{workload}.jsonl"));
        let mut args = vec!["run", &module, "--policy", &policy, "--workload", &workload];
        args.extend(["--calls", calls, "--memory-limit", "64MiB"]);
        wasm_proxy(&args).assert_code(0);
    }
}

#[test]
fn a_spinning_call_ends_at_its_deadline() {
    let folder = Folder::new();
    let module = folder.file(
        "spin.wat",
        "(module (func (export \"spin\") (loop (br 0))))",
    );
    let workload = folder.file("w.jsonl", "{\"call\":\"spin\"}");
    wasm_proxy(&[
        "run",
        &module,
        "--workload",
        &workload,
        "--deadline",
        "50ms",
    ])
    .assert_code(1)
    .assert_says("deadline exceeded");
}

#[test]
fn no_call_fails_that_fits_without_the_holes_of_the_calls_before_it() {
    let folder = Folder::new();
    let workload = std::fs::read_to_string(guest("workloads/kv.jsonl")).expect("it is there");
    let workload = workload.replacen("\"repeat\":12,", "\"repeat\":3,", 1);
    let workload = folder.file("kv.jsonl", workload);
    let (module, policy) = (guest("prebuilt/kv.wasm"), guest("policies/kv.toml"));
    let path = folder.path("report.json");
    for limit in ["20MiB", "24MiB", "32MiB"] {
        let ran = wasm_proxy(&[
            "run",
            &module,
            "--policy",
            &policy,
            "--workload",
            &workload,
            "--memory-limit",
            limit,
            "--report",
            &path.display().to_string(),
        ]);
        ran.assert_code(0).assert_says("every call succeeded");
        let report = report(&path);
        assert!(report["swaps"]["count"].as_u64() > Some(0), "{report}");
        assert_eq!(report["replay"]["diverged"], 0, "{report}");
    }
}
