//! Failed calls: what they mean for the generation and for the caller.

use std::time::Instant;

use engine_api::{MemoryType, Trap};
use guest_calls::CallFailure;

use super::{Ended, Shared};
use crate::generation::{Exhaustion, Failure, Generation, Kill, RecordedInstance};
use crate::memory::mib;
use crate::policy::plan::ExportPlan;
use crate::{CallError, Error};

/// How a failed attempt ends.
pub(crate) struct Failed {
    pub(crate) error: Error,
    /// Why it is worth another attempt on a clean generation, if it is.
    pub(crate) retry: Option<&'static str>,
    /// Whether the generation was as clean as a fresh one when the attempt began.
    pub(crate) clean: bool,
}

impl Failed {
    pub(crate) fn for_good(error: impl Into<Error>) -> Self {
        Self {
            error: error.into(),
            retry: None,
            clean: true,
        }
    }

    /// Why, and whether the generation was clean, if another attempt is worth it.
    pub(crate) fn mendable(&self) -> Option<(&'static str, bool)> {
        self.retry.map(|reason| (reason, self.clean))
    }

    pub(crate) fn into_error(self, retried: bool) -> Error {
        let mut error = self.error;
        if let Error::Call(
            CallError::OutOfMemory { retried: again, .. }
            | CallError::Trapped { retried: again, .. },
        ) = &mut error
        {
            *again = retried;
        }
        error
    }
}

impl Shared {
    /// Settles a failure: taints the generation if its state is lost, and decides on an error and
    /// another attempt.
    #[cold]
    pub(crate) fn failed(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        ended: &Ended,
        failure: Failure,
    ) -> Failed {
        let export = plan.name.to_string();
        let (failure, side_effects) = match failure {
            Failure::Call {
                failure,
                side_effects,
            } => (failure, side_effects),
            Failure::Harmed(what) => {
                self.taint(generation, what.clone());
                return Failed::for_good(CallError::GuestData { export, what });
            }
        };
        match failure {
            CallFailure::Refused(error) | CallFailure::Rejected(error) => Failed::for_good(error),
            CallFailure::NoSuchHandle(handle) => {
                Failed::for_good(self.journal.lock().handle_error(handle))
            }
            CallFailure::Garbled(error) => {
                if plan.role.is_journaled() {
                    self.taint(generation, error.to_string());
                }
                Failed::for_good(error)
            }
            CallFailure::Exhausted => {
                self.taint(generation, "its allocator has nothing left".to_owned());
                self.note_misfit(plan, generation, ended);
                Failed {
                    error: self.out_of_memory(export, ended),
                    retry: (!side_effects && self.may_fit_later(generation, ended))
                        .then_some("out_of_memory"),
                    clean: true,
                }
            }
            CallFailure::Ended(source) => self.ended(plan, generation, ended, *source),
        }
    }

    fn ended(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        ended: &Ended,
        source: engine_api::Error,
    ) -> Failed {
        let export = plan.name.to_string();
        let side_effects = ended.side_effects;
        let trap = match source {
            engine_api::Error::Trap(trap) => trap,
            engine_api::Error::Host { .. } | engine_api::Error::HostPanicked { .. } => {
                self.taint(generation, source.to_string());
                let source = Box::new(source);
                return Failed::for_good(CallError::HostFailed { export, source });
            }
            engine_api::Error::Exit { code } => {
                self.taint(generation, source.to_string());
                return Failed::for_good(CallError::Exited { export, code });
            }
            // The engine refused before anything ran.
            engine_api::Error::NoSuchExport { .. }
            | engine_api::Error::Signature { .. }
            | engine_api::Error::ValueType { .. }
            | engine_api::Error::ForeignReference => {
                return Failed::for_good(Error::Engine(Box::new(source)));
            }
            _ => {
                self.taint(generation, source.to_string());
                return Failed::for_good(Error::Engine(Box::new(source)));
            }
        };
        if let (Trap::Interrupted, Some(kill)) = (trap, generation.killed()) {
            return self.killed(export, kill, side_effects);
        }
        let out_of_memory = self.is_exhausted(trap, ended);
        let cause = if out_of_memory {
            "out of memory".to_owned()
        } else {
            trap.to_string()
        };
        self.taint(generation, format!("{cause} in `{export}`"));
        if out_of_memory {
            self.note_misfit(plan, generation, ended);
        }
        let error = if out_of_memory {
            self.out_of_memory(export, ended)
        } else {
            CallError::Trapped {
                export,
                trap,
                retried: false,
                side_effects,
            }
            .into()
        };
        let reason = if out_of_memory {
            "out_of_memory"
        } else {
            trap.name()
        };
        let mends = !out_of_memory || self.may_fit_later(generation, ended);
        Failed {
            error,
            retry: (mends && !side_effects).then_some(reason),
            clean: true,
        }
    }

    /// A call ran out of memory. If the state alone fills the memory, so will the next.
    fn note_misfit(&self, plan: &ExportPlan, generation: &Generation, ended: &Ended) {
        if !self.may_fit_later(generation, ended) {
            self.budget.note_misfit(plan.func, Instant::now());
        }
    }

    /// Refuses a call that found no room beside the live state a moment ago: it would only cost
    /// another rebuild.
    #[inline]
    pub(crate) fn check_fit(
        &self,
        plan: &ExportPlan,
        guest: &RecordedInstance,
    ) -> Result<(), Failed> {
        let bytes = guest.memory_bytes();
        if !self.budget.is_misfit(plan.func, bytes) {
            return Ok(());
        }
        Err(Failed::for_good(Error::StateExceedsBudget {
            state_mib: mib(bytes),
            threshold_mib: mib(self.budget.warn_bytes()),
            objects: guest.live_objects(),
        }))
    }

    /// Whether a call that ran out of memory may fit into a rebuilt generation. If this one began
    /// above the warning threshold and is as it began, the state alone fills the memory.
    pub(super) fn may_fit_later(&self, generation: &Generation, ended: &Ended) -> bool {
        !ended.clean || generation.fresh_bytes() < self.budget.warn_bytes()
    }

    /// A call was ended because its generation had to go. A call that was evicted is worth another
    /// attempt; one that took too long would only take too long again.
    pub(crate) fn killed(&self, export: String, kill: Kill, side_effects: bool) -> Failed {
        let drain_timeout = self.config.drain_timeout;
        Failed {
            error: Error::DrainDeadline {
                export,
                drain_timeout,
            },
            retry: (kill == Kill::Evicted && !side_effects).then_some("evicted"),
            clean: true,
        }
    }

    /// Whether a trap is most likely a failed allocation: growth was refused before it, or the
    /// memories are so large that it may have been. Guests panic and abort alike.
    fn is_exhausted(&self, trap: Trap, ended: &Ended) -> bool {
        let is_refused = ended.exhaustion.is_some();
        let is_full = || self.can_grow() && self.budget.is_exhausted(ended.bytes);
        trap.may_be_allocation() && (is_refused || is_full())
    }

    /// Whether some memory of the module may grow at all.
    pub(super) fn can_grow(&self) -> bool {
        let can_grow = |memory: &MemoryType| memory.pages_max != Some(memory.pages_min);
        self.config.info.memories().iter().any(can_grow)
    }

    pub(super) fn out_of_memory(&self, export: String, ended: &Ended) -> Error {
        let refused = ended.exhaustion.and_then(Exhaustion::refused);
        let limit = self.budget.limit();
        let mut error = CallError::out_of_memory(export, ended.bytes, limit, refused);
        if let CallError::OutOfMemory { side_effects, .. } = &mut error {
            *side_effects = ended.side_effects;
        }
        error.into()
    }
}
