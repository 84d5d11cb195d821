//! The length of the history: a warning where it is long, and with [`History::Checkpoint`] the
//! *fold*, by which a verified checkpoint takes the place of the entries before it.

use std::sync::Arc;
use std::time::Instant;

use super::aside::{Aside, SLICE};
use super::{PAUSE, State, Upkeep};
use crate::checkpoint::{Checkpoint, History};
use crate::event::Event;
use crate::{Compacted, Error, HistoryBound, SequenceNumber, SwapState};

/// A fold is due at this length, or at the bound of the warning if that is lower. It replays what
/// it drops twice and looks at all of the memory, so it should not come too often. At the double of
/// it callers wait for the fold ([`full_at`]).
const FOLD_AT: HistoryBound = HistoryBound {
    entries: 8_192,
    bytes: 16 << 20,
};

/// The length at which upkeep is told of a journal that was folded, or never was.
pub(crate) fn first_look_at(history: History, warning: HistoryBound) -> HistoryBound {
    match history {
        History::Full => warning,
        History::Checkpoint => HistoryBound {
            entries: FOLD_AT.entries.min(warning.entries),
            bytes: FOLD_AT.bytes.min(warning.bytes),
        },
    }
}

/// The length at which a journal of which a fold is due is full: callers that journal faster than work
/// aside replays would only make it longer, and so would those that get the processors while the
/// supervisor waits for one.
fn full_at(warning: HistoryBound) -> HistoryBound {
    first_look_at(History::Checkpoint, warning).doubled()
}

impl Upkeep {
    pub(crate) fn compact_manually(&self) -> Result<Compacted, Error> {
        let mut state = self.by_hand()?;
        self.reap(&mut state, Instant::now());
        let started = Instant::now();
        let size = &self.shared.journal.size;
        let (entries_before, bytes_before) = (size.entries(), size.bytes());
        self.shared.compact(self.shared.journal.standby_applied());
        let folded = match state.checkpoints.history() {
            History::Checkpoint => self.fold_by_hand(&mut state),
            History::Full => Ok(()),
        };
        self.publish(&state);
        folded?;
        Ok(Compacted {
            entries_before,
            entries: size.entries(),
            bytes_before,
            bytes: size.bytes(),
            base: state.checkpoints.base().map(|base| base.sequence),
            duration: started.elapsed(),
        })
    }

    /// Warns if the journal has become long, and notes that a fold is due.
    pub(super) fn look_at_length(&self, state: &mut State) {
        let size = &self.shared.journal.size;
        if !size.is_long() {
            return;
        }
        let (entries, bytes) = (size.entries(), size.bytes());
        let warning = self.options.history_bound;
        if warning.is_reached(entries, bytes) {
            self.shared
                .ledger
                .emit(&Event::HistoryLong { entries, bytes });
        }
        state.fold_due = state.checkpoints.history() == History::Checkpoint;
        self.shared.journal.lock().look_again_when_doubled();
    }

    /// Whether upkeep may work on a fold that is due.
    fn can_fold(&self, state: &State) -> bool {
        state.fold_due && self.loan.is_home() && self.may_fold(state)
    }

    /// Whether nothing is in the way of a fold but what is done aside.
    fn may_fold(&self, state: &State) -> bool {
        let is_free = matches!(state.swap, SwapState::Idle | SwapState::Ready)
            && state.draining.is_none()
            && !self.is_urgent();
        let is_paused = state
            .checkpoint_pause
            .is_some_and(|until| Instant::now() < until);
        state.checkpoints.are_taken() && is_free && !is_paused
    }

    /// Says from what length on calls wait for a fold. None wait for one that will not come soon.
    pub(super) fn say_when_full(&self, state: &State) {
        let will_come = state.checkpoints.history() == History::Checkpoint
            && self.shared.wakeup.is_supervised()
            && self.shared.is_enabled()
            && self.may_fold(state);
        let length = will_come.then(|| full_at(self.options.history_bound));
        self.shared.journal.fill_at(length);
    }

