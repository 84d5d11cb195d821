//! The errors of a policy and of one call.

use engine_api::{GuestError, JsValue, Trap};

use crate::{Handle, PRESETS};

/// A policy that cannot be read, or does not fit the module. Fix the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The text is not TOML, or has a field or a word that no policy has.
    #[error("policy: {0}")]
    Syntax(#[source] Box<toml::de::Error>),

    /// No policy of this name is built in.
    #[error("policy: no preset `{name}`; there are: {}", PRESETS.join(", "))]
    UnknownPreset {
        /// What the caller asked for.
        name: String,
    },

    /// A `match` is not a glob pattern.
    #[error("policy: `{pattern}` is no pattern: {}", .source.kind())]
    Pattern {
        /// The pattern in the policy.
        pattern: String,
        /// The pattern's fault.
        source: globset::Error,
    },

    /// An export cannot return a status code that the policy names for it.
    #[error("policy: `exhausted` of `{export}` names {code}, {reason}")]
    StatusCode {
        /// The export.
        export: String,
        /// The code in the policy.
        code: i64,
        /// Why it cannot be returned, and what can be named instead.
        reason: String,
    },

    /// The policy does not fit the module or itself.
    #[error("policy: {reason}")]
    Misfit {
        /// The misfit, with its place.
        reason: String,
    },
}

/// Why a call gave no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The module has no such exported function.
    #[error("the module exports no function `{name}`{}", suggestion(.similar.as_ref()))]
    UnknownExport {
        /// What the caller asked for.
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

    /// The policy names no artifact for the export, and a caller asked for an object made from one.
    #[error("`{export}` has no artifact; name one in the policy")]
    NoArtifact {
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
        /// The kind that the policy and the function's type ask for.
        expected: String,
        /// The kind that the caller gave.
        got: String,
    },

    /// A result is of another kind than the caller asked for.
    #[error("result {position} is {got}, not {expected}")]
    ResultKind {
        /// Which result, from 0.
        position: usize,
        /// What the caller asked for.
        expected: &'static str,
        /// The kind that it is.
        got: String,
    },

    /// The handle's object has been freed or consumed. Nothing ran.
    #[error("the object of handle {handle} was freed; create it again")]
    FreedHandle {
        /// The handle.
        handle: Handle,
    },

    /// The handle belongs to another proxy, or another bare instance. Nothing ran.
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

    /// A raw pointer was used outside the pinned scope or turn that it came from. Nothing ran.
    #[error(
        "`{export}` deals in raw pointers, which live only inside one pinned scope or turn; use \
         `pinned` or `turn`"
    )]
    PointerOutsideScope {
        /// The export.
        export: String,
    },

    /// A raw pointer of a turn was used after a call that had used it up. Nothing ran.
    #[error("`{export}` was given a pointer that an earlier call of this turn has used up")]
    UsedPointer {
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

    /// There is no object of a type that the call needs, though it is not passed. Nothing ran.
    #[error(
        "`{export}` needs a live object of type `{needed}`, and there is none; create one first"
    )]
    Needs {
        /// The export.
        export: String,
        /// The type of the object.
        needed: String,
    },

    /// The guest gave a pointer or a length that is not in its memory, or text that is not UTF-8.
    #[error("`{export}` returned {what}; the policy may name the wrong kind of result")]
    GuestData {
        /// The export.
        export: String,
        /// The fault, as the end of a sentence about the export.
        what: String,
    },

    /// The guest returned an error. Nothing is lost, and the call is as if it had not been made,
    /// except that objects which it uses up are used up.
    #[error("`{export}`: {message}")]
    Guest {
        /// The export.
        export: String,
        /// The guest's message.
        message: String,
        /// What the guest threw, where that means something outside of it. It is not known of the
        /// answer to a call with an id that was made before.
        thrown: Option<Box<JsValue>>,
    },

    /// The guest ran out of memory. Where it was safe, a proxy has already repeated the call on a
    /// clean generation. If the call had returned, its effect is gone nevertheless: it would not
    /// have been the same on an emptier instance.
    #[error("`{export}` ran out of memory{} {used_mib:.1} of {limit_mib:.1} MiB{}{}; {}raise the memory limit", if_asked(*.asked_mib), if_retried(*.retried), if_effects(*.side_effects), if_alive(.objects))]
    OutOfMemory {
        /// The export.
        export: String,
        /// The size of the memories, in MiB.
        used_mib: f64,
        /// Their limit, in MiB.
        limit_mib: f64,
        /// How much more memory the guest asked for when growth was refused, in MiB, if that is
        /// known.
        asked_mib: Option<f64>,
        /// Whether this was the second attempt.
        retried: bool,
        /// Whether host functions had run whose effects a repetition could double.
        side_effects: bool,
        /// The types of the live objects, as the policy names them, and how many there are of each,
        /// if a proxy knows them.
        objects: Vec<(String, usize)>,
    },

    /// The guest trapped, and its state is lost. A proxy rebuilds it from the journal before the
    /// next call.
    #[error("`{export}` trapped: {trap}{}{}", if_retried(*.retried), if_effects(*.side_effects))]
    Trapped {
        /// The export.
        export: String,
        /// Why.
        trap: Trap,
        /// Whether this was the second attempt.
        retried: bool,
        /// Whether host functions had run whose effects a repetition could double.
        side_effects: bool,
    },

    /// A host function failed in the middle of the call, and the guest's state is lost. A proxy
    /// rebuilds it before the next call.
    #[error("`{export}` was ended by a host function")]
    HostFailed {
        /// The export.
        export: String,
        /// The host function's error.
        source: Box<engine_api::Error>,
    },

    /// The guest ended itself, as a program does that calls `exit`, and its state is lost. A proxy
    /// rebuilds it before the next call, and does not repeat this one.
    #[error("`{export}` exited with code {}", code.cast_signed())]
    Exited {
        /// The export.
        export: String,
        /// The code that it gave.
        code: u32,
    },

    /// An earlier call has killed the bare instance. Make another.
    #[error("the instance died ({cause}); make another")]
    Died {
        /// What killed it.
        cause: String,
    },

    /// The engine ended or refused the call for a reason of its own.
    #[error(transparent)]
    Engine(Box<engine_api::Error>),
}

