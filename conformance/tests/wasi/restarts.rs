//! What a journal is silent about: the order of the folders, which file it was that a path led to,
//! where the end of a file was, and the clock.

use conformance::durable::JournalFolder;
use conformance::prelude::*;
use conformance::worlds::{Scene, imports};
use proxy_core::{Arg, Builder, Proxy};
use wasi::{Access, Config, Preopen};

use super::earlier_processes::causes;

const GUEST: &str = include_str!("restarts.wat");

/// All of it is journaled.
const POLICY: &str = "[[export]]\nmatch = \"*\"\nrole = \"mutate\"\n";

/// Flags of `path_open`: make the file, if it is not there.
const CREATE: i32 = 1;

/// A flag of descriptors.
const APPEND: i32 = 1;

/// A process after another, each with folders `a`, `b` and so on of its own.
struct Restarted {
    scene: Scene,
    wasm: Vec<u8>,
    journal: JournalFolder,
}

impl Restarted {
    fn new() -> Self {
        let wasm = binary(GUEST);
        let scene = Scene::new();
        for folder in ["a", "b", "c"] {
            std::fs::create_dir(scene.path(folder)).unwrap();
        }
        let journal = JournalFolder::of(&wasm, POLICY);
        Self {
            scene,
            wasm,
            journal,
        }
    }

    fn builder(&self, engine: &EngineUnderTest, folders: &[&str]) -> Builder {
        let preopen = |name: &&str| Preopen {
            host: self.scene.path(name),
            guest: (*name).to_owned(),
            access: Access::ReadWrite,
        };
        let config = Config {
            preopens: folders.iter().map(preopen).collect(),
            ..Config::default()
        };
        engine.proxied(&self.wasm, POLICY).imports(imports(config))
    }

    fn begin(&self, engine: &EngineUnderTest, folders: &[&str]) -> Proxy {
        self.journal.begin(self.builder(engine, folders))
    }

    /// The process was killed, and another one goes on.
    fn restart(&mut self, engine: &EngineUnderTest, folders: &[&str]) -> Proxy {
        self.journal = self.journal.killed();
        self.journal.recover(self.builder(engine, folders)).0
    }
}

fn letter(letter: char) -> i32 {
    i32::from(u8::try_from(letter).unwrap())
}

fn try_call(proxy: &Proxy, export: &str, args: &[i32]) -> Result<i32, proxy_core::Error> {
    let args: Vec<Arg<'_>> = args.iter().copied().map(Arg::from).collect();
    Ok(proxy.call(export, &args)?.i32().unwrap())
}

#[track_caller]
fn call(proxy: &Proxy, export: &str, args: &[i32]) -> i32 {
    try_call(proxy, export, args).unwrap()
}

fn open(proxy: &Proxy, folder: char, name: char, flags: i32) -> i32 {
    let args = [letter(folder), letter(name), CREATE, flags];
    call(proxy, "open", &args)
}

#[track_caller]
fn write(proxy: &Proxy, descriptor: i32, text: char) {
    assert_eq!(call(proxy, "write", &[descriptor, letter(text)]), 1);
}

#[track_caller]
fn assert_lost(proxy: &Proxy, descriptor: i32, reason: &str) {
    let error = try_call(proxy, "write", &[descriptor, letter('!')]);
    let causes = causes(&error.unwrap_err());
    let named = format!("descriptor {descriptor} was opened by an earlier process");
    assert!(
        causes.contains(&named) && causes.contains(reason),
        "{causes}"
    );
}

#[apply(every_engine)]
fn folders_are_found_by_their_names(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    let proxy = world.begin(engine, &["a", "b"]);
    let kept = open(&proxy, 'a', 'k', 0);
    write(&proxy, kept, '1');
    for (turn, folders) in [&["b", "a"][..], &["c", "a", "b"], &["a", "b"]]
        .iter()
        .enumerate()
    {
        let proxy = world.restart(engine, folders);
        write(&proxy, kept, '2');
        for folder in ['a', 'b'] {
            let file = open(&proxy, folder, 'x', APPEND);
            write(&proxy, file, folder);
        }
        let turns = turn + 1;
        assert_eq!(world.scene.text("a/x"), "a".repeat(turns), "{folders:?}");
        assert_eq!(world.scene.text("b/x"), "b".repeat(turns), "{folders:?}");
    }
    assert_eq!(world.scene.text("a/k"), "1222");
    assert!(!world.scene.path("c/x").exists());
}

