//! WASI guests: commands with arguments and exit codes, and reactors with a workload.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use super::{Folder, Ran, command, engines, guest, wasm_proxy};

/// Runs one of the guest's small programs in a folder, with a line of input.
fn program(folder: &Folder, engine: &str, args: &[&str]) -> Ran {
    let module = guest("prebuilt/wasi_programs.wasm");
    let dir = format!("{}::/data", folder.path("").display());
    let options = [
        "run",
        &module,
        "--engine",
        engine,
        "--dir",
        &dir,
        "--env",
        "GREETING=hello = world",
        "--",
    ];
    let mut child = command(&[&options[..], args].concat())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("it is piped");
    // A program that reads nothing may have ended.
    let _ = input.write_all(b"a line of input\n");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_command_prints_what_it_prints_and_nothing_else() {
    let folder = Folder::new();
    for engine in engines() {
        let ran = program(&folder, engine, &["args", "--flag", "two words"]);
        ran.assert_code(0);
        assert_eq!(ran.stdout, "[args][--flag][two words]\nargs: ok\n");
        assert_eq!(ran.stderr, "");
        let ran = program(&folder, engine, &["standard_input"]);
        assert_eq!(ran.stdout, "read: a line of input\nstandard_input: ok\n");
        program(&folder, engine, &["env"]).assert_code(0);
    }
}

#[test]
fn the_exit_code_of_a_command_is_the_programs() {
    let folder = Folder::new();
    for engine in engines() {
        program(&folder, engine, &["exit_code"]).assert_code(42);
        program(&folder, engine, &["no_such_program"]).assert_code(2);
        let ran = program(&folder, engine, &["aborting"]);
        ran.assert_code(1).assert_says("trapped");
        assert!(!ran.stderr.contains("repeated"), "{}", ran.stderr);
    }
}

#[test]
fn inspect_misses_no_import_that_a_run_gives() {
    let module = guest("prebuilt/wasi_tour.wasm");
    let inspected = wasm_proxy(&["inspect", &module]);
    inspected.assert_code(0).assert_says("missing: nothing");
    let folder = Folder::new();
    let other_type = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32))))"#;
    let module = folder.file("other_type.wat", other_type);
    let inspected = wasm_proxy(&["inspect", &module]);
    inspected.assert_says("unless you give them: 1");
}

#[test]
fn a_command_in_rust_works_in_its_folder() {
    let folder = Folder::new();
    let module = guest("prebuilt/wasi_rust_command.wasm");
    let dir = format!("{}::/data", folder.path("").display());
    for engine in engines() {
        let args = [
            "run", &module, "--engine", engine, "--dir", &dir, "--", "one",
        ];
        let ran = wasm_proxy(&args);
        ran.assert_code(0).assert_says("arguments: [\"one\"]");
        ran.assert_says("greeting: None")
            .assert_says("folder: [\"lines\"]");
        assert_eq!(
            fs::read_to_string(folder.path("lines")).unwrap_or_default(),
            ""
        );
    }
}

#[test]
fn a_folder_that_is_read_only_stays_as_it_is() {
    let folder = Folder::new();
    folder.file("a", "text");
    let module = guest("prebuilt/wasi_programs.wasm");
    let dir = format!("{}::/data", folder.path("").display());
    let run = |name| wasm_proxy(&["run", &module, "--dir-read-only", &dir, "--", name]);
    for name in [
        "append",
        "folders",
        "renaming",
        "symbolic_link",
        "times",
        "size",
    ] {
        run(name).assert_code(1);
    }
    run("status").assert_code(1);
    let text = fs::read_to_string(folder.path("a")).unwrap_or_default();
    assert_eq!(text, "text");
    let left = fs::read_dir(folder.path("")).map_or(0, Iterator::count);
    assert_eq!(left, 1);
}

#[test]
fn a_reactor_is_initialized_before_its_workload() {
    let folder = Folder::new();
    let module = folder.file(
        "reactor.wat",
        r#"(module
            (memory (export "memory") 1)
            (func (export "_initialize") (i32.store (i32.const 64) (i32.const 7)))
            (func (export "get") (result i32) (i32.load (i32.const 64))))"#,
    );
    let workload = folder.file("calls.jsonl", "{\"call\":\"get\",\"expect\":7}\n");
    for engine in engines() {
        let args = ["run", &module, "--workload", &workload, "--engine", engine];
        wasm_proxy(&args).assert_code(0);
    }
}

