//! What the proxy tells the world: events for listeners, metrics for dashboards, traces for logs. All
//! three come from one place, so that they agree.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Label};

use crate::memory::mib;
use crate::{ArtifactFault, ArtifactUsage, Divergence, Reason, SequenceNumber, Source};

/// Something that happened. Sizes are in bytes.
///
/// ```
/// # #[path = "../tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::{Arc, Mutex};
/// use proxy_core::Proxy;
///
/// let names: Arc<Mutex<Vec<&str>>> = Arc::default();
/// let seen = names.clone();
/// let proxy = Proxy::builder(fake::FakeEngine::counter())
///     .module(fake::counter_wasm())
///     .on_event(move |event| seen.lock().unwrap().push(event.name()))
///     .build()?;
/// proxy.prepare_standby()?;
/// proxy.swap()?;
/// let expected = [
///     "checkpoints-refused", // the example's engine takes no snapshots
///     "standby-prepare-start",
///     "standby-prepare-complete",
///     "swap-start",
///     "swap-complete",
///     "generation-freed",
/// ];
/// assert_eq!(*names.lock().unwrap(), expected);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// The supervisor has looked at the memory.
    MemoryCheck {
        /// What the active generation uses: the larger of what it reports and what its memories have.
        used: u64,
        /// What it may have.
        limit: u64,
        /// What a standby has, if there is one.
        standby: Option<u64>,
        /// Growth, in bytes per second.
        growth_rate: f64,
    },
    /// A standby is being made.
    StandbyPrepareStart {
        /// Why.
        reason: Reason,
        /// How many entries there are to apply.
        entries: usize,
    },
    /// A standby is ready: replayed and verified.
    StandbyPrepareComplete {
        /// How long it took.
        duration: Duration,
        /// How many entries were applied.
        entries: usize,
        /// What its memories have.
        memory: u64,
        /// What it was made from.
        source: Source,
    },
    /// A checkpoint was taken.
    CheckpointTaken {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// The size of the memories in it.
        bytes: u64,
        /// What it keeps that no older one does.
        bytes_kept: u64,
        /// How long it took.
        duration: Duration,
    },
    /// A checkpoint was compared with a replay from nothing, byte by byte, and is the same.
    CheckpointVerified {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// How many entries were replayed for this.
        entries: usize,
        /// How long it took.
        duration: Duration,
    },
    /// A checkpoint gave something else than a replay, and is never used again.
    CheckpointRejected {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// What differs.
        reason: String,
    },
    /// A checkpoint could not be taken, restored or compared this time.
    CheckpointError {
        /// Why.
        error: String,
    },
    /// No checkpoints can be taken of this module: standbys are made by replay.
    CheckpointsRefused {
        /// Why, in words.
        reasons: Vec<String>,
    },
    /// A standby failed and was discarded. The active generation goes on.
    StandbyPrepareError {
        /// Why.
        error: String,
        /// How many attempts failed in a row.
        failures: u32,
        /// When the next one is due.
        retry_in: Duration,
    },
    /// A replay gave something else than the original.
    ReplayDivergence {
        /// Where and what.
        divergence: Divergence,
    },
    /// A swap begins.
    SwapStart {
        /// Why.
        reason: Reason,
        /// The generation that serves.
        from: u64,
        /// The one that is to serve.
        to: u64,
    },
    /// A swap is done.
    SwapComplete {
        /// Why.
        reason: Reason,
        /// The generation that served.
        from: u64,
        /// The one that serves.
        to: u64,
        /// How long journaled calls were held back.
        pause: Duration,
        /// How many entries were applied in that time.
        tail: usize,
        /// What the old generation's memories had.
        memory_before: u64,
        /// What the new one's have.
        memory_after: u64,
    },
    /// A swap did not take place.
    SwapError {
        /// Why.
        error: String,
    },
    /// A generation's state is lost; it will be rebuilt.
    GenerationTainted {
        /// Which.
        generation: u64,
        /// What happened.
        cause: String,
    },
    /// An old generation has given its memory back.
    GenerationFreed {
        /// Which.
        generation: u64,
        /// What its memories had.
        memory: u64,
        /// How long calls kept it.
        drained: Duration,
    },
    /// An old generation was still in use at the drain deadline, and was ended.
    DrainKilled {
        /// Which.
        generation: u64,
    },
    /// A call is repeated on a clean generation.
    CallRetried {
        /// The export.
        export: Arc<str>,
        /// Why: `out_of_memory`, or a trap's name.
        reason: &'static str,
    },
    /// The live state alone is larger than the warning threshold.
    StateExceedsBudget {
        /// What the state takes.
        state: u64,
        /// Where the threshold is.
        threshold: u64,
    },
    /// Too many standbys failed in a row: fewer attempts from now on.
    BreakerOpen {
        /// How many.
        failures: u32,
    },
    /// Entries that nothing live needs are gone.
    JournalCompacted {
        /// How many went.
        removed: usize,
        /// How many are left.
        kept: usize,
    },
    /// A replay exported an object, whose bytes are kept from now on.
    ArtifactKept {
        /// The export that created it.
        export: Arc<str>,
        /// How many.
        bytes: u64,
    },
    /// A call was answered from the artifact store instead of being computed.
    ArtifactUsed {
        /// The export.
        export: Arc<str>,
        /// How many bytes were imported.
        bytes: u64,
    },
    /// An artifact made something else than the call did, or ended the instance that imported it. It is
    /// not used again; the object is computed.
    ArtifactRefused {
        /// The export.
        export: Arc<str>,
        /// What happened.
        reason: String,
    },
    /// An artifact could not be read from the store's directory, or not kept there. Nothing is lost: the
    /// object is computed.
    ArtifactUnusable {
        /// The export.
        export: Arc<str>,
        /// Why.
        fault: ArtifactFault,
    },
    /// An export was called that the policy does not list: it is journaled, to be safe.
    UnlistedExport {
        /// The export.
        export: Arc<str>,
    },
    /// The proxy was switched on or off.
    Switched {
        /// Whether it is on.
        enabled: bool,
    },
}

