//! The call of an export whose results come from several places: its return pointer, its parameters
//! for results, and the export that gives a length.

use engine_api::{FuncIndex, Val, ValType};
use smallvec::{SmallVec, smallvec};

use super::marshal::Buffer;
use super::{BoundInstance, CallFailure};
use crate::policy::plan::{ExportPlan, Gathered, ReturnPlace, Source};

/// The room that each parameter for a result gets.
const OUT_BYTES: u32 = 8;

impl BoundInstance {
    /// Calls the function with the arguments that callers see, and returns the results that they
    /// see.
    pub(super) fn call_raw(
        &mut self,
        plan: &ExportPlan,
        mut vals: SmallVec<[Val; 8]>,
    ) -> Result<SmallVec<[Val; 4]>, CallFailure> {
        if let Some(gathered) = &plan.gathered {
            return self.call_gathered(plan, gathered, vals);
        }
        add_zeros(plan, &mut vals);
        let mut raw: SmallVec<[Val; 4]> =
            plan.ty.results().iter().map(|ty| Val::zero(*ty)).collect();
        self.call_plain(plan.func, &vals, &mut raw)?;
        Ok(raw)
    }

    fn call_gathered(
        &mut self,
        plan: &ExportPlan,
        gathered: &Gathered,
        mut vals: SmallVec<[Val; 8]>,
    ) -> Result<SmallVec<[Val; 4]>, CallFailure> {
        let places = self.make_places(gathered)?;
        if let Some(places) = places {
            for (param, nth) in gathered.outs.iter().zip(0..) {
                let at = places.pointer.wrapping_add(nth * OUT_BYTES);
                vals.insert(*param, Val::from(at));
            }
        }
        let stack_bytes = gathered.return_bytes.cast_signed();
        let mut left_at = 0;
        if stack_bytes > 0 {
            left_at = self.move_stack(-stack_bytes)?;
            vals.insert(0, Val::from(left_at));
        }
        add_zeros(plan, &mut vals);
        let returned = plan.wasm_ty.results().iter();
        let mut returned: SmallVec<[Val; 4]> = returned.map(|ty| Val::zero(*ty)).collect();
        self.call_plain(plan.func, &vals, &mut returned)?;
        let (mut left, mut out) = (Vec::new(), Vec::new());
        if stack_bytes > 0 {
            self.copy_out(
                plan,
                left_at.into(),
                gathered.return_bytes.into(),
                &mut left,
            )?;
        }
        if let Some(places) = places {
            self.copy_out(plan, places.pointer.into(), places.len.into(), &mut out)?;
        }
        let own_args = &vals[usize::from(stack_bytes > 0)..];
        let mut returned = returned.into_iter();
        let mut raw: SmallVec<[Val; 4]> = smallvec![];
        for (source, ty) in gathered.sources.iter().zip(plan.ty.results()) {
            raw.push(match source {
                Source::Returned => returned.next().expect("the binding counted them"),
                Source::ReturnPointer(at) => number(*ty, &left[*at as usize..]),
                Source::Out(at) => number(*ty, &out[at * OUT_BYTES as usize..]),
                Source::Length(func) => self.length(*func, own_args)?,
            });
        }
        if stack_bytes > 0 {
            self.move_stack(stack_bytes)?;
        }
        if let Some(places) = places {
            self.free(places)?;
        }
        Ok(raw)
    }

    /// Room for the results that the function leaves where its parameters say, all of them zero.
    fn make_places(&mut self, gathered: &Gathered) -> Result<Option<Buffer>, CallFailure> {
        if gathered.outs.is_empty() {
            return Ok(None);
        }
        let zeros = vec![0; gathered.outs.len() * OUT_BYTES as usize];
        let len = u32::try_from(zeros.len()).expect("parameters are few");
        self.copy_in(&zeros, len, OUT_BYTES).map(Some)
    }

    /// The length of a buffer that the call returned.
    fn length(&mut self, func: FuncIndex, args: &[Val]) -> Result<Val, CallFailure> {
        let count = self.plan.export(func).wasm_ty.params().len();
        let mut length = [Val::I32(0)];
        self.call_plain(func, &args[..count], &mut length)?;
        let [length] = length;
        Ok(length)
    }

    /// Moves the guest's stack pointer, and returns it.
    fn move_stack(&mut self, bytes: i32) -> Result<u32, CallFailure> {
        let Some(func) = self.plan.stack_pointer else {
            return self.move_return_place(bytes);
        };
        let mut pointer = [Val::I32(0)];
        self.call_plain(func, &[Val::I32(bytes)], &mut pointer)?;
        Ok(pointer[0].i32().unwrap_or(0).cast_unsigned())
    }
}

impl BoundInstance {
    /// Makes room for results where no function does it, or gives it back.
    fn move_return_place(&mut self, bytes: i32) -> Result<u32, CallFailure> {
        let ended = |error| CallFailure::Ended(Box::new(error));
        match self
            .plan
            .return_place
            .expect("the policy was bound with one")
        {
            ReturnPlace::Address(at) => Ok(at),
            ReturnPlace::Global(global) => {
                let pointer = self.instance.global(global).map_err(ended)?;
                let moved = pointer.i32().unwrap_or(0).wrapping_add(bytes);
                self.instance
                    .set_global(global, &Val::I32(moved))
                    .map_err(ended)?;
                Ok(moved.cast_unsigned())
            }
        }
    }
}

/// The parameters that are always zero, after those that callers give.
fn add_zeros(plan: &ExportPlan, vals: &mut SmallVec<[Val; 8]>) {
    let zeros = plan.wasm_ty.params()[vals.len()..].iter();
    vals.extend(zeros.map(|ty| Val::zero(*ty)));
}

/// The number that the guest left at the beginning of these bytes.
fn number(ty: ValType, bytes: &[u8]) -> Val {
    let word = || u32::from_le_bytes(bytes[..4].try_into().expect("four bytes"));
    let long = || u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    match ty {
        ValType::I64 => Val::from(long()),
        ValType::F64 => Val::F64(long()),
        ValType::F32 => Val::F32(word()),
        _ => Val::from(word()),
    }
}
