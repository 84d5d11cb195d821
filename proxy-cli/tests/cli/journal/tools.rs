//! `journal verify | dump | compact | salvage | export | import`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::wasm_proxy;
use super::{CALLS, Ledger, dump, entries};

/// The file of the checkpoint in `journal` whose name begins like this.
fn checkpoint(ledger: &Ledger, begin: &str) -> PathBuf {
    let folder = ledger.folder.path("journal/checkpoints");
    let files = folder.read_dir().expect("the folder is there").flatten();
    let mut found = files.filter(|file| file.file_name().to_string_lossy().starts_with(begin));
    found.next().expect("the checkpoint is there").path()
}

/// A journal of [`CALLS`].
fn ledger_with(name: &str) -> (Ledger, String) {
    let ledger = Ledger::new();
    let dir = ledger.dir(name);
    ledger.run(&dir, CALLS, &[]).assert_code(0);
    (ledger, dir)
}

#[test]
fn verify_says_what_a_journal_has() {
    let (_ledger, dir) = ledger_with("journal");
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(0)
        .assert_says("records     27, 1 to 27, of format 1")
        .assert_says("26 entries, 0 calls with an id, 0 cuts")
        .assert_says("every record and every checkpoint is good");
}

#[test]
fn dump_shows_records_as_a_workload_writes_them() {
    let (ledger, dir) = ledger_with("journal");
    let records = dump(&dir, &[]);
    assert_eq!(
        (&records[0]["kind"], &records[0]["last"]),
        (&json!("journal"), &json!(27))
    );
    assert_eq!(records[1]["kind"], "genesis");
    let add = &records[5];
    assert_eq!((&add["call"], &add["sequence"]), (&json!("add"), &json!(4)));
    assert_eq!(add["args"], json!([{"handle": "#1.0"}, 1]));
    assert_eq!(add["results"], json!([1]));
    let close = &records[27];
    assert_eq!(
        (&close["call"], &close["frees"]),
        (&json!("close"), &json!(["#2.0"]))
    );
    assert_eq!(dump(&dir, &["--from", "26", "--limit", "1"]).len(), 2);
    assert_eq!(dump(&dir, &["--limit", "0"]).len(), 1);
    wasm_proxy(&["journal", "dump", &dir])
        .assert_code(0)
        .assert_says("3 #2 open() -> {\"handle\":\"#2.0\",\"type\":\"account\"}")
        .assert_says("#24 note({\"text\":\"first\"}) -> ");
    for from in ["28", "100"] {
        wasm_proxy(&["journal", "dump", &dir, "--from", from])
            .assert_code(2)
            .assert_says(&format!(
                "the journal has records 1 to 27, and --from {from} is none of them"
            ));
    }
    // What a caller passed does nothing to a terminal.
    let hostile = "{\"call\":\"note\",\"args\":[{\"text\":\"\\u001b[2J\\u009b\\u202e\"}],\"id\":\"\\u001b]0;\\u0007\"}";
    ledger.run(&dir, hostile, &[]).assert_code(0);
    for options in [&[][..], &["--json"]] {
        let ran = wasm_proxy(&[&["journal", "dump", &dir], options].concat());
        ran.assert_code(0).assert_says("\\u001b[2J\\u009b\\u202e");
        let is_bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!ran.stdout.contains(is_bad), "{:?}", ran.stdout);
    }
    assert_eq!(
        dump(&dir, &["--from", "28"])[1]["args"],
        json!([{"text": "\u{1b}[2J\u{9b}\u{202e}"}])
    );
}

#[test]
fn compact_drops_what_nothing_needs() {
    let (ledger, dir) = ledger_with("journal");
    let args = ["journal", "compact", &dir, "--module", &ledger.module];
    let compact = || wasm_proxy(&[&args[..], &["--policy", &ledger.policy]].concat());
    compact()
        .assert_code(0)
        .assert_says("records 27 -> 0")
        .assert_says("a checkpoint of");
    compact().assert_code(0).assert_says("nothing to do");
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(0)
        .assert_says("records     none after 27, of format")
        .assert_says(".entries: good: 23 entries, up to entry #26");
    let total = "{\"call\":\"open\"}\n{\"call\":\"state\"}";
    ledger.run(&dir, total, &[]).assert_code(0);
    ledger.replay(&dir, &[]).assert_code(0);
    // Another policy would make another state.
    wasm_proxy(&args)
        .assert_code(2)
        .assert_says("was made with the policy of hash");
}

