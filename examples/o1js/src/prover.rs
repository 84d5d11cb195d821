//! The prover as a typed client of the proxy: lasting objects are handles, a proof lives in a
//! scope.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use proxy_core::{Handle, Proxy, args};

use crate::circuit::{COLUMNS, Circuit};

/// A prover for one circuit.
pub(crate) struct Prover<'a> {
    proxy: &'a Proxy,
    index: Handle,
    verifier_index: Handle,
    witness: Vec<Vec<u8>>,
    gates: Handle,
    srs: Handle,
    /// How long the reference string took.
    pub(crate) srs_took: Duration,
}

/// A thread pool in the guest.
pub(crate) struct Pool(Handle);

impl Pool {
    pub(crate) fn start(proxy: &Proxy, workers: u32) -> Result<Self> {
        let started = proxy.call("thread_pool_start", args![workers]);
        let pool = started.context("the thread pool did not start")?;
        Ok(Self(pool.handle()?))
    }

    pub(crate) fn stop(self, proxy: &Proxy) -> Result<()> {
        proxy.call("thread_pool_stop", args![self.0])?;
        Ok(())
    }
}

impl<'a> Prover<'a> {
    /// Computes the reference string and the indexes. A pool must be running.
    pub(crate) fn create(proxy: &'a Proxy, circuit: &Circuit) -> Result<Self> {
        let started = Instant::now();
        let srs = proxy
            .call("caml_fp_srs_create_parallel", args![circuit.srs_size])?
            .handle()?;
        let srs_took = started.elapsed();
        let gates = proxy
            .call("caml_pasta_fp_plonk_gate_vector_create", args![])?
            .handle()?;
        for (row, coefficients) in (0_u32..).zip(circuit.coefficients()) {
            let gate = gate(proxy, row, &coefficients)?;
            proxy.call("caml_pasta_fp_plonk_gate_vector_add", args![gates, gate])?;
        }
        let none: &[Handle] = &[];
        // Public inputs, lookup tables, runtime tables, previous challenges: none.
        let mut create = args![gates, 0_u32, none, none, 0_u32, srs].to_vec();
        // Releases after 2.2.0 ask whether to be lazy.
        let takes = proxy.export("caml_pasta_fp_plonk_index_create")?.args.len();
        create.extend((create.len()..takes).map(|_| 0_u32.into()));
        let index = proxy
            .call("caml_pasta_fp_plonk_index_create", &create)?
            .handle()?;
        let verifier_index = proxy
            .call("caml_pasta_fp_plonk_verifier_index_create", args![index])?
            .handle()?;
        Ok(Self {
            proxy,
            index,
            verifier_index,
            witness: circuit.witness(),
            gates,
            srs,
            srs_took,
        })
    }

    /// Makes a proof and verifies it, on one generation. A pool must be running.
    pub(crate) fn prove(&self) -> Result<bool> {
        self.proxy.pinned(|scope| {
            let columns = u32::try_from(COLUMNS).context("columns are few")?;
            let witness = scope
                .call("wasmvecvecfp_create", args![columns])?
                .pointer()?;
            for column in &self.witness {
                scope.call("wasmvecvecfp_push", args![witness, column])?;
            }
            let none: &[proxy_core::Pointer] = &[];
            let challenges: &[u8] = &[];
            let proof = scope
                .call(
                    "caml_pasta_fp_plonk_proof_create",
                    args![self.index, witness, none, challenges, none],
                )?
                .pointer()?;
            // Verifying uses both up, and the verifier index is wanted again.
            let copy = scope
                .call(
                    "caml_pasta_fp_plonk_verifier_index_deep_copy",
                    args![self.verifier_index],
                )?
                .pointer()?;
            let verified = scope.call("caml_pasta_fp_plonk_proof_verify", args![copy, proof])?;
            Ok(verified.i32()? == 1)
        })
    }

    /// Frees the lasting objects.
    pub(crate) fn free(self) -> Result<()> {
        let Self { proxy, .. } = self;
        proxy.call(
            "__wbg_wasmfpplonkverifierindex_free",
            args![self.verifier_index],
        )?;
        proxy.call("__wbg_wasmpastafpplonkindex_free", args![self.index])?;
        proxy.call("__wbg_wasmfpgatevector_free", args![self.gates])?;
        proxy.call("__wbg_wasmfpsrs_free", args![self.srs])?;
        Ok(())
    }
}

/// A double generic gate whose wires lead nowhere else.
fn gate(proxy: &Proxy, row: u32, coefficients: &[u8]) -> Result<Handle> {
    const GENERIC: u32 = 1;
    let mut wires = Vec::with_capacity(7);
    for column in 0..7_u32 {
        let wire = proxy.call("wire_create", args![row, column])?.handle()?;
        wires.push(wire.into());
    }
    let wires = proxy.call("wasmgatewires_new", &wires)?.handle()?;
    let gate = proxy.call("wasmfpgate_new", args![GENERIC, wires, coefficients])?;
    Ok(gate.handle()?)
}
