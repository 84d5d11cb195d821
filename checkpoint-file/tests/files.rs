//! Files keep a state to the bit, and whatever happens to a file is noticed.

#![allow(
    clippy::unwrap_used,
    reason = "in a test, a failed expectation is a failed test"
)]

mod module;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use checkpoint_file::{
    Check, Error, Found, Part, STAMP_SUFFIX, inspect, open, open_with, stamp, write,
};
use engine_api::{
    DroppedSegments, ExternRef, GlobalIndex, MemoryImage, MemoryIndex, Module, ModuleHash,
    Reference, Snapshot, SnapshotParts, TableIndex, Val,
};
use module::{Kept, Shape};
use proptest::prelude::*;
use tempfile::TempDir;

const PAGE: usize = 65_536;

/// The header's fields, as the crate's documentation lists them.
const LAYOUT_AT: usize = 16;
const FILE_BYTES_AT: usize = 60;
const CONTENTS_END_AT: usize = 68;
const SECTIONS_AT: usize = 76;
const HASH_AT: usize = 236;

/// A folder with a checkpoint of [`all_kinds`].
struct Kit {
    folder: TempDir,
    module: Shape,
    bytes: Vec<u8>,
}

impl Kit {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write(&path, &all_kinds(), b"notes").unwrap();
        Self {
            bytes: fs::read(&path).unwrap(),
            module: Shape::of_all_kinds("module"),
            folder,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("checkpoint")
    }

    /// What opening these bytes gives.
    fn outcome(&self, bytes: &[u8]) -> Result<checkpoint_file::Opened, Error> {
        let path = self.folder.path().join("changed");
        replace(&path, bytes);
        open(&path, &self.module)
    }

    fn error(&self, bytes: &[u8]) -> Error {
        self.outcome(bytes).expect_err("the file was changed")
    }

    /// The error for a file with a change that nothing but its content gives away.
    fn error_of(&self, change: impl FnOnce(&mut Vec<u8>)) -> Error {
        let mut bytes = self.bytes.clone();
        change(&mut bytes);
        reseal(&mut bytes);
        self.error(&bytes)
    }
}

/// Writes a file as `write` leaves it: read-only.
fn replace(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).unwrap();
    let mut permissions = fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(path, permissions).unwrap();
}

fn memory(pages: usize, content: &[(usize, u8)]) -> MemoryImage {
    let mut bytes = vec![0; pages * PAGE];
    for (at, byte) in content {
        bytes[*at] = *byte;
    }
    MemoryImage::of_bytes(&bytes)
}

/// The state of an instance of [`Shape::of_all_kinds`].
fn all_kinds() -> Snapshot {
    let numbers = [
        (0, Val::I32(-1)),
        (2, Val::I64(i64::MIN)),
        (4, Val::F32(0x7fc0_0001)),
        (6, Val::F64(1 << 63)),
        (7, Val::V128(u128::MAX - 7)),
    ];
    let elements = |elements: &[Reference]| Arc::from(elements);
    // Runs of content that are far apart, and a page of it in zeros.
    let first = [(0, 1), (PAGE - 1, 2), (3 * PAGE, 3), (40 * PAGE + 5000, 4)];
    let parts = SnapshotParts {
        memories: vec![
            (MemoryIndex(0), memory(50, &first)),
            (MemoryIndex(1), memory(2, &[])),
        ],
        globals: numbers
            .map(|(index, value)| (GlobalIndex(index), value))
            .into(),
        references: vec![
            (GlobalIndex(3), Reference::Function(4)),
            (GlobalIndex(5), Reference::Object(0)),
        ],
        tables: vec![
            (
                TableIndex(0),
                elements(&[Reference::Null, Reference::Function(2)]),
            ),
            (
                TableIndex(1),
                elements(&[Reference::Object(1), Reference::Object(0)]),
            ),
        ],
        dropped: DroppedSegments {
            data: vec![1, 300],
            elements: vec![0],
        },
        objects: [1, 2].map(ExternRef::new).into(),
        ..SnapshotParts::empty(ModuleHash::of(b"module"))
    };
    Snapshot::new(parts).with_host(Arc::new(Kept(b"state".to_vec())))
}

/// Where section `number` begins, and its length.
fn section(bytes: &[u8], number: usize) -> (usize, usize) {
    let length = |number: usize| number_at(bytes, SECTIONS_AT + 40 * number);
    let begin = number_at(bytes, CONTENTS_END_AT) + (0..number).map(length).sum::<usize>();
    (begin, length(number))
}

