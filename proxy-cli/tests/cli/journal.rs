//! `run --journal`, `journal` and `replay`: what was acknowledged is there, whatever happens.

mod golden;
mod killed;
mod replayed;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Folder, Ran, report, wasm_proxy};

/// Where the golden journals are, with their module.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journal-1")
}

/// The module of accounts and notes, its policy, and a folder for journals.
struct Ledger {
    folder: Folder,
    module: String,
    policy: String,
}

/// Two accounts, notes and an account that is closed: 27 entries.
const CALLS: &str = r#"
{"call":"open","as":"a"}
{"call":"open","as":"b"}
{"repeat":20,"do":[{"call":"add","args":[{"handle":"a"},{"index":true}]}]}
{"call":"add","args":[{"handle":"b"},-5],"expect":-5}
{"call":"note","args":[{"text":"first"}]}
{"call":"note","args":[{"text":"second"}]}
{"call":"close","args":[{"handle":"b"}]}
{"call":"total","args":[{"handle":"a"}],"expect":190}
"#;

impl Ledger {
    fn new() -> Self {
        let read = |name| fs::read(golden().join(name)).expect("the golden files are there");
        let folder = Folder::new();
        let module = folder.file("ledger.wat", read("ledger.wat"));
        let policy = folder.file("ledger.toml", read("ledger.toml"));
        Self {
            folder,
            module,
            policy,
        }
    }

    fn dir(&self, name: &str) -> String {
        self.folder.path(name).display().to_string()
    }

    /// The arguments of a run on a journal.
    fn args(&self, journal: &str, calls: &str, options: &[&str]) -> Vec<String> {
        let workload = self.folder.file("w.jsonl", calls);
        let mut args = vec!["run", &self.module, "--policy", &self.policy];
        args.extend(["--workload", &workload, "--journal", journal]);
        args.extend(options);
        args.into_iter().map(ToOwned::to_owned).collect()
    }

    fn run(&self, journal: &str, calls: &str, options: &[&str]) -> Ran {
        let args = self.args(journal, calls, options);
        wasm_proxy(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A run that succeeds, and its report.
    fn report(&self, journal: &str, calls: &str, options: &[&str]) -> Value {
        let path = self.folder.path("report.json");
        let report_path = path.display().to_string();
        let options = [&["--report", &report_path], options].concat();
        self.run(journal, calls, &options).assert_code(0);
        report(&path)
    }

    /// `replay` with the module and the policy of the ledger.
    fn replay(&self, journal: &str, options: &[&str]) -> Ran {
        let args = [
            "replay",
            journal,
            "--module",
            &self.module,
            "--policy",
            &self.policy,
        ];
        wasm_proxy(&[&args[..], options].concat())
    }
}

/// The records of a journal, as `dump --json` has them.
fn dump(journal: &str, options: &[&str]) -> Vec<Value> {
    let args = [&["journal", "dump", journal, "--json"], options].concat();
    let ran = wasm_proxy(&args);
    ran.assert_code(0);
    let lines = ran.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

fn entries(journal: &str) -> usize {
    let records = dump(journal, &[]);
    let entries = records.iter().filter(|record| record["kind"] == "entry");
    entries.count()
}

#[test]
fn a_run_goes_on_from_the_state_of_the_one_before() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    let first = ledger.report(&dir, CALLS, &[]);
    assert_eq!(first["journal"]["recovered"], Value::Null);
    // The first instantiation is a record too.
    assert_eq!(first["journal"]["records"], 27, "{first}");
    let second = ledger.run(
        &dir,
        "{\"call\":\"note\",\"args\":[{\"text\":\"third\"}]}",
        &[],
    );
    second
        .assert_code(0)
        .assert_says("the state up to entry #26 was made again");
    let whole = ledger.dir("whole");
    let calls = format!("{CALLS}{{\"call\":\"note\",\"args\":[{{\"text\":\"third\"}}]}}");
    ledger.report(&whole, &calls, &[]);
    let last = |dir: &str| dump(dir, &[]).pop().map(|record| record["results"].clone());
    assert_eq!(last(&dir), last(&whole));
}

#[test]
fn a_call_with_an_id_is_made_once_in_all_runs() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    let calls = r#"
        {"call":"open","as":"a","id":"open"}
        {"repeat":5,"do":[{"call":"add","args":[{"handle":"a"},{"index":true}],"id":"add"}]}
        {"call":"note","args":[{"text":"x"}],"id":"note"}
        {"call":"total","args":[{"handle":"a"}],"expect":10}"#;
    let first = ledger.report(&dir, calls, &[]);
    let again = ledger.report(&dir, calls, &[]);
    assert_eq!(first["result_digest"], again["result_digest"]);
    assert_eq!(entries(&dir), 7);
    // The same id with another call is a mistake in the workload.
    let other = r#"{"call":"note","args":[{"text":"y"}],"id":"note"}"#;
    ledger
        .run(&dir, other, &[])
        .assert_code(2)
        .assert_says("was given to another call before")
        .assert_says("try: another \"id\"");
}

#[test]
fn another_module_or_policy_is_refused_with_a_way_out() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    ledger.run(&dir, CALLS, &[]).assert_code(0);
    let before = entries(&dir);
    let mut other = Ledger::new();
    let text = fs::read_to_string(&other.module).unwrap();
    other.module = other
        .folder
        .file("other.wat", text.replace("const 31", "const 33"));
    other
        .run(&dir, CALLS, &[])
        .assert_code(2)
        .assert_says("the journal in the store is of module")
        .assert_says("--migrate OLD --dry-run");
    let mut other = Ledger::new();
    let text = fs::read_to_string(&other.policy).unwrap();
    let text = text.replace("mutates = [0]", "");
    other.policy = other.folder.file("other.toml", text);
    other
        .run(&dir, CALLS, &[])
        .assert_code(2)
        .assert_says("was made with the policy of hash");
    assert_eq!(entries(&dir), before);
}

