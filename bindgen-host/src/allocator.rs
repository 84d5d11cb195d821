//! The exports of a guest's allocator and of its exceptions, also where wasm-bindgen gave them names
//! without a meaning.

use engine_api::{FuncIndex, ModuleInfo, ValType};

use crate::surface::function;

/// The guest's allocator: its functions, with the number of their parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocator {
    pub(crate) malloc: (FuncIndex, usize),
    /// Nobody can give a buffer back to a guest without it.
    pub(crate) free: Option<(FuncIndex, usize)>,
    /// Whether its exports have other names than an allocator's.
    pub(crate) is_hidden: bool,
}

/// The guest's allocator. `None` if the module exports none, or several exports could be it.
pub(crate) fn find(info: &ModuleInfo) -> Option<Allocator> {
    let named = |name: &str| {
        let (func, ty) = function(info, name)?;
        Some((func, ty.params().len()))
    };
    let malloc = named("__wbindgen_malloc");
    let free = named("__wbindgen_free");
    let is_hidden = malloc.is_none() || free.is_none();
    Some(Allocator {
        malloc: malloc.or_else(|| hidden_malloc(info))?,
        free: free.or_else(|| hidden_free(info)),
        is_hidden,
    })
}

/// The export that takes an exception.
pub(crate) fn exn_store(info: &ModuleInfo) -> Option<FuncIndex> {
    let named = function(info, "__wbindgen_exn_store").map(|(func, _)| func);
    named.or_else(|| only(numbered(info, &[ValType::I32], &[])))
}

/// The exports `__wbindgen_export`, `__wbindgen_export2` or `__wbindgen_export_2` of this type, with
/// their numbers.
fn numbered<'a>(
    info: &'a ModuleInfo,
    params: &'a [ValType],
    results: &'a [ValType],
) -> impl Iterator<Item = (u32, FuncIndex)> + 'a {
    (0..)
        .zip(info.functions())
        .filter_map(move |(position, function)| {
            let number = function.name.strip_prefix("__wbindgen_export")?;
            let number = number.strip_prefix('_').unwrap_or(number);
            let number = if number.is_empty() {
                1
            } else {
                number.parse().ok()?
            };
            let fits = function.ty.params() == params && function.ty.results() == results;
            fits.then_some((number, FuncIndex(position)))
        })
}

fn only(mut found: impl Iterator<Item = (u32, FuncIndex)>) -> Option<FuncIndex> {
    let (_, func) = found.next()?;
    found.next().is_none().then_some(func)
}

const I32S: [ValType; 4] = [ValType::I32; 4];

/// The export of these parameters and results with a number right before or after one that is of
/// `realloc`'s type.
fn beside_realloc(
    info: &ModuleInfo,
    params: usize,
    results: &[ValType],
    realloc: usize,
) -> Option<FuncIndex> {
    let realloc: Vec<u32> = numbered(info, &I32S[..realloc], &I32S[..1])
        .map(|(number, _)| number)
        .collect();
    let beside = |number: u32| realloc.iter().any(|at| number.abs_diff(*at) == 1);
    only(numbered(info, &I32S[..params], results).filter(|(at, _)| beside(*at)))
}

/// `malloc(len, align)`, or `malloc(len)` up to 0.2.84. The glue asks for it together with `realloc`,
/// whose type only it has, and the two are numbered one after the other.
fn hidden_malloc(info: &ModuleInfo) -> Option<(FuncIndex, usize)> {
    let younger = only(numbered(info, &I32S[..2], &I32S[..1]))
        .or_else(|| beside_realloc(info, 2, &I32S[..1], 4));
    let older = || beside_realloc(info, 1, &I32S[..1], 3).map(|func| (func, 1));
    younger.map(|func| (func, 2)).or_else(older)
}

/// `free(pointer, len, align)`, or `free(pointer, len)` up to 0.2.84.
fn hidden_free(info: &ModuleInfo) -> Option<(FuncIndex, usize)> {
    let younger = only(numbered(info, &I32S[..3], &[])).map(|func| (func, 3));
    younger.or_else(|| beside_realloc(info, 2, &[], 3).map(|func| (func, 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(exports: &[(&str, &str)]) -> ModuleInfo {
        let functions = exports
            .iter()
            .map(|(name, ty)| format!(r#"(func (export "{name}") {ty} unreachable)"#));
        let text = format!("(module {})", functions.collect::<String>());
        module_bytes::parse(&wat::parse_str(text).unwrap()).unwrap()
    }

    const MALLOC: &str = "(param i32 i32) (result i32)";
    const REALLOC: &str = "(param i32 i32 i32 i32) (result i32)";
    const FREE: &str = "(param i32 i32 i32)";

    #[test]
    fn an_allocator_without_its_names_is_found_by_its_types() {
        let names = info(&[
            ("__wbindgen_export_0", "(param i32)"),
            ("__wbindgen_export_1", MALLOC),
            ("__wbindgen_export_2", REALLOC),
            ("__wbindgen_export_3", FREE),
        ]);
        let found = Allocator {
            malloc: (FuncIndex(1), 2),
            free: Some((FuncIndex(3), 3)),
            is_hidden: true,
        };
        assert_eq!(find(&names), Some(found));
        assert_eq!(exn_store(&names), Some(FuncIndex(0)));
        // A closure of the same type as `malloc`, far from `realloc`.
        let closure = info(&[
            ("__wbindgen_export", MALLOC),
            ("__wbindgen_export2", REALLOC),
            ("__wbindgen_export3", FREE),
            ("__wbindgen_export4", "(param i32)"),
            ("__wbindgen_export9", MALLOC),
        ]);
        assert_eq!(
            find(&closure).map(|own| own.malloc),
            Some((FuncIndex(0), 2))
        );
    }

    #[test]
    fn an_older_allocator_is_found_beside_its_realloc() {
        let older = info(&[
            ("encoder_new", "(param i32) (result i32)"),
            ("__wbindgen_export_0", "(param i32) (result i32)"),
            ("__wbindgen_export_1", "(param i32 i32 i32) (result i32)"),
            ("__wbindgen_export_2", "(param i32 i32)"),
            ("__wbindgen_export_3", "(param i32)"),
            ("__wbindgen_export_5", "(param i32 i32)"),
        ]);
        let found = Allocator {
            malloc: (FuncIndex(1), 1),
            free: Some((FuncIndex(3), 2)),
            is_hidden: true,
        };
        assert_eq!(find(&older), Some(found));
        // Without `realloc` such exports can be anything.
        let alone = info(&[
            ("__wbindgen_export_0", "(param i32) (result i32)"),
            ("__wbindgen_export_1", "(param i32 i32)"),
        ]);
        assert_eq!(find(&alone), None);
    }

    #[test]
    fn where_several_exports_could_be_it_there_is_none() {
        let two = info(&[
            ("__wbindgen_export_0", MALLOC),
            ("__wbindgen_export_2", REALLOC),
            ("__wbindgen_export_7", MALLOC),
            ("__wbindgen_export_8", "(param i32)"),
            ("__wbindgen_export_9", "(param i32)"),
        ]);
        assert_eq!(find(&two), None);
        assert_eq!(exn_store(&two), None);
        let other_names = info(&[("malloc", MALLOC), ("free", FREE)]);
        assert_eq!(find(&other_names), None);
    }
}
