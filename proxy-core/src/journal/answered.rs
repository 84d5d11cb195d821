//! Calls with an id from their caller, and what was answered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use blake3::Hasher;
use guest_calls::OwnedArg;

use crate::batch::Batch;
use crate::val_bytes::encode_val;
use crate::{SequenceNumber, Value};

/// How many bytes an id may have.
pub const CALL_ID_BYTES_MAX: usize = 128;

/// A call that its caller gave an id, and what it was answered. A call with the same id is answered
/// likewise and does not run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AnsweredCall {
    pub(crate) id: Box<[u8]>,
    /// A hash of the export and the arguments.
    pub(crate) call: [u8; 32],
    pub(crate) answer: Answer,
}

/// What a call was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Results(Box<[Value]>),
    /// The guest returned an error with this message.
    Rejected(Box<str>),
}

impl Answer {
    fn bytes(&self) -> usize {
        match self {
            Answer::Results(values) => {
                let own = |value: &Value| match value {
                    Value::Bytes(bytes) => bytes.len(),
                    Value::Text(text) | Value::Js(text) => text.len(),
                    _ => 0,
                };
                size_of_val(&**values) + values.iter().map(own).sum::<usize>()
            }
            Answer::Rejected(message) => message.len(),
        }
    }
}

/// A hash of a call: equal for the same export with the same arguments, in every process.
pub(crate) fn hash_of_call(export: &str, args: &[OwnedArg]) -> [u8; 32] {
    let mut hasher = Hasher::new();
    let mut put = |tag: u8, bytes: &[u8]| {
        hasher.update(&[tag]);
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    put(0, b"wpx-call1");
    put(0, export.as_bytes());
    for arg in args {
        match arg {
            OwnedArg::Val(val) => match encode_val(val) {
                Some(bits) => put(1, &bits),
                // Other references than null are no arguments of journaled calls.
                None => put(2, &[]),
            },
            OwnedArg::Handle(_) | OwnedArg::Handles(_) => {
                let named = arg.handles().iter().flat_map(|handle| {
                    let sequence = handle.sequence().0.to_le_bytes();
                    sequence.into_iter().chain(handle.result().to_le_bytes())
                });
                let is_list = matches!(arg, OwnedArg::Handles(_));
                put(3 + u8::from(is_list), &named.collect::<Vec<u8>>());
            }
            OwnedArg::Bytes(bytes) => put(5, bytes),
            OwnedArg::Text(text) => put(6, text.as_bytes()),
            OwnedArg::Js(text) => put(7, text.as_bytes()),
        }
    }
    hasher.finalize().into()
}

/// How many answers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallIdBound {
    /// Answers. The oldest go first.
    pub answers: usize,
    /// What they take in memory, in bytes.
    pub bytes: usize,
}

impl Default for CallIdBound {
    /// 65,536 answers, or 16 MiB.
    fn default() -> Self {
        Self {
            answers: 65_536,
            bytes: 16 << 20,
        }
    }
}

/// The answers that are kept, by the ids of their calls.
#[derive(Debug, Default)]
pub(crate) struct AnsweredCalls {
    bound: CallIdBound,
    by_id: HashMap<Box<[u8]>, Kept>,
    /// The ids, oldest first.
    order: VecDeque<Box<[u8]>>,
    bytes: usize,
}

/// An answer, and the newest entry at the time when it was given.
#[derive(Debug)]
struct Kept {
    answered: Arc<AnsweredCall>,
    at: SequenceNumber,
    /// The batch that its record is in, unless it was read from the store.
    batch: Option<Arc<Batch>>,
}

impl Kept {
    /// Whether its record may still have to be undone, or has to.
    fn is_in_doubt(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| !batch.is_durable())
    }
}

impl AnsweredCalls {
    pub(crate) fn new(bound: CallIdBound) -> Self {
        Self {
            bound,
            ..Self::default()
        }
    }

    pub(crate) fn bound(&self) -> CallIdBound {
        self.bound
    }

    pub(crate) fn get(&self, id: &[u8]) -> Option<&Arc<AnsweredCall>> {
        self.by_id.get(id).map(|kept| &kept.answered)
    }

    /// Keeps an answer, and drops the oldest that are too many. One that is known stays. `batch` has
    /// its record, if that is not in the store yet.
    pub(crate) fn keep(
        &mut self,
        answered: Arc<AnsweredCall>,
        at: SequenceNumber,
        batch: Option<Arc<Batch>>,
    ) {
        if self.by_id.contains_key(&answered.id) {
            // A call with a known id does not run, so this is the same, from a checkpoint.
            return;
        }
        self.bytes += size(&answered);
        self.order.push_back(answered.id.clone());
        let id = answered.id.clone();
        let kept = Kept {
            answered,
            at,
            batch,
        };
        let before = self.by_id.insert(id, kept);
        debug_assert!(before.is_none(), "a call with a known id does not run");
        while self.order.len() > self.bound.answers
            || (self.bytes > self.bound.bytes && self.order.len() > 1)
        {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.drop_one(&oldest);
        }
    }

    fn drop_one(&mut self, id: &[u8]) {
        if let Some(gone) = self.by_id.remove(id) {
            self.bytes -= size(&gone.answered);
        }
    }

    /// Forgets the answers whose records the store did not take: their calls were undone. An answer
    /// of a call without an entry may be in the store although the next entry is not.
    pub(crate) fn roll_back(&mut self) {
        while let Some(newest) = self.order.back() {
            if self
                .by_id
                .get(newest)
                .is_some_and(|kept| !kept.is_in_doubt())
            {
                break;
            }
            if let Some(newest) = self.order.pop_back() {
                self.drop_one(&newest);
            }
        }
    }

    /// All of them, oldest first, each with the newest entry of its time.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<AnsweredCall>, SequenceNumber)> {
        let kept = self.order.iter().filter_map(|id| self.by_id.get(id));
        kept.map(|kept| (&kept.answered, kept.at))
    }
}

/// What an answer takes in memory, about.
fn size(answered: &AnsweredCall) -> usize {
    2 * answered.id.len() + size_of::<AnsweredCall>() + answered.answer.bytes()
}
