//! Work aside: an instance in the making that serves nobody, for a checkpoint or for the
//! verification of one. It is worked on in slices when nothing else is due, so neither a
//! preparation, nor a swap, nor a call waits for it, and it goes on across swaps.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replay::{Entries, Noted, Replay};
use super::{State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::generation::{Blueprint, Generation};
use crate::{Error, SequenceNumber};

/// How long work aside goes on before upkeep looks at what else is due. One entry may take longer.
pub(super) const SLICE: Duration = Duration::from_millis(10);

/// How many entries are applied before upkeep looks whether a slice is over.
const STEP: usize = 1;

/// The work aside. There is at most one.
pub(super) enum Aside {
    Verification(Verification),
    Scratch(Scratch),
}

/// The verification of a checkpoint: its history repeated on a fresh instance, then a comparison.
pub(super) struct Verification {
    pub(super) checkpoint: Arc<Checkpoint>,
    /// What a standby is restored by, if it must be asked what it holds.
    blueprint: Blueprint,
    replay: Replay,
    entries: Entries,
    is_replayed: bool,
    pub(super) started: Instant,
}

/// An instance made for a checkpoint, from the newest checkpoint or else from nothing.
pub(super) struct Scratch {
    continued: Option<Arc<Checkpoint>>,
    replay: Replay,
    /// From nothing: the entries that live objects need, and the newest of the journal at that
    /// moment. Entries that older checkpoints alone need are left out.
    live: Option<(Entries, SequenceNumber)>,
    /// Those from there on, up to the newest when it began.
    tail: Entries,
    target: SequenceNumber,
    started: Instant,
}

/// The verdict on a checkpoint that was compared with a replay.
pub(super) enum Verdict {
    Same,
    Differs(String),
}

impl Upkeep {
    /// Works aside for a slice, and notes how long it took: the supervisor rests as long.
    pub(super) fn work_aside(&self, state: &mut State) {
        let started = Instant::now();
        self.advance_aside(state, started + SLICE);
        state.aside_took = state.aside.is_some().then(|| started.elapsed());
    }

    /// Goes on with what there is to do aside, until `end` or until something else is due, and
    /// settles it once it is done.
    pub(super) fn advance_aside(&self, state: &mut State, end: Instant) {
        let go_on = |_: &Replay| {
            let is_due = self.is_urgent() || self.shared.wakeup.is_awaited();
            Ok(!is_due && Instant::now() < end)
        };
        match state.aside.take() {
            None => {}
            Some(Aside::Verification(mut verification)) => match verification.advance(go_on) {
                Ok(None) => state.aside = Some(Aside::Verification(verification)),
                Ok(Some(verdict)) => self.verified(state, &verification, Ok(verdict)),
                Err(error) => self.verified(state, &verification, Err(error)),
            },
            Some(Aside::Scratch(scratch)) if scratch.is_overtaken(state.checkpoints.newest()) => {
                self.shared.journal.lock().hold_scratch(None);
            }
            Some(Aside::Scratch(mut scratch)) => match scratch.advance(go_on) {
                Ok(false) => state.aside = Some(Aside::Scratch(scratch)),
                Ok(true) if self.refuses_scratch(state, &scratch) => {}
                outcome => {
                    let taken = self.scratched(state, &scratch, outcome.map(drop));
                    state.checkpoint_pause = taken.is_err().then(|| Instant::now() + super::PAUSE);
                }
            },
        }
    }

    /// Begins to repeat the history of a checkpoint, on a fresh instance or from the base.
    pub(super) fn begin_verification(
        &self,
        state: &State,
        checkpoint: Arc<Checkpoint>,
    ) -> Result<Verification, Error> {
        let started = Instant::now();
        // The rest of an old generation would be one instance too many.
        self.graveyard.wait();
        self.shared.check_total_for_another()?;
        let (blueprint, base) = (&state.blueprint, state.checkpoints.base());
        let base = base.map(|base| &**base);
        let replay = Replay::begin(&self.shared, blueprint, 0, base, Noted::Nowhere)?;
        Ok(Verification {
            entries: Entries::like(&checkpoint.history),
            checkpoint,
            blueprint: blueprint.clone(),
            replay,
            is_replayed: false,
            started,
        })
    }

    /// Begins an instance for a checkpoint that continues another, or the base, or nothing.
    pub(super) fn begin_scratch(
        &self,
        state: &State,
        continued: Option<Arc<Checkpoint>>,
    ) -> Result<Scratch, Error> {
        let started = Instant::now();
        let continued = continued.or_else(|| state.checkpoints.base().cloned());
        self.graveyard.wait();
        self.shared.check_total_for_another()?;
        let replay = Replay::begin(
            &self.shared,
            &state.blueprint,
            0,
            continued.as_deref(),
            Noted::AsScratch,
        )?;
        let live = continued.is_none().then(|| {
            let (live, last) = self.shared.journal.live_entries();
            (Entries::these(live), last)
        });
        let applied = live.as_ref().map_or(replay.applied, |(_, last)| *last);
        let mut journal = self.shared.journal.lock();
        replay.note(&mut journal, applied);
        let target = journal.last();
        Ok(Scratch {
            continued,
            replay,
            live,
            tail: Entries::JournalUpTo(target),
            target,
            started,
        })
    }

    /// Gives up what is done aside, and its instance's memory back.
    pub(super) fn drop_aside(&self, state: &mut State) {
        if let Some(Aside::Scratch(_)) = state.aside.take() {
            self.shared.journal.lock().hold_scratch(None);
        }
        state.aside_took = None;
    }

    /// A standby could not be made for want of memory, perhaps: gives up what is done aside, which
    /// has an instance too. Returns whether there was any.
    pub(super) fn make_room(&self, state: &mut State, error: &Error) -> bool {
        if !matches!(error, Error::Engine(_)) || state.aside.is_none() {
            return false;
        }
        self.drop_aside(state);
        state.checkpoint_pause = Some(Instant::now() + super::PAUSE);
        let error = "the work on a checkpoint was given up to make room for a standby".to_owned();
        self.shared.ledger.emit(&Event::CheckpointError { error });
        true
    }
}

impl Aside {
    /// Whether it is about checkpoints of this one's lineage.
    pub(super) fn is_about(&self, checkpoint: &Checkpoint) -> bool {
        match self {
            Self::Verification(verification) => verification.checkpoint.is_akin(checkpoint),
            Self::Scratch(scratch) => scratch
                .continued
                .as_ref()
                .is_some_and(|continued| continued.is_akin(checkpoint)),
        }
    }
}

impl Verification {
    /// Applies entries while it may go on, and compares once all were applied. The comparison is a
    /// step of its own: it reads all of the memory.
    fn advance(
        &mut self,
        go_on: impl Fn(&Replay) -> Result<bool, Error>,
    ) -> Result<Option<Verdict>, Error> {
        if !self.is_replayed {
            self.is_replayed = self.replay.run(&mut self.entries, STEP, &go_on)?;
            if !self.is_replayed || !go_on(&self.replay)? {
                return Ok(None);
            }
        }
        let difference = if self.blueprint.module.replays_alike() {
            self.checkpoint
                .difference(&self.replay.generation.capture()?)?
        } else {
            self.other_fingerprint()?
        };
        Ok(Some(difference.map_or(Verdict::Same, Verdict::Differs)))
    }

    /// The first live object of which an instance restored from the checkpoint says something else
    /// than the replay. For modules whose replays do not give the same bytes.
    fn other_fingerprint(&self) -> Result<Option<String>, Error> {
        let history = &self.checkpoint.history;
        let expected = self.replay.generation.fingerprints(history);
        let live = &self.replay.shared().live_generations;
        let restored = Generation::restore(&self.blueprint, 0, &self.checkpoint, live)?;
        let got = restored.fingerprints(history);
        if expected.len() != got.len() {
            let (expected, got) = (expected.len(), got.len());
            return Ok(Some(format!(
                "{expected} live objects, and the checkpoint {got}"
            )));
        }
        let mut pairs = expected.iter().zip(&got);
        let other = pairs.find(|(expected, got)| expected != got);
        Ok(other.map(|((handle, _), _)| format!("another fingerprint of object {handle}")))
    }
}

impl Scratch {
    /// Applies entries while it may go on. Returns whether all were applied.
    fn advance(&mut self, go_on: impl Fn(&Replay) -> Result<bool, Error>) -> Result<bool, Error> {
        if let Some((entries, last)) = &mut self.live {
            if !self.replay.run(entries, STEP, &go_on)? {
                return Ok(false);
            }
            self.replay.skip_to(*last);
            self.live = None;
        }
        self.replay.run(&mut self.tail, STEP, &go_on)
    }

    /// Whether a standby has brought what it is made for.
    fn is_overtaken(&self, newest: Option<&Arc<Checkpoint>>) -> bool {
        self.continued.is_some() && newest.is_some_and(|newest| newest.sequence >= self.target)
    }

    /// Applies all entries.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        self.advance(|_| Ok(true)).map(drop)
    }

    pub(super) fn continued(&self) -> Option<&Arc<Checkpoint>> {
        self.continued.as_ref()
    }

    pub(super) fn generation(&self) -> &Generation {
        &self.replay.generation
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, replay) = match self {
            Self::Verification(verification) => ("Verification", &verification.replay),
            Self::Scratch(scratch) => ("Scratch", &scratch.replay),
        };
        f.debug_struct(name)
            .field("applied", &replay.count)
            .finish_non_exhaustive()
    }
}
