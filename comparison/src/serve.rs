//! The strategies at work: each serves turns, one after the other.

mod alternatives;
mod processes;
mod proxied;

use std::sync::Arc;

use anyhow::Result;

use crate::again::Again;
use crate::gauge::Gauge;
use crate::setup::{Ended, Setup};
use crate::strategy::Strategy;

/// Serves turns.
pub(crate) trait Server {
    /// Makes a turn, with the restarts that it needs first, and appends its results to `results`.
    /// If another process has the results, returns their digest.
    fn turn(&mut self, index: u64, results: &mut Vec<u8>) -> Result<Option<u64>, Ended>;

    /// Whether no further turn can succeed.
    fn is_dead(&self) -> bool {
        false
    }
}

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
) -> Result<Box<dyn Server + 'a>> {
    let gauge = Arc::clone(gauge);
    Ok(match strategy {
        Strategy::Bare => Box::new(alternatives::Single::start(setup, gauge, false)?),
        Strategy::Restart => Box::new(alternatives::Single::start(setup, gauge, true)?),
        Strategy::Fresh => Box::new(alternatives::Fresh::start(setup, gauge)?),
        Strategy::Process => Box::new(processes::Processes::start(setup, gauge, again)?),
        Strategy::Rotation => Box::new(alternatives::Rotation::start(setup, gauge)?),
        Strategy::Replay => Box::new(proxied::Proxied::start(setup, &gauge, false)?),
        Strategy::Checkpoints => Box::new(proxied::Proxied::start(setup, &gauge, true)?),
    })
}
