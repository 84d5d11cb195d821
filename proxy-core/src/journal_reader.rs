//! A journal in a store, looked at without its module: what the tools of an operator need.

use std::path::Path;
use std::vec;

use engine_api::ModuleHash;
use guest_calls::new_handle_tag;

use crate::durable_checkpoint::look_at;
use crate::journal_store::{CheckpointRef, Head, JournalStore, Position, StoredRecord};
use crate::{Error, RecordView, SequenceNumber};

/// How many bytes of records are read at once.
const READ_BYTES: usize = 1 << 20;

/// Reads what a journal has. It writes nothing, and needs neither the module nor the policy.
///
/// ```
/// use proxy_core::{Identity, JournalReader, MemoryJournal, Policy};
///
/// # fn main() -> Result<(), proxy_core::Error> {
/// let journal = MemoryJournal::new(Identity::of(b"a module", &Policy::default())?);
/// let reader = JournalReader::new(&journal)?;
/// assert_eq!(reader.subject().format, 1);
/// assert_eq!(reader.records()?.count(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct JournalReader<'a> {
    store: &'a dyn JournalStore,
    subject: JournalSubject,
    head: Head,
    tag: u32,
}

/// What a journal was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JournalSubject {
    /// Of the module's binary form.
    pub module: ModuleHash,
    /// The version of the records.
    pub format: u32,
    /// A hash of the policy.
    pub policy: [u8; 32],
}

/// A record with its place.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReadRecord {
    /// Its place.
    pub position: Position,
    /// The chain's hash there.
    pub hash: [u8; 32],
    /// Its length in bytes.
    pub bytes: usize,
    /// What it says.
    pub record: RecordView,
}

/// A durable checkpoint of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointView {
    /// As the journal names it.
    pub reference: CheckpointRef,
    /// What is in the file, or what is wrong with it, in words.
    pub content: Result<CheckpointContent, String>,
}

/// The content of a durable checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointContent {
    /// The newest entry in it.
    pub sequence: SequenceNumber,
    /// How many objects are alive in a state; none are listed for entries, which make them.
    pub objects: usize,
    /// How many answers to calls with an id it has.
    pub answers: usize,
    /// From what the state is made again.
    pub kind: CheckpointKind,
}

/// From what a durable checkpoint makes the state again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckpointKind {
    /// A state.
    State {
        /// Of the module's binary form.
        module: ModuleHash,
        /// The size of its memories, in bytes.
        memory_bytes: u64,
    },
    /// The entries that live objects need.
    Entries {
        /// How many.
        entries: usize,
    },
}

impl CheckpointContent {
    /// Reads a file of a durable checkpoint from its beginning to its end, and checks its hashes.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words.
    pub fn read(path: &Path) -> Result<Self, String> {
        look_at(path)
    }
}

impl<'a> JournalReader<'a> {
    /// Looks at a journal.
    ///
    /// # Errors
    ///
    /// [`Error::OtherJournal`] if no proxy made it, or a newer release did;
    /// [`Error::JournalStore`].
    pub fn new(store: &'a dyn JournalStore) -> Result<Self, Error> {
        Ok(Self {
            store,
            subject: store.identity().subject()?,
            head: store.head()?,
            tag: new_handle_tag(),
        })
    }

    /// What it was made for.
    #[must_use]
    pub fn subject(&self) -> &JournalSubject {
        &self.subject
    }

    /// Where it begins and ends.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The records that the journal has, oldest first. Each is read and checked on the way.
    ///
    /// # Errors
    ///
    /// [`Error::JournalStore`].
    pub fn records(&self) -> Result<Records<'_>, Error> {
        self.records_after(self.head.first.previous())
    }

    /// The records after a position, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::JournalStore`] if the records there are gone, or none has been there yet.
    pub fn records_after(&self, position: Position) -> Result<Records<'_>, Error> {
        let read = self.store.read_after(position, READ_BYTES)?;
        Ok(Records {
            reader: self,
            after: read.last().map_or(position, |record| record.position),
            read: read.into_iter(),
            is_ended: false,
        })
    }

    /// The durable checkpoints, newest first, each read from its beginning to its end.
    ///
    /// # Errors
    ///
    /// [`Error::JournalStore`]. What is wrong with a file is in its view.
    pub fn checkpoints(&self) -> Result<Vec<CheckpointView>, Error> {
        let references = self.store.checkpoints()?.into_iter();
        let views = references.map(|reference| CheckpointView {
            content: self.look_at(&reference),
            reference,
        });
        Ok(views.collect())
    }

    fn look_at(&self, reference: &CheckpointRef) -> Result<CheckpointContent, String> {
        let folder = self.store.checkpoint_folder();
        let folder = folder.ok_or_else(|| "the store has no folder for it".to_owned())?;
        let path = folder.join(&reference.file);
        let length = path.metadata().map_err(|error| error.to_string())?.len();
        if length != reference.bytes {
            let known = reference.bytes;
            return Err(format!("it has {length} bytes in place of {known}"));
        }
        let content = CheckpointContent::read(&path)?;
        match content.kind {
            CheckpointKind::State { module, .. } if module != self.subject.module => {
                Err(format!("it is of module {module}"))
            }
            _ => Ok(content),
        }
    }
}

/// The records of a journal; see [`JournalReader::records`]. It ends after the first error.
#[derive(Debug)]
pub struct Records<'a> {
    reader: &'a JournalReader<'a>,
    after: Position,
    read: vec::IntoIter<StoredRecord>,
    is_ended: bool,
}

impl Records<'_> {
    fn next_stored(&mut self) -> Result<Option<StoredRecord>, Error> {
        if let Some(record) = self.read.next() {
            return Ok(Some(record));
        }
        let read = self.reader.store.read_after(self.after, READ_BYTES)?;
        if let Some(last) = read.last() {
            self.after = last.position;
        }
        self.read = read.into_iter();
        Ok(self.read.next())
    }

    fn view(&self, stored: &StoredRecord) -> Result<ReadRecord, Error> {
        let position = stored.position;
        let record = RecordView::read(&stored.bytes, self.reader.tag)
            .map_err(|reason| Error::JournalRecord { position, reason })?;
        Ok(ReadRecord {
            position,
            hash: stored.hash,
            bytes: stored.bytes.len(),
            record,
        })
    }
}

impl Iterator for Records<'_> {
    /// A record, [`Error::JournalStore`], or [`Error::JournalRecord`].
    type Item = Result<ReadRecord, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_ended {
            return None;
        }
        let next = self.next_stored().and_then(|stored| match stored {
            Some(stored) => self.view(&stored).map(Some),
            None => Ok(None),
        });
        let next = next.transpose();
        self.is_ended = !matches!(next, Some(Ok(_)));
        next
    }
}
