//! An instance with its policy and its handle table: calls as callers mean them.

mod checks;
mod cstring;
mod gather;
mod javascript;
mod marshal;
mod numbers;
mod scalars;
mod structs;

use std::fmt;
use std::sync::Arc;

use engine_api::{
    ExportKind, FuncIndex, GuestError, Instance, MemoryIndex, MemoryMeter, ModuleInfo, NumericType,
    PAGE_BYTES, Slot, Val,
};
use smallvec::SmallVec;

use crate::policy::plan::{ExportPlan, Plan, ResultPlan};
use crate::{Arg, ArgKind, CallError, Handle, Object, ObjectTable, Results, SequenceNumber, Value};

/// An instance, the plan of its module, and the objects that its handles name. It belongs to one
/// thread at a time. It keeps no record of calls, and does not know what host functions do.
pub struct BoundInstance {
    /// The instance itself.
    pub instance: Box<dyn Instance>,
    /// The policy of its module, bound to its exports.
    pub plan: Arc<Plan>,
    /// The objects that its handles name.
    pub objects: ObjectTable,
    /// The memory that buffers are in.
    memory: Option<MemoryIndex>,
    /// The tag in its handles.
    tag: u32,
    /// Where the size of the instance's memories can be read, if not from the instance alone.
    meter: Option<MemoryMeter>,
}

/// Why a call of an instance gave no result.
#[derive(Debug)]
pub enum CallFailure {
    /// Nothing ran: the arguments are wrong.
    Refused(CallError),
    /// The handle is not in the instance's table. Nothing ran.
    NoSuchHandle(Handle),
    /// The guest's allocator had nothing left. Nothing else ran.
    Exhausted,
    /// The guest or a host function ended the call. The state is lost.
    Ended(Box<engine_api::Error>),
    /// The call returned, and gave an error of the guest's own. Nothing is lost.
    Rejected(CallError),
    /// The call returned, but what it gave cannot be read.
    Garbled(CallError),
}

/// The outcome of a call that returned.
#[derive(Debug)]
pub struct Ran {
    /// The results. Empty where the guest returned an error.
    pub results: Results,
    /// The error that the guest returned instead.
    pub rejected: Option<Box<GuestError>>,
}

impl BoundInstance {
    /// Wraps an instance of the module that the plan is bound to, which holds `objects`. Handles of
    /// new objects get the tag.
    #[must_use]
    pub fn new(
        instance: Box<dyn Instance>,
        plan: Arc<Plan>,
        objects: ObjectTable,
        tag: u32,
    ) -> Self {
        Self {
            memory: main_memory(instance.info()),
            meter: instance.memory_meter(),
            instance,
            plan,
            objects,
            tag,
        }
    }

    /// The size of the memories, in bytes.
    #[must_use]
    #[inline]
    pub fn memory_bytes(&self) -> u64 {
        match &self.meter {
            Some(meter) => meter.bytes(),
            None => self.instance.memory_bytes(),
        }
    }

    /// The growth of memories that was refused since this was last asked: see
    /// [`Instance::growth_refused`].
    #[inline]
    pub fn growth_refused(&mut self) -> Option<u64> {
        match &self.meter {
            Some(meter) if !meter.is_growth_refused() => None,
            _ => self.instance.growth_refused(),
        }
    }

    /// Moves what is allocated later, and changes no data: takes blocks of several sizes from the
    /// guest's allocator, if the plan knows it, and grows the memory that buffers are in, by a page
    /// at least and until all memories have `bytes` together. What the guest or its limits refuse
    /// is left undone.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Ended`] if the allocator traps.
    pub fn pad(&mut self, bytes: u64) -> Result<(), CallFailure> {
        for power in 3..=12 {
            if !self.take_block(1 << power)? {
                break;
            }
        }
        if let Some(memory) = self.memory {
            let missing = bytes.saturating_sub(self.instance.memory_bytes());
            let pages = missing.div_ceil(PAGE_BYTES).max(1);
            // A memory that cannot grow has no other size anywhere.
            let _ = self.instance.memory_grow(memory, pages);
        }
        Ok(())
    }

    /// Calls a function with plain values: nothing is translated.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Ended`].
    #[inline]
    pub fn call_plain(
        &mut self,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), CallFailure> {
        self.instance.call(func, args, results).map_err(ended)
    }

