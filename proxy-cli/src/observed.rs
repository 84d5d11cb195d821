//! The events of a run. The threads on which they happen note them; the display and the report
//! read them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use proxy_core::{Event, Reason, Recovered, StateDifference};

use crate::console::{Console, mib};
use crate::rss;

/// How many warnings are shown.
const WARNINGS_SHOWN: u64 = 20;

/// Counts of a run so far, and the console for events that are worth a line.
#[derive(Debug)]
pub(crate) struct Observed {
    console: Console,
    calls: AtomicU64,
    failed: AtomicU64,
    peak: AtomicU64,
    rss_peak: AtomicU64,
    warnings: AtomicU64,
    unlisted: AtomicU64,
    swaps: Mutex<Swaps>,
    findings: Mutex<Findings>,
    kept: Mutex<Kept>,
}

/// What was done about the journal in its store.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// How the state was made again when it was opened.
    pub(crate) recovered: Option<Recovered>,
    /// Checkpoints that were not used for it, and why.
    pub(crate) passed_over: Vec<String>,
    /// Durable checkpoints that were written.
    pub(crate) checkpoints: u64,
    /// Calls that were undone, because their entries could not be written.
    pub(crate) undone: u64,
    /// Acknowledged calls that the journal never got, and why.
    pub(crate) lost: u64,
    pub(crate) lost_because: String,
    /// What was wrong with the checkpoint that the state came from.
    pub(crate) damaged: Option<String>,
    /// Errors of the store, apart from entries.
    pub(crate) errors: u64,
}

/// What was found wrong in the policy or in the module while it ran.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Why the last entry that diverged could be neither accepted nor skipped.
    pub(crate) refused_cut: Option<String>,
    /// The first differences between the active generation and its standby.
    pub(crate) differences: Vec<StateDifference>,
}

/// How many differences of the state are kept.
const DIFFERENCES_KEPT: usize = 10;

/// The times of swaps, and the memory after them.
#[derive(Clone, Debug)]
pub(crate) struct Swaps {
    pub(crate) count: u64,
    /// How many there were for each reason.
    pub(crate) reasons: BTreeMap<&'static str, u64>,
    /// Pauses in nanoseconds.
    pub(crate) pauses: Histogram<u64>,
    /// Preparations in microseconds.
    pub(crate) preparations: Histogram<u64>,
    /// The largest size that a new generation started with, in bytes.
    pub(crate) memory_after_max: u64,
}

/// An empty histogram of times in any unit. It has room for an hour in nanoseconds.
pub(crate) fn times() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).context("cannot make a histogram")
}

impl Observed {
    /// Starts at zero.
    pub(crate) fn new(console: Console) -> Result<Self> {
        Ok(Self {
            console,
            calls: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            rss_peak: AtomicU64::new(0),
            warnings: AtomicU64::new(0),
            unlisted: AtomicU64::new(0),
            swaps: Mutex::new(Swaps {
                count: 0,
                reasons: BTreeMap::new(),
                pauses: times()?,
                preparations: times()?,
                memory_after_max: 0,
            }),
            findings: Mutex::default(),
            kept: Mutex::default(),
        })
    }

    pub(crate) fn note_calls(&self, calls: u64, failed: u64) {
        self.calls.store(calls, Ordering::Relaxed);
        self.failed.store(failed, Ordering::Relaxed);
    }

