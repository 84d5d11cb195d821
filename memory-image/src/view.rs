//! Images that are looked at where they lie, without a copy.

use std::ops::Range;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

use crate::linux::Mapped;

/// The files of an image, mapped to be read. Nothing is in memory yet.
pub(crate) struct MappedView(Vec<Part>);

/// One extent of a file.
struct Part {
    start: usize,
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages can only be read, whichever thread does, and belong to the view until it is
// dropped.
#[expect(
    unsafe_code,
    reason = "the addresses are of pages that belong to the view"
)]
unsafe impl Send for MappedView {}
// SAFETY: as above.
#[expect(
    unsafe_code,
    reason = "the addresses are of pages that belong to the view"
)]
unsafe impl Sync for MappedView {}

impl MappedView {
    /// Maps what the system lets be mapped; the rest is not in the view.
    #[expect(unsafe_code, reason = "maps files")]
    pub(crate) fn new(image: &Mapped) -> Self {
        let mut parts = Vec::new();
        for (start, len, file, offset) in image.in_files() {
            // SAFETY: the system chooses a place where nothing is. The file is sealed or private,
            // so nobody changes the pages or takes them away.
            let base = unsafe {
                let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
                let anywhere = std::ptr::null_mut();
                mmap(anywhere, len, ProtFlags::READ, flags, file.as_fd(), offset)
            };
            if let Some(base) = base.ok().and_then(|base| NonNull::new(base.cast())) {
                parts.push(Part { start, base, len });
            }
        }
        Self(parts)
    }

    /// The bytes of a range, if it is in one extent of a file and the system has its pages.
    #[expect(unsafe_code, reason = "looks at pages of the view")]
    pub(crate) fn bytes(&self, range: Range<usize>) -> Option<&[u8]> {
        let len = range.len();
        let after = self.0.partition_point(|part| part.start <= range.start);
        let part = self.0.get(after.checked_sub(1)?)?;
        let from = range.start - part.start;
        if len == 0 || from.checked_add(len)? > part.len {
            return None;
        }
        let page = crate::page_bytes();
        let first = from / page * page;
        // SAFETY: the range is in the part, which is mapped for as long as the view lives. If the
        // disk does not give a page, this says so, where a first access would end the process.
        unsafe {
            let place = part.base.as_ptr().add(first).cast();
            madvise(place, from - first + len, Advice::LinuxPopulateRead).ok()?;
            Some(std::slice::from_raw_parts(
                part.base.as_ptr().add(from),
                len,
            ))
        }
    }
}

impl Drop for MappedView {
    #[expect(unsafe_code, reason = "unmaps the pages of the view")]
    fn drop(&mut self) {
        for part in &self.0 {
            // SAFETY: the view has mapped these pages, and nobody borrows from it any more. Should
            // the system refuse, they stay mapped, and nobody has their address.
            let _ = unsafe { munmap(part.base.as_ptr().cast(), part.len) };
        }
    }
}
