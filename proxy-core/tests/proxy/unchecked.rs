//! States that are served while their contents are still compared with their hashes.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use engine_api::{MemoryIndex, Val};
use proxy_core::{Error, Event, JournalStore, MemoryJournal, Value, args};

use super::durable::{folding, journal_in, passed_over, recovered};
use super::world::{World, hash, until};

/// The address that [`damage`] changes, at the end of the first page.
const SPOILT: u32 = 65_536 - 8;

/// Changes a byte at the end of the first page of a state's contents.
fn damage(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[65_536 + SPOILT as usize] ^= 0x10;
    replace(path, &bytes);
}

/// The same as a disk would do it: without a trace in the file's inode.
fn rot(path: &Path) {
    damage(path);
    checkpoint_file::stamp(path).unwrap();
}

fn replace(path: &Path, bytes: &[u8]) {
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
    let mut permissions = std::fs::metadata(path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path, permissions).unwrap();
}

/// A journal with two states and a record after each, whose proxy is gone. The path of the newer.
fn two_states(world: &World, folder: &Path) -> (MemoryJournal, PathBuf) {
    let store = journal_in(world, folder);
    let proxy = folding(world, &store).unwrap();
    for round in 0..2_i64 {
        proxy.call("chain_step", args![round]).unwrap();
        proxy.checkpoint_durably().unwrap().unwrap();
    }
    proxy.call("chain_step", args![2_i64]).unwrap();
    drop(proxy);
    world.events.clear();
    let newer = folder.join(&store.checkpoints().unwrap()[0].file);
    (store.lose_power(), newer)
}

#[test]
fn a_proxy_ends_when_the_state_that_it_serves_from_is_found_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let (journal, newer) = two_states(&world, folder.path());
    let kept = journal.checkpoints().unwrap();
    rot(&newer);
    let proxy = folding(&world, &journal).unwrap();
    assert_eq!((passed_over(&world), recovered(&world).entries), (0, 1));
    until("the damage is found", || {
        world.events.count("checkpoint-damaged") == 1
    });
    let assert_ended = |error: Error| match error {
        Error::CheckpointDamaged { file, reason } => {
            assert_eq!(file, kept[0].file);
            assert!(reason.contains("content of memory"), "{reason}");
        }
        error => panic!("{error}"),
    };
    assert_ended(proxy.call("chain_step", args![3_i64]).unwrap_err());
    assert_ended(proxy.pinned(|_| Ok::<_, Error>(())).unwrap_err());
    assert_ended(proxy.turn().map(drop).unwrap_err());
    assert_ended(proxy.prepare_standby().map(drop).unwrap_err());
    assert_ended(proxy.swap().map(drop).unwrap_err());
    assert_ended(proxy.checkpoint_durably().map(drop).unwrap_err());
    proxy.tick(Instant::now() + Duration::from_mins(1));
    assert!(proxy.shutdown());
    assert_ended(proxy.call("chain_step", args![3_i64]).unwrap_err());
    drop(proxy);
    assert_eq!(journal.checkpoints().unwrap(), kept);
    // Nobody trusts the file again, and what was acknowledged is there without it.
    let journal = journal.lose_power();
    let proxy = folding(&world, &journal).unwrap();
    assert_eq!(passed_over(&world), 1);
    assert_eq!(world.events.count("checkpoint-damaged"), 1);
    let next = proxy.call("chain_step", args![3_i64]).unwrap();
    assert_eq!(next.as_slice()[1], Value::Val(Val::from(3_i64)));
    let mut chain = 0;
    for step in 0..=3_i64 {
        chain = hash(chain, step);
    }
    assert_eq!(next.as_slice()[0], Value::Val(Val::from(chain)));
}

/// An older one, or another journal's of the same position: its hashes are right, and nothing in it
/// would differ from the journal's records.
#[test]
fn a_state_of_another_journal_is_not_taken_for_the_own() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let world = World::new().checkpointed().chain(0);
    let [own, other] = [0, 1].map(|at: usize| {
        let store = journal_in(&world, folders[at].path());
        let proxy = folding(&world, &store).unwrap();
        for step in 0..2_i64 {
            let step = step + 10 * i64::try_from(at).unwrap();
            proxy.call("chain_step", args![step]).unwrap();
            proxy.checkpoint_durably().unwrap().unwrap();
        }
        store
    });
    let [mine, yours] = [(&own, 0), (&other, 1)].map(|(store, at): (&MemoryJournal, usize)| {
        let newest = store.checkpoints().unwrap().remove(0);
        folders[at].path().join(newest.file)
    });
    assert_ne!(mine.file_name(), yours.file_name());
    let foreign = std::fs::read(&yours).unwrap();
    assert_eq!(foreign.len(), std::fs::read(&mine).unwrap().len());
    replace(&mine, &foreign);
    checkpoint_file::stamp(&mine).unwrap();
    world.events.clear();
    let proxy = folding(&world, &own.lose_power()).unwrap();
    assert_eq!((passed_over(&world), recovered(&world).entries), (1, 1));
    let next = proxy.call("chain_step", args![2_i64]).unwrap();
    let chain = (0..=2_i64).fold(0, hash);
    assert_eq!(next.as_slice()[0], Value::Val(Val::from(chain)));
}

