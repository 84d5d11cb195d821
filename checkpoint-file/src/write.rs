//! From a snapshot to a file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use engine_api::{ImageError, Snapshot};

use crate::Error;
use crate::contents::Pieces;
use crate::encoding::{self, Memory, Number, State};
use crate::header::{CONTENTS, Header, SECTION_BYTES_MAX, SECTIONS, Section};

/// A checkpoint that is in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The length of the file in bytes. On the disk it takes less: pages of zeros are holes.
    pub bytes: u64,
    /// The bytes of the memories' pages that are not zero.
    pub bytes_kept: u64,
    /// A hash of all that the file says: of its header, which has the hashes of all else.
    pub hash: [u8; 32],
}

/// Writes a snapshot to a file, with notes of the caller's. Where this returns, the file is on the
/// disk as a whole, under its name, and nobody may write to it. An older file of that name is
/// replaced. A process that dies meanwhile leaves a file in the same folder whose name begins with
/// that of the file and ends with `.partial`; nobody needs it.
///
/// # Errors
///
/// [`Error::Unsupported`] if the snapshot has objects of the host that nobody writes down;
/// [`Error::Io`], also for a full disk; [`Error::Image`].
pub fn write(path: impl AsRef<Path>, snapshot: &Snapshot, notes: &[u8]) -> Result<Written, Error> {
    let path = path.as_ref();
    write_renamed(path, |_| path.to_owned(), snapshot, notes)
}

/// As [`write()`], under a path that depends on the [hash](Written::hash), which is known when all is
/// written. Until then the file has a name that begins with that of `begun`, a path in the same
/// folder.
///
/// # Errors
///
/// As for [`write()`].
pub fn write_renamed(
    begun: impl AsRef<Path>,
    path: impl FnOnce(&[u8; 32]) -> PathBuf,
    snapshot: &Snapshot,
    notes: &[u8],
) -> Result<Written, Error> {
    let (state, host) = state_of(snapshot)?;
    let new = NewFile::create(begun.as_ref())?;
    let (memories, contents_end, bytes_kept) = write_memories(&new, snapshot)?;
    let sections = [
        &*encoding::encode(&memories),
        &encoding::encode(&state),
        &host,
        notes,
    ];
    for (section, part) in sections.iter().zip(SECTIONS) {
        if section.len() as u64 > SECTION_BYTES_MAX {
            let bytes = section.len();
            let reason = format!("its {part} take {bytes} bytes, more than {SECTION_BYTES_MAX}");
            return Err(unsupported(reason));
        }
    }
    let header = Header {
        module: snapshot.module(),
        contents_end,
        sections: sections.map(Section::of),
    };
    let (bytes, hash) = header.encode();
    new.write_at(contents_end, &sections)?;
    new.write_at(0, &[&bytes])?;
    new.finish(&path(&hash))?;
    Ok(Written {
        bytes: header.file_bytes().expect("the file was written"),
        bytes_kept,
        hash,
    })
}

/// All but the memories, and the host's part.
fn state_of(snapshot: &Snapshot) -> Result<(State, Vec<u8>), Error> {
    let host = snapshot.host().map(|host| host.encode()).transpose();
    let host = host.map_err(|error| unsupported(error.to_string()))?;
    let objects = snapshot.objects().len();
    if host.is_none() && objects > 0 {
        let reason = "globals or tables refer to objects of the host, which no host writes down";
        return Err(unsupported(reason.to_owned()));
    }
    let globals = snapshot.globals().iter().map(|(index, value)| {
        let number = Number::of(value);
        let number =
            number.ok_or_else(|| unsupported(format!("global {} is {value:?}", index.0)))?;
        Ok((index.0, number))
    });
    let references = snapshot.references().iter();
    let tables = snapshot.tables().iter();
    let state = State {
        globals: globals.collect::<Result<_, Error>>()?,
        references: references
            .map(|(index, reference)| (index.0, (*reference).into()))
            .collect(),
        tables: tables
            .map(|(index, elements)| {
                let elements = elements.iter().map(|element| (*element).into());
                (index.0, elements.collect())
            })
            .collect(),
        dropped_data: snapshot.dropped().data.clone(),
        dropped_elements: snapshot.dropped().elements.clone(),
        objects: u32::try_from(objects)
            .map_err(|_| unsupported(format!("it has {objects} objects of the host")))?,
        host: host.is_some(),
    };
    Ok((state, host.unwrap_or_default()))
}

fn unsupported(reason: String) -> Error {
    Error::Unsupported { reason }
}

/// Writes the contents. Returns the list of memories, the end of the contents, and the bytes of
/// pages that are not zero.
fn write_memories(new: &NewFile, snapshot: &Snapshot) -> Result<(Vec<Memory>, u64, u64), Error> {
    let mut memories = Vec::with_capacity(snapshot.memories().len());
    let mut end = CONTENTS;
    let mut bytes_kept = 0;
    for (index, image) in snapshot.memories() {
        let mut pieces = Pieces::default();
        let written = image.write_to(&new.file, end, |bytes| pieces.add(bytes));
        let written = written.map_err(|error| match error {
            ImageError::Extents { reason } => unsupported(reason.to_owned()),
            error => Error::image("write", &new.path)(error),
        })?;
        end = written.end;
        bytes_kept += written.bytes_kept;
        let extents = written.extents.iter();
        memories.push(Memory {
            index: index.0,
            bytes: image.bytes(),
            extents: extents.map(|extent| (extent.start, extent.len)).collect(),
            hashes: pieces.finish(),
        });
    }
    Ok((memories, end, bytes_kept))
}

/// A file under a name of its own beside its place. It is removed unless it is finished.
struct NewFile {
    path: PathBuf,
    file: File,
    finished: bool,
}

impl NewFile {
    fn create(place: &Path) -> Result<Self, Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let mut name = place.file_name().unwrap_or_default().to_owned();
        if name.is_empty() {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "it has no name of a file");
            return Err(Error::io("write", place)(source));
        }
        name.push(format!(".{}", std::process::id()));
        loop {
            // One that a process of the same number has left behind is left alone.
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let mut name = name.clone();
            name.push(format!("-{number}.partial"));
            let path = place.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                opened => {
                    let file = opened.map_err(Error::io("make", &path))?;
                    return Ok(Self {
                        path,
                        file,
                        finished: false,
                    });
                }
            }
        }
    }

    /// Writes these parts one after the other.
    fn write_at(&self, offset: u64, parts: &[&[u8]]) -> Result<(), Error> {
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset))
            .and_then(|_| parts.iter().try_for_each(|part| file.write_all(part)))
            .map_err(Error::io("write", &self.path))
    }

    /// Puts the file into its place, on the disk too.
    fn finish(mut self, place: &Path) -> Result<(), Error> {
        forbid_writing(&self.file).map_err(Error::io("make read-only", &self.path))?;
        self.file
            .sync_all()
            .map_err(Error::io("sync", &self.path))?;
        fs::rename(&self.path, place).map_err(Error::io("rename to", place))?;
        self.finished = true;
        sync_folder(place).map_err(Error::io("sync the folder of", place))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.finished {
            // If it cannot be removed, it is one of the files that nobody refers to.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(unix)]
fn forbid_writing(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    file.set_permissions(fs::Permissions::from_mode(0o400))
}

#[cfg(unix)]
fn sync_folder(place: &Path) -> io::Result<()> {
    let folder = place
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

/// Elsewhere a file that cannot be written to cannot be removed either, and nothing is mapped.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
fn forbid_writing(_: &File) -> io::Result<()> {
    Ok(())
}

/// Elsewhere folders cannot be synced.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Unix")]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
