//! Making a standby: a fresh instance, and the journal applied to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_api::{Engine, EngineId, Module};

use super::replay::{BATCH, Entries, Noted, Replay, apply};
use super::state_digest::{DigestTrust, StateSaid};
use super::{State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::compile::compile_within;
use crate::degradation::Worthwhile;
use crate::event::Event;
use crate::generation::{Blueprint, Generation, lock};
use crate::memory::{bytes_of, mib, worthwhile};
use crate::state::Step;
use crate::{Entry, Error, Prepared, Reason, ReplayReport, SequenceNumber, Source, SwapState};

/// A standby that waits.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) generation: Arc<Generation>,
    pub(super) prepare: Duration,
    /// The blueprint of it and of later ones. It is another engine's if the module moves there.
    pub(super) blueprint: Blueprint,
    pub(super) source: Source,
    /// Why it was made.
    pub(super) reason: Reason,
    /// Whether it cannot be captured: something other than entries ran on it, or its history was
    /// dropped.
    pub(super) is_touched: bool,
}

/// The parts of a proof that the state can be rebuilt, as they were at one moment.
struct Proof {
    blueprint: Blueprint,
    /// The checkpoint that the replay begins with, if it has taken the place of older entries.
    base: Option<Arc<Checkpoint>>,
    entries: Vec<Arc<Entry>>,
    /// What the active generation said of its state.
    said: Option<StateSaid>,
    /// Whether there is a digest that has not been asked yet, not even on the active generation.
    digest_is_untried: bool,
}

/// In an emergency a standby with little room is replaced only by a replay that takes no longer.
const EMERGENCY_REPLAY_MAX: Duration = Duration::from_secs(1);

/// A tail of up to this many entries is left to the swap itself.
const TAIL: usize = 32;

impl Upkeep {
    pub(crate) fn prepare_manually(
        &self,
        engine: Option<Arc<dyn Engine>>,
    ) -> Result<Prepared, Error> {
        let mut state = self.by_hand()?;
        self.reap(&mut state, Instant::now());
        if state.draining.is_some() {
            return Err(Error::StillDraining);
        }
        let outcome = match engine {
            None if state.standby.is_some() => self.catch_up(&mut state),
            None => self.prepare(&mut state, Reason::Manual, Instant::now()),
            Some(engine) => {
                let timeout = self.options.compile_timeout;
                let module = compile_within(&engine, &self.options.wasm, timeout)?;
                let blueprint = Blueprint {
                    engine: engine.id(),
                    module,
                    ..state.blueprint.clone()
                };
                self.discard(&mut state);
                self.prepare_from(&mut state, blueprint, Reason::Manual, Instant::now())
            }
        };
        self.publish(&state);
        outcome
    }

    pub(crate) fn verify_on(&self, engine: &dyn Engine) -> Result<ReplayReport, Error> {
        let module = engine.compile(&self.options.wasm)?;
        let proof = self.proof(engine.id(), &module)?;
        let started = Instant::now();
        let mut replay = self.prove(&proof)?;
        if proof.digest_is_untried {
            // A digest that traps may cost this replay, and not the state of the active generation.
            let trust = self.try_digest(&replay.generation);
            lock(&self.state).digest_trust = trust;
            if trust == DigestTrust::Answered {
                drop(replay);
                let proof = self.proof(engine.id(), &module)?;
                replay = self.prove(&proof)?;
                return self.proven(&proof, &replay, started);
            }
        }
        self.proven(&proof, &replay, started)
    }

