//! The promises of the proxy, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod proxies {
    mod artifacts;
    mod callers;
    mod checkpoints;
    mod cuts;
    mod database;
    mod deaths;
    mod exhaustion;
    mod guests;
    mod host_calls;
    mod hostile;
    mod prover;
    mod replay;
    mod standby_failures;
    mod states;
    mod structs;
    mod swaps;
    mod tables;
    mod upkeep;
}

/// See [`conformance::probe`].
const PROBE: &str = env!("CARGO_BIN_EXE_conformance-probe");
