//! The realm of a guest at one moment, written down: from it other realms are made, which share no
//! object with this one.
//!
//! Objects are numbered in the order in which a walk first meets them, slots before references, and
//! refer to each other by these numbers. So what was shared stays shared, cycles are no problem,
//! and equal realms have equal images. The walk is a list and not a recursion, because a guest
//! decides how deep its objects are nested.

mod bytes;

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{ElementType, ExternRef, FuncIndex, HostState};
use indexmap::IndexMap;

use crate::collection::Collection;
use crate::heap::{Constants, Heap};
use crate::value::{Bag, BagKind, Buffer, Builtin, Bytes, Closure, Error, Global, Js, Object};

/// The layout that the digest hashes.
const FORMAT: u8 = 1;

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

    fn new_objects(&self) -> Vec<Arc<Object>> {
        let buffers = self.buffers.iter();
        let buffers = buffers.map(|bytes| Arc::new(Mutex::new(bytes.to_vec())));
        let buffers: Vec<_> = buffers.collect();
        let objects = self.objects.iter();
        let objects = objects.map(|item| Arc::new(item.copy_empty(&buffers)));
        let objects: Vec<_> = objects.collect();
        // An object may contain any other, itself included.
        for (object, item) in objects.iter().zip(&self.objects) {
            item.fill(object, &objects);
        }
        objects
    }
}

/// Numbers the objects that it meets.
#[derive(Default)]
struct Walk {
    objects: Vec<Arc<Object>>,
    numbers: HashMap<*const Object, u32>,
    buffers: Vec<Arc<Mutex<Vec<u8>>>>,
    buffer_numbers: HashMap<*const Mutex<Vec<u8>>, u32>,
}

impl Walk {
    fn value(&mut self, js: &Js) -> Value {
        match js {
            Js::Undefined => Value::Undefined,
            Js::Null => Value::Null,
            Js::Bool(value) => Value::Bool(*value),
            Js::Number(value) => Value::Number(value.to_bits()),
            Js::BigInt(value) => Value::BigInt(*value),
            Js::Text(text) => Value::Text(Arc::clone(text)),
            Js::Symbol(text) => Value::Symbol(Arc::clone(text)),
            Js::Object(object) => {
                let next = self.objects.len();
                let number = self.numbers.entry(Arc::as_ptr(object)).or_insert_with(|| {
                    self.objects.push(Arc::clone(object));
                    number(next)
                });
                Value::Object(*number)
            }
        }
    }

    fn buffer(&mut self, buffer: &Buffer) -> BufferOf {
        let Buffer::Host(bytes) = buffer else {
            return BufferOf::Guest;
        };
        let next = self.buffers.len();
        let number = self
            .buffer_numbers
            .entry(Arc::as_ptr(bytes))
            .or_insert_with(|| {
                self.buffers.push(Arc::clone(bytes));
                number(next)
            });
        BufferOf::Host(*number)
    }

    /// All objects and buffers that can be reached from the values so far.
    fn finish(mut self) -> (Vec<Item>, Vec<Arc<[u8]>>) {
        let mut items = Vec::new();
        while let Some(object) = self.objects.get(items.len()).cloned() {
            items.push(self.item(&object));
        }
        let buffers = self.buffers.iter().map(|bytes| Arc::from(&**lock(bytes)));
        (items, buffers.collect())
    }

