//! Checkpoints whose contents are checked while the proxy serves from them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use checkpoint_file::Found;
use guest_calls::with_causes;

use crate::shared::Shared;

/// The paces of a check: beside calls, as fast as it can, and no further.
const SLOW: u8 = 0;
const FAST: u8 = 1;
const STOPPED: u8 = 2;

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
        self.found.verify().map_err(|error| with_causes(&error))
    }

    /// Begins to compare them on a thread of its own, while the proxy serves. What is wrong ends the
    /// proxy. `None` if the system gives no thread, and all is done.
    pub(crate) fn check_aside(self, shared: &Arc<Shared>) -> Option<Checking> {
        let own = Arc::new(self);
        let pace = Arc::new(AtomicU8::new(SLOW));
        let check = {
            let (own, pace, shared) = (Arc::clone(&own), Arc::clone(&pace), Arc::clone(shared));
            move || own.check_at(&pace, &shared)
        };
        let thread = thread::Builder::new().name("wasm-proxy-check".to_owned());
        let Ok(thread) = thread.spawn(check) else {
            own.check_at(&pace, shared);
            return None;
        };
        Some(Checking {
            pace,
            thread: Some(thread),
        })
    }

    fn check_at(&self, pace: &AtomicU8, shared: &Shared) {
        let mut begun = Instant::now();
        let verify = || {
            self.found.verify_aside(|| {
                if pace.load(Ordering::Acquire) == SLOW {
                    // Half of a processor is left to calls, even if there is only one.
                    thread::sleep(begun.elapsed());
                }
                begun = Instant::now();
                pace.load(Ordering::Acquire) != STOPPED
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
            Ok(Err(error)) => with_causes(&error),
            Err(_) => "its check ended in a panic".to_owned(),
        };
        shared.condemn(self.file.clone(), reason);
    }
}

/// A check that is under way. Dropped, it ends before its end.
pub(crate) struct Checking {
    pace: Arc<AtomicU8>,
    thread: Option<JoinHandle<()>>,
}

impl Checking {
    /// Whether it has ended: if the proxy was not ended by it, the contents are right.
    pub(crate) fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Lets it take all of a processor, and waits for its end.
    pub(crate) fn finish(mut self) {
        self.pace.store(FAST, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has caught a panic.
            let _ = thread.join();
        }
    }
}

impl Drop for Checking {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.pace.store(STOPPED, Ordering::Release);
        }
        if let Some(thread) = self.thread.take() {
            // The thread keeps the store open, and the next process may wait for it.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// It keeps the file mapped and the store open, and whoever opens the journal next may find them so.
    #[test]
    fn a_check_that_is_dropped_is_stopped_and_has_ended() {
        let pace = Arc::new(AtomicU8::new(SLOW));
        let ended = Arc::new(AtomicBool::new(false));
        let (seen, own) = (Arc::clone(&pace), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            while seen.load(Ordering::Acquire) != STOPPED {
                thread::yield_now();
            }
            own.store(true, Ordering::Release);
        });
        drop(Checking {
            pace,
            thread: Some(thread),
        });
        assert!(ended.load(Ordering::Acquire));
    }
}
