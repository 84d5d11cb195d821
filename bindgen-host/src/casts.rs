//! Imports that convert a value of the guest into an object. wasm-bindgen numbers them; only the
//! module's name section says what each converts, or else its glue.

use std::collections::HashMap;
use std::sync::Arc;

use engine_api::{ElementType, Error, ExternType, FuncIndex, FuncType, ModuleInfo, ValType};
use wasmparser::{KnownCustom, Name, Parser, Payload};

use crate::HostError;
use crate::surface::{Abi, abi, invokers};

/// What an import converts, as the module's glue says it. A module without names does not say it
/// itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GivenCast {
    /// The import's name.
    pub import: String,
    /// What it converts, in wasm-bindgen's words: `Ref(String)`, `Vector(U8)`, `U64`. Only the word
    /// `Closure` counts of a closure.
    pub from: String,
    /// The export that calls the closure.
    pub invoke: Option<String>,
    /// What the closure takes. Modules that pass objects as numbers need it: both have one type there.
    pub takes: Option<Vec<Takes>>,
}

/// What an argument of a closure is to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any value, as an object that the guest has to drop.
    Object,
    /// Any value, as an object that is lent for the call.
    Borrowed,
    /// A number or a truth value.
    Number,
}

impl GivenCast {
    /// An import that converts this, in wasm-bindgen's words.
    #[must_use]
    pub fn new(import: impl Into<String>, from: impl Into<String>) -> Self {
        Self {
            import: import.into(),
            from: from.into(),
            invoke: None,
            takes: None,
        }
    }

    /// One that makes a function of a closure, which this export calls.
    #[must_use]
    pub fn closure(import: impl Into<String>, invoke: impl Into<String>) -> Self {
        Self {
            invoke: Some(invoke.into()),
            ..Self::new(import, "Closure")
        }
    }
}

/// The value that an import converts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    /// Text, and whether the guest gives its buffer up.
    Text {
        is_owned: bool,
    },
    /// An array of numbers, and whether the guest gives it up.
    Elements {
        of: ElementType,
        is_owned: bool,
    },
    /// An array of objects, by their numbers, and whether the guest gives them up.
    Objects {
        is_owned: bool,
    },
    Number,
    /// A number without a sign.
    Word,
    Signed,
    Unsigned,
    /// A closure, and the type of the export that calls it where that is known.
    Closure(Option<FuncType>),
}

impl Cast {
    /// Whether an import of this type can convert it.
    fn fits(&self, ty: &FuncType) -> bool {
        let params = ty.params();
        match self {
            Cast::Number => matches!(params, [ValType::I32 | ValType::F32 | ValType::F64]),
            Cast::Word => params == [ValType::I32],
            Cast::Signed | Cast::Unsigned => params == [ValType::I64],
            // Older releases pass where the closure's destructor is, too.
            Cast::Closure(_) => params.starts_with(&[ValType::I32; 2]),
            _ => params == [ValType::I32, ValType::I32],
        }
    }
}

/// The conversions of a module, by the names of their imports.
#[derive(Debug, Default)]
pub(crate) struct Casts {
    pub(crate) of: HashMap<String, Cast>,
    /// The exports that call the closures of imports, where that was said.
    pub(crate) invokes: HashMap<String, FuncIndex>,
    /// What closures take, by the exports that call them. `None` where a linker has made one export
    /// of two that take different things.
    pub(crate) takes: HashMap<FuncIndex, Option<Arc<[Takes]>>>,
}

/// The conversions of a module, those that the module does not tell by what is given.
///
/// # Errors
///
/// [`HostError::Cast`] if what is given does not fit the module.
pub(crate) fn read(info: &ModuleInfo, wasm: &[u8], given: &[GivenCast]) -> Result<Casts, Error> {
    let names = function_names(wasm);
    let mut casts = Casts::default();
    for (position, (name, ty)) in (0..).zip(imported(info)) {
        if !is_cast(name) {
            continue;
        }
        let said = names.get(&position).and_then(|name| parse(name));
        let known = said.or_else(|| by_hash(name)).or_else(|| by_type(ty));
        if let Some(cast) = known.filter(|cast| cast.fits(ty)) {
            casts.of.insert(name.to_owned(), cast);
        }
    }
    for one in given {
        casts.add(info, one).map_err(|reason| {
            let import = engine_api::Printable(&one.import).to_string();
            HostError::Cast(reason).ends(&import)
        })?;
    }
    Ok(casts)
}

