//! Making a standby: a fresh instance, and the journal applied to it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine_api::{Engine, EngineId};

use super::upkeep::{Upkeep, bytes_of};
use super::{Blueprint, Generation, Inner};
use crate::checkpoint::{Checkpoint, Source};
use crate::event::Event;
use crate::generation::lock;
use crate::memory::mib;
use crate::state::Step;
use crate::{Error, Reason, SequenceNumber, SwapState};

/// A standby that waits.
#[derive(Debug)]
pub(super) struct Standby {
    pub(super) generation: Arc<Generation>,
    pub(super) prepare: Duration,
    /// What it and those after it are made from: another engine's, if the module is to move there.
    pub(super) blueprint: Blueprint,
    pub(super) source: Source,
    /// Whether anything but entries was run on it.
    pub(super) is_touched: bool,
}

/// What [`Proxy::prepare_standby`](crate::Proxy::prepare_standby) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prepared {
    /// The standby's number.
    pub generation: u64,
    /// How long it took; zero if there was a standby already.
    pub duration: Duration,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// What its memories have, in bytes.
    pub memory: u64,
    /// What it was made from.
    pub source: Source,
}

/// What [`Proxy::verify_on`](crate::Proxy::verify_on) did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Where it was replayed.
    pub engine: EngineId,
    /// How many entries were applied and found equal.
    pub entries: usize,
    /// What the memories had afterwards, in bytes.
    pub memory: u64,
    /// How long it took, compilation left out.
    pub duration: Duration,
}

/// Entries are applied in batches, between which the journal is free for callers.
pub(super) const BATCH: usize = 256;

/// A tail of up to so many entries is left to the swap itself.
const TAIL: usize = 32;

impl Inner {
    pub(super) fn prepare_manually(
        &self,
        engine: Option<Arc<dyn Engine>>,
    ) -> Result<Prepared, Error> {
        let mut upkeep = self.upkeep_by_hand()?;
        self.reap(&mut upkeep, Instant::now());
        if upkeep.draining.is_some() {
            return Err(Error::StillDraining);
        }
        let outcome = match engine {
            None if upkeep.standby.is_some() => self
                .catch_up(&mut upkeep)
                .map(|entries| (Duration::ZERO, entries)),
            None => self.prepare(&mut upkeep, Reason::Manual, Instant::now()),
            Some(engine) => {
                let module = engine.compile(&self.wasm)?;
                let blueprint = Blueprint {
                    engine: engine.id(),
                    module,
                    ..upkeep.blueprint.clone()
                };
                self.discard(&mut upkeep);
                self.prepare_from(&mut upkeep, blueprint, Reason::Manual, Instant::now())
            }
        };
        self.publish(&upkeep);
        let (duration, entries) = outcome?;
        let standby = upkeep.standby.as_ref().ok_or(Error::NoStandby)?;
        Ok(Prepared {
            generation: standby.generation.number,
            duration,
            entries,
            memory: standby.generation.memory_bytes(),
            source: standby.source,
        })
    }

    pub(super) fn verify_on(&self, engine: &dyn Engine) -> Result<ReplayReport, Error> {
        let module = engine.compile(&self.wasm)?;
        let blueprint = {
            let upkeep = lock(&self.upkeep);
            Blueprint {
                engine: engine.id(),
                module,
                ..upkeep.blueprint.clone()
            }
        };
        // A snapshot: entries after it, or compacted after it, do not matter to the proof.
        let (genesis, entries) = {
            let journal = self.journal_in_turn();
            (
                journal.genesis().to_vec(),
                journal.after(SequenceNumber::ZERO, usize::MAX),
            )
        };
        let started = Instant::now();
        let (generation, _) =
            Generation::create(&blueprint, 0, Some(&genesis), &self.generations_alive)?;
        self.apply(&generation, &entries)?;
        Ok(ReplayReport {
            engine: engine.id(),
            entries: entries.len(),
            memory: generation.memory_bytes(),
            duration: started.elapsed(),
        })
    }

    /// Makes a standby, from `Idle` to `Ready`. Returns how long it took and how many entries it
    /// applied. On failure there is none, and the failure is counted and reported.
    pub(super) fn prepare(
        &self,
        upkeep: &mut Upkeep,
        reason: Reason,
        now: Instant,
    ) -> Result<(Duration, usize), Error> {
        let blueprint = upkeep.blueprint.clone();
        self.prepare_from(upkeep, blueprint, reason, now)
    }

