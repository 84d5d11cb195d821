//! Linear memories as images that many instances share.
//!
//! An image is the content of a memory at one moment. On Linux it lives in sealed memfds: nothing
//! can change it any more, and [`MemoryImage::restore`] puts it into another memory by mapping it
//! copy-on-write, which costs microseconds whatever its size. The instances share its pages until
//! they write to them. On other systems an image is a buffer that is copied; the functions are the
//! same.
//!
//! [`MemoryImage::capture`] *moves* the memory into the image, a few MiB at a time: it copies each
//! slice into the file, and then maps the file in its place. Only one slice at a time exists twice,
//! and the memory goes on as the image's first user. A memory that was restored from an image and
//! has changed since gives an image of its changes, which shares the rest with the older one.
//!
//! # Why this is sound
//!
//! No other crate of the project maps memory. Replacing the pages under a live memory is sound
//! because, and only because:
//!
//! 1. *Nobody looks.* The caller vouches that a [`Region`] is a guest's linear memory with no guest
//!    code running in it, and that no reference into it exists (an engine has its instance by
//!    `&mut`, and a shared memory by no other instance, with all handles held back). Between calls,
//!    compiled code keeps no address in the memory except the base, which stays the same.
//! 2. *The memory owns the reservation.* The region lies in one reservation that its engine made
//!    and will unmap as a whole, whatever is mapped there by then. The engine requires only that
//!    these pages can be read and written, as before. Guard pages and the room to grow lie outside
//!    of the region and stay untouched.
//! 3. *No hole is ever left.* `mmap` with `MAP_FIXED` may unmap the old pages and then fail. The
//!    system would give the hole in the reservation to the next `mmap` of any thread, and it would
//!    be unmapped with the memory. So a failed mapping is plugged with anonymous pages at once. If
//!    even that fails, the process ends ([`std::process::abort`]): there is nothing sound left to
//!    do.
//! 4. *Nothing changes an image.* The memfds are sealed against writing, growing and shrinking
//!    before any other memory maps them: none of their pages can change or vanish under a guest
//!    (`SIGBUS`). Mappings are private: a guest's writes reach only its own copy of a page. Of
//!    files with a name this is weaker, see below.
//!
//! # Images of files
//!
//! [`MemoryImage::write_to`] writes an image to a regular file, and [`MemoryImage::of_file`] makes
//! one of it, in another process too. Linux can seal no such file. A page of the file that no
//! memory has written to yet changes with the file, and if the file becomes shorter, the next
//! access ends the process (`SIGBUS`). So an image is mapped only from a file that is *private*
//! ([`ImageFile::is_private`]): when it is opened, its mode lets nobody write, and its owner is the
//! user of this process or the system's. What can happen to it after that, and who prevents it:
//!
//! * *Other users* cannot write to it, nor give themselves the right. Whoever may write to its
//!   folder can rename and unlink it, which is harmless: the image holds the file open.
//! * *The same user and the system's* can give themselves the right to write, and a process of the
//!   latter needs none. They can as well write to this process's memory (`/proc/PID/mem`), against
//!   which nothing here is sound. **They must not write to the file, or truncate it, while an image
//!   of it lives.** Whoever made the file answers for this, as for a program's own executable,
//!   which is mapped the same way: it is written once under another name, made read-only and then
//!   renamed, nobody keeps it open for writing, and its folder belongs to one process at a time (a
//!   lock). The mode and the lock keep honest programs away. They are no proof, also against other
//!   code of this process. [`MemoryImage::of_file`] is no `unsafe` function all the same, because
//!   its caller could check no more than it does.
//! * *The disk* may fail to give a page that was not read before, or was dropped from the cache.
//!   This too ends the process, as for an executable. It is a reason to read all of a file when it
//!   is opened, with `read`, where it is an error.
//! * *A file system of another machine* may change the file whatever its mode says here. Keep such
//!   files on a local one.
//!
//! Any other file is copied into a sealed memfd, and what happens to it later does not matter. That
//! is the way for whoever cannot promise the above: leave the file writable. It costs a copy of all
//! content (`docs/checkpoints.md` has figures). A copy that shares the disk's blocks (reflink)
//! would not help, because its file could be written to as well.

