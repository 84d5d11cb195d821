//! A store that stops its process at a chosen moment, to be killed there.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use journal_redb::RedbJournal;
use proxy_core::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, Position, StoreError,
    StoredRecord,
};

/// Says at which point, and the how manieth time: `after-append:3`.
pub(crate) const VARIABLE: &str = "RELIABILITY_FAILPOINT";

/// What a process says when it stops.
pub(crate) const STOPPED: &str = "stopped";

/// A moment at which the process stops by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Calls have run, and nothing of them is in the store.
    BeforeAppend,
    /// They are in the store, and nobody was answered.
    AfterAppend,
    /// The file of a durable checkpoint is there, and no list has it.
    BeforeTruncate,
    /// The records are dropped, and the proxy does not know.
    AfterTruncate,
}

impl Point {
    pub(crate) const ALL: [Self; 4] = [
        Self::BeforeAppend,
        Self::AfterAppend,
        Self::BeforeTruncate,
        Self::AfterTruncate,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BeforeAppend => "before-append",
            Self::AfterAppend => "after-append",
            Self::BeforeTruncate => "before-truncate",
            Self::AfterTruncate => "after-truncate",
        }
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|point| point.name() == text);
        found.ok_or_else(|| format!("no point `{text}`"))
    }
}

/// A journal whose process stops at a point.
#[derive(Debug)]
pub(crate) struct Stopping {
    store: Arc<RedbJournal>,
    point: Point,
    /// How many times it is still passed by.
    left: AtomicU32,
}

/// The journal, stopping where the variable says, if it is set.
pub(crate) fn around(store: Arc<RedbJournal>) -> Arc<dyn JournalStore> {
    let Ok(order) = std::env::var(VARIABLE) else {
        return store;
    };
    let (point, left) = order.split_once(':').expect("`point:times`");
    Arc::new(Stopping {
        store,
        point: point.parse().unwrap(),
        left: AtomicU32::new(left.parse().unwrap()),
    })
}

impl Stopping {
    fn reach(&self, point: Point) {
        if point != self.point || self.left.fetch_sub(1, Ordering::Relaxed) != 1 {
            return;
        }
        // Whoever holds the output holds it for a moment.
        let mut say = std::io::stdout().lock();
        let _ = writeln!(say, "{STOPPED} {}", point.name());
        let _ = say.flush();
        drop(say);
        loop {
            std::thread::park();
        }
    }
}

impl JournalStore for Stopping {
    fn id(&self) -> JournalId {
        self.store.id()
    }

    fn identity(&self) -> &Identity {
        self.store.identity()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.store.head()
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        self.reach(Point::BeforeAppend);
        let head = self.store.append(epoch, after, records, flush)?;
        self.reach(Point::AfterAppend);
        Ok(head)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.store.flush()
    }

    fn read_after(
        &self,
        position: Position,
        bytes: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.store.read_after(position, bytes)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.store.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        self.store.checkpoints()
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        self.reach(Point::BeforeTruncate);
        let head = self.store.truncate(epoch, checkpoints)?;
        self.reach(Point::AfterTruncate);
        Ok(head)
    }

    fn has_room(&self) -> Result<(), StoreError> {
        self.store.has_room()
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        self.store.checkpoint_folder()
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        self.store.bytes()
    }
}
