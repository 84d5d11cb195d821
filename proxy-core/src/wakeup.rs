//! What wakes the supervisor.

use std::time::Duration;

use crate::locking::lock;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, PoisonError};

/// Wakes the supervisor. Without one, callers do small upkeep themselves.
#[derive(Debug, Default)]
pub(crate) struct Wakeup {
    is_due: Mutex<bool>,
    changed: Condvar,
    /// There are several while one takes the place of another.
    supervisors: AtomicUsize,
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

    /// Waits until something is due, `timeout` has passed, or the supervisor has to go.
    pub(crate) fn wait(&self, timeout: Duration, has_to_go: impl Fn() -> bool) {
        let is_due = lock(&self.is_due);
        let (mut is_due, _) = self
            .changed
            .wait_timeout_while(is_due, timeout, |is_due| !*is_due && !has_to_go())
            .unwrap_or_else(PoisonError::into_inner);
        *is_due = false;
    }

    /// Whether a supervisor waits here.
    pub(crate) fn is_supervised(&self) -> bool {
        self.supervisors.load(Ordering::Acquire) > 0
    }

    /// A supervisor comes, or goes.
    pub(crate) fn supervise(&self, comes: bool) {
        if comes {
            self.supervisors.fetch_add(1, Ordering::AcqRel);
        } else {
            self.supervisors.fetch_sub(1, Ordering::AcqRel);
        }
        self.wake();
    }
}
