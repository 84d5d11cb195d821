//! The directory on a disk that loses power at every step.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::ArtifactFault;
use super::directory::{Directory, TEMPORARY, is_hash};
use super::disk::{Disk, Loss};
use super::record::{CallKey, ContentHash, CreatedObjects, Record, Standing, file_name};
use super::storage::Storage;

const DIR: &str = "/var/cache/artifacts";

/// A limit above what any of these tests keeps.
const ROOM: u64 = 1 << 20;

/// For each step, in how many ways unsynced writes are lost in part.
const SEEDS: u64 = 24;

/// What processes were told before the power went.
#[derive(Clone, Debug, Default)]
struct Told(Arc<Mutex<BTreeMap<u8, Expected>>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Kept,
    /// It was being refused.
    KeptOrRefused,
    Refused,
    /// Others may have taken its place.
    KeptOrGone,
}

impl Told {
    fn set(&self, call: u8, expected: Expected) {
        self.0.lock().unwrap().insert(call, expected);
    }

    fn of(&self, call: u8) -> Option<Expected> {
        self.0.lock().unwrap().get(&call).copied()
    }
}

/// The bytes of an object: two pages and a part of one, none of them zero.
fn bytes(object: u8) -> Vec<u8> {
    let byte = |at: u16| (at % 251) as u8 ^ object | 1;
    (0..9000).map(byte).collect()
}

/// The object that a call creates: every third call creates the one that the call before created.
fn object(call: u8) -> u8 {
    call - u8::from(call % 3 == 2)
}

fn record(call: u8, standing: Standing) -> Record {
    let bytes = bytes(object(call));
    Record {
        standing,
        key: CallKey([call; 32]),
        content: ContentHash::of(&bytes),
        content_len: bytes.len() as u64,
        created: CreatedObjects::of(&[], &[]).expect("nothing is no number"),
    }
}

fn open(disk: &Disk, bytes_max: u64) -> Result<Directory, String> {
    Directory::open(Arc::new(disk.clone()), Path::new(DIR), bytes_max)
        .map_err(|error| format!("it does not open: {error}"))
}

/// What a process does. It ends at the first failure, because every later step fails too.
type Process = fn(&Disk, &Told) -> Option<()>;

fn keep(directory: &Directory, told: &Told, call: u8) -> Option<()> {
    let record = record(call, Standing::Kept);
    directory.keep(&record, &bytes(object(call))).ok()?;
    told.set(call, Expected::Kept);
    Some(())
}

fn keep_three(disk: &Disk, told: &Told) -> Option<()> {
    let directory = open(disk, ROOM).ok()?;
    // The second call creates the same bytes as the first.
    (1..=3).try_for_each(|call| keep(&directory, told, call))
}

fn refuse_one(disk: &Disk, told: &Told) -> Option<()> {
    let directory = open(disk, ROOM).ok()?;
    keep(&directory, told, 1)?;
    told.set(1, Expected::KeptOrRefused);
    directory.refuse(&record(1, Standing::Refused)).ok()?;
    told.set(1, Expected::Refused);
    keep(&directory, told, 2)
}

fn overfill(disk: &Disk, told: &Told) -> Option<()> {
    let room_for_two = 2 * 4 * 4096;
    let directory = open(disk, room_for_two).ok()?;
    for call in [1, 3, 4, 6] {
        keep(&directory, told, call)?;
        told.set(call, Expected::KeptOrGone);
    }
    Some(())
}

/// Keeps an object, and finds its bytes damaged when another call created the same.
fn mend(disk: &Disk, told: &Told) -> Option<()> {
    let directory = open(disk, ROOM).ok()?;
    keep(&directory, told, 1)?;
    let name = file_name(&ContentHash::of(&bytes(1)).0);
    let path = Path::new(DIR).join("contents").join(name);
    let mut damaged = bytes(1);
    damaged[5000] ^= 4;
    disk.damage(&path, &damaged);
    told.set(1, Expected::KeptOrGone);
    keep(&directory, told, 2)
}

fn keep_and_refuse_again(disk: &Disk, told: &Told) -> Option<()> {
    let directory = open(disk, ROOM).ok()?;
    keep(&directory, told, 1)?;
    told.set(1, Expected::KeptOrRefused);
    directory.refuse(&record(1, Standing::Refused)).ok()?;
    told.set(1, Expected::Refused);
    told.set(1, Expected::KeptOrRefused);
    keep(&directory, told, 1)
}

