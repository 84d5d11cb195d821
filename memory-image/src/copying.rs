//! Images that are copied: for systems without memfds, and for bytes that are not a mapping.

use std::fmt;

#[cfg_attr(
    target_os = "linux",
    allow(unused_imports, reason = "captures are for the other systems")
)]
use crate::Region;
#[cfg(any(test, not(target_os = "linux")))]
use crate::{FileExtent, ImageError, ImageFile};

/// The content of a memory in a buffer.
pub(crate) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// # Safety
    ///
    /// As [`crate::MemoryImage::capture`].
    #[cfg(any(test, not(target_os = "linux")))]
    #[expect(unsafe_code, reason = "reads a guest's memory")]
    pub(crate) unsafe fn capture(region: Region) -> Self {
        // SAFETY: the memory can be read, nobody writes to it meanwhile, and the reference ends
        // here.
        let bytes = unsafe { std::slice::from_raw_parts(region.base.as_ptr(), region.bytes) };
        Self::new(bytes)
    }

    /// An image of a file. The extents are checked.
    #[cfg(any(test, not(target_os = "linux")))]
    pub(crate) fn of_file(
        file: &ImageFile,
        bytes: usize,
        parts: &[FileExtent],
    ) -> Result<Self, ImageError> {
        let mut copy = Vec::new();
        copy.try_reserve_exact(bytes)
            .map_err(|error| ImageError::System {
                action: "make room for an image",
                source: std::io::Error::new(std::io::ErrorKind::OutOfMemory, error),
            })?;
        copy.resize(bytes, 0);
        for part in parts {
            let [start, len] = [part.start, part.len]
                .map(|number| usize::try_from(number).expect("it is in the memory"));
            file.read(part.offset, &mut copy[start..start + len])
                .map_err(|source| ImageError::File {
                    action: "read an image's file",
                    source,
                })?;
        }
        Ok(Self(copy.into()))
    }

    /// # Safety
    ///
    /// As [`crate::MemoryImage::restore`], and the sizes are equal.
    #[expect(unsafe_code, reason = "writes a guest's memory")]
    pub(crate) unsafe fn restore(&self, region: Region) {
        debug_assert_eq!(self.0.len(), region.bytes);
        let to = region.base.as_ptr();
        // SAFETY: the memory can be written and has the buffer's length; it is not the buffer.
        unsafe { to.copy_from_nonoverlapping(self.0.as_ptr(), self.0.len()) };
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.0.len() as u64
    }

    /// Copies bytes out. The caller has checked the range.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) {
        let from = usize::try_from(offset).expect("the bytes are in the buffer");
        buffer.copy_from_slice(&self.0[from..from + buffer.len()]);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    #[repr(align(4096))]
    struct Pages([u8; 8192]);

    #[test]
    #[expect(unsafe_code, reason = "the memory is a buffer of the test's")]
    fn a_copy_is_taken_and_put_elsewhere() {
        let mut from = Pages([7; 8192]);
        let mut to = Pages([0; 8192]);
        let region = |pages: &mut Pages| {
            Region::new(NonNull::from(&mut pages.0).cast(), 8192).expect("whole pages")
        };
        // SAFETY: nobody else has a reference to the buffers while they are read and written.
        unsafe {
            let copy = Buffer::capture(region(&mut from));
            copy.restore(region(&mut to));
        }
        assert_eq!(to.0, from.0);
    }
}
