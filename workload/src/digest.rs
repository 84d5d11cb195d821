//! Results as they enter the digest of a run.

use engine_api::Val;
use guest_calls::{Results, Value};

/// The tags of results in the digest's input.
pub(crate) mod tag {
    pub(crate) const CALL: u8 = 0;
    pub(crate) const NULL: u8 = 1;
    pub(crate) const NUMBER: u8 = 2;
    pub(crate) const HANDLE: u8 = 3;
    pub(crate) const BYTES: u8 = 4;
    pub(crate) const TEXT: u8 = 5;
    pub(crate) const POINTER: u8 = 6;
    pub(crate) const REFERENCE: u8 = 7;
    pub(crate) const JS: u8 = 9;
    pub(crate) const POINTERS: u8 = 10;
}

/// The digest's input for a call that failed.
pub const FAILED: u8 = 8;

/// Results as they enter the digest: objects by their names unless they are `anonymous`, raw
/// pointers and references by nothing.
pub(crate) fn encode(results: &Results, anonymous: bool, out: &mut Vec<u8>) {
    out.push(tag::CALL);
    for result in results.as_slice() {
        match result {
            Value::Null => out.push(tag::NULL),
            Value::Pointer(_) => out.push(tag::POINTER),
            Value::Pointers(pointers) => {
                out.push(tag::POINTERS);
                out.extend((pointers.len() as u64).to_le_bytes());
            }
            Value::Val(val) => encode_val(val, out),
            Value::Handle(_) if anonymous => out.push(tag::HANDLE),
            Value::Handle(handle) => {
                out.push(tag::HANDLE);
                out.extend(handle.sequence().0.to_le_bytes());
                out.extend(handle.result().to_le_bytes());
            }
            Value::Bytes(bytes) => encode_buffer(tag::BYTES, bytes, out),
            Value::Text(text) => encode_buffer(tag::TEXT, text.as_bytes(), out),
            Value::Js(text) => encode_buffer(tag::JS, text.as_bytes(), out),
        }
    }
}

fn encode_val(val: &Val, out: &mut Vec<u8>) {
    let bits = match val {
        Val::I32(value) => u128::from(value.cast_unsigned()),
        Val::F32(bits) => u128::from(*bits),
        Val::I64(value) => u128::from(value.cast_unsigned()),
        Val::F64(bits) => u128::from(*bits),
        Val::V128(bits) => *bits,
        Val::FuncRef(reference) => return out.extend([tag::REFERENCE, reference.is_some().into()]),
        Val::ExternRef(reference) => {
            return out.extend([tag::REFERENCE, reference.is_some().into()]);
        }
    };
    out.push(tag::NUMBER);
    out.extend(bits.to_le_bytes());
}

fn encode_buffer(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend_from_slice(bytes);
}
