//! The check of the newest checkpoint's file, beside the compilation of the module.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};

use checkpoint_file::Found;

use crate::durable_checkpoint::is_of_entries;
use crate::journal_store::JournalStore;

/// A check that is under way. Its outcome is there before this is dropped.
pub(crate) struct Beside {
    /// The name of the file.
    file: String,
    found: Arc<Found>,
    outcome: Receiver<Result<(), String>>,
    thread: Option<JoinHandle<()>>,
}

impl Beside {
    /// Begins to check the file that recovery tries first. `None` if there is none, or nothing to
    /// check before the module is known: recovery then finds out by itself, and says what is wrong.
    pub(crate) fn begin(store: &dyn JournalStore) -> Option<Self> {
        let newest = store.checkpoints().ok()?.into_iter().next()?;
        let path = store.checkpoint_folder()?.join(&newest.file);
        if is_of_entries(&path) {
            return None;
        }
        Self::check(newest.file, &path)
    }

    fn check(file: String, path: &Path) -> Option<Self> {
        let found = Arc::new(Found::read(path).ok()?);
        let own = Arc::clone(&found);
        let (tell, outcome) = channel();
        let check = move || {
            own.verify_and_tell(|outcome| {
                // Nobody waits where the opening has failed meanwhile.
                let _ = tell.send(outcome.map_err(|error| error.to_string()));
            });
        };
        let thread = thread::Builder::new()
            .name("wasm-proxy-check".to_owned())
            .spawn(check)
            .ok()?;
        Some(Self {
            file,
            found,
            outcome,
            thread: Some(thread),
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

    /// Waits for the outcome.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub(crate) fn wait(mut self) -> Result<(), String> {
        let told = self.outcome.recv();
        let outcome = told.unwrap_or_else(|_| Err("its check ended in a panic".to_owned()));
        // All that the thread still has to do is to unmap.
        drop(self.thread.take());
        outcome
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
