//! Buffers, and the arrays of bytes that look into them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use engine_api::{ElementType, FuncType};

use super::intrinsics::is;
use super::objects;
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::known::Known;
use crate::value::{Buffer, Bytes, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType, known: Option<Known>) -> Option<Serve> {
    let element = known.and_then(Known::element);
    Some(match (base, ty.params().len()) {
        ("buffer", 1) => buffer,
        // All classes of typed arrays share these names. Without a class there is no right answer.
        ("new", 1) if element.is_some() => new,
        ("new", 1) if known.is_some_and(|known| known.class == "ArrayBuffer") => |call| {
            let len = host_len(call.u32(0))?;
            let bytes = Arc::new(Mutex::new(vec![0; len]));
            Ok(Out::Js(Js::object(Object::Buffer(Buffer::Host(bytes)))))
        },
        ("new_from_slice" | "newfromslice", 2) if element.is_some() => |call| {
            let bytes = call.elements(call.element_type()?, 0)?;
            Ok(Out::Js(Js::host_array(call.element_type()?, bytes)))
        },
        ("newwithbyteoffsetandlength" | "new_with_byte_offset_and_length", 3)
            if element.is_some() =>
        {
            |call| {
                let size = u64::from(call.element_type()?.bytes());
                let (offset, len) = (call.u32(1), u64::from(call.u32(2)) * size);
                let buffer = buffer_of(&call.object(0)?)?;
                view(call, buffer, offset.into(), len)
            }
        }
        ("newwithbyteoffset" | "new_with_byte_offset", 2) if element.is_some() => |call| {
            let buffer = buffer_of(&call.object(0)?)?;
            let offset = u64::from(call.u32(1));
            let len = call.buffer_len(&buffer)?.saturating_sub(offset);
            view(call, buffer, offset, len)
        },
        ("newwithlength" | "new_with_length", 1) if element.is_some() => |call| {
            let element = call.element_type()?;
            let len = call.u32(0).saturating_mul(element.bytes());
            let len = host_len(len)?;
            Ok(Out::Js(Js::host_array(element, vec![0; len])))
        },
        ("subarray", 3) => |call| {
            let bytes = bytes_of(&call.object(0)?)?;
            Ok(Out::Js(Js::object(Object::Bytes(part(call, 1, &bytes)))))
        },
        ("length", 1) => |call| whole_property(call, "length"),
        ("byteLength", 1) => |call| whole_property(call, "byteLength"),
        ("byteOffset", 1) => |call| whole_property(call, "byteOffset"),
        ("set_index" | "setindex", 3) => set_index,
        ("copy_to_typed_array", 3) => |call| {
            let into = bytes_of(&call.object(2)?)?;
            let copied = call.bytes(call.u32(0), call.u32(1))?;
            call.write_view(&into, 0, &copied)?;
            Ok(Out::Nothing)
        },
        ("fill", 4) => fill,
        ("prototypesetcall", 3) => |call| {
            let source = bytes_of(&call.object(2)?)?;
            let copied = call.read_view(&source)?;
            let room = u64::from(call.u32(1)) * u64::from(source.element.bytes());
            if copied.len() as u64 > room {
                return Err(Throw::range_error("offset is out of bounds"));
            }
            call.write(call.u32(0).into(), &copied)?;
            Ok(Out::Nothing)
        },
        ("instanceof_ArrayBuffer", 1) => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Buffer(_))))
        }
        ("instanceof_Memory", 1) => {
            |call| is(call, |js| matches!(js.as_object(), Some(Object::Memory)))
        }
        (base, 1)
            if base
                .strip_prefix("instanceof_")
                .and_then(ElementType::of_class)
                .is_some() =>
        {
            |call| {
                let class = call.served.base.trim_start_matches("instanceof_");
                let own = call.object(0)?;
                let is_it = matches!(
                    own.as_object(),
                    Some(Object::Bytes(bytes)) if bytes.element.class() == class
                );
                Ok(Out::I32(is_it.into()))
            }
        }
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

