//! Taking, choosing, comparing and rejecting checkpoints.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::prepare::BATCH;
use super::upkeep::Upkeep;
use super::{Generation, Inner};
use crate::checkpoint::{Checkpoint, Checkpointed, Source};
use crate::event::Event;
use crate::generation::Blueprint;
use crate::state::Step;
use crate::{Error, Reason, SequenceNumber, SwapState};

/// What comparing a checkpoint with a replay said.
enum Verdict {
    Same,
    Differs(String),
    /// Somebody waits for upkeep: another time.
    GaveWay,
}

impl Inner {
    pub(super) fn checkpoint_manually(&self) -> Result<Checkpointed, Error> {
        let mut upkeep = self.upkeep_by_hand()?;
        if !upkeep.checkpoints.are_taken() {
            return Err(Error::NoCheckpoint {
                reasons: match upkeep.checkpoints.obstacles() {
                    [] => "they are switched off (CheckpointPolicy::enabled)".to_owned(),
                    obstacles => obstacles.join("; "),
                },
            });
        }
        self.reap(&mut upkeep, Instant::now());
        let outcome = if upkeep.standby.is_some() {
            self.catch_up(&mut upkeep)
                .and_then(|_| self.checkpoint_waiting(&mut upkeep))
        } else {
            self.checkpoint_thoroughly(&mut upkeep)
        };
        self.publish(&upkeep);
        outcome
    }

    /// What a standby is made from, if not from nothing: the newest checkpoint. One that is due to be compared with a
    /// replay is, unless there is no time for it.
    pub(super) fn choose_checkpoint(
        &self,
        upkeep: &mut Upkeep,
        blueprint: &Blueprint,
        reason: Reason,
    ) -> Option<Arc<Checkpoint>> {
        if !upkeep.checkpoints.are_taken() || blueprint.module.snapshots().is_err() {
            return None;
        }
        if reason == Reason::Manual && upkeep.checkpoints.is_verification_due() {
            self.verify_checkpoint(upkeep);
        }
        upkeep.checkpoints.newest().cloned()
    }

    /// After a standby was made, before anything is asked of it: keeps a checkpoint of it, if that is due. It is no
    /// failure of the standby's if there is none.
    pub(super) fn checkpoint_fresh(
        &self,
        upkeep: &mut Upkeep,
        generation: &Generation,
        source: Source,
        tail: Duration,
    ) {
        let is_due = match source {
            Source::Replay => true,
            Source::Checkpoint(_) => upkeep.checkpoints.is_long(tail),
        };
        if upkeep.checkpoints.are_taken() && is_due {
            // A failure has been reported.
            let _ = self.keep_checkpoint(upkeep, generation, Instant::now());
        }
    }

    /// A checkpoint of the standby that waits.
    fn checkpoint_waiting(&self, upkeep: &mut Upkeep) -> Result<Checkpointed, Error> {
        let Some(standby) = &upkeep.standby else {
            return Err(Error::NoStandby);
        };
        let generation = Arc::clone(&standby.generation);
        if standby.is_touched {
            // Something was asked of it, which may have left traces that no replay leaves.
            return self.checkpoint_thoroughly(upkeep);
        }
        self.keep_checkpoint(upkeep, &generation, Instant::now())
    }

    fn checkpoint_thoroughly(&self, upkeep: &mut Upkeep) -> Result<Checkpointed, Error> {
        match self.checkpoint_aside(upkeep, true, false)? {
            Some(taken) => Ok(taken),
            None => unreachable!("it does not give way"),
        }
    }

    /// A checkpoint of an instance that is made for this alone, from the newest checkpoint, or else from nothing.
    /// `None` if it gave way to a call that waits for a dead generation to be replaced.
    fn checkpoint_aside(
        &self,
        upkeep: &mut Upkeep,
        continues: bool,
        gives_way: bool,
    ) -> Result<Option<Checkpointed>, Error> {
        let started = Instant::now();
        let blueprint = upkeep.blueprint.clone();
        let base = upkeep.checkpoints.newest().filter(|_| continues).cloned();
        let scratch = self.scratch(&blueprint, base.as_ref(), gives_way);
        self.journal_in_turn().hold_scratch(None);
        match scratch {
            Ok(None) => Ok(None),
            Ok(Some(generation)) => {
                let taken = self.keep_checkpoint(upkeep, &generation, started)?;
                if base.is_none() {
                    self.forget_older(upkeep);
                }
                Ok(Some(taken))
            }
            Err(error) => {
                if let (Some(base), Error::Divergence(_)) = (&base, &error) {
                    self.reject(upkeep, base, error.to_string());
                }
                self.checkpoint_failed(&error);
                Err(error)
            }
        }
    }

