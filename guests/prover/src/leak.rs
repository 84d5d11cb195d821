//! Memory that is lost on purpose, and what the module says of its limits.

use std::cell::Cell;

use halo2_proofs::pasta::Fp;

/// What a 32-bit memory can grow to.
const ADDRESSABLE_MB: f64 = 4096.0;

// One thread: a thread-local is a plain global on this target.
thread_local! {
    static PER_PROOF_BYTES: Cell<u32> = const { Cell::new(0) };
    static CRITICAL_MB: Cell<f64> = const { Cell::new(ADDRESSABLE_MB) };
}

/// From now on each [`prove`](crate::prove) loses witness columns of this many bytes, rounded down to
/// whole field elements (32 bytes). 0, as at the start, loses nothing.
#[unsafe(no_mangle)]
pub extern "C" fn leak_per_proof(bytes: u32) {
    PER_PROOF_BYTES.set(bytes);
}

/// The memory in MiB above which the module calls its state critical: all that it can address, unless
/// it was told otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn critical_memory_threshold_mb() -> f64 {
    CRITICAL_MB.get()
}

/// Sets what [`critical_memory_threshold_mb`] reports.
#[unsafe(no_mangle)]
pub extern "C" fn set_critical_memory_threshold_mb(mb: f64) {
    CRITICAL_MB.set(mb);
}

/// Writes the trace over and over into a column of the configured size and forgets it.
pub(crate) fn column(trace: &[Fp]) {
    let elements = PER_PROOF_BYTES.get() as usize / size_of::<Fp>();
    if elements > 0 {
        let column: Vec<Fp> = trace.iter().copied().cycle().take(elements).collect();
        // Seen from outside, or the optimiser could drop an allocation that nobody reads.
        std::hint::black_box(column.leak());
    }
}
