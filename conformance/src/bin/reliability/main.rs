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

use report::{Measured, Outcome};
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
    /// Writes the table as JSON too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
        engines: engines::all()
            .into_iter()
            .filter(|engine| chosen(engine.name()))
            .collect(),
        soak_seconds: options.soak.unwrap_or(if options.full { 3600 } else { 12 }),
        calls: options.calls,
    };
    let mut outcomes = Vec::new();
    for row in ROWS {
        let is_chosen = options.rows.is_empty() || options.rows.iter().any(|id| id == row.id);
        if is_chosen {
            let outcome = outcome_of(row, &scale, options.measure_only);
            report::print(&outcome);
            outcomes.push(outcome);
        }
    }
    if let Some(path) = &options.json {
        let json = report::json(&outcomes, &scale);
        if let Err(error) = std::fs::write(path, json) {
            eprintln!("cannot write `{}`: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    println!("\n{}", report::table(&outcomes, &scale));
    let broken: Vec<_> = outcomes.iter().filter(|one| one.is_failure()).collect();
    for outcome in &broken {
        // Last, where a log that was cut to its end still has it.
        eprintln!("broken: {}", outcome.broken());
    }
    if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn outcome_of(row: &'static Row, scale: &Scale, measure_only: bool) -> Outcome {
    eprintln!("{}: {} ...", row.id, row.promise);
    let started = std::time::Instant::now();
    let measured = row.measure.map(|measure| {
        // A failed expectation ends the thread, and no other row.
        let ended = std::thread::scope(|scope| scope.spawn(|| measure(scale)).join());
        ended.unwrap_or_else(|panic| Measured::failed(&panic))
    });
    let shown = if measure_only {
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
