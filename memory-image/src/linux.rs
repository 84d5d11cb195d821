//! Images in sealed memfds, mapped copy-on-write.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous};

use crate::extents::{Extent as ExtentOf, overlay};
use crate::file::{FileExtent, ImageFile, is_zero};
use crate::{CHUNK_BYTES, ImageError, Region};

/// The bytes that are moved, or given back, at a time. No more than this exists twice at any
/// moment, and a thread that waits for the process's memory map waits no longer than this takes.
const SLICE_BYTES: usize = 4 << 20;

/// Zeros of this length and more are mapped as anonymous pages, not kept as a hole in the file,
/// where the first write to each page would cost two pages.
const ZEROS_BYTES: usize = 1 << 20;

/// The most extents of an image. Restoring each takes a system call of about a microsecond, and one
/// of the 65,530 mappings that a process may have.
const EXTENTS_MAX: usize = 128;

/// The most files that an image refers to. Each is an open file descriptor.
const FILES_MAX: usize = 8;

/// If more than one part in this many of a memory has changed, the new image is made whole and
/// shares nothing with the older one.
const CHANGED_PART_MAX: usize = 4;

type Extent = ExtentOf<Arc<OwnedFd>>;

/// The content of a memory in sealed memfds, or in a private file ([`crate::ImageFile`]).
pub(crate) struct Mapped {
    bytes: usize,
    bytes_kept: u64,
    /// In the order of their offsets, without gaps.
    extents: Vec<Extent>,
}

impl Mapped {
    /// # Safety
    ///
    /// As [`crate::MemoryImage::capture`].
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    pub(crate) unsafe fn capture(region: Region, since: Option<&Self>) -> Result<Self, ImageError> {
        // SAFETY: as our own.
        unsafe {
            if let Some(since) = since
                && let Some(image) = Self::capture_changes(region, since)?
            {
                return Ok(image);
            }
            Self::capture_whole(region)
        }
    }

    /// # Safety
    ///
    /// As [`crate::MemoryImage::capture`].
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    unsafe fn capture_whole(region: Region) -> Result<Self, ImageError> {
        let mut moved = Move::new(region, region.bytes)?;
        let mut start = 0;
        while start < region.bytes {
            let len = SLICE_BYTES.min(region.bytes - start);
            // SAFETY: as our own.
            unsafe { moved.slice(start, len, start as u64) }?;
            start += len;
        }
        let (extents, bytes_kept) = moved.finish()?;
        Ok(Self {
            bytes: region.bytes,
            bytes_kept,
            extents,
        })
    }

    /// An image of the changes since an older one, or `None` if a whole image is better.
    ///
    /// # Safety
    ///
    /// As [`crate::MemoryImage::capture`].
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    unsafe fn capture_changes(region: Region, since: &Self) -> Result<Option<Self>, ImageError> {
        // Memories do not shrink: this memory never held that image.
        if since.bytes > region.bytes || since.files() >= FILES_MAX {
            return Ok(None);
        }
        let Some(changed) = changed_runs(region) else {
            return Ok(None);
        };
        let changed_bytes: usize = changed.iter().map(|(_, len)| len).sum();
        let extents_at_most = since.extents.len() + 2 * changed.len() + 1;
        if changed_bytes > region.bytes / CHANGED_PART_MAX || extents_at_most > EXTENTS_MAX {
            return Ok(None);
        }
        let mut older = since.extents.clone();
        if since.bytes < region.bytes {
            // The pages by which the memory has grown are zeros until somebody writes to them.
            older.push(Extent {
                start: since.bytes,
                len: region.bytes - since.bytes,
                source: None,
            });
        }
        if changed.is_empty() {
            return Ok(Some(Self {
                bytes: region.bytes,
                bytes_kept: 0,
                extents: older,
            }));
        }
        let mut moved = Move::new(region, changed_bytes)?;
        let mut offset = 0;
        for (start, len) in changed {
            for at in (start..start + len).step_by(SLICE_BYTES) {
                let part = SLICE_BYTES.min(start + len - at);
                // SAFETY: as our own.
                unsafe { moved.slice(at, part, offset) }?;
                offset += part as u64;
            }
        }
        let (newer, bytes_kept) = moved.finish()?;
        Ok(Some(Self {
            bytes: region.bytes,
            bytes_kept,
            extents: overlay(&older, &newer),
        }))
    }

