//! The file under redb. What redb writes can be held back in memory.
//!
//! redb repairs a file while it opens it. A file that is refused afterwards, because its end is
//! missing, must not have been changed by that: it is the evidence, and `salvage` reads it. So what
//! redb writes is held back until the journal has been checked and admitted, and then goes to the
//! file in the same order, with the same flushes. A journal that is only read is never admitted.
//!
//! Held back too is what redb writes while it recovers from a full disk: a journal is readable then,
//! and goes on to hold it back until there is room.
//!
//! Afterwards only the header is held back, until the flush. redb asks for no order of writes
//! between two flushes, and writes the header first. Here it comes last, so a commit for which there
//! was no room is not in the file, whatever part of it was written.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::fresh::Fresh;
use crate::storage::StoredFile;
use crate::trouble::Trouble;

/// A file whose changes may be held back. Clones are the same file.
#[derive(Clone, Debug)]
pub(crate) struct Staged(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Arc<dyn StoredFile>,
    mode: Mutex<Mode>,
    /// The first operation that failed.
    failure: Mutex<Option<Trouble>>,
    /// Nothing reaches the file any more.
    is_sealed: AtomicBool,
}

#[derive(Debug)]
enum Mode {
    /// Everything is held back.
    Held(Held),
    Admitted(Admitted),
}

/// The changes that go to the file at once, and those that wait for the flush.
#[derive(Debug, Default)]
struct Admitted {
    /// Writes to the header, in order. They wait.
    header: Vec<(u64, Vec<u8>)>,
    fresh: Fresh,
}

impl Admitted {
    fn set_len(&mut self, file: &dyn StoredFile, len: u64) -> io::Result<()> {
        let before = file.len()?;
        file.set_len(len)?;
        self.fresh.resize(before, len);
        Ok(())
    }

    fn write(&mut self, file: &dyn StoredFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        self.fresh
            .fill(offset..end, |at, zeros| file.write(at, zeros))?;
        file.write(offset, bytes)
    }
}

/// Changes that the file does not have yet.
#[derive(Debug, Default)]
struct Held {
    changes: VecDeque<Change>,
    /// The file as redb sees it: its length, and the pages that differ.
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    /// The part of the file that no change has cut off: what lies behind it reads as zero.
    file_len: u64,
}

#[derive(Debug)]
enum Change {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

const PAGE: usize = 4096;

/// redb's header has the first page to itself.
const HEADER_BYTES: u64 = PAGE as u64;

impl Staged {
    pub(crate) fn new(file: Arc<dyn StoredFile>) -> io::Result<Self> {
        let len = file.len()?;
        let held = Held {
            len,
            file_len: len,
            ..Held::default()
        };
        Ok(Self(Arc::new(Inner {
            file,
            mode: Mutex::new(Mode::Held(held)),
            failure: Mutex::new(None),
            is_sealed: AtomicBool::new(false),
        })))
    }

    /// From now on everything that would change the file fails.
    pub(crate) fn seal(&self) {
        self.0.is_sealed.store(true, Ordering::Release);
    }

    /// Lets changes through: those held back, and from then on all. If that fails for lack of room,
    /// it can be tried again.
    pub(crate) fn admit(&self) -> Result<(), Trouble> {
        let mut mode = self.mode();
        let Mode::Held(Held { changes, .. }) = &mut *mode else {
            return Ok(());
        };
        let mut admitted = Admitted::default();
        while let Some(change) = changes.front() {
            let file = &self.0.file;
            match change {
                Change::Write(offset, bytes) => admitted.write(&**file, *offset, bytes),
                Change::SetLen(len) => admitted.set_len(&**file, *len),
                Change::Sync => {
                    file.sync().map_err(Trouble::Failed)?;
                    Ok(())
                }
            }
            .map_err(Trouble::of_write)?;
            changes.pop_front();
        }
        *mode = Mode::Admitted(admitted);
        Ok(())
    }

