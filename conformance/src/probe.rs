//! Cases in a process of their own. They measure the process, change something process-wide, or
//! would end the suite if they failed.

use std::path::Path;
use std::process::Command;

/// Runs `conformance-probe` with these arguments, and fails with its output if it fails.
///
/// `binary` is `env!("CARGO_BIN_EXE_conformance-probe")`, which only an integration test knows.
#[track_caller]
pub fn run(binary: impl AsRef<Path>, arguments: &[&str]) {
    let output = Command::new(binary.as_ref())
        .args(arguments)
        .output()
        .expect("the probe's binary is built with the tests");
    assert!(
        output.status.success(),
        "conformance-probe {arguments:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}
