//! The command line.

mod compiling;
mod imports;
mod journal;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use proxy_core::{Durability, SwapTriggers};

pub(crate) use compiling::CompileArgs;
pub(crate) use imports::{ImportArgs, Stub, joined};
pub(crate) use journal::{CompactArgs, DumpArgs, JournalCommand, ReplayArgs};
pub(crate) use world::{Streams, WorldArgs};

/// Keeps a growing WebAssembly module running for ever
///
/// A module's memory only grows, and at its limit the module dies with all its state. wasm-proxy
/// keeps a journal of the calls that made the state, builds a second instance from it before memory
/// runs out, compares the two, and swaps them. Callers notice nothing.
#[derive(Debug, Parser)]
#[command(name = "wasm-proxy", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Try:
  wasm-proxy run                          1,000 proofs by a prover that leaks, in 64 MiB
  wasm-proxy run --without-proxy          the same on a bare instance: it dies
  wasm-proxy bench --report F.html        the same under every strategy, with plots
  wasm-proxy inspect MODULE --emit-policy > MODULE.toml

Environment:
  WASM_PROXY_ENABLED=false   start switched off, as with --without-proxy (`true` overrides that option)
  WASM_PROXY_LOG=info        log to standard error, in place of the progress bar

Exit codes: 0 every call succeeded (`bench`: behind the proxy); 1 calls failed, or `run --audit` found a
write or could not compare everything; 2 the input is wrong, or a journal is damaged; 3 the replay of a
journal gives something else than it has.";

/// What to do.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, and it is taken apart at once"
)]
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a workload on a module, behind the proxy
    Run(RunArgs),
    /// Run a workload on a module under every strategy against leaks, and compare them
    Bench(BenchArgs),
    /// Run one strategy, for the comparison that starts this program
    #[command(name = "bench-child", hide = true)]
    BenchChild(BenchArgs),
    /// Show the parts of a module and the engines that can run it, and draft a policy
    Inspect(InspectArgs),
    /// Look at a journal on a disk, make it small, or save what is left of it
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Replay a journal on several engines and compare every result with what it has
    Replay(ReplayArgs),
    /// List the engines that are compiled in, and their capabilities
    Engines,
    /// Print a completion script for a shell
    #[command(
        after_help = "Try: wasm-proxy completions bash > ~/.local/share/bash-completion/completions/wasm-proxy"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The module and the limits of its instances, for `run` and `bench` alike.
#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// The module, binary or text [default: the embedded prover, which loses 1 MiB with each proof]
    pub(crate) module: Option<PathBuf>,

    /// The role of each export, as TOML [default: every call of a MODULE is journaled]
    #[arg(long, value_name = "F.toml")]
    pub(crate) policy: Option<PathBuf>,

    /// A policy that comes with the program, instead of --policy
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "policy",
        requires = "module",
        value_parser = PossibleValuesParser::new(proxy_core::PRESETS)
    )]
    pub(crate) preset: Option<String>,

    /// The limit for all memories of one instance together
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub(crate) memory_limit: u64,

    /// The share of the limit at which a standby is prepared
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = parse_share, allow_negative_numbers = true)]
    pub(crate) warn: f64,

    /// The share of the limit at which the standby takes over, and at which the rotation of `bench`
    /// replaces an instance
    #[arg(long, value_name = "SHARE", default_value = "0.9", value_parser = parse_share, allow_negative_numbers = true)]
    pub(crate) critical: f64,

    #[command(flatten)]
    pub(crate) imports: ImportArgs,

    /// What happens to the workers' memory when a thread pool of a wasm-bindgen module ends
    /// [default: destroy]
    #[arg(long, value_name = "HOW")]
    pub(crate) worker_exit: Option<WorkerExit>,

    /// How long one call may take, as in `500ms`, `10s`, `2m`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) deadline: Option<Duration>,

    /// How long a pinned scope may stay on an instance that was swapped out
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    pub(crate) drain_timeout: Duration,

    #[command(flatten)]
    pub(crate) compiling: CompileArgs,

    #[command(flatten)]
    pub(crate) world: WorldArgs,
}

/// The options of `run` that mean nothing without the proxy, by the names of their fields. With a
/// bare instance there are thresholds, swaps, replays and stores of objects only in name.
const OF_THE_PROXY: [&str; 20] = [
    "warn",
    "critical",
    "drain_timeout",
    "hold_back",
    "swap_calls",
    "swap_age",
    "swap_idle",
    "stack_drift",
    "total_memory",
    "journal_callers",
    "tier_up",
    "artifacts",
    "artifacts_limit",
    "history",
    "audit",
    "on_divergence",
    "journal",
    "durability",
    "migrate",
    "dry_run",
];

