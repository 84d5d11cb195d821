//! Measures what `docs/reliability.md` promises, and prints the table.
//!
//! ```text
//! cargo run --release --bin reliability -- --full
//! ```
//!
//! A row is measured here, or shown by tests that this program runs with cargo, or both. A row that
//! nothing shows is in the table too, with the reason. The program fails if a promise is broken that
//! is known to be kept.

#![allow(
    clippy::unwrap_used,
    reason = "a failed expectation is a row that falls short, and the table says which"
)]
#![allow(
    clippy::cast_precision_loss,
    reason = "figures are shown with a few digits"
)]

mod acks;
mod bounded;
mod child;
mod deaths;
mod divergences;
mod failpoints;
mod guests;
mod kills;
mod memory;
mod oracle;
mod replays;
mod report;
mod rows;
mod soak;
mod swaps;
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use conformance::engines::{self, EngineUnderTest};

use report::{Line, Measured, Outcome};
use rows::{ROWS, Row};

/// Measures what docs/reliability.md promises, and prints the table.
#[derive(Debug, Parser)]
struct Options {
    /// The figures for a release in place of those for every change.
    #[arg(long)]
    full: bool,
    /// Only this row; may be given several times.
    #[arg(long = "row", value_name = "ID")]
    rows: Vec<String>,
    /// Only this engine; may be given several times.
    #[arg(long = "engine", value_name = "NAME")]
    engines: Vec<String>,
    /// Measure, and run no tests: they have been run already.
    #[arg(long)]
    measure_only: bool,
    /// Writes the table as JSON too, after each row.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Goes on with a run that was ended: the rows that its file has are not measured again, but for
    /// broken ones.
    #[arg(long = "continue", requires = "json")]
    goes_on: bool,
    /// How long the soak takes, in seconds.
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// How many calls the row `bounded` makes.
    #[arg(long, value_name = "COUNT")]
    calls: Option<u64>,
}

/// How much is done for each figure.
#[derive(Debug)]
struct Scale {
    full: bool,
    /// Tests that show a row are named and not run.
    measure_only: bool,
    engines: Vec<&'static EngineUnderTest>,
    soak_seconds: u64,
    calls: Option<u64>,
}

impl Scale {
    /// One of two numbers.
    fn of<T>(&self, ci: T, full: T) -> T {
        if self.full { full } else { ci }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("child", orders)) = arguments
        .split_first()
        .map(|(first, orders)| (first.as_str(), orders))
    {
        child::run(orders);
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    // Hostile guests make host functions panic on purpose, and the traces of these would be all there is to
    // read. An expectation that fails is named with its place too.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let chosen =
        |name: &str| options.engines.is_empty() || options.engines.iter().any(|e| e == name);
    let scale = Scale {
        full: options.full,
        measure_only: options.measure_only,
        engines: engines::all()
            .into_iter()
            .filter(|engine| chosen(engine.name()))
            .collect(),
        soak_seconds: options.soak.unwrap_or(if options.full { 3600 } else { 12 }),
        calls: options.calls,
    };
    let lines = match lines(&options, &scale) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("\n{}", report::table(&lines, &scale));
    let broken: Vec<_> = lines
        .iter()
        .filter_map(|line| line.broken.as_ref())
        .collect();
    for broken in &broken {
        // Last, where a log that was cut to its end still has it.
        eprintln!("broken: {broken}");
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The rows that are asked for, in the table's order. The file has each as soon as it is there.
fn lines(options: &Options, scale: &Scale) -> Result<Vec<Line>, String> {
    let tree = report::tree();
    let mut lines = match &options.json {
        Some(path) if options.goes_on => report::earlier(path, scale)?,
        _ => Vec::new(),
    };
    for row in ROWS {
        let is_chosen = options.rows.is_empty() || options.rows.iter().any(|id| id == row.id);
        if !is_chosen || lines.iter().any(|line| line.id == row.id) {
            continue;
        }
        let outcome = outcome_of(row, scale);
        report::print(&outcome);
        lines.push(outcome.line(scale, &tree));
        lines.sort_by_key(|line| ROWS.iter().position(|row| row.id == line.id));
        if let Some(path) = &options.json {
            std::fs::write(path, report::json(&lines, scale))
                .map_err(|error| format!("cannot write `{}`: {error}", path.display()))?;
        }
    }
    Ok(lines)
}

fn outcome_of(row: &'static Row, scale: &Scale) -> Outcome {
    eprintln!("{}: {} ...", row.id, row.promise);
    let started = std::time::Instant::now();
    let measured = row.measure.map(|measure| {
        // A failed expectation ends the thread, and no other row.
        let ended = std::thread::scope(|scope| scope.spawn(|| measure(scale)).join());
        ended.unwrap_or_else(|panic| Measured::failed(&panic))
    });
    let shown = if scale.measure_only {
        row.tests.iter().map(tests::Test::named).collect()
    } else {
        row.tests.iter().map(|test| test.run(scale)).collect()
    };
    Outcome {
        row,
        measured,
        tests: shown,
        took: started.elapsed(),
    }
}
