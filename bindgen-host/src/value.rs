//! The values of a realm.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{ElementType, FuncIndex};
use indexmap::IndexMap;

use crate::collection::Collection;

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
    /// A symbol, by its description. Two with one description are the same, as of `Symbol.for`.
    Symbol(Arc<str>),
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
    /// An object of a class that the guest exports: its class if it is known, and its address.
    Instance(Arc<str>, u32),
    /// The result of an asynchronous import. Nothing here ever waits for one.
    Promise,
    /// A `Map` or a `Set`.
    Collection(Mutex<Collection>),
    /// A `Date`: the bits of its milliseconds since 1970.
    Date(u64),
    /// What an iterator has left, the next one last.
    Iterator(Mutex<Vec<Js>>),
    /// A function that objects of the realm have.
    Builtin(Builtin),
    /// A function of the caller's, by its name.
    Callback(Arc<str>),
}

/// The functions that guests get as properties, and call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Builtin {
    /// `object[Symbol.iterator]`.
    Iterate,
    /// `iterator.next`.
    Next,
}

/// The objects that a guest finds and does not make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Global {
    This,
    Crypto,
    Performance,
}

/// What a bag is, once that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BagKind {
    /// Its use will tell.
    #[default]
    Unknown,
    Array,
    /// A plain object.
    Record,
}

#[derive(Debug, Default)]
pub(crate) struct Bag {
    pub(crate) kind: BagKind,
    pub(crate) elements: Vec<Js>,
    /// In the order in which they were set.
    pub(crate) fields: IndexMap<String, Js>,
}

/// A guest decides how deep its objects are nested, so they are dropped one after the other and not
/// one inside of the other.
impl Drop for Bag {
    fn drop(&mut self) {
        drop_in_turn(self.take_contents());
    }
}

/// Drops values, and what only they hold, one after the other.
pub(crate) fn drop_in_turn(mut contents: Vec<Js>) {
    while let Some(js) = contents.pop() {
        let Js::Object(object) = js else { continue };
        match Arc::into_inner(object) {
            Some(Object::Bag(bag)) => {
                let mut bag = bag.into_inner().unwrap_or_else(PoisonError::into_inner);
                contents.append(&mut bag.take_contents());
            }
            Some(Object::Collection(own)) => {
                let mut own = own.into_inner().unwrap_or_else(PoisonError::into_inner);
                contents.append(&mut own.take_contents());
            }
            Some(Object::Iterator(left)) => {
                let mut left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
                contents.append(&mut left);
            }
            _ => {}
        }
    }
}

impl Bag {
    /// An array.
    pub(crate) fn array(elements: Vec<Js>) -> Self {
        Self {
            kind: BagKind::Array,
            elements,
            fields: IndexMap::new(),
        }
    }

    /// A plain object.
    pub(crate) fn record(fields: impl IntoIterator<Item = (String, Js)>) -> Self {
        Self {
            kind: BagKind::Record,
            elements: Vec::new(),
            fields: fields.into_iter().collect(),
        }
    }

    pub(crate) fn is_array(&self) -> bool {
        match self.kind {
            BagKind::Array => true,
            BagKind::Record => false,
            BagKind::Unknown => self.fields.is_empty(),
        }
    }

    fn take_contents(&mut self) -> Vec<Js> {
        let mut contents = std::mem::take(&mut self.elements);
        contents.extend(std::mem::take(&mut self.fields).into_values());
        contents
    }
}

/// The names of errors. A realm that is written down has no others.
pub(crate) const ERROR_NAMES: [&str; 7] = [
    "Error",
    "RangeError",
    "ReferenceError",
    "TypeError",
    "EvalError",
    "SyntaxError",
    "URIError",
];

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

/// A typed array, most often a `Uint8Array`: a view of a buffer's bytes, checked against the buffer
/// at each use.
#[derive(Clone, Debug)]
pub(crate) struct Bytes {
    pub(crate) buffer: Buffer,
    /// Where it begins, in bytes.
    pub(crate) offset: u64,
    /// Its length in bytes.
    pub(crate) len: u64,
    pub(crate) element: ElementType,
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

