//! The entrance to a guest, for one thread at a time. A waiting thread can give up.
//!
//! A `Mutex` holds its waiters until they get it. A call that waits behind a long pure call must
//! instead leave at once when its generation is swapped out, and go to the new one. So waiters use
//! a condition variable beside the value. A thread enters without waiting by taking the value out
//! of its place, and leaves by putting it back: one atomic exchange each.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use crossbeam_utils::atomic::AtomicCell;

pub(crate) struct Lane<T> {
    /// The value, unless a thread has it.
    place: AtomicCell<Option<Box<T>>>,
    waiting: AtomicUsize,
    gate: Mutex<()>,
    changed: Condvar,
}

pub(crate) struct LaneGuard<'a, T> {
    lane: &'a Lane<T>,
    /// Taken only by `drop`.
    value: Option<Box<T>>,
}

impl<T> Lane<T> {
    pub(crate) fn new(value: T) -> Self {
        Self {
            place: AtomicCell::new(Some(Box::new(value))),
            waiting: AtomicUsize::new(0),
            gate: Mutex::new(()),
            changed: Condvar::new(),
        }
    }

    /// The value, or `None` once `leave` says so while another thread has it.
    #[inline]
    pub(crate) fn enter(&self, leave: impl Fn() -> bool) -> Option<LaneGuard<'_, T>> {
        self.try_enter().or_else(|| self.wait(leave))
    }

    /// The value, if no other thread has it.
    #[inline]
    pub(crate) fn try_enter(&self) -> Option<LaneGuard<'_, T>> {
        let value = self.place.take()?;
        Some(LaneGuard {
            lane: self,
            value: Some(value),
        })
    }

    #[cold]
    fn wait(&self, leave: impl Fn() -> bool) -> Option<LaneGuard<'_, T>> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let entered = loop {
            if leave() {
                break None;
            }
            if let Some(guard) = self.try_enter() {
                break Some(guard);
            }
            gate = self
                .changed
                .wait(gate)
                .unwrap_or_else(PoisonError::into_inner);
        };
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        entered
    }

    /// Lets all waiters ask again whether to leave.
    pub(crate) fn wake_all(&self) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    #[cold]
    fn wake_one(&self) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_one();
    }
}

impl<T> Deref for LaneGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.value.as_ref().expect("only drop takes it")
    }
}

impl<T> DerefMut for LaneGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.value.as_mut().expect("only drop takes it")
    }
}

impl<T> Drop for LaneGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // A thread that panicked with the value has already marked its generation as tainted.
        let nothing = self.lane.place.swap(self.value.take());
        debug_assert!(nothing.is_none(), "the value is in one place at a time");
        // Both are acquire-release exchanges of one place, so one of them is first. If the waiter's
        // vain attempt was first, this exchange sees it, and with it that the thread waits. If this
        // exchange was first, the waiter finds the value.
        if self.lane.waiting.load(Ordering::Relaxed) > 0 {
            self.lane.wake_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    use super::*;

    #[test]
    fn everybody_gets_in_once() {
        let lane = Lane::new(0_u64);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        *lane.enter(|| false).expect("nobody leaves") += 1;
                    }
                });
            }
        });
        assert_eq!(*lane.try_enter().expect("everybody has left"), 16_000);
    }

    #[test]
    fn who_waits_can_leave_while_another_stays_inside() {
        let lane = Arc::new(Lane::new(()));
        let closed = Arc::new(AtomicBool::new(false));
        let inside = lane.enter(|| false).expect("nobody else is there");
        let waiter = thread::spawn({
            let (lane, closed) = (Arc::clone(&lane), Arc::clone(&closed));
            move || lane.enter(|| closed.load(Ordering::SeqCst)).is_none()
        });
        while lane.waiting.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
        closed.store(true, Ordering::SeqCst);
        lane.wake_all();
        assert!(
            waiter.join().expect("the waiter does not panic"),
            "the waiter left"
        );
        drop(inside);
    }
}
