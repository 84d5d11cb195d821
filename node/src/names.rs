//! Objects of the guest by the names that JavaScript has in place of their addresses.

use std::collections::HashMap;

use proxy_core::{Handle, Pointer};

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// An object that outlasts swaps.
    Handle(Handle),
    /// An object of this turn.
    Pointer(Pointer),
}

/// The names that are in use. A name is a number other than 0, and is never given twice: an object
/// that JavaScript lost cannot be taken for a later one when its finalizer runs.
#[derive(Debug, Default)]
pub(crate) struct Names {
    objects: HashMap<u32, Named>,
    last: u32,
    /// The names of this turn's pointers.
    passing: Vec<u32>,
}

/// All names have been given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

impl Names {
    pub(crate) fn give(&mut self, object: Named) -> Result<u32, Exhausted> {
        let name = self.last.checked_add(1).ok_or(Exhausted)?;
        self.last = name;
        self.objects.insert(name, object);
        if matches!(object, Named::Pointer(_)) {
            self.passing.push(name);
        }
        Ok(name)
    }

    pub(crate) fn get(&self, name: u32) -> Option<Named> {
        self.objects.get(&name).copied()
    }

    pub(crate) fn forget(&mut self, name: u32) {
        self.objects.remove(&name);
    }

    /// Forgets the pointers of a turn that has ended.
    pub(crate) fn end_turn(&mut self) {
        for name in self.passing.drain(..) {
            self.objects.remove(&name);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }
}

#[cfg(test)]
mod tests {
    use proxy_core::SequenceNumber;

    use super::*;

    fn handle(number: u64) -> Named {
        Named::Handle(Handle::new(SequenceNumber(number), 0, 1))
    }

    #[test]
    fn a_name_is_never_given_twice() {
        let mut names = Names::default();
        let first = names.give(handle(1)).unwrap();
        names.forget(first);
        let second = names.give(handle(2)).unwrap();
        assert_ne!(first, second);
        assert_eq!(
            (names.get(first), names.get(second)),
            (None, Some(handle(2)))
        );
        assert_eq!(names.len(), 1);
    }

    #[test]
    fn the_last_name_is_followed_by_an_error() {
        let mut names = Names {
            last: u32::MAX - 1,
            ..Names::default()
        };
        assert_eq!(names.give(handle(1)), Ok(u32::MAX));
        assert_eq!(names.give(handle(2)), Err(Exhausted));
        assert_eq!(names.get(u32::MAX), Some(handle(1)));
    }
}