    pub(crate) fn bag(bag: Bag) -> Self {
        Self::object(Object::Bag(Mutex::new(bag)))
    }

    pub(crate) fn array(elements: Vec<Js>) -> Self {
        Self::bag(Bag::array(elements))
    }

    /// An iterator over these values.
    pub(crate) fn iterator(mut values: Vec<Js>) -> Self {
        values.reverse();
        Self::object(Object::Iterator(Mutex::new(values)))
    }

    pub(crate) fn collection(collection: Collection) -> Self {
        Self::object(Object::Collection(Mutex::new(collection)))
    }

    #[cfg(test)]
    pub(crate) fn host_bytes(bytes: Vec<u8>) -> Self {
        Self::host_array(ElementType::U8, bytes)
    }

    /// A typed array of its own buffer.
    pub(crate) fn host_array(element: ElementType, bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::object(Object::Bytes(Bytes {
            buffer: Buffer::Host(Arc::new(Mutex::new(bytes))),
            offset: 0,
            len,
            element,
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
            Js::Symbol(_) | Js::Object(_) => true,
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
            (Js::Text(a), Js::Text(b)) | (Js::Symbol(a), Js::Symbol(b)) => a == b,
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
            Js::Symbol(_) => "symbol",
            Js::Object(object) => match &**object {
                Object::Closure(_)
                | Object::GlobalGetter
                | Object::Builtin(_)
                | Object::Callback(_) => "function",
                _ => "object",
            },
        }
    }
}

/// Shows a value in messages. Of an error it is the message.
impl fmt::Display for Js {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Js::Undefined => f.write_str("undefined"),
            Js::Null => f.write_str("null"),
            Js::Bool(value) => write!(f, "{value}"),
            Js::Number(value) => f.write_str(&number_text(*value)),
            Js::BigInt(value) => write!(f, "{value}"),
            Js::Text(text) => f.write_str(text),
            Js::Symbol(text) => write!(f, "Symbol({text})"),
            Js::Object(object) => match &**object {
                Object::Error(error) => f.write_str(&error.message),
                Object::Global(_) | Object::Instance(..) => f.write_str("[object Object]"),
                Object::Memory => f.write_str("[object WebAssembly.Memory]"),
                Object::Buffer(_) => f.write_str("[object ArrayBuffer]"),
                Object::Bytes(bytes) => {
                    let count = bytes.len / u64::from(bytes.element.bytes());
                    write!(f, "{}({count})", bytes.element.class())
                }
                Object::Bag(bag) => bag.lock().map_or(Ok(()), |bag| show_bag(&bag, f)),
                Object::Closure(_)
                | Object::GlobalGetter
                | Object::Builtin(_)
                | Object::Callback(_) => f.write_str("Function"),
                Object::Promise => f.write_str("[object Promise]"),
                Object::Collection(collection) => {
                    let is_set = collection.lock().is_ok_and(|own| own.is_set());
                    f.write_str(if is_set {
                        "[object Set]"
                    } else {
                        "[object Map]"
                    })
                }
                Object::Date(bits) => write!(f, "Date({})", f64::from_bits(*bits)),
                Object::Iterator(_) => f.write_str("[object Iterator]"),
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
    if bag.is_array() {
        let elements: Vec<String> = bag.elements.iter().map(shallow).collect();
        return write!(f, "[{}]", elements.join(", "));
    }
    let fields = bag.fields.iter();
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("{key}: {}", shallow(value)))
        .collect();
    write!(f, "{{{}}}", fields.join(", "))
}

/// A number as JavaScript writes it.
pub(crate) fn number_text(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 {
            "Infinity"
        } else {
            "-Infinity"
        }
        .to_owned();
    }
    if (1e-6..1e21).contains(&number.abs()) {
        return number.to_string();
    }
    // Rust writes `1e21`, JavaScript `1e+21`.
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with('-') => format!("{digits}e+{power}"),
        _ => text,
    }
}
