//! One journaled call.

use std::sync::Arc;
use std::time::Duration;

use engine_api::{FuncIndex, GlobalIndex, MemoryIndex, TableIndex, Val};
use guest_calls::{ObjectTable, OwnedArg, Ran};
use smallvec::{SmallVec, smallvec};

use crate::policy::plan::{Changes, ExportPlan};
use crate::shown;
use crate::{Handle, SequenceNumber, Value};

/// A call that returned, with everything needed to repeat it on another instance and to compare
/// what it gave.
#[derive(Clone, Debug)]
pub struct Entry {
    pub(crate) sequence: SequenceNumber,
    pub(crate) func: FuncIndex,
    pub(crate) export: Arc<str>,
    /// The input, never what the guest made of it. In place for most calls: the entry itself is
    /// then all that such a call allocates.
    pub(crate) args: SmallVec<[OwnedArg; 2]>,
    pub(crate) host_calls: Box<[HostCall]>,
    pub(crate) results: SmallVec<[ResultRecord; 1]>,
    pub(crate) fingerprints: Box<[Val]>,
    pub(crate) frees: Box<[Handle]>,
    pub(crate) changes: Changes,
    /// An object that had to be alive, though it was not passed.
    pub(crate) needs: Option<Handle>,
    /// How long the call took.
    pub(crate) took: Duration,
}

/// A result as the journal keeps it: numbers as they are, objects by their name alone, buffers by
/// their hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResultRecord {
    Val(Val),
    Object(Handle, Option<Arc<str>>),
    Null,
    Buffer {
        len: usize,
        hash: [u8; 32],
    },
    /// The guest returned an error, with a message of this hash.
    Error {
        hash: [u8; 32],
    },
}

/// A call of a host function during a journaled call: on replay the host is not asked again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HostCall {
    /// Position in the module's list of imports.
    pub(crate) import: u32,
    pub(crate) args: SmallVec<[Val; 2]>,
    /// Its writes to the guest through its `Caller`, in order.
    pub(crate) writes: Vec<GuestWrite>,
    pub(crate) results: SmallVec<[Val; 1]>,
}

/// A change that a host function made to the guest. Reads leave no trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum GuestWrite {
    Write {
        memory: MemoryIndex,
        offset: u64,
        bytes: Box<[u8]>,
    },
    GrowMemory {
        memory: MemoryIndex,
        pages: u64,
    },
    GrowTable {
        table: TableIndex,
        elements: u64,
    },
    SetElement {
        table: TableIndex,
        element: u64,
        value: Val,
    },
    SetGlobal {
        global: GlobalIndex,
        value: Val,
    },
    Call {
        func: FuncIndex,
        args: SmallVec<[Val; 2]>,
    },
    /// No change: what the host notes for its own part in replays.
    Note {
        bytes: Box<[u8]>,
    },
}

impl Entry {
    /// Its position in the journal.
    #[must_use]
    pub fn sequence(&self) -> SequenceNumber {
        self.sequence
    }

    /// The export that was called.
    #[must_use]
    pub fn export(&self) -> &str {
        &self.export
    }

    /// What it takes in memory, in bytes, its allocations included.
    pub(crate) fn bytes(&self) -> u64 {
        let arg = |arg: &OwnedArg| match arg {
            OwnedArg::Bytes(bytes) => bytes.len(),
            OwnedArg::Text(text) | OwnedArg::Js(text) => text.len(),
            OwnedArg::Handles(handles) => size_of_val(&**handles),
            OwnedArg::Val(_) | OwnedArg::Handle(_) => 0,
        };
        let args: usize = self.args.iter().map(arg).sum();
        let host_calls: usize = self.host_calls.iter().map(HostCall::bytes).sum();
        let all = size_of::<Self>()
            + args
            + host_calls
            + size_of_val(&*self.fingerprints)
            + size_of_val(&*self.frees);
        all as u64
    }

    /// The objects it created, with their types.
    pub(crate) fn creates(&self) -> impl Iterator<Item = (Handle, &Option<Arc<str>>)> {
        self.results.iter().filter_map(|result| match result {
            ResultRecord::Object(handle, ty) => Some((*handle, ty)),
            _ => None,
        })
    }

    /// The objects that it depends on: those its arguments name, and one that it needed.
    pub fn dependencies(&self) -> impl Iterator<Item = Handle> {
        let passed = self.args.iter().flat_map(OwnedArg::handles).copied();
        passed.chain(self.needs)
    }
}

