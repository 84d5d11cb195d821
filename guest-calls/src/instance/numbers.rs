//! Exports of numbers alone: nothing to translate, so the guest takes them where they are put once.

use engine_api::{NumericType, Slot};

use super::guest::{CallFailure, Guest};
use super::marshal::Ran;
use crate::journal::ResultRecord;
use crate::policy::plan::ExportPlan;
use crate::value::{Arg, Results, Value};

impl Guest {
    /// Calls an export of this type, or does nothing if the arguments do not fit: who checks them one by one says
    /// how.
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
        self.instance
            .call_numbers(plan.func, ty, &mut slots)
            .map_err(|source| self.ended(source))?;
        let mut ran = Ran {
            results: Results::default(),
            records: smallvec::SmallVec::new(),
            rejected: None,
        };
        let results = plan.ty.results().iter().zip(&slots);
        for val in results.filter_map(|(ty, slot)| slot.to_val(*ty)) {
            ran.results.0.push(Value::Val(val.clone()));
            ran.records.push(ResultRecord::Val(val));
        }
        Ok(Some(ran))
    }
}
