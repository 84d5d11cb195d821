//! Exports of numbers alone. Nothing is translated: each number is written once, where the guest
//! takes it.

use engine_api::{NumericType, Slot};

use super::{BoundInstance, CallFailure, Ran};
use crate::policy::plan::ExportPlan;
use crate::{Arg, Results, Value};

impl BoundInstance {
    /// Calls an export of this type. Does nothing if the arguments do not fit: the check of each
    /// argument then says why.
    pub(super) fn run_numbers(
        &mut self,
        plan: &ExportPlan,
        ty: NumericType,
        args: &[Arg<'_>],
    ) -> Result<Option<Ran>, CallFailure> {
        let mut slots = [Slot::default(); Slot::MAX];
        let params = plan.ty.params();
        if params.len() != args.len() {
            return Ok(None);
        }
        for ((slot, arg), param) in slots.iter_mut().zip(args).zip(params) {
            match arg {
                Arg::Val(val) if val.ty() == *param => match Slot::of(val) {
                    Some(number) => *slot = number,
                    None => return Ok(None),
                },
                _ => return Ok(None),
            }
        }
        self.call_numbers(plan.func, ty, &mut slots)?;
        let slots = plan.ty.results().iter().zip(&slots);
        let vals = slots.filter_map(|(ty, slot)| slot.to_val(*ty));
        Ok(Some(Ran {
            results: Results(vals.map(Value::Val).collect()),
            rejected: None,
        }))
    }
}
