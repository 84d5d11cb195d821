//! Stores: the objects that everything else is made from.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::Hasher;
use std::rc::Rc;

use guest_abi::{borrow, give};
use siphasher::sip::SipHasher24;

/// Ordered, so a result of all entries does not depend on how they came in.
pub(crate) type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

/// Entries, shared with the views of them.
#[derive(Default)]
pub struct Store {
    pub(crate) entries: Rc<RefCell<Entries>>,
    appended: Cell<u64>,
}

/// What [`put`] did.
const ADDED: u32 = 1;
const REPLACED: u32 = 2;

/// An empty store.
#[unsafe(no_mangle)]
pub extern "C" fn store_create() -> Box<Store> {
    Box::default()
}

/// Frees a store. Its views keep the entries alive, its snapshots have their own.
#[unsafe(no_mangle)]
pub extern "C" fn store_free(store: Option<Box<Store>>) {
    drop(store);
}

/// Sets a value: 1 where the key is new, 2 where an older value was replaced, 0 for null arguments.
///
/// # Safety
///
/// The pointers and lengths describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn put(
    store: Option<&Store>,
    key: *const u8,
    key_len: u32,
    value: *const u8,
    value_len: u32,
) -> u32 {
    // SAFETY: as promised by the caller.
    let (key, value) = unsafe { (borrow(key, key_len), borrow(value, value_len)) };
    match (store, key, value) {
        (Some(store), Some(key), Some(value)) => insert(store, key.to_vec(), value.to_vec()),
        _ => 0,
    }
}

/// Adds a generated value of `len` bytes under the next number (eight bytes, big-endian), and returns the
/// number: 1, 2, 3 and so on. 0 for null. Large states without the host having to send them.
#[unsafe(no_mangle)]
pub extern "C" fn append(store: Option<&Store>, len: u32) -> u64 {
    let Some(store) = store else { return 0 };
    let number = store.appended.get() + 1;
    store.appended.set(number);
    let value = number
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(len as usize)
        .collect();
    insert(store, number.to_be_bytes().to_vec(), value);
    number
}

fn insert(store: &Store, key: Vec<u8>, value: Vec<u8>) -> u32 {
    match store.entries.borrow_mut().insert(key, value) {
        None => ADDED,
        Some(_) => REPLACED,
    }
}

/// The value of a key as bytes; 0 where there is none.
///
/// # Safety
///
/// The pointer and length describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn get(store: Option<&Store>, key: *const u8, key_len: u32) -> u64 {
    // SAFETY: as promised by the caller.
    let key = unsafe { borrow(key, key_len) };
    match (store, key) {
        (Some(store), Some(key)) => value(&store.entries.borrow(), key),
        _ => 0,
    }
}

/// Removes a key: 1 where it was there, else 0.
///
/// # Safety
///
/// The pointer and length describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn delete(store: Option<&Store>, key: *const u8, key_len: u32) -> u32 {
    // SAFETY: as promised by the caller.
    let key = unsafe { borrow(key, key_len) };
    match (store, key) {
        (Some(store), Some(key)) => u32::from(store.entries.borrow_mut().remove(key).is_some()),
        _ => 0,
    }
}

/// Copies the entries of `from` over those of `into`, and returns how many there were. Changes its first
/// argument only.
#[unsafe(no_mangle)]
pub extern "C" fn merge(into: Option<&Store>, from: Option<&Store>) -> u32 {
    let (Some(into), Some(from)) = (into, from) else {
        return 0;
    };
    // A store merged into itself stays what it is, and must not be borrowed twice.
    if !Rc::ptr_eq(&into.entries, &from.entries) {
        into.entries
            .borrow_mut()
            .extend(from.entries.borrow().clone());
    }
    count(&from.entries.borrow())
}

/// How many entries the store has.
#[unsafe(no_mangle)]
pub extern "C" fn len(store: Option<&Store>) -> u32 {
    store.map_or(0, |store| count(&store.entries.borrow()))
}

/// A hash of all entries: the same for stores with the same entries.
#[unsafe(no_mangle)]
pub extern "C" fn store_digest(store: Option<&Store>) -> u64 {
    store.map_or(0, |store| digest(&store.entries.borrow()))
}

pub(crate) fn value(entries: &Entries, key: &[u8]) -> u64 {
    entries.get(key).map_or(0, |value| give(value))
}

pub(crate) fn count(entries: &Entries) -> u32 {
    u32::try_from(entries.len()).unwrap_or(u32::MAX)
}

pub(crate) fn digest(entries: &Entries) -> u64 {
    let mut hasher = SipHasher24::new();
    for part in entries.iter().flat_map(|(key, value)| [key, value]) {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish()
}
