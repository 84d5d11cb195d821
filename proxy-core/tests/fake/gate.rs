//! A gate at which tests hold threads.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine_api::Error;

use super::{FakeInstance, HANG};

/// Where a test holds guests, hooks and host functions.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    arrived: usize,
}

impl Gate {
    /// A gate that lets everybody through until it is closed.
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A gate that holds everybody until it is opened.
    pub(crate) fn closed() -> Arc<Self> {
        let gate = Self::new();
        gate.close();
        gate
    }

    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    pub(crate) fn open(&self) {
        self.lock().closed = false;
        self.changed.notify_all();
    }

    /// Waits until this many threads have come to the gate since it was made, held or not.
    pub(crate) fn wait_for(&self, arrived: usize) {
        let end = Instant::now() + HANG;
        let mut state = self.lock();
        while state.arrived < arrived {
            assert!(Instant::now() < end, "only {} came", state.arrived);
            state = self.wait(state);
        }
    }

    /// Passes as a guest, which can be interrupted while it waits.
    pub(crate) fn pass(&self, guest: &FakeInstance) -> Result<(), Error> {
        self.go_through(|| guest.check_time())
    }

    /// Passes as a host function, a hook or a listener, which cannot be interrupted.
    pub(crate) fn pass_host(&self) {
        self.go_through(|| Ok(())).expect("nothing ends it");
    }

    fn go_through(&self, check: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
        let end = Instant::now() + HANG;
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        while state.closed {
            check()?;
            assert!(Instant::now() < end, "nobody opened the gate");
            state = self.wait(state);
        }
        Ok(())
    }

    fn wait<'a>(&self, state: MutexGuard<'a, GateState>) -> MutexGuard<'a, GateState> {
        // An interrupter does not notify, so its flag is polled every few milliseconds.
        let waited = self.changed.wait_timeout(state, Duration::from_millis(2));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
