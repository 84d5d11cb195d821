//! A generation: one instance in the proxy's care, with its handle table and the entries it has
//! applied.

mod artifact;
mod failure;
mod history;
mod recorded;
mod replay;
mod watch;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use engine_api::{EngineId, GlobalIndex, Imports, Interrupter, Limits, Module, Val};

use crate::artifact_store::EntryArtifacts;
use crate::checkpoint::{Applied, Checkpoint, How};
use crate::lane::{Lane, LaneGuard};
use crate::live_generations::{LiveGenerations, Member};
use crate::policy::plan::Plan;
use crate::working_set::Life;
use crate::{Divergence, DivergenceKind, Error, Handle, SequenceNumber};

pub(crate) use failure::Failure;
use history::History;
use watch::Watch;

pub(crate) use recorded::{Exhaustion, Kept, Recorded, RecordedInstance, Records};

pub(crate) use crate::locking::lock;

/// The parts that all generations of a proxy are made from.
#[derive(Clone, Debug)]
pub(crate) struct Blueprint {
    pub(crate) engine: EngineId,
    pub(crate) module: Arc<dyn Module>,
    pub(crate) imports: Imports,
    pub(crate) limits: Limits,
    pub(crate) plan: Arc<Plan>,
    /// The tag in the proxy's handles.
    pub(crate) proxy: u32,
    /// Whether checkpoints may be taken of its standbys.
    pub(crate) checkpoints: bool,
    /// The global with the guest's stack pointer, if it is watched.
    pub(crate) stack_pointer: Option<GlobalIndex>,
}

/// One instance in the proxy's care.
pub(crate) struct Generation {
    /// 1 for the first, and so on.
    pub(crate) number: u64,
    pub(crate) engine: EngineId,
    guest: Lane<RecordedInstance>,
    interrupter: Option<Interrupter>,
    retired: AtomicBool,
    /// Whether its calls were ended: 0 no, 1 at the drain deadline, 2 to make room.
    killed: AtomicU8,
    taint: OnceLock<String>,
    /// The size of the memories after the last call, in bytes.
    memory_bytes: AtomicU64,
    /// Their size when it began to serve, in bytes.
    fresh_bytes: AtomicU64,
    /// Whether an object was freed since, or by an entry that came after the replay.
    has_freed: AtomicBool,
    growths: Growths,
    member: Member,
    pub(crate) watch: Watch,
}

/// The large growths of a generation. Only the thread inside writes it.
#[derive(Default)]
struct Growths {
    /// The size after the last one, in bytes.
    after: AtomicU64,
    /// The call that it came in, from 1.
    call: AtomicU64,
    /// The most calls from one to the next.
    gap: AtomicU64,
}

impl Generation {
    /// A fresh instance with nothing applied. `genesis` is what host functions did during the first
    /// instantiation, or `None` if this is the first: then it is returned for the journal.
    pub(crate) fn create(
        blueprint: &Blueprint,
        number: u64,
        genesis: Option<&[crate::journal::HostCall]>,
        live: &Arc<LiveGenerations>,
    ) -> Result<(Self, Vec<crate::journal::HostCall>), Error> {
        let (guest, calls) = RecordedInstance::create(blueprint, genesis)?;
        Ok((Self::of(blueprint, number, guest, live), calls))
    }

    /// An instance in the state of a checkpoint, with all that the checkpoint holds applied.
    pub(crate) fn restore(
        blueprint: &Blueprint,
        number: u64,
        checkpoint: &Checkpoint,
        live: &Arc<LiveGenerations>,
    ) -> Result<Self, Error> {
        let guest = RecordedInstance::restore(blueprint, checkpoint)?;
        Ok(Self::of(blueprint, number, guest, live))
    }

