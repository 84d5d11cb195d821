//! JavaScript values as text: JSON, and a tag for what JSON has no words for.
//!
//! A tag is an object of one key that begins with `$`. `docs/policy.md` has the table. What this
//! module writes for a value is always the same text, and object keys keep their order.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_api::{ElementType, JsValue};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The tags, for messages.
const TAGS: &str = "$undefined, $number, $bigint, $date, $bytes, $typed, $buffer, $error, $map, \
                    $set, $object and $callback";

/// A JavaScript value as text, as an argument of a call.
///
/// ```
/// use guest_calls::{Arg, args, js::Js};
///
/// let args: &[Arg] = args![1_u32, Js(r#"{"list":[1,{"$bigint":"2"}]}"#)];
/// assert_eq!(args[1], Arg::Js(r#"{"list":[1,{"$bigint":"2"}]}"#));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Js<'a>(pub &'a str);

/// The value that a text says, as an argument.
///
/// # Errors
///
/// What is wrong with the text, in words.
pub fn decode(text: &str) -> Result<JsValue, String> {
    let value = parse(text)?;
    match opaque(&value) {
        None => Ok(value),
        Some(what) => Err(format!(
            "\"$opaque\": {what} is a thing that only its guest has, and no argument"
        )),
    }
}

/// The value that a text says, as a result: it may hold what only its guest has.
///
/// # Errors
///
/// What is wrong with the text, in words.
pub fn parse(text: &str) -> Result<JsValue, String> {
    match serde_json::from_str(text) {
        Ok(Tree(value)) => Ok(value),
        Err(error) => Err(error.to_string()),
    }
}

/// A thing in the value that only its guest has.
fn opaque(value: &JsValue) -> Option<&str> {
    match value {
        JsValue::Opaque(what) => Some(what),
        JsValue::Array(values) | JsValue::Set(values) => values.iter().find_map(opaque),
        JsValue::Object(fields) => fields.iter().find_map(|(_, value)| opaque(value)),
        JsValue::Map(pairs) => pairs
            .iter()
            .find_map(|(key, value)| opaque(key).or_else(|| opaque(value))),
        _ => None,
    }
}

/// A value as text.
#[must_use]
pub fn encode(value: &JsValue) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

/// Whether two texts say the same value, whatever the order of the keys of its objects.
#[must_use]
pub fn is_same(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (parse(one), parse(other)) {
        (Ok(mut one), Ok(mut other)) => {
            sort_keys(&mut one);
            sort_keys(&mut other);
            encode(&one) == encode(&other)
        }
        _ => false,
    }
}

fn sort_keys(value: &mut JsValue) {
    match value {
        JsValue::Object(fields) => {
            fields.sort_by(|one, other| one.0.cmp(&other.0));
            for (_, value) in fields {
                sort_keys(value);
            }
        }
        JsValue::Array(values) | JsValue::Set(values) => values.iter_mut().for_each(sort_keys),
        JsValue::Map(pairs) => {
            for (key, value) in pairs {
                sort_keys(key);
                sort_keys(value);
            }
        }
        _ => {}
    }
}