    /// An image of a file, mapped from it if it is private, and else from a sealed copy. The
    /// extents are checked.
    pub(crate) fn of_file(
        file: &ImageFile,
        bytes: usize,
        parts: &[FileExtent],
    ) -> Result<Self, ImageError> {
        let mut image = Self {
            bytes,
            bytes_kept: parts.iter().map(|part| part.len).sum(),
            extents: Vec::with_capacity(2 * parts.len() + 1),
        };
        let (file, offsets) = if file.is_private() {
            let offsets = parts.iter().map(|part| part.offset).collect();
            (Arc::clone(&file.file), offsets)
        } else {
            copied(&file.file, parts)?
        };
        let gap = |from: usize, to: usize| Extent {
            start: from,
            len: to - from,
            source: None,
        };
        let mut at = 0;
        for (part, offset) in parts.iter().zip(offsets) {
            let extent = Extent {
                start: usize::try_from(part.start).expect("it is in the memory"),
                len: usize::try_from(part.len).expect("it is in the memory"),
                source: Some((Arc::clone(&file), offset)),
            };
            if at < extent.start {
                image.extents.push(gap(at, extent.start));
            }
            at = extent.end();
            image.extents.push(extent);
        }
        if at < bytes {
            image.extents.push(gap(at, bytes));
        }
        Ok(image)
    }

    /// # Safety
    ///
    /// As [`crate::MemoryImage::restore`], and the sizes are equal.
    #[expect(unsafe_code, reason = "the caller vouches for the memory")]
    pub(crate) unsafe fn restore(&self, region: Region) -> Result<(), ImageError> {
        for extent in &self.extents {
            // SAFETY: as our own; extents are parts of the memory.
            unsafe { map(region, extent) }.map_err(failed("map an image"))?;
        }
        Ok(())
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    pub(crate) fn bytes_kept(&self) -> u64 {
        self.bytes_kept
    }

    /// Copies bytes out. The caller has checked the range.
    pub(crate) fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), ImageError> {
        let from = usize::try_from(offset).expect("the bytes are in the image");
        let to = from + buffer.len();
        let first = self.extents.partition_point(|extent| extent.end() <= from);
        for extent in &self.extents[first..] {
            let Some(part) = extent.part(from, to) else {
                break;
            };
            let wanted = &mut buffer[part.start - from..][..part.len];
            match part.source {
                None => wanted.fill(0),
                Some((file, offset)) => {
                    read_exact(&file, offset, wanted).map_err(failed("read an image"))?;
                }
            }
        }
        Ok(())
    }

    /// The extents that files hold: the offset in the memory, the length, the file, and the offset in
    /// it. In the order of their offsets in the memory.
    pub(crate) fn in_files(&self) -> impl Iterator<Item = (usize, usize, &OwnedFd, u64)> {
        let extents = self.extents.iter();
        extents.filter_map(|extent| {
            let (file, offset) = extent.source.as_ref()?;
            Some((extent.start, extent.len, &**file, *offset))
        })
    }

    /// How many different files the extents refer to.
    fn files(&self) -> usize {
        let files = self
            .extents
            .iter()
            .filter_map(|extent| extent.source.as_ref());
        let mut files: Vec<_> = files.map(|(file, _)| Arc::as_ptr(file)).collect();
        files.sort_unstable();
        files.dedup();
        files.len()
    }
}

/// A memory on its way into a file.
struct Move {
    region: Region,
    file: Arc<OwnedFd>,
    extents: Vec<Extent>,
    bytes_kept: u64,
}

impl Move {
    /// Makes a file of `bytes` bytes for the parts that will be moved.
    fn new(region: Region, bytes: usize) -> Result<Self, ImageError> {
        let file = new_file(bytes as u64)?;
        Ok(Self {
            region,
            file: Arc::new(file),
            extents: Vec::new(),
            bytes_kept: 0,
        })
    }

    /// Moves a part of the memory to an offset in the file.
    ///
    /// # Safety
    ///
    /// As [`crate::MemoryImage::capture`]; the part is in the memory.
    #[expect(unsafe_code, reason = "reads a guest's memory and maps over it")]
    unsafe fn slice(&mut self, start: usize, len: usize, offset: u64) -> Result<(), ImageError> {
        debug_assert!(start + len <= self.region.bytes);
        let mut parts = Vec::new();
        {
            // SAFETY: the memory can be read, nobody writes to it meanwhile, and the reference ends
            // with the block, before anything is mapped.
            let bytes =
                unsafe { std::slice::from_raw_parts(self.region.base.as_ptr().add(start), len) };
            for run in runs_of(bytes, self.extents.len() + 2 < EXTENTS_MAX) {
                let offset = offset + run.start as u64;
                if !run.zeros {
                    let written = write_pages(&self.file, &bytes[run.start..][..run.len], offset);
                    self.bytes_kept += written.map_err(failed("write an image"))?;
                }
                parts.push(Extent {
                    start: start + run.start,
                    len: run.len,
                    source: (!run.zeros).then(|| (Arc::clone(&self.file), offset)),
                });
            }
        }
        for part in parts {
            // SAFETY: the part is in the memory, whose content the file has by now.
            if let Err(error) = unsafe { map(self.region, &part) } {
                // SAFETY: as above; a mapping that failed has left zeros.
                unsafe { put_back(self.region, &part) };
                return Err(failed("map an image")(error));
            }
            self.add(part);
        }
        Ok(())
    }

