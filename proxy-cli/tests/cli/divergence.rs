//! `run --on-divergence` and `run --export-objects`: the ways out when a replay gives something
//! else.

use std::fs;

use serde_json::Value;

use super::{Folder, Ran, engines, guest, report, wasm_proxy};

/// The policy calls `bump` pure, but `put` gives something else after it.
const BUMPED: &str = r#"(module
    (memory (export "memory") 1)
    (global $bump (mut i32) (i32.const 0))
    (global $n (mut i32) (i32.const 0))
    (func (export "bump") (global.set $bump (i32.const 1)))
    (func (export "leak")
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable))))
    (func (export "put") (result i32)
        (global.set $n (i32.add (global.get $n) (i32.const 1)))
        (i32.add (global.get $bump) (i32.mul (global.get $n) (i32.const 10))))
    (func (export "count") (result i32) (global.get $n)))"#;

const POLICY: &str =
    "[[export]]\nmatch = \"put\"\nrole = \"mutate\"\n[[export]]\nmatch = \"*\"\nrole = \"pure\"\n";

fn bumped(folder: &Folder, engine: &str, how: &str, count: u32) -> (Ran, Value) {
    let module = folder.file("bumped.wat", BUMPED);
    let policy = folder.file("bumped.toml", POLICY);
    let workload = format!(
        "{}\n{}\n{}\n{{\"call\":\"count\",\"expect\":{count}}}\n",
        r#"{"call":"bump"}"#,
        r#"{"repeat":2,"do":[{"call":"put"}]}"#,
        r#"{"repeat":300,"do":[{"call":"leak"}]}"#
    );
    let workload = folder.file("bumped.jsonl", workload);
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
        "--engine",
        engine,
        "--on-divergence",
        how,
        "--report",
        &path.display().to_string(),
    ]);
    (ran, report(&path))
}

#[test]
fn a_divergence_fails_the_run_unless_it_is_to_be_accepted_or_skipped() {
    let folder = Folder::new();
    for engine in engines() {
        let (ran, report) = bumped(&folder, engine, "fail", 2);
        ran.assert_code(1)
            .assert_says("replay diverged")
            .assert_says("--on-divergence accept or skip");
        assert_eq!(report["replay"]["cuts"], Value::Array(vec![]), "{engine}");
        for (how, kind, count) in [("accept", "accepted", 2), ("skip", "skipped", 0)] {
            let (ran, report) = bumped(&folder, engine, how, count);
            ran.assert_code(0).assert_says("the journal was cut");
            let cuts = report["replay"]["cuts"].as_array().expect("a list");
            let told: Vec<_> = cuts
                .iter()
                .map(|cut| (cut["entry"].as_u64(), cut["kind"].as_str()))
                .collect();
            assert_eq!(
                told,
                [(Some(1), Some(kind)), (Some(2), Some(kind))],
                "{engine}"
            );
            assert_eq!(cuts[0]["expected"], "11");
        }
    }
}

#[test]
fn live_objects_are_written_with_a_list_of_them() {
    let folder = Folder::new();
    let workload = [
        r#"{"call":"srs_create","args":[4],"as":"srs"}"#,
        r#"{"call":"index_create","args":[{"handle":"srs"},0]}"#,
    ];
    let workload = folder.file("w.jsonl", workload.join("\n"));
    let (module, policy) = (guest("prebuilt/prover.wasm"), guest("policies/prover.toml"));
    for engine in engines() {
        let directory = folder.path(engine);
        let path = directory.display().to_string();
        let ran = wasm_proxy(&[
            "run",
            &module,
            "--policy",
            &policy,
            "--workload",
            &workload,
            "--export-objects",
            &path,
            "--engine",
            engine,
        ]);
        ran.assert_code(0).assert_says("1 of 2 live objects are in");
        let list = fs::read_to_string(directory.join("objects.jsonl")).expect("it is there");
        let lines = list
            .lines()
            .map(|line| serde_json::from_str(line).expect("it is JSON"));
        let objects: Vec<Value> = lines.collect();
        let (with, without): (Vec<_>, Vec<_>) = objects
            .iter()
            .partition(|object| object["file"].is_string());
        assert_eq!((with.len(), without.len()), (1, 1), "{engine}: {list}");
        for object in with {
            let name = object["file"].as_str().expect("a name");
            let bytes = fs::read(directory.join(name)).expect("it is there");
            assert_eq!(object["bytes"].as_u64(), Some(bytes.len() as u64));
            let hash = blake3::hash(&bytes).to_hex().to_string();
            assert_eq!(object["blake3"].as_str(), Some(&*hash));
        }
        for object in without {
            let reason = object["reason"].as_str().expect("a reason");
            assert!(reason.contains("has no artifact"), "{reason}");
        }
    }
}

#[test]
fn what_cannot_be_a_directory_of_objects_is_bad_input() {
    let folder = Folder::new();
    let file = folder.file("file", "");
    wasm_proxy(&["run", "--calls", "1", "--export-objects", &file])
        .assert_code(2)
        .assert_says("give --export-objects a directory that can be made");
}

#[test]
fn objects_are_not_written_among_those_of_an_earlier_run() {
    let folder = Folder::new();
    let directory = folder.path("objects");
    let path = directory.display().to_string();
    let run = ["run", "--calls", "1", "--export-objects", &path];
    // A run that is refused leaves nothing behind that would refuse the next one.
    wasm_proxy(&[&run[..], &["--engine", "none"]].concat()).assert_code(2);
    wasm_proxy(&run).assert_code(0);
    let files = || fs::read_dir(&directory).expect("it is there").count();
    let before = files();
    assert!(before > 0);
    wasm_proxy(&run)
        .assert_code(2)
        .assert_says("is not empty")
        .assert_says("give --export-objects a new directory");
    assert_eq!(files(), before);
}

/// What `make` gives depends on `bump`, which the policy calls pure.
const MADE: &str = r#"(module
    (memory (export "memory") 1)
    (global $bump (mut i32) (i32.const 0))
    (func (export "bump") (global.set $bump (i32.const 1)))
    (func (export "leak")
        (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (unreachable))))
    (func (export "make") (result i32) (i32.const 8))
    (func (export "say") (param i32) (result i32) (global.get $bump)))"#;

const MADE_POLICY: &str = r#"
[[export]]
match = "make"
role = "create"
results = ["handle:thing"]
fingerprint = "say"
[[export]]
match = "say"
role = "pure"
args = ["handle:thing"]
[[export]]
match = "*"
role = "pure"
"#;

#[test]
fn a_cut_that_is_refused_says_why() {
    let folder = Folder::new();
    let module = folder.file("made.wat", MADE);
    let policy = folder.file("made.toml", MADE_POLICY);
    let workload = folder.file(
        "made.jsonl",
        "{\"call\":\"bump\"}\n{\"call\":\"make\",\"as\":\"x\"}\n{\"repeat\":80,\"do\":[{\"call\":\"leak\"}]}\n",
    );
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
        "--on-divergence",
        "skip",
        "--report",
        &path.display().to_string(),
    ]);
    ran.assert_code(1)
        .assert_says("warning: entry #1 cannot be skipped: ")
        .assert_says("no standby can be made; entry #1 cannot be skipped: ");
    assert!(!ran.stdout.contains("--on-divergence accept or skip"));
    let refused = report(&path)["replay"]["refused_cut"].clone();
    let refused = refused.as_str().expect("a reason");
    assert!(refused.contains("entry #1 cannot be skipped"), "{refused}");
}
