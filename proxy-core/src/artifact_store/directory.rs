//! Artifacts in a directory, which several processes may share.
//!
//! ```text
//! DIR/contents/H   the bytes of an object; H is their blake3, in hexadecimal
//! DIR/records/K    what is known of the call with key K, and H
//! ```
//!
//! Every file is written beside its place, synced and renamed, and is there as a whole or not at
//! all. Nothing is ever locked. A file that another process removes meanwhile counts as absent, and
//! each file is checked against its own hash whenever it is read.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::ArtifactFault;
use super::record::{CallKey, ContentHash, RECORD_BYTES_MAX, Record, Standing, file_name};
use super::storage::{NewFile, Storage};

/// A directory of artifacts.
#[derive(Debug)]
pub(super) struct Directory {
    storage: Arc<dyn Storage>,
    contents: PathBuf,
    records: PathBuf,
    bytes_max: u64,
    /// The size of the files when they were last counted, in bytes.
    bytes: AtomicU64,
}

/// The prefix of files that do not have their final names yet.
pub(super) const TEMPORARY: &str = ".tmp-";

/// A temporary file of this age was left by a process that died.
const ABANDONED: Duration = Duration::from_hours(1);

/// Sizes on disk are counted in blocks, because many small files count too.
const BLOCK_BYTES: u64 = 4096;

/// Tells the temporary files of one process apart.
static TEMPORARIES: AtomicU64 = AtomicU64::new(0);

impl Directory {
    pub(super) fn open(storage: Arc<dyn Storage>, path: &Path, bytes_max: u64) -> io::Result<Self> {
        let directory = Self {
            storage,
            contents: path.join("contents"),
            records: path.join("records"),
            bytes_max,
            bytes: AtomicU64::new(0),
        };
        for folder in [&directory.contents, &directory.records] {
            directory.make_folder(folder)?;
        }
        directory.sync_folders_around()?;
        directory.make_room()?;
        Ok(directory)
    }

    /// Creates a folder, and those around it that do not exist.
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        let mut outcome = self.storage.create_folder(path);
        if let (Err(error), Some(around)) = (&outcome, path.parent())
            && error.kind() == ErrorKind::NotFound
            && !around.as_os_str().is_empty()
        {
            self.make_folder(around)?;
            outcome = self.storage.create_folder(path);
        }
        match outcome {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    }

    /// A file is only as safe as the names of the folders around it. That includes folders that
    /// existed already: another process may have created them a moment ago.
    fn sync_folders_around(&self) -> io::Result<()> {
        for folder in self.contents.ancestors().skip(1) {
            let is_here = folder.as_os_str().is_empty();
            let folder = if is_here { Path::new(".") } else { folder };
            match self.storage.sync_folder(folder) {
                // A folder that we may not open is not one that we created.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                outcome => outcome?,
            }
        }
        Ok(())
    }

    /// The size of the files when they were last counted, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The record of a call, if there is one.
    pub(super) fn record(&self, key: CallKey) -> Result<Option<Record>, ArtifactFault> {
        let path = self.records.join(file_name(&key.0));
        let outcome = self
            .read(&path, |len| len <= RECORD_BYTES_MAX)
            .and_then(|bytes| {
                let Some(bytes) = bytes else { return Ok(None) };
                match Record::decode(&bytes) {
                    Ok(record) if record.key == key => Ok(Some(record)),
                    Ok(_) => Err(damaged(&path, "the record is another call's")),
                    Err(how) => Err(damaged(&path, how)),
                }
            });
        if let Err(ArtifactFault::Damaged { .. }) = outcome {
            self.remove(&path);
        }
        outcome
    }

    /// The bytes that a record names, if they are still there.
    pub(super) fn content(&self, record: &Record) -> Result<Option<Vec<u8>>, ArtifactFault> {
        let path = self.contents.join(file_name(&record.content.0));
        let record_path = self.records.join(file_name(&record.key.0));
        let read = self.read(&path, |len| len == record.content_len);
        match read {
            Ok(Some(bytes)) if ContentHash::of(&bytes) == record.content => {
                self.touch(&path);
                self.touch(&record_path);
                Ok(Some(bytes))
            }
            Ok(None) => {
                // They went to make room. The record is of no use without them.
                self.remove(&record_path);
                Ok(None)
            }
            Ok(Some(_)) => {
                self.remove(&path);
                let how = "the bytes do not have the hash that they are named by";
                Err(damaged(&path, how))
            }
            Err(fault) => {
                if let ArtifactFault::Damaged { .. } = fault {
                    self.remove(&path);
                }
                Err(fault)
            }
        }
    }

