//! The names that the glue's helpers have had since 0.2.50, and what each of them does.

use crate::model::{Elements, NumberType};

/// Puts a value into a buffer of the guest: `passStringToWasm0`.
pub(crate) fn passes(name: &str) -> Option<Elements> {
    let what = name.strip_prefix("pass")?;
    let what = what.trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match what.strip_suffix("ToWasm")? {
        "String" => Elements::Text,
        "Array8" => Elements::Bytes,
        "Array16" => Elements::Two,
        "Array32" | "ArrayF32" => Elements::Four,
        "Array64" | "ArrayF64" => Elements::Eight,
        "ArrayJsValue" => Elements::Values,
        _ => return None,
    })
}

/// Takes a value out of a buffer of the guest: `getArrayU8FromWasm0`.
pub(crate) fn takes(name: &str) -> Option<Elements> {
    let what = name.strip_prefix("get")?;
    let what = what.trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match what.strip_suffix("FromWasm")? {
        "String" | "CachedString" => Elements::Text,
        "ArrayU8" | "ArrayI8" | "ClampedArrayU8" => Elements::Bytes,
        "ArrayU16" | "ArrayI16" => Elements::Two,
        "ArrayU32" | "ArrayI32" | "ArrayF32" => Elements::Four,
        "ArrayU64" | "ArrayI64" | "ArrayF64" => Elements::Eight,
        "ArrayJsValue" => Elements::Values,
        _ => return None,
    })
}

/// What a helper takes out of a buffer of the guest, in the words of conversions.
pub(crate) fn element_of(helper: &str) -> Option<&'static str> {
    let what = helper.strip_prefix("get")?;
    let what = what.trim_end_matches(|c: char| c.is_ascii_digit());
    Some(match what.strip_suffix("FromWasm")? {
        "String" | "CachedString" => "String",
        "ArrayU8" => "U8",
        "ArrayI8" => "I8",
        "ClampedArrayU8" => "ClampedU8",
        "ArrayU16" => "U16",
        "ArrayI16" => "I16",
        "ArrayU32" => "U32",
        "ArrayI32" => "I32",
        "ArrayF32" => "F32",
        "ArrayU64" => "U64",
        "ArrayI64" => "I64",
        "ArrayF64" => "F64",
        "ArrayJsValue" => "Externref",
        _ => return None,
    })
}

/// Gives a value of JavaScript a number. It says whether the glue takes it back after the call.
pub(crate) fn adds_value(name: &str) -> Option<bool> {
    match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
        "addHeapObject" | "addToExternrefTable" => Some(false),
        "addBorrowedObject" => Some(true),
        _ => None,
    }
}

/// Gives the value of JavaScript behind a number.
pub(crate) fn gives_value(name: &str) -> bool {
    matches!(
        name.trim_end_matches(|c: char| c.is_ascii_digit()),
        "takeObject" | "getObject" | "takeFromExternrefTable" | "getFromExternrefTable"
    )
}

/// Whether it tells that something is undefined or null.
pub(crate) fn is_like_none(name: &str) -> bool {
    name == "isLikeNone"
}

/// A view of the guest's memory as numbers: `getInt32Memory0`.
pub(crate) fn view(name: &str) -> Option<NumberType> {
    let what = name.strip_prefix("get")?;
    let what = what.trim_end_matches(|c: char| c.is_ascii_digit());
    let what = what.strip_suffix("Memory")?;
    match what.strip_suffix("Array").unwrap_or(what) {
        "Int32" | "Uint32" => Some(NumberType::I32),
        "BigInt64" | "BigUint64" | "Int64" | "Uint64" => Some(NumberType::I64),
        "Float32" => Some(NumberType::F32),
        "Float64" => Some(NumberType::F64),
        _ => None,
    }
}

/// A method of a `DataView` that reads a number.
pub(crate) fn reads(method: &str) -> Option<NumberType> {
    match method {
        "getInt32" | "getUint32" => Some(NumberType::I32),
        "getBigInt64" | "getBigUint64" => Some(NumberType::I64),
        "getFloat32" => Some(NumberType::F32),
        "getFloat64" => Some(NumberType::F64),
        _ => None,
    }
}

/// Whether a field of an object holds its pointer.
pub(crate) fn is_pointer_field(name: &str) -> bool {
    matches!(name, "__wbg_ptr" | "ptr")
}

/// Whether it is one of the exports that only glue calls.
pub(crate) fn is_service(export: &str) -> bool {
    export.starts_with("__wbindgen_")
        || export.starts_with("__externref_")
        || matches!(export, "memory" | "__wbindgen_export_table")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_are_known_with_and_without_a_number() {
        assert_eq!(passes("passStringToWasm0"), Some(Elements::Text));
        assert_eq!(passes("passArray64ToWasm12"), Some(Elements::Eight));
        assert_eq!(passes("passStringToWasm"), Some(Elements::Text));
        assert_eq!(passes("passport"), None);
        assert_eq!(takes("getClampedArrayU8FromWasm0"), Some(Elements::Bytes));
        assert_eq!(takes("getObject"), None);
        assert_eq!(view("getInt32Memory0"), Some(NumberType::I32));
        assert_eq!(view("getBigInt64Memory"), Some(NumberType::I64));
        assert_eq!(view("getFloat64ArrayMemory0"), Some(NumberType::F64));
        assert_eq!(view("getDataViewMemory0"), None);
        assert_eq!(adds_value("addBorrowedObject"), Some(true));
        assert!(gives_value("takeFromExternrefTable0"));
    }
}
