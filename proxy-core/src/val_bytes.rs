//! Values as bytes that are the same on every machine and in every release.

use engine_api::Val;

/// One byte with the type, and sixteen for the bits, little-endian.
pub(crate) const VAL_BYTES: usize = 17;

/// The form of a number or a vector; `None` for references, which mean something in one instance
/// only.
pub(crate) fn encode_val(val: &Val) -> Option<[u8; VAL_BYTES]> {
    let (tag, bits) = match val {
        Val::I32(value) => (1, u128::from(value.cast_unsigned())),
        Val::I64(value) => (2, u128::from(value.cast_unsigned())),
        Val::F32(bits) => (3, u128::from(*bits)),
        Val::F64(bits) => (4, u128::from(*bits)),
        Val::V128(bits) => (5, *bits),
        Val::FuncRef(_) | Val::ExternRef(_) => return None,
    };
    let mut bytes = [0; VAL_BYTES];
    bytes[0] = tag;
    bytes[1..].copy_from_slice(&bits.to_le_bytes());
    Some(bytes)
}

/// Reads what [`encode_val`] wrote; `None` for everything else.
pub(crate) fn decode_val(bytes: [u8; VAL_BYTES]) -> Option<Val> {
    let [tag, bits @ ..] = bytes;
    let bits = u128::from_le_bytes(bits);
    Some(match tag {
        1 => Val::I32(u32::try_from(bits).ok()?.cast_signed()),
        2 => Val::I64(u64::try_from(bits).ok()?.cast_signed()),
        3 => Val::F32(u32::try_from(bits).ok()?),
        4 => Val::F64(u64::try_from(bits).ok()?),
        5 => Val::V128(bits),
        _ => return None,
    })
}
