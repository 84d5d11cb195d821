//! The values of a realm.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use engine_api::FuncIndex;

/// A JavaScript value, as far as guests without a browser need one.
#[derive(Clone, Debug, Default)]
pub(crate) enum Js {
    #[default]
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    BigInt(i128),
    Text(Arc<str>),
    Object(Arc<Object>),
}

/// An object, which is the same as another only if it is that one.
#[derive(Debug)]
pub(crate) enum Object {
    /// A well-known object of the surroundings.
    Global(Global),
    /// The guest's memory.
    Memory,
    /// An `ArrayBuffer`.
    Buffer(Buffer),
    /// A `Uint8Array`.
    Bytes(Bytes),
    /// An object made without saying what: an array once something is pushed, an error once it is
    /// asked for its stack, a record of keys otherwise. JavaScript's `new X()` is the same import for
    /// all three.
    Bag(Mutex<Bag>),
    Error(Error),
    /// A closure of the guest.
    Closure(Closure),
    /// `new Function("return this")`, through which libraries look for the global object.
    GlobalGetter,
    /// An object of a class of the guest's own: its address there.
    Instance(u32),
    /// What asynchronous imports return; nothing here ever waits for one.
    Promise,
}

/// The surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    This,
    Crypto,
    Performance,
}

#[derive(Debug, Default)]
pub(crate) struct Bag {
    pub(crate) elements: Vec<Js>,
    pub(crate) fields: BTreeMap<String, Js>,
}

/// An error object.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

/// The bytes under an array.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    /// The guest's memory as a whole.
    Guest,
    Host(Arc<Mutex<Vec<u8>>>),
}

/// A view of a buffer's bytes. It is checked against the buffer when it is used.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) buffer: Buffer,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A closure of the guest: the two words that it is made of, and how it is called.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) words: (u32, u32),
    /// The export that calls it.
    pub(crate) invoke: FuncIndex,
    /// Whether the guest has taken it back.
    pub(crate) dropped: AtomicBool,
}

impl Js {
    pub(crate) fn object(object: Object) -> Self {
        Js::Object(Arc::new(object))
    }

    pub(crate) fn text(text: impl Into<Arc<str>>) -> Self {
        Js::Text(text.into())
    }

    pub(crate) fn error(name: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::object(Object::Error(Error { name, message }))
    }

    pub(crate) fn host_bytes(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::object(Object::Bytes(Bytes {
            buffer: Buffer::Host(Arc::new(Mutex::new(bytes))),
            offset: 0,
            len,
        }))
    }

    pub(crate) fn as_object(&self) -> Option<&Object> {
        match self {
            Js::Object(object) => Some(object),
            _ => None,
        }
    }

    /// What `value == null` says in JavaScript.
    pub(crate) fn is_like_none(&self) -> bool {
        matches!(self, Js::Undefined | Js::Null)
    }

    pub(crate) fn is_truthy(&self) -> bool {
        match self {
            Js::Undefined | Js::Null => false,
            Js::Bool(value) => *value,
            Js::Number(value) => *value != 0.0 && !value.is_nan(),
            Js::BigInt(value) => *value != 0,
            Js::Text(text) => !text.is_empty(),
            Js::Object(_) => true,
        }
    }

    /// What `===` says in JavaScript.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Js::Undefined, Js::Undefined) | (Js::Null, Js::Null) => true,
            (Js::Bool(a), Js::Bool(b)) => a == b,
            #[expect(clippy::float_cmp, reason = "this is JavaScript's comparison")]
            (Js::Number(a), Js::Number(b)) => a == b,
            (Js::BigInt(a), Js::BigInt(b)) => a == b,
            (Js::Text(a), Js::Text(b)) => a == b,
            (Js::Object(a), Js::Object(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The word that `typeof` gives.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Js::Undefined => "undefined",
            Js::Null => "object",
            Js::Bool(_) => "boolean",
            Js::Number(_) => "number",
            Js::BigInt(_) => "bigint",
            Js::Text(_) => "string",
            Js::Object(object) => match &**object {
                Object::Closure(_) | Object::GlobalGetter => "function",
                _ => "object",
            },
        }
    }
}

/// As wasm-bindgen's `debugString` shows a value; also what an error says.
impl fmt::Display for Js {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Js::Undefined => f.write_str("undefined"),
            Js::Null => f.write_str("null"),
            Js::Bool(value) => write!(f, "{value}"),
            Js::Number(value) => write!(f, "{value}"),
            Js::BigInt(value) => write!(f, "{value}"),
            Js::Text(text) => f.write_str(text),
            Js::Object(object) => match &**object {
                Object::Error(error) => f.write_str(&error.message),
                Object::Global(_) | Object::Instance(_) => f.write_str("[object Object]"),
                Object::Memory => f.write_str("[object WebAssembly.Memory]"),
                Object::Buffer(_) => f.write_str("[object ArrayBuffer]"),
                Object::Bytes(bytes) => write!(f, "Uint8Array({})", bytes.len),
                Object::Bag(bag) => bag.lock().map_or(Ok(()), |bag| show_bag(&bag, f)),
                Object::Closure(_) | Object::GlobalGetter => f.write_str("Function"),
                Object::Promise => f.write_str("[object Promise]"),
            },
        }
    }
}

fn show_bag(bag: &Bag, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // One level deep, because objects may contain themselves.
    let shallow = |js: &Js| match js {
        Js::Object(_) => "...".to_owned(),
        other => other.to_string(),
    };
    if bag.fields.is_empty() {
        let elements: Vec<String> = bag.elements.iter().map(shallow).collect();
        return write!(f, "[{}]", elements.join(", "));
    }
    let fields = bag.fields.iter();
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("{key}: {}", shallow(value)))
        .collect();
    write!(f, "{{{}}}", fields.join(", "))
}
