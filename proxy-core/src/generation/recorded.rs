//! The inside of a generation: an instance, with a record of what its calls did.

use std::collections::BTreeMap;
use std::sync::Arc;

use engine_api::{
    EngineId, FuncIndex, GlobalIndex, GuestError, Interrupter, NumericType, Slot, Snapshot, Val,
};
use guest_calls::{ArgKind, BoundInstance, CallFailure, ObjectTable, Pointer, Ran, Scope};
use smallvec::SmallVec;

use super::Blueprint;
use super::failure::Failure;
use super::history::History;
use crate::checkpoint::{Applied, Checkpoint};
use crate::journal::{HostCall, ResultRecord};
use crate::policy::plan::ExportPlan;
use crate::recorder::{Recorder, Recording, is_live_reference};
use crate::shown;
use crate::value::{Arg, Results};
use crate::{CallError, Divergence, DivergenceKind, Error, Handle, SequenceNumber};

/// An instance, with the recorder of its host functions and the history of what was applied to it.
/// It runs for the thread that holds it.
pub(crate) struct RecordedInstance {
    pub(super) bound: BoundInstance,
    pub(super) recorder: Arc<Recorder>,
    records_host: bool,
    applied: SequenceNumber,
    calls: u32,
    /// Whether the last call that returned gave a status code for exhaustion.
    gave_status_code: bool,
    /// Whether the last replayed call ended as a failed allocation ends.
    pub(super) ended_in_allocation: bool,
    /// The size that the memories were refused in the replayed call that failed.
    refused_in_replay: Option<u64>,
    stack_pointer: Option<GlobalIndex>,
    /// The entries applied to it while it was a standby.
    pub(super) history: History,
}

/// What a call gave, as an entry would keep it.
pub(crate) type Records = SmallVec<[ResultRecord; 1]>;

/// Why a call that returned counts as one that ran out of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhaustion {
    /// The memories were refused to become so many bytes large together.
    GrowthRefused(u64),
    /// The call gave a number that the policy calls exhaustion.
    StatusCode,
}

impl Exhaustion {
    /// The size that the memories were refused, in bytes.
    pub(crate) fn refused(self) -> Option<u64> {
        match self {
            Exhaustion::GrowthRefused(bytes) => Some(bytes),
            Exhaustion::StatusCode => None,
        }
    }
}

/// A journaled call that returned: its results, and what the entry keeps.
pub(crate) struct Recorded {
    pub(crate) results: Results,
    pub(crate) records: SmallVec<[ResultRecord; 1]>,
    pub(crate) fingerprints: Box<[Val]>,
    pub(crate) host_calls: Vec<HostCall>,
    pub(crate) needs: Option<Handle>,
    /// The error that the guest returned instead.
    pub(crate) rejected: Option<Box<GuestError>>,
}

/// A pure call of a turn that returned.
pub(crate) struct Kept {
    pub(crate) ran: Ran,
    pub(crate) host_calls: Box<[HostCall]>,
    /// Why it cannot be repeated, if it cannot.
    pub(crate) unrepeatable: Option<String>,
}

impl RecordedInstance {
    pub(super) fn create(
        blueprint: &Blueprint,
        genesis: Option<&[HostCall]>,
    ) -> Result<(Self, Vec<HostCall>), Error> {
        let recorder = Arc::new(Recorder::default());
        let info = Arc::clone(blueprint.module.info());
        let (imports, records_host) = recorder.wrap(&blueprint.imports, &blueprint.plan, &info);
        match genesis {
            Some(calls) => recorder.begin_replay(calls),
            None => recorder.begin_record(),
        }
        let instance = blueprint.module.instantiate(&imports, &blueprint.limits);
        let recording = recorder.finish();
        let diverged = |got: String| {
            Error::Divergence(Box::new(Divergence {
                entry: SequenceNumber::ZERO,
                export: "the start function".to_owned(),
                what: DivergenceKind::HostCalls,
                expected: "the host calls of the first instantiation".to_owned(),
                got,
            }))
        };
        if let Some(got) = recording.mismatch {
            return Err(diverged(got));
        }
        let instance = instance?;
        if recording.unused > 0 {
            return Err(diverged(format!("{} fewer", recording.unused)));
        }
        if let Some(what) = recording.fault {
            let export = "the start function".to_owned();
            return Err(CallError::GuestData { export, what }.into());
        }
        let plan = Arc::clone(&blueprint.plan);
        let guest = Self {
            bound: BoundInstance::new(instance, plan, ObjectTable::default(), blueprint.proxy),
            recorder,
            records_host,
            applied: SequenceNumber::ZERO,
            calls: 0,
            gave_status_code: false,
            ended_in_allocation: false,
            refused_in_replay: None,
            stack_pointer: blueprint.stack_pointer,
            history: History::begin(blueprint.checkpoints),
        };
        Ok((guest, recording.calls))
    }

