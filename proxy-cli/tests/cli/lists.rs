//! Arrays of numbers, lists of objects and raw pointers, and objects that calls need, in workloads.

use super::{Folder, Ran, wasm_proxy};

const MODULE: &str = r#"(module
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (global $made (mut i32) (i32.const 0))
    (func (export "make") (result i32)
        (global.set $made (i32.add (global.get $made) (i32.const 8)))
        (global.get $made))
    (func (export "nothing") (result i32) (i32.const 0))
    (func $sum (export "take") (export "sum") (param $at i32) (param $count i32) (result i32)
        (local $sum i32)
        (block $done
            (loop $more
                (br_if $done (i32.eqz (local.get $count)))
                (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $more)))
        (local.get $sum))
    (func (export "raw") (param i32) (result i32) (local.get 0))
    (func (export "read") (param i32) (result i32) (local.get 0))
    (func (export "touch") (param i32))
    (func (export "words") (param i32 i32) (result i32 i32) (local.get 0) (local.get 1))
    (func (export "pool_start") (result i32) (i32.const 7))
    (func (export "work") (result i32) (i32.const 1))
    (func (export "alloc") (param i32) (result i32)
        (global.get $next)
        (global.set $next (i32.add (global.get $next) (local.get 0))))
    (func (export "free") (param i32 i32)))"#;

const POLICY: &str = r#"
module.allocator = { alloc = "alloc", free = "free" }
export = [
    { match = "{make,nothing}", role = "create", results = ["handle:item"] },
    { match = "take", role = "mutate", args = ["handles:item"], mutates = [] },
    { match = "sum", role = "pure", args = ["pointers"] },
    { match = "raw", role = "pure", results = ["pointer"] },
    { match = "read", role = "pure", args = ["handle:item"] },
    { match = "touch", role = "mutate", args = ["handle:item"], mutates = [0] },
    { match = "words", role = "pure", args = ["u32s"], results = ["u32s:borrowed"] },
    { match = "pool_start", role = "create", results = ["handle:pool"] },
    { match = "work", role = "pure", needs = "pool" },
    { match = "{alloc,free}", role = "pure" },
]
"#;

fn run(workload: &str) -> Ran {
    let folder = Folder::new();
    let module = folder.file("lists.wat", MODULE);
    let policy = folder.file("policy.toml", POLICY);
    let workload = folder.file("w.jsonl", workload);
    wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &workload])
}

/// Runs calls after two objects were made, `a` and `b`.
fn with_two(calls: &str) -> Ran {
    run(&format!(
        "{{\"call\":\"make\",\"as\":\"a\"}}\n{{\"call\":\"make\",\"as\":\"b\"}}\n{calls}"
    ))
}

#[track_caller]
fn refused(calls: &str, needle: &str) {
    with_two(calls).assert_code(2).assert_says(needle);
}

#[test]
fn lists_of_objects_are_addresses_in_memory() {
    with_two(
        r#"{"call":"take","args":[{"handles":["a","b"]}],"expect":24}
{"call":"take","args":[{"handles":[]}],"expect":0}"#,
    )
    .assert_code(0);
}

#[test]
fn lists_of_raw_pointers_stay_in_their_scope() {
    run(r#"{"pinned":[{"call":"raw","args":[3],"as":"p"},{"call":"raw","args":[4],"as":"q"},{"call":"sum","args":[{"pointers":["p","q","p"]}],"expect":10}]}"#)
        .assert_code(0);
    refused(
        r#"{"call":"sum","args":[{"pointers":[]}]}"#,
        "{\"pinned\":[...]}",
    );
    refused(
        r#"{"pinned":[{"call":"raw","args":[3],"as":"p"}]}
{"pinned":[{"call":"sum","args":[{"pointers":["p"]}]}]}"#,
        "`p` is a raw pointer of a pinned scope that has ended",
    );
}

#[test]
fn a_pure_call_takes_a_raw_pointer_for_a_handle() {
    with_two(
        r#"{"pinned":[{"call":"raw","args":[5],"as":"p"},{"call":"read","args":[{"handle":"p"}],"expect":5},{"call":"read","args":[{"handle":"b"}],"expect":16}]}"#,
    )
    .assert_code(0);
    refused(
        r#"{"pinned":[{"call":"raw","args":[5],"as":"p"}]}
{"call":"touch","args":[{"handle":"p"}]}"#,
        "`p` is a raw pointer where a handle of type `item`",
    );
}

#[test]
fn arrays_of_numbers_are_given_as_numbers_or_bytes() {
    run(
        r#"{"call":"words","args":[{"u32s":[1,-1]}],"as":"w","expect":{"u32s":[1,4294967295]}}
{"call":"words","args":[{"bytes":"AQAAAA=="}],"expect":{"u32s":[1]}}
{"call":"words","args":[{"handle":"w"}],"expect":{"bytes":"AQAAAP////8="}}"#,
    )
    .assert_code(0);
}

#[test]
fn lists_of_the_wrong_kind_are_refused() {
    refused(
        r#"{"call":"take","args":[{"handles":["a","a"]}]}"#,
        "the list has `a` twice",
    );
    refused(
        r#"{"call":"take","args":[{"handle":"a"}]}"#,
        "where a list of handles of type `item`, {\"handles\":[\"name\",\"other\"]}",
    );
    refused(
        r#"{"call":"take","args":[{"pointers":["a"]}]}"#,
        "a list of raw pointers where a list of handles",
    );
    refused(
        r#"{"call":"take","args":[{"handles":["a","c"]}]}"#,
        "names its result `c`",
    );
    refused(
        r#"{"call":"words","args":[{"u16s":[1]}]}"#,
        "an array of u16s where an array of u32s, {\"u32s\":[1,2]} or",
    );
    refused(
        r#"{"call":"words","args":[{"bytes":"AAEC"}]}"#,
        "3 bytes where an array of numbers of 4 bytes each is needed",
    );
    refused(
        r#"{"call":"words","args":[{"u32s":[1]}],"expect":{"u64s":[1]}}"#,
        "the result is an array of numbers: write {\"u32s\":[..]}",
    );
}

#[test]
fn a_list_with_nothing_in_it_is_a_failed_call() {
    with_two(
        r#"{"call":"nothing","as":"n","expect":null}
{"call":"take","args":[{"handles":["a","n"]}]}"#,
    )
    .assert_code(1)
    .assert_says("`take`: `n` is null");
}

#[test]
fn what_a_call_needs_must_be_alive() {
    run("{\"call\":\"work\"}")
        .assert_code(2)
        .assert_says("`work` needs a live object of type `pool`")
        .assert_says("try: a call that creates it");
    run("{\"call\":\"pool_start\"}\n{\"call\":\"work\",\"expect\":1}").assert_code(0);
}