#[test]
fn a_reactor_keeps_its_journal_and_its_files() {
    let folder = Folder::new();
    folder.file("input", [1, 0, 0, 0, 2, 0, 0, 0]);
    let module = guest("prebuilt/wasi_world.wasm");
    let dir = format!("{}::/data", folder.path("").display());
    let scratch = Folder::new();
    let journal = scratch.path("journal").display().to_string();
    let run = |lines: &str| {
        let workload = scratch.file("calls.jsonl", lines);
        wasm_proxy(&[
            "run",
            &module,
            "--workload",
            &workload,
            "--dir",
            &dir,
            "--journal",
            &journal,
        ])
    };
    run(
        "{\"call\":\"open_files\",\"expect\":1}\n{\"call\":\"record\",\"args\":[5],\"expect\":2}\n\
         {\"call\":\"read_next\",\"expect\":1}\n",
    )
    .assert_code(0);
    run("{\"call\":\"record\",\"args\":[6],\"expect\":4}\n{\"call\":\"read_next\",\"expect\":2}\n")
        .assert_code(0);
    let log = fs::read_to_string(folder.path("log")).unwrap_or_default();
    assert_eq!(log, "5\n6\n");
    wasm_proxy(&["replay", &journal, "--module", &module]).assert_code(0);
    let log = fs::read_to_string(folder.path("log")).unwrap_or_default();
    assert_eq!(log, "5\n6\n");
}

#[test]
fn what_makes_no_sense_is_refused_with_a_way_out() {
    let folder = Folder::new();
    let module = guest("prebuilt/wasi_programs.wasm");
    let journal = folder.path("journal").display().to_string();
    let ran = wasm_proxy(&["run", &module, "--journal", &journal]);
    ran.assert_code(2).assert_says("is a command");
    let ran = wasm_proxy(&["run", &module, "--dir", "/no/such/folder"]);
    ran.assert_code(2).assert_says("/no/such/folder");
    wasm_proxy(&["run", &module, "--env", "=x"])
        .assert_code(2)
        .assert_says("NAME=VALUE");
}

#[test]
fn an_exit_code_is_the_lowest_byte_of_what_the_guest_gave() {
    let folder = Folder::new();
    for (code, expected) in [(256, 0), (300, 44), (-1, 255)] {
        let text = format!(
            r#"(module
            (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (memory (export "memory") 1)
            (func (export "leave") (call $exit (i32.const {code})))
            (func (export "_start") (call $exit (i32.const {code}))))"#
        );
        let module = folder.file("exit.wat", text);
        wasm_proxy(&["run", &module]).assert_code(expected);
        let workload = folder.file("calls.jsonl", "{\"call\":\"leave\"}\n");
        wasm_proxy(&["run", &module, "--workload", &workload])
            .assert_says(&format!("exited with code {code}"));
    }
}

#[test]
fn an_input_that_cannot_say_how_much_it_has_is_ready() {
    let folder = Folder::new();
    // The exit code is the number of events, and the event's error number is added to it.
    let text = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1)
        (func (export "_start")
            (i32.store8 (i32.const 8) (i32.const 1))
            (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128))
                (then (unreachable)))
            (call $exit (i32.add (i32.load (i32.const 128)) (i32.load16_u (i32.const 72))))))"#;
    let module = folder.file("poll.wat", text);
    for engine in engines() {
        let mut child = command(&["run", &module, "--engine", engine]);
        let status = child.stdin(Stdio::null()).status().expect("it runs");
        assert_eq!(status.code(), Some(1), "{engine}");
        let output = child.stdin(Stdio::null()).output().expect("it runs");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{engine}");
    }
}

