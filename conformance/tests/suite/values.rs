//! Arguments and results as a file of the suite has them.

use engine_api::{ExternRef, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, WastArgCore, WastRetCore};
use wast::{WastArg, WastRet};

/// The value of an argument, or what the suite's own values lack.
pub(super) fn argument(arg: &WastArg<'_>) -> Result<Val, String> {
    let WastArg::Core(arg) = arg else {
        return Err("an argument of a component".to_owned());
    };
    Ok(match arg {
        WastArgCore::I32(number) => Val::I32(*number),
        WastArgCore::I64(number) => Val::I64(*number),
        WastArgCore::F32(number) => Val::F32(number.bits),
        WastArgCore::F64(number) => Val::F64(number.bits),
        WastArgCore::V128(vector) => Val::V128(u128::from_le_bytes(vector.to_le_bytes())),
        WastArgCore::RefNull(HeapType::Abstract { ty, .. }) => match ty {
            AbstractHeapType::Func => Val::FuncRef(None),
            AbstractHeapType::Extern => Val::ExternRef(None),
            ty => return Err(format!("a null of type {ty:?}")),
        },
        WastArgCore::RefExtern(number) => Val::ExternRef(Some(ExternRef::new(*number))),
        arg => return Err(format!("the argument {arg:?}")),
    })
}

/// Whether results are the expected ones.
pub(super) fn fit(got: &[Val], expected: &[WastRet<'_>]) -> bool {
    got.len() == expected.len()
        && got.iter().zip(expected).all(
            |(got, expected)| matches!(expected, WastRet::Core(expected) if fits(got, expected)),
        )
}

fn fits(got: &Val, expected: &WastRetCore<'_>) -> bool {
    match (got, expected) {
        (Val::I32(got), WastRetCore::I32(expected)) => got == expected,
        (Val::I64(got), WastRetCore::I64(expected)) => got == expected,
        (Val::F32(got), WastRetCore::F32(expected)) => match expected {
            NanPattern::CanonicalNan => got & !(1 << 31) == 0x7fc0_0000,
            NanPattern::ArithmeticNan => got & 0x7fc0_0000 == 0x7fc0_0000,
            NanPattern::Value(expected) => *got == expected.bits,
        },
        (Val::F64(got), WastRetCore::F64(expected)) => match expected {
            NanPattern::CanonicalNan => got & !(1 << 63) == 0x7ff8_0000_0000_0000,
            NanPattern::ArithmeticNan => got & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
            NanPattern::Value(expected) => *got == expected.bits,
        },
        (Val::FuncRef(None) | Val::ExternRef(None), WastRetCore::RefNull(_))
        | (Val::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
        (Val::ExternRef(Some(got)), WastRetCore::RefExtern(expected)) => {
            expected.is_none() || got.get() == expected.as_ref()
        }
        (got, WastRetCore::Either(expected)) => expected.iter().any(|one| fits(got, one)),
        _ => false,
    }
}
