//! A tour through the exports of a guest with files, a folder, the clock and randomness: what the
//! command prints in one go, the reactor gives through swaps. `examples/wasi/compare.py` compares the
//! command with the engines' own implementations.

use std::fmt::Write as _;

use conformance::prelude::*;
use conformance::worlds::{Scene, TOUR, WORLD, WORLD_POLICY};
use proxy_core::{Results, args};

const ROUNDS: i32 = 8;

/// A folder with an input of one number for each round.
fn scene() -> Scene {
    let scene = Scene::new();
    let numbers = (0..ROUNDS.unsigned_abs()).map(|number| 7 * number);
    let bytes: Vec<u8> = numbers.flat_map(u32::to_le_bytes).collect();
    scene.put("input", &bytes);
    scene
}

/// What the command prints, run from its beginning to its end.
fn command(engine: &EngineUnderTest, scene: &Scene) -> String {
    let module = engine.remembering().compile(TOUR).unwrap();
    let imports = scene.imports(&["tour"]);
    let mut instance = module.instantiate(&imports, &Limits::default()).unwrap();
    match instance.invoke("_start", &[]) {
        Ok(_) | Err(Error::Exit { code: 0 }) => scene.out.text(),
        Err(error) => panic!("{error:?}"),
    }
}

/// The same tour on a proxy that swaps before each of its calls.
fn reactor(engine: &EngineUnderTest, scene: &Scene) -> String {
    let builder = engine.proxied(WORLD, WORLD_POLICY);
    let proxy = builder.imports(scene.imports(&["world"])).build().unwrap();
    let mut everywhere = engines::all().into_iter().cycle();
    let mut call = |export: &str, args: &[proxy_core::Arg]| {
        let target = everywhere.next().unwrap();
        let target = Arc::clone(target.remembering());
        proxy.prepare_standby_on(target).unwrap();
        proxy.swap().unwrap();
        proxy.call(export, args).unwrap()
    };
    let i64 = |results: Results| results.i64().unwrap();
    let mut text = String::new();
    let opened = call("open_files", args![]).i32().unwrap();
    writeln!(text, "opened: {opened}").unwrap();
    let (mut time, mut number) = (0, 0);
    for round in 0..ROUNDS {
        let end = i64(call("record", args![i64::from(round) * 1_000_003]));
        let next = i64(call("read_next", args![]));
        let files = call("make_file", args![round]).i32().unwrap();
        let said = format!("the log ends at {end}, the input has {next}, files: {files}");
        writeln!(text, "round {round}: {said}").unwrap();
        let printed = scene.out.bytes();
        call("say", args![round]);
        text.push_str(&scene.out.text()[printed..]);
        let later = i64(call("now", args![]));
        let other = i64(call("random_number", args![]));
        let goes_on = if later >= time && later > 0 {
            "goes on"
        } else {
            "goes back"
        };
        let differs = if other == number {
            "is the same"
        } else {
            "differs"
        };
        writeln!(text, "time {goes_on}, randomness {differs}").unwrap();
        (time, number) = (later, other);
    }
    let offsets = (
        i64(call("log_offset", args![])),
        i64(call("input_offset", args![])),
    );
    writeln!(text, "offsets: {}, {}", offsets.0, offsets.1).unwrap();
    let names = call("list", args![]);
    writeln!(text, "folder: {}", names.text().unwrap()).unwrap();
    assert_eq!(proxy.debug_info().divergences, 0);
    text
}

#[apply(every_engine)]
fn a_tour_through_swaps_gives_what_the_command_prints_in_one_go(engine: &EngineUnderTest) {
    let (own, swapped) = (scene(), scene());
    let printed = command(engine, &own);
    assert!(printed.contains("round 7: the log ends at 58, the input has 49, files: 10\n"));
    assert!(printed.ends_with("file-6 file-7 input log \n"), "{printed}");
    assert_eq!(reactor(engine, &swapped), printed);
    assert_eq!(swapped.text("log"), own.text("log"));
}
