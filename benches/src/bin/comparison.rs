//! `comparison`: the proxy and the alternatives on a leaking prover, and swaps against the size of
//! the state and the length of the journal, on every engine: one JSON file, plots and tables.
//! `docs/benchmarks.md` has the figures, and says how to read them.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use benches::engines::{Column, all};
use benches::guests::GuestModule;
use benches::results::{read_json, versions, write_json};
use benches::swaps::{self, Effort, Swaps};
use clap::{Parser, ValueEnum};
use comparison::child::{Again, Order};
use comparison::figures::{Figure, figures};
use comparison::{Children, Job, Origin, Report, Settings, Strategy, compare, report_page, table};
use engine_api::{Engine, Imports, Limits};
use proxy_core::Thresholds;
use serde::{Deserialize, Serialize};
use workload::Workload;

/// Compares the proxy with the alternatives, on a prover that loses 1 MiB with each proof, in 64
/// MiB; and measures swaps
#[derive(Debug, Parser)]
struct Args {
    /// An engine; may be repeated [default: all that are compiled in]
    #[arg(long, value_name = "ENGINE")]
    engine: Vec<String>,

    /// A strategy; may be repeated [default: all]
    #[arg(long, value_name = "STRATEGY")]
    strategy: Vec<Strategy>,

    /// Measure one part, and keep the other one of the JSON
    #[arg(long, value_name = "PART")]
    only: Option<Part>,

    /// One round of fewer turns on one engine, and few swaps, in about two minutes
    #[arg(long)]
    quick: bool,

    /// Another workload for the prover
    #[arg(long, value_name = "F.jsonl")]
    workload: Option<PathBuf>,

    /// How many proofs each strategy makes
    #[arg(long, value_name = "N", default_value_t = 130)]
    turns: u64,

    /// How many rounds to run
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,

    /// How many seconds one strategy may take in one round
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    time_max: u64,

    /// The folder for the JSON and the plots
    #[arg(long, value_name = "FOLDER", default_value = "target/comparison")]
    out: PathBuf,

    /// Write the tables between the markers of this report page, and the plots into the folder of
    /// its name
    #[arg(long, value_name = "F.md")]
    report_page: Option<PathBuf>,

    /// Do not measure: show the figures of a JSON file again
    #[arg(long, value_name = "F.json")]
    from: Option<PathBuf>,

    /// Run one strategy, for the comparison that starts this program
    #[arg(long, hide = true)]
    child: bool,
}

/// A part of the measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The proxy and the alternatives
    Alternatives,
    /// Standbys and pauses, by the size of the state and the length of the journal
    Swaps,
}

/// The JSON file.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    alternatives: Option<Report>,
    swaps: Option<Swaps>,
}

const WORKLOAD: &str = include_str!("../../../guests/workloads/two_circuits.jsonl");

fn main() -> Result<()> {
    let args = Args::parse();
    if args.child {
        let order = Order::read()?;
        let engine = column(&order.engine).map(|column| column.engine());
        return order.execute(job(&args), engine);
    }
    let file = args.out.join("comparison.json");
    let measured = match (&args.from, args.only) {
        (Some(path), _) => read_json(path)?,
        (None, Some(only)) => {
            let before = if file.exists() {
                read_json(&file)?
            } else {
                Measured::default()
            };
            measure(&args, only, before)?
        }
        (None, None) => {
            let swaps = measure(&args, Part::Swaps, Measured::default())?;
            measure(&args, Part::Alternatives, swaps)?
        }
    };
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder `{}`", args.out.display()))?;
    write_json(&file, &measured)?;
    let parts = measured.parts();
    for (.., figures) in &parts {
        plots(figures, &args.out)?;
    }
    if let Some(path) = &args.report_page {
        write_report_page(&parts, path)?;
    }
    for (_, text, _) in parts {
        writeln!(std::io::stdout(), "{text}")?;
    }
    Ok(())
}

impl Measured {
    /// For each part: its name on the page, its text, and its plots.
    fn parts(&self) -> Vec<(&'static str, String, Vec<Figure>)> {
        let alternatives = self.alternatives.iter().map(|report| {
            let text = written(&report.origin, &table::markdown(report));
            ("comparison", text, figures(report))
        });
        let swaps = self.swaps.iter().map(|swaps| {
            let tables = format!("{}\n\n{}", swaps.origin.sentence(), swaps.markdown());
            ("swaps", written(&swaps.origin, &tables), swaps.figures())
        });
        alternatives.chain(swaps).collect()
    }
}

