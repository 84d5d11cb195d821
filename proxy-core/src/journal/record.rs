//! The journal as bytes, for a store that outlives the process.
//!
//! A *journal record* is what the store appends: an entry, the answer to a call with an id that
//! left no entry, the settlement of a divergence, or the host calls of the first instantiation.
//! `docs/durability.md` lists the fields. The types here are the format, apart from those that the
//! proxy works with, so the format changes only where somebody changes it here. [`FORMAT`] then
//! grows, and the golden records in `tests/golden/` of the old one stay readable.

mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine_api::{FuncIndex, GlobalIndex, MemoryIndex, TableIndex, Val};
use guest_calls::OwnedArg;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    Answer, AnsweredCall, Cut, CutKind, Entry, Genesis, GuestWrite, HostCall, ResultRecord,
};
use crate::policy::plan::{ExportPlan, Plan};
use crate::{DivergenceKind, Handle, SequenceNumber, Value};

pub use view::{AnswerView, EntryView, HostCallView, RecordView, ResultView};

/// The version of the format.
pub(crate) const FORMAT: u32 = 1;

/// Why bytes are no record of this journal, in words.
pub(crate) type NoRecord = String;

/// One thing that the journal remembers.
#[derive(Debug)]
pub(crate) enum Remembered {
    Genesis(Genesis),
    Entry(Entry, Option<AnsweredCall>),
    Answer(AnsweredCall),
    Cut(Cut, Option<Entry>),
}

/// The facts that a record leaves out, because they are the same for all of a journal.
pub(crate) struct Context<'a> {
    /// The tag in the handles of this proxy.
    pub(crate) tag: u32,
    pub(crate) plan: &'a Plan,
    /// Exports by their names alone, and imports by those of this module: for a journal of another
    /// module. Otherwise numbers and names have to fit.
    pub(crate) translation: Option<&'a Translation>,
}

/// From the numbers of another module to those of this one.
#[derive(Debug, Default)]
pub(crate) struct Translation {
    /// The functions that this module exports.
    pub(crate) exports: HashMap<Box<str>, FuncIndex>,
    /// Where each import of the other module is among this one's.
    pub(crate) imports: Vec<Result<u32, String>>,
}

impl Context<'_> {
    /// The plan of an export that has this number and this name.
    pub(crate) fn plan_of(&self, func: u32, export: &str) -> Result<&Arc<ExportPlan>, NoRecord> {
        let func = match self.translation {
            None => Some(FuncIndex(func)),
            Some(translation) => translation.exports.get(export).copied(),
        };
        let plan = func.and_then(|func| self.plan.get(func));
        plan.filter(|plan| *plan.name == *export)
            .ok_or_else(|| format!("the module has no export `{export}`"))
    }

    fn import(&self, import: u32) -> Result<u32, NoRecord> {
        let Some(translation) = self.translation else {
            return Ok(import);
        };
        let import = usize::try_from(import).ok();
        let import = import.and_then(|import| translation.imports.get(import));
        let import = import.ok_or_else(|| "it has no such import".to_owned())?;
        import
            .clone()
            .map_err(|name| format!("the module does not import `{name}`"))
    }
}

#[derive(Serialize, Deserialize)]
enum Record<'a> {
    #[serde(borrow)]
    Genesis(StoredGenesis<'a>),
    Entry(
        #[serde(borrow)] StoredEntry<'a>,
        #[serde(borrow)] Option<StoredAnsweredCall<'a>>,
    ),
    #[serde(borrow)]
    Answer(StoredAnsweredCall<'a>),
    Cut(
        #[serde(borrow)] StoredCut<'a>,
        #[serde(borrow)] Option<StoredEntry<'a>>,
    ),
}

#[derive(Serialize, Deserialize)]
struct StoredGenesis<'a> {
    #[serde(borrow)]
    host_calls: Vec<StoredHostCall<'a>>,
    /// The names of the module's imports, to which positions in host calls refer.
    #[serde(borrow)]
    imports: Vec<(&'a str, &'a str)>,
}

#[derive(Serialize, Deserialize)]
struct StoredEntry<'a> {
    sequence: u64,
    func: u32,
    export: &'a str,
    #[serde(borrow)]
    args: Vec<StoredArg<'a>>,
    #[serde(borrow)]
    host_calls: Vec<StoredHostCall<'a>>,
    #[serde(borrow)]
    results: Vec<StoredResult<'a>>,
    fingerprints: Vec<StoredVal>,
    frees: Vec<StoredHandle>,
    needs: Option<StoredHandle>,
    took_ns: u64,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct StoredHandle {
    sequence: u64,
    result: u32,
}

