//! The report of a run, as JSON for machines and as a summary for people.

pub(crate) mod audit;
mod differences;
mod journal;

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use proxy_core::{Cut, DebugInfo, History, Proxy};
use serde_json::{Value, json};

use crate::console::mib;
use crate::observed::{Findings, Observed, Swaps};
use crate::run::calls::{CallFigures, Death};
use crate::run::journal::RunJournal;
use journal::JournalSection;

/// The report of a run.
#[derive(Debug)]
pub(crate) struct Report {
    about: Circumstances,
    made: CallFigures,
    /// Which pure exports write, if that was asked of a proxy that is switched on.
    audit: Option<audit::Outcome>,
    swaps: Swaps,
    findings: Findings,
    /// Taken after the last call.
    info: DebugInfo,
    /// The largest size of a generation's memories, in bytes.
    memory_peak: u64,
    /// Exports that were called and that the policy does not list.
    unlisted: u64,
    /// The largest resident size of the process, and that at the end, in bytes.
    rss: Option<(u64, u64)>,
    /// The journal in its directory, if the run has one.
    journal: Option<JournalSection>,
}

/// A run, apart from the figures of its calls.
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
    /// Whether an audit was asked for.
    pub(crate) audit_asked: bool,
}

impl Report {
    /// Collects the figures except the last resident sizes, which [`Report::end`] adds.
    pub(crate) fn new(
        about: Circumstances,
        made: CallFigures,
        audit: Option<audit::Outcome>,
        observed: &Observed,
        proxy: &Proxy,
        journal: Option<&RunJournal>,
    ) -> Self {
        Self {
            about,
            made,
            audit,
            swaps: observed.swaps(),
            findings: observed.findings(),
            info: proxy.debug_info(),
            memory_peak: observed.memory_peak(),
            unlisted: observed.unlisted(),
            rss: None,
            journal: journal
                .map(|own| JournalSection::new(own.path.clone(), &*own.store, observed.kept())),
        }
    }

    /// Adds the resident size of the process after the proxy is shut down, and its peak.
    pub(crate) fn end(&mut self, observed: &Observed) {
        let end = observed.sample_process();
        self.rss = end.map(|end| (observed.process_peak(), end));
        if let Some(journal) = &mut self.journal {
            journal.end(observed.kept());
        }
    }

    pub(crate) fn is_success(&self) -> bool {
        self.has_served()
            && self.lost().is_none()
            && self.damaged().is_none()
            && self.audit.as_ref().is_none_or(audit::is_success)
    }

    /// Whether every call succeeded.
    fn has_served(&self) -> bool {
        self.made.failed == 0 && self.made.died.is_none()
    }

    /// Acknowledged calls that are not in the journal.
    fn lost(&self) -> Option<(u64, &str)> {
        self.journal.as_ref().and_then(JournalSection::lost)
    }

    /// What was wrong with the checkpoint that the state came from.
    fn damaged(&self) -> Option<&str> {
        self.journal.as_ref().and_then(JournalSection::damaged)
    }

    /// The size of the generation that the first repeat began on, in MiB.
    fn baseline(&self) -> f64 {
        mib(self.made.baseline.unwrap_or(self.about.first_memory))
    }

