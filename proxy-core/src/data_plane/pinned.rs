//! Several calls on one generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use guest_calls::Scope;

use super::DataPlane;
use super::attempts::Closed;
use crate::generation::{Generation, lock};
use crate::policy::plan::ExportPlan;
use crate::shared::{Repetitions, Shared};
use crate::value::{Arg, Results};
use crate::{CallError, Error};

/// One generation, held for the length of a [pinned scope](crate::Proxy::pinned).
pub struct Pinned<'a> {
    shared: &'a Shared,
    generation: &'a Arc<Generation>,
    scope: u64,
    /// How often the scope has been run before.
    /// `None` where nobody would run it again.
    repetitions: Option<Repetitions>,
    /// The last failure that a clean generation might mend: why, and whether this one was clean.
    mendable: Mutex<Option<(&'static str, bool)>>,
}

/// The number of the next scope in this process.
static SCOPES: AtomicU64 = AtomicU64::new(1);

/// The number of a new scope. A pointer of one scope means nothing in another.
pub(super) fn new_scope() -> u64 {
    SCOPES.fetch_add(1, Ordering::Relaxed)
}

/// The name of a repeated scope in events.
const SCOPE: &str = "a pinned scope";

impl DataPlane {
    pub(crate) fn pinned<T, E: From<Error>>(
        &self,
        mut scope: impl FnMut(&Pinned<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let shared = &*self.shared;
        let mut repetitions = Repetitions::default();
        let mut held = None;
        loop {
            let Some(generation) = shared.active.load_full() else {
                return Err(shared.why_ended().into());
            };
            if shared.is_held_back(&generation)
                && let Some(left) = self.may_wait(&mut held)
            {
                let number = generation.number;
                drop(generation);
                self.hold_back(&SCOPE.into(), number, left);
                continue;
            }
            let outcome = if generation.taint().is_some() {
                None
            } else {
                let pinned = Pinned::new(shared, &generation, Some(repetitions));
                let outcome = scope(&pinned);
                let mendable = *lock(&pinned.mendable);
                let repeat = match mendable {
                    Some((reason, clean)) if outcome.is_err() && shared.is_enabled() => {
                        repetitions.next(Some(reason), clean)
                    }
                    _ => None,
                };
                if let Some(reason) = repeat {
                    self.note_retry(&SCOPE.into(), reason);
                    None
                } else {
                    Some(outcome)
                }
            };
            let closed = Closed::of(&generation);
            let is_retired = generation.is_retired();
            drop(generation);
            if is_retired {
                self.caretaker.tidy_up();
            }
            match outcome {
                Some(outcome) => return outcome,
                None => self.next_generation(&closed)?,
            }
        }
    }
}

impl<'a> Pinned<'a> {
    pub(crate) fn new(
        shared: &'a Shared,
        generation: &'a Arc<Generation>,
        repetitions: Option<Repetitions>,
    ) -> Self {
        Self {
            shared,
            generation,
            scope: new_scope(),
            repetitions,
            mendable: Mutex::new(None),
        }
    }

    /// Calls a pure export on the pinned generation.
    ///
    /// # Errors
    ///
    /// [`CallError::JournaledInPinned`] for other exports; [`Error::DrainDeadline`] if the
    /// generation was swapped out and the scope lasts too long; otherwise as
    /// [`Proxy::call`](crate::Proxy::call).
    pub fn call(&self, export: &str, args: &[Arg<'_>]) -> Result<Results, Error> {
        let plan = self.shared.plan_of(export)?;
        let outcome = self.call_planned(plan, args);
        if outcome.is_err() {
            self.shared.ledger.counts.failed_calls.add(1);
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
        let _inside = self.shared.enter_thread()?;
        if let Some(kill) = self.generation.killed() {
            let failed = self.shared.killed(plan.name.to_string(), kill, false);
            *lock(&self.mendable) = failed.mendable();
            return Err(failed.into_error(self.is_repeated()));
        }
        let Some(mut guest) = self.generation.enter_pinned() else {
            *lock(&self.mendable) = Some(("generation_lost", false));
            return Err(Error::GenerationLost {
                export: plan.name.to_string(),
                cause: self.generation.taint().unwrap_or("unknown").to_owned(),
            });
        };
        self.shared.pure_calls.note_export(plan.func);
        let outcome = self.shared.guarded(
            plan,
            self.generation,
            &mut guest,
            self.repetitions,
            |guest| {
                let outcome = guest.call_pure(plan, args, Some(Scope::pinned(self.scope)));
                self.shared.log_pure_call(guest, plan, args, &outcome);
                outcome
            },
        );
        if outcome.is_ok() {
            self.generation.count_call();
            self.shared.look_if_due(self.generation, &mut guest);
        }
        outcome.map_err(|failed| {
            *lock(&self.mendable) = failed.mendable();
            let error = failed.into_error(self.is_repeated());
            let error = self.shared.with_objects(error);
            if matches!(error, Error::UnknownHandle { .. }) {
                // The object is younger than the swap; the generation that serves now has it.
                *lock(&self.mendable) = Some(("stale_generation", false));
            }
            error
        })
    }

    fn is_repeated(&self) -> bool {
        self.repetitions.is_some_and(Repetitions::any)
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
