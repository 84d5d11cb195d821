//! Standard output and the log.

use std::env;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};
use tracing_subscriber::EnvFilter;

/// The environment variable that filters the log on standard error, in the syntax of
/// `tracing-subscriber`'s `EnvFilter`.
pub(crate) const LOG_VARIABLE: &str = "WASM_PROXY_LOG";

/// Prints to standard output. A reader that went away, as `head` does, is no error.
pub(crate) fn print(text: &str) -> Result<ExitCode> {
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

/// Prints a line to standard error. A closed standard error is no reason to fail.
pub(crate) fn note(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    Ok(())
}
