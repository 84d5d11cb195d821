//! From what the proxy works with to what a record says, and back.

use std::sync::Arc;
use std::time::Duration;

use engine_api::{FuncIndex, GlobalIndex, MemoryIndex, TableIndex, Val};
use guest_calls::OwnedArg;

use super::super::{
    Answer, AnsweredCall, Cut, CutKind, Entry, Genesis, GuestWrite, HostCall, ResultRecord,
};
use super::{
    Bytes, Context, NoRecord, StoredAnswer, StoredAnsweredCall, StoredArg, StoredCut, StoredEntry,
    StoredGenesis, StoredHandle, StoredHostCall, StoredResult, StoredVal, StoredValue, StoredWrite,
};
use crate::{DivergenceKind, Handle, SequenceNumber, Value};

pub(super) fn all<'a, T, S>(
    items: &'a [T],
    of: impl FnMut(&'a T) -> Result<S, NoRecord>,
) -> Result<Vec<S>, NoRecord> {
    items.iter().map(of).collect()
}

pub(super) fn vals(vals: &[Val]) -> Result<Vec<StoredVal>, NoRecord> {
    all(vals, StoredVal::of)
}

pub(super) fn read_vals<C: FromIterator<Val>>(vals: &[StoredVal]) -> C {
    vals.iter().map(|val| val.read()).collect()
}

impl StoredGenesis<'_> {
    pub(super) fn read(&self) -> Genesis {
        let imports = self.imports.iter();
        Genesis {
            host_calls: self.host_calls.iter().map(StoredHostCall::read).collect(),
            imports: imports
                .map(|(module, name)| ((*module).into(), (*name).into()))
                .collect(),
        }
    }
}

impl<'a> StoredEntry<'a> {
    pub(super) fn of(entry: &'a Entry) -> Result<Self, NoRecord> {
        Ok(Self {
            sequence: entry.sequence.0,
            func: entry.func.0,
            export: &entry.export,
            args: all(&entry.args, StoredArg::of)?,
            host_calls: all(&entry.host_calls, StoredHostCall::of)?,
            results: all(&entry.results, StoredResult::of)?,
            fingerprints: vals(&entry.fingerprints)?,
            frees: entry.frees.iter().map(StoredHandle::of).collect(),
            needs: entry.needs.as_ref().map(StoredHandle::of),
            took_ns: u64::try_from(entry.took.as_nanos()).unwrap_or(u64::MAX),
        })
    }

    /// Names and types are shared with the plan where it has them.
    pub(super) fn read(&self, context: &Context<'_>) -> Result<Entry, NoRecord> {
        let plan = context.plan_of(self.func, self.export)?;
        let handle = |handle: &StoredHandle| handle.read(context.tag);
        let host_calls = self.host_calls.iter().map(|call| call.read_for(context));
        Ok(Entry {
            sequence: SequenceNumber(self.sequence),
            func: plan.func,
            export: Arc::clone(&plan.name),
            args: self.args.iter().map(|arg| arg.read(context.tag)).collect(),
            host_calls: host_calls.collect::<Result<_, _>>()?,
            results: self.results.iter().map(|one| one.read(context)).collect(),
            fingerprints: read_vals::<Vec<Val>>(&self.fingerprints).into(),
            frees: self.frees.iter().map(handle).collect(),
            changes: plan.changes.clone(),
            needs: self.needs.as_ref().map(handle),
            took: Duration::from_nanos(self.took_ns),
        })
    }
}

impl StoredHandle {
    pub(super) fn of(handle: &Handle) -> Self {
        Self {
            sequence: handle.sequence().0,
            result: handle.result(),
        }
    }

    pub(super) fn read(&self, tag: u32) -> Handle {
        Handle::new(SequenceNumber(self.sequence), self.result, tag)
    }
}

impl StoredVal {
    pub(super) fn of(val: &Val) -> Result<Self, NoRecord> {
        Ok(match val {
            Val::I32(value) => StoredVal::I32(*value),
            Val::I64(value) => StoredVal::I64(*value),
            Val::F32(bits) => StoredVal::F32(*bits),
            Val::F64(bits) => StoredVal::F64(*bits),
            Val::V128(bits) => StoredVal::V128(*bits),
            Val::FuncRef(None) => StoredVal::NullFunc,
            Val::ExternRef(None) => StoredVal::NullExtern,
            Val::FuncRef(Some(_)) | Val::ExternRef(Some(_)) => {
                return Err("a reference means nothing in another process".to_owned());
            }
        })
    }

    pub(super) fn read(self) -> Val {
        match self {
            StoredVal::I32(value) => Val::I32(value),
            StoredVal::I64(value) => Val::I64(value),
            StoredVal::F32(bits) => Val::F32(bits),
            StoredVal::F64(bits) => Val::F64(bits),
            StoredVal::V128(bits) => Val::V128(bits),
            StoredVal::NullFunc => Val::FuncRef(None),
            StoredVal::NullExtern => Val::ExternRef(None),
        }
    }
}

