//! A hash chain over the calls made to it: one call lost, doubled or reordered changes every later
//! result. Each step may leak, so a run is only as long as its memory.

use std::cell::Cell;
use std::hash::Hasher;

// For its exports: the memory in use, and the allocator.
use guest_abi as _;
use siphasher::sip::SipHasher24;

const START: u64 = 0;
const DOMAIN: u64 = u64::from_le_bytes(*b"chain/v1");

// One thread: a thread-local is a plain global on this target.
thread_local! {
    static VALUE: Cell<u64> = const { Cell::new(START) };
    static LEAK_KIB: Cell<u32> = const { Cell::new(0) };
}

/// Advances the chain, `h = SipHash-2-4(key: h, message: id ‖ arg)`, and returns the new `h`.
///
/// The chain advances before the leak: a step that runs out of memory traps with its effect made, as
/// real modules do. Repeating it on the same instance would count it twice.
#[unsafe(no_mangle)]
pub extern "C" fn step(id: u64, arg: u64) -> u64 {
    let mut hasher = SipHasher24::new_with_keys(VALUE.get(), DOMAIN);
    hasher.write(&id.to_le_bytes());
    hasher.write(&arg.to_le_bytes());
    VALUE.set(hasher.finish());
    leak(LEAK_KIB.get());
    VALUE.get()
}

/// Where the chain stands. Changes nothing.
#[unsafe(no_mangle)]
pub extern "C" fn value() -> u64 {
    VALUE.get()
}

/// From now on each step loses this many KiB; none at the start.
#[unsafe(no_mangle)]
pub extern "C" fn set_leak_kib(kib: u32) {
    LEAK_KIB.set(kib);
}

/// Writes every byte: memory that was never touched would cost the host nothing.
fn leak(kib: u32) {
    let bytes = (kib as usize).saturating_mul(1024);
    if bytes > 0 {
        // Seen from outside, or the optimiser would drop an allocation that nobody reads.
        std::hint::black_box(vec![0xA5_u8; bytes].leak());
    }
}
