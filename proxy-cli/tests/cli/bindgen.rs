//! Modules made by wasm-bindgen, and the policies that come with the program.

use super::{Folder, Ran, engines, guest, wasm_proxy};

const POLICY: &str = r#"
strict = true
[[export]]
match = "registry_new"
role = "create"
results = ["handle:registry"]
[[export]]
match = "registry_put"
role = "mutate"
args = ["handle:registry", "string:moved", "bytes:moved"]
mutates = [0]
[[export]]
match = "registry_get"
role = "pure"
args = ["handle:registry", "string:moved"]
results = ["bytes"]
[[export]]
match = "__wbg_registry_free"
params = 1
role = "free"
args = ["handle:registry"]
[[export]]
match = "__wbg_registry_free"
params = 2
role = "free"
args = ["handle:registry", "zero"]
[[export]]
match = "squares"
role = "pure"
args = ["u32s:moved"]
results = ["u32s"]
[[export]]
match = "shout"
role = "pure"
args = ["string:moved"]
results = ["string"]
[[export]]
match = "check"
role = "pure"
results = ["error"]
[[export]]
match = "print"
role = "pure"
args = ["string:moved"]
"#;

const WORKLOAD: &str = r#"
{"call":"registry_new","as":"r"}
{"call":"registry_put","args":[{"handle":"r"},{"text":"k"},{"bytes":"AAEC"}],"expect":1}
{"call":"registry_get","args":[{"handle":"r"},{"text":"k"}],"expect":{"bytes":"AAEC"}}
{"call":"registry_get","args":[{"handle":"r"},{"text":"other"}],"expect":null}
{"call":"squares","args":[{"u32s":[1,2,4294967295]}],"as":"s","expect":{"u32s":[1,4,1]}}
{"call":"squares","args":[{"handle":"s"}],"expect":{"bytes":"AQAAABAAAAABAAAA"}}
{"call":"shout","args":[{"text":"grüße"}],"expect":"GRÜSSE"}
{"call":"check","args":[1]}
{"call":"__wbg_registry_free","args":[{"handle":"r"}]}
"#;

fn run(module: &str, workload: &str, options: &[&str]) -> Ran {
    let folder = Folder::new();
    let module = guest(&format!("prebuilt/{module}.wasm"));
    let policy = folder.file("policy.toml", POLICY);
    let workload = folder.file("w.jsonl", workload);
    let mut args = vec!["run", &module, "--policy", &policy, "--workload", &workload];
    args.extend(options);
    wasm_proxy(&args)
}

#[test]
fn the_older_abi_runs_on_every_engine() {
    for engine in engines() {
        run("realm_old", WORKLOAD, &["--engine", engine]).assert_code(0);
    }
    run("realm_old", WORKLOAD, &["--without-proxy"]).assert_code(0);
}

#[test]
fn the_younger_abi_runs_where_there_are_externrefs() {
    run("realm_new", WORKLOAD, &[]).assert_code(0);
    // Stubs are for the imports that the host does not serve.
    run("realm_new", WORKLOAD, &["--stub-imports"]).assert_code(0);
}

#[test]
fn an_error_that_the_guest_returns_is_a_failed_call() {
    let workload = "{\"call\":\"check\",\"args\":[0]}\n{\"call\":\"check\",\"args\":[1]}";
    run("realm_old", workload, &[])
        .assert_code(1)
        .assert_says("line 1: `check`: ");
    run(
        "realm_old",
        "{\"call\":\"check\",\"args\":[1],\"as\":\"x\"}",
        &[],
    )
    .assert_code(2)
    .assert_says("`check` returns 0 results, and 1 names are given");
}

const POOL: &str = r#"
{"call":"thread_pool_start","args":[2],"as":"pool"}
{"call":"parallel_sum","args":[1000]}
{"call":"thread_pool_stop","args":[{"handle":"pool"}]}
"#;

