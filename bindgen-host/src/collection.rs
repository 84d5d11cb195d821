//! `Map` and `Set`: values by values, in the order in which they came.

use std::sync::Arc;

use indexmap::IndexMap;

use crate::value::{Js, drop_in_turn};

/// A `Map`, or a `Set`, whose values are their keys.
#[derive(Debug, Default)]
pub(crate) struct Collection {
    is_set: bool,
    entries: IndexMap<Key, (Js, Js)>,
}

/// What makes two keys the same.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Key {
    Undefined,
    Null,
    Bool(bool),
    /// The bits of a number, where there is one zero and one NaN.
    Number(u64),
    BigInt(i128),
    Text(Arc<str>),
    Symbol(Arc<str>),
    /// The address of an object, which the entry keeps alive.
    Object(usize),
}

impl Key {
    fn of(js: &Js) -> Self {
        match js {
            Js::Undefined => Key::Undefined,
            Js::Null => Key::Null,
            Js::Bool(value) => Key::Bool(*value),
            Js::Number(value) if value.is_nan() => Key::Number(f64::NAN.to_bits()),
            // Both zeros are one key.
            Js::Number(value) => Key::Number((value + 0.0).to_bits()),
            Js::BigInt(value) => Key::BigInt(*value),
            Js::Text(text) => Key::Text(Arc::clone(text)),
            Js::Symbol(text) => Key::Symbol(Arc::clone(text)),
            Js::Object(object) => Key::Object(Arc::as_ptr(object) as usize),
        }
    }
}

/// As for bags: a guest decides how deep collections are nested.
impl Drop for Collection {
    fn drop(&mut self) {
        drop_in_turn(self.take_contents());
    }
}

impl Collection {
    pub(crate) fn map(pairs: impl IntoIterator<Item = (Js, Js)>) -> Self {
        let mut map = Self::default();
        for (key, value) in pairs {
            map.set(key, value);
        }
        map
    }

    pub(crate) fn set_of(values: impl IntoIterator<Item = Js>) -> Self {
        let mut set = Self {
            is_set: true,
            entries: IndexMap::new(),
        };
        for value in values {
            set.set(value.clone(), value);
        }
        set
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, key: &Js) -> Option<&Js> {
        self.entries.get(&Key::of(key)).map(|(_, value)| value)
    }

    pub(crate) fn set(&mut self, key: Js, value: Js) {
        let of = Key::of(&key);
        self.entries.entry(of).or_insert((key, Js::Undefined)).1 = value;
    }

    pub(crate) fn remove(&mut self, key: &Js) -> bool {
        self.entries.shift_remove(&Key::of(key)).is_some()
    }

    pub(crate) fn clear(&mut self) {
        drop_in_turn(self.take_contents());
    }

    /// The keys with their values, in their order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = &(Js, Js)> {
        self.entries.values()
    }

    pub(crate) fn take_contents(&mut self) -> Vec<Js> {
        let entries = std::mem::take(&mut self.entries);
        entries
            .into_values()
            .flat_map(|(key, value)| [key, value])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_same_as_in_javascript() {
        let object = Js::array(Vec::new());
        let mut map = Collection::map([
            (Js::Number(0.0), Js::text("zero")),
            (Js::Number(f64::NAN), Js::text("nan")),
            (object.clone(), Js::text("object")),
            (Js::text("1"), Js::text("text")),
        ]);
        let shown = |map: &Collection, key: &Js| map.get(key).map(ToString::to_string);
        assert_eq!(shown(&map, &Js::Number(-0.0)).as_deref(), Some("zero"));
        assert_eq!(shown(&map, &Js::Number(-f64::NAN)).as_deref(), Some("nan"));
        assert_eq!(shown(&map, &object).as_deref(), Some("object"));
        assert_eq!(shown(&map, &Js::array(Vec::new())), None);
        assert_eq!(shown(&map, &Js::Number(1.0)), None);
        // A key that comes again stays where it is; one that was removed goes to the end.
        map.set(Js::Number(0.0), Js::text("again"));
        assert!(map.remove(&object) && !map.remove(&object));
        map.set(object, Js::text("last"));
        let order: Vec<_> = map.pairs().map(|(_, value)| value.to_string()).collect();
        assert_eq!(order, ["again", "nan", "text", "last"]);
    }
}
