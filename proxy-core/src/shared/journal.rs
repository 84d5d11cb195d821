//! The journal as several threads use it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::gate::HeldBack;
use crate::journal::{Journal, Weight, parted};
use crate::locking::lock;
use crate::turns::{SwapTurn, Turn, Turns};
use crate::{Entry, HistoryBound, SequenceNumber};

/// The journal, the turn to change the state, and the facts about both that are read without a
/// lock.
///
/// The lock of the journal itself is held for moments only. A turn lasts longer ([`Turns`]).
#[derive(Debug)]
pub(crate) struct SharedJournal {
    journal: Mutex<Journal>,
    turns: Turns,
    pub(crate) size: JournalSize,
    /// The newest entry that the standby has applied; `u64::MAX` without a standby.
    standby_applied: AtomicU64,
    /// Whether objects were freed since upkeep last asked.
    objects_freed: AtomicBool,
    /// The newest entry in the store; `u64::MAX` without one. Later ones may have to be undone, so
    /// compaction lets them be.
    durable: Arc<AtomicU64>,
    /// Where calls wait while the journal is full.
    has_room: Condvar,
}

/// The size of the journal, stored when its lock is let go: a few stores, and no lock to read them.
#[derive(Debug, Default)]
pub(crate) struct JournalSize {
    entries: AtomicUsize,
    last: AtomicU64,
    objects: AtomicUsize,
    took_ns: AtomicU64,
    is_compaction_due: AtomicBool,
    bytes: AtomicU64,
    is_long: AtomicBool,
    is_full: AtomicBool,
    /// How often the lock was held.
    #[cfg(test)]
    holds: AtomicUsize,
}

/// How many entries are looked at or forgotten in one hold of the lock.
const SLICE: usize = 256;

impl JournalSize {
    fn note(&self, journal: &Journal) {
        self.entries.store(journal.len(), Ordering::Relaxed);
        self.last.store(journal.last().0, Ordering::Relaxed);
        self.objects.store(journal.live_count(), Ordering::Relaxed);
        let took = u64::try_from(journal.took().as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.store(took, Ordering::Relaxed);
        let is_due = journal.is_compaction_due();
        self.is_compaction_due.store(is_due, Ordering::Relaxed);
        self.bytes.store(journal.bytes(), Ordering::Relaxed);
        self.is_long.store(journal.is_long(), Ordering::Relaxed);
        self.is_full.store(journal.is_full(), Ordering::Relaxed);
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn last(&self) -> SequenceNumber {
        SequenceNumber(self.last.load(Ordering::Relaxed))
    }

    /// Whether the journal has doubled since it was last compacted.
    pub(crate) fn is_compaction_due(&self) -> bool {
        self.is_compaction_due.load(Ordering::Relaxed)
    }

    /// What the entries take in memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the journal is so long that upkeep should look at it.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }

    /// Whether it is so long that calls should wait for a fold. One load.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Live objects.
    pub(crate) fn objects(&self) -> usize {
        self.objects.load(Ordering::Relaxed)
    }

    /// How long the calls in the journal took together.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns.load(Ordering::Relaxed))
    }
}

/// The journal, locked. Its size is noted when the lock is let go, and calls that wait for room go on
/// if there is some.
pub(crate) struct JournalGuard<'a> {
    journal: MutexGuard<'a, Journal>,
    size: &'a JournalSize,
    has_room: &'a Condvar,
}

impl Deref for JournalGuard<'_> {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        &self.journal
    }
}

impl DerefMut for JournalGuard<'_> {
    fn deref_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

impl Drop for JournalGuard<'_> {
    fn drop(&mut self) {
        let was_full = self.size.is_full();
        self.size.note(&self.journal);
        if was_full && !self.size.is_full() {
            self.has_room.notify_all();
        }
        #[cfg(test)]
        self.size.holds.fetch_add(1, Ordering::Relaxed);
    }
}

