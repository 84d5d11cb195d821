//! The strategies at work: each serves turns, one after the other.

mod alternatives;
mod processes;
mod proxied;

use std::sync::Arc;

use anyhow::Result;
use proxy_core::CheckpointPolicy;

use crate::again::Again;
use crate::gauge::Gauge;
use crate::setup::{Ended, Setup};
use crate::strategy::Strategy;

/// Makes the turn of an index, with the restarts that it needs first, and appends its results. If
/// another process has the results, returns their digest. After a turn that marked a death, no
/// further one can succeed.
pub(crate) type Server<'a> = Box<dyn FnMut(u64, &mut Vec<u8>) -> Result<Option<u64>, Ended> + 'a>;

/// Starts a strategy, and builds the state if it is built once for all turns.
///
/// # Errors
///
/// The state cannot be built.
pub(crate) fn start<'a>(
    strategy: Strategy,
    setup: &'a Setup,
    gauge: &Arc<Gauge>,
    again: &'a Again,
) -> Result<Server<'a>> {
    let gauge = Arc::clone(gauge);
    match strategy {
        Strategy::Bare => alternatives::bare(setup, gauge),
        Strategy::Restart => alternatives::restart(setup, gauge),
        Strategy::Fresh => alternatives::fresh(setup, gauge),
        Strategy::Process => processes::processes(setup, gauge, again),
        Strategy::Rotation => alternatives::rotation(setup, gauge),
        Strategy::Replay => proxied::proxied(setup, &gauge, CheckpointPolicy::off()),
        Strategy::Checkpoints => proxied::proxied(setup, &gauge, CheckpointPolicy::default()),
    }
}
