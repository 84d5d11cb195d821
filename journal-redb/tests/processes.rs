//! The journal on the system's own disk, with processes that are killed or get no room.
//!
//! A test that needs another process runs itself in one, with its orders in the environment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use journal_redb::RedbJournal;
use proxy_core::{CheckpointRef, Flush, Identity, JournalStore, Position, StoreError};

/// Where the journal is of a test that runs in a process of its own.
const ORDERS: &str = "JOURNAL_REDB_TEST_PATH";

/// How many processes are killed in every run. `JOURNAL_KILLS` says another number.
const KILLS: usize = 20;

fn identity() -> Identity {
    Identity {
        module: [7; 32],
        notes: Vec::new(),
    }
}

fn record(position: u64) -> Vec<u8> {
    let len = match position % 97 {
        0 => 70_000,
        _ => usize::try_from(position % 700).unwrap(),
    };
    let salt = position.to_le_bytes()[0];
    let mut bytes: Vec<_> = (0..=250).cycle().take(len).collect();
    for byte in &mut bytes {
        *byte ^= salt;
    }
    bytes
}

/// Runs a test of this file in a process of its own.
fn run_again(test: &str, path: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture"])
        .env(ORDERS, path)
        .stdout(Stdio::piped());
    command
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("around").join("journal");
    (scratch, path)
}

