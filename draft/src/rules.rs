//! The naming rules of wasm-bindgen, Emscripten and hand-written C interfaces.

use std::collections::BTreeSet;

use bindgen_host::{THREAD_POOL_START, THREAD_POOL_STOP};
use engine_api::FunctionInfo;
use guest_calls::Role;

use super::{is_creator, is_destructor};

/// The naming rule of an export.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) role: Role,
    pub(super) reason: &'static str,
    /// The type of the object that it creates or frees, if its name has one.
    pub(super) object: Option<String>,
    /// Whether it changes the object that it is a method of, and nothing else.
    pub(super) changes_first: bool,
    /// Whether it deals in raw pointers, as an allocator does.
    pub(super) raw_pointers: bool,
    /// The content of the buffer that it returns, if it returns one.
    pub(super) buffer: Option<Buffer>,
}

/// The content of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffer {
    Bytes,
    Text,
}

/// The reason for the role of an export that no rule knows.
pub(super) const UNKNOWN_NAME: &str = "no naming rule knows it: journaled, to be safe";

/// The allocators that the proxy knows by their names.
pub(super) const ALLOCATORS: [(&str, &str); 3] = [
    ("guest_alloc", "guest_free"),
    ("__wbindgen_malloc", "__wbindgen_free"),
    ("malloc", "free"),
];

/// Exports that report how much memory the module uses.
pub(super) const MEMORY_USAGE: [&str; 2] = ["memory_usage_mb", "get_memory_usage_mb"];

/// Exports that report the limit of memory that the module sets itself.
pub(super) const CRITICAL_MEMORY: [&str; 2] = [
    "critical_memory_threshold_mb",
    "get_critical_memory_threshold_mb",
];

const ALLOCATION: &[&str] = &[
    "guest_alloc",
    "guest_free",
    "malloc",
    "calloc",
    "realloc",
    "free",
    "aligned_alloc",
    "__wbindgen_malloc",
    "__wbindgen_malloc_command_export",
    "__wbindgen_realloc",
    "__wbindgen_free",
    "__wbindgen_free_command_export",
    "cabi_realloc",
];

/// Whether only glue ever calls an export, by its name.
pub(super) fn is_glue_service(name: &str) -> bool {
    let own = ["__wbindgen_", "__externref_", "bindgen_host_", "_dyn_core_"];
    (own.iter().any(|prefix| name.starts_with(prefix)) && !STARTS.contains(&name))
        || name.contains("___convert__closures_")
        || is_known_service(name)
}

/// Whether a naming rule knows an export as an allocator's.
pub(super) fn is_known_service(name: &str) -> bool {
    matched(ALLOCATION, name).is_some()
}

/// Functions that `bindgen-host` adds for itself.
const HOST: &[&str] = &["bindgen_host_*"];

/// The type of the thread pools that `bindgen-host` starts.
const POOL: &str = "pool";

const STACK: &[&str] = &[
    "__wbindgen_add_to_stack_pointer",
    "stackSave",
    "stackRestore",
    "stackAlloc",
    "_emscripten_stack_*",
    "emscripten_stack_*",
];

const STARTS: &[&str] = &[
    "_start",
    "_initialize",
    "__wasm_call_ctors",
    "__wbindgen_start",
    "__wasm_init_*",
];

/// The star is the type of the created object.
pub(super) const CREATES: &[&str] = &[
    "__wbg_*_new",
    "*_new",
    "*_create",
    "*_open",
    "*_clone",
    "create_*",
    "new_*",
    "make_*",
];

/// The star is a type if it is known from elsewhere.
const CREATES_KNOWN: &[&str] = &[
    "*_read", "*_load", "*_parse", "*_decode", "*_copy", "*_build",
];

/// The star is the type of the freed object.
pub(super) const FREES: &[&str] = &[
    "__wbg_*_free",
    "*_free",
    "*_destroy",
    "*_dispose",
    "*_drop",
    "*_release",
    "*_close",
    "free_*",
    "destroy_*",
];

const SETTERS: &[&str] = &[
    "__wbg_set_*",
    "set_*",
    "*_set",
    "*_set_*",
    "*_put",
    "*_push",
    "*_insert",
    "*_append",
    "*_remove",
    "*_delete",
    "*_clear",
    "*_update",
    "*_write",
];

const GETTERS: &[&str] = &[
    "__wbg_get_*",
    "get_*",
    "is_*",
    "has_*",
    "can_*",
    "verify*",
    "check_*",
    "*_get",
    "*_get_*",
    "*_is_*",
    "*_has_*",
    "*_len",
    "*_length",
    "*_size",
    "*_count",
    "*_digest",
    "*_hash",
    "*_verify",
    "*_equals",
    "*_eq",
    "*_cmp",
    "*_value",
    "*_version",
    "*_mb",
    "len",
    "value",
    "version",
];