    /// What made redb fail, if it was the file.
    pub(crate) fn take_failure(&self) -> Option<Trouble> {
        self.0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    pub(crate) fn file_len(&self) -> io::Result<u64> {
        self.len()
    }

    /// The file, unless it is sealed.
    fn open_file(&self) -> io::Result<&dyn StoredFile> {
        if self.0.is_sealed.load(Ordering::Acquire) {
            return Err(io::Error::other("the journal has let go of its file"));
        }
        Ok(&*self.0.file)
    }

    fn mode(&self) -> MutexGuard<'_, Mode> {
        self.0.mode.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the error for whoever asks what made redb fail, and gives redb its like.
    fn note<T>(&self, result: io::Result<T>, trouble: fn(io::Error) -> Trouble) -> io::Result<T> {
        result.map_err(|error| {
            let copy = match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            };
            let mut failure = self
                .0
                .failure
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert_with(|| trouble(error));
            copy
        })
    }
}

impl StorageBackend for Staged {
    fn len(&self) -> io::Result<u64> {
        match &*self.mode() {
            Mode::Held(held) => Ok(held.len),
            Mode::Admitted(_) => self.note(self.0.file.len(), Trouble::Failed),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let result = match &*self.mode() {
            Mode::Held(held) => held.read(&*self.0.file, offset, out),
            Mode::Admitted(admitted) => self.0.file.read(offset, out).map(|()| {
                for (at, bytes) in &admitted.header {
                    overlay(offset, out, *at, bytes);
                }
            }),
        };
        self.note(result, of_read)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match &mut *self.mode() {
            Mode::Held(held) => {
                held.set_len(len);
                Ok(())
            }
            Mode::Admitted(admitted) => {
                let file = self.open_file();
                let result = file.and_then(|file| admitted.set_len(file, len));
                self.note(result, Trouble::of_write)
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match &mut *self.mode() {
            Mode::Held(held) => {
                held.changes.push_back(Change::Sync);
                Ok(())
            }
            Mode::Admitted(Admitted { header, .. }) => {
                let mut flush = || {
                    let file = self.open_file()?;
                    for (offset, bytes) in header.drain(..) {
                        file.write(offset, &bytes)?;
                    }
                    file.sync()
                };
                // The header takes no room that it did not have. Where even that is refused,
                // nobody knows which header the file has.
                self.note(flush(), Trouble::Failed)
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match &mut *self.mode() {
            Mode::Held(held) => {
                let result = held.write(&*self.0.file, offset, data);
                self.note(result, Trouble::Failed)
            }
            Mode::Admitted(Admitted { header, .. }) if offset < HEADER_BYTES => {
                header.push((offset, data.to_vec()));
                Ok(())
            }
            Mode::Admitted(admitted) => {
                let file = self.open_file();
                let result = file.and_then(|file| admitted.write(file, offset, data));
                self.note(result, Trouble::of_write)
            }
        }
    }
}

fn of_read(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Trouble::Damaged("its file ends too early".to_owned()),
        _ => Trouble::Failed(error),
    }
}

/// Puts what was written at one place over what was read at another, where the two overlap.
fn overlay(offset: u64, out: &mut [u8], at: u64, bytes: &[u8]) {
    let end = offset + out.len() as u64;
    for (at, byte) in (at..).zip(bytes) {
        if (offset..end).contains(&at)
            && let Ok(index) = usize::try_from(at - offset)
        {
            out[index] = *byte;
        }
    }
}

impl Held {
    fn set_len(&mut self, len: u64) {
        self.changes.push_back(Change::SetLen(len));
        self.len = len;
        if len < self.file_len {
            self.file_len = len;
        }
        let page_bytes = PAGE as u64;
        drop(self.pages.split_off(&len.div_ceil(page_bytes)));
        // What is cut off is zero if the file grows again.
        if let Some(last) = self.pages.get_mut(&(len / page_bytes)) {
            last[in_page(len)..].fill(0);
        }
    }

    fn write(&mut self, file: &dyn StoredFile, offset: u64, data: &[u8]) -> io::Result<()> {
        self.changes.push_back(Change::Write(offset, data.to_vec()));
        let mut rest = data;
        let mut at = offset;
        while !rest.is_empty() {
            let page = at / PAGE as u64;
            let (now, later) = rest.split_at(rest.len().min(PAGE - in_page(at)));
            if !self.pages.contains_key(&page) {
                let mut bytes = Box::new([0; PAGE]);
                self.read_file(file, page * PAGE as u64, &mut bytes[..])?;
                self.pages.insert(page, bytes);
            }
            if let Some(bytes) = self.pages.get_mut(&page) {
                bytes[in_page(at)..][..now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            rest = later;
        }
        self.len = self.len.max(at);
        Ok(())
    }

    fn read(&self, file: &dyn StoredFile, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset
            .checked_add(out.len() as u64)
            .is_none_or(|end| end > self.len)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = out;
        let mut at = offset;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(rest.len().min(PAGE - in_page(at)));
            match self.pages.get(&(at / PAGE as u64)) {
                Some(bytes) => now.copy_from_slice(&bytes[in_page(at)..][..now.len()]),
                None => self.read_file(file, at, now)?,
            }
            at += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    /// What the file has, and zero behind its end.
    fn read_file(&self, file: &dyn StoredFile, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file_len.saturating_sub(offset).min(out.len() as u64);
        let there = usize::try_from(there).map_err(io::Error::other)?;
        let (there, behind) = out.split_at_mut(there);
        behind.fill(0);
        if there.is_empty() {
            return Ok(());
        }
        file.read(offset, there)
    }
}

/// The offset within a page.
fn in_page(offset: u64) -> usize {
    // Less than a page, so it fits.
    usize::try_from(offset % PAGE as u64).unwrap_or(0)
}
