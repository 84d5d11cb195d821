//! Arguments and results of calls.

use engine_api::Val;

use crate::js::Js;
use crate::{CallError, Handle, Pointer, Shape};

/// An argument of a call. Borrowed, so a call of numbers and handles allocates nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg<'a> {
    /// A plain value.
    Val(Val),
    /// A guest object.
    Handle(Handle),
    /// Bytes, which are copied into the guest through its allocator.
    Bytes(&'a [u8]),
    /// Text, which crosses as UTF-8 bytes.
    Text(&'a str),
    /// A raw pointer of the same pinned scope.
    Pointer(Pointer),
    /// Guest objects. The call uses up all of them.
    Handles(&'a [Handle]),
    /// Raw pointers of the same pinned scope.
    Pointers(&'a [Pointer]),
    /// A JavaScript value, as the text that [`js`](crate::js) reads.
    Js(&'a str),
}

impl Arg<'_> {
    /// Null, for an argument of kind `optional:KIND`: in a journal it is the null reference.
    pub const NULL: Arg<'static> = Arg::Val(Val::ExternRef(None));

    /// Its shape, which decides what parameters take it. Types of objects are not known here.
    #[must_use]
    #[inline]
    pub fn shape(&self) -> Shape {
        match self {
            Arg::Val(val) => Shape::Val(val.ty()),
            Arg::Handle(_) => Shape::Handle(None),
            Arg::Bytes(bytes) => Shape::Bytes(Some(bytes.len())),
            Arg::Text(_) => Shape::Text,
            Arg::Pointer(_) => Shape::Pointer,
            Arg::Handles(_) => Shape::Handles,
            Arg::Pointers(_) => Shape::Pointers,
            Arg::Js(_) => Shape::Js,
        }
    }

    /// Its kind, in words.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Arg::Val(Val::ExternRef(None)) => "null".to_owned(),
            Arg::Val(val) => format!("a value of type {}", val.ty()),
            Arg::Handle(handle) => format!("handle {handle}"),
            Arg::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Arg::Text(_) => "text".to_owned(),
            Arg::Pointer(_) => "a pointer".to_owned(),
            Arg::Handles(handles) => format!("{} handles", handles.len()),
            Arg::Pointers(pointers) => format!("{} pointers", pointers.len()),
            Arg::Js(_) => "a JavaScript value".to_owned(),
        }
    }
}

/// An argument that outlives the call: what a journal or a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedArg {
    /// A plain value.
    Val(Val),
    /// A guest object.
    Handle(Handle),
    /// Bytes.
    Bytes(Box<[u8]>),
    /// Text.
    Text(Box<str>),
    /// Guest objects. The call uses up all of them.
    Handles(Box<[Handle]>),
    /// A JavaScript value as text.
    Js(Box<str>),
}

impl OwnedArg {
    /// As [`Arg::NULL`].
    pub const NULL: Self = OwnedArg::Val(Val::ExternRef(None));

    /// A copy of an argument, or `None` for references and raw pointers, which mean something in
    /// one instance only.
    #[must_use]
    #[inline]
    pub fn record(arg: &Arg<'_>) -> Option<Self> {
        Some(match arg {
            Arg::Val(Val::FuncRef(Some(_)) | Val::ExternRef(Some(_)))
            | Arg::Pointer(_)
            | Arg::Pointers(_) => return None,
            Arg::Val(val) => OwnedArg::Val(val.clone()),
            Arg::Handle(handle) => OwnedArg::Handle(*handle),
            Arg::Bytes(bytes) => OwnedArg::Bytes((*bytes).into()),
            Arg::Text(text) => OwnedArg::Text((*text).into()),
            Arg::Handles(handles) => OwnedArg::Handles((*handles).into()),
            Arg::Js(text) => OwnedArg::Js((*text).into()),
        })
    }

    /// The objects it names.
    #[must_use]
    #[inline]
    pub fn handles(&self) -> &[Handle] {
        match self {
            OwnedArg::Handle(handle) => std::slice::from_ref(handle),
            OwnedArg::Handles(handles) => handles,
            _ => &[],
        }
    }

    /// The argument as a call takes it.
    #[must_use]
    pub fn as_arg(&self) -> Arg<'_> {
        match self {
            OwnedArg::Val(val) => Arg::Val(val.clone()),
            OwnedArg::Handle(handle) => Arg::Handle(*handle),
            OwnedArg::Bytes(bytes) => Arg::Bytes(bytes),
            OwnedArg::Text(text) => Arg::Text(text),
            OwnedArg::Handles(handles) => Arg::Handles(handles),
            OwnedArg::Js(text) => Arg::Js(text),
        }
    }
}

