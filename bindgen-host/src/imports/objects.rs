//! Objects, arrays and errors.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use engine_api::{FuncType, ValType};

use super::intrinsics::is;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::value::{Bag, Global, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "new" | "new0" if ty.params().is_empty() => |_| Ok(Out::Js(Js::object(bag(Vec::new())))),
        "new" if ty.params() == [ValType::I32, ValType::I32] => {
            |call| Ok(Out::Js(Js::error("Error", call.text(0)?)))
        }
        "from" => |call| {
            let elements = with_bag(&call.object(0)?, |bag| bag.elements.clone());
            let elements = elements.ok_or_else(|| Throw::type_error("from: not an array"))?;
            Ok(Out::Js(Js::object(bag(elements))))
        },
        // An object of a class that the guest exports: its address.
        base if base.ends_with("_new") && ty.params() == [ValType::I32] => {
            |call| Ok(Out::Js(Js::object(Object::Instance(call.u32(0)))))
        }
        base if base.ends_with("_unwrap") => |call| {
            let instance = call.take(0)?;
            Ok(Out::I32(match instance.as_object() {
                Some(Object::Instance(address)) => address.cast_signed(),
                _ => 0,
            }))
        },
        "newnoargs" | "new_no_args" => |_| Ok(Out::Js(Js::object(Object::GlobalGetter))),
        "push" => push,
        "of" => |call| {
            let elements = call.objects(0)?;
            Ok(Out::Js(Js::object(bag(elements))))
        },
        "get" => get,
        "isArray" => |call| is(call, is_array),
        "stack" => |call| {
            let stack = call.object(1)?.to_string();
            call.return_text(call.u32(0), Some(&stack))
        },
        "message" | "toString" => |call| Ok(Out::Js(Js::text(call.object(0)?.to_string()))),
        "name" => |call| {
            let name = match call.object(0)?.as_object() {
                Some(Object::Error(error)) => error.name,
                _ => "Error",
            };
            Ok(Out::Js(Js::text(name)))
        },
        "instanceof_Error" => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Error(_))))
        }
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
        _ => return None,
    })
}

fn global(global: Global) -> Js {
    Js::object(Object::Global(global))
}

fn bag(elements: Vec<Js>) -> Object {
    Object::Bag(Mutex::new(Bag {
        elements,
        fields: BTreeMap::new(),
    }))
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

fn is_array(js: &Js) -> bool {
    with_bag(js, |bag| bag.fields.is_empty()).unwrap_or(false)
}

fn push(call: &mut Call<'_>) -> ImportOutcome {
    let (array, element) = (call.object(0)?, call.object(1)?);
    let len = with_bag(&array, |bag| {
        bag.elements.push(element);
        bag.elements.len()
    });
    match len.map(i32::try_from) {
        Some(Ok(len)) => Ok(Out::I32(len)),
        _ => Err(Throw::type_error("push: not an array")),
    }
}

/// `array[index]` and `object[key]` are one import.
fn get(call: &mut Call<'_>) -> ImportOutcome {
    let object = call.object(0)?;
    let by_index = call.args[1].i32().map(i32::cast_unsigned);
    let found = if let (Some(index), true) = (by_index, is_array(&object)) {
        with_bag(&object, |bag| bag.elements.get(index as usize).cloned())
    } else {
        let key = call.object(1)?.to_string();
        with_bag(&object, |bag| bag.fields.get(&key).cloned())
    };
    Ok(Out::Js(found.flatten().unwrap_or(Js::Undefined)))
}

/// `array[index] = value` or `object[key] = value`. The guest gives up the key and the value,
/// except to `Reflect.set`, which has a result: whether it worked.
pub(super) fn set(call: &mut Call<'_>, object: &Js) -> ImportOutcome {
    let takes_index = matches!(
        (&call.args[1], &call.args[2]),
        (engine_api::Val::I32(_), engine_api::Val::ExternRef(_))
    );
    // In the older ABI an index and a key are both numbers. A key is the slot of a text.
    let key = if takes_index {
        None
    } else {
        call.text_object(1)
    };
    let gives_up = !call.served.returns;
    let value = if gives_up {
        call.take(2)?
    } else {
        call.object(2)?
    };
    let index = call.u32(1) as usize;
    if let Some(key) = &key {
        if gives_up {
            call.take(1)?;
        }
        let stored = with_bag(object, |bag| bag.fields.insert(key.clone(), value));
        return Ok(Out::I32(stored.is_some().into()));
    }
    let stored = with_bag(object, |bag| {
        // An array grows by one element at a time. A greater index would leave a hole.
        if index > bag.elements.len() {
            return false;
        }
        if index == bag.elements.len() {
            bag.elements.push(value);
        } else {
            bag.elements[index] = value;
        }
        true
    });
    match stored {
        Some(true) => Ok(Out::I32(1)),
        Some(false) => Err(Throw::type_error(
            "set: the index leaves a hole in the array",
        )),
        None => Err(Throw::type_error("set: no object that can be written")),
    }
}

impl Call<'_> {
    /// The text that an argument names; `None` for any other object.
    fn text_object(&self, position: usize) -> Option<String> {
        match self.object(position) {
            Ok(Js::Text(text)) => Some(text.to_string()),
            _ => None,
        }
    }
}
