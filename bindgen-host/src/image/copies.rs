//! From an image to a realm: new objects.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use engine_api::FuncIndex;
use indexmap::IndexMap;

use super::{BufferOf, Item, RealmImage, Value, lock};
use crate::collection::Collection;
use crate::value::{Bag, Buffer, Bytes, Closure, Error, Js, Object};

impl RealmImage {
    /// The objects of a realm that has this image.
    pub(super) fn new_objects(&self) -> Vec<Arc<Object>> {
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

impl Value {
    /// The value, whose objects are these by their numbers.
    pub(super) fn copy(&self, objects: &[Arc<Object>]) -> Js {
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
}
