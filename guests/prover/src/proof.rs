//! Making and checking proofs.

use halo2_proofs::{
    pasta::{
        EqAffine, Fp,
        group::ff::{Field, PrimeField},
    },
    plonk::{SingleVerifier, VerifyingKey, create_proof, verify_proof},
    transcript::{Blake2bRead, Blake2bWrite, Challenge255, Transcript},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

use crate::{Index, Proof, leak};

const OUTPUT_LEN: usize = 32;

pub(crate) fn prove(index: &Index, witness: u64) -> Option<Proof> {
    let mut rng = ChaCha20Rng::seed_from_u64(witness);
    let secret = Fp::random(&mut rng);
    let trace = index.circuit.trace(secret);
    leak::column(&trace);

    let output = *trace.last()?;
    let mut transcript =
        Blake2bWrite::<_, EqAffine, Challenge255<_>>::init(output.to_repr().as_ref().to_vec());
    create_proof(
        &index.srs,
        &index.key,
        &[index.circuit.with(secret)],
        &[&[&[output]]],
        rng,
        &mut transcript,
    )
    .ok()?;
    Some(Proof(transcript.finalize()))
}

pub(crate) fn verify(index: &Index, proof: &[u8]) -> bool {
    let Some((output, mut transcript)) = proof.split_first_chunk::<OUTPUT_LEN>() else {
        return false;
    };
    let Some(output) = Option::<Fp>::from(Fp::from_repr(*output)) else {
        return false;
    };
    let accepted = verify_proof(
        &index.srs,
        index.key.get_vk(),
        SingleVerifier::new(&index.srs),
        &[&[&[output]]],
        &mut Blake2bRead::<_, EqAffine, Challenge255<_>>::init(&mut transcript),
    )
    .is_ok();
    // The transcript's reader stops where the proof ends: bytes behind it would go unnoticed.
    accepted && transcript.is_empty()
}

/// Eight bytes of a transcript that absorbed nothing but the key; 0 would mean "no index".
pub(crate) fn digest(key: &VerifyingKey<EqAffine>) -> u64 {
    let mut transcript = Blake2bWrite::<_, EqAffine, Challenge255<_>>::init(Vec::new());
    if key.hash_into(&mut transcript).is_err() {
        return 0;
    }
    let challenge: Challenge255<EqAffine> = transcript.squeeze_challenge();
    challenge
        .first_chunk()
        .map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
