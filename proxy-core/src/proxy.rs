//! The proxy: the active generation, the journal, and how calls go through them.
//!
//! Locks are taken in this order, and none is held while a caller waits for another thread's guest
//! code, except the one of the guest itself:
//!
//! 1. `upkeep`: held by who prepares, swaps or frees; calls never take it, unless their generation died;
//! 2. a generation's guest;
//! 3. `journal`: held for the length of a journaled call, and by a swap while it stores the pointer;
//! 4. `status`: for moments only.
//!
//! A swap holds `upkeep` and `journal` and enters only the standby, which no call can know yet.

mod artifacts;
mod builder;
mod call;
mod callee;
mod checkpointing;
mod failure;
mod graveyard;
mod inside;
mod pinned;
mod prepare;
mod swap;
mod typed;
mod upkeep;
mod waiting;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use engine_api::{EngineId, ModuleInfo};

use crate::census::Census;
use crate::checkpoint::{CheckpointInfo, Checkpointed};
use crate::debug_info::LastSwap;
use crate::event::Event;
use crate::generation::{Blueprint, Generation, lock};
use crate::hooks::SwapHooks;
use crate::journal::Journal;
use crate::memory::LargestGrowth;
use crate::observer::Observer;
use crate::policy::plan::{ExportPlan, Plan};
use crate::{CallError, DebugInfo, Error, ExportInfo, SwapState, Thresholds};

use artifacts::Artifacts;
pub use builder::Builder;
use graveyard::Graveyard;
pub use pinned::Pinned;
pub use prepare::{Prepared, ReplayReport};
pub use swap::Swapped;
pub use typed::Typed;
use upkeep::Upkeep;
pub(crate) use waiting::Bell;
use waiting::{Gate, HeldBack};

/// A module that never dies. Clones are the same proxy; all methods can be called from any thread.
///
/// ```
/// # #[path = "../tests/fake/proxied.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let proxy = fake::counter_proxy()?;
/// use proxy_core::args;
///
/// let counter = proxy.call("counter_new", args![])?.handle()?;
/// let prepared = proxy.prepare_standby()?;
/// assert_eq!(prepared.entries, 1);
/// let swapped = proxy.swap()?;
/// assert_eq!((swapped.generation, swapped.tail), (2, 0));
/// assert_eq!(proxy.call("counter_value", args![counter])?.i32()?, 0);
/// assert!(proxy.shutdown());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy(Arc<Inner>);

pub(crate) struct Inner {
    name: Arc<str>,
    info: Arc<ModuleInfo>,
    plan: Arc<Plan>,
    options: Options,
    /// `None` after the shutdown.
    active: ArcSwapOption<Generation>,
    wasm: Box<[u8]>,
    journal: Mutex<Journal>,
    /// Closed while journaled calls are held back.
    gate: Gate,
    upkeep: Mutex<Upkeep>,
    status: Mutex<Status>,
    tally: Tally,
    counters: Counters,
    artifacts: Artifacts,
    observer: Observer,
    enabled: AtomicBool,
    /// The active generation's size from which on the supervisor is to be woken.
    wake_at: AtomicU64,
    /// Rung to wake the supervisor.
    bell: Bell,
    largest_growth: LargestGrowth,
    generations_alive: Arc<Census>,
    /// The newest entry that the standby has applied; `u64::MAX` without a standby.
    standby_applied: AtomicU64,
    /// Whether objects were freed since the supervisor last looked.
    objects_freed: AtomicBool,
    graveyard: Graveyard,
    next_scope: AtomicU64,
    /// Whether host functions exist that could call the proxy back.
    has_host_functions: bool,
    tag: u32,
    first_engine: EngineId,
}

/// What the builder was told.
pub(crate) struct Options {
    pub(crate) thresholds: Thresholds,
    pub(crate) memory_limit: u64,
    pub(crate) drain_timeout: Duration,
    pub(crate) prepare_timeout: Duration,
    pub(crate) hooks: Vec<Arc<dyn SwapHooks>>,
}

#[derive(Default)]
struct Counters {
    /// Calls that returned an error.
    failed: AtomicU64,
    retries: AtomicU64,
    swaps: AtomicU64,
    emergencies: AtomicU64,
    verified: AtomicU64,
    imported: AtomicU64,
    divergences: AtomicU64,
}

/// What `debug_info` shows of things behind locks that can be held for long.
#[derive(Clone, Debug, Default)]
struct Status {
    state: SwapState,
    standby_memory: Option<u64>,
    baseline: u64,
    growth_rate: f64,
    memory_limit: u64,
    reported: u64,
    failures: u32,
    last_error: Option<String>,
    state_exceeds_budget: bool,
    last_swap: Option<LastSwap>,
    checkpoint: Option<CheckpointInfo>,
    checkpoints_rejected: u32,
    checkpoint_obstacles: Vec<String>,
}

