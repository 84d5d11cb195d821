//! Properties: `object[key]`, `Reflect`, and the keys of objects.

use std::sync::{Arc, PoisonError};

use engine_api::{FuncType, Val, ValType};

use super::buffers::{bytes_of, lock};
use super::collections;
use super::objects::{is_array, with_bag};
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::known::Known;
use crate::value::{Bag, BagKind, Buffer, Builtin, Js, Object};

/// The symbol of iteration.
pub(super) const ITERATOR: &str = "Symbol.iterator";

/// What begins the names of fields that symbols name.
const SYMBOL: &str = "\0@@";

/// No array in the host is longer. A guest may set an element at any index.
const ELEMENTS_MAX: usize = 1 << 26;

pub(super) fn find(base: &str, ty: &FuncType, known: Option<Known>) -> Option<Serve> {
    let params = ty.params();
    Some(match (base, params.len()) {
        ("get", 2) => get(params, known),
        ("getwithrefkey" | "get_with_ref_key", 2) => |call| {
            let found = call.property(&call.object(0)?, &call.object(1)?)?;
            Ok(Out::Js(found))
        },
        ("getindex" | "get_index", 2) => get_index,
        ("get_unchecked" | "getunchecked", 2) => |call| {
            let object = call.object(0)?;
            Ok(Out::Js(call.element(&object, call.u32(1))?))
        },
        ("set", 3) => set(ty, known),
        ("has", 2) => |call| {
            let (object, key) = (reflected(call, "has")?, call.object(1)?);
            let has = match collections::has(&object, &key) {
                Some(has) => has,
                None => has_property(&object, &key),
            };
            Ok(Out::I32(has.into()))
        },
        ("in", 2) => |call| {
            let (key, object) = (call.object(0)?, call.object(1)?);
            if object.as_object().is_none() {
                let message = format!("Cannot use 'in' operator to search for '{key}' in {object}");
                return Err(Throw::type_error(message));
            }
            let has = has_property(&object, &key);
            Ok(Out::I32(has.into()))
        },
        ("deleteProperty", 2) => |call| {
            let deleted = delete_property(&reflected(call, "deleteProperty")?, &call.object(1)?);
            Ok(Out::I32(deleted.into()))
        },
        ("delete", 2) => |call| {
            let (object, key) = (call.object(0)?, call.object(1)?);
            let deleted = collections::delete(&object, &key);
            let deleted = deleted.unwrap_or_else(|| delete_property(&object, &key));
            Ok(Out::I32(deleted.into()))
        },
        ("defineProperty", 3) => |call| {
            let (object, key, described) = (call.object(0)?, call.object(1)?, call.object(2)?);
            let value = call.property(&described, &Js::text("value"))?;
            call.set_property(&object, &key, value)?;
            Ok(Out::Js(object))
        },
        ("ownKeys", 1) => |call| {
            let object = reflected(call, "ownKeys")?;
            let mut keys = own_names(&object);
            keys.extend(own_symbols(&object));
            Ok(Out::Js(Js::array(keys)))
        },
        ("getOwnPropertySymbols", 1) => |call| {
            let symbols = own_symbols(&call.object(0)?);
            Ok(Out::Js(Js::array(symbols)))
        },
        ("getOwnPropertyNames", 1) => |call| Ok(Out::Js(Js::array(own_names(&call.object(0)?)))),
        ("assign", 2) => |call| {
            let (target, source) = (call.object(0)?, call.object(1)?);
            for key in own_keys(&source) {
                let key = Js::text(key);
                let value = call.property(&source, &key)?;
                call.set_property(&target, &key, value)?;
            }
            Ok(Out::Js(target))
        },
        ("freeze" | "seal" | "preventExtensions", 1) => |call| Ok(Out::Js(call.object(0)?)),
        ("done", 1) => |call| {
            let done = call.property(&call.object(0)?, &Js::text("done"))?;
            Ok(Out::I32(done.is_truthy().into()))
        },
        ("value", 1) => |call| {
            let value = call.property(&call.object(0)?, &Js::text("value"))?;
            Ok(Out::Js(value))
        },
        _ => return None,
    })
}

