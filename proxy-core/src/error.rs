//! The errors of a proxy, told apart by what the caller does next.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine_api::ModuleHash;
use guest_calls::{if_asked, listed};

use crate::{CallError, Handle, PolicyError, Position, SequenceNumber, StoreError};

/// An error of the proxy. After any of them but [`ShutDown`](Self::ShutDown) and
/// [`CheckpointDamaged`](Self::CheckpointDamaged) the proxy goes on serving: the state is the journal's,
/// and a generation that a call has damaged is rebuilt from it before the next call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy cannot be read, or does not fit the module. Fix the file.
    #[error(transparent)]
    Policy(#[from] PolicyError),

    /// The call failed, or was refused before anything ran.
    #[error(transparent)]
    Call(#[from] CallError),

    /// A setting from outside makes no sense. Fix it.
    #[error("{reason}")]
    Setting {
        /// The setting, and what it may be.
        reason: String,
    },

    /// The directory for artifacts cannot be made or listed.
    #[error(
        "cannot use `{}` as a directory for artifacts: {source}; check that it can be made and listed",
        .path.display()
    )]
    ArtifactDirectory {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// The pinned generation has no such object: it was created after the swap that replaced that
    /// generation. Nothing ran.
    #[error("handle {handle} is younger than the pinned generation; begin the scope again")]
    UnknownHandle {
        /// The handle.
        handle: Handle,
    },

    /// A host function or a hook called the proxy that was just calling it. Nothing ran.
    #[error(
        "a host function or hook of this proxy called the proxy; use the `Caller` or `Pinned` it is given"
    )]
    Reentrant,

    /// Another call has ended the generation that this scope was pinned to.
    #[error("`{export}`: the pinned generation was lost ({cause}); begin the scope again")]
    GenerationLost {
        /// The export.
        export: String,
        /// What ended it.
        cause: String,
    },

    /// The raw objects of a turn cannot be made again, on the generation that serves since the one
    /// died that had them. The call did not run. Calls that need no raw object go on.
    #[error(
        "the raw objects of this turn are lost with their generation: {reason}; begin another turn"
    )]
    TurnLost {
        /// Why they cannot be made again.
        reason: String,
    },

    /// A raw call of a turn gave something else when it was repeated, because its generation had
    /// died. The call did not run. Calls that need no raw object go on.
    #[error(
        "`{export}` of this turn was repeated on a clean generation and gave something else: expected \
         {expected}, got {got}; begin another turn"
    )]
    TurnDiverged {
        /// The export that was called again.
        export: String,
        /// What it gave before.
        expected: String,
        /// What it gave now.
        got: String,
    },

    /// Turns were open, and a swap takes place only between turns. The standby waits.
    #[error("{turns} turns are open, and a swap waits for their end; end them and swap again")]
    TurnsOpen {
        /// How many were open.
        turns: usize,
    },

    /// The pinned generation was still in use when the drain deadline passed, and was ended.
    #[error("`{export}` was ended: its generation had been swapped out {}s before, the drain deadline; shorten the scope or raise it", .drain_timeout.as_secs_f32())]
    DrainDeadline {
        /// The export.
        export: String,
        /// The deadline.
        drain_timeout: Duration,
    },

    /// A replay differed from the original call. The standby was discarded; the active generation
    /// goes on.
    #[error(transparent)]
    Divergence(Box<Divergence>),

    /// The policy's state digest differs between the active generation and the standby: something
    /// that is not journaled changed the state, and a swap would lose it. The standby was
    /// discarded; the active generation goes on.
    #[error(transparent)]
    StateDiffers(Box<StateDifference>),

    /// Nothing is known of a divergence of this entry, or it is gone: a standby was made since, or
    /// the entry was compacted away.
    #[error("entry {entry} has not diverged, or does no longer; see `Proxy::divergence`")]
    NotDiverged {
        /// The entry.
        entry: SequenceNumber,
    },

    /// An entry that diverged cannot be skipped: an object that it made is still needed.
    #[error(
        "entry {entry} made object {handle}, {}; accept the entry, or free the object first",
        .needed_by.map_or_else(|| "which is alive".to_owned(), |by| format!("which entry {by} needs"))
    )]
    EntryNeeded {
        /// The entry.
        entry: SequenceNumber,
        /// The object.
        handle: Handle,
        /// A later entry that needs the object; `None` if the object is alive.
        needed_by: Option<SequenceNumber>,
    },

    /// A divergence cannot be settled in this way.
    #[error("the divergence of entry {entry} cannot be settled so: {reason}")]
    NotSettled {
        /// The entry.
        entry: SequenceNumber,
        /// Why, and what can be done instead.
        reason: String,
    },

    /// A standby ran out of memory while it applied the journal: its memory is laid out otherwise
    /// than that of the generation that the calls were made on. The standby was discarded; the
    /// active generation goes on.
    #[error(
        "the standby ran out of memory while replaying entry {entry} (`{export}`){} {used_mib:.1} of \
         {limit_mib:.1} MiB: its memory is laid out otherwise than that of the active generation, and \
         it has the same limit; raise the memory limit or free objects",
        if_asked(*.asked_mib)
    )]
    StandbyOutOfMemory {
        /// The entry that it could not apply.
        entry: SequenceNumber,
        /// The export that it calls.
        export: String,
        /// How much more memory the call asked for when growth was refused, in MiB, if that is
        /// known.
        asked_mib: Option<f64>,
        /// The size of its memories, in MiB.
        used_mib: f64,
        /// The memory limit, in MiB.
        limit_mib: f64,
    },

    /// The preparation of a standby took too long. The active generation goes on.
    #[error("the preparation was given up after {:.1}s at entry {applied} of {last}; raise the prepare timeout", .after.as_secs_f64())]
    PreparationTimeout {
        /// How long it took.
        after: Duration,
        /// The newest entry that was applied.
        applied: SequenceNumber,
        /// The newest entry of the journal.
        last: SequenceNumber,
    },

    /// The engine took too long to compile the module. Its thread cannot be ended, and goes on until
    /// the compiler is done.
    #[error(
        "the module was not compiled within {:.1}s; raise `Builder::compile_timeout`, or take an \
         engine that compiles in one pass",
        .after.as_secs_f64()
    )]
    CompileTimeout {
        /// How long it was waited for.
        after: Duration,
    },

    /// A standby could not be made. The active generation goes on.
    #[error("the standby could not be prepared: {source}")]
    Preparation {
        /// Why.
        source: Box<Error>,
    },

    /// The live state alone is larger than the warning threshold: a swap would not help. Calls of
    /// an export that found no room in it are refused for a while, or until an object is freed.
    #[error(
        "state exceeds budget: after replay the state takes {state_mib:.1} MiB, the warning threshold is at {threshold_mib:.1} MiB; {}; free objects or raise the memory limit",
        listed(.objects)
    )]
    StateExceedsBudget {
        /// The size of the state, in MiB.
        state_mib: f64,
        /// Where the threshold is, in MiB.
        threshold_mib: f64,
        /// The types of the live objects, as the policy names them, and how many there are of each.
        objects: Vec<(String, usize)>,
    },

    /// Generations and journal would take more memory together than they may. Nothing ran; the active
    /// generation goes on.
    #[error(
        "generations and journal would take {needed_mib:.1} MiB together, and may have \
         {limit_mib:.1}; free objects, or raise `Builder::total_memory`"
    )]
    TotalMemory {
        /// What they would take, in MiB.
        needed_mib: f64,
        /// What they may take, in MiB.
        limit_mib: f64,
    },

    /// Too many preparations failed in a row, or the last one failed a moment ago.
    #[error("no standby is prepared for another {:.1}s, after {failures} failed attempts; see the last `standby-prepare-error` event", .retry_in.as_secs_f32())]
    BackingOff {
        /// How many attempts failed in a row.
        failures: u32,
        /// When the next attempt is due.
        retry_in: Duration,
    },

    /// No checkpoint can be taken of this module, or of its state as it is. Standbys are made by
    /// replay, and so is the state of the next process.
    #[error("no checkpoint: {reasons}; the state is made by replay of the journal instead")]
    NoCheckpoint {
        /// The reasons, in words.
        reasons: String,
    },

    /// The history is to be kept as a checkpoint, and this module has none that a replay can prove.
    #[error(
        "`History::Checkpoint` needs checkpoints: {}; keep the full history, which is the default",
        .obstacles.join("; ")
    )]
    HistoryNeedsCheckpoints {
        /// Why it has none, in words.
        obstacles: Vec<String>,
    },

    /// A checkpoint has taken the place of older entries, and this engine cannot restore it.
    #[error(
        "the history is kept as a checkpoint, and this engine cannot restore it: {reason}; take \
         another engine, or keep the full history"
    )]
    BaseNotRestorable {
        /// What the engine says.
        reason: String,
    },

    /// There is no standby to swap to.
    #[error("no standby is ready; call `prepare_standby` first")]
    NoStandby,

    /// The generation before is still in use, so a third cannot be made.
    #[error(
        "the generation before is still draining; wait for its calls or lower the drain deadline"
    )]
    StillDraining,

    /// The proxy is switched off, and its only generation has died.
    #[error(
        "the instance died ({cause}) while the proxy was switched off; switch it on to rebuild the state"
    )]
    DiedInPassthrough {
        /// What killed it.
        cause: String,
    },

    /// The proxy is switched off: nothing is prepared and nothing swapped.
    #[error("the proxy is switched off; switch it on first")]
    Passthrough,

    /// The proxy has been shut down.
    #[error("the proxy has been shut down")]
    ShutDown,

    /// The proxy has ended: the contents of the checkpoint that its state was made from were compared
    /// with their hashes while it served, and are damaged. What it has acknowledged is in the
    /// journal, and the next opening makes the state from what was before that checkpoint.
    #[error(
        "the proxy has ended, because the checkpoint `{file}` that its state was made from is damaged: \
         {reason}; open the journal again, which passes the checkpoint over"
    )]
    CheckpointDamaged {
        /// Its file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    /// A hook refused the swap. The active generation goes on.
    #[error("the hook around the swap failed")]
    Hook {
        /// The hook's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The engine refused the module, its imports or its limits.
    #[error(transparent)]
    Engine(Box<engine_api::Error>),

    /// The disk of the journal is full. The call did not run. Pure calls go on, and journaled ones do
    /// as soon as there is room again.
    #[error("nothing can be journaled: {source}")]
    JournalFull {
        /// What the store says.
        source: Arc<StoreError>,
    },

    /// The store of the journal has stopped after an error that must not be retried. The call did
    /// not run. Pure calls go on.
    #[error("nothing can be journaled any more: {source}")]
    JournalStopped {
        /// What the store says.
        source: Arc<StoreError>,
    },

    /// As many journaled calls wait for the journal as may. The call did not run.
    #[error(
        "{callers_max} journaled calls wait for the journal, and no more may; call again later, or \
         raise `JournalQueue::callers_max`"
    )]
    JournalBusy {
        /// How many may wait.
        callers_max: usize,
    },

    /// The call ran, and its entry could not be written. What it did is undone, with what later
    /// calls did. If the store failed in a flush, the entry may be in the journal all the same when
    /// it is opened again.
    #[error("the call was undone, because its entry could not be written to the journal: {source}")]
    NotDurable {
        /// What the store says.
        source: Arc<StoreError>,
    },

    /// The call ran, and its entry cannot be written down. What it did is undone.
    #[error(
        "the call was undone, because its entry cannot be written to the journal: {reason}; a host \
         function that gives or takes references cannot be used with a journal in a store"
    )]
    NotStorable {
        /// Why.
        reason: String,
    },

    /// The journal cannot be opened, read or written.
    #[error(transparent)]
    JournalStore(Box<StoreError>),

    /// The journal was made for something else. Nothing was read or changed.
    #[error("the journal in the store {}", .0)]
    OtherJournal(Box<JournalMismatch>),

    /// A record of the journal cannot be read. Nothing was changed.
    #[error(
        "record {position} of the journal cannot be read: {reason}; it was not written by this \
         release, or the policy is another"
    )]
    JournalRecord {
        /// Its place.
        position: Position,
        /// Why.
        reason: String,
    },

    /// A replay should end before the oldest state that the journal still has.
    #[error(
        "the journal begins with the state after entry {first}, so nothing of it can be replayed up to \
         entry {until}; give entry {first} or a later one"
    )]
    BeforeJournal {
        /// The entry with which the replay should end.
        until: SequenceNumber,
        /// The newest entry in the oldest state.
        first: SequenceNumber,
    },

    /// The state cannot be made again: older entries are gone, and no checkpoint can be used.
    #[error(
        "the state cannot be made again: records up to {gone} are in checkpoints alone, and none can \
         be used: {}; mend that, or put a good copy of one in its place",
        .reasons.join("; ")
    )]
    NoRecovery {
        /// The newest record that the store lacks.
        gone: Position,
        /// The checkpoints, and what is wrong with each.
        reasons: Vec<String>,
    },

    /// The journal in the store begins with a checkpoint, so the full history cannot be kept.
    #[error(
        "the journal begins with a checkpoint that has taken the place of entries; open it with \
         `History::Checkpoint`"
    )]
    HistoryFolded,

    /// The old journal cannot be replayed on this module. It stays as it was.
    #[error(
        "the old journal begins with a checkpoint that this module cannot begin with: {}; migrate a \
         journal that keeps its full history",
        .reasons.join("; ")
    )]
    NotMigrated {
        /// The checkpoints, and what is wrong with each.
        reasons: Vec<String>,
    },

    /// The same id was given to another call before. Nothing ran.
    #[error(
        "the id of this call of `{export}` was given to another call before; give each call an id \
         of its own"
    )]
    CallIdReused {
        /// The export.
        export: String,
    },

    /// The call cannot have an id. Nothing ran.
    #[error("this call of `{export}` cannot have an id: {reason}")]
    CallIdRefused {
        /// The export.
        export: String,
        /// Why.
        reason: String,
    },
}