/// `new Uint8Array(x)` and its like: a view of a buffer, a copy of an array, or zeros.
fn new(call: &mut Call<'_>) -> ImportOutcome {
    let element = call.element_type()?;
    let js = call.object(0)?;
    match js.as_object() {
        Some(Object::Buffer(buffer)) => {
            let len = call.buffer_len(buffer)?;
            return view(call, buffer.clone(), 0, len);
        }
        Some(Object::Bytes(bytes)) if bytes.element == element => return copy(call, bytes),
        _ => {}
    }
    if let Js::Number(len) = js {
        let bytes = len * f64::from(element.bytes());
        if !(0.0..=f64::from(HOST_BYTES_MAX)).contains(&bytes) || len.fract() != 0.0 {
            return Err(Throw::range_error("Invalid typed array length"));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it has just been compared with a bound"
        )]
        let zeros = vec![0; bytes as usize];
        return Ok(Out::Js(Js::host_array(element, zeros)));
    }
    let mut bytes = Vec::new();
    for value in call.iterate(&js)? {
        let written = element.write(&crate::convert::plain(&value));
        // What is no number is NaN, or 0 where there is none.
        bytes.extend(written.unwrap_or_else(|| {
            let nan = element.write(&engine_api::JsValue::Number(f64::NAN));
            nan.unwrap_or_else(|| vec![0; 8])
        }));
    }
    Ok(Out::Js(Js::host_array(element, bytes)))
}

pub(super) fn copy(call: &Call<'_>, bytes: &Bytes) -> ImportOutcome {
    host_len(u32::try_from(bytes.len).unwrap_or(u32::MAX))?;
    Ok(Out::Js(Js::host_array(
        bytes.element,
        call.read_view(bytes)?,
    )))
}

fn view(call: &Call<'_>, buffer: Buffer, offset: u64, len: u64) -> ImportOutcome {
    if offset + len > call.buffer_len(&buffer)? {
        let message = format!("{len} bytes at {offset} are outside the buffer");
        return Err(Throw::range_error(message));
    }
    let element = call.element_type()?;
    let size = u64::from(element.bytes());
    if !offset.is_multiple_of(size) || !len.is_multiple_of(size) {
        let class = element.class();
        let message = format!("start offset of {class} should be a multiple of {size}");
        return Err(Throw::range_error(message));
    }
    Ok(Out::Js(Js::object(Object::Bytes(Bytes {
        buffer,
        offset,
        len,
        element,
    }))))
}

/// A view of a part of an array. `first` is the position of the argument with the beginning; the
/// end is the argument after it.
pub(super) fn part(call: &Call<'_>, first: usize, bytes: &Bytes) -> Bytes {
    let size = u64::from(bytes.element.bytes());
    let begin = (u64::from(call.u32(first)) * size).min(bytes.len);
    let end = (u64::from(call.u32(first + 1)) * size).clamp(begin, bytes.len);
    Bytes {
        buffer: bytes.buffer.clone(),
        offset: bytes.offset + begin,
        len: end - begin,
        element: bytes.element,
    }
}

/// `object.length` and its like as a number of 32 bits: 0 where there is none, as JavaScript makes it of
/// `undefined`.
pub(super) fn whole_property(call: &mut Call<'_>, name: &str) -> ImportOutcome {
    let js = call.object(0)?;
    let own = match (name, js.as_object()) {
        // What `new X()` made has the length of an array until its use tells what it is.
        ("length", Some(Object::Bag(_))) if objects::is_array(&js) => {
            objects::with_bag(&js, |bag| bag.elements.len() as u64)
        }
        ("byteLength", Some(Object::Buffer(Buffer::Guest))) => Some(call.memory_size()?),
        _ => None,
    };
    if let Some(len) = own {
        return Ok(Out::I32(truncated(len)));
    }
    let value = call.property(&js, &Js::text(name))?;
    Ok(Out::I32(engine_api::to_int32(value.to_number())))
}

