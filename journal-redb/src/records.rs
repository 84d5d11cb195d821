//! The records in redb.
//!
//! One table has the records by position, another has one row that says where the log begins. redb
//! is not trusted: what it gives is checked against the chain, and a panic in it, which a damaged
//! file can cause, is an error like others.

use std::fmt;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proxy_core::{JournalId, Position};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};

use crate::bytes::Reader;
use crate::files::RECORDS;
use crate::manifest::Place;
use crate::objects::ContentHash;
use crate::staged::Staged;
use crate::storage::{Access, Storage};
use crate::trouble::Trouble;

pub(crate) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
const BEGINNING: TableDefinition<'_, (), &[u8]> = TableDefinition::new("beginning");

/// What redb may keep of the file in memory, in bytes.
const CACHE_BYTES: usize = 16 << 20;

/// A file below this size is not compacted.
const COMPACTED_BYTES_MIN: u64 = 8 << 20;

/// The open file.
pub(crate) struct Records {
    database: Database,
    file: Staged,
}

/// Where the log begins, as the file itself says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning {
    pub(crate) id: JournalId,
    /// The place before the oldest record.
    pub(crate) base: Place,
}

/// A record as redb has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    /// The chain's.
    pub(crate) hash: [u8; 32],
    pub(crate) content: Content<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    Inline(&'a [u8]),
    Object { hash: ContentHash, bytes: u64 },
}

type Result<T> = std::result::Result<T, Trouble>;

impl Records {
    /// Creates a file in which nothing is yet, under a name of its own.
    pub(crate) fn create(storage: &dyn Storage, name: &str, beginning: Beginning) -> Result<()> {
        Self::create_open(storage, name, beginning)?.close()
    }

    /// Creates a file in which nothing is yet, and leaves it open.
    pub(crate) fn create_open(
        storage: &dyn Storage,
        name: &str,
        beginning: Beginning,
    ) -> Result<Self> {
        let file = storage.create(name).map_err(Trouble::of_write)?;
        let file = Staged::new(file).map_err(Trouble::Failed)?;
        file.admit()?;
        let database = guarded(&file, || builder().create_with_backend(file.clone()))?;
        let records = Self { database, file };
        records.write(|transaction| {
            transaction.open_table(LOG)?;
            put_beginning(transaction, beginning)
        })?;
        Ok(records)
    }

    /// Opens the file. What redb changes meanwhile is held back until [`admit`](Self::admit).
    pub(crate) fn open(storage: &dyn Storage, access: Access) -> Result<Self> {
        Self::open_with(storage, access, true)
    }

    /// Opens what may be a damaged file for reading. Pages of which redb can tell that they are
    /// damaged are only found when somebody reads them.
    pub(crate) fn open_damaged(storage: &dyn Storage) -> Result<Self> {
        Self::open_with(storage, Access::Read, false)
    }

    fn open_with(storage: &dyn Storage, access: Access, check: bool) -> Result<Self> {
        let file = storage.open(RECORDS, access).map_err(Trouble::of_write)?;
        let file = Staged::new(file).map_err(Trouble::Failed)?;
        // Never a new database: an empty file has no beginning, and is refused for it.
        let database = guarded(&file, || {
            let mut builder = builder();
            builder.set_check_integrity_on_open(check);
            builder.create_with_backend(file.clone())
        })?;
        Ok(Self { database, file })
    }

    /// Lets redb change the file. Nothing may be appended or truncated before.
    pub(crate) fn admit(&self) -> Result<()> {
        self.file.admit()
    }

    /// Appends rows, durably. They must be in order, and after those that are there.
    pub(crate) fn append(&self, rows: &[(Position, Row<'_>)]) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(LOG)?;
            let mut cursor = table.upper_bound_mut(Bound::<u64>::Unbounded)?;
            let mut value = Vec::new();
            for (position, row) in rows {
                value.clear();
                row.encode(&mut value);
                cursor.insert_before(position.0, value.as_slice())?;
            }
            cursor.close()?;
            Ok(())
        })
    }

    /// Deletes the records up to the new beginning, durably.
    pub(crate) fn truncate(&self, beginning: Beginning) -> Result<()> {
        self.write(|transaction| {
            let mut table = transaction.open_table(LOG)?;
            table.retain_in(..=beginning.base.position.0, |_, _| false)?;
            put_beginning(transaction, beginning)
        })
    }

    /// Makes the file small if it is much larger than what it has. Each step is durable.
    pub(crate) fn compact(&mut self) -> Result<()> {
        let len = self.file.file_len().map_err(Trouble::Failed)?;
        let transaction = self.begin_read()?;
        let stored = guarded(&self.file, || -> std::result::Result<u64, redb::Error> {
            let stats = transaction.open_table(LOG)?.stats()?;
            Ok(stats.stored_bytes() + stats.metadata_bytes())
        })?;
        drop(transaction);
        if len < COMPACTED_BYTES_MIN || len / 4 < stored {
            return Ok(());
        }
        let database = &mut self.database;
        guarded(&self.file, || database.compact())?;
        Ok(())
    }