/// What differs between a journal and the proxy that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalMismatch {
    /// The module's bytes.
    Module {
        /// The journal's.
        journal: ModuleHash,
        /// The proxy's.
        proxy: ModuleHash,
    },
    /// The policy.
    Policy {
        /// Its hash in the journal.
        journal: [u8; 32],
        /// The proxy's.
        proxy: [u8; 32],
    },
    /// The format of its records.
    Format {
        /// The journal's.
        journal: u32,
        /// The newest one that this release knows.
        known: u32,
    },
    /// What it was made for cannot be read.
    Unreadable,
}

impl fmt::Display for JournalMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JournalMismatch::Module { journal, proxy } => write!(
                f,
                "is of module {journal}, and this is module {proxy}: open it with its own module, \
                 or migrate it"
            ),
            JournalMismatch::Policy { journal, proxy } => write!(
                f,
                "was made with the policy of hash {}, and this policy has {}: open it with its own \
                 policy, or migrate it",
                blake3::Hash::from_bytes(*journal).to_hex(),
                blake3::Hash::from_bytes(*proxy).to_hex(),
            ),
            JournalMismatch::Format { journal, known } => write!(
                f,
                "has records of format {journal}, and this release knows formats up to {known}: \
                 take a newer release"
            ),
            JournalMismatch::Unreadable => {
                write!(f, "was not made by a proxy: give another directory")
            }
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::JournalStore(Box::new(error))
    }
}

