//! Numbers of descriptors: a new one gets the lowest that is free, as in POSIX.

use std::collections::{BTreeMap, BTreeSet};

/// The first number after a state was made from a checkpoint of another process. Which numbers the
/// guest believes to be its own is unknown then, and none of them may mean another file.
const AFTER_RESTORE: u32 = 1 << 20;

/// Which numbers are taken.
#[derive(Debug)]
pub(crate) struct Descriptors {
    free: BTreeSet<u32>,
    /// Above all that were ever taken.
    next: u32,
    /// Taken ones that cannot be used, and why.
    lost: BTreeMap<u32, String>,
    /// From here up to [`AFTER_RESTORE`] lie those of which nothing is known, if there are any.
    unknown_from: Option<u32>,
    /// Those among them that were made again.
    known: BTreeSet<u32>,
}

impl Descriptors {
    /// With the numbers below `next` taken.
    pub(crate) fn new(next: u32) -> Self {
        Self {
            free: BTreeSet::new(),
            next,
            lost: BTreeMap::new(),
            unknown_from: None,
            known: BTreeSet::new(),
        }
    }

    /// The lowest number that is free.
    pub(crate) fn take(&mut self) -> u32 {
        self.free.pop_first().unwrap_or_else(|| {
            let taken = self.next;
            self.next = self.next.wrapping_add(1);
            taken
        })
    }

    /// Takes a certain number.
    pub(crate) fn reserve(&mut self, number: u32) {
        self.lost.remove(&number);
        if number < self.next {
            self.free.remove(&number);
        } else {
            // A number from a journal, which may be any: a gap that is too wide is left unused.
            if number - self.next < AFTER_RESTORE {
                self.free.extend(self.next..number);
            }
            self.next = number.wrapping_add(1);
        }
        if self.unknown_from.is_some() {
            self.known.insert(number);
        }
    }

    /// Gives a number back. Whether it was a lost one.
    pub(crate) fn release(&mut self, number: u32) -> bool {
        self.free.insert(number);
        self.lost.remove(&number).is_some()
    }

    /// Notes that a number is taken by a file that cannot be opened again.
    pub(crate) fn lose(&mut self, number: u32, reason: String) {
        self.reserve(number);
        self.lost.insert(number, reason);
    }

    /// Why a number cannot be used, if it is of an earlier process.
    pub(crate) fn loss(&self, number: u32) -> Option<String> {
        if let Some(reason) = self.lost.get(&number) {
            return Some(reason.clone());
        }
        let from = self.unknown_from?;
        let is_unknown = (from..AFTER_RESTORE).contains(&number)
            && !self.free.contains(&number)
            && !self.known.contains(&number);
        is_unknown.then(|| {
            "the state was made from a checkpoint, and what opened it is not replayed; keep the full \
             history"
                .to_owned()
        })
    }

    /// Notes that the guest may believe any number to be its own.
    pub(crate) fn forget(&mut self) {
        if self.unknown_from.is_none() {
            self.unknown_from = Some(self.next);
            self.next = self.next.max(AFTER_RESTORE);
            self.free.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_descriptor_gets_the_lowest_free_number() {
        let mut descriptors = Descriptors::new(4);
        assert_eq!([descriptors.take(), descriptors.take()], [4, 5]);
        assert!(!descriptors.release(4));
        assert_eq!([descriptors.take(), descriptors.take()], [4, 6]);
    }

    #[test]
    fn a_number_of_an_earlier_process_is_taken_and_those_below_it_are_free() {
        let mut descriptors = Descriptors::new(4);
        descriptors.reserve(6);
        assert_eq!(
            [descriptors.take(), descriptors.take(), descriptors.take()],
            [4, 5, 7]
        );
    }

    #[test]
    fn a_lost_descriptor_says_why_until_it_is_closed() {
        let mut descriptors = Descriptors::new(4);
        descriptors.lose(4, "it was deleted".to_owned());
        assert_eq!(descriptors.loss(4).as_deref(), Some("it was deleted"));
        assert_eq!(descriptors.take(), 5);
        assert!(descriptors.release(4));
        assert_eq!(descriptors.loss(4), None);
    }

    #[test]
    fn after_a_checkpoint_of_another_process_old_numbers_mean_no_new_file() {
        let mut descriptors = Descriptors::new(4);
        descriptors.forget();
        assert!(descriptors.loss(4).is_some());
        assert!(descriptors.loss(3).is_none());
        let new = descriptors.take();
        assert_eq!(new, AFTER_RESTORE);
        assert_eq!(descriptors.loss(new), None);
        descriptors.reserve(7);
        assert_eq!(descriptors.loss(7), None, "it was made again by a replay");
        descriptors.reserve(AFTER_RESTORE + 2);
        let next = [descriptors.take(), descriptors.take()];
        assert_eq!(next, [AFTER_RESTORE + 1, AFTER_RESTORE + 3]);
    }
}
