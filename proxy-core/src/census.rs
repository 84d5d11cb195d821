//! The generations of one proxy that exist, and the calls that they have served.
//!
//! Each generation counts its own calls, behind its lane, so that counting one is a load and a store: a
//! counter that all callers share would cost an exchange between processors for each.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::generation::lock;

#[derive(Debug, Default)]
pub(crate) struct Census {
    alive: AtomicUsize,
    calls: Mutex<Calls>,
}

#[derive(Debug, Default)]
struct Calls {
    alive: Vec<Arc<AtomicU64>>,
    /// Those of generations that are no more.
    past: u64,
}

impl Census {
    /// How many generations exist.
    pub(crate) fn alive(&self) -> usize {
        self.alive.load(Ordering::Relaxed)
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
    census: Arc<Census>,
    calls: Arc<AtomicU64>,
}

impl Member {
    pub(crate) fn new(census: &Arc<Census>) -> Self {
        let member = Self {
            census: Arc::clone(census),
            calls: Arc::default(),
        };
        census.alive.fetch_add(1, Ordering::Relaxed);
        lock(&census.calls).alive.push(Arc::clone(&member.calls));
        member
    }

    /// Counts a call. Only who is in the generation's lane does so: nobody else may write meanwhile.
    #[inline]
    pub(crate) fn count_call(&self) {
        let calls = self.calls.load(Ordering::Relaxed);
        self.calls.store(calls + 1, Ordering::Relaxed);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut calls = lock(&self.census.calls);
        calls.alive.retain(|other| !Arc::ptr_eq(other, &self.calls));
        calls.past += self.calls.load(Ordering::Relaxed);
        self.census.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_outlive_the_generation_that_served_them() {
        let census = Arc::new(Census::default());
        let (first, second) = (Member::new(&census), Member::new(&census));
        for _ in 0..3 {
            first.count_call();
        }
        second.count_call();
        assert_eq!((census.alive(), census.calls()), (2, 4));
        drop(first);
        second.count_call();
        assert_eq!((census.alive(), census.calls()), (1, 5));
        drop(second);
        assert_eq!((census.alive(), census.calls()), (0, 5));
    }
}
