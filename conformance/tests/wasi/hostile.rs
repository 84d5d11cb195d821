//! Pointers and lengths that lie, on every engine.

use conformance::prelude::*;
use conformance::worlds::Scene;

/// A guest that calls a function with whatever it is told to.
const CALLER: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write"
        (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
        (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
        (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff"
        (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (memory (export "memory") 1 2)
    (func (export "put") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
    (func (export "at") (param i32) (result i32) (i32.load (local.get 0)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "fd_write") (param i32 i32 i32 i32) (result i32)
        (call $fd_write (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "fd_read") (param i32 i32 i32 i32) (result i32)
        (call $fd_read (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "random_get") (param i32 i32) (result i32)
        (call $random_get (local.get 0) (local.get 1)))
    (func (export "path_open") (param i32 i32) (result i32)
        (call $path_open (i32.const 3) (i32.const 0) (local.get 0) (local.get 1) (i32.const 0)
            (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 0)))
    (func (export "with_rights") (param i64) (result i32)
        (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
            (local.get 0) (local.get 0) (i32.const 0) (i32.const 0)))
    (func (export "clock") (param i32) (result i32)
        (call $clock (local.get 0) (i64.const 1) (i32.const 64)))
    (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32)
        (call $poll_oneoff (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
    (func (export "args_get") (param i32 i32) (result i32)
        (call $args_get (local.get 0) (local.get 1))))"#;

const END: i32 = 0x10000;

struct Guest {
    instance: Box<dyn Instance>,
    scene: Scene,
}

impl Guest {
    fn on(engine: &EngineUnderTest) -> Self {
        let scene = Scene::new();
        let module = engine.compile_wat(CALLER).unwrap();
        let imports = scene.imports(&["one", "two"]);
        let instance = module.instantiate(&imports, &Limits::default()).unwrap();
        Self { instance, scene }
    }

    fn call(&mut self, export: &str, args: &[i32]) -> Result<i32, Error> {
        let args: Vec<Val> = args.iter().copied().map(Val::I32).collect();
        let results = self.instance.invoke(export, &args)?;
        Ok(results.first().and_then(Val::i32).unwrap_or_default())
    }

    fn put(&mut self, at: i32, words: &[i32]) {
        for (place, word) in (at..).step_by(4).zip(words) {
            self.call("put", &[place, *word]).unwrap();
        }
    }

    #[track_caller]
    fn traps(&mut self, export: &str, args: &[i32]) {
        let outcome = self.call(export, args);
        let Err(Error::Trap(Trap::MemoryOutOfBounds)) = outcome else {
            panic!("{export} {args:?}: {outcome:?}");
        };
    }
}

#[apply(every_engine)]
fn a_pointer_outside_the_memory_is_a_trap_before_anything_is_done(engine: &EngineUnderTest) {
    let mut guest = Guest::on(engine);
    // A list of pieces, its length, a piece, and a result that do not lie inside.
    guest.traps("fd_write", &[1, END - 4, 1, 0]);
    guest.traps("fd_write", &[1, 0, -1, 0]);
    guest.traps("fd_write", &[1, -8, 1, 0]);
    guest.put(16, &[END - 2, 3]);
    guest.traps("fd_write", &[1, 16, 1, 0]);
    guest.put(16, &[-1, -1]);
    guest.traps("fd_write", &[1, 16, 1, 0]);
    guest.traps("fd_read", &[0, 16, 1, 0]);
    guest.put(16, &[64, 4]);
    guest.traps("fd_write", &[1, 16, 1, END - 2]);
    guest.traps("random_get", &[END - 1, 2]);
    guest.traps("random_get", &[1, -1]);
    guest.traps("path_open", &[-1, 1]);
    guest.traps("path_open", &[1, -1]);
    guest.traps("poll_oneoff", &[0, 0, 0x7fff_ffff, 0]);
    guest.traps("args_get", &[END - 4, 0]);
    guest.traps("args_get", &[0, END - 4]);
    // A pointer that is not aligned is one, too.
    guest.traps("fd_write", &[1, 17, 1, 0]);
    guest.traps("fd_write", &[1, 16, 1, 2]);
    assert_eq!(guest.scene.out.text(), "");
}

#[apply(every_engine)]
fn pieces_that_lie_on_each_other_are_written_up_to_a_bound(engine: &EngineUnderTest) {
    let mut guest = Guest::on(engine);
    // 4,000 pieces of 60,000 bytes each, 240 MB in a memory of 64 KiB.
    for piece in 0..4_000 {
        guest.put(8 + 8 * piece, &[0, 60_000]);
    }
    let errno = guest.call("fd_write", &[1, 8, 4_000, 0]).unwrap();
    assert_eq!(errno, 0);
    let wrote = guest.call("at", &[0]).unwrap();
    assert!(wrote > 0 && wrote <= 16 << 20, "{wrote} bytes");
    assert_eq!(guest.scene.out.bytes(), usize::try_from(wrote).unwrap());
}

#[apply(every_engine)]
fn memory_that_grew_between_two_calls_can_be_used(engine: &EngineUnderTest) {
    let mut guest = Guest::on(engine);
    guest.traps("random_get", &[END, 8]);
    assert_eq!(guest.call("grow", &[]).unwrap(), 1);
    assert_eq!(guest.call("random_get", &[END, 8]).unwrap(), 0);
    let words = [
        guest.call("at", &[END]).unwrap(),
        guest.call("at", &[END + 4]).unwrap(),
    ];
    assert_ne!(words, [0, 0]);
    assert_eq!(guest.call("at", &[END + 8]).unwrap(), 0, "no byte more");
}

#[apply(every_engine)]
fn a_short_read_changes_no_byte_behind_it(engine: &EngineUnderTest) {
    let mut guest = Guest::on(engine);
    guest.put(8, &[100, 64]);
    guest.put(116, &[0x1234_5678]);
    assert_eq!(guest.call("fd_read", &[0, 8, 1, 0]).unwrap(), 0);
    assert_eq!(guest.call("at", &[0]).unwrap(), 16, "the whole input");
    assert_eq!(
        guest.call("at", &[100]).unwrap(),
        i32::from_le_bytes(*b"a li")
    );
    assert_eq!(guest.call("at", &[116]).unwrap(), 0x1234_5678);
}

#[apply(every_engine)]
fn numbers_that_mean_nothing_are_refused_with_an_error_number(engine: &EngineUnderTest) {
    const INVALID: i32 = 28;
    let mut guest = Guest::on(engine);
    for clock in [-1, i32::MIN, 4, i32::MAX] {
        assert_eq!(guest.call("clock", &[clock]).unwrap(), INVALID, "{clock}");
    }
    let opened = guest.instance.invoke("with_rights", &[Val::I64(-1)]);
    assert_eq!(opened.unwrap(), [Val::I32(INVALID)]);
}
