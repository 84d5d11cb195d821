//! Images in regular files: written as extents, and mapped from there.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;
use std::path::Path;
#[cfg(target_os = "linux")]
use std::sync::Arc;
#[cfg(not(target_os = "linux"))]
use std::sync::{Mutex, PoisonError};

use crate::{CHUNK_BYTES, ImageError, MemoryImage};

/// Extents in a file begin and end at multiples of this many bytes, in the memory and in the file.
/// It is a page of WebAssembly, and a multiple of every processor's pages.
pub const FILE_ALIGNMENT: u64 = 65_536;

/// Zeros of this length and more end an extent. Shorter ones are a hole in the file.
const ZEROS_BYTES: u64 = 1 << 20;

/// The most extents that an image is written in. With the zeros between them an image of a file
/// then has few enough mappings to continue it.
pub const FILE_EXTENTS_MAX: usize = 60;

/// Pages that are written apart: a page of zeros between others is left out of the file.
const PAGE_BYTES: usize = 4096;

/// A part of a memory that a file holds. All numbers are in bytes, and multiples of
/// [`FILE_ALIGNMENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileExtent {
    /// The offset in the memory.
    pub start: u64,
    /// The length, which is not zero.
    pub len: u64,
    /// The offset in the file.
    pub offset: u64,
}

impl FileExtent {
    fn end(&self) -> Option<u64> {
        self.start.checked_add(self.len)
    }
}

/// What [`MemoryImage::write_to`] has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenImage {
    /// The parts of the memory that the file holds, in order. All others are zeros.
    pub extents: Vec<FileExtent>,
    /// The bytes of pages that are not zero.
    pub bytes_kept: u64,
    /// The end of the last extent in the file.
    pub end: u64,
}

/// A regular file that images are made from. It stays open while one of them lives, so the file can
/// be unlinked meanwhile.
#[derive(Debug)]
pub struct ImageFile {
    #[cfg(target_os = "linux")]
    pub(crate) file: Arc<OwnedFd>,
    #[cfg(not(target_os = "linux"))]
    file: Mutex<File>,
    metadata: fs::Metadata,
    private: bool,
}

