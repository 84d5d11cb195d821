//! `inspect`: the parts of a module, the engines that can run it, and the roles that a policy
//! gives.

mod check;
mod checkpoints;
mod fit;
mod glue;
mod host;
mod missing;
mod roles;

use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use ::glue::{Glue, Types};
use anyhow::{Context, Result, bail, ensure};
use draft::Draft;
use engine_api::{ExportKind, ExternType, MemoryType, ModuleInfo, PAGE_BYTES, Printable};

use crate::args::InspectArgs;
use crate::chosen_policy::ChosenPolicy;
use crate::console::mib;
use crate::{given_imports, hosting, module_file, output};

/// Prints a description of the module, or a draft of a policy.
pub(crate) fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    if let Some(option) = args.world.given()
        && !args.check_policy
    {
        bail!("{option} is for the calls of --check-policy; leave it out");
    }
    let wasm = module_file::read(&args.module)?;
    let mut wasm = given_imports::renamed(wasm, args.names.as_deref())?;
    let cannot_read = || format!("cannot read `{}`", args.module.display());
    if args.check_policy {
        // It makes calls, for which `run` adds exports to Emscripten's modules.
        wasm = given_imports::callable(wasm).with_context(cannot_read)?;
    }
    let info = Arc::new(module_bytes::parse(&wasm).with_context(cannot_read)?);
    // A host adds functions, which policies and callers see too.
    let hosted = bindgen_host::hosted_info(&info);
    if args.check_policy {
        return check::check(args, wasm, &info);
    }
    let glue = args.glue.as_deref();
    let glue = glue
        .map(|path| read_glue(path, args.types.as_deref()))
        .transpose()?;
    let draft = Draft::with_glue(&hosted, glue.as_ref());
    let mut draft = draft.with_context(|| match &args.glue {
        Some(path) => format!("cannot draft a policy by `{}`", path.display()),
        None => "cannot draft a policy".to_owned(),
    })?;
    if let Some(glue) = &glue {
        draft = draft.with_casts(&info, &wasm, glue);
    }
    let chosen = ChosenPolicy::read(args.policy.as_deref(), args.preset.as_deref())?;
    let known = match &chosen {
        Some(chosen) => draft::host_options(&chosen.policy),
        None => draft::host_options(&draft.policy()),
    };
    let coverage = hosting::coverage(&info, &wasm, &known)?;
    if args.emit_policy {
        fit::check_policy(&draft.policy(), &hosted)
            .context("the draft does not fit the module; this is a bug of wasm-proxy")?;
        return output::print(&draft.to_toml(&args.module.display().to_string()));
    }
    let features = module_bytes::features(&wasm).with_context(cannot_read)?;
    let mut text = String::new();
    overview(&mut text, &args.module, &wasm, &info);
    imports(&mut text, &info);
    host::host(&mut text, coverage.as_ref(), &info, &hosted);
    if let Some(glue) = &glue {
        glue::glue(&mut text, glue);
    }
    // With the exports that `run` adds for Emscripten's modules.
    let callable = given_imports::callable(wasm.clone()).with_context(cannot_read)?;
    let info_of_callable = module_bytes::parse(&callable)?;
    let unserved = given_imports::unserved(coverage.as_ref(), &info_of_callable, &callable)?;
    missing::missing(&mut text, &info, &unserved, &features, &draft);
    memories(&mut text, &info);
    tables_and_globals(&mut text, &info);
    let names: Vec<String> = features.iter().map(ToString::to_string).collect();
    let _ = writeln!(text, "features: {}", or_none(&names.join(", ")));
    // What is missing stands there at once. Compilers take longer.
    output::print(&text)?;
    text.clear();
    fit::engines(&mut text, &wasm, &info, &features);
    checkpoints::checkpoints(&mut text, &wasm, &info).with_context(cannot_read)?;
    match chosen {
        Some(chosen) => {
            fit::check_policy(&chosen.policy, &hosted).with_context(|| {
                format!(
                    "the {} does not fit `{}`",
                    chosen.name,
                    args.module.display()
                )
            })?;
            roles::by_policy(&mut text, &hosted, &chosen)?;
        }
        None => roles::by_draft(&mut text, &hosted, draft),
    }
    output::print(&text)
}

