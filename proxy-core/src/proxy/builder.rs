//! Building a proxy.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use engine_api::{Engine, ExternType, Imports, Limits, MemoryType, Module, ModuleHash};
use guest_calls::{memory_limit, new_handle_tag};

use super::{DataPlane, Proxy};
use crate::budget::Budget;
use crate::checkpoint::Checkpoints;
use crate::compile::{compile_within, read_within};
use crate::event::Listener;
use crate::generation::{Blueprint, Generation};
use crate::holding::Holding;
use crate::hooks::SwapHooks;
use crate::journal::{Genesis, Journal};
use crate::ledger::Ledger;
use crate::live_generations::LiveGenerations;
use crate::memory::mib;
use crate::open_turns::OpenTurns;
use crate::policy::plan::Plan;
use crate::recovery::{Durable, First, Purpose};
use crate::shared::{Artifacts, Condemned, Config, Exhaustions, PureCalls, Shared, SharedJournal};
use crate::upkeep::{Keeper, Options, State, Upkeep, first_look_at};
use crate::wakeup::Wakeup;
use crate::{
    ArtifactStore, CallIdBound, CheckpointPolicy, Durability, Error, Event, Head, HistoryBound,
    JournalQueue, JournalStore, OnDivergence, Patience, Policy, SequenceNumber, SwapTriggers,
    Thresholds,
};

/// Collects what a proxy needs; [`Builder::build`] makes the first generation.
///
/// ```
/// # #[path = "../../tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use engine_api::Limits;
/// use proxy_core::{Proxy, Thresholds};
///
/// let proxy = Proxy::builder(fake::FakeEngine::counter())
///     .module(fake::counter_wasm())
///     .name("counter")
///     .limits(Limits { memory_bytes_max: Some(1 << 20), ..Limits::default() })
///     .thresholds(Thresholds::new(0.6, 0.8)?)
///     .drain_timeout(Duration::from_secs(5))
///     .build()?;
/// assert!(proxy.memory_limit_bytes() <= 1 << 20);
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing happens before `build`"]
pub struct Builder {
    engine: Arc<dyn Engine>,
    wasm: Vec<u8>,
    compiled: Option<Arc<dyn Module>>,
    name: String,
    policy: Policy,
    imports: Imports,
    limits: Limits,
    total_bytes_max: Option<u64>,
    thresholds: Thresholds,
    triggers: SwapTriggers,
    patience: Patience,
    drain_timeout: Duration,
    prepare_timeout: Duration,
    compile_timeout: Duration,
    digest_patience: Duration,
    audit: bool,
    history_bound: HistoryBound,
    hold_back: Duration,
    turn_log_bytes_max: u64,
    enabled: bool,
    checkpoints: CheckpointPolicy,
    hooks: Vec<Arc<dyn SwapHooks>>,
    listeners: Vec<Listener>,
    artifacts: ArtifactStore,
    on_divergence: OnDivergence,
    journal: Option<(Arc<dyn JournalStore>, Purpose)>,
    journal_queue: JournalQueue,
    migrated: Option<Arc<dyn JournalStore>>,
    call_ids: CallIdBound,
}

/// Overrides [`Builder::enabled`] when it is set: the operator's way to switch the proxy off.
const ENABLED_VARIABLE: &str = "WASM_PROXY_ENABLED";

impl Builder {
    pub(super) fn new(engine: Arc<dyn Engine>) -> Self {
        Self {
            engine,
            wasm: Vec::new(),
            compiled: None,
            name: "wasm-proxy".to_owned(),
            policy: Policy::default(),
            imports: Imports::new(),
            limits: Limits::default(),
            total_bytes_max: None,
            thresholds: Thresholds::default(),
            triggers: SwapTriggers::default(),
            patience: Patience::default(),
            drain_timeout: Duration::from_secs(30),
            prepare_timeout: Duration::from_mins(5),
            compile_timeout: Duration::from_mins(15),
            digest_patience: Duration::from_secs(1),
            audit: false,
            history_bound: HistoryBound::default(),
            hold_back: Duration::from_secs(1),
            turn_log_bytes_max: 256 << 20,
            enabled: true,
            checkpoints: CheckpointPolicy::default(),
            hooks: Vec::new(),
            listeners: Vec::new(),
            artifacts: ArtifactStore::memory(),
            on_divergence: OnDivergence::default(),
            journal: None,
            journal_queue: JournalQueue::default(),
            migrated: None,
            call_ids: CallIdBound::default(),
        }
    }

    /// The module, in the binary format.
    pub fn module(mut self, wasm: impl Into<Vec<u8>>) -> Self {
        self.wasm = wasm.into();
        self
    }

