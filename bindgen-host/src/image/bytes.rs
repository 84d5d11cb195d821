//! A realm image as bytes, for a checkpoint in a file.
//!
//! A version, and then by postcard the structure below, in which objects and buffers are numbers as
//! in the image: what is shared stays shared. The bytes come from anywhere. What is decoded is what
//! some realm could have been: every number names something, and whatever the guest may do with a
//! realm, it can do with this one.

use std::collections::HashSet;
use std::sync::Arc;

use engine_api::{ElementType, FuncIndex};
use serde::{Deserialize, Serialize};

use super::hashes::number_of;
use super::{BufferOf, Item, PoolImage, RealmImage, Referred, ThreadsImage, Value};
use crate::value::{BagKind, Builtin, ERROR_NAMES, Global};

/// The first byte. A change of what follows is a new version.
const VERSION: u8 = 2;

/// The versions that this host reads. The second has more kinds of values and objects, after those of
/// the first, so both are read alike.
const VERSIONS: std::ops::RangeInclusive<u8> = 1..=VERSION;

/// The most bytes that a guest's memory can have. No view of it goes further.
const GUEST_BYTES_MAX: u64 = 1 << 32;

#[derive(Serialize, Deserialize)]
struct RealmBytes {
    slots: Vec<Option<ValueBytes>>,
    free: Vec<u32>,
    references: Vec<ValueBytes>,
    objects: Vec<ItemBytes>,
    buffers: Vec<Vec<u8>>,
    builder: u32,
    pools_started: i32,
    /// The number of the pool, and its threads.
    pool: Option<(i32, i32)>,
}

#[derive(Serialize, Deserialize)]
enum ValueBytes {
    Undefined,
    Null,
    Bool(bool),
    Number(u64),
    BigInt(i128),
    Text(String),
    Object(u32),
    // Since version 2.
    Symbol(String),
}

#[derive(Serialize, Deserialize)]
enum ItemBytes {
    This,
    Crypto,
    Performance,
    Memory,
    Buffer(Option<u32>),
    Bytes {
        buffer: Option<u32>,
        offset: u64,
        len: u64,
    },
    Bag {
        elements: Vec<ValueBytes>,
        fields: Vec<(String, ValueBytes)>,
    },
    Error {
        name: String,
        message: String,
    },
    Closure {
        words: (u32, u32),
        invoke: u32,
        dropped: bool,
    },
    GlobalGetter,
    Instance(u32),
    Promise,
    // Since version 2.
    Typed {
        buffer: Option<u32>,
        offset: u64,
        len: u64,
        element: u8,
    },
    Array {
        elements: Vec<ValueBytes>,
        fields: Vec<(String, ValueBytes)>,
    },
    Record {
        elements: Vec<ValueBytes>,
        fields: Vec<(String, ValueBytes)>,
    },
    InstanceOf(String, u32),
    Map(Vec<(ValueBytes, ValueBytes)>),
    Set(Vec<ValueBytes>),
    Date(u64),
    Iterator(Vec<ValueBytes>),
    Iterate,
    Next,
    Callback(String),
}

fn refused(reason: impl Into<String>) -> engine_api::Error {
    engine_api::Error::HostState {
        reason: reason.into(),
    }
}

pub(super) fn encode(image: &RealmImage) -> Result<Vec<u8>, engine_api::Error> {
    let references = image.references.iter().map(|referred| match referred {
        Referred::Own(value) => Ok(value.into()),
        Referred::Foreign(_) => Err(refused(
            "a table or a global refers to an object of somebody else than the realm, which the \
             host gave to the guest",
        )),
    });
    let ThreadsImage {
        builder,
        pools_started,
        pool,
    } = image.threads;
    let realm = RealmBytes {
        slots: image
            .slots
            .iter()
            .map(|slot| slot.as_ref().map(Into::into))
            .collect(),
        free: image.free.clone(),
        references: references.collect::<Result<_, _>>()?,
        objects: image.objects.iter().map(Into::into).collect(),
        buffers: image.buffers.iter().map(|bytes| bytes.to_vec()).collect(),
        builder,
        pools_started,
        pool: pool.map(|PoolImage { number, threads }| (number, threads)),
    };
    let bytes = vec![VERSION];
    postcard::to_extend(&realm, bytes).map_err(|error| refused(error.to_string()))
}

