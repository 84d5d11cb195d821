//! Records as they were written, for somebody who has no module: tools, and people who look.

use std::time::Duration;

use engine_api::Val;
use guest_calls::OwnedArg;

use super::conversions::read_vals;
use super::{
    NoRecord, Record, StoredAnswer, StoredAnsweredCall, StoredEntry, StoredGenesis, StoredHostCall,
    StoredResult, StoredWrite, parse,
};
use crate::{Cut, Handle, SequenceNumber, Value};

/// A record of a journal as it was written. Nothing in it was compared with a module. Its handles
/// belong to no proxy; what counts are their parts.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RecordView {
    /// The first instantiation.
    Genesis {
        /// The module and the name of each import, to which positions in host calls refer.
        imports: Vec<(String, String)>,
        /// What it asked of the host.
        host_calls: Vec<HostCallView>,
    },
    /// A journaled call that returned.
    Entry {
        /// The call.
        entry: EntryView,
        /// Its id and its answer, if its caller gave it an id.
        answer: Option<AnswerView>,
    },
    /// The answer to a call with an id that left no entry.
    Answer(AnswerView),
    /// A divergence that was settled.
    Cut {
        /// The settlement.
        cut: Cut,
        /// The entry as it is from then on, if it was accepted.
        instead: Option<EntryView>,
    },
}

/// A journaled call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EntryView {
    /// Its place among the journaled calls.
    pub sequence: SequenceNumber,
    /// The export.
    pub export: String,
    /// Its arguments.
    pub args: Vec<OwnedArg>,
    /// What it asked of the host, in order.
    pub host_calls: Vec<HostCallView>,
    /// Its results.
    pub results: Vec<ResultView>,
    /// The fingerprint of the object that it made, if the policy names one.
    pub fingerprints: Vec<Val>,
    /// The objects that it freed.
    pub frees: Vec<Handle>,
    /// The object of the module that it needs without an argument, if it does.
    pub needs: Option<Handle>,
    /// How long it took.
    pub took: Duration,
}

/// One result of a journaled call, as far as it is kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ResultView {
    /// A number.
    Val(Val),
    /// An object that it made.
    Object {
        /// Its name.
        handle: Handle,
        /// Its type, if the policy names one.
        ty: Option<String>,
    },
    /// No object, bytes or text.
    Null,
    /// Bytes or text.
    Buffer {
        /// How many bytes.
        bytes: u64,
        /// Their blake3.
        hash: [u8; 32],
    },
    /// The guest's own error.
    Error {
        /// blake3 of its message.
        hash: [u8; 32],
    },
}

/// A call with an id, and what it was answered.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AnswerView {
    /// The id.
    pub id: Vec<u8>,
    /// A hash of the export and the arguments.
    pub call: [u8; 32],
    /// The results, or the message of the guest's own error.
    pub answer: Result<Vec<Value>, String>,
}

/// A call of a host function.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostCallView {
    /// Which import, among those of the genesis.
    pub import: u32,
    /// Its arguments.
    pub args: Vec<Val>,
    /// Its results.
    pub results: Vec<Val>,
    /// How many things it changed in the guest.
    pub changes: usize,
    /// How many bytes it wrote to the guest's memories.
    pub bytes_written: u64,
}

impl RecordView {
    /// Reads a record. `tag` goes into its handles.
    ///
    /// # Errors
    ///
    /// Why it is none, in words. The bytes may come from anywhere.
    pub(crate) fn read(bytes: &[u8], tag: u32) -> Result<Self, NoRecord> {
        Ok(match parse(bytes)? {
            Record::Genesis(genesis) => genesis.view(),
            Record::Entry(entry, answered) => Self::Entry {
                entry: entry.view(tag),
                answer: answered.map(|answered| answered.view(tag)),
            },
            Record::Answer(answered) => Self::Answer(answered.view(tag)),
            Record::Cut(cut, instead) => Self::Cut {
                cut: cut.read()?,
                instead: instead.map(|entry| entry.view(tag)),
            },
        })
    }
}

impl StoredGenesis<'_> {
    fn view(&self) -> RecordView {
        let imports = self.imports.iter();
        RecordView::Genesis {
            imports: imports
                .map(|(module, name)| ((*module).to_owned(), (*name).to_owned()))
                .collect(),
            host_calls: self.host_calls.iter().map(StoredHostCall::view).collect(),
        }
    }
}

impl StoredEntry<'_> {
    fn view(&self, tag: u32) -> EntryView {
        EntryView {
            sequence: SequenceNumber(self.sequence),
            export: self.export.to_owned(),
            args: self.args.iter().map(|arg| arg.read(tag)).collect(),
            host_calls: self.host_calls.iter().map(StoredHostCall::view).collect(),
            results: self.results.iter().map(|one| one.view(tag)).collect(),
            fingerprints: read_vals(&self.fingerprints),
            frees: self.frees.iter().map(|handle| handle.read(tag)).collect(),
            needs: self.needs.as_ref().map(|handle| handle.read(tag)),
            took: Duration::from_nanos(self.took_ns),
        }
    }
}

impl StoredResult<'_> {
    fn view(&self, tag: u32) -> ResultView {
        match self {
            StoredResult::Val(val) => ResultView::Val(val.read()),
            StoredResult::Object(handle, ty) => ResultView::Object {
                handle: handle.read(tag),
                ty: ty.map(ToOwned::to_owned),
            },
            StoredResult::Null => ResultView::Null,
            StoredResult::Buffer { len, hash } => ResultView::Buffer {
                bytes: *len,
                hash: *hash,
            },
            StoredResult::Error { hash } => ResultView::Error { hash: *hash },
        }
    }
}

impl StoredAnsweredCall<'_> {
    fn view(&self, tag: u32) -> AnswerView {
        AnswerView {
            id: self.id.0.to_vec(),
            call: self.call,
            answer: match &self.answer {
                StoredAnswer::Results(values) => {
                    Ok(values.iter().map(|value| value.read(tag)).collect())
                }
                StoredAnswer::Rejected(message) => Err((*message).to_owned()),
            },
        }
    }
}

impl StoredHostCall<'_> {
    fn view(&self) -> HostCallView {
        let written = self.writes.iter().map(|write| match write {
            StoredWrite::Write { bytes, .. } => bytes.0.len() as u64,
            _ => 0,
        });
        let is_change = |write: &&StoredWrite<'_>| !matches!(write, StoredWrite::Note { .. });
        let changes = self.writes.iter().filter(is_change);
        HostCallView {
            import: self.import,
            args: read_vals(&self.args),
            results: read_vals(&self.results),
            changes: changes.count(),
            bytes_written: written.sum(),
        }
    }
}
