//! Runs that end in the middle: killed, terminated, or because the disk is full.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::{command, report, wasm_proxy};
use super::{Ledger, entries};

/// How many calls the workload makes that are journaled.
const JOURNALED: usize = 1201;

/// Every journaled call has an id, so a run that is repeated goes on where the last one ended. Each
/// result tells of all the calls before it: one that was lost, or made twice, changes the digest.
fn calls() -> String {
    r#"{"call":"open","as":"a","id":"open"}
       {"repeat":600,"do":[
           {"call":"add","args":[{"handle":"a"},{"index":true}],"id":"add"},
           {"call":"note","args":[{"text":"some text"}],"id":"note"}]}
       {"call":"total","args":[{"handle":"a"}],"expect":179700}"#
        .replace("\n           ", "")
}

fn start(ledger: &Ledger, journal: &str, options: &[&str]) -> Child {
    let args = ledger.args(journal, &calls(), options);
    let mut command = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// A process that has said something: its journal is open, and it makes calls.
fn started(ledger: &Ledger, journal: &str, options: &[&str]) -> Child {
    let mut child = start(ledger, journal, options);
    let mut first = [0];
    let stderr = child.stderr.as_mut().expect("it is piped");
    stderr.read_exact(&mut first).expect("it announces itself");
    child
}

/// Numbers that look random and are the same in each run.
fn moments() -> impl Iterator<Item = Duration> {
    let mut state = 0x9e37_79b9_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis((state >> 33) % 120)
    })
}

fn killed_and_repeated(options: &[&str], loses_nothing: bool) {
    let ledger = Ledger::new();
    let clean = ledger.report(&ledger.dir("clean"), &calls(), &[]);
    let dir = ledger.dir("journal");
    let mut acknowledged = 0;
    for moment in moments().take(8) {
        let mut child = started(&ledger, &dir, options);
        thread::sleep(moment);
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
        wasm_proxy(&["journal", "verify", &dir])
            .assert_code(0)
            .assert_says("every record and every checkpoint is good");
        let now = entries(&dir);
        assert!(
            !loses_nothing || now >= acknowledged,
            "{now} of {acknowledged}"
        );
        acknowledged = now;
    }
    let last = ledger.report(&dir, &calls(), options);
    assert_eq!(last["result_digest"], clean["result_digest"]);
    assert_eq!(entries(&dir), JOURNALED);
    ledger.replay(&dir, &[]).assert_code(0);
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    killed_and_repeated(&[], true);
}

#[test]
fn a_relaxed_run_that_is_killed_goes_on_from_what_was_flushed() {
    killed_and_repeated(&["--durability", "relaxed:5ms"], true);
}

#[test]
fn a_run_that_is_terminated_leaves_what_was_acknowledged() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    for signal in ["-TERM", "-INT"] {
        let mut child = started(&ledger, &dir, &[]);
        let kill = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(kill.expect("there is a `kill`").success());
        child.wait().expect("it has ended");
        wasm_proxy(&["journal", "verify", &dir]).assert_code(0);
    }
    let last = ledger.report(&dir, &calls(), &[]);
    let clean = ledger.report(&ledger.dir("clean"), &calls(), &[]);
    assert_eq!(last["result_digest"], clean["result_digest"]);
}

#[test]
fn a_second_process_on_a_journal_is_refused() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    // More calls than it can make in the time of this test.
    let endless = r#"{"repeat":100000000,"do":[{"call":"note","args":[{"text":"x"}]}]}"#;
    let args = ledger.args(&dir, endless, &[]);
    let mut command = command(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !ledger.folder.path("journal/watermark").exists() {
        assert!(Instant::now() < deadline, "the journal is never there");
        thread::sleep(Duration::from_millis(5));
    }
    let refused = ledger.run(&dir, "{\"call\":\"open\"}", &[]);
    let verified = wasm_proxy(&["journal", "verify", &dir]);
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
    for ran in [refused, verified] {
        ran.assert_code(2)
            .assert_says("is in use; stop the other owner first");
    }
    ledger.run(&dir, "{\"call\":\"open\"}", &[]).assert_code(0);
}

/// Runs the program with a limit of file sizes, which is the same to it as a full disk. The signal that
/// goes with the limit is ignored.
fn with_files_up_to(mib: u32, args: &[String]) -> (Option<i32>, String) {
    // Blocks of 512 bytes.
    let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", mib * 2048);
    let output = Command::new("sh")
        .args(["-c", &limited])
        .arg(env!("CARGO_BIN_EXE_wasm-proxy"))
        .args(args)
        .env_remove("WASM_PROXY_ENABLED")
        .output()
        .expect("there is a shell");
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    (output.status.code(), said)
}

/// Each note has 60,000 bytes, and files may have 4 MiB.
#[test]
fn a_full_disk_refuses_journaled_calls_and_the_next_run_goes_on() {
    let ledger = Ledger::new();
    let text = "x".repeat(60_000);
    let calls = format!(
        "{{\"repeat\":200,\"do\":[{{\"call\":\"note\",\"args\":[{{\"text\":\"{text}\"}}],\"id\":\"note\"}}]}}\n\
         {{\"call\":\"state\"}}"
    );
    let dir = ledger.dir("journal");
    let path = ledger.folder.path("full.json");
    let report_path = path.display().to_string();
    let args = ledger.args(&dir, &calls, &["--report", &report_path]);
    let (code, said) = with_files_up_to(4, &args);
    assert_eq!(code, Some(1), "{said}");
    let mut refused = said.lines().filter(|line| line.contains("no room"));
    let is_said_once = |line: &str| line.matches("no room for the journal").count() == 1;
    assert!(refused.clone().count() > 1, "{said}");
    assert!(refused.all(is_said_once), "{said}");
    let full: Value = report(&path);
    assert!(
        full["journal"]["undone_calls"].as_u64() >= Some(1),
        "{full}"
    );
    wasm_proxy(&["journal", "verify", &dir]).assert_code(0);
    let kept = entries(&dir);
    assert!(kept > 0 && kept < 200, "{kept}");
    // Where no byte can be written, a process that begins there has the state, and takes no call.
    let total = "{\"call\":\"state\"}";
    let (code, said) = with_files_up_to(0, &ledger.args(&dir, total, &[]));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = with_files_up_to(0, &ledger.args(&dir, "{\"call\":\"open\"}", &[]));
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(entries(&dir), kept);
    // Nor is a call forgotten that was acknowledged before there was no room for it.
    let relaxed = ledger.dir("relaxed");
    let args = ledger.args(
        &relaxed,
        &calls,
        &["--report", &report_path, "--durability", "relaxed:600s"],
    );
    let (code, said) = with_files_up_to(4, &args);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("acknowledged calls are not in the journal: no room"),
        "{said}"
    );
    assert!(!said.contains("every call succeeded"), "{said}");
    let told = report(&path)["journal"]["lost_calls"].as_u64();
    assert_eq!((told, entries(&relaxed)), (Some(200), 0));
    let last = ledger.report(&dir, &calls, &[]);
    let clean = ledger.report(&ledger.dir("clean"), &calls, &[]);
    assert_eq!(last["result_digest"], clean["result_digest"]);
}
