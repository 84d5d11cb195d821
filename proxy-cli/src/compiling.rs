//! The word that a compilation takes its time, and what the cache of compiled modules says.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use compile_cache::{Task, Teller};
use engine_api::{Error, Module};
use indicatif::ProgressBar;

use crate::console::mib;
use crate::output;

/// A compilation that takes longer is worth a line where there is no terminal.
const TOLD_FROM: Duration = Duration::from_secs(2);

/// Tells on stderr.
#[derive(Debug)]
pub(crate) struct OnStderr {
    pub(crate) telling: Telling,
}

/// Whether a compilation is worth a line on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// If it took long.
    Slow,
    /// Never: standard error is the guest's.
    Never,
}

impl Teller for OnStderr {
    fn note(&self, text: &str) {
        output::note(text);
    }

    fn while_compiling(
        &self,
        task: &Task<'_>,
        work: &mut dyn FnMut() -> Result<Arc<dyn Module>, Error>,
    ) -> Result<Arc<dyn Module>, Error> {
        let is_terminal = std::io::stderr().is_terminal() && !output::is_logging();
        let spinner = is_terminal.then(|| {
            let spinner = ProgressBar::new_spinner();
            spinner.set_message(format!(
                "compiling a module of {:.1} MiB with {}",
                mib(task.bytes as u64),
                task.engine
            ));
            spinner.enable_steady_tick(Duration::from_millis(100));
            spinner
        });
        let started = Instant::now();
        let compiled = work();
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let took = started.elapsed();
        if self.telling == Telling::Slow && took >= TOLD_FROM && compiled.is_ok() {
            let kept = match task.folder {
                Some(folder) => format!("; kept in `{}`", folder.display()),
                None => String::new(),
            };
            output::note(&format!(
                "compiled with {} in {took:.1?}{kept}",
                task.engine
            ));
        }
        compiled
    }
}
