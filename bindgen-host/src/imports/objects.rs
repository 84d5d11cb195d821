//! Objects, arrays, texts and errors.

use std::sync::PoisonError;

use engine_api::{FuncType, ValType};

use super::buffers::{bytes_of, copy, part};
use super::intrinsics::is;
use super::properties;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::convert;
use crate::json;
use crate::known::Known;
use crate::value::{Bag, BagKind, ERROR_NAMES, Global, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType, known: Option<Known>) -> Option<Serve> {
    made(base, ty, known)
        .or_else(|| of_arrays(base, ty))
        .or_else(|| of_errors(base, ty))
        .or_else(|| of_text(base, ty))
        .or_else(|| surroundings(base, ty))
}

/// Constructors, and objects of classes that the guest exports.
fn made(base: &str, ty: &FuncType, known: Option<Known>) -> Option<Serve> {
    let class = known.map(|known| known.class);
    let texts = [ValType::I32, ValType::I32];
    Some(match (base, ty.params().len()) {
        ("new", 0) => match class {
            Some("Array") => |_| Ok(Out::Js(Js::array(Vec::new()))),
            Some("Object") => |_| Ok(Out::Js(Js::bag(Bag::record([])))),
            Some("WeakMap" | "WeakSet") => return None,
            _ => |_| Ok(Out::Js(Js::bag(Bag::default()))),
        },
        ("new", 2) if ty.params() == texts => match class {
            Some("TypeError") => |call| error(call, "TypeError"),
            Some("RangeError") => |call| error(call, "RangeError"),
            Some("ReferenceError") => |call| error(call, "ReferenceError"),
            Some("SyntaxError") => |call| error(call, "SyntaxError"),
            Some("EvalError") => |call| error(call, "EvalError"),
            Some("URIError") => |call| error(call, "URIError"),
            Some("Error") | None => |call| error(call, "Error"),
            Some(_) => return None,
        },
        ("newwithlength" | "new_with_length", 1) if class == Some("Array") => |call| {
            let len = call.u32(0);
            if len > 1 << 26 {
                return Err(Throw::range_error("Invalid array length"));
            }
            Ok(Out::Js(Js::array(vec![Js::Undefined; len as usize])))
        },
        ("newnoargs" | "new_no_args", 2) => |_| Ok(Out::Js(Js::object(Object::GlobalGetter))),
        // An object of a class that the guest exports: its address.
        (base, 1) if base.ends_with("_new") && ty.params() == [ValType::I32] => |call| {
            let class = call.served.base.trim_end_matches("_new");
            let instance = Object::Instance(class.into(), call.u32(0));
            Ok(Out::Js(Js::object(instance)))
        },
        (base, 1) if base.ends_with("_unwrap") => |call| {
            let instance = call.take(0)?;
            Ok(Out::I32(match instance.as_object() {
                Some(Object::Instance(_, address)) => address.cast_signed(),
                _ => 0,
            }))
        },
        _ => return None,
    })
}

fn error(call: &mut Call<'_>, name: &'static str) -> ImportOutcome {
    Ok(Out::Js(Js::error(name, call.text(0)?)))
}

