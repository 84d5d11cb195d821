//! The functions that a realm has, by the base names of the imports.

mod buffers;
mod closures;
mod intrinsics;
mod objects;
mod outside;

use engine_api::FuncType;

use crate::call::Serve;

/// How the import of a base name and a type is served, if it is.
pub(crate) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    intrinsics::find(base, ty)
        .or_else(|| objects::find(base, ty))
        .or_else(|| buffers::find(base, ty))
        .or_else(|| outside::find(base, ty))
        .or_else(|| closures::find(base, ty))
}
