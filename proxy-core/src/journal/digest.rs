//! A hash over what a call gave, equal on every engine, in every process and in every release.
//!
//! `docs/journal.md` draws the bytes that are hashed. A change of them must change [`MAGIC`] too.

use blake3::Hasher;
use engine_api::Val;

use super::{Entry, ResultRecord};
use crate::val_bytes::{VAL_BYTES, encode_val};

/// Keeps these hashes apart from all others, and one version of the layout from the next.
const MAGIC: &[u8; 8] = b"wpx-ent1";

impl Entry {
    /// A hash over what the call gave: equal on every engine, because objects enter by their names.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = Hasher::new();
        hasher.update(MAGIC);
        hasher.update(&self.sequence.0.to_le_bytes());
        count(&mut hasher, self.results.len());
        for record in &self.results {
            put_record(&mut hasher, record);
        }
        count(&mut hasher, self.fingerprints.len());
        for val in &self.fingerprints {
            hasher.update(&val_bytes(val));
        }
        hasher.finalize().into()
    }
}

fn put_record(hasher: &mut Hasher, record: &ResultRecord) {
    match record {
        ResultRecord::Val(val) => {
            hasher.update(&[1]);
            hasher.update(&val_bytes(val));
        }
        // The proxy's tag is left out: another process gives out other tags.
        ResultRecord::Object(handle, ty) => {
            hasher.update(&[2]);
            hasher.update(&handle.sequence().0.to_le_bytes());
            hasher.update(&handle.result().to_le_bytes());
            // A length of 0 is "no type", which differs from a type without a name.
            let name = ty.as_deref().unwrap_or_default();
            count(hasher, name.len() + usize::from(ty.is_some()));
            hasher.update(name.as_bytes());
        }
        ResultRecord::Null => {
            hasher.update(&[3]);
        }
        ResultRecord::Buffer { len, hash } => {
            hasher.update(&[4]);
            count(hasher, *len);
            hasher.update(hash);
        }
        ResultRecord::Error { hash } => {
            hasher.update(&[5]);
            hasher.update(hash);
        }
    }
}

fn count(hasher: &mut Hasher, len: usize) {
    hasher.update(&(len as u64).to_le_bytes());
}

/// A value with its type. A reference enters by its type and by whether it is null: calls that give
/// references other than null are not journaled.
fn val_bytes(val: &Val) -> [u8; VAL_BYTES] {
    let reference = |tag: u8, is_some: bool| {
        let mut bytes = [0; VAL_BYTES];
        bytes[0] = tag;
        bytes[1] = u8::from(is_some);
        bytes
    };
    match val {
        Val::FuncRef(func) => reference(6, func.is_some()),
        Val::ExternRef(object) => reference(7, object.is_some()),
        number => encode_val(number).unwrap_or_else(|| unreachable!("it is no reference")),
    }
}

#[cfg(test)]
mod tests {
    use smallvec::{SmallVec, smallvec};

    use super::*;
    use crate::journal::testing;
    use crate::journal::{HostCall, Journal};
    use crate::policy::plan::Changes;
    use crate::{Handle, SequenceNumber};

    fn digest(results: SmallVec<[ResultRecord; 1]>, fingerprints: &[Val]) -> String {
        let entry = Entry {
            results,
            fingerprints: fingerprints.into(),
            ..testing::entry(&Journal::default(), &[], &[], Changes::Handles(vec![]))
        };
        blake3::Hash::from_bytes(entry.digest())
            .to_hex()
            .to_string()
    }

    fn handle(result: u32, proxy: u32) -> Handle {
        Handle::new(SequenceNumber(1), result, proxy)
    }

