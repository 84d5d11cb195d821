//! Several calls on one generation.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use super::call::Closed;
use super::failure::Repetitions;
use super::{ExportPlan, Generation, Inner, Proxy};
use crate::generation::lock;
use crate::value::{Arg, Results};
use crate::{CallError, Error};

/// One generation, held for the length of a [pinned scope](Proxy::pinned).
pub struct Pinned<'a> {
    proxy: &'a Inner,
    generation: &'a Arc<Generation>,
    scope: u64,
    /// Whether the scope is run for the second time.
    retried: bool,
    /// The last failure that a clean generation might mend: why, and whether this one was clean.
    mendable: Mutex<Option<(&'static str, bool)>>,
}

/// What a repeated scope is called in events.
const SCOPE: &str = "a pinned scope";

impl Proxy {
    /// Runs several calls on one generation, so that raw pointers which one returns are good for the
    /// next: prove, read the proof, free it. Only pure exports can be called inside.
    ///
    /// A swap does not wait for the scope; the generation is kept until it ends, at most for the
    /// drain timeout. If the generation dies in one of the scope's calls, the scope is run again
    /// from its start on a clean one, so it must not have effects outside that cannot be repeated.
    ///
    /// # Errors
    ///
    /// What the scope returns, which is [`Error`] or anything made from it.
    ///
    /// ```
    /// # #[path = "../../tests/fake/proxied.rs"] mod fake;
    /// # fn main() -> Result<(), proxy_core::Error> {
    /// # let proxy = fake::counter_proxy()?;
    /// # use proxy_core::args;
    /// let counter = proxy.call("counter_new", args![])?.handle()?;
    /// let value = proxy.pinned(|pinned| {
    ///     let copy = pinned.call("snapshot", args![counter])?.pointer()?;
    ///     Ok::<_, proxy_core::Error>(pinned.call("snapshot_value", args![copy])?.i32()?)
    /// })?;
    /// assert_eq!(value, 0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn pinned<T, E: From<Error>>(
        &self,
        mut scope: impl FnMut(&Pinned<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let inner = &*self.0;
        let mut repetitions = Repetitions::default();
        loop {
            let Some(generation) = inner.active.load_full() else {
                return Err(Error::ShutDown.into());
            };
            let outcome = if generation.taint().is_some() {
                None
            } else {
                let pinned = Pinned::new(inner, &generation, repetitions.any());
                let outcome = scope(&pinned);
                let mendable = *lock(&pinned.mendable);
                let repeat = match mendable {
                    Some((reason, clean)) if outcome.is_err() && inner.is_enabled() => {
                        repetitions.next(Some(reason), clean)
                    }
                    _ => None,
                };
                if let Some(reason) = repeat {
                    inner.note_retry(&SCOPE.into(), reason);
                    None
                } else {
                    Some(outcome)
                }
            };
            let closed = Closed::of(&generation);
            let is_retired = generation.is_retired();
            drop(generation);
            if is_retired {
                inner.released();
            }
            match outcome {
                Some(outcome) => return outcome,
                None => inner.next_generation(&closed)?,
            }
        }
    }
}

impl<'a> Pinned<'a> {
    pub(super) fn new(proxy: &'a Inner, generation: &'a Arc<Generation>, retried: bool) -> Self {
        let scope = proxy.next_scope.fetch_add(1, Ordering::Relaxed);
        Self {
            proxy,
            generation,
            scope,
            retried,
            mendable: Mutex::new(None),
        }
    }

    /// Calls a pure export on the pinned generation.
    ///
    /// # Errors
    ///
    /// [`CallError::JournaledInPinned`] for other exports; [`Error::DrainDeadline`] if the generation was
    /// swapped out and the scope lasts too long; otherwise as [`Proxy::call`].
    pub fn call(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let plan = self.proxy.plan_of(export)?;
        let outcome = self.call_planned(plan, args);
        if outcome.is_err() {
            self.proxy.counters.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }

    fn call_planned(&self, plan: &Arc<ExportPlan>, args: &[Arg<'_>]) -> Result<Results, Error> {
        if plan.role.is_journaled() {
            return Err(CallError::JournaledInPinned {
                export: plan.name.to_string(),
            }
            .into());
        }
        let _inside = self.proxy.enter_thread()?;
        if let Some(kill) = self.generation.killed() {
            let failed = self.proxy.killed(plan.name.to_string(), kill, false);
            *lock(&self.mendable) = failed.mendable();
            return Err(failed.into_error(self.retried));
        }
        let Some(mut guest) = self.generation.enter_pinned() else {
            *lock(&self.mendable) = Some(("generation_lost", false));
            return Err(Error::GenerationLost {
                export: plan.name.to_string(),
                cause: self.generation.taint().unwrap_or("unknown").to_owned(),
            });
        };
        let outcome = self
            .proxy
            .guarded(plan, self.generation, &mut guest, |guest| {
                guest.call_pure(plan, args, Some(self.scope))
            });
        if outcome.is_ok() {
            self.generation.count_call();
        }
        outcome.map_err(|failed| {
            *lock(&self.mendable) = failed.mendable();
            let error = failed.into_error(self.retried);
            if matches!(error, Error::UnknownHandle { .. }) {
                // The object is younger than the swap; the generation that serves now has it.
                *lock(&self.mendable) = Some(("stale_generation", false));
            }
            error
        })
    }

    /// The number of the generation: 1 for the first, one more after each swap.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.number
    }
}

impl std::fmt::Debug for Pinned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}
