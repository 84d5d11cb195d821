//! JSON lines into steps. Every complaint names the line and says what would be right.

use anyhow::{Context, Result, anyhow, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use guest_calls::{Width, js};

use super::json::{Map, Value};
use super::{Argument, CALL_ID_BYTES_MAX, Call, CallId, Expected, Literal, Step, WIDTHS, Workload};

/// Where a step stands in the file, which decides what may be in it.
#[derive(Clone, Copy)]
struct Position {
    line: usize,
    pinned: bool,
    /// How many repeats are around it.
    repeats: u32,
}

type Object = Map;

impl Workload {
    /// Parses a workload; `name` is for messages.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with the line.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let mut steps = Vec::new();
        // Some editors begin a file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
                continue;
            }
            let position = Position {
                line: number + 1,
                pinned: false,
                repeats: 0,
            };
            let parsed = serde_json::from_str(line)
                .map_err(|error| anyhow!("{error}; each line is one JSON object"))
                .and_then(|value| step(value, position))
                .with_context(|| format!("{name}:{}", position.line))?;
            steps.push(parsed);
        }
        ensure!(
            !steps.is_empty(),
            "the workload `{name}` has no calls; write one per line, such as \
             {{\"call\":\"name\",\"args\":[1]}}"
        );
        Ok(Self {
            name: name.to_owned(),
            steps,
        })
    }
}

fn step(value: Value, position: Position) -> Result<Step> {
    let Value::Object(mut object) = value else {
        bail!(
            "{value} is no step; a step is {{\"call\":..}}, {{\"repeat\":..}} or {{\"pinned\":..}}"
        );
    };
    let keys = ["call", "repeat", "pinned"].map(|key| object.contains_key(key));
    let step = match keys {
        [true, false, false] => Step::Call(call(&mut object, position)?),
        [false, true, false] => Step::Repeat {
            times: object
                .remove("repeat")
                .and_then(|times| times.as_u64())
                .filter(|times| *times > 0)
                .context("\"repeat\" takes a number of turns from 1, such as 1000")?,
            steps: list(
                object.remove("do").context("a repeat needs \"do\":[...]")?,
                "do",
                Position {
                    repeats: position.repeats.saturating_add(1),
                    ..position
                },
            )?,
        },
        [false, false, true] => {
            ensure!(
                !position.pinned,
                "a pinned scope cannot hold another; they would be on one generation anyway"
            );
            Step::Pinned {
                line: position.line,
                steps: list(
                    object.remove("pinned").unwrap_or_default(),
                    "pinned",
                    Position {
                        pinned: true,
                        ..position
                    },
                )?,
            }
        }
        _ => bail!("a step has exactly one of \"call\", \"repeat\" and \"pinned\""),
    };
    nothing_left(&object, "a step")?;
    Ok(step)
}

fn list(value: Value, key: &str, position: Position) -> Result<Vec<Step>> {
    let Value::Array(values) = value else {
        bail!("\"{key}\" takes a list of steps");
    };
    ensure!(
        !values.is_empty(),
        "\"{key}\" holds no step; give at least one call"
    );
    values
        .into_iter()
        .map(|value| step(value, position))
        .collect()
}

fn call(object: &mut Object, position: Position) -> Result<Call> {
    let Some(Value::String(export)) = object.remove("call") else {
        bail!("\"call\" takes the name of an export");
    };
    let args = match object.remove("args") {
        None => Vec::new(),
        Some(Value::Array(values)) => values
            .into_iter()
            .enumerate()
            .map(|(at, value)| {
                argument(value, position).with_context(|| format!("`{export}`: argument {at}"))
            })
            .collect::<Result<_>>()?,
        Some(_) => bail!("`{export}`: \"args\" takes a list"),
    };
    let names = match object.remove("as") {
        None => Vec::new(),
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names
            .into_iter()
            .map(|name| match name {
                Value::String(name) => Ok(name),
                other => bail!("`{export}`: {other} is no name"),
            })
            .collect::<Result<_>>()?,
        Some(_) => bail!("`{export}`: \"as\" takes a name, or a list of names"),
    };
    let expect = match object.remove("expect") {
        None => None,
        Some(Value::Array(values)) => Some(
            values
                .into_iter()
                .map(expected)
                .collect::<Result<_>>()
                .with_context(|| format!("`{export}`"))?,
        ),
        Some(value) => Some(vec![
            expected(value).with_context(|| format!("`{export}`"))?,
        ]),
    };
    let id = object.remove("id").map(|id| call_id(id, position));
    let id = id.transpose().with_context(|| format!("`{export}`"))?;
    nothing_left(object, "a call")?;
    Ok(Call {
        line: position.line,
        id,
        export,
        args,
        names,
        expect,
    })
}