#[test]
fn a_journal_goes_through_a_file_and_is_the_same() {
    let (ledger, dir) = ledger_with("journal");
    let args = ["journal", "compact", &dir, "--module", &ledger.module];
    let args = [
        &args[..],
        &["--policy", &ledger.policy, "--history", "checkpoint"],
    ]
    .concat();
    wasm_proxy(&args).assert_code(0);
    // A record above 64 KiB is an object of its own.
    let long = "y".repeat(100_000);
    let calls = format!(
        "{{\"call\":\"note\",\"args\":[{{\"text\":\"{long}\"}}]}}\n{{\"call\":\"note\",\"args\":[{{\"text\":\"z\"}}]}}"
    );
    let options = ["--history", "checkpoint"];
    ledger.run(&dir, &calls, &options).assert_code(0);
    let (one, two, copy) = (ledger.dir("one"), ledger.dir("two"), ledger.dir("copy"));
    wasm_proxy(&["journal", "export", &dir, &one])
        .assert_code(0)
        .assert_says("2 records and 1 checkpoints");
    wasm_proxy(&["journal", "import", &one, &copy]).assert_code(0);
    wasm_proxy(&["journal", "export", &copy, &two]).assert_code(0);
    assert_eq!(fs::read(&one).unwrap(), fs::read(&two).unwrap());
    let mode = fs::metadata(&one).unwrap().permissions().mode();
    assert_eq!(
        mode & 0o777,
        0o600,
        "a guest's memory is nobody else's to read"
    );
    assert_eq!(dump(&dir, &[]), dump(&copy, &[]));
    wasm_proxy(&["journal", "verify", &copy]).assert_code(0);
    ledger.replay(&copy, &[]).assert_code(0);
    ledger
        .run(&copy, "{\"call\":\"open\"}", &options)
        .assert_code(0);
    // Neither takes the place of what is there.
    wasm_proxy(&["journal", "export", &dir, &one])
        .assert_code(2)
        .assert_says("give a file that is not there");
    wasm_proxy(&["journal", "import", &one, &copy])
        .assert_code(2)
        .assert_says("is not an empty directory");
    let bytes = fs::read(&one).unwrap();
    for (name, content, needle) in [
        ("short", &bytes[..bytes.len() - 1], "the file was cut"),
        ("half", &bytes[..bytes.len() / 2], "the file was cut"),
        (
            "long",
            &[&bytes[..], b"x"].concat(),
            "goes on after its end",
        ),
        (
            "other",
            b"wpx-jrnl and more bytes than a header",
            "no file that",
        ),
        (
            "newer",
            &[&bytes[..8], &[9], &bytes[9..]].concat(),
            "it has version 9",
        ),
        ("flipped", &flipped(&bytes), "damaged"),
        (
            "path",
            &named_elsewhere(&bytes),
            "is no name of a checkpoint",
        ),
    ] {
        let file = ledger.folder.file(name, content);
        let dir = ledger.dir("never");
        wasm_proxy(&["journal", "import", &file, &dir])
            .assert_code(2)
            .assert_says(needle);
        assert!(!Path::new(&dir).exists(), "{name}");
    }
}

/// The checkpoint's file would be beside the folder.
fn named_elsewhere(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let name = bytes.windows(3).position(|part| part == b"27-");
    let name = name.expect("the file has the checkpoint");
    bytes[name..name + 3].copy_from_slice(b"../");
    bytes
}

/// One bit of the last record but one is another.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let at = bytes.len() - 5_000;
    bytes[at] ^= 1;
    bytes
}

fn damage(path: &Path, needle: &[u8]) {
    let mut bytes = fs::read(path).expect("the file is there");
    let mut found = 0;
    for at in 0..bytes.len() - needle.len() {
        if bytes[at..].starts_with(needle) {
            bytes[at] ^= 1;
            found += 1;
        }
    }
    assert!(found > 0, "it is in the file");
    fs::write(path, bytes).expect("it can be written");
}

#[test]
fn what_is_good_in_a_damaged_journal_is_saved() {
    let (ledger, dir) = ledger_with("journal");
    damage(&ledger.folder.path("journal/journal.redb"), b"second");
    let again = ledger.run(&dir, CALLS, &[]);
    again
        .assert_code(2)
        .assert_says("damaged")
        .assert_says("journal salvage");
    for tool in ["verify", "dump"] {
        wasm_proxy(&["journal", tool, &dir])
            .assert_code(2)
            .assert_says("damaged");
    }
    let saved = ledger.dir("saved");
    wasm_proxy(&["journal", "salvage", &dir, &saved])
        .assert_code(0)
        .assert_says("saved   25 records, 1 to 25")
        .assert_says("lost    2 or more records after 25");
    assert_eq!(entries(&saved), 24);
    wasm_proxy(&["journal", "verify", &saved]).assert_code(0);
    ledger.replay(&saved, &[]).assert_code(0);
    ledger
        .run(
            &saved,
            "{\"call\":\"note\",\"args\":[{\"text\":\"second\"}]}",
            &[],
        )
        .assert_code(0);
    wasm_proxy(&["journal", "salvage", &dir, &saved])
        .assert_code(2)
        .assert_says("is not an empty directory");
    // A journal that is whole is copied.
    let whole = ledger.dir("whole");
    wasm_proxy(&["journal", "salvage", &saved, &saved])
        .assert_code(2)
        .assert_says("is the old journal: what is good is written to a new one");
    wasm_proxy(&["journal", "salvage", &saved, &whole])
        .assert_code(0)
        .assert_says("lost    no record");
    assert_eq!(dump(&saved, &[])[1..], dump(&whole, &[])[1..]);
}

