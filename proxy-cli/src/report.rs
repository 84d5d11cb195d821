//! The report of a run, as JSON for machines and as a summary for people.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use proxy_core::{DebugInfo, Proxy};
use serde::Serialize;

use crate::console::mib;
use crate::observed::Observed;
use crate::run::calls::CallFigures;

/// The report of a run. Units are in the names of the fields.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    module: String,
    engine: String,
    /// `proxy`, or `bare` for an instance without it.
    mode: &'static str,
    calls: Calls,
    swaps: SwapFigures,
    memory_mib: Memory,
    replay: Replay,
    artifacts: Artifacts,
    latency_us: Latency,
    /// Of all results in order: the same on every engine, with and without proxy.
    result_digest: String,
    /// The number of the call, from 1, that the bare instance died in.
    died_at_call: Option<u64>,
    duration_s: f64,
    calls_per_second: f64,
    /// Exports that were called and that the policy does not list.
    unlisted_exports: u64,
    journal_entries: usize,
    /// The first errors.
    errors: Vec<String>,
    #[serde(skip)]
    died_because: Option<String>,
    /// Whether the run was given up before its end, because calls kept failing.
    given_up: bool,
    #[serde(skip)]
    calls_planned: u64,
}

#[derive(Debug, Serialize)]
struct Calls {
    total: u64,
    failed: u64,
    retried: u64,
}

#[derive(Debug, Serialize)]
struct SwapFigures {
    count: u64,
    emergency: u64,
    pause_us: Latency,
    prepare_ms: Preparation,
}

#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Preparation {
    p50: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Memory {
    limit: f64,
    /// Of the generation that the first repeat began on.
    baseline: f64,
    peak: f64,
    after_swap_max: f64,
    rss_start: Option<f64>,
    rss_peak: Option<f64>,
    rss_end: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Replay {
    entries: u64,
    verified: u64,
    diverged: u64,
}

/// Objects that were made from bytes instead of being computed.
#[derive(Debug, Serialize)]
struct Artifacts {
    calls: u64,
    replays: u64,
    refused: u64,
    unusable: u64,
}

/// The setting of a run, besides its calls.
#[derive(Debug)]
pub(crate) struct Circumstances {
    pub(crate) module: String,
    /// Calls of the workload, made or not.
    pub(crate) calls_planned: u64,
    /// From before the first call to after the last.
    pub(crate) duration: Duration,
    /// The resident size of the process before the first call, in bytes.
    pub(crate) rss_start: Option<u64>,
    /// The size of the first generation's memories before the first call, in bytes.
    pub(crate) first_memory: u64,
}

impl Report {
    /// Collects the figures, but for the resident sizes, which [`Report::end`] adds.
    pub(crate) fn new(
        circumstances: Circumstances,
        made: CallFigures,
        observed: &Observed,
        proxy: &Proxy,
    ) -> Self {
        let DebugInfo {
            engine,
            enabled,
            retries,
            emergencies,
            entries_verified,
            divergences,
            journal_entries,
            artifacts_imported,
            artifact_hits,
            artifact_refusals,
            artifact_faults,
            ..
        } = proxy.debug_info();
        let swaps = observed.swaps();
        let seconds = circumstances.duration.as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
        let calls_per_second = made.calls as f64 / seconds.max(1e-9);
        let (died_at_call, died_because) =
            made.died.map(|death| (death.at_call, death.cause)).unzip();
        Self {
            module: circumstances.module,
            engine: engine.to_string(),
            mode: if enabled { "proxy" } else { "bare" },
            calls: Calls {
                total: made.calls,
                failed: made.failed,
                retried: retries,
            },
            swaps: SwapFigures {
                count: swaps.count,
                emergency: emergencies,
                pause_us: Latency::of_nanos(&swaps.pauses),
                prepare_ms: Preparation {
                    p50: scaled(swaps.preparations.value_at_quantile(0.5)),
                    max: scaled(swaps.preparations.max()),
                },
            },
            memory_mib: Memory {
                limit: mib(proxy.memory_limit_bytes()),
                baseline: mib(made.baseline.unwrap_or(circumstances.first_memory)),
                peak: mib(observed.memory_peak()),
                after_swap_max: mib(swaps.memory_after_max),
                rss_start: circumstances.rss_start.map(mib),
                rss_peak: None,
                rss_end: None,
            },
            replay: Replay {
                entries: entries_verified + divergences,
                verified: entries_verified,
                diverged: divergences,
            },
            artifacts: Artifacts {
                calls: artifact_hits,
                replays: artifacts_imported,
                refused: artifact_refusals,
                unusable: artifact_faults,
            },
            latency_us: Latency::of_nanos(&made.latency),
            result_digest: made.digest.to_hex().to_string(),
            died_at_call,
            duration_s: seconds,
            calls_per_second,
            unlisted_exports: observed.unlisted(),
            journal_entries,
            errors: made.errors,
            died_because,
            given_up: made.given_up,
            calls_planned: circumstances.calls_planned,
        }
    }

    /// Adds the resident size of the process after the proxy is shut down, and its peak.
    pub(crate) fn end(&mut self, observed: &Observed) {
        let rss_end = observed.sample_process();
        self.memory_mib.rss_end = rss_end.map(mib);
        self.memory_mib.rss_peak = rss_end.map(|_| mib(observed.process_peak()));
    }

    pub(crate) fn is_success(&self) -> bool {
        self.calls.failed == 0 && self.died_at_call.is_none()
    }
}

impl Latency {
    fn of_nanos(histogram: &Histogram<u64>) -> Self {
        Self {
            p50: scaled(histogram.value_at_quantile(0.5)),
            p99: scaled(histogram.value_at_quantile(0.99)),
            max: scaled(histogram.max()),
        }
    }
}

/// From one unit to the one a thousand times larger.
#[expect(
    clippy::cast_precision_loss,
    reason = "times are exact enough in an f64"
)]
fn scaled(value: u64) -> f64 {
    value as f64 / 1000.0
}

