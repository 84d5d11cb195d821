//! The only way into a guest's code. Calls run under the limits of the instance, and their results
//! take the place of their arguments.

use std::panic::{AssertUnwindSafe, catch_unwind};

use engine_api::{Error, FuncIndex, NumericType, Slot, Val};
use smallvec::SmallVec;
use wasmer_compiler::InstantiationError;
use wasmer_types::RawValue;
use wasmer_vm::{
    TrapHandlerFn, VMCallerCheckedAnyfunc, VMConfig, VMExtern, wasmer_call_trampoline,
};

use crate::interrupt;
use crate::state::{Callee, Fuel, InstanceState, lookup};
use crate::traps::{self, Imposed};

impl InstanceState {
    /// Fills tables with the module's elements and, with `with_data`, memories with its data.
    pub(crate) fn fill(&self, with_data: bool) -> Result<(), Error> {
        let machine_code = self.compiled.machine_code();
        let instance = self.parts().instance;
        let mut failed = None;
        self.run(|config, handler| {
            // SAFETY: the instance is fresh, and nothing else borrows it: no code of the guest's
            // runs here, as the compiled form of a module has no start function (see
            // `Instrumented`).
            let outcome = unsafe {
                let instance = &mut *instance.as_ptr();
                if with_data {
                    machine_code.finish_instantiation(config, Some(handler), instance)
                } else {
                    instance
                        .finish_instantiation(config, Some(handler), &[])
                        .map_err(InstantiationError::Start)
                }
            };
            match outcome {
                Ok(()) => Ok(()),
                Err(InstantiationError::Start(trap)) => Err(trap),
                Err(error) => {
                    failed = Some(error);
                    Ok(())
                }
            }
        })?;
        failed.map_or(Ok(()), |error| Err(self.instantiation_error(error)))
    }

    /// Fills memories and tables, and runs the module's start function and its initializer.
    pub(crate) fn start(&self) -> Result<(), Error> {
        self.fill(true)?;
        if let Some(name) = &self.compiled.start {
            self.run_start(name)?;
        }
        match self.compiled.info.initializer() {
            Some(initialize) => self.call(initialize, &[], &mut []),
            None => Ok(()),
        }
    }

    fn run_start(&self, name: &str) -> Result<(), Error> {
        let Callee(callee) = self.find(name);
        // A start function has no parameters and no results, but wasmer needs a place for them.
        let mut values = [RawValue::default()];
        // SAFETY: there is no value to fit or to make room for.
        unsafe { self.run_callee(callee, values.as_mut_ptr()) }
    }

    /// The exported function, which is looked up when it is first called.
    #[inline]
    fn callee(&self, func: FuncIndex) -> Callee {
        let slot = &self.callees[func.0 as usize];
        slot.get().unwrap_or_else(|| {
            let callee = self.resolve(func);
            slot.set(Some(callee));
            callee
        })
    }

    #[cold]
    fn resolve(&self, func: FuncIndex) -> Callee {
        self.find(&self.compiled.info.functions()[func.0 as usize].name)
    }

    fn find(&self, name: &str) -> Callee {
        let index = self.compiled.function_index(name);
        match lookup(self.parts().instance, index) {
            // SAFETY: the borrow ends with the expression; a function's reference is initialised
            // and never changes once its instance is complete.
            VMExtern::Function(handle) => unsafe {
                Callee(*handle.get(self.objects()).anyfunc.as_ptr().as_ref())
            },
            _ => unreachable!("asked for a function"),
        }
    }

    /// Calls an exported function with values of any type.
    pub(crate) fn call(
        &self,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let info = &*self.compiled.info;
        info.check_call(func, args, results)?;
        let Callee(callee) = self.callee(func);
        // Results take the place of arguments.
        let mut values = SmallVec::<[RawValue; 8]>::new();
        {
            let mut references = self.references.borrow_mut();
            for arg in args {
                values.push(references.lower(arg)?);
            }
        }
        if values.len() < results.len() {
            values.resize(results.len(), RawValue::default());
        }
        // SAFETY: the arguments fit the function, and there is a place for each of them and of the
        // results.
        unsafe { self.run_callee(callee, values.as_mut_ptr()) }?;
        if !results.is_empty() {
            let types = info.functions()[func.0 as usize].ty.results();
            let mut references = self.references.borrow_mut();
            for ((result, ty), raw) in results.iter_mut().zip(types).zip(&values) {
                // SAFETY: the function has left a value of the type there.
                *result = unsafe { references.lift(*ty, *raw) };
            }
        }
        Ok(())
    }

    /// Calls an exported function of numbers. The guest's code reads and writes the slots.
    #[inline]
    pub(crate) fn call_numbers(
        &self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        const { assert!(size_of::<Slot>() == size_of::<RawValue>()) };
        const { assert!(align_of::<Slot>() >= align_of::<RawValue>()) };
        self.compiled.info.check_numbers(func, ty, slots)?;
        let Callee(callee) = self.callee(func);
        // SAFETY: `ty` is the function's type, any bits are a number, and there is a slot, of the
        // form of a `RawValue`, for every argument and result.
        unsafe { self.run_callee(callee, slots.as_mut_ptr().cast()) }
    }

