//! The names in the directory, and files that are there as a whole or not at all.

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;

use proxy_core::StoreError;

use crate::storage::{Access, Storage};
use crate::trouble::Trouble;

pub(crate) const RECORDS: &str = "journal.redb";
pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const WATERMARK: &str = "watermark";
pub(crate) const OBJECTS: &str = "objects";
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// The end of a name that is not final yet.
pub(crate) const NEW: &str = ".new";

/// The name of a file in a folder of the directory.
pub(crate) fn within(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// Writes a file beside its place, flushes it, and renames it.
pub(crate) fn write_whole(
    storage: &dyn Storage,
    folder: &str,
    name: &str,
    bytes: &[u8],
) -> Result<(), Trouble> {
    let path = within(folder, name);
    let new = format!("{path}{NEW}");
    write_new(storage, &new, bytes).inspect_err(|_| {
        // The error is the one to report. What is left goes when the name is needed again.
        drop(storage.remove(&new));
    })?;
    storage.rename(&new, &path).map_err(Trouble::of_write)?;
    storage.sync_folder(folder).map_err(Trouble::Failed)
}

fn write_new(storage: &dyn Storage, new: &str, bytes: &[u8]) -> Result<(), Trouble> {
    let file = match storage.create(new) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            storage.remove(new).map_err(Trouble::Failed)?;
            storage.create(new)
        }
        file => file,
    };
    let file = file.map_err(Trouble::of_write)?;
    file.write(0, bytes).map_err(Trouble::of_write)?;
    file.sync().map_err(Trouble::Failed)
}

/// Reads a file. `None` if there is none.
pub(crate) fn read_whole(storage: &dyn Storage, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
    let read = || -> io::Result<Vec<u8>> {
        let file = storage.open(path, Access::Read)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(io::Error::other)?;
        bytes.resize(len, 0);
        file.read(0, &mut bytes)?;
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(path, error)),
    }
}

pub(crate) fn unreadable(path: &str, source: io::Error) -> StoreError {
    StoreError::Unreadable {
        path: PathBuf::from(path),
        source: Arc::new(source),
    }
}

/// Deletes the files of a folder that are not kept. One that cannot be deleted does not keep the
/// others. The error is the first.
pub(crate) fn delete_others(
    storage: &dyn Storage,
    folder: &str,
    is_kept: impl Fn(&str) -> bool,
) -> io::Result<()> {
    let mut result = Ok(());
    for (name, _) in storage.list(folder)? {
        if !is_kept(&name) {
            let name = within(folder, &name);
            let removed = storage
                .remove(&name)
                .map_err(|error| io::Error::new(error.kind(), format!("`{name}`: {error}")));
            result = result.and(removed);
        }
    }
    result
}
