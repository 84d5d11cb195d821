//! Imports that convert a value of the guest into an object. wasm-bindgen numbers them; only the
//! module's name section says what each converts.

use std::collections::HashMap;

use engine_api::{ExternType, FuncType, ModuleInfo, ValType};
use wasmparser::{KnownCustom, Name, Parser, Payload};

/// The value that an import converts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cast {
    Text,
    Bytes,
    Number,
    Signed,
    Unsigned,
    /// A closure, which an export of this type calls.
    Closure(FuncType),
}

/// The conversions of a module, by the names of their imports.
pub(crate) fn read(info: &ModuleInfo, wasm: &[u8]) -> HashMap<String, Cast> {
    let names = function_names(wasm);
    let functions = info.imports().iter().filter_map(|import| match &import.ty {
        ExternType::Func(ty) => Some((import, ty)),
        _ => None,
    });
    let mut casts = HashMap::new();
    for (position, (import, ty)) in (0..).zip(functions) {
        let is_cast = ["__wbindgen_cast_", "__wbindgen_generic_"]
            .iter()
            .any(|prefix| import.name.starts_with(prefix));
        if !is_cast {
            continue;
        }
        let said = names.get(&position).and_then(|name| parse(name));
        if let Some(cast) = said
            .or_else(|| by_hash(&import.name))
            .or_else(|| by_type(ty))
        {
            casts.insert(import.name.clone(), cast);
        }
    }
    casts
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
    Some(match from {
        "Ref(String)" | "String" => Cast::Text,
        "Ref(Slice(U8))" | "Vector(U8)" => Cast::Bytes,
        "F64" | "F32" | "U32" | "I32" => Cast::Number,
        "I64" => Cast::Signed,
        "U64" => Cast::Unsigned,
        closure if closure.starts_with("Closure(") => Cast::Closure(closure_type(closure)?),
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
        "2241b6af4c4b2941" => Cast::Text,
        "cb9088102bce6b30" | "77bc3e92745e9a35" => Cast::Bytes,
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
            ("Ref(String) -> Externref", Some(Cast::Text)),
            (
                "Ref(Slice(U8)) -> NamedExternref(\"Uint8Array\")",
                Some(Cast::Bytes),
            ),
            ("U64 -> Externref", Some(Cast::Unsigned)),
            (
                "Closure(Closure { owned: true, function: Function { arguments: [U32], shim_idx: 3, \
                 ret: U32, inner_ret: Some(U32) }, mutable: true }) -> Externref",
                Some(Cast::Closure(FuncType::new(
                    &[ValType::I32; 3],
                    &[ValType::I32],
                ))),
            ),
            ("an ordinary name", None),
        ] {
            assert_eq!(parse(name), cast, "{name}");
        }
    }
}
