//! JavaScript values: looked at, made, filled, called.

use std::cell::RefCell;

use js_sys::{Array, Error, Function, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

/// Says what a value is, with every check that the module can ask the host for.
#[wasm_bindgen]
pub fn describe(value: &JsValue) -> String {
    if value.is_undefined() {
        "undefined".to_owned()
    } else if value.is_null() {
        "null".to_owned()
    } else if let Some(value) = value.as_bool() {
        format!("boolean {value}")
    } else if let Some(number) = value.as_f64() {
        format!("number {number}")
    } else if value.is_string() {
        format!("string {:?}", value.as_string().unwrap_or_default())
    } else if value.is_bigint() {
        "bigint".to_owned()
    } else if value.is_symbol() {
        "symbol".to_owned()
    } else if value.is_function() {
        "function".to_owned()
    } else if let Some(error) = value.dyn_ref::<Error>() {
        format!("error {:?}", String::from(error.message()))
    } else if let Some(bytes) = value.dyn_ref::<Uint8Array>() {
        format!("bytes of length {}", bytes.length())
    } else if Array::is_array(value) {
        format!("array of length {}", Array::from(value).length())
    } else if value.is_object() {
        "object".to_owned()
    } else {
        "something else".to_owned()
    }
}

/// What the host prints for debugging.
#[wasm_bindgen]
pub fn debug(value: JsValue) -> String {
    format!("{value:?}")
}

/// Whether two values are the same one.
#[wasm_bindgen]
pub fn same(left: &JsValue, right: &JsValue) -> bool {
    left == right
}

/// Gives back what it was given.
#[wasm_bindgen]
pub fn echo(value: JsValue) -> JsValue {
    value
}

/// Makes a value of the kind that is named, or `undefined`.
#[wasm_bindgen]
pub fn make(kind: &str) -> JsValue {
    match kind {
        "null" => JsValue::NULL,
        "true" => JsValue::TRUE,
        "false" => JsValue::FALSE,
        "number" => JsValue::from_f64(1.5),
        "integer" => JsValue::from(7_u32),
        "string" => JsValue::from_str("text"),
        "bigint" => JsValue::from(u64::MAX),
        "symbol" => JsValue::symbol(Some("mark")),
        "bytes" => Uint8Array::from(&[1, 2, 3][..]).into(),
        "array" => Array::of2(&JsValue::from(1), &JsValue::from_str("two")).into(),
        "object" => Object::new().into(),
        "error" => Error::new("made to order").into(),
        "function" => Function::new_no_args("return 42").into(),
        _ => JsValue::UNDEFINED,
    }
}

/// Makes bytes of the host, fills them, copies a part of them back and adds it up.
#[wasm_bindgen]
pub fn byte_sum(length: u32, from: u32, to: u32) -> u32 {
    let bytes = Uint8Array::new_with_length(length);
    for index in 0..length {
        // The lowest eight bits of the index are meant.
        bytes.set_index(index, index.to_le_bytes()[0]);
    }
    let part = bytes.subarray(from, to);
    let mut copy = vec![0; part.length() as usize];
    part.copy_to(&mut copy);
    copy.into_iter().map(u32::from).sum()
}

/// Makes bytes of the host from bytes of the module.
#[wasm_bindgen]
pub fn bytes_as_value(bytes: &[u8]) -> Uint8Array {
    let value = Uint8Array::new_with_length(u32::try_from(bytes.len()).unwrap_or(0));
    value.copy_from(bytes);
    value
}

/// Copies the whole of a host's bytes.
#[wasm_bindgen]
pub fn value_as_bytes(value: &Uint8Array) -> Vec<u8> {
    value.to_vec()
}

/// Makes an array of the first numbers.
#[wasm_bindgen]
pub fn range(length: u32) -> Array {
    let array = Array::new();
    for number in 0..length {
        array.push(&JsValue::from(number));
    }
    array
}

/// Adds up the numbers of an array, one `get` after the other.
#[wasm_bindgen]
pub fn array_sum(array: &Array) -> f64 {
    (0..array.length())
        .filter_map(|index| array.get(index).as_f64())
        .sum()
}

/// Makes an error, without failing.
#[wasm_bindgen]
pub fn make_error(message: &str) -> Error {
    Error::new(message)
}

/// Reads a property.
///
/// # Errors
///
/// `target` is not an object.
#[wasm_bindgen]
pub fn property(target: &JsValue, key: &str) -> Result<JsValue, JsValue> {
    Reflect::get(target, &JsValue::from_str(key))
}

/// Makes an object with one property.
///
/// # Errors
///
/// The host refuses.
#[wasm_bindgen]
pub fn object_with(key: &str, value: &JsValue) -> Result<JsValue, JsValue> {
    let object = JsValue::from(Object::new());
    Reflect::set(&object, &JsValue::from_str(key), value)?;
    Ok(object)
}

/// Calls a function of the host with one argument.
///
/// # Errors
///
/// What the function throws.
#[wasm_bindgen]
pub fn apply(function: &Function, argument: &JsValue) -> Result<JsValue, JsValue> {
    function.call1(&JsValue::NULL, argument)
}

type Step = Closure<dyn FnMut(u32) -> u32>;

/// A closure of the module, as a function of the host.
fn adder(start: u32) -> Step {
    let mut total = start;
    Closure::new(move |value: u32| {
        total = total.wrapping_add(value);
        total
    })
}

/// Hands a closure to the host and has the host call it with 1, 2, ... `times`; gives the last result.
///
/// # Errors
///
/// What the host throws.
#[wasm_bindgen]
pub fn call_back(times: u32) -> Result<JsValue, JsValue> {
    let step = adder(0);
    let function: &Function = step.as_ref().unchecked_ref();
    let mut last = JsValue::from(0);
    for value in 1..=times {
        last = function.call1(&JsValue::NULL, &JsValue::from(value))?;
    }
    Ok(last)
}

/// Lends the host a closure that lives on the stack while the host walks through the array.
#[wasm_bindgen]
pub fn each_sum(array: &Array) -> f64 {
    let mut sum = 0.0;
    array.for_each(&mut |value, index, _| sum += value.as_f64().unwrap_or(0.0) * f64::from(index));
    sum
}

thread_local! {
    static KEPT: RefCell<Option<Step>> = const { RefCell::new(None) };
}

/// Gives the host a closure that it may call between calls, until [`drop_closure`].
#[wasm_bindgen]
pub fn keep_closure(start: u32) -> JsValue {
    let step = adder(start);
    let function = step.as_ref().clone();
    KEPT.set(Some(step));
    function
}

/// Drops the closure: the host's function may not be called any more. Says whether there was one.
#[wasm_bindgen]
pub fn drop_closure() -> bool {
    KEPT.take().is_some()
}

/// Gives the host a closure that may be called once, with any value, and then frees itself.
#[wasm_bindgen]
pub fn once(prefix: String) -> JsValue {
    Closure::once_into_js(move |value: JsValue| {
        prefix + &value.as_string().unwrap_or_else(|| "?".to_owned())
    })
}
