//! How much memory a generation may have, and how calls use it up.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Thresholds;
use crate::memory::LargestGrowth;

/// The one memory limit of a proxy, with the thresholds that are shares of it.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) thresholds: Thresholds,
    limit: AtomicU64,
    /// The size of the active generation at which to wake the supervisor.
    wake_at: AtomicU64,
    largest_growth: LargestGrowth,
    /// The size up to which the active generation grows by its working set, in bytes.
    settled: AtomicU64,
    /// The largest growth beyond that.
    largest_leak: LargestGrowth,
}

impl Budget {
    pub(crate) fn new(thresholds: Thresholds, limit: u64) -> Self {
        Self {
            thresholds,
            limit: AtomicU64::new(limit),
            wake_at: AtomicU64::new(u64::MAX),
            largest_growth: LargestGrowth::default(),
            settled: AtomicU64::new(0),
            largest_leak: LargestGrowth::default(),
        }
    }

    /// The memory limit of a generation, in bytes: the smallest of the configured limit, the
    /// module's maximum and the limit that the module reports.
    pub(crate) fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// The module reports a limit of its own, which counts if it is lower.
    pub(crate) fn lower_limit(&self, limit: u64) {
        self.limit.fetch_min(limit, Ordering::Relaxed);
    }

    /// Where the warning threshold is, in bytes.
    pub(crate) fn warn_bytes(&self) -> u64 {
        self.thresholds.warn_bytes(self.limit(), 0.0)
    }

    /// Whether memories of this size cannot grow as the largest recent call did, or are past the
    /// critical threshold.
    pub(crate) fn is_exhausted(&self, bytes: u64) -> bool {
        let growth = self.largest_growth().max(engine_api::PAGE_BYTES);
        let limit = self.limit();
        bytes.saturating_add(growth) > limit || bytes >= self.thresholds.critical_bytes(limit)
    }

    /// The largest growth of a recent single call, in bytes.
    pub(crate) fn largest_growth(&self) -> u64 {
        self.largest_growth.bytes()
    }

    /// The largest growth of a recent single call beyond the working set, in bytes.
    pub(crate) fn headroom(&self) -> u64 {
        self.largest_leak.bytes()
    }

    /// Growth up to `bytes` is the working set of the active generation. If that is something new,
    /// growth so far says nothing about growth beyond it.
    pub(crate) fn settle_at(&self, bytes: u64, is_new: bool) {
        self.settled.store(bytes, Ordering::Relaxed);
        if is_new {
            self.largest_leak.forget();
        }
    }

    /// Whether a growth is at least half of the largest recent one.
    pub(crate) fn is_large(&self, grown: u64) -> bool {
        grown.saturating_mul(2) >= self.largest_growth()
    }

    /// A call grew the memories to `bytes`. Returns whether to wake the supervisor.
    pub(crate) fn note_growth(&self, grown: u64, bytes: u64) -> bool {
        self.largest_growth.note(grown);
        let settled = self.settled.load(Ordering::Relaxed);
        match grown.min(bytes.saturating_sub(settled)) {
            0 => {}
            leaked => self.largest_leak.note(leaked),
        }
        bytes >= self.wake_at.load(Ordering::Relaxed)
    }

    pub(crate) fn wake_at(&self, bytes: u64) {
        self.wake_at.store(bytes, Ordering::Relaxed);
    }
}
