//! The size of an instance's memories, readable without the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The size of an instance's memories in bytes. The engine writes it when they grow; reading it is
/// one load.
///
/// Clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter(Arc<AtomicU64>);

impl MemoryMeter {
    /// The size of all the instance's memories, in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For engines: notes a new size. Only the thread that runs the instance may call this.
    #[inline]
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}
