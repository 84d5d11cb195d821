//! Buffers, and the arrays of bytes that look into them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{FuncType, ValType};

use super::intrinsics::is;
use super::objects;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::value::{Buffer, Bytes, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "buffer" => buffer,
        "new" | "new_from_slice" if ty.params().len() == 1 => new,
        "new_from_slice" if ty.params() == [ValType::I32, ValType::I32] => |call| {
            let bytes = call.bytes(call.u32(0), call.u32(1))?;
            Ok(Out::Js(Js::host_bytes(bytes)))
        },
        "newwithbyteoffsetandlength" | "new_with_byte_offset_and_length" => |call| {
            let (offset, len) = (call.u32(1), call.u32(2));
            let buffer = match call.object(0)?.as_object() {
                Some(Object::Buffer(buffer)) => buffer.clone(),
                _ => return Err(Throw::type_error("Uint8Array: not a buffer")),
            };
            view(call, buffer, offset.into(), len.into())
        },
        "newwithlength" | "new_with_length" => |call| {
            let len = host_len(call.u32(0))?;
            Ok(Out::Js(Js::host_bytes(vec![0; len])))
        },
        "subarray" => |call| {
            let bytes = bytes_of(&call.object(0)?)?;
            Ok(Out::Js(Js::object(Object::Bytes(part(call, 1, &bytes)))))
        },
        "slice" => |call| {
            let bytes = bytes_of(&call.object(0)?)?;
            copy(call, &part(call, 1, &bytes))
        },
        "length" | "byteLength" => |call| Ok(Out::I32(length(&call.object(0)?)?)),
        "byteOffset" => |call| {
            let bytes = bytes_of(&call.object(0)?)?;
            Ok(Out::I32(truncated(bytes.offset)))
        },
        "set" => set,
        "set_index" | "setindex" => |call| {
            let bytes = bytes_of(&call.object(0)?)?;
            #[expect(clippy::cast_possible_truncation, reason = "as JavaScript does")]
            let value = [call.u32(2) as u8];
            call.write_view(&bytes, call.u32(1).into(), &value)?;
            Ok(Out::Nothing)
        },
        "copy_to_typed_array" => |call| {
            let into = bytes_of(&call.object(2)?)?;
            let copied = call.bytes(call.u32(0), call.u32(1))?;
            call.write_view(&into, 0, &copied)?;
            Ok(Out::Nothing)
        },
        "fill" => fill,
        "prototypesetcall" => |call| {
            let source = bytes_of(&call.object(2)?)?;
            let copied = call.read_view(&source)?;
            if copied.len() as u64 > u64::from(call.u32(1)) {
                return Err(Throw::range_error("offset is out of bounds"));
            }
            call.write(call.u32(0).into(), &copied)?;
            Ok(Out::Nothing)
        },
        "instanceof_Uint8Array" => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Bytes(_))))
        }
        "instanceof_ArrayBuffer" => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Buffer(_))))
        }
        "instanceof_Memory" => |call| is(call, |js| matches!(js.as_object(), Some(Object::Memory))),
        _ => return None,
    })
}

/// The largest buffer that the host holds for a guest, in bytes. A guest may be hostile, and this
/// is the host's memory.
const HOST_BYTES_MAX: u32 = 256 << 20;

fn host_len(len: u32) -> Result<usize, Throw> {
    if len > HOST_BYTES_MAX {
        let message = format!("a buffer of {len} bytes; this host holds at most {HOST_BYTES_MAX}");
        return Err(Throw::range_error(message));
    }
    Ok(len as usize)
}

fn truncated(number: u64) -> i32 {
    u32::try_from(number).unwrap_or(u32::MAX).cast_signed()
}

fn buffer(call: &mut Call<'_>) -> ImportOutcome {
    let buffer = match call.object(0)?.as_object() {
        Some(Object::Memory) => Buffer::Guest,
        Some(Object::Bytes(bytes)) => bytes.buffer.clone(),
        _ => {
            return Err(Throw::type_error(
                "buffer: neither a memory nor an array of bytes",
            ));
        }
    };
    Ok(Out::Js(Js::object(Object::Buffer(buffer))))
}

/// `new Uint8Array(x)`: a view of a buffer, or a copy of an array.
fn new(call: &mut Call<'_>) -> ImportOutcome {
    let js = call.object(0)?;
    match js.as_object() {
        Some(Object::Buffer(buffer)) => {
            let len = call.buffer_len(buffer)?;
            return view(call, buffer.clone(), 0, len);
        }
        Some(Object::Bytes(bytes)) => return copy(call, bytes),
        _ => {}
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as JavaScript writes a number to a byte"
    )]
    let byte = |js: &Js| match js {
        Js::Number(number) => *number as i64 as u8,
        _ => 0,
    };
    let bytes = objects::with_bag(&js, |bag| bag.elements.iter().map(byte).collect());
    let bytes = bytes.ok_or_else(|| Throw::type_error("Uint8Array: nothing that has bytes"))?;
    Ok(Out::Js(Js::host_bytes(bytes)))
}

