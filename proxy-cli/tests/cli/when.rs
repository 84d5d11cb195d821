//! When to swap, what is told before a compilation, and compiled modules on a disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{Folder, command, engines, guest, report, wasm_proxy};

/// Gives a wrong number from the 100th call on, and shows nothing of it.
const WORN: &str = r#"(module
    (memory (export "memory") 1)
    (global $calls (mut i32) (i32.const 0))
    (func (export "work") (result i32)
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.lt_u (global.get $calls) (i32.const 100))))"#;

const PURE: &str = "[[export]]\nmatch = \"work\"\nrole = \"pure\"\n";

#[test]
fn a_module_that_wears_out_is_swapped_after_a_number_of_calls() {
    let folder = Folder::new();
    let module = folder.file("worn.wat", WORN);
    let policy = folder.file("worn.toml", PURE);
    let calls = "{\"repeat\":500,\"do\":[{\"call\":\"work\",\"expect\":1}]}";
    let workload = folder.file("worn.jsonl", calls);
    let path = folder.path("report.json");
    for engine in engines() {
        let ran = wasm_proxy(&[
            "run",
            &module,
            "--policy",
            &policy,
            "--workload",
            &workload,
            "--swap-calls",
            "90",
            "--hold-back",
            "20s",
            "--engine",
            engine,
            "--report",
            &path.display().to_string(),
        ]);
        ran.assert_code(0)
            .assert_says("every call succeeded")
            .assert_says("by reason: ")
            .assert_says(" calls");
        let report = report(&path);
        let swaps = report["swaps"]["reasons"]["calls"].as_u64();
        assert!(swaps.is_some_and(|swaps| swaps >= 5), "{engine}: {report}");
    }
}

#[test]
fn a_memory_of_a_fixed_size_is_told_and_is_no_live_state() {
    let folder = Folder::new();
    let fixed = WORN.replace(
        "(memory (export \"memory\") 1)",
        "(memory (export \"memory\") 1 1)",
    );
    let module = folder.file("fixed.wat", fixed);
    let workload = folder.file("w.jsonl", "{\"repeat\":50,\"do\":[{\"call\":\"work\"}]}");
    let ran = wasm_proxy(&["run", &module, "--workload", &workload]);
    ran.assert_code(0)
        .assert_says("growth cannot be seen")
        .assert_says("--swap-calls");
    assert!(!ran.stderr.contains("exceeds budget"), "{}", ran.stderr);
}

#[test]
fn what_does_not_fit_is_told_before_anything_is_compiled() {
    let folder = Folder::new();
    let cache = folder.path("cache").display().to_string();
    let prover = guest("prebuilt/prover.wasm");
    let wrong_policy = folder.file(
        "p.toml",
        "[[export]]\nmatch = \"nowhere\"\nrole = \"pure\"\n",
    );
    let wrong_pattern = folder.file("q.toml", "[[export]]\nmatch = \"[\"\nrole = \"pure\"\n");
    let wrong_count = folder.file("w.jsonl", "{\"call\":\"verify\",\"args\":[1,2,3,4,5,6]}");
    let right = folder.file("v.jsonl", "{\"call\":\"work\"}");
    let needy = r#"(module
        (import "env" "first" (func))
        (import "other" "second" (func (param i32)))
        (func (export "work")))"#;
    let needy = folder.file("needy.wat", needy);
    for (args, says) in [
        (
            vec![&*prover, "--policy", &wrong_policy, "--workload", &right],
            "`nowhere`",
        ),
        (
            vec![&*prover, "--policy", &wrong_pattern, "--workload", &right],
            "is no pattern",
        ),
        (vec![&*prover, "--workload", &wrong_count], "argument"),
        (
            vec![&*needy, "--workload", &right],
            "so are `other` `second`",
        ),
    ] {
        let all = [&["run"][..], &args[..], &["--cache", &cache][..]].concat();
        wasm_proxy(&all).assert_code(2).assert_says(says);
    }
    let kept = fs::read_dir(folder.path("cache")).map_or(0, Iterator::count);
    assert_eq!(kept, 0, "nothing was compiled");
}

#[test]
fn a_compressed_module_is_recognised() {
    let folder = Folder::new();
    let module = folder.file("m.wasm.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    wasm_proxy(&["inspect", &module])
        .assert_code(2)
        .assert_says("gunzip");
}

#[test]
fn compiled_modules_are_kept_and_bad_ones_compiled_again_with_a_word() {
    let folder = Folder::new();
    let cache = folder.path("cache");
    let run = |more: &[&str]| {
        let cache = cache.display().to_string();
        let args = [&["run", "--calls", "2", "--cache", &cache][..], more].concat();
        let output = command(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let files = || {
        let files = fs::read_dir(&cache).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    };
    assert!(!run(&[]).contains("compiled again"));
    let first = files();
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(!run(&[]).contains("compiled again"));
    assert_eq!(files(), first);

    let good = fs::read(&first[0]).unwrap();
    fs::write(&first[0], &good[..good.len() / 2]).unwrap();
    assert!(run(&[]).contains("compiled again"));
    assert_eq!(fs::read(&first[0]).unwrap().len(), good.len());

    let open = fs::Permissions::from_mode(0o666);
    fs::set_permissions(&first[0], open).unwrap();
    assert!(run(&[]).contains("others than this user could have written"));
    assert!(!run(&[]).contains("compiled again"));
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let folder = Folder::new();
    let output = command(&["run", "--calls", "1", "--no-cache"])
        .env("XDG_CACHE_HOME", folder.path("home"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!folder.path("home").exists());
}

#[test]
fn replay_and_bench_keep_compiled_modules_too() {
    let folder = Folder::new();
    let journal = folder.path("journal").display().to_string();
    let cache = folder.path("cache").display().to_string();
    let kept = || fs::read_dir(&cache).map_or(0, Iterator::count);
    wasm_proxy(&["run", "--calls", "2", "--no-cache", "--journal", &journal]).assert_code(0);
    let engine = engines()[0];
    let replay = ["replay", &journal, "--engine", engine];
    wasm_proxy(&[&replay[..], &["--no-cache"]].concat()).assert_code(0);
    assert_eq!(kept(), 0);
    wasm_proxy(&[&replay[..], &["--cache", &cache]].concat()).assert_code(0);
    assert_eq!(kept(), 1);
    let bench = ["bench", "--engine", engine, "--calls", "2", "--rounds", "1"];
    wasm_proxy(&[&bench[..], &["--cache", &cache]].concat()).assert_code(0);
    assert_eq!(kept(), 1, "it is the same module on the same engine");
}

#[test]
fn a_module_beyond_the_limits_is_refused_unless_it_is_trusted() {
    let folder = Folder::new();
    let exports: Vec<String> = (0..=100_000)
        .map(|number| format!("(export \"e{number}\" (func 0))"))
        .collect();
    let exports = exports.concat();
    let module = folder.file("m.wat", format!("(module (func) {exports})"));
    let calls = folder.file("w.jsonl", "{\"call\":\"e7\"}");
    let run = ["run", &module, "--workload", &calls];
    wasm_proxy(&run)
        .assert_code(2)
        .assert_says("the limit is 100000")
        .assert_says("--any-size");
    wasm_proxy(&[&run[..], &["--any-size"]].concat()).assert_code(0);
}
