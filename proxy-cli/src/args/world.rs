//! The options that say what a WASI guest sees of the world.

use std::env::VarError;
use std::path::PathBuf;

use clap::Args;
use wasi::{Access, Config, Input, Output, Preopen};

/// What a guest sees of the world, spelled as in the tools of wasmtime and wasmer.
#[derive(Debug, Default, Args)]
pub(crate) struct WorldArgs {
    /// Let a WASI guest open files in a folder, which it knows by the name GUEST; may be repeated
    #[arg(long = "dir", value_name = "HOST[::GUEST]", value_parser = parse_folder)]
    folders: Vec<Folder>,

    /// The same for a folder that it cannot change
    #[arg(long = "dir-read-only", value_name = "HOST[::GUEST]", value_parser = parse_folder)]
    read_only: Vec<Folder>,

    /// Set a variable of a WASI guest's environment, or pass this process's own on; may be repeated
    #[arg(long = "env", value_name = "NAME[=VALUE]", value_parser = parse_variable)]
    variables: Vec<Variable>,

    /// The arguments of a WASI guest
    #[arg(last = true, value_name = "ARGS", requires = "module")]
    args: Vec<String>,
}

/// A folder of the host, and its name for the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Folder {
    host: PathBuf,
    guest: String,
}

/// A variable that is set, or passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Variable {
    name: String,
    value: String,
}

/// Where a guest's standard streams go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Streams {
    /// They are those of this process.
    Inherited,
    /// Nothing comes in, and what goes out is lost: for what only replays or measures.
    Closed,
}

impl WorldArgs {
    /// An option that is given, for a module that has no use for any.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--dir", !self.folders.is_empty()),
            ("--dir-read-only", !self.read_only.is_empty()),
            ("--env", !self.variables.is_empty()),
            ("what stands after `--`", !self.args.is_empty()),
        ];
        given
            .into_iter()
            .find_map(|(option, is_given)| is_given.then_some(option))
    }

    /// The configuration of a guest that knows itself by the name `program`.
    pub(crate) fn config(&self, program: &str, streams: Streams) -> Config {
        let folders = self.folders.iter().map(|one| (one, Access::ReadWrite));
        let read_only = self.read_only.iter().map(|one| (one, Access::ReadOnly));
        let preopens = folders.chain(read_only);
        let variables = self.variables.iter();
        let variables = variables.map(|variable| (variable.name.clone(), variable.value.clone()));
        let args = std::iter::once(program.to_owned()).chain(self.args.iter().cloned());
        let (stdin, out) = match streams {
            Streams::Inherited => (Input::Inherit, Output::Inherit),
            Streams::Closed => (Input::Empty, Output::Discard),
        };
        Config {
            args: args.collect(),
            env: variables.collect(),
            preopens: preopens
                .map(|(folder, access)| Preopen {
                    host: folder.host.clone(),
                    guest: folder.guest.clone(),
                    access,
                })
                .collect(),
            stdin,
            stdout: out.clone(),
            stderr: out,
        }
    }
}

/// `HOST::GUEST`, or one name for both.
fn parse_folder(text: &str) -> Result<Folder, String> {
    let (host, guest) = text.split_once("::").unwrap_or((text, text));
    if host.is_empty() || guest.is_empty() {
        return Err(
            "write a folder as in `data`, or `data::/var/data` to give it another name".to_owned(),
        );
    }
    Ok(Folder {
        host: host.into(),
        guest: guest.to_owned(),
    })
}

/// `NAME=VALUE`, or `NAME`.
fn parse_variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(
            "write a variable as in `NAME=VALUE`, or `NAME` to pass this process's own on"
                .to_owned(),
        );
    }
    let value = match value {
        Some(value) => value.to_owned(),
        None => std::env::var(name).map_err(|error| match error {
            VarError::NotPresent => {
                format!("this process has no variable `{name}`; write `{name}=VALUE` to set one")
            }
            VarError::NotUnicode(_) => {
                format!("this process's `{name}` is no text; write `{name}=VALUE` to set another")
            }
        })?,
    };
    Ok(Variable {
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_name_or_two() {
        let folder = |host: &str, guest: &str| Folder {
            host: host.into(),
            guest: guest.to_owned(),
        };
        assert_eq!(parse_folder("data"), Ok(folder("data", "data")));
        assert_eq!(parse_folder("a:b::/c"), Ok(folder("a:b", "/c")));
        for wrong in ["", "::x", "x::"] {
            assert!(parse_folder(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_variable_may_have_equals_signs_in_its_value_and_needs_a_name() {
        let variable = parse_variable("A=b=c").unwrap();
        assert_eq!(
            (variable.name.as_str(), variable.value.as_str()),
            ("A", "b=c")
        );
        let path = std::env::var("PATH").unwrap();
        assert_eq!(parse_variable("PATH").unwrap().value, path);
        assert!(parse_variable("=x").is_err());
        let error = parse_variable("NO_SUCH_VARIABLE_HERE").unwrap_err();
        assert!(error.contains("NO_SUCH_VARIABLE_HERE=VALUE"), "{error}");
    }
}