    /// The compiled module, if there is one already: shared with other proxies, or
    /// [loaded](Engine::load) from a precompiled module. Saves the compilation in
    /// [`Builder::build`]. The binary is still needed, for a move to another engine.
    pub fn compiled(mut self, module: Arc<dyn Module>) -> Self {
        self.compiled = Some(module);
        self
    }

    /// The proxy's name, which labels its metrics. The default is `wasm-proxy`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The policy, which says what each export does. Without one every call is journaled.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The imports that the host gives the module. Every generation gets the same; host functions
    /// are recorded during journaled calls, and not called again on replay.
    pub fn imports(mut self, imports: Imports) -> Self {
        self.imports = imports;
        self
    }

    /// The limits of each generation. The thresholds are shares of `memory_bytes_max`, or of the
    /// module's own maximum if that is smaller.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What all generations and the journal may have in memory together, in bytes. The default is no
    /// bound but the [limits](Builder::limits) of each generation, of which there are up to three.
    /// It has to be at least the memory limit of one generation. A good value is twice that: with
    /// less, a generation that has grown to its limit may find no room for its successor, and is
    /// replaced when it dies.
    ///
    /// Beyond it no standby is prepared, and no checkpoint taken on an instance of its own; journaled
    /// calls are refused, except for those that free objects. Pure calls go on. An emergency is not
    /// refused, because it replaces an instance. Images of checkpoints are not counted: they are
    /// files in memory whose pages the standbys share.
    pub fn total_memory(mut self, bytes_max: u64) -> Self {
        self.total_bytes_max = Some(bytes_max);
        self
    }

    /// When to prepare and when to swap.
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// When to swap for another reason than the size of the memory.
    pub fn triggers(mut self, triggers: SwapTriggers) -> Self {
        self.triggers = triggers;
        self
    }

    /// How to react to standbys that fail.
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// How long calls may stay on a generation that was swapped out; then they are ended, with
    /// [`Error::DrainDeadline`]. The default is 30 s. Needs an engine that can interrupt.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// How long a preparation may take before it counts as failed. The default is 5 min. It is
    /// checked between two entries, so the deadline in the limits bounds it further.
    pub fn prepare_timeout(mut self, timeout: Duration) -> Self {
        self.prepare_timeout = timeout;
        self
    }

    /// How long the module may take to compile, here and in [`Proxy::prepare_standby_on`]. The default
    /// is 15 min. A compiler cannot be ended: [`Error::CompileTimeout`] leaves its thread behind,
    /// which takes a processor and memory until it is done. Only a process of its own bounds that;
    /// [`ModuleLimits`](engine_api::ModuleLimits) bound what a compiler is given.
    pub fn compile_timeout(mut self, timeout: Duration) -> Self {
        self.compile_timeout = timeout;
        self
    }

    /// How long a swap waits for a call inside the active generation, to compare the policy's
    /// `state_digest`. If the call takes longer, the swap takes place without, and the event
    /// `state-not-compared` says so. The default is 1 s; meanwhile other calls wait as they do
    /// behind any long call.
    ///
    /// The digest itself may take as long, where the engine can interrupt. One that takes longer
    /// ends the standby, which is asked first, and is not asked again.
    pub fn state_digest_patience(mut self, patience: Duration) -> Self {
        self.digest_patience = patience;
        self
    }

    /// Whether pure calls are kept for [`Proxy::audit`]: the first 1,024 of each export, and in all
    /// at most 16,384 with 16 MiB of arguments. Off by default. It costs memory, and a lock per pure call.
    pub fn audit(mut self, audit: bool) -> Self {
        self.audit = audit;
        self
    }

    /// How long a call may be held back for a swap that is near. The default is 1 s; zero for
    /// never.
    ///
    /// A call is held back if the memory could not grow once more as the largest recent call grew
    /// it, and a standby is being prepared or waits for the supervisor. Otherwise it would run into
    /// the limit and wait for an emergency. It holds nothing that a swap or another call needs. A
    /// preparation that takes longer than the bound holds nobody back any more, and one that is
    /// expected to take more than twice as long, because the one before did, nobody at all.
    ///
    /// With [`History::Checkpoint`](crate::History::Checkpoint) the bound is also how long a
    /// journaled call waits for a fold, if the journal is twice as long as it is when one is due.
    pub fn hold_back(mut self, bound: Duration) -> Self {
        self.hold_back = bound;
        self
    }

