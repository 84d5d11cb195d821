//! The values of a realm.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::FuncIndex;

/// A JavaScript value of a kind that guests use without a browser.
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

/// An object. Two are the same only if they are one `Arc`.
#[derive(Debug)]
pub(crate) enum Object {
    Global(Global),
    /// The guest's memory.
    Memory,
    Buffer(Buffer),
    Bytes(Bytes),
    /// The result of `new X()`, which is the same import for an array, an error and a record of
    /// keys. Its use tells which it is.
    Bag(Mutex<Bag>),
    Error(Error),
    Closure(Closure),
    /// `new Function("return this")`, through which libraries look for the global object.
    GlobalGetter,
    /// An object of a class that the guest exports: its address there.
    Instance(u32),
    /// The result of an asynchronous import. Nothing here ever waits for one.
    Promise,
}

/// The objects that a guest finds and does not make.
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

/// A guest decides how deep its objects are nested, so they are dropped one after the other and not
/// one inside of the other.
impl Drop for Bag {
    fn drop(&mut self) {
        let mut contents = self.take_contents();
        while let Some(js) = contents.pop() {
            if let Js::Object(object) = js
                && let Some(Object::Bag(bag)) = Arc::into_inner(object)
            {
                let mut bag = bag.into_inner().unwrap_or_else(PoisonError::into_inner);
                contents.append(&mut bag.take_contents());
            }
        }
    }
}

impl Bag {
    fn take_contents(&mut self) -> Vec<Js> {
        let mut contents = std::mem::take(&mut self.elements);
        contents.extend(std::mem::take(&mut self.fields).into_values());
        contents
    }
}

/// The names of errors. A realm that is written down has no others.
pub(crate) const ERROR_NAMES: [&str; 4] = ["Error", "RangeError", "ReferenceError", "TypeError"];

#[derive(Debug)]
pub(crate) struct Error {
    /// One of [`ERROR_NAMES`].
    pub(crate) name: &'static str,
    pub(crate) message: String,
}

/// An `ArrayBuffer`: the bytes under an array.
#[derive(Clone, Debug)]
pub(crate) enum Buffer {
    /// The guest's memory as a whole.
    Guest,
    Host(Arc<Mutex<Vec<u8>>>),
}

/// A `Uint8Array`: a view of a buffer's bytes, checked against the buffer at each use.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) buffer: Buffer,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A closure of the guest, which to the guest is two words.
#[derive(Debug)]
pub(crate) struct Closure {
    pub(crate) words: (u32, u32),
    /// The export that calls it, with the words before the arguments.
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
        debug_assert!(ERROR_NAMES.contains(&name), "{name}");
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

    /// JavaScript's `value == null`.
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

    /// JavaScript's `===`.
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

    /// JavaScript's `typeof`.
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

/// Shows a value as wasm-bindgen's `debugString` does. Of an error it is the message.
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
    // One level deep, because an object may contain itself.
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