    /// What a proof on this engine begins with.
    fn proof(&self, engine: EngineId, module: &Arc<dyn Module>) -> Result<Proof, Error> {
        let mut state = lock(&self.state);
        let digest_is_untried = self.shared.config.plan.state_digest.is_some()
            && state.digest_trust == DigestTrust::Untried;
        let said = if digest_is_untried {
            None
        } else {
            self.state_of_active(&mut state.digest_trust)
        };
        let blueprint = Blueprint {
            engine,
            module: Arc::clone(module),
            ..state.blueprint.clone()
        };
        check_base(&state, &blueprint)?;
        // What comes later, or is compacted later, does not matter to the proof.
        let mut entries = self.shared.journal.entries();
        if let Some(said) = &said {
            entries.retain(|entry| entry.sequence <= said.sequence);
        }
        Ok(Proof {
            blueprint,
            base: state.checkpoints.base().cloned(),
            entries,
            said,
            digest_is_untried,
        })
    }

    fn prove(&self, proof: &Proof) -> Result<Replay, Error> {
        let (shared, base) = (&self.shared, proof.base.as_deref());
        shared.check_total_for_another()?;
        let mut replay = Replay::begin(shared, &proof.blueprint, 0, base, Noted::Nowhere)?;
        let entries = &mut Entries::these(proof.entries.clone());
        replay.run(entries, BATCH, |_| Ok(true))?;
        Ok(replay)
    }

    fn proven(
        &self,
        proof: &Proof,
        replay: &Replay,
        started: Instant,
    ) -> Result<ReplayReport, Error> {
        if let Some(said) = &proof.said {
            self.compare_state(said, &replay.generation)?;
        }
        Ok(ReplayReport {
            state_compared: proof.said.is_some(),
            engine: proof.blueprint.engine,
            entries: replay.count,
            memory: replay.generation.memory_bytes(),
            duration: started.elapsed(),
        })
    }

    /// Makes a standby, from `Idle` to `Ready`. On failure there is none, and the failure is
    /// counted and reported.
    pub(super) fn prepare(
        &self,
        state: &mut State,
        reason: Reason,
        now: Instant,
    ) -> Result<Prepared, Error> {
        self.settling(state, |state| {
            let blueprint = state.blueprint.clone();
            self.prepare_from(state, blueprint, reason, now)
        })
    }

    pub(super) fn prepare_from(
        &self,
        state: &mut State,
        blueprint: Blueprint,
        reason: Reason,
        now: Instant,
    ) -> Result<Prepared, Error> {
        let started = Instant::now();
        check_base(state, &blueprint)?;
        let checkpoint = self.choose_checkpoint(state, &blueprint, reason);
        // Two generations and the rest of a third would take more memory than planned for.
        self.graveyard.wait();
        state.step(Step::Prepare);
        let entries = self.begin_replay(checkpoint.as_deref());
        self.publish(state);
        let span = tracing::info_span!(
            "prepare_standby",
            proxy = &*self.shared.config.name,
            entries
        );
        let _entered = span.enter();
        self.shared
            .ledger
            .emit(&Event::StandbyPrepareStart { reason, entries });
        let mut outcome = self.replay(state, &blueprint, checkpoint.as_ref(), reason, started);
        if let Err(error) = &outcome
            && state.swap == SwapState::Preparing
            && self.make_room(state, error)
        {
            outcome = self.replay(state, &blueprint, checkpoint.as_ref(), reason, started);
        }
        let base = state.checkpoints.base().cloned();
        let after_base = checkpoint.filter(|one| !state.checkpoints.is_base(one));
        match (&after_base, &outcome) {
            (Some(checkpoint), Err(error)) => {
                // The journal is the truth, and is replayed without the checkpoint.
                self.restore_failed(state, checkpoint, error);
                self.begin_replay(base.as_deref());
                outcome = self.replay(state, &blueprint, base.as_ref(), reason, started);
            }
            (Some(_), Ok((generation, ..)))
                if self.is_crowded(state, generation.memory_bytes(), reason) =>
            {
                // What came and went since has left its holes in the checkpoint, or on top of it.
                drop(outcome);
                state.step(Step::Discard);
                state.step(Step::Prepare);
                self.forget_checkpoints(state);
                self.begin_replay(base.as_deref());
                outcome = self.replay(state, &blueprint, base.as_ref(), reason, started);
            }
            _ => {}
        }
        // Only for failures before it began to catch up: later ones are left to the next attempt.
        while let Err(error) = &outcome
            && state.swap == SwapState::Preparing
            && self.shared.can_do_without_artifact(error)
        {
            outcome = self.replay(state, &blueprint, base.as_ref(), reason, started);
        }
        if reason != Reason::Emergency
            && !reason.helps_at_any_size()
            && let Ok((generation, ..)) = &outcome
            && let Err(error) = self.check_budget(state, generation, now)
        {
            outcome = Err(error);
        }
        match outcome {
            Ok((generation, entries, source)) => {
                let duration = started.elapsed();
                state.step(Step::CaughtUp);
                state.prepare_time = Some(duration);
                // With a state digest, the swap is what shows whether the standby is any good.
                if self.shared.config.plan.state_digest.is_none() {
                    state.degradation.succeeded();
                }
                if reason == Reason::Emergency {
                    // Calls wait, so it is taken as it is. What it cannot give back is told.
                    let _ = self.check_budget(state, &generation, now);
                }
                *lock(&self.shared.divergence) = None;
                let prepared = Prepared {
                    generation: generation.number,
                    duration,
                    entries,
                    memory: generation.memory_bytes(),
                    source,
                };
                state.standby = Some(Standby {
                    generation: Arc::new(generation),
                    prepare: duration,
                    blueprint,
                    source,
                    reason,
                    is_touched: self.shared.config.plan.memory_usage.is_some(),
                });
                let event = Event::StandbyPrepareComplete(prepared);
                self.shared.ledger.emit(&event);
                self.publish(state);
                Ok(prepared)
            }
            Err(error) => {
                self.discard_quietly(state);
                let error = self.preparation_failed(state, now, error);
                self.look_anew(state, now);
                Err(error)
            }
        }
    }

