//! Calls that gave nothing: what that means for the generation and for the caller.

use engine_api::{MemoryType, Trap};
use guest_calls::CallFailure;

use super::{Generation, Inner};
use crate::generation::{Failure, Kill, lock};
use crate::policy::plan::ExportPlan;
use crate::{CallError, Error};

/// How a failed attempt ends.
pub(super) struct Failed {
    pub(super) error: Error,
    /// Why it is worth another attempt on a clean generation, if it is.
    pub(super) retry: Option<&'static str>,
    /// Whether the generation was as clean as a fresh one when the attempt began.
    pub(super) clean: bool,
}

/// How often a call has been repeated: once on a clean generation. One that other callers filled before
/// the repetition came to its turn was not clean, but there is an end to that too.
#[derive(Default)]
pub(super) struct Repetitions(u32);

const REPETITIONS_MAX: u32 = 3;

impl Repetitions {
    /// Whether to repeat after this failure, and why; counts it.
    pub(super) fn next(
        &mut self,
        reason: Option<&'static str>,
        clean: bool,
    ) -> Option<&'static str> {
        let is_due = self.0 == 0 || (!clean && self.0 < REPETITIONS_MAX);
        let reason = reason.filter(|_| is_due)?;
        self.0 += 1;
        Some(reason)
    }

    pub(super) fn any(&self) -> bool {
        self.0 > 0
    }
}

impl Failed {
    pub(super) fn for_good(error: impl Into<Error>) -> Self {
        Self {
            error: error.into(),
            retry: None,
            clean: true,
        }
    }

    /// Why, and whether the generation was clean, if another attempt is worth it.
    pub(super) fn mendable(&self) -> Option<(&'static str, bool)> {
        self.retry.map(|reason| (reason, self.clean))
    }

    pub(super) fn into_error(self, retried: bool) -> Error {
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

impl Inner {
    /// What a failure means for the generation and for the caller.
    #[cold]
    pub(super) fn failed(
        &self,
        plan: &ExportPlan,
        generation: &Generation,
        bytes: u64,
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
            CallFailure::NoSuchHandle(handle) if plan.role.is_journaled() => {
                // The caller holds the journal and asks it.
                Failed::for_good(Error::UnknownHandle { handle })
            }
            CallFailure::NoSuchHandle(handle) => {
                Failed::for_good(lock(&self.journal).handle_error(handle))
            }
            CallFailure::Garbled(error) => {
                if plan.role.is_journaled() {
                    self.taint(generation, error.to_string());
                }
                Failed::for_good(error)
            }
            CallFailure::Exhausted => {
                self.taint(generation, "its allocator has nothing left".to_owned());
                Failed {
                    error: self.out_of_memory(export, bytes),
                    retry: (!side_effects && self.leaves_room(generation))
                        .then_some("out_of_memory"),
                    clean: true,
                }
            }
            CallFailure::Ended(source) => {
                self.ended(export, generation, bytes, source, side_effects)
            }
        }
    }

    fn ended(
        &self,
        export: String,
        generation: &Generation,
        bytes: u64,
        source: Box<engine_api::Error>,
        side_effects: bool,
    ) -> Failed {
        let trap = match *source {
            engine_api::Error::Trap(trap) => trap,
            engine_api::Error::Host { .. } | engine_api::Error::HostPanicked { .. } => {
                self.taint(generation, source.to_string());
                return Failed::for_good(CallError::HostFailed { export, source });
            }
            // The engine refused before anything ran.
            engine_api::Error::NoSuchExport { .. }
            | engine_api::Error::Signature { .. }
            | engine_api::Error::ValueType { .. }
            | engine_api::Error::ForeignReference => {
                return Failed::for_good(Error::Engine(source));
            }
            _ => {
                self.taint(generation, source.to_string());
                return Failed::for_good(Error::Engine(source));
            }
        };
        if let (Trap::Interrupted, Some(kill)) = (trap, generation.killed()) {
            return self.killed(export, kill, side_effects);
        }
        let out_of_memory = self.is_exhausted(trap, bytes);
        let cause = if out_of_memory {
            "out of memory".to_owned()
        } else {
            trap.to_string()
        };
        self.taint(generation, format!("{cause} in `{export}`"));
        let error = if out_of_memory && !side_effects {
            self.out_of_memory(export, bytes)
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
        // A clean generation begins where this one began.
        let mends = !out_of_memory || self.leaves_room(generation);
        Failed {
            error,
            retry: (mends && !side_effects).then_some(reason),
            clean: true,
        }
    }

    /// Whether a generation began below the warning threshold. If not, the state alone fills the memory,
    /// and rebuilding it for another attempt would help nobody.
    fn leaves_room(&self, generation: &Generation) -> bool {
        let limit = self.options.memory_limit;
        generation.fresh_bytes() < self.options.thresholds.warn_bytes(limit, 0.0)
    }

    /// A call was ended because its generation had to go. What was evicted is worth another attempt;
    /// what took too long would only take too long again.
    pub(super) fn killed(&self, export: String, kill: Kill, side_effects: bool) -> Failed {
        let drain_timeout = self.options.drain_timeout;
        Failed {
            error: Error::DrainDeadline {
                export,
                drain_timeout,
            },
            retry: (kill == Kill::Evicted && !side_effects).then_some("evicted"),
            clean: true,
        }
    }

    /// Whether a trap at this size is most likely a failed allocation: guests panic and abort alike.
    fn is_exhausted(&self, trap: Trap, bytes: u64) -> bool {
        let may_be = matches!(trap, Trap::Unreachable | Trap::MemoryOutOfBounds);
        let can_grow = |memory: &MemoryType| memory.pages_max != Some(memory.pages_min);
        if !may_be || !self.info.memories().iter().any(can_grow) {
            return false;
        }
        let limit = self.options.memory_limit;
        let next = bytes.saturating_add(self.largest_growth.bytes().max(engine_api::PAGE_BYTES));
        next > limit || bytes >= self.options.thresholds.critical_bytes(limit)
    }

    fn out_of_memory(&self, export: String, bytes: u64) -> Error {
        CallError::out_of_memory(export, bytes, self.options.memory_limit).into()
    }
}
