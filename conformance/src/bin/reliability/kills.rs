//! R4: processes that are killed at any moment, and what the next one finds. And how long it takes.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use checkpoint_file::STAMP_SUFFIX;
use conformance::durable::{JournalFolder, LINKS, LINKS_POLICY, link};
use conformance::engines::EngineUnderTest;
use conformance::expect::binary;
use hdrhistogram::Histogram;
use proxy_core::{Durability, args};

use crate::Scale;
use crate::child::{Orders, Past};
use crate::failpoints::{Point, STOPPED, VARIABLE};
use crate::oracle::{Oracle, arg, id};
use crate::report::Measured;

const CALLERS: usize = 4;

/// How long a process may take for anything.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that serves, and what it says.
struct Serving {
    child: Child,
    said: Receiver<String>,
}

impl Serving {
    fn start(orders: &Orders, failpoint: Option<(Point, u32)>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(orders.to_arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        if let Some((point, times)) = failpoint {
            command.env(VARIABLE, format!("{}:{times}", point.name()));
        }
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, said) = channel();
        thread::spawn(move || listen(lines, |line| tell.send(line).is_ok()));
        Self { child, said }
    }

    /// The next line, if it comes in time and the process lives.
    fn hear(&self, patience: Duration) -> Option<String> {
        self.said.recv_timeout(patience).ok()
    }

    /// What the chain has, once the process has opened the journal.
    fn value(&self) -> u64 {
        self.opened().value
    }

    fn opened(&self) -> Opened {
        let line = self.hear(PATIENCE);
        let line = line.unwrap_or_else(|| panic!("the journal is not opened; see above for why"));
        opened_of(&line).unwrap_or_else(|| panic!("`{line}` before the chain's value"))
    }

    /// Kills the process, and gives all that it had said.
    fn kill(mut self) -> Vec<String> {
        let has_ended = self.child.try_wait().unwrap();
        assert_eq!(has_ended, None, "it ended by itself; see above for why");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.said.into_iter().collect()
    }
}

/// Passes on the lines that have an end: a kill may cut the last one short.
fn listen(lines: Lines<BufReader<ChildStdout>>, tell: impl Fn(String) -> bool) {
    for line in lines {
        match line {
            Ok(line) if tell(line.clone()) => {}
            _ => return,
        }
    }
}

/// What a process says when it serves.
#[derive(Clone, Copy, Debug)]
struct Opened {
    value: u64,
    /// When it had opened the store, and when it served, in microseconds from its first line of code.
    store: u64,
    served: u64,
}

fn opened_of(line: &str) -> Option<Opened> {
    let mut numbers = line.strip_prefix("value ")?.split(' ').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Opened {
        value: next()?,
        store: next()?,
        served: next()?,
    })
}

/// A journal that processes are killed over, and what must be in it.
struct Killed {
    /// Held for as long as processes use it.
    _folder: JournalFolder,
    orders: Orders,
    oracle: Oracle,
    /// The results that were acknowledged since the value was last seen.
    acknowledged: Vec<Vec<u64>>,
    random: Random,
    figures: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    kills: u64,
    acknowledged: u64,
    unacknowledged: u64,
}

impl Killed {
    fn new(engine: &'static EngineUnderTest, past: Past) -> Self {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        let proxy = folder.begin(past.chain(engine));
        // So much that a checkpoint's file is not written in a moment.
        proxy.call("fill", args![4]).unwrap();
        drop(proxy);
        Self {
            orders: Orders {
                engine,
                path: folder.path(),
                past,
                restless: true,
            },
            _folder: folder,
            oracle: Oracle::new(link, CALLERS),
            acknowledged: vec![Vec::new(); CALLERS],
            random: Random(0x5eed),
            figures: Figures::default(),
        }
    }

    /// A process that serves what the oracle says.
    fn begin(&mut self, failpoint: Option<(Point, u32)>) -> Serving {
        let serving = Serving::start(&self.orders, failpoint);
        let value = serving.value();
        let followed = self.oracle.follow(&self.acknowledged, value);
        let followed = followed.unwrap_or_else(|error| {
            panic!(
                "{} after kill {}: {error}",
                self.orders.engine.name(),
                self.figures.kills
            )
        });
        self.figures.acknowledged += followed.acknowledged;
        self.figures.unacknowledged += followed.unacknowledged;
        self.acknowledged.iter_mut().for_each(Vec::clear);
        serving.call_from(self.oracle.next());
        serving
    }