    fn calls_per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
        let calls = self.made.calls as f64;
        calls / self.about.duration.as_secs_f64().max(1e-9)
    }

    /// The report for machines. Units are in the names of the fields.
    pub(crate) fn json(&self) -> Value {
        let Self {
            about,
            made,
            swaps,
            info,
            rss,
            ..
        } = self;
        let [prepare_p50, _, prepare_max] = percentiles(&swaps.preparations);
        json!({
            "module": about.module,
            "engine": info.engine.to_string(),
            "mode": if info.enabled { "proxy" } else { "bare" },
            "calls": {
                "total": made.calls,
                "failed": made.failed,
                "retried": info.retries,
            },
            "swaps": {
                "count": swaps.count,
                "emergency": info.emergencies,
                "reasons": swaps.reasons,
                "pause_us": latency(&swaps.pauses),
                "prepare_ms": { "p50": prepare_p50, "max": prepare_max },
            },
            "memory_mib": {
                "limit": mib(info.memory_limit),
                "baseline": self.baseline(),
                "peak": mib(self.memory_peak),
                "after_swap_max": mib(swaps.memory_after_max),
                "rss_start": about.rss_start.map(mib),
                "rss_peak": rss.map(|(peak, _)| mib(peak)),
                "rss_end": rss.map(|(_, end)| mib(end)),
            },
            "replay": {
                "entries": info.entries_verified + info.divergences,
                "verified": info.entries_verified,
                "diverged": info.divergences,
                "cuts": info.cuts.iter().map(cut).collect::<Vec<_>>(),
                "refused_cut": self.findings.refused_cut,
            },
            "artifacts": {
                "calls": info.artifact_hits,
                "replays": info.artifacts_imported,
                "refused": info.artifact_refusals,
                "unusable": info.artifact_faults,
            },
            "latency_us": latency(&made.latency),
            "result_digest": made.digest.to_hex().to_string(),
            "died_at_call": made.died.as_ref().map(|death| death.at_call),
            "duration_s": about.duration.as_secs_f64(),
            "calls_per_second": self.calls_per_second(),
            "unlisted_exports": self.unlisted,
            "journal_entries": info.journal_entries,
            "journal_bytes": info.journal_bytes,
            "history": {
                "keeps": match info.history {
                    History::Full => "full",
                    History::Checkpoint => "checkpoint",
                },
                "base": info.history_base.map(|base| base.0),
                "folds": info.history_folds,
            },
            "journal": self.journal.as_ref().map(JournalSection::json),
            "state_differences": info.state_differences,
            "differences": differences::json(&self.findings.differences),
            "audit": self.audit.as_ref().map(audit::json),
            "errors": made.errors,
            "given_up": made.given_up,
        })
    }
}

fn cut(cut: &Cut) -> Value {
    json!({
        "entry": cut.entry.0,
        "export": cut.export,
        "kind": cut.kind.name(),
        "what": cut.what.name(),
        "expected": cut.expected,
        "got": cut.got,
        "journal_last": cut.journal_last.0,
    })
}

fn latency(times: &Histogram<u64>) -> Value {
    let [p50, p99, max] = percentiles(times);
    json!({ "p50": p50, "p99": p99, "max": max })
}

/// The median, the 99th percentile and the largest of times, in a unit a thousand times larger.
fn percentiles(times: &Histogram<u64>) -> [f64; 3] {
    [
        times.value_at_quantile(0.5),
        times.value_at_quantile(0.99),
        times.max(),
    ]
    .map(scaled)
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
        let Self {
            about,
            made,
            swaps,
            info,
            ..
        } = self;
        let bare = if info.enabled {
            ""
        } else {
            ", a bare instance"
        };
        writeln!(f, "\n{} on {}{bare}", about.module, info.engine)?;
        writeln!(
            f,
            "  calls    {} in {:.1} s ({:.1} per second), {} failed, {} retried",
            made.calls,
            about.duration.as_secs_f64(),
            self.calls_per_second(),
            made.failed,
            info.retries
        )?;
        let [p50, p99, max] = percentiles(&made.latency).map(time);
        writeln!(f, "  latency  p50 {p50}, p99 {p99}, max {max}")?;
        write!(
            f,
            "  memory   limit {:.1} MiB, baseline {:.2}, peak {:.1}",
            mib(info.memory_limit),
            self.baseline(),
            mib(self.memory_peak)
        )?;
        if swaps.count > 0 {
            let after = mib(swaps.memory_after_max);
            write!(f, ", after swaps at most {after:.2}")?;
        }
        writeln!(f)?;
        if info.enabled {
            self.fmt_swaps(f)?;
        } else if about.audit_asked {
            writeln!(f, "  audit    none: the proxy was switched off")?;
        }
        if let (Some(start), Some((peak, end))) = (about.rss_start, self.rss) {
            let [start, peak, end] = [start, peak, end].map(mib);
            writeln!(
                f,
                "  process  {start:.1} MiB resident at the start, {peak:.1} at most, {end:.1} at the end"
            )?;
        }
        writeln!(f, "  digest   {}", made.digest.to_hex())?;
        self.fmt_verdict(f)
    }
}

