//! One run of one strategy: times turns.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hdrhistogram::Histogram;

use crate::again::Again;
use crate::cpu;
use crate::gauge::Gauge;
use crate::measured::Measured;
use crate::sampler::Sampler;
use crate::serve::start;
use crate::setup::Setup;
use crate::strategy::Strategy;

/// A run ends after this many failed turns, if they are more than one in ten.
const FAILED_MAX: u64 = 20;

/// Less processor time than this is left out, because the system counts in hundredths of a second.
const CPU_SECONDS_MIN: f64 = 0.2;

/// Percentiles of the distribution that is kept.
const QUANTILES: [f64; 12] = [
    0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 1.0,
];

/// Runs a strategy for at most `turns_max` turns and `time_max`. `on_turn` gets the number of turns
/// so far.
pub(crate) fn measure(
    setup: &Setup,
    strategy: Strategy,
    (turns_max, time_max): (u64, Duration),
    again: &Again,
    on_turn: &mut dyn FnMut(u64),
) -> Result<Measured> {
    let gauge = Arc::new(Gauge::new());
    let sampler =
        Sampler::start(Arc::clone(&gauge)).context("cannot start the sampler's thread")?;
    let mut server = start(strategy, setup, &gauge, again)?;
    let start_ms = gauge.now() * 1e3;
    let mut latency = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3)
        .context("cannot make a histogram")?;
    let mut measured = Measured {
        start_ms,
        ..Measured::default()
    };
    let mut results = Vec::new();
    let cpu_before = cpu::seconds();
    let began = Instant::now();
    for index in 0..turns_max {
        results.clear();
        let turn_began = Instant::now();
        let outcome = server(index, &mut results);
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
        if gauge.is_dead() {
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

/// A hash of the results of a turn.
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