fn call_id(value: Value, position: Position) -> Result<CallId> {
    let Value::String(text) = value else {
        bail!("\"id\" takes a text");
    };
    ensure!(
        !position.pinned,
        "a call in a pinned scope cannot have an id, because it leaves no answer in the journal"
    );
    ensure!(
        position.repeats < 2,
        "a call with an id can be in one repeat only, whose turn becomes a part of the id"
    );
    let id = CallId {
        text,
        repeated: position.repeats > 0,
    };
    let longest = id.in_turn(u64::MAX).len();
    ensure!(
        !id.text.is_empty() && longest <= CALL_ID_BYTES_MAX,
        "an id has 1 to {CALL_ID_BYTES_MAX} bytes, the turn of a repeat included"
    );
    Ok(id)
}

fn argument(value: Value, position: Position) -> Result<Argument> {
    const KINDS: &str = "an argument is a number, {\"handle\":\"name\"}, {\"bytes\":\"<base64>\"}, \
                         {\"text\":\"...\"}, {\"u16s\":[..]}, {\"u32s\":[..]}, {\"u64s\":[..]}, \
                         {\"handles\":[\"name\"]}, {\"pointers\":[\"name\"]}, {\"js\":..}, \
                         {\"index\":true} or null";
    let mut object = match value {
        Value::Null => return Ok(Argument::Null),
        Value::Number(number) => return Ok(Argument::Literal(Literal::Number(number))),
        Value::Object(object) if object.len() == 1 => object,
        other => bail!("{other} is none: {KINDS}"),
    };
    let taken = |object: &mut Object, key| object.remove(key);
    if let Some(Value::String(name)) = taken(&mut object, "handle") {
        return Ok(Argument::Named(name));
    }
    if let Some(literal) = literal(&object)? {
        return Ok(Argument::Literal(literal));
    }
    if let Some(Value::Bool(true)) = taken(&mut object, "index") {
        ensure!(
            position.repeats > 0,
            "{{\"index\":true}} is the turn of a repeat, and there is none around this call"
        );
        return Ok(Argument::Index);
    }
    if let Some(Value::Array(list)) = taken(&mut object, "handles") {
        return Ok(Argument::Handles(names(list, "handles")?));
    }
    if let Some(Value::Array(list)) = taken(&mut object, "pointers") {
        return Ok(Argument::Pointers(names(list, "pointers")?));
    }
    bail!("{KINDS}");
}

fn names(list: Vec<Value>, key: &str) -> Result<Vec<String>> {
    let name = |value| match value {
        Value::String(name) => Ok(name),
        other => bail!("{other} is no name; \"{key}\" takes a list of names of earlier results"),
    };
    list.into_iter().map(name).collect()
}

/// The text, bytes or numbers that an object of one field is, if it is one of these.
fn literal(object: &Object) -> Result<Option<Literal>> {
    if let Some((width, bytes)) = numbers(object)? {
        return Ok(Some(Literal::Numbers(width, bytes)));
    }
    if let Some(value) = object.get("js") {
        let text = value.to_string();
        js::parse(&text).map_err(|reason| anyhow!("\"js\": {reason}"))?;
        return Ok(Some(Literal::Js(text)));
    }
    Ok(match (object.get("text"), object.get("bytes")) {
        (Some(Value::String(text)), _) => Some(Literal::Text(text.clone())),
        (_, Some(Value::String(base64))) => Some(Literal::Bytes(bytes(base64)?)),
        _ => None,
    })
}

