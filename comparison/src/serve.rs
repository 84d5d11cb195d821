//! The strategies at work: each serves turns, one after the other.

mod alternatives;
mod processes;
mod proxied;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::child::Again;
use crate::kit::{Ended, Kit};
use crate::strategy::Strategy;

/// Serves turns.
pub(crate) trait Server {
    /// Makes a turn, with all that is to be done before it. What it gave is appended to `results`, or its digest is
    /// returned where another process has it.
    fn turn(&mut self, index: u64, results: &mut Vec<u8>) -> Result<Option<u64>, Ended>;

    /// Whether no further turn can succeed.
    fn is_dead(&self) -> bool {
        false
    }
}

/// What happens while a strategy serves: written by it, read by the sampler.
#[derive(Debug)]
pub(crate) struct Gauge {
    started: Instant,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    /// The process that serves for this one, or 0.
    process: AtomicU32,
    marks: Mutex<Vec<Mark>>,
}

/// A moment at which something was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Seconds since the start.
    pub(crate) at_s: f64,
    /// What happened.
    pub(crate) what: MarkKind,
}

/// What was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A standby took over.
    Swap,
    /// An instance was made anew, and a caller waited for it.
    Restart,
    /// The instance died, and with it the strategy.
    Death,
}

impl Gauge {
    pub(crate) fn new() -> Self {
        Self {
            started: Instant::now(),
            memory: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            process: AtomicU32::new(0),
            marks: Mutex::new(Vec::new()),
        }
    }

    /// Seconds since the start.
    pub(crate) fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Notes what all linear memories have together.
    pub(crate) fn note_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
        self.memory_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// The most that was noted, be it for less time than passes between two samples.
    pub(crate) fn memory_peak(&self) -> u64 {
        self.memory_peak.load(Ordering::Relaxed)
    }

    pub(crate) fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    pub(crate) fn note_process(&self, id: u32) {
        self.process.store(id, Ordering::Relaxed);
    }

    pub(crate) fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    pub(crate) fn mark(&self, what: MarkKind) {
        let at_s = self.now();
        self.lock_marks().push(Mark { at_s, what });
    }

    pub(crate) fn marks(&self) -> Vec<Mark> {
        self.lock_marks().clone()
    }

    fn lock_marks(&self) -> std::sync::MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts a strategy: afterwards the state is built, where it is built once.
///
/// # Errors
///
/// The state cannot be built.
pub(crate) fn start<'a>(
    strategy: Strategy,
    kit: &'a Kit,
    gauge: &Arc<Gauge>,
    again: &'a Again,
) -> Result<Box<dyn Server + 'a>> {
    let gauge = Arc::clone(gauge);
    Ok(match strategy {
        Strategy::Bare => Box::new(alternatives::Single::start(kit, gauge, false)?),
        Strategy::Restart => Box::new(alternatives::Single::start(kit, gauge, true)?),
        Strategy::Fresh => Box::new(alternatives::Fresh::start(kit, gauge)?),
        Strategy::Process => Box::new(processes::Processes::start(kit, gauge, again)?),
        Strategy::Rotation => Box::new(alternatives::Rotation::start(kit, gauge)?),
        Strategy::Replay => Box::new(proxied::Proxied::start(kit, &gauge, false)?),
        Strategy::Checkpoints => Box::new(proxied::Proxied::start(kit, &gauge, true)?),
    })
}
