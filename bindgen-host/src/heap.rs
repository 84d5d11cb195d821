//! The slots by which modules of the older ABI name objects, as in `wasm-bindgen`'s generated glue.

use crate::value::Js;

/// Where the constants of a module are: the first slots of `undefined`, `null`, `true` and `false`.
/// The number is compiled into every module (`JSIDX_OFFSET` of the crate wasm-bindgen). Where the
/// release does not tell it, the constants are in all places where they can be. A guest never names
/// a slot there for anything else, because the host gives it only slots after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Constants(&'static [u32]);

impl Constants {
    /// Those of a module that this release of wasm-bindgen made, 0.2.`release`.
    pub(crate) fn of_release(release: Option<u32>) -> Self {
        match release {
            // The change from 32 to 128 is in this range, and the one to 1,024 after the next.
            Some(..=92) => Self(&[32, 128]),
            Some(93..=107) => Self(&[128]),
            _ => Self(&[32, 128, 1024]),
        }
    }

    /// The slot of `undefined` that all modules with these constants know.
    pub(crate) fn undefined(self) -> u32 {
        self.0[self.0.len() - 1]
    }

    /// The first slot after the constants.
    fn end(self) -> u32 {
        self.undefined() + 4
    }

    /// Which of the four constants has this slot.
    fn which(self, slot: u32) -> Option<usize> {
        let of = |first: &u32| slot.checked_sub(*first).filter(|which| *which < 4);
        self.0.iter().find_map(of).map(|which| which as usize)
    }
}

/// The objects that one instance holds.
#[derive(Debug)]
pub(crate) struct Heap {
    constants: Constants,
    /// Their values. Slots have them once, in the last place where they can be; the other places
    /// stay empty, so that images tell nothing of them.
    values: [Js; 4],
    slots: Vec<Option<Js>>,
    free: Vec<u32>,
    /// The first slot that was ever given out.
    first: u32,
}

/// The first slot that earlier releases gave out, whatever made the module.
const FIRST_BEFORE: u32 = 132;

fn slot_after(slots: &[Option<Js>]) -> u32 {
    u32::try_from(slots.len()).expect("memory ends before 2^32 objects")
}

impl Heap {
    pub(crate) fn new(constants: Constants) -> Self {
        let values = [Js::Undefined, Js::Null, Js::Bool(true), Js::Bool(false)];
        let mut slots = vec![None; constants.undefined() as usize];
        slots.extend(values.iter().cloned().map(Some));
        Self {
            constants,
            values,
            slots,
            free: Vec::new(),
            first: constants.end(),
        }
    }

    /// A heap of these slots, of which these are free. It goes on where it was, also if an earlier
    /// release gave out slots in which other modules have constants.
    pub(crate) fn of(constants: Constants, slots: Vec<Option<Js>>, mut free: Vec<u32>) -> Self {
        free.retain(|slot| constants.which(*slot).is_none());
        let between = FIRST_BEFORE as usize..constants.undefined().max(FIRST_BEFORE) as usize;
        let is_older = slots
            .get(between)
            .is_none_or(|between| between.iter().any(Option::is_some));
        Self {
            slots,
            free,
            first: if is_older {
                FIRST_BEFORE
            } else {
                constants.end()
            },
            ..Self::new(constants)
        }
    }

    /// All slots, and those that are free, the next one last.
    pub(crate) fn parts(&self) -> (&[Option<Js>], &[u32]) {
        (&self.slots, &self.free)
    }

    /// Puts an object into a free slot, which it returns.
    pub(crate) fn add(&mut self, js: Js) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(js);
            return slot;
        }
        let mut slot = slot_after(&self.slots);
        while self.constants.which(slot).is_some() {
            self.slots.push(None);
            slot = slot_after(&self.slots);
        }
        self.slots.push(Some(js));
        slot
    }

    /// The object in a slot. Guests may name a slot that holds none.
    pub(crate) fn get(&self, slot: u32) -> Option<&Js> {
        let own = self.slots.get(slot as usize).and_then(Option::as_ref);
        own.or_else(|| self.constants.which(slot).map(|which| &self.values[which]))
    }

    /// Takes the object out of a slot, and frees the slot. The constants stay.
    pub(crate) fn take(&mut self, slot: u32) -> Option<Js> {
        if slot < self.first {
            return self.get(slot).cloned();
        }
        let taken = self.slots.get_mut(slot as usize)?.take();
        if taken.is_some() && self.constants.which(slot).is_none() {
            self.free.push(slot);
        }
        taken
    }

    /// How many objects the guest holds besides the constants.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.slots.len() - self.first as usize - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_nothing_is_freed_twice() {
        let mut heap = Heap::new(Constants::of_release(Some(100)));
        let first = heap.add(Js::Number(1.0));
        assert_eq!(first, 132);
        assert!(heap.take(first).is_some());
        assert!(heap.take(first).is_none());
        let again = heap.add(Js::Number(2.0));
        let other = heap.add(Js::Number(3.0));
        assert_eq!((again, other), (132, 133));
        assert_eq!(heap.held(), 2);
        for nonsense in [0, 127, 500, u32::MAX] {
            assert!(heap.take(nonsense).is_none());
        }
        assert!(heap.take(128).is_some() && heap.take(128).is_some());
    }

    #[test]
    fn constants_are_where_the_release_has_them_and_everywhere_without_one() {
        for (release, places, next) in [
            (Some(50), &[32, 128][..], 132),
            (Some(92), &[32, 128], 132),
            (Some(100), &[128], 132),
            (Some(130), &[32, 128, 1024], 1028),
            (None, &[32, 128, 1024], 1028),
        ] {
            let mut heap = Heap::new(Constants::of_release(release));
            for first in places {
                assert!(matches!(heap.get(*first), Some(Js::Undefined)), "{first}");
                assert!(matches!(heap.take(first + 3), Some(Js::Bool(false))));
                assert!(matches!(heap.take(first + 3), Some(Js::Bool(false))));
            }
            assert_eq!(heap.add(Js::Null), next);
        }
    }
}
