//! What an import is by the hash in its name.
//!
//! wasm-bindgen hashes the crate that declares an import, its version, the JavaScript class and the
//! function. Many imports share a base name: `new` makes an array, a map or a date, and
//! `new_with_length` makes one of eleven typed arrays. The hash tells which, because what js-sys
//! declares is known (`known/js_sys.txt`), and so the hash of each declaration in each version.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::iter;
use std::sync::{Mutex, OnceLock, PoisonError};

use engine_api::ElementType;

/// A declaration of js-sys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// The JavaScript class, or `Reflect`.
    pub(crate) class: &'static str,
    /// The function, as Rust names it.
    pub(crate) function: &'static str,
}

impl Known {
    /// The elements of the typed arrays that it is about.
    pub(crate) fn element(self) -> Option<ElementType> {
        ElementType::of_class(self.class)
    }
}

/// A line of the table, for one class.
struct Row {
    known: Known,
    /// The class as it is hashed, and whether there is one.
    namespace: (i32, &'static str),
    style: Style,
    /// The JavaScript namespace, from the release on that hashes it.
    js_namespace: Option<[String; 1]>,
    signature: String,
    /// The same as the compiler prints it, if that takes several lines.
    wrapped: Option<String>,
}

/// What releases since 0.2.126 hash of the way in which a function is called. They are hashed as
/// the types of the same shape in wasm-bindgen's macro.
struct Style {
    catches: bool,
    method: Option<Method>,
}

#[derive(Hash)]
enum Method {
    Constructor,
    Operation(Operation),
}

#[derive(Hash)]
struct Operation {
    is_static: bool,
    kind: OperationKind,
}

#[derive(Hash)]
#[expect(dead_code, reason = "the position of a variant is hashed")]
enum OperationKind {
    Regular,
    RegularThis,
    Getter(Option<String>),
    Setter(Option<String>),
    IndexingGetter,
    IndexingSetter,
    IndexingDeleter,
}

/// The declaration that an import's name was made of; `None` if js-sys has none like it where names
/// are ambiguous.
pub(crate) fn identify(name: &str) -> Option<Known> {
    static FOUND: OnceLock<Mutex<HashMap<String, Option<Known>>>> = OnceLock::new();
    let (base, hash) = name.strip_prefix("__wbg_")?.rsplit_once('_')?;
    let hash = u64::from_str_radix(hash, 16).ok()?;
    let base = squashed(base);
    let found = FOUND.get_or_init(Mutex::default);
    let lock = || found.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(name) {
        return *known;
    }
    let known = search(&base, hash);
    let mut found = lock();
    // Names come from modules, and a hostile one has as many as it likes.
    if found.len() < 4096 {
        found.insert(name.to_owned(), known);
    }
    known
}

fn squashed(name: &str) -> String {
    name.chars().filter(|c| *c != '_').collect()
}

fn search(base: &str, hash: u64) -> Option<Known> {
    static ROWS: OnceLock<HashMap<String, Vec<Row>>> = OnceLock::new();
    let rows = ROWS.get_or_init(read_table).get(base)?;
    // Newer releases first, which more modules are made with.
    (0..150_u32).rev().find_map(|release| {
        let mut hasher = DefaultHasher::new();
        "js-sys".hash(&mut hasher);
        format!("0.3.{release}").hash(&mut hasher);
        let of_crate = hasher.finish();
        let row = rows.iter().find(|row| row.is(of_crate, release, hash))?;
        Some(row.known)
    })
}

/// No declaration in the table has a module.
const MODULE: Option<u8> = None;

/// The conditions of compilation that js-sys gives some of its functions.
const CONDITIONS: [&str; 4] = [
    "",
    "# [cfg (not (js_sys_unstable_apis))]",
    "# [cfg(not(js_sys_unstable_apis))]",
    "#[cfg(not(js_sys_unstable_apis))]",
];

impl Row {
    /// Whether the declaration has this hash in this release of js-sys, as one of the releases of
    /// the macro makes it. Nothing forces both to be of the same time, so the times overlap.
    fn is(&self, of_crate: u64, release: u32, hash: u64) -> bool {
        let has = |hashed: u64| hashed == hash;
        let by_name = || {
            has(hash_of(
                of_crate,
                (self.namespace, self.known.function, MODULE),
            ))
        };
        let by_signature = || {
            let mut signatures = iter::once(&self.signature).chain(&self.wrapped);
            signatures.any(|signature| has(hash_of(of_crate, (self.namespace, signature, MODULE))))
        };
        (release <= 75 && by_name())
            || (release >= 68 && by_signature())
            || (release >= 85
                && CONDITIONS.iter().any(|condition| {
                    let data = (self.namespace, &self.signature, MODULE, *condition);
                    has(hash_of(of_crate, data))
                        || (release >= 98
                            && has(self.style.hash_with(
                                of_crate,
                                data,
                                self.js_namespace.as_ref(),
                            )))
                }))
    }
}

impl Style {
    fn hash_with(&self, of_crate: u64, data: impl Hash, js_namespace: Option<&[String; 1]>) -> u64 {
        let js_namespace = js_namespace.map(|names| &names[..]);
        let snippet: Option<&str> = None;
        let is_plain = !self.catches && self.method.is_none();
        if is_plain {
            return hash_of(of_crate, (data, js_namespace.unwrap_or_default()));
        }
        let method = self.method.as_ref();
        let sequences: Vec<usize> = Vec::new();
        let js_name: Option<&String> = None;
        let style = (
            self.catches,
            false,
            false,
            false,
            false,
            method,
            sequences,
            js_name,
        );
        hash_of(of_crate, (data, js_namespace, snippet, Some(style)))
    }
}

fn hash_of(of_crate: u64, data: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    // It is a `usize` there, and the macro runs on machines of 64 bits.
    of_crate.hash(&mut hasher);
    data.hash(&mut hasher);
    hasher.finish()
}

/// The rows by the base names of their imports.
fn read_table() -> HashMap<String, Vec<Row>> {
    let mut rows: HashMap<String, Vec<Row>> = HashMap::new();
    let lines = include_str!("known/js_sys.txt").lines();
    for line in lines.filter(|line| !line.starts_with('#')) {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("each line has six fields");
        let (class, function, kind, catches) = (field(), field(), field(), field() == "c");
        let (namespace, signature) = (field(), field());
        let classes: Vec<(&'static str, &str)> = match class {
            "$A" => ElementType::ALL
                .map(|ty| (ty.class(), rust_name(ty)))
                .into(),
            class => vec![(class, "")],
        };
        for (class, element) in classes {
            let signature = signature.replace("$A", class).replace("$E", element);
            for base in bases(function) {
                rows.entry(base).or_default().push(Row {
                    known: Known {
                        class: if class == "n" { namespace } else { class },
                        function,
                    },
                    namespace: if class == "n" { (0, "n") } else { (1, class) },
                    style: Style {
                        catches,
                        method: method(kind),
                    },
                    js_namespace: (namespace != "-").then(|| [namespace.to_owned()]),
                    signature: signature.clone(),
                    wrapped: wrapped(&signature),
                });
            }
        }
    }
    rows
}

/// A signature that is longer than a line, as the compiler prints it for the macro. What is in
/// parentheses stays in one line if it fits in one, and else each line takes what fits.
fn wrapped(signature: &str) -> Option<String> {
    /// The width of a line of the compiler's.
    const WIDTH: usize = 78;
    if signature.len() <= WIDTH {
        return None;
    }
    let mut text = String::new();
    let mut column = 0;
    let mut add = |word: &str, is_whole: bool| {
        let is_full = column + 1 + word.len() > WIDTH;
        if column > 0 {
            text.push(if is_full { '\n' } else { ' ' });
        }
        column = if is_full || column == 0 {
            0
        } else {
            column + 1
        };
        // What is longer than a line begins one, and is then added word by word.
        if is_whole || column + word.len() <= WIDTH {
            text.push_str(word);
            column += word.len();
            return true;
        }
        false
    };
    for group in groups(signature) {
        if add(group, false) {
            continue;
        }
        for word in group.split(' ') {
            add(word, true);
        }
    }
    Some(text)
}

/// The words of a signature, and what is in parentheses together with the word before.
fn groups(signature: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let is_between = |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ' ' && depth == 0
    };
    signature.split(is_between).collect()
}

