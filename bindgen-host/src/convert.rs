//! Values of a realm as trees by themselves, and back.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::JsValue;

use crate::collection::Collection;
use crate::imports::own_keys;
use crate::value::{Bag, Buffer, Bytes, ERROR_NAMES, Error, Js, Object};

/// How deep a value that leaves the realm may be nested.
const DEPTH_MAX: u32 = 100;

/// How many values, or bytes of them, may leave the realm together. An object that is shared counts
/// each time, so a guest could ask for much more than it has.
const SIZE_MAX: usize = 256 << 20;

/// Makes a value of the realm of a tree.
pub(crate) fn realm_value(value: JsValue) -> Js {
    match value {
        JsValue::Null => Js::Null,
        JsValue::Bool(value) => Js::Bool(value),
        JsValue::Number(number) => Js::Number(number),
        JsValue::BigInt(number) => Js::BigInt(number),
        JsValue::Text(text) => Js::text(text),
        JsValue::Date(ms) => Js::object(Object::Date(ms.to_bits())),
        JsValue::Typed(element, bytes) => Js::host_array(element, bytes),
        JsValue::Buffer(bytes) => {
            let bytes = Arc::new(Mutex::new(bytes));
            Js::object(Object::Buffer(Buffer::Host(bytes)))
        }
        JsValue::Error { name, message } => {
            let known = ERROR_NAMES.into_iter().find(|known| *known == name);
            Js::object(Object::Error(Error {
                name: known.unwrap_or("Error"),
                message,
            }))
        }
        JsValue::Array(values) => Js::array(values.into_iter().map(realm_value).collect()),
        JsValue::Object(fields) => {
            let fields = fields.into_iter();
            Js::bag(Bag::record(
                fields.map(|(key, value)| (key, realm_value(value))),
            ))
        }
        JsValue::Map(pairs) => {
            let pairs = pairs.into_iter();
            let pairs = pairs.map(|(key, value)| (realm_value(key), realm_value(value)));
            Js::collection(Collection::map(pairs))
        }
        JsValue::Set(values) => {
            Js::collection(Collection::set_of(values.into_iter().map(realm_value)))
        }
        JsValue::Callback(name) => Js::object(Object::Callback(name.into())),
        _ => Js::Undefined,
    }
}

/// A number or a big integer by itself; anything else is undefined.
pub(crate) fn plain(js: &Js) -> JsValue {
    match js {
        Js::Number(number) => JsValue::Number(*number),
        Js::BigInt(number) => JsValue::BigInt(*number),
        Js::Bool(value) => JsValue::Number(f64::from(u8::from(*value))),
        _ => JsValue::Undefined,
    }
}

/// Reads the bytes of a view. Views of the guest's memory need the guest.
pub(crate) type ReadView<'a> = &'a dyn Fn(&Bytes) -> Option<Vec<u8>>;

/// What a guest throws, as a tree. `None` if it means nothing outside of the realm.
pub(crate) fn thrown(js: &Js) -> Option<JsValue> {
    tree(js, &host_view).ok()
}

/// A value of the realm as a tree.
///
/// # Errors
///
/// Why there is none, in words.
pub(crate) fn tree(js: &Js, read: ReadView<'_>) -> Result<JsValue, String> {
    tree_within(js, read, SIZE_MAX)
}

fn tree_within(js: &Js, read: ReadView<'_>, size: usize) -> Result<JsValue, String> {
    Walk { read, left: size }.tree(js, 0)
}

struct Walk<'a> {
    read: ReadView<'a>,
    left: usize,
}

