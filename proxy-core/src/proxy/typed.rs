//! Calls whose export and types are resolved once.

use std::marker::PhantomData;
use std::sync::Arc;

use engine_api::{Val, ValType};
use smallvec::SmallVec;

use super::{ExportInfo, ExportPlan, Inner, Proxy};
use crate::policy::{ArgKind, ResultKind};
use crate::value::{Arg, Results, Value, wrong_kind};
use crate::{Error, Handle};

/// An export with the types of its arguments and results, resolved once by [`Proxy::typed`]. It is
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
    proxy: Arc<Inner>,
    plan: Arc<ExportPlan>,
    types: PhantomData<fn(P) -> R>,
}

impl Proxy {
    /// Resolves an export once, for the fastest calls there are:
    /// `proxy.typed::<(Handle, u64), u64>("prove")?.call((index, 7))`.
    ///
    /// Arguments are a tuple of numbers, [`Handle`]s, byte vectors and strings; the result is one of
    /// these, a tuple of two, or `()`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownExport`]; [`Error::Argument`] or [`Error::ResultKind`] if the types are not
    /// those of the export and its policy.
    pub fn typed<P: TypedArgs, R: TypedResults>(&self, export: &str) -> Result<Typed<P, R>, Error> {
        let plan = Arc::clone(self.0.plan_of(export)?);
        let info = self.export(export)?;
        P::check(&info)?;
        R::check(&info)?;
        Ok(Typed {
            proxy: Arc::clone(&self.0),
            plan,
            types: PhantomData,
        })
    }
}