impl<'a> StoredArg<'a> {
    pub(super) fn of(arg: &'a OwnedArg) -> Result<Self, NoRecord> {
        Ok(match arg {
            OwnedArg::Val(val) => StoredArg::Val(StoredVal::of(val)?),
            OwnedArg::Handle(handle) => StoredArg::Handle(StoredHandle::of(handle)),
            OwnedArg::Bytes(bytes) => StoredArg::Bytes(Bytes(bytes)),
            OwnedArg::Text(text) => StoredArg::Text(text),
            OwnedArg::Js(text) => StoredArg::Js(text),
            OwnedArg::Handles(handles) => {
                StoredArg::Handles(handles.iter().map(StoredHandle::of).collect())
            }
        })
    }

    pub(super) fn read(&self, tag: u32) -> OwnedArg {
        let handle = |handle: &StoredHandle| handle.read(tag);
        match self {
            StoredArg::Val(val) => OwnedArg::Val(val.read()),
            StoredArg::Handle(one) => OwnedArg::Handle(handle(one)),
            StoredArg::Bytes(bytes) => OwnedArg::Bytes(bytes.0.into()),
            StoredArg::Text(text) => OwnedArg::Text((*text).into()),
            StoredArg::Js(text) => OwnedArg::Js((*text).into()),
            StoredArg::Handles(handles) => OwnedArg::Handles(handles.iter().map(handle).collect()),
        }
    }
}

impl<'a> StoredResult<'a> {
    pub(super) fn of(result: &'a ResultRecord) -> Result<Self, NoRecord> {
        Ok(match result {
            ResultRecord::Val(val) => StoredResult::Val(StoredVal::of(val)?),
            ResultRecord::Object(handle, ty) => {
                StoredResult::Object(StoredHandle::of(handle), ty.as_deref())
            }
            ResultRecord::Null => StoredResult::Null,
            ResultRecord::Buffer { len, hash } => StoredResult::Buffer {
                len: *len as u64,
                hash: *hash,
            },
            ResultRecord::Error { hash } => StoredResult::Error { hash: *hash },
        })
    }

    pub(super) fn read(&self, context: &Context<'_>) -> ResultRecord {
        match self {
            StoredResult::Val(val) => ResultRecord::Val(val.read()),
            StoredResult::Object(handle, ty) => {
                ResultRecord::Object(handle.read(context.tag), ty.map(Into::into))
            }
            StoredResult::Null => ResultRecord::Null,
            StoredResult::Buffer { len, hash } => ResultRecord::Buffer {
                len: usize::try_from(*len).unwrap_or(usize::MAX),
                hash: *hash,
            },
            StoredResult::Error { hash } => ResultRecord::Error { hash: *hash },
        }
    }
}

impl<'a> StoredHostCall<'a> {
    pub(super) fn of(call: &'a HostCall) -> Result<Self, NoRecord> {
        Ok(Self {
            import: call.import,
            args: vals(&call.args)?,
            writes: all(&call.writes, StoredWrite::of)?,
            results: vals(&call.results)?,
        })
    }

    /// With positions among this module's imports.
    pub(super) fn read_for(&self, context: &Context<'_>) -> Result<HostCall, NoRecord> {
        Ok(HostCall {
            import: context.import(self.import)?,
            ..self.read()
        })
    }

    pub(super) fn read(&self) -> HostCall {
        HostCall {
            import: self.import,
            args: read_vals(&self.args),
            writes: self.writes.iter().map(StoredWrite::read).collect(),
            results: read_vals(&self.results),
        }
    }
}

impl<'a> StoredWrite<'a> {
    pub(super) fn of(write: &'a GuestWrite) -> Result<Self, NoRecord> {
        Ok(match write {
            GuestWrite::Write {
                memory,
                offset,
                bytes,
            } => StoredWrite::Write {
                memory: memory.0,
                offset: *offset,
                bytes: Bytes(bytes),
            },
            GuestWrite::GrowMemory { memory, pages } => StoredWrite::GrowMemory {
                memory: memory.0,
                pages: *pages,
            },
            GuestWrite::GrowTable { table, elements } => StoredWrite::GrowTable {
                table: table.0,
                elements: *elements,
            },
            GuestWrite::SetElement {
                table,
                element,
                value,
            } => StoredWrite::SetElement {
                table: table.0,
                element: *element,
                value: StoredVal::of(value)?,
            },
            GuestWrite::SetGlobal { global, value } => StoredWrite::SetGlobal {
                global: global.0,
                value: StoredVal::of(value)?,
            },
            GuestWrite::Call { func, args } => StoredWrite::Call {
                func: func.0,
                args: vals(args)?,
            },
            GuestWrite::Note { bytes } => StoredWrite::Note {
                bytes: Bytes(bytes),
            },
        })
    }

