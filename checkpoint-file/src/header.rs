//! The first bytes of a file: versions, lengths and hashes.

use std::path::Path;

use engine_api::{ModuleHash, Snapshot};

use crate::{Error, Part};

/// The version of the file's layout.
pub const LAYOUT: u32 = 1;

/// The version of the encoding of the sections.
pub const ENCODING: u32 = 1;

/// Where the memories' contents begin.
pub(crate) const CONTENTS: u64 = memory_image::FILE_ALIGNMENT;

const MAGIC: [u8; 16] = *b"wasm-proxy state";

/// The sections, in the file's order.
pub(crate) const SECTIONS: [Part; 4] = [Part::Memories, Part::State, Part::Host, Part::Notes];

/// The bytes that the header's hash covers.
const HASHED_BYTES: usize = 76 + SECTIONS.len() * 40;

/// The header without the zeros after it.
pub(crate) const HEADER_BYTES: usize = HASHED_BYTES + 32;

/// The longest section, in bytes. It is read as a whole.
pub(crate) const SECTION_BYTES_MAX: u64 = 1 << 30;

/// A section, as the header has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    pub(crate) bytes: u64,
    pub(crate) hash: [u8; 32],
}

impl Section {
    pub(crate) fn of(content: &[u8]) -> Self {
        Self {
            bytes: content.len() as u64,
            hash: blake3::hash(content).into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) module: ModuleHash,
    /// The end of the memories' contents, where the first section begins.
    pub(crate) contents_end: u64,
    pub(crate) sections: [Section; SECTIONS.len()],
}

impl Header {
    /// The length of the file, or `None` if there is no such length.
    pub(crate) fn file_bytes(&self) -> Option<u64> {
        let mut sections = self.sections.iter();
        sections.try_fold(self.contents_end, |end, section| {
            end.checked_add(section.bytes)
        })
    }

    /// The header's bytes, and their hash.
    pub(crate) fn encode(&self) -> ([u8; HEADER_BYTES], [u8; 32]) {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        for version in [LAYOUT, ENCODING, Snapshot::FORMAT] {
            bytes.extend(version.to_le_bytes());
        }
        bytes.extend(self.module.as_bytes());
        let file_bytes = self.file_bytes().expect("the file was written");
        bytes.extend(file_bytes.to_le_bytes());
        bytes.extend(self.contents_end.to_le_bytes());
        for section in &self.sections {
            bytes.extend(section.bytes.to_le_bytes());
            bytes.extend(section.hash);
        }
        let hash = blake3::hash(&bytes).into();
        bytes.extend(hash);
        (bytes.try_into().expect("the parts add up"), hash)
    }

    /// Reads a header from the first bytes of a file of `file_bytes` bytes, and returns its hash
    /// too.
    pub(crate) fn decode(
        path: &Path,
        bytes: &[u8],
        file_bytes: u64,
    ) -> Result<(Self, [u8; 32]), Error> {
        let magic = bytes.len().min(MAGIC.len());
        if bytes[..magic] != MAGIC[..magic] {
            return Err(Error::Foreign {
                path: path.to_owned(),
            });
        }
        let length = |expected| Error::Length {
            path: path.to_owned(),
            bytes: file_bytes,
            expected,
        };
        let Some((bytes, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(length(CONTENTS));
        };
        // Of another layout even the hash may be elsewhere.
        let mut fields = Fields(&bytes[MAGIC.len()..]);
        known(path, "layout", fields.u32(), LAYOUT)?;
        let hash: [u8; 32] = blake3::hash(&bytes[..HASHED_BYTES]).into();
        if bytes[HASHED_BYTES..] != hash {
            return Err(Error::damaged(path, Part::Header));
        }
        known(path, "encoding", fields.u32(), ENCODING)?;
        known(path, "snapshot's format", fields.u32(), Snapshot::FORMAT)?;
        let module = ModuleHash::from_bytes(fields.take());
        let said = fields.u64();
        let header = Self {
            module,
            contents_end: fields.u64(),
            sections: std::array::from_fn(|_| Section {
                bytes: fields.u64(),
                hash: fields.take(),
            }),
        };
        if said != file_bytes {
            return Err(length(said));
        }
        header.check(path, file_bytes)?;
        Ok((header, hash))
    }

    /// Compares the lengths with each other and with the file's.
    fn check(&self, path: &Path, file_bytes: u64) -> Result<(), Error> {
        let whole_pages = self
            .contents_end
            .is_multiple_of(memory_image::FILE_ALIGNMENT);
        if self.contents_end < CONTENTS || !whole_pages || self.file_bytes() != Some(file_bytes) {
            return Err(Error::invalid(
                path,
                "the lengths of its parts do not add up",
            ));
        }
        let sections = self.sections.iter().zip(SECTIONS);
        for (section, part) in sections {
            if section.bytes > SECTION_BYTES_MAX {
                let reason = format!(
                    "its {part} of {} bytes are more than {SECTION_BYTES_MAX}",
                    section.bytes
                );
                return Err(Error::invalid(path, reason));
            }
        }
        Ok(())
    }
}

fn known(path: &Path, what: &'static str, found: u32, known: u32) -> Result<(), Error> {
    if found == known {
        return Ok(());
    }
    Err(Error::Version {
        path: path.to_owned(),
        what,
        found,
        known,
    })
}

/// The fields of a header, one after the other. There are as many as are taken.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the header is whole");
        self.0 = rest;
        *field
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take())
    }
}
