//! The names of imports, without what changes from build to build.

/// The base name of a wasm-bindgen import: `__wbg_subarray_13db269f57aa838d` is `subarray`,
/// `__wbindgen_is_string` and `__wbg___wbindgen_is_string_6df3bf7ef1164ed3` are `is_string`. `None`
/// for any other name.
pub(crate) fn base(name: &str) -> Option<&str> {
    if let Some(intrinsic) = name.strip_prefix("__wbindgen_") {
        return Some(intrinsic);
    }
    let name = name.strip_prefix("__wbg_")?;
    let name = match name.rsplit_once('_') {
        Some((base, hash)) if is_hash(hash) => base,
        _ => name,
    };
    Some(name.strip_prefix("__wbindgen_").unwrap_or(name))
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
            ("__wbg_new_no_hash", Some("new_no_hash")),
            ("clock", None),
        ] {
            assert_eq!(base(name), expected, "{name}");
        }
    }
}