    pub(super) fn read(&self) -> GuestWrite {
        match self {
            StoredWrite::Write {
                memory,
                offset,
                bytes,
            } => GuestWrite::Write {
                memory: MemoryIndex(*memory),
                offset: *offset,
                bytes: bytes.0.into(),
            },
            StoredWrite::GrowMemory { memory, pages } => GuestWrite::GrowMemory {
                memory: MemoryIndex(*memory),
                pages: *pages,
            },
            StoredWrite::GrowTable { table, elements } => GuestWrite::GrowTable {
                table: TableIndex(*table),
                elements: *elements,
            },
            StoredWrite::SetElement {
                table,
                element,
                value,
            } => GuestWrite::SetElement {
                table: TableIndex(*table),
                element: *element,
                value: value.read(),
            },
            StoredWrite::SetGlobal { global, value } => GuestWrite::SetGlobal {
                global: GlobalIndex(*global),
                value: value.read(),
            },
            StoredWrite::Call { func, args } => GuestWrite::Call {
                func: FuncIndex(*func),
                args: read_vals(args),
            },
            StoredWrite::Note { bytes } => GuestWrite::Note {
                bytes: bytes.0.into(),
            },
        }
    }
}

impl<'a> StoredAnsweredCall<'a> {
    pub(super) fn of(answered: &'a AnsweredCall) -> Result<Self, NoRecord> {
        Ok(Self {
            id: Bytes(&answered.id),
            call: answered.call,
            answer: match &answered.answer {
                Answer::Results(values) => StoredAnswer::Results(all(values, StoredValue::of)?),
                Answer::Rejected(message) => StoredAnswer::Rejected(message),
            },
        })
    }

    pub(super) fn read(&self, context: &Context<'_>) -> AnsweredCall {
        AnsweredCall {
            id: self.id.0.into(),
            call: self.call,
            answer: match &self.answer {
                StoredAnswer::Results(values) => {
                    Answer::Results(values.iter().map(|value| value.read(context.tag)).collect())
                }
                StoredAnswer::Rejected(message) => Answer::Rejected((*message).into()),
            },
        }
    }
}

impl<'a> StoredValue<'a> {
    pub(super) fn of(value: &'a Value) -> Result<Self, NoRecord> {
        Ok(match value {
            Value::Val(val) => StoredValue::Val(StoredVal::of(val)?),
            Value::Handle(handle) => StoredValue::Handle(StoredHandle::of(handle)),
            Value::Null => StoredValue::Null,
            Value::Bytes(bytes) => StoredValue::Bytes(Bytes(bytes)),
            Value::Text(text) => StoredValue::Text(text),
            Value::Js(text) => StoredValue::Js(text),
            Value::Pointer(_) | Value::Pointers(_) => {
                return Err("a pointer means nothing in another process".to_owned());
            }
        })
    }

    pub(super) fn read(&self, tag: u32) -> Value {
        match self {
            StoredValue::Val(val) => Value::Val(val.read()),
            StoredValue::Handle(handle) => Value::Handle(handle.read(tag)),
            StoredValue::Null => Value::Null,
            StoredValue::Bytes(bytes) => Value::Bytes(bytes.0.to_vec()),
            StoredValue::Text(text) => Value::Text((*text).to_owned()),
            StoredValue::Js(text) => Value::Js((*text).to_owned()),
        }
    }
}

impl<'a> StoredCut<'a> {
    pub(super) fn of(cut: &'a Cut) -> Self {
        Self {
            entry: cut.entry.0,
            export: &cut.export,
            is_accepted: cut.kind == CutKind::Accepted,
            what: match cut.what {
                DivergenceKind::Results => 0,
                DivergenceKind::Fingerprint => 1,
                DivergenceKind::HostCalls => 2,
                DivergenceKind::Outcome => 3,
            },
            expected: &cut.expected,
            got: &cut.got,
            journal_last: cut.journal_last.0,
        }
    }

    pub(super) fn read(&self) -> Result<Cut, NoRecord> {
        Ok(Cut {
            entry: SequenceNumber(self.entry),
            export: self.export.to_owned(),
            kind: if self.is_accepted {
                CutKind::Accepted
            } else {
                CutKind::Skipped
            },
            what: match self.what {
                0 => DivergenceKind::Results,
                1 => DivergenceKind::Fingerprint,
                2 => DivergenceKind::HostCalls,
                3 => DivergenceKind::Outcome,
                other => return Err(format!("{other} is no kind of divergence")),
            },
            expected: self.expected.to_owned(),
            got: self.got.to_owned(),
            journal_last: SequenceNumber(self.journal_last),
        })
    }
}