    /// Forgets entries that need not be applied, and returns how many there are to apply.
    fn begin_replay(&self, checkpoint: Option<&Checkpoint>) -> usize {
        let applied = checkpoint.map_or(SequenceNumber::ZERO, |one| one.sequence);
        let base = self.shared.journal.lock().base();
        if applied > base {
            self.compact_tail(applied);
        } else {
            // No checkpoint may need them any more.
            let horizon = checkpoint.map_or(SequenceNumber(u64::MAX), |_| applied);
            self.shared.compact(horizon);
        }
        self.shared.journal.note_applied(applied);
        self.shared.journal.lock().count_after(applied)
    }

    /// A fresh instance, or one from a checkpoint, and the rest of the journal applied to it.
    fn replay(
        &self,
        state: &mut State,
        blueprint: &Blueprint,
        checkpoint: Option<&Arc<Checkpoint>>,
        reason: Reason,
        started: Instant,
    ) -> Result<(Generation, usize, Source), Error> {
        let is_emergency = reason == Reason::Emergency;
        if !is_emergency {
            self.shared.check_total_for_another()?;
        }
        state.newest += 1;
        let (shared, number) = (&self.shared, state.newest);
        let base = checkpoint.map(|checkpoint| &**checkpoint);
        let mut replay = Replay::begin(shared, blueprint, number, base, Noted::AsStandby)?;
        let source = base.map_or(Source::Replay, |base| Source::Checkpoint(base.sequence));
        let replayed = Instant::now();
        let target = shared.journal.lock().last();
        replay.run(&mut Entries::JournalUpTo(target), BATCH, |replay| {
            if !is_emergency {
                shared.check_total(0)?;
            }
            if started.elapsed() <= self.options.prepare_timeout {
                self.compact_if_due();
                return Ok(true);
            }
            Err(Error::PreparationTimeout {
                after: started.elapsed(),
                applied: replay.applied,
                last: shared.journal.lock().last(),
            })
        })?;
        state.step(Step::Replayed);
        let (applied, mut count, generation) = (replay.applied, replay.count, replay.generation);
        generation.note_replayed();
        count += self.run_after(&generation, applied)?;
        let tail = replayed.elapsed();
        state.checkpoints.note_replay(count, tail);
        if let Some(checkpoint) = checkpoint {
            checkpoint.note_use();
            state.checkpoints.note_tail(tail);
        }
        // A call that waits for a dead generation to be replaced must not wait for a checkpoint
        // too.
        let bytes = generation.memory_bytes();
        if checkpoint.is_none_or(|checkpoint| state.checkpoints.is_base(checkpoint)) {
            state.replayed_bytes = Some(bytes);
        }
        if checkpoint.is_none() {
            state.renewal.note_from_nothing(bytes, self.live_count());
        }
        if !is_emergency && !self.is_crowded(state, bytes, reason) {
            self.checkpoint_fresh(state, &generation, source, tail);
        }
        Ok((generation, count, source))
    }

