//! What is done beside the calls: looking at memory, deciding, rebuilding, freeing.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant};

use super::graveyard::Buried;
use super::{Blueprint, Generation, Inner, prepare::Standby};
use crate::checkpoint::Checkpoints;
use crate::degradation::Degradation;
use crate::event::Event;
use crate::generation::{Kill, lock};
use crate::journal::Journal;
use crate::memory::{Decision, GrowthRate, MIB, Situation, mib};
use crate::state::Step;
use crate::{Error, Patience, Reason, SequenceNumber, SwapState};

/// What only one thread at a time may work on.
#[derive(Debug)]
pub(super) struct Upkeep {
    pub(super) blueprint: Blueprint,
    pub(super) state: SwapState,
    pub(super) standby: Option<Standby>,
    pub(super) draining: Option<Draining>,
    pub(super) degradation: Degradation,
    pub(super) growth: GrowthRate,
    pub(super) checkpoints: Checkpoints,
    /// Until when none is tried in the background.
    pub(super) checkpoint_pause: Option<Instant>,
    /// How long the last preparation took, if there was one.
    pub(super) prepare_time: Option<Duration>,
    /// The dead generation that an attempt was made to replace.
    pub(super) mourned: Option<u64>,
    /// The number of the newest generation.
    pub(super) newest: u64,
}

/// An old generation that calls may still be on.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) generation: Arc<Generation>,
    pub(super) since: Instant,
}

/// How long a generation that was ended at its drain deadline may take to be let go. Only a host
/// function that does not return takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl Upkeep {
    pub(super) fn new(blueprint: Blueprint, patience: Patience, checkpoints: Checkpoints) -> Self {
        Self {
            blueprint,
            state: SwapState::Idle,
            standby: None,
            draining: None,
            degradation: Degradation::new(patience),
            growth: GrowthRate::default(),
            checkpoints,
            checkpoint_pause: None,
            prepare_time: None,
            mourned: None,
            newest: 1,
        }
    }

    /// Moves the state. A step that makes no sense here is a bug of ours.
    pub(super) fn step(&mut self, step: Step) {
        let next = self.state.after(step);
        debug_assert!(next.is_some(), "{step:?} in state {}", self.state);
        self.state = next.unwrap_or(SwapState::Idle);
    }
}