fn number_at(bytes: &[u8], at: usize) -> usize {
    let number = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    usize::try_from(number).unwrap()
}

fn put(bytes: &mut [u8], at: usize, number: u64) {
    bytes[at..at + 8].copy_from_slice(&number.to_le_bytes());
}

/// Makes the hashes of sections and header right again.
fn reseal(bytes: &mut [u8]) {
    for number in 0..4 {
        let end = number_at(bytes, CONTENTS_END_AT) as u64;
        let mut lengths = (0..4).map(|number| number_at(bytes, SECTIONS_AT + 40 * number) as u64);
        let whole = lengths.try_fold(end, u64::checked_add);
        if whole == Some(bytes.len() as u64) {
            let (begin, len) = section(bytes, number);
            let hash = blake3::hash(&bytes[begin..begin + len]);
            let at = SECTIONS_AT + 40 * number + 8;
            bytes[at..at + 32].copy_from_slice(hash.as_bytes());
        }
    }
    let hash = blake3::hash(&bytes[..HASH_AT]);
    bytes[HASH_AT..HASH_AT + 32].copy_from_slice(hash.as_bytes());
}

/// Puts another section in the place of section `number`.
fn replace_section(bytes: &mut Vec<u8>, number: usize, content: &[u8]) {
    let (begin, len) = section(bytes, number);
    bytes.splice(begin..begin + len, content.iter().copied());
    put(bytes, SECTIONS_AT + 40 * number, content.len() as u64);
    let file_bytes = bytes.len() as u64;
    put(bytes, FILE_BYTES_AT, file_bytes);
}

#[test]
fn a_state_comes_back_to_the_bit() {
    let kit = Kit::new();
    let written = all_kinds();
    for check in [Check::Before, Check::Later] {
        let opened = open_with(kit.path(), &kit.module, check).unwrap();
        assert_eq!(opened.notes, b"notes");
        let read = &opened.snapshot;
        assert_eq!(written.difference(read).unwrap(), None);
        assert_eq!(written.digest().unwrap(), read.digest().unwrap());
        assert_eq!(read.dropped(), written.dropped());
        opened.verify().unwrap();
        // What comes from a file is written to the same bytes again.
        let again = kit.folder.path().join("again");
        let second = write(&again, read, b"notes").unwrap();
        assert_eq!(second.hash, opened.hash);
        assert!(fs::read(&again).unwrap() == kit.bytes);
    }
}

#[test]
fn a_file_is_inspected_without_its_module() {
    let kit = Kit::new();
    let inspected = inspect(kit.path()).unwrap();
    assert_eq!(inspected.module, ModuleHash::of(b"module"));
    assert_eq!(inspected.notes, b"notes");
    assert_eq!(inspected.bytes, kit.bytes.len() as u64);
    assert_eq!(inspected.memory_bytes, 52 * PAGE as u64);
    assert_eq!(inspected.hash, open(kit.path(), &kit.module).unwrap().hash);
    let mut bytes = kit.bytes.clone();
    bytes[PAGE + 1] ^= 1;
    let path = kit.folder.path().join("changed");
    replace(&path, &bytes);
    assert!(matches!(inspect(&path), Err(Error::Damaged { .. })));
}

#[test]
fn a_file_is_replaced_as_a_whole_and_nothing_else_is_left_behind() {
    let kit = Kit::new();
    let path = kit.path();
    let before = open(&path, &kit.module).unwrap();
    let other = Snapshot::new(SnapshotParts::empty(ModuleHash::of(b"module")));
    let written = write(&path, &other, b"").unwrap();
    let names: Vec<_> = fs::read_dir(kit.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["checkpoint"]);
    assert_eq!(fs::metadata(&path).unwrap().len(), written.bytes);
    assert!(fs::metadata(&path).unwrap().permissions().readonly());
    // The old file lives as long as somebody has it open.
    before.verify().unwrap();
    assert_eq!(
        before.snapshot.digest().unwrap(),
        all_kinds().digest().unwrap()
    );
}

/// Writes one byte to a file as its owner can, who has to allow it for a moment.
fn touch(path: &Path, at: u64, byte: u8) {
    let allow = |readonly: bool| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(readonly);
        fs::set_permissions(path, permissions).unwrap();
    };
    allow(false);
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte]).unwrap();
    drop(file);
    allow(true);
}

