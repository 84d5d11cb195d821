//! The inside of a generation: the instance, its handle table, and calls by policy.

use std::sync::Arc;

use engine_api::{
    EngineId, FuncIndex, Instance, Interrupter, MemoryIndex, MemoryMeter, ModuleInfo, NumericType,
    Slot, Val,
};
use smallvec::SmallVec;

use super::Blueprint;
use super::history::History;
use super::marshal::{Ran, check_count};
use super::objects::{Object, ObjectTable};
use crate::checkpoint::Checkpoint;
use crate::journal::{HostCall, ResultRecord};
use crate::policy::plan::{ExportPlan, Plan};
use crate::policy::{ArgKind, ResultKind};
use crate::recorder::{Recorder, is_live_reference};
use crate::value::{Arg, Results};
use crate::{Divergence, DivergenceKind, Error, Handle, SequenceNumber};

/// The instance with what belongs to it. Whoever holds it runs it.
pub(crate) struct Guest {
    pub(super) instance: Box<dyn Instance>,
    pub(super) objects: ObjectTable,
    pub(super) plan: Arc<Plan>,
    pub(super) memory: Option<MemoryIndex>,
    pub(super) proxy: u32,
    pub(super) recorder: Arc<Recorder>,
    records_host: bool,
    /// Where the size of the instance's memories can be read, if not from the instance alone.
    meter: Option<MemoryMeter>,
    applied: SequenceNumber,
    calls: u32,
    /// What was done to it while it was a standby.
    pub(super) history: History,
}

/// Why a call gave no result.
#[derive(Debug)]
pub(crate) enum CallFailure {
    /// Nothing ran: the arguments are wrong.
    Refused(Error),
    /// The handle is not in this generation's table: the journal knows why.
    NoSuchHandle(Handle),
    /// The guest's allocator had nothing left. Nothing else ran.
    Exhausted { side_effects: bool },
    /// The guest or a host function ended the call. The state is lost.
    Ended {
        source: Box<engine_api::Error>,
        side_effects: bool,
    },
    /// The call returned, and gave an error of the guest's own. Nothing is lost.
    Rejected(Error),
    /// The call returned, but what it gave cannot be read.
    Garbled(Error),
    /// The call returned, but the guest's state is lost or cannot be recorded.
    Harmed(String),
}

/// A journaled call that returned: its results, and what the entry keeps.
pub(crate) struct Recorded {
    pub(crate) results: Results,
    pub(crate) records: SmallVec<[ResultRecord; 1]>,
    pub(crate) fingerprints: Box<[Val]>,
    pub(crate) host_calls: Vec<HostCall>,
    pub(crate) needs: Option<Handle>,
    /// The error that the guest returned instead.
    pub(crate) rejected: Option<String>,
}