impl Event {
    /// The event's stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::MemoryCheck { .. } => "memory-check",
            Event::StandbyPrepareStart { .. } => "standby-prepare-start",
            Event::StandbyPrepareComplete { .. } => "standby-prepare-complete",
            Event::CheckpointTaken { .. } => "checkpoint-taken",
            Event::CheckpointVerified { .. } => "checkpoint-verified",
            Event::CheckpointRejected { .. } => "checkpoint-rejected",
            Event::CheckpointError { .. } => "checkpoint-error",
            Event::CheckpointsRefused { .. } => "checkpoints-refused",
            Event::StandbyPrepareError { .. } => "standby-prepare-error",
            Event::ReplayDivergence { .. } => "replay-divergence",
            Event::SwapStart { .. } => "swap-start",
            Event::SwapComplete { .. } => "swap-complete",
            Event::SwapError { .. } => "swap-error",
            Event::GenerationTainted { .. } => "generation-tainted",
            Event::GenerationFreed { .. } => "generation-freed",
            Event::DrainKilled { .. } => "drain-killed",
            Event::CallRetried { .. } => "call-retried",
            Event::StateExceedsBudget { .. } => "state-exceeds-budget",
            Event::BreakerOpen { .. } => "breaker-open",
            Event::JournalCompacted { .. } => "journal-compacted",
            Event::ArtifactKept { .. } => "artifact-kept",
            Event::ArtifactUsed { .. } => "artifact-used",
            Event::ArtifactRefused { .. } => "artifact-refused",
            Event::ArtifactUnusable { .. } => "artifact-unusable",
            Event::UnlistedExport { .. } => "unlisted-export",
            Event::Switched { .. } => "switched",
        }
    }
}

/// A listener for events. It runs on the thread that the event happened on, often the one that makes
/// a call: it must be quick, and must not call the proxy.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;

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
