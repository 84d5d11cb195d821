//! The lines of a run: above a live display on a terminal, on standard error elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::output;

/// Bytes as MiB.
#[expect(
    clippy::cast_precision_loss,
    reason = "sizes are exact enough in an f64"
)]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// The destination of lines while a run lasts. Clones are the same console.
#[derive(Clone, Debug)]
pub(crate) enum Console {
    /// Above a live display.
    Live(ProgressBar),
    /// To standard error.
    Plain,
}

impl Console {
    /// A live display if standard error is a terminal without a log. A guest that writes to the terminal
    /// itself would have its lines drawn over.
    pub(crate) fn detect(calls: u64, guest_writes: bool) -> Self {
        if guest_writes || !io::stderr().is_terminal() || output::is_logging() {
            return Self::Plain;
        }
        let template =
            "{bar:40.cyan/dim} {pos} of {len} calls, {per_sec}, {elapsed} gone, {eta} left\n{msg}";
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self::Live(ProgressBar::new(calls).with_style(style))
    }

    /// Writes a line, whether there is a live display or not.
    pub(crate) fn line(&self, line: &str) {
        match self {
            Console::Live(bar) => bar.suspend(|| output::note(line)),
            Console::Plain => output::note(line),
        }
    }

    /// Writes a line of progress, which a live display shows by itself.
    pub(crate) fn progress(&self, line: &str) {
        if let Console::Plain = self {
            output::note(line);
        }
    }
}
