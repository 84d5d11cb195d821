//! The data plane: how calls go through the active generation.
//!
//! Nothing here can lock what upkeep works on. The one way to it is [`Caretaker`].

mod attempts;
mod journaled;
mod named;
mod pinned;
mod submitted;
mod turn;
mod typed;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::batch::Batch;
use crate::committer::Admitted;
use crate::event::Event;
use crate::journal::{Answer, hash_of_call};
use crate::journal_store::StoreError;
use crate::policy::plan::ExportPlan;
use crate::shared::Shared;
use crate::value::{Arg, Results};
use crate::{CallError, Error, Role};

use attempts::Near;
use journaled::recordable;
use named::Named;
pub use pinned::Pinned;
pub use submitted::Submitted;
pub use turn::Turn;
pub use typed::Typed;

/// The requests that calls make of upkeep.
pub(crate) trait Caretaker: Send + Sync {
    /// Replaces the generation `dead`, which lost its state. Waits until that is done.
    fn recover(&self, dead: u64) -> Result<(), Error>;

    /// Undoes what calls did whose entries could not be written.
    fn undo(&self);

    /// Called without a lane, when a retired generation may just have lost its last call or the
    /// journal has doubled. Does not wait.
    fn tidy_up(&self);
}

/// Calls, and the generation that they go to.
pub(crate) struct DataPlane {
    shared: Arc<Shared>,
    caretaker: Arc<dyn Caretaker>,
}

impl DataPlane {
    pub(crate) fn new(shared: Arc<Shared>, caretaker: Arc<dyn Caretaker>) -> Self {
        Self { shared, caretaker }
    }

    pub(crate) fn call_by_name(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        self.call(self.shared.plan_of(export)?, args)
    }

    /// Makes a call that its caller has given an id, or answers it as before.
    pub(crate) fn call_with_id(
        &self,
        id: &[u8],
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Results, Error> {
        let plan = self.shared.plan_of(export)?;
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            self.call_journaled(plan, args, Some(id), Near::Waits)
        } else {
            self.call(plan, args)
        }
    }

