//! The state digest: what an export, named by the policy, says of the whole state. It is compared
//! before a swap, because a write by an export that is wrongly called pure is in no entry, so no
//! replay makes it and no result shows it until later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use engine_api::FuncIndex;

use super::{State, Upkeep};
use crate::event::Event;
use crate::generation::{Generation, RecordedInstance, Records};
use crate::journal::ResultRecord;
use crate::lane::LaneGuard;
use crate::{Error, Reason, SequenceNumber, StateDifference};

/// What the active generation said of its state.
pub(super) struct StateSaid {
    func: FuncIndex,
    records: Records,
    /// The newest entry that it had applied.
    pub(super) sequence: SequenceNumber,
}

/// Whether the digest may be asked. A trap or an interrupted call costs the state of the generation
/// that it runs on, so an instance that serves nobody goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DigestTrust {
    /// It has not been asked on such an instance yet.
    #[default]
    Untried,
    /// It has answered there.
    Answered,
    /// It has ended a generation, and is not asked any more.
    GivenUp,
}

/// What a generation that may be lost says of its state.
enum Told {
    Digest(Records),
    /// It cannot say, and is whole.
    Nothing(String),
    /// The digest has ended it.
    Ended(String),
}

impl Upkeep {
    /// Before a swap: enters the active generation, so no call can write there between the
    /// comparison and the swap. `None` if there is nothing to compare or nobody to ask.
    pub(super) fn hold_active<'g>(
        &self,
        trust: DigestTrust,
        active: &'g Generation,
        reason: Reason,
    ) -> Option<LaneGuard<'g, RecordedInstance>> {
        self.shared.config.plan.state_digest?;
        if trust == DigestTrust::GivenUp || reason == Reason::Emergency || active.taint().is_some()
        {
            // There has been an event, or its state is lost.
            return None;
        }
        let patience = self.options.digest_patience;
        let guest = active.enter_within(patience);
        if guest.is_none() && active.taint().is_none() {
            self.not_compared(format!(
                "a call stayed in the active generation for longer than {patience:.1?}; raise \
                 Builder::state_digest_patience"
            ));
        }
        guest
    }

    /// Compares the standby that is about to take over with the active generation, whose lane is
    /// held. The standby is asked first: what it cannot say, the active one is not asked.
    ///
    /// # Errors
    ///
    /// [`Error::StateDiffers`]; [`Error::GenerationLost`] if the digest has ended the standby.
    pub(super) fn compare_before_swap(
        &self,
        trust: &mut DigestTrust,
        active: &Generation,
        guest: &mut RecordedInstance,
        standby: &Generation,
    ) -> Result<(), Error> {
        let Some(func) = self.shared.config.plan.state_digest else {
            return Ok(());
        };
        let records = match self.told(standby, &mut standby.enter_standby(), func) {
            Told::Digest(records) => records,
            Told::Nothing(cause) => {
                self.not_compared(format!("the standby cannot say its state: {cause}"));
                return Ok(());
            }
            Told::Ended(cause) => {
                self.give_up(trust, &format!("it has ended the standby ({cause})"));
                let export = self.digest_name(func);
                return Err(Error::GenerationLost { export, cause });
            }
        };
        *trust = DigestTrust::Answered;
        match self.ask_active(trust, active, guest) {
            Some(said) if said.records != records => {
                let standby = ResultRecord::describe_all(&records);
                Err(self.difference(&said, standby))
            }
            _ => Ok(()),
        }
    }

    /// Asks the active generation for its digest. `None` if it cannot say.
    fn ask_active(
        &self,
        trust: &mut DigestTrust,
        active: &Generation,
        guest: &mut RecordedInstance,
    ) -> Option<StateSaid> {
        let func = self.shared.config.plan.state_digest?;
        match self.told(active, guest, func) {
            Told::Digest(records) => Some(StateSaid {
                func,
                records,
                sequence: guest.applied(),
            }),
            Told::Nothing(cause) => {
                self.not_compared(format!(
                    "the active generation cannot say its state: {cause}"
                ));
                None
            }
            Told::Ended(cause) => {
                self.give_up(
                    trust,
                    &format!(
                        "it has answered elsewhere and ended the active generation ({cause}), of \
                         whose state only what the journal has is left"
                    ),
                );
                None
            }
        }
    }

    /// Asks an instance that serves nobody, so the active generation can be asked afterwards.
    pub(super) fn try_digest(&self, scratch: &Generation) -> DigestTrust {
        let mut trust = DigestTrust::Untried;
        if let Some(func) = self.shared.config.plan.state_digest {
            match self.told(scratch, &mut scratch.enter_standby(), func) {
                Told::Digest(_) | Told::Nothing(_) => trust = DigestTrust::Answered,
                Told::Ended(cause) => {
                    self.give_up(&mut trust, &format!("it has ended a replay ({cause})"));
                }
            }
        }
        trust
    }

    /// Compares a generation that has applied the same entries with what the active one said.
    ///
    /// # Errors
    ///
    /// [`Error::StateDiffers`].
    pub(super) fn compare_state(
        &self,
        said: &StateSaid,
        replayed: &Generation,
    ) -> Result<(), Error> {
        let standby = match self.told(replayed, &mut replayed.enter_standby(), said.func) {
            Told::Digest(records) if records == said.records => return Ok(()),
            Told::Digest(records) => ResultRecord::describe_all(&records),
            Told::Nothing(cause) | Told::Ended(cause) => format!("an error ({cause})"),
        };
        Err(self.difference(said, standby))
    }

    fn difference(&self, said: &StateSaid, standby: String) -> Error {
        Error::StateDiffers(Box::new(StateDifference {
            digest: self.digest_name(said.func),
            sequence: said.sequence,
            active: ResultRecord::describe_all(&said.records),
            standby,
            suspects: self.shared.pure_calls.suspects(&self.shared.config.plan),
        }))
    }

    fn digest_name(&self, func: FuncIndex) -> String {
        self.shared.config.plan.export(func).name.to_string()
    }

    /// Asks a generation, for at most the patience of the digest where the engine can interrupt.
    fn told(&self, generation: &Generation, guest: &mut RecordedInstance, func: FuncIndex) -> Told {
        let patience = self.options.digest_patience;
        let asked = within(generation, patience, || {
            self.state_digest(generation, guest, func)
        });
        let Some((outcome, was_interrupted)) = asked else {
            return Told::Nothing("no thread could be started that limits its time".to_owned());
        };
        if was_interrupted {
            let cause =
                format!("it took longer than {patience:.1?}; raise Builder::state_digest_patience");
            if generation.taint().is_none() {
                // It returned at the last moment, and the instance takes no more calls.
                self.shared.taint(generation, cause.clone());
            }
            return Told::Ended(cause);
        }
        match outcome {
            Ok(records) => Told::Digest(records),
            Err(error) if generation.taint().is_some() => Told::Ended(error.to_string()),
            Err(error) => Told::Nothing(error.to_string()),
        }
    }

    fn state_digest(
        &self,
        generation: &Generation,
        guest: &mut RecordedInstance,
        func: FuncIndex,
    ) -> Result<Records, Error> {
        let _inside = self.shared.enter_thread()?;
        let plan = Arc::clone(self.shared.config.plan.export(func));
        let outcome = self
            .shared
            .guarded(&plan, generation, guest, None, |guest| {
                guest.state_digest(&plan)
            });
        outcome.map_err(|failed| failed.error)
    }

    /// What the active generation says now, with what it has applied, for a comparison beside the
    /// calls.
    pub(super) fn state_of_active(&self, trust: &mut DigestTrust) -> Option<StateSaid> {
        let active = self.shared.active.load_full()?;
        let mut guest = self.hold_active(*trust, &active, Reason::Manual)?;
        self.ask_active(trust, &active, &mut guest)
    }

    /// Settles a swap that was not made because the states differ. A standby that the digest ended
    /// says nothing of the state.
    pub(super) fn not_swapped(&self, state: &mut State, error: &Error) {
        let Error::StateDiffers(difference) = error else {
            return;
        };
        self.shared.pure_calls.note_written();
        let difference = (**difference).clone();
        self.shared.ledger.emit(&Event::StateDiffers { difference });
        let was_open = state.degradation.is_open();
        state.degradation.failed(Instant::now());
        let failures = state.degradation.failures();
        if state.degradation.is_open() && !was_open {
            self.shared.ledger.emit(&Event::BreakerOpen { failures });
        }
    }

    fn give_up(&self, trust: &mut DigestTrust, cause: &str) {
        *trust = DigestTrust::GivenUp;
        self.not_compared(format!(
            "the state digest is not asked any more: {cause}; mend the export"
        ));
    }

    fn not_compared(&self, reason: String) {
        self.shared.ledger.emit(&Event::StateNotCompared { reason });
    }
}

/// Runs `ask`, which runs guest code of this generation, and interrupts it for good after
/// `patience`. Returns whether it did; `None` if nobody can watch. Where the engine cannot
/// interrupt, nothing ends `ask`.
fn within<R>(
    generation: &Generation,
    patience: Duration,
    ask: impl FnOnce() -> R,
) -> Option<(R, bool)> {
    let Some(interrupter) = generation.interrupter() else {
        return Some((ask(), false));
    };
    // Whoever sets it first decides: an instance whose digest has returned is not interrupted.
    let is_settled = AtomicBool::new(false);
    let (returned, ending) = channel::<()>();
    let settled = &is_settled;
    let watch = move || {
        let is_late = ending.recv_timeout(patience) == Err(RecvTimeoutError::Timeout);
        if is_late && !settled.swap(true, Ordering::AcqRel) {
            interrupter.interrupt();
        }
    };
    thread::scope(|scope| {
        let watcher = thread::Builder::new().name("state-digest".to_owned());
        watcher.spawn_scoped(scope, watch).ok()?;
        let answer = ask();
        let was_interrupted = is_settled.swap(true, Ordering::AcqRel);
        drop(returned);
        Some((answer, was_interrupted))
    })
}