    /// How much a [turn](Proxy::turn) may remember of its raw calls, in bytes: their arguments, and
    /// what host functions did in them. The default is 256 MiB. A turn that needs more forgets them,
    /// and is [lost](Error::TurnLost) if its generation dies before its raw objects are used up.
    pub fn turn_log_bytes_max(mut self, bytes: u64) -> Self {
        self.turn_log_bytes_max = bytes;
        self
    }

    /// Whether the proxy starts switched on, as is the default; see [`Proxy::set_enabled`]. The
    /// environment variable `WASM_PROXY_ENABLED` (`true` or `false`, `1` or `0`) overrides it.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Whether checkpoints are taken, and when. By default they are, of modules whose state is in
    /// their memories and globals alone.
    pub fn checkpoints(mut self, policy: CheckpointPolicy) -> Self {
        self.checkpoints = policy;
        self
    }

    /// The length of the journal at which the event `history-long` tells the user of it, and again
    /// each time that it has doubled. The default is a million entries, or 256 MiB.
    pub fn history_bound(mut self, bound: HistoryBound) -> Self {
        self.history_bound = bound;
        self
    }

    /// Adds hooks around every swap, called in the order in which they were added.
    pub fn hooks(mut self, hooks: Arc<dyn SwapHooks>) -> Self {
        self.hooks.push(hooks);
        self
    }

    /// Where objects are kept as bytes, for the exports whose policy names an artifact. The default
    /// is [`ArtifactStore::memory`]. Proxies that are given clones of one store share its contents.
    pub fn artifacts(mut self, store: ArtifactStore) -> Self {
        self.artifacts = store;
        self
    }

    /// What to do about an entry whose replay gives something else. The default is to do nothing:
    /// no standby can be made until somebody settles it.
    pub fn on_divergence(mut self, what: OnDivergence) -> Self {
        self.on_divergence = what;
        self
    }

    /// The store of the journal. [`Builder::build`] makes the state again from what is in it, and
    /// every journaled call is written there before its caller is answered, or soon after, as
    /// `durability` says. `docs/durability.md` says what is promised.
    ///
    /// The store must have been made for this module and this policy
    /// ([`Identity::of`](crate::Identity::of)).
    pub fn journal(mut self, store: Arc<dyn JournalStore>, durability: Durability) -> Self {
        let purpose = Purpose::Keep(durability);
        self.journal = Some((store, purpose));
        self
    }

    /// How much may wait for the [store](Builder::journal).
    pub fn journal_queue(mut self, queue: JournalQueue) -> Self {
        self.journal_queue = queue;
        self
    }

    /// The store of a journal that is only replayed, in place of [`Builder::journal`]: offline, to
    /// prove that this engine gives what the journal has.
    ///
    /// [`Builder::build`] applies every entry up to `until`, those of freed objects too, and compares.
    /// A journal with durable checkpoints is replayed from the oldest one that is good. The first
    /// entry that gives something else is [`Error::Divergence`]; [`Event::Recovered`] says how many
    /// were applied. Nothing is written to the store, which may be open for reading alone, and what
    /// is called on the proxy afterwards is in memory only.
    pub fn replay(mut self, store: Arc<dyn JournalStore>, until: SequenceNumber) -> Self {
        let purpose = Purpose::Replay { until };
        self.journal = Some((store, purpose));
        self
    }

    /// The journal of another module, or made with another policy, to go on from.
    ///
    /// [`Builder::build`] replays it on this module and compares. If every call gives the same, the
    /// journal in the [store](Builder::journal), which has to be empty, gets all of its entries, by
    /// the names of exports and imports. `old` is only read. An `old` that begins with a checkpoint
    /// of a state is refused: the state is the other module's.
    ///
    /// [`Error::Divergence`] names the first call that gives something else. Whatever fails, `old`
    /// stays as it was. Without a store to keep, give a
    /// [`MemoryJournal`](crate::MemoryJournal): a dry run.
    pub fn migrate(mut self, old: Arc<dyn JournalStore>) -> Self {
        self.migrated = Some(old);
        self
    }

    /// How many answers to calls with an id are kept. The default is 65,536, or 16 MiB.
    pub fn call_ids(mut self, bound: CallIdBound) -> Self {
        self.call_ids = bound;
        self
    }

    /// Adds a listener for events.
    pub fn on_event(mut self, listener: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.listeners.push(Arc::new(listener));
        self
    }

