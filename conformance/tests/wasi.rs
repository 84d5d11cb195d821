//! WASI preview 1, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod wasi {
    mod database;
    mod earlier_processes;
    mod hostile;
    mod programs;
    mod reactors;
    mod restarts;
    mod rust;
    mod swaps;
    mod tour;
}
