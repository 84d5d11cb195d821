//! Records that are appended together, and who waits for them.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::journal_store::StoreError;
use crate::locking::lock;
use crate::sync::{Condvar, Mutex, PoisonError};

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
        drop(state);
        self.settled.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Whether the store has it.
    pub(crate) fn is_durable(&self) -> bool {
        matches!(lock(&self.state).outcome, Some(Ok(())))
    }

    /// Waits until the batch is durable, or is lost.
    pub(crate) fn wait(&self) -> Outcome {
        let mut state = lock(&self.state);
        loop {
            if let Some(outcome) = &state.outcome {
                return outcome.clone();
            }
            state = self
                .settled
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
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
