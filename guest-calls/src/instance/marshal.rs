//! Arguments into the guest, results out of it. Every pointer from a guest is checked.

use std::borrow::Cow;

use engine_api::{FuncIndex, GuestError, Val, ValType};
use smallvec::SmallVec;

use super::structs::{Encoded, are_structs};
use super::{BoundInstance, CallFailure, Ran};
use crate::param::Param;
use crate::policy::plan::{ExportPlan, ResultPlan};
use crate::{
    Arg, ArgKind, CallError, Handle, Ownership, Pointer, ResultKind, Results, SequenceNumber, Value,
};

/// A buffer in the guest: where it is, how many bytes, and their alignment.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) pointer: u32,
    len: u32,
    align: u32,
}

impl Buffer {
    /// A buffer of the guest's that was copied out, and so lies in its memory.
    pub(super) fn returned(pointer: u64, len: usize, align: u32) -> Self {
        let fits = "it was found in a memory with 32-bit addresses";
        Self {
            pointer: u32::try_from(pointer).expect(fits),
            len: u32::try_from(len).expect(fits),
            align,
        }
    }
}

/// Bytes that a return pointer has room for.
const RETURN_BYTES: i32 = 16;

impl BoundInstance {
    /// Calls an export. Objects get handles of `sequence`; raw pointers are good for `scope`.
    /// Objects that the call used up are still in the table: see
    /// [`BoundInstance::forget_consumed`].
    ///
    /// # Errors
    ///
    /// Every [`CallFailure`] but [`CallFailure::Rejected`]: what the guest returns is in [`Ran`].
    pub fn run(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        scope: Option<u64>,
    ) -> Result<Ran, CallFailure> {
        if let Some(ty) = plan.slots
            && let Some(ran) = self.run_slots(plan, ty, args, sequence)?
        {
            return Ok(ran);
        }
        self.check(plan, args, scope)?;
        let mut vals: SmallVec<[Val; 8]> = SmallVec::new();
        let mut lent: SmallVec<[Buffer; 2]> = SmallVec::new();
        for (position, (arg, kind)) in args.iter().zip(&plan.args).enumerate() {
            self.lower(plan, position, arg, kind, &mut vals, &mut lent)?;
        }
        let raw = self.call_raw(plan, vals)?;
        for buffer in lent {
            self.free(buffer)?;
        }
        let mut results = Results::default();
        if let Some(reference) = failed(plan, &raw) {
            let rejected = Some(self.take_error(reference)?);
            return Ok(Ran { results, rejected });
        }
        let mut rest = raw.as_slice();
        for (position, result) in plan.results.iter().enumerate() {
            if result.kind == ResultKind::Error {
                break;
            }
            let (own, after) = rest.split_at(if result.pair { 2 } else { 1 });
            rest = after;
            let value = self.lift(plan, position, result, own, sequence, scope)?;
            results.0.push(value);
        }
        Ok(Ran {
            results,
            rejected: None,
        })
    }

    /// Calls the function with the arguments that callers see, and returns the results that they
    /// see.
    pub(super) fn call_raw(
        &mut self,
        plan: &ExportPlan,
        mut vals: SmallVec<[Val; 8]>,
    ) -> Result<SmallVec<[Val; 4]>, CallFailure> {
        let mut raw: SmallVec<[Val; 4]> =
            plan.ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        let at = if plan.return_pointer {
            let at = self.move_stack(-RETURN_BYTES)?;
            vals.insert(0, Val::from(at));
            Some(at)
        } else {
            None
        };
        let zeros = plan.wasm_ty.params()[vals.len()..].iter();
        vals.extend(zeros.map(|ty| Val::zero(*ty)));
        let Some(at) = at else {
            self.call_plain(plan.func, &vals, &mut raw)?;
            return Ok(raw);
        };
        self.call_plain(plan.func, &vals, &mut [])?;
        let mut bytes = Vec::new();
        self.copy_out(plan, at.into(), 4 * raw.len() as u64, &mut bytes)?;
        self.move_stack(RETURN_BYTES)?;
        for (slot, word) in raw.iter_mut().zip(bytes.chunks_exact(4)) {
            *slot = Val::I32(i32::from_le_bytes(word.try_into().expect("chunks of four")));
        }
        Ok(raw)
    }

    /// Moves the guest's stack pointer, and returns it.
    fn move_stack(&mut self, bytes: i32) -> Result<u32, CallFailure> {
        let func = self
            .plan
            .stack_pointer
            .expect("the policy was bound with one");
        let mut pointer = [Val::I32(0)];
        self.call_plain(func, &[Val::I32(bytes)], &mut pointer)?;
        Ok(pointer[0].i32().unwrap_or(0).cast_unsigned())
    }