/// What `debug_info` shows of the journal, which is locked while a journaled call runs. Written by who holds it:
/// four stores for each entry, and no lock.
#[derive(Debug, Default)]
struct Tally {
    entries: AtomicUsize,
    last: AtomicU64,
    objects: AtomicUsize,
    took_ns: AtomicU64,
}

impl Tally {
    fn note(&self, journal: &Journal) {
        self.entries.store(journal.len(), Ordering::Relaxed);
        self.last.store(journal.last().0, Ordering::Relaxed);
        self.objects.store(journal.live_count(), Ordering::Relaxed);
        let took = u64::try_from(journal.took().as_nanos()).unwrap_or(u64::MAX);
        self.took_ns.store(took, Ordering::Relaxed);
    }

    /// How long the calls took that the journal has.
    fn took(&self) -> Duration {
        Duration::from_nanos(self.took_ns.load(Ordering::Relaxed))
    }
}

impl Proxy {
    /// Starts to build a proxy on an engine.
    pub fn builder(engine: impl Into<Arc<dyn engine_api::Engine>>) -> Builder {
        Builder::new(engine.into())
    }

    /// The module's names and types.
    #[must_use]
    pub fn module_info(&self) -> &Arc<ModuleInfo> {
        &self.0.info
    }

    /// What the policy and the module say of an export.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownExport`].
    pub fn export(&self, name: &str) -> Result<ExportInfo, CallError> {
        self.0.plan_of(name).map(|plan| ExportInfo::of(plan))
    }

    /// The engine of the active generation.
    #[must_use]
    pub fn engine(&self) -> EngineId {
        let active = self.0.active.load();
        active
            .as_ref()
            .map_or(self.0.first_engine, |active| active.engine)
    }

    /// What the active generation's memories had after its last call, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.0
            .active
            .load()
            .as_ref()
            .map_or(0, |active| active.memory_bytes())
    }

    /// What the active generation may have, in bytes: the smallest of the configured limit, the
    /// module's maximum, and what the module reports as critical.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        lock(&self.0.status).memory_limit
    }

    /// How many calls have returned to their callers, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.generations_alive.calls() + self.0.counters.failed.load(Ordering::Relaxed)
    }

    /// The digests of the journal's entries, in order: equal on every engine.
    #[must_use]
    pub fn journal_digests(&self) -> Vec<[u8; 32]> {
        let entries = lock(&self.0.journal).after(crate::SequenceNumber::ZERO, usize::MAX);
        entries.iter().map(|entry| entry.digest()).collect()
    }

    /// Switches the proxy on or off. Off, calls go to the one generation there is, nothing is
    /// prepared, swapped or repeated, and if that generation dies, calls fail. The journal is kept
    /// all the same, so nothing is lost when it is switched on again.
    pub fn set_enabled(&self, enabled: bool) {
        if self.0.enabled.swap(enabled, Ordering::AcqRel) != enabled {
            self.0.observer.emit(&Event::Switched { enabled });
            self.0.bell.ring();
        }
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.enabled.load(Ordering::Acquire)
    }

    /// Does what is due: looks at the memory, prepares, swaps, rebuilds, frees. A [`Supervisor`]
    /// calls it; so may whoever drives the proxy. It can take as long as a preparation does; calls
    /// go on meanwhile.
    ///
    /// [`Supervisor`]: crate::Supervisor
    pub fn tick(&self, now: Instant) {
        self.0.tick(now);
    }

    /// Makes a standby: a fresh instance, to which the journal is applied and compared. Calls go on
    /// meanwhile. If there is one already, it catches up.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`], [`Error::StateExceedsBudget`] or [`Error::Preparation`], after which
    /// the active generation goes on; [`Error::StillDraining`]; [`Error::Passthrough`].
    pub fn prepare_standby(&self) -> Result<Prepared, Error> {
        self.0.prepare_manually(None)
    }

    /// Makes a standby on another engine. After the swap, further standbys are made there too: this
    /// is how a running module moves to another engine.
    ///
    /// # Errors
    ///
    /// As [`Proxy::prepare_standby`]; [`Error::Engine`] if the engine refuses the module.
    pub fn prepare_standby_on(
        &self,
        engine: impl Into<Arc<dyn engine_api::Engine>>,
    ) -> Result<Prepared, Error> {
        self.0.prepare_manually(Some(engine.into()))
    }

    /// Swaps the standby in. New calls go to it at once; calls in flight end on the old generation,
    /// which is freed after the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NoStandby`]; [`Error::Divergence`] if the standby fails to catch up;
    /// [`Error::Hook`]; [`Error::Passthrough`]. The active generation goes on.
    pub fn swap(&self) -> Result<Swapped, Error> {
        self.0.swap_manually()
    }

    /// Takes a checkpoint of the state as the journal has it, from which the next standby is made in a moment:
    /// of the standby, if there is one, else of an instance that is made for this.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] says why there cannot be one; [`Error::Divergence`]; [`Error::Engine`];
    /// [`Error::Passthrough`]. The active generation goes on, and standbys are made as before.
    pub fn checkpoint(&self) -> Result<Checkpointed, Error> {
        self.0.checkpoint_manually()
    }

    /// Applies the whole journal to a fresh instance on `engine`, compares, and throws the instance
    /// away: proof that the state can be rebuilt there.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`]; [`Error::Engine`].
    pub fn verify_on(
        &self,
        engine: impl Into<Arc<dyn engine_api::Engine>>,
    ) -> Result<ReplayReport, Error> {
        self.0.verify_on(engine.into().as_ref())
    }

    /// Everything a person who debugs wants to see. Waits for no call and no preparation.
    #[must_use]
    pub fn debug_info(&self) -> DebugInfo {
        self.0.debug_info()
    }

    /// Ends the proxy: calls in flight end as usual until the drain deadline and are then ended;
    /// later ones fail with [`Error::ShutDown`]; the memory is given back. Returns whether everything
    /// was, or whether a host function still keeps a generation.
    #[must_use]
    pub fn shutdown(&self) -> bool {
        self.0.shutdown()
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// Frees old generations until [`Proxy::dismiss_reaper`] is called: what the reaper's thread does.
    pub(crate) fn reap_forever(&self) {
        while let Some((buried, _freeing)) = self.0.graveyard.next() {
            self.0.free(buried);
        }
    }

    /// From now on there is a thread that calls [`Proxy::reap_forever`].
    pub(crate) fn announce_reaper(&self) {
        self.0.graveyard.attend();
    }

    pub(crate) fn dismiss_reaper(&self) {
        self.0.graveyard.leave();
    }

    pub(crate) fn supervise(&self, supervised: bool) {
        self.0.bell.supervised.store(supervised, Ordering::Release);
        self.0.bell.ring();
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.0.active.load().is_none()
    }
}