/// An array of numbers as the guest has it in memory, if the object is one.
fn numbers(object: &Object) -> Result<Option<(Width, Vec<u8>)>> {
    let found = WIDTHS
        .into_iter()
        .find_map(|(key, width)| Some((key, width, object.get(key)?)));
    let Some((key, width, value)) = found else {
        return Ok(None);
    };
    let Value::Array(list) = value else {
        bail!("\"{key}\" takes a list of whole numbers");
    };
    let size = width.bytes() as usize;
    let bits = 8 * width.bytes();
    let mut bytes = Vec::with_capacity(list.len() * size);
    for value in list {
        let whole = value
            .as_u64()
            .map(i128::from)
            .or_else(|| value.as_i64().map(i128::from))
            .with_context(|| format!("{value} is no whole number, as \"{key}\" takes"))?;
        // As for arguments, negative numbers are those of the signed type.
        ensure!(
            (-(1_i128 << (bits - 1))..1_i128 << bits).contains(&whole),
            "{whole} is out of range for \"{key}\", numbers of {size} bytes"
        );
        bytes.extend(&whole.to_le_bytes()[..size]);
    }
    Ok(Some((width, bytes)))
}

fn expected(value: Value) -> Result<Expected> {
    const KINDS: &str = "\"expect\" takes a number, a text, {\"bytes\":\"<base64>\"}, {\"u32s\":[..]}, {\"js\":..}, null, or \
         a list of these";
    Ok(match value {
        Value::Null => Expected::Null,
        Value::Number(number) => Expected::Literal(Literal::Number(number)),
        Value::String(text) => Expected::Literal(Literal::Text(text)),
        Value::Object(object) if object.len() == 1 => {
            Expected::Literal(literal(&object)?.context(KINDS)?)
        }
        _ => bail!("{KINDS}"),
    })
}

fn bytes(base64: &str) -> Result<Vec<u8>> {
    STANDARD
        .decode(base64)
        .map_err(|error| anyhow!("\"bytes\" takes base64 with padding: {error}"))
}

