//! Where threads wait for each other: the supervisor for work, journaled calls for a swap.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::generation::lock;

/// Wakes the supervisor. Without one, callers do small upkeep themselves.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    pub(super) supervised: AtomicBool,
}

impl Bell {
    pub(crate) fn ring(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }

    /// Waits until somebody rings or `timeout` has passed.
    pub(crate) fn wait(&self, timeout: Duration) {
        let rung = lock(&self.rung);
        let (mut rung, _) = self
            .changed
            .wait_timeout_while(rung, timeout, |rung| !*rung)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        *rung = false;
    }
}

/// Where journaled calls wait while upkeep needs the journal to stand still.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// How many hold it closed.
    closed: Mutex<usize>,
    opened: Condvar,
    /// The same as `closed > 0`, for those who pass.
    is_closed: AtomicBool,
}

/// Keeps the gate closed while it lives.
pub(super) struct HeldBack<'a>(&'a Gate);

impl Gate {
    pub(super) fn close(&self) -> HeldBack<'_> {
        let mut closed = lock(&self.closed);
        *closed += 1;
        self.is_closed.store(true, Ordering::Release);
        HeldBack(self)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn wait(&self) {
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
