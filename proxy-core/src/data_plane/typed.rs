//! Calls whose export and types are resolved once.

use std::marker::PhantomData;
use std::sync::Arc;

use engine_api::{NumericType, Slot, Val, ValType};

use super::DataPlane;
use crate::export_info::ExportInfo;
use crate::policy::plan::ExportPlan;
use crate::policy::{ArgKind, ResultKind};
use crate::value::{Arg, Results, Value, wrong_kind};
use crate::{Error, Handle, Role};

/// An export with the types of its arguments and results, resolved once by [`Proxy::typed`](crate::Proxy::typed). It is
/// good for every generation.
///
/// ```
/// # #[path = "../../tests/fake/mod.rs"] mod fake;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let proxy = fake::counter_proxy()?;
/// use proxy_core::Handle;
///
/// let new = proxy.typed::<(), Handle>("counter_new")?;
/// let add = proxy.typed::<(Handle, i32), ()>("counter_add")?;
/// let value = proxy.typed::<(Handle,), i32>("counter_value")?;
/// let counter = new.call(())?;
/// add.call((counter, 42))?;
/// proxy.prepare_standby()?;
/// proxy.swap()?;
/// assert_eq!(value.call((counter,))?, 42);
/// assert!(proxy.typed::<(f64,), i32>("counter_value").is_err());
/// # Ok(())
/// # }
/// ```
pub struct Typed<P, R> {
    proxy: Arc<DataPlane>,
    plan: Arc<ExportPlan>,
    /// For a pure call of numbers: its type, checked against `P` and `R`.
    numeric: Option<NumericType>,
    types: PhantomData<fn(P) -> R>,
}

impl DataPlane {
    pub(crate) fn typed<P: TypedArgs, R: TypedResults>(
        self: &Arc<Self>,
        export: &str,
    ) -> Result<Typed<P, R>, Error> {
        let plan = Arc::clone(self.shared.plan_of(export)?);
        let info = ExportInfo::of(&plan);
        P::check(&info)?;
        R::check(&info)?;
        let is_alone = plan.role == Role::Pure && plan.needs.is_none();
        let numeric = plan.numeric.filter(|_| is_alone);
        Ok(Typed {
            proxy: Arc::clone(self),
            plan,
            numeric,
            types: PhantomData,
        })
    }
}

impl<P: TypedArgs, R: TypedResults> Typed<P, R> {
    /// Calls the export, as [`Proxy::call`](crate::Proxy::call) does.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    #[inline]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a call reads `call((a, b))`, as natively"
    )]
    pub fn call(&self, args: P) -> Result<R, Error> {
        if let Some(ty) = self.numeric {
            return self.proxy.on_active(&self.plan, |guest| {
                let mut slots = [Slot::default(); SLOTS];
                args.fill(&mut slots);
                guest.call_numbers(self.plan.func, ty, &mut slots)?;
                Ok(R::from_slots(&slots))
            });
        }
        let results = args.with_args(|args| self.proxy.call(&self.plan, args))?;
        R::from_results(results)
    }
}

impl<P, R> std::fmt::Debug for Typed<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Typed({} {})", self.plan.name, self.plan.ty)
    }
}

/// As many as the longest tuple has.
const SLOTS: usize = 6;

const ONLY_NUMBERS: &str = "only exports of numbers are called by slots";

/// One argument of a typed call.
pub trait TypedArg: sealed::One {
    #[doc(hidden)]
    fn fits(kind: &ArgKind, ty: ValType) -> bool;
    #[doc(hidden)]
    fn arg(&self) -> Arg<'_>;
    #[doc(hidden)]
    fn slot(&self) -> Slot;
}

