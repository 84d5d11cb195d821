//! From a file to a snapshot.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_api::{
    DroppedSegments, ExternRef, GlobalIndex, HostState, MemoryImage, MemoryIndex, Module,
    ModuleHash, Snapshot, SnapshotParts,
};
use memory_image::ImageFile;

use crate::contents::Contents;
use crate::encoding::{self, Memory, State};
use crate::header::{CONTENTS, HEADER_BYTES, Header, SECTIONS, Section};
use crate::{Error, Part, fit, stamp};

/// When the contents of memories are compared with their hashes. All else is compared before a file
/// is opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Before the file is opened. It reads all of it, on all processors.
    #[default]
    Before,
    /// By [`Opened::verify`], while instances may already run on the contents. Until then they may
    /// have any content, as after an undetected error of the disk.
    Later,
}

/// A checkpoint from a file. The file stays open while the snapshot or an instance from it lives.
#[derive(Debug)]
pub struct Opened {
    /// The state. Its memories are mapped from the file when an instance is restored.
    pub snapshot: Snapshot,
    /// What was given to [`write()`](crate::write()).
    pub notes: Vec<u8>,
    /// The same as [`Written::hash`](crate::Written::hash).
    pub hash: [u8; 32],
    contents: Arc<Contents>,
}

impl Opened {
    /// Compares the contents of all memories with their hashes, on all processors.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] with the first piece that was found; [`Error::Io`]; [`Error::Image`].
    pub fn verify(&self) -> Result<(), Error> {
        self.contents.verify()
    }
}

/// Opens a checkpoint of a module, and checks all of it.
///
/// # Errors
///
/// [`Error::Foreign`], [`Error::Length`], [`Error::Version`], [`Error::Damaged`],
/// [`Error::Module`], [`Error::Invalid`] or [`Error::Host`] for what is wrong with the file;
/// [`Error::Io`]; [`Error::Image`].
pub fn open(path: impl AsRef<Path>, module: &dyn Module) -> Result<Opened, Error> {
    open_with(path, module, Check::Before)
}

/// Opens a checkpoint of a module. `check` says when the contents of memories are checked.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(
    path: impl AsRef<Path>,
    module: &dyn Module,
    check: Check,
) -> Result<Opened, Error> {
    let found = Found::read(path)?;
    let opened = found.open(module)?;
    if check == Check::Before {
        found.verify()?;
    }
    Ok(opened)
}

/// A checkpoint that was found, and of which module is not known yet. Its contents can be checked
/// meanwhile: that takes as long as a compilation, and needs no module.
#[derive(Debug)]
pub struct Found {
    path: PathBuf,
    module: ModuleHash,
    state: State,
    host: Vec<u8>,
    notes: Vec<u8>,
    hash: [u8; 32],
    contents: Arc<Contents>,
    file: ImageFile,
}

