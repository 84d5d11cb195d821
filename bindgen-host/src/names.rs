//! The names of imports, without what changes from build to build.

/// The intrinsics whose names releases 0.2.101 to 0.2.103 write without underscores.
const INTRINSICS: [&str; 29] = [
    "as_number",
    "bigint_from_i64",
    "bigint_from_u64",
    "bigint_get_as_i64",
    "boolean_get",
    "cb_drop",
    "copy_to_typed_array",
    "debug_string",
    "error_new",
    "in",
    "is_array",
    "is_bigint",
    "is_falsy",
    "is_function",
    "is_null",
    "is_object",
    "is_string",
    "is_symbol",
    "is_undefined",
    "jsval_eq",
    "jsval_loose_eq",
    "memory",
    "number_get",
    "number_new",
    "rethrow",
    "string_get",
    "string_new",
    "throw",
    "typeof",
];

/// The base name of a wasm-bindgen import: `__wbg_subarray_13db269f57aa838d` is `subarray`;
/// `__wbindgen_is_string`, `__wbg___wbindgen_is_string_6df3bf7ef1164ed3` and
/// `__wbg_wbindgenisstring_4c11a24fca429ccf` are `is_string`. `None` for any other name.
pub(crate) fn base(name: &str) -> Option<&str> {
    if let Some(intrinsic) = name.strip_prefix("__wbindgen_") {
        return Some(without_hash(intrinsic));
    }
    let name = without_hash(name.strip_prefix("__wbg_")?);
    if let Some(intrinsic) = name.strip_prefix("wbindgen") {
        let is_it = |known: &&str| known.chars().filter(|c| *c != '_').eq(intrinsic.chars());
        return INTRINSICS.into_iter().find(is_it).or(Some(name));
    }
    Some(name.strip_prefix("__wbindgen_").unwrap_or(name))
}

/// Conversions are told by their hash, and keep it.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some(("cast" | "generic", _)) | None => name,
        Some((base, hash)) if is_hash(hash) => base,
        Some(_) => name,
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::base;

    #[test]
    fn hashes_and_prefixes_go() {
        for (name, expected) in [
            ("__wbg_subarray_13db269f57aa838d", Some("subarray")),
            (
                "__wbg_static_accessor_SELF_37c5d418e4bf5819",
                Some("static_accessor_SELF"),
            ),
            ("__wbindgen_is_string", Some("is_string")),
            (
                "__wbg___wbindgen_is_string_6df3bf7ef1164ed3",
                Some("is_string"),
            ),
            ("__wbg_wbindgenthrow_4c11a24fca429ccf", Some("throw")),
            (
                "__wbg_wbindgenisundefined_71f08a6ade4354e7",
                Some("is_undefined"),
            ),
            (
                "__wbg_wbindgensomething_71f08a6ade4354e7",
                Some("wbindgensomething"),
            ),
            (
                "__wbindgen_cast_2241b6af4c4b2941",
                Some("cast_2241b6af4c4b2941"),
            ),
            ("__wbg_new_no_hash", Some("new_no_hash")),
            ("clock", None),
        ] {
            assert_eq!(base(name), expected, "{name}");
        }
    }
}
