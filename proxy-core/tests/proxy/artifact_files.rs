//! The directory of artifacts: its files, damage to them, its limit, and other processes in it.

use std::fs::{self, File};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use proxy_core::{ArtifactFault, ArtifactStore, Error, Event, args};
use tempfile::tempdir;

use super::things::{THING_BYTES, Things, thing, value};
use super::world::{PATIENCE, World, within};

/// Bytes that an object and its record take on disk: two blocks of 4 KiB, and one.
const ON_DISK: u64 = 3 * 4096;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The only content and the only record of a directory.
fn only_files(directory: &Path) -> [PathBuf; 2] {
    ["contents", "records"].map(|folder| {
        let mut files = files(&directory.join(folder));
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    })
}

fn faults(world: &World) -> Vec<ArtifactFault> {
    let events = world.events.all().into_iter();
    let faults = events.filter_map(|event| match event {
        Event::ArtifactUnusable { fault, .. } => Some(fault),
        _ => None,
    });
    faults.collect()
}

/// Asks for the object as a later process does, and checks it. Returns whether it came from the
/// directory, and the faults.
#[track_caller]
fn ask(things: &Things, directory: &Path) -> (bool, Vec<ArtifactFault>) {
    let computed = things.computed();
    let (proxy, world, engine) = things.process(directory);
    let five = thing(&proxy, 5);
    assert_eq!(value(&proxy, five), 25);
    assert_eq!(engine.probe().made(), 1, "no bad byte got to a guest");
    (things.computed() == computed, faults(&world))
}

#[test]
fn names_are_hashes_whatever_the_guest_calls_its_exports() {
    let outside = tempdir().unwrap();
    let directory = outside.path().join("a/b");
    let things = Things::new();
    let (proxy, ..) = things.process(&directory);
    thing(&proxy, 5);
    proxy.call("../../thing_new", args![6]).unwrap();
    proxy.prepare_standby().unwrap();
    assert_eq!(files(outside.path()), [outside.path().join("a")]);
    let folders = ["contents", "records"].map(|folder| directory.join(folder));
    assert_eq!(files(&directory), folders);
    for folder in folders {
        let names = files(&folder);
        assert_eq!(names.len(), 2);
        for name in names {
            let name = name.file_name().unwrap().to_str().unwrap().to_owned();
            let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_hash, "{name}");
        }
    }
}

#[test]
fn contents_are_the_bytes_and_named_by_their_hash() {
    let directory = tempdir().unwrap();
    Things::new().leave(directory.path(), &[5, -5]);
    let contents = files(&directory.path().join("contents"));
    assert_eq!(contents.len(), 1);
    let bytes = fs::read(&contents[0]).unwrap();
    assert_eq!(bytes, 25_i64.to_le_bytes().repeat(THING_BYTES as usize / 8));
    let hash = blake3::hash(&bytes).to_hex();
    assert!(contents[0].ends_with(hash.as_str()));
    // Each of the two calls has a record.
    assert_eq!(files(&directory.path().join("records")).len(), 2);
}

#[test]
fn damage_of_any_byte_is_found_and_mended() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let things = Things::new();
    things.leave(directory, &[5]);
    let [content, record] = only_files(directory);
    let whole = [&content, &record].map(|file| fs::read(file).unwrap());
    for (file, bytes) in [&content, &record].into_iter().zip(&whole) {
        // Every byte of the record, and a sample of the content with both its ends.
        let step = bytes.len().div_ceil(400);
        let places = (0..bytes.len()).step_by(step).chain([bytes.len() - 1]);
        for at in places {
            for (name, bytes) in [&content, &record].into_iter().zip(&whole) {
                fs::write(name, bytes).unwrap();
            }
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            fs::write(file, damaged).unwrap();
            let (from_directory, faults) = ask(&things, directory);
            assert!(
                !from_directory && faults.len() == 1,
                "byte {at}: {faults:?}"
            );
        }
    }
    things.leave(directory, &[5]);
    assert_eq!(ask(&things, directory), (true, vec![]));
}

