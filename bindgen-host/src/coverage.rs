//! Which imports of a module the host serves, read from the module alone.

use engine_api::{ExternType, Import, ModuleInfo};

use crate::surface::{Abi, abi, is_bindgen};
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
    let is_served = |import: &&Import| match &import.ty {
        ExternType::Func(ty) => {
            names::base(&import.name).is_some_and(|base| imports::find(base, ty).is_some())
        }
        ExternType::Memory(ty) => ty.shared,
        ExternType::Table(_) => true,
        ExternType::Global(_) | ExternType::Tag => false,
    };
    let (served, stubs): (Vec<_>, Vec<_>) = info.imports().iter().partition(is_served);
    Some(Coverage {
        abi: abi(info),
        served: served.len(),
        stubs: stubs.into_iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coverage(text: &str) -> Option<Coverage> {
        served(&module_bytes::parse(&wat::parse_str(text).unwrap()).unwrap())
    }

    #[test]
    fn what_the_host_does_not_know_is_a_stub() {
        let coverage = coverage(
            r#"(module
                (import "wbg" "__wbindgen_is_string" (func (param i32) (result i32)))
                (import "wbg" "__wbg_paint_0123456789abcdef" (func))
                (import "env" "memory" (memory 1 2 shared)))"#,
        )
        .unwrap();
        assert_eq!((coverage.abi, coverage.served), (Abi::Slots, 2));
        assert_eq!(coverage.stubs.len(), 1);
        assert_eq!(coverage.stubs[0].name, "__wbg_paint_0123456789abcdef");
    }

    #[test]
    fn other_modules_have_no_coverage() {
        assert_eq!(coverage(r#"(module (func (export "f")))"#), None);
    }
}
