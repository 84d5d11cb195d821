//! A reactor: a map with a log of its changes in a file, and samples of the clock and of randomness.

#![no_main]

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek, Write};
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    /// `HashMap` takes its keys from WASI's randomness: its order differs from process to process.
    static MAP: RefCell<HashMap<i64, i64>> = RefCell::default();
    static LOG: RefCell<Option<File>> = const { RefCell::new(None) };
}

/// Begins a log. 1 if that works.
#[unsafe(no_mangle)]
pub extern "C" fn open_log() -> i32 {
    let opened = File::create("/data/log").ok();
    LOG.with_borrow_mut(|log| {
        *log = opened;
        log.is_some().into()
    })
}

/// Sets a value and logs that. The size of the log, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn set(key: i64, value: i64) -> i64 {
    MAP.with_borrow_mut(|map| map.insert(key, value));
    LOG.with_borrow_mut(|log| {
        let log = log.as_mut()?;
        writeln!(log, "{key} = {value}").ok()?;
        i64::try_from(log.stream_position().ok()?).ok()
    })
    .unwrap_or(-1)
}

/// The value of a key, or -1.
#[unsafe(no_mangle)]
pub extern "C" fn get(key: i64) -> i64 {
    MAP.with_borrow(|map| map.get(&key).copied().unwrap_or(-1))
}

/// A hash of the keys in the order of the map, which randomness decides.
#[unsafe(no_mangle)]
pub extern "C" fn order() -> i64 {
    let hashed = |hash: i64, key: &i64| hash.wrapping_mul(31).wrapping_add(*key);
    MAP.with_borrow(|map| map.keys().fold(7, hashed))
}

/// Nanoseconds since 1970.
#[unsafe(no_mangle)]
pub extern "C" fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(-1, |now| i64::try_from(now.as_nanos()).unwrap_or(-1))
}

/// Loses that much memory.
#[unsafe(no_mangle)]
pub extern "C" fn leak(kib: i32) {
    let bytes = usize::try_from(kib).unwrap_or(0) << 10;
    std::mem::forget(vec![1_u8; bytes]);
}