    /// Where the log begins. `None` if the file is of redb, and nothing was ever put into it.
    pub(crate) fn beginning(&self) -> Result<Option<Beginning>> {
        let transaction = self.begin_read()?;
        let bytes = guarded(&self.file, || -> std::result::Result<_, redb::Error> {
            if transaction.list_tables()?.next().is_none() {
                return Ok(None);
            }
            let table = transaction.open_table(BEGINNING)?;
            let value = table.get(())?;
            Ok(Some(
                value
                    .map(|value| value.value().to_vec())
                    .unwrap_or_default(),
            ))
        })?;
        let Some(bytes) = bytes else { return Ok(None) };
        let damaged = || Trouble::Damaged("it does not say where it begins".to_owned());
        decode_beginning(&bytes).ok_or_else(damaged).map(Some)
    }

    /// Gives the rows after a position to a visitor, in order, until it returns `false`.
    pub(crate) fn visit_after(
        &self,
        position: Position,
        mut visit: impl FnMut(Position, std::result::Result<Row<'_>, String>) -> bool,
    ) -> Result<()> {
        let transaction = self.begin_read()?;
        guarded(&self.file, || -> std::result::Result<(), redb::Error> {
            let table = transaction.open_table(LOG)?;
            for row in table.range((Bound::Excluded(position.0), Bound::Unbounded))? {
                let (key, value) = row?;
                if !visit(Position(key.value()), Row::decode(value.value())) {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The chain's hash that is kept with a record.
    pub(crate) fn hash_at(&self, position: Position) -> Result<Option<[u8; 32]>> {
        let transaction = self.begin_read()?;
        guarded(&self.file, || -> std::result::Result<_, redb::Error> {
            let table = transaction.open_table(LOG)?;
            let value = table.get(position.0)?;
            Ok(value.and_then(|value| Row::decode(value.value()).ok().map(|row| row.hash)))
        })
    }

    /// The newest record's place, if there is a record.
    pub(crate) fn last(&self) -> Result<Option<Place>> {
        let transaction = self.begin_read()?;
        guarded(&self.file, || -> std::result::Result<_, redb::Error> {
            let table = transaction.open_table(LOG)?;
            let Some((key, value)) = table.last()? else {
                return Ok(None);
            };
            let row = Row::decode(value.value());
            let row = row.map_err(redb::Error::Corrupted)?;
            Ok(Some(Place {
                position: Position(key.value()),
                hash: row.hash,
            }))
        })
    }

    /// Closes the file, so that redb need not repair it when it is opened again.
    pub(crate) fn close(self) -> Result<()> {
        let Self { database, file } = self;
        guarded(&file, || database.close())
    }

    /// Lets go of a file that redb cannot go on with. Nothing more is written to it.
    pub(crate) fn abandon(self) {
        self.file.seal();
    }

    fn begin_read(&self) -> Result<ReadTransaction> {
        guarded(&self.file, || self.database.begin_read())
    }

    /// One transaction in one phase, durable when this returns.
    fn write(
        &self,
        change: impl FnOnce(&WriteTransaction) -> std::result::Result<(), redb::Error>,
    ) -> Result<()> {
        guarded(&self.file, || -> std::result::Result<(), redb::Error> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        })
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Runs something of redb's, and says what was wrong: the file, if an operation on it failed, and
/// otherwise what is in it.
fn guarded<T, E>(file: &Staged, run: impl FnOnce() -> std::result::Result<T, E>) -> Result<T>
where
    E: Into<redb::Error>,
{
    let result = catch_unwind(AssertUnwindSafe(run));
    if let Ok(Ok(value)) = result {
        return Ok(value);
    }
    if let Some(trouble) = file.take_failure() {
        return Err(trouble);
    }
    Err(Trouble::Damaged(match result {
        Ok(Err(error)) => error.into().to_string(),
        Ok(Ok(_)) | Err(_) => "redb panicked over it".to_owned(),
    }))
}

fn put_beginning(
    transaction: &WriteTransaction,
    beginning: Beginning,
) -> std::result::Result<(), redb::Error> {
    let mut value = beginning.id.0.to_vec();
    value.extend(beginning.base.position.0.to_le_bytes());
    value.extend(beginning.base.hash);
    transaction
        .open_table(BEGINNING)?
        .insert((), value.as_slice())?;
    Ok(())
}

fn decode_beginning(bytes: &[u8]) -> Option<Beginning> {
    let mut reader = Reader::new(bytes);
    let beginning = Beginning {
        id: JournalId(reader.array()?),
        base: Place {
            position: Position(reader.u64()?),
            hash: reader.array()?,
        },
    };
    reader.is_empty().then_some(beginning)
}

const INLINE: [u8; 1] = [0];
const OBJECT: [u8; 1] = [1];

impl<'a> Row<'a> {
    fn encode(&self, value: &mut Vec<u8>) {
        value.extend(self.hash);
        match &self.content {
            Content::Inline(bytes) => {
                value.extend(INLINE);
                value.extend(*bytes);
            }
            Content::Object { hash, bytes } => {
                value.extend(OBJECT);
                value.extend(hash);
                value.extend(bytes.to_le_bytes());
            }
        }
    }

    fn decode(value: &'a [u8]) -> std::result::Result<Self, String> {
        Self::decode_fields(value).ok_or_else(|| "its row has no known layout".to_owned())
    }

    fn decode_fields(value: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let hash = reader.array()?;
        let content = match reader.array()? {
            INLINE => Content::Inline(reader.rest()),
            OBJECT => {
                let hash = reader.array()?;
                let bytes = reader.u64()?;
                reader
                    .is_empty()
                    .then_some(Content::Object { hash, bytes })?
            }
            _ => return None,
        };
        Some(Self { hash, content })
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}