    /// Whether a standby of this size is past the warning threshold from its first moment, and one
    /// made from nothing may be smaller. A call that waits for it does not wait for a long replay.
    fn is_crowded(&self, state: &State, bytes: u64, reason: Reason) -> bool {
        if bytes < self.shared.budget.warn_bytes() || !state.is_swollen(bytes) {
            return false;
        }
        let entries = self.shared.journal.size.entries();
        reason != Reason::Emergency || state.checkpoints.expected(entries) <= EMERGENCY_REPLAY_MAX
    }

    /// Applies what callers journaled meanwhile, until the tail is short. If callers journal as
    /// fast as this applies, it would never catch up: then they are held back until it is done.
    fn run_after(
        &self,
        generation: &Generation,
        mut applied: SequenceNumber,
    ) -> Result<usize, Error> {
        let mut count = 0;
        let mut left_before = usize::MAX;
        let mut held = None;
        loop {
            let (batch, left) = self.take_batch(applied);
            let Some(last) = batch.last() else { break };
            let last = last.sequence;
            apply(&self.shared, generation, &batch)?;
            applied = last;
            count += batch.len();
            if left <= TAIL {
                break;
            }
            if left >= left_before && held.is_none() {
                held = Some(self.shared.journal.hold_back());
            }
            left_before = left;
        }
        Ok(count)
    }

    /// The next entries for a generation that has applied those before, and how many there are.
    /// From here on compaction counts them as applied.
    fn take_batch(&self, applied: SequenceNumber) -> (Vec<Arc<Entry>>, usize) {
        let journal = self.shared.journal.lock();
        let batch = journal.after(applied, BATCH);
        if let Some(last) = batch.last() {
            self.shared.journal.note_applied(last.sequence);
        }
        let left = journal.count_after(applied);
        (batch, left)
    }

    /// Whether a waiting standby is so far behind that a swap would have to wait for it. Objects
    /// that come and go meanwhile are never made there.
    pub(super) fn is_behind(&self, state: &State) -> bool {
        let Some(standby) = &state.standby else {
            return false;
        };
        let applied = standby.generation.applied();
        self.shared.journal.lock().count_after(applied) > TAIL
    }

    /// Brings a standby that waits up to date. On failure it is discarded.
    pub(super) fn catch_up(&self, state: &mut State) -> Result<Prepared, Error> {
        let Some(standby) = &state.standby else {
            return Err(Error::NoStandby);
        };
        let (generation, source) = (Arc::clone(&standby.generation), standby.source);
        let applied = generation.applied();
        self.compact_tail(applied);
        match self.run_after(&generation, applied) {
            Ok(entries) => {
                if self.is_outgrown(state, generation.history_len())
                    && let Some(standby) = &mut state.standby
                {
                    // A standby that waits for long must not collect entries about freed objects.
                    generation.forget_history();
                    standby.is_touched = true;
                }
                Ok(Prepared {
                    generation: generation.number,
                    duration: Duration::ZERO,
                    entries,
                    memory: generation.memory_bytes(),
                    source,
                })
            }
            Err(error) => {
                drop(generation);
                self.discard(state);
                Err(self.preparation_failed(state, Instant::now(), error))
            }
        }
    }

