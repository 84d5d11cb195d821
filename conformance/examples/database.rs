//! `database`: SQLite in a guest that leaks, under journaled insertions and swaps, beside a native
//! library that gets the same statements. It ends with an error if results differ, if a generation
//! died, or if the process grew.
//!
//! In an hour:
//! `cargo run --release -p wasm-proxy-conformance --example database -- --seconds 3600`

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use conformance::database::{QUERIES, SCHEMA, insertion, row_text};
use conformance::process::Footprint;
use conformance::proxied::SQLITE;
use engine_api::Limits;
use proxy_core::{
    CheckpointPolicy, DebugInfo, Handle, History, Policy, Proxy, Supervisor, SwapState, args,
};

/// How often the two are compared, and a line is printed.
const REPORTS: u64 = 20;
/// How much more the process may have in the second half than in the first, beside the guest's
/// memory.
const GROWTH_MIB_MAX: u64 = 8;
/// How long a report waits until nothing is prepared or freed.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);

/// Inserts rows into a database in a guest, and compares it with a native one
#[derive(Debug, Parser)]
struct Args {
    /// The engine [default: the program's]
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,

    /// How many rows to insert; the newest 500 stay
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    rows: u64,

    /// Spread the insertions evenly over this time [default: as fast as they go]
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    seconds: u64,

    /// What the guest loses with each row
    #[arg(long, value_name = "KIB", default_value_t = 64)]
    leak_kib: u32,

    /// The limit of the guest's memory
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    limit_mib: u64,
}

fn main() -> Result<()> {
    Args::parse().run()
}

/// The guest, with a database in it, and the native library.
struct Pair {
    proxy: Proxy,
    db: Handle,
    native: sqlite::Connection,
}

impl Pair {
    fn new(args: &Args) -> Result<Self> {
        let limits = Limits {
            memory_bytes_max: Some(args.limit_mib << 20),
            ..Limits::default()
        };
        let policy: Policy = SQLITE.policy.parse()?;
        let engine = match &args.engine {
            Some(name) => engines::engine(name)?,
            None => engines::default_engine()?,
        };
        let proxy = Proxy::builder(engine)
            .module(SQLITE.wasm)
            .policy(policy)
            .limits(limits)
            // Every statement of a database that lives is needed, and nothing is ever compacted.
            .checkpoints(CheckpointPolicy {
                history: History::Checkpoint,
                ..CheckpointPolicy::default()
            })
            .build()?;
        let db = proxy.call("db_open", args![])?.handle()?;
        let native = sqlite::open(":memory:")?;
        Ok(Self { proxy, db, native })
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.native.execute(sql)?;
        let status = self.proxy.call("db_exec", args![self.db, sql])?.i32()?;
        ensure!(status == 0, "the guest's SQLite gives {status} for {sql}");
        Ok(())
    }

    fn compare(&self) -> Result<()> {
        for query in QUERIES {
            let mut native = String::new();
            self.native.iterate(query, |row| {
                native += &row_text(row.iter().map(|(_, value)| *value));
                true
            })?;
            let guest = self.proxy.call("db_query", args![self.db, query])?.text()?;
            ensure!(guest == native, "other results of {query}");
        }
        Ok(())
    }
}

impl Args {
    fn run(&self) -> Result<()> {
        let pair = Pair::new(self)?;
        let _supervisor = Supervisor::start(&pair.proxy, Duration::from_secs(5))?;
        pair.execute(SCHEMA)?;
        println!("rows     seconds  swaps  emergencies  guest MiB  beside it MiB  journal entries");
        let started = Instant::now();
        let mut beside_guest = Vec::new();
        for row in 1..=self.rows {
            self.wait_for(row, started);
            pair.execute(&insertion(row))?;
            pair.proxy.call("leak", args![self.leak_kib])?;
            if row % (self.rows / REPORTS).max(1) == 0 {
                pair.compare().with_context(|| format!("after row {row}"))?;
                beside_guest.push(report(row, started, &settled(&pair.proxy))?);
            }
        }
        let info = pair.proxy.debug_info();
        println!("{info}");
        ensure!(info.emergencies == 0, "{} emergencies", info.emergencies);
        ensure!(info.divergences == 0, "{} divergences", info.divergences);
        ensure!(info.swaps > 0, "no swap: lower the limit");
        // The least, because an instance that a checkpoint is compared with may exist at a report.
        let least = |of: &[u64]| of.iter().min().copied().unwrap_or(0);
        let (earlier, later) = beside_guest.split_at(beside_guest.len() / 2);
        let (before, after) = (least(earlier), least(later));
        ensure!(
            after <= before + GROWTH_MIB_MAX,
            "beside the guest's memory the process grew from {before} to {after} MiB"
        );
        println!("every result was the native library's");
        Ok(())
    }

    /// Waits until it is the row's turn.
    fn wait_for(&self, row: u64, started: Instant) {
        let millis = self.seconds.saturating_mul(1000).saturating_mul(row) / self.rows.max(1);
        thread::sleep(Duration::from_millis(millis).saturating_sub(started.elapsed()));
    }
}

/// The state of the proxy when nothing is prepared or freed, or after a while.
fn settled(proxy: &Proxy) -> DebugInfo {
    let end = Instant::now() + SETTLED_WITHIN;
    loop {
        let info = proxy.debug_info();
        let expected = 1 + usize::from(info.standby_memory.is_some());
        let settled = matches!(info.state, SwapState::Idle | SwapState::Ready)
            && info.generations_alive == expected;
        if settled || Instant::now() > end {
            return info;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Prints a line, and gives the MiB of the process beside the memories of active and standby.
fn report(row: u64, started: Instant, info: &DebugInfo) -> Result<u64> {
    let guest = info.memory + info.standby_memory.unwrap_or(0);
    let beside = (Footprint::now()?.rss_kib << 10).saturating_sub(guest) >> 20;
    println!(
        "{row:7}  {:7}  {:5}  {:11}  {:9}  {beside:13}  {:15}",
        started.elapsed().as_secs(),
        info.swaps,
        info.emergencies,
        guest >> 20,
        info.journal_entries,
    );
    Ok(beside)
}
