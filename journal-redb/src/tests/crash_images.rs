//! What a loss of power leaves, at every write and every flush of a workload.
//!
//! `JOURNAL_CRASH_IMAGES` says how many images at least are made; more than one for each step and
//! each kind of loss differ by their seeds.

use std::collections::BTreeMap;

use proxy_core::{Flush, JournalStore, Position};

use super::{append, checkpoint, create, open, read_all, record};
use crate::testing::{Dice, Disk, Loss, Playback, Step, count};

/// How many images every run makes at least.
const IMAGES: usize = 2_000;

const LOSSES: [Loss; 5] = [
    Loss::All,
    Loss::Some,
    Loss::Torn(512),
    Loss::Torn(4096),
    Loss::Nothing,
];

/// 200 calls of the store: appends of one record and of several, durable at once and later, large
/// records, truncations, and openings.
fn run_workload(disk: &Disk) {
    let mut dice = Dice(1);
    let mut journal = create(disk).unwrap();
    let mut newest_checkpoint = None;
    for call in 1..=200 {
        let head = journal.head().unwrap();
        match dice.roll(40) {
            0 => {
                drop(journal);
                disk.acknowledge(head.position);
                journal = open(disk).unwrap();
            }
            1..3 => {
                // A truncation has to make durable what its checkpoint is of.
                let next = record(head.position.0 + 1);
                let head = append(&journal, &[&next], Flush::Later).unwrap();
                let newest = checkpoint(disk, &journal, head.position).unwrap();
                let list = [Some(newest.clone()), newest_checkpoint.replace(newest)];
                let mut list: Vec<_> = list.into_iter().flatten().collect();
                list.dedup_by_key(|checkpoint| checkpoint.position);
                journal.truncate(head.epoch, &list).unwrap();
                disk.acknowledge(head.position);
            }
            3..5 => {
                journal.flush().unwrap();
                disk.acknowledge(head.position);
            }
            roll => {
                let records: Vec<_> = (1..=1 + dice.roll(4) as u64)
                    .map(|n| record(head.position.0 + n))
                    .collect();
                let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
                let flush = if roll < 12 { Flush::Later } else { Flush::Now };
                let head = append(&journal, &records, flush).unwrap();
                if flush == Flush::Now {
                    disk.acknowledge(head.position);
                }
            }
        }
        assert!(call < 200 || journal.head().unwrap().position > Position(300));
    }
    journal.close().unwrap();
}

#[test]
fn no_loss_of_power_takes_an_acknowledged_record_or_the_journal() {
    let disk = Disk::default();
    run_workload(&disk);
    let log = disk.log();
    let created = creation_end(&log);
    let images = count("JOURNAL_CRASH_IMAGES", IMAGES);
    let boundaries = log[created..]
        .iter()
        .filter(|step| is_boundary(step))
        .count();
    let per_boundary = images.div_ceil(boundaries);
    println!("{boundaries} boundaries, {per_boundary} images at each");

    let mut playback = Playback::default();
    let mut made = BTreeMap::new();
    for (index, step) in log.iter().enumerate() {
        playback.play(step);
        if index < created || !is_boundary(step) {
            continue;
        }
        for image in 0..per_boundary {
            let kind = (index + image) % LOSSES.len();
            let seed = (index * 1_000 + image) as u64;
            let image = playback.disk(LOSSES[kind], &mut Dice(seed));
            let what = format!(
                "step {index} of {}, {:?}, seed {seed}",
                log.len(),
                LOSSES[kind]
            );
            check(&image, playback.acknowledged, &what);
            *made.entry(format!("{:?}", LOSSES[kind])).or_insert(0) += 1;
        }
    }
    println!("images: {made:?}");
    assert!(made.values().sum::<usize>() >= images);
}

/// A journal opens, has what was acknowledged, has nothing else than what was appended, and goes on.
fn check(image: &Disk, acknowledged: Position, what: &str) {
    let journal = match open(image) {
        Ok(journal) => journal,
        Err(error) => panic!("{what}: {error}"),
    };
    let head = journal.head().unwrap();
    assert!(
        head.position >= acknowledged,
        "{what}: {} of {acknowledged}",
        head.position
    );
    let records = read_all(&journal).unwrap();
    let first = head.first.0;
    assert!(
        records
            .iter()
            .map(|record| record.position.0)
            .eq(first..=head.position.0),
        "{what}"
    );
    for read in &records {
        assert!(
            read.bytes == record(read.position.0),
            "{what}: record {}",
            read.position
        );
    }
    let checkpoints = journal.checkpoints().unwrap();
    if let Some(oldest) = checkpoints.last() {
        assert_eq!(oldest.position.next(), head.first, "{what}");
    }
    for checkpoint in checkpoints {
        assert_eq!(
            image.bytes(&format!("checkpoints/{}", checkpoint.file)),
            b"checkpoint"
        );
    }
    append(&journal, &[&record(head.position.0 + 1)], Flush::Now).unwrap();
    journal.close().unwrap();
    let again = open(image).unwrap();
    assert_eq!(
        again.head().unwrap().position,
        head.position.next(),
        "{what}"
    );
}

#[test]
fn a_creation_that_the_power_interrupted_can_be_begun_again() {
    let disk = Disk::default();
    drop(create(&disk).unwrap());
    let mut playback = Playback::default();
    for (index, step) in disk.log().iter().enumerate() {
        playback.play(step);
        for (kind, loss) in LOSSES.into_iter().enumerate() {
            for seed in 0..4 {
                let image = playback.disk(loss, &mut Dice((index * 100 + kind * 10 + seed) as u64));
                let journal = open(&image).or_else(|_| create(&image));
                let journal = journal.unwrap_or_else(|error| panic!("{index}, {loss:?}: {error}"));
                assert_eq!(journal.head().unwrap().position, Position::ZERO);
            }
        }
    }
}

/// The step after which there is a journal: the first manifest's name is on the disk.
fn creation_end(log: &[Step]) -> usize {
    let is_named = |step: &Step| matches!(step, Step::Rename(_, to, _) if to == "manifest");
    let named = log.iter().position(is_named).unwrap();
    let is_flushed = |step: &Step| matches!(step, Step::SyncFolder(folder) if folder.is_empty());
    named + log[named..].iter().position(is_flushed).unwrap()
}

/// Whether a loss of power after this step leaves something else than one before it.
fn is_boundary(step: &Step) -> bool {
    !matches!(step, Step::Acknowledged(_) | Step::Folder(_))
}
