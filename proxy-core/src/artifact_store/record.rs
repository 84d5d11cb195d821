//! The record of a call whose object is kept as bytes, and its form in a file.

use std::fmt;
use std::sync::Arc;

use engine_api::Val;
use smallvec::SmallVec;

use crate::journal::ResultRecord;
use crate::val_bytes::{VAL_BYTES, decode_val, encode_val};

/// The identity of a call, whenever and wherever it is made: a hash over the module, the export and
/// the arguments. [`super::key`] makes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CallKey(pub(super) [u8; 32]);

/// The blake3 hash of an object's bytes, by which they are known.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ContentHash(pub(super) [u8; 32]);

impl ContentHash {
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self(blake3::hash(bytes).into())
    }
}

/// The name of a file: made of a hash alone, so neither a guest nor a policy has a say in it.
pub(super) fn file_name(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallKey({})", file_name(&self.0))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", file_name(&self.0))
    }
}

/// The objects that a call created, by their place among the results, their types and their
/// fingerprints. Any later call must create the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CreatedObjects {
    objects: SmallVec<[(u32, Option<Arc<str>>); 1]>,
    fingerprints: Box<[Val]>,
}

impl CreatedObjects {
    /// `None` where a result is no object: then the object's bytes do not stand for the whole call.
    pub(crate) fn of(records: &[ResultRecord], fingerprints: &[Val]) -> Option<Self> {
        let object = |record: &ResultRecord| match record {
            ResultRecord::Object(handle, ty) => Some((handle.result(), ty.clone())),
            _ => None,
        };
        Some(Self {
            objects: records.iter().map(object).collect::<Option<_>>()?,
            fingerprints: fingerprints.into(),
        })
    }
}

impl fmt::Display for CreatedObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, ty) in &self.objects {
            let ty = ty.as_deref().unwrap_or("no type");
            write!(f, "an object of {ty} as result {position}, ")?;
        }
        write!(f, "fingerprint {:?}", self.fingerprints)
    }
}

/// Whether the bytes may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Kept,
    /// An import of exactly these bytes failed, or gave something else than the call.
    Refused,
}

/// One record: which bytes belong to which call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) standing: Standing,
    pub(super) key: CallKey,
    pub(super) content: ContentHash,
    pub(super) content_len: u64,
    pub(super) created: CreatedObjects,
}

const MAGIC: &[u8; 8] = b"wpx-art1";
const CHECKSUM_BYTES: usize = 32;

/// No record is longer: a type's name and some fingerprints are a few hundred bytes.
pub(super) const RECORD_BYTES_MAX: u64 = 1 << 16;

