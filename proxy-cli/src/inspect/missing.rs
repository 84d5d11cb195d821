//! All that keeps a module from being used whole, in one list.

use std::fmt::Write;

use engine_api::{ExportKind, ExternType, Import, ModuleInfo};
use module_bytes::Feature;

use super::printable;
use crate::given_imports;
use draft::Draft;

/// How many names of one kind the list shows in full.
const SHOWN: usize = 200;

/// Lists what nobody serves, what no engine takes, and what no policy can describe. It compiles
/// nothing.
pub(super) fn missing(
    text: &mut String,
    info: &ModuleInfo,
    unserved: &[Import],
    features: &[Feature],
    draft: &Draft,
) {
    let parts = [
        (
            "exports that WASI needs, without which its functions fail",
            needed_by_wasi(info),
        ),
        (
            "imports that the host does not serve, whose calls fail unless you give them",
            named(unserved),
        ),
        (
            "features that no engine here takes",
            no_engine_takes(features),
        ),
        (
            "exports that no entry of a policy describes",
            undescribed(draft),
        ),
    ];
    if parts.iter().all(|(_, names)| names.is_empty()) {
        let _ = writeln!(text, "missing: nothing");
        return;
    }
    let _ = writeln!(text, "missing:");
    for (what, names) in parts {
        if names.is_empty() {
            continue;
        }
        let _ = writeln!(text, "  {what}: {}", names.len());
        for name in names.iter().take(SHOWN) {
            let _ = writeln!(text, "    {name}");
        }
        if names.len() > SHOWN {
            let _ = writeln!(text, "    and {} more", names.len() - SHOWN);
        }
    }
}

/// WASI reads and writes the memory that the module exports under this name, or imports.
fn needed_by_wasi(info: &ModuleInfo) -> Vec<String> {
    let memory = info.export("memory").map(|export| export.kind);
    let has_memory = matches!(memory, Some(ExportKind::Memory(_)));
    let lacks = given_imports::is_wasi(info) && !has_memory && info.imported_memories() == 0;
    lacks
        .then(|| "memory  a memory".to_owned())
        .into_iter()
        .collect()
}

fn named(unserved: &[Import]) -> Vec<String> {
    unserved
        .iter()
        .map(|import| {
            let name = format!("{}.{}", printable(&import.module), printable(&import.name));
            match &import.ty {
                ExternType::Func(_) => name,
                other => format!("{name}  {other}"),
            }
        })
        .collect()
}

fn no_engine_takes(features: &[Feature]) -> Vec<String> {
    features
        .iter()
        .filter(|feature| super::fit::no_engine_takes(**feature))
        .map(ToString::to_string)
        .collect()
}

/// Those that are left out because something in them has no kind.
fn undescribed(draft: &Draft) -> Vec<String> {
    draft
        .exports
        .iter()
        .filter(|export| !export.listed && !export.is_service)
        .map(|export| format!("{}  {}", printable(&export.name), printable(&export.reason)))
        .collect()
}