    /// Runs a function under the limits. Its results take the place of its arguments.
    ///
    /// # Safety
    ///
    /// `values` are arguments of the function's types, and there is room for its results.
    #[inline]
    unsafe fn run_callee(
        &self,
        callee: VMCallerCheckedAnyfunc,
        values: *mut RawValue,
    ) -> Result<(), Error> {
        // SAFETY: our caller vouches for the values.
        self.run(|config, handler| unsafe { trampoline(callee, values, config, handler) })
    }

    /// Runs a function without parameters and results, which instrumentation has added, with
    /// unlimited fuel.
    pub(crate) fn run_added(&self, name: &str) -> Result<(), Error> {
        let Callee(callee) = self.find(name);
        let mut values = [RawValue::default()];
        let left = self.fuel_left.get();
        // SAFETY: as in `start`.
        let outcome = self.run_with(u64::MAX, |config, handler| unsafe {
            trampoline(callee, values.as_mut_ptr(), config, handler)
        });
        self.fuel_left.set(left);
        outcome
    }

    /// Runs guest code under the limits of the instance.
    #[inline]
    fn run(
        &self,
        enter: impl FnOnce(&VMConfig, *const TrapHandlerFn<'static>) -> Result<(), wasmer_vm::Trap>,
    ) -> Result<(), Error> {
        self.run_with(self.limits.fuel.unwrap_or(u64::MAX), enter)
    }

    /// As [`InstanceState::run`]; an outermost call starts with so many units of fuel.
    #[inline]
    fn run_with(
        &self,
        units: u64,
        enter: impl FnOnce(&VMConfig, *const TrapHandlerFn<'static>) -> Result<(), wasmer_vm::Trap>,
    ) -> Result<(), Error> {
        let outermost = self.depth.get() == 0;
        let running = interrupt::running(&self.watched).map_err(|trap| {
            self.recursed.set(true);
            Error::Trap(trap)
        })?;
        let watch = self.watch.get();
        if let Some(watch) = watch {
            if outermost {
                watch.begin(self.limits.deadline).map_err(Error::Trap)?;
            } else if let Some(kill) = self.watched.kill() {
                return Err(Error::Trap(kill));
            }
        }
        let fuel = self.parts().fuel;
        if outermost && let Some(fuel) = fuel {
            fuel.fill(units);
        }
        self.depth.set(self.depth.get() + 1);
        // If wasmer cannot map a stack, it panics before it enters the guest.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            enter(&self.compiled.settings.vm_config, FOREIGN_SIGNALS)
        }));
        drop(running);
        self.depth.set(self.depth.get() - 1);
        let out_of_fuel = fuel.is_some_and(Fuel::is_exhausted);
        if self.limits.fuel.is_some() {
            let left = fuel.map_or(0, |fuel| if out_of_fuel { 0 } else { fuel.left() });
            self.fuel_left.set(Some(left));
        }
        let kill = match watch {
            Some(watch) if outermost => watch.end(),
            _ => self.watched.kill(),
        };
        if outermost && self.recursed.take() {
            // Wasmer keeps every stack for reuse, and the recursion took one for each call.
            wasmer_vm::drain_stack_pool();
        }
        match outcome {
            Ok(Ok(())) => Ok(()),
            outcome => Err(self.ended(outcome, Imposed { kill, out_of_fuel })),
        }
    }

    #[cold]
    fn ended(
        &self,
        outcome: std::thread::Result<Result<(), wasmer_vm::Trap>>,
        imposed: Imposed,
    ) -> Error {
        if let Ok(Err(trap)) = outcome {
            return traps::error(trap, imposed);
        }
        let settings = &self.compiled.settings;
        settings.failed("enter the guest", "it panicked; is memory short?")
    }
}

/// Enters a function. Its results take the place of its arguments.
///
/// # Safety
///
/// `values` are arguments of the function's types, and there is room for its results.
#[inline]
unsafe fn trampoline(
    callee: VMCallerCheckedAnyfunc,
    values: *mut RawValue,
    config: &VMConfig,
    handler: *const TrapHandlerFn<'static>,
) -> Result<(), wasmer_vm::Trap> {
    // SAFETY: the trampoline is of the function's signature; our caller vouches for the values.
    // `handler` is a static.
    unsafe {
        wasmer_call_trampoline(
            Some(handler),
            config,
            callee.vmctx,
            callee.call_trampoline,
            callee.func_ptr,
            values.cast(),
        )
    }
}

/// Decides, for wasmer, about signals that arrive while a guest of ours runs. Wasmer's own signal,
/// which would end the guest, is for another guest on the same thread, whose host function has
/// called ours. So it is dropped, which wasmer's senders expect to happen.
const FOREIGN_SIGNALS: *const TrapHandlerFn<'static> =
    &(|signal, _, _| signal == libc::SIGUSR1) as &'static TrapHandlerFn<'static>;
