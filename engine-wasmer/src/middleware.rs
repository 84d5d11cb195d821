//! Operators that are added to a guest's code while it is compiled.

use std::sync::Arc;

use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::wasmparser::{Ieee32, Ieee64, Operator};
use wasmer_middlewares::Metering;
use wasmer_types::LocalFunctionIndex;

use crate::settings::{Compiler, Settings};

/// The export names of the globals that the metering adds.
pub(crate) const REMAINING: &str = "wasmer_metering_remaining_points";
pub(crate) const EXHAUSTED: &str = "wasmer_metering_points_exhausted";

/// The middlewares for one module. They cannot be used for a second one.
pub(crate) fn all(settings: &Settings) -> Vec<Arc<dyn ModuleMiddleware>> {
    let mut all: Vec<Arc<dyn ModuleMiddleware>> = Vec::new();
    if settings.config.fuel {
        // Each operator of the guest costs one unit. The operators that the other middleware adds
        // are not counted.
        all.push(Arc::new(Metering::new(u64::MAX, |_: &Operator<'_>| 1)));
    }
    if settings.compiler == Compiler::Singlepass {
        all.push(Arc::new(CanonicalConversions));
    }
    all
}

/// Canonicalises the NaNs of conversions between floats, which Singlepass 7.3.0 forgets
/// (`F64PromoteF32` and `F32DemoteF64` in its `codegen.rs`). It adds minus zero, which changes no
/// number, and Singlepass does canonicalise the NaNs of additions.
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
