//! Reports of preparations, swaps, checkpoints and replays. The method that does the work returns
//! one of these, its event carries the same, and debug information shows the last.

use std::fmt;
use std::time::Duration;

use engine_api::EngineId;

use crate::{Reason, SequenceNumber};

/// A report of a preparation of a standby. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// The standby's number.
    pub generation: u64,
    /// How long it took; zero if there was a standby already.
    pub duration: Duration,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// The size of its memories.
    pub memory: u64,
    /// The source that it was made from.
    pub source: Source,
}

/// A report of a swap. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Swapped {
    /// Why it took place.
    pub reason: Reason,
    /// The generation that served before.
    pub from: u64,
    /// The generation that serves now.
    pub to: u64,
    /// How long the standby took to prepare.
    pub prepare: Duration,
    /// How long journaled calls were held back.
    pub pause: Duration,
    /// How many entries were applied in that time.
    pub tail: usize,
    /// The size of the old generation's memories.
    pub memory_before: u64,
    /// The size of the new one's.
    pub memory_after: u64,
}

/// A report of a checkpoint that was taken. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpointed {
    /// The newest entry that is in it.
    pub sequence: SequenceNumber,
    /// The engine that it was taken on.
    pub engine: EngineId,
    /// The size of the memories in it.
    pub bytes: u64,
    /// The part of it that no older checkpoint shares.
    pub bytes_kept: u64,
    /// How many entries made it, and are kept to compare it with a replay.
    pub entries: usize,
    /// How long it took.
    pub duration: Duration,
}

/// A report of a durable checkpoint that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DurablyCheckpointed {
    /// The newest entry that is in it.
    pub sequence: SequenceNumber,
    /// The size of the file, in bytes.
    pub bytes: u64,
    /// How long it took to write, and to drop the records that it took the place of.
    pub duration: Duration,
}

/// A report of a state that was made again from the journal in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovered {
    /// The newest entry in it.
    pub sequence: SequenceNumber,
    /// The newest entry in the checkpoint that it was made from, if it was.
    pub checkpoint: Option<SequenceNumber>,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// How many objects are alive.
    pub objects: usize,
    /// The size of its memories, in bytes.
    pub memory: u64,
    /// How long it took, compilation left out.
    pub duration: Duration,
}

/// A report of [`Proxy::verify_on`](crate::Proxy::verify_on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Where it was replayed.
    pub engine: EngineId,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// Whether the policy's state digest was compared with the active generation's, and is the
    /// same. `false` if the policy names none, or the active generation was busy.
    pub state_compared: bool,
    /// The size of the memories afterwards, in bytes.
    pub memory: u64,
    /// How long it took, compilation left out.
    pub duration: Duration,
}

/// A report of [`Proxy::compact`](crate::Proxy::compact).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// How many entries the journal had.
    pub entries_before: usize,
    /// How many it has now.
    pub entries: usize,
    /// What they took in memory, in bytes.
    pub bytes_before: u64,
    /// What they take now, in bytes.
    pub bytes: u64,
    /// The newest entry in the checkpoint that has taken the place of older entries, if one has.
    pub base: Option<SequenceNumber>,
    /// How long it took.
    pub duration: Duration,
}

/// A report of [`Proxy::audit`](crate::Proxy::audit).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Audit {
    /// How many journaled calls made the state.
    pub entries: usize,
    /// How many pure calls were repeated among them.
    pub calls: usize,
    /// How many pure calls were not.
    pub left_out: u64,
    /// Why they were not.
    pub reasons: Vec<LeftOut>,
    /// How many different pure calls were asked for their answers.
    pub asked: usize,
    /// The answers that depend on pure calls: each shows a write that a swap loses. Answers of
    /// journaled calls are among them.
    pub lost: Vec<Observation>,
    /// The pure exports whose calls alone change an answer: these write.
    pub writers: Vec<String>,
    /// The pure exports that answer differently in two replays of the same calls, or trapped or ran
    /// out of memory when they were asked, so nothing can be said of their answers.
    pub undecided: Vec<String>,
    /// The pure exports whose answers depend on the size of the memory or on where things lie in
    /// it, as they do after a leak: that is no proof of a write.
    pub moved: Vec<String>,
    /// The pure exports that leave memory behind, if they are called again and again.
    pub leaks: Vec<Leak>,
    /// Where the active generation's memories, tables and globals differ from those that journaled
    /// calls alone make: a hint, since a pure call may leave traces that no call can notice. `None`
    /// if they cannot be compared.
    pub memory: Option<Vec<String>>,
    /// What kept the audit from comparing everything, if something did.
    pub incomplete: Option<String>,
}

/// Pure calls that an [`Audit`] did not repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// How many.
    pub calls: u64,
    /// Why.
    pub reason: String,
}

/// A pure export that leaves memory behind: the memory of an instance on which only this export is
/// called goes on growing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leak {
    /// The export.
    pub export: String,
    /// How many calls were made while the memory grew, after about as many to get used to it.
    pub calls: u64,
    /// By how much it grew in these, in bytes.
    pub bytes: u64,
}

/// An answer that an [`Audit`] found to depend on pure calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observation {
    /// The export that was asked.
    pub export: String,
    /// Its arguments, as a workload writes them.
    pub args: String,
    /// The answer after the journaled calls alone, as after a swap.
    pub without: String,
    /// The answer after the pure calls too.
    pub with: String,
}

/// Where a standby came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// The whole journal was replayed.
    Replay,
    /// A checkpoint that holds the journal up to this entry; the rest was replayed.
    Checkpoint(SequenceNumber),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Replay => f.write_str("replay"),
            Source::Checkpoint(sequence) => write!(f, "checkpoint {sequence}"),
        }
    }
}
