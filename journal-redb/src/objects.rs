//! Records that are too large for redb, in files by the hash of their content.

use std::collections::{BTreeMap, HashSet};
use std::io;

use proxy_core::{Position, StoreError};

use crate::files::{self, OBJECTS, within};
use crate::storage::Storage;
use crate::trouble::Trouble;

/// A record above this size goes into a file of its own: 64 KiB.
pub(crate) const INLINE_BYTES_MAX: usize = 64 << 10;

pub(crate) type ContentHash = [u8; 32];

/// Which objects the records refer to.
#[derive(Debug, Default)]
pub(crate) struct Objects(BTreeMap<Position, ContentHash>);

impl Objects {
    pub(crate) fn insert(&mut self, position: Position, hash: ContentHash) {
        self.0.insert(position, hash);
    }

    /// The records up to a position are gone.
    pub(crate) fn forget(&mut self, up_to: Position) {
        self.0 = self.0.split_off(&up_to.next());
    }

    /// Deletes the files to which no record refers.
    pub(crate) fn delete_others(&self, storage: &dyn Storage) -> io::Result<()> {
        let names: HashSet<String> = self.0.values().map(file_name).collect();
        files::delete_others(storage, OBJECTS, |name| names.contains(name))
    }
}

/// Writes an object, durably, unless it is there and good.
pub(crate) fn write(storage: &dyn Storage, bytes: &[u8]) -> Result<ContentHash, Trouble> {
    let hash = *blake3::hash(bytes).as_bytes();
    let name = file_name(&hash);
    let there = files::read_whole(storage, &within(OBJECTS, &name));
    if there.is_ok_and(|there| there.as_deref() == Some(bytes)) {
        // A crash may have come between the file's rename and the flush of its folder.
        storage.sync_folder(OBJECTS).map_err(Trouble::Failed)?;
    } else {
        files::write_whole(storage, OBJECTS, &name, bytes)?;
    }
    Ok(hash)
}

/// Reads the object of the record at a position.
pub(crate) fn read(
    storage: &dyn Storage,
    position: Position,
    hash: &ContentHash,
) -> Result<Vec<u8>, StoreError> {
    let path = within(OBJECTS, &file_name(hash));
    let corrupt = |what: &str| StoreError::Corrupt {
        position,
        what: format!("its object `{path}` {what}"),
    };
    match files::read_whole(storage, &path)? {
        None => Err(corrupt("is gone")),
        Some(bytes) if blake3::hash(&bytes) != *hash => Err(corrupt("is not what was written")),
        Some(bytes) => Ok(bytes),
    }
}

fn file_name(hash: &ContentHash) -> String {
    blake3::Hash::from(*hash).to_hex().to_string()
}