/// The first argument of a function of `Reflect`, which is an object. Methods of maps and sets, which
/// have the same names, fail on other values too.
fn reflected(call: &Call<'_>, function: &str) -> Result<Js, Throw> {
    let js = call.object(0)?;
    match js {
        Js::Object(_) => Ok(js),
        _ => Err(Throw::type_error(format!(
            "Reflect.{function} called on non-object"
        ))),
    }
}

/// `array[index]`, `Reflect.get` and `map.get` have one base name. The hash tells, or else the type
/// of the second parameter, or else, in the older ABI, what the first object is.
fn get(params: &[ValType], known: Option<Known>) -> Serve {
    let by_index: Serve = |call| {
        let object = call.object(0)?;
        Ok(Out::Js(call.element(&object, call.u32(1))?))
    };
    let by_key: Serve = |call| {
        let (object, key) = (reflected(call, "get")?, call.object(1)?);
        match collections::get(&object, &key) {
            Some(value) => Ok(Out::Js(value)),
            None => Ok(Out::Js(call.property(&object, &key)?)),
        }
    };
    let property: Serve = |call| {
        let (object, key) = (reflected(call, "get")?, call.object(1)?);
        Ok(Out::Js(call.property(&object, &key)?))
    };
    match known {
        Some(known) if known.class == "Array" || known.function == "get_u32" => by_index,
        Some(known) if known.class == "Reflect" => property,
        Some(_) => by_key,
        None => match params {
            [ValType::ExternRef, ValType::I32] => by_index,
            [ValType::ExternRef, _] => by_key,
            _ => |call| {
                let object = call.object(0)?;
                if is_array(&object) {
                    return Ok(Out::Js(call.element(&object, call.u32(1))?));
                }
                let key = call.object(1)?;
                match collections::get(&object, &key) {
                    Some(value) => Ok(Out::Js(value)),
                    None => Ok(Out::Js(call.property(&object, &key)?)),
                }
            },
        },
    }
}

/// `array[index]` of a number: the result is one, and no object.
fn get_index(call: &mut Call<'_>) -> ImportOutcome {
    let object = call.object(0)?;
    let element = call.element(&object, call.u32(1))?;
    Ok(match (element, call.served.result) {
        (Js::Number(number), Some(ValType::F64)) => Out::F64(number),
        #[expect(clippy::cast_possible_truncation, reason = "it was a float of 32 bits")]
        (Js::Number(number), Some(ValType::F32)) => Out::Val(Val::from(number as f32)),
        (Js::Number(number), Some(ValType::I32)) => Out::I32(engine_api::to_int32(number)),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "as JavaScript converts to 64 bits"
        )]
        (Js::BigInt(number), Some(ValType::I64)) => Out::Val(Val::I64(number as i64)),
        (element, _) => Out::Js(element),
    })
}

