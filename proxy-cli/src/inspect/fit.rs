//! Whether a policy fits a module, and which engines can run the module.

use std::fmt::Write;
use std::time::Instant;

use bindgen_host::Abi;
use engine_api::{Capabilities, ModuleInfo};
use guest_calls::policy::plan::Plan;
use guest_calls::{Policy, PolicyError, with_causes};
use module_bytes::Feature;

/// Up to this size a module is compiled to see whether that works. An optimising compiler would
/// take too long for a larger one.
const COMPILED_BYTES_MAX: usize = 2 << 20;

/// Binds a policy to a module as callers see it, with what the host adds. This compiles nothing.
pub(super) fn check_policy(policy: &Policy, hosted: &ModuleInfo) -> Result<(), PolicyError> {
    Plan::bind(policy, hosted).map(drop)
}

/// Lists the engines that can run the module, by their capabilities and by compiling it.
pub(super) fn engines(text: &mut String, wasm: &[u8], info: &ModuleInfo, features: &[Feature]) {
    let _ = writeln!(text, "engines:");
    for listed in engines::compiled_in() {
        let name = listed.name;
        let _ = writeln!(text, "  {name:18}  {}", verdict(name, wasm, info, features));
    }
}

fn verdict(name: &str, wasm: &[u8], info: &ModuleInfo, features: &[Feature]) -> String {
    let engine = match engines::engine(name) {
        Ok(engine) => engine,
        Err(error) => return format!("not usable here: {}", with_causes(&error)),
    };
    let lacking = lacking(engine.capabilities(), info, features);
    if !lacking.is_empty() {
        return format!("no: it lacks {}", lacking.join(", "));
    }
    if wasm.len() > COMPILED_BYTES_MAX {
        return "yes, by its capabilities (too large to be compiled here)".to_owned();
    }
    let started = Instant::now();
    match engine.compile(wasm) {
        Ok(_) => format!("yes, compiled in {:.0?}", started.elapsed()),
        Err(error) => format!("no: {error}"),
    }
}

/// Whether no engine here takes a feature.
pub(super) fn no_engine_takes(feature: Feature) -> bool {
    matches!(
        feature,
        Feature::RelaxedSimd | Feature::Exceptions | Feature::Gc
    )
}

fn lacking(can: Capabilities, info: &ModuleInfo, features: &[Feature]) -> Vec<String> {
    let shared = info.memories().iter().any(|memory| memory.shared);
    let mut lacking: Vec<String> = features
        .iter()
        .filter(|feature| match feature {
            Feature::Simd => !can.simd,
            Feature::MultiMemory => !can.multi_memory,
            Feature::Memory64 => !can.memory64,
            Feature::TailCalls => !can.tail_calls,
            Feature::Threads => !can.threads && shared,
            // The rest is part of every engine, or too fine for a capability: the compiler decides.
            other => no_engine_takes(**other),
        })
        .map(ToString::to_string)
        .collect();
    if let Some(coverage) = bindgen_host::served(info) {
        if coverage.abi == Abi::Externrefs && !can.externref {
            lacking.push("externref".to_owned());
        }
        // A host ends workers by interrupting them.
        if shared && !can.interruption {
            lacking.push("interruption".to_owned());
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::module_file;
    use draft::Draft;

    /// Every module among the guests, binary and text.
    fn guests() -> Vec<Vec<u8>> {
        let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
        let modules: Vec<Vec<u8>> = ["prebuilt", "wat"]
            .into_iter()
            .flat_map(|folder| fs::read_dir(guests.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "wasm" || e == "wat"))
            .map(|path| module_file::read(&path).unwrap())
            .collect();
        assert!(modules.len() > 10);
        modules
    }

    #[test]
    fn a_drafted_policy_binds_to_its_module() {
        for wasm in guests() {
            let info = module_bytes::parse(&wasm).unwrap();
            let draft = Draft::of(&info);
            check_policy(&draft.policy(), &info).unwrap();
            let toml = draft.to_toml("guest");
            check_policy(&toml.parse().unwrap(), &info).unwrap_or_else(|e| panic!("{e}\n{toml}"));
        }
    }

    /// A module that is compiled and one that is too large for it, each with one of the features that
    /// no engine here takes.
    #[test]
    fn no_engine_runs_what_none_compiles_however_large_the_module_is() {
        let large = format!("(data \"{}\")", "0".repeat(COMPILED_BYTES_MAX));
        for unknown in ["(tag)", "(type (struct (field i32)))"] {
            for rest in ["", &large] {
                let wasm = wat::parse_str(format!("(module {unknown} {rest})")).unwrap();
                let info = module_bytes::parse(&wasm).unwrap();
                let features = module_bytes::features(&wasm).unwrap();
                for listed in engines::compiled_in() {
                    let verdict = verdict(listed.name, &wasm, &info, &features);
                    assert!(
                        verdict.starts_with("no: "),
                        "{unknown} on {}: {verdict}",
                        listed.name
                    );
                }
            }
        }
    }

    #[test]
    fn a_policy_that_does_not_fit_is_refused() {
        let wasm = wat::parse_str("(module (func (export \"f\")))").unwrap();
        let policy = "[[export]]\nmatch = \"g\"\nrole = \"pure\""
            .parse()
            .unwrap();
        let info = module_bytes::parse(&wasm).unwrap();
        let error = check_policy(&policy, &info).unwrap_err().to_string();
        assert!(error.contains("`g`"), "{error}");
    }
}
