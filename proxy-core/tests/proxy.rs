//! The proxy on a scripted engine, without a runtime: all that a caller, an operator or a hostile
//! guest can do.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fake/proxied.rs"]
mod fake;

mod proxy {
    mod artifact_files;
    mod artifacts;
    mod aside;
    mod audit;
    mod bare;
    mod base;
    mod bounds;
    mod calls;
    mod checkpoints;
    mod compaction;
    mod crowded;
    mod cuts;
    mod degradation;
    mod divergence;
    mod durable;
    mod durable_artifacts;
    mod exhaustion;
    mod full_journal;
    mod held_store;
    mod history;
    mod hold_back;
    mod hooks;
    mod host;
    mod hostile;
    mod lifecycle;
    mod model;
    mod near_limit;
    mod observe;
    mod observers;
    mod offline;
    mod passthrough;
    mod pinned;
    mod promises;
    mod recovery;
    mod renewal;
    mod replay;
    mod state_digest;
    mod submitted;
    mod supervisor;
    mod swap;
    mod things;
    mod tier_up;
    mod triggers;
    mod turns;
    mod unchecked;
    mod working_set;
    mod world;
}
