//! What the workers are given to do. Every export waits for them: a worker that ends with a trap makes
//! its caller wait for ever.

use rayon::prelude::*;
use wasm_bindgen::prelude::*;

use crate::hex::hex;
use crate::memory::{exhaust, spin};
use crate::pool::pool;

/// Adds up the numbers below `n`.
#[wasm_bindgen]
pub fn parallel_sum(n: u32) -> u64 {
    // What the compiler cannot see through is added up number by number.
    pool().install(|| {
        (0..n)
            .into_par_iter()
            .map(|number| u64::from(std::hint::black_box(number)))
            .sum()
    })
}

/// How many workers the pool has.
#[wasm_bindgen]
pub fn workers() -> u32 {
    u32::try_from(pool().current_num_threads()).unwrap_or(u32::MAX)
}

/// Draws 32 bytes `draws` times, wherever there is a worker free, and gives a digest of all of them that
/// does not depend on their order.
///
/// # Errors
///
/// The host has no randomness.
#[wasm_bindgen]
pub fn random_in_workers(draws: u32) -> Result<String, JsError> {
    let digest = pool().install(|| {
        (0..draws)
            .into_par_iter()
            .map(|_| {
                let mut bytes = [0; 32];
                getrandom::getrandom(&mut bytes).map(|()| bytes)
            })
            .try_reduce(
                || [0; 32],
                |left, right| Ok(std::array::from_fn(|index| left[index] ^ right[index])),
            )
    })?;
    Ok(hex(&digest))
}

/// Panics in a worker: the message goes to the host from there.
///
/// # Panics
///
/// Always.
#[wasm_bindgen]
pub fn panic_in_worker(message: &str) {
    pool().install(|| panic!("{message}"));
}

/// Traps in a worker.
#[wasm_bindgen]
pub fn trap_in_worker() {
    pool().install(crate::memory::unreachable);
}

/// Allocates in a worker until there is no memory left, which aborts.
#[wasm_bindgen]
pub fn exhaust_in_worker() {
    pool().install(exhaust);
}

/// Keeps a worker busy for ever.
#[wasm_bindgen]
pub fn spin_in_worker() {
    pool().install(spin);
}