    /// The message behind an error object, which the guest gives up.
    fn take_error(&mut self, reference: i32) -> Result<String, CallFailure> {
        let func = self.plan.take_error.expect("the policy was bound with one");
        let mut error = [Val::ExternRef(None)];
        self.call_plain(func, &[Val::I32(reference)], &mut error)?;
        let Val::ExternRef(Some(error)) = &error[0] else {
            return Ok("an error that says nothing".to_owned());
        };
        let error = error.get::<GuestError>();
        Ok(error.map_or_else(
            || "an error of an unknown kind".to_owned(),
            |error| error.message.clone(),
        ))
    }

    /// Checks every argument before the guest is touched.
    pub(super) fn check(
        &self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Option<u64>,
    ) -> Result<(), CallFailure> {
        plan.check_args(args)?;
        let gives_pointers = plan
            .results
            .iter()
            .any(|result| result.kind == ResultKind::Pointer);
        if gives_pointers && scope.is_none() {
            return Err(outside_scope(plan));
        }
        for (arg, param) in args.iter().zip(plan.params()) {
            if !param.takes(&arg.shape()) {
                return Err(CallFailure::Refused(plan.misfit(param, arg.kind())));
            }
            match arg {
                Arg::Handle(handle) => self.check_handle(plan, *handle, param.kind).map(drop)?,
                Arg::Handles(handles) => {
                    for handle in *handles {
                        self.check_handle(plan, *handle, param.kind)?;
                    }
                }
                Arg::Pointer(pointer) => check_scope(plan, *pointer, scope)?,
                Arg::Pointers(pointers) => {
                    for pointer in *pointers {
                        check_scope(plan, *pointer, scope)?;
                    }
                }
                Arg::Bytes(bytes) => self.check_structs(plan, param, bytes)?,
                Arg::Val(_) | Arg::Text(_) => {}
            }
        }
        Ok(())
    }

    fn check_structs(
        &self,
        plan: &ExportPlan,
        param: Param<'_>,
        bytes: &[u8],
    ) -> Result<(), CallFailure> {
        let is_struct = matches!(param.kind, ArgKind::Struct(_) | ArgKind::Structs(_));
        if !is_struct || are_structs(&self.plan, param.kind, bytes) {
            return Ok(());
        }
        let got = format!("{} bytes that are none", bytes.len());
        Err(CallFailure::Refused(plan.misfit(param, got)))
    }

    /// The address of an object, if it is of the type that the parameter takes.
    pub(super) fn check_handle(
        &self,
        plan: &ExportPlan,
        handle: Handle,
        kind: &ArgKind,
    ) -> Result<u64, CallFailure> {
        if handle.tag != self.tag {
            return Err(CallFailure::Refused(CallError::ForeignHandle { handle }));
        }
        let object = self
            .objects
            .get(&handle)
            .ok_or(CallFailure::NoSuchHandle(handle))?;
        match (kind, object.ty.as_deref()) {
            (ArgKind::Handle(Some(expected)) | ArgKind::Handles(Some(expected)), Some(got))
                if expected != got =>
            {
                Err(CallFailure::Refused(CallError::HandleType {
                    export: plan.name.to_string(),
                    handle,
                    expected: expected.clone(),
                    got: got.to_owned(),
                }))
            }
            _ => Ok(object.raw),
        }
    }