/// The power goes in every step of a process, and everything that may be lost then is lost in many
/// ways.
fn lose_power_everywhere(name: &str, process: impl Fn(&Disk, &Told) -> Option<()>) {
    let whole = Disk::default();
    process(&whole, &Told::default()).expect("nothing fails while there is power");
    let steps = whole.steps();
    assert!(steps > 10, "{name} has {steps} steps");
    for step in 0..=steps {
        let disk = Disk::default();
        disk.lose_power_at(step);
        let told = Told::default();
        let outcome = process(&disk, &told);
        // Removing a file that is in the way may fail, and no error is reported.
        assert!(outcome.is_some() || step < steps, "{name}, step {step}");
        let some = (0..SEEDS).map(|seed| Loss::Some { seed });
        for loss in [Loss::All, Loss::Nothing].into_iter().chain(some) {
            let after = disk.after(loss);
            if let Err(what) = check(&after, &told, name == "mend") {
                panic!("{name}: power lost in step {step}, {loss:?}: {what}; {told:?}");
            }
        }
    }
}

/// What a process finds when the power is back.
fn check(disk: &Disk, told: &Told, may_be_damaged: bool) -> Result<(), String> {
    let directory = open(disk, ROOM)?;
    check_files(disk, may_be_damaged)?;
    for call in 1..=6 {
        let found = check_call(&directory, told.of(call), call, may_be_damaged);
        found.map_err(|what| format!("call {call}: {what}"))?;
    }
    // It works as before.
    for call in 1..=6 {
        let kept = record(call, Standing::Kept);
        let outcome = directory.keep(&kept, &bytes(object(call)));
        outcome.map_err(|fault| format!("call {call} cannot be kept: {fault}"))?;
        let found = directory.content(&kept);
        if !matches!(&found, Ok(Some(found)) if *found == bytes(object(call))) {
            return Err(format!("call {call} was kept, and is not there: {found:?}"));
        }
    }
    disk.pass(Duration::from_hours(2));
    open(disk, ROOM)?;
    match left(disk).iter().find(|name| name.starts_with(TEMPORARY)) {
        Some(name) => Err(format!("{name} is left for ever")),
        None => Ok(()),
    }
}

fn left(disk: &Disk) -> Vec<String> {
    let folders = ["contents", "records"].map(|folder| Path::new(DIR).join(folder));
    let files = folders.iter().flat_map(|folder| disk.list(folder).unwrap());
    let name = |path: &Path| path.file_name()?.to_str().map(ToOwned::to_owned);
    files.filter_map(|path| name(&path)).collect()
}

/// Files with names are whole.
fn check_files(disk: &Disk, may_be_damaged: bool) -> Result<(), String> {
    for folder in ["contents", "records"] {
        for path in disk.list(&Path::new(DIR).join(folder)).unwrap() {
            let name = path.file_name().unwrap().to_str().unwrap();
            let read = disk.read(&path, u64::MAX >> 1).unwrap();
            let is_whole = match folder {
                _ if !is_hash(name) => continue,
                "contents" => may_be_damaged || file_name(&ContentHash::of(&read).0) == name,
                _ => Record::decode(&read).is_ok_and(|record| file_name(&record.key.0) == name),
            };
            if !is_whole {
                return Err(format!("{} is not whole", path.display()));
            }
        }
    }
    Ok(())
}

fn check_call(
    directory: &Directory,
    expected: Option<Expected>,
    call: u8,
    may_be_damaged: bool,
) -> Result<(), String> {
    let is_missed = matches!(
        expected,
        Some(Expected::Kept | Expected::KeptOrRefused | Expected::Refused)
    );
    let key = CallKey([call; 32]);
    let record = match directory.record(key) {
        Ok(Some(record)) => record,
        Ok(None) if is_missed => return Err("its record is gone".to_owned()),
        Ok(None) => return Ok(()),
        Err(fault) => return Err(format!("{fault}")),
    };
    match (record.standing, expected) {
        (Standing::Refused, Some(Expected::Refused | Expected::KeptOrRefused)) => return Ok(()),
        (Standing::Refused, _) => return Err("nobody refused it".to_owned()),
        (Standing::Kept, Some(Expected::Refused)) => return Err("it was refused".to_owned()),
        (Standing::Kept, _) => {}
    }
    match directory.content(&record) {
        Ok(Some(found)) if found == bytes(object(call)) => Ok(()),
        Ok(Some(_)) => Err("it has other bytes".to_owned()),
        Ok(None) if is_missed => Err("its bytes are gone".to_owned()),
        Ok(None) => Ok(()),
        Err(ArtifactFault::Damaged { file, .. }) if may_be_damaged && !is_missed => {
            let name = file_name(&record.content.0);
            assert_eq!(file.file_name().unwrap().to_str(), Some(name.as_str()));
            Ok(())
        }
        Err(fault) => Err(format!("{fault}")),
    }
}

