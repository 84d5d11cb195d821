//! Work aside: an instance in the making that serves nobody, for a checkpoint or for the
//! verification of one. It is worked on in slices when nothing else is due, and without upkeep's
//! lock, so neither a preparation, nor a swap, nor a call waits for it, and it goes on across swaps.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::attendance::Attendant;
use super::loan::{Ending, Lent, Worked};
use super::replay::{Entries, Noted, Replay};
use super::{State, Upkeep};
use crate::checkpoint::Checkpoint;
use crate::event::Event;
use crate::generation::{Blueprint, Generation, lock};
use crate::{Error, SequenceNumber};

/// How long work aside goes on before upkeep looks at what else is due. One entry may take longer.
pub(super) const SLICE: Duration = Duration::from_millis(10);

/// How many entries are applied before upkeep looks whether a slice is over.
const STEP: usize = 1;

/// The work aside. There is at most one.
pub(super) enum Aside {
    Verification(Verification),
    Scratch(Scratch),
    /// A thread has it, or may take it.
    Lent(Lent),
}

/// What came of a slice of work aside.
pub(super) enum Outcome {
    GoesOn,
    Compared(Result<Verdict, Error>),
    Made(Result<(), Error>),
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
    /// Lends what there is to do aside. At the end of the tick somebody works on it.
    pub(super) fn work_aside(&self, state: &mut State) {
        let Some(aside) = to_work_on(state) else {
            return;
        };
        state.aside = Some(Aside::Lent(Lent {
            about: aside.about().cloned(),
        }));
        state.aside_took = None;
        self.loan.lend(aside);
    }

    /// After a tick: works on what was lent, unless there is a thread for this.
    pub(super) fn work_on_what_is_lent(&self) {
        if !self.loan.is_attended()
            && let Some(aside) = self.loan.take()
        {
            self.work_on(aside);
        }
    }

    /// Works on what is lent until [`Upkeep::dismiss_worker`] is called: what a thread of the
    /// supervisor's does. It takes half of a processor at the most, unless calls wait for it.
    pub(crate) fn work_aside_forever(&self, own: Attendant) {
        while let Some(aside) = self.loan.next(own) {
            let took = self.work_on(aside);
            if !self.shared.journal.size.is_full() {
                self.loan.rest(own, took);
            }
            self.shared.wakeup.wake();
        }
    }

    /// From now on there is a thread that calls [`Upkeep::work_aside_forever`].
    pub(crate) fn announce_worker(&self) -> Attendant {
        self.loan.attend()
    }

    pub(crate) fn dismiss_worker(&self, worker: Attendant) {
        self.loan.leave(worker);
    }

    /// Works on what was lent for a slice, without upkeep's lock, and settles what comes of it with
    /// it. Returns how long the work took.
    fn work_on(&self, mut aside: Aside) -> Duration {
        let started = Instant::now();
        let end = started + SLICE;
        let outcome = aside.advance(|| self.may_go_on(end) && !self.loan.is_recalled());
        let took = started.elapsed();
        if let Some(worked) = self.loan.bring_back(Worked { aside, outcome }) {
            let _ending = Ending(&self.loan);
            drop(worked);
            return took;
        }
        let mut state = lock(&self.state);
        if let Some(Worked { aside, outcome }) = self.loan.settle() {
            state.aside = None;
            self.conclude(&mut state, aside, outcome);
            state.aside_took = state.aside.is_some().then_some(took);
            self.publish(&state);
        }
        took
    }

    fn may_go_on(&self, end: Instant) -> bool {
        !self.is_urgent() && !self.shared.wakeup.is_awaited() && Instant::now() < end
    }

    /// Goes on with what there is to do aside, until `end` or until something else is due, and
    /// settles it once it is done. With upkeep's lock: for a caller that waits for it.
    pub(super) fn advance_aside(&self, state: &mut State, end: Instant) {
        if let Some(mut aside) = to_work_on(state) {
            let outcome = aside.advance(|| self.may_go_on(end));
            self.conclude(state, aside, outcome);
        }
    }

    fn conclude(&self, state: &mut State, aside: Aside, outcome: Outcome) {
        match (aside, outcome) {
            (Aside::Verification(verification), Outcome::Compared(outcome)) => {
                self.verified(state, &verification, outcome);
            }
            (Aside::Scratch(scratch), Outcome::Made(Ok(())))
                if self.refuses_scratch(state, &scratch) => {}
            (Aside::Scratch(scratch), Outcome::Made(outcome)) => {
                let taken = self.scratched(state, &scratch, outcome);
                state.checkpoint_pause = taken.is_err().then(|| Instant::now() + super::PAUSE);
            }
            (aside, _) => state.aside = Some(aside),
        }
    }

