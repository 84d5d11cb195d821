//! Taking, choosing, comparing and rejecting checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replay::{Entries, Noted, Replay};
use super::{State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::generation::{Blueprint, Generation};
use crate::state::Step;
use crate::{Checkpointed, Error, Reason, SequenceNumber, Source, SwapState};

/// The verdict on a checkpoint that was compared with a replay.
enum Verdict {
    Same,
    Differs(String),
    /// It gave way to a call that waits for upkeep.
    GaveWay,
}

impl Upkeep {
    pub(crate) fn checkpoint_manually(&self) -> Result<Checkpointed, Error> {
        let mut state = self.by_hand()?;
        state.checkpoints.check_taken()?;
        self.reap(&mut state, Instant::now());
        let outcome = if state.standby.is_some() {
            self.catch_up(&mut state)
                .and_then(|_| self.checkpoint_waiting(&mut state))
        } else {
            self.checkpoint_thoroughly(&mut state)
        };
        self.publish(&state);
        outcome
    }

    /// The newest checkpoint, if a standby can be made from one. A checkpoint that is due for
    /// comparison with a replay is compared first, if there is time.
    pub(super) fn choose_checkpoint(
        &self,
        state: &mut State,
        blueprint: &Blueprint,
        reason: Reason,
    ) -> Option<Arc<Checkpoint>> {
        if !state.checkpoints.are_taken() || blueprint.module.snapshots().is_err() {
            return state.checkpoints.base().cloned();
        }
        if reason == Reason::Manual {
            if state.checkpoints.is_verification_due() {
                self.verify_checkpoint(state);
            }
            if self.would_outgrow(state) {
                return None;
            }
        }
        state.checkpoints.newest().cloned()
    }

    /// Takes a checkpoint of a new standby, if one is due, before anything else runs on it. A
    /// failure to take one is no failure of the standby.
    pub(super) fn checkpoint_fresh(
        &self,
        state: &mut State,
        generation: &Generation,
        source: Source,
        tail: Duration,
    ) {
        let is_due = match source {
            Source::Replay => true,
            // One with too long a history is left to the background, which makes it from nothing.
            Source::Checkpoint(_) => {
                state.checkpoints.is_long(tail)
                    && !self.is_outgrown(state, generation.history_len())
            }
        };
        if state.checkpoints.are_taken() && is_due {
            // A failure has been reported.
            let _ = self.keep_checkpoint(state, generation, Instant::now());
        }
    }

    /// A checkpoint of the standby that waits.
    fn checkpoint_waiting(&self, state: &mut State) -> Result<Checkpointed, Error> {
        let Some(standby) = &state.standby else {
            return Err(Error::NoStandby);
        };
        let generation = Arc::clone(&standby.generation);
        if standby.is_touched || self.is_outgrown(state, generation.history_len()) {
            // Something ran on it that may have left traces which no replay leaves, or too many
            // entries in its history are about freed objects.
            return self.checkpoint_thoroughly(state);
        }
        self.keep_checkpoint(state, &generation, Instant::now())
    }

    fn checkpoint_thoroughly(&self, state: &mut State) -> Result<Checkpointed, Error> {
        match self.checkpoint_to_continue(state, false)? {
            Some(taken) => Ok(taken),
            None => unreachable!("it does not give way"),
        }
    }

    /// A checkpoint of an instance made for this alone, which continues the newest one unless its
    /// history would be too long. `None` if it gave way.
    pub(super) fn checkpoint_to_continue(
        &self,
        state: &mut State,
        gives_way: bool,
    ) -> Result<Option<Checkpointed>, Error> {
        let continues = !self.would_outgrow(state);
        self.checkpoint_aside(state, continues, gives_way)
    }

    /// A checkpoint of an instance made for this alone, from the newest checkpoint or else from
    /// nothing. `None` if it gave way to a call that waits for a dead generation to be replaced.
    fn checkpoint_aside(
        &self,
        state: &mut State,
        continues: bool,
        gives_way: bool,
    ) -> Result<Option<Checkpointed>, Error> {
        let started = Instant::now();
        let blueprint = state.blueprint.clone();
        let continues = continues || state.checkpoints.base().is_some();
        let base = state.checkpoints.newest().filter(|_| continues).cloned();
        let scratch = self.scratch(&blueprint, base.as_ref(), gives_way);
        self.shared.journal.lock().hold_scratch(None);
        match scratch {
            Ok(None) => Ok(None),
            Ok(Some(generation)) => {
                let taken = self.keep_checkpoint(state, &generation, started)?;
                if base.is_none() {
                    self.forget_older(state);
                }
                Ok(Some(taken))
            }
            Err(error) => {
                if let (Some(base), Error::Divergence(_)) = (&base, &error) {
                    self.reject(state, base, error.to_string());
                }
                self.checkpoint_failed(&error);
                Err(error)
            }
        }
    }

    /// An instance that has applied the journal, and serves no calls. `None` if it gave way.
    fn scratch(
        &self,
        blueprint: &Blueprint,
        base: Option<&Arc<Checkpoint>>,
        gives_way: bool,
    ) -> Result<Option<Generation>, Error> {
        let go_on = |_: &Replay<'_>| Ok(!(gives_way && self.is_urgent()));
        // The rest of an old generation would be one instance too many.
        self.graveyard.wait();
        let base = base.map(|base| &**base);
        let mut replay = Replay::begin(&self.shared, blueprint, 0, base, Noted::AsScratch)?;
        if base.is_none() {
            // Entries that older checkpoints alone need are left out.
            let (live, last) = self.shared.journal.live_entries();
            replay.note(&mut self.shared.journal.lock(), last);
            if !replay.run(Entries::These(&live), go_on)? {
                return Ok(None);
            }
            replay.skip_to(last);
        }
        // What callers journal meanwhile is left to the tail: it might never end.
        let target = self.shared.journal.lock().last();
        let is_done = replay.run(Entries::JournalUpTo(target), go_on)?;
        Ok(is_done.then_some(replay.generation))
    }

    fn keep_checkpoint(
        &self,
        state: &mut State,
        generation: &Generation,
        started: Instant,
    ) -> Result<Checkpointed, Error> {
        let checkpoint = generation.capture().inspect_err(|error| {
            if let Error::NoCheckpoint { reasons } = error {
                state.checkpoints.refuse(reasons.clone());
                self.hold_journal(state);
            }
            self.checkpoint_failed(error);
        })?;
        let taken = Checkpointed {
            sequence: checkpoint.sequence,
            engine: checkpoint.engine,
            bytes: checkpoint.snapshot.bytes(),
            bytes_kept: checkpoint.snapshot.bytes_kept(),
            entries: checkpoint.history.len(),
            duration: started.elapsed(),
        };
        if !state.checkpoints.keep(Arc::new(checkpoint), taken) {
            let error = Error::NoCheckpoint {
                reasons: "one of the same content was rejected before".to_owned(),
            };
            self.checkpoint_failed(&error);
            return Err(error);
        }
        self.hold_journal(state);
        self.shared.ledger.emit(&Event::CheckpointTaken(taken));
        Ok(taken)
    }

    fn checkpoint_failed(&self, error: &Error) {
        self.shared.ledger.emit(&Event::CheckpointError {
            error: error.to_string(),
        });
    }

    /// Whether a call waits for upkeep.
    pub(super) fn is_urgent(&self) -> bool {
        let active = self.shared.active.load();
        active
            .as_ref()
            .is_none_or(|active| active.taint().is_some())
    }

    /// When nothing else is due: compares the newest checkpoint with a replay, or takes a newer
    /// one.
    pub(super) fn maintain_checkpoints(&self, state: &mut State) {
        let is_free = state.swap == SwapState::Idle && state.draining.is_none();
        if !state.checkpoints.are_taken() || !is_free || self.is_urgent() {
            return;
        }
        if state.checkpoints.is_verification_due() {
            self.verify_checkpoint(state);
            return;
        }
        let newest = state.checkpoints.newest();
        let since = newest.map_or(SequenceNumber::ZERO, |newest| newest.sequence);
        let (entries, behind) = {
            let journal = self.shared.journal.lock();
            (journal.len(), journal.count_after(since))
        };
        let is_stale = state.checkpoints.base().is_none()
            && (self.shared.journal.is_held_by_the_dead() || self.would_outgrow(state));
        let is_wanted = if state.checkpoints.newest().is_some() {
            is_stale
                || state
                    .checkpoints
                    .is_long(state.checkpoints.expected(behind))
        } else {
            // Before the first swap the state may be in the making: each checkpoint would be out of
            // date at once.
            state.newest > 1 && entries > 0
        };
        let is_paused = state
            .checkpoint_pause
            .is_some_and(|until| Instant::now() < until);
        if is_wanted && !is_paused {
            let outcome = self.checkpoint_aside(state, !is_stale, true);
            state.checkpoint_pause = outcome.is_err().then(|| Instant::now() + PAUSE);
        }
    }

    /// Whether a history of this length has too many entries that nothing alive needs.
    pub(super) fn is_outgrown(&self, state: &mut State, history: usize) -> bool {
        if state.checkpoints.base().is_some() {
            // Nothing can be made from nothing any more, and the next fold ends the history.
            return false;
        }
        let live = || self.shared.journal.live_entries().0.len();
        state.checkpoints.is_outgrown(history, live)
    }

    /// The same for a checkpoint that would continue the newest.
    fn would_outgrow(&self, state: &mut State) -> bool {
        let Some(newest) = state.checkpoints.newest() else {
            return false;
        };
        let (sequence, history) = (newest.sequence, newest.history.len());
        let with_tail = || history + self.shared.journal.lock().count_after(sequence);
        if !self.is_outgrown(state, with_tail()) {
            return false;
        }
        // Objects that came and went after the checkpoint are not made again, and do not count.
        self.shared.compact(self.shared.journal.standby_applied());
        self.is_outgrown(state, with_tail())
    }

    /// Repeats the history of the newest checkpoint on a fresh instance, and compares.
    pub(super) fn verify_checkpoint(&self, state: &mut State) {
        let Some(checkpoint) = state.checkpoints.newest_after_base().cloned() else {
            return;
        };
        let started = Instant::now();
        let base = state.checkpoints.base().cloned();
        match self.compare(&state.blueprint, base.as_deref(), &checkpoint) {
            Ok(Verdict::GaveWay) => {}
            Ok(Verdict::Same) => {
                checkpoint.note_verified();
                self.shared.ledger.emit(&Event::CheckpointVerified {
                    sequence: checkpoint.sequence,
                    entries: checkpoint.history.len(),
                    duration: started.elapsed(),
                });
            }
            Ok(Verdict::Differs(difference)) => {
                let reason = format!("a replay from nothing gives {difference}");
                self.reject(state, &checkpoint, reason);
            }
            Err(error @ Error::Divergence(_)) => {
                self.reject(state, &checkpoint, error.to_string());
            }
            Err(error) => self.checkpoint_failed(&error),
        }
    }

    fn compare(
        &self,
        blueprint: &Blueprint,
        base: Option<&Checkpoint>,
        checkpoint: &Arc<Checkpoint>,
    ) -> Result<Verdict, Error> {
        self.graveyard.wait();
        let mut replay = Replay::begin(&self.shared, blueprint, 0, base, Noted::Nowhere)?;
        let go_on = |_: &Replay<'_>| Ok(!self.is_urgent());
        if !replay.run(Entries::Like(&checkpoint.history), go_on)? {
            return Ok(Verdict::GaveWay);
        }
        let difference = checkpoint.difference(&replay.generation.capture()?)?;
        Ok(difference.map_or(Verdict::Same, Verdict::Differs))
    }

    /// Rejects a checkpoint that differed from a replay.
    pub(super) fn reject(&self, state: &mut State, checkpoint: &Arc<Checkpoint>, reason: String) {
        if state.checkpoints.is_base(checkpoint) {
            // It was verified, and nothing is left to make its state from.
            return;
        }
        self.shared.ledger.emit(&Event::CheckpointRejected {
            sequence: checkpoint.sequence,
            reason,
        });
        let rejections = self.shared.ledger.counts.checkpoints_rejected.get();
        state.checkpoints.reject(checkpoint, rejections);
        self.hold_journal(state);
    }

    /// The newest checkpoint was made from nothing: entries that older ones alone needed can go.
    fn forget_older(&self, state: &mut State) {
        state.checkpoints.settle();
        self.hold_journal(state);
        self.shared.compact(self.shared.journal.standby_applied());
    }

    /// Makes the journal keep what standbys from the current checkpoints will need.
    pub(super) fn hold_journal(&self, state: &State) {
        let horizons = state.checkpoints.horizons().collect();
        self.shared.journal.lock().hold(horizons);
    }

    /// After a standby from a checkpoint failed: rejects the checkpoint if it is to blame.
    pub(super) fn restore_failed(
        &self,
        state: &mut State,
        checkpoint: &Arc<Checkpoint>,
        error: &Error,
    ) {
        let is_to_blame = match error {
            Error::Divergence(_) => true,
            Error::Engine(error) => matches!(**error, engine_api::Error::Snapshot { .. }),
            _ => false,
        };
        if is_to_blame {
            self.reject(state, checkpoint, error.to_string());
        } else {
            self.checkpoint_failed(error);
        }
        state.step(Step::Discard);
        state.step(Step::Prepare);
    }
}

/// How long no checkpoint is tried in the background after one failed.
pub(super) const PAUSE: Duration = Duration::from_mins(1);