impl HostCall {
    /// What it takes in memory, in bytes, its allocations included.
    pub(crate) fn bytes(&self) -> usize {
        let written = |write: &GuestWrite| match write {
            GuestWrite::Write { bytes, .. } | GuestWrite::Note { bytes } => bytes.len(),
            _ => 0,
        };
        let written: usize = self.writes.iter().map(written).sum();
        size_of::<Self>() + size_of_val(&*self.writes) + written
    }
}

#[cfg(test)]
thread_local! {
    /// How many records this thread has made of what calls gave.
    static RECORDS_MADE: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl ResultRecord {
    #[cfg(test)]
    pub(crate) fn made() -> usize {
        RECORDS_MADE.get()
    }

    /// The record as numbers, for a fingerprint.
    pub(crate) fn digest_into(&self, numbers: &mut Vec<Val>) {
        match self {
            ResultRecord::Val(val) => numbers.push(val.clone()),
            ResultRecord::Object(..) | ResultRecord::Null => numbers.push(Val::I32(0)),
            ResultRecord::Buffer { hash, .. } | ResultRecord::Error { hash } => {
                let halves = hash.as_chunks::<16>().0.iter();
                numbers.extend(halves.map(|half| Val::V128(u128::from_le_bytes(*half))));
            }
        }
    }

    /// Records what a call gave: an error of the guest's own, or its results. The types of objects
    /// come from the handle table.
    pub(crate) fn all_of(ran: &Ran, objects: &ObjectTable) -> SmallVec<[Self; 1]> {
        #[cfg(test)]
        RECORDS_MADE.set(RECORDS_MADE.get() + 1);
        if let Some(error) = &ran.rejected {
            let hash = blake3::hash(error.message.as_bytes()).into();
            return smallvec![ResultRecord::Error { hash }];
        }
        let record = |value: &Value| match value {
            Value::Val(val) => ResultRecord::Val(val.clone()),
            Value::Handle(handle) => {
                let object = objects.get(handle);
                ResultRecord::Object(*handle, object.and_then(|object| object.ty.clone()))
            }
            // A raw pointer means nothing in another generation.
            Value::Null | Value::Pointer(_) | Value::Pointers(_) => ResultRecord::Null,
            Value::Bytes(bytes) => ResultRecord::buffer(bytes),
            Value::Text(text) | Value::Js(text) => ResultRecord::buffer(text.as_bytes()),
        };
        ran.results.as_slice().iter().map(record).collect()
    }

    /// Whether a call gave just what these records say. Records of what it gave would be equal.
    pub(crate) fn are(records: &[Self], ran: &Ran, plan: &ExportPlan) -> bool {
        if let Some(error) = &ran.rejected {
            let got = blake3::hash(error.message.as_bytes());
            return matches!(records, [ResultRecord::Error { hash }] if got == *hash);
        }
        let values = ran.results.as_slice();
        let is = |(position, (record, value)): (usize, (&Self, &Value))| match (record, value) {
            (ResultRecord::Val(record), Value::Val(value)) => record == value,
            (ResultRecord::Object(record, ty), Value::Handle(handle)) => {
                record == handle && ty.as_deref() == plan.results[position].object()
            }
            (ResultRecord::Null, Value::Null | Value::Pointer(_) | Value::Pointers(_)) => true,
            (ResultRecord::Buffer { len, hash }, Value::Bytes(bytes)) => {
                *len == bytes.len() && blake3::hash(bytes) == *hash
            }
            (ResultRecord::Buffer { len, hash }, Value::Text(text) | Value::Js(text)) => {
                *len == text.len() && blake3::hash(text.as_bytes()) == *hash
            }
            _ => false,
        };
        records.len() == values.len() && records.iter().zip(values).enumerate().all(is)
    }

    pub(crate) fn buffer(bytes: &[u8]) -> Self {
        #[cfg(test)]
        RECORDS_MADE.set(RECORDS_MADE.get() + 1);
        ResultRecord::Buffer {
            len: bytes.len(),
            hash: blake3::hash(bytes).into(),
        }
    }

    /// Several of them, in words.
    pub(crate) fn describe_all(records: &[Self]) -> String {
        let all: Vec<String> = records.iter().map(Self::describe).collect();
        all.join(", ")
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            ResultRecord::Val(val) => shown::val(val),
            ResultRecord::Object(handle, _) => format!("object {handle}"),
            ResultRecord::Null => "null".to_owned(),
            ResultRecord::Error { hash } => {
                format!(
                    "an error of blake3 {}",
                    blake3::Hash::from_bytes(*hash).to_hex()
                )
            }
            ResultRecord::Buffer { len, hash } => {
                format!(
                    "{len} bytes of blake3 {}",
                    blake3::Hash::from_bytes(*hash).to_hex()
                )
            }
        }
    }
}
