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

/// A report of [`Proxy::verify_on`](crate::Proxy::verify_on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Where it was replayed.
    pub engine: EngineId,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// The size of the memories afterwards, in bytes.
    pub memory: u64,
    /// How long it took, compilation left out.
    pub duration: Duration,
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
