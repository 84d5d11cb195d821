//! What a generation shows between its calls, besides the size of its memories.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

const NEVER_HELD: u8 = 0;
const HELD: u8 = 1;
const LET_GO: u8 = 2;

/// What calls noted of a generation. Only the thread inside writes it, and upkeep reads it.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The number of calls at which to look next.
    look_at: AtomicU64,
    /// The stack pointer when the generation began to serve; `u64::MAX` if it is not known.
    stack_fresh: AtomicU64,
    /// How far it has come down, in bytes.
    stack_drift: AtomicU64,
    /// The smallest size that its memories were refused in a call that went on; 0 for none.
    refused: AtomicU64,
    /// What its memories have grown by in pure calls, in bytes. The growth of others is replayed.
    pure_growth: AtomicU64,
    /// Whether an export asked for a swap.
    asked: AtomicBool,
    /// What the module last reported as used, in bytes.
    reported: AtomicU64,
    /// Whether calls wait for a swap that it needs: one of `NEVER_HELD`, `HELD` and `LET_GO`.
    held: AtomicU8,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self {
            look_at: AtomicU64::new(1),
            stack_fresh: AtomicU64::new(u64::MAX),
            stack_drift: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            pure_growth: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            reported: AtomicU64::new(0),
            held: AtomicU8::new(NEVER_HELD),
        }
    }

    /// Whether a generation that has served so many calls is to be looked at. One load and one
    /// compare.
    #[inline]
    pub(crate) fn is_due(&self, calls: u64) -> bool {
        calls >= self.look_at.load(Ordering::Relaxed)
    }

    pub(crate) fn look_at(&self, calls: u64) {
        self.look_at.store(calls, Ordering::Relaxed);
    }

    /// The stack pointer of a generation that does not serve yet.
    pub(super) fn set_stack(&self, pointer: u64) {
        self.stack_fresh.store(pointer, Ordering::Relaxed);
    }

    /// Notes the stack pointer between two calls, and returns how far it has come down.
    pub(crate) fn note_stack(&self, pointer: u64) -> u64 {
        let fresh = self.stack_fresh.load(Ordering::Relaxed);
        let drift = if fresh == u64::MAX {
            0
        } else {
            fresh.saturating_sub(pointer)
        };
        self.stack_drift.store(drift, Ordering::Relaxed);
        drift
    }

    pub(crate) fn stack_drift(&self) -> u64 {
        self.stack_drift.load(Ordering::Relaxed)
    }

    /// Notes growth that was refused in a call whose result stands.
    pub(crate) fn note_refused(&self, bytes: u64) {
        let before = self.refused.load(Ordering::Relaxed);
        if before == 0 || bytes < before {
            self.refused.store(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The memories grew in a pure call.
    pub(crate) fn note_pure_growth(&self, bytes: u64) {
        self.pure_growth.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pure_growth(&self) -> u64 {
        self.pure_growth.load(Ordering::Relaxed)
    }

    pub(crate) fn set_asked(&self, asked: bool) {
        self.asked.store(asked, Ordering::Relaxed);
    }

    pub(crate) fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_reported(&self, bytes: u64) {
        self.reported.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// From now on calls wait for a swap, whatever the size of the memories, unless they did and were
    /// let go.
    pub(crate) fn hold(&self) {
        self.change_hold(NEVER_HELD, HELD);
    }

    /// No swap is near: calls need not wait for it. Returns whether they did.
    pub(crate) fn let_go(&self) -> bool {
        self.change_hold(HELD, LET_GO)
    }

    /// Whether calls wait for a swap. One load and one compare.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed) == HELD
    }

    /// Whether a swap is due that calls wait for, or once waited for.
    pub(crate) fn needs_swap(&self) -> bool {
        self.held.load(Ordering::Relaxed) != NEVER_HELD
    }

    fn change_hold(&self, from: u8, to: u8) -> bool {
        self.held
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_held_once_and_let_go_once() {
        let watch = Watch::new();
        assert!(!watch.let_go(), "nobody waits yet");
        watch.hold();
        assert!(watch.is_held() && watch.needs_swap());
        assert!(watch.let_go());
        watch.hold();
        assert!(!watch.is_held() && watch.needs_swap());
        assert!(!watch.let_go());
    }
}