impl Found {
    /// Reads all but the contents of memories, and compares it with its hashes.
    ///
    /// # Errors
    ///
    /// As [`open`], but for [`Error::Module`] and [`Error::Host`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let read = Read::from(path)?;
        let memories = images(path, &read.file, &read.header, read.memories)?;
        Ok(Self {
            path: path.to_owned(),
            module: read.header.module,
            state: read.state,
            host: read.host,
            notes: read.notes,
            hash: read.hash,
            contents: Arc::new(Contents::new(path, memories)?),
            file: read.file,
        })
    }

    /// Whether the file is one that nobody has written to since its contents were known to be right,
    /// as far as the system can tell: it is still private, and its [stamp](crate::stamp()) fits. The
    /// disk may have given other bytes back than it was given, so they still have to be compared
    /// with their hashes, but that can wait.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.file.is_private() && stamp::fits(&self.path, &self.file)
    }

    /// Puts a stamp beside the file, after its contents were checked.
    ///
    /// # Errors
    ///
    /// As [`stamp`](crate::stamp()).
    pub fn stamp(&self) -> io::Result<()> {
        stamp::put(&self.path, &self.file)
    }

    /// Takes the stamp away: whoever opens the file next checks it before.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn remove_stamp(&self) -> io::Result<()> {
        stamp::remove(&self.path)
    }

    /// Compares the contents of all memories with their hashes, on all processors.
    ///
    /// # Errors
    ///
    /// As [`Opened::verify`].
    pub fn verify(&self) -> Result<(), Error> {
        self.contents.verify()
    }

    /// The same, for a thread of its own: tells the outcome before it gives back what it has taken.
    pub fn verify_and_tell(&self, tell: impl FnOnce(Result<(), Error>)) {
        self.contents.verify_and_tell(tell);
    }

    /// The same, beside other work: on this thread alone, in slices of a few milliseconds. `goes_on`
    /// is asked after each, may rest, and ends the check by `false`. Returns whether it got to its end.
    ///
    /// # Errors
    ///
    /// As [`Opened::verify`].
    pub fn verify_aside(&self, goes_on: impl FnMut() -> bool) -> Result<bool, Error> {
        self.contents.verify_aside(goes_on)
    }

    /// Opens it as a state of a module. Whether the contents of memories are right,
    /// [`Found::verify`] says, on this thread or on another.
    ///
    /// # Errors
    ///
    /// [`Error::Module`], [`Error::Invalid`], [`Error::Host`].
    pub fn open(&self, module: &dyn Module) -> Result<Opened, Error> {
        let path = &*self.path;
        check_module(path, self.module, module)?;
        let info = module.info();
        let memories = self.contents.memories();
        fit::memories(info, memories.iter().map(|(memory, _)| memory))
            .and_then(|()| fit::state(info, &self.state))
            .map_err(|reason| Error::invalid(path, reason))?;
        let host = host_state(path, module, self.state.host, &self.host)?;
        let snapshot = snapshot(self.module, memories, &self.state);
        Ok(Opened {
            snapshot: match host {
                Some(host) => snapshot.with_host(host),
                None => snapshot,
            },
            notes: self.notes.clone(),
            hash: self.hash,
            contents: Arc::clone(&self.contents),
        })
    }
}

/// What a file says of itself, to one who does not have its module.
#[derive(Debug)]
pub struct Inspected {
    /// The module that the state is of.
    pub module: ModuleHash,
    /// What was given to [`write()`](crate::write()).
    pub notes: Vec<u8>,
    /// The same as [`Written::hash`](crate::Written::hash).
    pub hash: [u8; 32],
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The size of all memories in bytes.
    pub memory_bytes: u64,
}

/// Checks all hashes of a file, of whatever module it is, and says what is in it. Whether that is a
/// state of the module only [`open`] can tell.
///
/// # Errors
///
/// As [`open`], but for [`Error::Module`] and [`Error::Host`].
pub fn inspect(path: impl AsRef<Path>) -> Result<Inspected, Error> {
    let path = path.as_ref();
    let read = Read::from(path)?;
    let (module, bytes) = (read.header.module, read.file.bytes());
    let memories = images(path, &read.file, &read.header, read.memories)?;
    let sizes = memories.iter().map(|(memory, _)| memory.bytes);
    let memory_bytes = sizes.fold(0, u64::saturating_add);
    Contents::new(path, memories)?.verify()?;
    Ok(Inspected {
        module,
        notes: read.notes,
        hash: read.hash,
        bytes,
        memory_bytes,
    })
}

/// A file of which everything but the contents of memories is read, and compared with its hashes.
struct Read {
    file: ImageFile,
    header: Header,
    hash: [u8; 32],
    memories: Vec<Memory>,
    state: State,
    host: Vec<u8>,
    notes: Vec<u8>,
}

impl Read {
    fn from(path: &Path) -> Result<Self, Error> {
        let file = ImageFile::open(path).map_err(Error::io("open", path))?;
        let (header, hash) = read_header(path, &file)?;
        let [memories, state, host, notes] = read_sections(path, &file, &header)?;
        Ok(Self {
            memories: encoding::decode(path, Part::Memories, &memories)?,
            state: encoding::decode(path, Part::State, &state)?,
            file,
            header,
            hash,
            host,
            notes,
        })
    }
}

