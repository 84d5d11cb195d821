//! The promises of a proxy whose journal is on a disk, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod durable {
    mod chains;
    mod migrations;
    mod outside;
    mod states;
    mod threads;
}