fn of_arrays(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match (base, ty.params().len()) {
        ("push", 2) => |call| add(call, Vec::push),
        ("unshift", 2) => |call| add(call, |elements, value| elements.insert(0, value)),
        ("pop", 1) => |call| {
            let popped = with_bag(&call.object(0)?, |bag| bag.elements.pop());
            Ok(Out::Js(popped.flatten().unwrap_or_default()))
        },
        ("of", _) => |call| {
            let elements = call.objects(0)?;
            Ok(Out::Js(Js::array(elements)))
        },
        ("concat", 2) => |call| {
            let (one, other) = (call.object(0)?, call.object(1)?);
            if let Js::Text(text) = &one {
                return Ok(Out::Js(Js::text(format!("{text}{other}"))));
            }
            let mut elements = elements_of(&one, "concat")?;
            match with_bag(&other, |bag| bag.is_array().then(|| bag.elements.clone())) {
                Some(Some(more)) => elements.extend(more),
                _ => elements.push(other),
            }
            Ok(Out::Js(Js::array(elements)))
        },
        ("slice", 3) => slice,
        ("includes", 3) => |call| {
            let (array, value, from) = (call.object(0)?, call.object(1)?, call.u32(2) as usize);
            let elements = elements_of(&array, "includes")?;
            let found = elements.iter().skip(from).any(|one| one.is_same(&value));
            Ok(Out::I32(found.into()))
        },
        ("reverse", 1) => |call| {
            let array = call.object(0)?;
            with_bag(&array, |bag| bag.elements.reverse());
            Ok(Out::Js(array))
        },
        ("join", 3) => |call| {
            let array = call.object(0)?;
            let texts: Vec<_> = elements_of(&array, "join")?
                .iter()
                .map(Js::joined)
                .collect();
            Ok(Out::Js(Js::text(texts.join(&call.text(1)?))))
        },
        ("isArray" | "is_array", 1) => |call| is(call, is_array),
        ("isSafeInteger", 1) => |call| {
            is(
                call,
                |js| matches!(js, Js::Number(n) if n.fract() == 0.0 && n.abs() <= 9_007_199_254_740_991.0),
            )
        },
        ("isInteger", 1) => |call| {
            is(
                call,
                |js| matches!(js, Js::Number(n) if n.is_finite() && n.fract() == 0.0),
            )
        },
        ("instanceof_Object", 1) => |call| is(call, |js| matches!(js, Js::Object(_))),
        ("instanceof_Array", 1) => |call| is(call, is_array),
        ("instanceof_Function", 1) => |call| is(call, |js| js.type_name() == "function"),
        ("instanceof_Map", 1) => |call| is(call, |js| js.is_collection(false)),
        ("instanceof_Set", 1) => |call| is(call, |js| js.is_collection(true)),
        ("instanceof_Date", 1) => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Date(_))))
        }
        ("instanceof_Promise", 1) => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Promise)))
        }
        ("instanceof_Error", 1) => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Error(_))))
        }
        _ => return None,
    })
}

fn of_errors(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match (base, ty.params().len()) {
        ("stack", 2) => |call| {
            let stack = call.object(1)?.to_string();
            call.return_text(call.u32(0), Some(&stack))
        },
        ("message", 1) => |call| {
            let message = match call.object(0)? {
                js if matches!(js.as_object(), Some(Object::Bag(_))) => {
                    call.property(&js, &Js::text("message"))?.to_string()
                }
                js => js.to_string(),
            };
            Ok(Out::Js(Js::text(message)))
        },
        ("toString", 1) => |call| Ok(Out::Js(Js::text(call.object(0)?.to_text()))),
        ("name", 1) => |call| {
            let name = match call.object(0)?.as_object() {
                Some(Object::Error(error)) => error.name,
                _ => ERROR_NAMES[0],
            };
            Ok(Out::Js(Js::text(name)))
        },
        _ => return None,
    })
}

fn of_text(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match (base, ty.params().len()) {
        ("String", 2) => |call| {
            let text = call.object(1)?.to_text();
            call.return_text(call.u32(0), Some(&text))
        },
        ("fromCodePoint", 1) => |call| {
            let point = call.u32(0);
            if point > 0x10_FFFF {
                return Err(Throw::range_error(format!("Invalid code point {point}")));
            }
            // Half of a pair, which text here cannot have.
            let character = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
            Ok(Out::Js(Js::text(character.to_string())))
        },
        ("json_serialize", 2) => |call| {
            let json = match call.object(1)? {
                Js::Undefined => "null".to_owned(),
                js => call.json(&js)?.unwrap_or_else(|| "null".to_owned()),
            };
            call.return_text(call.u32(0), Some(&json))
        },
        ("stringify", 1) => |call| {
            let json = call.json(&call.object(0)?)?;
            Ok(Out::Js(json.map_or(Js::Undefined, Js::text)))
        },
        ("json_parse" | "parse", 2) if ty.params() == [ValType::I32, ValType::I32] => |call| {
            let parsed = json::parse(&call.text(0)?);
            parsed
                .map(Out::Js)
                .map_err(|error| Throw::Js(Js::error("SyntaxError", error)))
        },
        _ => return None,
    })
}

