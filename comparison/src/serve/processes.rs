//! A process per turn.

use std::sync::Arc;

use anyhow::Result;

use super::Server;
use crate::again::Again;
use crate::gauge::Gauge;
use crate::order::Task;
use crate::setup::{Ended, Setup};

/// Starts this program again for every turn.
pub(super) struct Processes<'a> {
    gauge: Arc<Gauge>,
    again: &'a Again,
}

impl<'a> Processes<'a> {
    /// Builds the state once in this process, which gives a better message if that fails.
    pub(super) fn start(setup: &Setup, gauge: Arc<Gauge>, again: &'a Again) -> Result<Self> {
        setup.instance()?;
        Ok(Self { gauge, again })
    }
}

impl Server for Processes<'_> {
    fn turn(&mut self, index: u64, _results: &mut Vec<u8>) -> Result<Option<u64>, Ended> {
        let task = Task::Turn { index };
        let outcome = self
            .again
            .turn(task, &mut |process| self.gauge.note_process(process));
        self.gauge.note_process(0);
        let turn = outcome?;
        self.gauge.note_memory(turn.memory_bytes);
        turn.outcome.map(Some).map_err(|cause| Ended { cause })
    }
}
