//! The turns of callers that are open, and the swap that waits for their end.
//!
//! A swap takes place only while no turn is open. If one is due and turns are open, no further turn
//! begins: otherwise turns that overlap would put it off for ever. A turn begun too early is no
//! danger, since a turn notices when another generation serves; so every wait here has a bound.

use std::time::Duration;

use crate::locking::lock;
use crate::sync::{Condvar, Mutex, PoisonError};

/// The open turns of one proxy.
#[derive(Debug, Default)]
pub(crate) struct OpenTurns {
    open: Mutex<Open>,
    changed: Condvar,
}

/// A thread, by any number that tells it from others.
pub(crate) type Opener = u64;

#[derive(Debug, Default)]
struct Open {
    /// The threads that began them.
    openers: Vec<Opener>,
    /// Whether a swap waits for the last of them to end.
    is_due: bool,
    /// How many swaps are taking place, or wait to, one after the other.
    closed: usize,
}

/// No turn begins while it lives.
pub(crate) struct BetweenTurns<'a>(&'a OpenTurns);

impl OpenTurns {
    /// A turn of this thread begins. It waits for a swap that is due, at most for `bound`. A thread
    /// that has begun an open turn does not wait: it might wait for itself.
    pub(crate) fn begin(&self, opener: Opener, bound: Duration) {
        let mut open = lock(&self.open);
        if !open.openers.contains(&opener) {
            open = self
                .changed
                .wait_timeout_while(open, bound, |open| open.is_due || open.closed > 0)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        open.openers.push(opener);
    }

    /// A turn ends that this thread began. Returns whether a swap waited for it.
    pub(crate) fn end(&self, opener: Opener) -> bool {
        let mut open = lock(&self.open);
        let position = open.openers.iter().position(|other| *other == opener);
        if let Some(position) = position {
            open.openers.swap_remove(position);
        }
        let is_last = open.openers.is_empty();
        if is_last {
            self.changed.notify_all();
        }
        is_last && open.is_due
    }

    /// Lets no turn begin, for a swap, if none is open. Otherwise the swap is due from now on if the
    /// caller is `told` of the last turn's end, and no further turn begins.
    pub(crate) fn close(&self, told: bool) -> Option<BetweenTurns<'_>> {
        let mut open = lock(&self.open);
        if open.openers.is_empty() {
            open.is_due = false;
            open.closed += 1;
            return Some(BetweenTurns(self));
        }
        open.is_due = told;
        None
    }

    /// The same, but waits for the turns that are open, at most for `bound`.
    pub(crate) fn close_within(&self, bound: Duration) -> Option<BetweenTurns<'_>> {
        let mut open = lock(&self.open);
        open.closed += 1;
        let closed = BetweenTurns(self);
        open = self
            .changed
            .wait_timeout_while(open, bound, |open| !open.openers.is_empty())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        let is_empty = open.openers.is_empty();
        drop(open);
        is_empty.then_some(closed)
    }

    /// No swap is due any more: lets the turns begin that wait for it.
    pub(crate) fn not_due(&self) {
        let mut open = lock(&self.open);
        if std::mem::take(&mut open.is_due) {
            self.changed.notify_all();
        }
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        lock(&self.open).openers.len()
    }

    /// Whether a swap waits for their end.
    pub(crate) fn is_due(&self) -> bool {
        lock(&self.open).is_due
    }
}

impl Drop for BetweenTurns<'_> {
    fn drop(&mut self) {
        let mut open = lock(&self.0.open);
        open.closed -= 1;
        if open.closed == 0 {
            self.0.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn a_swap_waits_for_the_last_turn_and_is_told_of_its_end() {
        let turns = OpenTurns::default();
        turns.begin(1, LONG);
        turns.begin(1, LONG);
        assert!(turns.close(true).is_none());
        assert!(turns.is_due());
        assert!(!turns.end(1));
        assert!(turns.end(1), "it was the last, and a swap is due");
        let closed = turns.close(true);
        assert!(closed.is_some() && !turns.is_due());
    }

    #[test]
    fn no_turn_begins_while_a_swap_is_due_or_taking_place() {
        let turns = OpenTurns::default();
        turns.begin(1, LONG);
        assert!(turns.close(true).is_none());
        thread::scope(|scope| {
            let second = scope.spawn(|| turns.begin(2, LONG));
            assert!(turns.end(1));
            assert!(!second.is_finished());
            let closed = turns.close(true).expect("the only open turn has ended");
            assert_eq!(turns.count(), 0);
            drop(closed);
            second.join().expect("the swap has taken place");
        });
        assert_eq!(turns.count(), 1);
    }

    #[test]
    fn a_thread_with_an_open_turn_does_not_wait_for_itself() {
        let turns = OpenTurns::default();
        turns.begin(1, LONG);
        assert!(turns.close(true).is_none());
        turns.begin(1, LONG);
        assert_eq!(turns.count(), 2);
    }

    #[test]
    fn waits_have_a_bound() {
        let turns = OpenTurns::default();
        turns.begin(1, LONG);
        assert!(turns.close_within(Duration::from_millis(1)).is_none());
        assert!(turns.close(true).is_none());
        turns.begin(2, Duration::from_millis(1));
        turns.not_due();
        turns.begin(3, LONG);
        assert_eq!(turns.count(), 3);
    }

    #[test]
    fn a_swap_that_nobody_is_told_of_holds_nobody() {
        let turns = OpenTurns::default();
        turns.begin(1, LONG);
        assert!(turns.close(false).is_none());
        turns.begin(2, LONG);
        assert_eq!(turns.count(), 2);
    }
}
