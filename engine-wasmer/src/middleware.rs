//! What is added to a guest's code while it is compiled.

use std::sync::{Arc, Mutex, PoisonError};

use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::wasmparser::{BlockType, Ieee32, Ieee64, Operator};
use wasmer_middlewares::Metering;
use wasmer_types::{
    ExportIndex, GlobalIndex, GlobalInit, GlobalType, LocalFunctionIndex, ModuleInfo, Mutability,
    Type,
};

use crate::engine::{Compiler, Settings};

/// The names of the globals that are added, by which they are found again.
pub(crate) const REMAINING: &str = "wasmer_metering_remaining_points";
pub(crate) const EXHAUSTED: &str = "wasmer_metering_points_exhausted";
pub(crate) const KILL_SWITCH: &str = "wasm_proxy_kill_switch";

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
    if !settings.compiler.has_library_table() {
        all.push(Arc::new(KillSwitch::default()));
    }
    all
}

/// Canonicalises the NaNs that conversions between floats produce, which Singlepass 7.3.0 forgets
/// (`F64PromoteF32` and `F32DemoteF64` in its `codegen.rs`): adding minus zero changes no number, and
/// an addition's NaNs it does canonicalise.
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

/// Ends a guest between two calls of wasmer's library.
///
/// A signal does not end it inside of one (see [`crate::interrupt`]), and a loop of them leaves a
/// signal few instants to arrive in: LLVM's code looks at a global of its instance after each.
#[derive(Debug, Default)]
struct KillSwitch {
    global: Mutex<Option<GlobalIndex>>,
}

impl KillSwitch {
    fn global(&self) -> Option<GlobalIndex> {
        *self.global.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModuleMiddleware for KillSwitch {
    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(Polls {
            global: self.global(),
        })
    }

    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        let global = info
            .globals
            .push(GlobalType::new(Type::I32, Mutability::Var));
        info.global_initializers.push(GlobalInit::I32Const(0));
        let export = ExportIndex::Global(global);
        info.exports.insert(KILL_SWITCH.to_owned(), export);
        *self.global.lock().unwrap_or_else(PoisonError::into_inner) = Some(global);
        Ok(())
    }
}

#[derive(Debug)]
struct Polls {
    global: Option<GlobalIndex>,
}

impl<'a> FunctionMiddleware<'a> for Polls {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        let calls_library = matches!(
            operator,
            Operator::MemoryFill { .. }
                | Operator::MemoryCopy { .. }
                | Operator::MemoryInit { .. }
                | Operator::MemoryGrow { .. }
                | Operator::DataDrop { .. }
                | Operator::ElemDrop { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. }
                | Operator::TableGrow { .. }
                | Operator::MemoryAtomicNotify { .. }
        );
        state.push_operator(operator);
        if let Some(global) = self.global
            && calls_library
        {
            state.extend(&[
                Operator::GlobalGet {
                    global_index: global.as_u32(),
                },
                Operator::If {
                    blockty: BlockType::Empty,
                },
                Operator::Unreachable,
                Operator::End,
            ]);
        }
        Ok(())
    }
}
