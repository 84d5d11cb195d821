//! `inspect`, `engines`, `completions` and the help.

use std::fmt::Write;

use super::{Folder, engines, guest, wasm_proxy};

#[test]
fn inspect_shows_what_is_in_a_module_and_what_can_run_it() {
    let ran = wasm_proxy(&["inspect", &guest("prebuilt/prover.wasm")]);
    ran.assert_code(0)
        .assert_says("imports: none")
        .assert_says("exported as `memory`")
        .assert_says("features: ")
        .assert_says("srs_create")
        .assert_says("(handle:srs) -> ()");
    for engine in engines() {
        ran.assert_says(engine);
    }
    let ran = wasm_proxy(&["inspect", &guest("wat/imports.wat")]);
    ran.assert_code(0)
        .assert_says("env.mixed")
        .assert_says("(i32, i64, f32, f64) -> (f64)");
}

#[test]
fn inspect_says_which_pattern_of_a_policy_decides() {
    let policy = guest("policies/kv.toml");
    wasm_proxy(&["inspect", &guest("prebuilt/kv.wasm"), "--policy", &policy])
        .assert_code(0)
        .assert_says("by `{store,snapshot,view}_free`")
        .assert_says("(handle:store, bytes) -> (bytes)")
        .assert_says("not listed: calls are refused");
}

#[test]
fn inspect_shows_what_a_policy_says_beside_roles() {
    let policy = guest("policies/points.toml");
    wasm_proxy(&["inspect", &guest("wat/points.wat"), "--policy", &policy])
        .assert_code(0)
        .assert_says("state digest: none")
        .assert_says("  point: made by point_one, freed by point_free; fields: point_x (set by point_set_x), ")
        .assert_says("  commitment: made by commitment_new, ")
        .assert_says("(handle:srs) -> (structs:point)");
    let folder = Folder::new();
    let module = folder.file(
        "m.wat",
        "(module (func (export \"put\") (result i32) (i32.const 0)) \
         (func (export \"rows\") (result i32) (i32.const 0)))",
    );
    let policy = folder.file(
        "m.toml",
        "state_digest = \"rows\"\n[[export]]\nmatch = \"put\"\nrole = \"mutate\"\nexhausted = [7, -1]\n\
         [[export]]\nmatch = \"rows\"\nrole = \"pure\"\n",
    );
    wasm_proxy(&["inspect", &module, "--policy", &policy])
        .assert_code(0)
        .assert_says("state digest: by `rows`")
        .assert_says("no memory if it returns 7 or -1");
}

/// The lines of `inspect` about checkpoints: the first one, and the reasons below it.
fn checkpoints(module: &str) -> (String, Vec<String>) {
    let ran = wasm_proxy(&["inspect", module]);
    ran.assert_code(0).assert_says("\ncheckpoints: ");
    let mut lines = ran.stdout.lines();
    let first = lines.find(|line| line.starts_with("checkpoints: "));
    let reasons = lines.map_while(|line| line.strip_prefix("  "));
    (
        first.unwrap_or_default().to_owned(),
        reasons.map(ToOwned::to_owned).collect(),
    )
}

const BY_REPLAY: &str = "checkpoints: not possible, so standbys are made by replay of the journal:";

#[test]
fn inspect_says_that_checkpoints_are_possible() {
    for module in [
        "prover",
        "kv",
        "chain",
        "realm_old",
        "realm_new",
        "realm_threads_old",
        "realm_threads",
    ] {
        let (first, reasons) = checkpoints(&guest(&format!("prebuilt/{module}.wasm")));
        assert_eq!(first, "checkpoints: possible");
        assert!(reasons.is_empty(), "{reasons:?}");
    }
}

#[test]
fn inspect_says_each_reason_why_checkpoints_are_not_possible() {
    let folder = Folder::new();
    let module = folder.file(
        "m.wat",
        r#"(module (import "env" "tag" (tag)) (table 1 nullfuncref)
            (func (table.set 0 (i32.const 0) (ref.null nofunc))))"#,
    );
    let (first, reasons) = checkpoints(&module);
    assert_eq!(first, BY_REPLAY);
    assert_eq!(
        reasons,
        [
            "the tag `env` `tag` is imported, and a checkpoint does not hold what is the host's",
            "function 0 changes table 0 of nullfuncref with `table.set`, and a checkpoint holds only \
             funcref and externref",
        ]
    );
}