const BYTES: &[&str] = &["*_to_bytes", "*_bytes", "*_serialize", "*_encode"];

const TEXTS: &[&str] = &[
    "*_to_string",
    "*_toString",
    "*_to_json",
    "*_toJSON",
    "*_name",
];

/// What gives an object as text, or as bytes.
const GIVES_TEXT: &[&str] = &[
    "*_to_hex",
    "*_to_str",
    "*_to_string",
    "*_toString",
    "*_to_json",
    "*_toJSON",
    "*_to_bech32",
    "*_to_base58",
    "*_to_base64",
];
const GIVES_BYTES: &[&str] = &["*_to_bytes", "*_toBytes", "*_to_raw_bytes", "*_as_bytes"];

/// What makes an object of a text, or of bytes.
const FROM_TEXT: &[&str] = &[
    "*_from_hex",
    "*_from_str",
    "*_from_string",
    "*_from_json",
    "*_fromJSON",
    "*_from_bech32",
    "*_from_base58",
    "*_from_base64",
    "*_parse",
];
const FROM_BYTES: &[&str] = &[
    "*_from_bytes",
    "*_fromBytes",
    "*_from_raw_bytes",
    "*_load",
    "*_decode",
];

/// The object and the buffer of an export that gives an object's content.
pub(super) fn gives_buffer(name: &str) -> Option<(&str, Buffer)> {
    let text = matched(GIVES_TEXT, name).map(|object| (object, Buffer::Text));
    text.or_else(|| matched(GIVES_BYTES, name).map(|object| (object, Buffer::Bytes)))
}

/// The object and the buffer of an export that makes an object of it.
pub(super) fn made_of_buffer(name: &str) -> Option<(&str, Buffer)> {
    let text = matched(FROM_TEXT, name).map(|object| (object, Buffer::Text));
    text.or_else(|| matched(FROM_BYTES, name).map(|object| (object, Buffer::Bytes)))
}

/// Names in JavaScript of what only looks, in `snake_case`.
const READERS: &[&str] = &[
    "get_*",
    "is_*",
    "has_*",
    "can_*",
    "to_*",
    "as_*",
    "equals",
    "eq",
    "equal_*",
    "compare*",
    "verify*",
    "check_*",
    "len",
    "length",
    "size",
    "count",
    "*_count",
    "*_len",
    "*_length",
    "*_size",
    "value",
    "name",
    "keys",
    "values",
    "entries",
    "version",
    "clone",
    "copy",
    "encode_*",
    "serialize*",
    "debug_*",
    "hash_*",
    "min_*",
    "max_*",
    "total_*",
    "contains*",
    "includes",
];

/// Whether a member only looks, by its name in JavaScript.
pub(super) fn reads(name: &str) -> bool {
    matched(READERS, &snake_case(name)).is_some()
}

/// `getTextLength` as `get_text_length`.
fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && after_lower {
            text.push('_');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        text.extend(c.to_lowercase());
    }
    text
}

/// The text for the star of the first pattern that fits, and "" for a pattern without a star. A
/// star at a pattern's end may stand for nothing after a word of its own: `verify*` is also
/// `verify`.
pub(super) fn matched<'a>(patterns: &[&str], name: &'a str) -> Option<&'a str> {
    patterns.iter().find_map(|pattern| star_of(pattern, name))
}

fn star_of<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once('*') else {
        return (pattern == name).then_some("");
    };
    let rest = name.strip_prefix(before)?;
    // `*_get_*`: the first star counts, the second must stand for something.
    let star = match after.strip_suffix('*') {
        Some(inner) if !inner.is_empty() => {
            let (star, tail) = rest.split_once(inner)?;
            (!tail.is_empty()).then_some(star)?
        }
        _ => rest.strip_suffix(after)?,
    };
    let may_be_empty = after.is_empty() && !before.ends_with('_');
    (may_be_empty || !star.is_empty()).then_some(star)
}

/// The longest known type that the name begins with: `srs` of `srs_write`, also behind
/// wasm-bindgen's prefixes for fields.
pub(super) fn object_of<'t>(name: &str, types: &'t BTreeSet<String>) -> Option<&'t str> {
    let name = ["__wbg_get_", "__wbg_set_"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name);
    types
        .iter()
        .filter(|ty| {
            name.strip_prefix(ty.as_str())
                .is_some_and(|rest| rest.starts_with('_'))
        })
        .max_by_key(|ty| ty.len())
        .map(String::as_str)
}