impl SharedJournal {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal: Mutex::new(journal),
            turns: Turns::default(),
            size: JournalSize::default(),
            standby_applied: AtomicU64::new(u64::MAX),
            objects_freed: AtomicBool::new(false),
            durable: Arc::new(AtomicU64::new(u64::MAX)),
            has_room: Condvar::new(),
        }
    }

    /// Where the newest entry in the store is noted.
    pub(crate) fn durable_note(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.durable)
    }

    pub(crate) fn note_durable(&self, durable: SequenceNumber) {
        self.durable.store(durable.0, Ordering::Release);
    }

    /// The newest entry in the store, or the largest number without a store.
    pub(crate) fn durable(&self) -> SequenceNumber {
        SequenceNumber(self.durable.load(Ordering::Acquire))
    }

    pub(crate) fn lock(&self) -> JournalGuard<'_> {
        JournalGuard {
            journal: lock(&self.journal),
            size: &self.size,
            has_room: &self.has_room,
        }
    }

    /// From this length on calls wait for a fold, or none do. See [`Journal::fill_at`].
    pub(crate) fn fill_at(&self, length: Option<HistoryBound>) {
        self.lock().fill_at(length);
    }

    /// Waits until the journal is full no more. If that takes longer than `bound`, it may double
    /// before calls wait again.
    pub(crate) fn wait_for_room(&self, bound: Duration) {
        let journal = lock(&self.journal);
        let (journal, timeout) = self
            .has_room
            .wait_timeout_while(journal, bound, |journal| journal.is_full())
            .unwrap_or_else(PoisonError::into_inner);
        drop(journal);
        if timeout.timed_out() {
            self.lock().make_room();
        }
    }

    /// See [`Turns::try_turn`].
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        self.turns.try_turn()
    }

    /// See [`Turns::wait_at_gate`].
    pub(crate) fn wait_at_gate(&self) {
        self.turns.wait_at_gate();
    }

    /// See [`Turns::turn_for_swap`].
    pub(crate) fn turn_for_swap(&self) -> SwapTurn<'_> {
        self.turns.turn_for_swap()
    }

    /// All entries, as they were at one moment: copied in slices, between which callers append.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        let last = self.lock().last();
        let mut entries = Vec::with_capacity(self.size.entries());
        self.copy_between(SequenceNumber::ZERO, last, &mut entries);
        entries
    }

    /// The same for those after one, up to another.
    pub(crate) fn entries_between(
        &self,
        after: SequenceNumber,
        last: SequenceNumber,
    ) -> Vec<Arc<Entry>> {
        let mut entries = Vec::new();
        self.copy_between(after, last, &mut entries);
        entries
    }

    fn copy_between(
        &self,
        after: SequenceNumber,
        last: SequenceNumber,
        entries: &mut Vec<Arc<Entry>>,
    ) {
        loop {
            let slice = self.lock().after(newest(entries).max(after), SLICE);
            let before = entries.len();
            entries.extend(slice.into_iter().filter(|entry| entry.sequence <= last));
            if entries.len() < before + SLICE {
                return;
            }
        }
    }

    /// The entries that would be left if there were no checkpoints and no standby, and the newest
    /// entry that was considered.
    pub(crate) fn live_entries(&self) -> (Vec<Arc<Entry>>, SequenceNumber) {
        let entries = self.entries();
        let last = newest(&entries);
        let base = self.lock().base();
        (parted(entries, &[], base).0, last)
    }

    /// Whether more than half of the entries are kept only for checkpoints, which know objects that
    /// have been freed since.
    pub(crate) fn is_held_by_the_dead(&self) -> bool {
        let (horizons, base) = {
            let mut journal = self.lock();
            if !journal.is_look_due() {
                return false;
            }
            (journal.horizons(SequenceNumber(u64::MAX)), journal.base())
        };
        let entries = self.entries();
        let (live, _) = parted(entries.clone(), &[], base);
        2 * live.len() < parted(entries, &horizons, base).0.len()
    }

    /// Drops the entries that no live object needs, and returns how many, and how many are left.
    /// The journal is locked for moments, however long it is. Only upkeep does this, with its state
    /// locked: a replay would miss entries that are dropped meanwhile.
    pub(crate) fn compact(&self, standby: SequenceNumber) -> (usize, usize) {
        let (horizons, base) = {
            let mut journal = self.lock();
            journal.begin_compaction();
            (journal.horizons(standby), journal.base())
        };
        let durable = self.durable();
        let mut entries = self.entries();
        entries.truncate(entries.partition_point(|entry| entry.sequence <= durable));
        let last = newest(&entries);
        let (kept, gone) = parted(entries, &horizons, base);
        let weight = Weight::of(&gone);
        // The old entries are dropped after the lock is released.
        let before = self.lock().replace_up_to(last, kept, weight);
        for slice in gone.chunks(SLICE) {
            self.lock().forget_objects(slice);
        }
        drop(before);
        (gone.len(), self.size.entries())
    }

    /// Drops all entries up to `base`, because a checkpoint has taken their place, and returns how
    /// many. Upkeep looks at the journal again at `look_at`. Locked and called as
    /// [`SharedJournal::compact`].
    pub(crate) fn fold(&self, base: SequenceNumber, look_at: HistoryBound) -> usize {
        let mut gone = self.entries();
        gone.truncate(gone.partition_point(|entry| entry.sequence <= base));
        let weight = Weight::of(&gone);
        for slice in gone.chunks(SLICE) {
            self.lock().forget_freed(slice);
        }
        let before = {
            let mut journal = self.lock();
            journal.begin_at(base, look_at);
            journal.replace_up_to(base, Vec::new(), weight)
        };
        drop(before);
        gone.len()
    }

    /// Whether something that came and went after `horizon` may be dropped.
    pub(crate) fn has_passing(&self, horizon: SequenceNumber) -> bool {
        self.lock().has_passing(horizon)
    }

    /// See [`Turns::hold_back`].
    pub(crate) fn hold_back(&self) -> HeldBack<'_> {
        self.turns.hold_back()
    }

    /// Notes what the standby has applied. The journal keeps what it still needs.
    pub(crate) fn note_applied(&self, applied: SequenceNumber) {
        self.standby_applied.store(applied.0, Ordering::Release);
    }

    /// There is no standby.
    pub(crate) fn forget_applied(&self) {
        self.note_applied(SequenceNumber(u64::MAX));
    }

    pub(crate) fn standby_applied(&self) -> SequenceNumber {
        SequenceNumber(self.standby_applied.load(Ordering::Acquire))
    }

    pub(crate) fn note_freed(&self) {
        self.objects_freed.store(true, Ordering::Relaxed);
    }

    /// Whether objects were freed since this was last asked.
    pub(crate) fn take_freed(&self) -> bool {
        self.objects_freed.swap(false, Ordering::Relaxed)
    }
}

