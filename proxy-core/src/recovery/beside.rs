//! The newest checkpoint's file, whose check runs beside the compilation of the module, or is put off
//! until the proxy serves.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use checkpoint_file::Found;
use guest_calls::with_causes;

use super::Unchecked;
use crate::durable_checkpoint::is_of_entries;
use crate::journal_store::JournalStore;

/// A file that recovery is likely to use.
pub(crate) struct Beside {
    /// The name of the file.
    file: String,
    found: Arc<Found>,
    /// The check that is under way, if nobody can say that the file is as it was written.
    check: Option<Check>,
}

/// A check that is under way. Its outcome is there before this is dropped.
struct Check {
    outcome: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Finds the file that recovery tries first, and begins to check it, unless it is untouched since it
    /// was written. `None` if there is none, or nothing to check before the module is known: recovery
    /// then finds out by itself, and says what is wrong.
    pub(crate) fn begin(store: &dyn JournalStore) -> Option<Self> {
        let newest = store.checkpoints().ok()?.into_iter().next()?;
        let path = store.checkpoint_folder()?.join(&newest.file);
        if is_of_entries(&path) {
            return None;
        }
        let found = Arc::new(Found::read(&path).ok()?);
        // It is trusted once: a process that dies before its check has ended leaves no stamp.
        let check = if found.is_untouched() && found.remove_stamp().is_ok() {
            None
        } else {
            Some(Check::begin(&found)?)
        };
        Some(Self {
            file: newest.file,
            found,
            check,
        })
    }

    /// Whether it is of the file of this name.
    pub(crate) fn is_of(&self, file: &str) -> bool {
        self.file == file
    }

    /// The file.
    pub(crate) fn found(&self) -> &Found {
        &self.found
    }

    /// Waits for the outcome, where the file is being checked. Otherwise gives back what is still to
    /// be checked.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub(crate) fn wait(self) -> Result<Option<Unchecked>, String> {
        match self.check {
            Some(check) => check.wait().map(|()| None),
            None => Ok(Some(Unchecked::new(self.file, self.found))),
        }
    }
}

impl Check {
    fn begin(found: &Arc<Found>) -> Option<Self> {
        let own = Arc::clone(found);
        let (tell, outcome) = channel();
        let check = move || {
            let mut is_right = false;
            own.verify_and_tell(|outcome| {
                is_right = outcome.is_ok();
                // Nobody waits where the opening has failed meanwhile.
                let _ = tell.send(outcome.map_err(|error| with_causes(&error)));
            });
            if is_right {
                // The next opening need not wait. Without a stamp it does.
                let _ = own.stamp();
            }
        };
        let thread = thread::Builder::new()
            .name("wasm-proxy-check".to_owned())
            .spawn(check)
            .ok()?;
        Some(Self {
            outcome,
            thread: Some(thread),
        })
    }

    fn wait(mut self) -> Result<(), String> {
        let told = self.outcome.recv();
        let outcome = told.unwrap_or_else(|_| Err("its check ended in a panic".to_owned()));
        // All that the thread still has to do is to unmap, and to write a stamp.
        drop(self.thread.take());
        outcome
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;

    /// It keeps the file mapped, and whoever opens the journal next may find it so.
    #[test]
    fn a_check_that_nobody_waits_for_has_ended_when_it_is_dropped() {
        let ended = Arc::new(AtomicBool::new(false));
        let own = Arc::clone(&ended);
        let thread = thread::spawn(move || {
            thread::sleep(Duration::from_millis(100));
            own.store(true, Ordering::SeqCst);
        });
        drop(Check {
            outcome: channel().1,
            thread: Some(thread),
        });
        assert!(ended.load(Ordering::SeqCst));
    }
}
