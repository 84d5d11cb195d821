//! `inspect --check-policy`: what it says of calls that fail, of results that nobody expects, and of what the
//! guest needs from outside.

use super::{Folder, Ran, wasm_proxy};

const STATE: &str = r#"(module
    (import "env" "ask" (func $ask (result i32)))
    (memory (export "memory") 1)
    (global $a (mut i32) (i32.const 0))
    (global $b (mut i32) (i32.const 0))
    (func (export "add_a") (global.set $a (i32.add (global.get $a) (i32.const 1))))
    (func (export "add_b") (global.set $b (i32.add (global.get $b) (i32.const 1))))
    (func (export "a") (result i32) (global.get $a))
    (func (export "b") (result i32) (global.get $b))
    (func (export "asks") (result i32) (call $ask))
    (func (export "spins") (loop $again (br $again))))"#;

/// Checks a policy by which everything is pure but for what is `mutate`.
fn check(mutate: &str, calls: &str) -> Ran {
    let folder = Folder::new();
    let module = folder.file("state.wat", STATE);
    let policy = folder.file(
        "policy.toml",
        format!(
            "export = [{{ match = \"{mutate}\", role = \"mutate\" }}, {{ match = \"*\", role = \"pure\" }}]"
        ),
    );
    let workload = folder.file("calls.jsonl", calls);
    wasm_proxy(&[
        "inspect",
        &module,
        "--check-policy",
        "--policy",
        &policy,
        "--workload",
        &workload,
    ])
}

#[test]
fn two_that_change_something_are_not_blamed_with_each_others_evidence() {
    let calls = "{\"call\":\"add_a\"}\n{\"call\":\"add_b\"}\n{\"call\":\"a\"}\n{\"call\":\"b\"}";
    check("nothing*", calls)
        .assert_code(1)
        .assert_says("`add_a`, `add_b` are called pure, and each changes something")
        .assert_says("`a()` gives 1 with all their calls, and 0 without")
        .assert_says("`b()` gives 1 with all their calls, and 0 without");
    check("add_b", calls)
        .assert_code(1)
        .assert_says("`add_a` is called pure, and changes something: `a()` gives 1 with its calls");
}

#[test]
fn a_result_that_is_not_expected_is_wrong() {
    let calls = "{\"call\":\"add_a\"}\n{\"call\":\"a\",\"expect\":77}";
    check("add_*", calls)
        .assert_code(1)
        .assert_says("line 2: `a` returned 1, expected was 77");
}

#[test]
fn calls_that_do_not_come_back_say_nothing_of_their_export() {
    check("add_*", "{\"call\":\"asks\"}")
        .assert_code(0)
        .assert_says("undecided  `asks`: none of its 1 calls came back; line 1:")
        .assert_says("calls of `env.ask` fail, since nobody gives them");
    // It ends, after the time that a call has.
    let spins = check("spins", "{\"call\":\"spins\"}");
    spins
        .assert_code(0)
        .assert_says("`spins`: none of its 1 calls came back");
    assert!(!spins.stdout.contains("may be `pure`"), "{}", spins.stdout);
}

#[test]
fn a_guest_sees_the_folders_that_are_given() {
    let folder = Folder::new();
    let module = folder.file(
        "folders.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_prestat_get" (func $get (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "third") (result i32) (call $get (i32.const 3) (i32.const 64))))"#,
    );
    let policy = folder.file(
        "p.toml",
        "export = [{ match = \"third\", role = \"pure\" }]",
    );
    let workload = folder.file("w.jsonl", "{\"call\":\"third\",\"expect\":0}");
    let given = folder.path("").display().to_string() + "::/data";
    let check = |more: &[&str]| {
        let args = ["inspect", &module, "--check-policy", "--policy", &policy];
        wasm_proxy(&[&args[..], &["--workload", &workload], more].concat())
    };
    check(&["--dir", &given]).assert_code(0);
    // EBADF: there is none.
    check(&[])
        .assert_code(1)
        .assert_says("`third` returned 8, expected was 0");
    wasm_proxy(&["inspect", &module, "--dir", &given])
        .assert_code(2)
        .assert_says("--dir is for the calls of --check-policy");
}

#[test]
fn a_module_of_wasi_without_a_memory_lacks_it() {
    let folder = Folder::new();
    let module = folder.file(
        "none.wat",
        r#"(module
            (import "wasi_snapshot_preview1" "fd_close" (func (param i32) (result i32)))
            (func (export "f")))"#,
    );
    wasm_proxy(&["inspect", &module])
        .assert_code(0)
        .assert_says("exports that WASI needs, without which its functions fail: 1")
        .assert_says("memory  a memory");
}
