//! Locks that go on after a panic.

use crate::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a panic of another holder does not close.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