macro_rules! arg_from {
    ($($from:ty: |$value:ident| $arg:expr;)*) => {$(
        #[allow(
            clippy::elidable_lifetime_names,
            clippy::needless_lifetimes,
            reason = "the references among them need it"
        )]
        impl<'a> From<$from> for Arg<'a> {
            #[inline]
            fn from($value: $from) -> Self {
                $arg
            }
        }
    )*};
}

arg_from! {
    i32: |value| Arg::Val(Val::from(value));
    u32: |value| Arg::Val(Val::from(value));
    i64: |value| Arg::Val(Val::from(value));
    u64: |value| Arg::Val(Val::from(value));
    f32: |value| Arg::Val(Val::from(value));
    f64: |value| Arg::Val(Val::from(value));
    Val: |value| Arg::Val(value);
    Handle: |value| Arg::Handle(value);
    Pointer: |value| Arg::Pointer(value);
    &'a [u8]: |value| Arg::Bytes(value);
    &'a Vec<u8>: |value| Arg::Bytes(value);
    &'a str: |value| Arg::Text(value);
    &'a String: |value| Arg::Text(value);
    &'a [Handle]: |value| Arg::Handles(value);
    &'a [Pointer]: |value| Arg::Pointers(value);
    Js<'a>: |value| Arg::Js(value.0);
}

/// The arguments of a call: `args![1u32 << 12, handle, "text", &bytes]`.
///
/// Numbers become the wasm type of their Rust type (`u32` and `i32` an i32, and so on), so write
/// the type where the literal alone does not say it.
///
/// ```
/// use guest_calls::{Arg, args};
///
/// let bytes = vec![1_u8, 2];
/// let args: &[Arg] = args![1_u32, 2_i64, 0.5_f64, "text", &bytes];
/// assert_eq!(args.len(), 5);
/// ```
#[macro_export]
macro_rules! args {
    ($($arg:expr),* $(,)?) => {
        &[$($crate::Arg::from($arg)),*]
    };
}

/// A result of a call.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A plain value.
    Val(Val),
    /// A guest object.
    Handle(Handle),
    /// The guest returned null where the policy expects an object.
    Null,
    /// Bytes, copied out of the guest.
    Bytes(Vec<u8>),
    /// Text, copied out of the guest.
    Text(String),
    /// A raw pointer, for further calls in the same pinned scope.
    Pointer(Pointer),
    /// Raw pointers, for further calls in the same pinned scope.
    Pointers(Vec<Pointer>),
    /// A JavaScript value, as the text that [`js`](crate::js) writes.
    Js(String),
}

impl Value {
    pub(crate) fn kind(&self) -> String {
        match self {
            Value::Val(val) => format!("a value of type {}", val.ty()),
            Value::Handle(_) => "a handle".to_owned(),
            Value::Null => "null".to_owned(),
            Value::Bytes(_) => "bytes".to_owned(),
            Value::Text(_) => "text".to_owned(),
            Value::Pointer(_) => "a pointer".to_owned(),
            Value::Pointers(pointers) => format!("{} pointers", pointers.len()),
            Value::Js(_) => "a JavaScript value".to_owned(),
        }
    }

    /// The same thing as an argument of the next call, or `None` for null.
    #[must_use]
    pub fn as_arg(&self) -> Option<Arg<'_>> {
        Some(match self {
            Value::Val(val) => Arg::Val(val.clone()),
            Value::Handle(handle) => Arg::Handle(*handle),
            Value::Bytes(bytes) => Arg::Bytes(bytes),
            Value::Text(text) => Arg::Text(text),
            Value::Pointer(pointer) => Arg::Pointer(*pointer),
            Value::Pointers(pointers) => Arg::Pointers(pointers),
            Value::Js(text) => Arg::Js(text),
            Value::Null => return None,
        })
    }
}

/// The results of a call, most often one.
///
/// ```
/// # #[path = "../../proxy-core/tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut instance = fake::counter_bare()?.instance()?;
/// use guest_calls::args;
///
/// let counter = instance.call("counter_new", args![])?.handle()?;
/// assert_eq!(instance.call("counter_value", args![counter])?.i32()?, 0);
/// assert!(instance.call("counter_value", args![counter])?.handle().is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results(pub(crate) smallvec::SmallVec<[Value; 1]>);