#[test]
fn files_that_are_cut_short_or_too_long_are_found_and_mended() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let things = Things::new();
    for which in [0, 1] {
        things.leave(directory, &[5]);
        let len = fs::read(&only_files(directory)[which]).unwrap().len();
        let lengths = (0..len)
            .step_by(len.div_ceil(40))
            .chain([len - 1, len + 1, 1 << 20]);
        for changed in lengths {
            let file = &only_files(directory)[which];
            let opened = File::options().write(true).open(file).unwrap();
            opened.set_len(changed as u64).unwrap();
            let (from_directory, faults) = ask(&things, directory);
            assert!(
                !from_directory && faults.len() == 1,
                "{changed}: {faults:?}"
            );
            things.leave(directory, &[5]);
            assert_eq!(ask(&things, directory), (true, vec![]), "{changed}");
        }
    }
}

#[test]
fn a_record_in_the_place_of_another_is_found() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let things = Things::new();
    things.leave(directory, &[6]);
    let [_, six] = only_files(directory);
    let six_bytes = fs::read(&six).unwrap();
    fs::remove_file(&six).unwrap();
    things.leave(directory, &[5]);
    let records = files(&directory.join("records"));
    assert_eq!(records.len(), 1);
    fs::write(&records[0], six_bytes).unwrap();
    let (from_directory, faults) = ask(&things, directory);
    assert!(!from_directory);
    assert!(
        matches!(faults.as_slice(), [ArtifactFault::Damaged { .. }]),
        "{faults:?}"
    );
}

/// Expects two faults: the file cannot be used, and the bytes cannot be kept there.
#[track_caller]
fn assert_all_foreign(faults: &[ArtifactFault]) {
    let is_foreign = |fault: &ArtifactFault| matches!(fault, ArtifactFault::Foreign { .. });
    assert!(
        faults.len() == 2 && faults.iter().all(is_foreign),
        "{faults:?}"
    );
}

/// A file's name can belong to anything. A socket stands for things that must not even be opened.
#[test]
fn files_of_others_are_left_alone() {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let things = Things::new();
    things.leave(directory, &[5]);
    let places = only_files(directory);
    let put: [fn(&Path); 4] = [
        |path| fs::create_dir(path).unwrap(),
        |path| drop(UnixListener::bind(path).unwrap()),
        |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        |path| std::os::unix::fs::symlink("nowhere", path).unwrap(),
    ];
    for place in &places {
        let aside = directory.join("aside");
        fs::rename(place, &aside).unwrap();
        for put in put {
            // A socket's path must be short, so the socket is made elsewhere and moved.
            let made = directory.join("made");
            put(&made);
            fs::rename(&made, place).unwrap();
            let before = fs::symlink_metadata(place).unwrap().file_type();
            let (things, folder) = (things.clone(), directory.to_owned());
            let asked = within("a foreign file", PATIENCE, move || ask(&things, &folder));
            assert!(!asked.0);
            assert_all_foreign(&asked.1);
            assert_eq!(fs::symlink_metadata(place).unwrap().file_type(), before);
            if before.is_dir() {
                fs::remove_dir(place).unwrap();
            } else {
                fs::remove_file(place).unwrap();
            }
        }
        fs::rename(&aside, place).unwrap();
    }
}