impl ImageFile {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::InvalidInput`] if it is no regular file.
    pub fn open(path: &Path) -> io::Result<Self> {
        let regular = |is_file: bool| {
            let error = || io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file");
            is_file.then_some(()).ok_or_else(error)
        };
        // Opening a pipe would wait for its writer.
        regular(fs::metadata(path)?.is_file())?;
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        regular(metadata.is_file())?;
        Ok(Self {
            private: is_private(&metadata)?,
            #[cfg(target_os = "linux")]
            file: Arc::new(file.into()),
            #[cfg(not(target_os = "linux"))]
            file: Mutex::new(file),
            metadata,
        })
    }

    /// The length that the file had when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.metadata.len()
    }

    /// What the system said of the file when it was opened.
    #[must_use]
    pub fn metadata(&self) -> &fs::Metadata {
        &self.metadata
    }

    /// Whether images are mapped from the file, and not copied: nobody may write to it, and only
    /// the user of this process, or the system's, could give themselves the right.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Copies bytes out.
    ///
    /// # Errors
    ///
    /// The system's; [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            crate::linux::read_exact(&self.file, offset, buffer)
        }
        #[cfg(not(target_os = "linux"))]
        {
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(offset))?;
            std::io::Read::read_exact(&mut *file, buffer)
        }
    }
}

/// Whether nobody may write to a file, and its owner is who this process acts for, or the system.
#[cfg(target_os = "linux")]
fn is_private(metadata: &fs::Metadata) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;

    let owner = metadata.uid();
    Ok(metadata.mode() & 0o222 == 0 && (owner == 0 || owner == crate::linux::user()?))
}

/// Nothing is mapped on other systems.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it can fail on Linux")]
fn is_private(_: &fs::Metadata) -> io::Result<bool> {
    Ok(false)
}

/// Refuses extents that are no parts of a memory of `bytes` bytes, or not in the file. Returns the
/// size of the memory.
pub(crate) fn check(
    file: &ImageFile,
    bytes: u64,
    extents: &[FileExtent],
) -> Result<usize, ImageError> {
    let refused = |reason| Err(ImageError::Extents { reason });
    let size = usize::try_from(bytes).ok();
    let Some(size) = size.filter(|_| bytes.is_multiple_of(FILE_ALIGNMENT)) else {
        return refused("the memory's size is no whole number of pages, or too large");
    };
    if extents.len() > FILE_EXTENTS_MAX {
        return refused("there are too many");
    }
    let mut at = 0;
    for extent in extents {
        let aligned = [extent.start, extent.len, extent.offset];
        if extent.len == 0
            || !aligned
                .iter()
                .all(|part| part.is_multiple_of(FILE_ALIGNMENT))
        {
            return refused("one does not begin or end with a page");
        }
        match extent.end() {
            Some(end) if extent.start >= at && end <= bytes => at = end,
            _ => return refused("one overlaps another, or is outside of the memory"),
        }
        let end = extent.offset.checked_add(extent.len);
        if end.is_none_or(|end| end > file.bytes()) {
            return refused("one is outside of the file");
        }
    }
    Ok(size)
}

/// See [`MemoryImage::write_to`].
pub(crate) fn write(
    image: &MemoryImage,
    file: &File,
    offset: u64,
    seen: &mut dyn FnMut(&[u8]),
) -> Result<WrittenImage, ImageError> {
    if !image.bytes().is_multiple_of(FILE_ALIGNMENT) || !offset.is_multiple_of(FILE_ALIGNMENT) {
        let reason = "the memory's size or its place in the file is no whole number of pages";
        return Err(ImageError::Extents { reason });
    }
    let mut writer = Writer {
        file,
        seen,
        written: WrittenImage {
            extents: Vec::new(),
            bytes_kept: 0,
            end: offset,
        },
    };
    let mut outcome = Ok(());
    image.each_chunk(|start, chunk| {
        let blocks = chunk.chunks(BLOCK_BYTES);
        let mut blocks = (start..).step_by(BLOCK_BYTES).zip(blocks);
        outcome = blocks.try_for_each(|(start, block)| writer.block(start, block));
        outcome.is_ok()
    })?;
    let written = writer.written;
    outcome
        .and_then(|()| Ok(file.metadata()?.len()))
        // The last page may be a hole.
        .and_then(|bytes| {
            if bytes < written.end {
                file.set_len(written.end)
            } else {
                Ok(())
            }
        })
        .map_err(|source| ImageError::File {
            action: "write an image to a file",
            source,
        })?;
    Ok(written)
}

/// The unit in which zeros are told from content, in bytes. Chunks are whole blocks.
const BLOCK_BYTES: usize = 65_536;

/// A block of zeros in an extent.
static ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];

const _: () = assert!(
    CHUNK_BYTES.is_multiple_of(BLOCK_BYTES) && BLOCK_BYTES as u64 == FILE_ALIGNMENT,
    "extents begin and end with blocks"
);

/// An image on its way into a file.
struct Writer<'a> {
    file: &'a File,
    seen: &'a mut dyn FnMut(&[u8]),
    written: WrittenImage,
}

impl Writer<'_> {
    /// Writes the block of the memory at `start`. Blocks come in order.
    fn block(&mut self, start: u64, block: &[u8]) -> io::Result<()> {
        if is_zero(block) {
            return Ok(());
        }
        self.reach(start);
        let mut pages = block.chunks(PAGE_BYTES);
        let mut at = 0;
        while at < block.len() {
            let of_kind = |zeros| move |page: &&[u8]| is_zero(page) == zeros;
            let zeros = pages.clone().take_while(of_kind(true)).count();
            pages = block[at + zeros * PAGE_BYTES..].chunks(PAGE_BYTES);
            let content = pages.clone().take_while(of_kind(false)).count();
            pages = block[at + (zeros + content) * PAGE_BYTES..].chunks(PAGE_BYTES);
            let part = &block[at + zeros * PAGE_BYTES..][..content * PAGE_BYTES];
            let offset = self.written.end + (at + zeros * PAGE_BYTES) as u64;
            write_at(self.file, offset, part)?;
            self.written.bytes_kept += part.len() as u64;
            at += (zeros + content) * PAGE_BYTES;
        }
        self.take(block);
        Ok(())
    }

    /// Makes the block at `start` the next of the last extent, or the first of a new one.
    fn reach(&mut self, start: u64) {
        let full = self.written.extents.len() >= FILE_EXTENTS_MAX;
        if let Some(last) = self.written.extents.last() {
            let zeros = start - (last.start + last.len);
            if zeros < ZEROS_BYTES || full {
                for _ in 0..zeros / FILE_ALIGNMENT {
                    self.take(&ZEROS);
                }
                return;
            }
        }
        self.written.extents.push(FileExtent {
            start,
            len: 0,
            offset: self.written.end,
        });
    }

    /// Adds a block to the last extent.
    fn take(&mut self, block: &[u8]) {
        let last = self.written.extents.last_mut();
        last.expect("a block was reached").len += block.len() as u64;
        self.written.end += block.len() as u64;
        (self.seen)(block);
    }
}

fn write_at(mut file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<64>();
    words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copying::Buffer;

    const PAGE: u64 = FILE_ALIGNMENT;

    /// A file with a page of each byte from 1 to 4.
    fn file() -> ImageFile {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        let bytes: Vec<u8> = (1..5).flat_map(|byte| vec![byte; BLOCK_BYTES]).collect();
        fs::write(&path, bytes).expect("a file");
        ImageFile::open(&path).expect("it is there")
    }

    fn extent(start: u64, len: u64, offset: u64) -> FileExtent {
        FileExtent { start, len, offset }
    }

    #[test]
    fn extents_are_put_where_they_belong_in_a_mapping_and_in_a_buffer() {
        let file = file();
        let extents = [extent(PAGE, 2 * PAGE, PAGE), extent(4 * PAGE, PAGE, 0)];
        let image = MemoryImage::of_file(&file, 6 * PAGE, &extents).expect("they fit");
        let buffer = Buffer::of_file(&file, 6 * BLOCK_BYTES, &extents).expect("they fit");
        for (page, byte) in (0..).zip([0, 2, 3, 0, 1, 0]) {
            let mut read = [(); 2].map(|()| vec![0xff; BLOCK_BYTES]);
            image.read(page * PAGE, &mut read[0]).expect("it is there");
            buffer.read(page * PAGE, &mut read[1]);
            assert!(
                read.concat().iter().all(|read| *read == byte),
                "page {page}"
            );
        }
    }

    #[test]
    fn extents_that_make_up_no_image_are_refused() {
        let file = file();
        let whole = 6 * PAGE;
        let last = u64::MAX - (PAGE - 1);
        let cases: &[(u64, &[FileExtent])] = &[
            (whole + 1, &[]),
            (whole, &[extent(0, 0, 0)]),
            (whole, &[extent(1, PAGE, 0)]),
            (whole, &[extent(0, PAGE + 4096, 0)]),
            (whole, &[extent(0, PAGE, 4096)]),
            (whole, &[extent(0, 5 * PAGE, 0)]),
            (whole, &[extent(0, PAGE, 4 * PAGE)]),
            (whole, &[extent(0, PAGE, last)]),
            (whole, &[extent(last, PAGE, 0)]),
            (whole, &[extent(0, last, 0)]),
            (whole, &[extent(5 * PAGE, 2 * PAGE, 0)]),
            (whole, &[extent(0, 2 * PAGE, 0), extent(PAGE, PAGE, 0)]),
            (whole, &[extent(PAGE, PAGE, 0), extent(0, PAGE, PAGE)]),
        ];
        for (bytes, extents) in cases {
            let refused = MemoryImage::of_file(&file, *bytes, extents);
            let refused = refused.expect_err("they fit");
            assert!(
                matches!(refused, ImageError::Extents { .. }),
                "{extents:?}: {refused}"
            );
        }
        let many: Vec<_> = (0..=FILE_EXTENTS_MAX as u64)
            .map(|number| extent(2 * number * PAGE, PAGE, 0))
            .collect();
        assert!(MemoryImage::of_file(&file, 1000 * PAGE, &many).is_err());
        assert!(MemoryImage::of_file(&file, 1000 * PAGE, &many[1..]).is_ok());
    }

    #[test]
    fn only_regular_files_hold_images() {
        let folder = std::env::temp_dir();
        let error = ImageFile::open(&folder).expect_err("it is a folder");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let odd = MemoryImage::of_bytes(&[1, 2, 3]);
        let file = tempfile::tempfile().expect("a file");
        let page = MemoryImage::of_bytes(&vec![1; BLOCK_BYTES]);
        for refused in [
            odd.write_to(&file, 0, |_| ()),
            page.write_to(&file, 4096, |_| ()),
        ] {
            assert!(matches!(refused, Err(ImageError::Extents { .. })));
        }
    }
}
