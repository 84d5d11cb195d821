//! The proposals that a module needs.

use std::{fmt, mem};

use engine_api::{Capabilities, Error};
use wasmparser::{
    FuncToValidate, FuncValidatorAllocations, FunctionBody, Parser, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

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

/// The features that an engine may lack, and wasmparser's flags for them.
const OPTIONAL: [(Feature, WasmFeatures); 11] = [
    (Feature::MultiValue, WasmFeatures::MULTI_VALUE),
    (
        Feature::BulkMemory,
        WasmFeatures::BULK_MEMORY.union(WasmFeatures::BULK_MEMORY_OPT),
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
        WasmFeatures::EXCEPTIONS.union(WasmFeatures::LEGACY_EXCEPTIONS),
    ),
    (
        Feature::Gc,
        WasmFeatures::FUNCTION_REFERENCES.union(WasmFeatures::GC),
    ),
];

/// Which features a module's bytes use. It validates every function about once, which costs about as
/// much as the first pass of a compiler.
///
/// # Errors
///
/// [`Error::InvalidModule`] if no set of features makes it valid.
pub fn features(wasm: &[u8]) -> Result<Vec<Feature>, Error> {
    refuse_other_formats(wasm)?;
    let everything = WasmFeatures::all();
    let functions = outside_of_code(wasm, everything).map_err(|error| invalid(&error))?;
    // A feature is needed if the module is invalid without it and with all others.
    let mut needed: Vec<Feature> = OPTIONAL
        .iter()
        .filter(|(_, flags)| outside_of_code(wasm, without(&[*flags])).is_err())
        .map(|(feature, _)| *feature)
        .collect();
    let mut allocations = FuncValidatorAllocations::default();
    for function in &functions {
        // Nearly every function is valid with what is needed so far, and then needs no more.
        let others = OPTIONAL.iter().filter(|(one, _)| !needed.contains(one));
        let others: Vec<(Feature, WasmFeatures)> = others.copied().collect();
        let flags: Vec<WasmFeatures> = others.iter().map(|(_, flags)| *flags).collect();
        if function.validate(without(&flags), &mut allocations).is_ok() {
            continue;
        }
        function
            .validate(everything, &mut allocations)
            .map_err(|error| invalid(&error))?;
        for (feature, flags) in others {
            let lacks = without(&[flags]);
            if function.validate(lacks, &mut allocations).is_err() {
                needed.push(feature);
            }
        }
    }
    needed.sort_unstable();
    Ok(needed)
}

/// A function of a module whose other parts are valid.
struct Function<'a> {
    resources: ValidatorResources,
    index: u32,
    ty: u32,
    body: FunctionBody<'a>,
}

impl Function<'_> {
    fn validate(
        &self,
        features: WasmFeatures,
        allocations: &mut FuncValidatorAllocations,
    ) -> wasmparser::Result<()> {
        let function = FuncToValidate {
            resources: self.resources.clone(),
            index: self.index,
            ty: self.ty,
            features,
        };
        let mut validator = function.into_validator(mem::take(allocations));
        let valid = validator.validate(&self.body);
        *allocations = validator.into_allocations();
        valid
    }
}

/// Validates all but the functions' code, and gives the functions.
fn outside_of_code(wasm: &[u8], features: WasmFeatures) -> wasmparser::Result<Vec<Function<'_>>> {
    let mut validator = Validator::new_with_features(features);
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        if let ValidPayload::Func(function, body) = validator.payload(&payload?)? {
            functions.push(Function {
                resources: function.resources,
                index: function.index,
                ty: function.ty,
                body,
            });
        }
    }
    Ok(functions)
}

/// All features but these.
fn without(flags: &[WasmFeatures]) -> WasmFeatures {
    let lacking = flags.iter().map(|flags| dependents(*flags));
    lacking.fold(WasmFeatures::all(), |all, lacking| {
        all & lacking.complement()
    })
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
    use std::fs;
    use std::path::Path;

    use super::*;

    /// The features without which the whole module is invalid, each found by a validation of all.
    fn one_by_one(wasm: &[u8]) -> Vec<Feature> {
        let is_needed = |(_, flags): &&(Feature, WasmFeatures)| {
            let mut validator = Validator::new_with_features(without(&[*flags]));
            validator.validate_all(wasm).is_err()
        };
        OPTIONAL.iter().filter(is_needed).map(|one| one.0).collect()
    }

    #[test]
    fn features_are_those_without_which_a_module_is_invalid() {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/prebuilt");
        let mut seen = 0;
        for entry in fs::read_dir(guests).unwrap() {
            let path = entry.unwrap().path();
            if path
                .extension()
                .is_some_and(|extension| extension == "wasm")
            {
                let wasm = fs::read(&path).unwrap();
                assert_eq!(
                    features(&wasm).unwrap(),
                    one_by_one(&wasm),
                    "{}",
                    path.display()
                );
                seen += 1;
            }
        }
        assert!(seen > 5);
    }

    #[test]
    fn a_function_may_need_several_features_after_one_that_needs_none() {
        let text = "(module (memory 1) (table 1 externref) (func)
            (func (return_call 0))
            (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 0))
                (drop (i8x16.splat (i32.const 0))) (drop (table.size 0)))
            (func (result i32 i32) (i32.const 1) (i32.const 2)))";
        let wasm = wat::parse_str(text).unwrap();
        let found = features(&wasm).unwrap();
        assert_eq!(found, one_by_one(&wasm));
        assert!(found.contains(&Feature::TailCalls) && found.contains(&Feature::Simd));
    }

    #[test]
    fn a_function_that_no_features_make_valid_is_refused() {
        // The last byte before the end of the body is the opcode of an addition, with nothing there.
        let mut wasm = wat::parse_str("(module (func) (func nop))").unwrap();
        let nop = wasm.iter().rposition(|byte| *byte == 0x01).unwrap();
        wasm[nop] = 0x6a;
        let error = features(&wasm).unwrap_err();
        assert!(matches!(error, Error::InvalidModule { .. }), "{error}");
    }

    #[test]
    fn features_are_those_the_module_needs() {
        let needed = |wat: &str| features(&wat::parse_str(wat).unwrap()).unwrap();
        assert_eq!(needed("(module (func))"), []);
        assert_eq!(needed("(module (memory 1 1 shared))"), [Feature::Threads]);
        assert_eq!(
            needed("(module (type $f (func)) (func (param (ref null $f))))"),
            [Feature::ReferenceTypes, Feature::Gc]
        );
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