    /// An instance that has applied the journal, and serves nobody. `None` if it gave way.
    fn scratch(
        &self,
        blueprint: &Blueprint,
        base: Option<&Arc<Checkpoint>>,
        gives_way: bool,
    ) -> Result<Option<Generation>, Error> {
        let alive = &self.generations_alive;
        // What is left of an old generation would be one more.
        self.graveyard.wait();
        let (generation, mut applied) = if let Some(base) = base {
            let generation = Generation::restore(blueprint, 0, base, alive)?;
            (generation, base.sequence)
        } else {
            // What older checkpoints alone hold need not be done.
            let (genesis, live, last) = {
                let mut journal = self.journal_in_turn();
                let last = journal.last();
                journal.hold_scratch(Some(last));
                (journal.genesis().to_vec(), journal.live_entries(), last)
            };
            let (generation, _) = Generation::create(blueprint, 0, Some(&genesis), alive)?;
            for batch in live.chunks(BATCH) {
                self.apply(&generation, batch)?;
                if gives_way && self.is_urgent() {
                    return Ok(None);
                }
            }
            generation.skip_to(last);
            (generation, last)
        };
        loop {
            let batch = {
                let mut journal = self.journal_in_turn();
                let batch = journal.after(applied, BATCH);
                // Callers compact meanwhile: what ends an object that is made here must stay.
                if let Some(last) = batch.last() {
                    journal.hold_scratch(Some(last.sequence));
                }
                batch
            };
            let Some(last) = batch.last() else {
                return Ok(Some(generation));
            };
            applied = last.sequence;
            self.apply(&generation, &batch)?;
            if gives_way && self.is_urgent() {
                return Ok(None);
            }
        }
    }

    fn keep_checkpoint(
        &self,
        upkeep: &mut Upkeep,
        generation: &Generation,
        started: Instant,
    ) -> Result<Checkpointed, Error> {
        let checkpoint = generation.capture().inspect_err(|error| {
            if let Error::NoCheckpoint { reasons } = error {
                upkeep.checkpoints.refuse(reasons.clone());
                self.hold_journal(upkeep);
            }
            self.checkpoint_failed(error);
        })?;
        let taken = Checkpointed {
            sequence: checkpoint.sequence,
            bytes: checkpoint.snapshot.bytes(),
            bytes_kept: checkpoint.snapshot.bytes_kept(),
            duration: started.elapsed(),
        };
        if !upkeep.checkpoints.keep(Arc::new(checkpoint)) {
            let error = Error::NoCheckpoint {
                reasons: "one of the same content was rejected before".to_owned(),
            };
            self.checkpoint_failed(&error);
            return Err(error);
        }
        self.hold_journal(upkeep);
        self.observer.emit(&Event::CheckpointTaken {
            sequence: taken.sequence,
            bytes: taken.bytes,
            bytes_kept: taken.bytes_kept,
            duration: taken.duration,
        });
        Ok(taken)
    }

    fn checkpoint_failed(&self, error: &Error) {
        self.observer.emit(&Event::CheckpointError {
            error: error.to_string(),
        });
    }

    /// Whether somebody waits for upkeep.
    fn is_urgent(&self) -> bool {
        let active = self.active.load();
        active
            .as_ref()
            .is_none_or(|active| active.taint().is_some())
    }

    /// When nothing else is to be done: compares the newest checkpoint with a replay, or takes a newer one.
    pub(super) fn maintain_checkpoints(&self, upkeep: &mut Upkeep) {
        let is_free = upkeep.state == SwapState::Idle && upkeep.draining.is_none();
        if !upkeep.checkpoints.are_taken() || !is_free || self.is_urgent() {
            return;
        }
        if upkeep.checkpoints.is_verification_due() {
            self.verify_checkpoint(upkeep);
            return;
        }
        let newest = upkeep.checkpoints.newest();
        let since = newest.map_or(SequenceNumber::ZERO, |newest| newest.sequence);
        let (entries, behind, is_stale) = {
            let mut journal = self.journal_in_turn();
            (
                journal.len(),
                journal.count_after(since),
                journal.is_held_by_the_dead(),
            )
        };
        let is_wanted = if upkeep.checkpoints.newest().is_some() {
            is_stale
                || upkeep
                    .checkpoints
                    .is_long(upkeep.checkpoints.expected(behind))
        } else {
            // Before the first swap the state may be in the making: each checkpoint would be out of date at once.
            upkeep.newest > 1 && entries > 0
        };
        let is_paused = upkeep
            .checkpoint_pause
            .is_some_and(|until| Instant::now() < until);
        if is_wanted && !is_paused {
            let outcome = self.checkpoint_aside(upkeep, !is_stale, true);
            upkeep.checkpoint_pause = outcome.is_err().then(|| Instant::now() + PAUSE);
        }
    }

