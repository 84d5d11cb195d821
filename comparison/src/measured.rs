//! The figures of one run of one strategy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::gauge::{Mark, MarkKind};
use crate::sampler::{Sample, thinned};

/// How many turns have their results kept one by one, for comparison with other strategies.
const TURNS_KEPT: usize = 20_000;

/// The figures of one run. The names of times end in their unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Measured {
    /// Turns that were begun.
    pub(crate) turns: u64,
    pub(crate) failed: u64,
    /// The first failure, in words.
    pub(crate) error: Option<String>,
    /// The number of the turn, from 1, in which the strategy died.
    pub(crate) died_at_turn: Option<u64>,
    /// Whether the run ended before its last turn: it was out of time, or turns kept failing.
    pub(crate) cut_short: bool,
    /// The time until the first turn could begin.
    pub(crate) start_ms: f64,
    pub(crate) duration_s: f64,
    /// Processor time of the turns and of all other threads.
    pub(crate) cpu_s: Option<f64>,
    /// Quantile and microseconds of successful turns.
    pub(crate) latency_us: Vec<(f64, f64)>,
    /// The end of each turn, counted from the beginning of the first.
    pub(crate) ends_us: Vec<u64>,
    /// The digest of each turn's results; `None` where the turn failed.
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

    /// Turns per second over the first `turns`; `None` if fewer of them were kept.
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

    pub(crate) fn note(&mut self, at: Duration, digest: Option<u64>) {
        self.turns += 1;
        if self.ends_us.len() < TURNS_KEPT {
            let micros = u64::try_from(at.as_micros()).unwrap_or(u64::MAX);
            self.ends_us.push(micros);
            self.digests.push(digest);
        }
    }

    pub(crate) fn sampled(&mut self, samples: &[Sample]) {
        self.pss_start = samples.first().map_or(0, |sample| sample.pss_bytes);
        self.pss_peak = samples.iter().map(|s| s.pss_bytes).max().unwrap_or(0);
        self.samples = thinned(samples);
    }
}
