//! Calls that ran, and whose callers do something else until they are acknowledged.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::DataPlane;
use super::attempts::Near;
use super::journaled::recordable;
use crate::batch::{Batch, Place};
use crate::policy::plan::ExportPlan;
use crate::value::{Arg, Results};
use crate::{CallError, Error};

/// A call that ran, and that is not acknowledged yet: its entry is on its way to the disk. Made by
/// [`Proxy::submit`](crate::Proxy::submit).
///
/// Its results come from [`Submitted::wait`], which blocks the thread, or by `.await` in any executor.
/// Without either they are given up, and the call stands as if it had been acknowledged, unless its
/// entry could not be written: then the next journaled call, or the supervisor, undoes it.
#[must_use = "a call is acknowledged by `wait` or `.await`"]
pub struct Submitted {
    data_plane: Arc<DataPlane>,
    plan: Arc<ExportPlan>,
    outcome: Option<Result<Results, Error>>,
    waiting: Option<Waiting>,
}

/// What a call waits for. It counts among the callers at once for as long as this lives.
struct Waiting {
    data_plane: Arc<DataPlane>,
    batch: Arc<Batch>,
    place: Place,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(committer) = self.data_plane.shared.committer() {
            committer.leave();
        }
    }
}

impl DataPlane {
    /// Makes a call, and does not wait until it is acknowledged.
    pub(crate) fn submit(
        self: &Arc<Self>,
        export: &str,
        args: &[Arg<'_>],
    ) -> Result<Submitted, Error> {
        let plan = self.shared.plan_of(export)?;
        let submitted = |outcome, waiting| Submitted {
            data_plane: Arc::clone(self),
            plan: Arc::clone(plan),
            outcome: Some(outcome),
            waiting,
        };
        if !plan.role.is_journaled() {
            return Ok(submitted(Ok(self.call(plan, args)?), None));
        }
        if !plan.listed {
            self.warn_unlisted(plan)?;
        }
        let refused = |_: &CallError| self.shared.ledger.counts.failed_calls.add(1);
        let recorded_args = Cell::new(recordable(plan, args).inspect_err(refused)?);
        let admitted = self.admit(plan, Near::Waits)?;
        let batch = Cell::new(None);
        let outcome = self.repeat(plan, Near::Waits, |generation, repetitions| {
            let args = (args, &recorded_args);
            self.journaled(generation, plan, args, None, repetitions, &batch)
        });
        let waiting = admitted.zip(batch.take()).map(|(admitted, batch)| {
            admitted.stay();
            Waiting {
                data_plane: Arc::clone(self),
                batch,
                place: Place::default(),
            }
        });
        if waiting.is_none() {
            // Nothing is on its way, so an error is all there is to tell.
            return Ok(submitted(Ok(outcome?), None));
        }
        Ok(submitted(outcome, waiting))
    }
}

impl Submitted {
    /// Waits until the call is acknowledged. Calls that were submitted before it are by then.
    ///
    /// # Errors
    ///
    /// What [`Proxy::call`](crate::Proxy::call) gives; [`Error::NotDurable`] if the entry could not be
    /// written, and the call was undone.
    pub fn wait(mut self) -> Result<Results, Error> {
        if let Some(waiting) = self.waiting.take() {
            self.data_plane
                .acknowledge(Some(Arc::clone(&waiting.batch)))?;
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<Results, Error> {
        let outcome = self.outcome.take();
        let results = outcome.expect("a future is not polled after it is ready")?;
        if self.plan.role.is_journaled() {
            self.data_plane.after_journaled(&self.plan, &results);
        }
        Ok(results)
    }
}

impl Future for Submitted {
    type Output = Result<Results, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(waiting) = &mut self.waiting {
            let committer = waiting.data_plane.shared.committer();
            if committer.is_some_and(|committer| committer.is_waited_for()) {
                let settled = ready!(waiting.batch.poll(context, &mut waiting.place));
                self.waiting = None;
                settled.map_err(|source| self.data_plane.lost(source))?;
            }
            self.waiting = None;
        }
        Poll::Ready(self.finish())
    }
}

impl fmt::Debug for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submitted")
            .field("export", &self.plan.name)
            .field("is_waited_for", &self.waiting.is_some())
            .finish_non_exhaustive()
    }
}
