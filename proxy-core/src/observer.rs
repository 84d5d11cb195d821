//! Where events go: to listeners, metrics and traces, from one place, so that they agree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use crate::event::{Event, Listener};
use crate::memory::mib;
use crate::{ArtifactUsage, Reason};

/// Where events go.
pub(crate) struct Observer {
    name: Arc<str>,
    listeners: Vec<Listener>,
    swaps: Counter,
    emergencies: Counter,
    memory: Gauge,
    standby_memory: Gauge,
    memory_limit: Gauge,
    swap_duration: Histogram,
    prepare_duration: Histogram,
    prepare_failures: Counter,
    generations_alive: Gauge,
    divergences: Counter,
    journal_entries: Gauge,
    call_duration: Histogram,
    checkpoints: Counter,
    checkpoints_rejected: Counter,
    checkpoint_memory: Gauge,
    artifacts: Gauge,
    artifact_bytes: Gauge,
    artifact_hits: Counter,
    artifact_refusals: Counter,
    artifact_faults: Counter,
}

impl Observer {
    pub(crate) fn new(name: &str, listeners: Vec<Listener>) -> Self {
        describe();
        let labels = || vec![Label::new("proxy", name.to_owned())];
        Self {
            name: name.into(),
            listeners,
            swaps: metrics::counter!("wasm_proxy_swaps_total", labels()),
            emergencies: metrics::counter!("wasm_proxy_emergency_swaps_total", labels()),
            memory: metrics::gauge!("wasm_memory_usage_mb", labels()),
            standby_memory: metrics::gauge!("wasm_standby_memory_usage_mb", labels()),
            memory_limit: metrics::gauge!("wasm_memory_limit_mb", labels()),
            swap_duration: metrics::histogram!("wasm_swap_duration_seconds", labels()),
            prepare_duration: metrics::histogram!("wasm_proxy_prepare_duration_seconds", labels()),
            prepare_failures: metrics::counter!("wasm_proxy_prepare_failures_total", labels()),
            generations_alive: metrics::gauge!("wasm_proxy_generations_alive", labels()),
            divergences: metrics::counter!("wasm_proxy_replay_divergences_total", labels()),
            journal_entries: metrics::gauge!("wasm_proxy_journal_entries", labels()),
            call_duration: metrics::histogram!("wasm_proxy_call_duration_seconds", labels()),
            checkpoints: metrics::counter!("wasm_proxy_checkpoints_total", labels()),
            checkpoints_rejected: metrics::counter!(
                "wasm_proxy_checkpoints_rejected_total",
                labels()
            ),
            checkpoint_memory: metrics::gauge!("wasm_checkpoint_memory_mb", labels()),
            artifacts: metrics::gauge!("wasm_proxy_artifacts", labels()),
            artifact_bytes: metrics::gauge!("wasm_proxy_artifact_bytes", labels()),
            artifact_hits: metrics::counter!("wasm_proxy_artifact_hits_total", labels()),
            artifact_refusals: metrics::counter!("wasm_proxy_artifact_refusals_total", labels()),
            artifact_faults: metrics::counter!("wasm_proxy_artifact_faults_total", labels()),
        }
    }

    pub(crate) fn call_took(&self, duration: Duration) {
        self.call_duration.record(duration.as_secs_f64());
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
    pub(crate) fn counts(&self, journal_entries: usize, generations_alive: usize) {
        self.journal_entries.set(journal_entries as f64);
        self.generations_alive.set(generations_alive as f64);
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are exact in an f64")]
    pub(crate) fn artifacts(&self, usage: ArtifactUsage) {
        self.artifacts.set(usage.contents as f64);
        self.artifact_bytes.set(usage.bytes as f64);
    }

    pub(crate) fn emit(&self, event: &Event) {
        self.measure(event);
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

    fn measure(&self, event: &Event) {
        match event {
            Event::MemoryCheck {
                used,
                limit,
                standby,
                ..
            } => {
                self.memory.set(mib(*used));
                self.memory_limit.set(mib(*limit));
                self.standby_memory.set(mib(standby.unwrap_or(0)));
            }
            Event::StandbyPrepareComplete { duration, .. } => {
                self.prepare_duration.record(duration.as_secs_f64());
            }
            Event::CheckpointTaken { bytes, .. } => {
                self.checkpoints.increment(1);
                self.checkpoint_memory.set(mib(*bytes));
            }
            Event::CheckpointRejected { .. } => self.checkpoints_rejected.increment(1),
            Event::StandbyPrepareError { .. } => self.prepare_failures.increment(1),
            Event::ReplayDivergence { .. } => self.divergences.increment(1),
            Event::ArtifactUsed { .. } => self.artifact_hits.increment(1),
            Event::ArtifactRefused { .. } => self.artifact_refusals.increment(1),
            Event::ArtifactUnusable { .. } => self.artifact_faults.increment(1),
            Event::SwapComplete { pause, reason, .. } => {
                self.swaps.increment(1);
                self.swap_duration.record(pause.as_secs_f64());
                if *reason == Reason::Emergency {
                    self.emergencies.increment(1);
                }
            }
            Event::CallRetried { reason, .. } => {
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
            | Event::CheckpointTaken { .. }
            | Event::CheckpointVerified { .. }
            | Event::ArtifactKept { .. }
            | Event::ArtifactUsed { .. }
            | Event::JournalCompacted { .. } => tracing::debug!(proxy, name, ?event),
            Event::StandbyPrepareComplete { .. }
            | Event::SwapComplete { .. }
            | Event::CheckpointsRefused { .. }
            | Event::Switched { .. } => tracing::info!(proxy, name, ?event),
            _ => tracing::warn!(proxy, name, ?event),
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
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