impl Inner {
    fn plan_of(&self, name: &str) -> Result<&Arc<ExportPlan>, CallError> {
        self.plan.named(&self.info, name)
    }

    fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    /// The journal, for upkeep. Callers who lock it again and again would let a mutex wait for long.
    fn journal_in_turn(&self) -> MutexGuard<'_, Journal> {
        match self.journal.try_lock() {
            Ok(journal) => journal,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                let _held = self.hold_back();
                lock(&self.journal)
            }
        }
    }

    /// Lets no further journaled call begin until the result is dropped.
    fn hold_back(&self) -> HeldBack<'_> {
        self.gate.close()
    }

    fn debug_info(&self) -> DebugInfo {
        let active = self.active.load_full();
        let active = active.as_deref();
        let status = lock(&self.status).clone();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DebugInfo {
            name: self.name.to_string(),
            engine: active.map_or(self.first_engine, |active| active.engine),
            enabled: self.is_enabled(),
            state: status.state,
            generation: active.map_or(0, |active| active.number),
            tainted: active.and_then(Generation::taint).map(ToOwned::to_owned),
            generations_alive: self.generations_alive.alive(),
            memory: active.map_or(0, Generation::memory_bytes),
            memory_limit: status.memory_limit,
            memory_baseline: status.baseline,
            standby_memory: status.standby_memory,
            largest_growth: self.largest_growth.bytes(),
            growth_rate: status.growth_rate,
            journal_entries: self.tally.entries.load(Ordering::Relaxed),
            journal_last: crate::SequenceNumber(count(&self.tally.last)),
            objects: self.tally.objects.load(Ordering::Relaxed),
            swaps: count(&self.counters.swaps),
            emergencies: count(&self.counters.emergencies),
            entries_verified: count(&self.counters.verified),
            artifacts_imported: count(&self.counters.imported),
            artifacts: self.artifacts.usage(),
            artifact_hits: self.artifacts.hits(),
            artifact_refusals: self.artifacts.refusals(),
            artifact_faults: self.artifacts.faults(),
            divergences: count(&self.counters.divergences),
            retries: count(&self.counters.retries),
            failures: status.failures,
            last_error: status.last_error,
            state_exceeds_budget: status.state_exceeds_budget,
            last_swap: status.last_swap,
            checkpoint: status.checkpoint,
            checkpoints_rejected: status.checkpoints_rejected,
            checkpoint_obstacles: status.checkpoint_obstacles,
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("name", &self.0.name)
            .field("active", &*self.0.active.load())
            .finish_non_exhaustive()
    }
}
