//! Old generations on their way out: waited for, ended at the deadline, freed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::graveyard::Buried;
use super::{Attendant, State, Upkeep};
use crate::SwapState;
use crate::event::Event;
use crate::generation::{Generation, Kill, lock};
use crate::state::Step;

/// An old generation that calls may still be on.
#[derive(Debug)]
pub(super) struct Draining {
    pub(super) generation: Arc<Generation>,
    pub(super) since: Instant,
}

/// How long a generation that was ended at its drain deadline may take to be let go. Only a host
/// function that does not return takes longer.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

impl Upkeep {
    /// Makes room for another generation at once: ends the calls of the draining one.
    pub(super) fn settle_draining(&self, state: &mut State) {
        let Some(draining) = &state.draining else {
            return;
        };
        if draining.generation.killed().is_none() && Arc::strong_count(&draining.generation) > 1 {
            self.kill(&draining.generation, Kill::Evicted);
        }
        let deadline = Instant::now() + KILL_TIMEOUT;
        while state.draining.is_some() && Instant::now() < deadline {
            self.reap(state, Instant::now());
            if state.draining.is_some() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(stuck) = state.draining.take() {
            // A host function does not return. Its thread holds the last reference and frees it.
            tracing::error!(
                proxy = &*self.shared.config.name,
                generation = stuck.generation.number,
                "a host function keeps a dead generation"
            );
            state.step(Step::Drained);
        }
    }

    fn kill(&self, generation: &Generation, why: Kill) {
        generation.kill(why);
        self.shared.ledger.emit(&Event::DrainKilled {
            generation: generation.number,
        });
    }

    /// Frees the old generation if its last call has ended, and ends its calls if they took too
    /// long.
    pub(super) fn reap(&self, state: &mut State, now: Instant) {
        let Some(draining) = &state.draining else {
            return;
        };
        let drained = now.saturating_duration_since(draining.since);
        if Arc::strong_count(&draining.generation) > 1 {
            if drained >= self.shared.config.drain_timeout && draining.generation.killed().is_none()
            {
                self.kill(&draining.generation, Kill::DrainDeadline);
            }
            return;
        }
        // Ours is the last reference, and nothing can make another.
        if let Some(Draining { generation, .. }) = state.draining.take() {
            state.step(Step::Drained);
            self.publish(state);
            self.bury(Buried {
                generation,
                drained,
            });
        }
    }

    /// Frees an old generation's memory: on the reaper's thread if there is one.
    fn bury(&self, buried: Buried) {
        if let Some(buried) = self.graveyard.add(buried) {
            self.free(buried);
        }
    }

    pub(super) fn free(&self, buried: Buried) {
        let Buried {
            generation,
            drained,
        } = buried;
        let (number, memory) = (generation.number, generation.memory_bytes());
        generation.free();
        self.shared.ledger.emit(&Event::GenerationFreed {
            generation: number,
            memory,
            drained,
        });
    }

    /// Frees old generations until [`Upkeep::dismiss_reaper`] is called: what the reaper's thread
    /// does.
    pub(crate) fn reap_forever(&self, own: Attendant) {
        while let Some((buried, _freeing)) = self.graveyard.next(own) {
            self.free(buried);
        }
    }

    /// From now on there is a thread that calls [`Upkeep::reap_forever`].
    pub(crate) fn announce_reaper(&self) -> Attendant {
        self.graveyard.attend()
    }

    pub(crate) fn dismiss_reaper(&self, reaper: Attendant) {
        self.graveyard.leave(reaper);
    }

    pub(crate) fn shutdown(&self) -> bool {
        let active = self.shared.active.swap(None);
        let Some(active) = active.or_else(|| self.shared.take_condemned()) else {
            return true;
        };
        self.shared.wakeup.wake();
        // Calls that are held back need not wait for a preparation in progress to end.
        self.shared.holding.release();
        self.shared.holding.look_again();
        self.shared.journal.fill_at(None);
        let mut state = lock(&self.state);
        self.discard(&mut state);
        self.drop_aside(&mut state);
        active.retire();
        active.send_away();
        self.shared.holding.release();
        self.shared.holding.look_again();
        if let Some(checking) = state.keeper.take_check() {
            // Whoever ends a proxy learns whether its state was good.
            checking.finish();
        }
        let since = Instant::now();
        let mut left = vec![active];
        left.extend(state.draining.take().map(|draining| draining.generation));
        while !left.is_empty() {
            left.retain(|generation| Arc::strong_count(generation) > 1);
            let waited = since.elapsed();
            if waited >= self.shared.config.drain_timeout + KILL_TIMEOUT {
                return false;
            }
            if waited >= self.shared.config.drain_timeout {
                for generation in left
                    .iter()
                    .filter(|generation| generation.killed().is_none())
                {
                    self.kill(generation, Kill::DrainDeadline);
                }
            }
            if !left.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if let Some(committer) = self.shared.committer() {
            committer.shut_down();
            // An error has been reported to those who waited, if anybody did.
            let _ = committer.pending().map(|batch| batch.wait());
            self.tell_of_store(&mut state, committer);
        }
        state.checkpoints.clear();
        state.swap = SwapState::Idle;
        self.publish(&state);
        self.graveyard.wait();
        self.loan.wait();
        true
    }
}