mod copying;
mod extents;
mod file;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod view;

use std::fmt;
use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use copying::Buffer;
pub use file::{FILE_ALIGNMENT, FILE_EXTENTS_MAX, FileExtent, ImageFile, WrittenImage};
#[cfg(target_os = "linux")]
use linux::Mapped;

/// The content of a linear memory at one moment. Clones are the same image.
#[derive(Clone)]
pub struct MemoryImage(Arc<Backing>);

enum Backing {
    #[cfg(target_os = "linux")]
    Mapped(Mapped),
    Buffer(Buffer),
}

/// A linear memory in this process: the bytes that its guest can reach.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    base: NonNull<u8>,
    bytes: usize,
}

/// Why an image could not be taken or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The memory has another size than the image. Make it that size first.
    #[error("the memory has {memory} bytes, and its image {image}: size the memory first")]
    Size {
        /// The size of the memory in bytes.
        memory: u64,
        /// The size of the image in bytes.
        image: u64,
    },

    /// The memory does not begin or end at a boundary of the processor's pages.
    #[error("the memory at {base:#x} of {bytes} bytes is not made of the processor's pages")]
    Unaligned {
        /// The address where it begins.
        base: usize,
        /// Its size in bytes.
        bytes: usize,
    },

    /// Extents of a file that make up no image. Take the state from elsewhere.
    #[error("the extents are not those of an image: {reason}")]
    Extents {
        /// What is wrong with them.
        reason: &'static str,
    },

    /// A file of images could not be read or written.
    #[error("failed to {action}")]
    File {
        /// The step that failed, as in "failed to ...".
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },

    /// The system refused. Memory, mappings (`vm.max_map_count`) or file descriptors are short.
    #[error(
        "failed to {action}; memory, mappings (vm.max_map_count) or file descriptors are short"
    )]
    System {
        /// The step that failed, as in "failed to ...".
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
}

impl Region {
    /// The memory of `bytes` bytes at `base`.
    ///
    /// # Errors
    ///
    /// [`ImageError::Unaligned`].
    pub fn new(base: NonNull<u8>, bytes: usize) -> Result<Self, ImageError> {
        let aligned = |number: usize| number.is_multiple_of(page_bytes());
        if aligned(base.addr().get()) && aligned(bytes) {
            Ok(Self { base, bytes })
        } else {
            Err(ImageError::Unaligned {
                base: base.addr().get(),
                bytes,
            })
        }
    }
}

