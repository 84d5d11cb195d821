//! A journal in a file that JavaScript has open: a file of the origin's private file system, which a
//! worker reads and writes without waiting. Nobody else can have it open.
//!
//! A record in the file is its length, the chain's hash with it, and its bytes. Every append is
//! flushed. All records are kept in memory too, and none is ever dropped.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use proxy_core::{
    CheckpointRef, Epoch, Flush, Head, Identity, JournalId, JournalStore, MemoryJournal, Position,
    RECORD_BYTES_MAX, StoreError, StoredRecord,
};

use crate::js;

/// A journal in the file that JavaScript has open.
#[derive(Debug)]
pub struct FileJournal {
    records: MemoryJournal,
    /// Where the next record goes; an error if one could not be written.
    end: Mutex<Result<u64, String>>,
}

const LEN_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
const HEADER_BYTES: usize = LEN_BYTES + HASH_BYTES;

impl FileJournal {
    /// Opens the journal, or begins one in an empty file. A record at the end that was not written
    /// whole is cut off: nobody was told of it.
    ///
    /// # Errors
    ///
    /// [`StoreError::Corrupt`] for a record that is not what was appended, or a journal that was
    /// made for something else.
    pub fn open(identity: Identity) -> Result<Self, StoreError> {
        let records = MemoryJournal::new(identity);
        let size = js::file_size();
        let mut at = 0;
        while let Some((hash, bytes)) = frame(at, size) {
            let head = records.head()?;
            let next = head.position.next();
            let grown = records.append(head.epoch, head.position, &[&bytes], Flush::Now)?;
            if grown.hash != hash {
                return Err(StoreError::Corrupt {
                    position: next,
                    what: "another record than was written, or one of another module".to_owned(),
                });
            }
            at += (HEADER_BYTES + bytes.len()) as u64;
        }
        js::file_cut(at);
        Ok(Self {
            records: records.reopen(),
            end: Mutex::new(Ok(at)),
        })
    }

    fn write(&self, hashes: &[[u8; HASH_BYTES]], records: &[&[u8]]) -> Result<(), StoreError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let at = end
            .clone()
            .map_err(|reason| StoreError::Stopped { reason })?;
        let mut frames = Vec::new();
        for (hash, record) in hashes.iter().zip(records) {
            let len = u32::try_from(record.len()).expect("the memory journal has refused it");
            frames.extend(len.to_le_bytes());
            frames.extend(hash);
            frames.extend_from_slice(record);
        }
        match js::file_write(at, &frames) {
            Ok(()) => {
                *end = Ok(at + frames.len() as u64);
                Ok(())
            }
            Err(reason) => {
                *end = Err(reason.clone());
                let source = Arc::new(io::Error::other(reason));
                Err(StoreError::Failed { source })
            }
        }
    }

    fn check_running(&self) -> Result<(), StoreError> {
        let end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = |reason: &String| StoreError::Stopped {
            reason: reason.clone(),
        };
        end.as_ref().map(|_| ()).map_err(stopped)
    }
}

/// The record at this place of the file, if it is there as a whole.
fn frame(at: u64, size: u64) -> Option<([u8; HASH_BYTES], Vec<u8>)> {
    let left = size.checked_sub(at)?.checked_sub(HEADER_BYTES as u64)?;
    let mut header = [0; HEADER_BYTES];
    js::file_read(at, &mut header);
    let (len, hash) = header.split_first_chunk::<LEN_BYTES>()?;
    let len = u64::from(u32::from_le_bytes(*len));
    if len > left || len > RECORD_BYTES_MAX {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    js::file_read(at + HEADER_BYTES as u64, &mut bytes);
    Some((*hash.first_chunk()?, bytes))
}

impl JournalStore for FileJournal {
    fn id(&self) -> JournalId {
        self.records.id()
    }

    fn identity(&self) -> &Identity {
        self.records.identity()
    }

    fn head(&self) -> Result<Head, StoreError> {
        self.check_running()?;
        self.records.head()
    }

    fn append(
        &self,
        epoch: Epoch,
        after: Position,
        records: &[&[u8]],
        flush: Flush,
    ) -> Result<Head, StoreError> {
        self.check_running()?;
        let head = self.records.append(epoch, after, records, flush)?;
        let added = self.records.read_after(after, usize::MAX)?;
        let hashes: Vec<_> = added.iter().map(|record| record.hash).collect();
        self.write(&hashes, records)?;
        Ok(head)
    }

    fn flush(&self) -> Result<(), StoreError> {
        self.check_running()
    }

    fn read_after(
        &self,
        position: Position,
        bytes_max: usize,
    ) -> Result<Vec<StoredRecord>, StoreError> {
        self.records.read_after(position, bytes_max)
    }

    fn hash_at(&self, position: Position) -> Result<[u8; 32], StoreError> {
        self.records.hash_at(position)
    }

    fn checkpoints(&self) -> Result<Vec<CheckpointRef>, StoreError> {
        self.records.checkpoints()
    }

    fn truncate(&self, epoch: Epoch, checkpoints: &[CheckpointRef]) -> Result<Head, StoreError> {
        if let Some(first) = checkpoints.first() {
            return Err(StoreError::Checkpoint {
                file: first.file.clone(),
                reason: "this journal has no files of checkpoints".to_owned(),
            });
        }
        self.records.truncate(epoch, checkpoints)
    }

    fn checkpoint_folder(&self) -> Option<PathBuf> {
        None
    }

    fn bytes(&self) -> Result<u64, StoreError> {
        Ok(js::file_size())
    }
}