/// `invokers` are the exports that call closures.
pub(super) fn decode(
    bytes: &[u8],
    invokers: &[FuncIndex],
) -> Result<RealmImage, engine_api::Error> {
    let (version, bytes) = bytes.split_first().ok_or_else(|| refused("it is empty"))?;
    if !VERSIONS.contains(version) {
        return Err(refused(format!(
            "it is a realm of version {version}, this host knows versions 1 to {VERSION}"
        )));
    }
    let realm: RealmBytes = match postcard::take_from_bytes(bytes) {
        Ok((realm, [])) => realm,
        Ok(_) => return Err(refused("a realm with bytes after its end")),
        Err(error) => return Err(refused(format!("a realm: {error}"))),
    };
    let known = Known {
        objects: realm.objects.len(),
        buffers: realm
            .buffers
            .iter()
            .map(|bytes| bytes.len() as u64)
            .collect(),
        invokers,
    };
    check_free(&realm)?;
    check_pools(&realm)?;
    let slots = realm.slots.into_iter();
    let slots = slots.map(|slot| slot.map(|value| known.value(value)).transpose());
    let references = realm.references.into_iter();
    let references = references.map(|value| known.value(value).map(Referred::Own));
    let objects = realm.objects.into_iter().map(|item| known.item(item));
    Ok(RealmImage {
        slots: slots.collect::<Result<_, _>>()?,
        free: realm.free,
        references: references.collect::<Result<_, _>>()?,
        objects: objects.collect::<Result<_, _>>()?,
        buffers: realm.buffers.into_iter().map(Arc::from).collect(),
        threads: ThreadsImage {
            builder: realm.builder,
            pools_started: realm.pools_started,
            pool: realm
                .pool
                .map(|(number, threads)| PoolImage { number, threads }),
        },
    })
}

/// Every free slot is there, is empty, and is free once.
fn check_free(realm: &RealmBytes) -> Result<(), engine_api::Error> {
    let mut free = vec![false; realm.slots.len()];
    for slot in &realm.free {
        let position = *slot as usize;
        let is_empty = realm.slots.get(position).is_some_and(Option::is_none);
        if !is_empty || std::mem::replace(&mut free[position], true) {
            return Err(refused(format!("slot {slot} is not free, or free twice")));
        }
    }
    Ok(())
}

/// Pools are counted, and the one that ran is the last or an earlier one.
fn check_pools(realm: &RealmBytes) -> Result<(), engine_api::Error> {
    let numbers = 1..=realm.pools_started;
    let pool_is_known = realm
        .pool
        .is_none_or(|(number, _)| numbers.contains(&number));
    if (0..i32::MAX).contains(&realm.pools_started) && pool_is_known {
        return Ok(());
    }
    Err(refused("its pools of threads are miscounted"))
}

/// What the parts of a realm can name.
struct Known<'a> {
    /// How many objects there are.
    objects: usize,
    /// The lengths of the buffers in bytes.
    buffers: Vec<u64>,
    invokers: &'a [FuncIndex],
}

