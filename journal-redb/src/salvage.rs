//! What is left of a damaged journal, as a new one.

use std::fs::{self, File};
use std::path::Path;

use proxy_core::{CheckpointRef, Head, Position, StoreError, StoredRecord, chain_origin};

use crate::copying::{JournalCopy, Origin};
use crate::files::CHECKPOINTS;
use crate::journal::take_lock;
use crate::manifest::{Manifest, Place};
use crate::opening::{check_there, follow, of_reading};
use crate::records::Records;
use crate::storage::{Access, Directory};
use crate::trouble::Trouble;
use crate::watermark::Watermark;

/// A report of [`salvage`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Salvaged {
    /// Of the new journal.
    pub head: Head,
    /// The newest record that is known to have been acknowledged.
    pub expected: Position,
    /// What was wrong after the newest record that was taken, if anything was.
    pub fault: Option<StoreError>,
    /// The checkpoints that were taken, newest first.
    pub checkpoints: Vec<CheckpointRef>,
    /// The checkpoints that were not, and why.
    pub checkpoints_lost: Vec<(CheckpointRef, String)>,
}

/// Where a new journal could begin, and how far its records go from there.
struct Prefix {
    start: Place,
    last: Place,
    fault: Option<StoreError>,
}

struct Damaged<'a> {
    path: &'a Path,
    storage: Directory,
    manifest: Manifest,
    /// Why they cannot be read, if they cannot.
    records: Result<Records, StoreError>,
    /// Places that are known from outside of the records.
    known: Vec<Place>,
}

/// Makes a new journal in `to` of what is good in the journal in `from`: the longest run of records
/// from its beginning, or from a checkpoint, and the checkpoints. It goes on with the name and the
/// chain of the old one, which is not changed, and must have no owner. `check` says what is wrong
/// with a checkpoint's file.
///
/// # Errors
///
/// [`StoreError::Missing`] and [`StoreError::InUse`]; [`StoreError::Corrupt`] and
/// [`StoreError::Format`] if the manifest cannot be read, or neither a first record nor a
/// checkpoint can; those of [`JournalCopy`].
pub fn salvage(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    check: impl Fn(&Path) -> Result<(), String>,
) -> Result<Salvaged, StoreError> {
    let from = from.as_ref();
    let storage = Directory::new(from);
    check_there(&storage, from)?;
    let _lock = take_lock(&storage, from, Access::Read)?;
    let manifest = Manifest::read(&storage)?.ok_or_else(|| StoreError::Missing {
        path: from.to_owned(),
    })?;
    let mut known = vec![manifest.head];
    // One that cannot be read knows nothing.
    known.extend(Watermark::read(&storage, manifest.id).ok().flatten());
    let expected = known.iter().map(|place| place.position).max();
    let records = Records::open(&storage, Access::Read)
        .or_else(|_| Records::open_damaged(&storage))
        .map_err(of_reading);
    let damaged = Damaged {
        path: from,
        storage,
        manifest,
        records,
        known,
    };
    let (checkpoints, mut checkpoints_lost) = damaged.checkpoints(&check);
    let prefix = damaged.longest(&checkpoints)?;
    let is_within = |checkpoint: &CheckpointRef| {
        checkpoint.position >= prefix.start.position && checkpoint.position <= prefix.last.position
    };
    let (checkpoints, outside): (Vec<_>, Vec<_>) = checkpoints.into_iter().partition(is_within);
    let reason = || "it is older than what was saved".to_owned();
    checkpoints_lost.extend(outside.into_iter().map(|one| (one, reason())));
    let head = damaged.copy(to.as_ref(), &prefix, &checkpoints)?;
    Ok(Salvaged {
        head,
        expected: expected.unwrap_or_default(),
        fault: prefix.fault,
        checkpoints,
        checkpoints_lost,
    })
}

