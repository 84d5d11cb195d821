//! Growth of the memory, and copies inside of it.

use engine_api::{Caller, Error, FuncType, PAGE_BYTES, Val};

use crate::arguments::{MEMORY, is, word};
use crate::{Body, Served};

/// The largest heap that a guest with addresses of 32 bits can ask for.
const HEAP_BYTES_MAX: u64 = (1 << 32) - PAGE_BYTES;

/// How many bytes are copied in one step.
const STEP_BYTES: u64 = 64 * 1024;

pub(crate) fn served(name: &str, ty: &FuncType) -> Option<Served> {
    let (signature, body): (&str, Body) = match name {
        "emscripten_resize_heap" => ("i>i", resize),
        "emscripten_notify_memory_growth" => ("i>", |_, _, _| Ok(())),
        // There is no event loop that would end.
        "_emscripten_runtime_keepalive_clear" => (">", |_, _, _| Ok(())),
        "emscripten_get_heap_size" => (">i", heap_size),
        "emscripten_get_heap_max" => (">i", |caller, _, results| {
            results[0] = heap_max(caller);
            Ok(())
        }),
        "_emscripten_memcpy_js" | "emscripten_memcpy_js" | "emscripten_memcpy_big" => {
            let gives = if ty.results().is_empty() {
                "iii>"
            } else {
                "iii>i"
            };
            (gives, copy)
        }
        _ => return None,
    };
    is(ty, signature).then_some(Served::Local(body))
}

/// Grows the memory to as many bytes as the guest asks for, and gives 1; or 0, if there is no room.
///
/// Emscripten's JavaScript takes up to a fifth more, to ask less often. Here each refused attempt
/// would count as a call that ran out of memory, and a page is cheap.
fn resize(caller: &mut dyn Caller, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
    let needed = u64::from(word(args, 0));
    let missing = needed.saturating_sub(caller.memory_size(MEMORY)?);
    let grown = match caller.memory_grow(MEMORY, missing.div_ceil(PAGE_BYTES)) {
        Ok(_) => true,
        Err(Error::Growth { .. }) => false,
        Err(error) => return Err(error),
    };
    results[0] = Val::I32(i32::from(grown));
    Ok(())
}

fn heap_size(caller: &mut dyn Caller, _: &[Val], results: &mut [Val]) -> Result<(), Error> {
    results[0] = as_word(caller.memory_size(MEMORY)?);
    Ok(())
}

fn heap_max(caller: &dyn Caller) -> Val {
    let memory = caller.info().memories().first();
    let pages = memory.and_then(|memory| memory.pages_max);
    let bytes = pages.map_or(HEAP_BYTES_MAX, |pages| pages.saturating_mul(PAGE_BYTES));
    as_word(bytes)
}

fn as_word(bytes: u64) -> Val {
    let fits = "no more than the largest";
    Val::from(u32::try_from(bytes.min(HEAP_BYTES_MAX)).expect(fits))
}

/// `memmove(to, from, len)`.
fn copy(caller: &mut dyn Caller, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
    let [to, from, len] = [0, 1, 2].map(|at| u64::from(word(args, at)));
    let size = caller.memory_size(MEMORY)?;
    if let Some(offset) = [to, from].into_iter().find(|at| at + len > size) {
        return Err(Error::OutOfBounds { offset, len, size });
    }
    let mut buffer = vec![0; usize::try_from(len.min(STEP_BYTES)).unwrap_or(0)];
    let steps = len.div_ceil(STEP_BYTES);
    for step in 0..steps {
        // What overlaps is read before it is overwritten.
        let step = if to > from { steps - 1 - step } else { step };
        let begin = step * STEP_BYTES;
        let part = usize::try_from((len - begin).min(STEP_BYTES)).unwrap_or(0);
        caller.memory_read(MEMORY, from + begin, &mut buffer[..part])?;
        caller.memory_write(MEMORY, to + begin, &buffer[..part])?;
    }
    if let Some(result) = results.first_mut() {
        *result = args[0].clone();
    }
    Ok(())
}
