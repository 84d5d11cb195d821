//! The states of a swap, as a pure function; [`crate::upkeep`] acts on them.

use std::fmt;

/// Where the proxy is between one swap and the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SwapState {
    /// One generation serves, and there is no other.
    #[default]
    Idle,
    /// A standby is being made: instantiated, and the journal applied as it was at the start.
    Preparing,
    /// The standby applies what was journaled meanwhile.
    CatchingUp,
    /// The standby waits.
    Ready,
    /// Journaled calls are held back; the rest of the journal is applied and the pointer stored.
    Swapping,
    /// The new generation serves; calls that began on the old one end there.
    Draining,
}

/// The steps that move the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    Prepare,
    Replayed,
    CaughtUp,
    Swap,
    Promoted,
    Drained,
    /// The standby failed, or is no longer wanted.
    Discard,
}

impl SwapState {
    /// The state after a step, or `None` if the step makes no sense here: then nothing is done.
    #[must_use]
    pub(crate) fn after(self, step: Step) -> Option<Self> {
        use SwapState::{CatchingUp, Draining, Idle, Preparing, Ready, Swapping};
        match (self, step) {
            (Idle, Step::Prepare) => Some(Preparing),
            (Preparing, Step::Replayed) => Some(CatchingUp),
            (CatchingUp, Step::CaughtUp) => Some(Ready),
            (Ready, Step::Swap) => Some(Swapping),
            (Swapping, Step::Promoted) => Some(Draining),
            (Draining, Step::Drained)
            | (Preparing | CatchingUp | Ready | Swapping, Step::Discard) => Some(Idle),
            _ => None,
        }
    }

    /// Whether a standby exists, in the making or made.
    #[must_use]
    pub fn has_standby(self) -> bool {
        matches!(
            self,
            SwapState::Preparing | SwapState::CatchingUp | SwapState::Ready | SwapState::Swapping
        )
    }

    /// A short stable name for events and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SwapState::Idle => "idle",
            SwapState::Preparing => "preparing",
            SwapState::CatchingUp => "catching-up",
            SwapState::Ready => "ready",
            SwapState::Swapping => "swapping",
            SwapState::Draining => "draining",
        }
    }
}

impl fmt::Display for SwapState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [SwapState; 6] = [
        SwapState::Idle,
        SwapState::Preparing,
        SwapState::CatchingUp,
        SwapState::Ready,
        SwapState::Swapping,
        SwapState::Draining,
    ];

    const STEPS: [Step; 7] = [
        Step::Prepare,
        Step::Replayed,
        Step::CaughtUp,
        Step::Swap,
        Step::Promoted,
        Step::Drained,
        Step::Discard,
    ];

    #[test]
    fn a_swap_goes_round() {
        let end = STEPS[..6]
            .iter()
            .try_fold(SwapState::Idle, |state, step| state.after(*step));
        assert_eq!(end, Some(SwapState::Idle));
    }

    #[test]
    fn there_are_never_three_generations() {
        // A standby comes only from idle, where there is no draining one.
        for state in STATES {
            for step in STEPS {
                let Some(next) = state.after(step) else {
                    continue;
                };
                if !state.has_standby() && next.has_standby() {
                    assert_eq!(state, SwapState::Idle);
                }
                if next == SwapState::Draining {
                    assert_eq!(state, SwapState::Swapping);
                }
            }
        }
    }

    #[test]
    fn every_state_finds_back_to_idle() {
        for start in STATES {
            let mut reached = vec![start];
            for _ in 0..STATES.len() {
                for state in reached.clone() {
                    reached.extend(STEPS.iter().filter_map(|step| state.after(*step)));
                }
                reached.dedup();
            }
            assert!(reached.contains(&SwapState::Idle), "{start}");
        }
    }
}
