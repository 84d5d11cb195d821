//! The meaning of arguments and results, as the policy writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Who frees a buffer in the guest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ownership {
    /// The host: an argument's buffer after the call, a result's after copying it.
    #[default]
    Host,
    /// The guest: an argument was moved into it (`bytes:moved`), a result only lent by it
    /// (`bytes:borrowed`).
    Guest,
}

/// The suffix of an argument's buffer that is moved into the guest.
const MOVED: &str = ":moved";

/// The suffix of a result's buffer that the guest only lends.
const BORROWED: &str = ":borrowed";

impl Ownership {
    /// A buffer's name without its mark, and who frees it.
    fn read<'a>(text: &'a str, mark: &str) -> (&'a str, Self) {
        match text.strip_suffix(mark) {
            Some(name) => (name, Ownership::Guest),
            None => (text, Ownership::Host),
        }
    }

    fn write(self, f: &mut fmt::Formatter<'_>, name: &str, mark: &str) -> fmt::Result {
        let mark = if self == Ownership::Guest { mark } else { "" };
        write!(f, "{name}{mark}")
    }
}

/// The size of the numbers in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 2 bytes each.
    Two,
    /// 4 bytes each.
    Four,
    /// 8 bytes each.
    Eight,
}

impl Width {
    /// Bytes of one number, and their alignment.
    #[must_use]
    pub fn bytes(self) -> u32 {
        match self {
            Width::Two => 2,
            Width::Four => 4,
            Width::Eight => 8,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Width::Two => "u16s",
            Width::Four => "u32s",
            Width::Eight => "u64s",
        }
    }

    fn of(name: &str) -> Option<Self> {
        [Width::Two, Width::Four, Width::Eight]
            .into_iter()
            .find(|width| width.name() == name)
    }
}

/// The meaning of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// A plain value of the parameter's type.
    Value,
    /// A parameter that is always zero: the caller does not give it. Only after all others.
    Zero,
    /// A guest object, of a type if one is named.
    Handle(Option<String>),
    /// A buffer, which takes two parameters: pointer and length in bytes.
    Bytes(Ownership),
    /// Text as UTF-8, which takes two parameters.
    Text(Ownership),
    /// An array of numbers in the guest's byte order, given as bytes. It takes two parameters:
    /// pointer, and length in numbers.
    Numbers(Width, Ownership),
    /// An array of guest objects, of a type if one is named. The call uses up all of them. It takes
    /// two parameters: pointer to an array of their addresses, which the guest takes over, and
    /// length.
    Handles(Option<String>),
    /// A raw pointer of the same pinned scope.
    Pointer,
    /// An array of raw pointers of the same pinned scope, in two parameters as for handles.
    Pointers,
    /// A struct of this type, given as bytes, or null. The guest takes it over.
    Struct(String),
    /// An array of structs of this type, given as bytes. It takes two parameters, as for handles,
    /// and the guest takes over the array and the structs.
    Structs(String),
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
    /// An array of numbers in the guest's byte order, in the same forms, its length in numbers.
    Numbers(Width, Ownership),
    /// A raw pointer, valid in the pinned scope.
    Pointer,
    /// A struct of this type, read as bytes and freed, or null.
    Struct(String),
    /// An array of structs of this type, read as bytes and freed, in the forms of a buffer; its
    /// length is the number of structs.
    Structs(String),
    /// Whether the call failed, as wasm-bindgen returns it: two i32 results, the number of an error
    /// object, and 1 if there is one. Only after all others.
    Error,
}

const ARG_KINDS: &str = "value, zero, handle, handle:TYPE, handles, handles:TYPE, bytes, string, \
                         u16s, u32s, u64s, each also with :moved, pointer, pointers, \
                         struct:TYPE, structs:TYPE";
