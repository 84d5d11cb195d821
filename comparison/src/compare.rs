//! Rounds of children, and their figures.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine_api::{Engine, ModuleHash};
use tempfile::TempDir;

use crate::again::Again;
use crate::gauge::MarkKind;
use crate::measured::Measured;
use crate::order::Task;
use crate::report::FORMAT;
use crate::sampler::Sample;
use crate::setup::Setup;
use crate::{EngineReport, Job, JobReport, Latency, Origin, Report, Row, Series, Spread, Strategy};

/// The settings of a comparison.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The strategies, in the order of the tables.
    pub strategies: Vec<Strategy>,
    /// How many rounds to run. A round runs every strategy on every engine once.
    pub rounds: u32,
    /// The time that a strategy may take in one round.
    pub time_max: Duration,
    /// The command line, for the report.
    pub command: String,
    /// Versions of the compiler and the runtimes.
    pub versions: BTreeMap<String, String>,
}

/// How to start children, and on which engines.
#[derive(Debug)]
pub struct Children {
    /// This program, with arguments that make it [execute orders](crate::child::Order).
    pub again: Again,
    /// The engines by their names, in order.
    pub engines: Vec<(String, Arc<dyn Engine>)>,
}

/// The progress of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The number of the round, from 1.
    pub round: u32,
    /// The name of the engine.
    pub engine: &'a str,
    /// The strategy that runs.
    pub strategy: Strategy,
    /// How many turns it has made.
    pub turns: u64,
}