    /// Works for a slice on a fold that is due. Returns whether there was one.
    pub(super) fn fold_if_due(&self, state: &mut State) -> bool {
        if !self.can_fold(state) {
            return false;
        }
        let started = Instant::now();
        let size = &self.shared.journal.size;
        let full_at = full_at(self.options.history_bound);
        let outcome = if full_at.is_reached(size.entries(), size.bytes()) {
            // Without a supervisor too.
            self.shared.journal.fill_at(Some(full_at));
            self.advance_fold(state, started + self.options.prepare_timeout)
        } else if !self.loan.is_attended() {
            // Nobody knows when the next tick will be.
            self.advance_fold(state, started + SLICE)
        } else if state.aside.is_none() {
            self.step_fold(state)
        } else {
            Ok(())
        };
        // An error has been reported by an event where it arose.
        if outcome.is_err() {
            state.checkpoint_pause = Some(Instant::now() + PAUSE);
        }
        let goes_on = state.aside.is_some() || self.can_fold(state);
        if self.loan.is_attended() {
            self.work_aside(state);
        }
        state.aside_took = goes_on.then(|| started.elapsed());
        true
    }

    /// Goes on with a fold until `end`, or until something else is due. With upkeep's lock.
    fn advance_fold(&self, state: &mut State, end: Instant) -> Result<(), Error> {
        while self.can_fold(state) {
            if state.aside.is_none() {
                self.step_fold(state)?;
            }
            self.advance_aside(state, end);
            if state.aside.is_some() || Instant::now() >= end {
                break;
            }
        }
        Ok(())
    }

    /// Lets the newest checkpoint take the place of the entries up to it if it was verified; or
    /// else begins to verify it; or to make one, if the newest has less than half of the journal.
    fn step_fold(&self, state: &mut State) -> Result<(), Error> {
        if self.is_folded(state) {
            state.fold_due = false;
            return Ok(());
        }
        let newest = state.checkpoints.newest_after_base().cloned();
        let is_near = |checkpoint: &Arc<Checkpoint>| {
            let journal = self.shared.journal.lock();
            2 * journal.count_after(checkpoint.sequence) <= journal.len()
        };
        let Some(checkpoint) = newest.filter(is_near) else {
            let continued = self.continued_by_next(state);
            let begun = self.begin_scratch(state, continued);
            let begun = begun.inspect_err(|error| self.checkpoint_failed(error))?;
            state.aside = Some(Aside::Scratch(begun));
            return Ok(());
        };
        if checkpoint.is_verified() {
            return self.put_in_place(state, &checkpoint);
        }
        let begun = self.begin_verification(state, checkpoint);
        let begun = begun.inspect_err(|error| self.checkpoint_failed(error))?;
        state.aside = Some(Aside::Verification(begun));
        Ok(())
    }

    /// Whether there is nothing after the base.
    fn is_folded(&self, state: &State) -> bool {
        let base = state.checkpoints.base();
        let since = base.map_or(SequenceNumber::ZERO, |base| base.sequence);
        self.shared.journal.lock().count_after(since) == 0
    }

    /// Takes a checkpoint that has all of the journal, unless there is one, verifies it, and lets it
    /// take the place of the entries up to it.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`], also if the checkpoint was rejected or its verification took longer
    /// than a preparation may; [`Error::Divergence`].
    fn fold_by_hand(&self, state: &mut State) -> Result<(), Error> {
        state.checkpoints.check_taken()?;
        if self.is_folded(state) {
            state.fold_due = false;
            return Ok(());
        }
        let has_all = |checkpoint: &Arc<Checkpoint>| {
            self.shared.journal.lock().count_after(checkpoint.sequence) == 0
        };
        if !state.checkpoints.newest_after_base().is_some_and(has_all) {
            self.checkpoint_thoroughly(state)?;
        }
        let Some(checkpoint) = state.checkpoints.newest_after_base().cloned() else {
            return Err(no_fold("it is gone"));
        };
        if !checkpoint.is_verified() {
            self.verify_now(state, &checkpoint)?;
        }
        let newest = state.checkpoints.newest_after_base();
        if !newest.is_some_and(|newest| Arc::ptr_eq(newest, &checkpoint)) {
            return Err(no_fold(
                "it differed from a replay; see the event `checkpoint-rejected`",
            ));
        }
        if !checkpoint.is_verified() {
            return Err(no_fold(
                "its comparison with a replay did not end; see the event `checkpoint-error`, raise \
                 the prepare timeout, or try again",
            ));
        }
        self.put_in_place(state, &checkpoint)
    }

