//! The proposals that a module needs.

use std::fmt;

use engine_api::{Capabilities, Error};
use wasmparser::{Validator, WasmFeatures};

use crate::format::{invalid, refuse_other_formats};

/// A feature beyond the first release of WebAssembly that a module may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Feature {
    /// Functions and blocks with several results.
    MultiValue,
    /// `memory.copy` and similar instructions, passive segments.
    BulkMemory,
    /// `externref`, `ref.null`, several tables.
    ReferenceTypes,
    /// 128-bit SIMD.
    Simd,
    /// SIMD whose results may differ between machines. Every engine here refuses it.
    RelaxedSimd,
    /// Atomics and shared memories.
    Threads,
    /// Several linear memories.
    MultiMemory,
    /// 64-bit memories.
    Memory64,
    /// Tail calls.
    TailCalls,
    /// Exception handling.
    Exceptions,
    /// Typed function references and garbage-collected types.
    Gc,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::MultiValue => "multi-value",
            Feature::BulkMemory => "bulk-memory",
            Feature::ReferenceTypes => "reference-types",
            Feature::Simd => "simd",
            Feature::RelaxedSimd => "relaxed-simd",
            Feature::Threads => "threads",
            Feature::MultiMemory => "multi-memory",
            Feature::Memory64 => "memory64",
            Feature::TailCalls => "tail-calls",
            Feature::Exceptions => "exceptions",
            Feature::Gc => "gc",
        })
    }
}

/// Which features a module's bytes use. It validates every function, which costs about as much as
/// the first pass of a compiler.
///
/// # Errors
///
/// [`Error::InvalidModule`] if no set of features makes it valid.
pub fn features(wasm: &[u8]) -> Result<Vec<Feature>, Error> {
    refuse_other_formats(wasm)?;
    let everything = WasmFeatures::all();
    Validator::new_with_features(everything)
        .validate_all(wasm)
        .map_err(|error| invalid(&error))?;
    let optional = [
        (Feature::MultiValue, WasmFeatures::MULTI_VALUE),
        (
            Feature::BulkMemory,
            WasmFeatures::BULK_MEMORY | WasmFeatures::BULK_MEMORY_OPT,
        ),
        (Feature::ReferenceTypes, WasmFeatures::REFERENCE_TYPES),
        (Feature::Simd, WasmFeatures::SIMD),
        (Feature::RelaxedSimd, WasmFeatures::RELAXED_SIMD),
        (Feature::Threads, WasmFeatures::THREADS),
        (Feature::MultiMemory, WasmFeatures::MULTI_MEMORY),
        (Feature::Memory64, WasmFeatures::MEMORY64),
        (Feature::TailCalls, WasmFeatures::TAIL_CALL),
        (
            Feature::Exceptions,
            WasmFeatures::EXCEPTIONS | WasmFeatures::LEGACY_EXCEPTIONS,
        ),
        (Feature::Gc, WasmFeatures::GC),
    ];
    // A feature is needed if the module is invalid without it and with all others.
    Ok(optional
        .into_iter()
        .filter(|(_, flags)| {
            let without = dependents(*flags).complement() & everything;
            Validator::new_with_features(without)
                .validate_all(wasm)
                .is_err()
        })
        .map(|(feature, _)| feature)
        .collect())
}

/// The flags, and all flags that wasmparser refuses without them.
fn dependents(flags: WasmFeatures) -> WasmFeatures {
    let mut all = flags;
    if flags.contains(WasmFeatures::SIMD) {
        all |= WasmFeatures::RELAXED_SIMD;
    }
    if flags.contains(WasmFeatures::THREADS) {
        all |= WasmFeatures::SHARED_EVERYTHING_THREADS;
    }
    if flags.contains(WasmFeatures::REFERENCE_TYPES) {
        all |= WasmFeatures::FUNCTION_REFERENCES | WasmFeatures::GC;
    }
    all
}

/// The names of the features that a module needs and an engine with these capabilities lacks, as a
/// list in words, or `None` if it lacks none.
///
/// # Errors
///
/// As [`features`].
pub fn missing_features(wasm: &[u8], engine: Capabilities) -> Result<Option<String>, Error> {
    let has = |feature: &Feature| match feature {
        Feature::MultiValue | Feature::BulkMemory => true,
        Feature::ReferenceTypes => engine.externref,
        Feature::Simd => engine.simd,
        Feature::Threads => engine.threads,
        Feature::MultiMemory => engine.multi_memory,
        Feature::Memory64 => engine.memory64,
        Feature::TailCalls => engine.tail_calls,
        // Their results differ between machines, or their values cannot cross the contract.
        Feature::RelaxedSimd | Feature::Exceptions | Feature::Gc => false,
    };
    let needed = features(wasm)?.into_iter();
    let missing = needed.filter(|feature| !has(feature));
    let missing: Vec<String> = missing.map(|feature| feature.to_string()).collect();
    Ok((!missing.is_empty()).then(|| missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_those_the_module_needs() {
        let needed = |wat: &str| features(&wat::parse_str(wat).unwrap()).unwrap();
        assert_eq!(needed("(module (func))"), []);
        assert_eq!(needed("(module (memory 1 1 shared))"), [Feature::Threads]);
        assert_eq!(
            needed("(module (memory 1) (memory 1))"),
            [Feature::MultiMemory]
        );
        assert_eq!(
            needed("(module (func (param v128) (result i32 i32) i32.const 0 i32.const 0))"),
            [Feature::MultiValue, Feature::Simd]
        );
    }
}
