//! A JavaScript value by itself, outside of any guest: what crosses between a caller, who writes it
//! as text, and a host with objects of its own.

/// A JavaScript value as a tree. A host that has such objects takes one out of an
/// [`ExternRef`](crate::ExternRef), or puts one into it.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum JsValue {
    /// `undefined`.
    #[default]
    Undefined,
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A `BigInt` of up to 128 bits.
    BigInt(i128),
    /// A string.
    Text(String),
    /// A `Date`, in milliseconds since 1970.
    Date(f64),
    /// A typed array: the class of its elements, and its bytes.
    Typed(ElementType, Vec<u8>),
    /// An `ArrayBuffer`.
    Buffer(Vec<u8>),
    /// An error: its class, such as `TypeError`, and its message.
    Error {
        /// The name of its class.
        name: String,
        /// What it says.
        message: String,
    },
    /// An `Array`.
    Array(Vec<JsValue>),
    /// A plain object: its own keys in their order.
    Object(Vec<(String, JsValue)>),
    /// A `Map`, in its order.
    Map(Vec<(JsValue, JsValue)>),
    /// A `Set`, in its order.
    Set(Vec<JsValue>),
    /// A function of the caller's, by its name. The host calls it outside of the guest.
    Callback(String),
    /// A function that a guest has, or another thing that means nothing outside of it: what it is.
    Opaque(String),
}

/// The elements of a typed array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// `Int8Array`.
    I8,
    /// `Uint8Array`.
    U8,
    /// `Uint8ClampedArray`.
    U8Clamped,
    /// `Int16Array`.
    I16,
    /// `Uint16Array`.
    U16,
    /// `Int32Array`.
    I32,
    /// `Uint32Array`.
    U32,
    /// `Float32Array`.
    F32,
    /// `Float64Array`.
    F64,
    /// `BigInt64Array`.
    I64,
    /// `BigUint64Array`.
    U64,
}

impl ElementType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::I8,
        Self::U8,
        Self::U8Clamped,
        Self::I16,
        Self::U16,
        Self::I32,
        Self::U32,
        Self::F32,
        Self::F64,
        Self::I64,
        Self::U64,
    ];

    /// The class of arrays of these.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::I8 => "Int8Array",
            Self::U8 => "Uint8Array",
            Self::U8Clamped => "Uint8ClampedArray",
            Self::I16 => "Int16Array",
            Self::U16 => "Uint16Array",
            Self::I32 => "Int32Array",
            Self::U32 => "Uint32Array",
            Self::F32 => "Float32Array",
            Self::F64 => "Float64Array",
            Self::I64 => "BigInt64Array",
            Self::U64 => "BigUint64Array",
        }
    }

    /// The elements of arrays of this class.
    #[must_use]
    pub fn of_class(class: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.class() == class)
    }

    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> u32 {
        match self {
            Self::I8 | Self::U8 | Self::U8Clamped => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// One element, from its bytes in little-endian order: a number, or a `BigInt`. `None` if there
    /// are more or fewer bytes.
    #[must_use]
    pub fn read(self, bytes: &[u8]) -> Option<JsValue> {
        Some(match self {
            Self::I8 => JsValue::Number(i8::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::U8 | Self::U8Clamped => {
                JsValue::Number(u8::from_le_bytes(bytes.try_into().ok()?).into())
            }
            Self::I16 => JsValue::Number(i16::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::U16 => JsValue::Number(u16::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::I32 => JsValue::Number(i32::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::U32 => JsValue::Number(u32::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::F32 => JsValue::Number(f32::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::F64 => JsValue::Number(f64::from_le_bytes(bytes.try_into().ok()?)),
            Self::I64 => JsValue::BigInt(i64::from_le_bytes(bytes.try_into().ok()?).into()),
            Self::U64 => JsValue::BigInt(u64::from_le_bytes(bytes.try_into().ok()?).into()),
        })
    }

    /// A number or a `BigInt` as one element, as JavaScript converts it; its bytes in little-endian
    /// order. `None` for another value, and for a number where JavaScript wants a `BigInt` or the
    /// other way round.
    #[must_use]
    pub fn write(self, value: &JsValue) -> Option<Vec<u8>> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "as JavaScript converts to 64 bits and to a float"
        )]
        Some(match (self, value) {
            (Self::I64 | Self::U64, JsValue::BigInt(number)) => {
                (*number as i64).to_le_bytes().to_vec()
            }
            (Self::F32, JsValue::Number(number)) => (*number as f32).to_le_bytes().to_vec(),
            (Self::F64, JsValue::Number(number)) => number.to_le_bytes().to_vec(),
            (Self::U8Clamped, JsValue::Number(number)) => {
                let clamped = number.clamp(0.0, 255.0).round_ties_even();
                // NaN becomes 0.
                #[expect(clippy::cast_sign_loss, reason = "it is at least 0")]
                let byte = clamped as u8;
                vec![byte]
            }
            (Self::I64 | Self::U64, _) => return None,
            (_, JsValue::Number(number)) => {
                to_int32(*number).to_le_bytes()[..self.bytes() as usize].to_vec()
            }
            _ => return None,
        })
    }
}

/// JavaScript's `ToInt32`: the number modulo 2^32.
#[must_use]
pub fn to_int32(number: f64) -> i32 {
    if !number.is_finite() {
        return 0;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the remainder is less than 2^32"
    )]
    let low = number.trunc().rem_euclid(4_294_967_296.0) as u32;
    low.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_elements_as_in_javascript() {
        let written = |ty: ElementType, number: f64| {
            let bytes = ty.write(&JsValue::Number(number)).unwrap();
            ty.read(&bytes).unwrap()
        };
        for (ty, number, expected) in [
            (ElementType::I8, 200.0, -56.0),
            (ElementType::U8, -1.0, 255.0),
            (ElementType::U8, 1e20, 0.0),
            (ElementType::U8Clamped, 300.0, 255.0),
            (ElementType::U8Clamped, 2.5, 2.0),
            (ElementType::U8Clamped, f64::NAN, 0.0),
            (ElementType::I32, 4_294_967_297.9, 1.0),
            (ElementType::U32, -1.0, 4_294_967_295.0),
            (ElementType::F32, 0.1, f64::from(0.1_f32)),
            (ElementType::F64, 0.1, 0.1),
        ] {
            assert_eq!(written(ty, number), JsValue::Number(expected), "{ty:?}");
        }
        let big = ElementType::U64.write(&JsValue::BigInt(-1)).unwrap();
        let read = ElementType::U64.read(&big);
        assert_eq!(read, Some(JsValue::BigInt(u64::MAX.into())));
        assert_eq!(ElementType::U64.write(&JsValue::Number(1.0)), None);
        assert_eq!(ElementType::F64.read(&[0; 4]), None);
    }

    #[test]
    fn a_class_is_found_by_its_name() {
        for ty in ElementType::ALL {
            assert_eq!(ElementType::of_class(ty.class()), Some(ty));
        }
        assert_eq!(ElementType::of_class("Array"), None);
    }
}
