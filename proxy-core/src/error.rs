//! What can go wrong, by what the caller does next.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use engine_api::Trap;

use crate::{Handle, SequenceNumber};

/// An error of the proxy. After any of them the proxy goes on serving: the state is the journal's,
/// and a generation that a call has damaged is rebuilt from it before the next call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The policy does not fit the module or itself. Fix the file.
    #[error("policy: {reason}")]
    Policy {
        /// What does not fit, and where.
        reason: String,
    },

    /// A setting from outside makes no sense. Fix it.
    #[error("{reason}")]
    Setting {
        /// Which, and what it may be.
        reason: String,
    },

    /// The directory for artifacts cannot be made or listed.
    #[error(
        "cannot use `{}` as a directory for artifacts: {source}; check that it can be made and listed",
        .path.display()
    )]
    ArtifactDirectory {
        /// The directory.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },

    /// The module has no such exported function.
    #[error("the module exports no function `{name}`{}", suggestion(.similar.as_ref()))]
    UnknownExport {
        /// What was asked for.
        name: String,
        /// An export of a similar name.
        similar: Option<String>,
    },

    /// The policy is strict and does not list the export.
    #[error(
        "the policy is strict and has no entry for `{export}`; add an [[export]] that matches it"
    )]
    NotInPolicy {
        /// The export.
        export: String,
    },

    /// An argument of the wrong number or kind. Nothing ran.
    #[error("`{export}`: argument {position} must be {expected}, got {got}")]
    Argument {
        /// The export.
        export: String,
        /// Which argument, from 0.
        position: usize,
        /// What the policy and the function's type ask for.
        expected: String,
        /// What was given.
        got: String,
    },

    /// A result is of another kind than the caller asked for.
    #[error("result {position} is {got}, not {expected}")]
    ResultKind {
        /// Which result, from 0.
        position: usize,
        /// What was asked for.
        expected: &'static str,
        /// What it is.
        got: String,
    },

    /// The handle's object has been freed or consumed. Nothing ran.
    #[error("the object of handle {handle} was freed; create it again")]
    FreedHandle {
        /// The handle.
        handle: Handle,
    },

    /// The pinned generation has no such object: it was created after the swap that replaced that
    /// generation. Nothing ran.
    #[error("handle {handle} is younger than the pinned generation; begin the scope again")]
    UnknownHandle {
        /// The handle.
        handle: Handle,
    },

    /// The handle belongs to another proxy. Nothing ran.
    #[error("handle {handle} belongs to another proxy; objects cannot move between modules")]
    ForeignHandle {
        /// The handle.
        handle: Handle,
    },

    /// The handle names an object of another type. Nothing ran.
    #[error("`{export}`: handle {handle} is of type `{got}`, the policy asks for `{expected}`")]
    HandleType {
        /// The export.
        export: String,
        /// The handle.
        handle: Handle,
        /// The type that the policy asks for.
        expected: String,
        /// The type of the object.
        got: String,
    },

    /// The guest answered a create call with null: it could not create the object.
    #[error("`{export}` returned null: the guest created no object, check the arguments")]
    NullHandle {
        /// The export.
        export: String,
    },

    /// A raw pointer was used outside the pinned scope that it came from. Nothing ran.
    #[error(
        "`{export}` deals in raw pointers, which live only inside one pinned scope; use `pinned`"
    )]
    PointerOutsideScope {
        /// The export.
        export: String,
    },

    /// A call that changes state was made inside a pinned scope. Nothing ran.
    #[error(
        "`{export}` is journaled, and cannot be called inside a pinned scope; call it before or after"
    )]
    JournaledInPinned {
        /// The export.
        export: String,
    },

    /// A host function or a hook called the proxy that was just calling it. Nothing ran.
    #[error(
        "a host function or hook of this proxy called the proxy; use the `Caller` or `Pinned` it is given"
    )]
    Reentrant,

    /// The guest gave a pointer or a length that is not in its memory, or text that is not UTF-8.
    #[error("`{export}` returned {what}; the policy may name the wrong kind of result")]
    GuestData {
        /// The export.
        export: String,
        /// What is wrong.
        what: String,
    },

    /// The guest returned an error. Nothing is lost, and the call is as if it had not been made, except
    /// that objects which it uses up are used up.
    #[error("`{export}`: {message}")]
    Guest {
        /// The export.
        export: String,
        /// What the guest said.
        message: String,
    },

    /// An object that the call needs, though it is not passed, is not there. Nothing ran.
    #[error(
        "`{export}` needs a live object of type `{needed}`, and there is none; create one first"
    )]
    Needs {
        /// The export.
        export: String,
        /// The type of the object.
        needed: String,
    },

    /// The guest ran out of memory. Where it was safe the call was already repeated on a clean
    /// generation.
    #[error("`{export}` ran out of memory at {used_mib:.1} of {limit_mib:.1} MiB{}; raise the memory limit", if_retried(*.retried))]
    OutOfMemory {
        /// The export.
        export: String,
        /// What the memories had, in MiB.
        used_mib: f64,
        /// What they may have, in MiB.
        limit_mib: f64,
        /// Whether this was the second attempt.
        retried: bool,
    },

    /// The guest trapped. Its generation is rebuilt from the journal before the next call.
    #[error("`{export}` trapped: {trap}{}{}", if_retried(*.retried), if_effects(*.side_effects))]
    Trapped {
        /// The export.
        export: String,
        /// Why.
        trap: Trap,
        /// Whether this was the second attempt.
        retried: bool,
        /// Whether host functions had run, so that repeating the call could double their effects.
        side_effects: bool,
    },

    /// Another call has ended the generation that this scope was pinned to.
    #[error("`{export}`: the pinned generation was lost ({cause}); begin the scope again")]
    GenerationLost {
        /// The export.
        export: String,
        /// What happened.
        cause: String,
    },

    /// The pinned generation was still in use when the drain deadline passed, and was ended.
    #[error("`{export}` was ended: its generation had been swapped out {}s before, the drain deadline; shorten the scope or raise it", .drain_timeout.as_secs_f32())]
    DrainDeadline {
        /// The export.
        export: String,
        /// The deadline.
        drain_timeout: Duration,
    },

    /// A host function failed in the middle of the call. The generation is rebuilt before the next.
    #[error("`{export}` was ended by a host function")]
    HostFailed {
        /// The export.
        export: String,
        /// The host function's error.
        source: Box<engine_api::Error>,
    },

    /// Replay gave something else than the original call. The standby was discarded; the active
    /// generation goes on.
    #[error(transparent)]
    Divergence(Box<Divergence>),

    /// The preparation of a standby took too long. The active generation goes on.
    #[error("the preparation was given up after {:.1}s at entry {applied} of {last}; raise the prepare timeout", .after.as_secs_f64())]
    PreparationTimeout {
        /// How long it took.
        after: Duration,
        /// The newest entry that was applied.
        applied: SequenceNumber,
        /// The newest entry there was.
        last: SequenceNumber,
    },

    /// A standby could not be made. The active generation goes on.
    #[error("the standby could not be prepared: {source}")]
    Preparation {
        /// Why.
        source: Box<Error>,
    },

    /// The live state alone is larger than the warning threshold: a swap would not help.
    #[error(
        "state exceeds budget: after replay the state takes {state_mib:.1} MiB, the warning threshold is at {threshold_mib:.1} MiB; free objects or raise the memory limit"
    )]
    StateExceedsBudget {
        /// What the state takes, in MiB.
        state_mib: f64,
        /// Where the threshold is, in MiB.
        threshold_mib: f64,
    },

    /// Too many preparations failed in a row, or the last one failed a moment ago.
    #[error("no standby is prepared for another {:.1}s, after {failures} failed attempts; see the last `standby-prepare-error` event", .retry_in.as_secs_f32())]
    BackingOff {
        /// How many attempts failed in a row.
        failures: u32,
        /// When the next attempt is due.
        retry_in: Duration,
    },

    /// No checkpoint can be taken of this module, or of its state as it is. Standbys are made by replay.
    #[error("no checkpoint: {reasons}; standbys are made by replay")]
    NoCheckpoint {
        /// Why, in words.
        reasons: String,
    },

    /// There is no standby to swap to.
    #[error("no standby is ready; call `prepare_standby` first")]
    NoStandby,

    /// The generation before is still in use, so a third cannot be made.
    #[error(
        "the generation before is still draining; wait for its calls or lower the drain deadline"
    )]
    StillDraining,

    /// The proxy is switched off, and the one generation there is has died.
    #[error(
        "the instance died ({cause}) while the proxy was switched off; switch it on to rebuild the state"
    )]
    DiedInPassthrough {
        /// What killed it.
        cause: String,
    },

    /// The proxy is switched off: nothing is prepared and nothing swapped.
    #[error("the proxy is switched off; switch it on first")]
    Passthrough,

    /// The proxy has been shut down.
    #[error("the proxy has been shut down")]
    ShutDown,

    /// A hook refused the swap. The active generation goes on.
    #[error("the hook around the swap failed")]
    Hook {
        /// The hook's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    /// The engine refused the module, its imports or its limits.
    #[error(transparent)]
    Engine(Box<engine_api::Error>),
}