/// The first naming rule that fits an export.
pub(super) fn rule_for(function: &FunctionInfo, types: &BTreeSet<String>) -> Rule {
    let name = function.name.as_str();
    let rule = |role, reason| Rule {
        role,
        reason,
        object: None,
        changes_first: false,
        raw_pointers: false,
        buffer: None,
    };
    if matched(ALLOCATION, name).is_some() {
        return Rule {
            raw_pointers: true,
            ..rule(Role::Pure, "the allocator: only the proxy needs to call it")
        };
    }
    if matched(HOST, name).is_some() {
        return rule(Role::Pure, "only the host needs to call it");
    }
    if name == THREAD_POOL_START && is_creator(function) {
        return Rule {
            object: Some(POOL.to_owned()),
            ..rule(
                Role::Create,
                "starts a thread pool, which lasts until it is stopped",
            )
        };
    }
    if name == THREAD_POOL_STOP && is_destructor(function) {
        return Rule {
            object: Some(POOL.to_owned()),
            ..rule(Role::Free, "ends a thread pool")
        };
    }
    if matched(STACK, name).is_some() {
        return rule(Role::Pure, "moves the stack pointer for one call");
    }
    if matched(STARTS, name).is_some() {
        return rule(Role::Mutate, "initialises the module");
    }
    if is_destructor(function)
        && let Some(object) = matched(FREES, name)
    {
        return Rule {
            object: Some(object.to_owned()),
            ..rule(Role::Free, "its name says that it frees its argument")
        };
    }
    if is_creator(function)
        && let Some(object) = created(name, types)
    {
        return Rule {
            object: Some(object.to_owned()),
            ..rule(
                Role::Create,
                "its name says that it creates what it returns",
            )
        };
    }
    if matched(SETTERS, name).is_some() {
        return Rule {
            changes_first: true,
            ..rule(Role::Mutate, "its name says that it changes something")
        };
    }
    reader(function).unwrap_or_else(|| rule(Role::Mutate, UNKNOWN_NAME))
}

fn created<'a>(name: &'a str, types: &BTreeSet<String>) -> Option<&'a str> {
    let certain = matched(CREATES, name).filter(|object| !object.is_empty());
    certain.or_else(|| {
        let from = name.split_once("_from_").map(|(object, _)| object);
        matched(CREATES_KNOWN, name)
            .or(from)
            .filter(|object| types.contains(*object))
    })
}

/// The rule of an export that only reads. It must have a result.
fn reader(function: &FunctionInfo) -> Option<Rule> {
    if function.ty.results().is_empty() {
        return None;
    }
    let name = function.name.as_str();
    let buffer = if matched(BYTES, name).is_some() {
        Some(Buffer::Bytes)
    } else if matched(TEXTS, name).is_some() {
        Some(Buffer::Text)
    } else {
        matched(GETTERS, name)?;
        None
    };
    Some(Rule {
        role: Role::Pure,
        reason: "its name says that it only looks",
        object: None,
        changes_first: false,
        raw_pointers: false,
        buffer,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_something() {
        assert_eq!(matched(FREES, "__wbg_counter_free"), Some("counter"));
        assert_eq!(matched(FREES, "srs_free"), Some("srs"));
        assert_eq!(matched(FREES, "_free"), None);
        assert_eq!(matched(FREES, "free"), None);
        assert_eq!(matched(CREATES, "create_srs"), Some("srs"));
        assert_eq!(matched(GETTERS, "len"), Some(""));
        assert_eq!(matched(GETTERS, "counter_get_name"), Some("counter"));
        assert_eq!(matched(GETTERS, "verify"), Some(""));
        assert_eq!(matched(GETTERS, "is_"), None);
    }

    #[test]
    fn names_in_javascript_tell_who_only_looks() {
        for name in [
            "getText",
            "toJSON",
            "to_bytes",
            "length",
            "encodeStateVector",
            "isEmpty",
            "equals",
        ] {
            assert!(reads(name), "{name}");
        }
        for name in [
            "insert", "settle", "getter", "save", "generate", "tokens", "issue",
        ] {
            assert!(!reads(name), "{name}");
        }
    }

    #[test]
    fn the_longest_type_owns_a_method() {
        let types = ["a".to_owned(), "a_b".to_owned()].into();
        assert_eq!(object_of("a_b_c", &types), Some("a_b"));
        assert_eq!(object_of("__wbg_get_a_x", &types), Some("a"));
        assert_eq!(object_of("ab_c", &types), None);
    }
}
