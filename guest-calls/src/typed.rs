//! The types of calls whose export is resolved once: Rust types against the kinds of the policy.

use engine_api::{Slot, Val, ValType};

use crate::policy::plan::ExportPlan;
use crate::value::wrong_kind;
use crate::{Arg, CallError, ExportInfo, Handle, Results, Shape, Value};

/// The length of the longest tuple.
pub const SLOTS: usize = 6;

const ONLY_NUMBERS: &str = "only exports of numbers are called by slots";

/// One argument of a typed call.
pub trait TypedArg: sealed::One {
    #[doc(hidden)]
    fn shape() -> Shape;
    #[doc(hidden)]
    fn arg(&self) -> Arg<'_>;
    #[doc(hidden)]
    fn slot(&self) -> Slot;
}

/// The arguments of a typed call: a tuple of up to six.
pub trait TypedArgs: sealed::Many {
    #[doc(hidden)]
    fn check(plan: &ExportPlan) -> Result<(), CallError>;
    #[doc(hidden)]
    fn with_args<T>(&self, use_args: impl FnOnce(&[Arg<'_>]) -> T) -> T;
    #[doc(hidden)]
    fn fill(&self, slots: &mut [Slot; SLOTS]);
}

/// One result of a typed call.
pub trait TypedResult: Sized + sealed::One {
    #[doc(hidden)]
    fn fits(result: &Shape) -> bool;
    #[doc(hidden)]
    fn from_slot(slot: &Slot) -> Self;
    #[doc(hidden)]
    fn from_value(value: Value) -> Result<Self, CallError>;
}

/// The result of a typed call: one, a tuple of two, or nothing.
pub trait TypedResults: Sized {
    #[doc(hidden)]
    fn check(plan: &ExportPlan) -> Result<(), CallError>;
    #[doc(hidden)]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self;
    #[doc(hidden)]
    fn from_results(results: Results) -> Result<Self, CallError>;
}

mod sealed {
    /// Keeps users from adding types.
    pub trait One {}

    /// As [`One`], for tuples.
    pub trait Many {}
}

macro_rules! number {
    ($($number:ident, $variant:ident, $from_bits:expr;)*) => {$(
        impl sealed::One for $number {}

        impl TypedArg for $number {
            fn shape() -> Shape {
                Shape::Val(ValType::$variant)
            }

            #[inline]
            fn arg(&self) -> Arg<'_> {
                Arg::from(*self)
            }

            #[inline]
            fn slot(&self) -> Slot {
                Slot::from(*self)
            }
        }

        impl TypedResult for $number {
            fn fits(result: &Shape) -> bool {
                *result == Shape::Val(ValType::$variant)
            }

            #[inline]
            fn from_slot(slot: &Slot) -> Self {
                slot.$number()
            }

            fn from_value(value: Value) -> Result<Self, CallError> {
                match value {
                    Value::Val(Val::$variant(bits)) => {
                        let from_bits: fn(_) -> $number = $from_bits;
                        Ok(from_bits(bits))
                    }
                    other => Err(wrong_kind(stringify!($number), Some(&other))),
                }
            }
        }
    )*};
}

number! {
    i32, I32, |bits| bits;
    u32, I32, i32::cast_unsigned;
    i64, I64, |bits| bits;
    u64, I64, i64::cast_unsigned;
    f32, F32, f32::from_bits;
    f64, F64, f64::from_bits;
}

macro_rules! by_policy {
    ($($ty:ty, $kind:ident, $shape:expr, $result:pat, |$this:ident| $arg:expr, $name:literal;)*) => {$(
        impl sealed::One for $ty {}

        impl TypedArg for $ty {
            fn shape() -> Shape {
                $shape
            }

            #[inline]
            fn arg(&self) -> Arg<'_> {
                let $this = self;
                $arg
            }

            fn slot(&self) -> Slot {
                unreachable!("{ONLY_NUMBERS}")
            }
        }

        impl TypedResult for $ty {
            fn fits(result: &Shape) -> bool {
                matches!(result, $result)
            }

            fn from_slot(_: &Slot) -> Self {
                unreachable!("{ONLY_NUMBERS}")
            }

            fn from_value(value: Value) -> Result<Self, CallError> {
                match value {
                    Value::$kind(value) => Ok(value),
                    other => Err(wrong_kind($name, Some(&other))),
                }
            }
        }
    )*};
}

by_policy! {
    Handle, Handle, Shape::Handle(None), Shape::Handle(_), |this| Arg::Handle(*this), "a handle";
    Vec<u8>, Bytes, Shape::Bytes(None), Shape::Bytes(_) | Shape::Numbers(_), |this| Arg::Bytes(this), "bytes";
    String, Text, Shape::Text, Shape::Text, |this| Arg::Text(this), "text";
}

macro_rules! args_tuple {
    ($count:literal; $($arg:ident $position:tt),*) => {
        impl<$($arg: TypedArg),*> sealed::Many for ($($arg,)*) {}

        impl<$($arg: TypedArg),*> TypedArgs for ($($arg,)*) {
            fn check(plan: &ExportPlan) -> Result<(), CallError> {
                check_args(plan, &[$(($arg::shape(), std::any::type_name::<$arg>())),*])
            }

            #[inline]
            fn with_args<T>(&self, use_args: impl FnOnce(&[Arg<'_>]) -> T) -> T {
                use_args(&[$(self.$position.arg()),*])
            }

            #[inline]
            #[allow(unused_variables, reason = "the empty tuple fills none")]
            fn fill(&self, slots: &mut [Slot; SLOTS]) {
                $(slots[$position] = self.$position.slot();)*
            }
        }
    };
}

args_tuple!(0;);
args_tuple!(1; A 0);
args_tuple!(2; A 0, B 1);
args_tuple!(3; A 0, B 1, C 2);
args_tuple!(4; A 0, B 1, C 2, D 3);
args_tuple!(5; A 0, B 1, C 2, D 3, E 4);
args_tuple!(6; A 0, B 1, C 2, D 3, E 4, F 5);

fn check_args(plan: &ExportPlan, args: &[(Shape, &str)]) -> Result<(), CallError> {
    plan.check_count(args.len(), |count| format!("a tuple of {count}"))?;
    let mut args = plan.params().zip(args);
    match args.find(|(param, (shape, _))| !param.takes(shape)) {
        None => Ok(()),
        Some((param, (_, name))) => Err(plan.misfit(param, (*name).to_owned())),
    }
}

/// What a call gives, an error included, if each result is of the type asked for.
fn check_results(
    plan: &ExportPlan,
    fits: &[fn(&Shape) -> bool],
    expected: &'static str,
) -> Result<(), CallError> {
    let info = ExportInfo::of(plan);
    let shapes: Vec<Shape> = info.gives().collect();
    let is_fallible = shapes.len() < info.results.len();
    if !is_fallible
        && shapes.len() == fits.len()
        && shapes.iter().zip(fits).all(|(s, fits)| fits(s))
    {
        return Ok(());
    }
    let kinds: Vec<String> = info.results.iter().map(ToString::to_string).collect();
    let got = format!("[{}] of `{}` {}", kinds.join(", "), info.name, info.ty);
    Err(CallError::ResultKind {
        position: 0,
        expected,
        got,
    })
}

impl TypedResults for () {
    fn check(plan: &ExportPlan) -> Result<(), CallError> {
        check_results(plan, &[], "nothing")
    }

    fn from_slots(_: &[Slot; SLOTS]) -> Self {}

    fn from_results(_: Results) -> Result<Self, CallError> {
        Ok(())
    }
}

impl<R: TypedResult> TypedResults for R {
    fn check(plan: &ExportPlan) -> Result<(), CallError> {
        check_results(plan, &[R::fits], std::any::type_name::<R>())
    }

    #[inline]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self {
        R::from_slot(&slots[0])
    }

    fn from_results(results: Results) -> Result<Self, CallError> {
        match results.0.into_iter().next() {
            Some(value) => R::from_value(value),
            None => Err(wrong_kind(std::any::type_name::<R>(), None)),
        }
    }
}

impl<R: TypedResult, S: TypedResult> TypedResults for (R, S) {
    fn check(plan: &ExportPlan) -> Result<(), CallError> {
        check_results(plan, &[R::fits, S::fits], std::any::type_name::<(R, S)>())
    }

    #[inline]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self {
        (R::from_slot(&slots[0]), S::from_slot(&slots[1]))
    }

    fn from_results(results: Results) -> Result<Self, CallError> {
        let mut values = results.0.into_iter();
        match (values.next(), values.next()) {
            (Some(first), Some(second)) => Ok((R::from_value(first)?, S::from_value(second)?)),
            _ => Err(wrong_kind(std::any::type_name::<(R, S)>(), None)),
        }
    }
}
