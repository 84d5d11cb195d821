//! Whether two snapshots are equal: a hash of the state, and what differs, in words.

use super::{Snapshot, SnapshotParts};
use crate::{Error, Val};

impl Snapshot {
    /// The blake3 hash of the state: equal for equal states, on every engine and in every release
    /// of the same [`Snapshot::FORMAT`]. It reads all of the memories.
    ///
    /// It hashes these bytes, with all numbers little endian:
    ///
    /// ```text
    /// bytes      content
    /// 4          Snapshot::FORMAT
    /// 32         blake3 of the module's binary form
    /// 4          number of memories, and for each:
    ///   4          its index
    ///   8          its size in bytes
    ///   32         MemoryImage::digest
    /// 4          number of globals, and for each:
    ///   4          its index
    ///   1          the code of its type in the binary format of WebAssembly
    ///   16         its bits, padded with zeros
    /// 4          number of globals of references, and for each:
    ///   4          its index
    ///   5          its reference
    /// 4          number of tables, and for each:
    ///   4          its index
    ///   4          number of elements, and for each:
    ///     5          its reference
    /// 4          number of dropped data segments, and for each:
    ///   4          its index
    /// 4          number of dropped element segments, and for each:
    ///   4          its index
    /// 4          number of objects of the host
    /// 32         HostState::digest, or zeros
    /// ```
    ///
    /// A reference is one byte, 0 for null, 1 for a function and 2 for an object, and 4 bytes of its
    /// index. What an object is counts only if the host keeps it.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn digest(&self) -> Result<[u8; 32], Error> {
        let parts = &self.parts;
        let mut hasher = blake3::Hasher::new();
        hasher.update(&Self::FORMAT.to_le_bytes());
        hasher.update(parts.module.as_bytes());
        hasher.update(&count(parts.memories.len()));
        for (index, image) in &parts.memories {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&image.bytes().to_le_bytes());
            hasher.update(&image.digest()?);
        }
        hasher.update(&count(parts.globals.len()));
        for (index, value) in &parts.globals {
            let (ty, bits) = encoded(value);
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&[ty]);
            hasher.update(&bits.to_le_bytes());
        }
        hasher.update(&count(parts.references.len()));
        for (index, reference) in &parts.references {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&reference.encoded());
        }
        hasher.update(&count(parts.tables.len()));
        for (index, elements) in &parts.tables {
            hasher.update(&index.0.to_le_bytes());
            hasher.update(&count(elements.len()));
            for element in &**elements {
                hasher.update(&element.encoded());
            }
        }
        for dropped in [&parts.dropped.data, &parts.dropped.elements] {
            hasher.update(&count(dropped.len()));
            for index in dropped {
                hasher.update(&index.to_le_bytes());
            }
        }
        hasher.update(&count(parts.objects.len()));
        let host = self.host.as_ref();
        hasher.update(&host.map_or([0; 32], |host| host.digest()));
        Ok(hasher.finalize().into())
    }

    /// The first difference of another state from this one, in words, or `None` if they are equal.
    ///
    /// # Errors
    ///
    /// [`Error::Image`].
    pub fn difference(&self, other: &Self) -> Result<Option<String>, Error> {
        let (ours, theirs) = (&self.parts, &other.parts);
        if ours.module != theirs.module {
            return Ok(Some(format!(
                "module {} instead of {}",
                theirs.module, ours.module
            )));
        }
        if ours.memories.len() != theirs.memories.len()
            || ours.globals.len() != theirs.globals.len()
            || ours.references.len() != theirs.references.len()
            || ours.tables.len() != theirs.tables.len()
        {
            return Ok(Some(
                "another number of memories, globals or tables".to_owned(),
            ));
        }
        for ((index, ours), (_, theirs)) in ours.memories.iter().zip(&theirs.memories) {
            if ours.bytes() != theirs.bytes() {
                return Ok(Some(format!(
                    "memory {} of {} bytes instead of {}",
                    index.0,
                    theirs.bytes(),
                    ours.bytes()
                )));
            }
            if let Some(offset) = ours.first_difference(theirs)? {
                return Ok(Some(format!(
                    "memory {} from offset {offset:#x} on",
                    index.0
                )));
            }
        }
        Ok(ours
            .difference_of_values(theirs)
            .or_else(|| self.difference_of_objects(other)))
    }

    /// The first difference of the host's objects.
    fn difference_of_objects(&self, other: &Self) -> Option<String> {
        match (&self.host, &other.host) {
            (Some(ours), Some(theirs)) => ours.difference(&**theirs),
            (None, None) if self.parts.objects == other.parts.objects => None,
            _ => Some("other objects of the host".to_owned()),
        }
    }
}

impl SnapshotParts {
    /// The first difference of globals, tables and segments.
    fn difference_of_values(&self, other: &Self) -> Option<String> {
        for ((index, ours), (_, theirs)) in self.globals.iter().zip(&other.globals) {
            if ours != theirs {
                return Some(format!(
                    "global {} is {theirs:?} instead of {ours:?}",
                    index.0
                ));
            }
        }
        for ((index, ours), (_, theirs)) in self.references.iter().zip(&other.references) {
            if ours != theirs {
                return Some(format!("global {} is {theirs} instead of {ours}", index.0));
            }
        }
        for ((index, ours), (_, theirs)) in self.tables.iter().zip(&other.tables) {
            if ours.len() != theirs.len() {
                return Some(format!(
                    "table {} of {} elements instead of {}",
                    index.0,
                    theirs.len(),
                    ours.len()
                ));
            }
            let mut elements = ours.iter().zip(&**theirs);
            if let Some(element) = elements.position(|(ours, theirs)| ours != theirs) {
                return Some(format!(
                    "element {element} of table {} is {} instead of {}",
                    index.0, theirs[element], ours[element]
                ));
            }
        }
        (self.dropped != other.dropped).then(|| "other dropped segments".to_owned())
    }
}

fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes()
}

/// The code of a value's type (core specification, section 5.3), and its bits.
fn encoded(value: &Val) -> (u8, u128) {
    match value {
        Val::I32(value) => (0x7f, value.cast_unsigned().into()),
        Val::I64(value) => (0x7e, value.cast_unsigned().into()),
        Val::F32(bits) => (0x7d, (*bits).into()),
        Val::F64(bits) => (0x7c, (*bits).into()),
        Val::V128(bits) => (0x7b, *bits),
        // An engine gives references in `SnapshotParts::references`. Here only their types count.
        Val::FuncRef(_) => (0x70, 0),
        Val::ExternRef(_) => (0x6f, 0),
    }
}