/// The base names that the imports of a function have. Where Rust has several names for one function
/// of JavaScript, releases differ in which they use.
fn bases(function: &str) -> Vec<String> {
    let own = squashed(function);
    let of_javascript = match function {
        "new_with_length"
        | "new_with_byte_offset"
        | "new_with_byte_offset_and_length"
        | "new_from_slice"
        | "new_0"
        | "new_from_entries"
        | "new_from_iterable"
        | "new_empty"
        | "new_from_items" => Some("new"),
        "get_checked" | "get_f64" | "get_str" | "get_symbol" | "get_u32" => Some("get"),
        "set_f64" | "set_str" | "set_u32" | "set_with_receiver" | "copy_from_slice" => Some("set"),
        "has_str" | "has_symbol" => Some("has"),
        "entries_typed" => Some("entries"),
        "try_values" => Some("values"),
        "next_iterator" => Some("next"),
        "from_iterable" | "from_iterable_map" => Some("from"),
        _ => None,
    };
    iter::once(own)
        .chain(of_javascript.map(str::to_owned))
        .collect()
}

fn method(kind: &str) -> Option<Method> {
    let operation = |is_static, kind| Some(Method::Operation(Operation { is_static, kind }));
    match kind {
        "c" => Some(Method::Constructor),
        "t" => operation(true, OperationKind::Regular),
        "g" => operation(false, OperationKind::Getter(None)),
        "s" => operation(false, OperationKind::Setter(None)),
        "ig" => operation(false, OperationKind::IndexingGetter),
        "is" => operation(false, OperationKind::IndexingSetter),
        "id" => operation(false, OperationKind::IndexingDeleter),
        _ => None,
    }
}