fn nothing_left(object: &Object, what: &str) -> Result<()> {
    match object.keys().next() {
        None => Ok(()),
        Some(key) => bail!(
            "{what} has no field \"{key}\"; a call has \"call\", \"args\", \"as\", \"expect\" and \"id\", a \
             repeat \"repeat\" and \"do\", a scope \"pinned\""
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        format!("{:#}", Workload::parse("w", text).unwrap_err())
    }

    #[test]
    fn every_form_of_step_is_understood() {
        let workload = Workload::parse(
            "w",
            "# made by hand\n\n{\"call\":\"f\",\"args\":[1,-1.5,{\"bytes\":\"AAE=\"}],\"as\":\"x\"}\n\
             // nested\n{\"repeat\":3,\"do\":[{\"repeat\":2,\"do\":[{\"pinned\":[{\"call\":\"g\",\
             \"args\":[{\"handle\":\"x\"},{\"index\":true},{\"text\":\"t\"}],\"expect\":null}]}]}]}",
        )
        .unwrap();
        assert_eq!(workload.calls(), 7);
        let Step::Call(call) = &workload.steps[0] else {
            panic!("{workload:?}");
        };
        assert_eq!((call.line, &*call.names[0]), (3, "x"));
        assert_eq!(call.args[2], Argument::Literal(Literal::Bytes(vec![0, 1])));
    }

    #[test]
    fn arrays_of_numbers_are_as_in_memory() {
        let text = "{\"call\":\"f\",\"args\":[{\"u16s\":[1,-1]},{\"u64s\":[18446744073709551615]},\
                    {\"handles\":[\"a\",\"b\"]},{\"pointers\":[]}],\"expect\":{\"u32s\":[258]}}";
        let workload = Workload::parse("w", text).unwrap();
        let Step::Call(call) = &workload.steps[0] else {
            panic!("{workload:?}");
        };
        assert_eq!(
            call.args,
            [
                Argument::Literal(Literal::Numbers(Width::Two, vec![1, 0, 255, 255])),
                Argument::Literal(Literal::Numbers(Width::Eight, vec![255; 8])),
                Argument::Handles(vec!["a".to_owned(), "b".to_owned()]),
                Argument::Pointers(vec![]),
            ]
        );
        let expected = Expected::Literal(Literal::Numbers(Width::Four, vec![2, 1, 0, 0]));
        assert_eq!(call.expect, Some(vec![expected]));
    }

    #[test]
    fn numbers_are_read_to_the_last_bit() {
        // Each is the shortest text of its number, as JavaScript writes it.
        for number in [
            96.091_666_666_666_67_f64,
            0.1 + 0.2,
            5e-324,
            f64::MAX,
            1.0 / 3.0,
        ] {
            let text = format!("{{\"call\":\"f\",\"args\":[{number:e}]}}");
            let workload = Workload::parse("w", &text).unwrap();
            let Step::Call(call) = &workload.steps[0] else {
                panic!("{workload:?}");
            };
            let Argument::Literal(Literal::Number(read)) = &call.args[0] else {
                panic!("{call:?}");
            };
            let read = read.as_f64().unwrap();
            assert_eq!(read.to_bits(), number.to_bits(), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, needle) in [
            ("", "has no calls"),
            ("{\"call\":\"f\"}\n{\"call\":", "w:2: EOF"),
            ("[1]", "[1] is no step"),
            (
                "{\"call\":\"f\",\"call\":\"g\"}",
                "w:1: the key \"call\" is there twice",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"js\":{\"a\":1,\"a\":2}}]}",
                "the key \"a\" is there twice",
            ),
            (
                "{\"call\":\"f\",\"arg\":[]}",
                "w:1: a call has no field \"arg\"",
            ),
            ("{\"call\":\"f\",\"do\":[]}", "no field \"do\""),
            ("{\"call\":\"f\",\"repeat\":1}", "exactly one of"),
            ("{\"repeat\":-1,\"do\":[]}", "number of turns"),
            ("{\"repeat\":1}", "needs \"do\""),
            ("{\"repeat\":1,\"do\":{}}", "list of steps"),
            ("{\"pinned\":[{\"pinned\":[]}]}", "cannot hold another"),
            ("{\"call\":\"f\",\"args\":1}", "takes a list"),
            (
                "{\"call\":\"f\",\"args\":[\"x\"]}",
                "`f`: argument 0: \"x\" is none",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"index\":true}]}",
                "there is none around",
            ),
            ("{\"call\":\"f\",\"args\":[{\"bytes\":\"%\"}]}", "base64"),
            (
                "{\"call\":\"f\",\"args\":[{\"Handle\":\"x\"}]}",
                "an argument is a number",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"u16s\":[65536]}]}",
                "65536 is out of range for \"u16s\"",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"u32s\":[0.5]}]}",
                "0.5 is no whole number",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"u64s\":1}]}",
                "a list of whole numbers",
            ),
            (
                "{\"call\":\"f\",\"args\":[{\"handles\":[1]}]}",
                "1 is no name; \"handles\" takes",
            ),
            ("{\"call\":\"f\",\"as\":1}", "takes a name"),
            ("{\"call\":\"f\",\"expect\":true}", "\"expect\" takes"),
            ("{\"call\":\"f\",\"id\":7}", "\"id\" takes a text"),
            ("{\"call\":\"f\",\"id\":\"\"}", "1 to 128 bytes"),
            (
                "{\"pinned\":[{\"call\":\"f\",\"id\":\"a\"}]}",
                "leaves no answer",
            ),
            (
                "{\"repeat\":2,\"do\":[{\"repeat\":2,\"do\":[{\"call\":\"f\",\"id\":\"a\"}]}]}",
                "one repeat only",
            ),
        ] {
            let complaint = complaint(text);
            assert!(complaint.contains(needle), "{text}: {complaint}");
        }
    }

    #[test]
    fn the_turn_of_a_repeat_is_a_part_of_an_id() {
        let text = "{\"call\":\"f\",\"id\":\"a\"}\n\
                    {\"repeat\":2,\"do\":[{\"call\":\"f\",\"id\":\"a\"}]}";
        let workload = Workload::parse("w", text).unwrap();
        let [Step::Call(alone), Step::Repeat { steps, .. }] = &*workload.steps else {
            panic!("{workload:?}");
        };
        let [Step::Call(repeated)] = &**steps else {
            panic!("{steps:?}");
        };
        let of = |call: &Call, turn| call.id.as_ref().map(|id| id.in_turn(turn));
        assert_eq!(of(alone, 1).as_deref(), Some("a"));
        assert_eq!(of(repeated, 1).as_deref(), Some("a#1"));
    }

    #[test]
    fn absurd_repeats_do_not_overflow_the_count() {
        let text = format!(
            "{{\"repeat\":{max},\"do\":[{{\"repeat\":{max},\"do\":[{{\"call\":\"f\"}}]}}]}}",
            max = u64::MAX
        );
        assert_eq!(Workload::parse("w", &text).unwrap().calls(), u64::MAX);
    }
}
