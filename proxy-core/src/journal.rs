//! The journal: the ordered record of calls that made the state, and the only truth about it.
//!
//! Only calls that returned are in it. Every generation is the result of applying a prefix of it to
//! a fresh instance, so preparing a standby, recovering from a trap and moving to another engine
//! are one operation. This journal lives in memory; the generations that apply its entries do not
//! care where they come from.

mod compaction;
mod cut;
mod digest;
mod entry;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_api::FuncIndex;
use guest_calls::HandleMap;

use crate::{CallError, Error, Handle, HistoryBound, SequenceNumber};

pub(crate) use compaction::{Weight, parted};
pub use cut::{Cut, CutKind};
pub use entry::Entry;
pub(crate) use entry::{GuestWrite, HostCall, ResultRecord};

/// The journal of one proxy.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Ordered by sequence number; compaction leaves gaps.
    entries: Vec<Arc<Entry>>,
    /// The objects that entries created, and by which entry they were freed.
    objects: HandleMap<Option<SequenceNumber>>,
    last: SequenceNumber,
    live: usize,
    frees_since_compaction: usize,
    frees_since_look: usize,
    /// How many entries the last compaction left.
    len_after_compaction: usize,
    took: Duration,
    /// What the entries take in memory.
    bytes: u64,
    /// The length at which upkeep looks at the journal.
    look_at: HistoryBound,
    /// Entries up to this one were dropped, because a checkpoint has taken their place. Zero if
    /// none were.
    base: SequenceNumber,
    /// The makers of the objects that were alive in that checkpoint.
    makers: BTreeMap<Handle, Maker>,
    /// Host calls of the first instantiation, which answer those of every later one.
    genesis: Vec<HostCall>,
    /// The newest entries of the checkpoints.
    checkpoints: Vec<SequenceNumber>,
    /// The newest entry that the instance for the next checkpoint has applied.
    scratch: Option<SequenceNumber>,
    /// The entries whose divergence was settled.
    cuts: Vec<Cut>,
}

/// What is known of an object whose entry a checkpoint has taken the place of.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) func: FuncIndex,
    pub(crate) export: Arc<str>,
    pub(crate) ty: Option<Arc<str>>,
}

impl Journal {
    pub(crate) fn new(genesis: Vec<HostCall>, look_at: HistoryBound) -> Self {
        Self {
            look_at,
            genesis,
            ..Self::default()
        }
    }

    pub(crate) fn genesis(&self) -> &[HostCall] {
        &self.genesis
    }

    /// Sets the newest entries of the checkpoints. The journal keeps the entries that free objects
    /// which are alive in one of them.
    pub(crate) fn hold(&mut self, checkpoints: Vec<SequenceNumber>) {
        self.checkpoints = checkpoints;
    }

