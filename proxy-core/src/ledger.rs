//! Every count of a proxy, kept once. Events change the counts; metrics and debug information show
//! them. Listeners and traces are told of events from here too, so all of them agree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use crate::event::{Event, Listener};
use crate::locking::lock;
use crate::memory::mib;
use crate::{ArtifactUsage, Error, Reason, Swapped};

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

/// What is counted.
pub(crate) struct Counts {
    pub(crate) failed_calls: Count,
    pub(crate) retries: Count,
    pub(crate) swaps: Count,
    pub(crate) emergencies: Count,
    /// Entries replayed and found equal.
    pub(crate) verified: Count,
    /// Objects that replays made from artifacts.
    pub(crate) imported: Count,
    pub(crate) divergences: Count,
    pub(crate) prepare_failures: Count,
    pub(crate) checkpoints: Count,
    pub(crate) checkpoints_rejected: Count,
    pub(crate) artifact_hits: Count,
    pub(crate) artifact_refusals: Count,
    pub(crate) artifact_faults: Count,
}

/// Sizes, as metrics alone show them: debug information reads them where they arise.
struct Gauges {
    memory: Gauge,
    standby_memory: Gauge,
    memory_limit: Gauge,
    generations_alive: Gauge,
    journal_entries: Gauge,
    checkpoint_memory: Gauge,
    artifacts: Gauge,
    artifact_bytes: Gauge,
}

struct Timings {
    swap: Histogram,
    prepare: Histogram,
    call: Histogram,
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

/// The last of its kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Last {
    pub(crate) swap: Option<Swapped>,
    /// Of a preparation or a swap.
    pub(crate) error: Option<String>,
}

impl Ledger {
    pub(crate) fn new(name: &str, listeners: Vec<Listener>) -> Self {
        describe();
        let labels = || vec![Label::new("proxy", name.to_owned())];
        let count = |name: &'static str| Count::shown_by(metrics::counter!(name, labels()));
        let gauge = |name: &'static str| metrics::gauge!(name, labels());
        let histogram = |name: &'static str| metrics::histogram!(name, labels());
        Self {
            name: name.into(),
            listeners,
            counts: Counts {
                failed_calls: Count::without_metric(),
                // Its metric has the reason as another label.
                retries: Count::without_metric(),
                swaps: count("wasm_proxy_swaps_total"),
                emergencies: count("wasm_proxy_emergency_swaps_total"),
                verified: Count::without_metric(),
                imported: Count::without_metric(),
                divergences: count("wasm_proxy_replay_divergences_total"),
                prepare_failures: count("wasm_proxy_prepare_failures_total"),
                checkpoints: count("wasm_proxy_checkpoints_total"),
                checkpoints_rejected: count("wasm_proxy_checkpoints_rejected_total"),
                artifact_hits: count("wasm_proxy_artifact_hits_total"),
                artifact_refusals: count("wasm_proxy_artifact_refusals_total"),
                artifact_faults: count("wasm_proxy_artifact_faults_total"),
            },
            gauges: Gauges {
                memory: gauge("wasm_memory_usage_mb"),
                standby_memory: gauge("wasm_standby_memory_usage_mb"),
                memory_limit: gauge("wasm_memory_limit_mb"),
                generations_alive: gauge("wasm_proxy_generations_alive"),
                journal_entries: gauge("wasm_proxy_journal_entries"),
                checkpoint_memory: gauge("wasm_checkpoint_memory_mb"),
                artifacts: gauge("wasm_proxy_artifacts"),
                artifact_bytes: gauge("wasm_proxy_artifact_bytes"),
            },
            timings: Timings {
                swap: histogram("wasm_swap_duration_seconds"),
                prepare: histogram("wasm_proxy_prepare_duration_seconds"),
                call: histogram("wasm_proxy_call_duration_seconds"),
            },
            last: Mutex::default(),
        }
    }

