//! The length of the history: a warning where it is long, and with [`History::Checkpoint`] the
//! *fold*, by which a verified checkpoint takes the place of the entries before it.

use std::sync::Arc;
use std::time::Instant;

use super::checkpointing::PAUSE;
use super::{State, Upkeep};
use crate::checkpoint::{Checkpoint, History};
use crate::event::Event;
use crate::{Compacted, Error, HistoryBound, SequenceNumber, SwapState};

/// A fold is due at this length, or at the bound of the warning if that is lower. It replays what
/// it drops twice and looks at all of the memory, so it should not come too often.
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

impl Upkeep {
    pub(crate) fn compact_manually(&self) -> Result<Compacted, Error> {
        let mut state = self.by_hand()?;
        self.reap(&mut state, Instant::now());
        let started = Instant::now();
        let size = &self.shared.journal.size;
        let (entries_before, bytes_before) = (size.entries(), size.bytes());
        self.shared.compact(self.shared.journal.standby_applied());
        let folded = match state.checkpoints.history() {
            History::Checkpoint => self.fold(&mut state, false),
            History::Full => Ok(false),
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

    /// Folds the journal if that is due and nothing else is. Returns whether there was a fold to
    /// make.
    pub(super) fn fold_if_due(&self, state: &mut State) -> bool {
        let is_free = matches!(state.swap, SwapState::Idle | SwapState::Ready)
            && state.draining.is_none()
            && !self.is_urgent();
        let is_paused = state
            .checkpoint_pause
            .is_some_and(|until| Instant::now() < until);
        if !state.fold_due || !state.checkpoints.are_taken() || !is_free || is_paused {
            return false;
        }
        // If callers journal faster than folds replay, the journal would only grow.
        let size = &self.shared.journal.size;
        let is_too_long = first_look_at(History::Checkpoint, self.options.history_bound)
            .doubled()
            .is_reached(size.entries(), size.bytes());
        let _held = is_too_long.then(|| self.shared.journal.hold_back());
        // An error has been reported by an event where it arose.
        let outcome = self.fold(state, true);
        state.checkpoint_pause = outcome.is_err().then(|| Instant::now() + PAUSE);
        true
    }

    /// Takes a checkpoint that has most of the journal, unless there is one, verifies it, and lets
    /// it take the place of the entries up to it. Returns whether it did, or gave way to a call
    /// that waits for a dead generation to be replaced.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`], also if the checkpoint was rejected; [`Error::Divergence`].
    fn fold(&self, state: &mut State, gives_way: bool) -> Result<bool, Error> {
        state.checkpoints.check_taken()?;
        let base = state.checkpoints.base();
        let since = base.map_or(SequenceNumber::ZERO, |base| base.sequence);
        if self.shared.journal.lock().count_after(since) == 0 {
            state.fold_due = false;
            return Ok(false);
        }
        let Some(checkpoint) = self.checkpoint_to_fold(state, gives_way)? else {
            return Ok(false);
        };
        if !checkpoint.is_verified() {
            self.verify_checkpoint(state);
        }
        let is_kept = state
            .checkpoints
            .newest()
            .is_some_and(|newest| Arc::ptr_eq(newest, &checkpoint));
        if !is_kept {
            return Err(Error::NoCheckpoint {
                reasons: "it differed from a replay; see the event `checkpoint-rejected`"
                    .to_owned(),
            });
        }
        if !checkpoint.is_verified() {
            if gives_way {
                return Ok(false);
            }
            return Err(Error::NoCheckpoint {
                reasons: "its comparison with a replay did not end; see the event \
                          `checkpoint-error`, and try again"
                    .to_owned(),
            });
        }
        self.catch_up_to(state, checkpoint.sequence)?;
        self.replace_history(state, &checkpoint);
        Ok(true)
    }

    /// The newest checkpoint if it has at least half of the journal, or else a newer one. `None` if
    /// that gave way.
    fn checkpoint_to_fold(
        &self,
        state: &mut State,
        gives_way: bool,
    ) -> Result<Option<Arc<Checkpoint>>, Error> {
        let is_near = |checkpoint: &Arc<Checkpoint>| {
            let journal = self.shared.journal.lock();
            // By hand, what has come since counts too.
            let behind = journal.count_after(checkpoint.sequence);
            if gives_way {
                2 * behind <= journal.len()
            } else {
                behind == 0
            }
        };
        if let Some(newest) = state
            .checkpoints
            .newest_after_base()
            .filter(|one| is_near(one))
        {
            return Ok(Some(Arc::clone(newest)));
        }
        let taken = self.checkpoint_to_continue(state, gives_way)?;
        Ok(taken.and_then(|_| state.checkpoints.newest_after_base().cloned()))
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
