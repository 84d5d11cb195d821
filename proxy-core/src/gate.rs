//! Where journaled calls wait while a swap needs the journal to stand still.

use crate::locking::lock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex};

/// Where journaled calls wait while upkeep needs the journal to stand still.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// The number of [`HeldBack`]s.
    closed: Mutex<usize>,
    opened: Condvar,
    /// The same as `closed > 0`, for calls, which read it without the lock.
    is_closed: AtomicBool,
}

/// Keeps the gate closed while it lives.
pub(crate) struct HeldBack<'a>(&'a Gate);

impl Gate {
    pub(crate) fn close(&self) -> HeldBack<'_> {
        let mut closed = lock(&self.closed);
        *closed += 1;
        self.is_closed.store(true, Ordering::Release);
        HeldBack(self)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(crate) fn wait(&self) {
        let closed = lock(&self.closed);
        drop(self.opened.wait_while(closed, |closed| *closed > 0));
    }
}

impl Drop for HeldBack<'_> {
    fn drop(&mut self) {
        let mut closed = lock(&self.0.closed);
        *closed -= 1;
        if *closed == 0 {
            self.0.is_closed.store(false, Ordering::Release);
            self.0.opened.notify_all();
        }
    }
}
