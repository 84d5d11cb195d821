//! The errors about a wrong command line.

use std::path::Path;
use std::process::Command;

fn complaint(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_o1js-prover"))
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts");
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_module_that_is_not_there_is_fetched_by_a_script_that_is_named() {
    let said = complaint(&["no.wasm", "--circuit", "circuits/twenty.json"]);
    assert!(
        said.contains("no.wasm") && said.contains("fetch.sh"),
        "{said}"
    );
    assert!(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fetch.sh")
            .exists()
    );
}

#[test]
fn a_file_that_is_not_a_circuit_is_named_with_the_reason() {
    let said = complaint(&["no.wasm", "--circuit", "Cargo.toml"]);
    assert!(said.contains("`Cargo.toml` is not a circuit"), "{said}");
    let said = complaint(&["no.wasm", "--circuit", "no.json"]);
    assert!(said.contains("cannot read the circuit `no.json`"), "{said}");
}