impl MemoryImage {
    /// An image of these bytes, kept in a buffer.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(Arc::new(Backing::Buffer(Buffer::new(bytes))))
    }

    /// Makes an image of a memory. `since` is the image that the memory was last restored from or
    /// captured to, if there is one: the new image then shares the unchanged pages with it.
    ///
    /// The memory holds the same bytes afterwards, also after an error.
    ///
    /// # Errors
    ///
    /// [`ImageError::System`].
    ///
    /// # Safety
    ///
    /// `region` is all of a linear memory that no guest code is running in, that no reference
    /// points into, and whose pages can be read and written. It lies in a reservation that belongs
    /// to the memory alone. If `since` is given, then by [`MemoryImage::restore`] or this function
    /// its content was the memory's content once, and nothing but its guest and its host have
    /// written to the memory since then, through its mapping.
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    pub unsafe fn capture(region: Region, since: Option<&Self>) -> Result<Self, ImageError> {
        #[cfg(target_os = "linux")]
        {
            let since = since.and_then(|image| match &*image.0 {
                Backing::Mapped(mapped) => Some(mapped),
                Backing::Buffer(_) => None,
            });
            // SAFETY: as our own.
            let mapped = unsafe { Mapped::capture(region, since) }?;
            Ok(Self(Arc::new(Backing::Mapped(mapped))))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = since;
            // SAFETY: as our own.
            let buffer = unsafe { Buffer::capture(region) };
            Ok(Self(Arc::new(Backing::Buffer(buffer))))
        }
    }

    /// Gives a memory the image's content.
    ///
    /// # Errors
    ///
    /// [`ImageError::Size`], with nothing done; [`ImageError::System`], after which the memory can
    /// be accessed, but its content is unspecified.
    ///
    /// # Safety
    ///
    /// As [`MemoryImage::capture`].
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    pub unsafe fn restore(&self, region: Region) -> Result<(), ImageError> {
        if region.bytes as u64 != self.bytes() {
            return Err(ImageError::Size {
                memory: region.bytes as u64,
                image: self.bytes(),
            });
        }
        // SAFETY: as our own; the sizes are equal.
        unsafe {
            match &*self.0 {
                #[cfg(target_os = "linux")]
                Backing::Mapped(mapped) => mapped.restore(region),
                Backing::Buffer(buffer) => {
                    buffer.restore(region);
                    Ok(())
                }
            }
        }
    }

    /// Writes the content to a file, from `offset` on, which is a multiple of [`FILE_ALIGNMENT`] as
    /// the size of the memory is. The file has nothing there yet: pages of zeros are left out. The
    /// bytes of all extents are shown to `seen` in the file's order, the zeros in them included, in
    /// pieces of [`FILE_ALIGNMENT`] bytes.
    ///
    /// Pages that are shared with older images are written too: the file needs no other.
    ///
    /// # Errors
    ///
    /// [`ImageError::File`]; [`ImageError::Extents`] if the size or the offset is not such a
    /// multiple; [`ImageError::System`] if the image cannot be read.
    pub fn write_to(
        &self,
        file: &File,
        offset: u64,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<WrittenImage, ImageError> {
        file::write(self, file, offset, &mut seen)
    }

    /// The image of a memory of `bytes` bytes, of which a file holds these extents, in the order of
    /// their offsets in the memory. All else is zeros. The extents come from anywhere: they are
    /// checked. What they hold is not, and is read when it is first needed.
    ///
    /// On Linux the image is mapped from a [private](ImageFile::is_private) file, and from a sealed
    /// copy of any other. On other systems the file is read into a buffer.
    ///
    /// # Errors
    ///
    /// [`ImageError::Extents`]; [`ImageError::File`]; [`ImageError::System`].
    pub fn of_file(
        file: &ImageFile,
        bytes: u64,
        extents: &[FileExtent],
    ) -> Result<Self, ImageError> {
        let size = file::check(file, bytes, extents)?;
        #[cfg(target_os = "linux")]
        let backing = Backing::Mapped(Mapped::of_file(file, size, extents)?);
        #[cfg(not(target_os = "linux"))]
        let backing = Backing::Buffer(Buffer::of_file(file, size, extents)?);
        Ok(Self(Arc::new(backing)))
    }

    /// The size of the memory in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Backing::Mapped(mapped) => mapped.bytes(),
            Backing::Buffer(buffer) => buffer.bytes(),
        }
    }

    /// The bytes that this image keeps itself and does not share with an older one. Pages of zeros
    /// are not kept.
    #[must_use]
    pub fn bytes_kept(&self) -> u64 {
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Backing::Mapped(mapped) => mapped.bytes_kept(),
            Backing::Buffer(buffer) => buffer.bytes(),
        }
    }

    /// Copies bytes out.
    ///
    /// # Errors
    ///
    /// [`ImageError::Size`] if the range is not in the image; [`ImageError::System`].
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        let end = offset.checked_add(buffer.len() as u64);
        if end.is_none_or(|end| end > self.bytes()) {
            return Err(ImageError::Size {
                memory: end.unwrap_or(u64::MAX),
                image: self.bytes(),
            });
        }
        match &*self.0 {
            #[cfg(target_os = "linux")]
            Backing::Mapped(mapped) => mapped.read(offset, buffer),
            Backing::Buffer(image) => {
                image.read(offset, buffer);
                Ok(())
            }
        }
    }

    /// A view of the content, for whoever reads much of it. On Linux it copies nothing.
    #[must_use]
    pub fn view(&self) -> ImageView<'_> {
        ImageView {
            image: self,
            #[cfg(target_os = "linux")]
            mapped: match &*self.0 {
                Backing::Mapped(mapped) => Some(view::MappedView::new(mapped)),
                Backing::Buffer(_) => None,
            },
        }
    }

    /// The blake3 hash of the bytes: equal for equal content, however it is kept.
    ///
    /// # Errors
    ///
    /// [`ImageError::System`].
    pub fn digest(&self) -> Result<[u8; 32], ImageError> {
        let mut hasher = blake3::Hasher::new();
        self.each_chunk(|_, chunk| {
            hasher.update(chunk);
            true
        })?;
        Ok(hasher.finalize().into())
    }

    /// The offset of the first byte that differs between two images, or the end of the shorter one.
    ///
    /// # Errors
    ///
    /// [`ImageError::System`].
    pub fn first_difference(&self, other: &Self) -> Result<Option<u64>, ImageError> {
        let mut found = None;
        let mut failed = None;
        let mut theirs = Vec::new();
        let common = self.bytes().min(other.bytes());
        self.each_chunk(|offset, ours| {
            let len = common.saturating_sub(offset).min(ours.len() as u64);
            let Ok(len) = usize::try_from(len) else {
                unreachable!("not longer than a chunk");
            };
            theirs.resize(len, 0);
            if let Err(error) = other.read(offset, &mut theirs) {
                failed = Some(error);
                return false;
            }
            let differs = ours.iter().zip(&theirs).position(|(a, b)| a != b);
            found = differs.map(|position| offset + position as u64);
            found.is_none() && len == ours.len()
        })?;
        match failed {
            Some(error) => Err(error),
            None if self.bytes() == other.bytes() => Ok(found),
            None => Ok(found.or(Some(common))),
        }
    }

    /// Shows the content to `look`, a chunk at a time, until that returns `false`.
    fn each_chunk(&self, mut look: impl FnMut(u64, &[u8]) -> bool) -> Result<(), ImageError> {
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut offset = 0;
        while offset < self.bytes() {
            let left = usize::try_from(self.bytes() - offset).unwrap_or(usize::MAX);
            let chunk = &mut chunk[..left.min(CHUNK_BYTES)];
            self.read(offset, chunk)?;
            if !look(offset, chunk) {
                break;
            }
            offset += chunk.len() as u64;
        }
        Ok(())
    }
}