/// When to swap, and what all generations may take together.
#[derive(Debug, Args)]
pub(crate) struct SwapArgs {
    /// Swap after so many calls on one instance
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) swap_calls: Option<u64>,

    /// Swap when an instance has served for so long, at the next journaled call
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) swap_age: Option<Duration>,

    /// Swap when the memory has not grown for so long after a peak, or `off`
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_bound)]
    pub(crate) swap_idle: Duration,

    /// Swap when the guest's stack pointer has come down by so much between calls, or `off`
    #[arg(long, value_name = "SIZE", default_value = "16KiB", value_parser = parse_size_or_off)]
    pub(crate) stack_drift: u64,

    /// The limit for all instances and the journal together [default: none]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) total_memory: Option<u64>,
}

impl SwapArgs {
    pub(crate) fn triggers(&self) -> SwapTriggers {
        SwapTriggers {
            calls_max: self.swap_calls,
            age_max: self.swap_age,
            idle_after: (!self.swap_idle.is_zero()).then_some(self.swap_idle),
            stack_drift_bytes_max: (self.stack_drift > 0).then_some(self.stack_drift),
            ..SwapTriggers::default()
        }
    }
}

/// How to run.
#[derive(Debug, Args)]
#[command(after_help = WORKLOAD_HELP)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,

    /// How long a call near the memory limit may wait for a swap, or `off`
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_bound)]
    pub(crate) hold_back: Duration,

    /// The calls to make, as JSON lines; see below
    #[arg(long, value_name = "F.jsonl")]
    pub(crate) workload: Option<PathBuf>,

    /// The runtime and compiler; `wasm-proxy engines` lists them
    #[arg(long, default_value = engines::default_name().unwrap_or("none"))]
    pub(crate) engine: String,

    /// Begin on --engine, compile the module on this engine meanwhile, and swap over when it is done
    #[arg(long, value_name = "ENGINE")]
    pub(crate) tier_up: Option<String>,

    #[command(flatten)]
    pub(crate) swaps: SwapArgs,

    /// Stop after N calls, but not within a pinned scope; without a workload: make N proofs
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) calls: Option<u64>,

    /// A directory that keeps objects as bytes for later runs, where the policy names artifacts
    #[arg(long, value_name = "DIR")]
    pub(crate) artifacts: Option<PathBuf>,

    /// The limit for all files in that directory; the least recently used are deleted
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "1GiB",
        requires = "artifacts",
        value_parser = parse_size
    )]
    pub(crate) artifacts_limit: u64,

    /// How much of the past is kept: every journaled call that the state needs, or a verified
    /// checkpoint and the calls after it
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = HistoryArg::Full)]
    pub(crate) history: HistoryArg,

    /// Keep the journal in a directory, which is created if it is not there, and make the state again
    /// that is in it
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,

    /// When a journaled call returns: `durable`, when it is on the disk; or `relaxed:TIME`, at once,
    /// where the last TIME is lost with the machine
    #[arg(
        long,
        value_name = "HOW",
        default_value = "durable",
        requires = "journal",
        value_parser = parse_durability
    )]
    pub(crate) durability: Durability,

    /// How many journaled calls may wait for the journal's disk
    #[arg(
        long,
        value_name = "N",
        requires = "journal",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(crate) journal_callers: Option<u32>,

    /// How long the module may take to compile
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_time)]
    pub(crate) compile_timeout: Duration,

    /// Go on from the journal of another module or policy in a new --journal, if every call in it gives
    /// the same here. The old one is not changed
    #[arg(long, value_name = "OLD")]
    pub(crate) migrate: Option<PathBuf>,

    /// With --migrate: replay and compare, write nothing, and make no calls
    #[arg(long, requires = "migrate")]
    pub(crate) dry_run: bool,

    /// After the last call, look for exports that the policy calls pure and that write
    #[arg(long)]
    pub(crate) audit: bool,

    /// What to do about a call whose replay gives something else than its caller got
    #[arg(long, value_name = "HOW", default_value = "fail")]
    pub(crate) on_divergence: OnDivergence,

    /// After the last call, write the bytes of the live objects into a directory, for those whose
    /// policy names an artifact. The directory must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) export_objects: Option<PathBuf>,

    /// Run on a bare instance, to see what happens to it
    #[arg(long, conflicts_with_all = OF_THE_PROXY)]
    pub(crate) without_proxy: bool,

    /// Write a report as JSON
    #[arg(long, value_name = "F.json")]
    pub(crate) report: Option<PathBuf>,
}

