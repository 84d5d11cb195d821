//! The contract of `engine-api`, on every engine.

#![allow(
    clippy::unwrap_used,
    reason = "in a case, a failed expectation is a failed case"
)]
#![allow(
    clippy::cloned_ref_to_slice_refs,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "arguments and modules are written as they read best; nobody counts allocations here"
)]

mod engines {
    mod calls;
    mod capabilities;
    mod coexistence;
    mod deadlines;
    mod determinism;
    mod divergence;
    mod fuel;
    mod globals;
    mod growth_refused;
    mod host_access;
    mod host_failures;
    mod host_functions;
    mod hostile_modules;
    mod imports;
    mod instances_dropped;
    mod interrupter;
    mod invalid_modules;
    mod memories;
    mod memory_limits;
    mod module_limits;
    mod nan;
    mod numbers;
    mod precompiled;
    mod references;
    mod shared_memory;
    mod shared_snapshots;
    mod snapshot_files;
    mod snapshot_references;
    mod snapshots;
    mod stack;
    mod start_functions;
    mod tables;
    mod traps;
    mod values;
}

/// See [`conformance::probe`].
const PROBE: &str = env!("CARGO_BIN_EXE_conformance-probe");
