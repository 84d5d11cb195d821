//! How the guests pass bytes to the host and back, and how they report their memory.
//!
//! The host allocates with `guest_alloc`, writes, calls, and frees with `guest_free`. Bytes come back
//! as one `u64`, `pointer | length << 32`, which belongs to the host: it copies them and frees them with
//! `guest_free`. The packed value 0 means that there is nothing; empty bytes have a pointer.

use std::alloc::Layout;

/// What every block handed across the boundary is aligned to.
const ALIGN: usize = 8;

/// An empty block still gets an address of its own, so it can be told from nothing.
fn layout(len: u32) -> Option<Layout> {
    Layout::from_size_align(usize::try_from(len).ok()?.max(1), ALIGN).ok()
}

/// Allocates `len` bytes for the host to write; null when there is no memory left.
#[unsafe(no_mangle)]
pub extern "C" fn guest_alloc(len: u32) -> *mut u8 {
    let Some(layout) = layout(len) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the size of the layout is at least one.
    unsafe { std::alloc::alloc(layout) }
}

/// Frees a block from [`guest_alloc`], or bytes that an export returned; null is ignored.
///
/// # Safety
///
/// `pointer` came from this module with exactly this `len` and was not freed before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn guest_free(pointer: *mut u8, len: u32) {
    if let (false, Some(layout)) = (pointer.is_null(), layout(len)) {
        // SAFETY: the caller promises that the block is live and was allocated with this layout.
        unsafe { std::alloc::dealloc(pointer, layout) }
    }
}

/// Hands a copy of `bytes` to the host as one packed value; 0 when there is no memory left.
pub fn give(bytes: &[u8]) -> u64 {
    let Ok(len) = u32::try_from(bytes.len()) else {
        return 0;
    };
    let pointer = guest_alloc(len);
    if pointer.is_null() {
        return 0;
    }
    // SAFETY: the block is fresh and `bytes.len()` long.
    unsafe { pointer.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    pointer as u64 | (u64::from(len) << 32)
}

/// The bytes that the host wrote; `None` for a null pointer.
///
/// # Safety
///
/// `pointer` and `len` describe memory of this module that nobody changes while `'a` lasts.
pub unsafe fn borrow<'a>(pointer: *const u8, len: u32) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    // SAFETY: as promised by the caller.
    (!pointer.is_null()).then(|| unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// The size of the linear memory in MiB. It never shrinks, whatever the guest frees.
#[unsafe(no_mangle)]
pub extern "C" fn memory_usage_mb() -> f64 {
    const PAGES_PER_MIB: f64 = 16.0;
    pages() / PAGES_PER_MIB
}

#[cfg(target_arch = "wasm32")]
fn pages() -> f64 {
    let pages = u32::try_from(core::arch::wasm32::memory_size::<0>()).unwrap_or(u32::MAX);
    f64::from(pages)
}

/// Off wasm there is no linear memory; this lets `cargo check` and an editor read the crate.
#[cfg(not(target_arch = "wasm32"))]
fn pages() -> f64 {
    0.0
}