    fn prepare_from(
        &self,
        upkeep: &mut Upkeep,
        blueprint: Blueprint,
        reason: Reason,
        now: Instant,
    ) -> Result<(Duration, usize), Error> {
        let started = Instant::now();
        let checkpoint = self.choose_checkpoint(upkeep, &blueprint, reason);
        // Two generations and what is left of a third would be more than anybody reckons with.
        self.graveyard.wait();
        upkeep.step(Step::Prepare);
        let entries = self.begin_replay(checkpoint.as_deref());
        self.publish(upkeep);
        let span = tracing::info_span!("prepare_standby", proxy = &*self.name, entries);
        let _entered = span.enter();
        self.observer
            .emit(&Event::StandbyPrepareStart { reason, entries });
        let mut outcome = self.replay(upkeep, &blueprint, checkpoint.as_ref(), reason, started);
        if let (Some(checkpoint), Err(error)) = (&checkpoint, &outcome)
            && !matches!(error, Error::StateExceedsBudget { .. })
        {
            // The journal is the truth: it has to do without the checkpoint then.
            self.restore_failed(upkeep, checkpoint, error);
            self.begin_replay(None);
            outcome = self.replay(upkeep, &blueprint, None, reason, started);
        }
        // While it still was to catch up: what goes wrong later is left to the next attempt.
        while let Err(error) = &outcome
            && upkeep.state == SwapState::Preparing
            && self.can_do_without_artifact(error)
        {
            outcome = self.replay(upkeep, &blueprint, None, reason, started);
        }
        match outcome {
            Ok((generation, entries, source)) => {
                let duration = started.elapsed();
                upkeep.step(Step::CaughtUp);
                upkeep.prepare_time = Some(duration);
                upkeep.degradation.succeeded();
                let memory = generation.memory_bytes();
                upkeep.standby = Some(Standby {
                    generation: Arc::new(generation),
                    prepare: duration,
                    blueprint,
                    source,
                    is_touched: self.plan.memory_usage.is_some(),
                });
                self.observer.emit(&Event::StandbyPrepareComplete {
                    duration,
                    entries,
                    memory,
                    source,
                });
                self.publish(upkeep);
                Ok((duration, entries))
            }
            Err(error) => {
                self.discard(upkeep);
                Err(self.preparation_failed(upkeep, now, error))
            }
        }
    }

    /// Forgets what need not be made again, and returns how many entries there are to apply.
    fn begin_replay(&self, checkpoint: Option<&Checkpoint>) -> usize {
        let mut journal = self.journal_in_turn();
        let applied = match checkpoint {
            None => {
                self.compact(&mut journal, SequenceNumber(u64::MAX));
                SequenceNumber::ZERO
            }
            Some(checkpoint) => {
                journal.compact_tail(checkpoint.sequence);
                self.artifacts.of_entries().sweep();
                checkpoint.sequence
            }
        };
        self.note_journal(&journal);
        self.note_applied(applied);
        journal.count_after(applied)
    }

    /// A fresh instance, or one from a checkpoint, and the rest of the journal applied to it.
    fn replay(
        &self,
        upkeep: &mut Upkeep,
        blueprint: &Blueprint,
        checkpoint: Option<&Arc<Checkpoint>>,
        reason: Reason,
        started: Instant,
    ) -> Result<(Generation, usize, Source), Error> {
        upkeep.newest += 1;
        let (number, alive) = (upkeep.newest, &self.generations_alive);
        let (generation, source) = if let Some(checkpoint) = checkpoint {
            let generation = Generation::restore(blueprint, number, checkpoint, alive)?;
            (generation, Source::Checkpoint(checkpoint.sequence))
        } else {
            let genesis = self.journal_in_turn().genesis().to_vec();
            let (generation, _) = Generation::create(blueprint, number, Some(&genesis), alive)?;
            (generation, Source::Replay)
        };
        let replayed = Instant::now();
        let target = self.journal_in_turn().last();
        let mut applied = checkpoint.map_or(SequenceNumber::ZERO, |one| one.sequence);
        let mut count = 0;
        loop {
            let (batch, _) = self.take_batch(applied);
            let Some(last) = batch.last() else { break };
            let last = last.sequence;
            self.apply(&generation, &batch)?;
            applied = last;
            count += batch.len();
            if started.elapsed() > self.options.prepare_timeout {
                return Err(Error::PreparationTimeout {
                    after: started.elapsed(),
                    applied,
                    last: self.journal_in_turn().last(),
                });
            }
            if applied >= target {
                break;
            }
        }
        upkeep.step(Step::Replayed);
        count += self.run_after(&generation, applied)?;
        let tail = replayed.elapsed();
        upkeep.checkpoints.note_replay(count, tail);
        if let Some(checkpoint) = checkpoint {
            checkpoint.note_use();
        }
        // Whoever waits for a dead generation to be replaced does not wait for a checkpoint too.
        if reason != Reason::Emergency {
            self.checkpoint_fresh(upkeep, &generation, source, tail);
        }
        if reason != Reason::Emergency {
            self.check_budget(&generation)?;
        }
        Ok((generation, count, source))
    }

