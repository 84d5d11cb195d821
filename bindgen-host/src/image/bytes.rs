//! A realm image as bytes, for a checkpoint in a file.
//!
//! A version, and then by postcard the structure below, in which objects and buffers are numbers as
//! in the image: what is shared stays shared. The bytes come from anywhere. What is decoded is what
//! some realm could have been: every number names something, and whatever the guest may do with a
//! realm, it can do with this one.

use std::sync::Arc;

use engine_api::FuncIndex;
use serde::{Deserialize, Serialize};

use super::{BufferOf, Item, PoolImage, RealmImage, Referred, ThreadsImage, Value};
use crate::value::{ERROR_NAMES, Global};

/// The first byte. A change of what follows is a new version.
const VERSION: u8 = 1;

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
    if *version != VERSION {
        return Err(refused(format!(
            "it is a realm of version {version}, this host knows version {VERSION}"
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

    fn view(&self, buffer: Option<u32>, offset: u64, len: u64) -> Result<Item, engine_api::Error> {
        let (buffer, bytes) = self.buffer(buffer)?;
        if offset.checked_add(len).is_none_or(|end| end > bytes) {
            return Err(refused(format!(
                "{len} bytes at {offset} are outside of {buffer}"
            )));
        }
        Ok(Item::Bytes {
            buffer,
            offset,
            len,
        })
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
            } => self.view(buffer, offset, len)?,
            ItemBytes::Bag { elements, fields } => self.bag(elements, fields)?,
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
            ItemBytes::Instance(address) => Item::Instance(address),
            ItemBytes::Promise => Item::Promise,
        })
    }

    /// An object whose keys are in order, each once, as those of a new one are.
    fn bag(
        &self,
        elements: Vec<ValueBytes>,
        fields: Vec<(String, ValueBytes)>,
    ) -> Result<Item, engine_api::Error> {
        if !fields.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(refused("the keys of an object are not in order"));
        }
        let elements = elements.into_iter().map(|value| self.value(value));
        let fields = fields.into_iter();
        let fields = fields.map(|(key, value)| Ok((key, self.value(value)?)));
        Ok(Item::Bag {
            elements: elements.collect::<Result<_, _>>()?,
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
            } => ItemBytes::Bytes {
                buffer: buffer.number(),
                offset: *offset,
                len: *len,
            },
            Item::Bag { elements, fields } => ItemBytes::Bag {
                elements: elements.iter().map(Into::into).collect(),
                fields: fields
                    .iter()
                    .map(|(key, value)| (key.clone(), value.into()))
                    .collect(),
            },
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
            Item::Instance(address) => ItemBytes::Instance(*address),
            Item::Promise => ItemBytes::Promise,
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