/// Reads the JavaScript that came with the module, and its types.
fn read_glue(path: &Path, types: Option<&Path>) -> Result<Glue> {
    let read = |path: &Path| {
        let text = std::fs::read(path)
            .with_context(|| format!("cannot read `{}`; check the path", path.display()))?;
        anyhow::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let mut glue = Glue::read(&read(path)?)
        .with_context(|| format!("`{}` is not glue of wasm-bindgen's", path.display()))?;
    if let Some(types) = types {
        let declared = glue.add_types(&Types::read(&read(types)?));
        ensure!(
            declared > 0,
            "`{}` declares nothing that is in `{}`; give the types of the same package, or leave \
             `--types` out",
            types.display(),
            path.display()
        );
    }
    Ok(glue)
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn overview(text: &mut String, path: &Path, wasm: &[u8], info: &ModuleInfo) {
    let _ = writeln!(
        text,
        "{}: {} bytes, {} functions, {} exports, {} imports, {}",
        path.display(),
        wasm.len(),
        info.function_count(),
        info.exports().len(),
        info.imports().len(),
        if info.has_start() {
            "a start function"
        } else {
            "no start function"
        }
    );
    let _ = writeln!(text, "hash: {}", info.hash());
}

fn imports(text: &mut String, info: &ModuleInfo) {
    if info.imports().is_empty() {
        let _ = writeln!(text, "imports: none");
        return;
    }
    let who = if emscripten::is_emscripten(info) {
        "Emscripten's are served, see docs/toolchains.md"
    } else if bindgen_host::is_bindgen(info) {
        "wasm-bindgen's are served by the host, see below"
    } else if info
        .imports()
        .iter()
        .any(|import| import.module == wasi::MODULE)
    {
        "`run` gives those of WASI, and with `--dir` and `--env` what they reach; `--stub-imports` gives \
         stubs for others"
    } else {
        "`run --stub-imports` gives stubs for all but globals and shared memories"
    };
    let _ = writeln!(text, "imports ({who}):");
    let width = widest(
        info.imports()
            .iter()
            .map(|import| import.module.chars().count() + import.name.chars().count() + 1),
    );
    for import in info.imports() {
        let name = format!("{}.{}", printable(&import.module), printable(&import.name));
        let _ = writeln!(text, "  {name:width$}  {}", import.ty);
    }
}

/// Where a memory or a table comes from, and the names under which it is exported.
fn known_as(info: &ModuleInfo, kind: ExportKind, imported: bool) -> String {
    let names: Vec<String> = info
        .exports()
        .iter()
        .filter(|export| export.kind == kind)
        .map(|export| format!("`{}`", printable(&export.name)))
        .collect();
    match (imported, names.is_empty()) {
        (true, true) => "imported".to_owned(),
        (true, false) => format!("imported, exported as {}", names.join(", ")),
        (false, true) => "internal".to_owned(),
        (false, false) => format!("exported as {}", names.join(", ")),
    }
}

fn imported(info: &ModuleInfo, is_kind: impl Fn(&ExternType) -> bool) -> usize {
    info.imports()
        .iter()
        .filter(|import| is_kind(&import.ty))
        .count()
}

fn memories(text: &mut String, info: &ModuleInfo) {
    let imports = imported(info, |ty| matches!(ty, ExternType::Memory(_)));
    if info.memories().is_empty() {
        let _ = writeln!(text, "memories: none");
        return;
    }
    let _ = writeln!(text, "memories:");
    for (position, memory) in info.memories().iter().enumerate() {
        let index = engine_api::MemoryIndex(u32::try_from(position).unwrap_or(u32::MAX));
        let _ = writeln!(
            text,
            "  {position}: {}, {}",
            memory_size(memory),
            known_as(info, ExportKind::Memory(index), position < imports)
        );
    }
}

fn memory_size(memory: &MemoryType) -> String {
    let size = |pages: u64| {
        format!(
            "{pages} pages ({:.1} MiB)",
            mib(pages.saturating_mul(PAGE_BYTES))
        )
    };
    let maximum = match memory.pages_max {
        Some(pages) => format!("at most {}", size(pages)),
        None => format!("no maximum, so {:.0} MiB", mib(memory.bytes_max())),
    };
    let mut text = format!("{} at first, {maximum}", size(memory.pages_min));
    if memory.shared {
        text.push_str(", shared");
    }
    if memory.memory64 {
        text.push_str(", 64-bit");
    }
    text
}

fn tables_and_globals(text: &mut String, info: &ModuleInfo) {
    let imports = imported(info, |ty| matches!(ty, ExternType::Table(_)));
    for (position, table) in info.tables().iter().enumerate() {
        let index = engine_api::TableIndex(u32::try_from(position).unwrap_or(u32::MAX));
        let maximum = table
            .elements_max
            .map_or("no maximum".to_owned(), |max| format!("at most {max}"));
        let _ = writeln!(
            text,
            "table {position}: {} of {}, {maximum}, {}",
            table.elements_min,
            table.element,
            known_as(info, ExportKind::Table(index), position < imports)
        );
    }
    let mutable = info
        .globals()
        .iter()
        .filter(|global| global.mutable)
        .count();
    let exported: Vec<String> = info
        .exports()
        .iter()
        .filter_map(|export| match &export.ty {
            ExternType::Global(ty) => Some(format!("`{}` ({})", printable(&export.name), ty.value)),
            _ => None,
        })
        .collect();
    let _ = writeln!(
        text,
        "globals: {}, {mutable} of them mutable; exported: {}",
        info.globals().len(),
        or_none(&exported.join(", "))
    );
}

/// A name in one line, which cannot move a terminal's cursor.
fn printable(name: &str) -> String {
    Printable(name).to_string()
}

/// The width of a column. It has a maximum, because one very long name would push everything away.
fn widest(widths: impl Iterator<Item = usize>) -> usize {
    widths.max().unwrap_or(0).min(56)
}
