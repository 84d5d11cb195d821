//! Durable checkpoints: files that take the place of records in the store.
//!
//! There are two kinds. Where a checkpoint takes the place of entries in memory
//! ([`History::Checkpoint`](crate::History::Checkpoint)), the file has its snapshot. Where all
//! entries are kept that live objects need, the file has those. Either has what else the journal
//! knows: answers to calls with an id, cuts, the host calls of the first instantiation.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use checkpoint_file::Found;
use engine_api::Module;
use guest_calls::{Object, Objects, new_handle_tag, with_causes};
use serde::{Deserialize, Serialize};

use crate::checkpoint::Checkpoint;
use crate::journal::record::{self, Context, FORMAT, NoRecord};
use crate::journal::{AnsweredCall, Cut, Genesis, Maker};
use crate::journal_reader::{CheckpointContent, CheckpointKind};
use crate::journal_store::Position;
use crate::{Entry, Handle, RecordView, SequenceNumber};

/// What the files of the second kind begin with.
const MAGIC: &[u8; 8] = b"wpx-ents";

/// The magic, the format, the length and the hash.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;

/// What a durable checkpoint has.
pub(crate) struct DurableCheckpoint {
    pub(crate) state: Kept,
    pub(crate) notes: Notes,
}

/// From what the state is made again.
pub(crate) enum Kept {
    /// A verified checkpoint in memory.
    Checkpoint(Arc<Checkpoint>),
    /// The entries that live objects need.
    Entries(Vec<Arc<Entry>>),
}

/// What else the journal knew at that entry.
pub(crate) struct Notes {
    /// The newest entry.
    pub(crate) sequence: SequenceNumber,
    pub(crate) genesis: Genesis,
    /// The objects that are alive in the checkpoint, and what made each.
    pub(crate) makers: Vec<(Handle, Maker)>,
    pub(crate) answered: Vec<(Arc<AnsweredCall>, SequenceNumber)>,
    pub(crate) cuts: Vec<Cut>,
}

/// A durable checkpoint as it is read.
pub(crate) struct Loaded {
    pub(crate) notes: Notes,
    pub(crate) state: LoadedState,
}

pub(crate) enum LoadedState {
    Checkpoint {
        snapshot: Box<engine_api::Snapshot>,
        objects: Objects,
    },
    Entries(Vec<Entry>),
}

#[derive(Serialize, Deserialize)]
struct StoredNotes<'a> {
    format: u32,
    sequence: u64,
    #[serde(borrow)]
    genesis: &'a [u8],
    #[serde(borrow)]
    makers: Vec<StoredMaker<'a>>,
    #[serde(borrow)]
    objects: Vec<StoredObject<'a>>,
    /// Records, each with the newest entry of its time.
    #[serde(borrow)]
    answered: Vec<(&'a [u8], u64)>,
    #[serde(borrow)]
    cuts: Vec<&'a [u8]>,
    #[serde(borrow)]
    entries: Vec<&'a [u8]>,
}

#[derive(Serialize, Deserialize)]
struct StoredMaker<'a> {
    handle: (u64, u32),
    func: u32,
    export: &'a str,
    #[serde(borrow)]
    ty: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
struct StoredObject<'a> {
    handle: (u64, u32),
    raw: u64,
    #[serde(borrow)]
    ty: Option<&'a str>,
}

impl DurableCheckpoint {
    /// Writes the file for a position of the journal into a folder, and returns its name and its
    /// length in bytes. It is on the disk afterwards.
    ///
    /// # Errors
    ///
    /// Why not, in words.
    pub(crate) fn write(&self, folder: &Path, position: Position) -> Result<(String, u64), String> {
        let notes = self.encode()?;
        match &self.state {
            Kept::Checkpoint(checkpoint) => {
                let begun = folder.join(position.to_string());
                let name = |hash: &[u8; 32]| name_of(position, hash, "state");
                let path = |hash: &[u8; 32]| folder.join(name(hash));
                let snapshot = &checkpoint.snapshot;
                let written = checkpoint_file::write_renamed(begun, path, snapshot, &notes);
                let written = written.map_err(|error| with_causes(&error))?;
                // Without a stamp, the next opening takes longer.
                let _ = checkpoint_file::stamp(&path(&written.hash));
                Ok((name(&written.hash), written.bytes))
            }
            Kept::Entries(_) => {
                let name = name_of(position, blake3::hash(&notes).as_bytes(), "entries");
                let path = folder.join(&name);
                let bytes = write_whole(&path, &notes).map_err(|error| {
                    format!("cannot write `{}`: {error}; check the disk", path.display())
                })?;
                Ok((name, bytes))
            }
        }
    }