impl Known<'_> {
    fn value(&self, value: ValueBytes) -> Result<Value, engine_api::Error> {
        Ok(match value {
            ValueBytes::Undefined => Value::Undefined,
            ValueBytes::Null => Value::Null,
            ValueBytes::Bool(value) => Value::Bool(value),
            ValueBytes::Number(bits) => Value::Number(bits),
            ValueBytes::BigInt(value) => Value::BigInt(value),
            ValueBytes::Text(text) => Value::Text(text.into()),
            ValueBytes::Symbol(text) => Value::Symbol(text.into()),
            ValueBytes::Object(number) if (number as usize) < self.objects => Value::Object(number),
            ValueBytes::Object(number) => return Err(refused(format!("no object {number}"))),
        })
    }

    /// A buffer, and its length in bytes or the most that it can be.
    fn buffer(&self, buffer: Option<u32>) -> Result<(BufferOf, u64), engine_api::Error> {
        let Some(number) = buffer else {
            return Ok((BufferOf::Guest, GUEST_BYTES_MAX));
        };
        let bytes = self.buffers.get(number as usize);
        let bytes = bytes.ok_or_else(|| refused(format!("no buffer {number}")))?;
        Ok((BufferOf::Host(number), *bytes))
    }

    fn view(
        &self,
        buffer: Option<u32>,
        (offset, len): (u64, u64),
        element: ElementType,
    ) -> Result<Item, engine_api::Error> {
        let (buffer, bytes) = self.buffer(buffer)?;
        if !len.is_multiple_of(element.bytes().into()) {
            return Err(refused("an array with a part of an element"));
        }
        if offset.checked_add(len).is_none_or(|end| end > bytes) {
            return Err(refused(format!(
                "{len} bytes at {offset} are outside of {buffer}"
            )));
        }
        Ok(Item::Bytes {
            buffer,
            offset,
            len,
            element,
        })
    }

    fn values<T: FromIterator<Value>>(
        &self,
        values: Vec<ValueBytes>,
    ) -> Result<T, engine_api::Error> {
        values.into_iter().map(|value| self.value(value)).collect()
    }

    fn item(&self, item: ItemBytes) -> Result<Item, engine_api::Error> {
        Ok(match item {
            ItemBytes::This => Item::Global(Global::This),
            ItemBytes::Crypto => Item::Global(Global::Crypto),
            ItemBytes::Performance => Item::Global(Global::Performance),
            ItemBytes::Memory => Item::Memory,
            ItemBytes::Buffer(buffer) => Item::Buffer(self.buffer(buffer)?.0),
            ItemBytes::Bytes {
                buffer,
                offset,
                len,
            } => self.view(buffer, (offset, len), ElementType::U8)?,
            ItemBytes::Typed {
                buffer,
                offset,
                len,
                element,
            } => {
                let known = ElementType::ALL.get(usize::from(element));
                let element = *known.ok_or_else(|| refused("an array of another class"))?;
                self.view(buffer, (offset, len), element)?
            }
            ItemBytes::Bag { elements, fields } => self.bag(BagKind::Unknown, elements, fields)?,
            ItemBytes::Array { elements, fields } => self.bag(BagKind::Array, elements, fields)?,
            ItemBytes::Record { elements, fields } => {
                self.bag(BagKind::Record, elements, fields)?
            }
            ItemBytes::Error { name, message } => {
                let known = ERROR_NAMES.into_iter().find(|known| *known == name);
                Item::Error {
                    name: known.ok_or_else(|| refused("an error of another name"))?,
                    message,
                }
            }
            ItemBytes::Closure {
                words,
                invoke,
                dropped,
            } if self.invokers.contains(&FuncIndex(invoke)) => Item::Closure {
                words,
                invoke,
                dropped,
            },
            ItemBytes::Closure { .. } => {
                return Err(refused("a closure that no export of the module calls"));
            }
            ItemBytes::GlobalGetter => Item::GlobalGetter,
            ItemBytes::Instance(address) => Item::Instance("".into(), address),
            ItemBytes::InstanceOf(class, address) => Item::Instance(class.into(), address),
            ItemBytes::Promise => Item::Promise,
            ItemBytes::Map(pairs) => {
                let pairs = pairs.into_iter();
                let pairs = pairs.map(|(key, value)| Ok((self.value(key)?, self.value(value)?)));
                Item::Collection {
                    is_set: false,
                    pairs: pairs.collect::<Result<_, engine_api::Error>>()?,
                }
            }
            ItemBytes::Set(values) => {
                let values: Vec<Value> = self.values(values)?;
                Item::Collection {
                    is_set: true,
                    pairs: values
                        .into_iter()
                        .map(|value| (value.clone(), value))
                        .collect(),
                }
            }
            ItemBytes::Date(bits) => Item::Date(bits),
            ItemBytes::Iterator(left) => Item::Iterator(self.values(left)?),
            ItemBytes::Iterate => Item::Builtin(Builtin::Iterate),
            ItemBytes::Next => Item::Builtin(Builtin::Next),
            ItemBytes::Callback(name) => Item::Callback(name.into()),
        })
    }

    /// An object that has each key once.
    fn bag(
        &self,
        kind: BagKind,
        elements: Vec<ValueBytes>,
        fields: Vec<(String, ValueBytes)>,
    ) -> Result<Item, engine_api::Error> {
        let mut seen = HashSet::new();
        if !fields.iter().all(|(key, _)| seen.insert(key)) {
            return Err(refused("an object has a key twice"));
        }
        let elements = self.values(elements)?;
        let fields = fields.into_iter();
        let fields = fields.map(|(key, value)| Ok((key, self.value(value)?)));
        Ok(Item::Bag {
            kind,
            elements,
            fields: fields.collect::<Result<_, engine_api::Error>>()?,
        })
    }
}

