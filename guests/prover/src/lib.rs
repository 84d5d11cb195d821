//! A real prover with the life cycle of o1js: a structured reference string (SRS) that takes long to
//! make, indexes made from it, and proofs made from those. It leaks its witness columns when told to,
//! as [o1js#1214](https://github.com/o1-labs/o1js/issues/1214) reports.
//!
//! Objects are raw pointers, 0 is "none": an export given 0, or arguments it cannot use, returns 0. The
//! result of every call depends on its arguments only, never on what was called before, and nothing is
//! imported: the randomness that blinds a proof is drawn from its witness. **A test subject, not a
//! prover to keep secrets with.**

pub mod circuit;
pub mod leak;
mod proof;

use std::rc::Rc;

use guest_abi::{borrow, give};
use halo2_proofs::{
    pasta::EqAffine,
    plonk::{ProvingKey, keygen_pk, keygen_vk},
    poly::commitment::Params,
};

use circuit::Squares;

/// The parameters that commitments are made with, shared by the indexes made from them.
pub struct Srs(Rc<Params<EqAffine>>);

/// The proving and verifying key of one circuit.
pub struct Index {
    srs: Rc<Params<EqAffine>>,
    circuit: Squares,
    key: ProvingKey<EqAffine>,
}

/// The public output and the transcript that proves it.
pub struct Proof(Vec<u8>);

/// The sizes that are supported: parameters for `2^k` rows.
const K: std::ops::RangeInclusive<u32> = 4..=16;

/// Makes the parameters for circuits of up to `2^k` rows, `k` from 4 to 16.
#[unsafe(no_mangle)]
pub extern "C" fn srs_create(k: u32) -> Option<Box<Srs>> {
    K.contains(&k)
        .then(|| Box::new(Srs(Rc::new(Params::new(k)))))
}

/// The parameters as bytes, for [`srs_read`].
#[unsafe(no_mangle)]
pub extern "C" fn srs_write(srs: Option<&Srs>) -> u64 {
    let Some(srs) = srs else { return 0 };
    let mut bytes = Vec::with_capacity(written_len(srs.0.k()));
    match srs.0.write(&mut bytes) {
        Ok(()) => give(&bytes),
        Err(_) => 0,
    }
}

/// Parameters from the bytes that [`srs_write`] gave; 0 where they are malformed.
///
/// # Safety
///
/// `pointer` and `len` describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn srs_read(pointer: *const u8, len: u32) -> Option<Box<Srs>> {
    // SAFETY: as promised by the caller.
    let mut bytes = unsafe { borrow(pointer, len) }?;
    let k = u32::from_le_bytes(*bytes.first_chunk()?);
    // `Params::read` trusts the header: it would try to allocate whatever that asks for.
    if !K.contains(&k) || bytes.len() != written_len(k) {
        return None;
    }
    let params = Params::read(&mut bytes).ok()?;
    Some(Box::new(Srs(Rc::new(params))))
}

/// The header, two bases of `2^k` points, and two more points.
const fn written_len(k: u32) -> usize {
    const HEADER: usize = 4;
    const POINT: usize = 32;
    HEADER + (2 * (1 << k) + 2) * POINT
}

/// Makes the keys of the circuit with this number (see [`circuit`]); 0 where there is no such circuit or
/// the parameters are too small for it.
#[unsafe(no_mangle)]
pub extern "C" fn index_create(srs: Option<&Srs>, circuit: u32) -> Option<Box<Index>> {
    let srs = Rc::clone(&srs?.0);
    let circuit = Squares::numbered(circuit)?;
    let verifying = keygen_vk(&srs, &circuit).ok()?;
    let key = keygen_pk(&srs, verifying, &circuit).ok()?;
    Some(Box::new(Index { srs, circuit, key }))
}

/// A hash of everything that a verifier has to know of the circuit: equal indexes, equal digests.
#[unsafe(no_mangle)]
pub extern "C" fn index_digest(index: Option<&Index>) -> u64 {
    index.map_or(0, |index| proof::digest(index.key.get_vk()))
}

/// Proves knowledge of the secret that is drawn from the seed `witness`; the proof names its output.
#[unsafe(no_mangle)]
pub extern "C" fn prove(index: Option<&Index>, witness: u64) -> Option<Box<Proof>> {
    proof::prove(index?, witness).map(Box::new)
}

/// A copy of the proof's bytes: 32 of public output, then the transcript.
#[unsafe(no_mangle)]
pub extern "C" fn proof_bytes(proof: Option<&Proof>) -> u64 {
    proof.map_or(0, |proof| give(&proof.0))
}

/// 1 where the bytes prove the output that they name, else 0, whatever the bytes are.
///
/// # Safety
///
/// `pointer` and `len` describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn verify(index: Option<&Index>, pointer: *const u8, len: u32) -> u32 {
    // SAFETY: as promised by the caller.
    let bytes = unsafe { borrow(pointer, len) };
    match (index, bytes) {
        (Some(index), Some(bytes)) => u32::from(proof::verify(index, bytes)),
        _ => 0,
    }
}

/// Frees the parameters. The indexes made from them keep what they need.
#[unsafe(no_mangle)]
pub extern "C" fn srs_free(srs: Option<Box<Srs>>) {
    drop(srs);
}

/// Frees an index.
#[unsafe(no_mangle)]
pub extern "C" fn index_free(index: Option<Box<Index>>) {
    drop(index);
}

/// Frees a proof.
#[unsafe(no_mangle)]
pub extern "C" fn proof_free(proof: Option<Box<Proof>>) {
    drop(proof);
}
