//! The program as its user meets it: arguments in, output and exit codes out.

mod artifacts;
mod bad_input;
mod bench;
mod bindgen;
mod checks;
mod divergence;
mod exhaustion;
mod glue;
mod imports;
mod injection;
mod inspect;
mod journal;
mod lists;
mod main_job;
mod states;
mod wasi;
mod when;
mod workloads;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The exit code and the output of a run of the program.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn assert_code(&self, code: i32) -> &Self {
        assert_eq!(
            self.code,
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout,
            self.stderr
        );
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    fn assert_says(&self, needle: &str) -> &Self {
        let said = self.stdout.contains(needle) || self.stderr.contains(needle);
        assert!(
            said,
            "no `{needle}` in stdout:\n{}\nstderr:\n{}",
            self.stdout, self.stderr
        );
        self
    }
}

fn wasm_proxy(args: &[&str]) -> Ran {
    let output = command(args).output().expect("the program starts");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The program with these arguments, not started yet.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasm-proxy"));
    command
        .args(args)
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env_remove("WASM_PROXY_ENABLED")
        .env_remove("WASM_PROXY_LOG");
    command
}

/// The engines that this build has.
fn engines() -> Vec<&'static str> {
    ::engines::compiled_in().map(|listed| listed.name).collect()
}

/// A path among the guests.
fn guest(path: &str) -> String {
    let guests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
    guests.join(path).display().to_string()
}

/// A folder for one test's files.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file, and gives its path.
    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder can be written to");
        path.display().to_string()
    }
}

/// The report that a run wrote.
fn report(path: &Path) -> serde_json::Value {
    let text = fs::read_to_string(path).expect("the run wrote a report");
    serde_json::from_str(&text).expect("the report is JSON")
}