#[apply(every_engine)]
fn a_folder_that_is_not_given_any_more_is_lost_with_its_files(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    let proxy = world.begin(engine, &["a", "b"]);
    let kept = open(&proxy, 'a', 'k', 0);
    let other = open(&proxy, 'b', 'k', 0);
    drop(proxy);
    let proxy = world.restart(engine, &["b"]);
    assert_lost(&proxy, kept, "the guest is given no folder `a` now");
    write(&proxy, other, 'b');
    let args = [letter('a'), letter('x'), CREATE, 0];
    let error = try_call(&proxy, "open", &args).unwrap_err();
    assert!(causes(&error).contains("no folder `a` now"), "{error}");
    assert_eq!(world.scene.text("b/k"), "b");
    assert!(!world.scene.path("b/x").exists());
    let proxy = world.restart(engine, &[]);
    assert_lost(&proxy, other, "the guest is given no folder `b` now");
}

#[apply(every_engine)]
fn a_path_that_leads_to_another_file_is_lost(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    let proxy = world.begin(engine, &["a"]);
    let renamed = open(&proxy, 'a', 'l', 0);
    write(&proxy, renamed, '1');
    let rename = ['a', 'l', 'm'].map(letter);
    assert_eq!(call(&proxy, "rename", &rename), 0);
    let successor = open(&proxy, 'a', 'l', 0);
    write(&proxy, successor, '2');
    let deleted = open(&proxy, 'a', 't', 0);
    assert_eq!(call(&proxy, "unlink", &['a', 't'].map(letter)), 0);
    let new = open(&proxy, 'a', 't', 0);
    drop(proxy);

    let proxy = world.restart(engine, &["a"]);
    assert_lost(&proxy, renamed, "`a/l` is another file now");
    assert_lost(&proxy, deleted, "`a/t` is another file now");
    write(&proxy, successor, '3');
    write(&proxy, new, '4');
    let scene = &world.scene;
    assert_eq!([scene.text("a/l"), scene.text("a/m")], ["23", "1"]);
    assert_eq!(scene.text("a/t"), "4");
}

#[apply(every_engine)]
fn a_lost_descriptor_stays_lost_under_another_number(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    let proxy = world.begin(engine, &["a"]);
    let gone = open(&proxy, 'a', 'g', 0);
    let other = open(&proxy, 'a', 'o', 0);
    assert_eq!(call(&proxy, "renumber", &[gone, other]), 0);
    drop(proxy);
    std::fs::remove_file(world.scene.path("a/g")).unwrap();
    let proxy = world.restart(engine, &["a"]);
    assert_lost(&proxy, other, "`a/g`: there is no such file");
    assert_eq!(world.scene.text("a/o"), "");
}

#[apply(every_engine)]
fn what_is_appended_goes_on_from_the_end_where_it_was(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    world.scene.put("a/f", b"0123456789");
    let proxy = world.begin(engine, &["a"]);
    let file = open(&proxy, 'a', 'f', APPEND);
    write(&proxy, file, 'x');
    let tell = |proxy: &Proxy| call(proxy, "tell", &[file]);
    assert_eq!(tell(&proxy), 11);
    drop(proxy);
    // What others append later is behind the offset of this descriptor.
    world.scene.put("a/f", b"0123456789xyz");
    let proxy = world.restart(engine, &["a"]);
    assert_eq!(tell(&proxy), 11);
    write(&proxy, file, '!');
    assert_eq!(tell(&proxy), 14);
    assert_eq!(world.scene.text("a/f"), "0123456789xyz!");
}

#[apply(every_engine)]
fn the_monotonic_clock_does_not_go_back(engine: &EngineUnderTest) {
    let mut world = Restarted::new();
    let mut proxy = world.begin(engine, &["a"]);
    let time = |proxy: &Proxy| {
        let time = proxy.call("monotonic", &[]).unwrap();
        time.i64().unwrap()
    };
    let mut last = 0;
    for _ in 0..3 {
        // So long that the next process cannot be as old when it looks.
        std::thread::sleep(Duration::from_millis(20));
        let now = time(&proxy);
        assert!(now >= last + 20_000_000, "{now} after {last}");
        last = now;
        drop(proxy);
        proxy = world.restart(engine, &["a"]);
    }
    assert!(time(&proxy) >= last);
}

#[apply(every_engine)]
fn a_descriptor_that_is_moved_to_its_own_number_stays_open(engine: &EngineUnderTest) {
    let world = Restarted::new();
    let proxy = world.begin(engine, &["a"]);
    let file = open(&proxy, 'a', 'f', 0);
    assert_eq!(call(&proxy, "renumber", &[file, file]), 0);
    let other = open(&proxy, 'a', 'g', 0);
    assert_ne!(other, file);
    write(&proxy, file, 'f');
    assert_eq!(world.scene.text("a/f"), "f");
}
