//! Images of memories that are reserved and grown as in an engine.

#![expect(unsafe_code, reason = "makes memories as an engine does")]
#![allow(
    clippy::unwrap_used,
    reason = "in a test, a failed expectation is a failed test"
)]
#![cfg(target_os = "linux")]

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::ptr::{NonNull, null_mut};

use memory_image::{FILE_EXTENTS_MAX, ImageError, ImageFile, MemoryImage, Region, discard};
use proptest::prelude::*;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};

const PAGE: usize = 65_536;

/// A linear memory: a reservation whose first bytes can be accessed.
struct Memory {
    base: NonNull<u8>,
    bytes: usize,
    reserved: usize,
}

impl Memory {
    fn new(pages: usize) -> Self {
        let reserved = 1024 * PAGE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: a fresh mapping at an address of the system's choice.
        let base = unsafe { mmap_anonymous(null_mut(), reserved, ProtFlags::empty(), flags) };
        let mut memory = Self {
            base: NonNull::new(base.unwrap().cast()).unwrap(),
            bytes: 0,
            reserved,
        };
        memory.grow(pages);
        memory
    }

    fn grow(&mut self, pages: usize) {
        let access = MprotectFlags::READ | MprotectFlags::WRITE;
        self.bytes += pages * PAGE;
        assert!(self.bytes <= self.reserved);
        // SAFETY: the range is in our reservation.
        unsafe { mprotect(self.base.as_ptr().cast(), self.bytes, access) }.unwrap();
    }

    fn region(&self) -> Region {
        Region::new(self.base, self.bytes).unwrap()
    }

    fn data(&mut self) -> &mut [u8] {
        // SAFETY: the bytes can be accessed, and we are borrowed meanwhile.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }

    fn capture(&mut self, since: Option<&MemoryImage>) -> MemoryImage {
        // SAFETY: nobody has a reference into the memory, which is ours alone.
        unsafe { MemoryImage::capture(self.region(), since) }.unwrap()
    }

    fn restore(&mut self, image: &MemoryImage) {
        // SAFETY: as above.
        unsafe { image.restore(self.region()) }.unwrap();
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: it is our reservation, and nobody uses it any more.
        unsafe { munmap(self.base.as_ptr().cast(), self.reserved) }.unwrap();
    }
}

fn content(image: &MemoryImage) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(image.bytes()).unwrap()];
    image.read(0, &mut bytes).unwrap();
    bytes
}

/// The same image, from a file that nobody else can reach: it has no name any more. With `private`
/// false anybody may have been writing to it.
fn through_file(image: &MemoryImage, private: bool) -> MemoryImage {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image");
    let file = File::create_new(&path).unwrap();
    let mut seen = Vec::new();
    let offset = 3 * PAGE as u64;
    let written = image
        .write_to(&file, offset, |bytes| seen.extend_from_slice(bytes))
        .unwrap();
    let mode = if private { 0o400 } else { 0o600 };
    file.set_permissions(Permissions::from_mode(mode)).unwrap();
    drop(file);
    let extents: u64 = written.extents.iter().map(|extent| extent.len).sum();
    assert_eq!(written.end - offset, extents);
    assert!(seen == std::fs::read(&path).unwrap()[3 * PAGE..]);
    let file = ImageFile::open(&path).unwrap();
    assert_eq!(file.is_private(), private);
    let image = MemoryImage::of_file(&file, image.bytes(), &written.extents).unwrap();
    if !private {
        // It was copied.
        std::fs::write(&path, b"").unwrap();
    }
    image
}

#[test]
fn an_image_of_a_file_is_mapped_as_any_other_and_continued() {
    for private in [true, false] {
        let mut memory = Memory::new(64);
        memory.data()[PAGE..].fill(0x5a);
        let whole = memory.capture(None);
        let first = through_file(&whole, private);
        assert_eq!(first.bytes_kept(), 63 * PAGE as u64);
        assert_eq!(first.digest().unwrap(), whole.digest().unwrap());
        let mut next = Memory::new(64);
        next.restore(&first);
        assert!(next.data() == memory.data());
        next.data()[10 * PAGE] = 1;
        next.data()[5] = 2;
        next.grow(4);
        let second = next.capture(Some(&first));
        assert_eq!(second.bytes_kept(), 2 * 4096);
        // What was written to the memory is not in the file.
        assert_eq!(first.digest().unwrap(), whole.digest().unwrap());
        // An image of changes is written as a whole, and needs the older file no more.
        let third = through_file(&second, private);
        drop((first, second));
        let mut last = Memory::new(68);
        last.restore(&third);
        assert!(last.data() == next.data());
        let unchanged = last.capture(Some(&third));
        assert_eq!(unchanged.bytes_kept(), 0);
    }
}

#[test]
fn a_buffer_is_written_to_a_file_as_a_mapping_is() {
    let mut memory = Memory::new(40);
    memory.data()[30 * PAGE] = 1;
    let buffer = MemoryImage::of_bytes(memory.data());
    let read = through_file(&buffer, true);
    assert_eq!(buffer.first_difference(&read).unwrap(), None);
    assert_eq!(read.bytes_kept(), PAGE as u64);
}