    fn lower(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        arg: &Arg<'_>,
        kind: &ArgKind,
        vals: &mut SmallVec<[Val; 8]>,
        lent: &mut SmallVec<[Buffer; 2]>,
    ) -> Result<(), CallFailure> {
        let ty = plan.ty.params()[vals.len()];
        let (bytes, align, ownership) = match (arg, kind) {
            (Arg::Val(val), _) => {
                vals.push(val.clone());
                return Ok(());
            }
            (Arg::Handle(handle), _) => {
                vals.push(raw_to_val(self.objects[handle].raw, ty));
                return Ok(());
            }
            (Arg::Pointer(pointer), _) => {
                vals.push(raw_to_val(pointer.bits, ty));
                return Ok(());
            }
            (Arg::Bytes(bytes), ArgKind::Struct(name)) => {
                let of = self.plan.struct_named(name);
                let address = self.make_struct(of, &mut Encoded::new(bytes))?;
                vals.push(raw_to_val(address, ty));
                return Ok(());
            }
            (Arg::Bytes(bytes), ArgKind::Structs(name)) => {
                let of = self.plan.struct_named(name);
                let words = self.make_structs(of, &mut Encoded::new(bytes))?;
                (Cow::Owned(words), 4, Ownership::Guest)
            }
            (Arg::Bytes(bytes), ArgKind::Bytes(ownership)) => {
                (Cow::Borrowed(*bytes), 1, *ownership)
            }
            (Arg::Text(text), ArgKind::Text(ownership)) => {
                (Cow::Borrowed(text.as_bytes()), 1, *ownership)
            }
            (Arg::Bytes(bytes), ArgKind::Numbers(width, ownership)) => {
                (Cow::Borrowed(*bytes), width.bytes(), *ownership)
            }
            // wasm-bindgen's arrays of objects are the guest's from here on.
            (Arg::Handles(handles), _) => {
                let raw = handles.iter().map(|handle| self.objects[handle].raw);
                (Cow::Owned(words(raw)), 4, Ownership::Guest)
            }
            (Arg::Pointers(pointers), _) => {
                let raw = pointers.iter().map(|pointer| pointer.bits);
                (Cow::Owned(words(raw)), 4, Ownership::Guest)
            }
            _ => unreachable!("`check` let it pass"),
        };
        let len = u32::try_from(bytes.len()).map_err(|_| {
            CallFailure::Refused(CallError::Argument {
                export: plan.name.to_string(),
                position,
                expected: "less than 4 GiB".to_owned(),
                got: format!("{} bytes", bytes.len()),
            })
        })?;
        let buffer = self.copy_in(&bytes, len, align)?;
        vals.push(raw_to_val(u64::from(buffer.pointer), ty));
        vals.push(raw_to_val(u64::from(len / align), ty));
        if ownership == Ownership::Host {
            lent.push(buffer);
        }
        Ok(())
    }

    pub(super) fn copy_in(
        &mut self,
        bytes: &[u8],
        len: u32,
        align: u32,
    ) -> Result<Buffer, CallFailure> {
        let mut buffer = Buffer {
            // Not null, which guests take for absence, and never read.
            pointer: align,
            len,
            align,
        };
        if len == 0 {
            return Ok(buffer);
        }
        let plan = self.plan.clone();
        let allocator = plan.allocator();
        let args = [len, align].map(Val::from);
        let args = &args[..if allocator.alloc_takes_align { 2 } else { 1 }];
        let mut result = [Val::I32(0)];
        self.call_plain(allocator.alloc, args, &mut result)?;
        buffer.pointer = result[0].i32().unwrap_or(0).cast_unsigned();
        if buffer.pointer == 0 {
            return Err(CallFailure::Exhausted);
        }
        let memory = self.memory.expect("an allocator has a memory");
        self.instance
            .memory_write(memory, u64::from(buffer.pointer), bytes)
            .map_err(|error| self.garbled(allocator.alloc, &error.to_string()))?;
        Ok(buffer)
    }

    /// Takes a block that nobody uses. Returns whether there was one.
    pub(super) fn take_block(&mut self, len: u32) -> Result<bool, CallFailure> {
        let Some(allocator) = &self.plan.allocator else {
            return Ok(false);
        };
        let (alloc, count) = (
            allocator.alloc,
            1 + usize::from(allocator.alloc_takes_align),
        );
        let mut result = [Val::I32(0)];
        self.call_plain(alloc, &[len, 8].map(Val::from)[..count], &mut result)?;
        Ok(result[0] != Val::I32(0))
    }

    pub(super) fn free(&mut self, buffer: Buffer) -> Result<(), CallFailure> {
        if buffer.len == 0 {
            return Ok(());
        }
        let plan = self.plan.clone();
        let allocator = plan.allocator();
        let all = [buffer.pointer, buffer.len, buffer.align].map(Val::from);
        self.call_plain(allocator.free, &all[..allocator.free_params], &mut [])
    }

