//! The end of a proxy whose state turned out to be worth nothing.

use std::sync::{Arc, Mutex, OnceLock};

use crate::Error;
use crate::event::Event;
use crate::generation::{Generation, lock};

use super::Shared;

/// Why a proxy ended by itself, if it did.
#[derive(Default)]
pub(crate) struct Condemned {
    why: OnceLock<(String, String)>,
    /// What served, until the proxy is shut down.
    generation: Mutex<Option<Arc<Generation>>>,
}

impl Shared {
    /// Ends the proxy: the file of the checkpoint that its state was made from is damaged, so nobody
    /// knows what the state is, and in memory there is nothing else to make it from. Calls that have
    /// begun end as those before them, and all others fail. What was acknowledged is in the journal,
    /// of which nothing was dropped meanwhile.
    pub(crate) fn condemn(&self, file: String, reason: String) {
        let why = (file.clone(), reason.clone());
        if self.condemned.why.set(why).is_err() {
            return;
        }
        // Without one, the proxy is being shut down.
        if let Some(active) = self.active.swap(None) {
            active.retire();
            active.send_away();
            *lock(&self.condemned.generation) = Some(active);
            self.wakeup.wake();
            self.holding.release();
            self.holding.look_again();
        }
        self.ledger.emit(&Event::CheckpointDamaged { file, reason });
    }

    /// What served when the proxy was condemned, if nobody took it before.
    pub(crate) fn take_condemned(&self) -> Option<Arc<Generation>> {
        lock(&self.condemned.generation).take()
    }

    /// Why there is no active generation.
    #[cold]
    pub(crate) fn why_ended(&self) -> Error {
        let why = self.condemned.why.get().cloned();
        why.map_or(Error::ShutDown, |(file, reason)| Error::CheckpointDamaged {
            file,
            reason,
        })
    }
}
