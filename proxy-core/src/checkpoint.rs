//! Checkpoints: the state of a standby right after a verified replay, from which the next is made.
//!
//! A checkpoint is a view of the journal like a generation: the snapshot of an instance, its handle
//! table, and the sequence number up to which the journal had been applied. A standby made from one
//! has only the tail to replay. The journal stays the truth: a checkpoint that differs from a
//! replay is rejected, and replay takes its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use engine_api::{EngineId, Module, Snapshot};
use guest_calls::Objects;

use crate::artifact_store::Content;
use crate::journal::Entry;
use crate::{Checkpointed, Error, SequenceNumber};

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
    /// Whether the journal keeps all of its entries, or a verified checkpoint takes their place.
    pub history: History,
}

impl CheckpointPolicy {
    /// Refuses to keep the history as a checkpoint where there is none, or none that a replay can
    /// prove byte by byte: entries must not go for a state of which less is known.
    ///
    /// # Errors
    ///
    /// [`Error::HistoryNeedsCheckpoints`].
    pub(crate) fn check_history(
        &self,
        obstacles: &[String],
        module: &dyn Module,
    ) -> Result<(), Error> {
        if self.history == History::Full {
            return Ok(());
        }
        let mut obstacles = obstacles.to_vec();
        if !self.enabled {
            obstacles.push("they are switched off (CheckpointPolicy::enabled)".to_owned());
        }
        if !module.replays_alike() {
            obstacles.push(
                "the module's threads run side by side, so no two replays have the same bytes and \
                 a checkpoint cannot be compared with one byte by byte"
                    .to_owned(),
            );
        }
        if obstacles.is_empty() {
            return Ok(());
        }
        Err(Error::HistoryNeedsCheckpoints { obstacles })
    }
}

/// How much of the past a proxy keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum History {
    /// Every entry that live objects need. The state can be made again from nothing, on any engine.
    #[default]
    Full,
    /// A verified checkpoint, and the entries after it: for a module whose journal would only grow.
    /// Every standby is made from that checkpoint. Modules without checkpoints are refused, and so
    /// are those whose threads run side by side: no replay proves their checkpoints byte by byte.
    Checkpoint,
}

/// The length of a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryBound {
    /// Entries.
    pub entries: usize,
    /// What they take in memory, in bytes.
    pub bytes: u64,
}

impl HistoryBound {
    /// Whether a journal of this length has reached it.
    pub(crate) fn is_reached(self, entries: usize, bytes: u64) -> bool {
        entries >= self.entries || bytes >= self.bytes
    }

    /// Where a journal of this length has reached it, it is the double of the journal from now on.
    pub(crate) fn raise(&mut self, entries: usize, bytes: u64) {
        if entries >= self.entries {
            self.entries = entries.saturating_mul(2).max(1);
        }
        if bytes >= self.bytes {
            self.bytes = bytes.saturating_mul(2).max(1);
        }
    }

    pub(crate) fn doubled(self) -> Self {
        Self {
            entries: self.entries.saturating_mul(2),
            bytes: self.bytes.saturating_mul(2),
        }
    }
}

impl Default for HistoryBound {
    /// A million entries, or 256 MiB.
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 256 << 20,
        }
    }
}

impl Default for CheckpointPolicy {
    /// On; 50 ms; every 64; all entries.
    fn default() -> Self {
        Self {
            enabled: true,
            tail_replay_max: Duration::from_millis(50),
            verify_every: 64,
            history: History::Full,
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
    /// Everything done to a fresh instance to get here, or since the base. Entries stay even after the journal has
    /// forgotten them, until there are too many ([`Checkpoints::is_outgrown`]) or the checkpoint
    /// goes.
    pub(crate) history: Arc<[Applied]>,
    pub(crate) engine: EngineId,
    lineage: Lineage,
    is_verified: AtomicBool,
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
            is_verified: AtomicBool::new(false),
        }
    }

    /// A checkpoint of an earlier process, as what replays begin with.
    pub(crate) fn opened(
        snapshot: Snapshot,
        objects: Objects,
        sequence: SequenceNumber,
        engine: EngineId,
    ) -> Self {
        let (objects, history) = (Arc::new(objects), Arc::new([]));
        let lineage = Lineage::default();
        Self {
            is_verified: AtomicBool::new(true),
            ..Self::new(snapshot, objects, sequence, history, engine, lineage)
        }
    }

    /// The same state, as what replays begin with. What continues it is a lineage of its own.
    fn as_base(&self) -> Self {
        Self {
            is_verified: AtomicBool::new(true),
            ..Self::new(
                self.snapshot.clone(),
                Arc::clone(&self.objects),
                self.sequence,
                Arc::new([]),
                self.engine,
                Lineage::default(),
            )
        }
    }

    pub(crate) fn note_use(&self) {
        self.lineage.0.fetch_add(1, Ordering::Relaxed);
    }

    /// It was found right. A checkpoint that continues it has its history too, so nothing of what
    /// they share needs another look.
    pub(crate) fn note_verified(&self) {
        self.lineage.0.store(0, Ordering::Relaxed);
        self.is_verified.store(true, Ordering::Relaxed);
    }