    /// Digests are compared between releases. If this fails, the magic has to change too.
    #[test]
    fn the_digest_of_an_entry_with_every_kind_of_record_is_as_documented() {
        let results: SmallVec<[ResultRecord; 1]> = smallvec![
            ResultRecord::Val(Val::I32(-1)),
            ResultRecord::Object(handle(1, 9), Some("srs".into())),
            ResultRecord::Object(handle(2, 9), None),
            ResultRecord::Null,
            ResultRecord::Buffer {
                len: 5,
                hash: [7; 32],
            },
            ResultRecord::Error { hash: [8; 32] },
        ];
        let fingerprints = [
            Val::I64(i64::MIN),
            Val::F32(0x7fc0_0001),
            Val::F64(1),
            Val::V128(u128::MAX),
            Val::FuncRef(None),
            Val::ExternRef(None),
        ];
        let wide = |tag: u8, bits: u128| [&[tag], bits.to_le_bytes().as_slice()].concat();
        let bytes = [
            b"wpx-ent1\x01\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0".to_vec(),
            [&[1], wide(1, 0xffff_ffff).as_slice()].concat(),
            b"\x02\x01\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0\0\0\0srs".to_vec(),
            b"\x02\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0".to_vec(),
            b"\x03".to_vec(),
            [b"\x04\x05\0\0\0\0\0\0\0".as_slice(), &[7; 32]].concat(),
            [b"\x05".as_slice(), &[8; 32]].concat(),
            b"\x06\0\0\0\0\0\0\0".to_vec(),
            wide(2, 1 << 63),
            wide(3, 0x7fc0_0001),
            wide(4, 1),
            wide(5, u128::MAX),
            wide(6, 0),
            wide(7, 0),
        ];
        let digest = digest(results, &fingerprints);
        assert_eq!(digest, blake3::hash(&bytes.concat()).to_hex().as_str());
        assert_eq!(
            digest,
            "96f4805ccdcd421067143dfabd88d7c26db9e30e5fe104c0ee7e1a3c035536b7"
        );
    }

    #[test]
    fn the_digest_of_an_entry_that_gave_nothing_is_as_documented() {
        assert_eq!(
            digest(smallvec![], &[]),
            "b16d1870823930341b14d5c6ddabe330fed4aa75f74a87490062b64a18aa1172"
        );
    }

    #[test]
    fn a_digest_says_nothing_of_the_proxy_that_made_the_call_nor_of_what_the_host_said() {
        let object = |proxy| smallvec![ResultRecord::Object(handle(0, proxy), None)];
        assert_eq!(digest(object(1), &[]), digest(object(2), &[]));
        let journal = Journal::default();
        let entry = testing::entry(&journal, &[], &[], Changes::Handles(vec![]));
        let call = HostCall {
            import: 0,
            args: smallvec![],
            writes: vec![],
            results: smallvec![],
        };
        let told = Entry {
            host_calls: [call].into(),
            ..entry.clone()
        };
        assert_eq!(told.digest(), entry.digest());
    }

    #[test]
    fn a_digest_tells_every_two_outcomes_apart() {
        let results: Vec<SmallVec<[ResultRecord; 1]>> = vec![
            smallvec![],
            smallvec![ResultRecord::Null],
            smallvec![ResultRecord::Null, ResultRecord::Null],
            smallvec![ResultRecord::Val(Val::I32(1))],
            smallvec![ResultRecord::Val(Val::I64(1))],
            smallvec![ResultRecord::Val(Val::FuncRef(None))],
            smallvec![ResultRecord::Val(Val::ExternRef(None))],
            smallvec![ResultRecord::Object(handle(0, 0), None)],
            smallvec![ResultRecord::Object(handle(1, 0), None)],
            smallvec![ResultRecord::Object(handle(0, 0), Some("".into()))],
            smallvec![ResultRecord::Object(handle(0, 0), Some("a".into()))],
            smallvec![ResultRecord::buffer(b"")],
            smallvec![ResultRecord::buffer(b"a")],
            smallvec![ResultRecord::Error { hash: [0; 32] }],
        ];
        let mut digests: Vec<String> = results.iter().map(|one| digest(one.clone(), &[])).collect();
        digests.push(digest(smallvec![], &[Val::I32(1)]));
        digests.push(digest(smallvec![], &[Val::I32(1), Val::I32(1)]));
        let count = digests.len();
        digests.sort();
        digests.dedup();
        assert_eq!(digests.len(), count);
    }
}
