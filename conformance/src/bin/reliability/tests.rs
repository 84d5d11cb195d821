//! Rows that tests show: their names, and cargo that runs them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Scale;

/// A test of the workspace.
#[derive(Debug)]
pub(crate) struct Test {
    /// What cargo is told, as in `--test proxies`.
    pub(crate) target: &'static [&'static str],
    /// Its name, or a part of it that several have.
    pub(crate) name: &'static str,
    /// Variables that make the full figure of it.
    pub(crate) full: &'static [(&'static str, &'static str)],
}

/// A test of a row, and how it ended.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) test: String,
    pub(crate) ran: Ran,
    passed: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Passed,
    Failed,
    /// No test has the name.
    Absent,
    /// It was not run here.
    Named,
}

impl Test {
    /// The test without running it.
    pub(crate) fn named(&self) -> Shown {
        let ran = if self.is_in_this_tree() {
            Ran::Named
        } else {
            Ran::Absent
        };
        self.ended(ran, 0)
    }

    fn is_in_this_tree(&self) -> bool {
        match self.target {
            ["--manifest-path", manifest, ..] => root().join(manifest).exists(),
            _ => true,
        }
    }

    /// Runs it with cargo, in the profile of tests.
    pub(crate) fn run(&self, scale: &Scale) -> Shown {
        let root = root();
        // What a workspace of its own builds is shared with this one's.
        let built = std::env::var_os("CARGO_TARGET_DIR");
        let built = built.map_or_else(|| root.join("target"), PathBuf::from);
        if !self.is_in_this_tree() {
            return self.ended(Ran::Absent, 0);
        }
        // Cargo says which one it is to what it runs. Otherwise it is the user's.
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&root).args(["test", "--workspace"]);
        command.args(self.target).arg("--target-dir").arg(built);
        command.arg(self.name);
        if scale.full {
            command.envs(self.full.iter().copied());
        }
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("cargo does not run: {error}"));
        let said = String::from_utf8_lossy(&output.stdout);
        let of_a_test = |line: &&str| line.starts_with("test ") && line.ends_with(" ... ok");
        let passed = said.lines().filter(of_a_test).count();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            eprintln!("{said}{errors}");
            return self.ended(Ran::Failed, passed);
        }
        let ran = if passed == 0 {
            Ran::Absent
        } else {
            Ran::Passed
        };
        self.ended(ran, passed)
    }

    fn ended(&self, ran: Ran, passed: usize) -> Shown {
        Shown {
            test: [self.target, &[self.name]].concat().join(" "),
            ran,
            passed,
        }
    }
}

/// The folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ran {
            Ran::Passed => write!(f, "`{}`: {} passed", self.test.trim_end(), self.passed),
            Ran::Failed => write!(f, "`{}`: failed", self.test.trim_end()),
            Ran::Absent => write!(f, "`{}`: there is none", self.test.trim_end()),
            Ran::Named => write!(f, "by `{}`", self.test.trim_end()),
        }
    }
}

#[cfg(test)]
mod named_by_rows {
    use std::fs;

    use super::*;
    use crate::rows::ROWS;

    /// The sources in a file or a folder.
    fn read(path: &Path, text: &mut String) {
        if !path.is_file() {
            for entry in fs::read_dir(path).into_iter().flatten() {
                read(&entry.unwrap().path(), text);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *text += &fs::read_to_string(path).unwrap();
        }
    }

    /// The sources of a binary of tests.
    fn sources(target: &[&str]) -> String {
        let mut text = String::new();
        let crates = match target {
            ["--manifest-path", manifest, ..] => {
                vec![root().join(manifest).parent().unwrap().to_owned()]
            }
            _ => fs::read_dir(root())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect(),
        };
        for folder in crates {
            match target.last().unwrap() {
                &"--lib" => read(&folder.join("src"), &mut text),
                binary => {
                    let tests = folder.join("tests");
                    let (file, modules) = (tests.join(format!("{binary}.rs")), tests.join(binary));
                    if file.exists() {
                        read(&file, &mut text);
                    }
                    if file.exists() || modules.join("main.rs").exists() {
                        read(&modules, &mut text);
                    }
                }
            }
        }
        text
    }

    /// Whether the last part of a name is in that of a function or of a module.
    fn has(text: &str, name: &str) -> bool {
        let last = name.trim_end_matches("::").rsplit("::").next().unwrap();
        text.lines().any(|line| {
            let words = line.trim_start().trim_start_matches("pub ");
            let named = words
                .strip_prefix("fn ")
                .or_else(|| words.strip_prefix("mod "));
            let named = named.and_then(|named| named.split(['(', ';', ' ']).next());
            named.is_some_and(|named| named.contains(last))
        })
    }

    #[test]
    fn every_test_that_a_row_names_is_there() {
        for row in ROWS {
            for test in row.tests {
                let text = sources(test.target);
                assert!(!text.is_empty(), "{}: {:?}", row.id, test.target);
                assert!(has(&text, test.name), "{}: {test:?}", row.id);
            }
        }
        assert!(!has(&sources(&["--lib"]), "no_test_has_this_name"));
    }
}