    fn add(&mut self, part: Extent) {
        if let Some(last) = self.extents.last_mut()
            && last.end() == part.start
        {
            let follows = match (&last.source, &part.source) {
                (None, None) => true,
                (Some((_, before)), Some((_, after))) => before + last.len as u64 == *after,
                _ => false,
            };
            if follows {
                last.len += part.len;
                return;
            }
        }
        self.extents.push(part);
    }

    /// Seals the file: from now on nothing can change it.
    fn finish(self) -> Result<(Vec<Extent>, u64), ImageError> {
        seal(&self.file)?;
        Ok((self.extents, self.bytes_kept))
    }
}

/// A sealed copy of parts of a file, one after the other, and where each is in it.
fn copied(file: &OwnedFd, parts: &[FileExtent]) -> Result<(Arc<OwnedFd>, Vec<u64>), ImageError> {
    let bytes = parts.iter().map(|part| part.len).sum();
    let copy = new_file(bytes)?;
    let mut offsets = Vec::with_capacity(parts.len());
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut to = 0;
    for part in parts {
        offsets.push(to);
        for from in (part.offset..part.offset + part.len).step_by(CHUNK_BYTES) {
            let left = usize::try_from(part.offset + part.len - from).unwrap_or(usize::MAX);
            let chunk = &mut buffer[..left.min(CHUNK_BYTES)];
            read_exact(file, from, chunk).map_err(failed_file("read an image's file"))?;
            write_pages(&copy, chunk, to).map_err(failed("write an image"))?;
            to += chunk.len() as u64;
        }
    }
    seal(&copy)?;
    Ok((Arc::new(copy), offsets))
}

/// Who this process acts for: the owner of the files that it makes.
pub(crate) fn user() -> io::Result<u32> {
    let file = memfd_create("wasm-proxy-user", MemfdFlags::CLOEXEC)?;
    Ok(fstat(&file)?.st_uid)
}

/// Makes a file of `bytes` zeros.
fn new_file(bytes: u64) -> Result<OwnedFd, ImageError> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    memfd_create("wasm-proxy-image", flags)
        .and_then(|file| ftruncate(&file, bytes).map(|()| file))
        .map_err(failed("make a memfd"))
}

/// Seals a file: from now on nothing can change it.
fn seal(file: &OwnedFd) -> Result<(), ImageError> {
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    fcntl_add_seals(file, seals).map_err(failed("seal an image"))
}

/// A part of a slice that is all zeros, or that is not.
struct Run {
    start: usize,
    len: usize,
    zeros: bool,
}

/// Divides a slice into runs of zeros and of other pages. Short runs of zeros are merged with their
/// neighbours; with `apart` false there is one run.
fn runs_of(bytes: &[u8], apart: bool) -> Vec<Run> {
    if !apart {
        return vec![Run {
            start: 0,
            len: bytes.len(),
            zeros: false,
        }];
    }
    let page = page_bytes();
    let mut runs: Vec<Run> = Vec::new();
    for (number, content) in bytes.chunks(page).enumerate() {
        let zeros = is_zero(content);
        match runs.last_mut() {
            Some(last) if last.zeros == zeros => last.len += content.len(),
            _ => runs.push(Run {
                start: number * page,
                len: content.len(),
                zeros,
            }),
        }
    }
    let mut merged: Vec<Run> = Vec::new();
    for mut run in runs {
        run.zeros &= run.len >= ZEROS_BYTES;
        match merged.last_mut() {
            Some(last) if !last.zeros && !run.zeros => last.len += run.len,
            _ => merged.push(run),
        }
    }
    merged
}

/// Writes the pages that are not zero, and returns their size in bytes. The others stay holes.
fn write_pages(file: &OwnedFd, bytes: &[u8], offset: u64) -> io::Result<u64> {
    let page = page_bytes();
    let mut written = 0;
    let mut at = 0;
    while at < bytes.len() {
        let pages = bytes[at..].chunks(page);
        let zeros: usize = pages
            .take_while(|content| is_zero(content))
            .map(<[u8]>::len)
            .sum();
        at += zeros;
        let pages = bytes[at..].chunks(page);
        let len: usize = pages
            .take_while(|content| !is_zero(content))
            .map(<[u8]>::len)
            .sum();
        write_all(file, &bytes[at..at + len], offset + at as u64)?;
        written += len as u64;
        at += len;
    }
    Ok(written)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, bytes, offset))?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

