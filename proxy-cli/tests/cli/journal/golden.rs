//! Journals that this program made when each format was released. They never change, and stay
//! readable.

use std::path::Path;
use std::{fs, io};

use super::super::wasm_proxy;
use super::{Ledger, dump, golden};

/// A copy of a golden journal, because opening one for writing changes it.
fn copy(ledger: &Ledger, name: &str) -> String {
    let to = ledger.folder.path(name);
    copy_folder(&golden().join(name), &to).expect("the golden journal can be copied");
    to.display().to_string()
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

const NOTE: &str = r#"{"call":"note","args":[{"text":"a later release"}]}"#;

#[test]
fn golden_journals_are_read_replayed_and_gone_on_from() {
    let ledger = Ledger::new();
    for (name, history, kind) in [
        ("full", "full", ".entries: good"),
        ("checkpoint", "checkpoint", ".state: good"),
    ] {
        let dir = copy(&ledger, name);
        wasm_proxy(&["journal", "verify", &dir])
            .assert_code(0)
            .assert_says("of format 1")
            .assert_says(kind);
        let expected = fs::read_to_string(golden().join(format!("{name}.dump"))).unwrap();
        let dumped = wasm_proxy(&["journal", "dump", &dir]);
        // One record has 60,000 bytes, whose beginning is enough.
        let lines = dumped.assert_code(0).stdout.lines();
        let lines = lines.map(|line| &line[..line.len().min(160)]);
        assert_eq!(
            lines.collect::<Vec<_>>(),
            expected.lines().collect::<Vec<_>>(),
            "{name}"
        );
        ledger
            .replay(&dir, &[])
            .assert_code(0)
            .assert_says("every engine gives what the journal has");
        let before = dump(&dir, &[]).len();
        ledger
            .run(&dir, NOTE, &["--history", history])
            .assert_code(0);
        assert_eq!(dump(&dir, &[]).len(), before + 1);
    }
}

#[test]
fn a_golden_export_is_imported() {
    let ledger = Ledger::new();
    let dir = ledger.dir("imported");
    let file = golden().join("full.export").display().to_string();
    wasm_proxy(&["journal", "import", &file, &dir]).assert_code(0);
    assert_eq!(dump(&dir, &[])[1..], dump(&copy(&ledger, "full"), &[])[1..]);
}