impl Report {
    fn fmt_swaps(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { swaps, info, .. } = self;
        write!(
            f,
            "  swaps    {}, {} of them emergencies",
            swaps.count, info.emergencies
        )?;
        if swaps.count > 0 {
            let [p50, p99, max] = percentiles(&swaps.pauses).map(time);
            let [prepared, _, longest] = percentiles(&swaps.preparations).map(|ms| time(ms * 1e3));
            write!(
                f,
                "; pause p50 {p50}, p99 {p99}, max {max}; prepared in {prepared}, at most {longest}"
            )?;
            let reasons = swaps.reasons.iter();
            let reasons: Vec<_> = reasons
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            write!(f, "\n           by reason: {}", reasons.join(", "))?;
        }
        writeln!(
            f,
            "\n  replay   {} entries, {} verified, {} diverged",
            info.entries_verified + info.divergences,
            info.entries_verified,
            info.divergences
        )?;
        if let Some(base) = info.history_base {
            writeln!(
                f,
                "  history  a checkpoint has the entries up to {base}, after {} folds; {} more are kept",
                info.history_folds, info.journal_entries
            )?;
        }
        if let Some(journal) = &self.journal {
            write!(f, "{journal}")?;
        }
        for cut in &info.cuts {
            writeln!(f, "  cut      {cut}")?;
        }
        match (&info.divergence, &self.findings.refused_cut) {
            (None, _) => {}
            (Some(_), Some(refused)) => {
                writeln!(f, "           no standby can be made; {refused}")?;
            }
            (Some(_), None) => writeln!(
                f,
                "           no standby can be made; --on-divergence accept or skip goes on without \
                 the old result"
            )?,
        }
        differences::fmt(info.state_differences, &self.findings.differences, f)?;
        let artifacts = [
            info.artifact_hits,
            info.artifacts_imported,
            info.artifact_refusals,
            info.artifact_faults,
        ];
        if artifacts.iter().any(|count| *count > 0) {
            let [calls, replays, refused, unusable] = artifacts;
            writeln!(
                f,
                "  bytes    {calls} calls and {replays} replays took an object from its artifact, {refused} \
                 were refused, {unusable} unusable"
            )?;
        }
        if let Some(audit) = &self.audit {
            audit::fmt(audit, f)?;
        }
        if self.unlisted > 0 {
            writeln!(
                f,
                "  policy   {} exports were called that it does not list; `wasm-proxy inspect \
                 --emit-policy` drafts one",
                self.unlisted
            )?;
        }
        Ok(())
    }

    fn fmt_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, made, .. } = self;
        let died = made.died.as_ref();
        let is_death = |error: &String| died.is_some_and(|death| error.ends_with(&death.cause));
        for error in made.errors.iter().filter(|error| !is_death(error)) {
            writeln!(f, "  failed   {error}")?;
        }
        if let Some(Death { at_call, cause }) = died {
            writeln!(
                f,
                "  result   the instance died at call {at_call} of {}: {cause}",
                about.calls_planned
            )?;
            return writeln!(
                f,
                "           run it again without --without-proxy to see it behind the proxy"
            );
        }
        if let Some(reason) = self.damaged() {
            return writeln!(
                f,
                "  result   results may be wrong: the checkpoint that the state came from is damaged: \
                 {reason}"
            );
        }
        if let Some((lost, error)) = self.lost() {
            writeln!(
                f,
                "  result   {lost} acknowledged calls are not in the journal: {error}"
            )?;
            if self.has_served() {
                return Ok(());
            }
        }
        match (self.has_served(), made.given_up) {
            (true, _) => writeln!(f, "  result   every call succeeded"),
            (false, false) if made.failed == 1 => writeln!(f, "  result   1 call failed"),
            (false, false) => writeln!(f, "  result   {} calls failed", made.failed),
            (false, true) => writeln!(
                f,
                "  result   given up at call {} of {}: more than one call in ten failed",
                made.calls, about.calls_planned
            ),
        }
    }
}
