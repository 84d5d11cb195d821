//! The functions that a realm has, by the base names of the imports.

mod buffers;
mod closures;
mod intrinsics;
mod objects;
mod outside;

use engine_api::FuncType;

use crate::call::Serve;

/// The function that serves an import of this base name and type. `None` makes the import a stub.
pub(crate) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    intrinsics::find(base, ty)
        .or_else(|| objects::find(base, ty))
        .or_else(|| buffers::find(base, ty))
        .or_else(|| outside::find(base, ty))
        .or_else(|| closures::find(base, ty))
}
