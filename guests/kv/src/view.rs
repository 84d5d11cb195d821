//! Views: the keys of a store that start with a prefix, as they are now.

use std::cell::RefCell;
use std::rc::Rc;

use guest_abi::borrow;

use crate::store::{Entries, Store, value};

/// A window on the entries of a store.
pub struct View {
    entries: Rc<RefCell<Entries>>,
    prefix: Vec<u8>,
}

/// A view of the keys with this prefix; the empty prefix shows all. It sees later changes to the store.
///
/// # Safety
///
/// The pointer and length describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn view_create(
    store: Option<&Store>,
    prefix: *const u8,
    prefix_len: u32,
) -> Option<Box<View>> {
    // SAFETY: as promised by the caller.
    let prefix = unsafe { borrow(prefix, prefix_len) }?.to_vec();
    let entries = Rc::clone(&store?.entries);
    Some(Box::new(View { entries, prefix }))
}

/// The value of a key, given without the prefix, as bytes; 0 where there is none.
///
/// # Safety
///
/// The pointer and length describe memory of this module.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn view_get(view: Option<&View>, key: *const u8, key_len: u32) -> u64 {
    // SAFETY: as promised by the caller.
    let key = unsafe { borrow(key, key_len) };
    match (view, key) {
        (Some(view), Some(key)) => value(
            &view.entries.borrow(),
            &[view.prefix.as_slice(), key].concat(),
        ),
        _ => 0,
    }
}

/// How many entries the view shows.
#[unsafe(no_mangle)]
pub extern "C" fn view_len(view: Option<&View>) -> u32 {
    let Some(view) = view else { return 0 };
    let entries = view.entries.borrow();
    let shown = entries
        .range(view.prefix.clone()..)
        .take_while(|(key, _)| key.starts_with(&view.prefix));
    u32::try_from(shown.count()).unwrap_or(u32::MAX)
}

/// Frees a view.
#[unsafe(no_mangle)]
pub extern "C" fn view_free(view: Option<Box<View>>) {
    drop(view);
}