impl Casts {
    fn add(&mut self, info: &ModuleInfo, given: &GivenCast) -> Result<(), String> {
        let Some((name, ty)) = imported(info).find(|(name, _)| *name == given.import) else {
            return Err("the module imports no function of this name".to_owned());
        };
        let cast = of(&given.from).ok_or_else(|| {
            format!(
                "this host converts no `{}`; write what the glue says, such as `Ref(String)`, \
                 `Vector(U8)`, `U64` or `Closure`",
                engine_api::Printable(&given.from)
            )
        })?;
        if !cast.fits(ty) {
            return Err(format!(
                "it has type {ty}, and converts no `{}`",
                given.from
            ));
        }
        if let Some(known) = self.of.get(name)
            && !known.agrees(&cast)
        {
            let what = "the module's own names say that it converts something else";
            return Err(what.to_owned());
        }
        match (&cast, &given.invoke) {
            (Cast::Closure(_), Some(invoke)) => {
                let (func, function) = info
                    .function(invoke)
                    .map_err(|_| format!("the module exports no function `{invoke}`"))?;
                if !function.ty.params().starts_with(&[ValType::I32; 2]) {
                    return Err(format!(
                        "`{invoke}` of type {} calls no closure: its two words come first",
                        function.ty
                    ));
                }
                if let Some(takes) = &given.takes {
                    let args = &function.ty.params()[2..];
                    if takes.len() != args.len() {
                        return Err(format!(
                            "`takes` has {} entries, and `{invoke}` takes {} after a closure's two words",
                            takes.len(),
                            args.len()
                        ));
                    }
                    let takes: Arc<[Takes]> = takes.as_slice().into();
                    let known = self
                        .takes
                        .entry(func)
                        .or_insert_with(|| Some(Arc::clone(&takes)));
                    if known.as_ref() != Some(&takes) {
                        *known = None;
                    }
                }
                self.invokes.insert(name.to_owned(), func);
            }
            (_, Some(_)) => return Err("only a closure has an `invoke`".to_owned()),
            (_, None) if given.takes.is_some() => {
                return Err("`takes` is for a closure whose `invoke` is given".to_owned());
            }
            (_, None) => {}
        }
        if is_cast(name) {
            self.of.entry(name.to_owned()).or_insert(cast);
        }
        Ok(())
    }
}

impl Cast {
    /// Whether two descriptions can be of one conversion. Glue shortens the one of a closure.
    fn agrees(&self, other: &Self) -> bool {
        match (self, other) {
            (Cast::Closure(one), Cast::Closure(other)) => {
                one.is_none() || other.is_none() || one == other
            }
            _ => self == other,
        }
    }
}

/// The imports of a module of which it does not say what they convert, which of several exports
/// calls their closures, or what these take. Its glue says it.
#[must_use]
pub fn undescribed(info: &ModuleInfo, wasm: &[u8]) -> Vec<String> {
    let mut undescribed = unknown(info, &read(info, wasm, &[]).unwrap_or_default());
    if abi(info) == Abi::Slots {
        let closures = imported(info).filter(|(name, _)| makes_closure(name));
        for (name, _) in closures {
            if !undescribed.iter().any(|one| one == name) {
                undescribed.push(name.to_owned());
            }
        }
    }
    undescribed
}