/// The type of the elements in Rust.
fn rust_name(ty: ElementType) -> &'static str {
    match ty {
        ElementType::I8 => "i8",
        ElementType::U8 | ElementType::U8Clamped => "u8",
        ElementType::I16 => "i16",
        ElementType::U16 => "u16",
        ElementType::I32 => "i32",
        ElementType::U32 => "u32",
        ElementType::F32 => "f32",
        ElementType::F64 => "f64",
        ElementType::I64 => "i64",
        ElementType::U64 => "u64",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names from packages on npm, one of each way to hash. If the standard library's hash changed,
    /// these would not be found.
    #[test]
    fn imports_of_packages_are_identified() {
        for (name, class, function) in [
            ("__wbg_new_16b304a2cfa7ff4a", "Array", "new"),
            ("__wbg_new_72fb9a18b5ae2624", "Object", "new"),
            ("__wbg_new_d9bc3a0147634640", "Map", "new"),
            ("__wbg_new_cf3ec55744a78578", "Date", "new"),
            ("__wbg_new_63b92bc8671ed464", "Uint8Array", "new"),
            ("__wbg_get_bd8e338fbd5f5cc8", "Array", "get"),
            ("__wbg_get_e3c254076557e348", "Reflect", "get"),
            ("__wbg_set_8417257aaedc936b", "Map", "set"),
            ("__wbg_set_1f9b04f170055d33", "Reflect", "set"),
            ("__wbg_set_d4638f722068f043", "Array", "set"),
            ("__wbg_next_40fc327bfc8770e6", "MaybeIterator", "next"),
            ("__wbg_next_196c84450b364254", "Iterator", "next"),
            ("__wbg_values_839f3396d5aac002", "Array", "values"),
            ("__wbg_values_9c75e6e2bfbdb70d", "Object", "values"),
            (
                "__wbg_newwithlength_e9b4878cebadb3d3",
                "Uint8Array",
                "new_with_length",
            ),
            (
                "__wbg_newwithlength_66ae46612e7f0234",
                "Array",
                "new_with_length",
            ),
            (
                "__wbg_new_from_slice_41e2764a343e3cb1",
                "Float32Array",
                "new_from_slice",
            ),
            ("__wbg_new_3444eb7412549f0b", "Map", "new"),
            ("__wbg_new_cd4348290afae586", "Object", "new"),
            (
                "__wbg_new_from_slice_b8daf545a41c6aa0",
                "Uint8Array",
                "new_from_slice",
            ),
            (
                "__wbg_newwithbyteoffsetandlength_d97e637ebe145a9a",
                "Uint8Array",
                "new_with_byte_offset_and_length",
            ),
            ("__wbg_set_bb8cecf6a62b9f46", "Reflect", "set"),
            (
                "__wbg_set_feb3714f475485ba",
                "Uint8Array",
                "copy_from_slice",
            ),
        ] {
            let known = Known { class, function };
            assert_eq!(identify(name), Some(known), "{name}");
        }
        for name in [
            "__wbg_new_0123456789abcdef",
            "__wbg_paint_0123456789abcdef",
            "__wbindgen_string_new",
            "__wbg_",
            "__wbg_x_y",
        ] {
            assert_eq!(identify(name), None, "{name}");
        }
    }
}
