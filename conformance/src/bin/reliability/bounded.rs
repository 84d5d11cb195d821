//! Millions of calls that only change the state: what they take in memory and on the disk.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY};
use conformance::engines::EngineUnderTest;
use conformance::expect::binary;
use conformance::process::Footprint;
use journal_redb::RedbJournal;
use proxy_core::{Durability, Supervisor, args};

use crate::Scale;
use crate::child::Past;
use crate::memory::{tell, told_by};
use crate::oracle::{arg, id};
use crate::report::Measured;

/// How large the file of records may be.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Each engine in a process of its own.
pub(crate) fn calls(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let calls = scale.calls.unwrap_or(scale.of(200_000, 10_000_000));
    for engine in &scale.engines {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        let path = folder.path().display().to_string();
        told_by(
            &mut measured,
            "bounded",
            &[engine.name(), &path, &calls.to_string()],
        );
    }
    measured
}

/// What was seen at one moment.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    rss_kib: u64,
    file: u64,
    folder: u64,
}

impl Seen {
    fn now(path: &Path) -> Self {
        let len = |name: &Path| std::fs::metadata(name).map_or(0, |file| file.len());
        Self {
            rss_kib: Footprint::now().unwrap().rss_kib,
            file: len(&path.join("journal.redb")),
            folder: walk(path),
        }
    }

    fn highest(self, other: Self) -> Self {
        Self {
            rss_kib: self.rss_kib.max(other.rss_kib),
            file: self.file.max(other.file),
            folder: self.folder.max(other.folder),
        }
    }
}

/// The length of all files in a folder. They may go meanwhile.
fn walk(folder: &Path) -> u64 {
    let Ok(files) = std::fs::read_dir(folder) else {
        return 0;
    };
    let lengths = files.flatten().map(|file| match file.metadata() {
        Ok(metadata) if metadata.is_dir() => walk(&file.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    lengths.sum()
}

pub(crate) fn child(engine: &'static EngineUnderTest, path: &Path, calls: u64) {
    let mut measured = Measured::default();
    let store = Arc::new(RedbJournal::open(path).unwrap());
    let every = Duration::from_millis(10);
    let builder = Past::Checkpoint.chain(engine);
    let builder = builder.journal(store, Durability::Relaxed { every });
    let proxy = builder.build().unwrap();
    let supervisor = Supervisor::start(&proxy, Duration::from_millis(100)).unwrap();
    let halves = [AtomicBool::new(false), AtomicBool::new(false)];
    let begun = Instant::now();
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..calls {
                proxy
                    .call("step", args![id(0, number), arg(0, number)])
                    .unwrap();
                if number == calls / 2 {
                    halves[0].store(true, Ordering::Release);
                }
            }
            halves[1].store(true, Ordering::Release);
        });
        // The first half, and the second.
        [0, 1].map(|half| {
            let mut highest = Seen::default();
            while !halves[half].load(Ordering::Acquire) {
                highest = highest.highest(Seen::now(path));
                thread::sleep(Duration::from_millis(50));
            }
            highest.highest(Seen::now(path))
        })
    });
    let took = begun.elapsed();
    let info = proxy.debug_info();
    assert_eq!(info.journal_last.0, calls);
    drop(supervisor);
    let name = engine.name();
    let [first, second] = seen;
    measured.figure(format!(
        "{name}: {calls} calls in {took:.1?}, {} entries in memory at the end",
        info.journal_entries
    ));
    measured.must(
        second.rss_kib <= first.rss_kib + (first.rss_kib / 10).max(16 << 10),
        format!(
            "{name}: memory at most {} MiB in the first half, {} MiB in the second",
            first.rss_kib >> 10,
            second.rss_kib >> 10
        ),
    );
    let (file, folder) = (first.file.max(second.file), first.folder.max(second.folder));
    measured.must(
        file > 0 && file < FILE_BYTES_MAX,
        format!(
            "{name}: the file of records had at most {} MiB, the folder {} MiB",
            file >> 20,
            folder >> 20
        ),
    );
    tell(&measured);
}
