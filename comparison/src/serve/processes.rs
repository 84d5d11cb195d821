//! A process per turn.

use std::sync::Arc;

use anyhow::Result;

use super::Server;
use crate::again::Again;
use crate::gauge::Gauge;
use crate::order::Task;
use crate::setup::{Ended, Setup};

/// Starts this program again for every turn. The state is built once in this process too, which
/// gives a better message if that fails.
pub(super) fn processes<'a>(
    setup: &Setup,
    gauge: Arc<Gauge>,
    again: &'a Again,
) -> Result<Server<'a>> {
    setup.instance()?;
    Ok(Box::new(move |index, _results| {
        let outcome = again.turn(Task::Turn { index }, &mut |process| {
            gauge.note_process(process);
        });
        gauge.note_process(0);
        let turn = outcome?;
        gauge.note_memory(turn.memory_bytes);
        turn.outcome.map(Some).map_err(|cause| Ended { cause })
    }))
}