/// A value as it is read. The parser bounds how deep it is.
struct Tree(JsValue);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = JsValue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value as JSON")
    }

    fn visit_unit<E>(self) -> Result<JsValue, E> {
        Ok(JsValue::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<JsValue, E> {
        Ok(JsValue::Bool(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "as JavaScript reads numbers")]
    fn visit_i64<E>(self, value: i64) -> Result<JsValue, E> {
        Ok(JsValue::Number(value as f64))
    }

    #[expect(clippy::cast_precision_loss, reason = "as JavaScript reads numbers")]
    fn visit_u64<E>(self, value: u64) -> Result<JsValue, E> {
        Ok(JsValue::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<JsValue, E> {
        Ok(JsValue::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<JsValue, E> {
        Ok(JsValue::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<JsValue, E> {
        Ok(JsValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsValue, A::Error> {
        let mut values = Vec::new();
        while let Some(Tree(value)) = list.next_element()? {
            values.push(value);
        }
        Ok(JsValue::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsValue, A::Error> {
        let mut fields: Vec<(String, JsValue)> = Vec::new();
        while let Some((key, Tree(value))) = map.next_entry::<String, Tree>()? {
            fields.push((key, value));
        }
        let is_tag = matches!(&fields[..], [(key, _)] if key.starts_with('$'));
        match fields.pop() {
            Some((tag, value)) if is_tag => tagged(&tag, value).map_err(de::Error::custom),
            Some(last) => {
                fields.push(last);
                Ok(JsValue::Object(unique(fields)))
            }
            None => Ok(JsValue::Object(fields)),
        }
    }
}

/// The fields of an object, where the last of several with one key counts, at the place of the
/// first.
fn unique(fields: Vec<(String, JsValue)>) -> Vec<(String, JsValue)> {
    let mut places = std::collections::HashMap::with_capacity(fields.len());
    let mut own: Vec<(String, JsValue)> = Vec::with_capacity(fields.len());
    for (key, value) in fields {
        if let Some(place) = places.get(&key) {
            own[*place] = (key, value);
        } else {
            places.insert(key.clone(), own.len());
            own.push((key, value));
        }
    }
    own
}

fn tagged(tag: &str, value: JsValue) -> Result<JsValue, String> {
    let wrong = |takes: &str| Err(format!("\"{tag}\" takes {takes}"));
    Ok(match (tag, value) {
        ("$undefined", JsValue::Bool(true)) => JsValue::Undefined,
        ("$undefined", _) => return wrong("true"),
        ("$number", JsValue::Text(text)) => match number(&text) {
            Some(number) => JsValue::Number(number),
            None => return wrong("\"NaN\", \"Infinity\", \"-Infinity\" or \"-0\""),
        },
        ("$number", _) => return wrong("\"NaN\", \"Infinity\", \"-Infinity\" or \"-0\""),
        ("$bigint", JsValue::Text(text)) => match text.parse() {
            Ok(number) => JsValue::BigInt(number),
            Err(_) => return wrong("a whole number of up to 128 bits as text"),
        },
        ("$bigint", _) => return wrong("a whole number of up to 128 bits as text"),
        ("$date", JsValue::Number(ms)) => JsValue::Date(ms),
        ("$date", _) => return wrong("milliseconds since 1970"),
        ("$bytes", JsValue::Text(base64)) => JsValue::Typed(ElementType::U8, bytes(tag, &base64)?),
        ("$buffer", JsValue::Text(base64)) => JsValue::Buffer(bytes(tag, &base64)?),
        ("$bytes" | "$buffer", _) => return wrong("base64"),
        ("$typed", JsValue::Array(parts)) => typed(parts)?,
        ("$typed", _) => {
            return wrong("a class and its elements, such as [\"Float32Array\",[1.5]]");
        }
        ("$error", JsValue::Array(parts)) => match <[JsValue; 2]>::try_from(parts) {
            Ok([JsValue::Text(name), JsValue::Text(message)]) => JsValue::Error { name, message },
            _ => return wrong("a class and a message, such as [\"TypeError\",\"..\"]"),
        },
        ("$map", JsValue::Array(values)) => JsValue::Map(pairs(tag, values)?),
        ("$set", JsValue::Array(values)) => JsValue::Set(values),
        ("$object", JsValue::Array(values)) => {
            let fields = pairs(tag, values)?.into_iter().map(|pair| match pair {
                (JsValue::Text(key), value) => Ok((key, value)),
                _ => Err("\"$object\" takes pairs of a text and a value".to_owned()),
            });
            JsValue::Object(unique(fields.collect::<Result<_, String>>()?))
        }
        ("$error" | "$map" | "$set" | "$object", _) => return wrong("a list"),
        ("$callback", JsValue::Text(name)) => JsValue::Callback(name),
        ("$callback", _) => return wrong("a name"),
        ("$opaque", JsValue::Text(what)) => JsValue::Opaque(what),
        ("$opaque", _) => return wrong("a text"),
        _ => {
            return Err(format!(
                "no tag {tag:?}; there are {TAGS}. An object with this key alone is \
                 {{\"$object\":[[{tag:?},..]]}}"
            ));
        }
    })
}

fn number(text: &str) -> Option<f64> {
    Some(match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        "-0" => -0.0,
        _ => return None,
    })
}

fn bytes(tag: &str, base64: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(base64)
        .map_err(|error| format!("\"{tag}\" takes base64 with padding: {error}"))
}

fn pairs(tag: &str, values: Vec<JsValue>) -> Result<Vec<(JsValue, JsValue)>, String> {
    let pair = |value| match value {
        JsValue::Array(pair) => <[JsValue; 2]>::try_from(pair)
            .map(|[key, value]| (key, value))
            .map_err(|_| format!("\"{tag}\" takes a list of pairs")),
        _ => Err(format!("\"{tag}\" takes a list of pairs")),
    };
    values.into_iter().map(pair).collect()
}

fn typed(parts: Vec<JsValue>) -> Result<JsValue, String> {
    let Ok([JsValue::Text(class), JsValue::Array(elements)]) = <[JsValue; 2]>::try_from(parts)
    else {
        return Err("\"$typed\" takes a class and its elements".to_owned());
    };
    let element = ElementType::of_class(&class)
        .ok_or_else(|| format!("\"$typed\": no class `{class}` of typed arrays"))?;
    let mut bytes = Vec::new();
    for value in elements {
        let written = element.write(&value);
        let written = written
            .ok_or_else(|| format!("\"$typed\": {} is no element of {class}", encode(&value)))?;
        bytes.extend(written);
    }
    Ok(JsValue::Typed(element, bytes))
}

fn write(value: &JsValue, out: &mut String) {
    match value {
        JsValue::Undefined => out.push_str("{\"$undefined\":true}"),
        JsValue::Null => out.push_str("null"),
        JsValue::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        JsValue::Number(number) => write_number(*number, out),
        JsValue::BigInt(number) => push(out, format_args!("{{\"$bigint\":\"{number}\"}}")),
        JsValue::Text(text) => write_text(text, out),
        JsValue::Date(ms) => write_tag("$date", out, |out| write_number(*ms, out)),
        JsValue::Typed(ElementType::U8, bytes) => {
            push(
                out,
                format_args!("{{\"$bytes\":\"{}\"}}", STANDARD.encode(bytes)),
            );
        }
        JsValue::Typed(element, bytes) => write_tag("$typed", out, |out| {
            push(out, format_args!("[\"{}\",", element.class()));
            let elements = bytes.chunks_exact(element.bytes() as usize);
            write_list(elements, out, |bytes, out| {
                write(&element.read(bytes).unwrap_or_default(), out);
            });
            out.push(']');
        }),
        JsValue::Buffer(bytes) => {
            push(
                out,
                format_args!("{{\"$buffer\":\"{}\"}}", STANDARD.encode(bytes)),
            );
        }
        JsValue::Error { name, message } => write_tag("$error", out, |out| {
            write_list([name, message].into_iter(), out, |text, out| {
                write_text(text, out);
            });
        }),
        JsValue::Array(values) => write_list(values.iter(), out, write),
        JsValue::Object(fields) => write_object(fields, out),
        JsValue::Map(pairs) => write_tag("$map", out, |out| {
            write_list(pairs.iter(), out, |(key, value), out| {
                write_list([key, value].into_iter(), out, write);
            });
        }),
        JsValue::Set(values) => {
            write_tag("$set", out, |out| write_list(values.iter(), out, write));
        }
        JsValue::Callback(name) => write_tag("$callback", out, |out| write_text(name, out)),
        JsValue::Opaque(what) => write_tag("$opaque", out, |out| write_text(what, out)),
        other => write_tag("$opaque", out, |out| write_text(&format!("{other:?}"), out)),
    }
}

fn write_object(fields: &[(String, JsValue)], out: &mut String) {
    if matches!(fields, [(key, _)] if key.starts_with('$')) {
        return write_tag("$object", out, |out| {
            write_list(fields.iter(), out, |(key, value), out| {
                out.push('[');
                write_text(key, out);
                out.push(',');
                write(value, out);
                out.push(']');
            });
        });
    }
    out.push('{');
    for (position, (key, value)) in fields.iter().enumerate() {
        if position > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write(value, out);
    }
    out.push('}');
}

fn write_tag(tag: &str, out: &mut String, inside: impl FnOnce(&mut String)) {
    push(out, format_args!("{{\"{tag}\":"));
    inside(out);
    out.push('}');
}

fn write_list<T>(values: impl Iterator<Item = T>, out: &mut String, each: impl Fn(T, &mut String)) {
    out.push('[');
    for (position, value) in values.enumerate() {
        if position > 0 {
            out.push(',');
        }
        each(value, out);
    }
    out.push(']');
}

fn write_number(number: f64, out: &mut String) {
    /// Whole numbers below this are written without a point or an exponent.
    const WHOLE: f64 = 1e15;
    if number == 0.0 && number.is_sign_negative() {
        out.push_str("{\"$number\":\"-0\"}");
    } else if number.is_nan() {
        out.push_str("{\"$number\":\"NaN\"}");
    } else if number.is_infinite() {
        let sign = if number < 0.0 { "-" } else { "" };
        push(out, format_args!("{{\"$number\":\"{sign}Infinity\"}}"));
    } else if number.fract() == 0.0 && number.abs() < WHOLE {
        push(out, format_args!("{number:.0}"));
    } else {
        push(out, format_args!("{number:?}"));
    }
}

fn write_text(text: &str, out: &mut String) {
    let quoted = serde_json::to_string(text).expect("every text is JSON");
    out.push_str(&quoted);
}

fn push(out: &mut String, parts: fmt::Arguments<'_>) {
    out.write_fmt(parts).expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_value_comes_back_from_its_text() {
        for text in [
            "null",
            "true",
            "-1.5",
            "1e300",
            "9007199254740993",
            "\"a\\n\\u0001\"",
            "[1,[2,\"x\"],{\"b\":1,\"a\":[]}]",
            "{\"$undefined\":true}",
            "{\"$number\":\"NaN\"}",
            "{\"$number\":\"-0\"}",
            "{\"$number\":\"-Infinity\"}",
            "{\"$bigint\":\"-170141183460469231731687303715884105728\"}",
            "{\"$date\":1700000000000}",
            "{\"$bytes\":\"AAE=\"}",
            "{\"$buffer\":\"\"}",
            "{\"$typed\":[\"Float32Array\",[1.5,{\"$number\":\"NaN\"}]]}",
            "{\"$typed\":[\"BigInt64Array\",[{\"$bigint\":\"-1\"}]]}",
            "{\"$error\":[\"TypeError\",\"no\"]}",
            "{\"$map\":[[1,{\"$set\":[null]}],[{\"k\":1},2]]}",
            "{\"$object\":[[\"$map\",1]]}",
            "{\"$callback\":\"onChange\"}",
            "{\"$a\":1,\"$b\":2}",
        ] {
            let value = decode(text).unwrap();
            let again = encode(&value);
            assert_eq!(
                decode(&again).map(|value| encode(&value)),
                Ok(again.clone())
            );
            if text != "9007199254740993" && text != "1e300" {
                assert_eq!(again, text);
            }
        }
        // As in JavaScript, a number has 53 bits, and the last of two equal keys counts.
        assert_eq!(
            decode("9007199254740993"),
            Ok(JsValue::Number(9_007_199_254_740_992.0))
        );
        assert_eq!(
            encode(&decode("{\"a\":1,\"b\":2,\"a\":3}").unwrap()),
            "{\"a\":3,\"b\":2}"
        );
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (text, needle) in [
            ("", "EOF"),
            ("{\"$nope\":1}", "no tag \"$nope\""),
            ("{\"$bigint\":7}", "whole number"),
            ("{\"$bigint\":\"1.5\"}", "whole number"),
            ("{\"$bytes\":\"%\"}", "base64"),
            ("{\"$map\":[[1]]}", "list of pairs"),
            ("{\"$object\":[[1,2]]}", "pairs of a text"),
            ("{\"$typed\":[\"Array\",[]]}", "no class `Array`"),
            (
                "{\"$typed\":[\"Uint8Array\",[{\"$bigint\":\"1\"}]]}",
                "no element",
            ),
            ("{\"$opaque\":\"a function\"}", "only its guest has"),
            ("{\"$undefined\":false}", "takes true"),
            (&"[".repeat(1000), "recursion"),
        ] {
            let error = decode(text).unwrap_err();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    #[test]
    fn texts_are_the_same_in_any_order_of_keys_and_not_of_elements() {
        assert!(is_same(
            "{\"a\":1,\"b\":[{\"c\":1,\"d\":2}]}",
            "{ \"b\":[{\"d\":2,\"c\":1}],\"a\":1.0 }"
        ));
        assert!(!is_same("[1,2]", "[2,1]"));
        assert!(!is_same("{\"a\":1}", "{\"a\":{\"$bigint\":\"1\"}}"));
        assert!(!is_same("{\"a\":null}", "{\"a\":{\"$undefined\":true}}"));
    }

    fn values() -> impl Strategy<Value = JsValue> {
        let leaf = prop_oneof![
            Just(JsValue::Undefined),
            Just(JsValue::Null),
            any::<bool>().prop_map(JsValue::Bool),
            any::<f64>().prop_map(JsValue::Number),
            any::<i128>().prop_map(JsValue::BigInt),
            ".*".prop_map(JsValue::Text),
            (-8.64e15..8.64e15).prop_map(JsValue::Date),
            any::<Vec<u8>>().prop_map(|bytes| JsValue::Typed(ElementType::U8, bytes)),
            any::<Vec<u8>>().prop_map(JsValue::Buffer),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let list = || prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                list().prop_map(JsValue::Array),
                list().prop_map(JsValue::Set),
                prop::collection::vec((inner.clone(), inner.clone()), 0..4).prop_map(JsValue::Map),
                prop::collection::hash_map("\\$?[a-z]{0,3}", inner.clone(), 0..4)
                    .prop_map(|fields| JsValue::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value in values()) {
            let text = encode(&value);
            let back = decode(&text).unwrap();
            // NaN is equal to nothing, so the texts are compared.
            prop_assert_eq!(encode(&back), text);
        }
    }
}