#[test]
fn a_view_shows_what_is_read() {
    let mut memory = Memory::new(64);
    memory.data()[..40 * PAGE].fill(0x5a);
    memory.data()[3 * PAGE + 5] = 1;
    memory.data()[62 * PAGE] = 7;
    let whole = memory.capture(None);
    let buffer = MemoryImage::of_bytes(memory.data());
    for image in [
        whole.clone(),
        through_file(&whole, true),
        through_file(&whole, false),
        buffer,
    ] {
        let view = image.view();
        let ranges = [
            (0, 64 * PAGE),
            (3 * PAGE + 5, 1),
            (3 * PAGE + 4097, 20_000),
            (39 * PAGE, 2 * PAGE),
            (62 * PAGE, 2 * PAGE),
            (64 * PAGE, 0),
        ];
        for (offset, len) in ranges {
            let mut copy = vec![9; 3];
            let shown = view.bytes(offset as u64, len, &mut copy).unwrap();
            assert!(shown == &memory.data()[offset..offset + len], "{offset}");
        }
        let mut copy = Vec::new();
        let outside = view.bytes(64 * PAGE as u64 - 1, 2, &mut copy);
        assert!(matches!(outside, Err(ImageError::Size { .. })));
    }
}

/// A plain access to such a page would end the process.
#[test]
fn a_view_of_a_page_that_its_file_has_lost_is_an_error() {
    let mut memory = Memory::new(64);
    memory.data().fill(0x5a);
    let file = tempfile::NamedTempFile::new().unwrap();
    let written = memory.capture(None).write_to(file.as_file(), 0, |_| ());
    let extents = written.unwrap().extents;
    let read_only = Permissions::from_mode(0o400);
    file.as_file().set_permissions(read_only).unwrap();
    let opened = ImageFile::open(file.path()).unwrap();
    assert!(opened.is_private());
    let image = MemoryImage::of_file(&opened, 64 * PAGE as u64, &extents).unwrap();
    let view = image.view();
    let mut copy = Vec::new();
    assert!(view.bytes(0, PAGE, &mut copy).is_ok());
    file.as_file().set_len(32 * PAGE as u64).unwrap();
    let lost = view.bytes(40 * PAGE as u64, PAGE, &mut copy);
    assert!(matches!(lost, Err(ImageError::System { .. })), "{lost:?}");
}

#[test]
fn content_in_many_places_is_written_in_few_extents() {
    let mut memory = Memory::new(1024);
    for place in 0..=1024 / 17 {
        memory.data()[place * 17 * PAGE] = 1;
    }
    let image = memory.capture(None);
    let file = tempfile::tempfile().unwrap();
    let written = image.write_to(&file, 0, |_| ()).unwrap();
    assert_eq!(written.extents.len(), FILE_EXTENTS_MAX);
    assert_eq!(written.bytes_kept, 61 * 4096);
    let read = through_file(&image, true);
    assert_eq!(image.first_difference(&read).unwrap(), None);
}

#[test]
fn a_memory_without_content_has_no_extents() {
    for pages in [0, 5] {
        let image = MemoryImage::of_bytes(&vec![0; pages * PAGE]);
        let read = through_file(&image, true);
        assert_eq!(
            (read.bytes(), read.bytes_kept()),
            ((pages * PAGE) as u64, 0)
        );
        assert_eq!(image.first_difference(&read).unwrap(), None);
    }
}

#[test]
fn a_memory_goes_on_with_its_bytes_and_the_image_keeps_them() {
    let mut memory = Memory::new(3);
    memory.data()[70_000] = 7;
    let image = memory.capture(None);
    assert_eq!(memory.data()[70_000], 7);
    memory.data()[70_000] = 8;
    memory.data()[0] = 9;
    let mut other = Memory::new(3);
    other.data().fill(0xff);
    other.restore(&image);
    assert_eq!((other.data()[0], other.data()[70_000]), (0, 7));
    assert_eq!(memory.data()[70_000], 8);
    other.data()[70_000] = 10;
    assert_eq!(content(&image)[70_000], 7);
}

#[test]
fn only_pages_that_hold_something_are_kept() {
    let mut memory = Memory::new(160);
    memory.data()[5 * PAGE] = 1;
    memory.data()[100 * PAGE] = 1;
    let image = memory.capture(None);
    assert_eq!(image.bytes(), 160 * PAGE as u64);
    assert_eq!(image.bytes_kept(), 2 * 4096);
}

#[test]
fn a_second_image_keeps_what_changed_and_shares_the_rest() {
    let mut memory = Memory::new(64);
    memory.data().fill(0x5a);
    let first = memory.capture(None);
    assert_eq!(first.bytes_kept(), first.bytes());
    let mut next = Memory::new(64);
    next.restore(&first);
    next.data()[10 * PAGE] = 1;
    next.grow(4);
    next.data()[65 * PAGE + 1] = 2;
    let second = next.capture(Some(&first));
    assert_eq!(second.bytes_kept(), 2 * 4096);
    let expected = next.data().to_vec();
    drop(first);
    assert!(content(&second) == expected);
    let mut third = Memory::new(68);
    third.restore(&second);
    assert!(third.data() == expected);
    let unchanged = third.capture(Some(&second));
    assert_eq!(unchanged.bytes_kept(), 0);
    assert_eq!(unchanged.digest().unwrap(), second.digest().unwrap());
}

