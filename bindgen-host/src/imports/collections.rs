//! Iteration, `Map`, `Set` and `Date`.

use engine_api::FuncType;

use super::buffers::whole_property;
use super::objects::{is_array, with_bag};
use super::properties::{ITERATOR, locked, own_keys};
use crate::call::{Call, ImportOutcome, Out, Serve, Throw};
use crate::collection::Collection;
use crate::known::Known;
use crate::value::{Bag, Js, Object};

pub(super) fn find(base: &str, ty: &FuncType, known: Option<Known>) -> Option<Serve> {
    let class = known.map(|known| known.class);
    Some(match (base, ty.params().len()) {
        ("iterator", 0) => |_| Ok(Out::Js(Js::Symbol(ITERATOR.into()))),
        ("asyncIterator", 0) => |_| Ok(Out::Js(Js::Symbol("Symbol.asyncIterator".into()))),
        ("for", 2) => |call| Ok(Out::Js(Js::Symbol(call.text(0)?.into()))),
        ("next", 1) if class == Some("MaybeIterator") => |call| {
            let next = call.property(&call.object(0)?, &Js::text("next"))?;
            Ok(Out::Js(next))
        },
        ("next", 1) if class != Some("AsyncIterator") => |call| {
            let iterator = call.object(0)?;
            Ok(Out::Js(call.next(&iterator)?))
        },
        ("keys" | "values" | "entries", 1) => match (base, class) {
            ("keys", Some("Object")) => |call| listed(call, Part::Key),
            ("values", Some("Object")) => |call| listed(call, Part::Value),
            (_, Some("Object")) => |call| listed(call, Part::Both),
            ("keys", _) => |call| iterated(call, Part::Key),
            ("values", _) => |call| iterated(call, Part::Value),
            _ => |call| iterated(call, Part::Both),
        },
        ("from", 1) => |call| {
            let source = call.object(0)?;
            Ok(Out::Js(Js::array(call.iterate(&source)?)))
        },
        ("size", 1) => |call| whole_property(call, "size"),
        ("add", 2) => |call| {
            let (set, value) = (call.object(0)?, call.object(1)?);
            let added = collection(&set, |own| own.set(value.clone(), value));
            added.ok_or_else(|| Throw::type_error("add: no set"))?;
            Ok(Out::Js(set))
        },
        ("clear", 1) => |call| {
            let cleared = collection(&call.object(0)?, Collection::clear);
            cleared.ok_or_else(|| Throw::type_error("clear: neither a map nor a set"))?;
            Ok(Out::Nothing)
        },
        ("new", 0) if class == Some("Map") => {
            |_| Ok(Out::Js(Js::collection(Collection::default())))
        }
        ("new", 0) if class == Some("Set") => {
            |_| Ok(Out::Js(Js::collection(Collection::set_of([]))))
        }
        ("new", 1) if class == Some("Set") => |call| {
            let source = call.object(0)?;
            let values = match source {
                Js::Undefined | Js::Null => Vec::new(),
                source => call.iterate(&source)?,
            };
            Ok(Out::Js(Js::collection(Collection::set_of(values))))
        },
        ("new", 1) if class == Some("Map") => |call| {
            let source = call.object(0)?;
            let mut map = Collection::default();
            for pair in call.iterate(&source)? {
                let (key, value) = (call.element(&pair, 0)?, call.element(&pair, 1)?);
                map.set(key, value);
            }
            Ok(Out::Js(Js::collection(map)))
        },
        ("new", 1) if class == Some("Date") => |call| {
            let ms = match call.object(0)? {
                Js::Object(object) if matches!(*object, Object::Date(_)) => {
                    return Ok(Out::Js(Js::Object(object)));
                }
                Js::Text(_) => {
                    let what = "a date from a text, whose meaning depends on the machine";
                    return Err(Throw::type_error(format!("Date: {what}")));
                }
                other => other.to_number().trunc(),
            };
            Ok(Out::Js(Js::object(Object::Date(ms.to_bits()))))
        },
        ("new0" | "new_0", 0) => |call| {
            let (system, mut facade) = call.outside()?;
            let ms = system.clock(&mut facade)?.trunc();
            Ok(Out::Js(Js::object(Object::Date(ms.to_bits()))))
        },
        ("getTime" | "valueOf", 1) => |call| {
            let ms = match call.object(0)?.as_object() {
                Some(Object::Date(bits)) => f64::from_bits(*bits),
                _ => call.object(0)?.to_number(),
            };
            Ok(Out::F64(ms))
        },
        ("getTimezoneOffset", 1) => |_| Ok(Out::F64(0.0)),
        _ => return None,
    })
}

/// The part of an entry that an iterator gives.
#[derive(Clone, Copy)]
enum Part {
    Key,
    Value,
    Both,
}

impl Part {
    fn of(self, key: Js, value: Js) -> Js {
        match self {
            Part::Key => key,
            Part::Value => value,
            Part::Both => Js::array(vec![key, value]),
        }
    }
}

