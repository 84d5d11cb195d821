//! The promises of `bindgen-host`, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod hosted {
    mod checkpoints;
    mod pool;
    mod realm;
}