#[test]
fn a_stamp_fits_until_somebody_touches_the_file() {
    let kit = Kit::new();
    let path = kit.path();
    let is_untouched = |path: &Path| Found::read(path).unwrap().is_untouched();
    let mut stamp_path = path.clone().into_os_string();
    stamp_path.push(STAMP_SUFFIX);
    assert!(!is_untouched(&path), "nobody has said so");
    stamp(&path).unwrap();
    assert!(is_untouched(&path));
    // What is put in its place is replaced, and not written through.
    let victim = kit.folder.path().join("victim");
    fs::write(&victim, b"victim").unwrap();
    fs::remove_file(&stamp_path).unwrap();
    std::os::unix::fs::symlink(&victim, &stamp_path).unwrap();
    stamp(&path).unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"victim");
    assert!(is_untouched(&path));
    // What is read, and what is mapped, changes nothing.
    open(&path, &kit.module).unwrap();
    assert!(is_untouched(&path));
    // The same byte again is a write too.
    let at = PAGE as u64;
    touch(&path, at, kit.bytes[PAGE]);
    assert!(!is_untouched(&path));
    open(&path, &kit.module).unwrap();
    Found::read(&path).unwrap().stamp().unwrap();
    assert!(is_untouched(&path));
    let whole = fs::read(&stamp_path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        fs::write(&stamp_path, flipped).unwrap();
        assert!(!is_untouched(&path), "bit {bit}");
    }
    for len in (0..whole.len()).chain([whole.len() + 1, whole.len() + 100]) {
        let mut other = whole.clone();
        other.resize(len, 0);
        fs::write(&stamp_path, other).unwrap();
        assert!(!is_untouched(&path), "{len} bytes");
    }
    fs::write(&stamp_path, &whole).unwrap();
    assert!(is_untouched(&path));
    // Another file of that name, and one that anybody may write to.
    let copy = kit.folder.path().join("copy");
    fs::copy(&path, &copy).unwrap();
    fs::copy(
        &stamp_path,
        kit.folder.path().join(format!("copy{STAMP_SUFFIX}")),
    )
    .unwrap();
    assert!(!is_untouched(&copy));
    fs::rename(&copy, &path).unwrap();
    assert!(!is_untouched(&path));
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "that is the fault")]
    permissions.set_readonly(false);
    fs::set_permissions(&path, permissions).unwrap();
    stamp(&path).unwrap();
    assert!(!is_untouched(&path));
    let found = Found::read(&path).unwrap();
    found.remove_stamp().unwrap();
    found.remove_stamp().unwrap();
    assert!(!Path::new(&stamp_path).exists());
}

#[test]
fn what_a_stamp_cannot_know_is_found_beside_other_work() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let bytes: Vec<u8> = (0..40 << 20_u32)
        .map(|at: u32| at.to_le_bytes()[1] | 1)
        .collect();
    let snapshot = Snapshot::new(SnapshotParts {
        memories: vec![(MemoryIndex(0), MemoryImage::of_bytes(&bytes))],
        ..SnapshotParts::empty(ModuleHash::of(b"module"))
    });
    write(&path, &snapshot, b"").unwrap();
    let slices = |goes_on: bool| {
        let mut slices = 0;
        let outcome = Found::read(&path).unwrap().verify_aside(|| {
            slices += 1;
            goes_on
        });
        (slices, outcome)
    };
    let (all, outcome) = slices(true);
    assert!(outcome.unwrap());
    assert!(all > 1, "{all}");
    // The disk gives another byte back.
    touch(&path, (PAGE + (35 << 20)) as u64, 0);
    stamp(&path).unwrap();
    assert!(Found::read(&path).unwrap().is_untouched());
    let (_, outcome) = slices(true);
    let error = outcome.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let (one, outcome) = slices(false);
    assert!(!outcome.unwrap(), "it was ended before");
    assert_eq!(one, 1);
}

#[test]
fn a_write_that_fails_leaves_the_folder_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").join("checkpoint");
    let error = write(&missing, &all_kinds(), b"").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
    // A folder cannot be replaced by a file: the last step fails.
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("inside")).unwrap();
    let error = write(&taken, &all_kinds(), b"").unwrap_err();
    assert!(
        matches!(
            error,
            Error::Io {
                action: "rename to",
                ..
            }
        ),
        "{error}"
    );
    assert!(matches!(
        write("/", &all_kinds(), b""),
        Err(Error::Io { .. })
    ));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn pages_of_zeros_take_no_place_on_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let pages = 512;
    let content: Vec<_> = (0..8).map(|part| (part * 64 * PAGE + 100, 7)).collect();
    let snapshot = Snapshot::new(SnapshotParts {
        memories: vec![(MemoryIndex(0), memory(pages, &content))],
        ..SnapshotParts::empty(ModuleHash::of(b"module"))
    });
    let written = write(&path, &snapshot, b"").unwrap();
    assert_eq!(written.bytes_kept, 8 * 4096);
    assert!(written.bytes < 12 * PAGE as u64, "{written:?}");
    let module = Shape::of_memories("module", 1);
    let opened = open(&path, &module).unwrap();
    assert_eq!(snapshot.difference(&opened.snapshot).unwrap(), None);
}

