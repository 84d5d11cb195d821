//! The engine for a module: how it is hosted, by what the policy says of it, and compiled.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bindgen_host::{Coverage, Options};
use compile_cache::CachingEngine;
use engine_api::{Engine, Error, Import, ModuleInfo, Printable};

use crate::args::CompileArgs;
use crate::compiling::{OnStderr, Telling};
use crate::output;
use crate::subject::Subject;

/// An engine by its name, which looks for the module's code on the disk first.
pub(crate) fn engine(
    name: &str,
    info: &ModuleInfo,
    options: Options,
    compiling: &CompileArgs,
) -> Result<Arc<dyn Engine>> {
    engine_telling(Telling::Slow, name, info, options, compiling)
}

/// The same, with a choice of when it says what it does.
pub(crate) fn engine_telling(
    telling: Telling,
    name: &str,
    info: &ModuleInfo,
    options: Options,
    compiling: &CompileArgs,
) -> Result<Arc<dyn Engine>> {
    let engine = engines::engine_within(name, info, options, compiling.limits())?;
    let teller = Box::new(OnStderr { telling });
    Ok(CachingEngine::around(engine, compiling.folder(), teller))
}

/// What the host serves of a module's imports under these options. Refuses options that do not fit
/// the module.
pub(crate) fn coverage(
    info: &ModuleInfo,
    wasm: &[u8],
    options: &Options,
) -> Result<Option<Coverage>> {
    bindgen_host::served_in(info, wasm, options).map_err(|error| match error {
        Error::Host { name, source, .. } => anyhow!(
            "the policy's `cast` of `{name}` does not fit the module: {source}; \
             `wasm-proxy inspect MODULE --glue FILE --emit-policy` drafts one that does"
        ),
        error => error.into(),
    })
}

/// How many imports a note names.
const NAMED_MAX: usize = 8;

/// Says which imports of a module nobody serves, before it is compiled. Their calls fail, and most
/// modules get along without them.
pub(crate) fn tell_stubs(job: &Subject, options: &Options) -> Result<()> {
    let coverage = coverage(&job.info, &job.wasm, options)
        .with_context(|| format!("cannot run `{}`", job.name))?;
    let stubs = coverage.map(|coverage| coverage.stubs).unwrap_or_default();
    let is_given = |import: &&Import| job.imports.get(&import.module, &import.name).is_some();
    let names: Vec<String> = stubs
        .iter()
        .filter(|import| !is_given(import))
        .map(|import| format!("`{}`", Printable(&import.name)))
        .collect();
    let more = match names.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more, which `wasm-proxy inspect` lists"),
    };
    if !names.is_empty() {
        output::note(&format!(
            "note: the host does not serve {} imports of the module, whose calls fail: {}{more}",
            names.len(),
            names[..names.len().min(NAMED_MAX)].join(", ")
        ));
    }
    Ok(())
}
