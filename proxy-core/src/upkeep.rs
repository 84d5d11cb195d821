//! Upkeep: the work beside the calls. It looks at memory, decides, prepares, swaps, takes
//! checkpoints, rebuilds and frees, under one lock that calls take only when their generation died.
//!
//! Locks are taken in this order: upkeep's state, a generation's lane, the turn, the journal. The
//! locks of `status` and in [`Shared`] are held for moments, and nothing else is locked meanwhile.

mod aside;
mod attendance;
mod audit;
mod checkpointing;
mod divergence;
mod drain;
mod due;
mod graveyard;
mod history;
mod keeper;
mod loan;
mod prepare;
mod replay;
mod state_digest;
mod swap;
mod tier_up;
mod undo;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoints, History};
use crate::data_plane::Caretaker;
use crate::degradation::Degradation;
use crate::event::Event;
use crate::generation::{Blueprint, Generation, lock};
use crate::hooks::SwapHooks;
use crate::memory::{Decision, GrowthRate, Situation, bytes_of, worthwhile};
use crate::renewal::Renewal;
use crate::shared::Shared;
use crate::state::Step;
use crate::triggers::{AskWatch, IdleWatch, Signs, StackWatch};
use crate::working_set::WorkingSet;
use crate::{Checkpointed, Error, HistoryBound, Patience, Reason, SequenceNumber, SwapState};

use aside::Aside;
pub(crate) use attendance::Attendant;
pub use divergence::OnDivergence;
pub(crate) use divergence::{emit_cut, settle_entry, write_cut};
use drain::Draining;
use due::permits;
use graveyard::Graveyard;
pub(crate) use history::first_look_at;
pub(crate) use keeper::Keeper;
use loan::Loan;
use prepare::Standby;
pub(crate) use replay::replay_all;
use state_digest::DigestTrust;

/// How long nothing about checkpoints is tried in the background after it failed.
const PAUSE: Duration = Duration::from_mins(1);

/// The shortest rest of a supervisor between two looks.
const REST_MIN: Duration = Duration::from_micros(100);

/// The one owner of standbys, checkpoints and old generations.
pub(crate) struct Upkeep {
    shared: Arc<Shared>,
    options: Options,
    state: Mutex<State>,
    status: Mutex<Status>,
    graveyard: Graveyard,
    loan: Loan,
}

/// Settings from the builder.
pub(crate) struct Options {
    /// The module's bytes, for a move to another engine.
    pub(crate) wasm: Box<[u8]>,
    pub(crate) prepare_timeout: Duration,
    pub(crate) compile_timeout: Duration,
    pub(crate) digest_patience: Duration,
    pub(crate) hooks: Vec<Arc<dyn SwapHooks>>,
    /// The length at which the user is told that the journal is long.
    pub(crate) history_bound: HistoryBound,
    pub(crate) on_divergence: OnDivergence,
}

/// State that one thread at a time works on.
#[derive(Debug)]
pub(crate) struct State {
    blueprint: Blueprint,
    swap: SwapState,
    standby: Option<Standby>,
    draining: Option<Draining>,
    degradation: Degradation,
    checkpoints: Checkpoints,
    renewal: Renewal,
    /// Nothing about checkpoints is begun in the background before this moment.
    checkpoint_pause: Option<Instant>,
    /// Whether a checkpoint should take the place of the journal's entries.
    fold_due: bool,
    keeper: Keeper,
    /// The instance in the making that serves nobody, if there is one.
    aside: Option<Aside>,
    /// How long the last slice of work on it took, while there is more to do.
    aside_took: Option<Duration>,
    memory: Memory,
    /// The size of the last standby made from nothing, or from the base alone, unless objects were
    /// freed since.
    replayed_bytes: Option<u64>,
    /// How long the last preparation took, if there was one.
    prepare_time: Option<Duration>,
    /// The dead generation that an attempt was made to replace.
    mourned: Option<u64>,
    /// The number of the newest generation.
    newest: u64,
    /// Whether the state digest may be asked.
    digest_trust: DigestTrust,
    idle: IdleWatch,
    stack: StackWatch,
    ask: AskWatch,
    /// How soon time alone may ask for a swap.
    trigger_in: Option<Duration>,
}

/// Facts about the active generation's memory besides its size. In bytes.
#[derive(Debug)]
struct Memory {
    /// Its size when it took over.
    baseline: u64,
    /// What the module reports as used.
    reported: u64,
    growth: GrowthRate,
    working_set: WorkingSet,
    /// The largest size seen since it took over, and when it was first seen.
    peak: (u64, Instant),
    /// When it took over.
    since: Instant,
    /// The size of a standby that was not worth a swap.
    state_bytes: u64,
}

