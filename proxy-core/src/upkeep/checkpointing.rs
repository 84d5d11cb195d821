//! Taking, choosing, comparing and rejecting checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aside::{Aside, Scratch, Verdict, Verification};
use super::{PAUSE, State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::generation::{Blueprint, Generation};
use crate::state::Step;
use crate::{Checkpointed, Entry, Error, Reason, SequenceNumber, Source, SwapState};

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

    /// The newest checkpoint, if a standby can be made from one.
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
            self.verify_by_hand(state);
            if self.would_outgrow(state) {
                return None;
            }
        }
        if self.is_outrun(state) {
            self.forget_checkpoints(state);
        }
        state.checkpoints.newest().cloned()
    }

    /// Whether the newest checkpoint's tail takes longer than a replay of what is alive: most of what
    /// it holds is gone, and its holes would be in the standby. Nothing replaces a base.
    fn is_outrun(&self, state: &State) -> bool {
        let Some(newest) = state.checkpoints.newest_after_base() else {
            return false;
        };
        self.compact_tail(newest.sequence);
        let tail = self.tail_took(newest.sequence);
        state.checkpoints.is_long(tail) && self.live_took() < tail
    }

    /// How long the calls of the entries after this one took, about as long as it takes to replay
    /// them.
    fn tail_took(&self, sequence: SequenceNumber) -> Duration {
        took(&self.shared.journal.lock().after(sequence, usize::MAX))
    }

    /// The same for those that live objects need.
    fn live_took(&self) -> Duration {
        took(&self.shared.journal.live_entries().0)
    }

    /// How many they are.
    pub(super) fn live_count(&self) -> usize {
        self.shared.journal.live_entries().0.len()
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
            // One with too long a history, or with too many holes, is left to the background, which
            // makes it from nothing.
            Source::Checkpoint(_) => {
                (state.checkpoints.is_long(tail) || state.checkpoints.are_many())
                    && !self.is_outgrown(state, generation.history_len())
                    && !self.refuses(state, generation, tail)
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
        if standby.is_touched
            || self.is_outgrown(state, generation.history_len())
            || self.refuses(state, &generation, Duration::ZERO)
        {
            // Something ran on it that may have left traces which no replay leaves, or too many
            // entries in its history are about freed objects, or those have left too many holes.
            return self.checkpoint_thoroughly(state);
        }
        self.keep_checkpoint(state, &generation, Instant::now())
    }

    /// Refuses a checkpoint of an instance in which the one that it was made from, and a tail that
    /// took `tail`, have left too many holes. Returns whether it does.
    fn refuses(&self, state: &mut State, generation: &Generation, tail: Duration) -> bool {
        if state.checkpoints.base().is_some() {
            // Nothing can be made from nothing any more.
            return false;
        }
        let live = || self.live_count();
        if !state.renewal.has_crept(generation.memory_bytes(), live) {
            return false;
        }
        state.renewal.refuse(tail, self.live_took());
        true
    }

    /// A checkpoint of an instance made for this alone, at once.
    pub(super) fn checkpoint_thoroughly(&self, state: &mut State) -> Result<Checkpointed, Error> {
        // There is one instance beside the others at most. A scratch would be the same, but late; a
        // verification would be of a checkpoint that is not the newest any more.
        self.drop_aside(state);
        loop {
            let continued = self.continued_by_next(state);
            let begun = self.begin_scratch(state, continued);
            let mut scratch = begun.inspect_err(|error| self.checkpoint_failed(error))?;
            let outcome = scratch.finish();
            if outcome.is_err() || !self.refuses_scratch(state, &scratch) {
                return self.scratched(state, &scratch, outcome);
            }
            // The next one is made from nothing.
        }
    }

    /// The same for an instance made for a checkpoint.
    pub(super) fn refuses_scratch(&self, state: &mut State, scratch: &Scratch) -> bool {
        let Some(continued) = scratch.continued() else {
            return false;
        };
        let tail = self.tail_took(continued.sequence);
        self.refuses(state, scratch.generation(), tail)
    }

    /// The checkpoint that the next one continues, unless that one is to be made from nothing.
    pub(super) fn continued_by_next(&self, state: &mut State) -> Option<Arc<Checkpoint>> {
        if is_refused(state) || self.would_outgrow(state) {
            return None;
        }
        state.checkpoints.newest().cloned()
    }

    /// Takes the checkpoint of an instance made for this.
    pub(super) fn scratched(
        &self,
        state: &mut State,
        scratch: &Scratch,
        outcome: Result<(), Error>,
    ) -> Result<Checkpointed, Error> {
        // What it still held would be kept by the compaction at the end.
        self.shared.journal.lock().hold_scratch(None);
        if let Err(error) = outcome {
            if let (Some(continued), Error::Divergence(_)) = (scratch.continued(), &error) {
                self.reject(state, continued, error.to_string());
            }
            self.checkpoint_failed(&error);
            return Err(error);
        }
        if scratch.continued().is_none() {
            let bytes = scratch.generation().memory_bytes();
            let entries = self.live_count();
            state.renewal.note_from_nothing(bytes, entries);
        }
        let taken = self.keep_checkpoint(state, scratch.generation(), scratch.started())?;
        if scratch.continued().is_none() {
            self.forget_older(state);
        }
        Ok(taken)
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
        let live = || self.live_count();
        state.renewal.note_kept(generation.memory_bytes(), live);
        self.hold_journal(state);
        self.shared.ledger.emit(&Event::CheckpointTaken(taken));
        Ok(taken)
    }

    pub(super) fn checkpoint_failed(&self, error: &Error) {
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

    /// When nothing else is due: begins to compare the newest checkpoint with a replay, or to make
    /// a newer one, and goes on with what was begun.
    pub(super) fn maintain_checkpoints(&self, state: &mut State) {
        if state.aside.is_none() {
            self.begin_aside(state);
        }
        self.work_aside(state);
    }

    fn begin_aside(&self, state: &mut State) {
        let is_free =
            state.swap == SwapState::Idle && state.draining.is_none() && self.loan.is_home();
        let is_paused = state
            .checkpoint_pause
            .is_some_and(|until| Instant::now() < until);
        if !state.checkpoints.are_taken() || !is_free || is_paused || self.is_urgent() {
            return;
        }
        let begun = if state.checkpoints.is_verification_due() {
            self.begin_due_verification(state)
        } else {
            self.begin_due_checkpoint(state)
        };
        match begun {
            Ok(aside) => state.aside = aside,
            Err(error) => {
                self.checkpoint_failed(&error);
                state.checkpoint_pause = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn begin_due_verification(&self, state: &State) -> Result<Option<Aside>, Error> {
        let Some(newest) = state.checkpoints.newest_after_base().cloned() else {
            return Ok(None);
        };
        let begun = self.begin_verification(state, newest)?;
        Ok(Some(Aside::Verification(begun)))
    }

    fn begin_due_checkpoint(&self, state: &mut State) -> Result<Option<Aside>, Error> {
        let newest = state.checkpoints.newest().cloned();
        let since = newest
            .as_ref()
            .map_or(SequenceNumber::ZERO, |newest| newest.sequence);
        let (entries, behind) = {
            let journal = self.shared.journal.lock();
            (journal.len(), journal.count_after(since))
        };
        let is_refused = is_refused(state);
        let is_stale = state.checkpoints.base().is_none()
            && (self.shared.journal.is_held_by_the_dead()
                || self.would_outgrow(state)
                || is_refused && state.renewal.is_due(self.tail_took(since)));
        let is_wanted = if newest.is_some() {
            let expected = state.checkpoints.expected(behind);
            is_stale || !is_refused && state.checkpoints.is_long(expected)
        } else {
            // Before the first swap the state may be in the making: each checkpoint would be out of
            // date at once.
            state.newest > 1 && entries > 0
        };
        if !is_wanted {
            return Ok(None);
        }
        let continued = newest.filter(|_| !is_stale);
        let begun = self.begin_scratch(state, continued)?;
        Ok(Some(Aside::Scratch(begun)))
    }

    /// Whether a history of this length has too many entries that nothing alive needs.
    pub(super) fn is_outgrown(&self, state: &mut State, history: usize) -> bool {
        if state.checkpoints.base().is_some() {
            // Nothing can be made from nothing any more, and the next fold ends the history.
            return false;
        }
        let live = || self.live_count();
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

    /// Before a standby is made by hand: finishes the verification that is due, if no supervisor
    /// does, for as long as a preparation may take. The rest is left to the next opportunity.
    fn verify_by_hand(&self, state: &mut State) {
        if self.shared.wakeup.is_supervised() {
            return;
        }
        let end = Instant::now() + self.options.prepare_timeout;
        self.take_back_aside(state);
        if state.aside.is_none() && state.checkpoints.is_verification_due() {
            match self.begin_due_verification(state) {
                Ok(begun) => state.aside = begun,
                Err(error) => self.checkpoint_failed(&error),
            }
        }
        while let Some(Aside::Verification(_)) = &state.aside
            && Instant::now() < end
            && !self.is_urgent()
        {
            self.advance_aside(state, end);
        }
    }

    /// Settles a verification that ended.
    pub(super) fn verified(
        &self,
        state: &mut State,
        verification: &Verification,
        outcome: Result<Verdict, Error>,
    ) {
        let checkpoint = &verification.checkpoint;
        match outcome {
            Ok(Verdict::Same) => {
                checkpoint.note_verified();
                self.shared.ledger.emit(&Event::CheckpointVerified {
                    sequence: checkpoint.sequence,
                    entries: checkpoint.history.len(),
                    duration: verification.started.elapsed(),
                });
            }
            Ok(Verdict::Differs(difference)) => {
                let from = if state.checkpoints.base().is_some() {
                    "the base"
                } else {
                    "nothing"
                };
                let reason = format!("a replay from {from} gives {difference}");
                self.reject(state, checkpoint, reason);
            }
            Err(error @ Error::Divergence(_)) => {
                self.reject(state, checkpoint, error.to_string());
            }
            Err(error) => {
                self.checkpoint_failed(&error);
                state.checkpoint_pause = Some(Instant::now() + PAUSE);
            }
        }
    }

    /// Rejects a checkpoint that differed from a replay, those that continue it, and what is made
    /// from it.
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
        if state
            .aside
            .as_ref()
            .is_some_and(|aside| aside.is_about(checkpoint))
        {
            self.drop_aside(state);
        }
        self.hold_journal(state);
    }

    /// The newest checkpoint was made from nothing: entries that older ones alone needed can go.
    fn forget_older(&self, state: &mut State) {
        state.checkpoints.settle();
        self.hold_journal(state);
        self.shared.compact(self.shared.journal.standby_applied());
    }

    /// No checkpoint is of use any more, but for the base: the next one is made from that, or from
    /// nothing.
    pub(super) fn forget_checkpoints(&self, state: &mut State) {
        self.drop_aside(state);
        state.checkpoints.forget();
        self.hold_journal(state);
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

/// Whether the newest checkpoint is not continued any more. A base always is.
fn is_refused(state: &State) -> bool {
    state.checkpoints.base().is_none() && state.renewal.is_refused()
}

fn took(entries: &[Arc<Entry>]) -> Duration {
    entries.iter().map(|entry| entry.took).sum()
}
