//! Which of a journal's entries have their object as bytes.
//!
//! The journal knows nothing of artifacts: an entry says what was called and what the call gave,
//! and a proxy keeps this table beside the journal. A row lives as long as its entry. The journal
//! refers to the entry, and so does the history of a checkpoint, which may hold it long after the
//! journal has compacted it away.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use super::identities::Identities;
use super::{ArtifactStore, CallKey, Content};
use crate::journal::Entry;
use crate::locking::lock;
use crate::{Divergence, Handle, SequenceNumber};

/// The artifacts of one journal's entries, and the keys of the objects that no later call changed.
#[derive(Debug)]
pub(crate) struct EntryArtifacts {
    store: ArtifactStore,
    /// Whether there ever was a row: without one there is nothing to look up, and nothing to lock.
    is_used: AtomicBool,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    by_entry: HashMap<SequenceNumber, (Weak<Entry>, Arc<EntryArtifact>)>,
    len_after_sweep: usize,
    identities: Identities,
}

impl EntryArtifacts {
    pub(crate) fn new(store: ArtifactStore) -> Self {
        Self {
            store,
            is_used: AtomicBool::new(false),
            rows: Mutex::default(),
        }
    }

    pub(crate) fn store(&self) -> &ArtifactStore {
        &self.store
    }

    /// Notes an entry that was just appended, with its artifact if it may have one. The caller must
    /// hold the lane from the call until here, because [`Self::identity`] describes the objects as
    /// they are now.
    pub(crate) fn note(&self, entry: &Arc<Entry>, artifact: Option<Arc<EntryArtifact>>) {
        if artifact.is_none() && !self.is_used() {
            return;
        }
        let mut rows = self.rows();
        rows.identities
            .note(entry, artifact.as_ref().and_then(|artifact| artifact.key));
        let Some(artifact) = artifact else { return };
        self.is_used.store(true, Ordering::Release);
        let row = (Arc::downgrade(entry), artifact);
        rows.by_entry.insert(entry.sequence(), row);
        if rows.by_entry.len() >= 2 * rows.len_after_sweep + 64 {
            drop(rows);
            self.sweep();
        }
    }

    /// The artifact of an entry, if it may have one.
    pub(crate) fn of(&self, entry: &Entry) -> Option<Arc<EntryArtifact>> {
        if !self.is_used() {
            return None;
        }
        let rows = self.rows();
        let row = rows.by_entry.get(&entry.sequence());
        row.map(|(_, artifact)| Arc::clone(artifact))
    }

    /// The key of the call that created an object, if the object is still as that call left it.
    pub(crate) fn identity(&self, handle: Handle) -> Option<CallKey> {
        if !self.is_used() {
            return None;
        }
        self.rows().identities.of(handle)
    }

    /// Drops the rows of entries that are gone. It is linear in the rows, so it runs after a
    /// compaction, before and after a replay, and when the rows have doubled.
    pub(crate) fn sweep(&self) {
        if !self.is_used() {
            return;
        }
        let mut rows = self.rows();
        // Contents are dropped after the lock is released: dropping one takes the store's lock.
        let dead: Vec<_> = rows
            .by_entry
            .extract_if(|_, (entry, _)| entry.strong_count() == 0)
            .collect();
        rows.len_after_sweep = rows.by_entry.len();
        // The capacity that a burst took is given back.
        if rows.by_entry.capacity() > 8 * rows.len_after_sweep + 512 {
            rows.by_entry.shrink_to_fit();
        }
        drop(rows);
        drop(dead);
    }

    fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Acquire)
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        lock(&self.rows)
    }

    #[cfg(test)]
    pub(crate) fn rows_len(&self) -> usize {
        self.rows().by_entry.len()
    }
}

/// The bytes of an object, as far as they are known. Only calls of exports with an artifact have
/// one.
#[derive(Debug)]
pub(crate) struct EntryArtifact {
    store: ArtifactStore,
    /// The call's key; `None` if no other call may have its object.
    key: Option<CallKey>,
    content: OnceLock<Option<Arc<Content>>>,
    refused: AtomicBool,
    news: Mutex<Option<News>>,
}

/// What a replay has found out about an artifact.
#[derive(Debug)]
pub(crate) enum News {
    /// A replay has exported the object.
    Exported,
    /// A replay made a different object from the bytes than the call did.
    Refused(Divergence),
    /// A replay failed when it exported the object.
    NotExported(Divergence),
}

impl EntryArtifact {
    /// An artifact that has not been exported or found yet.
    pub(crate) fn open(store: &ArtifactStore, key: Option<CallKey>) -> Arc<Self> {
        Arc::new(Self {
            store: store.clone(),
            key,
            content: OnceLock::new(),
            refused: AtomicBool::new(false),
            news: Mutex::default(),
        })
    }

    /// The call's key, if other calls may have the same object.
    pub(crate) fn key(&self) -> Option<CallKey> {
        self.key
    }

    /// The bytes, if there are any and nothing has refused them.
    pub(crate) fn usable(&self) -> Option<&Arc<Content>> {
        let refused = self.refused.load(Ordering::Acquire);
        self.content().filter(|_| !refused)
    }

    /// The bytes, refused or not.
    pub(crate) fn content(&self) -> Option<&Arc<Content>> {
        self.content.get()?.as_ref()
    }

