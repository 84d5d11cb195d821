//! A snapshot in a file makes the same instance on every engine, in this process and in another.

use std::path::Path;

use checkpoint_file::{Check, open, open_with, write};
use conformance::kept::{self, KeptGuest};
use conformance::prelude::*;

fn guests(engine: &'static EngineUnderTest) -> impl Iterator<Item = (KeptGuest, kept::Kept)> {
    let all = kept::all().into_iter();
    all.filter_map(move |guest| Some((guest, guest.on(engine)?)))
}

#[apply(every_engine)]
fn a_state_from_a_file_goes_on_on_every_engine_and_in_another_process(
    engine: &'static EngineUnderTest,
) {
    let folder = tempfile::tempdir().unwrap();
    for (guest, original) in guests(engine) {
        let path = folder.path().join(guest.name);
        let mut instance = original.made();
        let snapshot = instance.capture().unwrap();
        let written = write(&path, &snapshot, b"notes").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), written.bytes);
        let digest = kept::hex(&snapshot);
        let expected = original.goes_on(&mut *instance);
        // The original and its images are gone when others go on.
        drop((instance, snapshot));
        for target in engines::all() {
            if let Some(target) = guest.on(target) {
                target.goes_on_from(&path, &digest, &expected);
            }
        }
        let others = engines::all().into_iter();
        let other = others.rev().find(|other| guest.on(other).is_some());
        let other = other.unwrap_or(engine).name();
        let path = path.to_str().unwrap();
        let arguments = ["goes-on-from", other, guest.name, path, &digest, &expected];
        conformance::probe::run(crate::PROBE, &arguments);
    }
}

#[apply(every_engine)]
fn the_next_snapshot_continues_one_from_a_file(engine: &'static EngineUnderTest) {
    let folder = tempfile::tempdir().unwrap();
    let counter = kept::by_name("counter").on(engine).unwrap();
    let mut instance = counter.made();
    let mut path = folder.path().join("0");
    write(&path, &instance.capture().unwrap(), b"").unwrap();
    for round in 1..5 {
        let opened = open_with(&path, &*counter.module, Check::Later).unwrap();
        let mut restored = counter
            .module
            .restore(&counter.imports(), &Limits::default(), &opened.snapshot)
            .unwrap();
        let expected = counter.goes_on(&mut *instance);
        assert_eq!(counter.goes_on(&mut *restored), expected);
        let next = restored.capture().unwrap();
        if cfg!(target_os = "linux") {
            assert_eq!(next.bytes_kept(), 4096, "one page has changed");
        }
        // The older file is not needed for the newer one, nor is its name while it is open.
        std::fs::remove_file(&path).unwrap();
        path = folder.path().join(round.to_string());
        write(&path, &next, b"").unwrap();
        opened.verify().unwrap();
        assert_eq!(next.difference(&instance.capture().unwrap()).unwrap(), None);
    }
}

#[apply(every_engine)]
fn a_file_of_one_guest_is_no_state_of_another(engine: &'static EngineUnderTest) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let [counter, slots] = ["counter", "slots"].map(|name| kept::by_name(name).on(engine).unwrap());
    write(&path, &counter.made().capture().unwrap(), b"").unwrap();
    let error = open(&path, &*slots.module).unwrap_err();
    assert!(
        matches!(error, checkpoint_file::Error::Module { .. }),
        "{error}"
    );
    // The same module without its host cannot take the realm.
    write(&path, &slots.made().capture().unwrap(), b"").unwrap();
    let wasm = kept::by_name("slots").wasm().unwrap();
    let bare = engine.remembering().compile(&wasm).unwrap();
    let error = open(&path, &*bare).unwrap_err();
    assert!(
        matches!(error, checkpoint_file::Error::Host { .. }),
        "{error}"
    );
}

#[apply(every_engine)]
fn objects_that_no_host_writes_down_are_refused(engine: &'static EngineUnderTest) {
    let text = r#"(module (table (export "table") 2 externref) (func (export "f")))"#;
    let Some(module) = engine.module_if(engine.capabilities().externref, text) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint");
    let mut instance = module
        .instantiate(&Imports::new(), &Limits::default())
        .unwrap();
    write(&path, &instance.capture().unwrap(), b"").unwrap();
    let object = Val::ExternRef(Some(ExternRef::new(1)));
    instance.table_set(TableIndex(0), 1, &object).unwrap();
    let error = write(&path, &instance.capture().unwrap(), b"").unwrap_err();
    assert!(
        matches!(error, checkpoint_file::Error::Unsupported { .. }),
        "{error}"
    );
    // The older file is as it was.
    let opened = open(&path, &*module).unwrap();
    assert!(opened.snapshot.objects().is_empty());
}

/// Files of an earlier release with the modules that they are of, and what the guests do next. A
/// failure means that a version has to change; `checkpoint_file` says which there are.
#[apply(every_engine)]
fn golden_files_of_guests_go_on(engine: &'static EngineUnderTest) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let golden = root.join("../checkpoint-file/tests/golden");
    // Realms of version 1, and what is written today: such a realm, and states without one.
    for (name, is_current) in [
        ("counter", true),
        ("tables", true),
        ("slots", false),
        ("references", false),
        ("slots_2", true),
        ("references_2", true),
    ] {
        let file = |extension: &str| golden.join(name).with_extension(extension);
        let guest = kept::by_name(name.trim_end_matches("_2"));
        if guest.on(engine).is_none() {
            continue;
        }
        let wasm = golden.join(guest.name).with_extension("wasm");
        let kept = guest.of(engine, &std::fs::read(wasm).unwrap());
        let expected = std::fs::read_to_string(file("txt")).unwrap();
        let (digest, next) = expected.trim().split_once('\n').unwrap();
        kept.goes_on_from(&file("checkpoint"), digest, next);
        if !is_current {
            continue;
        }
        // The same state is written to the same bytes today.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        write(&path, &kept.made().capture().unwrap(), b"golden").unwrap();
        let [today, golden] = [&path, &file("checkpoint")].map(|path| std::fs::read(path).unwrap());
        assert!(today == golden, "{name}");
    }
}