    /// As [`BoundInstance::call_plain`], where the type is known in one word and the numbers are in
    /// their slots.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Ended`].
    #[inline]
    pub fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), CallFailure> {
        self.instance.call_numbers(func, ty, slots).map_err(ended)
    }

    /// Whether a call with these arguments would begin.
    #[must_use]
    pub fn accepts(&self, plan: &ExportPlan, args: &[Arg<'_>]) -> bool {
        args.len() == plan.args.len()
            && self.check(plan, args, None).is_ok()
            && self.needed(plan).is_ok()
    }

    /// The newest object of the type that the call needs.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Refused`] if there is none.
    #[inline]
    pub fn needed(&self, plan: &ExportPlan) -> Result<Option<Handle>, CallFailure> {
        let Some(needed) = &plan.needs else {
            return Ok(None);
        };
        let objects = self.objects.iter();
        let of_type = objects.filter(|(_, object)| object.ty.as_ref() == Some(needed));
        match of_type.map(|(handle, _)| *handle).max() {
            Some(handle) => Ok(Some(handle)),
            None => Err(CallFailure::Refused(CallError::Needs {
                export: plan.name.to_string(),
                needed: needed.to_string(),
            })),
        }
    }

    /// Forgets the objects that a call used up.
    #[inline]
    pub fn forget_consumed(&mut self, plan: &ExportPlan, args: &[Arg<'_>]) {
        for position in &plan.consumes {
            match &args[*position] {
                Arg::Handle(handle) => self.objects.remove(handle),
                Arg::Handles(handles) => {
                    for handle in *handles {
                        self.objects.remove(handle);
                    }
                }
                _ => {}
            }
        }
    }

    /// Asks the fingerprint export `func` about an object.
    ///
    /// # Errors
    ///
    /// As [`BoundInstance::run`].
    pub fn fingerprint(&mut self, func: FuncIndex, handle: Handle) -> Result<Ran, CallFailure> {
        let plan = Arc::clone(self.plan.export(func));
        if matches!(plan.args.as_slice(), [ArgKind::Handle(_)]) {
            return self.run(&plan, &[Arg::Handle(handle)], SequenceNumber::ZERO, None);
        }
        let ty = &plan.wasm_ty;
        let arg = scalars::raw_to_val(self.objects[&handle].raw, ty.params()[0]);
        let zeros = ty.results().iter().map(|ty| Val::zero(*ty));
        let mut results: SmallVec<[Val; 2]> = zeros.collect();
        self.call_plain(func, &[arg], &mut results)?;
        Ok(Ran {
            results: Results(results.into_iter().map(Value::Val).collect()),
            rejected: None,
        })
    }

    /// Calls a function of the module's own services, such as the one that reports its memory, and
    /// returns its first result as a number, if it is finite and not negative.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Ended`].
    pub fn report(&mut self, func: FuncIndex) -> Result<Option<f64>, CallFailure> {
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

    fn register(
        &mut self,
        sequence: SequenceNumber,
        position: usize,
        raw: u64,
        result: &ResultPlan,
    ) -> Value {
        if raw == 0 {
            return Value::Null;
        }
        let position = u32::try_from(position).expect("results are counted in u32");
        let handle = Handle::new(sequence, position, self.tag);
        let ty = result.object.clone();
        self.objects.insert(handle, Object { raw, ty });
        Value::Handle(handle)
    }
}

impl fmt::Debug for BoundInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundInstance")
            .field("memory_bytes", &self.memory_bytes())
            .finish_non_exhaustive()
    }
}

impl Ran {
    /// The results, unless the guest returned an error of its own.
    ///
    /// # Errors
    ///
    /// [`CallFailure::Rejected`].
    #[inline]
    pub fn accepted(self, plan: &ExportPlan) -> Result<Results, CallFailure> {
        match self.rejected {
            None => Ok(self.results),
            Some(error) => Err(CallFailure::Rejected(CallError::of_guest(
                &plan.name, *error,
            ))),
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CallFailure::Refused(error)
            | CallFailure::Rejected(error)
            | CallFailure::Garbled(error) => error.fmt(f),
            CallFailure::NoSuchHandle(handle) => write!(f, "no object {handle}"),
            CallFailure::Exhausted => f.write_str("the guest's allocator has no memory left"),
            CallFailure::Ended(source) => source.fmt(f),
        }
    }
}

#[cold]
fn ended(source: engine_api::Error) -> CallFailure {
    CallFailure::Ended(Box::new(source))
}

/// The memory that buffers are in.
fn main_memory(info: &ModuleInfo) -> Option<MemoryIndex> {
    match info.export("memory").map(|export| export.kind) {
        Some(ExportKind::Memory(index)) => Some(index),
        _ => (!info.memories().is_empty()).then_some(MemoryIndex(0)),
    }
}

/// The objects that a call uses up.
#[must_use]
#[inline]
pub fn consumed(plan: &ExportPlan, args: &[Arg<'_>]) -> SmallVec<[Handle; 8]> {
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
