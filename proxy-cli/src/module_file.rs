//! A module from a file, in the binary or the text format.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Reads a module. The text format is converted.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = fs::read(path).with_context(|| {
        format!(
            "cannot read the module `{}`; check the path and its permissions",
            path.display()
        )
    })?;
    let text = bytes.trim_ascii_start();
    if !text.starts_with(b"(") && !text.starts_with(b";;") {
        return Ok(bytes);
    }
    let wasm = wat::parse_bytes(&bytes).map_err(|mut error| {
        error.set_path(path);
        error
    });
    Ok(wasm
        .with_context(|| format!("`{}` is not a module in the text format", path.display()))?
        .into_owned())
}