macro_rules! first_result {
    ($name:ident, $ty:ty, $what:literal, $pattern:pat => $value:expr) => {
        #[doc = concat!("The first result as ", $what, ".")]
        ///
        /// # Errors
        ///
        /// [`CallError::ResultKind`] if there is none or it is something else, null included.
        pub fn $name(&self) -> Result<$ty, CallError> {
            match self.0.first() {
                Some($pattern) => Ok($value),
                other => Err(wrong_kind($what, other)),
            }
        }
    };
}

impl FromIterator<Value> for Results {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl Results {
    /// All results in order.
    #[must_use]
    #[inline]
    pub fn as_slice(&self) -> &[Value] {
        &self.0
    }

    /// The results by value.
    #[must_use]
    pub fn into_vec(self) -> Vec<Value> {
        self.0.into_vec()
    }

    first_result!(i32, i32, "i32", Value::Val(Val::I32(bits)) => *bits);
    first_result!(u32, u32, "u32", Value::Val(Val::I32(bits)) => bits.cast_unsigned());
    first_result!(i64, i64, "i64", Value::Val(Val::I64(bits)) => *bits);
    first_result!(u64, u64, "u64", Value::Val(Val::I64(bits)) => bits.cast_unsigned());
    first_result!(f32, f32, "f32", Value::Val(Val::F32(bits)) => f32::from_bits(*bits));
    first_result!(f64, f64, "f64", Value::Val(Val::F64(bits)) => f64::from_bits(*bits));
    first_result!(handle, Handle, "a handle", Value::Handle(handle) => *handle);
    first_result!(pointer, Pointer, "a pointer", Value::Pointer(pointer) => *pointer);

    /// The first result as bytes.
    ///
    /// # Errors
    ///
    /// [`CallError::ResultKind`] if there is none or it is something else, null included.
    pub fn bytes(self) -> Result<Vec<u8>, CallError> {
        match self.0.into_iter().next() {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            other => Err(wrong_kind("bytes", other.as_ref())),
        }
    }

    /// The first result as raw pointers.
    ///
    /// # Errors
    ///
    /// [`CallError::ResultKind`] if there is none or it is something else, null included.
    pub fn pointers(self) -> Result<Vec<Pointer>, CallError> {
        match self.0.into_iter().next() {
            Some(Value::Pointers(pointers)) => Ok(pointers),
            other => Err(wrong_kind("pointers", other.as_ref())),
        }
    }

    /// The first result as text.
    ///
    /// # Errors
    ///
    /// [`CallError::ResultKind`] if there is none or it is something else, null included.
    pub fn text(self) -> Result<String, CallError> {
        match self.0.into_iter().next() {
            Some(Value::Text(text)) => Ok(text),
            other => Err(wrong_kind("text", other.as_ref())),
        }
    }

    /// The first result as a JavaScript value.
    ///
    /// # Errors
    ///
    /// [`CallError::ResultKind`] if there is none or it is something else.
    pub fn js(&self) -> Result<engine_api::JsValue, CallError> {
        match self.0.first() {
            Some(Value::Js(text)) => crate::js::parse(text).map_err(|got| CallError::ResultKind {
                position: 0,
                expected: "a JavaScript value",
                got,
            }),
            other => Err(wrong_kind("a JavaScript value", other)),
        }
    }
}

pub(crate) fn wrong_kind(expected: &'static str, got: Option<&Value>) -> CallError {
    CallError::ResultKind {
        position: 0,
        expected,
        got: got.map_or_else(|| "absent".to_owned(), Value::kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_wasm_type_of_their_rust_type() {
        let args: &[Arg<'_>] = args![1_u32, -1_i64, 0.5_f32, "text"];
        assert_eq!(args[0], Arg::Val(Val::I32(1)));
        assert_eq!(args[1], Arg::Val(Val::I64(-1)));
        assert_eq!(args[2], Arg::Val(Val::from(0.5_f32)));
        assert_eq!(args[3], Arg::Text("text"));
    }

    #[test]
    fn a_result_of_another_kind_is_named() {
        let results = Results(smallvec::smallvec![Value::Null]);
        let error = results.handle().unwrap_err().to_string();
        assert_eq!(error, "result 0 is null, not a handle");
        assert!(Results::default().u64().is_err());
    }
}
