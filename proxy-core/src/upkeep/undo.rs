//! The undoing of calls whose entries the store did not take: their callers have got an error, so
//! no later call may see what they did.

use std::time::Instant;

use super::{State, Upkeep};
use crate::event::Event;
use crate::generation::lock;

impl Upkeep {
    pub(crate) fn undo_now(&self) {
        let mut state = lock(&self.state);
        if self.undo_if_due(&mut state) && self.shared.check_outside().is_ok() {
            // An error has been reported by an event where it arose, and the next call tries again.
            let _ = self.replace(&mut state, Instant::now());
        }
        self.publish(&state);
    }

    /// Takes back what calls did that were not acknowledged. The active generation is lost with
    /// them. Returns whether there was anything.
    pub(super) fn undo_if_due(&self, state: &mut State) -> bool {
        let Some(committer) = self.shared.committer() else {
            return false;
        };
        if !committer.is_undo_due() {
            return false;
        }
        // No call appends while this thread has the turn, and none can begin to: the committer takes
        // nothing until it is done.
        let turn = self.shared.journal.turn_for_swap();
        let Some(to) = committer.take_undo() else {
            return false;
        };
        let (undone, last) = {
            let mut journal = self.shared.journal.lock();
            (journal.roll_back(to), journal.last())
        };
        committer.note_undone(last);
        self.shared.journal.note_durable(last);
        self.shared.artifacts.of_entries().sweep();
        if let Some(active) = self.shared.active.load_full() {
            let cause = "the entries of its last calls could not be written to the journal";
            self.shared.taint(&active, cause.to_owned());
        }
        drop(turn);
        // They may have applied some of it.
        self.discard(state);
        self.drop_aside(state);
        state.checkpoints.drop_from(to.next());
        self.hold_journal(state);
        let error = committer.fault();
        self.shared.ledger.emit(&Event::CallsUndone {
            to,
            entries: undone.len(),
            error: error.map_or_else(String::new, |error| error.to_string()),
        });
        true
    }
}