    /// Begins to repeat the history of a checkpoint, on a fresh instance or from the base.
    pub(super) fn begin_verification(
        &self,
        state: &State,
        checkpoint: Arc<Checkpoint>,
    ) -> Result<Verification, Error> {
        let started = Instant::now();
        // The rest of an old generation would be one instance too many, and so would another one
        // aside.
        self.graveyard.wait();
        self.loan.wait();
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
        self.loan.wait();
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
        // A copy, and a hold at its end: nobody waits for a compaction, and what came and went in it
        // meanwhile is freed as it was made.
        let target = self.shared.journal.lock().last();
        let tail = self.shared.journal.entries_between(applied, target);
        replay.note(&mut self.shared.journal.lock(), target);
        Ok(Scratch {
            continued,
            replay,
            live,
            tail: Entries::these(tail),
            target,
            started,
        })
    }

    /// Gives up what is done aside, and its instance's memory back. If a thread has it, that gives
    /// the memory back when the entry that it applies has ended.
    pub(super) fn drop_aside(&self, state: &mut State) {
        let aside = match state.aside.take() {
            Some(Aside::Lent(_)) => self.loan.recall(),
            aside => aside,
        };
        drop(aside);
        state.aside_took = None;
    }

    /// Takes back what a thread was lent that is gone, to go on with it here.
    pub(super) fn take_back_aside(&self, state: &mut State) {
        if let Some(Aside::Lent(_)) = &state.aside
            && let Some(aside) = self.loan.take_back()
        {
            state.aside = Some(aside);
        }
    }

    /// A standby could not be made for want of memory, perhaps: gives up what is done aside, which
    /// has an instance too. Returns whether there was any.
    pub(super) fn make_room(&self, state: &mut State, error: &Error) -> bool {
        if !matches!(error, Error::Engine(_)) || state.aside.is_none() {
            return false;
        }
        self.drop_aside(state);
        self.loan.wait();
        state.checkpoint_pause = Some(Instant::now() + super::PAUSE);
        let error = "the work on a checkpoint was given up to make room for a standby".to_owned();
        self.shared.ledger.emit(&Event::CheckpointError { error });
        true
    }
}

/// Takes what there is to do aside, unless a thread has it.
fn to_work_on(state: &mut State) -> Option<Aside> {
    match state.aside.take()? {
        lent @ Aside::Lent(_) => {
            state.aside = Some(lent);
            None
        }
        Aside::Scratch(scratch) if scratch.is_overtaken(state.checkpoints.newest()) => None,
        aside => Some(aside),
    }
}

impl Aside {
    /// Whether it is about checkpoints of this one's lineage.
    pub(super) fn is_about(&self, checkpoint: &Checkpoint) -> bool {
        self.about().is_some_and(|about| about.is_akin(checkpoint))
    }

    /// The checkpoint that is verified, or continued.
    fn about(&self) -> Option<&Arc<Checkpoint>> {
        match self {
            Self::Verification(verification) => Some(&verification.checkpoint),
            Self::Scratch(scratch) => scratch.continued.as_ref(),
            Self::Lent(lent) => lent.about.as_ref(),
        }
    }

    /// Goes on while it may. A panic, of an engine say, ends the work and not the thread.
    fn advance(&mut self, may_go_on: impl Fn() -> bool) -> Outcome {
        let go_on = |_: &Replay| Ok(may_go_on());
        match self {
            Self::Verification(verification) => match caught(|| verification.advance(go_on)) {
                Ok(None) => Outcome::GoesOn,
                Ok(Some(verdict)) => Outcome::Compared(Ok(verdict)),
                Err(error) => Outcome::Compared(Err(error)),
            },
            Self::Scratch(scratch) => match caught(|| scratch.advance(go_on)) {
                Ok(false) => Outcome::GoesOn,
                outcome => Outcome::Made(outcome.map(drop)),
            },
            Self::Lent(_) => Outcome::GoesOn,
        }
    }
}

/// What the work gives, or an error if it panics. Nothing is used of it then.
fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::NoCheckpoint {
            reasons: "the work on it panicked".to_owned(),
        })
    })
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
        let is_done = self.replay.run(&mut self.tail, STEP, &go_on)?;
        if is_done {
            self.replay.skip_to(self.target);
        }
        Ok(is_done)
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
            Self::Lent(_) => return f.write_str("Lent"),
        };
        f.debug_struct(name)
            .field("applied", &replay.count)
            .finish_non_exhaustive()
    }
}
