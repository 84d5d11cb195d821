//! Values that cross between host and guest.

use std::any::Any;
use std::convert::identity;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, JsValue, ValType};

/// A value, as bits: floats keep their NaN payload through every conversion, and equality is
/// equality of bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Val {
    /// A 32-bit integer.
    I32(i32),
    /// A 64-bit integer.
    I64(i64),
    /// The bits of a 32-bit float; see [`Val::from`] for `f32`.
    F32(u32),
    /// The bits of a 64-bit float; see [`Val::from`] for `f64`.
    F64(u64),
    /// A 128-bit vector, little endian: lane 0 is in the lowest bits.
    V128(u128),
    /// A reference to a function, or null.
    FuncRef(Option<FuncRef>),
    /// A reference to a host object, or null.
    ExternRef(Option<ExternRef>),
}

impl Val {
    /// The type of the value.
    #[must_use]
    pub fn ty(&self) -> ValType {
        match self {
            Val::I32(_) => ValType::I32,
            Val::I64(_) => ValType::I64,
            Val::F32(_) => ValType::F32,
            Val::F64(_) => ValType::F64,
            Val::V128(_) => ValType::V128,
            Val::FuncRef(_) => ValType::FuncRef,
            Val::ExternRef(_) => ValType::ExternRef,
        }
    }

    /// The zero or null of a type, which a result holds before its call.
    #[must_use]
    pub fn zero(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Val::I32(0),
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            ValType::V128 => Val::V128(0),
            ValType::FuncRef => Val::FuncRef(None),
            ValType::ExternRef => Val::ExternRef(None),
        }
    }

    /// Refuses the value if it has another type.
    ///
    /// # Errors
    ///
    /// [`Error::ValueType`].
    #[inline]
    pub fn check_type(&self, expected: ValType) -> Result<(), Error> {
        let got = self.ty();
        if got == expected {
            Ok(())
        } else {
            Err(Error::ValueType { expected, got })
        }
    }
}

/// Conversions between values and Rust's numbers: the type, its variant, and both directions.
macro_rules! numbers {
    ($($number:ident in $variant:ident: $to_bits:expr, $from_bits:expr;)*) => {$(
        impl From<$number> for Val {
            fn from(value: $number) -> Self {
                Val::$variant($to_bits(value))
            }
        }

        impl Val {
            #[doc = concat!("The number, if the value is of the type `", stringify!($number), "`.")]
            #[must_use]
            pub fn $number(&self) -> Option<$number> {
                match self {
                    Val::$variant(bits) => Some($from_bits(*bits)),
                    _ => None,
                }
            }
        }
    )*};
}

numbers! {
    i32 in I32: identity, identity;
    i64 in I64: identity, identity;
    f32 in F32: f32::to_bits, f32::from_bits;
    f64 in F64: f64::to_bits, f64::from_bits;
}

impl From<u32> for Val {
    fn from(value: u32) -> Self {
        Val::I32(value.cast_signed())
    }
}

impl From<u64> for Val {
    fn from(value: u64) -> Self {
        Val::I64(value.cast_signed())
    }
}

/// An opaque reference to a function of one instance. It can be stored, compared and given back to
/// that instance; any other instance refuses it with [`crate::Error::ForeignReference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FuncRef {
    instance: u64,
    slot: u32,
}

impl FuncRef {
    /// For engines: a reference to the function that the instance keeps in `slot`. `instance` is a
    /// number from [`FuncRef::new_instance`]. An engine trusts neither number when it gets the
    /// reference back.
    #[must_use]
    pub fn new(instance: u64, slot: u32) -> Self {
        Self { instance, slot }
    }

    /// For engines: a number for a new instance, different from that of every other instance in
    /// this process, on any engine.
    #[must_use]
    pub fn new_instance() -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed)
    }

    /// The number of the instance that the function belongs to.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// The slot in that instance's list of functions that the host has references to.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

/// A reference to a host object. A guest can hold it, pass it on and give it back, but not look
/// into it. Two references are equal if they are to the same object.
#[derive(Clone)]
pub struct ExternRef(Arc<dyn Any + Send + Sync>);

impl ExternRef {
    /// A reference to a new host object.
    #[must_use]
    pub fn new<T: Any + Send + Sync>(object: T) -> Self {
        Self(Arc::new(object))
    }

    /// The object, if it is of type `T`.
    #[must_use]
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

impl PartialEq for ExternRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ExternRef {}

impl Hash for ExternRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).cast::<()>().hash(state);
    }
}

impl fmt::Debug for ExternRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExternRef({:p})", Arc::as_ptr(&self.0))
    }
}

/// An error value that a guest returned. A host that understands such values puts one into an
/// [`ExternRef`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct GuestError {
    /// The message of the guest's error.
    pub message: String,
    /// The value that the guest gave as an error, where it means something outside of the guest: an
    /// error of some class, or a text.
    pub thrown: Option<JsValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_payloads_survive_the_conversion() {
        let nan = f64::from_bits(0x7ff8_0000_dead_beef);
        assert_eq!(Val::from(nan), Val::F64(0x7ff8_0000_dead_beef));
    }

    #[test]
    fn externrefs_compare_by_identity() {
        let reference = ExternRef::new(7_u32);
        assert_eq!(reference, reference.clone());
        assert_ne!(reference, ExternRef::new(7_u32));
        assert_eq!(reference.get::<u32>(), Some(&7));
        assert_eq!(reference.get::<i32>(), None);
    }
}