impl Damaged<'_> {
    /// The checkpoints whose files are good, and the others with the reason.
    fn checkpoints(
        &self,
        check: &impl Fn(&Path) -> Result<(), String>,
    ) -> (Vec<CheckpointRef>, Vec<(CheckpointRef, String)>) {
        let folder = self.path.join(CHECKPOINTS);
        let (mut good, mut lost) = (Vec::new(), Vec::new());
        for checkpoint in &self.manifest.checkpoints {
            let path = folder.join(&checkpoint.file);
            let length = path.metadata().map(|file| file.len());
            let fault = match length {
                Err(error) => Err(error.to_string()),
                Ok(length) if length != checkpoint.bytes => Err(format!(
                    "it has {length} bytes in place of {}",
                    checkpoint.bytes
                )),
                Ok(_) => check(&path),
            };
            match fault {
                Ok(()) => good.push(checkpoint.clone()),
                Err(reason) => lost.push((checkpoint.clone(), reason)),
            }
        }
        (good, lost)
    }

    /// The run of records that ends last, and of several the one that begins first.
    fn longest(&self, checkpoints: &[CheckpointRef]) -> Result<Prefix, StoreError> {
        let origin = Place {
            position: Position::ZERO,
            hash: chain_origin(self.manifest.id, &self.manifest.identity),
        };
        let begins = self.begins_at(Position::ZERO)?;
        let places = checkpoints.iter().rev().map(|checkpoint| Place {
            position: checkpoint.position,
            hash: checkpoint.hash,
        });
        let starts = begins.then_some(origin).into_iter().chain(places);
        let mut longest: Option<Prefix> = None;
        for start in starts {
            let prefix = self.walk(start);
            let is_longer = longest
                .as_ref()
                .is_none_or(|longest| prefix.last.position > longest.last.position);
            if is_longer {
                longest = Some(prefix);
            }
        }
        longest.ok_or_else(|| StoreError::Corrupt {
            position: Position::ZERO,
            what: match &self.records {
                Ok(_) => "its beginning is gone, and no checkpoint is good".to_owned(),
                Err(error) => format!("nothing of it can be read: {error}"),
            },
        })
    }

    /// Whether the records are this journal's, and begin there.
    fn begins_at(&self, position: Position) -> Result<bool, StoreError> {
        let Ok(records) = &self.records else {
            return Ok(false);
        };
        match records.beginning() {
            Ok(Some(beginning)) if beginning.id != self.manifest.id => Err(StoreError::Foreign {
                expected: self.manifest.id,
                got: beginning.id,
            }),
            Ok(Some(beginning)) => Ok(beginning.base.position == position),
            // The table with the records may be good where this one is not.
            _ => Ok(self.manifest.checkpoints.is_empty()),
        }
    }

    /// Follows the records from a place as far as they are good.
    fn walk(&self, start: Place) -> Prefix {
        let (last, fault) = self.visit(start, |_| Ok(()));
        let fault = fault.or_else(|| {
            let expected = self.known.iter().map(|place| place.position).max()?;
            let got = last.position;
            (got < expected).then_some(StoreError::Older { expected, got })
        });
        Prefix { start, last, fault }
    }

    /// Gives each good record after a place to a visitor, and says where they end and why.
    fn visit(
        &self,
        start: Place,
        mut visitor: impl FnMut(&StoredRecord) -> Result<(), StoreError>,
    ) -> (Place, Option<StoreError>) {
        let records = match &self.records {
            Ok(records) => records,
            Err(error) => return (start, Some(error.clone())),
        };
        let (mut last, mut fault) = (start, None);
        let visited = records.visit_after(start.position, |position, row| {
            let step = row
                .map_err(|what| StoreError::Corrupt { position, what })
                .and_then(|row| {
                    let (place, bytes) = follow(&self.storage, last, position, &row)?;
                    self.check_known(place)?;
                    visitor(&StoredRecord {
                        position,
                        hash: place.hash,
                        bytes: bytes.into_owned(),
                    })?;
                    last = place;
                    Ok(())
                });
            fault = step.err();
            fault.is_none()
        });
        let broken = visited.err().map(|trouble| StoreError::Corrupt {
            position: last.position.next(),
            what: of_reading(trouble).to_string(),
        });
        (last, fault.or(broken))
    }

    fn check_known(&self, place: Place) -> Result<(), StoreError> {
        let is_other = |known: &Place| known.position == place.position && known.hash != place.hash;
        if self.known.iter().any(is_other) {
            return Err(StoreError::Corrupt {
                position: place.position,
                what: "the records up to it are not those that were acknowledged".to_owned(),
            });
        }
        Ok(())
    }

    fn copy(
        &self,
        to: &Path,
        prefix: &Prefix,
        checkpoints: &[CheckpointRef],
    ) -> Result<Head, StoreError> {
        let origin = Origin {
            id: self.manifest.id,
            identity: self.manifest.identity.clone(),
            epoch: self.manifest.epoch,
            position: prefix.start.position,
            hash: prefix.start.hash,
        };
        let mut copy = JournalCopy::create(to, origin)?;
        let mut failed = None;
        self.visit(prefix.start, |record| {
            copy.append(record).inspect_err(|error| {
                failed = Some(error.clone());
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        for checkpoint in checkpoints {
            let from = self.path.join(CHECKPOINTS).join(&checkpoint.file);
            let to = copy.checkpoint_folder().join(&checkpoint.file);
            let copied = fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all());
            copied.map_err(|error| Trouble::of_write(error).into_error())?;
        }
        copy.finish(checkpoints.to_vec())
    }
}
