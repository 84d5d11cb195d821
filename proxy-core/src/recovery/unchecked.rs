//! Checkpoints whose contents are checked while the proxy serves from them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use checkpoint_file::Found;

use crate::shared::Shared;

/// The file of a checkpoint that nobody has written to since it was written or checked, as far as
/// the system can tell. What is left to find out is whether the disk has kept it.
pub(crate) struct Unchecked {
    file: String,
    found: Arc<Found>,
}

impl Unchecked {
    pub(super) fn new(file: String, found: Arc<Found>) -> Self {
        Self { file, found }
    }

    /// Compares its contents with their hashes, and waits for it.
    ///
    /// # Errors
    ///
    /// What is wrong with the file, in words.
    pub(super) fn check(&self) -> Result<(), String> {
        self.found.verify().map_err(|error| error.to_string())
    }

    /// Begins to compare them on a thread of its own, while the proxy serves. What is wrong ends the
    /// proxy. `None` if the system gives no thread, and all is done.
    pub(crate) fn check_aside(self, shared: &Arc<Shared>) -> Option<Checking> {
        let own = Arc::new(self);
        let stop = Arc::new(AtomicBool::new(false));
        let check = {
            let (own, stop, shared) = (Arc::clone(&own), Arc::clone(&stop), Arc::clone(shared));
            move || own.check_slowly(&stop, &shared)
        };
        let thread = thread::Builder::new().name("wasm-proxy-check".to_owned());
        let Ok(thread) = thread.spawn(check) else {
            own.check_slowly(&stop, shared);
            return None;
        };
        Some(Checking {
            stop,
            thread: Some(thread),
        })
    }

    fn check_slowly(&self, stop: &AtomicBool, shared: &Shared) {
        let mut begun = Instant::now();
        let verify = || {
            self.found.verify_aside(|| {
                // Half of a processor is left to calls, even if there is only one.
                thread::sleep(begun.elapsed());
                begun = Instant::now();
                !stop.load(Ordering::Acquire)
            })
        };
        let reason = match catch_unwind(AssertUnwindSafe(verify)) {
            Ok(Ok(is_whole)) => {
                if is_whole {
                    // The next opening need not wait. Without a stamp it does.
                    let _ = self.found.stamp();
                }
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "its check ended in a panic".to_owned(),
        };
        shared.condemn(self.file.clone(), reason);
    }
}

/// A check that is under way. Dropped, it ends before its end.
pub(crate) struct Checking {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checking {
    /// Whether it has ended: if the proxy was not ended by it, the contents are right.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for its end.
    pub(crate) fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            // It has caught a panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // The thread keeps the store open, and the next process may wait for it.
            let _ = thread.join();
        }
    }
}
