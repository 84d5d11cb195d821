//! Exports of numbers and objects alone. Nothing is translated: each number and each address is
//! written once, where the guest takes it.

use engine_api::{NumericType, Slot, ValType};

use super::{BoundInstance, CallFailure, Ran};
use crate::policy::plan::ExportPlan;
use crate::{Arg, ArgKind, ResultKind, Results, SequenceNumber, Value};

impl BoundInstance {
    /// Calls an export of this type. Does nothing if the arguments do not fit: the check of each
    /// argument then says why.
    pub(super) fn run_slots(
        &mut self,
        plan: &ExportPlan,
        ty: NumericType,
        args: &[Arg<'_>],
        sequence: SequenceNumber,
    ) -> Result<Option<Ran>, CallFailure> {
        // Parameters that are always zero are slots after those of the arguments.
        let mut slots = [Slot::default(); Slot::MAX];
        let params = plan.ty.params();
        if params.len() != args.len() {
            return Ok(None);
        }
        let given = args.iter().zip(&plan.args).zip(params);
        for (slot, ((arg, kind), param)) in slots.iter_mut().zip(given) {
            *slot = match (arg, kind) {
                (Arg::Val(val), ArgKind::Value) if val.ty() == *param => match Slot::of(val) {
                    Some(number) => number,
                    None => return Ok(None),
                },
                (Arg::Handle(handle), ArgKind::Handle(_)) => {
                    address(self.check_handle(plan, *handle, kind)?, *param)
                }
                _ => return Ok(None),
            };
        }
        self.call_numbers(plan.func, ty, &mut slots)?;
        let mut results = Results::default();
        let given = plan.results.iter().zip(plan.ty.results());
        for (position, ((result, ty), slot)) in given.zip(&slots).enumerate() {
            results.0.push(match result.kind {
                ResultKind::Handle(_) => {
                    let raw = match ty {
                        ValType::I64 => slot.u64(),
                        _ => u64::from(slot.u32()),
                    };
                    self.register(sequence, position, raw, result)
                }
                _ => Value::Val(slot.to_val(*ty).expect("all of its types are numbers")),
            });
        }
        Ok(Some(Ran {
            results,
            rejected: None,
        }))
    }
}

/// An address as a number of the type that the function takes.
fn address(raw: u64, ty: ValType) -> Slot {
    match ty {
        ValType::I64 => Slot::from(raw),
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it came from an i32 of this guest"
        )]
        _ => Slot::from(raw as u32),
    }
}
