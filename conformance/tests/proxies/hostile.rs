//! Hostile modules end neither the host nor a neighbour.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use conformance::prelude::*;
use conformance::{hostile, probe};
use engine_api::Printable;
use journal_redb::RedbJournal;
use proxy_core::{ArtifactStore, Durability, Identity, Proxy, args};

use crate::PROBE;

#[apply(every_engine)]
fn a_process_survives_each_hostile_module(engine: &EngineUnderTest) {
    for case in hostile::all() {
        probe::run(PROBE, &["hostile", engine.name(), case.name]);
    }
}

const NEIGHBOUR: &str = r#"(module
    (global $sum (mut i64) (i64.const 0))
    (func (export "add") (result i64)
        (global.set $sum (i64.add (global.get $sum) (i64.const 1)))
        (global.get $sum))
    (func (export "sum") (result i64) (global.get $sum)))"#;

const NEIGHBOUR_POLICY: &str = "[[export]]\nmatch = \"sum\"\nrole = \"pure\"";

#[apply(every_engine)]
fn a_neighbour_loses_no_call_beside_hostile_modules(engine: &EngineUnderTest) {
    let neighbour = engine
        .proxied_wat(NEIGHBOUR, NEIGHBOUR_POLICY)
        .build()
        .unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let calls = scope.spawn(|| calls_in_order(&neighbour, &is_over));
        let stopped = StopsOnDrop(&is_over);
        for case in hostile::all() {
            println!("{}: {}", case.name, case.attack(engine));
        }
        drop(stopped);
        let calls = calls.join().unwrap();
        println!("{calls} calls of the neighbour");
        assert!(calls > 100);
    });
    assert_eq!(neighbour.debug_info().emergencies, 0);
    assert_eq!(neighbour.debug_info().retries, 0);
}

/// A case that fails must end the neighbour too, or the test would never be over.
struct StopsOnDrop<'a>(&'a AtomicBool);

impl Drop for StopsOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Calls and swaps until told to stop. Each call must succeed, and give the next number.
fn calls_in_order(proxy: &Proxy, is_over: &AtomicBool) -> i64 {
    let mut sum = 0;
    while !is_over.load(Ordering::Acquire) {
        sum += 1;
        let called = proxy.call("add", args![]).unwrap();
        assert_eq!(called.i64().unwrap(), sum);
        let looked = proxy.call("sum", args![]).unwrap();
        assert_eq!(looked.i64().unwrap(), sum);
        if sum % 1_000 == 0 {
            proxy.prepare_standby().unwrap();
            proxy.swap().unwrap();
        }
        // The processors are for the hostile guests too.
        std::thread::sleep(Duration::from_micros(100));
    }
    sum
}

/// Names that would leave a folder, begin a line, end a label or move a cursor, if something did not
/// take them for names alone.
const NAMES: [&str; 5] = [
    "../../../escaped",
    "/tmp/escaped-from-a-journal",
    "a\"\n{} 1",
    "<script>alert(1)</script>",
    "\u{1b}[2J\u{7}",
];

#[apply(every_engine)]
fn hostile_names_go_through_a_durable_journal_and_reach_no_path(engine: &EngineUnderTest) {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("a/b/c");
    std::fs::create_dir_all(&inside).unwrap();
    for name in NAMES {
        // A string of the text format, each byte by its number.
        let mut quoted = String::new();
        for byte in name.bytes() {
            write!(quoted, "\\{byte:02x}").unwrap();
        }
        let wasm = binary(&format!(
            r#"(module
                (import "{quoted}" "{quoted}" (func $host (result i32)))
                (global $made (mut i32) (i32.const 0))
                (func (export "{quoted}") (result i32)
                    (global.set $made (i32.add (global.get $made) (call $host)))
                    (global.get $made)))"#
        ));
        let pattern = toml::Value::String(name.replace(['[', ']', '{', '}'], "?"));
        let policy = format!(
            "[[export]]\nmatch = {pattern}\nrole = \"create\"\nresults = [{}]\n",
            toml::Value::String(format!("handle:{name}")),
        );
        let path = inside.join("journal");
        let open = |is_new: bool| {
            let identity = Identity::of(&wasm, &policy.parse().unwrap()).unwrap();
            let journal = if is_new {
                RedbJournal::create(&path, identity).unwrap()
            } else {
                RedbJournal::open(&path).unwrap()
            };
            let mut imports = Imports::new();
            let ty = FuncType::new(&[], &[ValType::I32]);
            imports.func(name, name, ty, |_, _, results| {
                results[0] = Val::I32(1);
                Ok(())
            });
            let artifacts = ArtifactStore::directory(inside.join("artifacts")).unwrap();
            engine
                .proxied(&wasm, &policy)
                .imports(imports)
                .artifacts(artifacts)
                .journal(Arc::new(journal), Durability::Durable)
                .build()
                .unwrap()
        };
        let proxy = open(true);
        let made = proxy.call_with_id(name.as_bytes(), name, args![]).unwrap();
        let made = made.handle().unwrap();
        let error = proxy.call(name, args![1]).unwrap_err().to_string();
        assert!(!Printable(&error).to_string().contains(char::is_control));
        drop(proxy);
        let proxy = open(false);
        assert!(proxy.object(made.sequence(), 0).is_some());
        let again = proxy.call_with_id(name.as_bytes(), name, args![]).unwrap();
        assert_eq!(again.handle().unwrap().sequence(), made.sequence());
        drop(proxy);
        std::fs::remove_dir_all(&path).unwrap();
    }
    let strays = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(strays, 1, "only the folder `a` is there");
    assert!(!std::path::Path::new("/tmp/escaped-from-a-journal").exists());
}
