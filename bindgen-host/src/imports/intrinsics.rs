//! wasm-bindgen's own functions: references, strings, numbers, tests of types.

use engine_api::{FuncType, ValType};

use crate::call::{Call, ImportOutcome, Out, Serve};
use crate::value::{Js, Object};

pub(super) fn find(base: &str, ty: &FuncType) -> Option<Serve> {
    Some(match base {
        "object_drop_ref" => |call| call.take(0).map(|_| Out::Nothing),
        "object_clone_ref" => |call| Ok(Out::Js(call.object(0)?)),
        "init_externref_table" => |call| call.init_externrefs(),
        "memory" => |_| Ok(Out::Js(Js::object(Object::Memory))),
        "string_new" if text_param(ty) => |call| Ok(Out::Js(Js::text(call.text(0)?))),
        "number_new" => |call| Ok(Out::Js(Js::Number(call.f64(0)))),
        "bigint_from_i64" => |call| Ok(Out::Js(Js::BigInt(call.i64(0).into()))),
        "bigint_from_u64" => |call| Ok(Out::Js(Js::BigInt(call.i64(0).cast_unsigned().into()))),
        "number_get" => number_get,
        "string_get" => string_get,
        "bigint_get_as_i64" => bigint_get,
        "boolean_get" => boolean_get,
        "debug_string" => |call| {
            let shown = call.debug(&call.object(1)?)?;
            call.return_text(call.u32(0), Some(&shown))
        },
        "throw" => |call| {
            let message = call.text(0)?;
            Err(call.uncaught(&Js::error("Error", message)))
        },
        "rethrow" => |call| {
            let thrown = call.take(0)?;
            Err(call.uncaught(&thrown))
        },
        "error_new" | "Error" if text_param(ty) => {
            |call| Ok(Out::Js(Js::error("Error", call.text(0)?)))
        }
        "is_undefined" => |call| is(call, |js| matches!(js, Js::Undefined)),
        "is_null" => |call| is(call, |js| matches!(js, Js::Null)),
        "is_string" => |call| is(call, |js| matches!(js, Js::Text(_))),
        "is_bigint" => |call| is(call, |js| matches!(js, Js::BigInt(_))),
        "is_object" => |call| {
            is(call, |js| {
                matches!(js, Js::Object(_)) && js.type_name() == "object"
            })
        },
        "is_function" => |call| is(call, |js| js.type_name() == "function"),
        "is_symbol" => |call| is(call, |js| matches!(js, Js::Symbol(_))),
        "is_falsy" => |call| is(call, |js| !js.is_truthy()),
        "jsval_eq" => |call| {
            let same = call.object(0)?.is_same(&call.object(1)?);
            Ok(Out::I32(same.into()))
        },
        "jsval_loose_eq" => |call| {
            let (a, b) = (call.object(0)?, call.object(1)?);
            let same = a.is_same(&b) || (a.is_like_none() && b.is_like_none());
            Ok(Out::I32(same.into()))
        },
        "typeof" => |call| Ok(Out::Js(Js::text(call.object(0)?.type_name()))),
        "as_number" => |call| Ok(Out::F64(call.object(0)?.to_number())),
        "Number" if ty.results() == [ValType::F64] => {
            |call| Ok(Out::F64(call.object(0)?.to_number()))
        }
        _ => return None,
    })
}

fn text_param(ty: &FuncType) -> bool {
    ty.params() == [ValType::I32, ValType::I32]
}

/// Whether the argument is such a value.
pub(super) fn is(call: &mut Call<'_>, question: fn(&Js) -> bool) -> ImportOutcome {
    Ok(Out::I32(question(&call.object(0)?).into()))
}

fn number_get(call: &mut Call<'_>) -> ImportOutcome {
    let number = match call.object(1)? {
        Js::Number(number) => Some(number.to_le_bytes()),
        _ => None,
    };
    call.return_option(call.u32(0), number)
}

fn string_get(call: &mut Call<'_>) -> ImportOutcome {
    let js = call.object(1)?;
    let text = match &js {
        Js::Text(text) => Some(&**text),
        _ => None,
    };
    call.return_text(call.u32(0), text)
}

fn bigint_get(call: &mut Call<'_>) -> ImportOutcome {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "as JavaScript's `asIntN(64)` does"
    )]
    let number = match call.object(1)? {
        Js::BigInt(number) => Some((number as i64).to_le_bytes()),
        _ => None,
    };
    call.return_option(call.u32(0), number)
}

/// 0, 1, or a number for a value that is no boolean: 2 up to release 0.2.100, 0xFFFFFF since.
fn boolean_get(call: &mut Call<'_>) -> ImportOutcome {
    Ok(Out::I32(match call.object(0)? {
        Js::Bool(value) => value.into(),
        _ if call.served.name.starts_with("__wbg_") => 0xFF_FFFF,
        _ => 2,
    }))
}

impl Js {
    /// JavaScript's `Number(value)`; NaN for objects.
    #[expect(clippy::cast_precision_loss, reason = "as JavaScript does")]
    pub(crate) fn to_number(&self) -> f64 {
        match self {
            Js::Null => 0.0,
            Js::Bool(value) => f64::from(u8::from(*value)),
            Js::Number(value) => *value,
            Js::BigInt(value) => *value as f64,
            Js::Text(text) => text_to_number(text.trim()),
            Js::Undefined | Js::Symbol(_) => f64::NAN,
            Js::Object(object) => match &**object {
                Object::Date(bits) => f64::from_bits(*bits),
                _ => f64::NAN,
            },
        }
    }
}

/// JavaScript's `Number(text)`. Rust reads other words for infinity, and no other bases.
#[expect(clippy::cast_precision_loss, reason = "as JavaScript does")]
fn text_to_number(text: &str) -> f64 {
    let based = |base: u32| {
        let digits = text.get(2..).filter(|digits| !digits.starts_with('+'))?;
        u128::from_str_radix(digits, base).ok()
    };
    let number = match text.get(..2) {
        _ if text.is_empty() => return 0.0,
        Some("0x" | "0X") => based(16),
        Some("0o" | "0O") => based(8),
        Some("0b" | "0B") => based(2),
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let is_word = digits
                .chars()
                .any(|c| c.is_alphabetic() && !matches!(c, 'e' | 'E'));
            return if is_word && digits != "Infinity" {
                f64::NAN
            } else {
                text.parse().unwrap_or(f64::NAN)
            };
        }
    };
    number.map_or(f64::NAN, |number| number as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_number_that_javascript_reads() {
        for (text, number) in [
            ("", 0.0),
            ("12", 12.0),
            ("-1.5e3", -1500.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0xff", 255.0),
            ("0b101", 5.0),
            ("0o17", 15.0),
            ("Infinity", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(text_to_number(text).to_bits(), number.to_bits(), "{text}");
        }
        for text in [
            "inf", "nan", "infinity", "-0x1", "0x", "0x+1", "1_0", "e5", "1n",
        ] {
            assert!(text_to_number(text).is_nan(), "{text}");
        }
    }
}
