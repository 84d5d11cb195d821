//! The state digest: what an export, named by the policy, says of the whole state. It is compared
//! before a swap, because a write by an export that is wrongly called pure is in no entry, so no
//! replay makes it and no result shows it until later.

use std::sync::Arc;
use std::time::Instant;

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

impl Upkeep {
    /// Before a swap: enters the active generation, so no call can write there between the
    /// comparison and the swap. `None` if there is nothing to compare or nobody to ask.
    pub(super) fn hold_active<'g>(
        &self,
        active: &'g Generation,
        reason: Reason,
    ) -> Option<LaneGuard<'g, RecordedInstance>> {
        self.shared.config.plan.state_digest?;
        if reason == Reason::Emergency || active.taint().is_some() {
            // Its state is lost.
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

    /// Asks the active generation for its digest. `None` if it cannot say.
    pub(super) fn ask_active(
        &self,
        active: &Generation,
        guest: &mut RecordedInstance,
    ) -> Option<StateSaid> {
        let func = self.shared.config.plan.state_digest?;
        match self.state_digest(active, guest, func) {
            Ok(records) => Some(StateSaid {
                func,
                records,
                sequence: guest.applied(),
            }),
            Err(error) => {
                self.not_compared(format!(
                    "the active generation cannot say its state: {error}"
                ));
                None
            }
        }
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
        let digest = {
            let mut guest = replayed.enter_standby();
            self.state_digest(replayed, &mut guest, said.func)
        };
        let standby = match digest {
            Ok(records) if records == said.records => return Ok(()),
            Ok(records) => ResultRecord::describe_all(&records),
            Err(error) => format!("an error ({error})"),
        };
        let plan = &self.shared.config.plan;
        Err(Error::StateDiffers(Box::new(StateDifference {
            digest: plan.export(said.func).name.to_string(),
            sequence: said.sequence,
            active: ResultRecord::describe_all(&said.records),
            standby,
            suspects: self.shared.pure_calls.suspects(plan),
        })))
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
    pub(super) fn state_of_active(&self) -> Option<StateSaid> {
        let active = self.shared.active.load_full()?;
        let mut guest = self.hold_active(&active, Reason::Manual)?;
        self.ask_active(&active, &mut guest)
    }

    /// Settles a swap that was not made because the states differ.
    pub(super) fn state_differed(&self, state: &mut State, error: &Error) {
        if let Error::StateDiffers(difference) = error {
            self.shared.pure_calls.note_written();
            let difference = (**difference).clone();
            self.shared.ledger.emit(&Event::StateDiffers { difference });
        }
        let was_open = state.degradation.is_open();
        state.degradation.failed(Instant::now());
        let failures = state.degradation.failures();
        if state.degradation.is_open() && !was_open {
            self.shared.ledger.emit(&Event::BreakerOpen { failures });
        }
    }

    fn not_compared(&self, reason: String) {
        self.shared.ledger.emit(&Event::StateNotCompared { reason });
    }
}
