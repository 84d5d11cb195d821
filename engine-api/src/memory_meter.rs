//! The size of an instance's memories, readable without the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of an instance's memories in bytes, and the growth that they were refused. The engine
/// writes both when the memories grow; reading one is one load.
///
/// Clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter(Arc<Readings>);

#[derive(Debug, Default)]
struct Readings {
    bytes: AtomicU64,
    /// The smallest size that was refused; zero for none.
    refused: AtomicU64,
}

impl MemoryMeter {
    /// The size of all the instance's memories, in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// Whether [`Instance::growth_refused`](crate::Instance::growth_refused) has something to tell.
    /// This does not count as asking it.
    #[must_use]
    #[inline]
    pub fn is_growth_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed) != 0
    }

    /// For engines: notes a new size. Only the thread that runs the instance may call this.
    #[inline]
    pub fn set(&self, bytes: u64) {
        self.0.bytes.store(bytes, Ordering::Relaxed);
    }

    /// For engines: notes that the memories were refused to become `bytes` large together. Only the
    /// thread that runs the instance may call this.
    pub fn note_refused(&self, bytes: u64) {
        let before = self.0.refused.load(Ordering::Relaxed);
        if before == 0 || bytes < before {
            self.0.refused.store(bytes, Ordering::Relaxed);
        }
    }

    /// For engines: the smallest size that was refused since the last call of this, in bytes. Only
    /// the thread that runs the instance may call this.
    #[must_use]
    pub fn take_refused(&self) -> Option<u64> {
        let refused = self.0.refused.load(Ordering::Relaxed);
        self.0.refused.store(0, Ordering::Relaxed);
        (refused != 0).then_some(refused)
    }
}
