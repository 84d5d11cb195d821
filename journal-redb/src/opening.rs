//! What must hold of a directory before it is a journal.

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::path::Path;

use proxy_core::{Epoch, Identity, JournalId, Position, StoreError, chain_next, chain_origin};

use crate::files::{self, CHECKPOINTS, MANIFEST, NEW, OBJECTS, RECORDS, WATERMARK};
use crate::manifest::{Manifest, Place};
use crate::objects::{self, Objects};
use crate::records::{Beginning, Content, Records, Row};
use crate::storage::{Access, LOCK, Storage};
use crate::trouble::Trouble;
use crate::watermark::Watermark;

/// A journal that was read from its beginning to its end.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) manifest: Manifest,
    pub(crate) records: Records,
    pub(crate) objects: Objects,
    /// The place before the oldest record.
    pub(crate) base: Place,
    /// The newest record's, or the base.
    pub(crate) last: Place,
}

/// Makes a journal in a directory that has none. The manifest comes last: before it is there, what
/// else is there is nobody's, and is made once more.
pub(crate) fn create(
    storage: &dyn Storage,
    path: &Path,
    identity: Identity,
) -> Result<(), StoreError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id)
        .map_err(|error| files::unreadable("random", io::Error::other(error)))?;
    let id = JournalId(id);
    check_unused(storage, path)?;
    let hash = chain_origin(id, &identity);
    let base = Place {
        position: Position::ZERO,
        hash,
    };
    let manifest = Manifest {
        id,
        identity,
        epoch: Epoch(0),
        head: base,
        checkpoints: Vec::new(),
    };
    lay_out(storage, Beginning { id, base }, &manifest).map_err(Trouble::into_error)
}

fn lay_out(
    storage: &dyn Storage,
    beginning: Beginning,
    manifest: &Manifest,
) -> Result<(), Trouble> {
    create_folders(storage)?;
    let new = format!("{RECORDS}{NEW}");
    remove_left(storage)?;
    Records::create(storage, &new, beginning)?;
    storage.rename(&new, RECORDS).map_err(Trouble::of_write)?;
    storage.sync_folder("").map_err(Trouble::Failed)?;
    manifest.write(storage)
}

pub(crate) fn create_folders(storage: &dyn Storage) -> Result<(), Trouble> {
    for folder in [OBJECTS, CHECKPOINTS] {
        storage.create_folder(folder).map_err(Trouble::of_write)?;
    }
    Ok(())
}

/// Makes the folders that are gone. Copies of a directory may lack empty ones.
pub(crate) fn create_missing_folders(storage: &dyn Storage) -> Result<(), Trouble> {
    for folder in [OBJECTS, CHECKPOINTS] {
        match storage.list(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                storage.create_folder(folder).map_err(Trouble::of_write)?;
            }
            found => found.map(drop).map_err(Trouble::of_write)?,
        }
    }
    Ok(())
}

/// Removes what an unfinished creation has left.
pub(crate) fn remove_left(storage: &dyn Storage) -> Result<(), Trouble> {
    for left in [&format!("{RECORDS}{NEW}"), RECORDS] {
        match storage.remove(left) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => result.map_err(Trouble::of_write)?,
        }
    }
    Ok(())
}

/// Whether nothing is in the directory but what an unfinished creation may have left.
pub(crate) fn check_unused(storage: &dyn Storage, path: &Path) -> Result<(), StoreError> {
    let names = storage
        .list("")
        .map_err(|error| files::unreadable(".", error))?;
    let is_left = |name: &str| match name {
        RECORDS => !has_records(storage),
        OBJECTS => holds_only(storage, OBJECTS, is_object),
        CHECKPOINTS => holds_only(storage, CHECKPOINTS, is_checkpoint),
        LOCK | WATERMARK => true,
        name => name.ends_with(NEW),
    };
    if names.iter().all(|(name, _)| is_left(name)) {
        Ok(())
    } else {
        Err(StoreError::Exists {
            path: path.to_owned(),
        })
    }
}

/// Whether nothing else is in a folder. One that cannot be listed may have anything.
fn holds_only(storage: &dyn Storage, folder: &str, is_ours: impl Fn(&str) -> bool) -> bool {
    let names = storage.list(folder);
    names.is_ok_and(|names| names.iter().all(|(name, _)| is_ours(name)))
}

/// Whether a copy may have left a file of this name among its objects.
fn is_object(name: &str) -> bool {
    let hash = name.strip_suffix(NEW).unwrap_or(name);
    hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a copy may have left a file of this name among its checkpoints. They are named by
/// positions.
fn is_checkpoint(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_digit())
        && [".state", ".entries"]
            .iter()
            .any(|kind| name.contains(kind))
}

/// Whether the file may have records. One that cannot be read may.
fn has_records(storage: &dyn Storage) -> bool {
    let read = || -> Result<bool, Trouble> {
        let file = storage
            .open(RECORDS, Access::Read)
            .map_err(Trouble::Failed)?;
        if file.len().map_err(Trouble::Failed)? == 0 {
            return Ok(false);
        }
        let records = Records::open(storage, Access::Read)?;
        let beginning = records.beginning()?;
        let is_first = |beginning: Beginning| beginning.base.position == Position::ZERO;
        Ok(!beginning.is_none_or(is_first) || records.last()?.is_some())
    };
    read().unwrap_or(true)
}

/// Whether the directory has a journal at all.
pub(crate) fn check_there(storage: &dyn Storage, path: &Path) -> Result<(), StoreError> {
    match storage.open(MANIFEST, Access::Read) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(files::unreadable(MANIFEST, error))
        }
        Err(_) if is_there(storage, RECORDS) && has_records(storage) => Err(StoreError::Corrupt {
            position: Position::ZERO,
            what: "its manifest is gone".to_owned(),
        }),
        Err(_) => Err(missing(path)),
    }
}