#[test]
fn inspect_says_that_reserved_exports_keep_a_module_from_running() {
    let folder = Folder::new();
    let module = folder.file("m.wat", "(module (func (export \"wasm-proxy:mine\")))");
    let (first, _) = checkpoints(&module);
    assert!(
        first.starts_with("checkpoints: no engine takes the module: invalid module: the export"),
        "{first}"
    );
}

#[test]
fn names_in_the_reasons_cannot_move_the_cursor() {
    let folder = Folder::new();
    let module = folder.file(
        "m.wat",
        "(module (table 1 nullfuncref)
            (func (@name \"evil\\1b[2J\") (table.set 0 (i32.const 0) (ref.null nofunc))))",
    );
    let (_, reasons) = checkpoints(&module);
    assert_eq!(
        reasons,
        [
            "function 0 (`evil\\u{1b}[2J`) changes table 0 of nullfuncref with `table.set`, and a \
             checkpoint holds only funcref and externref"
        ]
    );
}

#[test]
fn a_drafted_policy_can_be_run_as_it_is() {
    let folder = Folder::new();
    let module = guest("prebuilt/kv.wasm");
    let ran = wasm_proxy(&["inspect", &module, "--emit-policy"]);
    ran.assert_code(0).assert_says("role = \"create\"");
    let policy = folder.file("drafted.toml", &ran.stdout);
    let workload = folder.file(
        "w.jsonl",
        "{\"call\":\"store_create\",\"as\":\"s\"}\n\
         {\"repeat\":3,\"do\":[{\"call\":\"store_digest\",\"args\":[{\"handle\":\"s\"}]}]}\n\
         {\"call\":\"store_free\",\"args\":[{\"handle\":\"s\"}]}",
    );
    wasm_proxy(&["run", &module, "--policy", &policy, "--workload", &workload]).assert_code(0);
    wasm_proxy(&["inspect", &module, "--policy", &policy]).assert_code(0);
}

#[test]
fn a_module_with_hundreds_of_exports_is_readable() {
    let folder = Folder::new();
    let mut text = String::from("(module");
    for class in 0..100 {
        for (name, ty) in [
            ("new", "(result i32)"),
            ("get_x", "(param i32) (result i32)"),
            ("set_x", "(param i32 i32)"),
            ("compute", "(param i32 f64)"),
            ("to_string", "(param i32) (result i32 i32)"),
        ] {
            let _ = write!(
                text,
                "(func (export \"class{class}_{name}\") {ty} unreachable)"
            );
        }
        let _ = write!(
            text,
            "(func (export \"__wbg_class{class}_free\") (param i32 i32))\
             (func (export \"__wbg_get_class{class}_y\") (param i32) (result i32) unreachable)"
        );
    }
    text.push(')');
    let module = folder.file("classes.wat", text);
    let ran = wasm_proxy(&["inspect", &module]);
    ran.assert_code(0)
        .assert_says("create (100)")
        .assert_says("free (100)")
        .assert_says("pure (300)");
    let widest = ran.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest < Some(140), "{widest:?}");
    let ran = wasm_proxy(&["inspect", &module, "--emit-policy"]);
    let policy = folder.file("drafted.toml", &ran.stdout);
    wasm_proxy(&["inspect", &module, "--policy", &policy])
        .assert_code(0)
        .assert_says("(handle:class7, value) -> ()");
}

#[test]
fn engines_are_listed_with_what_they_can_do_and_when_to_take_them() {
    let ran = wasm_proxy(&["engines"]);
    ran.assert_code(0)
        .assert_says("externref")
        .assert_says("interruption")
        .assert_says(&format!("`run` takes {} unless", engines()[0]));
    for listed in ::engines::LIST {
        ran.assert_says(listed.name).assert_says(listed.when);
        if !listed.is_compiled_in() {
            ran.assert_says(&format!("not compiled in: --features {}", listed.feature));
        }
    }
}

#[test]
fn help_version_and_completions_are_there() {
    wasm_proxy(&["--help"])
        .assert_code(0)
        .assert_says("WASM_PROXY_ENABLED");
    wasm_proxy(&["run", "--help"])
        .assert_code(0)
        .assert_says("\"repeat\":1000");
    wasm_proxy(&["--version"])
        .assert_code(0)
        .assert_says(env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        wasm_proxy(&["completions", shell])
            .assert_code(0)
            .assert_says("wasm-proxy");
    }
}
