//! The turn to change the state, and the gate before it.

use crate::gate::{Gate, HeldBack};
use crate::locking::lock;
use crate::sync::{Mutex, MutexGuard, TryLockError};

/// Who may change the state.
///
/// A journaled call has the turn from before the call until its entry is appended, and a swap while
/// it applies the tail and stores the pointer. A call never waits for it in the lane: it leaves the
/// lane and waits at the gate.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    turn: Mutex<()>,
    /// Closed while journaled calls are held back.
    gate: Gate,
}

/// The turn to change the state.
pub(crate) type Turn<'a> = MutexGuard<'a, ()>;

/// A swap's turn, with the gate closed before it and opened after it.
pub(crate) struct SwapTurn<'a> {
    _turn: Turn<'a>,
    _held: HeldBack<'a>,
}

impl Turns {
    /// The turn, for a journaled call that has the lane; `None` if a swap has it or waits for it.
    pub(crate) fn try_turn(&self) -> Option<Turn<'_>> {
        if self.gate.is_closed() {
            return None;
        }
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Waits, without a lane, until no swap holds journaled calls back.
    pub(crate) fn wait_at_gate(&self) {
        self.gate.wait();
    }

    /// The turn, for a swap: waits for the journaled call in flight alone.
    pub(crate) fn turn_for_swap(&self) -> SwapTurn<'_> {
        let held = self.hold_back();
        SwapTurn {
            _turn: lock(&self.turn),
            _held: held,
        }
    }

    /// Lets no further journaled call begin until the result is dropped.
    pub(crate) fn hold_back(&self) -> HeldBack<'_> {
        self.gate.close()
    }
}