/// `bytes.set(source, offset)`, `array[index] = value`, `object[key] = value`, `Reflect.set` and
/// `map.set` have one base name.
fn set(ty: &FuncType, known: Option<Known>) -> Serve {
    use ValType::{ExternRef, I32};
    let by_index: Serve = |call| {
        let object = call.object(0)?;
        let value = call.take(2)?;
        call.set_element(&object, call.u32(1) as usize, value)?;
        Ok(Out::Nothing)
    };
    let reflect: Serve = |call| {
        let (object, key, value) = (reflected(call, "set")?, call.object(1)?, call.object(2)?);
        let is_set = call.set_property(&object, &key, value)?;
        Ok(Out::I32(is_set.into()))
    };
    let of_map: Serve = |call| {
        let (map, key, value) = (call.object(0)?, call.object(1)?, call.object(2)?);
        let map = collections::set(&map, key, value)?;
        Ok(Out::Js(map))
    };
    let from_array: Serve = |call| {
        let (into, source) = (bytes_of(&call.object(0)?)?, call.object(1)?);
        call.set_from(&into, &source, call.u32(2))
    };
    let from_slice: Serve = |call| {
        let into = bytes_of(&call.object(0)?)?;
        let copied = call.elements(into.element, 1)?;
        call.write_view(&into, 0, &copied)?;
        Ok(Out::Nothing)
    };
    if let Some(known) = known {
        return match known.class {
            "Array" => by_index,
            "Reflect" if known.function == "set_u32" => |call| {
                let (object, value) = (call.object(0)?, call.object(2)?);
                call.set_element(&object, call.u32(1) as usize, value)?;
                Ok(Out::I32(1))
            },
            "Reflect" => reflect,
            _ if known.function == "copy_from_slice" => from_slice,
            _ if known.element().is_some() => from_array,
            _ => of_map,
        };
    }
    match (ty.params(), ty.results()) {
        ([ExternRef, I32, ExternRef], _) => by_index,
        ([ExternRef, ExternRef, ExternRef], [ExternRef]) => of_map,
        ([ExternRef, ExternRef, ExternRef], [_]) => reflect,
        ([ExternRef, ExternRef, ExternRef], []) => set_taken,
        ([ExternRef, I32, I32], _) => from_slice,
        ([ExternRef, ExternRef, I32], _) => from_array,
        (_, [_]) => |call| {
            let (object, key, value) = (call.object(0)?, call.object(1)?, call.object(2)?);
            if matches!(object.as_object(), Some(Object::Collection(_))) {
                return Ok(Out::Js(collections::set(&object, key, value)?));
            }
            let is_set = call.set_property(&object, &key, value)?;
            Ok(Out::I32(is_set.into()))
        },
        _ => |call| {
            let object = call.object(0)?;
            if let Some(Object::Bytes(into)) = object.as_object() {
                let source = call.object(1)?;
                return call.set_from(into, &source, call.u32(2));
            }
            // A key is the slot of a text, and an index is any number.
            if matches!(call.object(1), Ok(Js::Text(_))) {
                return set_taken(call);
            }
            let value = call.take(2)?;
            call.set_element(&object, call.u32(1) as usize, value)?;
            Ok(Out::Nothing)
        },
    }
}

/// `object[key] = value`, where the guest gives up both.
fn set_taken(call: &mut Call<'_>) -> ImportOutcome {
    let (object, key, value) = (call.object(0)?, call.take(1)?, call.take(2)?);
    call.set_property(&object, &key, value)?;
    Ok(Out::Nothing)
}

/// The name of the field that a key names.
fn name_of(key: &Js) -> String {
    match key {
        Js::Symbol(symbol) => format!("{SYMBOL}{symbol}"),
        other => other.to_string(),
    }
}

/// The element that a key names: whole numbers, and texts that are such numbers.
fn index_of(key: &Js) -> Option<usize> {
    match key {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is a whole number of 32 bits"
        )]
        Js::Number(number) if number.fract() == 0.0 && (0.0..4_294_967_295.0).contains(number) => {
            Some(*number as usize)
        }
        Js::Text(text) => array_index(text),
        _ => None,
    }
}

fn array_index(text: &str) -> Option<usize> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text && number < u32::MAX).then_some(number as usize)
}

/// The own keys that are texts, in JavaScript's order: whole numbers first.
pub(crate) fn own_keys(js: &Js) -> Vec<String> {
    match (js, js.as_object()) {
        (Js::Text(text), _) => (0..text.encode_utf16().count())
            .map(|index| index.to_string())
            .collect(),
        (_, Some(Object::Bytes(bytes))) => (0..bytes.len / u64::from(bytes.element.bytes()))
            .map(|index| index.to_string())
            .collect(),
        _ => with_bag(js, |bag| {
            let mut keys: Vec<String> = (0..bag.elements.len())
                .map(|index| index.to_string())
                .collect();
            let fields = bag.fields.keys().filter(|key| !key.starts_with(SYMBOL));
            let (mut numbers, texts): (Vec<&String>, Vec<&String>) =
                fields.partition(|key| array_index(key).is_some());
            numbers.sort_by_key(|key| array_index(key));
            keys.extend(numbers.into_iter().chain(texts).cloned());
            keys
        })
        .unwrap_or_default(),
    }
}