    fn call(&self, plan: &Arc<ExportPlan>, args: &[Arg<'_>]) -> Result<Results, Error> {
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        if plan.role.is_journaled() {
            let span = tracing::debug_span!("journaled_call", export = &*plan.name);
            let _entered = span.enter();
            self.call_journaled(plan, args, None, Near::Waits)
        } else {
            self.call_pure(plan, args, Near::Waits)
        }
    }

    #[inline]
    fn call_pure(&self, plan: &ExportPlan, args: &[Arg<'_>], near: Near) -> Result<Results, Error> {
        self.on_active(plan, near, |guest| {
            let outcome = guest.call_pure(plan, args, None);
            self.shared.log_pure_call(guest, plan, args, &outcome);
            outcome
        })
    }

    /// Makes a journaled call, and waits until its entry is as durable as it is to be.
    fn call_journaled(
        &self,
        plan: &Arc<ExportPlan>,
        args: &[Arg<'_>],
        id: Option<&[u8]>,
        near: Near,
    ) -> Result<Results, Error> {
        let refused = |_: &CallError| self.shared.ledger.counts.failed_calls.add(1);
        let recorded_args = recordable(plan, args).inspect_err(refused)?;
        let named = id.map(|id| Named::new(id, hash_of_call(&plan.name, &recorded_args)));
        if let Some(named) = &named {
            named.check(plan)?;
        }
        let recorded_args = Cell::new(recorded_args);
        loop {
            // The answer may be known, whatever became of the generations.
            if let Some(named) = &named
                && let Some(answer) = self.durable_answer(plan, named)?
            {
                return answer;
            }
            let _admitted = self.admit(plan, near)?;
            let batch = Cell::new(None);
            let outcome = self.repeat(plan, near, |generation, repetitions| {
                let args = (args, &recorded_args);
                self.journaled(generation, plan, args, named.as_ref(), repetitions, &batch)
            });
            if named.as_ref().is_some_and(Named::take_known) {
                continue;
            }
            self.acknowledge(batch.take())?;
            let results = outcome?;
            self.after_journaled(plan, &results);
            return Ok(results);
        }
    }

    /// Admits a journaled call: there is room for what it makes, and for its entry. Counts a refusal.
    fn admit(&self, plan: &ExportPlan, near: Near) -> Result<Option<Admitted<'_>>, Error> {
        if self.shared.journal.size.is_full() && near == Near::Waits {
            self.wait_for_fold();
        }
        let room = match plan.role {
            Role::Free => Ok(()),
            _ => self.shared.check_total(0),
        };
        let admitted = room.and_then(|()| self.admit_to_store());
        admitted.inspect_err(|_| self.shared.ledger.counts.failed_calls.add(1))
    }

    /// Admits a call to the journal's store, where there is one. A call that nobody waited for may have
    /// been lost meanwhile, and then this one undoes it.
    fn admit_to_store(&self) -> Result<Option<Admitted<'_>>, Error> {
        let Some(committer) = self.shared.committer() else {
            return Ok(None);
        };
        match committer.admit() {
            Err(_) if committer.is_undo_due() => {
                self.caretaker.undo();
                committer.admit().map(Some)
            }
            admitted => admitted.map(Some),
        }
    }

    /// After a journaled call was acknowledged.
    fn after_journaled(&self, plan: &ExportPlan, results: &Results) {
        self.shared
            .leave_artifact(plan, results, || self.caretaker.tidy_up());
        let size = &self.shared.journal.size;
        if size.is_compaction_due() || size.is_long() {
            self.caretaker.tidy_up();
        }
    }

    /// Waits for a batch, if callers wait at all.
    fn acknowledge(&self, batch: Option<Arc<Batch>>) -> Result<(), Error> {
        let (Some(batch), Some(committer)) = (batch, self.shared.committer()) else {
            return Ok(());
        };
        if !committer.is_waited_for() {
            return Ok(());
        }
        batch.wait().map_err(|source| self.lost(source))
    }

    /// Undoes what could not be written, and counts a call that is lost by it.
    #[cold]
    fn lost(&self, source: Arc<StoreError>) -> Error {
        self.caretaker.undo();
        self.shared.ledger.counts.failed_calls.add(1);
        Error::NotDurable { source }
    }

    /// The answer to an earlier call with this id, which is as durable as it is to be.
    ///
    /// # Errors
    ///
    /// [`Error::NotDurable`].
    fn durable_answer(
        &self,
        plan: &ExportPlan,
        named: &Named<'_>,
    ) -> Result<Option<Result<Results, Error>>, Error> {
        let Some(committer) = self.shared.committer() else {
            return Ok(self.known_answer(plan, named));
        };
        loop {
            if committer.is_undo_due() {
                self.caretaker.undo();
            }
            let failures = committer.failures();
            let Some(answer) = self.known_answer(plan, named) else {
                return Ok(None);
            };
            self.acknowledge(committer.pending())?;
            // If appending failed meanwhile, the answer may be one that was undone.
            if committer.failures() == failures {
                return Ok(Some(answer));
            }
        }
    }

    fn known_answer(&self, plan: &ExportPlan, named: &Named<'_>) -> Option<Result<Results, Error>> {
        let journal = self.shared.journal.lock();
        let answered = journal.answered().get(named.id).cloned()?;
        drop(journal);
        let export = || plan.name.to_string();
        if answered.call != named.call {
            return Some(Err(Error::CallIdReused { export: export() }));
        }
        self.shared.ledger.counts.answered_again.add(1);
        Some(match &answered.answer {
            Answer::Results(values) => Ok(values.iter().cloned().collect()),
            Answer::Rejected(message) => Err(CallError::Guest {
                export: export(),
                message: message.to_string(),
                thrown: None,
            }
            .into()),
        })
    }

    #[cold]
    fn warn_unlisted(&self, plan: &Arc<ExportPlan>) -> Result<(), Error> {
        if self.shared.config.plan.strict {
            return Err(CallError::NotInPolicy {
                export: plan.name.to_string(),
            }
            .into());
        }
        if !plan.warned.swap(true, Ordering::Relaxed) {
            self.shared.ledger.emit(&Event::UnlistedExport {
                export: Arc::clone(&plan.name),
            });
        }
        Ok(())
    }
}
