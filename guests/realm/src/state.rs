//! State that lasts from call to call: what a journal has to bring back.

use std::cell::Cell;
use std::collections::BTreeMap;

use wasm_bindgen::prelude::*;

/// FNV-1a: short, and one call lost, doubled or reordered changes it.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;

thread_local! {
    static CHAIN: Cell<u64> = const { Cell::new(BASIS) };
}

/// Takes `text` into a hash over all calls so far, and gives it.
#[wasm_bindgen]
pub fn chain_step(text: &str) -> u64 {
    let hash = fnv(fnv(CHAIN.get(), text.as_bytes()), &[0xff]);
    CHAIN.set(hash);
    hash
}

/// The hash over all calls so far.
#[wasm_bindgen]
pub fn chain_value() -> u64 {
    CHAIN.get()
}

/// Names and their bytes.
#[wasm_bindgen]
#[derive(Clone, Debug, Default)]
pub struct Registry {
    entries: BTreeMap<String, Vec<u8>>,
}

#[wasm_bindgen]
impl Registry {
    /// An empty one.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Writes an entry; says whether the name is new.
    pub fn put(&mut self, name: String, bytes: Vec<u8>) -> bool {
        self.entries.insert(name, bytes).is_none()
    }

    /// Reads an entry.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.entries.get(name).cloned()
    }

    /// Removes an entry; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        self.entries.remove(name).is_some()
    }

    /// How many entries there are.
    #[wasm_bindgen(getter)]
    pub fn size(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    /// A registry of its own with the same entries.
    pub fn copy(&self) -> Registry {
        self.clone()
    }

    /// Takes in the entries of another registry, which is consumed.
    pub fn absorb(&mut self, other: Registry) {
        self.entries.extend(other.entries);
    }

    /// Equal for equal entries.
    pub fn digest(&self) -> u64 {
        self.entries.iter().fold(BASIS, |hash, (name, bytes)| {
            fnv(
                fnv(fnv(fnv(hash, name.as_bytes()), &[0xff]), bytes),
                &[0xfe],
            )
        })
    }
}