fn surroundings(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "self"
        | "global"
        | "globalThis"
        | "static_accessor_SELF"
        | "static_accessor_GLOBAL"
        | "static_accessor_GLOBAL_THIS" => |_| Ok(Out::Js(global(Global::This))),
        // There is no window, process or module system. Libraries then look elsewhere.
        "static_accessor_WINDOW" | "process" | "versions" | "node" | "msCrypto" => {
            |_| Ok(Out::Js(Js::Undefined))
        }
        "window" | "require" => |call| {
            let what = &call.served.name;
            Err(Throw::Js(Js::error(
                "ReferenceError",
                format!("{what}: not in this host"),
            )))
        },
        "crypto" => |_| Ok(Out::Js(global(Global::Crypto))),
        "performance" => |_| Ok(Out::Js(global(Global::Performance))),
        // A browser's timeline, which nobody reads here.
        "mark" | "measure" if ty.results().is_empty() => |_| Ok(Out::Nothing),
        _ => return None,
    })
}

fn global(global: Global) -> Js {
    Js::object(Object::Global(global))
}

/// Looks into an object that `new X()` made. `None` for any other value.
pub(super) fn with_bag<T>(js: &Js, what: impl FnOnce(&mut Bag) -> T) -> Option<T> {
    match js.as_object() {
        Some(Object::Bag(bag)) => Some(what(
            &mut bag.lock().unwrap_or_else(PoisonError::into_inner),
        )),
        _ => None,
    }
}

pub(super) fn is_array(js: &Js) -> bool {
    with_bag(js, |bag| bag.is_array()).unwrap_or(false)
}

fn elements_of(js: &Js, what: &str) -> Result<Vec<Js>, Throw> {
    with_bag(js, |bag| bag.elements.clone())
        .ok_or_else(|| Throw::type_error(format!("{what}: not an array")))
}

/// Adds an element; the array's length after that.
fn add(call: &mut Call<'_>, how: fn(&mut Vec<Js>, Js)) -> ImportOutcome {
    let (array, element) = (call.object(0)?, call.object(1)?);
    let len = with_bag(&array, |bag| {
        how(&mut bag.elements, element);
        if bag.kind == BagKind::Unknown && bag.fields.is_empty() {
            bag.kind = BagKind::Array;
        }
        bag.elements.len()
    });
    match len.map(i32::try_from) {
        Some(Ok(len)) => Ok(Out::I32(len)),
        _ => Err(Throw::type_error("push: not an array")),
    }
}

/// `slice(begin, end)` of a text, an array or a typed array.
fn slice(call: &mut Call<'_>) -> ImportOutcome {
    let js = call.object(0)?;
    let range = |len: usize| {
        let begin = (call.u32(1) as usize).min(len);
        begin..(call.u32(2) as usize).clamp(begin, len)
    };
    if let Js::Text(text) = &js {
        let units: Vec<u16> = text.encode_utf16().collect();
        let part = String::from_utf16_lossy(&units[range(units.len())]);
        return Ok(Out::Js(Js::text(part)));
    }
    if let Some(part) = with_bag(&js, |bag| bag.elements[range(bag.elements.len())].to_vec()) {
        return Ok(Out::Js(Js::array(part)));
    }
    let bytes = bytes_of(&js)?;
    copy(call, &part(call, 1, &bytes))
}

impl Call<'_> {
    /// `JSON.stringify(js)`.
    pub(super) fn json(&self, js: &Js) -> Result<Option<String>, Throw> {
        let tree = self.tree(js).map_err(Throw::type_error)?;
        convert::json(&tree).map_err(Throw::type_error)
    }

    /// The value as a tree by itself.
    pub(super) fn tree(&self, js: &Js) -> Result<engine_api::JsValue, String> {
        convert::tree(js, &|view| self.read_view(view).ok())
    }
}

impl Js {
    fn is_collection(&self, set: bool) -> bool {
        match self.as_object() {
            Some(Object::Collection(own)) => properties::locked(own).is_set() == set,
            _ => false,
        }
    }

    /// JavaScript's `String(value)`.
    fn to_text(&self) -> String {
        match self.as_object() {
            Some(Object::Error(error)) => format!("{}: {}", error.name, error.message),
            Some(Object::Bag(_)) if is_array(self) => {
                let texts = with_bag(self, |bag| {
                    let texts = bag.elements.iter().map(Js::joined);
                    texts.collect::<Vec<_>>()
                });
                texts.unwrap_or_default().join(",")
            }
            Some(Object::Bag(_)) => "[object Object]".to_owned(),
            _ => self.to_string(),
        }
    }

    /// As an element of a joined array: nothing for null, and no array in an array, whose depth the
    /// guest decides.
    fn joined(&self) -> String {
        match self {
            Js::Undefined | Js::Null => String::new(),
            other => other.to_string(),
        }
    }
}