#[test]
fn a_thread_pool_runs_and_ends_in_either_way() {
    let folder = Folder::new();
    let module = guest("prebuilt/realm_threads_old.wasm");
    let policy = guest("policies/realm_threads.toml");
    let workload = folder.file("w.jsonl", POOL);
    let run = ["run", &module, "--policy", &policy, "--workload", &workload];
    for exit in ["destroy", "abandon"] {
        let args: Vec<&str> = run.into_iter().chain(["--worker-exit", exit]).collect();
        wasm_proxy(&args).assert_code(0);
    }
}

#[test]
fn worker_exit_is_for_modules_with_a_thread_pool() {
    run("realm_old", WORKLOAD, &["--worker-exit", "abandon"])
        .assert_code(0)
        .assert_says("note: --worker-exit changes nothing");
    wasm_proxy(&["run", "--worker-exit", "keep"])
        .assert_code(2)
        .assert_says("[possible values: destroy, abandon]");
}

#[test]
fn inspect_says_what_the_host_does() {
    wasm_proxy(&["inspect", &guest("prebuilt/realm_old.wasm")])
        .assert_code(0)
        .assert_says("wasm-bindgen: the older ABI, objects as slots of a heap")
        .assert_says("  the host serves ")
        .assert_says("bindgen_host_take_error");
    wasm_proxy(&["inspect", &guest("prebuilt/realm_new.wasm")])
        .assert_code(0)
        .assert_says("wasm-bindgen: the younger ABI, objects as externrefs");
    let ran = wasm_proxy(&["inspect", &guest("prebuilt/realm_threads.wasm")]);
    ran.assert_code(0)
        .assert_says("with `thread_pool_start` and ends it with `thread_pool_stop`")
        .assert_says("(i32) -> (handle:pool)");
    let ran = wasm_proxy(&["inspect", &guest("prebuilt/kv.wasm")]);
    assert!(!ran.stdout.contains("wasm-bindgen: "), "{}", ran.stdout);
}

#[test]
fn a_preset_refuses_another_module_and_names_what_it_lacks() {
    for module in ["realm_threads", "chain"] {
        let module = guest(&format!("prebuilt/{module}.wasm"));
        wasm_proxy(&["inspect", &module, "--preset", "o1js"])
            .assert_code(2)
            .assert_says("the preset `o1js` does not fit")
            .assert_says("`wire_create` matches no exported function");
    }
}

#[test]
fn inspect_says_which_entry_decides_by_the_number_of_parameters() {
    let folder = Folder::new();
    let policy = folder.file("policy.toml", POLICY);
    for (module, signature) in [
        ("realm_old", "(handle:registry) -> ()"),
        ("realm_new", "(handle:registry, zero) -> ()"),
    ] {
        let module = guest(&format!("prebuilt/{module}.wasm"));
        wasm_proxy(&["inspect", &module, "--policy", &policy])
            .assert_code(0)
            .assert_says(signature)
            .assert_says("note: the entry `__wbg_registry_free` decides no export");
    }
}

#[test]
fn presets_that_make_no_sense_are_refused() {
    let chain = guest("prebuilt/chain.wasm");
    let policy = guest("policies/chain.toml");
    for command in ["run", "inspect"] {
        wasm_proxy(&[command, &chain, "--preset", "o2js"])
            .assert_code(2)
            .assert_says("[possible values: o1js]");
        wasm_proxy(&[command, &chain, "--preset", "o1js", "--policy", &policy])
            .assert_code(2)
            .assert_says("cannot be used with");
    }
    wasm_proxy(&["run", "--preset", "o1js"])
        .assert_code(2)
        .assert_says("were not provided");
    wasm_proxy(&["inspect", &chain, "--preset", "o1js", "--emit-policy"])
        .assert_code(2)
        .assert_says("cannot be used with");
}

#[test]
fn a_policy_of_patterns_that_match_nothing_is_doubted() {
    let folder = Folder::new();
    let policy = folder.file(
        "policy.toml",
        "[[export]]\nmatch = \"nobody_*\"\nrole = \"pure\"",
    );
    let workload = folder.file("w.jsonl", "{\"call\":\"chain_value\"}");
    let module = guest("prebuilt/realm_old.wasm");
    wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &workload])
        .assert_code(0)
        .assert_says("warning: no entry of the policy `")
        .assert_says("--emit-policy");
}