    /// Compiles the module and makes the first generation. Policy, limits and imports are compared
    /// with the module before it is compiled.
    ///
    /// # Errors
    ///
    /// [`Error::Policy`] if the policy does not fit the module; [`Error::HistoryNeedsCheckpoints`]
    /// if the history is to be a checkpoint and the module has none, or has threads;
    /// [`Error::Engine`] if the engine refuses the module, the imports or the limits, or the
    /// [compiled form](Builder::compiled) is another module's.
    #[expect(
        clippy::too_many_lines,
        reason = "one step after the other, each of a few lines"
    )]
    pub fn build(self) -> Result<Proxy, Error> {
        let enabled = enabled_by_environment(env::var(ENABLED_VARIABLE).ok().as_deref())?
            .unwrap_or(self.enabled);
        let queue = self.journal_queue;
        let journal = self.journal.map(|(store, purpose)| Durable {
            store,
            purpose,
            queue,
            on_divergence: self.on_divergence,
        });
        let migrated = self.migrated.as_deref();
        let head = head_of(journal.as_ref(), migrated, &self.wasm, &self.policy)?;
        let beside = journal.as_ref().and_then(Durable::check_beside);
        self.triggers.check()?;
        // What is wrong is told before a compilation that may take minutes.
        let info = match &self.compiled {
            Some(module) => Arc::clone(module.info()),
            None => read_within(&self.engine, &self.wasm, self.compile_timeout)?,
        };
        let plan = Arc::new(Plan::bind(&self.policy, &info)?);
        let memory_limit = memory_limit(&self.limits, &info);
        check_total(self.total_bytes_max, memory_limit)?;
        self.engine.check_imports(&info, &self.imports)?;
        let module = match self.compiled {
            Some(module) => check_compiled(module, &self.wasm)?,
            None => compile_within(&self.engine, &self.wasm, self.compile_timeout)?,
        };
        let tag = new_handle_tag();
        let stack_pointer = match (self.triggers.stack_drift_bytes_max, plan.stack_global) {
            (None, _) => None,
            (Some(_), Some(named)) => Some(named),
            (Some(_), None) => module.stack_pointer(&self.wasm)?,
        };
        let obstacles = checkpoint_obstacles(&self.checkpoints, &module, &self.wasm)?;
        self.checkpoints.check_history(&obstacles, &*module)?;
        let first_look = first_look_at(self.checkpoints.history, self.history_bound);
        let blueprint = Blueprint {
            checkpoints: self.checkpoints.enabled && obstacles.is_empty(),
            engine: self.engine.id(),
            module,
            imports: self.imports,
            limits: self.limits,
            plan: Arc::clone(&plan),
            proxy: tag,
            stack_pointer,
        };
        let memories = info.memories().iter().map(MemoryType::bytes_min);
        let bytes_min = memories.fold(0, u64::saturating_add);
        let has_memory = !info.memories().is_empty();
        let exhaustions = Exhaustions::new(info.functions().len());
        let live_generations = Arc::new(LiveGenerations::default());
        let mut checkpoints = Checkpoints::new(self.checkpoints, obstacles.clone());
        let is_func = |ty: &ExternType| matches!(ty, ExternType::Func(_));
        let pure_calls = PureCalls::new(&plan, info.functions().len(), self.audit);
        let shared = Arc::new(Shared {
            ledger: Ledger::new(&self.name, self.listeners),
            config: Config {
                name: self.name.into(),
                has_host_functions: info.imports().iter().any(|import| is_func(&import.ty)),
                info,
                plan,
                drain_timeout: self.drain_timeout,
                memory_bytes_max: memory_limit,
                tag,
                first_engine: self.engine.id(),
                total_bytes_max: self.total_bytes_max,
                stack_pointer,
                triggers: self.triggers,
                turn_log_bytes_max: self.turn_log_bytes_max,
            },
            active: ArcSwapOption::empty(),
            condemned: Condemned::default(),
            journal: SharedJournal::new(Journal::new(first_look, self.call_ids)),
            committer: OnceLock::new(),
            artifacts: Artifacts::new(self.artifacts),
            pure_calls,
            budget: Budget::new(self.thresholds, memory_limit, bytes_min),
            drifts: AtomicBool::new(false),
            stack_drift_max: AtomicU64::new(self.triggers.stack_drift_bytes_max.unwrap_or(0)),
            wakeup: Wakeup::default(),
            exhaustions,
            divergence: Mutex::default(),
            holding: Holding::new(self.hold_back),
            open_turns: OpenTurns::default(),
            live_generations,
            enabled: AtomicBool::new(enabled),
        });
        if has_memory && !shared.budget.sees_growth() && shared.config.plan.memory_usage.is_none() {
            let memory = memory_limit;
            shared.ledger.emit(&Event::GrowthUnseen { memory });
        }
        if !obstacles.is_empty() {
            let reasons = obstacles;
            shared.ledger.emit(&Event::CheckpointsRefused { reasons });
        }
        let first = match journal.as_ref().zip(head) {
            Some((journal, head)) => journal.open(head, migrated, &shared, &blueprint, beside)?,
            None => First::new(create_first(&shared, &blueprint)?),
        };
        if let Some(base) = first.checkpoint {
            checkpoints.begin_with(base)?;
        }
        let bytes = if shared.budget.sees_growth() {
            first.generation.memory_bytes()
        } else {
            // What is used of it is reported, if anything is.
            0
        };
        shared.active.store(Some(Arc::new(first.generation)));
        if let Some(recovered) = first.recovered {
            shared.ledger.emit(&Event::Recovered(recovered));
        }
        let checking = first.unchecked.and_then(|one| one.check_aside(&shared));
        let keeper = Keeper::new(first.kept, checking);
        let state = State::new(blueprint, self.patience, checkpoints, keeper, bytes);
        let options = Options {
            wasm: self.wasm.into(),
            prepare_timeout: self.prepare_timeout,
            compile_timeout: self.compile_timeout,
            digest_patience: self.digest_patience,
            hooks: self.hooks,
            history_bound: self.history_bound,
            on_divergence: self.on_divergence,
        };
        let upkeep = Arc::new(Upkeep::new(Arc::clone(&shared), options, state));
        let caretaker = Arc::clone(&upkeep);
        let data_plane = Arc::new(DataPlane::new(Arc::clone(&shared), caretaker));
        Ok(Proxy {
            shared,
            data_plane,
            upkeep,
        })
    }
}

