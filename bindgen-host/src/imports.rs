//! The functions that a realm has, by the base names of the imports.

mod buffers;
mod closures;
mod collections;
mod debug;
mod intrinsics;
mod objects;
mod outside;
mod properties;

use engine_api::FuncType;

use crate::call::Serve;
use crate::{known, names};

pub(crate) use properties::own_keys;

/// The function that serves an import of this name and type. `None` makes the import a stub: the host
/// does not know it, or cannot tell which of several functions of one name it is.
pub(crate) fn find(name: &str, ty: &FuncType) -> Option<Serve> {
    let base = names::base(name)?;
    let known = known::identify(name);
    intrinsics::find(base, ty)
        .or_else(|| outside::find(base, ty))
        .or_else(|| collections::find(base, ty, known))
        .or_else(|| buffers::find(base, ty, known))
        .or_else(|| properties::find(base, ty, known))
        .or_else(|| objects::find(base, ty, known))
        .or_else(|| closures::find(base, ty))
}