/// Microseconds in the unit that suits them.
fn time(micros: f64) -> String {
    match micros {
        0.0..1e3 => format!("{micros:.1} us"),
        1e3..1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = if self.mode == "bare" {
            ", a bare instance"
        } else {
            ""
        };
        writeln!(f, "\n{} on {}{bare}", self.module, self.engine)?;
        writeln!(
            f,
            "  calls    {} in {:.1} s ({:.1} per second), {} failed, {} retried",
            self.calls.total,
            self.duration_s,
            self.calls_per_second,
            self.calls.failed,
            self.calls.retried
        )?;
        writeln!(
            f,
            "  latency  p50 {}, p99 {}, max {}",
            time(self.latency_us.p50),
            time(self.latency_us.p99),
            time(self.latency_us.max)
        )?;
        let memory = &self.memory_mib;
        write!(
            f,
            "  memory   limit {:.1} MiB, baseline {:.2}, peak {:.1}",
            memory.limit, memory.baseline, memory.peak
        )?;
        if self.swaps.count > 0 {
            write!(f, ", after swaps at most {:.2}", memory.after_swap_max)?;
        }
        writeln!(f)?;
        if self.mode == "proxy" {
            self.fmt_swaps(f)?;
        }
        if let (Some(start), Some(peak), Some(end)) =
            (memory.rss_start, memory.rss_peak, memory.rss_end)
        {
            writeln!(
                f,
                "  process  {start:.1} MiB resident at the start, {peak:.1} at most, {end:.1} at the end"
            )?;
        }
        writeln!(f, "  digest   {}", self.result_digest)?;
        self.fmt_verdict(f)
    }
}

impl Report {
    fn fmt_swaps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let swaps = &self.swaps;
        write!(
            f,
            "  swaps    {}, {} of them emergencies",
            swaps.count, swaps.emergency
        )?;
        if swaps.count > 0 {
            write!(
                f,
                "; pause p50 {}, p99 {}, max {}; prepared in {}, at most {}",
                time(swaps.pause_us.p50),
                time(swaps.pause_us.p99),
                time(swaps.pause_us.max),
                time(swaps.prepare_ms.p50 * 1e3),
                time(swaps.prepare_ms.max * 1e3)
            )?;
        }
        writeln!(
            f,
            "\n  replay   {} entries, {} verified, {} diverged",
            self.replay.entries, self.replay.verified, self.replay.diverged
        )?;
        let Artifacts {
            calls,
            replays,
            refused,
            unusable,
        } = self.artifacts;
        if calls + replays + refused + unusable > 0 {
            writeln!(
                f,
                "  bytes    {calls} calls and {replays} replays took an object from its artifact, {refused} \
                 were refused, {unusable} unusable"
            )?;
        }
        if self.unlisted_exports > 0 {
            writeln!(
                f,
                "  policy   {} exports were called that it does not list; `wasm-proxy inspect \
                 --emit-policy` drafts one",
                self.unlisted_exports
            )?;
        }
        Ok(())
    }

    fn fmt_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_death = |error: &String| {
            let cause = self.died_because.as_ref();
            cause.is_some_and(|cause| error.ends_with(cause.as_str()))
        };
        for error in self.errors.iter().filter(|error| !is_death(error)) {
            writeln!(f, "  failed   {error}")?;
        }
        if let (Some(call), Some(cause)) = (self.died_at_call, &self.died_because) {
            writeln!(
                f,
                "  result   the instance died at call {call} of {}: {cause}",
                self.calls_planned
            )?;
            return writeln!(
                f,
                "           run it again without --without-proxy: behind the proxy it lives"
            );
        }
        match (self.is_success(), self.given_up) {
            (true, _) => writeln!(f, "  result   every call succeeded"),
            (false, false) => writeln!(f, "  result   {} calls failed", self.calls.failed),
            (false, true) => writeln!(
                f,
                "  result   given up at call {} of {}: more than one call in ten failed",
                self.calls.total, self.calls_planned
            ),
        }
    }
}
