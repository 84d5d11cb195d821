//! The promises of the proxy, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]

mod proxies {
    mod artifacts;
    mod c_kinds;
    mod callers;
    mod cases;
    mod checkpoints;
    mod cuts;
    mod database;
    mod deaths;
    mod emscripten_guests;
    mod exhaustion;
    mod guests;
    mod host_calls;
    mod hostile;
    mod jumps;
    mod prover;
    mod replay;
    mod return_places;
    mod standby_failures;
    mod states;
    mod structs;
    mod swaps;
    mod tables;
    mod toolchains;
    mod turns;
    mod upkeep;
}

/// See [`conformance::probe`].
const PROBE: &str = env!("CARGO_BIN_EXE_conformance-probe");
