//! The figures of a comparison. The JSON form has the same fields, and `docs/benchmarks.md`
//! describes it.

use serde::{Deserialize, Serialize};

use crate::gauge::MarkKind;
use crate::{Origin, Strategy};

/// The version of the JSON form.
pub(crate) const FORMAT: u32 = 1;

/// The figures of a comparison. Units are in the names of the fields; `mib` is 1,048,576 bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this form: 1.
    pub format: u32,
    /// The origin of the figures.
    #[serde(flatten)]
    pub origin: Origin,
    /// The job that was run.
    pub job: JobReport,
    /// The engines, in the order in which they were named.
    pub engines: Vec<EngineReport>,
}

/// A job and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    /// The name of the module.
    pub module: String,
    /// The blake3 hash of its binary form, in hexadecimal.
    pub module_hash: String,
    /// The name of the workload.
    pub workload: String,
    /// Calls that build the state.
    pub state_calls: u64,
    /// Calls in one turn.
    pub turn_calls: u64,
    /// Calls after the repeat, which are not made.
    pub calls_left_out: u64,
    /// Turns that each strategy had to make.
    pub turns: u64,
    /// The time that each strategy had in one round.
    pub time_max_s: f64,
    /// How many rounds were run.
    pub rounds: u32,
    /// The limit for all memories of one instance together.
    pub memory_limit_mib: f64,
    /// The share of it at which a standby is prepared.
    pub warn: f64,
    /// The share of it at which the standby takes over.
    pub critical: f64,
    /// Whether the policy names artifacts for calls that build the state.
    pub artifacts: bool,
}

/// The figures of one engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EngineReport {
    /// The name of the engine, such as `wasmtime.cranelift`.
    pub engine: String,
    /// How many turns the bare instance made in every round before the one in which it died; all of
    /// them if it lived. [`Row::turns_per_second_first`] is over this number of turns.
    pub first_turns: u64,
    /// One row per strategy.
    pub rows: Vec<Row>,
}

/// The figures of one strategy. Each [`Spread`] is over the rounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The strategy.
    pub strategy: Strategy,
    /// Turns that were begun.
    pub turns: Spread,
    /// Turns that failed.
    pub turns_failed: Spread,
    /// The first failure, in words.
    pub error: Option<String>,
    /// The number of the turn, from 1, that it died in; `None` if it lived in every round.
    pub died_at_turn: Option<Spread>,
    /// Whether a round ended before its last turn, because its time was over or its turns kept
    /// failing.
    pub cut_short: bool,
    /// Turns whose results differ from those of the proxy, which keeps all state; `None` if no
    /// proxy ran.
    pub turns_with_other_results: Option<u64>,
    /// The time until the first turn could begin: instantiation and state, not compilation.
    pub start_ms: Spread,
    /// Successful turns per second.
    pub turns_per_second: Spread,
    /// Turns per second over the first turns, which the bare instance made too; `None` if there
    /// were fewer.
    pub turns_per_second_first: Option<Spread>,
    /// This rate as a share of the bare instance's in the same round; `None` if there was none.
    pub share_of_bare_first: Option<Spread>,
    /// The latency of successful turns, with the restarts that they waited for; `None` if there
    /// were none.
    pub latency_us: Option<Latency>,
    /// Processor time for each turn that was begun, in milliseconds: of all threads and children,
    /// including the work beside the turns. `None` where the system does not say, or where the
    /// total is too small to measure.
    pub cpu_ms_per_turn: Option<Spread>,
    /// Instances that were replaced while a caller waited.
    pub restarts: Spread,
    /// Swaps of the proxy.
    pub swaps: Spread,
    /// The proportional set size of the process before its first instance: the program and the
    /// compiled code.
    pub pss_start_mib: Spread,
    /// The largest proportional set size of all samples, children included.
    pub pss_peak_mib: Spread,
    /// The largest size of all linear memories together: after each turn, or for a proxy every 5
    /// ms.
    pub memory_peak_mib: Spread,
    /// Memory over time, in the first round.
    pub series: Series,
}

/// A figure of several rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The median; the mean of the two in the middle if there are two.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

/// How long turns took, in microseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50: Spread,
    /// 99 % took no longer.
    pub p99: Spread,
    /// 99.9 % took no longer. Of fewer than 1,000 turns this is the longest.
    pub p999: Spread,
    /// The longest.
    pub max: Spread,
    /// Pairs of a quantile, 0 to 1, and microseconds, in the first round.
    pub quantiles: Vec<(f64, f64)>,
}

/// Memory over time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Seconds since the start of the process's work.
    pub at_s: Vec<f64>,
    /// The size of all linear memories together.
    pub memory_mib: Vec<f64>,
    /// The proportional set size, children included.
    pub pss_mib: Vec<f64>,
    /// Seconds and events of the marks.
    pub marks: Vec<(f64, MarkKind)>,
}

impl Spread {
    /// The spread of values; `None` if there are none.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Some(Self {
            median: f64::midpoint(values[lower], values[upper]),
            min,
            max,
        })
    }

    /// Whether every round gave the same value.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.max - self.min <= f64::EPSILON * self.max.abs()
    }
}

impl EngineReport {
    /// The row of a strategy.
    #[must_use]
    pub fn row(&self, strategy: Strategy) -> Option<&Row> {
        self.rows.iter().find(|row| row.strategy == strategy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_of_odd_and_even_numbers_of_values() {
        assert_eq!(Spread::of([]), None);
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert!((odd.median - 2.0).abs() < 1e-9 && (odd.min - 1.0).abs() < 1e-9);
        let even = Spread::of([4.0, 1.0, 2.0, 9.0]).unwrap();
        assert!((even.median - 3.0).abs() < 1e-9 && (even.max - 9.0).abs() < 1e-9);
        assert!(!even.is_constant() && Spread::of([0.0, 0.0]).unwrap().is_constant());
    }
}
