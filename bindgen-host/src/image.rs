//! The realm of a guest at one moment, written down: from it other realms are made, which share no
//! object with this one.
//!
//! Objects are numbered in the order in which a walk first meets them, slots before references, and
//! refer to each other by these numbers. So what was shared stays shared, cycles are no problem,
//! and equal realms have equal images. The walk is a list and not a recursion, because a guest
//! decides how deep its objects are nested.

mod bytes;
mod copies;
mod hashes;
mod shown;
#[cfg(test)]
mod tests;
mod walk;

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{ElementType, ExternRef, FuncIndex, HostState};

use crate::heap::{Constants, Heap};
use crate::value::{BagKind, Builtin, Global, Js};
use walk::Walk;

/// The objects of a guest, and what else its host keeps for it.
#[derive(Debug)]
pub(crate) struct RealmImage {
    slots: Vec<Option<Value>>,
    /// Free slots; the last one is used first.
    free: Vec<u32>,
    references: Vec<Referred>,
    objects: Vec<Item>,
    buffers: Vec<Arc<[u8]>>,
    pub(crate) threads: ThreadsImage,
}

/// The state of the host for the threads of a guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadsImage {
    /// The pool builder that the guest has made and that no pool has taken, or 0.
    pub(crate) builder: u32,
    pub(crate) pools_started: i32,
    /// The pool that ran.
    pub(crate) pool: Option<PoolImage>,
}

/// A pool that was stopped to be started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolImage {
    pub(crate) number: i32,
    pub(crate) threads: i32,
}

/// What a table or a global of the guest refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Referred {
    /// A value of the realm.
    Own(Value),
    /// An object of somebody else, which is not the guest's state. All instances have the same.
    Foreign(ExternRef),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Undefined,
    Null,
    Bool(bool),
    /// The bits of a number.
    Number(u64),
    BigInt(i128),
    Text(Arc<str>),
    /// An object, by its number.
    Object(u32),
    Symbol(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Global(Global),
    Memory,
    Buffer(BufferOf),
    Bytes {
        buffer: BufferOf,
        offset: u64,
        len: u64,
        element: ElementType,
    },
    Bag {
        kind: BagKind,
        elements: Vec<Value>,
        fields: Vec<(String, Value)>,
    },
    Error {
        name: &'static str,
        message: String,
    },
    Closure {
        words: (u32, u32),
        invoke: u32,
        dropped: bool,
    },
    GlobalGetter,
    Instance(Arc<str>, u32),
    Promise,
    /// A `Map`, or a `Set`, whose values are its keys.
    Collection {
        is_set: bool,
        pairs: Vec<(Value, Value)>,
    },
    /// The bits of the milliseconds.
    Date(u64),
    Iterator(Vec<Value>),
    Builtin(Builtin),
    Callback(Arc<str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BufferOf {
    Guest,
    /// A buffer of the host, by its number.
    Host(u32),
}

impl RealmImage {
    /// The image of what a heap and the references of tables and globals hold.
    pub(crate) fn of(heap: &Heap, references: &[ExternRef], threads: ThreadsImage) -> Self {
        let mut walk = Walk::default();
        let (slots, free) = heap.parts();
        let slots = slots
            .iter()
            .map(|slot| slot.as_ref().map(|js| walk.value(js)));
        let slots = slots.collect();
        let references = references
            .iter()
            .map(|reference| match reference.get::<Js>() {
                Some(js) => Referred::Own(walk.value(js)),
                None => Referred::Foreign(reference.clone()),
            });
        let references = references.collect();
        let (objects, buffers) = walk.finish();
        Self {
            slots,
            free: free.to_vec(),
            references,
            objects,
            buffers,
            threads,
        }
    }

    /// A heap of new objects, and new objects for the references.
    pub(crate) fn copy(&self, constants: Constants) -> (Heap, Vec<ExternRef>) {
        let objects = self.new_objects();
        let slots = self.slots.iter();
        let slots = slots.map(|slot| slot.as_ref().map(|value| value.copy(&objects)));
        let heap = Heap::of(constants, slots.collect(), self.free.clone());
        let references = self.references.iter().map(|reference| match reference {
            Referred::Own(value) => ExternRef::new(value.copy(&objects)),
            Referred::Foreign(reference) => reference.clone(),
        });
        (heap, references.collect())
    }

    /// The image that [`HostState::encode`] gave as these bytes. They are checked. `invokers` are
    /// the exports that call closures.
    pub(crate) fn decode(bytes: &[u8], invokers: &[FuncIndex]) -> Result<Self, engine_api::Error> {
        bytes::decode(bytes, invokers)
    }
}

impl Item {
    fn bytes_kept(&self) -> usize {
        let inside = match self {
            Item::Collection { pairs, .. } => 2 * pairs.len() * size_of::<Value>(),
            Item::Iterator(left) => left.len() * size_of::<Value>(),
            Item::Bag {
                elements, fields, ..
            } => {
                let values = elements.len() + fields.len();
                let keys: usize = fields.iter().map(|(key, _)| key.len()).sum();
                values * size_of::<Value>() + keys
            }
            Item::Error { message, .. } => message.len(),
            _ => 0,
        };
        size_of::<Self>() + inside
    }
}

impl HostState for RealmImage {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn difference(&self, other: &dyn HostState) -> Option<String> {
        let Some(other) = other.as_any().downcast_ref::<Self>() else {
            return Some("the state of another host".to_owned());
        };
        first("slot", &self.slots, &other.slots, |slot| match slot {
            None => "empty".to_owned(),
            Some(value) => value.to_string(),
        })
        .or_else(|| first("free slot", &self.free, &other.free, u32::to_string))
        .or_else(|| {
            first(
                "reference",
                &self.references,
                &other.references,
                |referred| match referred {
                    Referred::Own(value) => value.to_string(),
                    Referred::Foreign(_) => "an object of the host".to_owned(),
                },
            )
        })
        .or_else(|| first("object", &self.objects, &other.objects, Item::to_string))
        .or_else(|| {
            first("buffer", &self.buffers, &other.buffers, |bytes| {
                format!("{} bytes with hash {}", bytes.len(), blake3::hash(bytes))
            })
        })
        .or_else(|| {
            (self.threads != other.threads)
                .then(|| format!("{:?} instead of {:?}", other.threads, self.threads))
        })
    }

    fn digest(&self) -> [u8; 32] {
        self.hash()
    }

    fn bytes_kept(&self) -> u64 {
        let buffers: usize = self.buffers.iter().map(|bytes| bytes.len()).sum();
        let objects: usize = self.objects.iter().map(Item::bytes_kept).sum();
        let values = self.slots.len() + self.references.len();
        (buffers + objects + values * size_of::<Value>() + self.free.len() * 4) as u64
    }

    fn encode(&self) -> Result<Vec<u8>, engine_api::Error> {
        bytes::encode(self)
    }
}

/// The first difference of two lists of things that are called `what`.
fn first<T: PartialEq>(
    what: &str,
    ours: &[T],
    theirs: &[T],
    shown: impl Fn(&T) -> String,
) -> Option<String> {
    let differs = ours
        .iter()
        .zip(theirs)
        .position(|(ours, theirs)| ours != theirs);
    if let Some(position) = differs {
        let (ours, theirs) = (shown(&ours[position]), shown(&theirs[position]));
        return Some(format!(
            "{what} {position} of the realm is {theirs} instead of {ours}"
        ));
    }
    (ours.len() != theirs.len()).then(|| {
        let (ours, theirs) = (ours.len(), theirs.len());
        format!("a realm with {theirs} of `{what}` instead of {ours}")
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