#[test]
fn what_no_file_can_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |snapshot: &Snapshot, word: &str| {
        let error = write(folder.path().join("checkpoint"), snapshot, b"").unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        assert!(error.to_string().contains(word), "{error}");
    };
    let parts = || SnapshotParts::empty(ModuleHash::of(b"module"));
    let objects = Snapshot::new(SnapshotParts {
        references: vec![(GlobalIndex(0), Reference::Object(0))],
        objects: vec![ExternRef::new(1)],
        ..parts()
    });
    refused(&objects, "objects of the host");
    let odd = Snapshot::new(SnapshotParts {
        memories: vec![(MemoryIndex(0), MemoryImage::of_bytes(&[1, 2, 3]))],
        ..parts()
    });
    refused(&odd, "whole number of pages");
    let reference = Snapshot::new(SnapshotParts {
        globals: vec![(GlobalIndex(4), Val::FuncRef(None))],
        ..parts()
    });
    refused(&reference, "global 4");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn another_module_and_other_versions_are_told_apart() {
    let kit = Kit::new();
    let other = Shape::of_all_kinds("another");
    match open(kit.path(), &other).unwrap_err() {
        Error::Module {
            found, expected, ..
        } => {
            assert_eq!(found, ModuleHash::of(b"module"));
            assert_eq!(expected, other.info().hash());
        }
        error => panic!("{error}"),
    }
    for (number, name) in ["layout", "encoding", "snapshot's format"]
        .into_iter()
        .enumerate()
    {
        let at = LAYOUT_AT + 4 * number;
        let error = kit.error_of(|bytes| bytes[at] += 1);
        assert!(
            matches!(error, Error::Version { what, found, known, .. }
                if what == name && found == known + 1),
            "{error}"
        );
    }
    // Of another layout nothing else is believed.
    let mut bytes = kit.bytes.clone();
    bytes[LAYOUT_AT] = 9;
    assert!(matches!(kit.error(&bytes), Error::Version { found: 9, .. }));
    for foreign in [
        &b"something else of some length"[..],
        b"w0",
        &vec![0; 100_000],
    ] {
        assert!(matches!(kit.error(foreign), Error::Foreign { .. }));
    }
    assert!(matches!(kit.error(b""), Error::Length { bytes: 0, .. }));
    assert!(matches!(
        open(kit.folder.path(), &kit.module),
        Err(Error::Io { .. })
    ));
    assert!(matches!(
        open("/nowhere/at/all", &kit.module),
        Err(Error::Io { .. })
    ));
}

#[test]
fn every_cut_is_noticed_and_so_is_every_addition() {
    let kit = Kit::new();
    let whole = kit.bytes.len();
    let lengths = (0..300)
        .chain((300..whole).step_by(997))
        .chain(whole - 300..whole);
    for len in lengths {
        let error = kit.error(&kit.bytes[..len]);
        assert!(
            matches!(error, Error::Length { bytes, .. } if bytes == len as u64),
            "{error}"
        );
    }
    let longer = [&*kit.bytes, &[0]].concat();
    assert!(matches!(kit.error(&longer), Error::Length { .. }));
}

#[test]
fn every_flipped_bit_is_noticed_in_the_part_that_it_is_in() {
    let kit = Kit::new();
    let whole = kit.bytes.len();
    let contents_end = number_at(&kit.bytes, CONTENTS_END_AT);
    let sections: Vec<usize> = (0..4).map(|number| section(&kit.bytes, number).0).collect();
    let sampled = (0..300)
        .chain((300..whole).step_by(641))
        .chain(contents_end..whole);
    for at in sampled {
        let mut bytes = kit.bytes.clone();
        bytes[at] ^= 1 << (at % 8);
        let error = kit.error(&bytes);
        let expected = match at {
            0..LAYOUT_AT => {
                assert!(matches!(error, Error::Foreign { .. }), "{error}");
                continue;
            }
            LAYOUT_AT..20 => {
                assert!(
                    matches!(error, Error::Version { what: "layout", .. }),
                    "{error}"
                );
                continue;
            }
            20..PAGE => Part::Header,
            _ if at < contents_end => {
                assert!(
                    matches!(
                        error,
                        Error::Damaged {
                            part: Part::Content { memory: 0, .. },
                            ..
                        }
                    ),
                    "{at}: {error}"
                );
                continue;
            }
            _ if at < sections[1] => Part::Memories,
            _ if at < sections[2] => Part::State,
            _ if at < sections[3] => Part::Host,
            _ => Part::Notes,
        };
        assert!(
            matches!(&error, Error::Damaged { part, .. } if *part == expected),
            "{at}: {error}"
        );
    }
}

