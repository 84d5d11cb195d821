//! What threads share and wait for, as `proxy-core` has it, under the scheduler of shuttle.

use std::time::Duration;

use crate::planted::Planted;

pub(crate) use shuttle::sync::{Mutex, MutexGuard, atomic};
pub(crate) use shuttle::thread;
pub(crate) use std::sync::{LockResult, PoisonError, TryLockError};

/// Once is enough to find what looking again could break.
pub(crate) const SPINS: u32 = 1;

/// A condition variable that may be told to lose a notification.
#[derive(Debug, Default)]
pub(crate) struct Condvar(shuttle::sync::Condvar);

type Waited<'a, T> = (MutexGuard<'a, T>, shuttle::sync::WaitTimeoutResult);

/// Waits with a bound never end by it: the models must not need it.
impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub(crate) fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait_while(guard, condition)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        bound: Duration,
    ) -> LockResult<Waited<'a, T>> {
        self.0.wait_timeout(guard, bound)
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        bound: Duration,
        condition: impl FnMut(&mut T) -> bool,
    ) -> LockResult<Waited<'a, T>> {
        self.0.wait_timeout_while(guard, bound, condition)
    }

    pub(crate) fn notify_one(&self) {
        if !Planted::WakeOneLost.is_there() {
            self.0.notify_one();
        }
    }

    pub(crate) fn notify_all(&self) {
        if !Planted::WakeAllLost.is_there() {
            self.0.notify_all();
        }
    }
}

/// A place for a value, as crossbeam has it. Under the scheduler, threads take turns anyway.
pub(crate) struct AtomicCell<T>(Mutex<T>);

impl<T> AtomicCell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn swap(&self, value: T) -> T {
        std::mem::replace(&mut *crate::locking::lock(&self.0), value)
    }
}

impl<T: Default> AtomicCell<T> {
    pub(crate) fn take(&self) -> T {
        self.swap(T::default())
    }
}

/// A clock that always finds that a second has passed. Whatever depends on the time has a schedule
/// that does not depend on the machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instant;

impl Instant {
    pub(crate) fn now() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "as the clock of the system")]
    pub(crate) fn elapsed(self) -> Duration {
        Duration::from_secs(1)
    }

    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as the clock of the system"
    )]
    pub(crate) fn checked_add(self, bound: Duration) -> Option<End> {
        Some(End(bound))
    }
}

/// A moment so far away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End(Duration);

impl End {
    pub(crate) fn saturating_duration_since(self, _: Instant) -> Duration {
        self.0
    }
}