    fn item(&mut self, object: &Object) -> Item {
        match object {
            Object::Global(global) => Item::Global(*global),
            Object::Memory => Item::Memory,
            Object::Buffer(buffer) => Item::Buffer(self.buffer(buffer)),
            Object::Bytes(bytes) => Item::Bytes {
                buffer: self.buffer(&bytes.buffer),
                offset: bytes.offset,
                len: bytes.len,
                element: bytes.element,
            },
            Object::Bag(bag) => {
                let bag = lock(bag);
                let elements = bag.elements.iter().map(|js| self.value(js)).collect();
                let fields = bag.fields.iter();
                let fields = fields.map(|(key, js)| (key.clone(), self.value(js)));
                Item::Bag {
                    kind: bag.kind,
                    elements,
                    fields: fields.collect(),
                }
            }
            Object::Error(error) => Item::Error {
                name: error.name,
                message: error.message.clone(),
            },
            Object::Closure(closure) => Item::Closure {
                words: closure.words,
                invoke: closure.invoke.0,
                dropped: closure.dropped.load(Ordering::Acquire),
            },
            Object::GlobalGetter => Item::GlobalGetter,
            Object::Instance(class, address) => Item::Instance(Arc::clone(class), *address),
            Object::Promise => Item::Promise,
            Object::Collection(collection) => {
                let collection = lock(collection);
                let pairs = collection.pairs();
                let pairs = pairs.map(|(key, value)| (self.value(key), self.value(value)));
                Item::Collection {
                    is_set: collection.is_set(),
                    pairs: pairs.collect(),
                }
            }
            Object::Date(bits) => Item::Date(*bits),
            Object::Iterator(left) => {
                Item::Iterator(lock(left).iter().map(|js| self.value(js)).collect())
            }
            Object::Builtin(builtin) => Item::Builtin(*builtin),
            Object::Callback(name) => Item::Callback(Arc::clone(name)),
        }
    }
}

