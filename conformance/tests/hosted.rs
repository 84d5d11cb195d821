//! The promises of `bindgen-host`, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod hosted {
    mod as_in_node;
    mod checkpoints;
    mod closures;
    mod generations;
    mod imports;
    mod js_values;
    mod missing;
    mod pool;
    mod realm;
}