/// The arguments of a typed call: a tuple of up to six.
pub trait TypedArgs: sealed::Many {
    #[doc(hidden)]
    fn check(export: &ExportInfo) -> Result<(), Error>;
    #[doc(hidden)]
    fn with_args<T>(&self, use_args: impl FnOnce(&[Arg<'_>]) -> T) -> T;
    #[doc(hidden)]
    fn fill(&self, slots: &mut [Slot; SLOTS]);
}

/// One result of a typed call.
pub trait TypedResult: Sized + sealed::One {
    #[doc(hidden)]
    fn fits(kind: &ResultKind, ty: ValType) -> bool;
    #[doc(hidden)]
    fn from_slot(slot: &Slot) -> Self;
    #[doc(hidden)]
    fn from_value(value: Value) -> Result<Self, Error>;
}

/// The result of a typed call: one, a tuple of two, or nothing.
pub trait TypedResults: Sized {
    #[doc(hidden)]
    fn check(export: &ExportInfo) -> Result<(), Error>;
    #[doc(hidden)]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self;
    #[doc(hidden)]
    fn from_results(results: Results) -> Result<Self, Error>;
}

mod sealed {
    /// The set of types is the contract's, not the user's.
    pub trait One {}

    /// As [`One`], for tuples.
    pub trait Many {}
}

macro_rules! number {
    ($($number:ident, $variant:ident, $from_bits:expr;)*) => {$(
        impl sealed::One for $number {}

        impl TypedArg for $number {
            fn fits(kind: &ArgKind, ty: ValType) -> bool {
                *kind == ArgKind::Value && ty == ValType::$variant
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
            fn fits(kind: &ResultKind, ty: ValType) -> bool {
                *kind == ResultKind::Value && ty == ValType::$variant
            }

            #[inline]
            fn from_slot(slot: &Slot) -> Self {
                slot.$number()
            }

            fn from_value(value: Value) -> Result<Self, Error> {
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
    ($($ty:ty, $kind:ident, |$this:ident| $arg:expr, $name:literal;)*) => {$(
        impl sealed::One for $ty {}

        impl TypedArg for $ty {
            fn fits(kind: &ArgKind, _: ValType) -> bool {
                matches!(kind, ArgKind::$kind(_))
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
            fn fits(kind: &ResultKind, _: ValType) -> bool {
                matches!(kind, ResultKind::$kind(_))
            }

            fn from_slot(_: &Slot) -> Self {
                unreachable!("{ONLY_NUMBERS}")
            }

            fn from_value(value: Value) -> Result<Self, Error> {
                match value {
                    Value::$kind(value) => Ok(value),
                    other => Err(wrong_kind($name, Some(&other))),
                }
            }
        }
    )*};
}

by_policy! {
    Handle, Handle, |this| Arg::Handle(*this), "a handle";
    Vec<u8>, Bytes, |this| Arg::Bytes(this), "bytes";
    String, Text, |this| Arg::Text(this), "text";
}

macro_rules! args_tuple {
    ($count:literal; $($arg:ident $position:tt),*) => {
        impl<$($arg: TypedArg),*> sealed::Many for ($($arg,)*) {}

        impl<$($arg: TypedArg),*> TypedArgs for ($($arg,)*) {
            fn check(export: &ExportInfo) -> Result<(), Error> {
                check_count(export, $count)?;
                $(
                    let before: usize = export.args[..$position].iter().map(ArgKind::width).sum();
                    let ty = export.ty.params()[before];
                    if !$arg::fits(&export.args[$position], ty) {
                        return Err(misfit(export, $position, ty, std::any::type_name::<$arg>()));
                    }
                )*
                Ok(())
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

fn check_count(export: &ExportInfo, count: usize) -> Result<(), Error> {
    if export.args.len() == count {
        return Ok(());
    }
    Err(Error::Argument {
        export: export.name.clone(),
        position: count.min(export.args.len()),
        expected: format!("one of {}", export.args.len()),
        got: format!("a tuple of {count}"),
    })
}

fn misfit(export: &ExportInfo, position: usize, ty: ValType, got: &str) -> Error {
    let expected = match &export.args[position] {
        ArgKind::Value => format!("a value of type {ty}"),
        kind => format!("of kind {kind}"),
    };
    Error::Argument {
        export: export.name.clone(),
        position,
        expected,
        got: got.to_owned(),
    }
}

fn result_misfit(export: &ExportInfo, expected: &'static str) -> Error {
    let kinds: Vec<String> = export.results.iter().map(ToString::to_string).collect();
    let got = format!("[{}] of `{}` {}", kinds.join(", "), export.name, export.ty);
    Error::ResultKind {
        position: 0,
        expected,
        got,
    }
}

impl TypedResults for () {
    fn check(export: &ExportInfo) -> Result<(), Error> {
        if export.results.is_empty() {
            Ok(())
        } else {
            Err(result_misfit(export, "nothing"))
        }
    }

    fn from_slots(_: &[Slot; SLOTS]) -> Self {}

    fn from_results(_: Results) -> Result<Self, Error> {
        Ok(())
    }
}

impl<R: TypedResult> TypedResults for R {
    fn check(export: &ExportInfo) -> Result<(), Error> {
        match (export.results.as_slice(), export.ty.results()) {
            ([result], [ty, ..]) if R::fits(result, *ty) => Ok(()),
            _ => Err(result_misfit(export, std::any::type_name::<R>())),
        }
    }

    #[inline]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self {
        R::from_slot(&slots[0])
    }

    fn from_results(results: Results) -> Result<Self, Error> {
        match results.0.into_iter().next() {
            Some(value) => R::from_value(value),
            None => Err(wrong_kind(std::any::type_name::<R>(), None)),
        }
    }
}

impl<R: TypedResult, S: TypedResult> TypedResults for (R, S) {
    fn check(export: &ExportInfo) -> Result<(), Error> {
        match (export.results.as_slice(), export.ty.results()) {
            ([first, second], [ty, .., last]) if R::fits(first, *ty) && S::fits(second, *last) => {
                Ok(())
            }
            _ => Err(result_misfit(export, std::any::type_name::<(R, S)>())),
        }
    }

    #[inline]
    fn from_slots(slots: &[Slot; SLOTS]) -> Self {
        (R::from_slot(&slots[0]), S::from_slot(&slots[1]))
    }

    fn from_results(results: Results) -> Result<Self, Error> {
        let mut values = results.0.into_iter();
        match (values.next(), values.next()) {
            (Some(first), Some(second)) => Ok((R::from_value(first)?, S::from_value(second)?)),
            _ => Err(wrong_kind(std::any::type_name::<(R, S)>(), None)),
        }
    }
}
