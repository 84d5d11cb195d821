//! The generations of one proxy that exist, the memory that they have, and the calls that they have
//! served.
//!
//! Each generation counts its own calls, behind its lane. Counting one is a load and a store: a
//! counter that all callers share would cost an exchange between processors for each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::locking::lock;

#[derive(Debug, Default)]
pub(crate) struct LiveGenerations {
    alive: AtomicUsize,
    /// The memories of all of them, in bytes.
    memory_bytes: AtomicU64,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    alive: Vec<Arc<AtomicU64>>,
    /// The calls of generations that are gone.
    past: u64,
}

impl LiveGenerations {
    /// How many generations exist.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
    }

    /// The memories of all of them together, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// How many calls generations have served, past ones included.
    pub(crate) fn calls(&self) -> u64 {
        let calls = lock(&self.calls);
        let alive = calls
            .alive
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        calls.past + alive.sum::<u64>()
    }
}

/// Counts a generation for as long as it exists, and its calls.
pub(crate) struct Member {
    live: Arc<LiveGenerations>,
    calls: Arc<AtomicU64>,
    /// What of the memory is its own.
    memory_bytes: AtomicU64,
}

impl Member {
    pub(crate) fn new(live: &Arc<LiveGenerations>, memory_bytes: u64) -> Self {
        let member = Self {
            live: Arc::clone(live),
            calls: Arc::default(),
            memory_bytes: AtomicU64::new(0),
        };
        member.note_memory(memory_bytes);
        live.alive.fetch_add(1, Ordering::Relaxed);
        lock(&live.calls).alive.push(Arc::clone(&member.calls));
        member
    }

    /// Notes the size of its memories.
    pub(crate) fn note_memory(&self, bytes: u64) {
        let before = self.memory_bytes.swap(bytes, Ordering::Relaxed);
        let all = &self.live.memory_bytes;
        all.fetch_add(bytes, Ordering::Relaxed);
        all.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many calls it has served.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call. Only the thread in the generation's lane may do so, so no other thread writes
    /// meanwhile.
    #[inline]
    pub(crate) fn count_call(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls + 1, Ordering::Relaxed);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.note_memory(0);
        let mut calls = lock(&self.live.calls);
        calls.alive.retain(|other| !Arc::ptr_eq(other, &self.calls));
        calls.past += self.calls.load(Ordering::Relaxed);
        self.live.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_outlive_the_generation_that_served_them() {
        let live = Arc::new(LiveGenerations::default());
        let (first, second) = (Member::new(&live, 10), Member::new(&live, 0));
        for _ in 0..3 {
            first.count_call();
        }
        second.count_call();
        assert_eq!((live.alive(), live.calls()), (2, 4));
        second.note_memory(7);
        first.note_memory(5);
        assert_eq!(live.memory_bytes(), 12);
        drop(first);
        assert_eq!(live.memory_bytes(), 7);
        second.count_call();
        assert_eq!((live.alive(), live.calls()), (1, 5));
        drop(second);
        assert_eq!((live.alive(), live.calls()), (0, 5));
    }
}
