//! Artifacts in a directory, which several processes may share.
//!
//! ```text
//! DIR/contents/H   the bytes of an object; H is their blake3, in hexadecimal
//! DIR/records/K    what is known of the call with key K, and H
//! ```
//!
//! Every file is written beside its place, synced and renamed, so that it is there as a whole or not
//! at all. Nothing is ever locked: a file that another process removes meanwhile is a file that is not
//! there, and each is checked against its own hash whenever it is read.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::ArtifactFault;
use super::record::{CallKey, ContentHash, RECORD_BYTES_MAX, Record, Standing, file_name};

/// A directory of artifacts.
#[derive(Debug)]
pub(super) struct Directory {
    contents: PathBuf,
    records: PathBuf,
    bytes_max: u64,
    /// What the files took when they were last counted.
    bytes: AtomicU64,
}

/// What files begin with until they have their names.
const TEMPORARY: &str = ".tmp-";

/// A temporary file of this age was left by a process that died.
const ABANDONED: Duration = Duration::from_hours(1);

/// What a file takes on the disk is counted in blocks, so that many small ones count too.
const BLOCK_BYTES: u64 = 4096;

/// Tells the temporary files of one process apart.
static TEMPORARIES: AtomicU64 = AtomicU64::new(0);

impl Directory {
    pub(super) fn open(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let directory = Self {
            contents: path.join("contents"),
            records: path.join("records"),
            bytes_max,
            bytes: AtomicU64::new(0),
        };
        for folder in [&directory.contents, &directory.records] {
            fs::create_dir_all(folder)?;
        }
        directory.make_room()?;
        Ok(directory)
    }

    /// What the files took when they were last counted.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The record of a call, if there is one.
    pub(super) fn record(&self, key: CallKey) -> Result<Option<Record>, ArtifactFault> {
        let path = self.records.join(file_name(&key.0));
        let read = read(&path, "its record", |len| len <= RECORD_BYTES_MAX);
        let decoded = read.and_then(|bytes| bytes.as_deref().map(Record::decode).transpose());
        let outcome = match decoded {
            Ok(Some(record)) if record.key != key => Err(ArtifactFault::Damaged {
                what: "its record is another call's".to_owned(),
            }),
            other => other,
        };
        if let Err(ArtifactFault::Damaged { .. }) = outcome {
            remove(&path);
        }
        outcome
    }

    /// The bytes of a record, if they are still there.
    pub(super) fn content(&self, record: &Record) -> Result<Option<Vec<u8>>, ArtifactFault> {
        let path = self.contents.join(file_name(&record.content.0));
        let expected = record.content_len;
        let bytes = match read(&path, "its bytes", |len| len == expected) {
            Ok(Some(bytes)) if ContentHash::of(&bytes) == record.content => bytes,
            Ok(None) => {
                // Gone to make room: the record is of no use without them.
                remove(&self.records.join(file_name(&record.key.0)));
                return Ok(None);
            }
            Ok(Some(_)) | Err(ArtifactFault::Damaged { .. }) => {
                remove(&path);
                return Err(ArtifactFault::Damaged {
                    what: "its bytes do not have the hash that they are named by".to_owned(),
                });
            }
            Err(fault) => return Err(fault),
        };
        touch(&path);
        touch(&self.records.join(file_name(&record.key.0)));
        Ok(Some(bytes))
    }

    /// Keeps a record, and with it its bytes. What was used longest ago makes room.
    pub(super) fn keep(&self, record: &Record, bytes: &[u8]) -> Result<(), ArtifactFault> {
        let needed = on_disk(record.content_len);
        if needed > self.bytes_max {
            let bytes_max = self.bytes_max;
            return Err(ArtifactFault::TooLarge { needed, bytes_max });
        }
        let path = self.contents.join(file_name(&record.content.0));
        // What is there may be damaged, and writing it again mends that.
        match read(&path, "its bytes", |len| len == record.content_len) {
            Ok(Some(kept)) if kept == bytes => touch(&path),
            Err(fault @ ArtifactFault::Foreign { .. }) => return Err(fault),
            _ => write(&self.contents, &file_name(&record.content.0), bytes)?,
        }
        self.put(record)?;
        self.make_room().map_err(|error| unreadable("it", &error))
    }

    /// Remembers that the bytes of a call are not to be used.
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
        write(&self.records, &file_name(&record.key.0), &encoded)
    }

    /// Removes what was used longest ago until the rest fits, and what processes that died left behind.
    /// Files with names that this store does not give are nobody's business.
    fn make_room(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for folder in [&self.contents, &self.records] {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                let name = entry.file_name();
                let name = name.to_str().unwrap_or_default();
                // Another process may have removed it since it was listed.
                let Ok(metadata) = entry.metadata() else {
                    continue;
                };
                let used = used(&metadata);
                if !metadata.is_file() {
                } else if name.starts_with(TEMPORARY) {
                    if used.elapsed().is_ok_and(|age| age >= ABANDONED) {
                        remove(&entry.path());
                    }
                } else if is_hash(name) {
                    files.push((used, on_disk(metadata.len()), entry.path()));
                }
            }
        }
        let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
        files.sort();
        for (_, len, path) in files {
            if bytes <= self.bytes_max {
                break;
            }
            remove(&path);
            bytes -= len;
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

fn used(metadata: &Metadata) -> SystemTime {
    // A system without times evicts by the names, which are as good as random.
    metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn on_disk(len: u64) -> u64 {
    len.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

fn is_hash(name: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    name.len() == 64 && name.bytes().all(is_digit)
}

/// The contents of a file of a plausible length, or `None` if there is none. Anything but a regular file
/// is never opened: a pipe would be waited for.
fn read(
    path: &Path,
    what: &str,
    is_plausible: impl Fn(u64) -> bool,
) -> Result<Option<Vec<u8>>, ArtifactFault> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(what, &error)),
    };
    if !metadata.is_file() {
        return Err(ArtifactFault::Foreign {
            what: format!("{what} is no regular file"),
        });
    }
    let len = metadata.len();
    if !is_plausible(len) {
        return Err(ArtifactFault::Damaged {
            what: format!("{what} is a file of {len} bytes"),
        });
    }
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| {
        bytes.reserve_exact(usize::try_from(len).map_err(io::Error::other)?);
        // It may have grown since its length was looked at.
        file.take(len + 1).read_to_end(&mut bytes)
    });
    match outcome {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(what, &error)),
    }
}

/// Puts a file in its place as a whole: whoever looks sees all of it or nothing, also after a crash.
fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), ArtifactFault> {
    let outcome = (|| {
        let (temporary, mut file) = temporary(folder)?;
        let written = file
            .write_all(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&temporary, folder.join(name)));
        if written.is_err() {
            remove(&temporary);
        }
        written?;
        // The name is the folder's.
        File::open(folder)?.sync_all()
    })();
    outcome.map_err(|error| ArtifactFault::Unwritable {
        error: error.to_string(),
    })
}

/// A new file in the folder. Processes of the same number may share it over a network or a container's
/// border, so that a name can be taken.
fn temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = TEMPORARIES.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{TEMPORARY}{}-{number}", process::id()));
        match File::create_new(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Notes a use. Whoever may only read the directory cannot, and what he uses goes sooner.
fn touch(path: &Path) {
    if let Ok(file) = File::open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// What cannot be removed is found wanting again the next time.
fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn unreadable(what: &str, error: &io::Error) -> ArtifactFault {
    ArtifactFault::Unreadable {
        error: format!("{what}: {error}"),
    }
}
