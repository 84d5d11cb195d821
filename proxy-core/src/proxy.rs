//! The public face of a proxy. Calls go to the [data plane](crate::data_plane), everything else to
//! [upkeep](crate::upkeep).

mod builder;
mod callee;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine_api::{EngineId, ModuleInfo};
use guest_calls::typed::{TypedArgs, TypedResults};

use crate::data_plane::{DataPlane, Pinned, Submitted, Turn, Typed};
use crate::event::Event;
use crate::generation::{Generation, lock};
use crate::shared::{LiveObject, Shared};
use crate::upkeep::Upkeep;
use crate::value::{Arg, Results};
use crate::{
    Audit, CallError, Checkpointed, Compacted, Cut, CutKind, DebugInfo, Divergence,
    DurablyCheckpointed, Error, ExportInfo, Handle, Prepared, ReplayReport, SequenceNumber,
    Swapped,
};

pub use builder::Builder;

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
/// assert_eq!((swapped.to, swapped.tail), (2, 0));
/// assert_eq!(proxy.call("counter_value", args![counter])?.i32()?, 0);
/// assert!(proxy.shutdown());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    data_plane: Arc<DataPlane>,
    upkeep: Arc<Upkeep>,
}

impl Proxy {
    /// Starts to build a proxy on an engine.
    pub fn builder(engine: impl Into<Arc<dyn engine_api::Engine>>) -> Builder {
        Builder::new(engine.into())
    }

    /// The module's names and types.
    #[must_use]
    pub fn module_info(&self) -> &Arc<ModuleInfo> {
        &self.shared.config.info
    }

    /// Describes an export, by the policy and the module.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownExport`].
    pub fn export(&self, name: &str) -> Result<ExportInfo, CallError> {
        self.shared.plan_of(name).map(|plan| ExportInfo::of(plan))
    }

    /// Calls an export by name. What happens depends on its role in the policy; the arguments are
    /// made by [`args!`](crate::args).
    ///
    /// A call that trapped or ran out of memory is repeated once on a clean generation, unless host
    /// functions with effects outside had run.
    ///
    /// # Errors
    ///
    /// See [`Error`]; after any of them the proxy goes on serving.
    pub fn call(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        self.data_plane.call_by_name(export, args)
    }

    /// Calls an export, once for each id. A repeated id gets the answer of the first call with it, and
    /// nothing runs: so a caller that lost an answer asks again, also of a proxy that has opened the
    /// journal after a crash. An id is 1 to 128 bytes, chosen by the caller. The newest answers are
    /// kept ([`Builder::call_ids`]). A call that failed in any other way than by an error of the
    /// guest's own left no answer, and runs again. Pure calls run each time.
    ///
    /// # Errors
    ///
    /// As [`Proxy::call`]; [`Error::CallIdReused`] if the id was given to another call;
    /// [`Error::CallIdRefused`] if the id is none, or the call's results mean nothing later.
    pub fn call_with_id(
        &self,
        id: &[u8],
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        self.data_plane.call_with_id(id, export, args)
    }