fn read_header(path: &Path, file: &ImageFile) -> Result<(Header, [u8; 32]), Error> {
    // As much of the header's block as there is.
    let block = file.bytes().min(CONTENTS);
    let mut block = vec![0; usize::try_from(block).expect("a block is small")];
    file.read(0, &mut block).map_err(Error::io("read", path))?;
    let (header, hash) = Header::decode(path, &block, file.bytes())?;
    if block[HEADER_BYTES..].iter().any(|byte| *byte != 0) {
        return Err(Error::damaged(path, Part::Header));
    }
    Ok((header, hash))
}

fn check_module(path: &Path, found: ModuleHash, module: &dyn Module) -> Result<(), Error> {
    let expected = module.info().hash();
    if found == expected {
        return Ok(());
    }
    Err(Error::Module {
        path: path.to_owned(),
        found,
        expected,
    })
}

fn read_sections(
    path: &Path,
    file: &ImageFile,
    header: &Header,
) -> Result<[Vec<u8>; SECTIONS.len()], Error> {
    let mut contents = [const { Vec::new() }; SECTIONS.len()];
    let mut offset = header.contents_end;
    let sections = header.sections.iter().zip(SECTIONS).zip(&mut contents);
    for ((section, part), content) in sections {
        *content = vec![0; usize::try_from(section.bytes).expect("sections have a limit")];
        file.read(offset, content)
            .map_err(Error::io("read", path))?;
        if Section::of(content) != *section {
            return Err(Error::damaged(path, part));
        }
        offset += section.bytes;
    }
    Ok(contents)
}

fn host_state(
    path: &Path,
    module: &dyn Module,
    has_host: bool,
    bytes: &[u8],
) -> Result<Option<Arc<dyn HostState>>, Error> {
    if !has_host {
        let reason = "it has a state of a host, and says that it has none";
        let empty = bytes.is_empty().then_some(None);
        return empty.ok_or_else(|| Error::invalid(path, reason));
    }
    let host = module.decode_host_state(bytes);
    host.map(Some).map_err(|source| Error::Host {
        path: path.to_owned(),
        source: source.into(),
    })
}

/// The images of all memories. Their extents fill the file's contents.
fn images(
    path: &Path,
    file: &ImageFile,
    header: &Header,
    memories: Vec<Memory>,
) -> Result<Vec<(Memory, MemoryImage)>, Error> {
    let misfit = || Error::invalid(path, "the memories' extents are not what the file holds");
    let mut at = CONTENTS;
    let mut images = Vec::with_capacity(memories.len());
    for memory in memories {
        let (extents, end) = memory.file_extents(at).ok_or_else(misfit)?;
        if end > header.contents_end {
            return Err(misfit());
        }
        let image = MemoryImage::of_file(file, memory.bytes, &extents);
        let image = image.map_err(Error::image("make an image of", path))?;
        at = end;
        images.push((memory, image));
    }
    if at != header.contents_end {
        return Err(misfit());
    }
    Ok(images)
}

fn snapshot(module: ModuleHash, memories: &[(Memory, MemoryImage)], state: &State) -> Snapshot {
    let memories = memories.iter();
    let references = state.references.iter();
    Snapshot::new(SnapshotParts {
        module,
        memories: memories
            .map(|(memory, image)| (MemoryIndex(memory.index), image.clone()))
            .collect(),
        globals: encoding::globals(state).collect(),
        references: references
            .map(|(index, reference)| (GlobalIndex(*index), (*reference).into()))
            .collect(),
        tables: encoding::tables(state).collect(),
        dropped: DroppedSegments {
            data: state.dropped_data.clone(),
            elements: state.dropped_elements.clone(),
        },
        // The host puts objects of its own in these places.
        objects: (0..state.objects).map(ExternRef::new).collect(),
    })
}
