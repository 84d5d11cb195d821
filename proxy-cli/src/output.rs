//! Standard output, the files of reports, and the log.

use std::env;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use engine_api::Printable;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// The environment variable that filters the log on standard error, in the syntax of
/// `tracing-subscriber`'s `EnvFilter`.
pub(crate) const LOG_VARIABLE: &str = "WASM_PROXY_LOG";

/// Text for a terminal: names and messages of a module may be in it, and its control characters are
/// escaped. Lines stay lines.
pub(crate) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\n' | '\t') || Printable::is_plain(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_default());
        }
    }
    shown
}

/// Prints to standard output. A reader that went away, as `head` does, is not an error.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
    let text = shown(text);
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Opens the file of a report. It is called before anything runs, because a user should not learn
/// after minutes that the file cannot be written.
pub(crate) fn create(path: &Path) -> Result<File> {
    // An older report stays until there is a new one.
    let file = File::options()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path);
    file.with_context(|| {
        format!(
            "cannot write the report `{}`; check that its folder exists, and that you may write there",
            path.display()
        )
    })
}

/// Writes a report into its file.
pub(crate) fn write(mut file: File, report: &[u8]) -> Result<()> {
    // A pipe or a device has no length.
    let _ = file.set_len(0);
    file.write_all(report)
        .context("cannot write the report; is the disk full?")
}

/// A report as indented JSON, with a newline at its end.
pub(crate) fn json(report: &impl Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(report).context("cannot write JSON")?;
    json.push(b'\n');
    Ok(json)
}

/// Prints a line to standard error. A closed standard error is not a reason to fail.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", shown(line));
}

/// Whether the user asked for a log, which a progress bar would garble.
pub(crate) fn is_logging() -> bool {
    env::var_os(LOG_VARIABLE).is_some_and(|filter| !filter.is_empty())
}

/// Starts the log. By default it has the engines' warnings alone: the proxy's are events too, and
/// `run` shows those in its own words.
pub(crate) fn init_log() -> Result<()> {
    let filter = env::var(LOG_VARIABLE).unwrap_or_default();
    let filter = if filter.is_empty() {
        "warn,proxy_core=off".to_owned()
    } else {
        filter
    };
    let filter = EnvFilter::try_new(&filter).with_context(|| {
        format!(
            "{LOG_VARIABLE} is `{filter}`; set it to a filter such as `info` or `proxy_core=debug`"
        )
    })?;
    let wants_none = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal() && !wants_none)
        .with_writer(io::stderr)
        .init();
    Ok(())
}