impl<P: TypedArgs, R: TypedResults> Typed<P, R> {
    /// Calls the export, as [`Proxy::call`] does.
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
        if self.plan.plain {
            let mut vals: SmallVec<[Val; 4]> = SmallVec::new();
            args.push_vals(&mut vals);
            return self.proxy.on_active(&self.plan, |guest| {
                let mut results = R::slots();
                guest.call_plain(self.plan.func, &vals, results.as_mut())?;
                Ok(R::from_vals(results.as_ref()))
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

/// One argument of a typed call.
pub trait TypedArg: sealed::One {
    #[doc(hidden)]
    fn fits(kind: &ArgKind, ty: ValType) -> bool;
    #[doc(hidden)]
    fn arg(&self) -> Arg<'_>;
}

/// The arguments of a typed call: a tuple of up to six.
pub trait TypedArgs: sealed::Many {
    #[doc(hidden)]
    fn check(export: &ExportInfo) -> Result<(), Error>;
    #[doc(hidden)]
    fn with_args<T>(&self, use_args: impl FnOnce(&[Arg<'_>]) -> T) -> T;
    #[doc(hidden)]
    fn push_vals(&self, vals: &mut SmallVec<[Val; 4]>);
}

/// One result of a typed call.
pub trait TypedResult: Sized + sealed::One {
    #[doc(hidden)]
    fn fits(kind: &ResultKind, ty: ValType) -> bool;
    #[doc(hidden)]
    fn from_val(val: &Val) -> Self;
    #[doc(hidden)]
    fn from_value(value: Value) -> Result<Self, Error>;
    #[doc(hidden)]
    fn slot() -> Val;
}

/// The result of a typed call: one, a tuple of two, or nothing.
pub trait TypedResults: Sized {
    #[doc(hidden)]
    type Slots: AsRef<[Val]> + AsMut<[Val]>;
    #[doc(hidden)]
    fn check(export: &ExportInfo) -> Result<(), Error>;
    #[doc(hidden)]
    fn slots() -> Self::Slots;
    #[doc(hidden)]
    fn from_vals(vals: &[Val]) -> Self;
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
    ($($number:ty, $variant:ident, $from_bits:expr;)*) => {$(
        impl sealed::One for $number {}

        impl TypedArg for $number {
            fn fits(kind: &ArgKind, ty: ValType) -> bool {
                *kind == ArgKind::Value && ty == ValType::$variant
            }

            #[inline]
            fn arg(&self) -> Arg<'_> {
                Arg::from(*self)
            }
        }

        impl TypedResult for $number {
            fn fits(kind: &ResultKind, ty: ValType) -> bool {
                *kind == ResultKind::Value && ty == ValType::$variant
            }

            #[inline]
            fn from_val(val: &Val) -> Self {
                let Val::$variant(bits) = val else {
                    unreachable!("the types were checked when the export was resolved")
                };
                let from_bits: fn(_) -> $number = $from_bits;
                from_bits(*bits)
            }

            fn from_value(value: Value) -> Result<Self, Error> {
                match value {
                    Value::Val(val) => Ok(Self::from_val(&val)),
                    other => Err(wrong_kind(stringify!($number), Some(&other))),
                }
            }

            #[inline]
            fn slot() -> Val {
                Val::$variant(0)
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
        }

        impl TypedResult for $ty {
            fn fits(kind: &ResultKind, _: ValType) -> bool {
                matches!(kind, ResultKind::$kind(_))
            }

            fn from_val(_: &Val) -> Self {
                unreachable!("an export with such a result is not called by values alone")
            }

            fn from_value(value: Value) -> Result<Self, Error> {
                match value {
                    Value::$kind(value) => Ok(value),
                    other => Err(wrong_kind($name, Some(&other))),
                }
            }

            fn slot() -> Val {
                Val::I32(0)
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
            #[allow(unused_variables, reason = "the empty tuple pushes nothing")]
            fn push_vals(&self, vals: &mut SmallVec<[Val; 4]>) {
                $(if let Arg::Val(val) = self.$position.arg() {
                    vals.push(val);
                })*
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
    type Slots = [Val; 0];

    fn check(export: &ExportInfo) -> Result<(), Error> {
        if export.results.is_empty() {
            Ok(())
        } else {
            Err(result_misfit(export, "nothing"))
        }
    }

    fn slots() -> [Val; 0] {
        []
    }

    fn from_vals(_: &[Val]) -> Self {}

    fn from_results(_: Results) -> Result<Self, Error> {
        Ok(())
    }
}

impl<R: TypedResult> TypedResults for R {
    type Slots = [Val; 1];

    fn check(export: &ExportInfo) -> Result<(), Error> {
        match (export.results.as_slice(), export.ty.results()) {
            ([result], [ty, ..]) if R::fits(result, *ty) => Ok(()),
            _ => Err(result_misfit(export, std::any::type_name::<R>())),
        }
    }

    #[inline]
    fn slots() -> [Val; 1] {
        [R::slot()]
    }

    #[inline]
    fn from_vals(vals: &[Val]) -> Self {
        R::from_val(&vals[0])
    }

    fn from_results(results: Results) -> Result<Self, Error> {
        match results.0.into_iter().next() {
            Some(value) => R::from_value(value),
            None => Err(wrong_kind(std::any::type_name::<R>(), None)),
        }
    }
}

impl<R: TypedResult, S: TypedResult> TypedResults for (R, S) {
    type Slots = [Val; 2];

    fn check(export: &ExportInfo) -> Result<(), Error> {
        match (export.results.as_slice(), export.ty.results()) {
            ([first, second], [ty, .., last]) if R::fits(first, *ty) && S::fits(second, *last) => {
                Ok(())
            }
            _ => Err(result_misfit(export, std::any::type_name::<(R, S)>())),
        }
    }

    fn slots() -> [Val; 2] {
        [R::slot(), S::slot()]
    }

    fn from_vals(vals: &[Val]) -> Self {
        (R::from_val(&vals[0]), S::from_val(&vals[1]))
    }

    fn from_results(results: Results) -> Result<Self, Error> {
        let mut values = results.0.into_iter();
        match (values.next(), values.next()) {
            (Some(first), Some(second)) => Ok((R::from_value(first)?, S::from_value(second)?)),
            _ => Err(wrong_kind(std::any::type_name::<(R, S)>(), None)),
        }
    }
}