/// The imports that convert what nobody said.
pub(crate) fn unknown(info: &ModuleInfo, casts: &Casts) -> Vec<String> {
    let callers = invokers(info);
    let can_call = |ty: Option<&FuncType>| {
        let fits =
            |func: &&FuncIndex| ty.is_none_or(|ty| info.functions()[func.0 as usize].ty == *ty);
        callers.iter().filter(fits).count() == 1
    };
    let is_known = |name: &str| {
        let has_caller = |ty: Option<&FuncType>| casts.invokes.contains_key(name) || can_call(ty);
        match casts.of.get(name) {
            Some(Cast::Closure(ty)) => has_caller(ty.as_ref()),
            Some(_) => true,
            None if is_cast(name) => false,
            None => !makes_closure(name) || has_caller(None),
        }
    };
    let unknown = imported(info).filter(|(name, _)| !is_known(name));
    unknown.map(|(name, _)| name.to_owned()).collect()
}

/// The functions that a module imports, in the order of their indices.
fn imported(info: &ModuleInfo) -> impl Iterator<Item = (&str, &FuncType)> {
    info.imports().iter().filter_map(|import| match &import.ty {
        ExternType::Func(ty) => Some((import.name.as_str(), ty)),
        _ => None,
    })
}

/// Whether an import of this name converts a value.
pub(crate) fn is_cast(name: &str) -> bool {
    let mut prefixes = ["__wbindgen_cast_", "__wbindgen_generic_"].iter();
    prefixes.any(|prefix| name.starts_with(prefix))
}

/// Whether an import of this name makes an object of a closure, in releases without conversions.
fn makes_closure(name: &str) -> bool {
    name.starts_with("__wbindgen_closure_wrapper")
}

/// The function names in a module's name section. A stripped module has none.
fn function_names(wasm: &[u8]) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for payload in Parser::new(0).parse_all(wasm).flatten() {
        let Payload::CustomSection(section) = payload else {
            continue;
        };
        let KnownCustom::Name(sections) = section.as_known() else {
            continue;
        };
        for section in sections.into_iter().flatten() {
            if let Name::Function(functions) = section {
                let known = functions.into_iter().flatten();
                names.extend(known.map(|naming| (naming.index, naming.name.to_owned())));
            }
        }
    }
    names
}

/// Reads a name such as `Ref(String) -> Externref`.
fn parse(name: &str) -> Option<Cast> {
    let (from, _) = name.rsplit_once(" -> ")?;
    of(from)
}

/// Reads a description such as `Ref(String)`.
fn of(from: &str) -> Option<Cast> {
    Some(match from {
        "Ref(String)" => Cast::Text { is_owned: false },
        "String" => Cast::Text { is_owned: true },
        "F64" | "F32" | "I32" | "I16" | "I8" => Cast::Number,
        "U32" | "U16" | "U8" => Cast::Word,
        "I64" => Cast::Signed,
        "U64" => Cast::Unsigned,
        array if elements(array, "Ref(Slice(", "))").is_some() => Cast::Elements {
            of: elements(array, "Ref(Slice(", "))")?,
            is_owned: false,
        },
        array if elements(array, "Vector(", ")").is_some() => Cast::Elements {
            of: elements(array, "Vector(", ")")?,
            is_owned: true,
        },
        objects if is_object(objects, "Ref(Slice(", "))") => Cast::Objects { is_owned: false },
        objects if is_object(objects, "Vector(", ")") => Cast::Objects { is_owned: true },
        "Closure" => Cast::Closure(None),
        closure if closure.starts_with("Closure(") => Cast::Closure(Some(closure_type(closure)?)),
        _ => return None,
    })
}

/// Whether this describes an array of objects.
fn is_object(array: &str, before: &str, after: &str) -> bool {
    let element = array.strip_prefix(before);
    let element = element.and_then(|rest| rest.strip_suffix(after));
    element.is_some_and(|element| element == "Externref" || element.starts_with("NamedExternref("))
}

/// The elements of an array of numbers of this description.
fn elements(array: &str, before: &str, after: &str) -> Option<ElementType> {
    Some(match array.strip_prefix(before)?.strip_suffix(after)? {
        "I8" => ElementType::I8,
        "U8" => ElementType::U8,
        "ClampedU8" => ElementType::U8Clamped,
        "I16" => ElementType::I16,
        "U16" => ElementType::U16,
        "I32" => ElementType::I32,
        "U32" => ElementType::U32,
        "F32" => ElementType::F32,
        "F64" => ElementType::F64,
        "I64" => ElementType::I64,
        "U64" => ElementType::U64,
        _ => return None,
    })
}