    fn of(
        blueprint: &Blueprint,
        number: u64,
        mut guest: RecordedInstance,
        live: &Arc<LiveGenerations>,
    ) -> Self {
        // What the start function met is no call's.
        guest.take_exhaustion();
        let watch = Watch::new();
        if let Some(pointer) = guest.stack_pointer() {
            watch.set_stack(pointer);
        }
        Self {
            watch,
            number,
            engine: blueprint.engine,
            interrupter: guest.interrupter(),
            retired: AtomicBool::new(false),
            killed: AtomicU8::new(0),
            taint: OnceLock::new(),
            memory_bytes: AtomicU64::new(guest.memory_bytes()),
            fresh_bytes: AtomicU64::new(guest.memory_bytes()),
            has_freed: AtomicBool::new(false),
            member: Member::new(live, guest.memory_bytes()),
            guest: Lane::new(guest),
            growths: Growths::default(),
        }
    }

    /// Enters for a call that any generation can serve: `None` once this one is retired or tainted.
    #[inline]
    pub(crate) fn enter(&self) -> Option<LaneGuard<'_, RecordedInstance>> {
        let is_closed = || self.is_retired() || self.taint().is_some();
        let guest = self.guest.enter(is_closed)?;
        // Asked again inside, because the call before may have tainted it while this one waited.
        if is_closed() { None } else { Some(guest) }
    }

    /// Enters for a call that must be on this generation, retired or not.
    pub(crate) fn enter_pinned(&self) -> Option<LaneGuard<'_, RecordedInstance>> {
        let guest = self.guest.enter(|| self.taint().is_some())?;
        if self.taint().is_some() {
            None
        } else {
            Some(guest)
        }
    }

    /// Enters only if no other thread is inside.
    pub(crate) fn try_enter(&self) -> Option<LaneGuard<'_, RecordedInstance>> {
        if self.taint().is_some() {
            None
        } else {
            self.guest.try_enter()
        }
    }

    /// Enters for upkeep, after at most `patience`: `None` if a call stays inside for longer, or the
    /// generation is retired or tainted.
    pub(crate) fn enter_within(
        &self,
        patience: Duration,
    ) -> Option<LaneGuard<'_, RecordedInstance>> {
        let is_closed = || self.is_retired() || self.taint().is_some();
        let guest = self.guest.enter_within(patience, is_closed)?;
        if is_closed() { None } else { Some(guest) }
    }

    /// Enters a generation that serves no calls yet.
    pub(crate) fn enter_standby(&self) -> LaneGuard<'_, RecordedInstance> {
        self.guest.enter(|| false).expect("nobody leaves")
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }

    /// No new call comes here.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Sends waiting calls elsewhere, after it was retired. A step of its own, because waking them
    /// takes longer than all the rest of a swap.
    pub(crate) fn send_away(&self) {
        self.guest.wake_all();
    }

    /// Why the state is lost, if it is.
    pub(crate) fn taint(&self) -> Option<&str> {
        self.taint.get().map(String::as_str)
    }

    /// Marks the state as lost. The first cause stays.
    pub(crate) fn set_taint(&self, cause: String) {
        let _ = self.taint.set(cause);
        self.guest.wake_all();
    }

    /// Ends what still runs, for good.
    pub(crate) fn kill(&self, why: Kill) {
        self.killed.store(why as u8, Ordering::Release);
        if let Some(interrupter) = &self.interrupter {
            interrupter.interrupt();
        }
    }

    /// The handle that ends its calls for good, if the engine has one.
    pub(crate) fn interrupter(&self) -> Option<&Interrupter> {
        self.interrupter.as_ref()
    }

    /// Why its calls were ended, if they were.
    pub(crate) fn killed(&self) -> Option<Kill> {
        match self.killed.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Kill::DrainDeadline),
            _ => Some(Kill::Evicted),
        }
    }

    /// The size of the memories after the last call, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Counts a call that it has served. Only the thread inside may do so.
    #[inline]
    pub(crate) fn count_call(&self) {
        self.member.count_call();
    }

    /// How many calls it has served.
    pub(crate) fn calls(&self) -> u64 {
        self.member.calls()
    }

    /// Their size when it began to serve, in bytes.
    pub(crate) fn fresh_bytes(&self) -> u64 {
        self.fresh_bytes.load(Ordering::Relaxed)
    }

    /// Notes that a call or an entry freed an object.
    pub(crate) fn note_freed(&self) {
        self.has_freed.store(true, Ordering::Relaxed);
    }

    /// Notes that a compacted journal was applied, and nothing else. What it frees, each replay
    /// frees.
    pub(crate) fn note_replayed(&self) {
        self.has_freed.store(false, Ordering::Relaxed);
    }

    /// Whether one that is made now would take as much memory, as far as is known: it has not grown
    /// since it began to serve, and nothing was freed since it was made.
    pub(crate) fn is_clean(&self) -> bool {
        self.memory_bytes() <= self.fresh_bytes() && !self.has_freed.load(Ordering::Relaxed)
    }

    /// Notes the size after a call and returns the growth since the last one.
    #[inline]
    pub(crate) fn note_memory(&self, bytes: u64) -> u64 {
        let before = self.memory_bytes.load(Ordering::Relaxed);
        if bytes == before {
            return 0;
        }
        self.memory_bytes.store(bytes, Ordering::Relaxed);
        self.member.note_memory(bytes);
        bytes.saturating_sub(before)
    }

    /// Notes a growth that was large, to this size.
    pub(crate) fn note_large_growth(&self, bytes: u64) {
        let Growths { after, call, gap } = &self.growths;
        let now = self.member.calls() + 1;
        let before = call.swap(now, Ordering::Relaxed);
        gap.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        after.store(bytes, Ordering::Relaxed);
    }

    /// How it has grown since it began to serve.
    pub(crate) fn life(&self, ran_out: bool) -> Life {
        let Growths { after, call, gap } = &self.growths;
        let calls = self.member.calls();
        Life {
            grown: after
                .load(Ordering::Relaxed)
                .saturating_sub(self.fresh_bytes()),
            calls,
            quiet: calls.saturating_sub(call.load(Ordering::Relaxed)),
            gap: gap.load(Ordering::Relaxed),
            ran_out,
        }
    }

    /// Applies entries in order, and checks that each gives the same as before. Returns how many of
    /// their objects were made from artifacts.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`] at the first that does not; the generation is then of no use.
    pub(crate) fn apply(
        &self,
        entries: &[Arc<crate::journal::Entry>],
        artifacts: &EntryArtifacts,
    ) -> Result<u64, Error> {
        let mut guest = self.enter_standby();
        let plan = Arc::clone(&guest.bound.plan);
        let mut imported = 0;
        if entries.iter().any(|entry| !entry.frees.is_empty()) {
            self.note_freed();
        }
        for entry in entries {
            // What the entries before it met is not this one's.
            guest.take_exhaustion();
            let how = guest.apply(entry, &plan, artifacts).map_err(|divergence| {
                guest.note_refusal();
                self.set_taint(divergence.to_string());
                self.note_memory(guest.memory_bytes());
                Error::Divergence(Box::new(divergence))
            })?;
            imported += u64::from(matches!(how, How::Imported(_)));
            guest.history.push(entry, how);
        }
        guest.end_replay();
        // What the entries met is no later call's.
        guest.take_exhaustion();
        self.note_memory(guest.memory_bytes());
        if let Some(pointer) = guest.stack_pointer() {
            self.watch.set_stack(pointer);
        }
        // Entries are applied to standbys alone: this is the size that it begins to serve with.
        self.fresh_bytes
            .store(guest.memory_bytes(), Ordering::Relaxed);
        Ok(imported)
    }

    /// Applies one more entry, and returns it with the results that it gives here.
    ///
    /// # Errors
    ///
    /// A divergence, if it gives none that can be recorded.
    pub(crate) fn reapply(
        &self,
        entry: &crate::journal::Entry,
    ) -> Result<crate::journal::Entry, Divergence> {
        self.enter_standby().reapply(entry)
    }

    /// Counts the entries up to this one as applied: those that were not are about freed objects.
    pub(crate) fn skip_to(&self, sequence: SequenceNumber) {
        if let Some(mut guest) = self.guest.try_enter() {
            guest.skip_to(sequence);
        }
    }

    /// Repeats on a fresh generation what was done to another one.
    ///
    /// # Errors
    ///
    /// [`Error::Divergence`] at the first entry that gives something else.
    pub(crate) fn apply_like(&self, history: &[Applied]) -> Result<(), Error> {
        let mut guest = self.enter_standby();
        let plan = Arc::clone(&guest.bound.plan);
        for applied in history {
            guest
                .apply_like(applied, &plan)
                .map_err(|divergence| Error::Divergence(Box::new(divergence)))?;
            guest.history.push(&applied.entry, applied.how.clone());
        }
        guest.end_replay();
        Ok(())
    }

    /// A checkpoint of a standby. Nothing may have run on it since entries were applied.
    ///
    /// # Errors
    ///
    /// [`Error::NoCheckpoint`] if it has state that no snapshot holds; [`Error::Engine`].
    pub(crate) fn capture(&self) -> Result<Checkpoint, Error> {
        let mut guest = self.enter_standby();
        guest.capture(self.engine)
    }

    /// Whether the last entry ended as a failed allocation ends.
    pub(crate) fn ended_in_allocation(&self) -> bool {
        self.enter_standby().ended_in_allocation()
    }

    /// The size that its memories were refused in the entry that failed, in bytes.
    pub(crate) fn refused_in_replay(&self) -> Option<u64> {
        self.enter_standby().refused_in_replay()
    }

    /// The types of the objects alive in a standby, and how many there are of each, most first.
    pub(crate) fn live_objects(&self) -> Vec<(String, usize)> {
        self.enter_standby().live_objects()
    }

    /// What each live object says of itself, of those that `history` created with a fingerprint.
    pub(crate) fn fingerprints(&self, history: &[Applied]) -> Vec<(Handle, Option<Vec<Val>>)> {
        self.enter_standby().fingerprints(history)
    }

    /// The number of entries in its history.
    pub(crate) fn history_len(&self) -> usize {
        self.guest
            .try_enter()
            .map_or(0, |guest| guest.history.len())
    }

    /// Takes its history as a standby, which is of no use once it serves.
    pub(crate) fn take_history(&self) -> Option<History> {
        let mut guest = self.guest.try_enter()?;
        Some(guest.history.take())
    }

    /// Drops its history as a standby.
    pub(crate) fn forget_history(&self) {
        drop(self.take_history());
    }

    /// Gives its memory back in slices, and drops it.
    pub(crate) fn free(self: Arc<Self>) {
        if let Some(mut guest) = self.guest.try_enter() {
            guest.discard();
        }
    }

    /// The newest entry that a standby has applied.
    pub(crate) fn applied(&self) -> SequenceNumber {
        let guest = self.guest.try_enter();
        guest
            .expect("only upkeep enters a standby, one at a time")
            .applied()
    }
}

/// Why an old generation's calls are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kill {
    /// They took longer than the drain timeout.
    DrainDeadline = 1,
    /// The generation after it died too, and there is no room for three.
    Evicted = 2,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generation")
            .field("number", &self.number)
            .field("engine", &self.engine)
            .field("retired", &self.is_retired())
            .field("taint", &self.taint())
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

pub(crate) fn diverged(
    entry: &crate::journal::Entry,
    what: DivergenceKind,
    expected: String,
    got: String,
) -> Divergence {
    Divergence {
        entry: entry.sequence,
        export: entry.export.to_string(),
        what,
        expected,
        got,
    }
}