    fn note(&mut self, line: &str) {
        if let Some((caller, hash)) = line
            .strip_prefix("acknowledged ")
            .and_then(|rest| rest.split_once(' '))
        {
            self.acknowledged[caller.parse::<usize>().unwrap()].push(hash.parse().unwrap());
        }
    }

    fn kill(&mut self, serving: Serving) {
        for line in serving.kill() {
            self.note(&line);
        }
        self.figures.kills += 1;
    }

    /// Kills a process at a random moment, a quarter of them while they open the journal.
    fn at_random(&mut self) {
        let pause = Duration::from_micros(self.random.below(120_000));
        if self.random.below(4) == 0 {
            let serving = Serving::start(&self.orders, None);
            thread::sleep(pause / 2);
            // Nobody has told it to call.
            serving.kill();
            self.figures.kills += 1;
        } else {
            let serving = self.begin(None);
            thread::sleep(pause);
            self.kill(serving);
        }
    }

    /// Kills a process that has stopped at a point.
    fn at_point(&mut self, point: Point) {
        let times = match point {
            Point::BeforeAppend | Point::AfterAppend => 2 + self.random.below(30),
            // There is one about every 20 ms.
            Point::BeforeTruncate | Point::AfterTruncate => 1 + self.random.below(3),
        };
        let serving = self.begin(Some((point, u32::try_from(times).unwrap())));
        loop {
            let line = serving.hear(PATIENCE);
            let line = line.unwrap_or_else(|| panic!("it does not stop {}", point.name()));
            if line.starts_with(STOPPED) {
                break;
            }
            self.note(&line);
        }
        self.kill(serving);
    }

    /// Kills a process as soon as something is so of its directory.
    fn as_soon_as(&mut self, is_so: impl Fn(&Path) -> bool) {
        let serving = self.begin(None);
        let end = Instant::now() + PATIENCE;
        let path = self.orders.path.clone();
        while !is_so(&path) {
            assert!(Instant::now() < end, "no checkpoint is written");
            thread::yield_now();
        }
        self.kill(serving);
    }

    /// A last process has all.
    fn settle(mut self) -> Figures {
        let serving = self.begin(None);
        self.kill(serving);
        self.figures
    }
}

impl Serving {
    /// Tells it the number of each caller's next call.
    fn call_from(&self, next: &[u64]) {
        let next: Vec<String> = next.iter().map(u64::to_string).collect();
        let mut orders = self.child.stdin.as_ref().unwrap();
        writeln!(orders, "{}", next.join(",")).unwrap();
    }
}

/// Whether the file of a durable checkpoint is being written.
fn writes_a_checkpoint(journal: &Path) -> bool {
    let Ok(files) = journal.join("checkpoints").read_dir() else {
        return false;
    };
    let is_unfinished = |path: &Path| {
        let extension = path.extension();
        extension.is_some_and(|extension| extension == "partial" || extension == "part")
    };
    files.flatten().any(|file| is_unfinished(&file.path()))
}

/// A generator of numbers that are the same in every run (xorshift64*).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }
}

/// R4: `kill -9` at random moments and at points that are hard to meet.
pub(crate) fn kills(scale: &Scale) -> Measured {
    let mut measured = Measured::default();
    let engines = scale.engines.len() as u64;
    let random = scale.of(200_u64, 2000).div_ceil(2 * engines);
    let at_points = scale.of(1, 20_u64.div_ceil(2 * engines).max(3));
    let mut all = Figures::default();
    let mut points = 0;
    for engine in &scale.engines {
        for past in [Past::Checkpoint, Past::Full] {
            let mut killed = Killed::new(engine, past);
            for _ in 0..random {
                killed.at_random();
            }
            for _ in 0..at_points {
                for point in Point::ALL {
                    killed.at_point(point);
                }
                killed.as_soon_as(writes_a_checkpoint);
                let before = std::cell::Cell::new(None);
                // The manifest is replaced at the opening, and then in the middle of a truncation.
                killed.as_soon_as(|path| {
                    let now = inode(&path.join("manifest"));
                    let is_new = before.get().is_some_and(|before| Some(before) != now);
                    before.set(now);
                    is_new
                });
                points += Point::ALL.len() as u64 + 2;
            }
            let figures = killed.settle();
            all.kills += figures.kills;
            all.acknowledged += figures.acknowledged;
            all.unacknowledged += figures.unacknowledged;
        }
    }
    measured.figure(format!(
        "{} kills of a process, {points} of them at 6 points: {} acknowledged calls, 0 lost \
         (at most {:.1e} per kill); {} calls that nobody had acknowledged are there as a whole; \
         every start without a step by hand",
        all.kills,
        all.acknowledged,
        3.0 / all.kills as f64,
        all.unacknowledged,
    ));
    measured
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    Some(fs::metadata(path).ok()?.ino())
}

