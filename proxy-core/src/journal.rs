//! The journal: the ordered record of calls that made the state, and the only truth about it.
//!
//! Only calls that returned are in it. Every generation is the result of applying a prefix of it to
//! a fresh instance, so preparing a standby, recovering from a trap and moving to another engine
//! are one operation. This journal lives in memory; the generations that apply its entries do not
//! care where they come from.

mod answered;
mod compaction;
mod cut;
mod digest;
mod entry;
mod positions;
pub(crate) mod record;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine_api::{FuncIndex, ModuleInfo};
use guest_calls::HandleMap;

use crate::durable_checkpoint::Notes;
use crate::{CallError, Error, Handle, HistoryBound, SequenceNumber};

pub(crate) use answered::{Answer, AnsweredCall, AnsweredCalls, hash_of_call};
pub use answered::{CALL_ID_BYTES_MAX, CallIdBound};
pub(crate) use compaction::{Weight, parted};
pub use cut::{Cut, CutKind};
pub use entry::Entry;
pub(crate) use entry::{GuestWrite, HostCall, ResultRecord};
pub(crate) use positions::Positions;
pub use record::{AnswerView, EntryView, HostCallView, RecordView, ResultView};

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
    /// The length at which calls wait for a fold. Without one no fold is to be expected.
    full_at: Option<HistoryBound>,
    /// Entries up to this one were dropped, because a checkpoint has taken their place. Zero if
    /// none were.
    base: SequenceNumber,
    /// The makers of the objects that were alive in that checkpoint.
    makers: BTreeMap<Handle, Maker>,
    /// Host calls of the first instantiation, which answer those of every later one.
    genesis: Genesis,
    /// The newest entries of the checkpoints.
    checkpoints: Vec<SequenceNumber>,
    /// The newest entry that the instance for the next checkpoint has applied.
    scratch: Option<SequenceNumber>,
    /// The entries whose divergence was settled.
    cuts: Vec<Cut>,
    /// The answers to calls with an id.
    answered: AnsweredCalls,
}

/// What the first instantiation asked of the host.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Genesis {
    pub(crate) host_calls: Vec<HostCall>,
    /// The module's imports: of what module, and their names. Host calls refer to them by position.
    pub(crate) imports: Box<[(Box<str>, Box<str>)]>,
}

impl Genesis {
    pub(crate) fn new(host_calls: Vec<HostCall>, info: &ModuleInfo) -> Self {
        let imports = info.imports().iter();
        let names =
            imports.map(|import| (import.module.as_str().into(), import.name.as_str().into()));
        Self {
            host_calls,
            imports: names.collect(),
        }
    }
}

/// What is known of an object whose entry a checkpoint has taken the place of.
#[derive(Clone, Debug)]
pub(crate) struct Maker {
    pub(crate) func: FuncIndex,
    pub(crate) export: Arc<str>,
    pub(crate) ty: Option<Arc<str>>,
}

impl Journal {
    pub(crate) fn new(look_at: HistoryBound, call_ids: CallIdBound) -> Self {
        Self {
            look_at,
            answered: AnsweredCalls::new(call_ids),
            ..Self::default()
        }
    }

    /// An empty journal with the same bounds.
    pub(crate) fn emptied(&self) -> Self {
        Self::new(self.look_at, self.answered.bound())
    }

    /// What an earlier process knew at some entry. If a checkpoint `is_base`, it has taken the place
    /// of the entries up to there, and the objects with makers are alive in it.
    pub(crate) fn resume(&mut self, notes: Notes, is_base: bool) {
        self.genesis = notes.genesis;
        self.cuts = notes.cuts;
        for (answered, at) in notes.answered {
            self.answered.keep(answered, at, None);
        }
        if is_base {
            self.base = notes.sequence;
            self.last = notes.sequence;
        }
        for (handle, maker) in notes.makers {
            self.objects.insert(handle, None);
            self.makers.insert(handle, maker);
            self.live += 1;
        }
    }

    /// The newest entry is this one or later, though it is no longer here.
    pub(crate) fn resume_after(&mut self, last: SequenceNumber) {
        self.last = self.last.max(last);
    }

