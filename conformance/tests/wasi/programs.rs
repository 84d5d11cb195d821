//! The small programs, each a run of a command from its beginning to its end.

use conformance::prelude::*;
use conformance::worlds::{PROGRAMS, Scene};

/// Runs a program. Gives its exit code, or its trap, and what it printed.
fn run(engine: &EngineUnderTest, args: &[&str]) -> (Result<u32, Trap>, String) {
    let scene = Scene::new();
    let module = engine.remembering().compile(PROGRAMS).unwrap();
    let limits = Limits {
        memory_bytes_max: Some(64 << 20),
        ..Limits::default()
    };
    let imports = scene.imports(args);
    let mut instance = module.instantiate(&imports, &limits).unwrap();
    let ended = match instance.invoke("_start", &[]) {
        Ok(_) => Ok(0),
        Err(Error::Exit { code }) => Ok(code),
        Err(Error::Trap(trap)) => Err(trap),
        Err(error) => panic!("{args:?} on {engine:?}: {error:?}"),
    };
    (ended, scene.out.text() + &scene.err.text())
}

#[apply(every_engine)]
fn every_program_of_preview_1_is_right(engine: &EngineUnderTest) {
    let (ended, names) = run(engine, &["programs"]);
    assert_eq!(ended, Ok(0));
    let mut failed = Vec::new();
    let mut count = 0;
    for name in names.lines() {
        count += 1;
        let expected = match name {
            "exit_code" => Ok(42),
            "aborting" => Err(Trap::Unreachable),
            _ => Ok(0),
        };
        let (ended, printed) = run(engine, &["programs", name, "--flag", "two words"]);
        let is_fine = expected != Ok(0) || printed.contains(&format!("{name}: ok\n"));
        if ended != expected || !is_fine {
            failed.push(format!("{name}: {ended:?} {printed}"));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count >= 40, "{count} programs");
}

#[apply(every_engine)]
fn a_command_is_given_arguments_variables_and_input(engine: &EngineUnderTest) {
    let (_, printed) = run(engine, &["programs", "args", "--flag", "two words"]);
    assert_eq!(printed, "[args][--flag][two words]\nargs: ok\n");
    let (_, printed) = run(engine, &["programs", "env"]);
    assert_eq!(printed, "hello = world\nenv: ok\n");
    let (_, printed) = run(engine, &["programs", "standard_input"]);
    assert_eq!(printed, "read: a line of input\nstandard_input: ok\n");
}

#[apply(every_engine)]
fn a_folder_may_be_removed_by_a_path_that_ends_in_slashes(engine: &EngineUnderTest) {
    const REMOVER: &str = r#"(module
        (import "wasi_snapshot_preview1" "path_remove_directory"
            (func $remove (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 64) "z//")
        (data (i32.const 72) "f/")
        (data (i32.const 80) "//")
        (func (export "remove") (param i32 i32) (result i32)
            (call $remove (i32.const 3) (local.get 0) (local.get 1))))"#;
    let scene = Scene::new();
    std::fs::create_dir(scene.path("z")).unwrap();
    scene.put("f", b"text");
    let module = engine.compile_wat(REMOVER).unwrap();
    let imports = scene.imports(&["remover"]);
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    let mut remove = |at: i32, len: i32| {
        let results = instance.invoke("remove", &[Val::I32(at), Val::I32(len)]);
        results.unwrap()[0].i32().unwrap()
    };
    assert_eq!(remove(72, 2), 54, "a file is no folder");
    assert_ne!(remove(80, 2), 0, "nothing is left of the path");
    assert_eq!(remove(64, 3), 0);
    assert!(!scene.path("z").exists());
    assert_eq!(remove(64, 3), 44, "it is gone");
}
