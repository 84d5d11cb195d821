//! The journal as bytes, for a store that outlives the process.
//!
//! A *journal record* is what the store appends: an entry, the answer to a call with an id that
//! left no entry, the settlement of a divergence, or the host calls of the first instantiation.
//! `docs/durability.md` lists the fields. The types here are the format, apart from those that the
//! proxy works with, so the format changes only where somebody changes it here. [`FORMAT`] then
//! grows, and the golden records in `tests/golden/` of the old one stay readable.

mod conversions;
#[cfg(test)]
mod tests;
mod view;

use std::collections::HashMap;
use std::sync::Arc;

use engine_api::FuncIndex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{AnsweredCall, Cut, Entry, Genesis};
use crate::policy::plan::{ExportPlan, Plan};

use conversions::all;
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
