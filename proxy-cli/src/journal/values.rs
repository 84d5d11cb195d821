//! Values of a journal in the JSON that a workload writes them in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine_api::Val;
use proxy_core::{Handle, OwnedArg, ResultView, Value};
use serde_json::{Value as Json, json};

/// A number. What JSON has no number for is an object with the bits.
pub(crate) fn val(val: &Val) -> Json {
    match val {
        Val::I32(value) => json!(value),
        Val::I64(value) => json!(value),
        Val::F32(bits) => match f32::from_bits(*bits) {
            value if value.is_finite() => json!(value),
            _ => json!({ "f32": format!("{bits:#010x}") }),
        },
        Val::F64(bits) => match f64::from_bits(*bits) {
            value if value.is_finite() => json!(value),
            _ => json!({ "f64": format!("{bits:#018x}") }),
        },
        Val::V128(bits) => json!({ "v128": format!("{bits:#034x}") }),
        _ => Json::Null,
    }
}

pub(crate) fn vals(vals: &[Val]) -> Json {
    vals.iter().map(val).collect()
}

/// The name of an object: the entry that made it, and which of its results it is.
pub(crate) fn handle(handle: &Handle) -> String {
    format!("{}.{}", handle.sequence(), handle.result())
}

pub(crate) fn arg(arg: &OwnedArg) -> Json {
    match arg {
        OwnedArg::Val(own) => val(own),
        OwnedArg::Handle(one) => json!({ "handle": handle(one) }),
        OwnedArg::Bytes(own) => bytes(own),
        OwnedArg::Text(text) => json!({ "text": text }),
        OwnedArg::Js(text) => js(text),
        OwnedArg::Handles(all) => {
            json!({ "handles": all.iter().map(handle).collect::<Vec<_>>() })
        }
    }
}

/// A JavaScript value; a text that is no JSON stays a text.
fn js(text: &str) -> Json {
    let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    json!({ "js": value })
}

fn bytes(bytes: &[u8]) -> Json {
    json!({ "bytes": STANDARD.encode(bytes) })
}

/// A result as a caller got it.
pub(crate) fn value(value: &Value) -> Json {
    match value {
        Value::Val(own) => val(own),
        Value::Handle(one) => json!({ "handle": handle(one) }),
        Value::Bytes(own) => bytes(own),
        Value::Text(text) => json!(text),
        Value::Js(text) => js(text),
        Value::Null | Value::Pointer(_) | Value::Pointers(_) => Json::Null,
    }
}

/// A result as a journal keeps it: of bytes and texts only the length and the hash.
pub(crate) fn result(result: &ResultView) -> Json {
    let hex = |hash: &[u8; 32]| blake3::Hash::from(*hash).to_hex().to_string();
    match result {
        ResultView::Val(own) => val(own),
        ResultView::Object { handle: one, ty } => json!({ "handle": handle(one), "type": ty }),
        ResultView::Buffer { bytes, hash } => json!({ "length": bytes, "blake3": hex(hash) }),
        ResultView::Error { hash } => json!({ "error_blake3": hex(hash) }),
        _ => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_what_is_none_has_its_bits() {
        for (value, json) in [
            (Val::I64(i64::MIN), "-9223372036854775808"),
            (Val::from(0.5_f32), "0.5"),
            (Val::from(f64::NAN), r#"{"f64":"0x7ff8000000000000"}"#),
            (Val::from(f32::INFINITY), r#"{"f32":"0x7f800000"}"#),
            (Val::ExternRef(None), "null"),
        ] {
            assert_eq!(val(&value).to_string(), json);
        }
        let text = arg(&OwnedArg::Text("a\u{1b}\"".into()));
        assert_eq!(text.to_string(), r#"{"text":"a\u001b\""}"#);
    }
}
