//! Snapshots: a copy of a store's entries at one moment.

use guest_abi::borrow;

use crate::store::{Entries, Store, count, digest, value};

/// The entries that a store had.
pub struct Snapshot(Entries);

/// Copies the entries of the store. Later changes to the store do not reach the copy.
#[unsafe(no_mangle)]
pub extern "C" fn snapshot_create(store: Option<&Store>) -> Option<Box<Snapshot>> {
    Some(Box::new(Snapshot(store?.entries.borrow().clone())))
}

/// The value of a key as bytes; 0 where there was none.
///
/// # Safety
///
/// The pointer and length describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn snapshot_get(
    snapshot: Option<&Snapshot>,
    key: *const u8,
    key_len: u32,
) -> u64 {
    // SAFETY: as promised by the caller.
    let key = unsafe { borrow(key, key_len) };
    match (snapshot, key) {
        (Some(snapshot), Some(key)) => value(&snapshot.0, key),
        _ => 0,
    }
}

/// How many entries the snapshot has.
#[unsafe(no_mangle)]
pub extern "C" fn snapshot_len(snapshot: Option<&Snapshot>) -> u32 {
    snapshot.map_or(0, |snapshot| count(&snapshot.0))
}

/// A hash of all entries, equal to the store's at that moment.
#[unsafe(no_mangle)]
pub extern "C" fn snapshot_digest(snapshot: Option<&Snapshot>) -> u64 {
    snapshot.map_or(0, |snapshot| digest(&snapshot.0))
}

/// Frees a snapshot.
#[unsafe(no_mangle)]
pub extern "C" fn snapshot_free(snapshot: Option<Box<Snapshot>>) {
    drop(snapshot);
}