    /// Calls an export on this thread, and leaves it to the caller when to wait until the call is
    /// acknowledged. So one thread can have many durable calls in flight, which share a flush, and a task
    /// need not block its thread. Calls run in the order in which they are submitted; if an entry cannot
    /// be written, all later ones are undone with it.
    ///
    /// Calls that were submitted and not waited for count in
    /// [`JournalQueue::callers_max`](crate::JournalQueue::callers_max). Where the backlog is full, this
    /// waits for room, on the thread.
    ///
    /// # Errors
    ///
    /// As [`Proxy::call`], for what refuses the call before it runs. What becomes of the call itself,
    /// [`Submitted::wait`] says.
    ///
    /// ```
    /// # #[path = "../tests/fake/proxied.rs"] mod fake;
    /// # fn main() -> Result<(), proxy_core::Error> {
    /// # let proxy = fake::counter_proxy()?;
    /// # use proxy_core::args;
    /// let counter = proxy.call("counter_new", args![])?.handle()?;
    /// let calls = [1, 2, 3].map(|number| proxy.submit("counter_add", args![counter, number]));
    /// for call in calls {
    ///     call?.wait()?;
    /// }
    /// assert_eq!(proxy.call("counter_value", args![counter])?.i32()?, 6);
    /// # Ok(())
    /// # }
    /// ```
    pub fn submit(&self, export: &str, args: &[Arg<'_>]) -> Result<Submitted, Error> {
        self.data_plane.submit(export, args)
    }

    /// The handle of a live object by its name, which is what [`Handle`]'s parts are: the journaled
    /// call that made it, and which of its results it is. Handles of an earlier process are found so
    /// after the journal was opened again.
    #[must_use]
    pub fn object(&self, sequence: SequenceNumber, result: u32) -> Option<Handle> {
        let handle = Handle::new(sequence, result, self.shared.config.tag);
        let is_live = self.shared.journal.lock().is_live(handle);
        is_live.then_some(handle)
    }

    /// Runs several calls on one generation, so raw pointers that one returns are good for the
    /// next: prove, read the proof, free it. Only pure exports can be called inside.
    ///
    /// A swap does not wait for the scope; the generation is kept until it ends, at most for the
    /// drain timeout. If the generation dies in one of the scope's calls, the scope is run again
    /// from its start on a clean one, so it must not have effects outside that cannot be repeated.
    ///
    /// # Errors
    ///
    /// The scope's own error, which is [`Error`] or anything made from it.
    ///
    /// ```
    /// # #[path = "../tests/fake/proxied.rs"] mod fake;
    /// # fn main() -> Result<(), proxy_core::Error> {
    /// # let proxy = fake::counter_proxy()?;
    /// # use proxy_core::args;
    /// let counter = proxy.call("counter_new", args![])?.handle()?;
    /// let value = proxy.pinned(|pinned| {
    ///     let copy = pinned.call("snapshot", args![counter])?.pointer()?;
    ///     Ok::<_, proxy_core::Error>(pinned.call("snapshot_value", args![copy])?.i32()?)
    /// })?;
    /// assert_eq!(value, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pinned<T, E: From<Error>>(
        &self,
        scope: impl FnMut(&Pinned<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.data_plane.pinned(scope)
    }

    /// Begins a turn: pure and journaled calls one after the other, between which no swap takes
    /// place, so raw pointers that one returns are good for all later ones. A turn is for callers
    /// that cannot be run again, as a [pinned scope](Proxy::pinned) is: it is a value that another
    /// thread can have, and ends when it is dropped.
    ///
    /// A swap that is due waits for the open turns, and further turns wait for it, at most for the
    /// drain timeout; a thread that has begun an open turn does not. Critical pressure does not end a
    /// turn: it goes on until the guest runs out of memory. If the generation dies, in a call of this
    /// turn or otherwise, the raw objects are made again on a clean one, by the same calls, and the
    /// caller notices nothing.
    ///
    /// # Errors
    ///
    /// [`Error::ShutDown`]; [`Error::Reentrant`] from a host function or a hook of this proxy.
    ///
    /// ```
    /// # #[path = "../tests/fake/proxied.rs"] mod fake;
    /// # fn main() -> Result<(), proxy_core::Error> {
    /// # let proxy = fake::counter_proxy()?;
    /// # use proxy_core::args;
    /// let mut turn = proxy.turn()?;
    /// let counter = turn.call("counter_new", args![])?.handle()?;
    /// let copy = turn.call("snapshot", args![counter])?.pointer()?;
    /// turn.call("counter_add", args![counter, 5])?;
    /// assert_eq!(turn.call("snapshot_value", args![copy])?.i32()?, 0);
    /// turn.end();
    /// # Ok(())
    /// # }
    /// ```
    pub fn turn(&self) -> Result<Turn, Error> {
        self.data_plane.turn()
    }

    /// Resolves an export once, for the fastest calls there are:
    /// `proxy.typed::<(Handle, u64), u64>("prove")?.call((index, 7))`.
    ///
    /// Arguments are a tuple of numbers, [`Handle`](crate::Handle)s, byte vectors and strings; the
    /// result is one of these, a tuple of two, or `()`.
    ///
    /// # Errors
    ///
    /// [`CallError::UnknownExport`]; [`CallError::Argument`] or [`CallError::ResultKind`] if the
    /// types are not those of the export and its policy.
    pub fn typed<P: TypedArgs, R: TypedResults>(&self, export: &str) -> Result<Typed<P, R>, Error> {
        self.data_plane.typed(export)
    }

    /// The engine of the active generation.
    #[must_use]
    pub fn engine(&self) -> EngineId {
        let active = self.shared.active.load();
        active
            .as_ref()
            .map_or(self.shared.config.first_engine, |active| active.engine)
    }

    /// The size of the active generation's memories after its last call, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let active = self.shared.active.load();
        active.as_ref().map_or(0, |active| active.memory_bytes())
    }

