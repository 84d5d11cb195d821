//! The same prover without a proxy, as the baseline: one instance, raw pointers.

use anyhow::{Context, Result, bail};
use engine_api::{
    ExportKind, GuestError, Imports, Instance, InstanceExt, Limits, MemoryIndex, Module, Val,
};

use crate::circuit::{COLUMNS, Circuit};

/// A prover for one circuit on one instance.
pub(crate) struct Bare {
    instance: Box<dyn Instance>,
    memory: MemoryIndex,
    /// Whether results come through a return pointer.
    returns: bool,
    witness: Vec<Vec<u8>>,
    index: i32,
    verifier_index: i32,
}

impl Bare {
    pub(crate) fn create(module: &dyn Module, imports: &Imports, limits: &Limits) -> Result<Self> {
        let info = module.info();
        let Some(ExportKind::Memory(memory)) = info.export("memory").map(|export| export.kind)
        else {
            bail!("the module exports no memory");
        };
        Ok(Self {
            instance: module.instantiate(imports, limits)?,
            memory,
            returns: info.function("__wbindgen_add_to_stack_pointer").is_ok(),
            witness: Vec::new(),
            index: 0,
            verifier_index: 0,
        })
    }

    pub(crate) fn start_pool(&mut self, workers: u32) -> Result<i32> {
        self.call("thread_pool_start", &[workers.cast_signed()])
    }

    pub(crate) fn stop_pool(&mut self, pool: i32) -> Result<()> {
        self.call("thread_pool_stop", &[pool]).map(drop)
    }

    pub(crate) fn memory_bytes(&self) -> u64 {
        self.instance.memory_bytes()
    }

    /// Computes the reference string and the indexes. A pool must be running.
    pub(crate) fn index(&mut self, circuit: &Circuit) -> Result<()> {
        let srs = self.call(
            "caml_fp_srs_create_parallel",
            &[circuit.srs_size.cast_signed()],
        )?;
        let gates = self.call("caml_pasta_fp_plonk_gate_vector_create", &[])?;
        for (row, coefficients) in (0..).zip(circuit.coefficients()) {
            let mut wires = Vec::with_capacity(7);
            for column in 0..7 {
                wires.push(self.call("wire_create", &[row, column])?);
            }
            let wires = self.call("wasmgatewires_new", &wires)?;
            let (pointer, len) = self.copy_in(&coefficients)?;
            let gate = self.call("wasmfpgate_new", &[1, wires, pointer, len])?;
            self.call("caml_pasta_fp_plonk_gate_vector_add", &[gates, gate])?;
        }
        let mut create = vec![gates, 0, 4, 0, 4, 0, 0, srs];
        let name = "caml_pasta_fp_plonk_index_create";
        let takes = self.instance.info().function(name)?.1.ty.params().len();
        create.resize(takes - usize::from(self.returns), 0);
        self.index = self.fallible(name, &create)?;
        self.verifier_index =
            self.call("caml_pasta_fp_plonk_verifier_index_create", &[self.index])?;
        self.witness = circuit.witness();
        Ok(())
    }

    /// Makes a proof and verifies it. A pool must be running.
    pub(crate) fn prove(&mut self) -> Result<bool> {
        let columns = i32::try_from(COLUMNS).context("columns are few")?;
        let witness = self.call("wasmvecvecfp_create", &[columns])?;
        for column in self.witness.clone() {
            let (pointer, len) = self.copy_in(&column)?;
            self.call("wasmvecvecfp_push", &[witness, pointer, len])?;
        }
        let proof = self.fallible(
            "caml_pasta_fp_plonk_proof_create",
            &[self.index, witness, 4, 0, 1, 0, 4, 0],
        )?;
        let copy = self.call(
            "caml_pasta_fp_plonk_verifier_index_deep_copy",
            &[self.verifier_index],
        )?;
        Ok(self.call("caml_pasta_fp_plonk_proof_verify", &[copy, proof])? == 1)
    }

    fn call(&mut self, name: &str, args: &[i32]) -> Result<i32> {
        let args: Vec<Val> = args.iter().map(|arg| Val::I32(*arg)).collect();
        let results = self.instance.invoke(name, &args)?;
        Ok(results.first().and_then(Val::i32).unwrap_or(0))
    }

    /// Calls a function that gives an object, an error object, and whether it failed.
    fn fallible(&mut self, name: &str, args: &[i32]) -> Result<i32> {
        let args = args.iter().map(|arg| Val::I32(*arg));
        let results = if self.returns {
            let at = self.call("__wbindgen_add_to_stack_pointer", &[-16])?;
            let args: Vec<Val> = std::iter::once(Val::I32(at)).chain(args).collect();
            self.instance.invoke(name, &args)?;
            let mut bytes = [0; 12];
            let offset = u64::from(at.cast_unsigned());
            self.instance.memory_read(self.memory, offset, &mut bytes)?;
            self.call("__wbindgen_add_to_stack_pointer", &[16])?;
            let words = bytes.as_chunks::<4>().0.iter();
            words.map(|word| i32::from_le_bytes(*word)).collect()
        } else {
            let results = self.instance.invoke(name, &args.collect::<Vec<_>>())?;
            results.iter().filter_map(Val::i32).collect::<Vec<_>>()
        };
        let [object, error, failed] = results[..] else {
            bail!("`{name}` gives {} results, not 3", results.len());
        };
        if failed == 0 {
            return Ok(object);
        }
        let taken = self
            .instance
            .invoke(bindgen_host::TAKE_ERROR, &[Val::I32(error)])?;
        match &taken[..] {
            [Val::ExternRef(Some(error))] if let Some(error) = error.get::<GuestError>() => {
                bail!("`{name}`: {error}")
            }
            _ => bail!("`{name}` failed"),
        }
    }

    fn copy_in(&mut self, bytes: &[u8]) -> Result<(i32, i32)> {
        let len = i32::try_from(bytes.len()).context("a column is small")?;
        let pointer = self.call("__wbindgen_malloc", &[len, 1])?;
        let offset = u64::from(pointer.cast_unsigned());
        self.instance.memory_write(self.memory, offset, bytes)?;
        Ok((pointer, len))
    }
}