    /// Whether it was itself compared with a replay.
    pub(crate) fn is_verified(&self) -> bool {
        self.is_verified.load(Ordering::Relaxed)
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
    /// The verified checkpoint that has taken the place of the entries up to it. It is never
    /// rejected, because nothing is left to make its state from.
    base: Option<(Arc<Checkpoint>, Checkpointed)>,
    /// Those after the base, oldest first.
    kept: Vec<(Arc<Checkpoint>, Checkpointed)>,
    /// Digests of those that were rejected.
    rejected: Vec<[u8; 32]>,
    /// The longest history that the live state allows, in entries.
    history_max: usize,
    /// How long replaying an entry took lately.
    entry_time: Duration,
    /// How long the tails of standbys took together since the newest was taken.
    tails: Duration,
}

impl Checkpoints {
    pub(crate) fn new(policy: CheckpointPolicy, obstacles: Vec<String>) -> Self {
        Self {
            policy,
            obstacles,
            base: None,
            kept: Vec::new(),
            rejected: Vec::new(),
            history_max: HISTORY_SLACK,
            entry_time: Duration::ZERO,
            tails: Duration::ZERO,
        }
    }

    /// Whether checkpoints are taken at all.
    pub(crate) fn are_taken(&self) -> bool {
        self.policy.enabled && self.obstacles.is_empty()
    }

    /// Whether checkpoints are taken at all, and if not, why.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`].
    pub(crate) fn check_taken(&self) -> Result<(), Error> {
        if self.are_taken() {
            return Ok(());
        }
        Err(Error::NoCheckpoint {
            reasons: match self.obstacles() {
                [] => "they are switched off (CheckpointPolicy::enabled)".to_owned(),
                obstacles => obstacles.join("; "),
            },
        })
    }

    pub(crate) fn obstacles(&self) -> &[String] {
        &self.obstacles
    }

    /// An instance turned out to have state outside its memories and globals.
    pub(crate) fn refuse(&mut self, obstacle: String) {
        self.obstacles.push(obstacle);
        self.kept.clear();
    }

    /// How much of the past is kept.
    pub(crate) fn history(&self) -> History {
        self.policy.history
    }

    /// As [`CheckpointPolicy::check_history`], for a module of another engine.
    pub(crate) fn check_history(&self, module: &dyn Module) -> Result<(), Error> {
        self.policy.check_history(&[], module)
    }

    /// The checkpoint that replays begin with, if entries were dropped.
    pub(crate) fn base(&self) -> Option<&Arc<Checkpoint>> {
        self.base.as_ref().map(|(checkpoint, _)| checkpoint)
    }

    /// Sets the checkpoint that replays begin with, which an earlier process has left.
    ///
    /// # Errors
    ///
    /// [`Error::HistoryFolded`] if all of the history is to be kept: it is gone.
    pub(crate) fn begin_with(&mut self, base: Arc<Checkpoint>) -> Result<(), Error> {
        if self.history() == History::Full {
            return Err(Error::HistoryFolded);
        }
        let taken = Checkpointed {
            sequence: base.sequence,
            engine: base.engine,
            bytes: base.snapshot.bytes(),
            bytes_kept: base.snapshot.bytes_kept(),
            entries: 0,
            duration: Duration::ZERO,
        };
        self.base = Some((base, taken));
        Ok(())
    }

    /// Whether it is the one that replays begin with.
    pub(crate) fn is_base(&self, checkpoint: &Arc<Checkpoint>) -> bool {
        self.base()
            .is_some_and(|base| Arc::ptr_eq(base, checkpoint))
    }

    /// A verified checkpoint takes the place of what came before it, older checkpoints included.
    pub(crate) fn become_base(&mut self, checkpoint: &Arc<Checkpoint>) {
        let of = |(own, _): &(Arc<Checkpoint>, Checkpointed)| Arc::ptr_eq(own, checkpoint);
        if let Some((checkpoint, taken)) = self.kept.iter().find(|own| of(own)) {
            let taken = Checkpointed {
                entries: 0,
                ..*taken
            };
            self.base = Some((Arc::new(checkpoint.as_base()), taken));
            self.kept.clear();
        }
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Checkpoint>> {
        self.newest_after_base().or(self.base())
    }

    pub(crate) fn newest_after_base(&self) -> Option<&Arc<Checkpoint>> {
        self.kept.last().map(|(checkpoint, _)| checkpoint)
    }

    /// The report of the newest one.
    pub(crate) fn newest_taken(&self) -> Option<Checkpointed> {
        let newest = self.kept.last().or(self.base.as_ref());
        newest.map(|(_, taken)| *taken)
    }

    /// The newest entry of each. The journal must keep the entries that free objects alive there.
    pub(crate) fn horizons(&self) -> impl Iterator<Item = SequenceNumber> + '_ {
        let all = self.base.iter().chain(&self.kept);
        all.map(|(checkpoint, _)| checkpoint.sequence)
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
        self.tails = Duration::ZERO;
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

    /// Forgets those after the base.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
    }

    /// Forgets all, the base too. For a proxy that is shut down.
    pub(crate) fn clear(&mut self) {
        self.base = None;
        self.kept.clear();
    }

    /// Learns how long an entry takes to replay.
    pub(crate) fn note_replay(&mut self, entries: usize, duration: Duration) {
        if let Ok(entries @ 1..) = u32::try_from(entries) {
            self.entry_time = duration / entries;
        }
    }

    /// A standby was made from a checkpoint, and its tail took so long.
    pub(crate) fn note_tail(&mut self, tail: Duration) {
        self.tails = self.tails.saturating_add(tail);
    }

    /// Whether short tails asked for a newer checkpoint together: they took longer than one may alone, and
    /// than it took to take the newest. Where swaps are a few milliseconds apart, each tail is short, is
    /// longer than the one before, and is most of what is done between two swaps. With a base, folds keep
    /// tails short.
    pub(crate) fn are_many(&self) -> bool {
        let taken = self
            .newest_taken()
            .map_or(Duration::ZERO, |taken| taken.duration);
        self.base.is_none() && self.is_long(self.tails) && self.tails > taken
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
                .newest_after_base()
                .is_some_and(|newest| newest.uses() >= self.policy.verify_every)
    }
}