impl From<&Value> for ValueBytes {
    fn from(value: &Value) -> Self {
        match value {
            Value::Undefined => ValueBytes::Undefined,
            Value::Null => ValueBytes::Null,
            Value::Bool(value) => ValueBytes::Bool(*value),
            Value::Number(bits) => ValueBytes::Number(*bits),
            Value::BigInt(value) => ValueBytes::BigInt(*value),
            Value::Text(text) => ValueBytes::Text((**text).to_owned()),
            Value::Symbol(text) => ValueBytes::Symbol((**text).to_owned()),
            Value::Object(number) => ValueBytes::Object(*number),
        }
    }
}

impl From<&Item> for ItemBytes {
    fn from(item: &Item) -> Self {
        match item {
            Item::Global(Global::This) => ItemBytes::This,
            Item::Global(Global::Crypto) => ItemBytes::Crypto,
            Item::Global(Global::Performance) => ItemBytes::Performance,
            Item::Memory => ItemBytes::Memory,
            Item::Buffer(buffer) => ItemBytes::Buffer(buffer.number()),
            Item::Bytes {
                buffer,
                offset,
                len,
                element: ElementType::U8,
            } => ItemBytes::Bytes {
                buffer: buffer.number(),
                offset: *offset,
                len: *len,
            },
            Item::Bytes {
                buffer,
                offset,
                len,
                element,
            } => ItemBytes::Typed {
                buffer: buffer.number(),
                offset: *offset,
                len: *len,
                element: number_of(*element),
            },
            Item::Bag {
                kind,
                elements,
                fields,
            } => {
                let elements = elements.iter().map(Into::into).collect();
                let fields = fields.iter();
                let fields = fields
                    .map(|(key, value)| (key.clone(), value.into()))
                    .collect();
                match kind {
                    BagKind::Unknown => ItemBytes::Bag { elements, fields },
                    BagKind::Array => ItemBytes::Array { elements, fields },
                    BagKind::Record => ItemBytes::Record { elements, fields },
                }
            }
            Item::Error { name, message } => ItemBytes::Error {
                name: (*name).to_owned(),
                message: message.clone(),
            },
            Item::Closure {
                words,
                invoke,
                dropped,
            } => ItemBytes::Closure {
                words: *words,
                invoke: *invoke,
                dropped: *dropped,
            },
            Item::GlobalGetter => ItemBytes::GlobalGetter,
            Item::Instance(class, address) if class.is_empty() => ItemBytes::Instance(*address),
            Item::Instance(class, address) => ItemBytes::InstanceOf((**class).to_owned(), *address),
            Item::Promise => ItemBytes::Promise,
            Item::Collection { is_set, pairs } if *is_set => {
                ItemBytes::Set(pairs.iter().map(|(key, _)| key.into()).collect())
            }
            Item::Collection { pairs, .. } => {
                let pairs = pairs.iter();
                ItemBytes::Map(
                    pairs
                        .map(|(key, value)| (key.into(), value.into()))
                        .collect(),
                )
            }
            Item::Date(bits) => ItemBytes::Date(*bits),
            Item::Iterator(left) => ItemBytes::Iterator(left.iter().map(Into::into).collect()),
            Item::Builtin(Builtin::Iterate) => ItemBytes::Iterate,
            Item::Builtin(Builtin::Next) => ItemBytes::Next,
            Item::Callback(name) => ItemBytes::Callback((**name).to_owned()),
        }
    }
}

impl BufferOf {
    /// The number of a buffer of the host.
    fn number(self) -> Option<u32> {
        match self {
            BufferOf::Guest => None,
            BufferOf::Host(number) => Some(number),
        }
    }
}