/// The type of the export that calls a closure of this description: two words and the arguments to
/// the result.
fn closure_type(closure: &str) -> Option<FuncType> {
    let list = closure.split_once("arguments: [")?.1.split_once(']')?.0;
    let result = closure
        .split_once(", ret: ")?
        .1
        .split([',', ' ', '}'])
        .next()?;
    let mut params = vec![ValType::I32, ValType::I32];
    for kind in list.split(", ").filter(|kind| !kind.is_empty()) {
        params.extend(types_of(kind)?);
    }
    Some(FuncType::new(&params, &types_of(result)?))
}

fn types_of(kind: &str) -> Option<Vec<ValType>> {
    Some(match kind {
        "Unit" => vec![],
        "U32" | "I32" | "U16" | "I16" | "U8" | "I8" | "Boolean" | "Char" => vec![ValType::I32],
        "F64" => vec![ValType::F64],
        "F32" => vec![ValType::F32],
        "U64" | "I64" => vec![ValType::I64],
        "Externref" => vec![ValType::ExternRef],
        "String" => vec![ValType::I32, ValType::I32],
        named if named.starts_with("NamedExternref") => vec![ValType::ExternRef],
        _ => return None,
    })
}

/// Releases 0.2.100 to 0.2.104 name these imports by a hash of the conversion.
fn by_hash(name: &str) -> Option<Cast> {
    Some(match name.strip_prefix("__wbindgen_cast_")? {
        "2241b6af4c4b2941" => Cast::Text { is_owned: false },
        "cb9088102bce6b30" => Cast::Elements {
            of: ElementType::U8,
            is_owned: false,
        },
        "77bc3e92745e9a35" => Cast::Elements {
            of: ElementType::U8,
            is_owned: true,
        },
        "d6cd19b81560fd6e" => Cast::Number,
        "9ae0607507abb057" => Cast::Signed,
        "4625c577ab2ec9ee" => Cast::Unsigned,
        _ => return None,
    })
}

