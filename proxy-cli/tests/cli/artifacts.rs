//! `run --artifacts`: the next run reads the objects that the first one has computed.

use std::fs;

use super::{Folder, engines, report, wasm_proxy};

const UTF8: &str = "temporary folders have plain names";

/// Runs the prover. Returns the numbers of calls and of replays that read an object, and the
/// digest.
fn run(folder: &Folder, engine: &str) -> (u64, u64, String) {
    let (artifacts, path) = (folder.path("artifacts"), folder.path("report.json"));
    let ran = wasm_proxy(&[
        "run",
        "--calls",
        "20",
        "--memory-limit",
        "16MiB",
        "--engine",
        engine,
        "--artifacts",
        artifacts.to_str().expect(UTF8),
        "--report",
        path.to_str().expect(UTF8),
    ]);
    ran.assert_code(0).assert_says("every call succeeded");
    let report = report(&path);
    let count = |name: &str| report["artifacts"][name].as_u64().expect("it is counted");
    assert_eq!((count("refused"), count("unusable")), (0, 0));
    let digest = report["result_digest"]
        .as_str()
        .expect("it is a text")
        .to_owned();
    ran.assert_says("took an object from its artifact");
    (count("calls"), count("replays"), digest)
}

#[test]
fn a_later_run_reads_what_the_first_computed_on_whatever_engine() {
    let folder = Folder::new();
    let (calls, replays, expected) = run(&folder, engines()[0]);
    assert_eq!(calls, 0);
    assert!(replays > 0, "there were swaps");
    for engine in engines() {
        let (calls, _, digest) = run(&folder, engine);
        assert_eq!((calls, &digest), (1, &expected), "{engine}");
    }
    let contents = fs::read_dir(folder.path("artifacts").join("contents"));
    assert_eq!(contents.expect("it is there").count(), 1);
}

#[test]
fn what_cannot_be_a_directory_of_artifacts_is_bad_input() {
    let folder = Folder::new();
    let file = folder.path("file");
    fs::write(&file, "").expect("there is room");
    wasm_proxy(&["run", "--artifacts", file.to_str().expect(UTF8)])
        .assert_code(2)
        .assert_says("check that it can be made and listed");
    wasm_proxy(&["run", "--artifacts-limit", "1GiB"])
        .assert_code(2)
        .assert_says("--artifacts <DIR>");
}