fn is_there(storage: &dyn Storage, name: &str) -> bool {
    storage.open(name, Access::Read).is_ok()
}

fn missing(path: &Path) -> StoreError {
    StoreError::Missing {
        path: path.to_owned(),
    }
}

/// Reads the whole journal and checks it. Nothing is changed.
pub(crate) fn check(
    storage: &dyn Storage,
    path: &Path,
    access: Access,
) -> Result<Checked, StoreError> {
    let manifest = Manifest::read(storage)?.ok_or_else(|| missing(path))?;
    let watermark = Watermark::read(storage, manifest.id);
    let watermark = watermark.map_err(|error| files::unreadable(WATERMARK, error))?;
    let expected = watermark.map_or(Position::ZERO, |place| place.position);
    let expected = expected.max(manifest.head.position);
    let empty = || StoreError::Empty {
        path: path.join(RECORDS),
        expected,
    };
    match storage
        .open(RECORDS, Access::Read)
        .and_then(|file| file.len())
    {
        Ok(0) => return Err(empty()),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(empty()),
        Err(error) => return Err(files::unreadable(RECORDS, error)),
    }
    let records = Records::open(storage, access).map_err(of_reading)?;
    let beginning = records.beginning().map_err(of_reading)?.ok_or_else(empty)?;
    check_beginning(&manifest, beginning)?;

    let mut known = vec![manifest.head];
    known.extend(watermark);
    known.extend(manifest.checkpoints.iter().map(|checkpoint| Place {
        position: checkpoint.position,
        hash: checkpoint.hash,
    }));
    let mut walk = Walk {
        storage,
        known,
        last: beginning.base,
        objects: Objects::default(),
    };
    walk.run(&records)?;
    let Walk { last, objects, .. } = walk;
    if last.position < expected {
        return Err(StoreError::Older {
            expected,
            got: last.position,
        });
    }
    Ok(Checked {
        manifest,
        records,
        objects,
        base: beginning.base,
        last,
    })
}

/// Whether the log begins where the manifest says, or where it did before the manifest's list of
/// checkpoints was new: a crash may come between the two.
fn check_beginning(manifest: &Manifest, beginning: Beginning) -> Result<(), StoreError> {
    if beginning.id != manifest.id {
        return Err(StoreError::Foreign {
            expected: manifest.id,
            got: beginning.id,
        });
    }
    let base = beginning.base;
    let corrupt = |what: &str| {
        Err(StoreError::Corrupt {
            position: base.position,
            what: what.to_owned(),
        })
    };
    if base.position == Position::ZERO {
        if base.hash != chain_origin(manifest.id, &manifest.identity) {
            return corrupt("the records do not begin as the manifest says");
        }
        return Ok(());
    }
    match manifest.checkpoints.last() {
        Some(oldest) if base.position == oldest.position && base.hash != oldest.hash => {
            corrupt("the records do not begin where the oldest checkpoint ends")
        }
        Some(oldest) if base.position <= oldest.position => Ok(()),
        _ => corrupt("the manifest is older than the records"),
    }
}

/// One pass over the records.
struct Walk<'a> {
    storage: &'a dyn Storage,
    /// Places that are known from outside of the records.
    known: Vec<Place>,
    last: Place,
    objects: Objects,
}

impl Walk<'_> {
    fn run(&mut self, records: &Records) -> Result<(), StoreError> {
        self.check_known()?;
        let mut fault = None;
        let visited = records.visit_after(self.last.position, |position, row| {
            let step = row
                .map_err(|what| StoreError::Corrupt { position, what })
                .and_then(|row| {
                    let (last, _) = follow(self.storage, self.last, position, &row)?;
                    if let Content::Object { hash, .. } = row.content {
                        self.objects.insert(position, hash);
                    }
                    self.last = last;
                    self.check_known()
                });
            fault = step.err();
            fault.is_none()
        });
        visited.map_err(of_reading)?;
        fault.map_or(Ok(()), Err)
    }

    fn check_known(&self) -> Result<(), StoreError> {
        let last = self.last;
        let is_other = |place: &Place| place.position == last.position && place.hash != last.hash;
        if self.known.iter().any(is_other) {
            return Err(StoreError::Corrupt {
                position: last.position,
                what: "the records up to it are not those that were acknowledged".to_owned(),
            });
        }
        Ok(())
    }
}

/// The place after one more record and the record's bytes, if it is the one that belongs there.
pub(crate) fn follow<'a>(
    storage: &dyn Storage,
    last: Place,
    position: Position,
    row: &Row<'a>,
) -> Result<(Place, Cow<'a, [u8]>), StoreError> {
    let corrupt = |position, what: String| StoreError::Corrupt { position, what };
    let due = last.position.next();
    if position != due {
        let what = format!("the next record is {position}");
        return Err(corrupt(due, what));
    }
    let bytes = match row.content {
        Content::Inline(bytes) => Cow::Borrowed(bytes),
        Content::Object { hash, bytes: len } => {
            let bytes = objects::read(storage, position, &hash)?;
            if bytes.len() as u64 != len {
                return Err(corrupt(
                    position,
                    "its object has another length".to_owned(),
                ));
            }
            Cow::Owned(bytes)
        }
    };
    if chain_next(&last.hash, position, &bytes) != row.hash {
        return Err(corrupt(position, "its hash is not the chain's".to_owned()));
    }
    let hash = row.hash;
    Ok((Place { position, hash }, bytes))
}

/// The error of a step that only read.
pub(crate) fn of_reading(trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Full(error) | Trouble::Failed(error) => files::unreadable(RECORDS, error),
        damaged @ Trouble::Damaged(_) => damaged.into_error(),
    }
}
