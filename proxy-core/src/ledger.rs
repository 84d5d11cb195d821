//! Every count of a proxy, kept once. Events change the counts; metrics and debug information show
//! them. Listeners and traces are told of events from here too, so all of them agree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, Label, Unit, describe_counter, describe_gauge, describe_histogram,
};

use crate::event::{Event, Listener};
use crate::locking::lock;
use crate::memory::mib;
use crate::{ArtifactUsage, Error, Reason, Swapped};

/// Its counter has the reason as another label.
const RETRIES: &str = "wasm_proxy_retries_total";

/// Its counter has the reason as another label.
const SWAPS: &str = "wasm_proxy_swaps_total";

/// A count, and the metric that shows it.
pub(crate) struct Count {
    count: AtomicU64,
    metric: Counter,
}

impl Count {
    /// A count that debug information alone shows.
    fn without_metric() -> Self {
        Self::shown_by(Counter::noop())
    }

    fn shown_by(metric: Counter) -> Self {
        let count = AtomicU64::new(0);
        Self { count, metric }
    }

    pub(crate) fn add(&self, more: u64) {
        self.count.fetch_add(more, Ordering::Relaxed);
        self.metric.increment(more);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Declares a struct of metrics: each with its name and what it shows, or a count without one.
macro_rules! shown {
    ($(#[$attr:meta])* struct $name:ident: $ty:ty = $new:ident {
        $($(#[$doc:meta])* $field:ident $($metric:literal $what:literal)?;)*
    }) => {
        $(#[$attr])*
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $field: $ty,)*
        }

        impl $name {
            fn new(labels: &[Label]) -> Self {
                Self { $($field: shown!(@ $new labels $($metric $what)?),)* }
            }
        }
    };
    (@ $new:ident $labels:ident $metric:literal $what:literal) => {
        $new($labels, $metric, $what)
    };
    (@ $new:ident $labels:ident) => {
        Count::without_metric()
    };
}

shown! {
    /// The counts of a proxy.
    struct Counts: Count = count {
        failed_calls;
        /// Their metric, [`RETRIES`], has the reason as another label.
        retries;
        /// Calls answered by their ids.
        answered_again "wasm_proxy_calls_answered_again_total"
            "Calls with a known id, which were answered and did not run";
        calls_undone "wasm_proxy_calls_undone_total"
            "Entries that were undone because the store did not take them";
        calls_lost "wasm_proxy_calls_lost_total"
            "Acknowledged entries that the store never took, with relaxed durability";
        held_back "wasm_proxy_calls_held_back_total"
            "Calls near the memory limit that waited for a swap";
        held_for_fold "wasm_proxy_calls_held_for_fold_total"
            "Calls that waited for a checkpoint to take the place of entries";
        /// Their metric, [`SWAPS`], has the reason as another label.
        swaps;
        emergencies "wasm_proxy_emergency_swaps_total" "Swaps because a generation died";
        /// Entries replayed and found equal.
        verified;
        /// Objects that replays made from artifacts.
        imported;
        divergences "wasm_proxy_replay_divergences_total" "Replays that gave something else";
        state_differences "wasm_proxy_state_differences_total"
            "Swaps that were not made because the state digest differed";
        cuts "wasm_proxy_journal_cuts_total" "Entries whose divergence was accepted or skipped";
        prepare_failures "wasm_proxy_prepare_failures_total" "Standbys that failed";
        checkpoints "wasm_proxy_checkpoints_total" "Checkpoints taken";
        checkpoints_rejected "wasm_proxy_checkpoints_rejected_total"
            "Checkpoints that gave something else than a replay";
        folds "wasm_proxy_history_folds_total" "Checkpoints that took the place of entries";
        artifact_hits "wasm_proxy_artifact_hits_total" "Calls answered from the artifact store";
        artifact_refusals "wasm_proxy_artifact_refusals_total"
            "Artifacts that made something else than the call, or ended an instance";
        artifact_faults "wasm_proxy_artifact_faults_total"
            "Artifacts that could not be read or kept";
    }
}

shown! {
    /// Sizes, as metrics alone show them: debug information reads them where they arise.
    struct Gauges: Gauge = gauge {
        memory "wasm_memory_usage_mb" "Memory of the active generation in MiB";
        standby_memory "wasm_standby_memory_usage_mb" "Memory of the standby in MiB";
        memory_limit "wasm_memory_limit_mb" "What the active generation may have, in MiB";
        generations_alive "wasm_proxy_generations_alive" "Generations that have memory";
        journal_entries "wasm_proxy_journal_entries" "Entries in the journal";
        journal_bytes "wasm_proxy_journal_bytes" "What these entries take in memory";
        checkpoint_memory "wasm_checkpoint_memory_mb" "Memory in the newest checkpoint in MiB";
        artifacts "wasm_proxy_artifacts" "Objects whose bytes the artifact store has in memory";
        artifact_bytes "wasm_proxy_artifact_bytes" "What those bytes are";
    }
}

shown! {
    struct Timings: Histogram = seconds {
        swap "wasm_swap_duration_seconds" "How long a swap held back journaled calls";
        prepare "wasm_proxy_prepare_duration_seconds" "How long a standby took to prepare";
        call "wasm_proxy_call_duration_seconds"
            "Calls: every journaled one, and one of 64 pure ones";
    }
}

fn count(labels: &[Label], name: &'static str, what: &'static str) -> Count {
    describe_counter!(name, what);
    Count::shown_by(metrics::counter!(name, labels.to_vec()))
}

fn gauge(labels: &[Label], name: &'static str, what: &'static str) -> Gauge {
    if name.ends_with("_bytes") {
        describe_gauge!(name, Unit::Bytes, what);
    } else {
        describe_gauge!(name, what);
    }
    metrics::gauge!(name, labels.to_vec())
}

fn seconds(labels: &[Label], name: &'static str, what: &'static str) -> Histogram {
    describe_histogram!(name, Unit::Seconds, what);
    metrics::histogram!(name, labels.to_vec())
}

/// The books of a proxy.
pub(crate) struct Ledger {
    name: Arc<str>,
    listeners: Vec<Listener>,
    pub(crate) counts: Counts,
    gauges: Gauges,
    timings: Timings,
    last: Mutex<Last>,
}

/// The last swap and the last error.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    pub(crate) swap: Option<Swapped>,
    /// Of a preparation or a swap.
    pub(crate) error: Option<String>,
}

impl Ledger {
    pub(crate) fn new(name: &str, listeners: Vec<Listener>) -> Self {
        let labels = [Label::new("proxy", name.to_owned())];
        describe_counter!(SWAPS, "Swaps by reason, emergencies included");
        describe_counter!(RETRIES, "Calls repeated on a clean generation, by reason");
        Self {
            name: name.into(),
            listeners,
            counts: Counts::new(&labels),
            gauges: Gauges::new(&labels),
            timings: Timings::new(&labels),
            last: Mutex::default(),
        }
    }

    pub(crate) fn call_took(&self, duration: Duration) {
        self.timings.call.record(duration.as_secs_f64());
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
    pub(crate) fn show_sizes(
        &self,
        (journal_entries, journal_bytes): (usize, u64),
        generations_alive: usize,
        artifacts: ArtifactUsage,
    ) {
        self.gauges.journal_entries.set(journal_entries as f64);
        self.gauges.journal_bytes.set(journal_bytes as f64);
        self.gauges.generations_alive.set(generations_alive as f64);
        self.gauges.artifacts.set(artifacts.contents as f64);
        self.gauges.artifact_bytes.set(artifacts.bytes as f64);
    }

    pub(crate) fn last(&self) -> Last {
        lock(&self.last).clone()
    }

    /// A preparation or a swap failed.
    pub(crate) fn note_error(&self, error: &Error) {
        lock(&self.last).error = Some(error.to_string());
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.count(event);
        self.trace(event);
        for listener in &self.listeners {
            // A listener's panic must not take a call, or the supervisor's thread, with it.
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() {
                tracing::error!(
                    proxy = &*self.name,
                    name = event.name(),
                    "a listener panicked"
                );
            }
        }
    }

    fn count(&self, event: &Event) {
        let (counts, gauges) = (&self.counts, &self.gauges);
        match event {
            Event::MemoryCheck {
                used,
                limit,
                standby,
                ..
            } => {
                gauges.memory.set(mib(*used));
                gauges.memory_limit.set(mib(*limit));
                gauges.standby_memory.set(mib(standby.unwrap_or(0)));
            }
            Event::StandbyPrepareComplete(prepared) => {
                self.timings.prepare.record(prepared.duration.as_secs_f64());
            }
            Event::CheckpointTaken(taken) => {
                counts.checkpoints.add(1);
                gauges.checkpoint_memory.set(mib(taken.bytes));
            }
            Event::CheckpointRejected { .. } => counts.checkpoints_rejected.add(1),
            Event::StandbyPrepareError { .. } => counts.prepare_failures.add(1),
            Event::ReplayDivergence { .. } => counts.divergences.add(1),
            Event::StateDiffers { .. } => counts.state_differences.add(1),
            Event::HistoryFolded { .. } => counts.folds.add(1),
            Event::DivergenceAccepted { .. } | Event::DivergenceSkipped { .. } => {
                counts.cuts.add(1);
            }
            Event::ArtifactUsed { .. } => counts.artifact_hits.add(1),
            Event::ArtifactRefused { .. } => counts.artifact_refusals.add(1),
            Event::ArtifactUnusable { .. } => counts.artifact_faults.add(1),
            Event::SwapComplete(swapped) => {
                counts.swaps.add(1);
                self.count_by_reason(SWAPS, swapped.reason.name());
                self.timings.swap.record(swapped.pause.as_secs_f64());
                if swapped.reason == Reason::Emergency {
                    counts.emergencies.add(1);
                }
                lock(&self.last).swap = Some(*swapped);
            }
            Event::CallsUndone { entries, .. } => counts.calls_undone.add(*entries as u64),
            Event::CallsLost { entries, .. } => counts.calls_lost.add(*entries),
            Event::CallRetried { reason, .. } => {
                counts.retries.add(1);
                self.count_by_reason(RETRIES, reason);
            }
            _ => {}
        }
    }

    fn count_by_reason(&self, metric: &'static str, reason: &'static str) {
        let labels = vec![
            Label::new("proxy", self.name.to_string()),
            Label::from_static_parts("reason", reason),
        ];
        metrics::counter!(metric, labels).increment(1);
    }

    fn trace(&self, event: &Event) {
        let (proxy, name) = (&*self.name, event.name());
        match event {
            Event::MemoryCheck { .. } => tracing::trace!(proxy, name, ?event),
            Event::StandbyPrepareStart { .. }
            | Event::SwapStart { .. }
            | Event::GenerationFreed { .. }
            | Event::CheckpointTaken(_)
            | Event::CheckpointVerified { .. }
            | Event::CheckpointDurable(_)
            | Event::ArtifactKept { .. }
            | Event::ArtifactUsed { .. }
            | Event::HistoryFolded { .. }
            | Event::CallHeldBack { .. }
            | Event::JournalCompacted { .. } => tracing::debug!(proxy, name, ?event),
            Event::StandbyPrepareComplete(_)
            | Event::SwapComplete(_)
            | Event::CheckpointsRefused { .. }
            | Event::Recovered(_)
            | Event::TierUpCompiled { .. }
            | Event::Switched { .. } => tracing::info!(proxy, name, ?event),
            _ => tracing::warn!(proxy, name, ?event),
        }
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
