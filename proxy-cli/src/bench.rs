//! `bench`: the module under every strategy that an operator could choose.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use comparison::child::{Again, Order};
use comparison::{Children, Job, Progress, Report, Settings, Strategy, compare, html, table};
use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{BenchArgs, Streams};
use crate::subject::Subject;
use crate::{hosting, output};

/// Proofs without a workload: five times as many as a bare instance makes before it dies.
const PROOFS: u64 = 300;

/// The command that makes this program a child of itself.
pub(crate) const CHILD: &str = "bench-child";

pub(crate) fn bench(args: &BenchArgs) -> Result<ExitCode> {
    let job = job(args)?;
    // Opened first: the comparison takes minutes.
    let page_file = args.report.as_deref().map(output::create).transpose()?;
    let json_file = args.json.as_deref().map(output::create).transpose()?;
    if let (Some(report), Some(json)) = (&args.report, &args.json)
        && report.canonicalize().ok() == json.canonicalize().ok()
    {
        bail!(
            "--report and --json both name `{}`, and one would replace the other; give two files",
            json.display()
        );
    }
    let info = module_bytes::parse(&job.wasm)?;
    let engines = engine_names(args)?
        .into_iter()
        .map(|name| {
            let options = args.subject.options(&job.policy);
            let engine = hosting::engine(&name, &info, options, &args.subject.compiling)?;
            Ok((name, engine))
        })
        .collect::<Result<Vec<_>>>()?;
    let children = Children {
        again: Again::with_args(child_args())?,
        engines,
    };
    let settings = Settings {
        strategies: Strategy::ALL.to_vec(),
        rounds: args.rounds,
        time_max: args.time_max,
        command: typed(),
        versions: BTreeMap::from([(
            "wasm-proxy".to_owned(),
            env!("CARGO_PKG_VERSION").to_owned(),
        )]),
    };
    let display = Display::new(&settings, &children);
    let report = compare(&job, &children, &settings, &mut |progress| {
        display.show(&progress);
    });
    display.end();
    let report = report?;
    output::print(&text(&report))?;
    if let Some(file) = page_file {
        output::write(file, html::report_page(&report).as_bytes())?;
    }
    if let Some(file) = json_file {
        output::write(file, &output::json(&report)?)?;
    }
    Ok(exit_code(&report))
}

/// Success means, as for `run`, that all calls behind the proxy succeeded. The other strategies are
/// expected to fail.
fn exit_code(report: &Report) -> ExitCode {
    let rows = report.engines.iter().flat_map(|engine| &engine.rows);
    let mut proxied = rows.filter(|row| row.strategy.is_proxy());
    if proxied.any(|row| row.turns_failed.max > 0.0) {
        ExitCode::from(1)
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs one strategy, or one turn, for the process that started this one.
pub(crate) fn child(args: &BenchArgs) -> Result<ExitCode> {
    let order = Order::read()?;
    let job = job(args);
    let engine = job.as_ref().map_err(|_| ()).and_then(|job| {
        let info = module_bytes::parse(&job.wasm).map_err(|_| ())?;
        let (options, limits) = (
            args.subject.options(&job.policy),
            args.subject.compiling.limits(),
        );
        // What the process that started this one compiled is loaded.
        Ok(engines::engine_within(&order.engine, &info, options, limits).map_err(Into::into))
    });
    let engine = engine.unwrap_or_else(|()| bail!("the module cannot be read any more"));
    order.execute(job, engine)?;
    Ok(ExitCode::SUCCESS)
}

fn job(args: &BenchArgs) -> Result<Job> {
    let workload = args.workload.as_deref();
    let subject = Subject::read(
        &args.subject,
        workload,
        Some(PROOFS),
        Streams::Closed,
        |module| {
            format!(
                "no calls to compare on `{module}`: give --workload F.jsonl with the calls that build the state, one per \
             line, and then {{\"repeat\":300,\"do\":[...]}} with those that an application makes again and again"
            )
        },
    )?;
    let mut job = Job {
        name: subject.name,
        wasm: subject.wasm,
        policy: subject.policy,
        imports: subject.imports,
        workload: subject.workload,
        limits: args.subject.limits(),
        thresholds: args.subject.thresholds()?,
        drain_timeout: args.subject.drain_timeout,
    };
    match args.calls {
        Some(turns) => job.set_turns(turns)?,
        None => job.repeat().map(|_| ())?,
    }
    Ok(job)
}

fn engine_names(args: &BenchArgs) -> Result<Vec<String>> {
    if args.engine.is_empty() {
        return Ok(vec![engines::default_name()?.to_owned()]);
    }
    Ok(args.engine.clone())
}

/// The arguments of this process, with the child's command in place of `bench`.
fn child_args() -> Vec<OsString> {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(command) = args.iter_mut().find(|arg| *arg == "bench") {
        *command = CHILD.into();
    }
    args
}

/// The command line, for the report.
fn typed() -> String {
    let args = std::env::args_os().skip(1);
    let args: Vec<String> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    format!("wasm-proxy {}", args.join(" "))
}

fn text(report: &Report) -> String {
    let mut parts = vec![format!("\n{}\n", table::circumstances(report).join("\n"))];
    for engine in &report.engines {
        parts.push(format!(
            "\n{}\n\n{}\n{}",
            engine.engine,
            table::speed(report, engine).plain(),
            table::cost(engine).plain()
        ));
        for row in &engine.rows {
            if let Some(error) = &row.error {
                let name = row.strategy.name();
                parts.push(format!("\nfirst failure of `{name}`: {error}"));
            }
        }
        parts.push("\n".to_owned());
    }
    parts.concat()
}

/// The progress of a comparison: a bar on a terminal, a line per strategy elsewhere.
struct Display {
    bar: Option<ProgressBar>,
    rounds: u32,
}

impl Display {
    fn new(settings: &Settings, children: &Children) -> Self {
        let is_live = io::stderr().is_terminal() && !output::is_logging();
        let runs = settings.strategies.len() * children.engines.len();
        let bar = is_live.then(|| {
            let template = "{bar:40.cyan/dim} {pos} of {len} runs, {elapsed} gone\n{msg}";
            let style = ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let runs = runs as u64 * u64::from(settings.rounds);
            let bar = ProgressBar::new(runs).with_style(style);
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        Self {
            bar,
            rounds: settings.rounds,
        }
    }

    fn show(&self, progress: &Progress<'_>) {
        let Progress {
            round,
            engine,
            strategy,
            turns,
        } = *progress;
        let run = format!(
            "round {round} of {}, {engine}, {}",
            self.rounds,
            strategy.name()
        );
        match &self.bar {
            Some(bar) => {
                if turns == 0 {
                    // The run before this one has ended.
                    bar.inc(u64::from(!bar.message().is_empty()));
                }
                bar.set_message(format!("{run}: {turns} turns"));
            }
            None if turns == 0 => output::note(&run),
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
