//! Where modules leave results that have no function to move their stack pointer.

use engine_api::{ExportKind, ModuleInfo, PAGE_BYTES, ValType};

use super::super::ReturnPlacePolicy;
use super::super::plan::{ReturnPlace, refuse};
use super::gather::RETURN_BYTES_MAX;
use crate::PolicyError;

pub(super) fn bind_return_place(
    policy: Option<&ReturnPlacePolicy>,
    info: &ModuleInfo,
) -> Result<Option<ReturnPlace>, PolicyError> {
    match policy {
        None => Ok(None),
        Some(ReturnPlacePolicy::Address(at)) => {
            let pages = info.memories().first().map_or(0, |memory| memory.pages_min);
            let end = u64::from(*at) + u64::from(RETURN_BYTES_MAX);
            if at.is_multiple_of(8) && end <= pages.saturating_mul(PAGE_BYTES) {
                Ok(Some(ReturnPlace::Address(*at)))
            } else {
                Err(refuse(format!(
                    "module.return_place: {at} is no multiple of 8 inside of the module's first memory"
                )))
            }
        }
        Some(ReturnPlacePolicy::Global(name)) => {
            let exported = info.export(name);
            let index = exported.and_then(|export| match export.kind {
                ExportKind::Global(index) => Some(index),
                _ => None,
            });
            let ty = index.and_then(|index| info.globals().get(index.0 as usize));
            match (index, ty) {
                (Some(index), Some(ty)) if ty.mutable && ty.value == ValType::I32 => {
                    Ok(Some(ReturnPlace::Global(index)))
                }
                _ => Err(refuse(format!(
                    "module.return_place: the module exports no mutable i32 global `{name}`; name the one \
                     with the stack pointer, or an address"
                ))),
            }
        }
    }
}