fn copy(call: &Call<'_>, bytes: &Bytes) -> ImportOutcome {
    host_len(u32::try_from(bytes.len).unwrap_or(u32::MAX))?;
    Ok(Out::Js(Js::host_bytes(call.read_view(bytes)?)))
}

fn view(call: &Call<'_>, buffer: Buffer, offset: u64, len: u64) -> ImportOutcome {
    if offset + len > call.buffer_len(&buffer)? {
        let message = format!("{len} bytes at {offset} are outside the buffer");
        return Err(Throw::range_error(message));
    }
    Ok(Out::Js(Js::object(Object::Bytes(Bytes {
        buffer,
        offset,
        len,
    }))))
}

/// A view of a part of an array. Two arguments, the first of them here, are its beginning and end.
fn part(call: &Call<'_>, first: usize, bytes: &Bytes) -> Bytes {
    let begin = u64::from(call.u32(first)).min(bytes.len);
    let end = u64::from(call.u32(first + 1)).clamp(begin, bytes.len);
    Bytes {
        buffer: bytes.buffer.clone(),
        offset: bytes.offset + begin,
        len: end - begin,
    }
}

fn length(js: &Js) -> Result<i32, Throw> {
    let len = match (js, js.as_object()) {
        (Js::Text(text), _) => Some(text.encode_utf16().count() as u64),
        (_, Some(Object::Bytes(bytes))) => Some(bytes.len),
        (_, Some(Object::Buffer(Buffer::Host(bytes)))) => Some(lock(bytes).len() as u64),
        _ => objects::with_bag(js, |bag| bag.elements.len() as u64),
    };
    len.map(truncated)
        .ok_or_else(|| Throw::type_error("length: nothing that has one"))
}

/// `bytes.set(source, offset)`, `array[index] = value` and `object[key] = value` are one import.
fn set(call: &mut Call<'_>) -> ImportOutcome {
    let target = call.object(0)?;
    let Some(Object::Bytes(into)) = target.as_object() else {
        return objects::set(call, &target);
    };
    let source = bytes_of(&call.object(1)?)?;
    let copied = call.read_view(&source)?;
    let offset = u64::from(call.u32(2));
    if offset + source.len > into.len {
        return Err(Throw::range_error("offset is out of bounds"));
    }
    call.write_view(into, offset, &copied)?;
    Ok(Out::Nothing)
}

fn fill(call: &mut Call<'_>) -> ImportOutcome {
    let js = call.object(0)?;
    let part = part(call, 2, &bytes_of(&js)?);
    #[expect(clippy::cast_possible_truncation, reason = "as JavaScript does")]
    let value = call.u32(1) as u8;
    let len = usize::try_from(part.len).expect("it is less than 4 GiB");
    call.write_view(&part, 0, &vec![value; len])?;
    Ok(Out::Js(js))
}

pub(super) fn bytes_of(js: &Js) -> Result<Bytes, Throw> {
    match js.as_object() {
        Some(Object::Bytes(bytes)) => Ok(bytes.clone()),
        _ => Err(Throw::type_error("not an array of bytes")),
    }
}

fn lock(bytes: &Arc<Mutex<Vec<u8>>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Call<'_> {
    fn buffer_len(&self, buffer: &Buffer) -> Result<u64, Throw> {
        match buffer {
            Buffer::Guest => self.memory_size(),
            Buffer::Host(bytes) => Ok(lock(bytes).len() as u64),
        }
    }

    pub(super) fn read_view(&self, view: &Bytes) -> Result<Vec<u8>, Throw> {
        match &view.buffer {
            Buffer::Guest => {
                let outside = |_| self.odd("a view past the guest's 4 GiB");
                let offset = u32::try_from(view.offset).map_err(outside)?;
                let len = u32::try_from(view.len).map_err(outside)?;
                self.bytes(offset, len)
            }
            Buffer::Host(bytes) => {
                let bytes = lock(bytes);
                let part = range(view.offset, view.len).and_then(|range| bytes.get(range));
                let part = part.ok_or_else(|| Throw::type_error("a view outside its buffer"))?;
                Ok(part.to_vec())
            }
        }
    }

    /// Writes inside a view. `offset` counts from the view's first byte.
    pub(super) fn write_view(
        &mut self,
        view: &Bytes,
        offset: u64,
        source: &[u8],
    ) -> Result<(), Throw> {
        if offset + source.len() as u64 > view.len {
            return Err(Throw::range_error("offset is out of bounds"));
        }
        match &view.buffer {
            Buffer::Guest => self.write(view.offset + offset, source),
            Buffer::Host(bytes) => {
                let mut bytes = lock(bytes);
                let range = range(view.offset + offset, source.len() as u64);
                let part = range.and_then(|range| bytes.get_mut(range));
                let part = part.ok_or_else(|| Throw::type_error("a view outside its buffer"))?;
                part.copy_from_slice(source);
                Ok(())
            }
        }
    }
}

fn range(offset: u64, len: u64) -> Option<std::ops::Range<usize>> {
    let end = offset.checked_add(len)?;
    Some(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
}
