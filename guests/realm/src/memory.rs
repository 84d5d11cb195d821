//! Memory that is lost, and how much there is.

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

#[cfg(target_arch = "wasm32")]
fn pages() -> usize {
    core::arch::wasm32::memory_size::<0>()
}

/// Off wasm this lets `cargo check` and an editor read the crate.
#[cfg(not(target_arch = "wasm32"))]
fn pages() -> usize {
    0
}
