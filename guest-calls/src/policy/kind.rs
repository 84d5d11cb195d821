//! The meaning of arguments and results, as the policy writes it.

use std::fmt;
use std::str::FromStr;

use engine_api::ValType;
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

/// The suffix of an argument's buffer whose length the guest knows.
const POINTED: &str = ":pointer";

/// What comes before the number that stands for null.
const OR_NULL: &str = "value:null:";

/// A number behind a flag that says whether there is one, as a result.
const OPTIONAL_VALUE: &str = "optional:value";

/// What comes before the name of the export that gives a buffer's length.
const LENGTH: &str = ":length:";

/// The type of a number, by its name in kinds.
fn number(name: &str) -> Option<ValType> {
    [ValType::I32, ValType::I64, ValType::F32, ValType::F64]
        .into_iter()
        .find(|ty| ty.to_string() == name)
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

/// What becomes of a number before an f64 of the guest takes it, as JavaScript makes it fit the type
/// behind an option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Coercion {
    /// Nothing.
    #[default]
    AsIs,
    /// It wraps to an i32: `x >> 0`.
    I32,
    /// It wraps to an u32: `x >>> 0`.
    U32,
    /// It is rounded to an f32: `Math.fround(x)`.
    F32,
}

impl Coercion {
    const ALL: [Self; 3] = [Coercion::I32, Coercion::U32, Coercion::F32];

    /// As policies write it, behind the number for null.
    fn suffix(self) -> &'static str {
        match self {
            Coercion::AsIs => "",
            Coercion::I32 => ":i32",
            Coercion::U32 => ":u32",
            Coercion::F32 => ":f32",
        }
    }

    /// What the guest gets for this number.
    #[must_use]
    pub fn of(self, number: f64) -> f64 {
        match self {
            Coercion::AsIs => number,
            Coercion::I32 => engine_api::to_int32(number).into(),
            Coercion::U32 => engine_api::to_int32(number).cast_unsigned().into(),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "rounding is what is asked for"
            )]
            Coercion::F32 => f64::from(number as f32),
        }
    }
}

/// How an object of a JavaScript value goes to the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsPassing {
    /// The guest takes it over: `js`.
    Moved,
    /// The guest is lent it for the call: `js:borrowed`.
    Borrowed,
    /// The guest takes it over, and `undefined` and `null` are no object, which is 0:
    /// `js:optional`.
    Optional,
    /// An array, whose elements are objects that the guest takes over, as an array of their numbers:
    /// `js:list`.
    List,
}

impl JsPassing {
    /// As policies write it.
    fn name(self) -> &'static str {
        match self {
            JsPassing::Moved => "js",
            JsPassing::Borrowed => "js:borrowed",
            JsPassing::Optional => "js:optional",
            JsPassing::List => "js:list",
        }
    }
}

/// The meaning of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ArgKind {
    /// A plain value of the parameter's type.
    Value,
    /// A plain number of the parameter's type, or null, for which this number stands. What becomes of
    /// a number that is not null is said beside it.
    OrNull(u64, Coercion),
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
    /// Text as C has it: the pointer alone, and a zero byte after the text.
    CString(Ownership),
    /// A buffer whose length the guest knows: the pointer alone. With a width it is an array of
    /// numbers.
    Pointed(Option<Width>, Ownership),
    /// A place for a result of this type, which the host gives and the guest fills. The caller does
    /// not give it.
    Out(ValType),
    /// One of the other kinds, or null. A value takes two parameters: 1 and the value, or 0 and 0.
    Optional(Box<ArgKind>),
    /// A JavaScript value, which a host makes an object of its own of. A list takes two parameters.
    Js(JsPassing),
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
    /// An array of raw pointers, valid in the pinned scope, in the forms of a buffer; its length is
    /// the number of pointers, of 4 bytes each. The array is freed, what it points to is the
    /// caller's.
    Pointers,
    /// A struct of this type, read as bytes and freed, or null.
    Struct(String),
    /// An array of structs of this type, read as bytes and freed, in the forms of a buffer; its
    /// length is the number of structs.
    Structs(String),
    /// A JavaScript value, read from an object of the host and given up.
    Js,
    /// An array of JavaScript values, or null: as a buffer, the pointer to an array of the numbers of
    /// objects, and how many. All of it is given up.
    JsList,
    /// Whether the call failed, as wasm-bindgen returns it: two i32 results, the number of an error
    /// object, and 1 if there is one. Only after all others.
    Error,
    /// A plain value of this type. It says the type where the function does not: at a return
    /// pointer.
    Number(ValType),
    /// A plain value, or null, for which this number stands. With a type as for
    /// [`ResultKind::Number`].
    OrNull(u64, Option<ValType>),
    /// A plain value behind an i32 that is 0 if there is none, which is null. With a type as for
    /// [`ResultKind::Number`].
    Optional(Option<ValType>),
    /// Text as C has it: a pointer, and a zero byte after the text.
    CString(Ownership),
    /// A buffer of this kind of which the function returns the pointer, and the named export the
    /// length.
    Measured(Box<ResultKind>, String),
}

