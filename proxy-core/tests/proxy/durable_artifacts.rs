//! A recovery takes objects from their artifacts, and does without those that are no good.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use proxy_core::{
    ArtifactStore, Durability, Handle, Identity, JournalStore, MemoryJournal, Policy, Proxy,
};
use tempfile::tempdir;

use super::things::{Things, thing, value, view};
use super::world::swap;

fn open(things: &Things, journal: &MemoryJournal, artifacts: &Path) -> Proxy {
    let world = things.world();
    let engine = world.script.engine();
    let store: Arc<dyn JournalStore> = Arc::new(journal.clone());
    let builder = world
        .builder(&engine)
        .artifacts(ArtifactStore::directory(artifacts).unwrap())
        .journal(store, Durability::Durable);
    builder.build().unwrap()
}

fn again(proxy: &Proxy, handle: Handle) -> Handle {
    proxy.object(handle.sequence(), handle.result()).unwrap()
}

/// A journal with a thing and a view of it, whose artifacts are in the directory.
fn left(things: &Things, artifacts: &Path) -> (MemoryJournal, Handle, Handle) {
    let world = things.world();
    let policy: Policy = world.policy.parse().unwrap();
    let identity = Identity::of(&world.script.wasm(), &policy).unwrap();
    let journal = MemoryJournal::new(identity);
    let proxy = open(things, &journal, artifacts);
    let five = thing(&proxy, 5);
    let seen = view(&proxy, five, 1);
    swap(&proxy);
    (journal.lose_power(), five, seen)
}

#[test]
fn a_recovery_takes_objects_from_the_directory() {
    let artifacts = tempdir().unwrap();
    let things = Things::new();
    let (journal, five, seen) = left(&things, artifacts.path());
    let computed = things.computed();
    let proxy = open(&things, &journal, artifacts.path());
    assert_eq!(things.computed(), computed, "nothing is computed again");
    assert_eq!(proxy.debug_info().artifacts_imported, 2);
    let (five, seen) = (again(&proxy, five), again(&proxy, seen));
    assert_eq!((value(&proxy, five), value(&proxy, seen)), (25, 26));
    swap(&proxy);
    assert_eq!((value(&proxy, five), value(&proxy, seen)), (25, 26));
    assert_eq!(things.computed(), computed);
}

#[test]
fn a_recovery_does_without_artifacts_that_make_something_else_or_trap() {
    for traps in [false, true] {
        let artifacts = tempdir().unwrap();
        let things = Things::new();
        let (journal, five, seen) = left(&things, artifacts.path());
        if traps {
            things.traps.store(true, Ordering::SeqCst);
        } else {
            things.distortion.store(1, Ordering::SeqCst);
        }
        let proxy = open(&things, &journal, artifacts.path());
        let (five, seen) = (again(&proxy, five), again(&proxy, seen));
        assert_eq!((value(&proxy, five), value(&proxy, seen)), (25, 26));
    }
}