impl Walk<'_> {
    fn count(&mut self, size: usize) -> Result<(), String> {
        let left = self.left.checked_sub(size);
        self.left =
            left.ok_or_else(|| format!("a JavaScript value of more than {} MiB", SIZE_MAX >> 20))?;
        Ok(())
    }

    fn tree(&mut self, js: &Js, depth: u32) -> Result<JsValue, String> {
        if depth > DEPTH_MAX {
            return Err(format!(
                "a JavaScript value that is nested more than {DEPTH_MAX} deep, or contains itself"
            ));
        }
        self.count(size_of::<JsValue>())?;
        Ok(match js {
            Js::Undefined => JsValue::Undefined,
            Js::Null => JsValue::Null,
            Js::Bool(value) => JsValue::Bool(*value),
            Js::Number(number) => JsValue::Number(*number),
            Js::BigInt(number) => JsValue::BigInt(*number),
            Js::Text(text) => {
                self.count(text.len())?;
                JsValue::Text((**text).to_owned())
            }
            Js::Symbol(text) => JsValue::Opaque(format!("Symbol({text})")),
            Js::Object(object) => return self.object(js, object, depth + 1),
        })
    }

    fn object(&mut self, js: &Js, object: &Object, depth: u32) -> Result<JsValue, String> {
        Ok(match object {
            Object::Bytes(bytes) => {
                self.count(usize::try_from(bytes.len).unwrap_or(usize::MAX))?;
                let outside = || "a typed array outside of its buffer".to_owned();
                JsValue::Typed(bytes.element, (self.read)(bytes).ok_or_else(outside)?)
            }
            Object::Buffer(Buffer::Host(bytes)) => {
                let bytes = bytes.lock().unwrap_or_else(PoisonError::into_inner).clone();
                self.count(bytes.len())?;
                JsValue::Buffer(bytes)
            }
            Object::Bag(bag) => {
                let (is_array, elements) = {
                    let bag = bag.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_empty = bag.elements.is_empty() && bag.fields.is_empty();
                    let is_unknown = bag.kind == crate::value::BagKind::Unknown;
                    (
                        bag.is_array() && !(is_unknown && is_empty),
                        bag.elements.clone(),
                    )
                };
                if is_array {
                    return self.trees(&elements, depth).map(JsValue::Array);
                }
                JsValue::Object(self.fields(js, bag, depth)?)
            }
            Object::Collection(own) => {
                let own = own.lock().unwrap_or_else(PoisonError::into_inner);
                let (is_set, pairs) = (own.is_set(), own.pairs().cloned().collect::<Vec<_>>());
                drop(own);
                if is_set {
                    let values: Vec<Js> = pairs.into_iter().map(|(key, _)| key).collect();
                    return self.trees(&values, depth).map(JsValue::Set);
                }
                let pairs = pairs.iter();
                let pairs = pairs
                    .map(|(key, value)| Ok((self.tree(key, depth)?, self.tree(value, depth)?)));
                JsValue::Map(pairs.collect::<Result<_, String>>()?)
            }
            Object::Date(bits) => JsValue::Date(f64::from_bits(*bits)),
            Object::Error(error) => JsValue::Error {
                name: error.name.to_owned(),
                message: error.message.clone(),
            },
            Object::Callback(name) => JsValue::Callback((**name).to_owned()),
            Object::Instance(class, _) => JsValue::Opaque(format!("an object of class {class}")),
            _ => JsValue::Opaque(js.to_string()),
        })
    }

    fn trees(&mut self, values: &[Js], depth: u32) -> Result<Vec<JsValue>, String> {
        values.iter().map(|value| self.tree(value, depth)).collect()
    }

    fn fields(
        &mut self,
        js: &Js,
        bag: &Mutex<Bag>,
        depth: u32,
    ) -> Result<Vec<(String, JsValue)>, String> {
        let mut fields = Vec::new();
        for key in own_keys(js) {
            self.count(key.len())?;
            let value = {
                let bag = bag.lock().unwrap_or_else(PoisonError::into_inner);
                let own = bag.fields.get(&key).cloned();
                own.or_else(|| bag.elements.get(key.parse::<usize>().ok()?).cloned())
            };
            fields.push((key, self.tree(&value.unwrap_or_default(), depth)?));
        }
        Ok(fields)
    }
}

/// The value as `JSON.stringify` writes it; `None` where it gives undefined.
pub(crate) fn json(value: &JsValue) -> Result<Option<String>, String> {
    let list = |values: &mut dyn Iterator<Item = &JsValue>| -> Result<String, String> {
        let mut parts = Vec::new();
        for value in values {
            parts.push(json(value)?.unwrap_or_else(|| "null".to_owned()));
        }
        Ok(format!("[{}]", parts.join(",")))
    };
    let object = |fields: &mut dyn Iterator<Item = (String, &JsValue)>| {
        let mut parts = Vec::new();
        for (key, value) in fields {
            if let Some(value) = json(value)? {
                parts.push(format!("{}:{value}", quoted(&key)));
            }
        }
        Ok::<_, String>(format!("{{{}}}", parts.join(",")))
    };
    Ok(Some(match value {
        JsValue::Undefined | JsValue::Callback(_) => return Ok(None),
        JsValue::Bool(value) => value.to_string(),
        JsValue::Number(number) if number.is_finite() => crate::value::number_text(*number),
        JsValue::Null | JsValue::Number(_) => "null".to_owned(),
        JsValue::BigInt(_) => return Err("Do not know how to serialize a BigInt".to_owned()),
        JsValue::Text(text) => quoted(text),
        JsValue::Date(ms) => date_text(*ms).map_or_else(|| "null".to_owned(), |text| quoted(&text)),
        JsValue::Array(values) => list(&mut values.iter())?,
        JsValue::Object(fields) => {
            object(&mut fields.iter().map(|(key, value)| (key.clone(), value)))?
        }
        JsValue::Typed(element, bytes) => {
            let values = bytes.chunks_exact(element.bytes() as usize);
            let values: Vec<_> = values.filter_map(|one| element.read(one)).collect();
            let fields = values.iter().enumerate();
            object(&mut fields.map(|(index, value)| (index.to_string(), value)))?
        }
        _ => "{}".to_owned(),
    }))
}