#[test]
fn a_shutdown_ends_the_check_and_tells_what_it_found() {
    for damaged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().checkpointed().chain(0);
        let (journal, newer) = two_states(&world, folder.path());
        if damaged {
            rot(&newer);
        }
        let proxy = folding(&world, &journal).unwrap();
        assert!(proxy.shutdown());
        let told = world.events.count("checkpoint-damaged");
        assert_eq!(told, usize::from(damaged));
        let found = checkpoint_file::Found::read(&newer).unwrap();
        assert_eq!(found.is_untouched(), !damaged);
    }
}

/// A newer one would have what is damaged, and take the place of the records before.
#[test]
fn no_durable_checkpoint_is_written_of_a_state_that_is_not_checked() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new().checkpointed().chain(0);
        let (journal, newer) = two_states(&world, folder.path());
        let kept = journal.checkpoints().unwrap();
        rot(&newer);
        let proxy = folding(&world, &journal).unwrap();
        // Whether the check has ended or not.
        let error = proxy.checkpoint_durably().unwrap_err();
        assert!(matches!(error, Error::CheckpointDamaged { .. }), "{error}");
        assert_eq!(journal.checkpoints().unwrap(), kept);
    }
}

#[test]
fn a_state_that_somebody_touched_is_checked_before_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0);
    let (journal, newer) = two_states(&world, folder.path());
    // The stamp is that of the file before.
    let right = std::fs::read(&newer).unwrap();
    damage(&newer);
    let proxy = folding(&world, &journal).unwrap();
    assert_eq!((passed_over(&world), recovered(&world).entries), (1, 2));
    drop(proxy);
    // What was checked is trusted from then on.
    replace(&newer, &right);
    world.events.clear();
    let journal = journal.lose_power();
    let proxy = folding(&world, &journal).unwrap();
    assert_eq!((passed_over(&world), recovered(&world).entries), (0, 1));
    drop(proxy);
    let is_trusted = || checkpoint_file::Found::read(&newer).unwrap().is_untouched();
    until("it has its stamp", is_trusted);
    // Once: what dies before the end of its check leaves the next one to check before.
    let journal = journal.lose_power();
    let proxy = folding(&world, &journal).unwrap();
    until("it was checked again", is_trusted);
    checkpoint_file::Found::read(&newer)
        .unwrap()
        .remove_stamp()
        .unwrap();
    rot(&newer);
    let found = checkpoint_file::Found::read(&newer).unwrap();
    drop(proxy);
    world.events.clear();
    let proxy = folding(&world, &journal.lose_power()).unwrap();
    assert_eq!(passed_over(&world), 0);
    assert!(!found.is_untouched());
    drop(proxy);
    world.events.clear();
    let _proxy = folding(&world, &journal.lose_power()).unwrap();
    assert_eq!(passed_over(&world), 1);
}

/// What is wrong is the file, and not the module.
#[test]
fn a_replay_that_damage_makes_diverge_names_the_damage() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new().checkpointed().chain(0).func(
        "turn",
        "(result i32)",
        "role = \"mutate\"",
        |guest, _| {
            let before = guest.read(SPOILT, 1)?[0];
            guest.write(SPOILT, &[before + 1])?;
            Ok(vec![Val::from(u32::from(before))])
        },
    );
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    for _ in 0..2 {
        proxy.call("turn", args![]).unwrap();
        proxy.checkpoint_durably().unwrap().unwrap();
    }
    proxy.call("turn", args![]).unwrap();
    drop(proxy);
    rot(&folder.path().join(&store.checkpoints().unwrap()[0].file));
    world.events.clear();
    let proxy = folding(&world, &store.lose_power()).unwrap();
    let reasons: Vec<String> = world
        .events
        .all()
        .into_iter()
        .filter_map(|event| match event {
            Event::CheckpointPassedOver { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("content of memory"), "{reasons:?}");
    let turned = proxy.call("turn", args![]).unwrap();
    assert_eq!(turned.i32().unwrap(), 3);
}

/// `fill()` writes to so many bytes that a check looks several times whether it has to go on.
fn large() -> World {
    const BYTES: usize = 40 << 20;
    World::new().checkpointed().chain(0).pages(1024).func(
        "fill",
        "",
        "role = \"mutate\"",
        |guest, _| {
            engine_api::Caller::memory_grow(guest, MemoryIndex(0), (BYTES >> 16) as u64)?;
            guest.write(65_536, &vec![7; BYTES])?;
            Ok(vec![])
        },
    )
}

#[test]
fn the_whole_of_a_large_state_is_checked_while_it_serves() {
    let folder = tempfile::tempdir().unwrap();
    let world = large();
    let store = journal_in(&world, folder.path());
    let proxy = folding(&world, &store).unwrap();
    proxy.call("fill", args![]).unwrap();
    proxy.checkpoint_durably().unwrap().unwrap();
    drop(proxy);
    let path = folder.path().join(&store.checkpoints().unwrap()[0].file);
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes
        .windows(8)
        .rposition(|window| window == [7; 8])
        .unwrap();
    bytes[last] ^= 1;
    replace(&path, &bytes);
    for waits in [false, true] {
        checkpoint_file::stamp(&path).unwrap();
        world.events.clear();
        let proxy = folding(&world, &store.lose_power()).unwrap();
        assert_eq!(passed_over(&world), 0);
        if waits {
            let error = proxy.checkpoint_durably().unwrap_err();
            assert!(matches!(error, Error::CheckpointDamaged { .. }), "{error}");
        } else {
            until("the damage is found", || {
                proxy.tick(Instant::now());
                world.events.count("checkpoint-damaged") == 1
            });
        }
    }
}
