//! The entrance to a guest, for one thread at a time. A waiting thread can give up.
//!
//! A `Mutex` holds its waiters until they get it. A call that waits behind a long pure call must
//! instead leave at once when its generation is swapped out, and go to the new one. So waiters use
//! a condition variable beside the value. A thread enters without waiting by taking the value out
//! of its place, and leaves by putting it back: one atomic exchange each.

use std::hint::spin_loop;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{AtomicCell, Condvar, Instant, Mutex, PoisonError, SPINS};

pub(crate) struct Lane<T> {
    /// The value, unless a thread has it.
    place: AtomicCell<Option<Box<T>>>,
    waiting: AtomicUsize,
    /// Whether a waiter was woken and has not looked yet: until then nobody else is, who would find
    /// the value taken. Waiters take it back with the gate locked.
    is_woken: AtomicBool,
    gate: Mutex<Handover<T>>,
    changed: Condvar,
}

/// How the value goes to a waiter that must not be overtaken. At most one waits so.
struct Handover<T> {
    is_wanted: bool,
    value: Option<Box<T>>,
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
            is_woken: AtomicBool::new(false),
            gate: Mutex::new(Handover {
                is_wanted: false,
                value: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// The value, or `None` once `leave` says so while another thread has it.
    #[inline]
    pub(crate) fn enter(&self, leave: impl Fn() -> bool) -> Option<LaneGuard<'_, T>> {
        self.try_enter()
            .or_else(|| self.spin())
            .or_else(|| self.wait(leave))
    }

    /// The value, if the thread that has it leaves soon. Most calls are over before a thread is asleep,
    /// and as long as one sleeps here, each thread that leaves has to make a system call to wake it.
    #[cold]
    fn spin(&self) -> Option<LaneGuard<'_, T>> {
        (0..SPINS).find_map(|round| {
            for _ in 0..1 << round {
                spin_loop();
            }
            self.try_enter()
        })
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

    /// The value, or `None` once `leave` says so or `patience` is over while another thread has it.
    /// The thread that leaves hands the value over, so this one is not overtaken. One thread at a
    /// time may wait in this way.
    pub(crate) fn enter_within(
        &self,
        patience: Duration,
        leave: impl Fn() -> bool,
    ) -> Option<LaneGuard<'_, T>> {
        let end = Instant::now().checked_add(patience);
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        gate.is_wanted = true;
        let entered = loop {
            self.is_woken.store(false, Ordering::Relaxed);
            let handed = gate.value.take().map(|value| LaneGuard {
                lane: self,
                value: Some(value),
            });
            if let Some(guard) = handed.or_else(|| self.try_enter()) {
                break Some(guard);
            }
            let left = end.map_or(Duration::MAX, |end| {
                end.saturating_duration_since(Instant::now())
            });
            if left.is_zero() || leave() {
                break None;
            }
            let waited = self.changed.wait_timeout(gate, left);
            gate = waited.unwrap_or_else(PoisonError::into_inner).0;
        };
        gate.is_wanted = false;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        // A wake-up that was meant for another may have come here.
        self.changed.notify_one();
        entered
    }

    #[cold]
    fn wait(&self, leave: impl Fn() -> bool) -> Option<LaneGuard<'_, T>> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let entered = loop {
            self.is_woken.store(false, Ordering::Relaxed);
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

    /// Gives the value to the waiter that must not be overtaken, or back if there is none.
    #[cold]
    fn hand_over(&self, value: Box<T>) -> Option<Box<T>> {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        if !gate.is_wanted {
            return Some(value);
        }
        gate.value = Some(value);
        self.changed.notify_all();
        None
    }

    /// Lets all waiters ask again whether to leave.
    pub(crate) fn wake_all(&self) {
        let _gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    #[cold]
    fn wake_one(&self) {
        if self.is_woken.swap(true, Ordering::AcqRel) {
            return;
        }
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
        let mut value = self.value.take();
        if self.lane.waiting.load(Ordering::Relaxed) > 0 {
            value = value.and_then(|value| self.lane.hand_over(value));
            if value.is_none() {
                return;
            }
        }
        let nothing = self.lane.place.swap(value);
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
    fn who_waits_for_a_time_leaves_after_it_and_gets_what_is_free() {
        let lane = Lane::new(());
        let inside = lane.enter(|| false).expect("nobody else is there");
        let patience = Duration::from_millis(5);
        assert!(lane.enter_within(patience, || false).is_none());
        assert!(lane.enter_within(Duration::MAX / 4, || true).is_none());
        drop(inside);
        assert!(lane.enter_within(Duration::ZERO, || false).is_some());
    }

    #[test]
    fn who_must_not_be_overtaken_is_not() {
        let lane = Lane::new(0_u64);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !done.load(Ordering::SeqCst) {
                        *lane.enter(|| false).expect("nobody leaves") += 1;
                    }
                });
            }
            for _ in 0..200 {
                let guard = lane.enter_within(Duration::from_mins(1), || false);
                *guard.expect("it is handed over") += 1;
            }
            done.store(true, Ordering::SeqCst);
        });
        assert!(lane.try_enter().is_some());
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