#[test]
fn a_journal_is_made_closed_and_opened() {
    let (_scratch, path) = scratch();
    let journal = RedbJournal::create(&path, identity()).unwrap();
    assert_eq!(
        journal.checkpoint_folder().unwrap(),
        path.join("checkpoints")
    );
    for position in 1..=200 {
        let head = journal.head().unwrap();
        journal
            .append(head.epoch, head.position, &[&record(position)], Flush::Now)
            .unwrap();
    }
    let file = path.join("checkpoints").join("100.ckpt");
    std::fs::write(file, "checkpoint").unwrap();
    let list = [CheckpointRef {
        position: Position(100),
        hash: journal.hash_at(Position(100)).unwrap(),
        file: "100.ckpt".to_owned(),
        bytes: 10,
    }];
    journal
        .truncate(journal.head().unwrap().epoch, &list)
        .unwrap();
    let bytes = journal.bytes().unwrap();
    assert!((100_000..4 << 20).contains(&bytes), "{bytes}");
    journal.close().unwrap();

    let reader = RedbJournal::open_read_only(&path).unwrap();
    RedbJournal::open_read_only(&path).unwrap();
    let refused = RedbJournal::open(&path);
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
    drop(reader);
    let journal = RedbJournal::open(&path).unwrap();
    check(&journal, Position(200));
    assert_eq!(journal.checkpoints().unwrap(), list);
    let refused = RedbJournal::open_read_only(&path);
    assert!(
        matches!(refused, Err(StoreError::InUse { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_path_without_a_journal_is_left_alone() {
    let scratch = tempfile::tempdir().unwrap();
    let absent = scratch.path().join("absent");
    for path in [scratch.path(), &absent] {
        for opened in [RedbJournal::open(path), RedbJournal::open_read_only(path)] {
            assert!(
                matches!(opened, Err(StoreError::Missing { .. })),
                "{opened:?}"
            );
        }
    }
    assert!(!absent.exists());
    assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
    std::fs::write(scratch.path().join("letter"), "dear").unwrap();
    let exists = RedbJournal::create(scratch.path(), identity());
    assert!(
        matches!(exists, Err(StoreError::Exists { .. })),
        "{exists:?}"
    );
}

/// Every record up to the head is there, as it was appended, and what was acknowledged among them.
fn check(journal: &RedbJournal, acknowledged: Position) -> Position {
    let head = journal.head().unwrap();
    assert!(
        head.position >= acknowledged,
        "{} of {acknowledged}",
        head.position
    );
    let mut after = head.first.previous();
    loop {
        let read = journal.read_after(after, 100_000).unwrap();
        let Some(last) = read.last() else { break };
        for read in &read {
            assert!(
                read.bytes == record(read.position.0),
                "record {}",
                read.position
            );
        }
        after = last.position;
    }
    assert_eq!(after, head.position);
    head.position
}

/// Appends for ever, and says how far it got.
fn append_for_ever(path: &Path) -> ! {
    let journal = RedbJournal::open(path).unwrap();
    let mut newest = None;
    let mut say = std::io::stdout().lock();
    for round in 0.. {
        let head = journal.head().unwrap();
        if round % 50 == 49 {
            let position = head.position;
            let file = format!("{position}.ckpt");
            std::fs::write(path.join("checkpoints").join(&file), "checkpoint").unwrap();
            let hash = head.hash;
            let next = CheckpointRef {
                position,
                hash,
                file,
                bytes: 10,
            };
            let list: Vec<_> = [Some(next.clone()), newest.replace(next)]
                .into_iter()
                .flatten()
                .collect();
            journal.truncate(head.epoch, &list).unwrap();
            continue;
        }
        let records: Vec<_> = (1..=1 + round % 3)
            .map(|n| record(head.position.0 + n))
            .collect();
        let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
        let head = journal
            .append(head.epoch, head.position, &records, Flush::Now)
            .unwrap();
        writeln!(say, "acknowledged {}", head.position).unwrap();
        say.flush().unwrap();
    }
    unreachable!("it was to be killed");
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_was_acknowledged() {
    if let Some(path) = env::var_os(ORDERS) {
        append_for_ever(Path::new(&path));
    }
    let kills = env::var("JOURNAL_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (_scratch, path) = scratch();
    drop(RedbJournal::create(&path, identity()).unwrap());
    let mut newest = Position::ZERO;
    for kill in 0..kills {
        let test = "a_process_that_is_killed_loses_nothing_that_was_acknowledged";
        let mut child = run_again(test, &path).spawn().unwrap();
        let acknowledged = kill_after(&mut child, 1 + kill * 7 % 120);
        newest = check(&RedbJournal::open(&path).unwrap(), acknowledged.max(newest));
        println!("kill {kill}: {acknowledged} acknowledged, {newest} there");
    }
}

/// Kills a process once it has said so much, and gives the newest record that it acknowledged.
fn kill_after(child: &mut Child, lines: usize) -> Position {
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Position::ZERO;
    let mut hear = |line: std::io::Result<String>| {
        let line = line.unwrap();
        // The harness's own words may stand before it.
        if let Some((_, position)) = line.rsplit_once("acknowledged ") {
            acknowledged = Position(position.parse().unwrap());
        }
    };
    for line in said.by_ref().take(lines) {
        hear(line);
    }
    child.kill().unwrap();
    // A line that was cut off by the kill has no end, and is a shorter number at worst.
    said.for_each(hear);
    child.wait().unwrap();
    acknowledged
}

/// A second process is refused while the first lives, and not a moment longer.
#[test]
fn a_second_process_is_refused() {
    if let Some(path) = env::var_os(ORDERS) {
        let opened = RedbJournal::open(Path::new(&path));
        println!(
            "opened: {}",
            opened.map_or_else(|error| error.to_string(), |_| "yes".to_owned())
        );
        return;
    }
    let (_scratch, path) = scratch();
    let journal = RedbJournal::create(&path, identity()).unwrap();
    let ask = || {
        let output = run_again("a_second_process_is_refused", &path)
            .output()
            .unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(ask().contains("is in use"), "{}", ask());
    drop(journal);
    assert!(ask().contains("opened: yes"), "{}", ask());
}

/// The most that a file may have in the process without room, in units of 512 bytes.
const FILE_BLOCKS_MAX: u64 = 1024;

/// Appends until there is no room, which a limit of file sizes stands for, and goes on when a
/// checkpoint has made some.
fn fill_up(path: &Path) {
    let journal = RedbJournal::open(path).unwrap();
    let mut refused = 0;
    for position in 1.. {
        let head = journal.head().unwrap();
        let appended = journal.append(head.epoch, head.position, &[&record(position)], Flush::Now);
        match appended {
            Ok(head) => assert_eq!(head.position, Position(position)),
            Err(StoreError::Full { .. }) => {
                assert_eq!(journal.head().unwrap(), head, "nothing was appended");
                check(&journal, head.position);
                refused = position;
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    println!("\nrefused {refused}");
}

#[test]
fn a_file_without_room_refuses_and_loses_nothing() {
    if let Some(path) = env::var_os(ORDERS) {
        fill_up(Path::new(&path));
        return;
    }
    let (_scratch, path) = scratch();
    drop(RedbJournal::create(&path, identity()).unwrap());
    let test = "a_file_without_room_refuses_and_loses_nothing";
    let myself = env::current_exe().unwrap();
    // The signal that comes with the limit would end the process: as in a service, it is ignored.
    let script = format!("trap '' XFSZ; ulimit -f {FILE_BLOCKS_MAX}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &script, "sh"])
        .arg(myself)
        .args(["--exact", test, "--nocapture"])
        .env(ORDERS, &path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let refused = said
        .lines()
        .find_map(|line| line.strip_prefix("refused "))
        .expect("it was full");
    let refused: u64 = refused.parse().unwrap();
    println!("record {refused} was refused");

    // With room again all is there, and the refused record goes in.
    let journal = RedbJournal::open(&path).unwrap();
    assert_eq!(check(&journal, Position(1)), Position(refused - 1));
    let head = journal.head().unwrap();
    journal
        .append(head.epoch, head.position, &[&record(refused)], Flush::Now)
        .unwrap();
    check(&journal, Position(refused));
}

/// Prints what an opening costs, for a journal of as many small records as the variable says.
#[test]
fn opening_after_a_kill_reads_everything() {
    let records: u64 =
        env::var("JOURNAL_RECORDS").map_or(5_000, |records| records.parse().unwrap());
    let (scratch, path) = scratch();
    let journal = RedbJournal::create(&path, identity()).unwrap();
    let batch: Vec<_> = (0..250).cycle().take(1_000).map(|n| vec![n; 100]).collect();
    let batch: Vec<_> = batch.iter().map(Vec::as_slice).collect();
    for _ in 0..records / 1_000 {
        let head = journal.head().unwrap();
        journal
            .append(head.epoch, head.position, &batch, Flush::Now)
            .unwrap();
    }
    // A copy of the files is what a kill leaves.
    let killed = scratch.path().join("killed");
    std::fs::create_dir_all(killed.join("objects")).unwrap();
    std::fs::create_dir_all(killed.join("checkpoints")).unwrap();
    for name in ["journal.redb", "manifest", "watermark"] {
        std::fs::copy(path.join(name), killed.join(name)).unwrap();
    }
    let begun = Instant::now();
    let opened = RedbJournal::open(&killed).unwrap();
    let took: Duration = begun.elapsed();
    let bytes = opened.bytes().unwrap();
    println!("{records} records, {bytes} bytes: opened in {took:?}");
    assert_eq!(opened.head().unwrap().hash, journal.head().unwrap().hash);
}

/// Prints what a truncation costs, for a journal of as many records of 2,000 bytes as the variable
/// says.
#[test]
fn a_truncation_makes_a_large_file_small() {
    let records: u64 =
        env::var("JOURNAL_RECORDS").map_or(5_000, |records| records.parse().unwrap());
    let (_scratch, path) = scratch();
    let journal = RedbJournal::create(&path, identity()).unwrap();
    let record = vec![1; 2_000];
    let batch = vec![&record[..]; 1_000];
    for _ in 0..records / 1_000 {
        let head = journal.head().unwrap();
        journal
            .append(head.epoch, head.position, &batch, Flush::Now)
            .unwrap();
    }
    let head = journal.head().unwrap();
    std::fs::write(path.join("checkpoints").join("all.ckpt"), "checkpoint").unwrap();
    let all = CheckpointRef {
        position: head.position,
        hash: head.hash,
        file: "all.ckpt".to_owned(),
        bytes: 10,
    };
    let before = journal.bytes().unwrap();
    let begun = Instant::now();
    journal.truncate(head.epoch, &[all]).unwrap();
    let took: Duration = begun.elapsed();
    let after = journal.bytes().unwrap();
    println!("{records} records, {before} bytes: truncated to {after} in {took:?}");
    assert!(after < 1 << 20, "{after} of {before}");
}
