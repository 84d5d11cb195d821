//! What `bindgen-host` promises, on every engine: modules of wasm-bindgen without JavaScript.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod hosted {
    mod pool;
    mod realm;
}
