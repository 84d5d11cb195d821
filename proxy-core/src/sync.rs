//! What threads share and wait for, by one name.
//!
//! The parts of which `models` tries the interleavings take it from here. `models` compiles them
//! again with another module of this name, whose scheduler decides which thread goes on.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, TryLockError, atomic};
pub(crate) use std::thread;
pub(crate) use std::time::Instant;

pub(crate) use crossbeam_utils::atomic::AtomicCell;

/// How often a thread looks again before it sleeps, each time after twice as many pauses: some
/// microseconds in all.
pub(crate) const SPINS: u32 = 7;