#[test]
fn options_that_a_module_has_no_use_for_are_refused() {
    let folder = Folder::new();
    let command = guest("prebuilt/wasi_programs.wasm");
    let made = folder.path("made").display().to_string();
    for option in [
        &["--report", &made][..],
        &["--swap-calls", "5"],
        &["--calls", "5"],
        &["--audit"],
        &["--export-objects", &made],
        &["--artifacts", &made],
        &["--history", "checkpoint"],
        &["--on-divergence", "skip"],
        &["--swap-age", "1s"],
        &["--total-memory", "4GiB"],
    ] {
        let ran = wasm_proxy(&[&["run", &command][..], option].concat());
        let says = format!("nothing for {} to do", option[0]);
        ran.assert_code(2).assert_says(&says);
    }
    assert!(!folder.path("made").exists());
    let module = folder.file("plain.wat", "(module (func (export \"f\")))");
    let workload = folder.file("calls.jsonl", "{\"call\":\"f\"}\n");
    for option in [["--dir", "."], ["--env", "A=b"], ["--", "x"]] {
        let run = ["run", &module, "--workload", &workload];
        let ran = wasm_proxy(&[&run[..], &option[..]].concat());
        ran.assert_code(2).assert_says("imports nothing of WASI");
    }
    wasm_proxy(&["run", &command, "--env", "NO_SUCH_VARIABLE_HERE"])
        .assert_code(2)
        .assert_says("no variable `NO_SUCH_VARIABLE_HERE`");
}

#[test]
fn an_import_of_another_type_is_not_called_missing() {
    let folder = Folder::new();
    let text = r#"(module
        (import "wasi_snapshot_preview1" "fd_write" (func (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "f")))"#;
    let module = folder.file("other.wat", text);
    let workload = folder.file("calls.jsonl", "{\"call\":\"f\"}\n");
    for engine in engines() {
        let args = ["run", &module, "--workload", &workload, "--engine", engine];
        let ran = wasm_proxy(&args);
        ran.assert_code(2).assert_says("with another type than");
        assert!(!ran.stderr.contains("missing"), "{}", ran.stderr);
    }
}

const CLOCK: &str = r#"(module
    (import "wasi_snapshot_preview1" "clock_time_get"
        (func $clock (param i32 i64 i32) (result i32)))
    (import "other" "thing" (func))
    (memory (export "memory") 1)
    (global $count (mut i32) (i32.const 0))
    (func (export "_initialize") (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 8))))
    (func (export "count_up") (global.set $count (i32.add (global.get $count) (i32.const 1))))
    (func (export "count") (result i32) (global.get $count)))"#;

#[test]
fn roles_are_checked_with_the_imports_that_a_run_gives() {
    let folder = Folder::new();
    let module = folder.file("clock.wat", CLOCK);
    let calls = "{\"call\":\"count_up\"}\n{\"call\":\"count\",\"expect\":1}\n";
    let workload = folder.file("calls.jsonl", calls);
    for (role, code) in [("mutate", 0), ("pure", 1)] {
        let policy = format!(
            "[[export]]\nmatch = \"count\"\nrole = \"pure\"\n\
             [[export]]\nmatch = \"count_up\"\nrole = \"{role}\"\n"
        );
        let policy = folder.file("policy.toml", policy);
        let args = [
            "inspect",
            &module,
            "--check-policy",
            "--policy",
            &policy,
            "--workload",
            &workload,
        ];
        wasm_proxy(&args).assert_code(code);
    }
}

#[test]
fn a_draft_leaves_out_what_the_engine_calls() {
    let folder = Folder::new();
    let module = folder.file("clock.wat", CLOCK);
    let drafted = wasm_proxy(&["inspect", &module, "--emit-policy"]);
    drafted
        .assert_code(0)
        .assert_says("Only the host and the proxy call `_initialize`");
    let lines = drafted.stdout.lines();
    let entries: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
    let entries = entries.join("\n");
    assert!(entries.contains("count_up"), "{entries}");
    assert!(!entries.contains("_initialize"), "{entries}");
}

#[test]
fn a_total_for_less_than_one_instance_names_the_options() {
    let folder = Folder::new();
    let module = folder.file("clock.wat", CLOCK);
    let workload = folder.file("w.jsonl", "{\"call\":\"count\"}");
    let args = [
        "run",
        &module,
        "--workload",
        &workload,
        "--total-memory",
        "1MiB",
    ];
    let ran = wasm_proxy(&args);
    ran.assert_code(2)
        .assert_says("raise `--total-memory`, or lower `--memory-limit`");
}
