//! Work aside without upkeep's lock. One entry may take seconds to apply, and neither a preparation
//! nor a swap waits for it: the instance is lent to a thread, and upkeep keeps a note of what it is
//! about.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::aside::{Aside, Outcome};
use super::attendance::{Attendance, Attendant};
use crate::checkpoint::Checkpoint;
use crate::generation::lock;

/// What upkeep knows of an instance aside that is lent.
pub(super) struct Lent {
    /// The checkpoint that is verified, or continued.
    pub(super) about: Option<Arc<Checkpoint>>,
}

/// An instance aside that was worked on, and what came of it.
pub(super) struct Worked {
    pub(super) aside: Aside,
    pub(super) outcome: Outcome,
}

/// Where an instance aside is that upkeep has lent. There is at most one.
#[derive(Default)]
pub(crate) struct Loan {
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    place: Place,
    /// The threads that work on nothing else.
    attendance: Attendance,
}

#[derive(Default)]
enum Place {
    /// Nothing is lent.
    #[default]
    Home,
    /// A thread may take it.
    Ready(Aside),
    Out,
    /// Out, and nobody wants what comes of it.
    Recalled,
    /// Worked on. What came of it has not been settled.
    Back(Worked),
}

impl Desk {
    /// What waits for a thread, which takes it.
    fn take(&mut self) -> Option<Aside> {
        match std::mem::take(&mut self.place) {
            Place::Ready(aside) => {
                self.place = Place::Out;
                Some(aside)
            }
            place => {
                self.place = place;
                None
            }
        }
    }
}

impl Loan {
    /// Lends it. Returns whether a thread waits for it that works on nothing else.
    pub(super) fn lend(&self, aside: Aside) -> bool {
        let mut desk = lock(&self.desk);
        debug_assert!(matches!(desk.place, Place::Home), "one is lent at a time");
        desk.place = Place::Ready(aside);
        self.changed.notify_all();
        !desk.attendance.is_empty()
    }

    /// What waits for a thread.
    pub(super) fn take(&self) -> Option<Aside> {
        lock(&self.desk).take()
    }

    /// For the thread that works on nothing else: the next that is lent, or `None` when it must go.
    pub(super) fn next(&self, own: Attendant) -> Option<Aside> {
        let is_idle =
            |desk: &mut Desk| desk.attendance.has(own) && !matches!(desk.place, Place::Ready(_));
        let mut desk = self.wait_while(is_idle);
        if !desk.attendance.has(own) {
            return None;
        }
        desk.take()
    }

    /// Takes back what waits for a thread, if none will come.
    pub(super) fn take_back(&self) -> Option<Aside> {
        let mut desk = lock(&self.desk);
        if !desk.attendance.is_empty() {
            return None;
        }
        match std::mem::take(&mut desk.place) {
            Place::Ready(aside) => Some(aside),
            place => {
                desk.place = place;
                None
            }
        }
    }

    /// Whether nobody wants what comes of the work.
    pub(super) fn is_recalled(&self) -> bool {
        matches!(lock(&self.desk).place, Place::Recalled)
    }

    /// Brings it back to be settled. If it was recalled, it is returned, and the caller drops it and
    /// ends the loan.
    pub(super) fn bring_back(&self, worked: Worked) -> Option<Worked> {
        let mut desk = lock(&self.desk);
        if matches!(desk.place, Place::Recalled) {
            return Some(worked);
        }
        desk.place = Place::Back(worked);
        self.changed.notify_all();
        None
    }

    /// What was brought back. The loan ends.
    pub(super) fn settle(&self) -> Option<Worked> {
        let mut desk = lock(&self.desk);
        match std::mem::take(&mut desk.place) {
            Place::Back(worked) => {
                self.changed.notify_all();
                Some(worked)
            }
            place => {
                desk.place = place;
                None
            }
        }
    }

    /// Ends the loan of something that was recalled.
    fn end(&self) {
        lock(&self.desk).place = Place::Home;
        self.changed.notify_all();
    }

    /// Nobody wants it any more. Returns it if no thread has it, for the caller to drop.
    pub(super) fn recall(&self) -> Option<Aside> {
        let mut desk = lock(&self.desk);
        let (place, aside) = match std::mem::take(&mut desk.place) {
            Place::Home => (Place::Home, None),
            Place::Ready(aside) | Place::Back(Worked { aside, .. }) => (Place::Home, Some(aside)),
            Place::Out | Place::Recalled => (Place::Recalled, None),
        };
        desk.place = place;
        self.changed.notify_all();
        aside
    }

    /// Whether nothing is lent.
    pub(super) fn is_home(&self) -> bool {
        matches!(lock(&self.desk).place, Place::Home)
    }

    /// Waits until what was recalled is gone.
    pub(super) fn wait(&self) {
        drop(self.wait_while(|desk| matches!(desk.place, Place::Recalled)));
    }

    /// Rests for that long, unless the thread must go.
    pub(super) fn rest(&self, own: Attendant, time: Duration) {
        let rested = self
            .changed
            .wait_timeout_while(lock(&self.desk), time, |desk| desk.attendance.has(own));
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    /// A thread comes that works on nothing else.
    pub(super) fn attend(&self) -> Attendant {
        lock(&self.desk).attendance.attend()
    }

    /// Tells such a thread to go.
    pub(super) fn leave(&self, attendant: Attendant) {
        lock(&self.desk).attendance.leave(attendant);
        self.changed.notify_all();
    }

    /// Whether there is such a thread.
    pub(super) fn is_attended(&self) -> bool {
        !lock(&self.desk).attendance.is_empty()
    }

    fn wait_while(&self, so: impl FnMut(&mut Desk) -> bool) -> MutexGuard<'_, Desk> {
        let changed = self.changed.wait_while(lock(&self.desk), so);
        changed.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the loan of something that was recalled, even if an engine panics where that is freed.
pub(super) struct Ending<'a>(pub(super) &'a Loan);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl fmt::Debug for Loan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loan")
            .field("is_home", &self.is_home())
            .finish_non_exhaustive()
    }
}