/// The keys of an object that are text, those of an array with its length.
fn own_names(object: &Js) -> Vec<Js> {
    let mut keys: Vec<Js> = own_keys(object).into_iter().map(Js::text).collect();
    if is_array(object) {
        keys.push(Js::text("length"));
    }
    keys
}

fn own_symbols(js: &Js) -> Vec<Js> {
    with_bag(js, |bag| {
        let symbols = bag.fields.keys().filter_map(|key| key.strip_prefix(SYMBOL));
        symbols.map(|symbol| Js::Symbol(symbol.into())).collect()
    })
    .unwrap_or_default()
}

fn has_property(js: &Js, key: &Js) -> bool {
    let named = with_bag(js, |bag| {
        let by_index = bag.is_array() && index_of(key).is_some_and(|at| at < bag.elements.len());
        by_index || bag.fields.contains_key(&name_of(key))
    });
    let is_length = matches!(key, Js::Text(text) if &**text == "length") && is_array(js);
    named.unwrap_or(false) || is_length || is_iterable_by(js, key)
}

/// Whether the key is the symbol of iteration, and the value has an iterator there.
fn is_iterable_by(js: &Js, key: &Js) -> bool {
    let is_symbol = matches!(key, Js::Symbol(symbol) if &**symbol == ITERATOR);
    is_symbol && collections::is_iterable(js)
}

fn delete_property(js: &Js, key: &Js) -> bool {
    with_bag(js, |bag| {
        let index = index_of(key).filter(|at| bag.is_array() && *at < bag.elements.len());
        match index {
            Some(index) => bag.elements[index] = Js::Undefined,
            None => {
                bag.fields.shift_remove(&name_of(key));
            }
        }
    });
    true
}