impl Guest {
    pub(super) fn create(
        blueprint: &Blueprint,
        genesis: Option<&[HostCall]>,
    ) -> Result<(Self, Vec<HostCall>), Error> {
        let recorder = Arc::new(Recorder::default());
        let info = Arc::clone(blueprint.module.info());
        let imports = recorder.wrap(&blueprint.imports, &blueprint.plan, &info);
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
            return Err(Error::GuestData { export, what });
        }
        let host_calls = genesis.unwrap_or(&recording.calls);
        let guest = Self {
            meter: instance.memory_meter(),
            instance,
            objects: ObjectTable::default(),
            plan: Arc::clone(&blueprint.plan),
            memory: main_memory(&info),
            proxy: blueprint.proxy,
            recorder,
            records_host: imports.iter().next().is_some(),
            applied: SequenceNumber::ZERO,
            calls: 0,
            history: History::begin(host_calls, blueprint.checkpoints),
        };
        Ok((guest, recording.calls))
    }

    /// An instance in the state of a checkpoint. No host function is called.
    pub(super) fn restore(blueprint: &Blueprint, checkpoint: &Checkpoint) -> Result<Self, Error> {
        let recorder = Arc::new(Recorder::default());
        let info = blueprint.module.info();
        let imports = recorder.wrap(&blueprint.imports, &blueprint.plan, info);
        let instance =
            blueprint
                .module
                .restore(&imports, &blueprint.limits, &checkpoint.snapshot)?;
        Ok(Self {
            meter: instance.memory_meter(),
            instance,
            objects: ObjectTable::of(&checkpoint.objects),
            plan: Arc::clone(&blueprint.plan),
            memory: main_memory(info),
            proxy: blueprint.proxy,
            recorder,
            records_host: imports.iter().next().is_some(),
            applied: checkpoint.sequence,
            calls: 0,
            history: History::after(&checkpoint.history),
        })
    }

    /// A checkpoint of the state as it is: right after entries were applied, and before anything else ran.
    pub(super) fn capture(&mut self, engine: EngineId) -> Result<Checkpoint, Error> {
        let history = self.history.share()?;
        let snapshot = self.instance.capture()?;
        let objects = self.objects.share();
        Ok(Checkpoint::new(
            snapshot,
            objects,
            self.applied,
            history,
            engine,
        ))
    }

    /// Gives the memory back, in slices. Nothing may run here afterwards.
    pub(super) fn discard(&mut self) {
        self.instance.discard_memories();
    }

    pub(crate) fn applied(&self) -> SequenceNumber {
        self.applied
    }

    pub(super) fn skip_to(&mut self, sequence: SequenceNumber) {
        self.applied = self.applied.max(sequence);
    }

    #[inline]
    pub(crate) fn memory_bytes(&self) -> u64 {
        match &self.meter {
            Some(meter) => meter.bytes(),
            None => self.instance.memory_bytes(),
        }
    }

    pub(super) fn interrupter(&self) -> Option<Interrupter> {
        self.instance.interrupter().ok()
    }

    /// Counts calls, and says for one of 64 that it should be timed: the clock costs as much as a
    /// short call.
    #[inline]
    pub(crate) fn is_sampled(&mut self) -> bool {
        self.calls = self.calls.wrapping_add(1);
        self.calls.is_multiple_of(64)
    }

    /// A pure call of plain values: nothing is translated and nothing kept.
    #[inline]
    pub(crate) fn call_plain(
        &mut self,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallFailure> {
        self.begin_live();
        self.instance
            .call(func, args, results)
            .map_err(|source| self.ended(source))?;
        self.unharmed()
    }

    /// As [`Guest::call_plain`], where the type is known in one word and the numbers are in their slots.
    #[inline]
    pub(crate) fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), CallFailure> {
        self.begin_live();
        self.instance
            .call_numbers(func, ty, slots)
            .map_err(|source| self.ended(source))?;
        self.unharmed()
    }

    /// A pure call by policy.
    pub(crate) fn call_pure(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Option<u64>,
    ) -> Result<Results, CallFailure> {
        if plan.needs.is_some() {
            check_count(plan, args)?;
            self.needed(plan)?;
        }
        self.begin_live();
        let ran = self.run(plan, args, SequenceNumber::ZERO, scope)?;
        self.unharmed()?;
        accepted(plan, ran)
    }

    /// The newest object of the type that the call needs.
    pub(super) fn needed(&self, plan: &ExportPlan) -> Result<Option<Handle>, CallFailure> {
        let Some(needed) = &plan.needs else {
            return Ok(None);
        };
        let of_type = |object: &Object| object.ty.as_ref() == Some(needed);
        let newest = self
            .objects
            .iter()
            .filter(|(_, object)| of_type(object))
            .map(|(handle, _)| *handle)
            .max();
        match newest {
            Some(handle) => Ok(Some(handle)),
            None => Err(CallFailure::Refused(Error::Needs {
                export: plan.name.to_string(),
                needed: needed.to_string(),
            })),
        }
    }

    /// Host functions run and nothing is kept, if there are any: otherwise the recorder, behind its lock, has
    /// nothing to do.
    #[inline]
    fn begin_live(&self) {
        if self.records_host {
            self.recorder.begin_live();
        }
    }

    /// Whether a pure call that returned left the guest whole: a host function may have swallowed
    /// the trap of a nested call.
    #[inline]
    fn unharmed(&self) -> Result<(), CallFailure> {
        if !self.records_host {
            return Ok(());
        }
        match self.recorder.take_fault() {
            None => Ok(()),
            Some(what) => Err(CallFailure::Harmed(what)),
        }
    }

    /// A journaled call by policy, as entry `sequence`. On success the objects it made are known by
    /// their handles, and those it freed are not; the entry is the caller's to append.
    pub(crate) fn call_journaled(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Recorded, CallFailure> {
        let recorded = if self.records_host {
            self.recorder.begin_record();
            let recorded = self.execute(plan, args, sequence);
            let recording = self.recorder.finish();
            let mut recorded = recorded?;
            if let Some(fault) = recording.fault {
                return Err(CallFailure::Harmed(fault));
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
            return Err(CallFailure::Harmed(what.to_owned()));
        }
        Ok(recorded)
    }

    /// A call by policy of which nothing is kept but the objects that it made. Those it freed are not known any
    /// more.
    pub(super) fn call_unrecorded(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        scope: Option<u64>,
    ) -> Result<Results, CallFailure> {
        check_count(plan, args)?;
        self.needed(plan)?;
        self.begin_live();
        let ran = self.run(plan, args, sequence, scope)?;
        for handle in consumed(plan, args) {
            self.objects.remove(&handle);
        }
        self.unharmed()?;
        accepted(plan, ran)
    }

    /// Runs, takes fingerprints, and settles the handle table.
    pub(super) fn execute(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Recorded, CallFailure> {
        check_count(plan, args)?;
        let needs = self.needed(plan)?;
        let ran = self.run(plan, args, sequence, None)?;
        self.settle(plan, args, sequence, needs, ran)
    }

    /// After a journaled call has returned: what the journal keeps, and the handle table.
    pub(super) fn settle(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        needs: Option<Handle>,
        ran: Ran,
    ) -> Result<Recorded, CallFailure> {
        let Ran {
            results,
            records,
            rejected,
        } = ran;
        let mut fingerprints = Vec::new();
        if let Some(func) = plan.fingerprint {
            for record in &records {
                if let ResultRecord::Object(handle, _) = record {
                    self.fingerprint(func, *handle, &mut fingerprints)?;
                }
            }
        }
        for handle in consumed(plan, args) {
            self.objects.remove(&handle);
        }
        self.applied = sequence;
        Ok(Recorded {
            results,
            records,
            fingerprints: fingerprints.into(),
            host_calls: Vec::new(),
            needs,
            rejected,
        })
    }

    fn fingerprint(
        &mut self,
        func: FuncIndex,
        handle: Handle,
        fingerprints: &mut Vec<Val>,
    ) -> Result<(), CallFailure> {
        let plan = Arc::clone(self.plan.export(func));
        if matches!(plan.args.as_slice(), [ArgKind::Handle(_)]) {
            let ran = self.run(&plan, &[Arg::Handle(handle)], SequenceNumber::ZERO, None)?;
            for record in &ran.records {
                record.digest_into(fingerprints);
            }
            return Ok(());
        }
        let ty = plan.wasm_ty.clone();
        let raw = self.objects[&handle].raw;
        let arg = super::marshal::raw_to_val(raw, ty.params()[0]);
        let mut results: SmallVec<[Val; 2]> =
            ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        self.instance
            .call(func, &[arg], &mut results)
            .map_err(|source| self.ended(source))?;
        fingerprints.extend(results);
        Ok(())
    }

    /// Calls a function of the module's own services, such as the one that reports its memory, and
    /// returns its first result as a number, if it is one that makes sense.
    pub(crate) fn report(&mut self, func: FuncIndex) -> Result<Option<f64>, CallFailure> {
        let Some(ty) = self.plan.export(func).ty.results().first().copied() else {
            return Ok(None);
        };
        let mut results = [Val::zero(ty)];
        self.call_plain(func, &[], &mut results)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a number of MiB is far below the precision of an f64"
        )]
        let number = match &results[0] {
            Val::I32(value) => f64::from(value.cast_unsigned()),
            Val::I64(value) => value.cast_unsigned() as f64,
            Val::F32(bits) => f64::from(f32::from_bits(*bits)),
            Val::F64(bits) => f64::from_bits(*bits),
            _ => return Ok(None),
        };
        Ok((number.is_finite() && number >= 0.0).then_some(number))
    }

    #[cold]
    pub(super) fn ended(&self, source: engine_api::Error) -> CallFailure {
        let side_effects = self.had_side_effects();
        CallFailure::Ended {
            source: Box::new(source),
            side_effects,
        }
    }

    pub(super) fn had_side_effects(&self) -> bool {
        self.recorder.had_side_effects()
    }

    pub(super) fn register(
        &mut self,
        sequence: SequenceNumber,
        result: usize,
        raw: u64,
        kind: &ResultKind,
    ) -> (Handle, Option<Arc<str>>) {
        let result = u32::try_from(result).expect("results are counted in u32");
        let handle = Handle {
            sequence,
            result,
            proxy: self.proxy,
        };
        let ty: Option<Arc<str>> = match kind {
            ResultKind::Handle(ty) => ty.as_deref().map(Into::into),
            _ => None,
        };
        self.objects.insert(
            handle,
            Object {
                raw,
                ty: ty.clone(),
            },
        );
        (handle, ty)
    }
}

