//! See `targets::records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::records(bytes));
