//! Calls whose export and types are resolved once.

use std::marker::PhantomData;
use std::sync::Arc;

use engine_api::{NumericType, Slot};
use guest_calls::typed::{SLOTS, TypedArgs, TypedResults};

use super::DataPlane;
use super::attempts::Near;
use crate::policy::plan::ExportPlan;
use crate::{Error, Role};

/// An export with the types of its arguments and results, resolved once by
/// [`Proxy::typed`](crate::Proxy::typed). It is good for every generation.
///
/// ```
/// # #[path = "../../tests/fake/proxied.rs"] mod fake;
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
        P::check(&plan)?;
        R::check(&plan)?;
        // An audit is told of every call with its arguments.
        let is_logged = self.shared.pure_calls.is_logging();
        let is_alone = plan.role == Role::Pure
            && plan.needs.is_none()
            && plan.exhausted.is_none()
            && !is_logged;
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
            return self.proxy.on_active(&self.plan, Near::Waits, |guest| {
                let mut slots = [Slot::default(); SLOTS];
                args.fill(&mut slots);
                guest.call_pure_numbers(self.plan.func, ty, &mut slots)?;
                Ok(R::from_slots(&slots))
            });
        }
        let results = args.with_args(|args| self.proxy.call(&self.plan, args))?;
        Ok(R::from_results(results)?)
    }
}

impl<P, R> std::fmt::Debug for Typed<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Typed({} {})", self.plan.name, self.plan.ty)
    }
}