    fn encode(&self) -> Result<Vec<u8>, NoRecord> {
        let Notes {
            sequence,
            genesis,
            makers,
            answered,
            cuts,
        } = &self.notes;
        let genesis = record::encode_genesis(genesis)?;
        let answered: Vec<(Vec<u8>, u64)> = answered
            .iter()
            .map(|(answered, at)| Ok((record::encode_answer(answered)?, at.0)))
            .collect::<Result<_, NoRecord>>()?;
        let cuts: Vec<Vec<u8>> = cuts
            .iter()
            .map(|cut| record::encode_cut(cut, None))
            .collect::<Result<_, _>>()?;
        let (entries, objects) = match &self.state {
            Kept::Entries(entries) => {
                let encoded = entries
                    .iter()
                    .map(|entry| record::encode_entry(entry, None));
                (encoded.collect::<Result<Vec<_>, _>>()?, Vec::new())
            }
            Kept::Checkpoint(checkpoint) => (Vec::new(), stored_objects(&checkpoint.objects)),
        };
        let stored = StoredNotes {
            format: FORMAT,
            sequence: sequence.0,
            genesis: &genesis,
            makers: makers.iter().map(StoredMaker::of).collect(),
            objects,
            answered: answered
                .iter()
                .map(|(record, at)| (&**record, *at))
                .collect(),
            cuts: cuts.iter().map(Vec::as_slice).collect(),
            entries: entries.iter().map(Vec::as_slice).collect(),
        };
        postcard::to_allocvec(&stored).map_err(|error| error.to_string())
    }
}

impl Loaded {
    /// Reads a file and checks all of it.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in words. It may have any content.
    pub(crate) fn open(
        path: &Path,
        module: &dyn Module,
        context: &Context<'_>,
    ) -> Result<Self, String> {
        Self::open_found(path, None, module, context)
    }

    /// Reads a file. If it was found before, somebody checks the contents of its memories.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(crate) fn open_found(
        path: &Path,
        found: Option<&Found>,
        module: &dyn Module,
        context: &Context<'_>,
    ) -> Result<Self, String> {
        if is_of_entries(path) {
            let bytes = read_whole(path)?;
            let (notes, objects, entries) = decode(&bytes, context)?;
            if !objects.is_empty() {
                return Err("it names objects of a state, and has none".to_owned());
            }
            let state = LoadedState::Entries(entries);
            return Ok(Self { notes, state });
        }
        let opened = match found {
            Some(found) => found.open(module),
            None => checkpoint_file::open(path, module),
        };
        let opened = opened.map_err(|error| with_causes(&error))?;
        check_name(path, &opened.hash)?;
        let (notes, objects, entries) = decode(&opened.notes, context)?;
        if !entries.is_empty() {
            return Err("it has a state, and entries too".to_owned());
        }
        let snapshot = Box::new(opened.snapshot);
        let state = LoadedState::Checkpoint { snapshot, objects };
        Ok(Self { notes, state })
    }
}

impl Loaded {
    /// The first instantiation, as a file of entries has it.
    pub(crate) fn genesis(path: &Path) -> Result<Genesis, String> {
        if !is_of_entries(path) {
            return Err("it is a state, which no other module has".to_owned());
        }
        let bytes = read_whole(path)?;
        let stored: StoredNotes<'_> =
            postcard::from_bytes(&bytes).map_err(|error| error.to_string())?;
        record::decode_genesis(stored.genesis)
    }
}

/// What a file has, for somebody who has no module. All of it is checked against its hashes.
///
/// # Errors
///
/// What is wrong with it, in words. It may have any content.
pub(crate) fn look_at(path: &Path) -> Result<CheckpointContent, String> {
    if is_of_entries(path) {
        let bytes = read_whole(path)?;
        let kind = |stored: &StoredNotes<'_>| CheckpointKind::Entries {
            entries: stored.entries.len(),
        };
        return content(&bytes, kind);
    }
    let inspected = checkpoint_file::inspect(path).map_err(|error| with_causes(&error))?;
    check_name(path, &inspected.hash)?;
    let (module, memory_bytes) = (inspected.module, inspected.memory_bytes);
    content(&inspected.notes, |_| CheckpointKind::State {
        module,
        memory_bytes,
    })
}