impl Memory {
    /// A generation of this size took over.
    fn begin(&mut self, bytes: u64, now: Instant) {
        self.baseline = bytes;
        self.reported = 0;
        self.peak = (bytes, now);
        self.since = now;
        self.state_bytes = 0;
    }

    /// Its size when it took over, and the working set on top of it.
    fn settled(&self) -> u64 {
        self.baseline.saturating_add(self.working_set.bytes())
    }
}

/// A copy of what debug information shows of the state, whose lock can be held for long.
#[derive(Clone, Debug, Default)]
pub(crate) struct Status {
    pub(crate) state: SwapState,
    pub(crate) standby_memory: Option<u64>,
    pub(crate) baseline: u64,
    pub(crate) working_set: u64,
    pub(crate) growth_rate: f64,
    pub(crate) failures: u32,
    pub(crate) state_exceeds_budget: bool,
    pub(crate) checkpoint: Option<Checkpointed>,
    pub(crate) checkpoint_uses: u32,
    pub(crate) checkpoint_obstacles: Vec<String>,
    pub(crate) history: History,
    pub(crate) history_base: Option<SequenceNumber>,
    /// How long to rest before the next slice of work aside, if there is more to do.
    aside_rest: Option<Duration>,
    /// How soon time alone may ask for a swap.
    trigger_in: Option<Duration>,
    pub(crate) stack_drift: u64,
}

impl State {
    pub(crate) fn new(
        blueprint: Blueprint,
        patience: Patience,
        checkpoints: Checkpoints,
        keeper: Keeper,
        baseline: u64,
    ) -> Self {
        Self {
            blueprint,
            swap: SwapState::Idle,
            standby: None,
            draining: None,
            degradation: Degradation::new(patience),
            checkpoints,
            renewal: Renewal::default(),
            checkpoint_pause: None,
            fold_due: false,
            keeper,
            aside: None,
            aside_took: None,
            memory: Memory {
                baseline,
                reported: 0,
                growth: GrowthRate::default(),
                working_set: WorkingSet::default(),
                peak: (baseline, Instant::now()),
                since: Instant::now(),
                state_bytes: 0,
            },
            replayed_bytes: None,
            prepare_time: None,
            mourned: None,
            newest: 1,
            digest_trust: DigestTrust::default(),
            idle: IdleWatch::default(),
            stack: StackWatch::default(),
            ask: AskWatch::default(),
            trigger_in: None,
        }
    }

    /// Moves the state. A step that makes no sense here is a bug.
    fn step(&mut self, step: Step) {
        let next = self.swap.after(step);
        debug_assert!(next.is_some(), "{step:?} in state {}", self.swap);
        self.swap = next.unwrap_or(SwapState::Idle);
    }

    /// Whether a standby of this size is larger than the state needs, as far as is known: by an
    /// eighth and more.
    fn is_swollen(&self, bytes: u64) -> bool {
        self.replayed_bytes
            .is_none_or(|replayed| bytes > replayed.saturating_add(replayed / 8))
    }

    /// The size of the standby, in bytes.
    fn standby_memory(&self) -> Option<u64> {
        let standby = self.standby.as_ref();
        standby.map(|standby| standby.generation.memory_bytes())
    }
}

impl Caretaker for Upkeep {
    fn recover(&self, dead: u64) -> Result<(), Error> {
        self.shared.check_outside()?;
        let mut state = lock(&self.state);
        let active = self
            .shared
            .active
            .load_full()
            .ok_or_else(|| self.shared.why_ended())?;
        if active.number != dead {
            // Another thread was faster.
            return Ok(());
        }
        drop(active);
        let outcome = self.replace(&mut state, Instant::now());
        self.publish(&state);
        outcome
    }

    #[cold]
    fn undo(&self) {
        self.undo_now();
    }

    #[cold]
    fn tidy_up(&self) {
        if self.shared.wakeup.is_supervised() {
            self.shared.wakeup.wake();
        } else if let Ok(mut state) = self.state.try_lock() {
            self.reap(&mut state, Instant::now());
            self.compact_if_due();
            self.look_at_length(&mut state);
        }
    }
}

impl Upkeep {
    pub(crate) fn new(shared: Arc<Shared>, options: Options, state: State) -> Self {
        let upkeep = Self {
            shared,
            options,
            state: Mutex::new(state),
            status: Mutex::default(),
            graveyard: Graveyard::default(),
            loan: Loan::default(),
        };
        upkeep.learn_limits();
        upkeep
    }

