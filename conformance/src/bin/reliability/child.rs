//! What this program does in a process of its own, to be killed or measured there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use conformance::durable::{LINKS, LINKS_POLICY};
use conformance::engines::{self, EngineUnderTest};
use journal_redb::RedbJournal;
use proxy_core::{Builder, CheckpointPolicy, Durability, Error, History, Proxy, args};

use crate::bounded;
use crate::failpoints;
use crate::memory;
use crate::oracle::{arg, id};
use crate::soak;

/// How a served proxy keeps its past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Past {
    /// In a checkpoint.
    Checkpoint,
    /// In full.
    Full,
}

impl Past {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Checkpoint => "checkpoint",
            Self::Full => "full",
        }
    }

    /// A builder for the chain.
    pub(crate) fn chain(self, engine: &EngineUnderTest) -> Builder {
        let history = match self {
            Self::Checkpoint => History::Checkpoint,
            Self::Full => History::Full,
        };
        let policy = CheckpointPolicy {
            history,
            ..CheckpointPolicy::default()
        };
        engine.proxied_wat(LINKS, LINKS_POLICY).checkpoints(policy)
    }
}

/// What a process that serves is told.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) engine: &'static EngineUnderTest,
    pub(crate) path: PathBuf,
    pub(crate) past: Past,
    /// Whether it swaps and writes durable checkpoints all the time.
    pub(crate) restless: bool,
}

impl Orders {
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        vec![
            "child".to_owned(),
            "serve".to_owned(),
            self.engine.name().to_owned(),
            self.path.display().to_string(),
            self.past.name().to_owned(),
            self.restless.to_string(),
        ]
    }

    fn of(arguments: &[String]) -> Self {
        let [engine, path, past, restless] = arguments else {
            panic!("four arguments, not {arguments:?}");
        };
        Self {
            engine: named(engine),
            path: PathBuf::from(path),
            past: match &**past {
                "checkpoint" => Past::Checkpoint,
                "full" => Past::Full,
                other => panic!("no past `{other}`"),
            },
            restless: restless.parse().unwrap(),
        }
    }
}

fn named(engine: &str) -> &'static EngineUnderTest {
    engines::by_name(engine).unwrap_or_else(|| panic!("no engine `{engine}`"))
}

/// Runs what the arguments say. The process ends with the first panic of any thread, which whoever
/// has started it notices.
pub(crate) fn run(arguments: &[String]) {
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        std::process::exit(101);
    }));
    let (what, arguments) = arguments.split_first().expect("what to do");
    match (&**what, arguments) {
        ("serve", orders) => serve(&Orders::of(orders)),
        ("memory", [engine, swaps, mib]) => {
            memory::child(named(engine), swaps.parse().unwrap(), mib.parse().unwrap());
        }
        ("soak", [engine, path, seconds]) => {
            soak::child(named(engine), Path::new(path), seconds.parse().unwrap());
        }
        ("bounded", [engine, path, calls]) => {
            bounded::child(named(engine), Path::new(path), calls.parse().unwrap());
        }
        _ => panic!("no `{what}` with {arguments:?}"),
    }
}

fn say(line: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    // Nobody listens to a process whose parent is gone.
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(1);
    }
}

/// Opens the journal, says what the chain has and how long it took to open the store and to serve, in
/// microseconds, is told the number of each caller's next call, and
/// calls for ever. Says what was acknowledged.
fn serve(orders: &Orders) {
    let begun = Instant::now();
    let store = RedbJournal::open(&orders.path).unwrap();
    let opened = begun.elapsed().as_micros();
    let store = failpoints::around(Arc::new(store));
    let builder = orders.past.chain(orders.engine);
    let proxy = builder.journal(store, Durability::Durable).build().unwrap();
    let value = proxy.call("value", args![]).unwrap().u64().unwrap();
    let served = begun.elapsed().as_micros();
    say(format_args!("value {value} {opened} {served}"));
    let mut next = String::new();
    std::io::stdin().read_line(&mut next).unwrap();
    thread::scope(|scope| {
        for (caller, next) in next.trim().split(',').enumerate() {
            let (proxy, next) = (&proxy, next.parse().unwrap());
            scope.spawn(move || call_for_ever(proxy, caller, next));
        }
        if orders.restless {
            scope.spawn(|| swap_for_ever(&proxy));
        }
    });
}

fn call_for_ever(proxy: &Proxy, caller: usize, from: u64) -> ! {
    for number in from.. {
        let results = proxy.call("step", args![id(caller, number), arg(caller, number)]);
        let hash = results.unwrap().u64().unwrap();
        say(format_args!("acknowledged {caller} {hash}"));
    }
    unreachable!("it is killed before")
}

/// Swaps to a new standby, once the generation before the last swap is gone.
pub(crate) fn swap(proxy: &Proxy) {
    let end = Instant::now() + Duration::from_mins(1);
    while let Err(error) = proxy.prepare_standby() {
        let is_draining = matches!(error, Error::StillDraining);
        assert!(is_draining && Instant::now() < end, "{error}");
        proxy.tick(Instant::now());
        thread::yield_now();
    }
    proxy.swap().unwrap();
}

fn swap_for_ever(proxy: &Proxy) -> ! {
    loop {
        swap(proxy);
        proxy.checkpoint_durably().unwrap();
        thread::sleep(Duration::from_millis(5));
    }
}
