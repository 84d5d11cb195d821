//! The handle table of an instance: which guest object each handle names there.

use std::ops::Index;
use std::sync::Arc;

use crate::Handle;
use crate::handle::{HandleMap, HandleSet};

/// A guest object as one instance knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its address in the guest, or another number that the guest knows it by.
    pub raw: u64,
    /// Its type, if the policy names one.
    pub ty: Option<Arc<str>>,
}

/// Objects by their handles.
pub type Objects = HandleMap<Object>;

/// A handle table. A table that comes from a checkpoint shares the checkpoint's objects and keeps
/// only later changes, so a standby costs the same with ten objects or with a million.
#[derive(Debug, Default)]
pub struct ObjectTable {
    shared: Arc<Objects>,
    /// The shared objects that were freed.
    freed: HandleSet,
    /// The objects that came later.
    own: Objects,
}

impl ObjectTable {
    /// A table with these objects.
    #[must_use]
    pub fn of(shared: &Arc<Objects>) -> Self {
        Self {
            shared: Arc::clone(shared),
            ..Self::default()
        }
    }

    /// The object that a handle names, if it is there.
    #[must_use]
    #[inline]
    pub fn get(&self, handle: &Handle) -> Option<&Object> {
        match self.own.get(handle) {
            Some(object) => Some(object),
            None if self.shared.is_empty() || self.freed.contains(handle) => None,
            None => self.shared.get(handle),
        }
    }

    /// A new object.
    #[inline]
    pub fn insert(&mut self, handle: Handle, object: Object) {
        self.own.insert(handle, object);
    }

    /// An object that is gone.
    #[inline]
    pub fn remove(&mut self, handle: &Handle) {
        self.own.remove(handle);
        if !self.shared.is_empty() && self.shared.contains_key(handle) {
            self.freed.insert(*handle);
        }
    }

    /// All objects in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&Handle, &Object)> {
        let shared = self.shared.iter();
        shared
            .filter(|(handle, _)| !self.freed.contains(handle) && !self.own.contains_key(handle))
            .chain(&self.own)
    }

    /// All objects, to be shared with a checkpoint.
    pub fn share(&mut self) -> Arc<Objects> {
        if !self.own.is_empty() || !self.freed.is_empty() {
            let all = self.iter();
            self.shared = Arc::new(
                all.map(|(handle, object)| (*handle, object.clone()))
                    .collect(),
            );
            self.own.clear();
            self.freed.clear();
        }
        Arc::clone(&self.shared)
    }
}

impl Index<&Handle> for ObjectTable {
    type Output = Object;

    /// An object that is known to be there.
    #[inline]
    fn index(&self, handle: &Handle) -> &Object {
        self.get(handle).expect("the handle has been checked")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SequenceNumber;

    fn handle(number: u8) -> Handle {
        Handle::new(SequenceNumber(number.into()), 0, 0)
    }

    fn object(raw: u64) -> Object {
        Object { raw, ty: None }
    }

    proptest! {
        #[test]
        fn it_is_a_map_whatever_is_shared(steps in proptest::collection::vec((0_u8..12, 0_u8..4), 0..80)) {
            let mut table = ObjectTable::default();
            let mut model = Objects::default();
            for (number, (at, step)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        table.insert(handle(at), object(number as u64));
                        model.insert(handle(at), object(number as u64));
                    }
                    2 => {
                        table.remove(&handle(at));
                        model.remove(&handle(at));
                    }
                    _ => {
                        let shared = table.share();
                        prop_assert_eq!(&*shared, &model);
                        table = ObjectTable::of(&shared);
                    }
                }
                for at in 0..12 {
                    prop_assert_eq!(table.get(&handle(at)), model.get(&handle(at)));
                }
                let all: Objects = table.iter().map(|(handle, object)| (*handle, object.clone())).collect();
                prop_assert_eq!(&all, &model);
            }
        }
    }
}
