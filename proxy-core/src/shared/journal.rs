//! The journal as several threads use it.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use crate::SequenceNumber;
use crate::gate::{Gate, HeldBack};
use crate::generation::lock;
use crate::journal::Journal;

/// The journal, its lock, and what is known of it without the lock.
#[derive(Debug)]
pub(crate) struct SharedJournal {
    journal: Mutex<Journal>,
    /// Closed while journaled calls are held back.
    pub(crate) gate: Gate,
    pub(crate) size: JournalSize,
    /// The newest entry that the standby has applied; `u64::MAX` without a standby.
    standby_applied: AtomicU64,
    /// Whether objects were freed since upkeep last asked.
    objects_freed: AtomicBool,
}

/// The size of the journal, stored by whoever had it locked: four stores, and no lock to read them.
#[derive(Debug, Default)]
pub(crate) struct JournalSize {
    entries: AtomicUsize,
    last: AtomicU64,
    objects: AtomicUsize,
    took_ns: AtomicU64,
}

impl JournalSize {
    fn note(&self, journal: &Journal) {
        self.entries.store(journal.len(), Ordering::Relaxed);
        self.last.store(journal.last().0, Ordering::Relaxed);
        self.objects.store(journal.live_count(), Ordering::Relaxed);
        let took = u64::try_from(journal.took().as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.store(took, Ordering::Relaxed);
    }

    pub(crate) fn entries(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    pub(crate) fn last(&self) -> SequenceNumber {
        SequenceNumber(self.last.load(Ordering::Relaxed))
    }

    /// Live objects.
    pub(crate) fn objects(&self) -> usize {
        self.objects.load(Ordering::Relaxed)
    }

    /// How long the calls took that the journal has.
    pub(crate) fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns.load(Ordering::Relaxed))
    }
}

/// The journal, locked. Its size is noted when the lock is let go.
pub(crate) struct JournalGuard<'a> {
    journal: MutexGuard<'a, Journal>,
    size: &'a JournalSize,
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
        self.size.note(&self.journal);
    }
}

impl SharedJournal {
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal: Mutex::new(journal),
            gate: Gate::default(),
            size: JournalSize::default(),
            standby_applied: AtomicU64::new(u64::MAX),
            objects_freed: AtomicBool::new(false),
        }
    }

    pub(crate) fn lock(&self) -> JournalGuard<'_> {
        self.guard(lock(&self.journal))
    }

    pub(crate) fn try_lock(&self) -> Option<JournalGuard<'_>> {
        self.journal.try_lock().ok().map(|held| self.guard(held))
    }

    /// The journal, for upkeep. Callers who lock it again and again would let a mutex wait for long.
    pub(crate) fn lock_in_turn(&self) -> JournalGuard<'_> {
        match self.journal.try_lock() {
            Ok(journal) => self.guard(journal),
            Err(TryLockError::Poisoned(poisoned)) => self.guard(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                let _held = self.hold_back();
                self.lock()
            }
        }
    }

    fn guard<'a>(&'a self, journal: MutexGuard<'a, Journal>) -> JournalGuard<'a> {
        JournalGuard {
            journal,
            size: &self.size,
        }
    }

    /// Lets no further journaled call begin until the result is dropped.
    pub(crate) fn hold_back(&self) -> HeldBack<'_> {
        self.gate.close()
    }

    /// What the standby has applied: the journal keeps what it still needs.
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
