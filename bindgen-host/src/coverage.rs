//! Which imports of a module the host serves, read from the module alone.

use std::sync::Arc;

use engine_api::{ExternType, Import, ModuleInfo};

use crate::surface::{Abi, Surface, abi, is_bindgen};
use crate::{imports, names};

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
    let (served, stubs): (Vec<_>, Vec<_>) =
        info.imports().iter().partition(|import| is_served(import));
    Some(Coverage {
        abi: abi(info),
        served: served.len(),
        stubs: stubs.into_iter().cloned().collect(),
    })
}

/// A module as the host shows it: with the functions that the host adds and without the imports
/// that it serves. Nothing runs. A module that wasm-bindgen did not make comes back as it is.
#[must_use]
pub fn hosted_info(info: &Arc<ModuleInfo>) -> Arc<ModuleInfo> {
    Surface::read(info, is_served).map_or_else(|| Arc::clone(info), |surface| surface.outer)
}

/// Whether the host serves an import. It hides these imports alone: a proxy records the functions
/// that the user gives for the others, because it sees them.
pub(crate) fn is_served(import: &Import) -> bool {
    match &import.ty {
        ExternType::Func(ty) => {
            names::base(&import.name).is_some_and(|base| imports::find(base, ty).is_some())
        }
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
            ["__wbg_paint_0123456789abcdef", "random", "clock", "console"]
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
    fn other_modules_have_no_coverage() {
        assert_eq!(served(&info(r#"(module (func (export "f")))"#)), None);
    }
}