#[test]
fn a_checkpoint_saves_what_the_records_cannot() {
    let (ledger, dir) = ledger_with("journal");
    let args = ["journal", "compact", &dir, "--module", &ledger.module];
    wasm_proxy(&[&args[..], &["--policy", &ledger.policy]].concat()).assert_code(0);
    ledger.run(&dir, "{\"call\":\"open\"}", &[]).assert_code(0);
    fs::write(ledger.folder.path("journal/journal.redb"), b"").unwrap();
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(2)
        .assert_says("has no records");
    let saved = ledger.dir("saved");
    wasm_proxy(&["journal", "salvage", &dir, &saved])
        .assert_code(0)
        .assert_says("saved   checkpoint 27-")
        .assert_says("lost    1 or more records after 27");
    ledger.replay(&saved, &[]).assert_code(0);
    // Without the checkpoint there is nothing.
    let file = checkpoint(&ledger, "27-");
    fs::write(file, b"something else").unwrap();
    wasm_proxy(&["journal", "salvage", &dir, &ledger.dir("none")])
        .assert_code(2)
        .assert_says("nothing could be saved");
}

/// A journal of [`CALLS`] and one more, with a checkpoint before that and one after it.
fn compacted_twice() -> (Ledger, String) {
    let (ledger, dir) = ledger_with("journal");
    let compact = || {
        let args = ["journal", "compact", &dir, "--module", &ledger.module];
        wasm_proxy(&[&args[..], &["--policy", &ledger.policy]].concat()).assert_code(0);
    };
    compact();
    ledger.run(&dir, "{\"call\":\"open\"}", &[]).assert_code(0);
    compact();
    (ledger, dir)
}

/// The names of checkpoints say which content is theirs.
#[test]
fn a_checkpoint_in_the_place_of_another_is_passed_over() {
    let (ledger, dir) = compacted_twice();
    let (older, newer) = (checkpoint(&ledger, "27-"), checkpoint(&ledger, "28-"));
    let whole = fs::read(&newer).unwrap();
    fs::copy(&older, &newer).unwrap();
    let report = ledger.report(&dir, "{\"call\":\"state\"}", &[]);
    let passed_over = report["journal"]["passed_over"].as_array().unwrap();
    assert_eq!(passed_over.len(), 1, "{report}");
    assert_eq!(report["journal"]["recovered"]["last"], 27, "{report}");
    fs::write(&newer, whole).unwrap();
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(0)
        .assert_says("every record and every checkpoint is good");
    ledger.run(&dir, "{\"call\":\"state\"}", &[]).assert_code(0);
}

#[test]
fn a_damaged_checkpoint_is_found_and_passed_over() {
    let (ledger, dir) = compacted_twice();
    // A replay begins with the oldest.
    let oldest = checkpoint(&ledger, "27-");
    let whole = fs::read(&oldest).unwrap();
    damage(&oldest, b"open");
    let replayed = ledger.replay(&dir, &[]);
    replayed.assert_code(0);
    let said = replayed
        .stderr
        .matches(".entries` of the journal is not used: it is damaged");
    assert_eq!(said.count(), 1, "{}", replayed.stderr);
    fs::write(&oldest, whole).unwrap();
    let newest = checkpoint(&ledger, "28-");
    damage(&newest, b"open");
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(2)
        .assert_says(".entries: DAMAGED: it is damaged")
        .assert_says("the journal can be opened without it");
    let report = ledger.report(&dir, "{\"call\":\"state\"}", &[]);
    let passed_over = report["journal"]["passed_over"].as_array().unwrap();
    assert_eq!(passed_over.len(), 1, "{report}");
    damage(&oldest, b"open");
    wasm_proxy(&["journal", "verify", &dir])
        .assert_code(2)
        .assert_says("no checkpoint is good");
    let file = ledger.dir("backup");
    wasm_proxy(&["journal", "export", &dir, &file])
        .assert_code(2)
        .assert_says("is not good: it is damaged; nothing was written");
    assert!(!Path::new(&file).exists());
    ledger
        .run(&dir, "{\"call\":\"state\"}", &[])
        .assert_code(2)
        .assert_says("the state cannot be made again");
}

#[test]
fn what_is_no_journal_is_refused() {
    let ledger = Ledger::new();
    let (nowhere, new) = (ledger.dir("nowhere"), ledger.dir("new"));
    for args in [
        &["journal", "verify", &nowhere][..],
        &["journal", "dump", &nowhere],
        &["journal", "compact", &nowhere],
        &["journal", "salvage", &nowhere, &new],
        &["journal", "export", &nowhere, &new],
        &["replay", &nowhere],
    ] {
        wasm_proxy(args)
            .assert_code(2)
            .assert_says("there is no journal in");
    }
    wasm_proxy(&["journal", "import", &nowhere, &new])
        .assert_code(2)
        .assert_says("cannot read");
    wasm_proxy(&["journal"]).assert_code(2);
    assert!(!Path::new(&new).exists());
}
