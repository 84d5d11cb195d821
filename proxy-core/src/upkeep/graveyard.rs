//! Old generations on their way out, freed by a thread that no call waits for.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::attendance::{Attendance, Attendant};
use crate::generation::{Generation, lock};

/// A generation without any other reference.
#[derive(Debug)]
pub(crate) struct Buried {
    pub(super) generation: Arc<Generation>,
    /// How long calls kept it.
    pub(super) drained: Duration,
}

/// Where old generations wait for the reaper. Without a reaper, the thread that brings them frees
/// them.
#[derive(Debug, Default)]
pub(crate) struct Graveyard {
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// Counts a generation as being freed until it is dropped.
pub(super) struct Freeing<'a>(&'a Graveyard);

impl Drop for Freeing<'_> {
    fn drop(&mut self) {
        lock(&self.0.queue).freeing -= 1;
        self.0.changed.notify_all();
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Buried>,
    reapers: Attendance,
    /// Generations that a reaper is freeing.
    freeing: usize,
}

impl Graveyard {
    /// Leaves a generation to the reaper, or gives it back if there is none.
    pub(super) fn add(&self, buried: Buried) -> Option<Buried> {
        let mut queue = lock(&self.queue);
        if queue.reapers.is_empty() {
            return Some(buried);
        }
        queue.waiting.push_back(buried);
        drop(queue);
        self.changed.notify_all();
        None
    }

    /// A reaper comes.
    pub(super) fn attend(&self) -> Attendant {
        lock(&self.queue).reapers.attend()
    }

    /// Tells a reaper to go, after it has freed what waits.
    pub(super) fn leave(&self, reaper: Attendant) {
        lock(&self.queue).reapers.leave(reaper);
        self.changed.notify_all();
    }

    /// For the reaper: the next generation, or `None` when it must go.
    pub(super) fn next(&self, own: Attendant) -> Option<(Buried, Freeing<'_>)> {
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && queue.reapers.has(own);
        let mut queue = self.wait_while(is_idle);
        let buried = queue.waiting.pop_front()?;
        queue.freeing += 1;
        Some((buried, Freeing(self)))
    }

    /// Waits until everything there is has been freed.
    pub(super) fn wait(&self) {
        drop(self.wait_while(|queue| !queue.waiting.is_empty() || queue.freeing > 0));
    }

    fn wait_while(&self, so: impl FnMut(&mut Queue) -> bool) -> MutexGuard<'_, Queue> {
        let changed = self.changed.wait_while(lock(&self.queue), so);
        changed.unwrap_or_else(PoisonError::into_inner)
    }
}