impl Inner {
    /// Upkeep for what the user asks for, while that makes sense.
    ///
    /// # Errors
    ///
    /// [`Error::Passthrough`]; [`Error::Reentrant`]; [`Error::ShutDown`].
    pub(super) fn upkeep_by_hand(&self) -> Result<MutexGuard<'_, Upkeep>, Error> {
        if !self.is_enabled() {
            return Err(Error::Passthrough);
        }
        self.check_outside()?;
        let upkeep = lock(&self.upkeep);
        if self.active.load().is_none() {
            return Err(Error::ShutDown);
        }
        Ok(upkeep)
    }

    pub(super) fn tick(&self, now: Instant) {
        if self.check_outside().is_err() {
            // A host function or a hook waits for this thread already.
            return;
        }
        let mut upkeep = lock(&self.upkeep);
        self.reap(&mut upkeep, now);
        if self.objects_freed.swap(false, Ordering::Relaxed) {
            upkeep.degradation.state_shrank();
        }
        // Loaded under the lock: whoever held it may have replaced a dead generation.
        let Some(active) = self.active.load_full() else {
            return;
        };
        self.learn_reported(&active);
        let situation = self.situation(&mut upkeep, &active, now);
        let dead = active.taint().is_some();
        drop(active);
        let standby = upkeep
            .standby
            .as_ref()
            .map(|standby| standby.generation.memory_bytes());
        self.observer.emit(&Event::MemoryCheck {
            used: situation.used,
            limit: situation.limit,
            standby,
            growth_rate: situation.growth_rate,
        });
        let journal_entries = self.tally.entries.load(Ordering::Relaxed);
        self.observer
            .counts(journal_entries, self.generations_alive.alive());
        self.observer.artifacts(self.artifacts.usage());
        if self.is_enabled() {
            // Errors have been reported by events where they arose.
            if dead {
                let _ = self.replace(&mut upkeep, now);
            } else {
                self.act(&mut upkeep, situation, now);
            }
        }
        self.publish(&upkeep);
    }

    /// Does what the situation asks for. Errors have been reported by events where they arose.
    fn act(&self, upkeep: &mut Upkeep, mut situation: Situation, now: Instant) {
        if upkeep.standby.is_some() {
            // A long tail would delay the swap; of a short one much may yet turn out to be needless.
            if self.is_behind(upkeep) && self.catch_up(upkeep).is_err() {
                return;
            }
            situation.standby_ready = !self.discard_crowded(upkeep);
        }
        match situation.decide(self.options.thresholds) {
            Decision::Nothing => self.maintain_checkpoints(upkeep),
            Decision::Prepare(reason) => {
                let is_free = upkeep.draining.is_none() && upkeep.degradation.permit(now).is_ok();
                if is_free && self.prepare(upkeep, reason, now).is_ok() {
                    self.swap_if_due(upkeep, now);
                }
            }
            Decision::Swap(reason) => {
                let _ = self.promote(upkeep, reason);
            }
        }
    }

    /// Memory grew during the preparation: the swap may be due already.
    fn swap_if_due(&self, upkeep: &mut Upkeep, now: Instant) {
        let Some(active) = self.active.load_full() else {
            return;
        };
        let situation = self.situation(upkeep, &active, now);
        drop(active);
        if let Decision::Swap(reason) = situation.decide(self.options.thresholds) {
            let _ = self.promote(upkeep, reason);
        }
    }

    fn situation(&self, upkeep: &mut Upkeep, active: &Generation, now: Instant) -> Situation {
        let mut status = lock(&self.status);
        let used = active.memory_bytes().max(status.reported);
        status.growth_rate = upkeep.growth.sample(now, used);
        let situation = Situation {
            used,
            limit: status.memory_limit,
            baseline: status.baseline,
            headroom: self.largest_growth.bytes(),
            growth_rate: status.growth_rate,
            // Of the first one it is known how long its calls took.
            prepare_time: upkeep.prepare_time.unwrap_or(self.tally.took()),
            standby_ready: upkeep.state == SwapState::Ready,
            warn_step: upkeep.degradation.warn_step(),
        };
        // While a pause lasts there is nothing to be woken for.
        let is_paused = !situation.standby_ready && upkeep.degradation.permit(now).is_err();
        let wake_at = if is_paused {
            u64::MAX
        } else {
            situation.wake_at(self.options.thresholds)
        };
        self.wake_at.store(wake_at, Ordering::Relaxed);
        situation
    }

    /// Asks the module what it uses, if it can say and nobody is inside.
    fn learn_reported(&self, active: &Generation) {
        let Some(func) = self.plan.memory_usage else {
            return;
        };
        if let Some(reported) = self.ask(active, func) {
            lock(&self.status).reported = bytes_of(reported);
        }
    }

    /// Asks the module what it holds to be its limit, once.
    pub(super) fn learn_limits(&self) {
        let Some(active) = self.active.load_full() else {
            return;
        };
        if let Some(func) = self.plan.critical_memory
            && let Some(reported) = self.ask(&active, func)
            && reported > 0.0
        {
            let mut status = lock(&self.status);
            status.memory_limit = status.memory_limit.min(bytes_of(reported));
        }
        let mut upkeep = lock(&self.upkeep);
        self.situation(&mut upkeep, &active, Instant::now());
    }

    /// Calls one of the module's own reports, unless somebody is inside.
    pub(super) fn ask(&self, active: &Generation, func: engine_api::FuncIndex) -> Option<f64> {
        let mut guest = active.try_enter()?;
        let _inside = self.enter_thread().ok()?;
        let plan = self.plan.export(func);
        let outcome = self.guarded(plan, active, &mut guest, |guest| guest.report(func));
        outcome.ok().flatten()
    }

    /// The active generation died: puts another in its place before any call goes on.
    pub(super) fn recover(&self, dead: u64) -> Result<(), Error> {
        self.check_outside()?;
        let mut upkeep = lock(&self.upkeep);
        let active = self.active.load_full().ok_or(Error::ShutDown)?;
        if active.number != dead {
            // Another thread was faster.
            return Ok(());
        }
        drop(active);
        let outcome = self.replace(&mut upkeep, Instant::now());
        self.publish(&upkeep);
        outcome
    }

    fn replace(&self, upkeep: &mut Upkeep, now: Instant) -> Result<(), Error> {
        self.settle_draining(upkeep);
        self.discard_crowded(upkeep);
        if upkeep.standby.is_some() && self.promote(upkeep, Reason::Emergency).is_ok() {
            return Ok(());
        }
        // Replaying again for every call would help nobody, but each dead generation is worth a try
        // however the attempts before it went.
        let dead = self
            .active
            .load()
            .as_ref()
            .map_or(0, |active| active.number);
        if upkeep.mourned == Some(dead) {
            upkeep.degradation.permit(now).or_else(|wait| match wait {
                Error::StateExceedsBudget { .. } => Ok(()),
                wait => Err(wait),
            })?;
        }
        upkeep.mourned = Some(dead);
        self.prepare(upkeep, Reason::Emergency, now)?;
        self.promote(upkeep, Reason::Emergency).map(|_| ())
    }

    /// Discards a standby that has filled up like the active generation while it kept up with it: one
    /// made from the compacted journal is smaller. Returns whether it did.
    fn discard_crowded(&self, upkeep: &mut Upkeep) -> bool {
        let limit = lock(&self.status).memory_limit;
        let threshold = self.options.thresholds.warn_bytes(limit, 0.0);
        let is_crowded = |standby: &Standby| standby.generation.memory_bytes() >= threshold;
        let crowded = upkeep.standby.as_ref().is_some_and(is_crowded);
        if crowded {
            self.discard(upkeep);
        }
        crowded
    }

    /// Makes room for another generation at once: ends what the draining one still does.
    fn settle_draining(&self, upkeep: &mut Upkeep) {
        let Some(draining) = &upkeep.draining else {
            return;
        };
        if draining.generation.killed().is_none() && Arc::strong_count(&draining.generation) > 1 {
            self.kill(&draining.generation, Kill::Evicted);
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        while upkeep.draining.is_some() && Instant::now() < deadline {
            self.reap(upkeep, Instant::now());
            if upkeep.draining.is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(stuck) = upkeep.draining.take() {
            // A host function does not return. Its thread holds the last reference and frees it.
            tracing::error!(
                proxy = &*self.name,
                generation = stuck.generation.number,
                "a host function keeps a dead generation"
            );
            upkeep.step(Step::Drained);
        }
    }

    fn kill(&self, generation: &Generation, why: Kill) {
        generation.kill(why);
        self.observer.emit(&Event::DrainKilled {
            generation: generation.number,
        });
    }

    /// Frees the old generation if its last call has ended, and ends its calls if they took too long.
    pub(super) fn reap(&self, upkeep: &mut Upkeep, now: Instant) {
        let Some(draining) = &upkeep.draining else {
            return;
        };
        let drained = now.saturating_duration_since(draining.since);
        if Arc::strong_count(&draining.generation) > 1 {
            if drained >= self.options.drain_timeout && draining.generation.killed().is_none() {
                self.kill(&draining.generation, Kill::DrainDeadline);
            }
            return;
        }
        // Ours is the last reference, and nothing can make another.
        if let Some(Draining { generation, .. }) = upkeep.draining.take() {
            upkeep.step(Step::Drained);
            self.publish(upkeep);
            self.bury(Buried {
                generation,
                drained,
            });
        }
    }

    /// Frees an old generation's memory: on the reaper's thread if there is one.
    fn bury(&self, buried: Buried) {
        if let Some(buried) = self.graveyard.add(buried) {
            self.free(buried);
        }
    }

    pub(super) fn free(&self, buried: Buried) {
        let Buried {
            generation,
            drained,
        } = buried;
        let (number, memory) = (generation.number, generation.memory_bytes());
        generation.free();
        self.observer.emit(&Event::GenerationFreed {
            generation: number,
            memory,
            drained,
        });
    }

    /// Copies to where `debug_info` looks.
    pub(super) fn publish(&self, upkeep: &Upkeep) {
        let mut status = lock(&self.status);
        status.state = upkeep.state;
        status.standby_memory = upkeep
            .standby
            .as_ref()
            .map(|standby| standby.generation.memory_bytes());
        status.failures = upkeep.degradation.failures();
        status.state_exceeds_budget = upkeep.degradation.exceeds_budget();
        status.growth_rate = upkeep.growth.bytes_per_second();
        status.checkpoint = upkeep.checkpoints.newest().map(|newest| newest.info());
        status.checkpoints_rejected = upkeep.checkpoints.rejections();
        let obstacles = upkeep.checkpoints.obstacles();
        if status.checkpoint_obstacles.len() != obstacles.len() {
            status.checkpoint_obstacles = obstacles.to_vec();
        }
    }

    pub(super) fn note_journal(&self, journal: &Journal) {
        self.tally.note(journal);
    }

    pub(super) fn shutdown(&self) -> bool {
        let Some(active) = self.active.swap(None) else {
            return true;
        };
        self.bell.ring();
        let mut upkeep = lock(&self.upkeep);
        self.discard(&mut upkeep);
        active.retire();
        active.send_away();
        let since = Instant::now();
        let mut left = vec![active];
        left.extend(upkeep.draining.take().map(|draining| draining.generation));
        while !left.is_empty() {
            left.retain(|generation| Arc::strong_count(generation) > 1);
            let waited = since.elapsed();
            if waited >= self.options.drain_timeout + KILL_TIMEOUT {
                return false;
            }
            if waited >= self.options.drain_timeout {
                for generation in left
                    .iter()
                    .filter(|generation| generation.killed().is_none())
                {
                    self.kill(generation, Kill::DrainDeadline);
                }
            }
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        upkeep.checkpoints.clear();
        upkeep.state = SwapState::Idle;
        self.publish(&upkeep);
        self.graveyard.wait();
        true
    }

    /// Drops the standby, if there is one, and what the journal kept for it.
    pub(super) fn discard(&self, upkeep: &mut Upkeep) {
        if upkeep.standby.take().is_some() || upkeep.state.has_standby() {
            upkeep.step(Step::Discard);
        }
        self.standby_applied.store(u64::MAX, Ordering::Release);
    }

    /// What the standby has applied: the journal keeps what it still needs.
    pub(super) fn note_applied(&self, applied: SequenceNumber) {
        self.standby_applied.store(applied.0, Ordering::Release);
    }
}

/// A number of MiB that a module reported, in bytes. Absurd ones saturate.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`report` gives finite numbers that are not negative, and the cast saturates"
)]
pub(super) fn bytes_of(reported_mib: f64) -> u64 {
    debug_assert!(reported_mib >= 0.0 && mib(0) < 1.0);
    (reported_mib * MIB) as u64
}