impl Call<'_> {
    /// `array[index]`.
    pub(super) fn element(&mut self, js: &Js, index: u32) -> Result<Js, Throw> {
        self.property(js, &Js::Number(index.into()))
    }

    /// `object[key]`.
    pub(super) fn property(&mut self, js: &Js, key: &Js) -> Result<Js, Throw> {
        if is_iterable_by(js, key) {
            return Ok(Js::object(Object::Builtin(Builtin::Iterate)));
        }
        let name = name_of(key);
        let index = index_of(key);
        match (js, js.as_object()) {
            (Js::Undefined | Js::Null, _) => Err(Throw::type_error(format!(
                "Cannot read properties of {js} (reading '{key}')"
            ))),
            (Js::Text(text), _) => Ok(text_property(text, &name, index)),
            (_, Some(Object::Bytes(bytes))) => {
                let (bytes, size) = (bytes.clone(), u64::from(bytes.element.bytes()));
                match (index, &*name) {
                    (Some(index), _) if (index as u64) < bytes.len / size => {
                        let read = self.read_part(&bytes, index as u64 * size, size)?;
                        let value = bytes.element.read(&read).unwrap_or_default();
                        Ok(crate::convert::realm_value(value))
                    }
                    (_, "length") => Ok(whole(bytes.len / size)),
                    (_, "byteLength") => Ok(whole(bytes.len)),
                    (_, "byteOffset") => Ok(whole(bytes.offset)),
                    (_, "buffer") => Ok(Js::object(Object::Buffer(bytes.buffer))),
                    _ => Ok(Js::Undefined),
                }
            }
            (_, Some(Object::Buffer(Buffer::Host(bytes)))) if name == "byteLength" => {
                Ok(whole(lock(bytes).len() as u64))
            }
            (_, Some(Object::Collection(_))) if name == "size" => Ok(collections::size(js)),
            (_, Some(Object::Iterator(_))) if name == "next" => {
                Ok(Js::object(Object::Builtin(Builtin::Next)))
            }
            (_, Some(Object::Error(error))) => Ok(match &*name {
                "message" => Js::text(&*error.message),
                "name" => Js::text(error.name),
                "stack" => Js::text(format!("{}: {}", error.name, error.message)),
                _ => Js::Undefined,
            }),
            _ => {
                let found = with_bag(js, |bag| bag_property(bag, &name, index));
                Ok(found.flatten().unwrap_or_default())
            }
        }
    }

    /// `object[key] = value`; whether it worked.
    pub(super) fn set_property(&mut self, js: &Js, key: &Js, value: Js) -> Result<bool, Throw> {
        let index = index_of(key);
        match (js.as_object(), index) {
            (Some(Object::Bag(_)), Some(index)) if is_array(js) && !is_untouched(js) => {
                self.set_element(js, index, value)?;
                Ok(true)
            }
            (Some(Object::Bag(_)), _) => {
                let name = name_of(key);
                with_bag(js, |bag| {
                    if bag.kind == BagKind::Unknown && bag.elements.is_empty() {
                        bag.kind = BagKind::Record;
                    }
                    bag.fields.insert(name, value);
                });
                Ok(true)
            }
            (Some(Object::Bytes(_)), Some(index)) => {
                self.set_element(js, index, value)?;
                Ok(true)
            }
            (Some(_), _) => Ok(false),
            (None, _) => Err(Throw::type_error("set: no object that can be written")),
        }
    }

    /// `array[index] = value`.
    pub(super) fn set_element(&mut self, js: &Js, index: usize, value: Js) -> Result<(), Throw> {
        if let Some(Object::Bytes(bytes)) = js.as_object() {
            let (bytes, size) = (bytes.clone(), u64::from(bytes.element.bytes()));
            let written = bytes.element.write(&crate::convert::plain(&value));
            let written = written.ok_or_else(|| Throw::type_error("set: no such element"))?;
            if (index as u64) < bytes.len / size {
                self.write_view(&bytes, index as u64 * size, &written)?;
            }
            return Ok(());
        }
        if index >= ELEMENTS_MAX {
            return Err(Throw::range_error(
                "an array of more than 67,108,864 elements",
            ));
        }
        let stored = with_bag(js, |bag| {
            if index >= bag.elements.len() {
                bag.elements.resize(index + 1, Js::Undefined);
            }
            bag.elements[index] = value;
            if bag.kind == BagKind::Unknown && bag.fields.is_empty() {
                bag.kind = BagKind::Array;
            }
        });
        stored.ok_or_else(|| Throw::type_error("set: no object that can be written"))
    }
}

/// Whether nobody has put anything into it so far, so that it may still be a plain object.
fn is_untouched(js: &Js) -> bool {
    with_bag(js, |bag| {
        bag.kind == BagKind::Unknown && bag.elements.is_empty()
    })
    .unwrap_or(false)
}

#[expect(clippy::cast_precision_loss, reason = "lengths are below 2^53")]
fn whole(number: u64) -> Js {
    Js::Number(number as f64)
}

fn bag_property(bag: &mut Bag, name: &str, index: Option<usize>) -> Option<Js> {
    if bag.is_array() {
        if let Some(element) = index.and_then(|index| bag.elements.get(index)) {
            return Some(element.clone());
        }
        if name == "length" && bag.kind != BagKind::Unknown {
            return Some(whole(bag.elements.len() as u64));
        }
    }
    bag.fields.get(name).cloned()
}

fn text_property(text: &Arc<str>, name: &str, index: Option<usize>) -> Js {
    match index {
        Some(index) => text
            .encode_utf16()
            .nth(index)
            .map_or(Js::Undefined, |unit| {
                Js::text(String::from_utf16_lossy(&[unit]))
            }),
        None if name == "length" => whole(text.encode_utf16().count() as u64),
        None => Js::Undefined,
    }
}

/// A lock that no panic keeps.
pub(super) fn locked<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
