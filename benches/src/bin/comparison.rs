//! `comparison`: the proxy and the alternatives on the leaking prover, on every engine, as one JSON file, plots and
//! tables. `docs/benchmarks.md` has what it gave, and says how to read it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use benches::engines::{Column, all};
use benches::guests::Guest;
use clap::Parser;
use comparison::child::{Again, Order};
use comparison::figures::figures;
use comparison::{Children, Job, Report, Settings, Strategy, compare, machine, page, table};
use engine_api::{Engine, Imports, Limits};
use proxy_core::Thresholds;
use workload::Workload;

/// Compares the proxy with the alternatives, on the prover that loses 1 MiB with each proof, in 64 MiB
#[derive(Debug, Parser)]
struct Args {
    /// The engine, once or several times [default: all that are compiled in]
    #[arg(long, value_name = "ENGINE")]
    engine: Vec<String>,

    /// One round of fewer turns on one engine, in about a minute
    #[arg(long)]
    quick: bool,

    /// How many proofs each strategy makes
    #[arg(long, value_name = "N", default_value_t = 300)]
    turns: u64,

    /// How often everything is run
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,

    /// How many seconds one strategy may take in one round
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    time_max: u64,

    /// Where the JSON and the plots go
    #[arg(long, value_name = "FOLDER", default_value = "target/comparison")]
    out: PathBuf,

    /// Write the tables into this page, between its markers, and the plots into the folder of its name
    #[arg(long, value_name = "F.md")]
    page: Option<PathBuf>,

    /// Do not measure: show again what is in the JSON
    #[arg(long, value_name = "F.json")]
    from: Option<PathBuf>,

    /// Run one strategy, for the comparison that starts this
    #[arg(long, hide = true)]
    child: bool,
}

const WORKLOAD: &str = include_str!("../../../guests/workloads/prover.jsonl");

/// What the part of the page is called that is written here.
const PART: &str = "comparison";

fn main() -> Result<()> {
    let args = Args::parse();
    if args.child {
        let order = Order::read()?;
        let engine = column(&order.engine).map(|column| column.engine());
        return order.execute(job(&args), engine);
    }
    let report = match &args.from {
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read `{}`", path.display()))?;
            serde_json::from_str(&text).context("that is no report of a comparison")?
        }
        None => measured(&args)?,
    };
    fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder `{}`", args.out.display()))?;
    let mut json = serde_json::to_vec_pretty(&report)?;
    json.push(b'\n');
    fs::write(args.out.join("comparison.json"), json)?;
    plots(&report, &args.out)?;
    if let Some(path) = &args.page {
        write_page(&report, path)?;
    }
    std::io::stdout().write_all(table::markdown(&report).as_bytes())?;
    Ok(())
}

fn measured(args: &Args) -> Result<Report> {
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
        strategies: Strategy::ALL.to_vec(),
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

/// The command that was typed, without what only says where the output goes.
fn command() -> String {
    let mut typed = vec!["cargo run --release -p benches --bin comparison --".to_owned()];
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--out" | "--page" => drop(args.next()),
            _ => typed.push(arg),
        }
    }
    typed.join(" ").trim_end_matches(" --").to_owned()
}

fn job(args: &Args) -> Result<Job> {
    let guest = Guest::prover();
    let mut job = Job {
        name: "prover.wasm".to_owned(),
        wasm: guest.wasm,
        policy: guest.policy,
        imports: Imports::new(),
        workload: Workload::parse("prover.jsonl", WORKLOAD)?,
        limits: Limits {
            memory_bytes_max: Some(64 << 20),
            ..Limits::default()
        },
        thresholds: Thresholds::default(),
        drain_timeout: Duration::from_secs(30),
    };
    job.set_turns(if args.quick { 150 } else { args.turns })?;
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

fn versions() -> BTreeMap<String, String> {
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    let lock = fs::read_to_string(lock).unwrap_or_default();
    let rustc = machine::said("rustc", &["--version"]);
    let rustc = rustc.and_then(|said| Some(said.split(' ').nth(1)?.to_owned()));
    [
        ("Rust", rustc),
        ("wasmtime", machine::locked(&lock, "wasmtime")),
        ("Wasmer", machine::locked(&lock, "wasmer")),
    ]
    .into_iter()
    .filter_map(|(name, version)| Some((name.to_owned(), version?)))
    .collect()
}

fn plots(report: &Report, folder: &Path) -> Result<()> {
    for figure in figures(report) {
        let path = folder.join(format!("{}.svg", figure.name));
        fs::write(&path, figure.drawing.svg())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

fn write_page(report: &Report, path: &Path) -> Result<()> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the page `{}`", path.display()))?;
    let folder = path.with_extension("");
    let name = folder
        .file_name()
        .context("the page has no name")?
        .to_string_lossy()
        .into_owned();
    let mut content = format!(
        "```sh\n{}\n```\n\n{}",
        report.command,
        table::markdown(report)
    );
    for figure in figures(report) {
        content += format!(
            "\n![{0}]({name}/{1}.svg)\n\n{0}\n",
            figure.caption, figure.name
        )
        .as_str();
    }
    fs::create_dir_all(&folder)?;
    plots(report, &folder)?;
    fs::write(path, page::replace(&text, PART, &content)?)
        .with_context(|| format!("cannot write the page `{}`", path.display()))
}