/// Runs each strategy on each engine, in a process of its own.
///
/// # Errors
///
/// An engine refuses the module, or the policy or the workload does not fit it; a state cannot be
/// built; a child dies. Failed turns are figures, not errors.
pub fn compare(
    job: &Job,
    children: &Children,
    settings: &Settings,
    on_progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Report> {
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let mut prepared = Vec::new();
    for (name, engine) in &children.engines {
        let setup = Setup::new(job.clone(), Arc::clone(engine), None)
            .with_context(|| format!("cannot run `{}` on {name}", job.name))?;
        let compiled = keep(&folder, name, &setup)?;
        prepared.push((name, compiled, setup));
    }
    let mut measured: Vec<BTreeMap<Strategy, Vec<Measured>>> =
        vec![BTreeMap::new(); prepared.len()];
    for round in 1..=settings.rounds {
        for ((name, compiled, setup), measured) in prepared.iter().zip(&mut measured) {
            let again = children.again.on(name, compiled.as_deref());
            for strategy in settings.strategies.iter().copied() {
                let progress = |turns| Progress {
                    round,
                    engine: name,
                    strategy,
                    turns,
                };
                on_progress(progress(0));
                let task = Task::Measure {
                    strategy,
                    turns_max: setup.turns(),
                    time_max_ms: u64::try_from(settings.time_max.as_millis()).unwrap_or(u64::MAX),
                };
                let run = again
                    .measure(task, &mut |turns| on_progress(progress(turns)))
                    .with_context(|| format!("`{}` on {name}", strategy.name()))?;
                measured.entry(strategy).or_default().push(run);
            }
        }
    }
    let engines = prepared
        .iter()
        .zip(&measured)
        .map(|((name, ..), measured)| engine_report(name, &settings.strategies, measured))
        .collect();
    Ok(Report {
        format: FORMAT,
        origin: Origin::now(settings.command.clone(), settings.versions.clone()),
        job: job_report(job, settings, prepared.first().map(|(.., setup)| setup))?,
        engines,
    })
}

/// Writes the compiled module for the children, if the engine can write it.
fn keep(folder: &TempDir, name: &str, setup: &Setup) -> Result<Option<PathBuf>> {
    let Some(compiled) = setup.compiled() else {
        return Ok(None);
    };
    let path = folder.path().join(name);
    fs::write(&path, compiled.to_bytes()).context("cannot write the compiled module")?;
    Ok(Some(path))
}

fn job_report(job: &Job, settings: &Settings, setup: Option<&Setup>) -> Result<JobReport> {
    let (state_calls, turn_calls, calls_left_out) = setup.map_or((0, 0, 0), Setup::calls);
    let has_artifacts = setup
        .map(Setup::has_artifacts)
        .transpose()?
        .unwrap_or(false);
    Ok(JobReport {
        module: job.name.clone(),
        module_hash: ModuleHash::of(&job.wasm).to_string(),
        workload: job.workload.name.clone(),
        state_calls,
        turn_calls,
        calls_left_out,
        turns: setup.map_or(0, Setup::turns),
        time_max_s: settings.time_max.as_secs_f64(),
        rounds: settings.rounds,
        memory_limit_mib: setup.map_or(0.0, |setup| mib(setup.bare.memory_limit_bytes())),
        warn: job.thresholds.warn(),
        critical: job.thresholds.critical(),
        artifacts: has_artifacts,
    })
}

type Runs = BTreeMap<Strategy, Vec<Measured>>;

fn engine_report(name: &str, strategies: &[Strategy], measured: &Runs) -> EngineReport {
    let bare = measured.get(&Strategy::Bare);
    let lived = |run: &Measured| run.died_at_turn.map_or(run.turns, |turn| turn - 1);
    let first_turns = bare
        .and_then(|runs| runs.iter().map(lived).min())
        .unwrap_or(0);
    let reference = [Strategy::Checkpoints, Strategy::Replay]
        .iter()
        .find_map(|strategy| measured.get(strategy)?.first());
    let bare: Vec<Option<f64>> = bare
        .into_iter()
        .flatten()
        .map(|run| run.rate_over(first_turns))
        .collect();
    let rows = strategies.iter().filter_map(|strategy| {
        let runs = measured.get(strategy)?;
        row(*strategy, runs, (first_turns, &bare), reference)
    });
    EngineReport {
        engine: name.to_owned(),
        first_turns,
        rows: rows.collect(),
    }
}

fn row(
    strategy: Strategy,
    runs: &[Measured],
    (first_turns, bare): (u64, &[Option<f64>]),
    reference: Option<&Measured>,
) -> Option<Row> {
    let first = runs.first()?;
    let spread = |figure: &dyn Fn(&Measured) -> f64| Spread::of(runs.iter().map(figure));
    let all = |figure: &dyn Fn(&Measured) -> Option<f64>| {
        let values: Option<Vec<f64>> = runs.iter().map(figure).collect();
        values.and_then(Spread::of)
    };
    let share_of_bare = || {
        // Round by round, because the machine's other work changes from round to round.
        let pairs = runs.iter().zip(bare);
        let shares = pairs.map(|(run, bare)| Some(run.rate_over(first_turns)? / (*bare)?));
        let shares: Vec<f64> = shares.collect::<Option<_>>()?;
        Spread::of(shares)
    };
    let deaths = runs.iter().filter_map(|run| run.died_at_turn.map(count));
    let others = |reference: &Measured| {
        let other = |run: &Measured| {
            let pairs = run.digests.iter().zip(&reference.digests);
            let differ = |(own, right): &(&Option<u64>, &Option<u64>)| matches!((own, right), (Some(own), Some(right)) if own != right);
            pairs.filter(differ).count() as u64
        };
        runs.iter().map(other).max().unwrap_or(0)
    };
    let samples = |size: &dyn Fn(&Sample) -> f64| {
        let sizes = first.samples.iter().map(size);
        sizes.map(rounded).collect()
    };
    Some(Row {
        strategy,
        turns: spread(&|run| count(run.turns))?,
        turns_failed: spread(&|run| count(run.failed))?,
        error: runs.iter().find_map(|run| run.error.clone()),
        died_at_turn: Spread::of(deaths),
        cut_short: runs.iter().any(|run| run.cut_short),
        turns_with_other_results: reference.map(others),
        start_ms: spread(&|run| run.start_ms)?,
        turns_per_second: spread(&Measured::rate)?,
        turns_per_second_first: all(&|run| run.rate_over(first_turns)),
        share_of_bare_first: share_of_bare(),
        cpu_ms_per_turn: all(&|run| Some(run.cpu_s? * 1e3 / count(run.turns.max(1)))),
        latency_us: latency(runs),
        restarts: spread(&|run| count(run.count(MarkKind::Restart)))?,
        swaps: spread(&|run| count(run.count(MarkKind::Swap)))?,
        pss_start_mib: spread(&|run| mib(run.pss_start))?,
        pss_peak_mib: spread(&|run| mib(run.pss_peak))?,
        memory_peak_mib: spread(&|run| mib(run.memory_peak))?,
        series: Series {
            at_s: samples(&|s| s.at_s),
            memory_mib: samples(&|s| mib(s.memory_bytes)),
            pss_mib: samples(&|s| mib(s.pss_bytes)),
            marks: first.marks.iter().map(|m| (m.at_s, m.what)).collect(),
        },
    })
}

fn latency(runs: &[Measured]) -> Option<Latency> {
    let at = |quantile: f64| {
        let of = |run: &Measured| {
            let mut pairs = run.latency_us.iter();
            let found = pairs.find(|(q, _)| (q - quantile).abs() < 1e-9)?;
            Some(found.1)
        };
        Spread::of(runs.iter().filter_map(of))
    };
    Some(Latency {
        p50: at(0.5)?,
        p99: at(0.99)?,
        p999: at(0.999)?,
        max: at(1.0)?,
        quantiles: runs.first()?.latency_us.clone(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
fn count(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "sizes are exact enough in an f64"
)]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// To thousandths, which is more than a plot shows.
fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate: u64, digests: &[Option<u64>], died_at_turn: Option<u64>) -> Measured {
        let turns = digests.len() as u64;
        serde_json::from_value(serde_json::json!({
            "turns": turns, "failed": 0, "error": null, "died_at_turn": died_at_turn,
            "cut_short": false, "start_ms": 1.0, "duration_s": count(turns) / count(rate), "cpu_s": 0.5,
            "latency_us": [[0.5, 10.0], [0.99, 20.0], [0.999, 30.0], [1.0, 40.0]],
            "ends_us": (1..=turns).map(|turn| turn * 1_000_000 / rate).collect::<Vec<_>>(),
            "digests": digests, "pss_start": 0, "pss_peak": 3 << 20, "memory_peak": 0,
            "samples": [], "marks": [],
        }))
        .unwrap()
    }

    #[test]
    fn rates_are_compared_over_the_turns_that_the_bare_instance_made() {
        let all = [Some(1), Some(2), Some(3), Some(4)];
        let mut runs = Runs::new();
        runs.insert(Strategy::Bare, vec![run(10, &all[..3], Some(3))]);
        runs.insert(
            Strategy::Replay,
            vec![run(20, &all, None), run(40, &all, None)],
        );
        let report = engine_report("e", &[Strategy::Bare, Strategy::Replay], &runs);
        assert_eq!(report.first_turns, 2);
        let rate = |strategy| {
            let row = report.row(strategy).unwrap();
            row.turns_per_second_first.unwrap().median
        };
        assert!((rate(Strategy::Bare) - 10.0).abs() < 1e-6);
        assert!((rate(Strategy::Replay) - 30.0).abs() < 1e-6);
        // There is one round of the bare instance.
        let share = report.row(Strategy::Replay).unwrap().share_of_bare_first;
        assert!((share.unwrap().median - 2.0).abs() < 1e-6);
        let bare = report.row(Strategy::Bare).unwrap();
        assert!((bare.died_at_turn.unwrap().median - 3.0).abs() < 1e-9);
        assert!((bare.pss_peak_mib.max - 3.0).abs() < 1e-9);
    }

    #[test]
    fn results_that_differ_from_the_proxys_are_counted_and_failures_are_not() {
        let mut runs = Runs::new();
        runs.insert(
            Strategy::Restart,
            vec![run(1, &[Some(1), None, Some(9)], None)],
        );
        runs.insert(
            Strategy::Checkpoints,
            vec![run(1, &[Some(1), Some(2), Some(3)], None)],
        );
        let report = engine_report("e", &[Strategy::Restart, Strategy::Checkpoints], &runs);
        let others = |strategy| report.row(strategy).unwrap().turns_with_other_results;
        assert_eq!(others(Strategy::Restart), Some(1));
        assert_eq!(others(Strategy::Checkpoints), Some(0));
    }
}