    /// Does to a fresh instance what was done to the one that the newest checkpoint was taken of, and compares.
    pub(super) fn verify_checkpoint(&self, upkeep: &mut Upkeep) {
        let Some(checkpoint) = upkeep.checkpoints.newest().cloned() else {
            return;
        };
        let started = Instant::now();
        match self.compare(&upkeep.blueprint, &checkpoint) {
            Ok(Verdict::GaveWay) => {}
            Ok(Verdict::Same) => {
                checkpoint.note_verified();
                self.observer.emit(&Event::CheckpointVerified {
                    sequence: checkpoint.sequence,
                    entries: checkpoint.history.len(),
                    duration: started.elapsed(),
                });
            }
            Ok(Verdict::Differs(difference)) => {
                let reason = format!("a replay from nothing gives {difference}");
                self.reject(upkeep, &checkpoint, reason);
            }
            Err(error @ Error::Divergence(_)) => {
                self.reject(upkeep, &checkpoint, error.to_string());
            }
            Err(error) => self.checkpoint_failed(&error),
        }
    }

    fn compare(
        &self,
        blueprint: &Blueprint,
        checkpoint: &Arc<Checkpoint>,
    ) -> Result<Verdict, Error> {
        let genesis = self.journal_in_turn().genesis().to_vec();
        let alive = &self.generations_alive;
        self.graveyard.wait();
        let (generation, _) = Generation::create(blueprint, 0, Some(&genesis), alive)?;
        for batch in checkpoint.history.chunks(BATCH) {
            generation.apply_like(batch)?;
            if self.is_urgent() {
                return Ok(Verdict::GaveWay);
            }
        }
        let difference = checkpoint.difference(&generation.capture()?)?;
        Ok(difference.map_or(Verdict::Same, Verdict::Differs))
    }

    /// A checkpoint that gave something else than a replay.
    pub(super) fn reject(&self, upkeep: &mut Upkeep, checkpoint: &Arc<Checkpoint>, reason: String) {
        upkeep.checkpoints.reject(checkpoint);
        self.hold_journal(upkeep);
        self.observer.emit(&Event::CheckpointRejected {
            sequence: checkpoint.sequence,
            reason,
        });
    }

    /// The newest checkpoint was made from nothing: what older ones needed the journal for can go.
    fn forget_older(&self, upkeep: &mut Upkeep) {
        upkeep.checkpoints.settle();
        self.hold_journal(upkeep);
        let mut journal = self.journal_in_turn();
        let applied = self.standby_applied.load(Ordering::Acquire);
        self.compact(&mut journal, SequenceNumber(applied));
        self.note_journal(&journal);
    }

    /// Makes the journal keep what standbys from the checkpoints there are will need.
    pub(super) fn hold_journal(&self, upkeep: &Upkeep) {
        let horizons = upkeep.checkpoints.horizons().collect();
        self.journal_in_turn().hold(horizons);
    }

    /// A standby from a checkpoint failed: what that says about the checkpoint.
    pub(super) fn restore_failed(
        &self,
        upkeep: &mut Upkeep,
        checkpoint: &Arc<Checkpoint>,
        error: &Error,
    ) {
        let is_to_blame = match error {
            Error::Divergence(_) => true,
            Error::Engine(error) => matches!(**error, engine_api::Error::Snapshot { .. }),
            _ => false,
        };
        if is_to_blame {
            self.reject(upkeep, checkpoint, error.to_string());
        } else {
            self.checkpoint_failed(error);
        }
        upkeep.step(Step::Discard);
        upkeep.step(Step::Prepare);
    }
}

/// How long no checkpoint is tried in the background after one failed.
const PAUSE: Duration = Duration::from_mins(1);
