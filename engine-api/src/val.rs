//! Values that cross between host and guest.

use std::any::Any;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ValType;

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

    /// The zero or null of a type: what a result slot holds before the call.
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

    /// The value if it is an i32.
    #[must_use]
    pub fn i32(&self) -> Option<i32> {
        if let Val::I32(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The value if it is an i64.
    #[must_use]
    pub fn i64(&self) -> Option<i64> {
        if let Val::I64(value) = self {
            Some(*value)
        } else {
            None
        }
    }

    /// The value if it is an f32.
    #[must_use]
    pub fn f32(&self) -> Option<f32> {
        if let Val::F32(bits) = self {
            Some(f32::from_bits(*bits))
        } else {
            None
        }
    }

    /// The value if it is an f64.
    #[must_use]
    pub fn f64(&self) -> Option<f64> {
        if let Val::F64(bits) = self {
            Some(f64::from_bits(*bits))
        } else {
            None
        }
    }
}

impl From<i32> for Val {
    fn from(value: i32) -> Self {
        Val::I32(value)
    }
}

impl From<u32> for Val {
    fn from(value: u32) -> Self {
        Val::I32(value.cast_signed())
    }
}

impl From<i64> for Val {
    fn from(value: i64) -> Self {
        Val::I64(value)
    }
}

impl From<u64> for Val {
    fn from(value: u64) -> Self {
        Val::I64(value.cast_signed())
    }
}

impl From<f32> for Val {
    fn from(value: f32) -> Self {
        Val::F32(value.to_bits())
    }
}

impl From<f64> for Val {
    fn from(value: f64) -> Self {
        Val::F64(value.to_bits())
    }
}

/// An opaque reference to a function of one instance: it can be stored, compared and given back to
/// the instance it came from, where any other instance answers [`crate::Error::ForeignReference`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FuncRef {
    instance: u64,
    slot: u32,
}

impl FuncRef {
    /// For engines: names the function that the instance keeps in `slot`. `instance` is a number
    /// from [`FuncRef::new_instance`]. An engine trusts neither number when it gets the reference
    /// back.
    #[must_use]
    pub fn new(instance: u64, slot: u32) -> Self {
        Self { instance, slot }
    }

    /// For engines: a number for a new instance, which no other instance of this process has, be it
    /// another engine's.
    #[must_use]
    pub fn new_instance() -> u64 {
        static LAST: AtomicU64 = AtomicU64::new(0);
        LAST.fetch_add(1, Ordering::Relaxed)
    }

    /// The instance the function belongs to.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// The slot in that instance's table of references that it handed out.
    #[must_use]
    pub fn slot(&self) -> u32 {
        self.slot
    }
}

/// A reference to a host object that a guest can hold, pass and give back, but not look into.
/// Equality is identity of the object.
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

/// An error value that a guest returned: what an [`ExternRef`] holds where a host shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct GuestError {
    /// What the guest said.
    pub message: String,
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