    /// Goes on with the verification of a checkpoint, or begins it, for as long as a preparation may
    /// take. The rest is left aside.
    fn verify_now(&self, state: &mut State, checkpoint: &Arc<Checkpoint>) -> Result<(), Error> {
        self.take_back_aside(state);
        let is_begun = matches!(&state.aside, Some(Aside::Verification(begun))
            if Arc::ptr_eq(&begun.checkpoint, checkpoint));
        if !is_begun {
            self.drop_aside(state);
            let begun = self.begin_verification(state, Arc::clone(checkpoint));
            let begun = begun.inspect_err(|error| self.checkpoint_failed(error))?;
            state.aside = Some(Aside::Verification(begun));
        }
        let end = Instant::now() + self.options.prepare_timeout;
        while state.aside.is_some() && Instant::now() < end && !self.is_urgent() {
            self.advance_aside(state, end);
        }
        Ok(())
    }

    /// Folds for a durable checkpoint, for which there may be nothing to fold.
    pub(super) fn fold_for_keeping(&self, state: &mut State) -> Result<(), Error> {
        self.fold_by_hand(state)
    }

    fn put_in_place(&self, state: &mut State, checkpoint: &Arc<Checkpoint>) -> Result<(), Error> {
        // Entries that may have to be undone are dropped for no checkpoint.
        let pending = self.shared.committer().and_then(|own| own.pending());
        let is_written = pending.is_none_or(|batch| batch.wait().is_ok());
        if !is_written || checkpoint.sequence > self.shared.journal.durable() {
            return Err(no_fold("entries in it are not written to the store"));
        }
        self.catch_up_to(state, checkpoint.sequence)?;
        self.replace_history(state, checkpoint);
        Ok(())
    }

    /// A standby that waits must have what the journal drops.
    fn catch_up_to(&self, state: &mut State, sequence: SequenceNumber) -> Result<(), Error> {
        // Entries in between may have been dropped, because what they made is gone.
        let is_behind = |state: &State| {
            let standby = state.standby.as_ref();
            standby.is_some_and(|standby| {
                let applied = standby.generation.applied();
                let journal = self.shared.journal.lock();
                journal.count_after(applied) > journal.count_after(sequence)
            })
        };
        if is_behind(state) {
            self.catch_up(state)?;
        }
        debug_assert!(!is_behind(state), "it has caught up");
        Ok(())
    }

    /// Drops the entries that a verified checkpoint has, from the journal and from its history.
    fn replace_history(&self, state: &mut State, checkpoint: &Arc<Checkpoint>) {
        // The history of an instance aside begins before the new base.
        self.drop_aside(state);
        if let Some(standby) = &mut state.standby {
            // Its history begins with what is dropped here.
            standby.generation.forget_history();
            standby.is_touched = true;
        }
        let sequence = checkpoint.sequence;
        state.checkpoints.become_base(checkpoint);
        state.fold_due = false;
        let first_look = first_look_at(History::Checkpoint, self.options.history_bound);
        let entries = self.shared.journal.fold(sequence, first_look);
        self.hold_journal(state);
        self.shared.artifacts.of_entries().sweep();
        self.shared
            .ledger
            .emit(&Event::HistoryFolded { sequence, entries });
    }
}

fn no_fold(reason: &str) -> Error {
    Error::NoCheckpoint {
        reasons: reason.to_owned(),
    }
}