/// What a call gave, unless it is an error of the guest's own.
fn accepted(plan: &ExportPlan, ran: Ran) -> Result<Results, CallFailure> {
    match ran.rejected {
        None => Ok(ran.results),
        Some(message) => Err(CallFailure::Rejected(Error::Guest {
            export: plan.name.to_string(),
            message,
        })),
    }
}

/// The memory that buffers are in.
fn main_memory(info: &ModuleInfo) -> Option<MemoryIndex> {
    match info.export("memory").map(|export| export.kind) {
        Some(engine_api::ExportKind::Memory(index)) => Some(index),
        _ => (!info.memories().is_empty()).then_some(MemoryIndex(0)),
    }
}

/// The objects that a call uses up.
pub(crate) fn consumed(plan: &ExportPlan, args: &[Arg<'_>]) -> SmallVec<[Handle; 4]> {
    let consumed = plan.consumes.iter().map(|position| &args[*position]);
    consumed
        .flat_map(|arg| match arg {
            Arg::Handle(handle) => std::slice::from_ref(handle),
            Arg::Handles(handles) => *handles,
            _ => &[],
        })
        .copied()
        .collect()
}

impl CallFailure {
    pub(crate) fn describe(&self) -> String {
        match self {
            CallFailure::Refused(error)
            | CallFailure::Rejected(error)
            | CallFailure::Garbled(error) => error.to_string(),
            CallFailure::NoSuchHandle(handle) => format!("no object {handle}"),
            CallFailure::Harmed(what) => what.clone(),
            CallFailure::Exhausted { .. } => "the guest's allocator has no memory left".to_owned(),
            CallFailure::Ended { source, .. } => source.to_string(),
        }
    }
}