    fn lift(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        result: &ResultPlan,
        raw: &[Val],
        sequence: SequenceNumber,
        scope: Option<u64>,
    ) -> Result<Value, CallFailure> {
        let (ownership, width, is_text) = match &result.kind {
            ResultKind::Value => return Ok(Value::Val(raw[0].clone())),
            ResultKind::Handle(_) => {
                return Ok(self.register(sequence, position, val_to_raw(&raw[0]), result));
            }
            ResultKind::Pointer => {
                let scope = scope.expect("`check` refuses pointers outside a scope");
                let pointer = Pointer {
                    bits: val_to_raw(&raw[0]),
                    scope,
                };
                return Ok(Value::Pointer(pointer));
            }
            ResultKind::Struct(name) => {
                let of = self.plan.struct_named(name);
                return Ok(match val_to_raw(&raw[0]) {
                    0 => Value::Null,
                    address => Value::Bytes(self.read_struct(of, address)?),
                });
            }
            ResultKind::Structs(name) => {
                let of = self.plan.struct_named(name);
                let (pointer, count) = returned_buffer(result, raw);
                if pointer == 0 {
                    return Ok(Value::Null);
                }
                let mut bytes = Vec::new();
                self.read_structs(plan, of, (pointer, count), &mut bytes)?;
                return Ok(Value::Bytes(bytes));
            }
            ResultKind::Bytes(ownership) => (*ownership, 1, false),
            ResultKind::Text(ownership) => (*ownership, 1, true),
            ResultKind::Numbers(width, ownership) => (*ownership, width.bytes(), false),
            ResultKind::Error => unreachable!("it is looked at before all others"),
        };
        let (pointer, len) = returned_buffer(result, raw);
        if pointer == 0 {
            return Ok(Value::Null);
        }
        let len = len.saturating_mul(u64::from(width));
        let mut bytes = Vec::new();
        self.copy_out(plan, pointer, len, &mut bytes)?;
        if ownership == Ownership::Host {
            self.free(Buffer::returned(pointer, bytes.len(), width))?;
        }
        if !is_text {
            return Ok(Value::Bytes(bytes));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(text)),
            Err(error) => Err(self.garbled(plan.func, &format!("text that is no UTF-8: {error}"))),
        }
    }

    /// Appends what the guest returned. It checks before it allocates: a guest may claim 4 GiB.
    pub(super) fn copy_out(
        &self,
        plan: &ExportPlan,
        pointer: u64,
        len: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<(), CallFailure> {
        let garbled = |error: engine_api::Error| self.garbled(plan.func, &error.to_string());
        let memory = self
            .memory
            .ok_or_else(|| self.garbled(plan.func, "a pointer, but the module has no memory"))?;
        let size = self.instance.memory_size(memory).map_err(garbled)?;
        if pointer.checked_add(len).is_none_or(|end| end > size) {
            return Err(garbled(engine_api::Error::OutOfBounds {
                offset: pointer,
                len,
                size,
            }));
        }
        let (at, len) = (
            bytes.len(),
            usize::try_from(len).expect("it is at most 4 GiB"),
        );
        if at == 0 {
            // Fresh pages are zero already.
            *bytes = vec![0; len];
        } else {
            bytes.resize(at + len, 0);
        }
        self.instance
            .memory_read(memory, pointer, &mut bytes[at..])
            .map_err(garbled)
    }

    pub(super) fn garbled(&self, func: FuncIndex, what: &str) -> CallFailure {
        CallFailure::Garbled(CallError::GuestData {
            export: self.plan.export(func).name.to_string(),
            what: what.to_owned(),
        })
    }
}

/// The number of the error object, if the call returned one.
fn failed(plan: &ExportPlan, raw: &[Val]) -> Option<i32> {
    let fallible = matches!(plan.results.last(), Some(last) if last.kind == ResultKind::Error);
    match raw {
        [.., Val::I32(reference), Val::I32(flag)] if fallible && *flag != 0 => Some(*reference),
        _ => None,
    }
}

/// Where a buffer is that a function returned, and its length.
pub(super) fn returned_buffer(result: &ResultPlan, raw: &[Val]) -> (u64, u64) {
    if result.pair {
        return (val_to_raw(&raw[0]), val_to_raw(&raw[1]));
    }
    let packed = val_to_raw(&raw[0]);
    (packed & u64::from(u32::MAX), packed >> 32)
}

fn check_scope(plan: &ExportPlan, pointer: Pointer, scope: Option<u64>) -> Result<(), CallFailure> {
    if scope == Some(pointer.scope) {
        Ok(())
    } else {
        Err(outside_scope(plan))
    }
}

#[cold]
fn outside_scope(plan: &ExportPlan) -> CallFailure {
    CallFailure::Refused(CallError::PointerOutsideScope {
        export: plan.name.to_string(),
    })
}

/// Addresses as the guest has them in an array.
fn words(raw: impl Iterator<Item = u64>) -> Vec<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each came from an i32 of this guest"
    )]
    raw.flat_map(|raw| (raw as u32).to_le_bytes()).collect()
}

/// A pointer as a value of the type that the function takes.
pub(super) fn raw_to_val(raw: u64, ty: ValType) -> Val {
    match ty {
        ValType::I64 => Val::from(raw),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it came from an i32 of this guest"
        )]
        _ => Val::from(raw as u32),
    }
}

pub(super) fn val_to_raw(val: &Val) -> u64 {
    match val {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        _ => 0,
    }
}
