//! The origin of figures: the machine, the commit and the versions.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};

/// The machine of a measurement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor, as the system names it.
    pub cpu: String,
    /// How many threads it runs at a time.
    pub cores: usize,
    /// The size of its memory.
    pub memory_mib: u64,
    /// The kernel's name and release.
    pub system: String,
    /// The architecture, such as `x86_64`.
    pub arch: String,
}

impl Machine {
    /// This machine, as the system describes it.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib: Option<u64> = memory.and_then(|text| text.split(' ').next()?.parse().ok());
        let release = read("/proc/sys/kernel/osrelease");
        let release = release.trim();
        Self {
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(1, usize::from),
            memory_mib: kib.unwrap_or(0) / 1024,
            system: format!("{} {release}", env::consts::OS).trim().to_owned(),
            arch: env::consts::ARCH.to_owned(),
        }
    }
}

/// The origin of figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The command that measured them.
    pub command: String,
    /// The date in UTC, such as `2026-01-31`.
    pub date: String,
    /// The commit of the working tree, where there is one.
    pub commit: Option<String>,
    /// The machine that measured them.
    pub machine: Machine,
    /// Versions of the compiler and the runtimes, by name.
    pub versions: BTreeMap<String, String>,
}

impl Origin {
    /// The origin of figures that are measured here and now.
    #[must_use]
    pub fn now(command: String, versions: BTreeMap<String, String>) -> Self {
        Self {
            command,
            date: today(),
            commit: commit(),
            machine: Machine::this(),
            versions,
        }
    }

    /// A sentence with everything but the command.
    #[must_use]
    pub fn sentence(&self) -> String {
        let machine = &self.machine;
        let versions = self.versions.iter();
        let versions: Vec<String> = versions
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let commit = self.commit.as_deref();
        let commit = commit.map_or_else(String::new, |commit| format!(", commit {commit}"));
        format!(
            "Measured on {}: {}, {} threads, {} MiB ({}, {}){commit}; {}.",
            self.date,
            machine.cpu,
            machine.cores,
            machine.memory_mib,
            machine.arch,
            machine.system,
            versions.join(", ")
        )
    }
}

/// The value in the line `name : value` of a file.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
}

/// Today in UTC, as in `2026-01-31`.
fn today() -> String {
    said("date", &["-u", "+%Y-%m-%d"]).unwrap_or_else(unknown)
}

/// The commit of the working tree that is the current folder, with `+` behind it where files differ
/// from it.
fn commit() -> Option<String> {
    let commit = said("git", &["rev-parse", "--short=12", "HEAD"])?;
    let changed = said("git", &["status", "--porcelain", "--untracked-files=no"])?;
    let mark = if changed.is_empty() { "" } else { "+" };
    Some(format!("{commit}{mark}"))
}

/// The standard output of a program, if it runs and succeeds.
#[must_use]
pub fn said(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}

/// The version of a package in the text of a `Cargo.lock`.
#[must_use]
pub fn locked(lock: &str, package: &str) -> Option<String> {
    let name = format!("name = \"{package}\"\nversion = \"");
    let (_, rest) = lock.split_once(&name)?;
    Some(rest.split_once('"')?.0.to_owned())
}

fn unknown() -> String {
    "unknown".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_versions_are_found() {
        let text = "processor\t: 0\nmodel name\t: A : B\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A : B"));
        let lock = "[[package]]\nname = \"wasmtime\"\nversion = \"48.0.8\"\n";
        assert_eq!(locked(lock, "wasmtime").as_deref(), Some("48.0.8"));
        assert_eq!(locked(lock, "wasm"), None);
    }
}