impl From<engine_api::Error> for Error {
    fn from(error: engine_api::Error) -> Self {
        Error::Engine(Box::new(error))
    }
}

/// How the state of the active generation differs from what its journaled calls alone make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDifference {
    /// The export that gives the state's digest.
    pub digest: String,
    /// The newest entry that both generations had applied.
    pub sequence: SequenceNumber,
    /// What the export gave on the active generation.
    pub active: String,
    /// What it gave on the instance that applied the journal alone.
    pub standby: String,
    /// The exports that the policy calls pure, and that were called since the last swap. One of
    /// them wrote, unless the module is not deterministic.
    pub suspects: Vec<String>,
}

impl fmt::Display for StateDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the state differs: with the entries up to {} applied, `{}` gives {} on the active \
             generation and {} after a replay, so a swap would lose what was written; ",
            self.sequence, self.digest, self.active, self.standby
        )?;
        match self.suspects.as_slice() {
            [] => write!(
                f,
                "no pure export was called since the last swap, so the module is not deterministic"
            ),
            suspects => write!(
                f,
                "an export that the policy calls pure has written, one of `{}`: declare it `mutate` \
                 and start anew",
                suspects.join("`, `")
            ),
        }
    }
}

impl std::error::Error for StateDifference {}

/// Where a replay departed from the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The first entry that differed. [`SequenceNumber::ZERO`] is the instantiation.
    pub entry: SequenceNumber,
    /// The export that it calls.
    pub export: String,
    /// The kind of difference.
    pub what: DivergenceKind,
    /// The value in the journal.
    pub expected: String,
    /// The value of the replay.
    pub got: String,
}

/// The kinds of difference between a replay and the original.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DivergenceKind {
    /// The call's results.
    Results,
    /// The fingerprint of a created object.
    Fingerprint,
    /// The host functions that it called, or their arguments.
    HostCalls,
    /// The original returned, the replay trapped or failed.
    Outcome,
}

impl DivergenceKind {
    /// A short stable name for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DivergenceKind::Results => "results",
            DivergenceKind::Fingerprint => "fingerprint",
            DivergenceKind::HostCalls => "host calls",
            DivergenceKind::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "replay diverged at entry {} (`{}`), {}: expected {}, got {}; the module is not \
             deterministic, or the policy calls something pure that is not",
            self.entry,
            self.export,
            self.what.name(),
            self.expected,
            self.got
        )
    }
}

impl std::error::Error for Divergence {}
