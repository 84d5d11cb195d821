//! The slots by which modules of the older ABI name objects, as in `wasm-bindgen`'s generated glue.

use crate::value::Js;

/// The first slot of the host. Those below are a stack of borrowed objects, which this host never
/// fills. The number is compiled into every module (`JSIDX_OFFSET` of the crate wasm-bindgen).
const RESERVED: u32 = 128;

/// The slot of `undefined`; `null`, `true` and `false` follow.
pub(crate) const UNDEFINED: u32 = RESERVED;

/// The objects that one instance holds.
#[derive(Debug)]
pub(crate) struct Heap {
    slots: Vec<Option<Js>>,
    free: Vec<u32>,
}

impl Heap {
    pub(crate) fn new() -> Self {
        let constants = [Js::Undefined, Js::Null, Js::Bool(true), Js::Bool(false)];
        let mut slots = vec![None; RESERVED as usize];
        slots.extend(constants.into_iter().map(Some));
        Self {
            slots,
            free: Vec::new(),
        }
    }

    /// A heap of these slots, of which these are free.
    pub(crate) fn of(slots: Vec<Option<Js>>, free: Vec<u32>) -> Self {
        Self { slots, free }
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
        self.slots.push(Some(js));
        u32::try_from(self.slots.len() - 1).expect("memory ends before 2^32 objects")
    }

    /// The object in a slot. Guests may name a slot that holds none.
    pub(crate) fn get(&self, slot: u32) -> Option<&Js> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Takes the object out of a slot, and frees the slot. The constants stay.
    pub(crate) fn take(&mut self, slot: u32) -> Option<Js> {
        if slot < RESERVED + 4 {
            return self.get(slot).cloned();
        }
        let taken = self.slots.get_mut(slot as usize)?.take();
        if taken.is_some() {
            self.free.push(slot);
        }
        taken
    }

    /// How many objects the guest holds besides the constants.
    #[cfg(test)]
    fn held(&self) -> usize {
        self.slots.len() - RESERVED as usize - 4 - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_and_nothing_is_freed_twice() {
        let mut heap = Heap::new();
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
        assert!(heap.take(UNDEFINED).is_some() && heap.take(UNDEFINED).is_some());
    }
}
