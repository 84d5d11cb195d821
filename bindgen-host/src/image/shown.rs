//! What of two images differs, in words.

use std::fmt;

use super::{BufferOf, Item, Value};

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