/// The last of these.
fn newest(entries: &[Arc<Entry>]) -> SequenceNumber {
    entries
        .last()
        .map_or(SequenceNumber::ZERO, |entry| entry.sequence)
}

#[cfg(test)]
mod tests {
    use smallvec::smallvec;

    use super::*;
    use crate::Handle;
    use crate::journal::{ResultRecord, testing};
    use crate::policy::plan::Changes;

    fn append(journal: &mut Journal, frees: Option<Handle>) -> Handle {
        let mut entry = testing::entry(journal, &[], &[], Changes::Handles(vec![]));
        let handle = Handle::new(entry.sequence, 0, 0);
        entry.results = smallvec![ResultRecord::Object(handle, None)];
        entry.frees = frees.into_iter().collect();
        journal.append(entry);
        handle
    }

    #[test]
    fn a_long_journal_is_compacted_in_many_short_holds_of_its_lock() {
        const ENTRIES: usize = 100_000;
        let shared = SharedJournal::new(Journal::default());
        let mut last = None;
        for _ in 0..ENTRIES {
            last = Some(append(&mut shared.lock(), last));
        }
        let before = shared.size.holds.load(Ordering::Relaxed);
        // All but the newest object are freed, and each entry frees the one before.
        let (gone, left) = shared.compact(SequenceNumber(u64::MAX));
        let holds = shared.size.holds.load(Ordering::Relaxed) - before;
        assert_eq!((gone, left), (ENTRIES - 1, 1));
        assert!(holds >= 2 * ENTRIES / SLICE, "{holds}");
        assert_eq!(shared.lock().live_count(), 1);
    }

    #[test]
    fn what_is_appended_during_a_compaction_stays() {
        let shared = SharedJournal::new(Journal::default());
        let first = append(&mut shared.lock(), None);
        let live = append(&mut shared.lock(), Some(first));
        let planned = shared.entries();
        let (kept, gone) = parted(planned, &[], SequenceNumber::ZERO);
        let late = append(&mut shared.lock(), Some(live));
        let mut journal = shared.lock();
        journal.replace_up_to(live.sequence(), kept, Weight::default());
        journal.forget_objects(&gone);
        assert_eq!((gone.len(), journal.len()), (1, 2));
        assert!(journal.is_live(late) && !journal.is_live(live));
    }

    #[test]
    fn what_was_kept_for_an_instance_aside_goes_after_it() {
        let shared = SharedJournal::new(Journal::default());
        let first = append(&mut shared.lock(), None);
        shared.lock().hold_scratch(Some(first.sequence()));
        let second = append(&mut shared.lock(), Some(first));
        append(&mut shared.lock(), Some(second));
        shared.compact(SequenceNumber(u64::MAX));
        let kept = shared.size.entries();
        shared.lock().hold_scratch(None);
        assert!(shared.has_passing(SequenceNumber::ZERO));
        let (gone, left) = shared.compact(SequenceNumber(u64::MAX));
        assert!(gone > 0 && left < kept, "{gone} of {kept}");
    }
}