/// What to compare.
#[derive(Debug, Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,

    /// The calls: those that build the state, then a repeat of those that an application makes
    /// again and again
    #[arg(long, value_name = "F.jsonl")]
    pub(crate) workload: Option<PathBuf>,

    /// A runtime and compiler; may be repeated; `wasm-proxy engines` lists them [default: as for
    /// `run`]
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Vec<String>,

    /// How many turns of the repeat each strategy makes [default: the workload's number; 300
    /// proofs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) calls: Option<u64>,

    /// How many rounds to run; the tables have medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) rounds: u32,

    /// How long one strategy may take in one round
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_time)]
    pub(crate) time_max: Duration,

    /// Write a report as one HTML page, with plots
    #[arg(long, value_name = "F.html")]
    pub(crate) report: Option<PathBuf>,

    /// Write the figures as JSON
    #[arg(long, value_name = "F.json")]
    pub(crate) json: Option<PathBuf>,
}

/// How much of the past is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HistoryArg {
    /// Every entry that live objects need
    Full,
    /// A verified checkpoint takes the place of what came before it
    Checkpoint,
}

impl From<HistoryArg> for proxy_core::History {
    fn from(history: HistoryArg) -> Self {
        match history {
            HistoryArg::Full => Self::Full,
            HistoryArg::Checkpoint => Self::Checkpoint,
        }
    }
}

/// What happens to a worker's stack and thread-local block when its pool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WorkerExit {
    /// They are freed
    Destroy,
    /// They are lost, about 1 MiB per worker and pool, as in o1js up to 2.14
    Abandon,
}

impl From<WorkerExit> for bindgen_host::WorkerExit {
    fn from(exit: WorkerExit) -> Self {
        match exit {
            WorkerExit::Destroy => Self::Destroy,
            WorkerExit::Abandon => Self::Abandon,
        }
    }
}

/// What happens to an entry of the journal whose replay gives something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDivergence {
    /// No standby can be made from there on
    Fail,
    /// What the replay gives becomes the recorded result
    Accept,
    /// The entry is left out of the journal, with all that its call changed
    Skip,
}

impl From<OnDivergence> for proxy_core::OnDivergence {
    fn from(what: OnDivergence) -> Self {
        match what {
            OnDivergence::Fail => Self::Fail,
            OnDivergence::Accept => Self::Accept,
            OnDivergence::Skip => Self::Skip,
        }
    }
}

/// What to inspect.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The module, binary or text
    pub(crate) module: PathBuf,

    /// Print a policy drafted from the glue, or from the names and types of the exports, and nothing
    /// else
    #[arg(long, conflicts_with_all = ["policy", "preset"])]
    pub(crate) emit_policy: bool,

    /// The names of a module's imports and exports, as for `run`
    #[arg(long, value_name = "F.toml")]
    pub(crate) names: Option<PathBuf>,

    /// The JavaScript that wasm-bindgen emitted beside the module: `pkg.js`, `pkg.cjs`, `pkg_bg.js`
    #[arg(long, value_name = "F.js", conflicts_with_all = ["policy", "preset"])]
    pub(crate) glue: Option<PathBuf>,

    /// The types that came with it, for what the glue says nothing about
    #[arg(long, value_name = "F.d.ts", requires = "glue")]
    pub(crate) types: Option<PathBuf>,

    /// Make the calls of a workload again and again, and say which roles of the policy what they do
    /// contradicts
    #[arg(long, requires = "workload", conflicts_with_all = ["emit_policy", "glue"])]
    pub(crate) check_policy: bool,

    /// The calls for --check-policy, as for `run`
    #[arg(long, value_name = "F.jsonl", requires = "check_policy")]
    pub(crate) workload: Option<PathBuf>,

    /// The runtime and compiler for --check-policy
    #[arg(
        long,
        requires = "check_policy",
        default_value = engines::default_name().unwrap_or("none")
    )]
    pub(crate) engine: String,

    /// Show the roles that this policy gives, and the pattern that decides each
    #[arg(long, value_name = "F.toml")]
    pub(crate) policy: Option<PathBuf>,

    /// The same for a policy that comes with the program
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "policy",
        value_parser = PossibleValuesParser::new(proxy_core::PRESETS)
    )]
    pub(crate) preset: Option<String>,

    #[command(flatten)]
    pub(crate) compiling: CompileArgs,

    #[command(flatten)]
    pub(crate) world: WorldArgs,
}