/// A date as `toISOString` writes it. `None` for one that is no time.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a whole number in these bounds"
)]
fn date_text(ms: f64) -> Option<String> {
    const DAY: i64 = 86_400_000;
    if ms.is_nan() || ms.abs() > 8.64e15 {
        return None;
    }
    let ms = ms as i64;
    let (day, rest) = (ms.div_euclid(DAY), ms.rem_euclid(DAY));
    // Howard Hinnant's `civil_from_days`: eras of 400 years that begin on the 1st of March.
    let since = day + 719_468;
    let (era, of_era) = (since.div_euclid(146_097), since.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = year_of_era + 400 * era + i64::from(month <= 2);
    let year = match year {
        0..=9999 => format!("{year:04}"),
        _ => format!("{year:+07}"),
    };
    let (second, ms) = (rest / 1000, rest % 1000);
    let (minute, hour) = (second / 60 % 60, second / 3600);
    let second = second % 60;
    Some(format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z"
    ))
}

fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            c if u32::from(c) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(c));
            }
            c => json.push(c),
        }
    }
    json.push('"');
    json
}

/// The elements that a class of typed arrays has, by the bytes of a view in host memory.
pub(crate) fn host_view(bytes: &Bytes) -> Option<Vec<u8>> {
    let Buffer::Host(own) = &bytes.buffer else {
        return None;
    };
    let own = own.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = usize::try_from(bytes.offset).ok()?;
    let end = begin.checked_add(usize::try_from(bytes.len).ok()?)?;
    own.get(begin..end).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use engine_api::ElementType;

    use super::*;

    fn back(value: &JsValue) -> Result<JsValue, String> {
        tree(&realm_value(value.clone()), &host_view)
    }

    #[test]
    fn a_tree_comes_back_from_the_realm_as_it_was() {
        let value = JsValue::Object(vec![
            ("z".to_owned(), JsValue::Undefined),
            (
                "a".to_owned(),
                JsValue::Array(vec![JsValue::Null, JsValue::BigInt(-7)]),
            ),
            ("empty".to_owned(), JsValue::Array(Vec::new())),
            ("none".to_owned(), JsValue::Object(Vec::new())),
            ("date".to_owned(), JsValue::Date(1.5)),
            (
                "map".to_owned(),
                JsValue::Map(vec![(JsValue::Bool(true), JsValue::Text("x".to_owned()))]),
            ),
            ("set".to_owned(), JsValue::Set(vec![JsValue::Number(1.0)])),
            (
                "floats".to_owned(),
                JsValue::Typed(ElementType::F32, vec![0; 8]),
            ),
            ("buffer".to_owned(), JsValue::Buffer(vec![1, 2])),
            (
                "error".to_owned(),
                JsValue::Error {
                    name: "RangeError".to_owned(),
                    message: "m".to_owned(),
                },
            ),
            ("call".to_owned(), JsValue::Callback("f".to_owned())),
        ]);
        assert_eq!(back(&value), Ok(value));
    }

    #[test]
    fn what_contains_itself_or_is_shared_without_end_is_refused() {
        let own = Js::array(vec![Js::Null]);
        if let Some(Object::Bag(bag)) = own.as_object() {
            bag.lock().unwrap().elements[0] = own.clone();
        }
        assert!(
            tree(&own, &host_view)
                .unwrap_err()
                .contains("contains itself")
        );
        // Sixty levels, each of which has the next one twice.
        let mut shared = Js::Null;
        for _ in 0..60 {
            shared = Js::array(vec![shared.clone(), shared]);
        }
        assert!(
            tree_within(&shared, &host_view, 100_000)
                .unwrap_err()
                .contains("256 MiB")
        );
        if let Some(Object::Bag(bag)) = own.as_object() {
            bag.lock().unwrap().elements.clear();
        }
    }

    #[test]
    fn json_is_as_javascript_writes_it() {
        let value = JsValue::Object(vec![
            ("a\"\n".to_owned(), JsValue::Number(1e21)),
            ("left out".to_owned(), JsValue::Undefined),
            (
                "list".to_owned(),
                JsValue::Array(vec![JsValue::Undefined, JsValue::Number(f64::NAN)]),
            ),
            ("map".to_owned(), JsValue::Map(Vec::new())),
            ("bytes".to_owned(), JsValue::Typed(ElementType::U8, vec![7])),
        ]);
        let expected = r#"{"a\"\n":1e+21,"list":[null,null],"map":{},"bytes":{"0":7}}"#;
        assert_eq!(json(&value), Ok(Some(expected.to_owned())));
        for (ms, text) in [
            (0.0, "\"1970-01-01T00:00:00.000Z\""),
            (951_782_400_001.0, "\"2000-02-29T00:00:00.001Z\""),
            (-1.0, "\"1969-12-31T23:59:59.999Z\""),
            (8.64e15, "\"+275760-09-13T00:00:00.000Z\""),
            (-8.64e15, "\"-271821-04-20T00:00:00.000Z\""),
            (f64::NAN, "null"),
        ] {
            assert_eq!(json(&JsValue::Date(ms)), Ok(Some(text.to_owned())));
        }
        assert_eq!(json(&JsValue::Undefined), Ok(None));
        assert!(json(&JsValue::BigInt(1)).is_err());
    }
}