fn number(position: usize) -> u32 {
    u32::try_from(position).expect("memory ends before 2^32 objects")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Value {
    fn copy(&self, objects: &[Arc<Object>]) -> Js {
        match self {
            Value::Undefined => Js::Undefined,
            Value::Null => Js::Null,
            Value::Bool(value) => Js::Bool(*value),
            Value::Number(bits) => Js::Number(f64::from_bits(*bits)),
            Value::BigInt(value) => Js::BigInt(*value),
            Value::Text(text) => Js::Text(Arc::clone(text)),
            Value::Symbol(text) => Js::Symbol(Arc::clone(text)),
            Value::Object(number) => Js::Object(Arc::clone(&objects[*number as usize])),
        }
    }

    fn hash(&self, hasher: &mut blake3::Hasher) {
        match self {
            Value::Undefined => hasher.update(&[0]),
            Value::Null => hasher.update(&[1]),
            Value::Bool(value) => hasher.update(&[2, u8::from(*value)]),
            Value::Number(bits) => hasher.update(&[3]).update(&bits.to_le_bytes()),
            Value::BigInt(value) => hasher.update(&[4]).update(&value.to_le_bytes()),
            Value::Text(text) => hash_bytes(hasher.update(&[5]), text.as_bytes()),
            Value::Symbol(text) => hash_bytes(hasher.update(&[7]), text.as_bytes()),
            Value::Object(number) => hasher.update(&[6]).update(&number.to_le_bytes()),
        };
    }
}

impl Item {
    /// Puts into an object of this what it contains.
    fn fill(&self, object: &Object, objects: &[Arc<Object>]) {
        let copy = |value: &Value| value.copy(objects);
        match (object, self) {
            (
                Object::Bag(bag),
                Item::Bag {
                    elements, fields, ..
                },
            ) => {
                let mut bag = lock(bag);
                bag.elements = elements.iter().map(copy).collect();
                let fields = fields.iter();
                bag.fields = fields
                    .map(|(key, value)| (key.clone(), copy(value)))
                    .collect();
            }
            (Object::Collection(collection), Item::Collection { is_set, pairs }) => {
                let pairs = pairs.iter().map(|(key, value)| (copy(key), copy(value)));
                *lock(collection) = if *is_set {
                    Collection::set_of(pairs.map(|(key, _)| key))
                } else {
                    Collection::map(pairs)
                };
            }
            (Object::Iterator(left), Item::Iterator(values)) => {
                *lock(left) = values.iter().map(copy).collect();
            }
            _ => {}
        }
    }

    /// A new object, whose contents are still missing.
    fn copy_empty(&self, buffers: &[Arc<Mutex<Vec<u8>>>]) -> Object {
        let buffer = |buffer: &BufferOf| match buffer {
            BufferOf::Guest => Buffer::Guest,
            BufferOf::Host(number) => Buffer::Host(Arc::clone(&buffers[*number as usize])),
        };
        match self {
            Item::Global(global) => Object::Global(*global),
            Item::Memory => Object::Memory,
            Item::Buffer(of) => Object::Buffer(buffer(of)),
            Item::Bytes {
                buffer: of,
                offset,
                len,
                element,
            } => Object::Bytes(Bytes {
                buffer: buffer(of),
                offset: *offset,
                len: *len,
                element: *element,
            }),
            Item::Bag { kind, .. } => {
                let bag = Bag {
                    kind: *kind,
                    elements: Vec::new(),
                    fields: IndexMap::new(),
                };
                Object::Bag(Mutex::new(bag))
            }
            Item::Error { name, message } => Object::Error(Error {
                name,
                message: message.clone(),
            }),
            Item::Closure {
                words,
                invoke,
                dropped,
            } => Object::Closure(Closure {
                words: *words,
                invoke: FuncIndex(*invoke),
                dropped: AtomicBool::new(*dropped),
            }),
            Item::GlobalGetter => Object::GlobalGetter,
            Item::Instance(class, address) => Object::Instance(Arc::clone(class), *address),
            Item::Promise => Object::Promise,
            Item::Collection { .. } => Object::Collection(Mutex::default()),
            Item::Date(bits) => Object::Date(*bits),
            Item::Iterator(_) => Object::Iterator(Mutex::default()),
            Item::Builtin(builtin) => Object::Builtin(*builtin),
            Item::Callback(name) => Object::Callback(Arc::clone(name)),
        }
    }

    fn hash(&self, hasher: &mut blake3::Hasher) {
        match self {
            Item::Global(global) => {
                hasher.update(&[0, *global as u8]);
            }
            Item::Memory => {
                hasher.update(&[1]);
            }
            Item::Buffer(of) => of.hash(hasher.update(&[2])),
            Item::Bytes {
                buffer,
                offset,
                len,
                element,
            } => {
                // Arrays of bytes were the first, and have no more than their tag.
                if *element != ElementType::U8 {
                    hasher.update(&[10, number_of(*element)]);
                }
                buffer.hash(hasher.update(&[3]));
                hasher.update(&offset.to_le_bytes());
                hasher.update(&len.to_le_bytes());
            }
            Item::Bag {
                kind,
                elements,
                fields,
            } => {
                match kind {
                    BagKind::Unknown => hasher.update(&[4]),
                    BagKind::Array => hasher.update(&[11]),
                    BagKind::Record => hasher.update(&[12]),
                };
                hash_len(hasher, elements.len());
                for element in elements {
                    element.hash(hasher);
                }
                hash_len(hasher, fields.len());
                for (key, value) in fields {
                    hash_bytes(hasher, key.as_bytes());
                    value.hash(hasher);
                }
            }
            Item::Error { name, message } => {
                hash_bytes(hasher.update(&[5]), name.as_bytes());
                hash_bytes(hasher, message.as_bytes());
            }
            Item::Closure {
                words,
                invoke,
                dropped,
            } => {
                hasher.update(&[6]);
                for word in [words.0, words.1, *invoke] {
                    hasher.update(&word.to_le_bytes());
                }
                hasher.update(&[u8::from(*dropped)]);
            }
            Item::GlobalGetter => {
                hasher.update(&[7]);
            }
            Item::Instance(class, address) => {
                hasher.update(&[8]).update(&address.to_le_bytes());
                if !class.is_empty() {
                    hash_bytes(hasher, class.as_bytes());
                }
            }
            Item::Promise => {
                hasher.update(&[9]);
            }
            Item::Collection { is_set, pairs } => {
                hash_len(hasher.update(&[13, u8::from(*is_set)]), pairs.len());
                for (key, value) in pairs {
                    key.hash(hasher);
                    value.hash(hasher);
                }
            }
            Item::Date(bits) => {
                hasher.update(&[14]).update(&bits.to_le_bytes());
            }
            Item::Iterator(left) => {
                hash_len(hasher.update(&[15]), left.len());
                for value in left {
                    value.hash(hasher);
                }
            }
            Item::Builtin(builtin) => {
                hasher.update(&[16, *builtin as u8]);
            }
            Item::Callback(name) => {
                hash_bytes(hasher.update(&[17]), name.as_bytes());
            }
        }
    }

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

/// The number of a class of typed arrays in hashes and bytes. It never changes.
fn number_of(element: ElementType) -> u8 {
    let position = ElementType::ALL.iter().position(|one| *one == element);
    u8::try_from(position.unwrap_or_default()).unwrap_or_default()
}

impl BufferOf {
    fn hash(self, hasher: &mut blake3::Hasher) {
        match self {
            BufferOf::Guest => hasher.update(&[0]),
            BufferOf::Host(number) => hasher.update(&[1]).update(&number.to_le_bytes()),
        };
    }
}

fn hash_len(hasher: &mut blake3::Hasher, len: usize) -> &mut blake3::Hasher {
    hasher.update(&(len as u64).to_le_bytes())
}

fn hash_bytes<'a>(hasher: &'a mut blake3::Hasher, bytes: &[u8]) -> &'a mut blake3::Hasher {
    hash_len(hasher, bytes.len()).update(bytes)
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
        let mut hasher = blake3::Hasher::new();
        hasher.update(&[FORMAT]);
        hash_len(&mut hasher, self.slots.len());
        for slot in &self.slots {
            hasher.update(&[u8::from(slot.is_some())]);
            if let Some(value) = slot {
                value.hash(&mut hasher);
            }
        }
        hash_len(&mut hasher, self.free.len());
        for slot in &self.free {
            hasher.update(&slot.to_le_bytes());
        }
        hash_len(&mut hasher, self.references.len());
        for reference in &self.references {
            let is_foreign = matches!(reference, Referred::Foreign(_));
            hasher.update(&[u8::from(is_foreign)]);
            if let Referred::Own(value) = reference {
                value.hash(&mut hasher);
            }
        }
        hash_len(&mut hasher, self.objects.len());
        for object in &self.objects {
            object.hash(&mut hasher);
        }
        hash_len(&mut hasher, self.buffers.len());
        for buffer in &self.buffers {
            hash_bytes(&mut hasher, buffer);
        }
        let ThreadsImage {
            builder,
            pools_started,
            pool,
        } = self.threads;
        hasher.update(&builder.to_le_bytes());
        hasher.update(&pools_started.to_le_bytes());
        let PoolImage { number, threads } = pool.unwrap_or(PoolImage {
            number: 0,
            threads: 0,
        });
        hasher.update(&number.to_le_bytes());
        hasher.update(&threads.to_le_bytes());
        hasher.finalize().into()
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

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Undefined => f.write_str("undefined"),
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Number(bits) => write!(f, "{}", f64::from_bits(*bits)),
            Value::BigInt(value) => write!(f, "{value}n"),
            // Texts may be secret, and long.
            Value::Text(text) => write!(f, "text of {} bytes", text.len()),
            Value::Symbol(text) => write!(f, "symbol of {} bytes", text.len()),
            Value::Object(number) => write!(f, "object {number}"),
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Global(global) => write!(f, "the global {global:?}"),
            Item::Memory => f.write_str("the memory"),
            Item::Buffer(of) => write!(f, "a buffer over {of}"),
            Item::Bytes {
                buffer,
                offset,
                len,
                ..
            } => write!(f, "{len} bytes at {offset} of {buffer}"),
            Item::Bag {
                elements, fields, ..
            } => {
                let count = (elements.len(), fields.len());
                write!(
                    f,
                    "an object with {} elements and {} fields",
                    count.0, count.1
                )?;
                // The first few tell two of the same size apart.
                for value in elements
                    .iter()
                    .chain(fields.iter().map(|(_, value)| value))
                    .take(4)
                {
                    write!(f, ", {value}")?;
                }
                Ok(())
            }
            Item::Error { name, message } => write!(f, "{name} of {} bytes", message.len()),
            Item::Closure { words, dropped, .. } => {
                let state = if *dropped { "a dropped" } else { "a" };
                write!(
                    f,
                    "{state} closure of the words {} and {}",
                    words.0, words.1
                )
            }
            Item::GlobalGetter => f.write_str("the function of the global object"),
            Item::Instance(_, address) => write!(f, "the guest's object at {address}"),
            Item::Promise => f.write_str("a promise"),
            Item::Collection { is_set, pairs } => {
                let what = if *is_set { "set" } else { "map" };
                write!(f, "a {what} of {}", pairs.len())?;
                for (key, value) in pairs.iter().take(2) {
                    write!(f, ", {key}: {value}")?;
                }
                Ok(())
            }
            Item::Date(bits) => write!(f, "the date {}", f64::from_bits(*bits)),
            Item::Iterator(left) => write!(f, "an iterator with {} left", left.len()),
            Item::Builtin(builtin) => write!(f, "the function {builtin:?}"),
            Item::Callback(name) => write!(f, "the callback of {} bytes", name.len()),
        }
    }
}

