//! Arguments into the guest, results out of it. Every pointer from a guest is checked.

use engine_api::{FuncIndex, Val, ValType};
use smallvec::{SmallVec, smallvec};

use super::guest::{CallFailure, Guest};
use crate::journal::ResultRecord;
use crate::policy::plan::{ExportPlan, ResultPlan};
use crate::policy::{ArgKind, Ownership, ResultKind};
use crate::value::{Arg, Results, Value};
use crate::{Error, Handle, Pointer, SequenceNumber};

/// A buffer in the guest: where it is and how long.
type Buffer = (u32, u32);

impl Guest {
    /// Calls an export: the results, and what the journal keeps of them. Objects get handles of
    /// `sequence`; raw pointers are good for `scope`.
    pub(super) fn run(
        &mut self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
        scope: Option<u64>,
    ) -> Result<(Results, SmallVec<[ResultRecord; 1]>), CallFailure> {
        if args.len() != plan.args.len() {
            return Err(CallFailure::Refused(Error::Argument {
                export: plan.name.to_string(),
                position: args.len().min(plan.args.len()),
                expected: format!("one of {}", plan.args.len()),
                got: format!("{} arguments", args.len()),
            }));
        }
        self.check(plan, args, scope)?;
        let mut vals: SmallVec<[Val; 8]> = SmallVec::new();
        let mut lent: SmallVec<[Buffer; 2]> = SmallVec::new();
        for (position, (arg, kind)) in args.iter().zip(&plan.args).enumerate() {
            self.lower(plan, position, arg, kind, &mut vals, &mut lent)?;
        }
        let mut raw: SmallVec<[Val; 2]> =
            plan.ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        self.instance
            .call(plan.func, &vals, &mut raw)
            .map_err(|source| self.ended(source))?;
        for buffer in lent {
            self.free(buffer)?;
        }
        let mut results = Results::default();
        let mut records = SmallVec::new();
        let mut rest = raw.as_slice();
        for (position, result) in plan.results.iter().enumerate() {
            let (own, after) = rest.split_at(if result.pair { 2 } else { 1 });
            rest = after;
            let (value, record) = self.lift(plan, position, result, own, sequence, scope)?;
            results.0.push(value);
            records.push(record);
        }
        Ok((results, records))
    }