#[test]
fn a_page_that_became_zero_is_zero_in_the_next_image() {
    let mut memory = Memory::new(16);
    memory.data().fill(3);
    let first = memory.capture(None);
    memory.data()[4096..8192].fill(0);
    let second = memory.capture(Some(&first));
    let mut other = Memory::new(16);
    other.data().fill(9);
    other.restore(&second);
    assert_eq!(
        (other.data()[4095], other.data()[4096], other.data()[8191]),
        (3, 0, 0)
    );
    assert_eq!(other.data()[8192], 3);
    assert_eq!(first.first_difference(&second).unwrap(), Some(4096));
}

#[test]
fn content_decides_the_digest_and_not_how_it_is_kept() {
    let mut memory = Memory::new(2);
    memory.data()[1000] = 1;
    let buffer = MemoryImage::of_bytes(memory.data());
    let mapped = memory.capture(None);
    assert_eq!(buffer.digest().unwrap(), mapped.digest().unwrap());
    assert_eq!(buffer.first_difference(&mapped).unwrap(), None);
    let mut other = Memory::new(2);
    other.restore(&buffer);
    assert_eq!(other.data()[1000], 1);
    let shorter = MemoryImage::of_bytes(&content(&mapped)[..PAGE]);
    assert_eq!(
        shorter.first_difference(&mapped).unwrap(),
        Some(PAGE as u64)
    );
}

#[test]
fn another_size_is_refused_and_changes_nothing() {
    let image = Memory::new(2).capture(None);
    let mut memory = Memory::new(3);
    memory.data()[0] = 1;
    // SAFETY: nobody has a reference into the memory.
    let refused = unsafe { image.restore(memory.region()) };
    assert!(matches!(refused, Err(ImageError::Size { .. })));
    assert_eq!(memory.data()[0], 1);
    assert!(matches!(
        image.read(2 * PAGE as u64, &mut [0]),
        Err(ImageError::Size { .. })
    ));
    assert!(matches!(
        image.read(u64::MAX, &mut [0; 2]),
        Err(ImageError::Size { .. })
    ));
    let unaligned = Region::new(memory.base, 100);
    assert!(matches!(unaligned, Err(ImageError::Unaligned { .. })));
}

#[test]
fn what_is_given_back_can_still_be_accessed() {
    let mut memory = Memory::new(200);
    memory.data().fill(1);
    // SAFETY: nobody has a reference into the memory.
    unsafe { discard(memory.region()) };
    assert_eq!(memory.data()[0], 0);
    memory.data().fill(2);
    let image = memory.capture(None);
    // SAFETY: as above.
    unsafe { discard(memory.region()) };
    assert_eq!(memory.data()[17], 2);
    drop(image);
}

/// A step of the test.
#[derive(Clone, Debug)]
enum Step {
    Write {
        at: u32,
        len: u16,
        byte: u8,
    },
    Grow(u8),
    Capture,
    Restore,
    /// Restore the newest image from a file.
    Reopen {
        private: bool,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (any::<u32>(), any::<u16>(), 0_u8..4).prop_map(|(at, len, byte)| Step::Write { at, len, byte }),
        1 => (1_u8..40).prop_map(Step::Grow),
        3 => Just(Step::Capture),
        2 => Just(Step::Restore),
        1 => any::<bool>().prop_map(|private| Step::Reopen { private }),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Takes chains of images of growing memories, and compares them with copies of the bytes.
    #[test]
    fn every_image_of_a_chain_holds_what_its_memory_held(steps in steps()) {
        let mut memory = Memory::new(1);
        let mut model = vec![0_u8; PAGE];
        let mut newest: Option<(MemoryImage, Vec<u8>)> = None;
        for step in steps {
            match step {
                Step::Write { at, len, byte } => {
                    let at = at as usize % model.len();
                    let end = model.len().min(at + len as usize);
                    model[at..end].fill(byte);
                    memory.data()[at..end].fill(byte);
                }
                Step::Grow(pages) if model.len() + usize::from(pages) * PAGE <= 1024 * PAGE => {
                    memory.grow(pages.into());
                    model.resize(model.len() + usize::from(pages) * PAGE, 0);
                }
                Step::Grow(_) => {}
                Step::Capture => {
                    let image = memory.capture(newest.as_ref().map(|(image, _)| image));
                    prop_assert!(content(&image) == model);
                    newest = Some((image, model.clone()));
                }
                Step::Restore => if let Some((image, held)) = &newest {
                    memory = Memory::new(held.len() / PAGE);
                    memory.restore(image);
                    model.clone_from(held);
                },
                Step::Reopen { private } => if let Some((image, held)) = &mut newest {
                    *image = through_file(image, private);
                    memory = Memory::new(held.len() / PAGE);
                    memory.restore(image);
                    model.clone_from(held);
                },
            }
            prop_assert!(memory.data() == model);
        }
    }
}
