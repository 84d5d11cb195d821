//! The size of an instance's memories, where it can be read without asking the instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that an instance's memories have. The engine writes it as they grow; reading it is one
/// load.
///
/// Clones are the same meter.
#[derive(Clone, Debug, Default)]
pub struct MemoryMeter(Arc<AtomicU64>);

impl MemoryMeter {
    /// What the memories have.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// For engines: they have that much now. Only the thread that runs the instance says so.
    #[inline]
    pub fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }
}