const RESULT_KINDS: &str = "value, handle, handle:TYPE, bytes, string, u16s, u32s, u64s, each of \
                            these four also with :borrowed, pointer, struct:TYPE, structs:TYPE, \
                            error";

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgKind::Value => f.write_str("value"),
            ArgKind::Handle(None) => f.write_str("handle"),
            ArgKind::Handle(Some(ty)) => write!(f, "handle:{ty}"),
            ArgKind::Bytes(ownership) => ownership.write(f, "bytes", MOVED),
            ArgKind::Text(ownership) => ownership.write(f, "string", MOVED),
            ArgKind::Numbers(width, ownership) => ownership.write(f, width.name(), MOVED),
            ArgKind::Handles(None) => f.write_str("handles"),
            ArgKind::Handles(Some(ty)) => write!(f, "handles:{ty}"),
            ArgKind::Zero => f.write_str("zero"),
            ArgKind::Pointer => f.write_str("pointer"),
            ArgKind::Pointers => f.write_str("pointers"),
            ArgKind::Struct(ty) => write!(f, "struct:{ty}"),
            ArgKind::Structs(ty) => write!(f, "structs:{ty}"),
        }
    }
}

impl FromStr for ArgKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "value" => ArgKind::Value,
            "handle" => ArgKind::Handle(None),
            "zero" => ArgKind::Zero,
            "pointer" => ArgKind::Pointer,
            "pointers" => ArgKind::Pointers,
            "handles" => ArgKind::Handles(None),
            other => {
                let (name, ownership) = Ownership::read(other, MOVED);
                match (name, Width::of(name), other.split_once(':')) {
                    ("bytes", ..) => ArgKind::Bytes(ownership),
                    ("string", ..) => ArgKind::Text(ownership),
                    (_, Some(width), _) => ArgKind::Numbers(width, ownership),
                    (.., Some(("handle", ty))) if !ty.is_empty() => {
                        ArgKind::Handle(Some(ty.to_owned()))
                    }
                    (.., Some(("handles", ty))) if !ty.is_empty() => {
                        ArgKind::Handles(Some(ty.to_owned()))
                    }
                    (.., Some(("struct", ty))) if !ty.is_empty() => ArgKind::Struct(ty.to_owned()),
                    (.., Some(("structs", ty))) if !ty.is_empty() => {
                        ArgKind::Structs(ty.to_owned())
                    }
                    _ => {
                        return Err(format!(
                            "no kind of argument `{other}`; there are: {ARG_KINDS}"
                        ));
                    }
                }
            }
        })
    }
}

impl fmt::Display for ResultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResultKind::Value => f.write_str("value"),
            ResultKind::Handle(None) => f.write_str("handle"),
            ResultKind::Handle(Some(ty)) => write!(f, "handle:{ty}"),
            ResultKind::Bytes(ownership) => ownership.write(f, "bytes", BORROWED),
            ResultKind::Text(ownership) => ownership.write(f, "string", BORROWED),
            ResultKind::Numbers(width, ownership) => ownership.write(f, width.name(), BORROWED),
            ResultKind::Pointer => f.write_str("pointer"),
            ResultKind::Struct(ty) => write!(f, "struct:{ty}"),
            ResultKind::Structs(ty) => write!(f, "structs:{ty}"),
            ResultKind::Error => f.write_str("error"),
        }
    }
}

impl FromStr for ResultKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "value" => ResultKind::Value,
            "handle" => ResultKind::Handle(None),
            "pointer" => ResultKind::Pointer,
            "error" => ResultKind::Error,
            other => {
                let (name, ownership) = Ownership::read(other, BORROWED);
                match (name, Width::of(name), other.split_once(':')) {
                    ("bytes", ..) => ResultKind::Bytes(ownership),
                    ("string", ..) => ResultKind::Text(ownership),
                    (_, Some(width), _) => ResultKind::Numbers(width, ownership),
                    (.., Some(("handle", ty))) if !ty.is_empty() => {
                        ResultKind::Handle(Some(ty.to_owned()))
                    }
                    (.., Some(("struct", ty))) if !ty.is_empty() => {
                        ResultKind::Struct(ty.to_owned())
                    }
                    (.., Some(("structs", ty))) if !ty.is_empty() => {
                        ResultKind::Structs(ty.to_owned())
                    }
                    _ => {
                        return Err(format!(
                            "no kind of result `{other}`; there are: {RESULT_KINDS}"
                        ));
                    }
                }
            }
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
