//! Checkpoints: the state of a standby right after a verified replay, from which the next is made.
//!
//! A checkpoint is a view of the journal like a generation: the snapshot of an instance, its handle
//! table, and the sequence number up to which the journal had been applied. A standby made from one
//! has only the tail to replay. The journal stays the truth: a checkpoint that differs from a
//! replay is rejected, and replay takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use engine_api::{EngineId, Snapshot};
use guest_calls::Objects;

use crate::artifact_store::Content;
use crate::journal::Entry;
use crate::{Checkpointed, SequenceNumber};

/// Whether checkpoints are taken, and when.
///
/// One is taken of each standby made by replay alone, right after the replay was verified; of a
/// standby made from a checkpoint, if its tail took longer than `tail_replay_max`; in the
/// background, when a tail is expected to take longer; and on demand, by
/// [`Proxy::checkpoint`](crate::Proxy::checkpoint). At most two exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// Whether any are taken. Modules with state outside memories and globals never have any, and
    /// [`DebugInfo::checkpoint_obstacles`](crate::DebugInfo::checkpoint_obstacles) says why.
    pub enabled: bool,
    /// A tail that takes longer than this to replay asks for a newer checkpoint.
    pub tail_replay_max: Duration,
    /// After this many standbys made from it, a checkpoint is compared byte by byte with a replay
    /// from nothing. 0 for never.
    pub verify_every: u32,
}

impl Default for CheckpointPolicy {
    /// On; 50 ms; every 64.
    fn default() -> Self {
        Self {
            enabled: true,
            tail_replay_max: Duration::from_millis(50),
            verify_every: 64,
        }
    }
}

impl CheckpointPolicy {
    /// No checkpoints: every standby is made by replay.
    #[must_use]
    pub fn off() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }
}

/// An entry as it was applied to a standby. The same entries applied in the same way to another
/// instance give the same bytes.
#[derive(Clone, Debug)]
pub(crate) struct Applied {
    pub(crate) entry: Arc<Entry>,
    pub(crate) how: How,
}

/// How an entry was applied.
#[derive(Clone, Debug)]
pub(crate) enum How {
    /// Its call was repeated.
    Called,
    /// Its call was repeated, and the object that it created was exported as an artifact.
    Exported,
    /// Its object was made from these bytes.
    Imported(Arc<Content>),
}

/// A checkpoint.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    pub(crate) snapshot: Snapshot,
    pub(crate) objects: Arc<Objects>,
    pub(crate) sequence: SequenceNumber,
    /// Everything done to a fresh instance to get here. Entries stay even after the journal has
    /// forgotten them, until there are too many ([`Checkpoints::is_outgrown`]) or the checkpoint
    /// goes.
    pub(crate) history: Arc<[Applied]>,
    pub(crate) engine: EngineId,
    lineage: Lineage,
}

/// The checkpoints that continue one another from one replay: it counts the standbys made from any
/// of them since one was last compared with a replay from nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lineage(Arc<AtomicU32>);

impl Checkpoint {
    pub(crate) fn new(
        snapshot: Snapshot,
        objects: Arc<Objects>,
        sequence: SequenceNumber,
        history: Arc<[Applied]>,
        engine: EngineId,
        lineage: Lineage,
    ) -> Self {
        Self {
            snapshot,
            objects,
            sequence,
            history,
            engine,
            lineage,
        }
    }

    pub(crate) fn note_use(&self) {
        self.lineage.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It was found right. A checkpoint that continues it has its history too, so nothing of what
    /// they share needs another look.
    pub(crate) fn note_verified(&self) {
        self.lineage.0.store(0, Ordering::Relaxed);
    }

    pub(crate) fn uses(&self) -> u32 {
        self.lineage.0.load(Ordering::Relaxed)
    }

    pub(crate) fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Whether one of them continues the other, or both a third.
    pub(crate) fn is_akin(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.lineage.0, &other.lineage.0)
    }

    /// How a replay from nothing differs from this, if it does.
    pub(crate) fn difference(&self, replayed: &Self) -> Result<Option<String>, engine_api::Error> {
        if *self.objects != *replayed.objects {
            return Ok(Some("objects at other addresses".to_owned()));
        }
        self.snapshot.difference(&replayed.snapshot)
    }
}

/// After this many rejections a proxy takes no further checkpoints: they do not hold all of the
/// module's state.
const REJECTIONS_MAX: u64 = 3;

/// A history may always have this many entries, however few objects are alive.
const HISTORY_SLACK: usize = 32;