fn content(
    bytes: &[u8],
    kind: impl FnOnce(&StoredNotes<'_>) -> CheckpointKind,
) -> Result<CheckpointContent, String> {
    let stored = stored(bytes)?;
    // Nobody sees the handles.
    let tag = new_handle_tag();
    let records = stored.entries.iter().chain(&stored.cuts);
    let records = records.chain(stored.answered.iter().map(|(record, _)| record));
    for record in records {
        RecordView::read(record, tag)?;
    }
    record::decode_genesis(stored.genesis)?;
    Ok(CheckpointContent {
        sequence: SequenceNumber(stored.sequence),
        objects: stored.makers.len(),
        answers: stored.answered.len(),
        kind: kind(&stored),
    })
}

/// The name of the file for a position. It has the content's hash: the journal knows the name, and so
/// knows its own checkpoint from one of the same position in another journal, or from an older one.
fn name_of(position: Position, hash: &[u8; 32], extension: &str) -> String {
    format!("{position}-{}.{extension}", hash_in_name(hash))
}

/// Half of a hash, in hexadecimal.
fn hash_in_name(hash: &[u8; 32]) -> String {
    let mut hex = blake3::Hash::from(*hash).to_hex().to_string();
    hex.truncate(32);
    hex
}

/// Refuses a file whose name has another content's hash. Names of earlier releases have none.
fn check_name(path: &Path, hash: &[u8; 32]) -> Result<(), String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    match stem.split_once('-') {
        Some((_, named)) if named != hash_in_name(hash) => {
            Err("it is another checkpoint than the one of this name".to_owned())
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_of_entries(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "entries")
}

fn stored(bytes: &[u8]) -> Result<StoredNotes<'_>, String> {
    let (stored, rest) =
        postcard::take_from_bytes::<StoredNotes<'_>>(bytes).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err(format!("{} bytes are left over", rest.len()));
    }
    if stored.format != FORMAT {
        return Err(format!(
            "it has format {}, and this release reads {FORMAT}",
            stored.format
        ));
    }
    Ok(stored)
}

fn decode(bytes: &[u8], context: &Context<'_>) -> Result<(Notes, Objects, Vec<Entry>), String> {
    let stored = stored(bytes)?;
    let handle =
        |(sequence, result): (u64, u32)| Handle::new(SequenceNumber(sequence), result, context.tag);
    let mut objects = Objects::default();
    for object in &stored.objects {
        let (raw, ty) = (object.raw, object.ty.map(Into::into));
        objects.insert(handle(object.handle), Object { raw, ty });
    }
    let makers = stored.makers.iter();
    let makers = makers.map(|maker| Ok((handle(maker.handle), maker.read(context)?)));
    let entries = stored.entries.iter();
    let entries = entries.map(|record| record::decode_entry(record, context));
    let answered = stored.answered.iter();
    let answered = answered.map(|(record, at)| {
        let answered = record::decode_answer(record, context)?;
        Ok((Arc::new(answered), SequenceNumber(*at)))
    });
    let cuts = stored.cuts.iter();
    let notes = Notes {
        sequence: SequenceNumber(stored.sequence),
        genesis: record::decode_genesis(stored.genesis)?,
        makers: makers.collect::<Result<_, String>>()?,
        answered: answered.collect::<Result<_, String>>()?,
        cuts: cuts
            .map(|record| record::decode_cut(record, context))
            .collect::<Result<_, _>>()?,
    };
    Ok((notes, objects, entries.collect::<Result<_, _>>()?))
}

fn stored_objects(objects: &Objects) -> Vec<StoredObject<'_>> {
    let mut stored: Vec<_> = objects
        .iter()
        .map(|(handle, object)| StoredObject {
            handle: (handle.sequence().0, handle.result()),
            raw: object.raw,
            ty: object.ty.as_deref(),
        })
        .collect();
    stored.sort_unstable_by_key(|object| object.handle);
    stored
}

impl<'a> StoredMaker<'a> {
    fn of((handle, maker): &'a (Handle, Maker)) -> Self {
        Self {
            handle: (handle.sequence().0, handle.result()),
            func: maker.func.0,
            export: &maker.export,
            ty: maker.ty.as_deref(),
        }
    }

    fn read(&self, context: &Context<'_>) -> Result<Maker, String> {
        let plan = context.plan_of(self.func, self.export)?;
        Ok(Maker {
            func: plan.func,
            export: Arc::clone(&plan.name),
            ty: self.ty.map(Into::into),
        })
    }
}

/// Writes a file of the second kind under another name, and renames it.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<u64> {
    let temporary = path.with_extension("part");
    let mut file = File::create(&temporary)?;
    let mut header = Vec::with_capacity(HEADER_BYTES);
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&FORMAT.to_le_bytes());
    header.extend_from_slice(&(content.len() as u64).to_le_bytes());
    header.extend_from_slice(blake3::hash(content).as_bytes());
    file.write_all(&header)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok((HEADER_BYTES + content.len()) as u64)
}

fn read_whole(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = std::fs::read(path)
        .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    let Some((header, content)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err("it was cut".to_owned());
    };
    if &header[..8] != MAGIC {
        return Err("it is no file of entries".to_owned());
    }
    if header[8..12] != FORMAT.to_le_bytes() {
        return Err("it has another release's format".to_owned());
    }
    if header[12..20] != (content.len() as u64).to_le_bytes() {
        return Err("it was cut, or added to".to_owned());
    }
    let hash = blake3::hash(content);
    if &header[20..] != hash.as_bytes() {
        return Err("it is damaged".to_owned());
    }
    check_name(path, hash.as_bytes())?;
    Ok(bytes.split_off(HEADER_BYTES))
}
