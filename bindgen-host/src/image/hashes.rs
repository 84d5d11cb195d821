//! The hash of an image.

use engine_api::ElementType;

use super::{BufferOf, Item, PoolImage, RealmImage, Referred, ThreadsImage, Value};
use crate::value::BagKind;

/// The layout that the digest hashes.
const FORMAT: u8 = 1;

impl RealmImage {
    /// The hash of everything. Its layout never changes.
    pub(super) fn hash(&self) -> [u8; 32] {
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
}

impl Value {
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
}

/// The number of a class of typed arrays in hashes and bytes. It never changes.
pub(super) fn number_of(element: ElementType) -> u8 {
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