const BENCH_HELP: &str = "\
The strategies are: a bare instance until it dies, a restart when it is dead, an instance per turn, a process per
turn, a rotation of two instances, and the proxy without and with checkpoints. Each runs in a process of its own.
The longest repeat at the top level of the workload is compared; each of its turns stands for one request to an
application. The calls before it build the state; those after it are left out.
`wasm-proxy run --help` describes workloads.";

const WORKLOAD_HELP: &str = r#"A workload has one JSON object per line; blank lines and those that begin with # or // are skipped:
  {"call":"srs_create","args":[8],"as":"srs"}      call an export, name its result
  {"repeat":1000,"do":[...]}                       repeat calls and scopes
  {"pinned":[...]}                                 make pure calls on one instance
Arguments are numbers, {"handle":"srs"} (any earlier result by its name), {"bytes":"<base64>"},
{"text":"..."} and {"index":true} (the turn of the innermost repeat, from 0). With --journal a call may have
an "id": it is made once, in whatever run; a repeat adds its turn. Arrays of numbers are
{"u16s":[1,2]}, {"u32s":..}, {"u64s":..} or bytes; lists of objects are {"handles":["a","b"]}, of raw pointers
{"pointers":["p","q"]}; structs (struct:TYPE, structs:TYPE) are bytes, or the result of an earlier call. What is
optional (optional:KIND) may be null. Several results are named by a list. "expect" compares a result: a number, a text,
{"bytes":"<base64>"}, {"u32s":[1,2]}, null, or a list for several.

A module made by wasm-bindgen runs without JavaScript: the program serves its imports. If it has a thread
pool, the program adds thread_pool_start(workers) and thread_pool_stop(pool). So it does with what Emscripten's
modules import, once --names has given short names back."#;

/// A size in bytes: `64MiB`, `512KiB`, `1GiB`, `64000000`.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];
    quantity(&text.to_ascii_lowercase(), &units)
        .ok_or_else(|| "write a size as in `64MiB`, `512KiB` or `1GiB`".to_owned())
}

/// A size in bytes, or `off`, which is 0.
fn parse_size_or_off(text: &str) -> Result<u64, String> {
    if text == "off" {
        return Ok(0);
    }
    parse_size(text).map_err(|error| format!("{error}, or `off`"))
}

/// A share of the memory limit: `0.7`.
fn parse_share(text: &str) -> Result<f64, String> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a share of the memory limit from 0 to 1, as in `0.7`".to_owned())
}

/// A length of time: `500ms`, `10s`, `2m`.
fn parse_time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("min", 60_000)];
    quantity(text, &units)
        .map(Duration::from_millis)
        .ok_or_else(|| "write a time as in `500ms`, `10s` or `2m`".to_owned())
}

/// `durable`, or `relaxed:100ms`.
fn parse_durability(text: &str) -> Result<Durability, String> {
    if text == "durable" {
        return Ok(Durability::Durable);
    }
    let every = text.strip_prefix("relaxed:").map(parse_time);
    match every {
        Some(every) => Ok(Durability::Relaxed { every: every? }),
        None => Err("write `durable`, or `relaxed:TIME` as in `relaxed:100ms`".to_owned()),
    }
}

fn parse_bound(text: &str) -> Result<Duration, String> {
    if text == "off" {
        return Ok(Duration::ZERO);
    }
    parse_time(text).map_err(|error| format!("{error}, or `off`"))
}

/// A number above 0 with its unit, as a multiple of the unit that counts as 1.
fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let (_, size) = units.iter().find(|(name, _)| *name == unit.trim())?;
    let quantity = number.parse::<u64>().ok()?.checked_mul(*size)?;
    (quantity > 0).then_some(quantity)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1g"), Ok(1 << 30));
        assert_eq!(parse_size("65536"), Ok(65_536));
        for wrong in ["", "MiB", "64 parsecs", "0", "-1", "99999999999GiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn shares_are_numbers_from_0_to_1() {
        assert_eq!(parse_share("0.7"), Ok(0.7));
        assert_eq!(parse_share("1"), Ok(1.0));
        for wrong in ["", "abc", "-1", "1.1", "70%", "NaN", "inf"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_durability_is_durable_or_relaxed_by_a_time() {
        assert_eq!(parse_durability("durable"), Ok(Durability::Durable));
        let every = Duration::from_millis(100);
        let relaxed = Durability::Relaxed { every };
        assert_eq!(parse_durability("relaxed:100ms"), Ok(relaxed));
        for wrong in ["", "relaxed", "relaxed:", "relaxed:soon", "fast"] {
            assert!(parse_durability(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_mins(2)));
        for wrong in ["", "10", "s", "0s", "1h30", "-1s"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
