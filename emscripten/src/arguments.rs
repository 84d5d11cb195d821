//! Arguments and memory of the calling guest. Everything that it says is checked.

use engine_api::{Caller, Error, FuncType, MemoryIndex, Printable, Val, ValType};

/// The memory of Emscripten's modules.
pub(crate) const MEMORY: MemoryIndex = MemoryIndex(0);

/// Longer texts of the guest are cut in messages.
const TEXT_BYTES_MAX: u64 = 256;

/// Whether a function has this type, written as in `iii>i`: parameters and result by the letters
/// of Emscripten's signatures, with `j` for i64, `f` for f32 and `d` for f64.
pub(crate) fn is(ty: &FuncType, signature: &str) -> bool {
    let letter = |ty: &ValType| match ty {
        ValType::I32 => 'i',
        ValType::I64 => 'j',
        ValType::F32 => 'f',
        ValType::F64 => 'd',
        _ => '?',
    };
    let params = ty.params().iter().map(letter);
    let results = ty.results().iter().map(letter);
    params.chain(['>']).chain(results).eq(signature.chars())
}

/// An argument as an address or a length.
pub(crate) fn word(args: &[Val], at: usize) -> u32 {
    match args.get(at) {
        Some(Val::I32(value)) => value.cast_unsigned(),
        _ => 0,
    }
}

/// A text of the guest that ends in a zero byte, printable and cut. What cannot be read is empty.
pub(crate) fn text(caller: &dyn Caller, at: u32) -> String {
    let size = caller.memory_size(MEMORY).unwrap_or(0);
    let len = size.saturating_sub(at.into()).min(TEXT_BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    if at == 0 || caller.memory_read(MEMORY, at.into(), &mut bytes).is_err() {
        return String::new();
    }
    let end = bytes.iter().position(|byte| *byte == 0);
    let text = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    Printable(&text).to_string()
}

/// Writes words to the guest.
pub(crate) fn write_words(caller: &mut dyn Caller, at: u32, words: &[i32]) -> Result<(), Error> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    caller.memory_write(MEMORY, at.into(), &bytes)
}