#[test]
fn a_journal_that_nothing_was_put_into_is_in_nobodys_way() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    let mut wrong = Ledger::new();
    wrong.policy = wrong
        .folder
        .file("p.toml", "[[export]]\nmatch = \"opem\"\nrole = \"create\"");
    wrong
        .run(&dir, CALLS, &[])
        .assert_code(2)
        .assert_says("opem");
    assert!(!Path::new(&dir).exists());
    ledger.run(&dir, CALLS, &[]).assert_code(0);
}

#[test]
fn a_journal_moves_to_another_module_that_gives_the_same() {
    let ledger = Ledger::new();
    let old = ledger.dir("old");
    ledger.run(&old, CALLS, &[]).assert_code(0);
    let before = wasm_proxy(&["journal", "dump", &old]).stdout;
    let text = fs::read_to_string(&ledger.module).unwrap();
    let mut same = Ledger::new();
    let faster = text.replace(
        "(func (export \"state\")",
        "(func $more) (func (export \"state\")",
    );
    same.module = same.folder.file("same.wat", faster);
    let dry = |ledger: &Ledger| {
        let args = ["run", &ledger.module, "--policy", &ledger.policy];
        wasm_proxy(&[&args[..], &["--migrate", &old, "--dry-run"]].concat())
    };
    dry(&same)
        .assert_code(0)
        .assert_says("entries give the same on")
        .assert_says("digest ");
    let new = ledger.dir("new");
    let note = "{\"call\":\"note\",\"args\":[{\"text\":\"third\"}]}";
    same.run(&new, note, &["--migrate", &old]).assert_code(0);
    // It is migrated, and no other may be put on top of it.
    same.run(&new, note, &["--migrate", &old])
        .assert_code(2)
        .assert_says("create another");
    same.replay(&new, &[]).assert_code(0);
    let mut other = Ledger::new();
    other.module = other
        .folder
        .file("other.wat", text.replace("const 31", "const 33"));
    dry(&other)
        .assert_code(3)
        .assert_says("replay diverged at entry #24")
        .assert_says("`note`");
    let not = ledger.dir("not");
    other.run(&not, note, &["--migrate", &old]).assert_code(3);
    assert_eq!(wasm_proxy(&["journal", "dump", &old]).stdout, before);
}

#[test]
fn a_history_kept_as_a_checkpoint_is_opened_from_its_state() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    ledger.run(&dir, CALLS, &[]).assert_code(0);
    let compact = |options: &[&str]| {
        let args = ["journal", "compact", &dir, "--module", &ledger.module];
        let args = [&args[..], &["--policy", &ledger.policy], options].concat();
        wasm_proxy(&args)
    };
    compact(&["--history", "checkpoint"])
        .assert_code(0)
        .assert_says("records 27 -> 0");
    let note = "{\"call\":\"note\",\"args\":[{\"text\":\"third\"}]}";
    ledger
        .run(&dir, note, &[])
        .assert_code(2)
        .assert_says("try: --history checkpoint");
    let report = ledger.report(&dir, note, &["--history", "checkpoint"]);
    assert_eq!(report["journal"]["recovered"]["checkpoint"], 26);
    // It stays what it is, also when it is made small again.
    compact(&[]).assert_code(0).assert_says("records 1 -> ");
    compact(&[]).assert_code(0).assert_says("nothing to do");
    ledger
        .replay(&dir, &[])
        .assert_code(0)
        .assert_says("after the state at #2");
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(0)
        .assert_says(".state: good");
}

#[test]
fn options_that_make_no_sense_are_refused() {
    let ledger = Ledger::new();
    for (options, needle) in [
        (&["--durability", "relaxed:10ms"][..], "--journal"),
        (&["--journal", "j", "--durability", "fast"], "relaxed:100ms"),
        (&["--dry-run"], "--migrate"),
        (&["--migrate", "old"], "cannot open the journal `old`"),
        (&["--journal", &ledger.policy], "is a file"),
    ] {
        let args = ["run", "--calls", "1"];
        let ran = wasm_proxy(&[&args[..], options].concat());
        ran.assert_code(2);
        if needle != "is a file" {
            ran.assert_says(needle);
        }
    }
}

#[test]
fn a_relaxed_journal_has_everything_after_a_run_that_ended() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    ledger
        .run(&dir, CALLS, &["--durability", "relaxed:1m"])
        .assert_code(0);
    assert_eq!(entries(&dir), 26);
    ledger.replay(&dir, &[]).assert_code(0);
}