    /// The same for the instance of the next checkpoint.
    pub(crate) fn hold_scratch(&mut self, applied: Option<SequenceNumber>) {
        self.scratch = applied;
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How long the calls of all entries took together: about as long as it takes to replay them.
    pub(crate) fn took(&self) -> Duration {
        self.took
    }

    /// What the entries take in memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The entry up to which a checkpoint has taken the place of all others.
    pub(crate) fn base(&self) -> SequenceNumber {
        self.base
    }

    /// Whether it is so long that upkeep should look at it.
    pub(crate) fn is_long(&self) -> bool {
        self.look_at.is_reached(self.entries.len(), self.bytes)
    }

    /// Upkeep has looked, and wants to know again when the journal has doubled.
    pub(crate) fn look_again_when_doubled(&mut self) {
        if self.entries.len() >= self.look_at.entries {
            self.look_at.entries = self.entries.len().saturating_mul(2).max(1);
        }
        if self.bytes >= self.look_at.bytes {
            self.look_at.bytes = self.bytes.saturating_mul(2).max(1);
        }
    }

    /// A checkpoint has taken the place of the entries up to `base`, which were dropped.
    pub(crate) fn begin_at(&mut self, base: SequenceNumber, look_at: HistoryBound) {
        self.base = base;
        self.look_at = look_at;
    }

    /// The sequence number of the newest entry, compacted away or not.
    pub(crate) fn last(&self) -> SequenceNumber {
        self.last
    }

    /// The number that the next entry gets.
    pub(crate) fn next(&self) -> SequenceNumber {
        self.last.next()
    }

    /// Up to `count` entries after `sequence`, in order.
    pub(crate) fn after(&self, sequence: SequenceNumber, count: usize) -> Vec<Arc<Entry>> {
        let from = self
            .entries
            .partition_point(|entry| entry.sequence <= sequence);
        self.entries[from..].iter().take(count).cloned().collect()
    }

    /// The entry of a call, unless it was compacted away.
    pub(crate) fn entry(&self, sequence: SequenceNumber) -> Option<Arc<Entry>> {
        let position = self
            .entries
            .binary_search_by_key(&sequence, |entry| entry.sequence);
        position
            .ok()
            .map(|position| Arc::clone(&self.entries[position]))
    }

    /// How many entries there are after `sequence`.
    pub(crate) fn count_after(&self, sequence: SequenceNumber) -> usize {
        self.entries.len()
            - self
                .entries
                .partition_point(|entry| entry.sequence <= sequence)
    }

    /// Appends an entry, and returns it as the journal has it.
    pub(crate) fn append(&mut self, entry: Entry) -> &Arc<Entry> {
        assert_eq!(entry.sequence, self.next(), "entries are appended in order");
        self.last = entry.sequence;
        for (handle, _) in entry.creates() {
            self.objects.insert(handle, None);
            self.live += 1;
        }
        for handle in &entry.frees {
            if let Some(freed_by @ None) = self.objects.get_mut(handle) {
                *freed_by = Some(entry.sequence);
                self.live -= 1;
                self.frees_since_compaction += 1;
                self.frees_since_look += 1;
            }
        }
        self.took += entry.took;
        self.bytes += entry.bytes();
        self.entries.push_mut(Arc::new(entry))
    }

    /// The makers of the objects that were alive in the checkpoint that has taken the place of older
    /// entries, in the order of creation. Some may have been freed since.
    pub(crate) fn makers(&self) -> &BTreeMap<Handle, Maker> {
        &self.makers
    }

    /// The export that made an object, if that is still known.
    pub(crate) fn maker(&self, object: Handle) -> Option<(FuncIndex, Arc<str>)> {
        if let Some(maker) = self.makers.get(&object) {
            return Some((maker.func, Arc::clone(&maker.export)));
        }
        let entry = self.entry(object.sequence())?;
        let made = entry.creates().any(|(made, _)| made == object);
        made.then(|| (entry.func, Arc::clone(&entry.export)))
    }

    /// Why a handle that a generation does not know cannot be used. All handles of this proxy come
    /// from its calls, so the object is either alive on a younger generation or freed, perhaps so
    /// long ago that the journal forgot it.
    pub(crate) fn handle_error(&self, handle: Handle) -> Error {
        if self.is_live(handle) {
            Error::UnknownHandle { handle }
        } else {
            CallError::FreedHandle { handle }.into()
        }
    }

    /// Whether an object is alive.
    pub(crate) fn is_live(&self, handle: Handle) -> bool {
        self.objects.get(&handle).is_some_and(Option::is_none)
    }

    /// How many objects are alive.
    pub(crate) fn live_count(&self) -> usize {
        self.live
    }

    /// Whether a compaction is due: the journal has doubled since the last one. Its cost is
    /// constant per entry then, and the journal at most about twice as long as needed.
    pub(crate) fn is_compaction_due(&self) -> bool {
        self.frees_since_compaction > 0 && self.entries.len() >= 2 * self.len_after_compaction + 64
    }
}