/// A type that only one conversion has. Two words may be text, bytes or a closure.
fn by_type(ty: &FuncType) -> Option<Cast> {
    match ty.params() {
        [ValType::F64] => Some(Cast::Number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversions_are_read_from_names() {
        for (name, cast) in [
            (
                "Ref(String) -> Externref",
                Some(Cast::Text { is_owned: false }),
            ),
            ("String -> Externref", Some(Cast::Text { is_owned: true })),
            (
                "Ref(Slice(U8)) -> NamedExternref(\"Uint8Array\")",
                Some(Cast::Elements {
                    of: ElementType::U8,
                    is_owned: false,
                }),
            ),
            (
                "Vector(F64) -> Externref",
                Some(Cast::Elements {
                    of: ElementType::F64,
                    is_owned: true,
                }),
            ),
            ("U32 -> Externref", Some(Cast::Word)),
            ("I32 -> Externref", Some(Cast::Number)),
            (
                "Vector(NamedExternref(\"Node\")) -> Externref",
                Some(Cast::Objects { is_owned: true }),
            ),
            ("Vector(String) -> Externref", None),
            ("U64 -> Externref", Some(Cast::Unsigned)),
            (
                "Closure(Closure { owned: true, function: Function { arguments: [U32], shim_idx: 3, \
                 ret: U32, inner_ret: Some(U32) }, mutable: true }) -> Externref",
                Some(Cast::Closure(Some(FuncType::new(
                    &[ValType::I32; 3],
                    &[ValType::I32],
                )))),
            ),
            ("an ordinary name", None),
        ] {
            assert_eq!(parse(name), cast, "{name}");
        }
    }

    /// A module without names: two conversions, the older import of a closure, and two exports that
    /// could call it.
    const NAMELESS: &str = r#"(module
        (import "wbg" "__wbindgen_cast_0000000000000001" (func (param i32 i32) (result externref)))
        (import "wbg" "__wbindgen_cast_0000000000000002" (func (param i64) (result externref)))
        (import "wbg" "__wbindgen_closure_wrapper7" (func (param i32 i32 i32) (result i32)))
        (func (export "one") (param i32 i32 i32))
        (func (export "two") (param i32 i32))
        (func (export "odd") (param f64)))"#;

    fn given(import: &str, from: &str, invoke: Option<&str>) -> GivenCast {
        GivenCast {
            import: import.to_owned(),
            from: from.to_owned(),
            invoke: invoke.map(ToOwned::to_owned),
            takes: None,
        }
    }

    fn taking(invoke: Option<&str>, takes: &[Takes]) -> GivenCast {
        GivenCast {
            takes: Some(takes.to_vec()),
            ..given("__wbindgen_closure_wrapper7", "Closure", invoke)
        }
    }

    /// One export runs closures of two imports. What they take is known only if it is the same.
    #[test]
    fn an_export_that_two_closures_share_takes_what_both_take() {
        let text = NAMELESS.replacen(
            "(func (export",
            "(import \"wbg\" \"__wbindgen_closure_wrapper8\" (func (param i32 i32 i32) (result i32)))
             (func (export",
            1,
        );
        let wasm = wat::parse_str(text).unwrap();
        let info = module_bytes::parse(&wasm).unwrap();
        let takes = |other: Takes| {
            let first = taking(Some("one"), &[Takes::Object]);
            let mut second = taking(Some("one"), &[other]);
            second.import = "__wbindgen_closure_wrapper8".to_owned();
            let casts = read(&info, &wasm, &[first, second]).unwrap();
            let (one, _) = info.function("one").unwrap();
            casts.takes[&one].as_deref().map(<[Takes]>::to_vec)
        };
        assert_eq!(takes(Takes::Object), Some(vec![Takes::Object]));
        assert_eq!(takes(Takes::Number), None);
    }

    #[test]
    fn what_a_module_does_not_tell_can_be_given() {
        let wasm = wat::parse_str(NAMELESS).unwrap();
        let info = module_bytes::parse(&wasm).unwrap();
        let imports = [
            "cast_0000000000000001",
            "cast_0000000000000002",
            "closure_wrapper7",
        ]
        .map(|name| format!("__wbindgen_{name}"));
        assert_eq!(undescribed(&info, &wasm), imports);
        let all = [
            given(&imports[0], "Ref(String)", None),
            given(&imports[1], "U64", None),
            given(&imports[2], "Closure", Some("one")),
        ];
        let casts = read(&info, &wasm, &all).unwrap();
        assert_eq!(casts.of[&imports[0]], Cast::Text { is_owned: false });
        assert_eq!(casts.of[&imports[1]], Cast::Unsigned);
        assert_eq!(casts.invokes[&imports[2]], info.function("one").unwrap().0);
        assert_eq!(unknown(&info, &casts), Vec::<String>::new());
    }

    #[test]
    fn what_is_given_and_does_not_fit_is_named() {
        let wasm = wat::parse_str(NAMELESS).unwrap();
        let info = module_bytes::parse(&wasm).unwrap();
        let first = "__wbindgen_cast_0000000000000001";
        for (one, needle) in [
            (
                given("__wbindgen_cast_9", "U64", None),
                "imports no function",
            ),
            (
                given(first, "Ref(Nothing)", None),
                "converts no `Ref(Nothing)`",
            ),
            (given(first, "U64", None), "converts no `U64`"),
            (given(first, "Ref(String)", Some("one")), "only a closure"),
            (
                given(first, "Closure", Some("three")),
                "exports no function `three`",
            ),
            (given(first, "Closure", Some("odd")), "calls no closure"),
            (
                taking(Some("one"), &[Takes::Object, Takes::Number]),
                "`takes` has 2 entries, and `one` takes 1",
            ),
            (taking(None, &[Takes::Object]), "whose `invoke` is given"),
        ] {
            let error = read(&info, &wasm, &[one]).unwrap_err();
            let shown = crate::error::describe(&error);
            assert!(shown.contains(needle), "{shown}");
        }
    }
}
