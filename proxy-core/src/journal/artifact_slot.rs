//! Where an entry has its object's bytes.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::artifact_store::{ArtifactStore, CallKey, Content};

/// Where the bytes of a created object are kept. Only calls that have an artifact have such a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArtifactSlot(Option<Arc<Slot>>);

#[derive(Debug)]
struct Slot {
    store: ArtifactStore,
    /// What the call is; `None` where its object must not be taken for another call's.
    key: Option<CallKey>,
    content: OnceLock<Option<Arc<Content>>>,
    refused: AtomicBool,
    news: AtomicU8,
}

/// What has become of a slot since it was last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// A replay has exported the object.
    Exported = 1,
    /// What a replay made from the bytes is not what the call gave.
    Refused = 2,
    /// A replay ended when it exported the object.
    NotExported = 3,
}

impl ArtifactSlot {
    /// A place that waits to be filled.
    pub(crate) fn open(store: &ArtifactStore, key: Option<CallKey>) -> Self {
        Self(Some(Arc::new(Slot {
            store: store.clone(),
            key,
            content: OnceLock::new(),
            refused: AtomicBool::new(false),
            news: AtomicU8::new(0),
        })))
    }

    /// Whether there is such a place.
    pub(crate) fn is_there(&self) -> bool {
        self.0.is_some()
    }

    /// What the call is, if other calls may have the same object.
    pub(crate) fn key(&self) -> Option<CallKey> {
        self.0.as_ref()?.key
    }

    /// The bytes, if there are any that are good.
    pub(crate) fn get(&self) -> Option<&[u8]> {
        let slot = self.0.as_ref()?;
        let refused = slot.refused.load(Ordering::Acquire);
        self.content()
            .filter(|_| !refused)
            .map(|content| content.bytes())
    }

    /// The bytes, good or not.
    pub(crate) fn content(&self) -> Option<&Arc<Content>> {
        self.0.as_ref()?.content.get()?.as_ref()
    }

    /// Whether nobody has tried to fill it.
    pub(crate) fn is_open(&self) -> bool {
        let slot = self.0.as_ref();
        slot.is_some_and(|slot| slot.content.get().is_none())
    }

    /// Fills it, for good: with bytes that were exported, or with the knowledge that there are none.
    pub(crate) fn fill(&self, bytes: Option<Vec<u8>>) {
        if let Some(slot) = &self.0 {
            let content = bytes
                .map(|bytes| slot.store.intern(bytes))
                .filter(|content| {
                    !slot
                        .key
                        .is_some_and(|key| slot.store.is_refused(key, content))
                });
            let is_news = content.is_some();
            if slot.content.set(content).is_ok() && is_news {
                slot.news.store(News::Exported as u8, Ordering::Release);
            }
        }
    }

    /// Fills it with what the store has.
    pub(crate) fn supply(&self, content: Arc<Content>) {
        if let Some(slot) = &self.0 {
            // Whoever was first has filled it with bytes that are as good.
            let _ = slot.content.set(Some(content));
        }
    }

    /// The object that was made from the bytes is not the one that was: replay does without them.
    pub(crate) fn refuse(&self) {
        if let Some(slot) = &self.0 {
            slot.refused.store(true, Ordering::Release);
            slot.news.store(News::Refused as u8, Ordering::Release);
        }
    }

    /// The guest did not survive the export.
    pub(crate) fn fail(&self) {
        if let Some(slot) = &self.0 {
            let _ = slot.content.set(None);
            slot.refused.store(true, Ordering::Release);
            slot.news.store(News::NotExported as u8, Ordering::Release);
        }
    }

    /// Whether an import of the bytes, or the export, has ended a replay.
    pub(crate) fn has_failed(&self) -> bool {
        let slot = self.0.as_ref();
        slot.is_some_and(|slot| slot.refused.load(Ordering::Acquire))
    }

    /// Replay does without bytes, good or not, and asks for none.
    pub(crate) fn give_up(&self) {
        if let Some(slot) = &self.0 {
            let _ = slot.content.set(None);
            slot.refused.store(true, Ordering::Release);
        }
    }

    /// What has become of it; told once.
    pub(crate) fn take_news(&self) -> Option<News> {
        match self.0.as_ref()?.news.swap(0, Ordering::AcqRel) {
            1 => Some(News::Exported),
            2 => Some(News::Refused),
            3 => Some(News::NotExported),
            _ => None,
        }
    }
}