    /// Applies what callers journaled meanwhile, until the tail is short. If callers journal as fast as
    /// this applies, it would run after them for ever: then they are held back until it is done.
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
            self.apply(generation, &batch)?;
            applied = last;
            count += batch.len();
            if left <= TAIL {
                break;
            }
            if left >= left_before && held.is_none() {
                held = Some(self.hold_back());
            }
            left_before = left;
        }
        Ok(count)
    }

    /// The next entries for a generation that has applied those before, and how many there are. From
    /// here on compaction counts them as applied.
    fn take_batch(&self, applied: SequenceNumber) -> (Vec<Arc<crate::Entry>>, usize) {
        let journal = self.journal_in_turn();
        let batch = journal.after(applied, BATCH);
        if let Some(last) = batch.last() {
            self.note_applied(last.sequence);
        }
        let left = journal.count_after(applied);
        (batch, left)
    }

    /// Whether so much has happened since a waiting standby was brought up to date that a swap would
    /// have to wait for it. What comes and goes meanwhile is not done to it at all.
    pub(super) fn is_behind(&self, upkeep: &Upkeep) -> bool {
        let Some(standby) = &upkeep.standby else {
            return false;
        };
        let applied = standby.generation.applied();
        self.journal_in_turn().count_after(applied) > TAIL
    }

    /// Brings a standby that waits up to date. On failure it is discarded.
    pub(super) fn catch_up(&self, upkeep: &mut Upkeep) -> Result<usize, Error> {
        let Some(standby) = &upkeep.standby else {
            return Err(Error::NoStandby);
        };
        let generation = Arc::clone(&standby.generation);
        let applied = generation.applied();
        {
            let mut journal = self.journal_in_turn();
            if journal.compact_tail(applied) > 0 {
                self.artifacts.of_entries().sweep();
                self.note_journal(&journal);
            }
        }
        self.run_after(&generation, applied).map_err(|error| {
            drop(generation);
            self.discard(upkeep);
            self.preparation_failed(upkeep, Instant::now(), error)
        })
    }

    /// Applies entries, with the help of the artifact store.
    pub(super) fn apply(
        &self,
        generation: &Generation,
        entries: &[Arc<crate::Entry>],
    ) -> Result<(), Error> {
        self.supply_artifacts(entries);
        let applied = self.apply_alone(generation, entries);
        self.note_artifacts(entries, applied.as_ref().err());
        applied
    }

    /// Applies entries without a look at the artifact store, whose directory may be slow. What was
    /// exported meanwhile is kept by the next replay.
    pub(super) fn apply_alone(
        &self,
        generation: &Generation,
        entries: &[Arc<crate::Entry>],
    ) -> Result<(), Error> {
        let imported = generation.apply(entries, self.artifacts.of_entries())?;
        self.counters
            .imported
            .fetch_add(imported, Ordering::Relaxed);
        self.counters
            .verified
            .fetch_add(entries.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Refuses a standby that would be over the warning threshold from its first moment.
    fn check_budget(&self, generation: &Generation) -> Result<(), Error> {
        let limit = lock(&self.status).memory_limit;
        let threshold = self.options.thresholds.warn_bytes(limit, 0.0);
        let reported = self
            .plan
            .memory_usage
            .and_then(|func| self.ask(generation, func));
        let state = generation.memory_bytes().max(reported.map_or(0, bytes_of));
        if state < threshold {
            return Ok(());
        }
        self.observer
            .emit(&Event::StateExceedsBudget { state, threshold });
        Err(Error::StateExceedsBudget {
            state_mib: mib(state),
            threshold_mib: mib(threshold),
        })
    }

    fn preparation_failed(&self, upkeep: &mut Upkeep, now: Instant, error: Error) -> Error {
        if let Error::StateExceedsBudget {
            state_mib,
            threshold_mib,
        } = error
        {
            upkeep
                .degradation
                .budget_exceeded(now, state_mib, threshold_mib);
            lock(&self.status).last_error = Some(error.to_string());
            self.publish(upkeep);
            return error;
        }
        if let Error::Divergence(divergence) = &error {
            self.counters.divergences.fetch_add(1, Ordering::Relaxed);
            self.observer.emit(&Event::ReplayDivergence {
                divergence: (**divergence).clone(),
            });
        }
        let was_open = upkeep.degradation.is_open();
        let retry_in = upkeep.degradation.failed(now);
        let failures = upkeep.degradation.failures();
        self.observer.emit(&Event::StandbyPrepareError {
            error: error.to_string(),
            failures,
            retry_in,
        });
        if upkeep.degradation.is_open() && !was_open {
            self.observer.emit(&Event::BreakerOpen { failures });
        }
        lock(&self.status).last_error = Some(error.to_string());
        debug_assert_eq!(upkeep.state, SwapState::Idle);
        self.publish(upkeep);
        match error {
            error @ (Error::Divergence(_) | Error::PreparationTimeout { .. }) => error,
            error => Error::Preparation {
                source: Box::new(error),
            },
        }
    }
}
