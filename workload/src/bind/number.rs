//! Numbers as values of wasm types.

use anyhow::{Result, bail, ensure};
use engine_api::{Val, ValType};
use serde_json::Number;

/// A number as a value of a wasm type. Integers may be written signed or unsigned.
pub(super) fn to_val(number: &Number, ty: ValType) -> Result<Val> {
    let whole = number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from));
    let in_range = |signed_min: i128, unsigned_max: i128| match whole {
        Some(whole) if (signed_min..=unsigned_max).contains(&whole) => Ok(whole),
        Some(whole) => bail!("{whole} is out of range for {ty}"),
        None => bail!("{number} is no whole number, as {ty} needs"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the range was checked; unsigned numbers keep their bits, floats take the nearest"
    )]
    Ok(match ty {
        ValType::I32 => Val::I32(in_range(i32::MIN.into(), u32::MAX.into())? as i32),
        ValType::I64 => Val::I64(in_range(i64::MIN.into(), u64::MAX.into())? as i64),
        ValType::F32 => {
            let value = number.as_f64().unwrap_or(f64::NAN) as f32;
            ensure!(value.is_finite(), "{number} is out of range for f32");
            Val::from(value)
        }
        ValType::F64 => Val::from(number.as_f64().unwrap_or(f64::NAN)),
        ValType::V128 | ValType::FuncRef | ValType::ExternRef => {
            bail!("a workload cannot write a {ty}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn val(text: &str, ty: ValType) -> Result<Val> {
        to_val(&serde_json::from_str(text).unwrap(), ty)
    }

    #[test]
    fn numbers_take_the_type_of_the_parameter() {
        assert_eq!(val("-1", ValType::I32).unwrap(), Val::I32(-1));
        assert_eq!(val("4294967295", ValType::I32).unwrap(), Val::I32(-1));
        assert_eq!(
            val("18446744073709551615", ValType::I64).unwrap(),
            Val::I64(-1)
        );
        assert_eq!(val("1", ValType::F64).unwrap(), Val::from(1.0_f64));
        assert_eq!(val("0.1", ValType::F32).unwrap(), Val::from(0.1_f32));
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        for (text, ty) in [
            ("4294967296", ValType::I32),
            ("-2147483649", ValType::I32),
            ("1.5", ValType::I32),
            ("1e300", ValType::F32),
            ("1", ValType::V128),
            ("1", ValType::ExternRef),
        ] {
            assert!(val(text, ty).is_err(), "{text} as {ty}");
        }
    }
}