    /// The memory limit of the active generation, in bytes: the smallest of the configured limit,
    /// the module's maximum and the limit that the module reports.
    #[must_use]
    pub fn memory_limit_bytes(&self) -> u64 {
        self.shared.budget.limit()
    }

    /// How many calls have returned to their callers, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.shared.live_generations.calls() + self.shared.ledger.counts.failed_calls.get()
    }

    /// The digests of the journal's entries, in order: equal on every engine. Entries that a
    /// checkpoint has taken the place of are not among them.
    #[must_use]
    pub fn journal_digests(&self) -> Vec<[u8; 32]> {
        let entries = self
            .shared
            .journal
            .lock()
            .after(SequenceNumber::ZERO, usize::MAX);
        entries.iter().map(|entry| entry.digest()).collect()
    }

    /// The entry that kept the last standby from being made, if one did: its replay gave something
    /// else than its caller got. Until somebody settles that, the active generation cannot be
    /// replaced.
    #[must_use]
    pub fn divergence(&self) -> Option<Divergence> {
        lock(&self.shared.divergence).clone()
    }

    /// Settles a divergence: what a fresh instance gives now becomes what the journal has recorded.
    /// The call is made once more on an instance of its own for that. Its caller got something
    /// else, and that stays so; the cut is remembered. Checkpoints that hold the entry are dropped,
    /// and the next preparation begins at once.
    ///
    /// # Errors
    ///
    /// [`Error::NotDiverged`]; [`Error::NotSettled`] if the call does not return on a fresh
    /// instance, asks the host for something else, or makes other objects than before;
    /// [`Error::Divergence`] if an earlier entry diverges; [`Error::Engine`];
    /// [`Error::Passthrough`]. Nothing has changed then.
    ///
    /// ```
    /// # #[path = "../tests/fake/proxied.rs"] mod fake;
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let proxy = fake::counter_proxy()?;
    /// if let Some(divergence) = proxy.divergence() {
    ///     let cut = proxy.accept_divergence(divergence.entry)?;
    ///     println!("{cut}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn accept_divergence(&self, entry: SequenceNumber) -> Result<Cut, Error> {
        self.upkeep.settle_divergence(entry, CutKind::Accepted)
    }

    /// Settles a divergence: the entry is left out of the journal. What its call changed is missing
    /// from every later generation, and an object that it freed lives on there; the cut is
    /// remembered. Checkpoints that hold the entry are dropped, and the next preparation begins at
    /// once.
    ///
    /// # Errors
    ///
    /// [`Error::NotDiverged`]; [`Error::EntryNeeded`] if an object that it made is alive, or if a
    /// later entry needs one; [`Error::NotSettled`] if the instantiation itself differs;
    /// [`Error::Passthrough`]. Nothing has changed then.
    pub fn skip_divergence(&self, entry: SequenceNumber) -> Result<Cut, Error> {
        self.upkeep.settle_divergence(entry, CutKind::Skipped)
    }

    /// The objects that are alive, in the order of their creation.
    #[must_use]
    pub fn live_objects(&self) -> Vec<LiveObject> {
        self.shared.live_objects()
    }

    /// The bytes of an object, by the `artifact` export that the policy names for the call that
    /// made it. The active generation gives them: this works while no standby can be made.
    ///
    /// # Errors
    ///
    /// [`CallError::NoArtifact`]; [`CallError::FreedHandle`]; otherwise as [`Proxy::call`].
    pub fn export_object(&self, object: Handle) -> Result<Vec<u8>, Error> {
        let export = self.shared.artifact_export(object)?;
        let results = self.call(&export, &[Arg::Handle(object)])?;
        Ok(results.bytes()?)
    }

    /// Switches the proxy on or off. While it is off, calls go to the current generation, nothing
    /// is prepared, swapped or repeated, and calls fail if that generation dies. The journal is
    /// still kept, so nothing is lost when it is switched on again.
    pub fn set_enabled(&self, enabled: bool) {
        if self.shared.enabled.swap(enabled, Ordering::AcqRel) != enabled {
            self.shared.ledger.emit(&Event::Switched { enabled });
            self.shared.wakeup.wake();
        }
    }

    /// Whether it is switched on.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.shared.is_enabled()
    }

    /// Does what is due: looks at the memory, prepares, swaps, rebuilds, frees. A [`Supervisor`]
    /// calls it; a program without one calls it by itself. It can take as long as a preparation
    /// does; calls go on meanwhile.
    ///
    /// [`Supervisor`]: crate::Supervisor
    pub fn tick(&self, now: Instant) {
        self.upkeep.tick(now);
    }

    /// Makes a standby: a fresh instance, to which the journal is applied and compared. Calls go on
    /// meanwhile. If there is one already, it catches up.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`], [`Error::StateExceedsBudget`] or [`Error::Preparation`], after which
    /// the active generation goes on; [`Error::StillDraining`]; [`Error::Passthrough`].
    pub fn prepare_standby(&self) -> Result<Prepared, Error> {
        self.upkeep.prepare_manually(None)
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
        self.upkeep.prepare_manually(Some(engine.into()))
    }

    /// Swaps the standby in. New calls go to it at once; calls in flight end on the old generation,
    /// which is freed after the last of them.
    ///
    /// # Errors
    ///
    /// [`Error::NoStandby`]; [`Error::TurnsOpen`] if [turns](Proxy::turn) stay open for longer than
    /// calls may be [held back](Builder::hold_back); [`Error::Divergence`] if the standby fails to
    /// catch up;
    /// [`Error::StateDiffers`] if the policy's state digest does; [`Error::Hook`]; [`Error::Passthrough`]. The active generation goes on.
    pub fn swap(&self) -> Result<Swapped, Error> {
        self.upkeep.swap_manually()
    }

    /// Takes a checkpoint of the journaled state, from which the next standby is made in a moment.
    /// It is taken of the standby, if there is one, or else of an instance made for this.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] says why there cannot be one; [`Error::Divergence`];
    /// [`Error::Engine`]; [`Error::Passthrough`]. The active generation goes on, and standbys are
    /// made as before.
    pub fn checkpoint(&self) -> Result<Checkpointed, Error> {
        self.upkeep.checkpoint_manually()
    }

    /// Compacts now: drops the entries that no live object needs. With [`History::Checkpoint`] it
    /// also takes a checkpoint, verifies it, and lets it take the place of the entries up to it.
    /// Calls go on meanwhile.
    ///
    /// [`History::Checkpoint`]: crate::History::Checkpoint
    ///
    /// # Errors
    ///
    /// With [`History::Checkpoint`], [`Error::NoCheckpoint`] or [`Error::Divergence`] if there is
    /// no checkpoint or it differs from a replay, after which no entry has been dropped that is
    /// needed; [`Error::Passthrough`]; [`Error::ShutDown`].
    pub fn compact(&self) -> Result<Compacted, Error> {
        self.upkeep.compact_manually()
    }

    /// Writes a durable checkpoint now, from which the journal in the store is opened in a moment, and
    /// waits for it: before a planned restart, say. `None` if nothing happened since the last one.
    /// Calls go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] says why there is none; [`Error::NotDurable`];
    /// [`Error::CheckpointDamaged`]; those of [`Proxy::compact`]. Nothing is lost.
    pub fn checkpoint_durably(&self) -> Result<Option<DurablyCheckpointed>, Error> {
        self.upkeep.keep_manually()
    }

    /// Applies the whole journal to a fresh instance on `engine`, compares, and throws the instance
    /// away: proof that the state can be rebuilt there. If the policy names a state digest, it is
    /// compared with the active generation's.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`]; [`Error::StateDiffers`]; [`Error::Engine`].
    pub fn verify_on(
        &self,
        engine: impl Into<Arc<dyn engine_api::Engine>>,
    ) -> Result<ReplayReport, Error> {
        self.upkeep.verify_on(engine.into().as_ref())
    }

    /// Finds exports that the policy calls pure and that are not, for a proxy with
    /// [`Builder::audit`]: makes the state again by the journaled calls alone and by these with the
    /// pure calls among them, and compares what the pure exports then answer. Exports that leak are
    /// named too. The active generation's memory is compared, where checkpoints are possible, as a
    /// hint. Takes four replays and more; calls go on meanwhile. `docs/policy.md` says what this
    /// proves.
    ///
    /// An entry that diverges, or does not fit the memory, is no error: see [`Audit::reasons`] and
    /// [`Audit::incomplete`].
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] if pure calls are not kept; [`Error::Divergence`] if the instantiation
    /// itself, or an instance made a second time, differs; [`Error::Engine`]; [`Error::ShutDown`].
    pub fn audit(&self) -> Result<Audit, Error> {
        self.upkeep.audit()
    }

    /// The proxy's state, for debugging. Waits for no call and no preparation.
    #[must_use]
    pub fn debug_info(&self) -> DebugInfo {
        let (shared, status) = (&*self.shared, self.upkeep.status());
        let (counts, last) = (&shared.ledger.counts, shared.ledger.last());
        let active = shared.active.load_full();
        let active = active.as_deref();
        let waiting = shared.committer().map(|committer| committer.waiting());
        let (journal_backlog, journal_callers) = waiting.unwrap_or_default();
        DebugInfo {
            name: shared.config.name.to_string(),
            engine: self.engine(),
            enabled: self.is_enabled(),
            state: status.state,
            generation: active.map_or(0, |active| active.number),
            tainted: active.and_then(Generation::taint).map(ToOwned::to_owned),
            generations_alive: shared.live_generations.alive(),
            memory: self.memory_bytes(),
            memory_limit: shared.budget.limit(),
            total_memory: shared.total_bytes(),
            total_memory_limit: shared.config.total_bytes_max,
            memory_baseline: status.baseline,
            working_set: status.working_set,
            sees_growth: shared.budget.sees_growth(),
            stack_drift: status.stack_drift,
            standby_memory: status.standby_memory,
            largest_growth: shared.budget.largest_growth(),
            growth_rate: status.growth_rate,
            journal_entries: shared.journal.size.entries(),
            journal_bytes: shared.journal.size.bytes(),
            journal_backlog,
            journal_callers,
            history: status.history,
            history_base: status.history_base,
            history_folds: counts.folds.get(),
            journal_last: shared.journal.size.last(),
            objects: shared.journal.size.objects(),
            swaps: counts.swaps.get(),
            emergencies: counts.emergencies.get(),
            entries_verified: counts.verified.get(),
            artifacts_imported: counts.imported.get(),
            artifacts: shared.artifacts.usage(),
            artifact_hits: counts.artifact_hits.get(),
            artifact_refusals: counts.artifact_refusals.get(),
            artifact_faults: counts.artifact_faults.get(),
            divergences: counts.divergences.get(),
            state_differences: counts.state_differences.get(),
            divergence: self.divergence(),
            cuts: shared.journal.lock().cuts().to_vec(),
            retries: counts.retries.get(),
            held_back: counts.held_back.get(),
            held_for_fold: counts.held_for_fold.get(),
            calls_lost: counts.calls_lost.get(),
            open_turns: shared.open_turns.count(),
            turns_before_swap: shared
                .open_turns
                .is_due()
                .then(|| shared.open_turns.count()),
            failures: status.failures,
            last_error: last.error,
            state_exceeds_budget: status.state_exceeds_budget,
            last_swap: last.swap,
            checkpoint: status.checkpoint,
            checkpoint_uses: status.checkpoint_uses,
            checkpoints_rejected: counts.checkpoints_rejected.get(),
            checkpoint_obstacles: status.checkpoint_obstacles,
        }
    }

    /// Ends the proxy: calls in flight end as usual until the drain deadline and are then ended;
    /// later ones fail with [`Error::ShutDown`]; the memory is given back. Returns whether
    /// everything was, or whether a host function still keeps a generation.
    #[must_use]
    pub fn shutdown(&self) -> bool {
        self.upkeep.shutdown()
    }

    pub(crate) fn upkeep(&self) -> &Arc<Upkeep> {
        &self.upkeep
    }

    /// Waits until something is due for the supervisor, or `timeout` has passed. Work aside is due
    /// after a rest.
    pub(crate) fn wait(&self, timeout: Duration, has_to_go: impl Fn() -> bool) {
        self.shared
            .wakeup
            .wait(self.upkeep.rest(timeout), has_to_go);
    }

    pub(crate) fn supervise(&self, comes: bool) {
        self.shared.wakeup.supervise(comes);
        self.shared.let_calls_go();
        self.upkeep.supervised();
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.shared.active.load().is_none()
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("name", &self.shared.config.name)
            .field("active", &*self.shared.active.load())
            .finish_non_exhaustive()
    }
}