/// `Object.keys` and its like: an array.
fn listed(call: &mut Call<'_>, part: Part) -> ImportOutcome {
    let object = call.object(0)?;
    let mut list = Vec::new();
    for key in own_keys(&object) {
        let key = Js::text(key);
        let value = call.property(&object, &key)?;
        list.push(part.of(key, value));
    }
    Ok(Out::Js(Js::array(list)))
}

/// `array.keys()` and its like: an iterator. For an object that has none of its own it is
/// `Object.keys`, because the import's name was not known.
fn iterated(call: &mut Call<'_>, part: Part) -> ImportOutcome {
    let object = call.object(0)?;
    let pairs = collection(&object, |own| own.pairs().cloned().collect::<Vec<_>>());
    if let Some(pairs) = pairs {
        let values = pairs.into_iter().map(|(key, value)| part.of(key, value));
        return Ok(Out::Js(Js::iterator(values.collect())));
    }
    if !is_array(&object) && !matches!(object.as_object(), Some(Object::Bytes(_))) {
        return listed(call, part);
    }
    let values = call.iterate(&object)?.into_iter();
    let values = (0_u32..).zip(values);
    let values = values.map(|(index, value)| part.of(Js::Number(index.into()), value));
    Ok(Out::Js(Js::iterator(values.collect())))
}

/// Looks into a map or a set. `None` for any other value.
fn collection<T>(js: &Js, what: impl FnOnce(&mut Collection) -> T) -> Option<T> {
    match js.as_object() {
        Some(Object::Collection(own)) => Some(what(&mut locked(own))),
        _ => None,
    }
}

/// Whether it is a set, and the keys with their values, of a map or a set. `None` for any other value.
pub(super) fn pairs(js: &Js) -> Option<(bool, Vec<(Js, Js)>)> {
    collection(js, |own| (own.is_set(), own.pairs().cloned().collect()))
}

pub(super) fn get(js: &Js, key: &Js) -> Option<Js> {
    collection(js, |own| own.get(key).cloned().unwrap_or_default())
}

pub(super) fn has(js: &Js, key: &Js) -> Option<bool> {
    collection(js, |own| own.get(key).is_some())
}

pub(super) fn delete(js: &Js, key: &Js) -> Option<bool> {
    collection(js, |own| own.remove(key))
}

pub(super) fn size(js: &Js) -> Js {
    let size = collection(js, |own| own.len()).unwrap_or_default();
    Js::Number(f64::from(u32::try_from(size).unwrap_or(u32::MAX)))
}

/// `map.set(key, value)`, which gives the map.
pub(super) fn set(js: &Js, key: Js, value: Js) -> Result<Js, Throw> {
    let stored = collection(js, |own| own.set(key, value));
    stored.ok_or_else(|| Throw::type_error("set: no map"))?;
    Ok(js.clone())
}

pub(super) fn is_iterable(js: &Js) -> bool {
    match (js, js.as_object()) {
        (Js::Text(_), _)
        | (_, Some(Object::Bytes(_) | Object::Collection(_) | Object::Iterator(_))) => true,
        _ => with_bag(js, |bag| {
            bag.is_array() && bag.kind != crate::value::BagKind::Unknown
        })
        .unwrap_or(false),
    }
}

impl Call<'_> {
    /// The values that `for (x of js)` would see, or those of a thing with a length.
    pub(super) fn iterate(&mut self, js: &Js) -> Result<Vec<Js>, Throw> {
        match (js, js.as_object()) {
            (Js::Text(text), _) => Ok(text.chars().map(|c| Js::text(c.to_string())).collect()),
            (_, Some(Object::Collection(own))) => {
                let own = locked(own);
                let is_set = own.is_set();
                let part = if is_set { Part::Value } else { Part::Both };
                let pairs = own.pairs().cloned();
                Ok(pairs.map(|(key, value)| part.of(key, value)).collect())
            }
            (_, Some(Object::Iterator(left))) => {
                let mut left = std::mem::take(&mut *locked(left));
                left.reverse();
                Ok(left)
            }
            (_, Some(Object::Bytes(bytes))) => {
                let element = bytes.element;
                let read = self.read_view(&bytes.clone())?;
                let values = read.chunks_exact(element.bytes() as usize);
                let values = values.map(|one| element.read(one).unwrap_or_default());
                Ok(values.map(crate::convert::realm_value).collect())
            }
            _ => with_bag(js, |bag| bag.elements.clone())
                .ok_or_else(|| Throw::type_error(format!("{js} is not iterable"))),
        }
    }

    /// `iterator.next()`.
    pub(super) fn next(&mut self, iterator: &Js) -> Result<Js, Throw> {
        let Some(Object::Iterator(left)) = iterator.as_object() else {
            let next = self.property(iterator, &Js::text("next"))?;
            return self.apply(&next, iterator, &[]);
        };
        let value = locked(left).pop();
        let done = value.is_none();
        Ok(Js::bag(Bag::record([
            ("value".to_owned(), value.unwrap_or_default()),
            ("done".to_owned(), Js::Bool(done)),
        ])))
    }
}