#[test]
fn a_directory_that_cannot_be_written_costs_an_event() {
    let directory = tempdir().unwrap();
    let things = Things::new();
    let (proxy, world, _) = things.process(directory.path());
    // Permissions do not stop root. A missing folder does.
    fs::remove_dir(directory.path().join("records")).unwrap();
    let five = thing(&proxy, 5);
    proxy.prepare_standby().unwrap();
    let faults = faults(&world);
    let [fault @ ArtifactFault::Unwritable { .. }] = faults.as_slice() else {
        panic!("{faults:?}");
    };
    assert!(fault.to_string().contains("permissions"), "{fault}");
    proxy.swap().unwrap();
    assert_eq!(value(&proxy, five), 25);
    // This process keeps them in memory.
    let computed = things.computed();
    thing(&proxy, 5);
    assert_eq!(things.computed(), computed);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_an_error() {
    let directory = tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = ArtifactStore::directory(&file).unwrap_err();
    assert!(matches!(&error, Error::ArtifactDirectory { path, .. } if *path == file));
    assert!(
        error.to_string().contains("check that it can be made"),
        "{error}"
    );
}

/// Makes all files look as if they were last used so many seconds ago.
fn age(directory: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    for folder in ["contents", "records"] {
        for file in files(&directory.join(folder)) {
            let file = File::options().write(true).open(file).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

/// Leaves objects one after the other in a directory with room for two, and asks for one of them in
/// between. Returns those that are left.
fn left_in_a_full_directory(asked_for: Option<i32>) -> Vec<i32> {
    let directory = tempdir().unwrap();
    let directory = directory.path();
    let things = Things::new();
    let process = || {
        let store = ArtifactStore::directory_up_to(directory, 2 * ON_DISK).unwrap();
        things.with_store(&store).0
    };
    for n in [1, 2, 3] {
        let proxy = process();
        if n == 3
            && let Some(asked_for) = asked_for
        {
            thing(&proxy, asked_for);
            assert_eq!(proxy.debug_info().artifact_hits, 1);
        }
        thing(&proxy, n);
        proxy.prepare_standby().unwrap();
        let bytes = proxy.debug_info().artifacts.directory_bytes.unwrap();
        assert_eq!(bytes, ON_DISK * u64::from(n.min(2).cast_unsigned()));
        drop(proxy);
        // The next ones are younger.
        age(directory, 100);
    }
    let is_left = |n: &i32| {
        let value = i64::from(*n) * i64::from(*n);
        let bytes = value.to_le_bytes().repeat(THING_BYTES as usize / 8);
        let name = blake3::hash(&bytes).to_hex();
        directory.join("contents").join(name.as_str()).exists()
    };
    [1, 2, 3].into_iter().filter(is_left).collect()
}

#[test]
fn the_least_recently_used_object_makes_room() {
    assert_eq!(left_in_a_full_directory(Some(1)), [1, 3]);
    assert_eq!(left_in_a_full_directory(Some(2)), [2, 3]);
}

#[test]
fn an_artifact_that_never_fits_is_a_fault() {
    let directory = tempdir().unwrap();
    let store = ArtifactStore::directory_up_to(directory.path(), 4096).unwrap();
    let things = Things::new();
    let (proxy, world, _) = things.with_store(&store);
    thing(&proxy, 5);
    proxy.prepare_standby().unwrap();
    let expected = ArtifactFault::TooLarge {
        needed: 8192,
        bytes_max: 4096,
    };
    assert_eq!(faults(&world), [expected]);
    assert!(files(&directory.path().join("contents")).is_empty());
}

#[test]
fn files_that_dead_processes_left_are_removed_and_no_others() {
    let directory = tempdir().unwrap();
    let contents = directory.path().join("contents");
    Things::new().leave(directory.path(), &[5]);
    for name in [".tmp-1-1", "notes.txt", "0123"] {
        fs::write(contents.join(name), "").unwrap();
    }
    age(directory.path(), 2 * 60 * 60);
    fs::write(contents.join(".tmp-1-2"), "").unwrap();
    // Opening the directory with a limit of zero removes all contents and records.
    ArtifactStore::directory_up_to(directory.path(), 0).unwrap();
    let left = [".tmp-1-2", "0123", "notes.txt"].map(|name| contents.join(name));
    assert_eq!(files(&contents), left);
}

/// Two stores on one directory, as in two processes, each with room for only a few objects. Each
/// removes files under the other.
#[test]
fn two_stores_on_one_directory_never_mislead_each_other() {
    let directory = tempdir().unwrap();
    let hits: u64 = thread::scope(|scope| {
        let client = |offset: i32| {
            let directory = directory.path();
            move || {
                let mut hits = 0;
                for round in 0..30 {
                    let things = Things::new();
                    let store = ArtifactStore::directory_up_to(directory, 4 * ON_DISK).unwrap();
                    let (proxy, world, _) = things.with_store(&store);
                    for n in 0..4 {
                        let n = (round + n + offset) % 7;
                        let made = thing(&proxy, n);
                        assert_eq!(value(&proxy, made), i64::from(n) * i64::from(n));
                    }
                    proxy.prepare_standby().unwrap();
                    hits += proxy.debug_info().artifact_hits;
                    assert_eq!(proxy.debug_info().artifact_refusals, 0);
                    assert_eq!(faults(&world), []);
                }
                hits
            }
        };
        let clients = [scope.spawn(client(0)), scope.spawn(client(1))];
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .sum()
    });
    assert!(hits > 0);
}
