//! Lets the workers of a pool do something one after the other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Turns for workers, in the order of their numbers.
///
/// The memory of the guest is laid out by the order in which it allocates and frees. Workers that
/// free their stacks in turn leave the same holes each time, and the next pool fits into them. In a
/// race the guest would sooner or later need a stack more.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Whether each worker has had its turn, or does without.
    passed: Mutex<Vec<bool>>,
    changed: Condvar,
}

/// The turn of one worker. It passes when this is dropped, also if it was never waited for.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    worker: u32,
}

impl Turns {
    pub(crate) fn new(workers: u32) -> Self {
        Self {
            passed: Mutex::new(vec![false; workers as usize]),
            changed: Condvar::new(),
        }
    }

    /// The turn of the worker with this number. The first is 1.
    pub(crate) fn of(&self, worker: u32) -> Turn<'_> {
        Turn {
            turns: self,
            worker,
        }
    }

    /// Lets the turn of this worker pass.
    pub(crate) fn pass(&self, worker: u32) {
        if let Some(passed) = self.passed().get_mut(position(worker)) {
            *passed = true;
        }
        self.changed.notify_all();
    }

    /// Waits until all have had their turns.
    pub(crate) fn wait_for_all(&self) {
        self.wait_for(usize::MAX);
    }

    /// Waits until so many have had their turns, from the first on.
    fn wait_for(&self, count: usize) {
        let is_early = |passed: &mut Vec<bool>| passed.iter().take(count).any(|passed| !passed);
        let waited = self.changed.wait_while(self.passed(), is_early);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn passed(&self) -> MutexGuard<'_, Vec<bool>> {
        self.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until all workers before this one have had their turns.
    pub(crate) fn wait(&self) {
        self.turns.wait_for(position(self.worker));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.pass(self.worker);
    }
}

fn position(worker: u32) -> usize {
    worker.saturating_sub(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_take_their_turns_in_order_and_do_not_wait_for_one_that_is_gone() {
        let turns = Turns::new(4);
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for worker in [4, 3, 2, 1] {
                let (turns, order) = (&turns, &order);
                scope.spawn(move || {
                    let turn = turns.of(worker);
                    if worker == 2 {
                        return;
                    }
                    turn.wait();
                    order.lock().unwrap().push(worker);
                });
            }
        });
        assert_eq!(order.into_inner().unwrap(), [1, 3, 4]);
    }

    #[test]
    fn nobody_goes_on_until_all_have_had_their_turns() {
        let turns = Turns::new(3);
        let passed = Mutex::new(0);
        std::thread::scope(|scope| {
            for worker in [1, 2] {
                let (turns, passed) = (&turns, &passed);
                scope.spawn(move || {
                    let turn = turns.of(worker);
                    *passed.lock().unwrap() += 1;
                    drop(turn);
                    turns.wait_for_all();
                    assert_eq!(*passed.lock().unwrap(), 3);
                });
            }
            *passed.lock().unwrap() += 1;
            turns.pass(3);
        });
    }
}
