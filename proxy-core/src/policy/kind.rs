//! The meaning of arguments and results, as the policy writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who frees a buffer in the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The proxy: an argument's buffer after the call, a result's after copying it.
    #[default]
    Host,
    /// The guest: an argument was moved into it (`bytes:moved`), a result only lent by it
    /// (`bytes:borrowed`).
    Guest,
}

/// The meaning of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// A plain value of the parameter's type.
    Value,
    /// A guest object, of a type if one is named.
    Handle(Option<String>),
    /// A buffer, which takes two parameters: pointer and length in bytes.
    Bytes(Ownership),
    /// Text as UTF-8, which takes two parameters.
    Text(Ownership),
    /// A raw pointer of the same pinned scope.
    Pointer,
}

/// The meaning of a result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ResultKind {
    /// A plain value.
    Value,
    /// A new guest object, of a type if one is named.
    Handle(Option<String>),
    /// A buffer: an i64 `pointer | length << 32`, or two i32 results.
    Bytes(Ownership),
    /// Text as UTF-8, in the same forms.
    Text(Ownership),
    /// A raw pointer, valid in the pinned scope.
    Pointer,
}

const ARG_KINDS: &str =
    "value, handle, handle:TYPE, bytes, bytes:moved, string, string:moved, pointer";
const RESULT_KINDS: &str =
    "value, handle, handle:TYPE, bytes, bytes:borrowed, string, string:borrowed, pointer";

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgKind::Value => f.write_str("value"),
            ArgKind::Handle(None) => f.write_str("handle"),
            ArgKind::Handle(Some(ty)) => write!(f, "handle:{ty}"),
            ArgKind::Bytes(Ownership::Host) => f.write_str("bytes"),
            ArgKind::Bytes(Ownership::Guest) => f.write_str("bytes:moved"),
            ArgKind::Text(Ownership::Host) => f.write_str("string"),
            ArgKind::Text(Ownership::Guest) => f.write_str("string:moved"),
            ArgKind::Pointer => f.write_str("pointer"),
        }
    }
}

impl FromStr for ArgKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "value" => ArgKind::Value,
            "handle" => ArgKind::Handle(None),
            "bytes" => ArgKind::Bytes(Ownership::Host),
            "bytes:moved" => ArgKind::Bytes(Ownership::Guest),
            "string" => ArgKind::Text(Ownership::Host),
            "string:moved" => ArgKind::Text(Ownership::Guest),
            "pointer" => ArgKind::Pointer,
            other => match other.strip_prefix("handle:") {
                Some(ty) if !ty.is_empty() => ArgKind::Handle(Some(ty.to_owned())),
                _ => {
                    return Err(format!(
                        "no kind of argument `{other}`; there are: {ARG_KINDS}"
                    ));
                }
            },
        })
    }
}

impl fmt::Display for ResultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultKind::Value => f.write_str("value"),
            ResultKind::Handle(None) => f.write_str("handle"),
            ResultKind::Handle(Some(ty)) => write!(f, "handle:{ty}"),
            ResultKind::Bytes(Ownership::Host) => f.write_str("bytes"),
            ResultKind::Bytes(Ownership::Guest) => f.write_str("bytes:borrowed"),
            ResultKind::Text(Ownership::Host) => f.write_str("string"),
            ResultKind::Text(Ownership::Guest) => f.write_str("string:borrowed"),
            ResultKind::Pointer => f.write_str("pointer"),
        }
    }
}

impl FromStr for ResultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "value" => ResultKind::Value,
            "handle" => ResultKind::Handle(None),
            "bytes" => ResultKind::Bytes(Ownership::Host),
            "bytes:borrowed" => ResultKind::Bytes(Ownership::Guest),
            "string" => ResultKind::Text(Ownership::Host),
            "string:borrowed" => ResultKind::Text(Ownership::Guest),
            "pointer" => ResultKind::Pointer,
            other => match other.strip_prefix("handle:") {
                Some(ty) if !ty.is_empty() => ResultKind::Handle(Some(ty.to_owned())),
                _ => {
                    return Err(format!(
                        "no kind of result `{other}`; there are: {RESULT_KINDS}"
                    ));
                }
            },
        })
    }
}

macro_rules! as_string_in_toml {
    ($kind:ty) => {
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }

        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

as_string_in_toml!(ArgKind);
as_string_in_toml!(ResultKind);