impl CallError {
    /// An error that the guest returned from an export.
    #[must_use]
    pub fn of_guest(export: &str, error: GuestError) -> Self {
        CallError::Guest {
            export: export.to_owned(),
            message: error.message,
            thrown: error.thrown.map(Box::new),
        }
    }

    /// A call that found no memory left, with sizes in bytes. `refused` is the size that all
    /// memories together were refused, as [`engine_api::Instance::growth_refused`] gives it.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "sizes of memories are exact in an f64"
    )]
    pub fn out_of_memory(export: String, used: u64, limit: u64, refused: Option<u64>) -> Self {
        let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
        // The largest number stands for a size that nobody knows.
        let refused = refused.filter(|bytes| *bytes > used && *bytes != u64::MAX);
        CallError::OutOfMemory {
            export,
            used_mib: mib(used),
            limit_mib: mib(limit),
            asked_mib: refused.map(|bytes| mib(bytes - used)),
            retried: false,
            side_effects: false,
            objects: Vec::new(),
        }
    }
}

/// The most numerous types of live objects, in words. Each comes with a count; the largest first.
#[must_use]
pub fn listed(objects: &[(String, usize)]) -> String {
    const SHOWN: usize = 5;
    if objects.is_empty() {
        return "no object is alive".to_owned();
    }
    let shown = objects.iter().take(SHOWN);
    let shown: Vec<_> = shown
        .map(|(ty, count)| format!("{count} of `{ty}`"))
        .collect();
    let more = match objects.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(", and of {more} more types"),
    };
    format!("alive are {}{more}", shown.join(", "))
}

fn if_alive(objects: &[(String, usize)]) -> String {
    if objects.is_empty() {
        String::new()
    } else {
        format!("{}; free objects or ", listed(objects))
    }
}

fn suggestion(similar: Option<&String>) -> String {
    similar.map_or_else(
        || "; `wasm-proxy inspect` lists its exports".to_owned(),
        |name| format!("; did you mean `{name}`?"),
    )
}

/// An error with what it came from, in one line. Many errors have their cause's words in their own,
/// and those are not repeated.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !words.contains(&more) {
            words = format!("{words}: {more}");
        }
        cause = error.source();
    }
    words
}

/// The memory that a guest asked for in vain, in words that go on with the size that it had.
#[must_use]
pub fn if_asked(asked_mib: Option<f64>) -> String {
    asked_mib.map_or_else(
        || " at".to_owned(),
        |asked| format!(": {asked:.2} MiB more were asked for at"),
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
