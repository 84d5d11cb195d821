//! The events while a strategy serves. The strategy writes them, the sampler reads them.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// The latest sizes, the process that serves, and the moments of replacement.
#[derive(Debug)]
pub(crate) struct Gauge {
    started: Instant,
    memory: AtomicU64,
    memory_peak: AtomicU64,
    /// The process that serves for this one, or 0.
    process: AtomicU32,
    marks: Mutex<Vec<Mark>>,
}

/// A moment at which an instance was replaced, or died.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Seconds since the start.
    pub(crate) at_s: f64,
    pub(crate) what: MarkKind,
}

/// The event at a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// A standby took over.
    Swap,
    /// An instance was replaced while a caller waited.
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

    /// Notes the size of all linear memories together.
    pub(crate) fn note_memory(&self, bytes: u64) {
        self.memory.store(bytes, Ordering::Relaxed);
        self.memory_peak.fetch_max(bytes, Ordering::Relaxed);
    }

    /// The largest size that was noted, even if no sample saw it.
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

    /// Whether a death was marked.
    pub(crate) fn is_dead(&self) -> bool {
        let marks = self.lock_marks();
        marks
            .last()
            .is_some_and(|mark| mark.what == MarkKind::Death)
    }

    fn lock_marks(&self) -> MutexGuard<'_, Vec<Mark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