/// The content alone is not looked at before it is asked for, and then it is.
#[test]
fn damage_is_found_later_if_it_is_looked_for_later() {
    let kit = Kit::new();
    let mut bytes = kit.bytes.clone();
    bytes[PAGE + 10] ^= 1;
    let path = kit.folder.path().join("changed");
    replace(&path, &bytes);
    let opened = open_with(&path, &kit.module, Check::Later).unwrap();
    let error = opened.verify().unwrap_err();
    let offset = match error {
        Error::Damaged {
            part: Part::Content { memory: 0, offset },
            ..
        } => offset,
        error => panic!("{error}"),
    };
    assert_eq!(offset, 0);
}

#[test]
fn contents_are_checked_before_there_is_a_module() {
    let kit = Kit::new();
    let found = Found::read(kit.path()).unwrap();
    found.verify().unwrap();
    let opened = found.open(&kit.module).unwrap();
    assert_eq!(all_kinds().difference(&opened.snapshot).unwrap(), None);
    let mut bytes = kit.bytes.clone();
    bytes[PAGE + 10] ^= 1;
    let path = kit.folder.path().join("changed");
    replace(&path, &bytes);
    let found = Found::read(&path).unwrap();
    let error = found.verify().unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn swapped_sections_are_noticed() {
    let kit = Kit::new();
    for (one, other) in [(0, 1), (1, 2), (2, 3), (0, 3)] {
        let of = |number| {
            let (begin, len) = section(&kit.bytes, number);
            kit.bytes[begin..begin + len].to_vec()
        };
        let (first, second) = (of(one), of(other));
        let error = kit.error_of(|bytes| {
            replace_section(bytes, one, &second);
            replace_section(bytes, other, &first);
        });
        assert!(
            matches!(error, Error::Invalid { .. } | Error::Host { .. }),
            "{error}"
        );
    }
}

#[test]
fn no_length_is_believed() {
    let kit = Kit::new();
    let at = [FILE_BYTES_AT, CONTENTS_END_AT]
        .into_iter()
        .chain((0..4).map(|number| SECTIONS_AT + 40 * number));
    for at in at {
        for length in [0, 1, 1 << 20, 1 << 40, 1 << 63, u64::MAX - 1, u64::MAX] {
            let error = kit.error_of(|bytes| put(bytes, at, length));
            assert!(
                matches!(error, Error::Invalid { .. } | Error::Length { .. }),
                "{length} at {at}: {error}"
            );
        }
    }
    // A file that is as long as it says, of which most is a hole.
    let path = kit.folder.path().join("large");
    let mut bytes = kit.bytes.clone();
    let notes = (2 << 30) + 1;
    let whole = kit.bytes.len() as u64 - 5 + notes;
    put(&mut bytes, SECTIONS_AT + 40 * 3, notes);
    put(&mut bytes, FILE_BYTES_AT, whole);
    reseal(&mut bytes);
    fs::write(&path, &bytes).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(whole)
        .unwrap();
    let error = open(&path, &kit.module).unwrap_err();
    assert!(error.to_string().contains("notes"), "{error}");
}

type Change = fn(&mut SnapshotParts);

#[test]
fn a_state_that_does_not_fit_the_module_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let module = Shape::of_all_kinds("module");
    let cases: [(Change, &str); 13] = [
        (|parts| parts.memories.truncate(1), "memories"),
        (|parts| parts.memories[1].0 = MemoryIndex(2), "memories"),
        (
            |parts| parts.memories[0].1 = memory(0, &[]),
            "cannot have 0 bytes",
        ),
        (|parts| parts.globals.truncate(4), "globals of numbers"),
        (
            |parts| parts.globals[0].1 = Val::I64(1),
            "globals of numbers",
        ),
        (
            |parts| parts.globals[0].0 = GlobalIndex(1),
            "globals of numbers",
        ),
        (
            |parts| parts.references.truncate(1),
            "globals of references",
        ),
        (
            |parts| parts.references[0].1 = Reference::Function(5),
            "global 3",
        ),
        (
            |parts| parts.references[0].1 = Reference::Object(0),
            "global 3",
        ),
        (
            |parts| parts.references[1].1 = Reference::Function(0),
            "global 5",
        ),
        (|parts| parts.tables[1].0 = TableIndex(3), "no table 3"),
        (|parts| parts.tables.swap(0, 1), "not in order"),
        (|parts| parts.dropped.data.reverse(), "not in order"),
    ];
    for (change, named) in cases {
        let written = all_kinds();
        let mut parts = SnapshotParts {
            module: written.module(),
            memories: written.memories().to_vec(),
            globals: written.globals().to_vec(),
            references: written.references().to_vec(),
            tables: written.tables().to_vec(),
            dropped: written.dropped().clone(),
            objects: written.objects().to_vec(),
        };
        change(&mut parts);
        let other = Snapshot::new(parts).with_host(Arc::clone(written.host().unwrap()));
        write(&path, &other, b"").unwrap();
        let error = open(&path, &module).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains(named), "{error}");
    }
    let fewer = all_kinds().with_objects(vec![ExternRef::new(1)]);
    write(&path, &fewer, b"").unwrap();
    assert!(
        open(&path, &module)
            .unwrap_err()
            .to_string()
            .contains("other objects")
    );
    let kit = Kit::new();
    let error = kit.error_of(|bytes| replace_section(bytes, 2, b"unkept"));
    assert!(matches!(error, Error::Host { .. }), "{error}");
}

