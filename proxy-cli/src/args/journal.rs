//! The command line of `journal` and `replay`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::{
    CompileArgs, HistoryArg, ImportArgs, SubjectArgs, WorkerExit, WorldArgs, parse_size, parse_time,
};

/// What to do with a journal. It must have no owner meanwhile.
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Check all of a journal: its chain, its objects, its manifest and its checkpoints
    Verify {
        /// The directory of the journal
        dir: PathBuf,
    },
    /// Print the records of a journal, with values as a workload writes them
    Dump(DumpArgs),
    /// Write a durable checkpoint and drop what it takes the place of
    Compact(CompactArgs),
    /// Save what is good in a damaged journal into a new one, and say what is lost
    Salvage {
        /// The directory of the damaged journal, which is not changed
        dir: PathBuf,
        /// The directory of the new journal
        new: PathBuf,
    },
    /// Write a journal with its checkpoints into one file, to keep or to move it
    Export {
        /// The directory of the journal
        dir: PathBuf,
        /// The file, which must not be there
        file: PathBuf,
    },
    /// Make a journal of a file that `export` wrote
    Import {
        /// The file
        file: PathBuf,
        /// The directory of the new journal
        dir: PathBuf,
    },
}

/// What to print of a journal.
#[derive(Debug, Args)]
pub(crate) struct DumpArgs {
    /// The directory of the journal
    pub(crate) dir: PathBuf,

    /// Print JSON lines: one for the journal, then one for each record
    #[arg(long)]
    pub(crate) json: bool,

    /// Begin at this record
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from: Option<u64>,

    /// Print at most so many records
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

/// The module that a journal is of, and the limits of its instances.
#[derive(Debug, Args)]
pub(crate) struct OfflineArgs {
    /// The module, binary or text [default: the embedded prover]
    #[arg(long, value_name = "MODULE")]
    pub(crate) module: Option<PathBuf>,

    /// The policy that the journal was made with, as TOML
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

    #[command(flatten)]
    pub(crate) imports: ImportArgs,

    /// What happens to the workers' memory when a thread pool ends, as it was for `run`
    #[arg(long, value_name = "HOW")]
    pub(crate) worker_exit: Option<WorkerExit>,

    /// How long one call may take, as in `500ms`, `10s`, `2m`
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) deadline: Option<Duration>,

    #[command(flatten)]
    pub(crate) compiling: CompileArgs,
}

impl OfflineArgs {
    /// The same as `run` would take it.
    pub(crate) fn subject(&self) -> SubjectArgs {
        SubjectArgs {
            module: self.module.clone(),
            policy: self.policy.clone(),
            preset: self.preset.clone(),
            memory_limit: self.memory_limit,
            warn: 0.7,
            critical: 0.9,
            imports: self.imports.clone(),
            worker_exit: self.worker_exit,
            deadline: self.deadline,
            drain_timeout: Duration::from_secs(30),
            compiling: self.compiling.clone(),
            world: WorldArgs::default(),
        }
    }
}

/// What to make small.
#[derive(Debug, Args)]
pub(crate) struct CompactArgs {
    /// The directory of the journal
    pub(crate) dir: PathBuf,

    #[command(flatten)]
    pub(crate) offline: OfflineArgs,

    /// The runtime and compiler that makes the state
    #[arg(long, default_value = engines::default_name().unwrap_or("none"))]
    pub(crate) engine: String,

    /// What the checkpoint has: the calls that the state needs, or the state itself [default: as the
    /// journal has it]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) history: Option<HistoryArg>,
}

/// What to replay.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 all engines agree with the journal; 2 it cannot be replayed; 3 an engine gives something else.
A journal that begins with a state needs engines that restore snapshots.")]
pub(crate) struct ReplayArgs {
    /// The directory of the journal, which is only read
    pub(crate) journal: PathBuf,

    #[command(flatten)]
    pub(crate) offline: OfflineArgs,

    /// A runtime and compiler; may be repeated [default: all that can run the module]
    #[arg(long, value_name = "ENGINE")]
    pub(crate) engine: Vec<String>,

    /// Stop after this entry
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) until: Option<u64>,
}