const ARG_KINDS: &str = "value, value:null:NUMBER, value:null:NUMBER:u32 (or :i32, :f32), zero, handle, handle:TYPE, handles, handles:TYPE, bytes, string, \
                         cstring, u16s, u32s, u64s, bytes:pointer, u16s:pointer, u32s:pointer, \
                         u64s:pointer, each buffer also with :moved, pointer, pointers, \
                         struct:TYPE, structs:TYPE, out, out:i64, out:f32, out:f64, js, js:borrowed, \
                         js:optional, js:list, and optional:KIND \
                         of value, handles, pointers, buffers, texts and js:list";
const RESULT_KINDS: &str = "value, value:i32, value:i64, value:f32, value:f64, value:null:NUMBER, \
                            optional:value, both also with a type, as value has it, handle, handle:TYPE, \
                            bytes, string, cstring, u16s, u32s, u64s, each of these six also with \
                            :borrowed, and all but cstring with :length:EXPORT, pointer, \
                            pointers, struct:TYPE, structs:TYPE, js, js:list, error";

impl fmt::Display for ArgKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgKind::Value => f.write_str("value"),
            ArgKind::OrNull(number, coercion) => {
                write!(f, "{OR_NULL}{number}{}", coercion.suffix())
            }
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
            ArgKind::CString(ownership) => ownership.write(f, "cstring", MOVED),
            ArgKind::Pointed(width, ownership) => {
                let name = width.map_or("bytes", Width::name);
                ownership.write(f, &format!("{name}{POINTED}"), MOVED)
            }
            ArgKind::Out(ValType::I32) => f.write_str("out"),
            ArgKind::Out(ty) => write!(f, "out:{ty}"),
            ArgKind::Optional(kind) => write!(f, "optional:{kind}"),
            ArgKind::Js(passing) => f.write_str(passing.name()),
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
            "out" => ArgKind::Out(ValType::I32),
            "js" => ArgKind::Js(JsPassing::Moved),
            "js:borrowed" => ArgKind::Js(JsPassing::Borrowed),
            "js:optional" => ArgKind::Js(JsPassing::Optional),
            "js:list" => ArgKind::Js(JsPassing::List),
            other => {
                if let Some(kind) = c_arg(other)? {
                    return Ok(kind);
                }
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

/// An argument as C and options pass it, if it is one.
fn c_arg(text: &str) -> Result<Option<ArgKind>, String> {
    if let Some(inner) = text.strip_prefix("optional:") {
        let inner: ArgKind = inner.parse()?;
        if !inner.can_be_null() {
            return Err(format!(
                "no kind of argument `{text}`: `optional` goes before value, handles, pointers, \
                 buffers, texts and js:list"
            ));
        }
        return Ok(Some(ArgKind::Optional(Box::new(inner))));
    }
    if let Some(rest) = text.strip_prefix(OR_NULL) {
        let mut coercions = Coercion::ALL.into_iter();
        let coercion = coercions.find(|one| rest.ends_with(one.suffix()));
        let coercion = coercion.unwrap_or_default();
        let number = rest.strip_suffix(coercion.suffix()).and_then(for_null);
        let number = number.ok_or_else(|| no_number_for_null("argument", text))?;
        return Ok(Some(ArgKind::OrNull(number, coercion)));
    }
    if let Some(ty) = text.strip_prefix("out:").and_then(number) {
        return Ok(Some(ArgKind::Out(ty)));
    }
    let (name, ownership) = Ownership::read(text, MOVED);
    if name == "cstring" {
        return Ok(Some(ArgKind::CString(ownership)));
    }
    let pointed = name.strip_suffix(POINTED);
    Ok(pointed.and_then(|name| match (name, Width::of(name)) {
        ("bytes", _) => Some(ArgKind::Pointed(None, ownership)),
        (_, Some(width)) => Some(ArgKind::Pointed(Some(width), ownership)),
        _ => None,
    }))
}

/// The number that stands for null.
fn for_null(text: &str) -> Option<u64> {
    text.parse().ok().filter(|number| *number < 1 << 53)
}

fn no_number_for_null(of: &str, text: &str) -> String {
    format!("no kind of {of} `{text}`: a whole number below 2^53 stands for null")
}

/// A number that a function returns, or null, if it is one.
fn nullable_result(text: &str) -> Result<Option<ResultKind>, String> {
    if let Some(ty) = text.strip_prefix(OPTIONAL_VALUE) {
        let ty = match ty.strip_prefix(':') {
            None if ty.is_empty() => None,
            Some(name) if number(name).is_some() => number(name),
            _ => return Ok(None),
        };
        return Ok(Some(ResultKind::Optional(ty)));
    }
    let Some(rest) = text.strip_prefix(OR_NULL) else {
        return Ok(None);
    };
    let (digits, ty) = match rest.split_once(':') {
        Some((digits, name)) => match number(name) {
            Some(ty) => (digits, Some(ty)),
            None => return Ok(None),
        },
        None => (rest, None),
    };
    match for_null(digits) {
        Some(number) => Ok(Some(ResultKind::OrNull(number, ty))),
        None => Err(no_number_for_null("result", text)),
    }
}

/// A result as C returns it, or a number whose type is named, if it is one.
fn c_result(text: &str) -> Result<Option<ResultKind>, String> {
    if let Some((of, export)) = text.split_once(LENGTH) {
        let of: ResultKind = of.parse()?;
        let is_buffer = matches!(
            of,
            ResultKind::Bytes(_) | ResultKind::Text(_) | ResultKind::Numbers(..)
        );
        if !is_buffer || export.is_empty() {
            return Err(format!(
                "no kind of result `{text}`: `{LENGTH}EXPORT` goes after bytes, string, u16s, u32s \
                 and u64s"
            ));
        }
        return Ok(Some(ResultKind::Measured(Box::new(of), export.to_owned())));
    }
    if let Some(kind) = nullable_result(text)? {
        return Ok(Some(kind));
    }
    if let Some(ty) = text.strip_prefix("value:").and_then(number) {
        return Ok(Some(ResultKind::Number(ty)));
    }
    let (name, ownership) = Ownership::read(text, BORROWED);
    Ok((name == "cstring").then_some(ResultKind::CString(ownership)))
}

impl ArgKind {
    /// Whether null can stand for it.
    fn can_be_null(&self) -> bool {
        matches!(
            self,
            ArgKind::Value
                | ArgKind::Handle(_)
                | ArgKind::Handles(_)
                | ArgKind::Bytes(_)
                | ArgKind::Text(_)
                | ArgKind::Numbers(..)
                | ArgKind::CString(_)
                | ArgKind::Pointed(..)
                | ArgKind::Js(JsPassing::List)
                | ArgKind::Pointer
        )
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
            ResultKind::Pointers => f.write_str("pointers"),
            ResultKind::Struct(ty) => write!(f, "struct:{ty}"),
            ResultKind::Structs(ty) => write!(f, "structs:{ty}"),
            ResultKind::Js => f.write_str("js"),
            ResultKind::JsList => f.write_str("js:list"),
            ResultKind::Error => f.write_str("error"),
            ResultKind::Number(ty) => write!(f, "value:{ty}"),
            ResultKind::OrNull(number, None) => write!(f, "{OR_NULL}{number}"),
            ResultKind::OrNull(number, Some(ty)) => write!(f, "{OR_NULL}{number}:{ty}"),
            ResultKind::Optional(None) => f.write_str(OPTIONAL_VALUE),
            ResultKind::Optional(Some(ty)) => write!(f, "{OPTIONAL_VALUE}:{ty}"),
            ResultKind::CString(ownership) => ownership.write(f, "cstring", BORROWED),
            ResultKind::Measured(of, export) => write!(f, "{of}{LENGTH}{export}"),
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
            "pointers" => ResultKind::Pointers,
            "error" => ResultKind::Error,
            "js" => ResultKind::Js,
            "js:list" => ResultKind::JsList,
            other => {
                if let Some(kind) = c_result(other)? {
                    return Ok(kind);
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_written_as_they_are_read() {
        for text in [
            "cstring",
            "cstring:moved",
            "bytes:pointer",
            "bytes:pointer:moved",
            "u64s:pointer",
            "u16s:pointer:moved",
            "out",
            "out:f64",
            "optional:handle:db",
            "optional:string:moved",
            "optional:u32s:pointer",
            "optional:pointer",
            "value:null:16777215",
            "value:null:4294967297:u32",
            "value:null:4294967297:f32",
        ] {
            let kind: ArgKind = text.parse().unwrap();
            assert_eq!(kind.to_string(), text);
        }
        for text in [
            "value:f64",
            "value:i32",
            "value:null:16777215",
            "value:null:9007199254740991:f64",
            "optional:value",
            "optional:value:i64",
            "pointers",
            "cstring",
            "cstring:borrowed",
            "bytes:length:last_len",
            "u32s:borrowed:length:a:length:b",
        ] {
            let kind: ResultKind = text.parse().unwrap();
            assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn kinds_that_are_none_are_named() {
        for text in [
            "out:v128",
            "optional:zero",
            "optional:out",
            "u8s:pointer",
            "value:null:",
            "value:null:1:u8",
            "value:null:9007199254740992",
        ] {
            let error = text.parse::<ArgKind>().unwrap_err();
            assert!(
                error.starts_with(&format!("no kind of argument `{text}`")),
                "{error}"
            );
        }
        for text in [
            "value:u8",
            "bytes:length:",
            "handle:length:f",
            "value:null:x",
            "value:null:1:u32",
            "optional:value:u8",
            "optional:handle",
        ] {
            let error = text.parse::<ResultKind>().unwrap_err();
            assert!(
                error.starts_with(&format!("no kind of result `{text}`")),
                "{error}"
            );
        }
    }
}
