//! Numbers and addresses as values of the guest.

use engine_api::{Val, ValType};
use smallvec::{SmallVec, smallvec};

use crate::{Arg, ArgKind, Coercion, JsPassing};

/// The words of a number that can be null, and of null itself, for parameters of these types.
pub(super) fn nullable(
    kind: &ArgKind,
    arg: &Arg<'_>,
    types: &[ValType],
) -> Option<SmallVec<[Val; 2]>> {
    let given = match arg {
        Arg::Val(val) if *arg != Arg::NULL => Some(val),
        _ => None,
    };
    Some(match (kind, given) {
        (kind, Some(val)) if kind.is_flagged() => smallvec![Val::I32(1), val.clone()],
        (ArgKind::OrNull(_, coercion), Some(val)) => smallvec![coerced(val, *coercion)],
        (ArgKind::OrNull(number, _), None) => smallvec![number_to_val(*number, types[0])],
        (ArgKind::Optional(_) | ArgKind::Js(JsPassing::Optional), None) if *arg == Arg::NULL => {
            let own = types.iter().take(kind.width());
            own.map(|ty| Val::zero(*ty)).collect()
        }
        _ => return None,
    })
}

/// What the guest gets for a number that is not null.
fn coerced(val: &Val, coercion: Coercion) -> Val {
    match (val.f64(), coercion) {
        (_, Coercion::AsIs) | (None, _) => val.clone(),
        (Some(number), coercion) => Val::from(coercion.of(number)),
    }
}

/// A number as a value of the type that the function takes.
pub(super) fn number_to_val(number: u64, ty: ValType) -> Val {
    #[expect(
        clippy::cast_precision_loss,
        reason = "the binding has compared it with the type"
    )]
    match ty {
        ValType::F64 => Val::from(number as f64),
        ValType::F32 => Val::from(number as f32),
        ty => raw_to_val(number, ty),
    }
}

/// A pointer as a value of the type that the function takes.
pub(super) fn raw_to_val(raw: u64, ty: ValType) -> Val {
    match ty {
        ValType::I64 => Val::from(raw),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it came from an i32 of this guest"
        )]
        _ => Val::from(raw as u32),
    }
}

pub(super) fn val_to_raw(val: &Val) -> u64 {
    match val {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        _ => 0,
    }
}
