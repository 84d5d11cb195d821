//! See `targets::workload`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::workload(bytes));