    /// Refuses a standby that would be over the warning threshold from its first moment, unless the
    /// swap gives back enough all the same.
    fn check_budget(
        &self,
        state: &mut State,
        generation: &Generation,
        now: Instant,
    ) -> Result<(), Error> {
        let threshold = self.shared.budget.warn_bytes();
        let reported = self
            .shared
            .config
            .plan
            .memory_usage
            .and_then(|func| self.shared.ask(generation, func));
        let reported = reported.map_or(0, bytes_of);
        let (bytes, threshold) = if self.shared.budget.sees_growth() {
            (generation.memory_bytes().max(reported), threshold)
        } else {
            (reported, self.shared.budget.warn_share())
        };
        if bytes < threshold || self.gives_back(state, bytes) {
            return Ok(());
        }
        let objects = generation.live_objects();
        let (state_mib, threshold_mib) = (mib(bytes), mib(threshold));
        let active = self.shared.active.load();
        // In this order: what it grows by in between then ends the pause early, not late.
        let pure_growth = active.as_ref().map_or(0, |one| one.watch.pure_growth());
        let used = active.as_ref().map_or(0, |one| self.used(state, one));
        let worthwhile = worthwhile(bytes, self.shared.budget.limit()).map(|size| Worthwhile {
            size,
            used: used.max(bytes),
            pure_growth,
        });
        let exceeded = (state_mib, threshold_mib, objects.clone());
        state.degradation.budget_exceeded(now, exceeded, worthwhile);
        self.shared.ledger.emit(&Event::StateExceedsBudget {
            state: bytes,
            threshold,
            objects: objects.clone(),
        });
        Err(Error::StateExceedsBudget {
            state_mib,
            threshold_mib,
            objects,
        })
    }

    /// Emits an event if a replay failed because it differed from the original.
    pub(super) fn report_divergence(&self, error: &Error) {
        if let Error::Divergence(divergence) = error {
            let divergence = (**divergence).clone();
            *lock(&self.shared.divergence) = Some(divergence.clone());
            self.shared
                .ledger
                .emit(&Event::ReplayDivergence { divergence });
        }
    }

    fn preparation_failed(&self, state: &mut State, now: Instant, error: Error) -> Error {
        if let Error::StateExceedsBudget { .. } = &error {
            // The pause has been noted.
            self.shared.ledger.note_error(&error);
            self.publish(state);
            return error;
        }
        self.report_divergence(&error);
        let was_open = state.degradation.is_open();
        let retry_in = state.degradation.failed(now);
        let failures = state.degradation.failures();
        self.shared.ledger.emit(&Event::StandbyPrepareError {
            error: error.to_string(),
            failures,
            retry_in,
        });
        if state.degradation.is_open() && !was_open {
            self.shared.ledger.emit(&Event::BreakerOpen { failures });
        }
        self.shared.ledger.note_error(&error);
        debug_assert_eq!(state.swap, SwapState::Idle);
        self.publish(state);
        match error {
            error @ (Error::Divergence(_)
            | Error::PreparationTimeout { .. }
            | Error::TotalMemory { .. }
            | Error::StandbyOutOfMemory { .. }) => error,
            error => Error::Preparation {
                source: Box::new(error),
            },
        }
    }
}

/// Refuses an engine that cannot begin with the checkpoint that has taken the place of entries, or
/// whose later checkpoints could not.
fn check_base(state: &State, blueprint: &Blueprint) -> Result<(), Error> {
    state.checkpoints.check_history(&*blueprint.module)?;
    if state.checkpoints.base().is_some()
        && let Err(error) = blueprint.module.snapshots()
    {
        return Err(Error::BaseNotRestorable {
            reason: error.to_string(),
        });
    }
    Ok(())
}