impl Record {
    /// The record as a file; `docs/artifacts.md` draws it. `None` if it would exceed
    /// [`RECORD_BYTES_MAX`].
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(MAGIC);
        let standing: u32 = match self.standing {
            Standing::Kept => 1,
            Standing::Refused => 2,
        };
        bytes.extend_from_slice(&standing.to_le_bytes());
        bytes.extend_from_slice(&self.key.0);
        bytes.extend_from_slice(&self.content.0);
        bytes.extend_from_slice(&self.content_len.to_le_bytes());
        let count = |len: usize| u32::try_from(len).ok().map(u32::to_le_bytes);
        bytes.extend_from_slice(&count(self.created.objects.len())?);
        bytes.extend_from_slice(&count(self.created.fingerprints.len())?);
        for (position, ty) in &self.created.objects {
            bytes.extend_from_slice(&position.to_le_bytes());
            // A length of 0 is "no type", which differs from a type without a name.
            let name = ty.as_deref().unwrap_or_default().as_bytes();
            let len = count(name.len() + usize::from(ty.is_some()))?;
            bytes.extend_from_slice(&len);
            bytes.extend_from_slice(name);
        }
        for val in &self.created.fingerprints {
            bytes.extend_from_slice(&encode_val(val)?);
        }
        let checksum = blake3::hash(&bytes);
        bytes.extend_from_slice(checksum.as_bytes());
        (bytes.len() as u64 <= RECORD_BYTES_MAX).then_some(bytes)
    }

    /// Reads what [`Record::encode`] wrote; everything else is a fault.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        // Another version has other keys: it would not have written a file of this name.
        if !bytes.starts_with(MAGIC) {
            return Err("a record does not begin like that");
        }
        let Some((body, checksum)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err("the record is cut short");
        };
        if blake3::hash(body) != *checksum {
            return Err("the record's checksum does not fit");
        }
        // From here on the bytes are what some program wrote on purpose, though not necessarily
        // this one.
        Self::decode_body(body).ok_or("the record does not add up")
    }

    fn decode_body(body: &[u8]) -> Option<Self> {
        let mut reader = Reader(body.get(MAGIC.len()..)?);
        let standing = match reader.number()? {
            1 => Standing::Kept,
            2 => Standing::Refused,
            _ => return None,
        };
        let key = CallKey(reader.take::<32>()?);
        let content = ContentHash(reader.take::<32>()?);
        let content_len = u64::from_le_bytes(reader.take::<8>()?);
        let (objects, fingerprints) = (reader.number()?, reader.number()?);
        // The loops end with the bytes, whatever the counts claim.
        let objects = (0..objects)
            .map(|_| {
                let position = reader.number()?;
                let ty = match reader.number()? {
                    0 => None,
                    len => Some(reader.text(usize::try_from(len - 1).ok()?)?.into()),
                };
                Some((position, ty))
            })
            .collect::<Option<_>>()?;
        let fingerprints = (0..fingerprints)
            .map(|_| decode_val(reader.take::<VAL_BYTES>()?))
            .collect::<Option<Box<[Val]>>>()?;
        reader.0.is_empty().then_some(Self {
            standing,
            key,
            content,
            content_len,
            created: CreatedObjects {
                objects,
                fingerprints,
            },
        })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take::<4>().map(u32::from_le_bytes)
    }

    fn text(&mut self, len: usize) -> Option<&str> {
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            standing: Standing::Kept,
            key: CallKey([7; 32]),
            content: ContentHash::of(b"bytes"),
            content_len: 5,
            created: CreatedObjects {
                objects: [(0, Some("srs".into())), (1, None), (2, Some("".into()))]
                    .into_iter()
                    .collect(),
                fingerprints: [
                    Val::I32(-1),
                    Val::I64(i64::MIN),
                    Val::F32(0x7fc0_0001),
                    Val::F64(1),
                    Val::V128(u128::MAX),
                ]
                .into(),
            },
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let kept = record();
        assert_eq!(Record::decode(&kept.encode().unwrap()), Ok(kept.clone()));
        let refused = Record {
            standing: Standing::Refused,
            ..kept
        };
        assert_eq!(Record::decode(&refused.encode().unwrap()), Ok(refused));
    }

    /// Directories outlive programs. If this fails, the version in the magic and in the keys'
    /// context has to change too.
    #[test]
    fn the_form_of_a_record_is_as_documented() {
        let bytes = Record {
            created: CreatedObjects {
                objects: [(3, Some("srs".into()))].into_iter().collect(),
                fingerprints: [Val::I64(-2)].into(),
            },
            ..record()
        };
        let bytes = bytes.encode().unwrap();
        let mut expected = b"wpx-art1\x01\0\0\0".to_vec();
        expected.extend([7; 32]);
        expected.extend(blake3::hash(b"bytes").as_bytes());
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        expected.extend([3, 0, 0, 0, 4, 0, 0, 0]);
        expected.extend(b"srs\x02");
        expected.extend([
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0,
        ]);
        let checksum = blake3::hash(&expected);
        expected.extend(checksum.as_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn every_damaged_bit_and_every_cut_is_found() {
        let bytes = record().encode().unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(&damaged).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Record::decode(&bytes[..len]).is_err(), "{len} bytes");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        assert!(Record::decode(&longer).is_err());
    }

    /// A forged checksum still cannot make the reader allocate or panic.
    #[test]
    fn nonsense_with_a_good_checksum_is_refused() {
        let bytes = record().encode().unwrap();
        let body = &bytes[..bytes.len() - CHECKSUM_BYTES];
        let sealed = |body: &[u8]| [body, blake3::hash(body).as_bytes()].concat();
        assert!(Record::decode(&sealed(body)).is_ok());
        for len in MAGIC.len()..body.len() {
            assert!(Record::decode(&sealed(&body[..len])).is_err(), "{len}");
        }
        // The standing, the two counts, and the length of the first type's name.
        for at in [8, 84, 88, 96] {
            let mut absurd = body.to_vec();
            absurd[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert!(Record::decode(&sealed(&absurd)).is_err(), "at {at}");
        }
        let longer = [body, &[0]].concat();
        assert!(Record::decode(&sealed(&longer)).is_err());
    }

    #[test]
    fn what_is_no_object_is_not_among_created_objects() {
        assert!(CreatedObjects::of(&[ResultRecord::Null], &[]).is_none());
        assert!(CreatedObjects::of(&[ResultRecord::Val(Val::I32(1))], &[]).is_none());
    }

    #[test]
    fn a_record_that_would_be_too_long_is_not_made() {
        let mut long = record();
        long.created.fingerprints = vec![Val::I32(0); 4096].into();
        assert!(long.encode().is_none());
    }
}