/// See [`MemoryImage::view`].
pub struct ImageView<'a> {
    image: &'a MemoryImage,
    #[cfg(target_os = "linux")]
    mapped: Option<view::MappedView>,
}

impl ImageView<'_> {
    /// The bytes of a range. Those that are nowhere as a whole are copied to `copy`.
    ///
    /// # Errors
    ///
    /// As [`MemoryImage::read`].
    pub fn bytes<'b>(
        &'b self,
        offset: u64,
        len: usize,
        copy: &'b mut Vec<u8>,
    ) -> Result<&'b [u8], ImageError> {
        #[cfg(target_os = "linux")]
        if let Some(mapped) = &self.mapped
            && let Ok(from) = usize::try_from(offset)
            && let Some(to) = from.checked_add(len)
            && let Some(bytes) = mapped.bytes(from..to)
        {
            return Ok(bytes);
        }
        // What could not be mapped gives its error here.
        copy.resize(len, 0);
        self.image.read(offset, copy)?;
        Ok(copy)
    }
}

impl fmt::Debug for ImageView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ImageView").field(self.image).finish()
    }
}

#[cfg(target_os = "linux")]
use linux::page_bytes;

/// The alignment that a region needs where nothing is mapped.
#[cfg(not(target_os = "linux"))]
fn page_bytes() -> usize {
    1
}

/// The bytes that are read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Gives a memory's pages back to the system, a few MiB at a time: page faults of other threads
/// never wait long for it. The memory's content is unspecified afterwards. Unmapping it later is
/// quick, because no pages are left.
///
/// # Safety
///
/// As [`MemoryImage::capture`].
#[expect(unsafe_code, reason = "the caller vouches for the memory")]
pub unsafe fn discard(region: Region) {
    #[cfg(target_os = "linux")]
    // SAFETY: as our own.
    unsafe {
        linux::discard(region);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = region;
}

impl fmt::Debug for MemoryImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryImage")
            .field("bytes", &self.bytes())
            .field("bytes_kept", &self.bytes_kept())
            .finish_non_exhaustive()
    }
}
