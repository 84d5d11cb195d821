//! Measures what a checkpoint of 512 MiB without a page of zeros costs, in milliseconds.
//! `docs/checkpoints.md` says what the figures are for.
//!
//! ```sh
//! cargo run --release -p wasm-proxy-checkpoint-file --example opening [FOLDER]
//! ```
//!
//! The file is in the system's cache when it is opened, as after the end of a process. The folder
//! should be on the disk that the journal will be on, and not in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use checkpoint_file::{Check, open_with, write};
use engine_api::{MemoryImage, MemoryIndex, ModuleHash, Snapshot, SnapshotParts};

use module::Shape;

#[path = "../tests/module/mod.rs"]
mod module;

const BYTES: usize = 512 << 20;
const ROUNDS: usize = 5;

/// The median of the rounds, after a first one that only warms up.
fn report(what: &str, mut round: impl FnMut()) {
    round();
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            round();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{what:<58} {:>9.3} ms", times[ROUNDS / 2]);
}

/// Numbers that no processor, disk or file system finds a pattern in.
fn content() -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        // Vigna, "An experimental exploration of Marsaglia's xorshift generators" (2016).
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    };
    (0..BYTES / 8).flat_map(|_| next().to_le_bytes()).collect()
}

fn main() {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let path = folder.join("opening.checkpoint");
    let module = Shape::of_memories("module", 1);
    let image = MemoryImage::of_bytes(&content());
    let snapshot = Snapshot::new(SnapshotParts {
        memories: vec![(MemoryIndex(0), image)],
        ..SnapshotParts::empty(ModuleHash::of(b"module"))
    });
    report("write, and sync", || {
        write(&path, &snapshot, &[]).expect("there is room");
    });
    drop(snapshot);
    let opened = |path: &Path, check| {
        let opened = open_with(path, &module, check).expect("it was written");
        assert_eq!(opened.snapshot.bytes(), BYTES as u64);
    };
    report("open, the contents not checked", || {
        opened(&path, Check::Later);
    });
    report("open, the contents checked", || {
        opened(&path, Check::Before);
    });
    let copy = path.with_extension("copy");
    fs::copy(&path, &copy).expect("there is room for a copy");
    make_writable(&copy);
    report("open one that others may write to: it is copied", || {
        opened(&copy, Check::Later);
    });
    for path in [path, copy] {
        fs::remove_file(path).expect("it is there");
    }
}

#[cfg(unix)]
fn make_writable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;

    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("it is ours");
}

#[cfg(not(unix))]
fn make_writable(_: &Path) {}
