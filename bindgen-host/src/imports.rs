//! The functions that a realm has, by the base names of the imports.

mod buffers;
mod closures;
mod intrinsics;
mod objects;
mod outside;

use engine_api::FuncType;

use crate::call::{Call, Outcome};

/// How an import is served.
pub(crate) type Serve = fn(&mut Call<'_>) -> Outcome;

/// An import that the host serves.
#[derive(Debug)]
pub(crate) struct Served {
    /// Its whole name.
    pub(crate) name: String,
    pub(crate) serve: Serve,
    /// Whether wasm-bindgen catches its exceptions for the guest.
    pub(crate) catches: bool,
    /// Whether zero says that there is no object.
    pub(crate) is_optional: bool,
    /// Whether it gives anything back.
    pub(crate) returns: bool,
}

impl Served {
    pub(crate) fn new(name: &str, base: &str, ty: &FuncType, serve: Serve) -> Self {
        Self {
            name: name.to_owned(),
            serve,
            // The crate declares these with `catch`.
            catches: matches!(
                base,
                "call"
                    | "apply"
                    | "construct"
                    | "get"
                    | "has"
                    | "set"
                    | "getRandomValues"
                    | "randomFillSync"
                    | "require"
                    | "self"
                    | "window"
                    | "global"
                    | "globalThis"
                    | "parse"
                    | "stringify"
            ),
            returns: !ty.results().is_empty(),
            is_optional: base.starts_with("static_accessor_"),
        }
    }
}

/// How the import of a base name and a type is served, if it is.
pub(crate) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    intrinsics::find(base, ty)
        .or_else(|| objects::find(base, ty))
        .or_else(|| buffers::find(base, ty))
        .or_else(|| outside::find(base, ty))
        .or_else(|| closures::find(base, ty))
}