    /// Checks every argument before the guest is touched.
    fn check(
        &self,
        plan: &ExportPlan,
        args: &[Arg<'_>],
        scope: Option<u64>,
    ) -> Result<(), CallFailure> {
        let gives_pointers = plan
            .results
            .iter()
            .any(|result| result.kind == ResultKind::Pointer);
        if gives_pointers && scope.is_none() {
            return Err(CallFailure::Refused(Error::PointerOutsideScope {
                export: plan.name.to_string(),
            }));
        }
        let mut params = plan.ty.params();
        for (position, (arg, kind)) in args.iter().zip(&plan.args).enumerate() {
            let ty = params[0];
            params = &params[kind.width()..];
            let fits = match (arg, kind) {
                (Arg::Val(val), ArgKind::Value) => val.ty() == ty,
                (Arg::Bytes(_), ArgKind::Bytes(_)) | (Arg::Text(_), ArgKind::Text(_)) => true,
                (Arg::Handle(handle), ArgKind::Handle(expected)) => {
                    self.check_handle(plan, *handle, expected.as_deref())?;
                    true
                }
                (Arg::Pointer(pointer), ArgKind::Pointer) => {
                    if scope != Some(pointer.scope) {
                        return Err(CallFailure::Refused(Error::PointerOutsideScope {
                            export: plan.name.to_string(),
                        }));
                    }
                    true
                }
                _ => false,
            };
            if !fits {
                let expected = match kind {
                    ArgKind::Value => format!("a value of type {ty}"),
                    other => format!("of kind {other}"),
                };
                return Err(CallFailure::Refused(Error::Argument {
                    export: plan.name.to_string(),
                    position,
                    expected,
                    got: arg.kind(),
                }));
            }
        }
        Ok(())
    }

    fn check_handle(
        &self,
        plan: &ExportPlan,
        handle: Handle,
        expected: Option<&str>,
    ) -> Result<(), CallFailure> {
        if handle.proxy != self.proxy {
            return Err(CallFailure::Refused(Error::ForeignHandle { handle }));
        }
        let object = self
            .objects
            .get(&handle)
            .ok_or(CallFailure::NoSuchHandle(handle))?;
        match (expected, object.ty.as_deref()) {
            (Some(expected), Some(got)) if expected != got => {
                Err(CallFailure::Refused(Error::HandleType {
                    export: plan.name.to_string(),
                    handle,
                    expected: expected.to_owned(),
                    got: got.to_owned(),
                }))
            }
            _ => Ok(()),
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
        let (bytes, ownership) = match (arg, kind) {
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
            (Arg::Bytes(bytes), ArgKind::Bytes(ownership)) => (*bytes, *ownership),
            (Arg::Text(text), ArgKind::Text(ownership)) => (text.as_bytes(), *ownership),
            _ => unreachable!("`check` let it pass"),
        };
        let len = u32::try_from(bytes.len()).map_err(|_| {
            CallFailure::Refused(Error::Argument {
                export: plan.name.to_string(),
                position,
                expected: "less than 4 GiB".to_owned(),
                got: format!("{} bytes", bytes.len()),
            })
        })?;
        let buffer = self.copy_in(bytes, len)?;
        vals.push(raw_to_val(u64::from(buffer.0), ty));
        vals.push(raw_to_val(u64::from(buffer.1), ty));
        if ownership == Ownership::Host {
            lent.push(buffer);
        }
        Ok(())
    }

    fn copy_in(&mut self, bytes: &[u8], len: u32) -> Result<Buffer, CallFailure> {
        if len == 0 {
            // Not null, which guests take for absence, and never read.
            return Ok((1, 0));
        }
        let plan = self.plan.clone();
        let allocator = plan
            .allocator
            .as_ref()
            .expect("the policy was bound with one");
        let args: SmallVec<[Val; 2]> = if allocator.alloc_takes_align {
            smallvec![Val::from(len), Val::I32(1)]
        } else {
            smallvec![Val::from(len)]
        };
        let mut result = [Val::I32(0)];
        self.instance
            .call(allocator.alloc, &args, &mut result)
            .map_err(|source| self.ended(source))?;
        let pointer = result[0].i32().unwrap_or(0).cast_unsigned();
        if pointer == 0 {
            return Err(self.exhausted());
        }
        let memory = self.memory.expect("an allocator has a memory");
        self.instance
            .memory_write(memory, u64::from(pointer), bytes)
            .map_err(|error| self.garbled(allocator.alloc, &error.to_string()))?;
        Ok((pointer, len))
    }

    fn exhausted(&self) -> CallFailure {
        CallFailure::Exhausted {
            side_effects: self.had_side_effects(),
        }
    }

    fn free(&mut self, (pointer, len): Buffer) -> Result<(), CallFailure> {
        if len == 0 {
            return Ok(());
        }
        let plan = self.plan.clone();
        let allocator = plan
            .allocator
            .as_ref()
            .expect("the policy was bound with one");
        let all = [Val::from(pointer), Val::from(len), Val::I32(1)];
        self.instance
            .call(allocator.free, &all[..allocator.free_params], &mut [])
            .map_err(|source| self.ended(source))
    }

    fn lift(
        &mut self,
        plan: &ExportPlan,
        position: usize,
        result: &ResultPlan,
        raw: &[Val],
        sequence: SequenceNumber,
        scope: Option<u64>,
    ) -> Result<(Value, ResultRecord), CallFailure> {
        let (ownership, is_text) = match &result.kind {
            ResultKind::Value => {
                return Ok((
                    Value::Val(raw[0].clone()),
                    ResultRecord::Val(raw[0].clone()),
                ));
            }
            kind @ ResultKind::Handle(_) => {
                let bits = val_to_raw(&raw[0]);
                if bits == 0 {
                    return Ok((Value::Null, ResultRecord::Null));
                }
                let (handle, ty) = self.register(sequence, position, bits, kind);
                return Ok((Value::Handle(handle), ResultRecord::Object(handle, ty)));
            }
            ResultKind::Pointer => {
                let scope = scope.expect("`check` refuses pointers outside a scope");
                let pointer = Pointer {
                    bits: val_to_raw(&raw[0]),
                    scope,
                };
                return Ok((Value::Pointer(pointer), ResultRecord::Null));
            }
            ResultKind::Bytes(ownership) => (*ownership, false),
            ResultKind::Text(ownership) => (*ownership, true),
        };
        let (pointer, len) = if result.pair {
            (val_to_raw(&raw[0]), val_to_raw(&raw[1]))
        } else {
            let packed = val_to_raw(&raw[0]);
            (packed & u64::from(u32::MAX), packed >> 32)
        };
        if pointer == 0 {
            return Ok((Value::Null, ResultRecord::Null));
        }
        let bytes = self.copy_out(plan, pointer, len)?;
        let record = ResultRecord::buffer(&bytes);
        if ownership == Ownership::Host {
            let fits = "`copy_out` found it in a memory with 32-bit addresses";
            let pointer = u32::try_from(pointer).expect(fits);
            self.free((pointer, u32::try_from(len).expect(fits)))?;
        }
        if !is_text {
            return Ok((Value::Bytes(bytes), record));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok((Value::Text(text), record)),
            Err(error) => Err(self.garbled(plan.func, &format!("text that is no UTF-8: {error}"))),
        }
    }

    /// Checks before it allocates: a guest may claim 4 GiB.
    fn copy_out(&self, plan: &ExportPlan, pointer: u64, len: u64) -> Result<Vec<u8>, CallFailure> {
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
        let mut bytes = vec![0; usize::try_from(len).expect("it is at most 4 GiB")];
        self.instance
            .memory_read(memory, pointer, &mut bytes)
            .map_err(garbled)?;
        Ok(bytes)
    }

    fn garbled(&self, func: FuncIndex, what: &str) -> CallFailure {
        CallFailure::Garbled(Error::GuestData {
            export: self.plan.export(func).name.to_string(),
            what: what.to_owned(),
        })
    }
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

fn val_to_raw(val: &Val) -> u64 {
    match val {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        _ => 0,
    }
}