impl fmt::Display for BufferOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BufferOf::Guest => f.write_str("the memory"),
            BufferOf::Host(number) => write!(f, "buffer {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSTANTS: fn() -> Constants = || Constants::of_release(Some(100));

    fn new_heap() -> Heap {
        Heap::new(CONSTANTS())
    }

    fn bag(elements: Vec<Js>, fields: &[(&str, Js)]) -> Js {
        let fields = fields.iter();
        let fields = fields.map(|(key, value)| ((*key).to_owned(), value.clone()));
        Js::bag(Bag {
            kind: BagKind::Unknown,
            elements,
            fields: fields.collect(),
        })
    }

    fn with_bag<T>(js: &Js, what: impl FnOnce(&mut Bag) -> T) -> T {
        match js.as_object() {
            Some(Object::Bag(bag)) => what(&mut lock(bag)),
            other => panic!("{other:?}"),
        }
    }

    fn element(js: &Js, position: usize) -> Js {
        with_bag(js, |bag| bag.elements[position].clone())
    }

    fn image(heap: &Heap, references: &[ExternRef]) -> RealmImage {
        RealmImage::of(heap, references, ThreadsImage::default())
    }

    /// Every kind of value, with parts that are shared and a cycle.
    fn rich() -> (Heap, Vec<ExternRef>) {
        let mut heap = new_heap();
        let shared = bag(
            vec![Js::Number(-0.0), Js::BigInt(-7), Js::text("text")],
            &[],
        );
        let bytes = Js::host_bytes(vec![1, 2, 3]);
        let Some(Object::Bytes(view)) = bytes.as_object() else {
            unreachable!("just made")
        };
        let part = Object::Bytes(Bytes {
            offset: 1,
            len: 1,
            ..view.clone()
        });
        let cycle = bag(
            vec![shared.clone(), bytes, Js::object(part)],
            &[("k", shared.clone())],
        );
        with_bag(&cycle, |bag| bag.elements.push(cycle.clone()));
        let freed = heap.add(Js::Undefined);
        for js in [
            cycle.clone(),
            Js::error("TypeError", "message"),
            Js::object(Object::Closure(Closure {
                words: (5, 6),
                invoke: FuncIndex(3),
                dropped: AtomicBool::new(false),
            })),
            Js::object(Object::Instance("".into(), 0x1234)),
            Js::object(Object::Instance("quad".into(), 0x5678)),
            Js::collection(Collection::map([(Js::text("k"), shared.clone())])),
            Js::collection(Collection::set_of([Js::Number(f64::NAN), shared.clone()])),
            Js::object(Object::Date(1.5_f64.to_bits())),
            Js::iterator(vec![Js::Null, shared.clone()]),
            Js::object(Object::Builtin(Builtin::Iterate)),
            Js::object(Object::Callback("call".into())),
            Js::Symbol("iterator".into()),
            Js::host_array(ElementType::F32, vec![0, 0, 0xc0, 0x3f]),
            Js::array(vec![shared.clone()]),
            Js::bag(Bag::record([
                ("z".to_owned(), Js::Null),
                ("a".to_owned(), Js::Null),
            ])),
            Js::object(Object::Buffer(Buffer::Guest)),
            Js::object(Object::Memory),
            Js::object(Object::Global(Global::Crypto)),
            Js::object(Object::GlobalGetter),
            Js::object(Object::Promise),
        ] {
            heap.add(js);
        }
        heap.take(freed);
        let references = [shared, cycle, Js::Undefined].map(ExternRef::new);
        (heap, references.into())
    }

    #[test]
    fn a_copy_has_everything_and_shares_nothing() {
        let (heap, references) = rich();
        let taken = image(&heap, &references);
        let (copy, copied) = taken.copy(CONSTANTS());
        let again = image(&copy, &copied);
        assert_eq!(taken.difference(&again), None);
        assert_eq!(taken.digest(), again.digest());
        assert_eq!(taken.bytes_kept(), again.bytes_kept());

        let cycle = copied[1].get::<Js>().unwrap();
        assert!(cycle.is_same(copy.get(133).unwrap()));
        assert!(cycle.is_same(&element(cycle, 3)));
        let shared = element(cycle, 0);
        assert!(shared.is_same(copied[0].get::<Js>().unwrap()));
        assert!(!shared.is_same(references[0].get::<Js>().unwrap()));
        // A view and the array that it is a part of have one buffer.
        let (whole, part) = (element(cycle, 1), element(cycle, 2));
        let buffer = |js: &Js| match js.as_object() {
            Some(Object::Bytes(Bytes {
                buffer: Buffer::Host(bytes),
                ..
            })) => Arc::clone(bytes),
            other => panic!("{other:?}"),
        };
        assert!(Arc::ptr_eq(&buffer(&whole), &buffer(&part)));

        // What happens to the copy happens to nothing else.
        lock(&buffer(&whole))[1] = 99;
        with_bag(&shared, |bag| bag.elements.clear());
        if let Some(Object::Closure(closure)) = copy.get(135).unwrap().as_object() {
            closure.dropped.store(true, Ordering::Release);
        }
        assert_eq!(image(&heap, &references).difference(&taken), None);
        assert!(image(&copy, &copied).difference(&taken).is_some());
        let (third, third_references) = taken.copy(CONSTANTS());
        assert_eq!(image(&third, &third_references).digest(), taken.digest());
        for (references, heap) in [(references, heap), (copied, copy)] {
            with_bag(references[1].get::<Js>().unwrap(), |bag| {
                bag.elements.clear();
            });
            drop(heap);
        }
    }

    fn decoded(bytes: &[u8]) -> Result<RealmImage, String> {
        RealmImage::decode(bytes, &[FuncIndex(3)]).map_err(|error| error.to_string())
    }

    #[test]
    fn bytes_hold_everything_and_every_cut_of_them_is_refused() {
        let (heap, references) = rich();
        let threads = ThreadsImage {
            builder: 7,
            pools_started: 3,
            pool: Some(PoolImage {
                number: 3,
                threads: 2,
            }),
        };
        let taken = RealmImage::of(&heap, &references, threads);
        let bytes = taken.encode().unwrap();
        let read = decoded(&bytes).unwrap();
        assert_eq!(taken.difference(&read), None);
        assert_eq!(taken.digest(), read.digest());
        assert_eq!(read.encode().unwrap(), bytes);
        let (copy, copied) = read.copy(CONSTANTS());
        let again = RealmImage::of(&copy, &copied, threads);
        assert_eq!(taken.digest(), again.digest());

        for len in 0..bytes.len() {
            assert!(decoded(&bytes[..len]).is_err(), "{len} bytes");
        }
        let longer = [&*bytes, &[0]].concat();
        assert!(decoded(&longer).unwrap_err().contains("after its end"));
        let other_version = [&[3], &bytes[1..]].concat();
        assert!(decoded(&other_version).unwrap_err().contains("version 3"));
        let no_closures = RealmImage::decode(&bytes, &[]).unwrap_err();
        assert!(no_closures.to_string().contains("closure"), "{no_closures}");
    }

    /// What is damaged is refused, or is some realm that can be copied and written like any other.
    #[test]
    fn damaged_bytes_never_panic() {
        let (heap, references) = rich();
        let bytes = image(&heap, &references).encode().unwrap();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(read) = decoded(&damaged) {
                    let (copy, copied) = read.copy(CONSTANTS());
                    assert_eq!(image(&copy, &copied).references.len(), copied.len());
                    assert!(read.encode().is_ok());
                }
            }
        }
    }

    type Change = fn(&mut RealmImage);

    #[test]
    fn numbers_that_name_nothing_are_refused() {
        let (heap, references) = rich();
        let cases: [(Change, &str); 9] = [
            (
                |image| image.slots[133] = Some(Value::Object(99)),
                "no object 99",
            ),
            (
                |image| image.references[0] = Referred::Own(Value::Object(99)),
                "no object 99",
            ),
            (|image| image.free.push(132), "slot 132"),
            (|image| image.free.push(131), "slot 131"),
            (|image| image.free.push(u32::MAX), "slot 4294967295"),
            (
                |image| image.objects[0] = Item::Buffer(BufferOf::Host(2)),
                "no buffer 2",
            ),
            (
                |image| image.objects[0] = view(BufferOf::Host(0), 2, 3),
                "3 bytes at 2",
            ),
            (
                |image| image.objects[0] = view(BufferOf::Guest, u64::MAX, 1),
                "outside",
            ),
            (|image| image.threads.pools_started = i32::MAX, "pools"),
        ];
        for (change, named) in cases {
            let mut changed = image(&heap, &references);
            change(&mut changed);
            let error = decoded(&changed.encode().unwrap()).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    fn view(buffer: BufferOf, offset: u64, len: u64) -> Item {
        Item::Bytes {
            buffer,
            offset,
            len,
            element: ElementType::U8,
        }
    }

    #[test]
    fn the_first_difference_is_named() {
        let heap = |number: f64| {
            let mut heap = new_heap();
            heap.add(bag(vec![Js::Number(number)], &[]));
            heap
        };
        let (one, other) = (image(&heap(1.0), &[]), image(&heap(2.0), &[]));
        let difference = one.difference(&other).unwrap();
        assert_eq!(
            difference,
            "object 0 of the realm is an object with 1 elements and 0 fields, 2 instead of an \
             object with 1 elements and 0 fields, 1"
        );
        assert_ne!(one.digest(), other.digest());

        let mut freed = heap(1.0);
        freed.take(132);
        let difference = one.difference(&image(&freed, &[])).unwrap();
        assert_eq!(
            difference,
            "slot 132 of the realm is empty instead of object 0"
        );

        let pool = Some(PoolImage {
            number: 1,
            threads: 2,
        });
        let threads = ThreadsImage {
            pool,
            ..ThreadsImage::default()
        };
        let with_pool = RealmImage::of(&heap(1.0), &[], threads);
        assert!(one.difference(&with_pool).unwrap().contains("threads: 2"));
        assert_ne!(one.digest(), with_pool.digest());
    }

    #[test]
    fn an_object_of_somebody_else_stays_the_same_object() {
        let foreign = ExternRef::new(7_u32);
        let taken = image(&new_heap(), std::slice::from_ref(&foreign));
        let (heap, copied) = taken.copy(CONSTANTS());
        assert_eq!(copied, [foreign]);
        assert_eq!(image(&heap, &copied).difference(&taken), None);
        let other = image(&heap, &[ExternRef::new(7_u32)]);
        assert!(other.difference(&taken).is_some());
        let error = taken.encode().unwrap_err().to_string();
        assert!(error.contains("somebody else"), "{error}");
    }

    /// A guest decides how deep its objects are nested. A recursion would overflow the stack.
    #[test]
    fn a_chain_of_a_million_objects_is_copied_compared_and_dropped() {
        let chain = || {
            let mut js = Js::Null;
            for _ in 0..1_000_000 {
                js = bag(vec![js], &[]);
            }
            let mut heap = new_heap();
            heap.add(js);
            heap
        };
        let taken = image(&chain(), &[]);
        let (copy, _) = taken.copy(CONSTANTS());
        let again = image(&copy, &[]);
        assert_eq!(taken.difference(&again), None);
        assert_eq!(taken.digest(), again.digest());
        let read = decoded(&taken.encode().unwrap()).unwrap();
        assert_eq!(taken.digest(), read.digest());
    }
}