/// Where the journal ends, if there is one, before anything slow.
fn head_of(
    journal: Option<&Durable>,
    migrated: Option<&dyn JournalStore>,
    wasm: &[u8],
    policy: &Policy,
) -> Result<Option<Head>, Error> {
    match journal {
        Some(journal) => journal.head(migrated, wasm, policy).map(Some),
        None if migrated.is_some() => Err(Error::Setting {
            reason: "a journal is migrated to another one: give its store too".to_owned(),
        }),
        None => Ok(None),
    }
}

/// The module that a compiled form is of, if it is of these bytes.
fn check_compiled(module: Arc<dyn Module>, wasm: &[u8]) -> Result<Arc<dyn Module>, Error> {
    let hash = module.info().hash();
    if hash == ModuleHash::of(wasm) {
        return Ok(module);
    }
    let reason = format!("it was compiled from module {hash}");
    let source = None;
    Err(engine_api::Error::Precompiled { reason, source }.into())
}

/// Refuses a total that one generation alone may exceed.
fn check_total(total_bytes_max: Option<u64>, memory_limit: u64) -> Result<(), Error> {
    match total_bytes_max {
        Some(total) if total < memory_limit => Err(Error::Setting {
            reason: format!(
                "a total of {:.1} MiB is less than the {:.1} MiB that one generation may have: \
                 raise `Builder::total_memory`, or lower `Limits::memory_bytes_max`",
                mib(total),
                mib(memory_limit)
            ),
        }),
        _ => Ok(()),
    }
}

/// The first generation, whose journal begins with it.
fn create_first(shared: &Shared, blueprint: &Blueprint) -> Result<Generation, Error> {
    let live = &shared.live_generations;
    let (first, calls) = Generation::create(blueprint, 1, None, live)?;
    let genesis = Genesis::new(calls, &shared.config.info);
    shared.journal.lock().set_genesis(genesis);
    Ok(first)
}

/// The obstacles to checkpoints of the module, in words.
fn checkpoint_obstacles(
    policy: &CheckpointPolicy,
    module: &Arc<dyn Module>,
    wasm: &[u8],
) -> Result<Vec<String>, Error> {
    if !policy.enabled {
        return Ok(Vec::new());
    }
    if let Err(error) = module.snapshots() {
        return Ok(vec![error.to_string()]);
    }
    Ok(module.obstacles(wasm)?)
}

fn enabled_by_environment(value: Option<&str>) -> Result<Option<bool>, Error> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Ok(None),
        Some("1" | "true" | "on" | "yes") => Ok(Some(true)),
        Some("0" | "false" | "off" | "no") => Ok(Some(false)),
        Some(other) => Err(Error::Setting {
            reason: format!(
                "{ENABLED_VARIABLE} is `{other}`; set it to `true` or `false`, or unset it"
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_variable_takes_the_usual_words() {
        assert_eq!(enabled_by_environment(None).unwrap(), None);
        assert_eq!(enabled_by_environment(Some("FALSE")).unwrap(), Some(false));
        assert_eq!(enabled_by_environment(Some("1")).unwrap(), Some(true));
        assert!(
            enabled_by_environment(Some("maybe"))
                .unwrap_err()
                .to_string()
                .contains("maybe")
        );
    }
}
