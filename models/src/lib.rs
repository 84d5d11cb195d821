//! Models of how the threads of a proxy meet.
//!
//! The parts of `proxy-core` where threads wait for each other are compiled again here, with a
//! [`sync`] whose scheduler ([shuttle](https://docs.rs/shuttle)) decides which thread goes on. A
//! model is a small program of a few threads over these parts. [`check`] runs it under many
//! schedules; one under which it panics, loses a call or never ends is printed.

// What the models do not use of a part is no dead code: proxy-core does.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "parts are whole files of proxy-core"
)]

mod check;
mod planted;
mod sync;

#[path = "../../proxy-core/src/batch.rs"]
mod batch;
#[expect(
    clippy::struct_field_names,
    reason = "the names are public in the core, where the lint lets them be"
)]
#[path = "../../proxy-core/src/committer.rs"]
mod committer;
#[path = "../../proxy-core/src/gate.rs"]
mod gate;
#[path = "../../proxy-core/src/holding.rs"]
mod holding;
#[path = "../../proxy-core/src/lane.rs"]
mod lane;
#[path = "../../proxy-core/src/locking.rs"]
mod locking;
#[path = "../../proxy-core/src/open_turns.rs"]
mod open_turns;
#[path = "../../proxy-core/src/journal/positions.rs"]
mod positions;
#[path = "../../proxy-core/src/turns.rs"]
mod turns;
#[path = "../../proxy-core/src/wakeup.rs"]
mod wakeup;

mod journal {
    pub(crate) use crate::positions::Positions;
}

mod journal_store {
    pub(crate) use proxy_core::{
        Epoch, Flush, Head, JournalStore, Position, RECORD_BYTES_MAX, StoreError,
    };
}

mod mini;
mod waits;

pub use check::{Schedules, check};
pub use mini::{calls_and_a_full_disk, calls_and_a_swap, calls_and_swaps_and_a_full_disk};
pub use planted::Planted;
pub(crate) use proxy_core::{Error, SequenceNumber};
pub use waits::{a_lane, a_patient_entrance, a_supervisor, a_swap_that_is_near, turns_and_a_swap};
