//! The head kept outside of redb, with what the journal is.
//!
//! Numbers are little-endian. `docs/durability.md` has the layout.

use proxy_core::{CheckpointRef, Epoch, Identity, JournalId, Position, StoreError};

use crate::bytes::Reader;
use crate::files::{self, MANIFEST};
use crate::storage::Storage;
use crate::trouble::Trouble;

/// The format of the whole directory. A change of any file's layout needs another.
pub(crate) const FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"wpx-jrnl";

/// What the file `manifest` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) id: JournalId,
    pub(crate) identity: Identity,
    /// Of the last owner.
    pub(crate) epoch: Epoch,
    /// The newest record when it was written.
    pub(crate) head: Place,
    pub(crate) checkpoints: Vec<CheckpointRef>,
}

/// A position with the chain's hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) position: Position,
    pub(crate) hash: [u8; 32],
}

impl Manifest {
    pub(crate) fn write(&self, storage: &dyn Storage) -> Result<(), Trouble> {
        files::write_whole(storage, "", MANIFEST, &self.encode())
    }

    /// Reads the file. `None` if there is none.
    pub(crate) fn read(storage: &dyn Storage) -> Result<Option<Self>, StoreError> {
        match files::read_whole(storage, MANIFEST)? {
            Some(bytes) => Ok(Some(Self::decode(&bytes)?)),
            None => Ok(None),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_le_bytes());
        bytes.extend(self.id.0);
        bytes.extend(self.epoch.0.to_le_bytes());
        bytes.extend(self.head.position.0.to_le_bytes());
        bytes.extend(self.head.hash);
        bytes.extend(self.identity.module);
        put_sized(&mut bytes, &self.identity.notes);
        bytes.extend((self.checkpoints.len() as u64).to_le_bytes());
        for checkpoint in &self.checkpoints {
            bytes.extend(checkpoint.position.0.to_le_bytes());
            bytes.extend(checkpoint.hash);
            bytes.extend(checkpoint.bytes.to_le_bytes());
            put_sized(&mut bytes, checkpoint.file.as_bytes());
        }
        bytes.extend(blake3::hash(&bytes).as_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt {
            position: Position::ZERO,
            what: "its manifest is not what was written".to_owned(),
        };
        let mut header = Reader::new(bytes);
        if header.array() != Some(*MAGIC) {
            return Err(corrupt());
        }
        let format = header.array().map(u32::from_le_bytes);
        let (content, hash) = bytes.split_last_chunk::<32>().ok_or_else(corrupt)?;
        if blake3::hash(content) != *hash {
            return Err(corrupt());
        }
        if let Some(found) = format
            && found != FORMAT
        {
            return Err(StoreError::Format {
                found,
                known: FORMAT,
            });
        }
        let mut reader = Reader::new(content);
        reader.array::<12>().ok_or_else(corrupt)?;
        Self::decode_fields(reader).ok_or_else(corrupt)
    }

    fn decode_fields(mut reader: Reader<'_>) -> Option<Self> {
        let manifest = Self {
            id: JournalId(reader.array()?),
            epoch: Epoch(reader.u64()?),
            head: Place {
                position: Position(reader.u64()?),
                hash: reader.array()?,
            },
            identity: Identity {
                module: reader.array()?,
                notes: reader.sized()?.to_vec(),
            },
            checkpoints: {
                let count = reader.u64()?;
                let checkpoints = (0..count).map(|_| decode_checkpoint(&mut reader));
                checkpoints.collect::<Option<_>>()?
            },
        };
        reader.is_empty().then_some(manifest)
    }
}

fn decode_checkpoint(reader: &mut Reader<'_>) -> Option<CheckpointRef> {
    Some(CheckpointRef {
        position: Position(reader.u64()?),
        hash: reader.array()?,
        bytes: reader.u64()?,
        file: String::from_utf8(reader.sized()?.to_vec()).ok()?,
    })
}

fn put_sized(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend((field.len() as u64).to_le_bytes());
    bytes.extend(field);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            id: JournalId([1; 16]),
            identity: Identity {
                module: [2; 32],
                notes: b"notes".to_vec(),
            },
            epoch: Epoch(3),
            head: Place {
                position: Position(4),
                hash: [5; 32],
            },
            checkpoints: vec![CheckpointRef {
                position: Position(4),
                hash: [5; 32],
                file: "4.ckpt".to_owned(),
                bytes: 6,
            }],
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        assert_eq!(Manifest::decode(&manifest().encode()).unwrap(), manifest());
    }

    #[test]
    fn its_bytes_are_those_of_the_format() {
        let bytes = manifest().encode();
        let hash = blake3::hash(&bytes).to_hex();
        assert_eq!(
            (bytes.len(), hash.as_str()),
            (
                223,
                "d83453ed56ee8f49abeb668d48cfad857cf00bbb8044fef45882f611b10f03f2"
            )
        );
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = manifest().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Manifest::decode(&flipped).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Manifest::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = manifest().encode();
        bytes[8] = 2;
        let content = bytes.len() - 32;
        let hash = blake3::hash(&bytes[..content]);
        bytes[content..].copy_from_slice(hash.as_bytes());
        let error = Manifest::decode(&bytes).unwrap_err();
        assert!(
            matches!(error, StoreError::Format { found: 2, known: 1 }),
            "{error}"
        );
    }
}
