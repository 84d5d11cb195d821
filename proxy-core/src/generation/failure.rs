//! Why a call of a recorded instance gave no result.

use engine_api::Trap;
use guest_calls::CallFailure;

/// Why a call gave no result.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The call itself failed.
    Call {
        failure: CallFailure,
        /// Whether host functions with effects outside had run.
        side_effects: bool,
    },
    /// The call returned, but the guest's state is lost or cannot be recorded.
    Harmed(String),
}

impl Failure {
    /// Whether the guest is whole after it: it gave an error of its own, or something unreadable.
    pub(crate) fn leaves_guest_whole(&self) -> bool {
        let Failure::Call { failure, .. } = self else {
            return false;
        };
        matches!(failure, CallFailure::Rejected(_) | CallFailure::Garbled(_))
    }

    /// Whether the guest's function returned, and gave an error of its own.
    pub(crate) fn has_returned(&self) -> bool {
        matches!(
            self,
            Failure::Call {
                failure: CallFailure::Rejected(_),
                ..
            }
        )
    }

    /// Whether a failed allocation ends a call like this: guests panic and abort alike.
    pub(crate) fn may_be_allocation(&self) -> bool {
        let Failure::Call { failure, .. } = self else {
            return false;
        };
        match failure {
            CallFailure::Exhausted => true,
            CallFailure::Ended(source) => {
                let trap: Option<Trap> = source.trap();
                trap.is_some_and(Trap::may_be_allocation)
            }
            _ => false,
        }
    }

    pub(crate) fn describe(&self) -> String {
        match self {
            Failure::Call { failure, .. } => failure.to_string(),
            Failure::Harmed(what) => what.clone(),
        }
    }
}