    /// A supervisor has come, or gone. If another thread works on the state, that says the same later.
    pub(crate) fn supervised(&self) {
        if let Ok(state) = self.state.try_lock() {
            self.say_when_full(&state);
        }
    }

    pub(crate) fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// How long a supervisor rests after a tick, at most `interval`. While there is work aside, as
    /// long as its last slice took: such work takes half of a processor at the most.
    pub(crate) fn rest(&self, interval: Duration) -> Duration {
        let status = lock(&self.status);
        let rests = [status.aside_rest, status.trigger_in];
        let rest = rests.into_iter().flatten().min();
        rest.map_or(interval, |rest| rest.min(interval).max(REST_MIN))
    }

    /// Locks the state for a request of the user's, while that makes sense.
    ///
    /// # Errors
    ///
    /// [`Error::Passthrough`]; [`Error::Reentrant`]; [`Error::ShutDown`].
    fn by_hand(&self) -> Result<MutexGuard<'_, State>, Error> {
        if !self.shared.is_enabled() {
            return Err(Error::Passthrough);
        }
        self.shared.check_outside()?;
        let state = lock(&self.state);
        if self.shared.active.load().is_none() {
            return Err(self.shared.why_ended());
        }
        Ok(state)
    }

    /// Does what is due.
    pub(crate) fn tick(&self, now: Instant) {
        if self.shared.check_outside().is_err() {
            // A host function or a hook waits for this thread already.
            return;
        }
        let mut state = lock(&self.state);
        self.reap(&mut state, now);
        self.compact_if_due();
        self.look_at_length(&mut state);
        self.keep_if_due(&mut state, now);
        if self.shared.journal.take_freed() {
            state.degradation.state_shrank();
            state.replayed_bytes = None;
        }
        // Loaded under the lock: the thread before may have replaced a dead generation.
        let Some(active) = self.shared.active.load_full() else {
            self.say_when_full(&state);
            return;
        };
        self.learn_reported(&mut state, &active);
        self.learn_request(&active);
        let situation = self.situation(&mut state, &active, now);
        let signs = self.signs(&state, &active, now);
        let dead = active.taint().is_some();
        drop(active);
        self.shared.ledger.emit(&Event::MemoryCheck {
            used: situation.used,
            limit: situation.limit,
            standby: state.standby_memory(),
            growth_rate: situation.growth_rate,
        });
        self.shared.ledger.show_sizes(
            (
                self.shared.journal.size.entries(),
                self.shared.journal.size.bytes(),
            ),
            self.shared.live_generations.alive(),
            self.shared.artifacts.usage(),
        );
        if self.shared.is_enabled() {
            // Errors have been reported by events where they arose.
            if dead {
                let _ = self.replace(&mut state, now);
            } else {
                self.act(&mut state, situation, signs, now);
            }
        } else {
            self.drop_aside(&mut state);
            self.shared.open_turns.not_due();
        }
        state.trigger_in = self.next_trigger(&state, now);
        self.publish(&state);
        drop(state);
        self.work_on_what_is_lent();
    }

    /// Does what the situation asks for. Errors have been reported by events where they arose.
    fn act(&self, state: &mut State, mut situation: Situation, signs: Signs, now: Instant) {
        if state.standby.is_some() {
            // A long tail would delay the swap. A short one can wait, and some of it may turn out
            // to be needless.
            if self.is_behind(state) && self.catch_up(state).is_err() {
                return;
            }
            situation.standby_ready = !self.discard_crowded(state);
        }
        let decision = self.decide(state, &situation, &signs);
        if !matches!(decision, Decision::Swap(_)) {
            self.shared.open_turns.not_due();
        }
        match decision {
            Decision::Nothing if self.fold_if_due(state) => {}
            Decision::Nothing => self.maintain_checkpoints(state),
            Decision::Prepare(reason) => {
                if state.draining.is_some() || !permits(state, reason, now) {
                    self.work_aside(state);
                    return;
                }
                // From here on a swap is near, with or without a supervisor.
                self.hold_back(&situation);
                if self.prepare(state, reason, now).is_ok() {
                    self.swap_if_due(state, now);
                }
                if !self.shared.wakeup.is_supervised() {
                    // Nobody knows when the next tick will be.
                    self.shared.let_calls_go();
                }
            }
            Decision::Swap(reason) => self.swap_for(state, reason),
        }
    }

    /// Memory grew during the preparation: the swap may be due already.
    fn swap_if_due(&self, state: &mut State, now: Instant) {
        let Some(active) = self.shared.active.load_full() else {
            return;
        };
        let situation = self.situation(state, &active, now);
        let signs = self.signs(state, &active, now);
        drop(active);
        if let Decision::Swap(reason) = self.decide(state, &situation, &signs) {
            self.swap_for(state, reason);
        }
    }

    /// What the active generation uses, in bytes: the larger of the size of its memories and its own
    /// report, or the report alone where the size tells nothing.
    pub(super) fn used(&self, state: &State, active: &Generation) -> u64 {
        if self.shared.budget.sees_growth() {
            active.memory_bytes().max(state.memory.reported)
        } else {
            active.watch.reported()
        }
    }

    fn situation(&self, state: &mut State, active: &Generation, now: Instant) -> Situation {
        let used = self.used(state, active);
        let memory = &mut state.memory;
        if used > memory.peak.0 {
            memory.peak = (used, now);
        }
        // The way back to the working set is no trend.
        memory.growth.sample(now, used.max(memory.settled()));
        state
            .degradation
            .memory_grew(used, active.watch.pure_growth());
        self.look(state, active, now)
    }

    /// What the facts known so far ask for, and when to look again.
    fn look(&self, state: &State, active: &Generation, now: Instant) -> Situation {
        let memory = &state.memory;
        let used = self.used(state, active);
        let situation = Situation {
            used,
            limit: self.shared.budget.limit(),
            baseline: memory.settled(),
            headroom: self.shared.budget.headroom(),
            growth_rate: memory.growth.bytes_per_second(),
            // Before the first preparation, the time that the journaled calls took is the best
            // guess.
            prepare_time: state
                .prepare_time
                .unwrap_or(self.shared.journal.size.took()),
            standby_ready: state.swap == SwapState::Ready,
            warn_step: state.degradation.warn_step(),
        };
        // While a pause lasts there is nothing to be woken for, but what may end it.
        let is_paused = !situation.standby_ready && state.degradation.permit(now).is_err();
        let ends_at = state
            .degradation
            .ends_at(now, used, active.watch.pure_growth());
        let wake_at = if is_paused {
            ends_at.unwrap_or(u64::MAX)
        } else {
            situation.wake_at(self.shared.budget.thresholds)
        };
        self.shared.budget.wake_at(wake_at);
        if used < wake_at && self.used(state, active) >= wake_at {
            // The call that grew it compared with the size before.
            self.shared.wakeup.wake();
        }
        let is_supervised = self.shared.wakeup.is_supervised();
        match ends_at {
            _ if !self.shared.is_enabled() => self.shared.let_calls_go(),
            // The swap is not near: it waits for the end of a turn.
            _ if self.shared.open_turns.is_due() => self.shared.let_calls_go(),
            // Every size is the limit.
            _ if !self.shared.budget.sees_growth() => self.shared.holding.release(),
            _ if is_supervised && !is_paused => self.hold_back(&situation),
            // The pause ends there, and the supervisor wakes later than calls come.
            Some(size) if is_paused && is_supervised => {
                let from = situation.hold_from(self.shared.budget.thresholds);
                let holding = &self.shared.holding;
                holding.hold_from(from.max(size), situation.prepare_time);
            }
            _ if is_paused => self.shared.holding.release(),
            _ => {}
        }
        let holding = &self.shared.holding;
        if active.watch.is_held() && holding.is_far(situation.time_to_swap()) {
            self.shared.let_calls_go();
        }
        situation
    }

    /// A swap is near: says from where on calls wait for it.
    fn hold_back(&self, situation: &Situation) {
        if !self.shared.budget.sees_growth() {
            // Every size is the limit.
            return;
        }
        let from = situation.hold_from(self.shared.budget.thresholds);
        self.shared
            .holding
            .hold_from(from, situation.time_to_swap());
    }

    /// Says when to look again: a generation has just begun to serve, or a pause has begun.
    fn look_anew(&self, state: &State, now: Instant) {
        if let Some(active) = self.shared.active.load_full() {
            self.look(state, &active, now);
        }
    }

    /// Asks the module how much memory it uses, if it can say and no call is inside.
    fn learn_reported(&self, state: &mut State, active: &Generation) {
        let Some(func) = self.shared.config.plan.memory_usage else {
            return;
        };
        if let Some(reported) = self.shared.ask(active, func) {
            state.memory.reported = bytes_of(reported);
            active.watch.set_reported(state.memory.reported);
        }
    }

    /// Asks the module for a limit of its own, once.
    fn learn_limits(&self) {
        let Some(active) = self.shared.active.load_full() else {
            return;
        };
        if let Some(func) = self.shared.config.plan.critical_memory
            && let Some(reported) = self.shared.ask(&active, func)
            && reported > 0.0
        {
            self.shared.budget.lower_limit(bytes_of(reported));
        }
        let mut state = lock(&self.state);
        self.situation(&mut state, &active, Instant::now());
        self.publish(&state);
    }

    fn replace(&self, state: &mut State, now: Instant) -> Result<(), Error> {
        self.undo_if_due(state);
        self.settle_draining(state);
        if state.standby.is_some() && self.catch_up(state).is_ok() {
            self.discard_crowded(state);
        }
        if state.standby.is_some() && self.promote(state, Reason::Emergency, &mut None).is_ok() {
            return Ok(());
        }
        // A replay for every call would be a waste, but each dead generation is worth one attempt,
        // however earlier ones went.
        let dead = self
            .shared
            .active
            .load()
            .as_ref()
            .map_or(0, |active| active.number);
        if state.mourned == Some(dead) {
            state.degradation.permit(now).or_else(|wait| match wait {
                Error::StateExceedsBudget { .. } => Ok(()),
                wait => Err(wait),
            })?;
        }
        state.mourned = Some(dead);
        self.prepare(state, Reason::Emergency, now)?;
        self.promote(state, Reason::Emergency, &mut None)
            .map(|_| ())
    }

    /// Discards a standby that has grown like the active generation while it kept up with it: one
    /// made from the compacted journal is smaller. Returns whether it did.
    fn discard_crowded(&self, state: &mut State) -> bool {
        let helps = |standby: &Standby| standby.reason.helps_at_any_size();
        let helps = state.standby.as_ref().is_some_and(helps);
        let crowded = !helps
            && state.standby_memory().is_some_and(|bytes| {
                bytes >= self.shared.budget.warn_bytes() && !self.gives_back(state, bytes)
            });
        if crowded {
            self.discard(state);
        }
        crowded
    }

    /// Whether a swap to a standby of this size gives back enough, although it is above the warning
    /// threshold.
    fn gives_back(&self, state: &State, bytes: u64) -> bool {
        let active = self.shared.active.load();
        let used = active.as_ref().map_or(0, |active| active.memory_bytes());
        let used = used.max(state.memory.reported);
        worthwhile(bytes, self.shared.budget.limit()).is_some_and(|size| used >= size)
    }

    /// Copies to where `debug_info` looks, and says from where on calls wait for a fold.
    fn publish(&self, state: &State) {
        self.say_when_full(state);
        let newest = state.checkpoints.newest();
        *lock(&self.status) = Status {
            state: state.swap,
            standby_memory: state.standby_memory(),
            baseline: state.memory.baseline,
            working_set: state.memory.working_set.bytes(),
            growth_rate: state.memory.growth.bytes_per_second(),
            failures: state.degradation.failures(),
            state_exceeds_budget: state.degradation.exceeds_budget(),
            checkpoint: state.checkpoints.newest_taken(),
            checkpoint_uses: newest.map_or(0, |newest| newest.uses()),
            checkpoint_obstacles: state.checkpoints.obstacles().to_vec(),
            history: state.checkpoints.history(),
            history_base: state.checkpoints.base().map(|base| base.sequence),
            aside_rest: state.aside_took,
            trigger_in: state.trigger_in,
            stack_drift: self
                .shared
                .active
                .load()
                .as_ref()
                .map_or(0, |active| active.watch.stack_drift()),
        };
    }

    /// Compacts the journal if it has doubled. With upkeep's state locked.
    fn compact_if_due(&self) {
        if self.shared.journal.size.is_compaction_due() {
            self.shared.compact(self.shared.journal.standby_applied());
        }
    }

    /// Drops what came and went after `horizon`: an instance that has applied that entry need not
    /// do it.
    fn compact_tail(&self, horizon: SequenceNumber) {
        if self.shared.journal.has_passing(horizon) {
            self.shared.compact(horizon);
        }
    }

    /// Drops the standby, if there is one, and what the journal kept for it.
    fn discard(&self, state: &mut State) {
        self.discard_quietly(state);
        self.shared.let_calls_go();
    }

    /// The same, but calls that wait for a swap go on waiting.
    fn discard_quietly(&self, state: &mut State) {
        if state.standby.take().is_some() || state.swap.has_standby() {
            state.step(Step::Discard);
        }
        self.shared.open_turns.not_due();
        self.shared.journal.forget_applied();
    }
}
