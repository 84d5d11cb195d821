//! Values as the lines of a workload write them, for reports.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_api::Val;
use guest_calls::{Handle, OwnedArg, Ran};

use crate::value::Value;

/// Longer texts and buffers are shown by their length and their hash.
const BYTES_MAX: usize = 64;

/// A number as JSON writes it. NaN and infinities, which JSON has not, are shown as JavaScript
/// names them; a NaN that is not the canonical one has its bits with it, since two may differ.
pub(crate) fn val(val: &Val) -> String {
    const CANONICAL: [u64; 2] = [0x7fc0_0000, 0x7ff8_0000_0000_0000];
    let nan = |bits: u64| {
        if CANONICAL.contains(&bits) {
            "NaN".to_owned()
        } else {
            format!("NaN with the bits {bits:#x}")
        }
    };
    match val {
        Val::I32(value) => value.to_string(),
        Val::I64(value) => value.to_string(),
        Val::F32(bits) => match f32::from_bits(*bits) {
            value if value.is_nan() => nan(u64::from(*bits)),
            value if value.is_infinite() => infinity(value.is_sign_negative()),
            value => format!("{value:?}"),
        },
        Val::F64(bits) => match f64::from_bits(*bits) {
            value if value.is_nan() => nan(*bits),
            value if value.is_infinite() => infinity(value.is_sign_negative()),
            value => format!("{value:?}"),
        },
        Val::V128(bits) => format!("a vector with the bits {bits:#034x}"),
        Val::FuncRef(None) | Val::ExternRef(None) => "null".to_owned(),
        Val::FuncRef(Some(_)) => "a function".to_owned(),
        Val::ExternRef(Some(_)) => "a host object".to_owned(),
    }
}

fn infinity(is_negative: bool) -> String {
    if is_negative { "-Infinity" } else { "Infinity" }.to_owned()
}

/// Arguments, with commas between them.
pub(crate) fn args(args: &[OwnedArg]) -> String {
    let shown = args.iter().map(|arg| match arg {
        OwnedArg::Val(own) => val(own),
        OwnedArg::Handle(handle) => object(handle),
        OwnedArg::Bytes(bytes) => buffer(bytes),
        OwnedArg::Text(own) if own.len() <= BYTES_MAX => format!("{{\"text\":{}}}", text(own)),
        OwnedArg::Js(own) if own.len() <= BYTES_MAX => {
            format!("{{\"js\":{}}}", engine_api::Printable(own))
        }
        OwnedArg::Text(own) | OwnedArg::Js(own) => hashed(own.as_bytes()),
        OwnedArg::Handles(handles) => {
            let all: Vec<String> = handles.iter().map(object).collect();
            format!("[{}]", all.join(", "))
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// What a call gave.
pub(crate) fn ran(ran: &Ran) -> String {
    if let Some(error) = &ran.rejected {
        return format!("the error {}", text(&error.message));
    }
    joined(ran.results.as_slice().iter().map(|value| match value {
        Value::Val(own) => val(own),
        Value::Handle(handle) => object(handle),
        Value::Null => "null".to_owned(),
        Value::Pointer(_) => "a pointer".to_owned(),
        Value::Pointers(pointers) => format!("{} pointers", pointers.len()),
        Value::Bytes(bytes) => buffer(bytes),
        Value::Text(own) if own.len() <= BYTES_MAX => text(own),
        Value::Js(own) if own.len() <= BYTES_MAX => {
            format!("{{\"js\":{}}}", engine_api::Printable(own))
        }
        Value::Text(own) | Value::Js(own) => hashed(own.as_bytes()),
    }))
}

fn joined(shown: impl Iterator<Item = String>) -> String {
    match shown.collect::<Vec<_>>() {
        none if none.is_empty() => "nothing".to_owned(),
        all => all.join(", "),
    }
}

fn object(handle: &Handle) -> String {
    format!("object {handle}")
}

fn buffer(bytes: &[u8]) -> String {
    if bytes.len() <= BYTES_MAX {
        format!("{{\"bytes\":\"{}\"}}", STANDARD.encode(bytes))
    } else {
        hashed(bytes)
    }
}

fn hashed(bytes: &[u8]) -> String {
    format!(
        "{} bytes of blake3 {}",
        bytes.len(),
        blake3::hash(bytes).to_hex()
    )
}

/// A text as a JSON string (RFC 8259, section 7).
fn text(text: &str) -> String {
    let mut json = String::from('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            char if u32::from(char) < 0x20 => {
                write!(json, "\\u{:04x}", u32::from(char)).expect("a string takes all");
            }
            char => json.push(char),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_a_workload_writes_them() {
        for (shown, value) in [
            ("-7", Val::I32(-7)),
            ("9223372036854775807", Val::I64(i64::MAX)),
            ("1.5", Val::from(1.5_f32)),
            ("-0.0", Val::from(-0.0_f64)),
            ("3.0", Val::from(3.0_f64)),
            ("1e300", Val::from(1e300_f64)),
            ("-Infinity", Val::from(f64::NEG_INFINITY)),
            ("NaN", Val::F64(0x7ff8_0000_0000_0000)),
            ("NaN with the bits 0xffc00000", Val::F32(0xffc0_0000)),
            ("null", Val::ExternRef(None)),
        ] {
            assert_eq!(val(&value), shown);
        }
        let long = "x".repeat(65);
        let own = [
            OwnedArg::Val(Val::I32(1)),
            OwnedArg::Text("a\"\u{1}\n\\b".into()),
            OwnedArg::Bytes([0, 1].into()),
            OwnedArg::Text(long.into()),
        ];
        let shown = args(&own);
        assert!(
            shown.starts_with(
                r#"1, {"text":"a\"\u0001\n\\b"}, {"bytes":"AAE="}, 65 bytes of blake3 "#
            ),
            "{shown}"
        );
    }
}
