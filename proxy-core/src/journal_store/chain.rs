//! The chain of hashes that every store keeps, so that a journal can move from one to another.

use super::{Identity, JournalId, Position};

/// Before the first record: blake3 of `wpx-chn1`, the journal's id, the module's hash, the length
/// of the notes (8 bytes, little-endian) and the notes.
#[must_use]
pub fn chain_origin(id: JournalId, identity: &Identity) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"wpx-chn1");
    hasher.update(&id.0);
    hasher.update(&identity.module);
    hasher.update(&(identity.notes.len() as u64).to_le_bytes());
    hasher.update(&identity.notes);
    hasher.finalize().into()
}

/// After a record: blake3 of the hash before it, its position, its length (8 bytes each,
/// little-endian) and its bytes.
#[must_use]
pub fn chain_next(previous: &[u8; 32], position: Position, bytes: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(previous);
    hasher.update(&position.0.to_le_bytes());
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_format() {
        let identity = Identity {
            module: [7; 32],
            notes: b"notes".to_vec(),
        };
        let origin = chain_origin(JournalId([3; 16]), &identity);
        let next = chain_next(&origin, Position(1), b"record");
        let hex = |hash: [u8; 32]| blake3::Hash::from(hash).to_hex().to_string();
        assert_eq!(
            hex(origin),
            "1013cb7251d00db5ff0ea49b289e1c54f9f9d2a8231a1ab2e82e78ecfe010810"
        );
        assert_eq!(
            hex(next),
            "2225b935e1a47cf59a4ac6dd5bb7e58910987dc1bf30a424f15f75a81be0cd0b"
        );
    }

    #[test]
    fn a_place_is_part_of_a_hash() {
        let at = |position| chain_next(&[0; 32], Position(position), b"record");
        assert_ne!(at(1), at(2));
    }
}
