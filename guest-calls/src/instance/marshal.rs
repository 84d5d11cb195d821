//! Arguments into the guest, results out of it. Every pointer from a guest is checked.

use std::borrow::Cow;

use engine_api::{FuncIndex, GuestError, Val, ValType};
use smallvec::SmallVec;

use super::scalars::{nullable, number_to_val, raw_to_val, val_to_raw};
use super::structs::Encoded;
use super::{BoundInstance, CallFailure, Ran};
use crate::policy::plan::{ExportPlan, ResultPlan};
use crate::{
    Arg, ArgKind, CallError, JsPassing, Ownership, Pointer, ResultKind, Results, Scope,
    SequenceNumber, Value,
};

/// A buffer in the guest: where it is, how many bytes, and their alignment.
#[derive(Clone, Copy)]
pub(super) struct Buffer {
    pub(super) pointer: u32,
    pub(super) len: u32,
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

/// What the guest is only lent for a call.
#[derive(Default)]
struct Lent {
    buffers: SmallVec<[Buffer; 2]>,
    /// The numbers of objects of the host.
    objects: SmallVec<[Val; 2]>,
}

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
        scope: Option<Scope>,
    ) -> Result<Ran, CallFailure> {
        if let Some(ty) = plan.slots
            && let Some(ran) = self.run_slots(plan, ty, args, sequence)?
        {
            return Ok(ran);
        }
        self.check(plan, args, scope)?;
        let mut vals: SmallVec<[Val; 8]> = SmallVec::new();
        let mut lent = Lent::default();
        for (position, (arg, kind)) in args.iter().zip(&plan.args).enumerate() {
            self.lower(plan, position, arg, kind, &mut vals, &mut lent)?;
        }
        let raw = self.call_raw(plan, vals)?;
        // What the guest lends may lie in what was lent to it.
        let early = plan
            .lends_back
            .then(|| self.lift_all(plan, &raw, sequence, scope));
        for buffer in lent.buffers {
            self.free(buffer)?;
        }
        for object in lent.objects {
            let forget = self.plan.js().forget;
            self.call_plain(forget, &[object], &mut [])?;
        }
        match early {
            Some(ran) => ran,
            None => self.lift_all(plan, &raw, sequence, scope),
        }
    }

    fn lift_all(
        &mut self,
        plan: &ExportPlan,
        raw: &[Val],
        sequence: SequenceNumber,
        scope: Option<Scope>,
    ) -> Result<Ran, CallFailure> {
        let mut results = Results::default();
        if let Some(reference) = failed(plan, raw) {
            let rejected = Some(Box::new(self.take_error(reference)?));
            return Ok(Ran { results, rejected });
        }
        let mut rest = raw;
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

    /// The error behind an error object, which the guest gives up.
    fn take_error(&mut self, reference: i32) -> Result<GuestError, CallFailure> {
        let func = self.plan.take_error.expect("the policy was bound with one");
        let mut error = [Val::ExternRef(None)];
        self.call_plain(func, &[Val::I32(reference)], &mut error)?;
        let unknown = |message: &str| GuestError {
            message: message.to_owned(),
            thrown: None,
        };
        let Val::ExternRef(Some(error)) = &error[0] else {
            return Ok(unknown("an error that says nothing"));
        };
        let error = error.get::<GuestError>().cloned();
        Ok(error.unwrap_or_else(|| unknown("an error of an unknown kind")))
    }

    fn lower(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        arg: &Arg<'_>,
        kind: &ArgKind,
        vals: &mut SmallVec<[Val; 8]>,
        lent: &mut Lent,
    ) -> Result<(), CallFailure> {
        let ty = plan.ty.params()[vals.len()];
        if let Some(words) = nullable(kind, arg, &plan.ty.params()[vals.len()..]) {
            vals.extend(words);
            return Ok(());
        }
        let kind = kind.inner();
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
            (Arg::Js(text), ArgKind::Js(JsPassing::List)) => {
                let numbers = self.give_list(plan, position, text)?;
                (Cow::Owned(words(numbers.into_iter())), 4, Ownership::Guest)
            }
            (Arg::Js(text), ArgKind::Js(passing)) => {
                let object = self.give_js(plan, position, text, ty, *passing)?;
                if *passing == JsPassing::Borrowed && ty == ValType::I32 {
                    lent.objects.push(object.clone());
                }
                vals.push(object);
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
            (Arg::Bytes(bytes), ArgKind::Bytes(ownership) | ArgKind::Pointed(None, ownership)) => {
                (Cow::Borrowed(*bytes), 1, *ownership)
            }
            (Arg::Text(text), ArgKind::CString(ownership)) => {
                (ended(text.as_bytes()), 1, *ownership)
            }
            (Arg::Bytes(bytes), ArgKind::CString(ownership)) => (ended(bytes), 1, *ownership),
            (Arg::Text(text), ArgKind::Text(ownership)) => {
                (Cow::Borrowed(text.as_bytes()), 1, *ownership)
            }
            (
                Arg::Bytes(bytes),
                ArgKind::Numbers(width, ownership) | ArgKind::Pointed(Some(width), ownership),
            ) => (Cow::Borrowed(*bytes), width.bytes(), *ownership),
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
        if kind.width() == 2 {
            vals.push(raw_to_val(u64::from(len / align), ty));
        }
        if ownership == Ownership::Host {
            lent.buffers.push(buffer);
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
        scope: Option<Scope>,
    ) -> Result<Value, CallFailure> {
        if let Some(scope) = scope.filter(|scope| scope.raw_structs) {
            match &result.kind {
                ResultKind::Struct(_) => {
                    let pointer = Pointer::new(val_to_raw(&raw[0]), scope.number);
                    return Ok(Value::Pointer(pointer));
                }
                ResultKind::Structs(_) => {
                    return self.lift_pointers(plan, returned_buffer(result, raw), scope.number);
                }
                _ => {}
            }
        }
        let (ownership, width, is_text) = match &result.kind {
            ResultKind::Value => return Ok(Value::Val(raw[0].clone())),
            ResultKind::OrNull(number, _) => {
                let is_null = raw[0] == number_to_val(*number, raw[0].ty());
                return Ok(if is_null {
                    Value::Null
                } else {
                    Value::Val(raw[0].clone())
                });
            }
            ResultKind::Optional(_) => {
                return Ok(match raw {
                    [Val::I32(0), _] => Value::Null,
                    _ => Value::Val(raw[1].clone()),
                });
            }
            ResultKind::Handle(_) => {
                return Ok(self.register(sequence, position, val_to_raw(&raw[0]), result));
            }
            ResultKind::Pointer => {
                let scope = scope.expect("`check` refuses pointers outside a scope");
                let pointer = Pointer::new(val_to_raw(&raw[0]), scope.number);
                return Ok(Value::Pointer(pointer));
            }
            ResultKind::Pointers => {
                let scope = scope.expect("`check` refuses pointers outside a scope");
                return self.lift_pointers(plan, returned_buffer(result, raw), scope.number);
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
            ResultKind::Js => return self.take_js(plan, &raw[0]).map(Value::Js),
            ResultKind::JsList => return self.take_list(plan, returned_buffer(result, raw)),
            ResultKind::Bytes(ownership) => (*ownership, 1, false),
            ResultKind::Text(ownership) => (*ownership, 1, true),
            ResultKind::Numbers(width, ownership) => (*ownership, width.bytes(), false),
            ResultKind::CString(ownership) => {
                return self.lift_cstring(plan, val_to_raw(&raw[0]), *ownership);
            }
            ResultKind::Error => unreachable!("it is looked at before all others"),
            ResultKind::Number(_) | ResultKind::Measured(..) => {
                unreachable!("the binding has put a value and a buffer in their place")
            }
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
        self.text(plan, bytes)
    }

    /// Raw pointers that the guest returned in an array, which is freed.
    fn lift_pointers(
        &mut self,
        plan: &ExportPlan,
        (address, count): (u64, u64),
        scope: u64,
    ) -> Result<Value, CallFailure> {
        if address == 0 {
            return Ok(Value::Null);
        }
        let mut bytes = Vec::new();
        self.copy_out(plan, address, count.saturating_mul(4), &mut bytes)?;
        self.free(Buffer::returned(address, bytes.len(), 4))?;
        let words = bytes.as_chunks::<4>().0.iter();
        let pointers = words.map(|word| Pointer::new(u32::from_le_bytes(*word).into(), scope));
        Ok(Value::Pointers(pointers.collect()))
    }

    /// Text that the guest returned.
    pub(super) fn text(&self, plan: &ExportPlan, bytes: Vec<u8>) -> Result<Value, CallFailure> {
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
        let size = self.main_memory_size(plan)?;
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
        let memory = self.memory.expect("it has a size");
        self.instance
            .memory_read(memory, pointer, &mut bytes[at..])
            .map_err(garbled)
    }

    /// The size of the memory that pointers point into.
    pub(super) fn main_memory_size(&self, plan: &ExportPlan) -> Result<u64, CallFailure> {
        let garbled = |what: &str| self.garbled(plan.func, what);
        let memory = self
            .memory
            .ok_or_else(|| garbled("a pointer, but the module has no memory"))?;
        let size = self.instance.memory_size(memory);
        size.map_err(|error| garbled(&error.to_string()))
    }

    pub(super) fn garbled(&self, func: FuncIndex, what: &str) -> CallFailure {
        CallFailure::Garbled(CallError::GuestData {
            export: self.plan.export(func).name.to_string(),
            what: what.to_owned(),
        })
    }
}

/// Text as C takes it.
fn ended(text: &[u8]) -> Cow<'static, [u8]> {
    Cow::Owned([text, &[0]].concat())
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

/// Addresses as the guest has them in an array.
fn words(raw: impl Iterator<Item = u64>) -> Vec<u8> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "each came from an i32 of this guest"
    )]
    raw.flat_map(|raw| (raw as u32).to_le_bytes()).collect()
}
