//! What is added to a guest's code while it is compiled.

use std::sync::Arc;

use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::wasmparser::{Ieee32, Ieee64, Operator};
use wasmer_middlewares::Metering;
use wasmer_types::LocalFunctionIndex;

use crate::settings::{Compiler, Settings};

/// The names of the globals that are added, by which they are found again.
pub(crate) const REMAINING: &str = "wasmer_metering_remaining_points";
pub(crate) const EXHAUSTED: &str = "wasmer_metering_points_exhausted";

/// What an engine adds to one module. None of it can be used for a second one.
pub(crate) fn all(settings: &Settings) -> Vec<Arc<dyn ModuleMiddleware>> {
    let mut all: Vec<Arc<dyn ModuleMiddleware>> = Vec::new();
    if settings.config.fuel {
        // One unit per operator of the guest's; what the others add is not counted.
        all.push(Arc::new(Metering::new(u64::MAX, |_: &Operator<'_>| 1)));
    }
    if settings.compiler == Compiler::Singlepass {
        all.push(Arc::new(CanonicalConversions));
    }
    all
}

/// Canonicalises the NaNs that conversions between floats produce, which Singlepass 7.3.0 forgets
/// (`F64PromoteF32` and `F32DemoteF64` in its `codegen.rs`): adding minus zero changes no number,
/// and an addition's NaNs it does canonicalise.
#[derive(Debug)]
struct CanonicalConversions;

impl ModuleMiddleware for CanonicalConversions {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Self)
    }
}

impl<'a> FunctionMiddleware<'a> for CanonicalConversions {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        let addition = match operator {
            Operator::F64PromoteF32 => Some([
                Operator::F64Const {
                    value: Ieee64::from(-0.0),
                },
                Operator::F64Add,
            ]),
            Operator::F32DemoteF64 => Some([
                Operator::F32Const {
                    value: Ieee32::from(-0.0),
                },
                Operator::F32Add,
            ]),
            _ => None,
        };
        state.push_operator(operator);
        state.extend(addition.into_iter().flatten());
        Ok(())
    }
}