    /// What is known besides entries, as of this entry.
    pub(crate) fn notes_at(&self, sequence: SequenceNumber) -> Notes {
        let makers = self.makers.iter();
        let answered = self.answered.iter();
        Notes {
            sequence,
            genesis: self.genesis.clone(),
            makers: makers
                .map(|(handle, maker)| (*handle, maker.clone()))
                .collect(),
            answered: answered
                .filter(|(_, at)| *at <= sequence)
                .map(|(answered, at)| (Arc::clone(answered), at))
                .collect(),
            cuts: self.cuts.clone(),
        }
    }

    /// The answers to calls with an id.
    pub(crate) fn answered(&self) -> &AnsweredCalls {
        &self.answered
    }

    pub(crate) fn answered_mut(&mut self) -> &mut AnsweredCalls {
        &mut self.answered
    }

    /// Sets the host calls of the first instantiation.
    pub(crate) fn set_genesis(&mut self, genesis: Genesis) {
        self.genesis = genesis;
    }

    pub(crate) fn genesis(&self) -> &[HostCall] {
        &self.genesis.host_calls
    }

    /// Sets the newest entries of the checkpoints. The journal keeps the entries that free objects
    /// which are alive in one of them.
    pub(crate) fn hold(&mut self, checkpoints: Vec<SequenceNumber>) {
        self.checkpoints = checkpoints;
    }

    /// The same for the instance of the next checkpoint.
    pub(crate) fn hold_scratch(&mut self, applied: Option<SequenceNumber>) {
        if applied.is_none() && self.scratch.is_some() {
            // A compaction meanwhile may have kept entries for it alone: the next has to look.
            self.frees_since_compaction = self.frees_since_compaction.max(1);
        }
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
        self.look_at.raise(self.entries.len(), self.bytes);
    }

    /// Whether it is so long that calls should wait for a fold.
    pub(crate) fn is_full(&self) -> bool {
        self.full_at
            .is_some_and(|length| length.is_reached(self.entries.len(), self.bytes))
    }

    /// From this length on calls wait for a fold, or none do. A length that was raised stays until the
    /// fold.
    pub(crate) fn fill_at(&mut self, length: Option<HistoryBound>) {
        self.full_at = length.map(|length| self.full_at.unwrap_or(length));
    }

    /// Calls have waited long enough. They wait again when the journal has doubled.
    pub(crate) fn make_room(&mut self) {
        if let Some(length) = &mut self.full_at {
            length.raise(self.entries.len(), self.bytes);
        }
    }

    /// A checkpoint has taken the place of the entries up to `base`, which were dropped.
    pub(crate) fn begin_at(&mut self, base: SequenceNumber, look_at: HistoryBound) {
        self.base = base;
        self.look_at = look_at;
        self.full_at = self.full_at.map(|_| look_at.doubled());
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
        self.put(entry)
    }

    /// Appends an entry of an earlier process. Entries that were undone there have left gaps.
    pub(crate) fn restore(&mut self, entry: Entry) -> &Arc<Entry> {
        debug_assert!(entry.sequence > self.last, "entries are in order");
        self.put(entry)
    }

    /// Drops the entries after `to`, whose callers got no answer, with all that they did to objects.
    /// Their numbers are not given out again. Returns them.
    pub(crate) fn roll_back(&mut self, to: SequenceNumber) -> Vec<Arc<Entry>> {
        let from = self.entries.partition_point(|entry| entry.sequence <= to);
        let gone = self.entries.split_off(from);
        for entry in gone.iter().rev() {
            for handle in &entry.frees {
                if let Some(freed_by) = self.objects.get_mut(handle)
                    && *freed_by == Some(entry.sequence)
                {
                    *freed_by = None;
                    self.live += 1;
                }
            }
            for (handle, _) in entry.creates() {
                if let Some(None) = self.objects.remove(&handle) {
                    self.live -= 1;
                }
            }
        }
        self.lose(Weight::of(&gone));
        self.answered.roll_back();
        gone
    }

    fn put(&mut self, entry: Entry) -> &Arc<Entry> {
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