    /// An instance in the state of a checkpoint. No host function is called.
    pub(super) fn restore(blueprint: &Blueprint, checkpoint: &Checkpoint) -> Result<Self, Error> {
        let recorder = Arc::new(Recorder::default());
        let info = blueprint.module.info();
        let (imports, records_host) = recorder.wrap(&blueprint.imports, &blueprint.plan, info);
        let instance =
            blueprint
                .module
                .restore(&imports, &blueprint.limits, &checkpoint.snapshot)?;
        let plan = Arc::clone(&blueprint.plan);
        let objects = ObjectTable::of(&checkpoint.objects);
        Ok(Self {
            bound: BoundInstance::new(instance, plan, objects, blueprint.proxy),
            recorder,
            records_host,
            applied: checkpoint.sequence,
            calls: 0,
            gave_status_code: false,
            ended_in_allocation: false,
            refused_in_replay: None,
            stack_pointer: blueprint.stack_pointer,
            history: History::after(checkpoint),
        })
    }

    /// A checkpoint of the state. It must be taken right after entries were applied, before
    /// anything else runs.
    pub(super) fn capture(&mut self, engine: EngineId) -> Result<Checkpoint, Error> {
        let snapshot = self.bound.instance.capture();
        let snapshot = snapshot.map_err(|error| match error {
            // It has state that no snapshot holds, and will have it again.
            engine_api::Error::Unsupported { .. } => Error::NoCheckpoint {
                reasons: error.to_string(),
            },
            error => error.into(),
        })?;
        let history = self.history.share();
        let objects = self.bound.objects.share();
        Ok(Checkpoint::new(
            snapshot,
            objects,
            self.applied,
            history,
            engine,
            self.history.lineage(),
        ))
    }

    pub(super) fn ended_in_allocation(&self) -> bool {
        self.ended_in_allocation
    }

    /// A replayed call failed: keeps the growth that was refused in it.
    pub(super) fn note_refusal(&mut self) {
        self.refused_in_replay = self.take_exhaustion().and_then(Exhaustion::refused);
    }

    pub(super) fn refused_in_replay(&self) -> Option<u64> {
        self.refused_in_replay
    }

