//! What a proxy reports to its listeners.

use std::sync::Arc;
use std::time::Duration;

use engine_api::EngineId;

use crate::{
    ArtifactFault, Checkpointed, Cut, CutKind, Divergence, DurablyCheckpointed, Prepared, Reason,
    Recovered, SequenceNumber, StateDifference, Swapped,
};

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
        /// The memory that the active generation uses: the larger of its own report and the size of
        /// its memories.
        used: u64,
        /// The memory limit of the active generation.
        limit: u64,
        /// The size of the standby, if there is one.
        standby: Option<u64>,
        /// Growth, in bytes per second.
        growth_rate: f64,
    },
    /// The memories begin at the size that they may have at most, and the policy names no export that
    /// reports how much of them is used: a leak inside them cannot be seen, and no threshold is ever
    /// passed.
    GrowthUnseen {
        /// The size of the memories.
        memory: u64,
    },
    /// A standby is being made.
    StandbyPrepareStart {
        /// Why.
        reason: Reason,
        /// How many entries there are to apply.
        entries: usize,
    },
    /// A standby is ready: replayed and verified.
    StandbyPrepareComplete(Prepared),
    /// A checkpoint was taken.
    CheckpointTaken(Checkpointed),
    /// A checkpoint was compared with a replay from nothing, byte by byte, and is the same.
    CheckpointVerified {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// How many entries were replayed for this.
        entries: usize,
        /// How long it took.
        duration: Duration,
    },
    /// A checkpoint differed from a replay, and is never used again.
    CheckpointRejected {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// The difference, in words.
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
    /// A replay differed from the original.
    ReplayDivergence {
        /// Where it differs, and how.
        divergence: Divergence,
    },
    /// An entry that diverged was to be accepted or skipped by itself
    /// ([`OnDivergence`](crate::OnDivergence)), and cannot be. No standby can be made.
    DivergenceNotSettled {
        /// The entry.
        entry: SequenceNumber,
        /// What was to be done about it.
        kind: CutKind,
        /// Why it cannot be done.
        reason: String,
    },
    /// The state of the active generation is not what its journaled calls alone make. There is no
    /// swap, because it would lose the difference.
    StateDiffers {
        /// What differs, and which exports may have written.
        difference: StateDifference,
    },
    /// The policy names a state digest, and a swap took place without comparing it.
    StateNotCompared {
        /// Why.
        reason: String,
    },
    /// A swap begins.
    SwapStart {
        /// Why.
        reason: Reason,
        /// The generation that serves.
        from: u64,
        /// The generation that takes over.
        to: u64,
    },
    /// A swap is done.
    SwapComplete(Swapped),
    /// A swap did not take place.
    SwapError {
        /// Why.
        error: String,
    },
    /// A generation's state is lost; it will be rebuilt.
    GenerationTainted {
        /// The generation's number.
        generation: u64,
        /// The cause, in words.
        cause: String,
    },
    /// An old generation has given its memory back.
    GenerationFreed {
        /// The generation's number.
        generation: u64,
        /// The size of its memories.
        memory: u64,
        /// How long calls kept it.
        drained: Duration,
    },
    /// An old generation was still in use at the drain deadline, and was ended.
    DrainKilled {
        /// The generation's number.
        generation: u64,
    },
    /// The new results of an entry that diverged became the recorded ones.
    DivergenceAccepted {
        /// What was done.
        cut: Cut,
    },
    /// An entry that diverged was left out of the journal.
    DivergenceSkipped {
        /// What was done.
        cut: Cut,
    },
    /// A call is repeated on a clean generation.
    CallRetried {
        /// The export.
        export: Arc<str>,
        /// Why: `out_of_memory`, or a trap's name.
        reason: &'static str,
    },
    /// A call near the memory limit waited for a swap.
    CallHeldBack {
        /// The export, or `a pinned scope` or `a turn`.
        export: Arc<str>,
        /// How long it waited.
        waited: Duration,
        /// Whether it was released within the bound.
        in_time: bool,
    },
    /// A turn has made its raw objects again, on the generation that serves since theirs died.
    TurnRepeated {
        /// The generation.
        generation: u64,
        /// How many raw calls were repeated.
        calls: usize,
    },
    /// The live state alone is larger than the warning threshold.
    StateExceedsBudget {
        /// The size of the state.
        state: u64,
        /// The warning threshold.
        threshold: u64,
        /// The types of the live objects, as the policy names them, and how many there are of each,
        /// most first.
        objects: Vec<(String, usize)>,
    },
    /// Too many standbys failed in a row: fewer attempts from now on.
    BreakerOpen {
        /// Failures in a row.
        failures: u32,
    },
    /// The journal dropped entries that nothing live needs.
    JournalCompacted {
        /// The number of dropped entries.
        removed: usize,
        /// The number of entries left.
        kept: usize,
    },
    /// The journal has become longer than the [bound](crate::Builder::history_bound): every replay
    /// from nothing takes this many entries. Sent again each time that it has doubled.
    HistoryLong {
        /// The number of entries.
        entries: usize,
        /// What they take in memory.
        bytes: u64,
    },
    /// A verified checkpoint has taken the place of the entries up to it.
    HistoryFolded {
        /// The newest entry that is in it.
        sequence: SequenceNumber,
        /// The number of dropped entries.
        entries: usize,
    },
    /// A replay exported an object, and its bytes are kept from now on.
    ArtifactKept {
        /// The export that created it.
        export: Arc<str>,
        /// Their size in bytes.
        bytes: u64,
    },
    /// A call was answered from the artifact store instead of being computed.
    ArtifactUsed {
        /// The export.
        export: Arc<str>,
        /// How many bytes were imported.
        bytes: u64,
    },
    /// An artifact made a different object than the call did, or ended the instance that imported
    /// it. It is not used again; the object is computed.
    ArtifactRefused {
        /// The export.
        export: Arc<str>,
        /// The cause, in words.
        reason: String,
    },
    /// An artifact could not be read from the store's directory, or not written there. Nothing is
    /// lost: the object is computed.
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
    /// The module is compiled on the engine that the proxy tiers up to. A standby and a swap
    /// follow.
    TierUpCompiled {
        /// The engine.
        engine: EngineId,
        /// How long it took.
        duration: Duration,
    },
    /// The proxy does not tier up, and stays on its engine.
    TierUpError {
        /// The engine that it does not move to.
        engine: EngineId,
        /// Why.
        error: String,
    },
    /// The state was made again from the journal in the store.
    Recovered(Recovered),
    /// A checkpoint in the store was not used to make the state again.
    CheckpointPassedOver {
        /// Its file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The proxy served from a checkpoint in the store while its contents were still compared with
    /// their hashes, and they are damaged. The proxy has ended, and its calls fail. The next opening
    /// passes the checkpoint over, and finds in the journal what was acknowledged.
    CheckpointDamaged {
        /// Its file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A durable checkpoint was written, and took the place of records in the store.
    CheckpointDurable(DurablyCheckpointed),
    /// What these calls did was undone, because their entries could not be written. Their callers
    /// got an error.
    CallsUndone {
        /// The newest entry that stayed.
        to: SequenceNumber,
        /// How many were undone.
        entries: usize,
        /// The error of the store.
        error: String,
    },
    /// These calls were acknowledged before their entries were in the store
    /// ([`Durability::Relaxed`](crate::Durability::Relaxed)), and the store did not take them before
    /// it stopped or the proxy was shut down. The next process will not have them.
    CallsLost {
        /// How many, since the last event of this kind.
        entries: u64,
        /// The error of the store.
        error: String,
    },
    /// The journal in the store could not be written. Calls whose entries wait for it, or were lost
    /// with it, have events of their own.
    JournalError {
        /// Why.
        error: String,
    },
    /// The proxy was switched on or off.
    Switched {
        /// Whether it is on now.
        enabled: bool,
    },
}

impl Event {
    /// The event's stable name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Event::MemoryCheck { .. } => "memory-check",
            Event::GrowthUnseen { .. } => "growth-unseen",
            Event::StandbyPrepareStart { .. } => "standby-prepare-start",
            Event::StandbyPrepareComplete(_) => "standby-prepare-complete",
            Event::CheckpointTaken(_) => "checkpoint-taken",
            Event::CheckpointVerified { .. } => "checkpoint-verified",
            Event::CheckpointRejected { .. } => "checkpoint-rejected",
            Event::CheckpointError { .. } => "checkpoint-error",
            Event::CheckpointsRefused { .. } => "checkpoints-refused",
            Event::StandbyPrepareError { .. } => "standby-prepare-error",
            Event::ReplayDivergence { .. } => "replay-divergence",
            Event::DivergenceNotSettled { .. } => "divergence-not-settled",
            Event::StateDiffers { .. } => "state-differs",
            Event::StateNotCompared { .. } => "state-not-compared",
            Event::SwapStart { .. } => "swap-start",
            Event::SwapComplete(_) => "swap-complete",
            Event::SwapError { .. } => "swap-error",
            Event::GenerationTainted { .. } => "generation-tainted",
            Event::GenerationFreed { .. } => "generation-freed",
            Event::DrainKilled { .. } => "drain-killed",
            Event::DivergenceAccepted { .. } => "divergence-accepted",
            Event::DivergenceSkipped { .. } => "divergence-skipped",
            Event::CallRetried { .. } => "call-retried",
            Event::CallHeldBack { .. } => "call-held-back",
            Event::TurnRepeated { .. } => "turn-repeated",
            Event::StateExceedsBudget { .. } => "state-exceeds-budget",
            Event::BreakerOpen { .. } => "breaker-open",
            Event::JournalCompacted { .. } => "journal-compacted",
            Event::HistoryLong { .. } => "history-long",
            Event::HistoryFolded { .. } => "history-folded",
            Event::ArtifactKept { .. } => "artifact-kept",
            Event::ArtifactUsed { .. } => "artifact-used",
            Event::ArtifactRefused { .. } => "artifact-refused",
            Event::ArtifactUnusable { .. } => "artifact-unusable",
            Event::UnlistedExport { .. } => "unlisted-export",
            Event::TierUpCompiled { .. } => "tier-up-compiled",
            Event::TierUpError { .. } => "tier-up-error",
            Event::Recovered(_) => "recovered",
            Event::CheckpointPassedOver { .. } => "checkpoint-passed-over",
            Event::CheckpointDamaged { .. } => "checkpoint-damaged",
            Event::CheckpointDurable(_) => "checkpoint-durable",
            Event::CallsUndone { .. } => "calls-undone",
            Event::CallsLost { .. } => "calls-lost",
            Event::JournalError { .. } => "journal-error",
            Event::Switched { .. } => "switched",
        }
    }
}

/// A listener for events. It runs on the thread that the event happened on, often the one that
/// makes a call: it must be quick, and must not call the proxy.
pub type Listener = Arc<dyn Fn(&Event) + Send + Sync>;
