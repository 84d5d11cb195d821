//! Panics, which go to the console of the host before they trap.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Standard JavaScript: holds where it was made.
    type Error;

    #[wasm_bindgen(constructor)]
    fn new() -> Error;

    #[wasm_bindgen(structural, method, getter)]
    fn stack(error: &Error) -> String;

    /// The text becomes the host's, which frees it.
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    pub(crate) fn console_error(message: String);
}

/// Runs when the module is started: panics go to the console, as in most modules in use.
#[wasm_bindgen(start)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        console_error(format!("{info}\n\n{}", Error::new().stack()));
    }));
}

/// Panics: the hook reports to the console, then the module traps.
///
/// # Panics
///
/// Always.
#[wasm_bindgen]
pub fn panic_with(message: &str) {
    panic!("{message}");
}