/// The checkpoints of a proxy: the newest, and while that one has not served yet, the one before.
#[derive(Debug)]
pub(crate) struct Checkpoints {
    policy: CheckpointPolicy,
    /// Why there are none, if there cannot be any.
    obstacles: Vec<String>,
    /// Oldest first.
    kept: Vec<(Arc<Checkpoint>, Checkpointed)>,
    /// Digests of those that were rejected.
    rejected: Vec<[u8; 32]>,
    /// The longest history that the live state allows, in entries.
    history_max: usize,
    /// How long replaying an entry took lately.
    entry_time: Duration,
}

impl Checkpoints {
    pub(crate) fn new(policy: CheckpointPolicy, obstacles: Vec<String>) -> Self {
        Self {
            policy,
            obstacles,
            kept: Vec::new(),
            rejected: Vec::new(),
            history_max: HISTORY_SLACK,
            entry_time: Duration::ZERO,
        }
    }

    /// Whether checkpoints are taken at all.
    pub(crate) fn are_taken(&self) -> bool {
        self.policy.enabled && self.obstacles.is_empty()
    }

    pub(crate) fn obstacles(&self) -> &[String] {
        &self.obstacles
    }

    /// An instance turned out to have state outside its memories and globals.
    pub(crate) fn refuse(&mut self, obstacle: String) {
        self.obstacles.push(obstacle);
        self.kept.clear();
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Checkpoint>> {
        self.kept.last().map(|(checkpoint, _)| checkpoint)
    }

    /// The report of the newest one.
    pub(crate) fn newest_taken(&self) -> Option<Checkpointed> {
        self.kept.last().map(|(_, taken)| *taken)
    }

    /// The newest entry of each. The journal must keep the entries that free objects alive there.
    pub(crate) fn horizons(&self) -> impl Iterator<Item = SequenceNumber> + '_ {
        self.kept.iter().map(|(checkpoint, _)| checkpoint.sequence)
    }

    /// Keeps a checkpoint, unless one like it was rejected. Returns whether it did.
    pub(crate) fn keep(&mut self, checkpoint: Arc<Checkpoint>, taken: Checkpointed) -> bool {
        if !self.rejected.is_empty() {
            match checkpoint.snapshot.digest() {
                Ok(digest) if !self.rejected.contains(&digest) => {}
                _ => return false,
            }
        }
        self.settle();
        self.kept.push((checkpoint, taken));
        true
    }

    /// Whether a history of this length is more than twice as long as the live state needs. Entries
    /// about freed objects stay in it, so the next checkpoint has to be made from nothing.
    /// `live_entries` is asked only if the history exceeds the limit that its last answer gave.
    pub(crate) fn is_outgrown(
        &mut self,
        history: usize,
        live_entries: impl FnOnce() -> usize,
    ) -> bool {
        if history > self.history_max {
            self.history_max = 2 * live_entries() + HISTORY_SLACK;
        }
        history > self.history_max
    }

    /// The newest one has proved itself, or a newer one comes: those before it are no longer
    /// needed.
    pub(crate) fn settle(&mut self) {
        while self.kept.len() > 1 {
            self.kept.remove(0);
        }
    }

    /// It is never chosen again, and neither is one like it or one that continues it. `rejections`
    /// says how many there were.
    pub(crate) fn reject(&mut self, checkpoint: &Arc<Checkpoint>, rejections: u64) {
        let continues =
            |kept: &Checkpoint| kept.is_akin(checkpoint) && kept.sequence >= checkpoint.sequence;
        self.kept.retain(|(kept, _)| !continues(kept));
        if let Ok(digest) = checkpoint.snapshot.digest() {
            self.rejected.push(digest);
        }
        if rejections >= REJECTIONS_MAX {
            let obstacle =
                format!("{REJECTIONS_MAX} checkpoints gave something else than a replay");
            self.refuse(obstacle);
        }
    }

    /// The journal changed at this entry: checkpoints that hold it are a view of the old one.
    pub(crate) fn drop_from(&mut self, entry: SequenceNumber) {
        self.kept.retain(|(kept, _)| kept.sequence < entry);
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
    }

    /// Learns how long an entry takes to replay.
    pub(crate) fn note_replay(&mut self, entries: usize, duration: Duration) {
        if let Ok(entries @ 1..) = u32::try_from(entries) {
            self.entry_time = duration / entries;
        }
    }

    /// Whether a tail of this duration asks for a newer checkpoint.
    pub(crate) fn is_long(&self, tail: Duration) -> bool {
        tail > self.policy.tail_replay_max
    }

    /// How long a tail of this many entries should take.
    pub(crate) fn expected(&self, entries: usize) -> Duration {
        self.entry_time
            .saturating_mul(u32::try_from(entries).unwrap_or(u32::MAX))
    }

    /// Whether it is time to compare the newest one with a replay.
    pub(crate) fn is_verification_due(&self) -> bool {
        self.policy.verify_every > 0
            && self
                .newest()
                .is_some_and(|newest| newest.uses() >= self.policy.verify_every)
    }
}
