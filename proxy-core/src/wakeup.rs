//! What wakes the supervisor.

use std::time::Duration;

use crate::locking::lock;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Condvar, Mutex, PoisonError};

/// Wakes the supervisor. Without one, callers do small upkeep themselves.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    is_due: Mutex<bool>,
    changed: Condvar,
    is_supervised: AtomicBool,
}

impl Wakeup {
    pub(crate) fn wake(&self) {
        *lock(&self.is_due) = true;
        self.changed.notify_all();
    }

    /// Whether a supervisor should look at what is due.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_supervised() && *lock(&self.is_due)
    }

    /// Waits until something is due or `timeout` has passed.
    pub(crate) fn wait(&self, timeout: Duration) {
        let is_due = lock(&self.is_due);
        let (mut is_due, _) = self
            .changed
            .wait_timeout_while(is_due, timeout, |is_due| !*is_due)
            .unwrap_or_else(PoisonError::into_inner);
        *is_due = false;
    }

    /// Whether a supervisor waits here.
    pub(crate) fn is_supervised(&self) -> bool {
        self.is_supervised.load(Ordering::Acquire)
    }

    pub(crate) fn supervise(&self, supervised: bool) {
        self.is_supervised.store(supervised, Ordering::Release);
        self.wake();
    }
}