    pub(crate) fn call_took(&self, duration: Duration) {
        self.timings.call.record(duration.as_secs_f64());
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
    pub(crate) fn show_sizes(
        &self,
        journal_entries: usize,
        generations_alive: usize,
        artifacts: ArtifactUsage,
    ) {
        self.gauges.journal_entries.set(journal_entries as f64);
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
            Event::ArtifactUsed { .. } => counts.artifact_hits.add(1),
            Event::ArtifactRefused { .. } => counts.artifact_refusals.add(1),
            Event::ArtifactUnusable { .. } => counts.artifact_faults.add(1),
            Event::SwapComplete(swapped) => {
                counts.swaps.add(1);
                self.timings.swap.record(swapped.pause.as_secs_f64());
                if swapped.reason == Reason::Emergency {
                    counts.emergencies.add(1);
                }
                lock(&self.last).swap = Some(*swapped);
            }
            Event::CallRetried { reason, .. } => {
                counts.retries.add(1);
                let labels = vec![
                    Label::new("proxy", self.name.to_string()),
                    Label::from_static_parts("reason", reason),
                ];
                metrics::counter!("wasm_proxy_retries_total", labels).increment(1);
            }
            _ => {}
        }
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
            | Event::ArtifactKept { .. }
            | Event::ArtifactUsed { .. }
            | Event::JournalCompacted { .. } => tracing::debug!(proxy, name, ?event),
            Event::StandbyPrepareComplete(_)
            | Event::SwapComplete(_)
            | Event::CheckpointsRefused { .. }
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

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("wasm_proxy_swaps_total", "Swaps, emergencies included");
    describe_counter!(
        "wasm_proxy_emergency_swaps_total",
        "Swaps because a generation died"
    );
    describe_gauge!(
        "wasm_memory_usage_mb",
        "Memory of the active generation in MiB"
    );
    describe_gauge!(
        "wasm_standby_memory_usage_mb",
        "Memory of the standby in MiB"
    );
    describe_gauge!(
        "wasm_memory_limit_mb",
        "What the active generation may have, in MiB"
    );
    describe_histogram!(
        "wasm_swap_duration_seconds",
        Unit::Seconds,
        "How long a swap held back journaled calls"
    );
    describe_histogram!(
        "wasm_proxy_prepare_duration_seconds",
        Unit::Seconds,
        "How long a standby took to prepare"
    );
    describe_counter!("wasm_proxy_prepare_failures_total", "Standbys that failed");
    describe_gauge!(
        "wasm_proxy_generations_alive",
        "Generations that have memory"
    );
    describe_counter!(
        "wasm_proxy_replay_divergences_total",
        "Replays that gave something else"
    );
    describe_counter!("wasm_proxy_checkpoints_total", "Checkpoints taken");
    describe_counter!(
        "wasm_proxy_checkpoints_rejected_total",
        "Checkpoints that gave something else than a replay"
    );
    describe_gauge!(
        "wasm_checkpoint_memory_mb",
        "Memory in the newest checkpoint in MiB"
    );
    describe_gauge!("wasm_proxy_journal_entries", "Entries in the journal");
    describe_histogram!(
        "wasm_proxy_call_duration_seconds",
        Unit::Seconds,
        "Calls: every journaled one, and one of 64 pure ones"
    );
    describe_gauge!(
        "wasm_proxy_artifacts",
        "Objects whose bytes the artifact store has in memory"
    );
    describe_gauge!(
        "wasm_proxy_artifact_bytes",
        Unit::Bytes,
        "What those bytes are"
    );
    describe_counter!(
        "wasm_proxy_artifact_hits_total",
        "Calls answered from the artifact store"
    );
    describe_counter!(
        "wasm_proxy_artifact_refusals_total",
        "Artifacts that made something else than the call, or ended an instance"
    );
    describe_counter!(
        "wasm_proxy_artifact_faults_total",
        "Artifacts that could not be read or kept"
    );
    describe_counter!(
        "wasm_proxy_retries_total",
        "Calls repeated on a clean generation, by reason"
    );
}