    /// Whether it has not been filled yet.
    pub(crate) fn is_open(&self) -> bool {
        self.content.get().is_none()
    }

    /// Fills it for good, with bytes that were exported or with the knowledge that there are none.
    pub(crate) fn fill(&self, bytes: Option<Vec<u8>>) {
        let content = bytes
            .map(|bytes| self.store.intern(bytes))
            .filter(|content| {
                !self
                    .key
                    .is_some_and(|key| self.store.is_refused(key, content))
            });
        let is_news = content.is_some();
        if self.content.set(content).is_ok() && is_news {
            self.tell(News::Exported);
        }
    }

    /// Fills it with what the store has.
    pub(crate) fn supply(&self, content: Arc<Content>) {
        // If another thread was first, its bytes are as good.
        let _ = self.content.set(Some(content));
    }

    /// The bytes made a different object than the call did: replay does without them.
    pub(crate) fn refuse(&self, divergence: Divergence) {
        self.refused.store(true, Ordering::Release);
        self.tell(News::Refused(divergence));
    }

    /// The guest did not survive the export.
    pub(crate) fn fail(&self, divergence: Divergence) {
        self.give_up();
        self.tell(News::NotExported(divergence));
    }

    /// Whether an import of the bytes, or the export, has ended a replay.
    pub(crate) fn has_failed(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Replay neither uses its bytes nor asks for any.
    pub(crate) fn give_up(&self) {
        let _ = self.content.set(None);
        self.refused.store(true, Ordering::Release);
    }

    /// The last news of it, told once.
    pub(crate) fn take_news(&self) -> Option<News> {
        lock(&self.news).take()
    }

    fn tell(&self, news: News) {
        *lock(&self.news) = Some(news);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, testing};

    /// Creates an object whose bytes are the number of its entry, and returns it with its entry.
    fn create(journal: &mut Journal, artifacts: &EntryArtifacts) -> (Handle, Arc<Entry>) {
        let entry = testing::create(journal, &[]);
        let artifact = EntryArtifact::open(artifacts.store(), None);
        artifact.fill(Some(entry.sequence().0.to_le_bytes().to_vec()));
        artifacts.note(&entry, Some(artifact));
        let (handle, _) = entry.creates().next().unwrap();
        (handle, entry)
    }

    #[test]
    fn rows_go_with_the_entries_that_compaction_drops() {
        let artifacts = EntryArtifacts::new(ArtifactStore::memory());
        let mut journal = Journal::default();
        let (_kept, _) = create(&mut journal, &artifacts);
        for _ in 0..10_000 {
            let (handle, _) = create(&mut journal, &artifacts);
            testing::free(&mut journal, handle);
            if journal.is_compaction_due() {
                journal.compact(SequenceNumber(u64::MAX));
                artifacts.sweep();
                assert_eq!(artifacts.rows_len(), 1);
            }
            assert!(artifacts.rows_len() <= 128, "{} rows", artifacts.rows_len());
        }
        journal.compact(SequenceNumber(u64::MAX));
        artifacts.sweep();
        assert_eq!(artifacts.rows_len(), 1);
        assert_eq!(artifacts.store().usage().contents, 1);
    }

    #[test]
    fn rows_stay_bounded_though_nobody_sweeps() {
        let artifacts = EntryArtifacts::new(ArtifactStore::memory());
        let mut journal = Journal::default();
        for _ in 0..10_000 {
            let (handle, _) = create(&mut journal, &artifacts);
            testing::free(&mut journal, handle);
            if journal.is_compaction_due() {
                journal.compact(SequenceNumber(u64::MAX));
            }
            // What the journal may have, twice, and the 64 that are never looked at.
            assert!(
                artifacts.rows_len() <= 3 * 64,
                "{} rows",
                artifacts.rows_len()
            );
        }
    }

    #[test]
    fn an_entry_that_something_else_refers_to_keeps_its_row() {
        let artifacts = EntryArtifacts::new(ArtifactStore::memory());
        let mut journal = Journal::default();
        let (handle, held) = create(&mut journal, &artifacts);
        testing::free(&mut journal, handle);
        assert_eq!(journal.compact(SequenceNumber(u64::MAX)), 2);
        artifacts.sweep();
        assert!(
            artifacts
                .of(&held)
                .is_some_and(|artifact| artifact.usable().is_some())
        );
        drop(held);
        artifacts.sweep();
        assert_eq!(
            (artifacts.rows_len(), artifacts.store().usage().contents),
            (0, 0)
        );
    }

    #[test]
    fn an_object_that_was_changed_is_no_longer_what_its_call_made() {
        let artifacts = EntryArtifacts::new(ArtifactStore::memory());
        let mut journal = Journal::default();
        let key = CallKey([7; 32]);
        let [one, other] = [0, 1].map(|_| {
            let entry = testing::create(&mut journal, &[]);
            let artifact = EntryArtifact::open(artifacts.store(), Some(key));
            artifacts.note(&entry, Some(artifact));
            entry.creates().next().unwrap().0
        });
        assert_eq!(artifacts.identity(one), Some(key));
        artifacts.note(&testing::mutate(&mut journal, &[one, other], vec![0]), None);
        assert_eq!(artifacts.identity(one), None);
        assert_eq!(artifacts.identity(other), Some(key));
        artifacts.note(&testing::change_all(&mut journal, &[]), None);
        assert_eq!(artifacts.identity(other), None);
    }
}
