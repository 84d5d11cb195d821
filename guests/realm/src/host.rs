//! What only the host has: a console, a clock, randomness.

use wasm_bindgen::prelude::*;

use crate::hex::hex;
use crate::panics::console_error;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = console, js_name = log)]
    fn console_log(message: &str);

    #[wasm_bindgen(js_namespace = console, js_name = warn)]
    fn console_warn(message: &JsValue);

    #[wasm_bindgen(js_namespace = console, js_name = debug)]
    fn console_debug(message: &str, detail: &JsValue);

    /// Only browsers have it.
    #[wasm_bindgen(js_namespace = window, js_name = alert)]
    fn window_alert(message: &str);
}

/// Prints one line.
#[wasm_bindgen]
pub fn print(message: &str) {
    console_log(message);
}

/// Prints a value as a warning.
#[wasm_bindgen]
pub fn print_warning(message: &JsValue) {
    console_warn(message);
}

/// Prints one line as an error.
#[wasm_bindgen]
pub fn print_error(message: String) {
    console_error(message);
}

/// Prints a line and a value.
#[wasm_bindgen]
pub fn print_detail(message: &str, detail: &JsValue) {
    console_debug(message, detail);
}

/// Calls what no host but a browser implements.
#[wasm_bindgen]
pub fn alert(message: &str) {
    window_alert(message);
}

/// Milliseconds since 1970.
#[wasm_bindgen]
pub fn now_ms() -> f64 {
    js_sys::Date::now()
}

/// Draws 32 bytes the way that most modules in use do, through an object `crypto` that is looked for.
///
/// # Errors
///
/// The host has no randomness.
#[wasm_bindgen]
pub fn random_hex() -> Result<String, JsError> {
    let mut bytes = [0; 32];
    getrandom::getrandom(&mut bytes)?;
    Ok(hex(&bytes))
}

/// Draws 32 bytes the way that current releases of `getrandom` do, from `globalThis.crypto`.
///
/// # Errors
///
/// The host has no randomness.
#[cfg(feature = "current")]
#[wasm_bindgen]
pub fn random_hex_direct() -> Result<String, JsError> {
    let mut bytes = [0; 32];
    getrandom_current::fill(&mut bytes)?;
    Ok(hex(&bytes))
}
