//! One run of one strategy: times turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::child::Again;
use crate::cpu;
use crate::kit::Kit;
use crate::sampler::{Sample, Sampler, thinned};
use crate::serve::{Gauge, Mark, MarkKind, start};
use crate::strategy::Strategy;

/// How many turns are kept one by one, to be compared with those of other strategies.
const TURNS_KEPT: usize = 20_000;

/// So many failed turns end a run in which they are more than one in ten.
const FAILED_MAX: u64 = 20;

/// Less processor time than this is not told: the system counts it in hundredths of a second.
const CPU_SECONDS_MIN: f64 = 0.2;

/// Percentiles of the distribution that is kept.
const QUANTILES: [f64; 12] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0,
];

/// What one run gave. Times are in the unit that ends their name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Turns that were begun.
    pub(crate) turns: u64,
    pub(crate) failed: u64,
    /// The first failure, in words.
    pub(crate) error: Option<String>,
    /// The number of the turn, from 1, in which the strategy died.
    pub(crate) died_at_turn: Option<u64>,
    /// Whether it was ended before its last turn: out of time, or because turns kept failing.
    pub(crate) cut_short: bool,
    /// How long it took until the first turn could begin.
    pub(crate) start_ms: f64,
    pub(crate) duration_s: f64,
    /// Processor time of the turns and of all that was done beside them.
    pub(crate) cpu_s: Option<f64>,
    /// Quantile and microseconds of successful turns.
    pub(crate) latency_us: Vec<(f64, f64)>,
    /// When each turn had ended, from the beginning of the first.
    pub(crate) ends_us: Vec<u64>,
    /// What each turn gave; `None` where it failed.
    pub(crate) digests: Vec<Option<u64>>,
    pub(crate) pss_start: u64,
    pub(crate) pss_peak: u64,
    pub(crate) memory_peak: u64,
    pub(crate) samples: Vec<Sample>,
    pub(crate) marks: Vec<Mark>,
}

impl Measured {
    pub(crate) fn count(&self, what: MarkKind) -> u64 {
        self.marks.iter().filter(|mark| mark.what == what).count() as u64
    }

    /// Turns per second over the first `turns`, if there were so many and each is known.
    pub(crate) fn rate_over(&self, turns: u64) -> Option<f64> {
        let last = usize::try_from(turns).ok()?.checked_sub(1)?;
        let end = *self.ends_us.get(last)?;
        #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
        Some(turns as f64 / (end.max(1) as f64 / 1e6))
    }

    /// Successful turns per second.
    pub(crate) fn rate(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
        let succeeded = (self.turns - self.failed) as f64;
        succeeded / self.duration_s.max(1e-9)
    }
}

/// Runs a strategy for at most `turns_max` turns and `time_max`. `on_turn` is told how many turns there were.
pub(crate) fn measure(
    kit: &Kit,
    strategy: Strategy,
    (turns_max, time_max): (u64, Duration),
    again: &Again,
    on_turn: &mut dyn FnMut(u64),
) -> Result<Measured> {
    let gauge = Arc::new(Gauge::new());
    let sampler =
        Sampler::start(Arc::clone(&gauge)).context("cannot start the sampler's thread")?;
    let mut server = start(strategy, kit, &gauge, again)?;
    let start_ms = gauge.now() * 1e3;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3)
        .context("cannot make a histogram")?;
    let mut measured = Measured::empty(start_ms);
    let mut results = Vec::new();
    let cpu_before = cpu::seconds();
    let began = Instant::now();
    for index in 0..turns_max {
        results.clear();
        let turn_began = Instant::now();
        let outcome = server.turn(index, &mut results);
        let took = turn_began.elapsed();
        let digest = match outcome {
            Ok(known) => {
                latency.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                Some(known.unwrap_or_else(|| digest(&results)))
            }
            Err(ended) => {
                measured.failed += 1;
                measured.error.get_or_insert(ended.cause);
                None
            }
        };
        measured.note(began.elapsed(), digest);
        on_turn(measured.turns);
        if server.is_dead() {
            measured.died_at_turn = Some(measured.turns);
            break;
        }
        let hopeless = measured.failed >= FAILED_MAX && measured.failed * 10 > measured.turns;
        if hopeless || began.elapsed() >= time_max {
            measured.cut_short = measured.turns < turns_max;
            break;
        }
    }
    measured.duration_s = began.elapsed().as_secs_f64();
    measured.cpu_s = cpu::seconds()
        .zip(cpu_before)
        .map(|(now, before)| now - before)
        .filter(|spent| *spent >= CPU_SECONDS_MIN);
    measured.marks = gauge.marks();
    measured.memory_peak = gauge.memory_peak();
    measured.sampled(&sampler.end());
    drop(server);
    measured.latency_us = quantiles(&latency);
    Ok(measured)
}

impl Measured {
    fn empty(start_ms: f64) -> Self {
        Self {
            turns: 0,
            failed: 0,
            error: None,
            died_at_turn: None,
            cut_short: false,
            start_ms,
            duration_s: 0.0,
            cpu_s: None,
            latency_us: Vec::new(),
            ends_us: Vec::new(),
            digests: Vec::new(),
            pss_start: 0,
            pss_peak: 0,
            memory_peak: 0,
            samples: Vec::new(),
            marks: Vec::new(),
        }
    }

    fn note(&mut self, at: Duration, digest: Option<u64>) {
        self.turns += 1;
        if self.ends_us.len() < TURNS_KEPT {
            let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            self.ends_us.push(micros);
            self.digests.push(digest);
        }
    }

    fn sampled(&mut self, samples: &[Sample]) {
        self.pss_start = samples.first().map_or(0, |sample| sample.pss_bytes);
        self.pss_peak = samples.iter().map(|s| s.pss_bytes).max().unwrap_or(0);
        self.samples = thinned(samples);
    }
}

/// What stands for the results of a turn.
pub(crate) fn digest(results: &[u8]) -> u64 {
    let hash = blake3::hash(results);
    let bytes = hash
        .as_bytes()
        .first_chunk()
        .expect("a hash has more than eight bytes");
    u64::from_le_bytes(*bytes)
}

fn quantiles(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    if latency.is_empty() {
        return Vec::new();
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "times are exact enough in an f64"
    )]
    let micros = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
    QUANTILES.into_iter().map(|q| (q, micros(q))).collect()
}