    /// The types of the live objects, and how many there are of each, most first.
    pub(crate) fn live_objects(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, object) in self.bound.objects.iter() {
            *counts
                .entry(object.ty.as_deref().unwrap_or("object"))
                .or_default() += 1;
        }
        let mut counts: Vec<_> = counts
            .into_iter()
            .map(|(ty, count)| (ty.to_owned(), count))
            .collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counts
    }

    /// What each live object that has a fingerprint says now, in the order of creation; `None` if it
    /// fails to say. Host functions do not answer.
    pub(super) fn fingerprints(&mut self, history: &[Applied]) -> Vec<(Handle, Option<Vec<Val>>)> {
        let mut fingerprints = Vec::new();
        for entry in history.iter().map(|applied| &*applied.entry) {
            let Some(func) = self.bound.plan.export(entry.func).fingerprint else {
                continue;
            };
            for (handle, _) in entry.creates() {
                if self.bound.objects.get(&handle).is_none() {
                    continue;
                }
                self.recorder.begin_replay(&[]);
                let said = self.attempt(|bound| bound.fingerprint(func, handle));
                let is_alone = self.recorder.finish().mismatch.is_none();
                let said = said.ok().filter(|_| is_alone).map(|said| {
                    let mut digests = Vec::new();
                    for record in ResultRecord::all_of(&said, &self.bound.objects) {
                        record.digest_into(&mut digests);
                    }
                    digests
                });
                fingerprints.push((handle, said));
            }
        }
        fingerprints
    }

    /// Gives the memory back, in slices. Nothing may run here afterwards.
    pub(super) fn discard(&mut self) {
        self.bound.instance.discard_memories();
    }

    pub(crate) fn applied(&self) -> SequenceNumber {
        self.applied
    }

    pub(super) fn skip_to(&mut self, sequence: SequenceNumber) {
        self.applied = self.applied.max(sequence);
    }

    #[inline]
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.bound.memory_bytes()
    }

    /// As [`BoundInstance::accepts`].
    pub(crate) fn accepts(&self, plan: &ExportPlan, args: &[Arg<'_>]) -> bool {
        self.bound.accepts(plan, args)
    }

    pub(super) fn interrupter(&self) -> Option<Interrupter> {
        self.bound.instance.interrupter().ok()
    }

    /// Counts calls, and picks one of 64 to be timed: the clock costs as much as a short call.
    #[inline]
    pub(crate) fn is_sampled(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        self.calls.is_multiple_of(64)
    }

    /// A pure call whose type is known in one word and whose numbers are in their slots: nothing is
    /// translated and nothing kept.
    #[inline]
    pub(crate) fn call_pure_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Failure> {
        self.live(|bound| bound.call_numbers(func, ty, slots))
    }

    /// As [`BoundInstance::report`].
    pub(crate) fn report(&mut self, func: FuncIndex) -> Result<Option<f64>, Failure> {
        self.live(|bound| bound.report(func))
    }

    /// A pure call by policy.
    pub(crate) fn call_pure(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Option<Scope>,
    ) -> Result<Results, Failure> {
        let ran = self.live(|bound| {
            if plan.needs.is_some() {
                plan.check_args(args)?;
                bound.needed(plan)?;
            }
            bound.run(plan, args, SequenceNumber::ZERO, scope)
        })?;
        self.note_status_code(plan, &ran);
        ran.accepted(plan).map_err(|failure| self.failed(failure))
    }

    /// A pure call of a turn, with what it takes to repeat it on another instance.
    pub(crate) fn call_kept(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Scope,
    ) -> Result<Kept, Failure> {
        if self.records_host {
            self.recorder.begin_keeping();
        }
        let ran = self.attempt_pure(plan, args, scope);
        let recording = self.records_host.then(|| self.recorder.finish());
        let ran = ran?;
        let (host_calls, fault, unrepeatable) = match recording {
            Some(recording) => (recording.calls, recording.fault, recording.unrepeatable),
            None => Default::default(),
        };
        if let Some(fault) = fault {
            return Err(Failure::Harmed(fault));
        }
        self.note_status_code(plan, &ran);
        Ok(Kept {
            host_calls: host_calls.into(),
            unrepeatable,
            ran,
        })
    }

    /// Repeats a call that was kept. The record answers for the host functions. The first difference
    /// to their calls comes back beside the outcome.
    pub(crate) fn repeat_kept(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Scope,
        host_calls: &[HostCall],
    ) -> (Result<Ran, Failure>, Option<String>) {
        self.recorder.begin_replay(host_calls);
        let outcome = self.attempt_pure(plan, args, scope);
        let Recording {
            mismatch,
            fault,
            unused,
            ..
        } = self.recorder.finish();
        let fewer = || {
            let is_short = outcome.is_ok() && unused > 0;
            is_short.then(|| format!("{unused} host calls fewer"))
        };
        let difference = mismatch.or(fault).or_else(fewer);
        (outcome, difference)
    }

    /// As [`BoundInstance::take_structs`].
    pub(crate) fn take_structs(
        &mut self,
        kind: &ArgKind,
        raw: &[Pointer],
    ) -> Result<Vec<u8>, Failure> {
        self.live(|bound| bound.take_structs(kind, raw))
    }

    fn attempt_pure(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Scope,
    ) -> Result<Ran, Failure> {
        self.attempt(|bound| {
            plan.check_args(args)?;
            bound.needed(plan)?;
            bound.run(plan, args, SequenceNumber::ZERO, Some(scope))
        })
    }

    /// What a call gave, as an entry would keep it.
    pub(crate) fn records_of(&self, ran: &Ran) -> Records {
        ResultRecord::all_of(ran, &self.bound.objects)
    }

    /// What an export without arguments says of the whole state, as an entry would keep it.
    pub(crate) fn state_digest(&mut self, plan: &ExportPlan) -> Result<Records, Failure> {
        let ran = self.live(|bound| bound.run(plan, &[], SequenceNumber::ZERO, None))?;
        Ok(ResultRecord::all_of(&ran, &self.bound.objects))
    }

    /// Repeats a pure call that had not called the host, and does not let it call the host now.
    /// Returns what it gave, also as a report shows it.
    pub(crate) fn repeat_pure(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
    ) -> Result<(Records, String), Failure> {
        self.recorder.begin_replay(&[]);
        let ran = self.attempt(|bound| {
            plan.check_args(args)?;
            bound.needed(plan)?;
            // Raw pointers may come of it, and no later call is given them.
            bound.run(plan, args, SequenceNumber::ZERO, Some(Scope::pinned(0)))
        });
        let Recording {
            mismatch, fault, ..
        } = self.recorder.finish();
        if let Some(what) = mismatch.or(fault) {
            return Err(Failure::Harmed(what));
        }
        let ran = ran?;
        self.note_status_code(plan, &ran);
        let records = ResultRecord::all_of(&ran, &self.bound.objects);
        Ok((records, shown::ran(&ran)))
    }

    /// Moves what is allocated later, and changes no data: see [`BoundInstance::pad`].
    pub(crate) fn pad(&mut self, bytes: u64) -> Result<(), Failure> {
        self.recorder.begin_replay(&[]);
        let padded = self.attempt(|bound| bound.pad(bytes));
        let mismatch = self.recorder.finish().mismatch;
        self.take_exhaustion();
        match mismatch {
            Some(what) => Err(Failure::Harmed(what)),
            None => padded,
        }
    }

    /// Whether the last call that was not journaled has called the host.
    pub(crate) fn host_ran(&self) -> bool {
        self.records_host && self.recorder.host_ran()
    }

    /// Where the guest's stack pointer is, if it is watched.
    pub(crate) fn stack_pointer(&mut self) -> Option<u64> {
        match self.bound.instance.watched_global(self.stack_pointer?) {
            Ok(Val::I32(pointer)) => Some(u64::from(pointer.cast_unsigned())),
            Ok(Val::I64(pointer)) => Some(pointer.cast_unsigned()),
            _ => None,
        }
    }

    /// Its memories, tables and globals as they are now.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, Error> {
        Ok(self.bound.instance.capture()?)
    }

    #[inline]
    fn note_status_code(&mut self, plan: &ExportPlan, ran: &Ran) {
        if let Some(codes) = &plan.exhausted {
            self.gave_status_code = codes.are_in(ran.results.as_slice());
        }
    }

    /// Whether guest code that ran since this was last asked met its limit and went on.
    #[inline]
    pub(crate) fn take_exhaustion(&mut self) -> Option<Exhaustion> {
        let gave_status_code = std::mem::take(&mut self.gave_status_code);
        match self.bound.growth_refused() {
            Some(bytes) => Some(Exhaustion::GrowthRefused(bytes)),
            None => gave_status_code.then_some(Exhaustion::StatusCode),
        }
    }

    /// Whether host functions with effects outside ran in the last call.
    pub(crate) fn had_side_effects(&self) -> bool {
        self.records_host && self.recorder.had_side_effects()
    }

    /// Runs what is not journaled: host functions run and nothing is kept. Without host functions
    /// the recorder, behind its lock, has nothing to do.
    #[inline]
    fn live<R>(
        &mut self,
        run: impl FnOnce(&mut BoundInstance) -> Result<R, CallFailure>,
    ) -> Result<R, Failure> {
        if self.records_host {
            self.recorder.begin_live();
        }
        let result = self.attempt(run)?;
        self.unharmed()?;
        Ok(result)
    }

    /// Runs guest code, and says of a failure whether host functions had had effects.
    #[inline]
    pub(super) fn attempt<R>(
        &mut self,
        run: impl FnOnce(&mut BoundInstance) -> Result<R, CallFailure>,
    ) -> Result<R, Failure> {
        run(&mut self.bound).map_err(|failure| self.failed(failure))
    }

    #[cold]
    fn failed(&self, failure: CallFailure) -> Failure {
        Failure::Call {
            failure,
            side_effects: self.recorder.had_side_effects(),
        }
    }

    /// Whether a pure call that returned left the guest whole: a host function may have swallowed
    /// the trap of a nested call.
    #[inline]
    fn unharmed(&self) -> Result<(), Failure> {
        if !self.records_host {
            return Ok(());
        }
        match self.recorder.take_fault() {
            None => Ok(()),
            Some(what) => Err(Failure::Harmed(what)),
        }
    }

    /// A journaled call by policy, as entry `sequence`. On success the objects it made are known by
    /// their handles, and those it freed are not; the entry is the caller's to append.
    pub(crate) fn call_journaled(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Recorded, Failure> {
        let recorded = if self.records_host {
            self.recorder.begin_record();
            let recorded = self.execute(plan, args, sequence);
            let recording = self.recorder.finish();
            let mut recorded = recorded?;
            if let Some(fault) = recording.fault {
                return Err(Failure::Harmed(fault));
            }
            recorded.host_calls = recording.calls;
            recorded
        } else {
            self.execute(plan, args, sequence)?
        };
        let reference = |record: &ResultRecord| match record {
            ResultRecord::Val(val) => is_live_reference(val),
            _ => false,
        };
        if recorded.records.iter().any(reference) {
            let what = "a reference, which cannot be recorded; make the export pure";
            return Err(Failure::Harmed(what.to_owned()));
        }
        Ok(recorded)
    }

    /// Runs, takes fingerprints, and settles the handle table.
    pub(super) fn execute(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Recorded, Failure> {
        let (needs, ran) = self.begin(plan, args, sequence)?;
        self.settle(plan, args, sequence, needs, ran)
    }

    /// Runs a journaled call, and settles nothing yet. Returns the object that it needed, too.
    pub(super) fn begin(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<(Option<Handle>, Ran), Failure> {
        self.attempt(|bound| {
            plan.check_args(args)?;
            let needs = bound.needed(plan)?;
            Ok((needs, bound.run(plan, args, sequence, None)?))
        })
    }

    pub(super) fn note_applied(&mut self, sequence: SequenceNumber) {
        self.applied = sequence;
    }

    /// Makes the record of a journaled call that returned, and updates the handle table.
    pub(super) fn settle(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        needs: Option<Handle>,
        ran: Ran,
    ) -> Result<Recorded, Failure> {
        let records = ResultRecord::all_of(&ran, &self.bound.objects);
        let mut fingerprints = Vec::new();
        if let Some(func) = plan.fingerprint {
            for record in &records {
                if let ResultRecord::Object(handle, _) = record {
                    let said = self.attempt(|bound| bound.fingerprint(func, *handle))?;
                    for record in ResultRecord::all_of(&said, &self.bound.objects) {
                        record.digest_into(&mut fingerprints);
                    }
                }
            }
        }
        self.note_status_code(plan, &ran);
        self.bound.forget_consumed(plan, args);
        self.applied = sequence;
        Ok(Recorded {
            results: ran.results,
            records,
            fingerprints: fingerprints.into(),
            host_calls: Vec::new(),
            needs,
            rejected: ran.rejected,
        })
    }
}
