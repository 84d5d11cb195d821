//! Records that are appended together, and who waits for them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::journal_store::StoreError;
use crate::locking::lock;
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Whether the store has taken the records.
type Outcome = Result<(), Arc<StoreError>>;

/// Records that are appended together. Threads and tasks wait for it.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Outcome>,
    /// How many threads sleep that nobody has woken.
    asleep: usize,
    /// Those of the tasks that wait.
    wakers: Vec<Waker>,
}

/// A task's place among those that wait for a batch.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<usize>);

impl Batch {
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut state = lock(&self.state);
        state.outcome = Some(outcome);
        let wakers = std::mem::take(&mut state.wakers);
        self.wake_some(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the store has it.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(lock(&self.state).outcome, Some(Ok(())))
    }

    /// Wakes two of those that wait, and each of them wakes two more. So it is not for the thread that
    /// settles batches to wake them all, and they do not all come for the guest at one moment.
    fn wake_some(&self, mut state: MutexGuard<'_, State>) {
        let woken = state.asleep.min(2);
        state.asleep -= woken;
        drop(state);
        for _ in 0..woken {
            self.settled.notify_one();
        }
    }

    /// Waits until the batch is durable, or is lost.
    pub(crate) fn wait(&self) -> Outcome {
        let mut state = lock(&self.state);
        if let Some(outcome) = &state.outcome {
            return outcome.clone();
        }
        state.asleep += 1;
        let outcome = loop {
            state = self
                .settled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            if let Some(outcome) = &state.outcome {
                break outcome.clone();
            }
        };
        self.wake_some(state);
        outcome
    }

    /// The same for a task, which is woken then. `place` is the task's own.
    pub(crate) fn poll(&self, context: &Context<'_>, place: &mut Place) -> Poll<Outcome> {
        let mut state = lock(&self.state);
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let waker = context.waker();
        if let Some(own) = place.0.and_then(|place| state.wakers.get_mut(place)) {
            own.clone_from(waker);
        } else {
            place.0 = Some(state.wakers.len());
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn everybody_who_waits_is_woken() {
        for waiting in [1, 2, 3, 100] {
            let batch = Arc::new(Batch::default());
            let threads: Vec<_> = (0..waiting)
                .map(|_| {
                    let batch = Arc::clone(&batch);
                    thread::spawn(move || batch.wait())
                })
                .collect();
            // Some of them sleep by now, and others come later.
            thread::sleep(std::time::Duration::from_millis(5));
            batch.settle(Ok(()));
            for thread in threads {
                assert!(thread.join().unwrap().is_ok());
            }
        }
    }
}