pub(crate) fn read_exact(file: &OwnedFd, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer = &mut buffer[read..];
        offset += read as u64;
    }
    Ok(())
}

/// Maps a part of an image at its place. After an error the place holds zeros.
///
/// # Safety
///
/// As [`crate::MemoryImage::restore`]; the extent is in the memory.
#[expect(unsafe_code, reason = "maps over a guest's memory")]
unsafe fn map(region: Region, extent: &Extent) -> io::Result<()> {
    debug_assert!(extent.end() <= region.bytes);
    // The system accounts for a page when it is first written to.
    let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the place is a part of the region, for which our caller vouches: whole pages of one
    // reservation that is the memory's own, which nobody looks at. What is mapped there can be read
    // and written, as what was there before. The file is as long as its extents say and sealed, or
    // ours alone, or private.
    unsafe {
        let place = region.base.as_ptr().add(extent.start).cast();
        let mapped = match &extent.source {
            Some((file, offset)) => mmap(place, extent.len, access, flags, file.as_fd(), *offset),
            None => mmap_anonymous(place, extent.len, access, flags),
        };
        if let Err(error) = mapped {
            // The place may be unmapped by now, and the system would give it to another `mmap`.
            if mmap_anonymous(place, extent.len, access, flags).is_err() {
                std::process::abort();
            }
            return Err(error.into());
        }
    }
    Ok(())
}

/// Copies a part that could not be mapped back into the memory.
///
/// # Safety
///
/// As [`crate::MemoryImage::capture`]; the extent is in the memory.
#[expect(unsafe_code, reason = "writes a guest's memory")]
unsafe fn put_back(region: Region, extent: &Extent) {
    let Some((file, offset)) = &extent.source else {
        return;
    };
    // SAFETY: the memory can be written, nobody looks at it meanwhile, and the reference ends here.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(region.base.as_ptr().add(extent.start), extent.len)
    };
    // The file is in memory and was just written, so reading it does not fail.
    if read_exact(file, *offset, bytes).is_err() {
        std::process::abort();
    }
}

/// The pages that were written to since an image was mapped there, as offsets and lengths, or
/// `None` if the system does not tell.
fn changed_runs(region: Region) -> Option<Vec<(usize, usize)>> {
    /// Bits of an entry of `/proc/self/pagemap` (`Documentation/admin-guide/mm/pagemap.rst`). This
    /// one: the page belongs to a file or is shared.
    const FILE: u64 = 1 << 61;
    const SWAPPED: u64 = 1 << 62;
    const PRESENT: u64 = 1 << 63;
    const ENTRIES: usize = 4096;

    let pagemap = File::open("/proc/self/pagemap").ok()?;
    let page = page_bytes();
    let first = region.base.addr().get() / page;
    let pages = region.bytes / page;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut buffer = vec![0; ENTRIES * 8];
    let mut number = 0;
    while number < pages {
        let count = ENTRIES.min(pages - number);
        let buffer = &mut buffer[..count * 8];
        pagemap
            .read_exact_at(buffer, (first + number) as u64 * 8)
            .ok()?;
        for (entry, at) in buffer.as_chunks::<8>().0.iter().zip(number..) {
            let entry = u64::from_ne_bytes(*entry);
            if entry & (PRESENT | SWAPPED) == 0 || entry & FILE != 0 {
                continue;
            }
            match runs.last_mut() {
                Some((start, len)) if *start + *len == at * page => *len += page,
                _ => runs.push((at * page, page)),
            }
        }
        number += count;
    }
    Some(runs)
}

/// See [`crate::discard`].
///
/// # Safety
///
/// As [`crate::discard`].
#[expect(unsafe_code, reason = "gives a guest's pages back")]
pub(crate) unsafe fn discard(region: Region) {
    let mut start = 0;
    while start < region.bytes {
        let len = SLICE_BYTES.min(region.bytes - start);
        // SAFETY: the part is in the memory, which nobody looks at. Its pages become zeros or those
        // of the file that is mapped there; both can be read and written.
        let given_back = unsafe {
            let place = region.base.as_ptr().add(start).cast();
            madvise(place, len, Advice::LinuxDontNeed)
        };
        if given_back.is_err() {
            // For example because pages are locked. They are freed when the memory is unmapped.
            return;
        }
        start += len;
    }
}

fn failed<E: Into<io::Error>>(action: &'static str) -> impl FnOnce(E) -> ImageError {
    move |error| ImageError::System {
        action,
        source: error.into(),
    }
}

fn failed_file(action: &'static str) -> impl FnOnce(io::Error) -> ImageError {
    move |source| ImageError::File { action, source }
}

/// The size of one of the processor's pages in bytes.
pub(crate) fn page_bytes() -> usize {
    rustix::param::page_size()
}
