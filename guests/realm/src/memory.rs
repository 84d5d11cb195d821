//! Memory that is lost, and calls that do not return.

use wasm_bindgen::prelude::*;

/// Loses `bytes` bytes, every one of them written to. Aborts when there is no memory left.
#[wasm_bindgen]
pub fn leak(bytes: u32) {
    let lost = vec![0x5a_u8; bytes as usize];
    // The compiler may not leave out an allocation that somebody looks at.
    std::hint::black_box(&lost);
    std::mem::forget(lost);
}

/// The size of the linear memory in MiB. It never shrinks.
#[wasm_bindgen]
pub fn memory_usage_mb() -> f64 {
    const PAGES_PER_MIB: f64 = 16.0;
    f64::from(u32::try_from(pages()).unwrap_or(u32::MAX)) / PAGES_PER_MIB
}

/// Allocates until there is no memory left, which aborts.
#[wasm_bindgen]
pub fn exhaust() {
    loop {
        leak(1 << 20);
    }
}

/// Keeps busy for ever.
#[wasm_bindgen]
pub fn spin() {
    let mut turn = 0_u64;
    loop {
        // The compiler may not take the loop for an endless wait that nobody needs.
        turn = std::hint::black_box(turn.wrapping_add(1));
    }
}

/// Traps without a word.
#[wasm_bindgen]
pub fn trap() {
    unreachable();
}

#[cfg(target_arch = "wasm32")]
fn pages() -> usize {
    core::arch::wasm32::memory_size::<0>()
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn unreachable() {
    core::arch::wasm32::unreachable()
}

/// Off wasm there is no linear memory; this and the next let `cargo clippy` and an editor read the crate.
#[cfg(not(target_arch = "wasm32"))]
fn pages() -> usize {
    0
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn unreachable() {
    std::process::abort()
}