impl From<engine_api::Error> for Error {
    fn from(error: engine_api::Error) -> Self {
        Error::Engine(Box::new(error))
    }
}

fn suggestion(similar: Option<&String>) -> String {
    similar.map_or_else(
        || "; `wasm-proxy inspect` lists its exports".to_owned(),
        |name| format!("; did you mean `{name}`?"),
    )
}

fn if_retried(retried: bool) -> &'static str {
    if retried {
        ", also when repeated on a clean generation"
    } else {
        ""
    }
}

fn if_effects(side_effects: bool) -> &'static str {
    if side_effects {
        "; not repeated, because host functions had already run"
    } else {
        ""
    }
}

/// Where a replay departed from the original.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// The first entry that differed. [`SequenceNumber::ZERO`] is the instantiation.
    pub entry: SequenceNumber,
    /// The export that it calls.
    pub export: String,
    /// What differed.
    pub what: DivergenceKind,
    /// What the journal holds.
    pub expected: String,
    /// What the replay gave.
    pub got: String,
}

/// What differed in a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DivergenceKind {
    /// The call's results.
    Results,
    /// What the policy's fingerprint export says of a created object.
    Fingerprint,
    /// The host functions that the call made use of, or their arguments.
    HostCalls,
    /// The original returned, the replay trapped or failed.
    Outcome,
}

impl DivergenceKind {
    /// A short stable name for metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DivergenceKind::Results => "results",
            DivergenceKind::Fingerprint => "fingerprint",
            DivergenceKind::HostCalls => "host calls",
            DivergenceKind::Outcome => "outcome",
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "replay diverged at entry {} (`{}`), {}: expected {}, got {}; the module is not \
             deterministic, or the policy calls something pure that is not",
            self.entry,
            self.export,
            self.what.name(),
            self.expected,
            self.got
        )
    }
}

impl std::error::Error for Divergence {}