/// Floats are bits. A reference is null: no other is journaled.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum StoredVal {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(u128),
    NullFunc,
    NullExtern,
}

#[derive(Serialize, Deserialize)]
enum StoredArg<'a> {
    Val(StoredVal),
    Handle(StoredHandle),
    #[serde(borrow)]
    Bytes(Bytes<'a>),
    Text(&'a str),
    Handles(Vec<StoredHandle>),
    Js(&'a str),
}

#[derive(Serialize, Deserialize)]
enum StoredResult<'a> {
    Val(StoredVal),
    Object(StoredHandle, #[serde(borrow)] Option<&'a str>),
    Null,
    Buffer { len: u64, hash: [u8; 32] },
    Error { hash: [u8; 32] },
}

#[derive(Serialize, Deserialize)]
struct StoredHostCall<'a> {
    import: u32,
    args: Vec<StoredVal>,
    #[serde(borrow)]
    writes: Vec<StoredWrite<'a>>,
    results: Vec<StoredVal>,
}

#[derive(Serialize, Deserialize)]
enum StoredWrite<'a> {
    Write {
        memory: u32,
        offset: u64,
        #[serde(borrow)]
        bytes: Bytes<'a>,
    },
    GrowMemory {
        memory: u32,
        pages: u64,
    },
    GrowTable {
        table: u32,
        elements: u64,
    },
    SetElement {
        table: u32,
        element: u64,
        value: StoredVal,
    },
    SetGlobal {
        global: u32,
        value: StoredVal,
    },
    Call {
        func: u32,
        args: Vec<StoredVal>,
    },
    Note {
        #[serde(borrow)]
        bytes: Bytes<'a>,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredAnsweredCall<'a> {
    #[serde(borrow)]
    id: Bytes<'a>,
    call: [u8; 32],
    #[serde(borrow)]
    answer: StoredAnswer<'a>,
}

#[derive(Serialize, Deserialize)]
enum StoredAnswer<'a> {
    #[serde(borrow)]
    Results(Vec<StoredValue<'a>>),
    Rejected(&'a str),
}

#[derive(Serialize, Deserialize)]
enum StoredValue<'a> {
    Val(StoredVal),
    Handle(StoredHandle),
    Null,
    #[serde(borrow)]
    Bytes(Bytes<'a>),
    Text(&'a str),
    Js(&'a str),
}

#[derive(Serialize, Deserialize)]
struct StoredCut<'a> {
    entry: u64,
    export: &'a str,
    is_accepted: bool,
    what: u8,
    expected: &'a str,
    got: &'a str,
    journal_last: u64,
}

/// Bytes in one piece, not one by one.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Bytes)
    }
}

pub(crate) fn encode_genesis(genesis: &Genesis) -> Result<Vec<u8>, NoRecord> {
    let imports = genesis.imports.iter();
    encode(&Record::Genesis(StoredGenesis {
        host_calls: all(&genesis.host_calls, StoredHostCall::of)?,
        imports: imports.map(|(module, name)| (&**module, &**name)).collect(),
    }))
}

/// An entry, and the call with an id that made it.
pub(crate) fn encode_entry(
    entry: &Entry,
    answered: Option<&AnsweredCall>,
) -> Result<Vec<u8>, NoRecord> {
    let answered = answered.map(StoredAnsweredCall::of).transpose()?;
    encode(&Record::Entry(StoredEntry::of(entry)?, answered))
}

pub(crate) fn encode_answer(answered: &AnsweredCall) -> Result<Vec<u8>, NoRecord> {
    encode(&Record::Answer(StoredAnsweredCall::of(answered)?))
}

pub(crate) fn encode_cut(cut: &Cut, instead: Option<&Entry>) -> Result<Vec<u8>, NoRecord> {
    let instead = instead.map(StoredEntry::of).transpose()?;
    encode(&Record::Cut(StoredCut::of(cut), instead))
}

fn encode(record: &Record<'_>) -> Result<Vec<u8>, NoRecord> {
    postcard::to_allocvec(record).map_err(|error| error.to_string())
}

/// Reads one record.
///
/// # Errors
///
/// Why it is none, in words. The bytes may come from anywhere.
pub(crate) fn decode(bytes: &[u8], context: &Context<'_>) -> Result<Remembered, NoRecord> {
    Ok(match parse(bytes)? {
        Record::Genesis(genesis) => Remembered::Genesis(genesis.read()),
        Record::Entry(entry, answered) => Remembered::Entry(
            entry.read(context)?,
            answered.map(|answered| answered.read(context)),
        ),
        Record::Answer(answered) => Remembered::Answer(answered.read(context)),
        Record::Cut(cut, instead) => {
            let instead = instead.map(|entry| entry.read(context)).transpose()?;
            Remembered::Cut(cut.read()?, instead)
        }
    })
}

fn parse(bytes: &[u8]) -> Result<Record<'_>, NoRecord> {
    let (record, rest) =
        postcard::take_from_bytes::<Record<'_>>(bytes).map_err(|error| error.to_string())?;
    if rest.is_empty() {
        Ok(record)
    } else {
        Err(format!("{} bytes are left over", rest.len()))
    }
}

/// Reads a genesis, whatever module it is of.
pub(crate) fn decode_genesis(bytes: &[u8]) -> Result<Genesis, NoRecord> {
    match postcard::from_bytes(bytes) {
        Ok(Record::Genesis(genesis)) => Ok(genesis.read()),
        Ok(_) => Err("a record is no genesis".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reads a record that has to be of one kind.
macro_rules! decode_one {
    ($name:ident, $ty:ty, $pattern:pat => $value:expr, $what:literal) => {
        pub(crate) fn $name(bytes: &[u8], context: &Context<'_>) -> Result<$ty, NoRecord> {
            match decode(bytes, context)? {
                $pattern => Ok($value),
                _ => Err(concat!("a record is no ", $what).to_owned()),
            }
        }
    };
}

decode_one!(decode_entry, Entry, Remembered::Entry(entry, _) => entry, "entry");
decode_one!(decode_answer, AnsweredCall, Remembered::Answer(answered) => answered, "answer");
decode_one!(decode_cut, Cut, Remembered::Cut(cut, _) => cut, "cut");

fn all<'a, T, S>(
    items: &'a [T],
    of: impl FnMut(&'a T) -> Result<S, NoRecord>,
) -> Result<Vec<S>, NoRecord> {
    items.iter().map(of).collect()
}

fn vals(vals: &[Val]) -> Result<Vec<StoredVal>, NoRecord> {
    all(vals, StoredVal::of)
}

fn read_vals<C: FromIterator<Val>>(vals: &[StoredVal]) -> C {
    vals.iter().map(|val| val.read()).collect()
}

impl StoredGenesis<'_> {
    fn read(&self) -> Genesis {
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
    fn of(entry: &'a Entry) -> Result<Self, NoRecord> {
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
    fn read(&self, context: &Context<'_>) -> Result<Entry, NoRecord> {
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
    fn of(handle: &Handle) -> Self {
        Self {
            sequence: handle.sequence().0,
            result: handle.result(),
        }
    }

    fn read(&self, tag: u32) -> Handle {
        Handle::new(SequenceNumber(self.sequence), self.result, tag)
    }
}

impl StoredVal {
    fn of(val: &Val) -> Result<Self, NoRecord> {
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

    fn read(self) -> Val {
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
    fn of(arg: &'a OwnedArg) -> Result<Self, NoRecord> {
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

    fn read(&self, tag: u32) -> OwnedArg {
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
    fn of(result: &'a ResultRecord) -> Result<Self, NoRecord> {
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

    fn read(&self, context: &Context<'_>) -> ResultRecord {
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
    fn of(call: &'a HostCall) -> Result<Self, NoRecord> {
        Ok(Self {
            import: call.import,
            args: vals(&call.args)?,
            writes: all(&call.writes, StoredWrite::of)?,
            results: vals(&call.results)?,
        })
    }

    /// With positions among this module's imports.
    fn read_for(&self, context: &Context<'_>) -> Result<HostCall, NoRecord> {
        Ok(HostCall {
            import: context.import(self.import)?,
            ..self.read()
        })
    }

    fn read(&self) -> HostCall {
        HostCall {
            import: self.import,
            args: read_vals(&self.args),
            writes: self.writes.iter().map(StoredWrite::read).collect(),
            results: read_vals(&self.results),
        }
    }
}

impl<'a> StoredWrite<'a> {
    fn of(write: &'a GuestWrite) -> Result<Self, NoRecord> {
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

    fn read(&self) -> GuestWrite {
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
    fn of(answered: &'a AnsweredCall) -> Result<Self, NoRecord> {
        Ok(Self {
            id: Bytes(&answered.id),
            call: answered.call,
            answer: match &answered.answer {
                Answer::Results(values) => StoredAnswer::Results(all(values, StoredValue::of)?),
                Answer::Rejected(message) => StoredAnswer::Rejected(message),
            },
        })
    }

    fn read(&self, context: &Context<'_>) -> AnsweredCall {
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
    fn of(value: &'a Value) -> Result<Self, NoRecord> {
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

    fn read(&self, tag: u32) -> Value {
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
    fn of(cut: &'a Cut) -> Self {
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

    fn read(&self) -> Result<Cut, NoRecord> {
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

#[cfg(test)]
mod tests;