/// A file that somebody may write to is copied, so what happens to it later does not matter.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_not_private_is_copied() {
    use std::os::unix::fs::PermissionsExt;

    let kit = Kit::new();
    let path = kit.path();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let opened = open(&path, &kit.module).unwrap();
    fs::write(&path, b"").unwrap();
    opened.verify().unwrap();
    assert_eq!(
        opened.snapshot.digest().unwrap(),
        all_kinds().digest().unwrap()
    );
}

/// Whether this release writes and reads what it did when the file was made. A failure means that
/// the layout or the encoding has changed: they then need new versions, and a golden file that
/// `Kit::new` makes.
#[test]
fn the_golden_file_is_opened_and_written_alike() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/all_kinds.checkpoint");
    let module = Shape::of_all_kinds("module");
    let opened = open(&golden, &module).unwrap();
    assert_eq!(all_kinds().difference(&opened.snapshot).unwrap(), None);
    assert_eq!(opened.notes, b"notes");
    let kit = Kit::new();
    assert!(fs::read(&golden).unwrap() == kit.bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Sections with right hashes and wrong bytes give a state that fits the module, or an error.
    #[test]
    fn sections_of_any_bytes_never_panic(
        number in 0_usize..4,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let kit = Kit::new();
        let (begin, len) = section(&kit.bytes, number);
        let mut content = kit.bytes[begin..begin + len].to_vec();
        for (at, byte) in changes {
            let at = at.index(content.len());
            content[at] = byte;
        }
        if let Some(cut) = cut {
            content.truncate(cut.index(content.len()));
        }
        let mut bytes = kit.bytes.clone();
        replace_section(&mut bytes, number, &content);
        reseal(&mut bytes);
        if let Ok(opened) = kit.outcome(&bytes) {
            opened.snapshot.digest().unwrap();
        }
    }

    /// Memories of any content come back, over several extents.
    #[test]
    fn memories_of_any_content_come_back(
        pages in 0_usize..200,
        content in proptest::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..40),
    ) {
        let content = content.iter().filter(|_| pages > 0);
        let content: Vec<_> = content
            .map(|(at, byte)| (at.index(pages * PAGE), *byte))
            .collect();
        let snapshot = Snapshot::new(SnapshotParts {
            memories: vec![
                (MemoryIndex(0), memory(pages, &content)),
                (MemoryIndex(1), memory(1, &[(5, 5)])),
            ],
            ..SnapshotParts::empty(ModuleHash::of(b"module"))
        });
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write(&path, &snapshot, b"").unwrap();
        let opened = open(&path, &Shape::of_memories("module", 2)).unwrap();
        prop_assert_eq!(snapshot.difference(&opened.snapshot).unwrap(), None);
        prop_assert_eq!(snapshot.digest().unwrap(), opened.snapshot.digest().unwrap());
    }
}