    /// Keeps a record and its bytes. The least recently used files make room.
    pub(super) fn keep(&self, record: &Record, bytes: &[u8]) -> Result<(), ArtifactFault> {
        let needed = on_disk(record.content_len);
        if needed > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(ArtifactFault::TooLarge { needed, bytes_max });
        }
        let name = file_name(&record.content.0);
        let path = self.contents.join(&name);
        // The file may be damaged, and writing it again mends that.
        match self.read(&path, |len| len == record.content_len) {
            Ok(Some(kept)) if kept == bytes => {
                self.touch(&path);
                // The process that wrote it may have died before it synced the folder, and a record
                // must not be there alone.
                self.storage
                    .sync_folder(&self.contents)
                    .map_err(|error| unwritable(&self.contents, error))?;
            }
            Err(fault @ ArtifactFault::Foreign { .. }) => return Err(fault),
            _ => self.write(&self.contents, &name, bytes)?,
        }
        self.put(record)?;
        self.make_room()
            .map_err(|error| unreadable(&self.contents, error))
    }

    /// Remembers that the bytes of a call must not be used.
    pub(super) fn refuse(&self, record: &Record) -> Result<(), ArtifactFault> {
        debug_assert_eq!(record.standing, Standing::Refused);
        self.put(record)
    }

    fn put(&self, record: &Record) -> Result<(), ArtifactFault> {
        let Some(encoded) = record.encode() else {
            let needed = RECORD_BYTES_MAX + 1;
            let bytes_max = RECORD_BYTES_MAX;
            return Err(ArtifactFault::TooLarge { needed, bytes_max });
        };
        self.write(&self.records, &file_name(&record.key.0), &encoded)
    }

    /// Removes the least recently used files until the rest fits, and temporary files of dead
    /// processes. Files with names that this store does not give are not touched.
    fn make_room(&self) -> io::Result<()> {
        let now = self.storage.now();
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for folder in [&self.contents, &self.records] {
            for path in self.storage.list(folder)? {
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.unwrap_or_default();
                // Another process may have removed it since it was listed.
                let Ok(found) = self.storage.look(&path) else {
                    continue;
                };
                if !found.is_file {
                } else if name.starts_with(TEMPORARY) {
                    let age = now.duration_since(found.used);
                    if age.is_ok_and(|age| age >= ABANDONED) {
                        self.remove(&path);
                    }
                } else if is_hash(name) {
                    files.push((found.used, on_disk(found.len), path));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        files.sort();
        for (_, len, path) in files {
            if bytes <= self.bytes_max {
                break;
            }
            self.remove(&path);
            bytes -= len;
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// The contents of a file of a plausible length, or `None` if there is none. Only regular files
    /// are opened: a pipe would make the reader wait.
    fn read(
        &self,
        path: &Path,
        is_plausible: impl Fn(u64) -> bool,
    ) -> Result<Option<Vec<u8>>, ArtifactFault> {
        let found = match self.storage.look(path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path, error)),
        };
        if !found.is_file {
            let file = path.to_owned();
            return Err(ArtifactFault::Foreign { file });
        }
        let len = found.len;
        if !is_plausible(len) {
            return Err(damaged(path, &format!("a file of {len} bytes")));
        }
        // It may have grown since its length was looked at.
        match self.storage.read(path, len + 1) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unreadable(path, error)),
        }
    }

    /// Puts a file in its place as a whole: every reader sees all of it or nothing, even after a
    /// crash.
    fn write(&self, folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ArtifactFault> {
        let path = folder.join(name);
        let outcome = self.temporary(folder).and_then(|(temporary, mut file)| {
            let written = file
                .write(bytes)
                .and_then(|()| file.sync())
                .and_then(|()| self.storage.rename(&temporary, &path));
            if written.is_err() {
                self.remove(&temporary);
            }
            written?;
            // The name is part of the folder, not of the file.
            self.storage.sync_folder(folder)
        });
        outcome.map_err(|error| unwritable(&path, error))
    }

    /// A new file in the folder. Processes on several machines or in several containers may share
    /// it under the same process number, so a name can be taken.
    fn temporary(&self, folder: &Path) -> io::Result<(PathBuf, Box<dyn NewFile>)> {
        loop {
            let number = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{TEMPORARY}{}-{number}", process::id()));
            match self.storage.create_file(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Notes a use. A process that may only read the directory cannot, so the files that it uses go
    /// sooner.
    fn touch(&self, path: &Path) {
        let _ = self.storage.touch(path);
    }

    /// A file that cannot be removed is rejected again the next time.
    fn remove(&self, path: &Path) {
        let _ = self.storage.remove(path);
    }
}

fn on_disk(len: u64) -> u64 {
    len.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

pub(super) fn is_hash(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == 64 && name.bytes().all(is_digit)
}

fn damaged(path: &Path, how: &str) -> ArtifactFault {
    ArtifactFault::Damaged {
        file: path.to_owned(),
        how: how.to_owned(),
    }
}

fn unreadable(path: &Path, error: io::Error) -> ArtifactFault {
    ArtifactFault::Unreadable {
        file: path.to_owned(),
        source: error.into(),
    }
}

fn unwritable(path: &Path, error: io::Error) -> ArtifactFault {
    ArtifactFault::Unwritable {
        file: path.to_owned(),
        source: error.into(),
    }
}
