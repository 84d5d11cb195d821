//! `replay`: a recorded journal on every engine.

use std::fs;

use super::super::{engines, wasm_proxy};
use super::{CALLS, Ledger};

#[test]
fn every_engine_gives_what_a_journal_has() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    ledger.run(&dir, CALLS, &[]).assert_code(0);
    let ran = ledger.replay(&dir, &[]);
    // The entries of the closed account are compared too.
    ran.assert_code(0)
        .assert_says("26 entries equal, up to #26")
        .assert_says("every engine gives what the journal has");
    for engine in engines() {
        ran.assert_says(engine);
    }
    let digests = ran.stdout.matches("state digest ").count();
    assert_eq!(digests, engines().len());
    let one = engines()[0];
    ledger
        .replay(&dir, &["--engine", one, "--until", "10"])
        .assert_code(0)
        .assert_says("10 entries equal, up to #10");
    // Nothing was written.
    ledger.run(&dir, "{\"call\":\"open\"}", &[]).assert_code(0);
}

#[test]
fn a_divergence_is_named_with_what_each_engine_gives() {
    let ledger = Ledger::new();
    let dir = ledger.dir("journal");
    ledger.run(&dir, CALLS, &[]).assert_code(0);
    let text = fs::read_to_string(&ledger.module).unwrap();
    let mut other = Ledger::new();
    other.module = other
        .folder
        .file("other.wat", text.replace("const 31", "const 33"));
    other
        .replay(&dir, &[])
        .assert_code(2)
        .assert_says("is of module");
    for tool in [&["replay"][..], &["journal", "compact"]] {
        wasm_proxy(&[tool, &[&dir]].concat())
            .assert_code(2)
            .assert_says("no --module was given, so it is the embedded prover")
            .assert_says("is of module");
    }
    let lying = lying();
    let lied = lying.dir("journal");
    lying.run(&lied, LIES, &[]).assert_code(0);
    let ran = lying.replay(&lied, &[]);
    ran.assert_code(3)
        .assert_says("DIVERGED at entry #2 (`count`), results: expected 3, got 2")
        .assert_says("not every engine gives what the journal has");
    assert_eq!(ran.stdout.matches("DIVERGED").count(), engines().len());
    // Up to there it is good.
    lying.replay(&lied, &["--until", "1"]).assert_code(0);
}

/// `bump` is called pure, and `count` reads what it writes.
const LIES: &str = r#"{"call":"count","expect":1}
{"call":"bump"}
{"call":"count","expect":3}
{"call":"count"}
"#;

fn lying() -> Ledger {
    let mut lying = Ledger::new();
    lying.module = lying.folder.file(
        "lying.wat",
        r#"(module
            (global $n (mut i32) (i32.const 0))
            (func (export "bump") (global.set $n (i32.add (global.get $n) (i32.const 1))))
            (func (export "count") (result i32)
                (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"#,
    );
    lying.policy = lying.folder.file(
        "lying.toml",
        "[[export]]\nmatch = \"bump\"\nrole = \"pure\"\n[[export]]\nmatch = \"count\"\nrole = \"mutate\"\n",
    );
    lying
}

#[test]
fn engines_are_checked_before_anything_runs() {
    let ledger = Ledger::new();
    wasm_proxy(&["replay", &ledger.dir("nowhere"), "--engine", "v8"])
        .assert_code(2)
        .assert_says(engines()[0]);
    wasm_proxy(&["replay", &ledger.dir("nowhere"), "--until", "0"]).assert_code(2);
}
