//! How much memory a generation may have, and how calls use it up.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use engine_api::FuncIndex;

use crate::Thresholds;
use crate::locking::lock;
use crate::memory::LargestGrowth;

/// How long an export is not tried again after the first call of it that found no room, and at
/// most.
const MISFIT_PAUSE: Duration = Duration::from_secs(1);
const MISFIT_PAUSE_MAX: Duration = Duration::from_mins(1);

/// The one memory limit of a proxy, with the thresholds that are shares of it.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) thresholds: Thresholds,
    /// Whether the memories can grow below the limit. If not, their size says nothing.
    sees_growth: bool,
    limit: AtomicU64,
    /// The size of the active generation at which to wake the supervisor.
    wake_at: AtomicU64,
    largest_growth: LargestGrowth,
    /// The size up to which the active generation grows by its working set, in bytes.
    settled: AtomicU64,
    /// The largest growth beyond that.
    largest_leak: LargestGrowth,
    /// The exports whose calls found no room beside the live state.
    misfits: Misfits,
}

/// The exports whose calls ran out of memory on a generation that the live state alone filled.
/// Each further attempt would cost a rebuild.
#[derive(Debug, Default)]
struct Misfits {
    /// Whether there are any, for calls that free objects, which read it without the lock.
    any: AtomicBool,
    /// Whether one of them may be pausing, for all calls, which read it without the lock. It is
    /// written under the lock.
    is_pausing: AtomicBool,
    /// How many times each has failed, and until when it is not tried again.
    exports: Mutex<HashMap<FuncIndex, (u32, Instant)>>,
}

impl Budget {
    /// For a module whose memories begin with `bytes_min` together.
    pub(crate) fn new(thresholds: Thresholds, limit: u64, bytes_min: u64) -> Self {
        Self {
            thresholds,
            sees_growth: bytes_min < limit,
            limit: AtomicU64::new(limit),
            wake_at: AtomicU64::new(u64::MAX),
            largest_growth: LargestGrowth::default(),
            settled: AtomicU64::new(0),
            largest_leak: LargestGrowth::default(),
            misfits: Misfits::default(),
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

    /// Whether the size of the memories tells how full they are. It does not if they begin at their
    /// limit.
    pub(crate) fn sees_growth(&self) -> bool {
        self.sees_growth
    }

    /// The size of memories that counts as the warning threshold, in bytes. No size does where
    /// growth cannot be seen.
    pub(crate) fn warn_bytes(&self) -> u64 {
        if self.sees_growth {
            self.warn_share()
        } else {
            u64::MAX
        }
    }

    /// Where the warning threshold is, in bytes.
    pub(crate) fn warn_share(&self) -> u64 {
        self.thresholds.warn_bytes(self.limit(), 0.0)
    }

    /// Where the critical threshold is, in bytes.
    pub(crate) fn critical_share(&self) -> u64 {
        self.thresholds.critical_bytes(self.limit())
    }

    /// Whether memories of this size cannot grow as the largest recent call did, or are past the
    /// critical threshold.
    pub(crate) fn is_exhausted(&self, bytes: u64) -> bool {
        let growth = self.largest_growth().max(engine_api::PAGE_BYTES);
        let is_full = bytes.saturating_add(growth) > self.limit() || bytes >= self.critical_share();
        self.sees_growth && is_full
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
        // The generation's size is stored before this looks, and whoever sets the size to wake at looks
        // at the generation's afterwards: one of the two sees the other.
        fence(Ordering::SeqCst);
        bytes >= self.wake_at.load(Ordering::Relaxed)
    }

    /// A call found no room beside the live state. The export is not tried again for 1 s, then 2 s,
    /// and so on up to a minute, unless objects are freed.
    pub(crate) fn note_misfit(&self, func: FuncIndex, now: Instant) {
        let mut exports = lock(&self.misfits.exports);
        let (failures, until) = exports.entry(func).or_insert((0, now));
        let pause = MISFIT_PAUSE * 2_u32.pow((*failures).min(10));
        *until = now + pause.min(MISFIT_PAUSE_MAX);
        *failures = failures.saturating_add(1);
        self.misfits.any.store(true, Ordering::Relaxed);
        self.misfits.is_pausing.store(true, Ordering::Relaxed);
    }

    /// Whether a call of this export cannot fit into memories of this size, as far as is known.
    #[inline]
    pub(crate) fn is_misfit(&self, func: FuncIndex, bytes: u64) -> bool {
        self.misfits.is_pausing.load(Ordering::Relaxed) && self.is_known_misfit(func, bytes)
    }

    #[cold]
    fn is_known_misfit(&self, func: FuncIndex, bytes: u64) -> bool {
        let exports = lock(&self.misfits.exports);
        let now = Instant::now();
        let is_pausing = |(_, until): &(u32, Instant)| now < *until;
        if !exports.values().any(is_pausing) {
            // Later calls need not look, nor take the lock for it.
            self.misfits.is_pausing.store(false, Ordering::Relaxed);
            return false;
        }
        exports.get(&func).is_some_and(is_pausing) && self.is_exhausted(bytes)
    }

    /// Objects were freed: there may be room.
    pub(crate) fn forget_misfits(&self) {
        if self.misfits.any.swap(false, Ordering::Relaxed) {
            let mut exports = lock(&self.misfits.exports);
            exports.clear();
            self.misfits.is_pausing.store(false, Ordering::Relaxed);
        }
    }

    /// From this size on calls wake the supervisor. One that reached it before is for the caller to
    /// see.
    pub(crate) fn wake_at(&self, bytes: u64) {
        self.wake_at.store(bytes, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}
