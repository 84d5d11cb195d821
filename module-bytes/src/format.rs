//! Refusals of bytes that are not a core module, with the way out.

use engine_api::Error;
use wasmparser::Parser;

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError) -> Error {
    let way_out = if error.message().contains("unexpected end") {
        "; the file is truncated: copy or build it again"
    } else {
        ""
    };
    let (message, offset) = (error.message(), error.offset());
    refused(format!("{message} (at offset {offset:#x}){way_out}"))
}

pub(crate) fn refused(reason: impl Into<String>) -> Error {
    Error::InvalidModule {
        reason: reason.into(),
    }
}

pub(crate) fn refuse_other_formats(wasm: &[u8]) -> Result<(), Error> {
    let refuse = |reason: &str| Err(refused(reason));
    if wasm.is_empty() {
        return refuse("the file is empty");
    }
    if Parser::is_component(wasm) {
        return refuse(
            "this is a component; give the core module (`wasm-tools component unbundle` extracts it)",
        );
    }
    if wasm.starts_with(b"\0asm") {
        return Ok(());
    }
    if wasm.starts_with(&[0x1f, 0x8b]) {
        return refuse("this is compressed with gzip; decompress it with `gunzip`");
    }
    if wasm.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return refuse("this is compressed with Zstandard; decompress it with `unzstd`");
    }
    let text = wasm.trim_ascii_start();
    if text.starts_with(b"(") || text.starts_with(b";;") {
        return refuse("this is the text format; convert it with `wat2wasm` or `wasm-tools parse`");
    }
    refuse("it does not start with the wasm magic number `\\0asm`")
}
