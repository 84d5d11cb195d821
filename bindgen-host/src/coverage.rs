//! Which imports of a module the host serves, read from the module alone.

use std::sync::Arc;

use engine_api::{Error, ExternType, Import, ModuleInfo};

use crate::surface::{Abi, Surface, abi, is_bindgen};
use crate::{HostError, Options, allocator, casts, imports, names};

/// Which imports of a module the host serves.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coverage {
    /// The generation of wasm-bindgen's ABI that the module speaks.
    pub abi: Abi,
    /// How many of its imports the host serves, a shared memory and tables among them.
    pub served: usize,
    /// The others, in the module's order. Each is a stub unless the user gives it; a function among
    /// them then fails when it is called.
    pub stubs: Vec<Import>,
}

/// Which imports of a module the host serves; `None` if wasm-bindgen did not make the module.
#[must_use]
pub fn served(info: &ModuleInfo) -> Option<Coverage> {
    if !is_bindgen(info) {
        return None;
    }
    let (served, stubs): (Vec<_>, Vec<_>) = info
        .imports()
        .iter()
        .partition(|import| works(info, import));
    Some(Coverage {
        abi: abi(info),
        served: served.len(),
        stubs: stubs.into_iter().cloned().collect(),
    })
}

/// As [`served`], by the module's bytes and what the options add: a numbered conversion is served only
/// if one of them tells what it converts.
///
/// # Errors
///
/// [`HostError::Cast`](crate::HostError::Cast) if the options do not fit the module.
pub fn served_in(
    info: &ModuleInfo,
    wasm: &[u8],
    options: &Options,
) -> Result<Option<Coverage>, Error> {
    let Some(mut coverage) = served(info) else {
        return match options.casts.first() {
            None => Ok(None),
            Some(cast) => {
                let reason =
                    "wasm-bindgen did not make this module, so none of its imports converts";
                let import = engine_api::Printable(&cast.import).to_string();
                Err(HostError::Cast(reason.to_owned()).ends(&import))
            }
        };
    };
    let unknown = casts::unknown(info, &casts::read(info, wasm, &options.casts)?);
    let is_unknown = |import: &&Import| is_served(import) && unknown.contains(&import.name);
    let unknown: Vec<_> = info.imports().iter().filter(is_unknown).cloned().collect();
    coverage.served -= unknown.len();
    coverage.stubs.extend(unknown);
    Ok(Some(coverage))
}

/// A module as the host shows it: with the functions that the host adds and without the imports
/// that it serves. Nothing runs. A module that wasm-bindgen did not make comes back as it is.
#[must_use]
pub fn hosted_info(info: &Arc<ModuleInfo>) -> Arc<ModuleInfo> {
    Surface::read(info, is_served).map_or_else(|| Arc::clone(info), |surface| surface.outer)
}

/// Whether a call of an import can work: one that returns text needs the guest's allocator.
fn works(info: &ModuleInfo, import: &Import) -> bool {
    let gives_text = matches!(
        names::base(&import.name),
        Some("string_get" | "debug_string" | "stack" | "String" | "json_serialize")
    );
    is_served(import) && (!gives_text || allocator::find(info).is_some())
}

/// Whether the host serves an import. It hides these imports alone: a proxy records the functions
/// that the user gives for the others, because it sees them.
pub(crate) fn is_served(import: &Import) -> bool {
    match &import.ty {
        ExternType::Func(ty) => imports::find(&import.name, ty).is_some(),
        ExternType::Memory(ty) => ty.shared,
        ExternType::Table(_) => true,
        ExternType::Global(_) | ExternType::Tag => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAINTING: &str = r#"(module
        (import "wbg" "__wbindgen_is_string" (func (param i32) (result i32)))
        (import "wbg" "__wbg_paint_0123456789abcdef" (func))
        (import "env" "memory" (memory 1 2 shared)))"#;

    fn info(text: &str) -> Arc<ModuleInfo> {
        Arc::new(module_bytes::parse(&wat::parse_str(text).unwrap()).unwrap())
    }

    #[test]
    fn an_import_that_the_host_does_not_serve_stays_visible() {
        let hosted = hosted_info(&info(PAINTING));
        let names: Vec<_> = hosted
            .imports()
            .iter()
            .map(|import| &*import.name)
            .collect();
        assert_eq!(
            names,
            [
                "__wbg_paint_0123456789abcdef",
                "random",
                "clock",
                "console",
                "callback",
                "callback_bytes"
            ]
        );
    }

    #[test]
    fn what_the_host_does_not_know_is_a_stub() {
        let coverage = served(&info(PAINTING)).unwrap();
        assert_eq!((coverage.abi, coverage.served), (Abi::Slots, 2));
        assert_eq!(coverage.stubs.len(), 1);
        assert_eq!(coverage.stubs[0].name, "__wbg_paint_0123456789abcdef");
    }

    #[test]
    fn an_import_that_returns_text_needs_an_allocator() {
        const TEXT: &str = r#"(module
            (import "wbg" "__wbindgen_string_get" (func (param i32 i32)))
            (import "wbg" "__wbindgen_is_string" (func (param i32) (result i32)))"#;
        let without = served(&info(&format!("{TEXT})"))).unwrap();
        assert_eq!((without.served, without.stubs.len()), (1, 1));
        let malloc =
            r#"(func (export "__wbindgen_malloc") (param i32 i32) (result i32) unreachable)"#;
        let with = served(&info(&format!("{TEXT}{malloc})"))).unwrap();
        assert_eq!((with.served, with.stubs.len()), (2, 0));
    }

    #[test]
    fn other_modules_have_no_coverage() {
        assert_eq!(served(&info(r#"(module (func (export "f")))"#)), None);
    }
}