    /// Notes the size of a generation's memories in bytes.
    pub(crate) fn note_memory(&self, bytes: u64) {
        self.peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// Notes the resident size of the process, and returns it in bytes.
    pub(crate) fn sample_process(&self) -> Option<u64> {
        let bytes = rss::resident_bytes()?;
        self.rss_peak.fetch_max(bytes, Ordering::Relaxed);
        Some(bytes)
    }

    /// Calls made, and how many of them failed.
    pub(crate) fn calls(&self) -> (u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (load(&self.calls), load(&self.failed))
    }

    /// The largest size of a generation's memories, in bytes.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// The largest resident size among the samples, in bytes.
    pub(crate) fn process_peak(&self) -> u64 {
        self.rss_peak.load(Ordering::Relaxed)
    }

    /// Exports that were called although the policy does not list them.
    pub(crate) fn unlisted(&self) -> u64 {
        self.unlisted.load(Ordering::Relaxed)
    }

    pub(crate) fn swaps(&self) -> Swaps {
        self.lock_swaps().clone()
    }

    pub(crate) fn swap_count(&self) -> u64 {
        self.lock_swaps().count
    }

    pub(crate) fn findings(&self) -> Findings {
        self.lock_findings().clone()
    }

    pub(crate) fn kept(&self) -> Kept {
        self.lock_kept().clone()
    }

    fn lock_kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_difference(&self, difference: &StateDifference) {
        let differences = &mut self.lock_findings().differences;
        if differences.len() < DIFFERENCES_KEPT {
            differences.push(difference.clone());
        }
    }

    fn lock_swaps(&self) -> MutexGuard<'_, Swaps> {
        self.swaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The proxy's listener.
    pub(crate) fn on_event(&self, event: &Event) {
        match event {
            Event::StandbyPrepareComplete(prepared) => {
                let micros = u64::try_from(prepared.duration.as_micros()).unwrap_or(u64::MAX);
                self.lock_swaps().preparations.saturating_record(micros);
            }
            Event::SwapComplete(swapped) => {
                let (before, after) = (swapped.memory_before, swapped.memory_after);
                let count = self.note_swap(swapped.reason, swapped.pause, before, after);
                if is_worth_a_line(count) {
                    self.console.progress(&format!(
                        "swap {count} ({}): {:.1} -> {:.1} MiB, pause {:.1?}, generation {} serves",
                        swapped.reason.name(),
                        mib(before),
                        mib(after),
                        swapped.pause,
                        swapped.to
                    ));
                }
            }
            Event::GenerationFreed { memory, .. } => self.note_memory(*memory),
            Event::Recovered(recovered) => self.note_recovered(*recovered),
            Event::CheckpointDurable(_) => self.lock_kept().checkpoints += 1,
            Event::TierUpCompiled { engine, duration } => self
                .console
                .progress(&format!("compiled on {engine} in {duration:.1?}")),
            _ => {
                if let Some(line) = self.warning(event) {
                    self.warn(&line);
                }
            }
        }
    }

    fn note_recovered(&self, recovered: Recovered) {
        self.lock_kept().recovered = Some(recovered);
        let from = recovered.checkpoint.map_or_else(String::new, |at| {
            format!(" after the checkpoint of entry {at}")
        });
        self.console.line(&format!(
            "the journal has entries up to {}: the state was made again from {} of them{from}, in \
             {:.1?}",
            recovered.sequence, recovered.entries, recovered.duration
        ));
    }

    fn note_swap(&self, reason: Reason, pause: Duration, before: u64, after: u64) -> u64 {
        // Both generations have memory at this moment: the process will hardly be larger.
        self.sample_process();
        self.note_memory(before);
        let mut swaps = self.lock_swaps();
        swaps.count += 1;
        *swaps.reasons.entry(reason.name()).or_default() += 1;
        swaps.memory_after_max = swaps.memory_after_max.max(after);
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        swaps.pauses.saturating_record(nanos);
        swaps.count
    }

    /// What is said of a checkpoint that is found damaged while the proxy serves from it.
    fn damaged(&self, file: &str, reason: &str) -> String {
        self.lock_kept().damaged = Some(reason.to_owned());
        format!(
            "the checkpoint `{file}` of the journal, from which this proxy served, is damaged ({reason}): \
             no call is served any more; `journal verify` says whether there is another one, and a run \
             passes this one over"
        )
    }

    fn warning(&self, event: &Event) -> Option<String> {
        Some(match event {
            Event::StandbyPrepareError {
                error, retry_in, ..
            } => format!("no standby: {error}; the next attempt is due in {retry_in:.1?}"),
            Event::SwapError { error } => format!("no swap: {error}"),
            Event::StateNotCompared { reason } => {
                format!("a swap without a comparison of the state: {reason}")
            }
            Event::HistoryLong { entries, bytes } => format!(
                "the journal has {entries} entries in {:.1} MiB; free objects, name what exports \
                 mutate in the policy, or give --history checkpoint",
                mib(*bytes)
            ),
            Event::GenerationTainted { generation, cause } => {
                format!("generation {generation} is lost: {cause}")
            }
            Event::DrainKilled { generation } => {
                format!(
                    "generation {generation} was still in use at its drain deadline, and was ended"
                )
            }
            Event::StateExceedsBudget {
                state,
                threshold,
                objects,
            } => format!(
                "state exceeds budget: {:.1} MiB of live state, the warning threshold is {:.1} MiB; {}",
                mib(*state),
                mib(*threshold),
                guest_calls::listed(objects)
            ),
            Event::GrowthUnseen { memory } => format!(
                "the memory has a fixed size of {:.1} MiB: growth cannot be seen, and a leak inside it \
                 causes no swap; name `memory_usage_export` or `exhausted` codes in the policy, or \
                 give --swap-calls",
                mib(*memory)
            ),
            Event::BreakerOpen { failures } => {
                format!("{failures} standbys failed in a row: fewer attempts from now on")
            }
            Event::TierUpError { engine, error } => format!("no move to {engine}: {error}"),
            Event::DivergenceNotSettled {
                entry,
                kind,
                reason,
            } => {
                let refused = format!("entry {entry} cannot be {}: {reason}", kind.name());
                self.lock_findings().refused_cut = Some(refused.clone());
                refused
            }
            Event::StateDiffers { difference } => {
                // The swap that was not made gives the warning.
                self.note_difference(difference);
                return None;
            }
            Event::DivergenceAccepted { cut } | Event::DivergenceSkipped { cut } => {
                format!("the journal was cut: {cut}")
            }
            Event::ArtifactRefused { export, reason } => {
                format!("an artifact of `{export}` is not used again: {reason}")
            }
            Event::ArtifactUnusable { export, fault } => {
                format!("an artifact of `{export}` cannot be used: {fault}")
            }
            Event::CheckpointPassedOver { file, reason } => {
                let line = format!("the checkpoint `{file}` of the journal is not used: {reason}");
                self.lock_kept().passed_over.push(line.clone());
                line
            }
            Event::CheckpointDamaged { file, reason } => self.damaged(file, reason),
            Event::CallsUndone { to, entries, error } => {
                let count = u64::try_from(*entries).unwrap_or(u64::MAX);
                self.lock_kept().undone += count;
                format!("{entries} calls after entry {to} were undone: {error}")
            }
            Event::CallsLost { entries, error } => {
                let mut kept = self.lock_kept();
                kept.lost += entries;
                kept.lost_because.clone_from(error);
                format!("{entries} acknowledged calls are not in the journal: {error}")
            }
            Event::JournalError { error } => {
                self.lock_kept().errors += 1;
                format!("the journal: {error}")
            }
            Event::UnlistedExport { export } => {
                if self.unlisted.fetch_add(1, Ordering::Relaxed) > 0 {
                    return None;
                }
                format!(
                    "the policy does not list `{export}`: its calls are journaled, and so are those \
                     of every other export that is not listed"
                )
            }
            _ => return None,
        })
    }

    fn warn(&self, line: &str) {
        match self.warnings.fetch_add(1, Ordering::Relaxed) {
            before if before < WARNINGS_SHOWN => self.console.line(&format!("warning: {line}")),
            WARNINGS_SHOWN => self.console.line("warning: further warnings are left out"),
            _ => {}
        }
    }
}

/// The first 20 swaps, then each tenth, then each hundredth.
fn is_worth_a_line(swap: u64) -> bool {
    match swap {
        0..=20 => true,
        21..=200 => swap.is_multiple_of(10),
        _ => swap.is_multiple_of(100),
    }
}
