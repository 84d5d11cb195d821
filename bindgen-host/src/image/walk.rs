//! From a realm to its image: a walk over its objects.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::{BufferOf, Item, Value, lock};
use crate::value::{Buffer, Js, Object};

/// Numbers the objects that it meets.
#[derive(Default)]
pub(super) struct Walk {
    objects: Vec<Arc<Object>>,
    numbers: HashMap<*const Object, u32>,
    buffers: Vec<Arc<Mutex<Vec<u8>>>>,
    buffer_numbers: HashMap<*const Mutex<Vec<u8>>, u32>,
}

impl Walk {
    pub(super) fn value(&mut self, js: &Js) -> Value {
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
    pub(super) fn finish(mut self) -> (Vec<Item>, Vec<Arc<[u8]>>) {
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
