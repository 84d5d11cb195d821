//! The options about a module's imports, for all commands that run it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use globset::{Glob, GlobMatcher};

const STUB_IMPORTS: &str = "--stub-imports";

/// What is given for imports.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ImportArgs {
    /// Fill missing imports with stubs, whose calls fail; or, with a pattern over `module.name`, with
    /// constants
    #[arg(
        long,
        value_name = "PATTERN=NUMBER",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub(crate) stub_imports: Vec<Stub>,

    /// The names of a module's imports and exports, where its compiler made them short
    #[arg(long, value_name = "F.toml")]
    pub(crate) names: Option<PathBuf>,
}

impl ImportArgs {
    /// Whether functions that are missing become such as fail.
    pub(crate) fn stubs_all(&self) -> bool {
        let is_failing = |stub: &Stub| matches!(stub, Stub::Failing);
        self.stub_imports.iter().any(is_failing)
    }
}

/// One `--stub-imports`.
#[derive(Clone, Debug)]
pub(crate) enum Stub {
    /// Functions whose calls fail.
    Failing,
    /// Functions that give a number, and globals that are one.
    Constant(Constant),
}

/// A number for the imports that match a pattern.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) pattern: GlobMatcher,
    /// As it was written: each import says its type.
    pub(crate) number: String,
}

impl FromStr for Stub {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Stub::Failing);
        }
        // A pattern may have `=` in it, a number has none.
        let (pattern, number) = text
            .rsplit_once('=')
            .ok_or("a pattern and a number are needed, such as 'env.foo=-52'")?;
        if number.parse::<f64>().is_err() {
            return Err(format!(
                "`{number}` is no number; write one after the `=`, such as '{pattern}=-52'"
            ));
        }
        let glob = Glob::new(pattern).map_err(|error| error.to_string())?;
        Ok(Stub::Constant(Constant {
            pattern: glob.compile_matcher(),
            number: number.to_owned(),
        }))
    }
}

/// The command line with each `--stub-imports PATTERN=NUMBER` as one argument. The value is
/// optional, so the parser would take `--stub-imports MODULE` for one.
pub(crate) fn joined(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        let is_constant = arg.to_str().is_some_and(is_meant);
        match joined.last_mut() {
            Some(last) if is_constant && last == STUB_IMPORTS => {
                last.push("=");
                last.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

/// Whether an argument after `--stub-imports` is a value of it, perhaps with a mistake in it, rather
/// than a file.
fn is_meant(text: &str) -> bool {
    text.contains('=') && !text.starts_with('-') && !Path::new(text).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_after_the_option_is_its_value_and_a_module_is_not() {
        let args = [
            "run",
            "--stub-imports",
            "m.wasm",
            "--stub-imports",
            "env.*=-52",
            "--stub-imports",
            "env.foo=x",
        ];
        let joined = joined(args.map(OsString::from));
        assert_eq!(
            joined,
            [
                "run",
                "--stub-imports",
                "m.wasm",
                "--stub-imports=env.*=-52",
                "--stub-imports=env.foo=x"
            ]
        );
    }

    #[test]
    fn a_stub_needs_a_pattern_and_a_number() {
        for text in ["env.foo", "env.foo=", "env.foo=x", "[=1"] {
            assert!(text.parse::<Stub>().is_err(), "{text}");
        }
        let error = "env.foo=x".parse::<Stub>().unwrap_err();
        assert!(error.contains("`x` is no number"), "{error}");
        let Ok(Stub::Constant(constant)) = "env.f=0.5".parse() else {
            panic!("it has both");
        };
        assert_eq!(constant.number, "0.5");
        assert!(constant.pattern.is_match("env.f"));
    }
}