/// `array[index] = number`.
fn set_index(call: &mut Call<'_>) -> ImportOutcome {
    let array = call.object(0)?;
    let value = match call.args.get(2) {
        Some(engine_api::Val::I32(number)) => Js::Number((*number).into()),
        Some(engine_api::Val::F32(bits)) => Js::Number(f32::from_bits(*bits).into()),
        Some(engine_api::Val::F64(bits)) => Js::Number(f64::from_bits(*bits)),
        Some(engine_api::Val::I64(number)) => Js::BigInt((*number).into()),
        _ => call.object(2)?,
    };
    call.set_element(&array, call.u32(1) as usize, value)?;
    Ok(Out::Nothing)
}

fn fill(call: &mut Call<'_>) -> ImportOutcome {
    let js = call.object(0)?;
    let part = part(call, 2, &bytes_of(&js)?);
    let value = match call.args.get(1) {
        Some(engine_api::Val::I32(number)) => engine_api::JsValue::Number((*number).into()),
        Some(engine_api::Val::F32(bits)) => {
            engine_api::JsValue::Number(f32::from_bits(*bits).into())
        }
        Some(engine_api::Val::F64(bits)) => engine_api::JsValue::Number(f64::from_bits(*bits)),
        Some(engine_api::Val::I64(number)) => engine_api::JsValue::BigInt((*number).into()),
        _ => return Err(Throw::type_error("fill: no number")),
    };
    let written = part.element.write(&value);
    let written = written.ok_or_else(|| Throw::type_error("fill: no such element"))?;
    let count = part.len / u64::from(part.element.bytes());
    let count = usize::try_from(count).expect("it is less than 4 GiB");
    call.write_view(&part, 0, &written.repeat(count))?;
    Ok(Out::Js(js))
}

fn buffer_of(js: &Js) -> Result<Buffer, Throw> {
    match js.as_object() {
        Some(Object::Buffer(buffer)) => Ok(buffer.clone()),
        _ => Err(Throw::type_error("a typed array of no buffer")),
    }
}

pub(super) fn bytes_of(js: &Js) -> Result<Bytes, Throw> {
    match js.as_object() {
        Some(Object::Bytes(bytes)) => Ok(bytes.clone()),
        _ => Err(Throw::type_error("not an array of bytes")),
    }
}

pub(super) fn lock(bytes: &Arc<Mutex<Vec<u8>>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Call<'_> {
    /// The elements of the typed arrays that the import is about.
    fn element_type(&self) -> Result<ElementType, Throw> {
        let element = self.served.known.and_then(Known::element);
        element.ok_or_else(|| self.odd("the class of its typed arrays is not known"))
    }

    /// Numbers in the guest's memory, by pointer and count at two arguments.
    pub(super) fn elements(&self, of: ElementType, position: usize) -> Result<Vec<u8>, Throw> {
        let len = u64::from(self.u32(position + 1)) * u64::from(of.bytes());
        let len = u32::try_from(len).map_err(|_| self.odd("an array of more than 4 GiB"))?;
        self.bytes(self.u32(position), len)
    }

    /// `into.set(source, offset)`, with the offset in elements.
    pub(super) fn set_from(&mut self, into: &Bytes, source: &Js, offset: u32) -> ImportOutcome {
        let size = u64::from(into.element.bytes());
        let copied = match source.as_object() {
            Some(Object::Bytes(own)) if own.element == into.element => self.read_view(own)?,
            _ => {
                let mut copied = Vec::new();
                for value in self.iterate(source)? {
                    let written = into.element.write(&crate::convert::plain(&value));
                    let written = written.ok_or_else(|| Throw::type_error("set: no number"))?;
                    copied.extend(written);
                }
                copied
            }
        };
        self.write_view(into, u64::from(offset) * size, &copied)?;
        Ok(Out::Nothing)
    }

    /// A part of a view's bytes.
    pub(super) fn read_part(&self, view: &Bytes, at: u64, len: u64) -> Result<Vec<u8>, Throw> {
        self.read_view(&Bytes {
            buffer: view.buffer.clone(),
            offset: view.offset + at,
            len,
            element: view.element,
        })
    }

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
        let end = offset.checked_add(source.len() as u64);
        if end.is_none_or(|end| end > view.len) {
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