/// From a kill to the first call served, with a state of this size in a checkpoint's file.
pub(crate) fn restarts(scale: &Scale) -> Measured {
    const GOAL: Duration = Duration::from_millis(100);
    let mut measured = Measured::default();
    let (mib, entries) = scale.of((64, 10_000), (512, 100_000));
    let restarts = scale.of(5, 100);
    for engine in &scale.engines {
        let folder = JournalFolder::of(&binary(LINKS), LINKS_POLICY);
        fill(engine, &folder, mib, entries);
        let orders = Orders {
            engine,
            path: folder.path(),
            past: Past::Checkpoint,
            restless: false,
        };
        let series = |touched: bool| {
            let mut times = Times::new();
            let mut serving = Serving::start(&orders, None);
            let value = serving.value();
            for _ in 0..restarts {
                if !touched {
                    wait_for_a_stamp(&orders.path);
                }
                let begun = Instant::now();
                serving.kill();
                if touched {
                    remove_stamps(&orders.path);
                }
                serving = Serving::start(&orders, None);
                let opened = serving.opened();
                times.record(begun.elapsed(), opened.store, opened.served);
                assert_eq!(opened.value, value, "another state");
            }
            serving.kill();
            times
        };
        let (untouched, touched) = (series(false), series(true));
        let name = engine.name();
        measured.must(
            untouched.p99() < GOAL,
            format!("{name}: {mib} MiB, {entries} entries, {restarts} restarts: {untouched}"),
        );
        measured.figure(format!(
            "{name}: the same, when all contents are checked before: {touched}"
        ));
    }
    measured
}

/// What restarts took, in microseconds.
struct Times {
    whole: Histogram<u64>,
    stores: Histogram<u64>,
    states: Histogram<u64>,
}

impl Times {
    fn new() -> Self {
        let whole = Histogram::<u64>::new(3).unwrap();
        Self {
            stores: whole.clone(),
            states: whole.clone(),
            whole,
        }
    }

    /// Notes one, of which the store was open and the first call served after so many microseconds.
    fn record(&mut self, whole: Duration, store: u64, served: u64) {
        let whole = u64::try_from(whole.as_micros()).unwrap();
        self.whole.record(whole).unwrap();
        self.stores.record(store).unwrap();
        self.states.record(served - store).unwrap();
    }

    fn p99(&self) -> Duration {
        Duration::from_micros(self.whole.value_at_quantile(0.99))
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = |of: &Histogram<u64>| Duration::from_micros(of.value_at_quantile(0.5));
        let (whole, p99) = (median(&self.whole), self.p99());
        let (store, state) = (median(&self.stores), median(&self.states));
        write!(
            f,
            "median {whole:.1?}, p99 {p99:.1?} (medians: store {store:.1?}, state {state:.1?})"
        )
    }
}

fn stamps(journal: &Path) -> Vec<PathBuf> {
    let files = journal.join("checkpoints").read_dir().unwrap().flatten();
    let is_stamp = |file: &fs::DirEntry| file.file_name().to_string_lossy().ends_with(STAMP_SUFFIX);
    files.filter(is_stamp).map(|file| file.path()).collect()
}

/// Takes the stamps of all checkpoints away.
fn remove_stamps(journal: &Path) {
    for stamp in stamps(journal) {
        fs::remove_file(stamp).unwrap();
    }
}

/// Waits until the process has checked what it serves from.
fn wait_for_a_stamp(journal: &Path) {
    let end = Instant::now() + PATIENCE;
    while stamps(journal).is_empty() {
        assert!(Instant::now() < end, "the check does not end");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Makes the state, its durable checkpoint, and a few entries after it.
fn fill(engine: &EngineUnderTest, folder: &JournalFolder, mib: i32, entries: u64) {
    let every = Duration::from_millis(5);
    let builder = Past::Checkpoint.chain(engine);
    let builder = builder.journal(folder.open(), Durability::Relaxed { every });
    let proxy = builder.build().unwrap();
    proxy.call("fill", args![mib]).unwrap();
    let steps = |numbers: std::ops::Range<u64>| {
        for number in numbers {
            proxy
                .call("step", args![id(0, number), arg(0, number)])
                .unwrap();
        }
    };
    steps(0..entries);
    proxy.checkpoint_durably().unwrap().unwrap();
    steps(entries..entries + 100);
    assert!(proxy.shutdown());
}