fn written(origin: &Origin, tables: &str) -> String {
    format!("```sh\n{}\n```\n\n{tables}", origin.command)
}

fn measure(args: &Args, part: Part, mut measured: Measured) -> Result<Measured> {
    match part {
        Part::Alternatives => measured.alternatives = Some(alternatives(args)?),
        Part::Swaps => {
            let effort = if args.quick {
                Effort::QUICK
            } else {
                Effort::FULL
            };
            let origin = Origin::now(command(), versions());
            let on_progress = &mut |what: &str| eprintln!("{what}");
            measured.swaps = Some(swaps::measure(
                &columns(args)?,
                effort,
                origin,
                on_progress,
            )?);
        }
    }
    Ok(measured)
}

fn alternatives(args: &Args) -> Result<Report> {
    let engines = columns(args)?
        .into_iter()
        .map(|column| (column.name.to_owned(), column.engine()))
        .collect::<Vec<(String, Arc<dyn Engine>)>>();
    let mut again: Vec<_> = std::env::args_os().skip(1).collect();
    again.push("--child".into());
    let children = Children {
        again: Again::with_args(again)?,
        engines,
    };
    let settings = Settings {
        strategies: if args.strategy.is_empty() {
            Strategy::ALL.to_vec()
        } else {
            args.strategy.clone()
        },
        rounds: if args.quick { 1 } else { args.rounds },
        time_max: Duration::from_secs(if args.quick { 8 } else { args.time_max }),
        command: command(),
        versions: versions(),
    };
    compare(&job(args)?, &children, &settings, &mut |progress| {
        if progress.turns == 0 {
            eprintln!(
                "round {} of {}, {}, {}",
                progress.round,
                settings.rounds,
                progress.engine,
                progress.strategy.name()
            );
        }
    })
}

/// The command line, without the options that only say where the output goes.
fn command() -> String {
    let features = if cfg!(feature = "llvm") {
        " --features llvm"
    } else {
        ""
    };
    let mut typed = vec![format!(
        "cargo run --release -p wasm-proxy-benches{features} --bin comparison --"
    )];
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" | "--report-page" => drop(args.next()),
            _ => typed.push(arg),
        }
    }
    typed.join(" ").trim_end_matches(" --").to_owned()
}

fn job(args: &Args) -> Result<Job> {
    let guest = GuestModule::prover();
    let workload = match &args.workload {
        Some(path) => Workload::read(path)?,
        None => Workload::parse("two_circuits.jsonl", WORKLOAD)?,
    };
    let mut job = Job {
        name: "prover.wasm".to_owned(),
        wasm: guest.wasm,
        policy: guest.policy,
        imports: Imports::new(),
        workload,
        limits: Limits {
            memory_bytes_max: Some(64 << 20),
            ..Limits::default()
        },
        thresholds: Thresholds::default(),
        drain_timeout: Duration::from_secs(30),
    };
    job.set_turns(if args.quick { 70 } else { args.turns })?;
    Ok(job)
}

fn columns(args: &Args) -> Result<Vec<Column>> {
    match args.engine.as_slice() {
        [] if args.quick => Ok(all().into_iter().take(1).collect()),
        [] => Ok(all()),
        names => names.iter().map(|name| column(name)).collect(),
    }
}

fn column(name: &str) -> Result<Column> {
    let Some(column) = all().into_iter().find(|column| column.name == name) else {
        let names: Vec<_> = all().iter().map(|column| column.name).collect();
        bail!("no engine `{name}`; choose among: {}", names.join(", "));
    };
    Ok(column)
}

fn plots(figures: &[Figure], folder: &Path) -> Result<()> {
    for figure in figures {
        let path = folder.join(format!("{}.svg", figure.name));
        fs::write(&path, &figure.svg)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn write_report_page(parts: &[(&str, String, Vec<Figure>)], path: &Path) -> Result<()> {
    let mut text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the page `{}`", path.display()))?;
    let folder = path.with_extension("");
    let name = folder
        .file_name()
        .context("the page has no name")?
        .to_string_lossy()
        .into_owned();
    fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the folder `{}`", folder.display()))?;
    for (part, tables, figures) in parts {
        let mut content = tables.clone();
        for figure in figures {
            content += format!(
                "\n![{0}]({name}/{1}.svg)\n\n{0}\n",
                figure.caption, figure.name
            )
            .as_str();
        }
        plots(figures, &folder)?;
        text = report_page::replace(&text, part, &content)?;
    }
    fs::write(path, text).with_context(|| format!("cannot write the page `{}`", path.display()))
}
