//! Tests with whole modules: small ones written here, and the committed guests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod instrument;
mod obstacles;

use std::fs;
use std::path::Path;

/// The file name and the bytes of every committed guest.
fn guests() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests/prebuilt");
    let mut guests: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    guests.sort();
    assert!(guests.len() >= 7, "found only {}", guests.len());
    guests
}