#[test]
fn an_artifact_that_was_kept_outlives_the_power() {
    lose_power_everywhere("keep", keep_three);
}

#[test]
fn an_artifact_that_was_refused_is_not_used_when_the_power_is_back() {
    lose_power_everywhere("refuse", refuse_one);
    lose_power_everywhere("keep, refuse, keep", keep_and_refuse_again);
}

#[test]
fn what_made_room_when_the_power_went_is_whole_or_gone() {
    lose_power_everywhere("make room", overfill);
}

#[test]
fn a_damaged_file_is_found_damaged_or_mended() {
    lose_power_everywhere("mend", mend);
}

/// Another process does all its work between any two steps of the first.
#[test]
fn two_processes_that_keep_and_refuse_the_same_leave_whole_files() {
    let others: [(&str, Process); 3] = [
        ("keeps the same", keep_three),
        ("keeps the same bytes for another call", |disk, told| {
            keep(&open(disk, ROOM).ok()?, told, 2)
        }),
        ("makes room", |disk, told| {
            let directory = open(disk, 2 * 4 * 4096).ok()?;
            (1..=6).for_each(|call| told.set(call, Expected::KeptOrGone));
            keep(&directory, told, 4)?;
            (1..=6).for_each(|call| told.set(call, Expected::KeptOrGone));
            Some(())
        }),
    ];
    let one: Process = |disk, told| keep(&open(disk, ROOM).ok()?, told, 1);
    for (name, other) in others {
        let alone = Disk::default();
        one(&alone, &Told::default()).unwrap();
        for at in 0..alone.steps() {
            let makes_room = name == "makes room";
            lose_power_beside(
                &format!("the other {name} before step {at}"),
                at,
                one,
                other,
                makes_room,
            );
        }
    }
}

/// The power goes after the other process is done, in each step of the first that follows.
fn lose_power_beside(name: &str, at: usize, one: Process, other: Process, makes_room: bool) {
    for step in at.. {
        let disk = Disk::default();
        let told = Told::default();
        let (second, second_told) = (disk.clone(), told.clone());
        disk.intrude_at(at, move || {
            let _ = other(&second, &second_told);
        });
        disk.lose_power_at(step);
        let is_done = one(&disk, &told).is_some();
        if makes_room {
            // What the first one kept may have gone at once.
            told.set(1, Expected::KeptOrGone);
        }
        let some = (0..SEEDS / 4).map(|seed| Loss::Some { seed });
        for loss in [Loss::All, Loss::Nothing].into_iter().chain(some) {
            if let Err(what) = check(&disk.after(loss), &told, false) {
                panic!("{name}: power lost in step {step}, {loss:?}: {what}; {told:?}");
            }
        }
        if is_done {
            break;
        }
    }
}

#[test]
fn the_disk_of_these_tests_loses_what_was_not_synced() {
    let disk = Disk::default();
    let [folder, synced, named, unsynced] =
        ["/d", "/d/synced", "/d/named", "/d/unsynced"].map(Path::new);
    disk.create_folder(folder).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    for path in [synced, named] {
        disk.create_file(path).unwrap().write(&[1; 5000]).unwrap();
    }
    let mut file = disk.create_file(unsynced).unwrap();
    file.write(&[1; 5000]).unwrap();
    disk.sync_folder(folder).unwrap();
    file.sync().unwrap();
    let len = |disk: &Disk, path: &Path| disk.look(path).map(|found| found.len).ok();
    let after = disk.after(Loss::All);
    assert_eq!(
        [synced, named, unsynced].map(|path| len(&after, path)),
        [Some(0), Some(0), Some(5000)]
    );
    disk.remove(unsynced).unwrap();
    assert_eq!(len(&disk.after(Loss::All), unsynced), Some(5000));
    assert_eq!(len(&disk.after(Loss::Nothing), unsynced), None);
    let torn = (0..100).map(|seed| disk.after(Loss::Some { seed }));
    let mut read: Vec<_> = torn.map(|disk| disk.read(synced, 5000).unwrap()).collect();
    assert!(
        read.iter()
            .any(|bytes| bytes.len() == 5000 && bytes.contains(&0) && bytes.contains(&1))
    );
    read.sort();
    read.dedup();
    assert!(read.len() > 20, "{} ways to be torn", read.len());
}
