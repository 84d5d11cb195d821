//! Faults that are planted, to see that a model finds them.

use std::cell::Cell;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A thread that leaves the lane wakes nobody.
    WakeOneLost,
    /// Whoever wakes all wakes nobody.
    WakeAllLost,
    /// A swap lets go of the turn before it stores the pointer.
    TurnReleasedEarly,
    /// A swap does not apply what was journaled during the preparation.
    TailLeftOut,
    /// A swap stores the pointer, and retires the old generation after it has let go of the turn.
    RetiredLate,
    /// A call runs without the turn.
    NoTurn,
    /// A call is acknowledged when its record is put into a batch.
    AcknowledgedEarly,
    /// A record is put into a batch after the turn is over.
    PutLate,
    /// An undo leaves the entries in the journal.
    UndoKeepsEntries,
    /// An undo leaves the active generation as it is.
    UndoKeepsState,
}

thread_local! {
    // All threads of a model run on the thread that checks it.
    static PLANTED: Cell<Option<Planted>> = const { Cell::new(None) };
}

impl Planted {
    pub(crate) fn is_there(self) -> bool {
        PLANTED.get() == Some(self)
    }

    /// Plants it for what runs.
    pub fn during<R>(self, run: impl FnOnce() -> R) -> R {
        PLANTED.set(Some(self));
        let result = run();
        PLANTED.set(None);
        result
    }
}
