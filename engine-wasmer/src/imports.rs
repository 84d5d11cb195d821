//! Makes the host's imports into wasmer's objects.

use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

use engine_api::{Error, Extern, GlobalType, HostFunc, Import, SharedMemory, Val};
use smallvec::SmallVec;
use wasmer_types::RawValue;
use wasmer_vm::{
    InternalStoreHandle, MaybeInstanceOwned, VMCallerCheckedAnyfunc, VMContext,
    VMDynamicFunctionContext, VMExtern, VMFunction, VMFunctionBody, VMFunctionContext,
    VMFunctionKind, VMGlobal, on_host_stack, raise_user_trap,
};

use crate::convert;
use crate::instance::WasmerInstance;
use crate::limits::InstanceTunables;
use crate::shared_memory::Backing;
use crate::state::InstanceState;

/// Makes the imports of a guest, in its module's order.
pub(crate) fn link(
    guest: NonNull<InstanceState>,
    tunables: &InstanceTunables,
    given: &[&Extern],
) -> Result<Vec<VMExtern>, Error> {
    // SAFETY: the guest is being made by our caller, so it lives; it has no code yet.
    let linker = Linker {
        guest,
        state: unsafe { guest.as_ref() },
        tunables,
    };
    let needed = linker.state.compiled.info.imports().iter();
    let both = needed.zip(given);
    both.map(|(import, given)| linker.import(import, given))
        .collect()
}

struct Linker<'a> {
    guest: NonNull<InstanceState>,
    state: &'a InstanceState,
    tunables: &'a InstanceTunables,
}

impl Linker<'_> {
    fn import(&self, import: &Import, given: &Extern) -> Result<VMExtern, Error> {
        let settings = &self.state.compiled.settings;
        let too_large = || settings.unsupported("memories and tables with 64-bit indexes");
        match given {
            Extern::Func(function) => Ok(VMExtern::Function(self.add(self.function(function)))),
            Extern::Memory(ty) => {
                let ty = convert::memory_type(*ty).ok_or_else(too_large)?;
                let memory = self.tunables.memory(&ty);
                let memory = memory.map_err(|error| settings.failed("reserve a memory", error))?;
                Ok(VMExtern::Memory(self.add(memory)))
            }
            Extern::SharedMemory(memory) => self.shared_memory(import, memory),
            Extern::Table(ty) => {
                let ty = convert::table_type(*ty).ok_or_else(too_large)?;
                let table = self.tunables.table(&ty);
                let table = table.map_err(|error| settings.failed("make a table", error))?;
                Ok(VMExtern::Table(self.add(table)))
            }
            Extern::Global(ty, value) => Ok(VMExtern::Global(self.add(self.global(*ty, value)?))),
            other => Err(import.refused(format!("this engine cannot give {other:?}"))),
        }
    }

    fn add<T: wasmer_vm::StoreObject>(&self, object: T) -> InternalStoreHandle<T> {
        // SAFETY: the borrow ends with the expression.
        InternalStoreHandle::new(unsafe { self.state.objects() }, object)
    }

    fn shared_memory(&self, import: &Import, memory: &SharedMemory) -> Result<VMExtern, Error> {
        let engine = self.state.compiled.settings.id();
        match memory.backing::<Backing>() {
            Some(Backing(state)) if memory.engine() == engine => {
                Ok(VMExtern::Memory(self.add(self.tunables.attach(state))))
            }
            _ => Err(import.refused(format!(
                "the shared memory was made by {}: make it with {engine}",
                memory.engine()
            ))),
        }
    }

    fn global(&self, ty: GlobalType, value: &Val) -> Result<VMGlobal, Error> {
        let raw = self.state.references.borrow_mut().lower(value)?;
        let global = VMGlobal::new(convert::global_type(ty));
        // SAFETY: the global is fresh, and the value is of its type: `Imports::resolve` has
        // checked.
        unsafe { (*global.vmglobal().as_ptr()).val = raw };
        Ok(global)
    }

    fn function(&self, function: &HostFunc) -> VMFunction {
        let signature = convert::func_type(function.ty());
        let type_signature_hash = self.state.compiled.engine.register_signature(&signature);
        let host_data = Box::new(VMDynamicFunctionContext {
            address: (enter as *const ()).cast::<VMFunctionBody>(),
            ctx: HostContext {
                guest: self.guest,
                function: function.clone(),
            },
        });
        let anyfunc = VMCallerCheckedAnyfunc {
            // Wasmer puts the address of the trampoline for the signature here.
            func_ptr: ptr::null(),
            type_signature_hash,
            vmctx: VMFunctionContext {
                host_env: (&raw const *host_data).cast_mut().cast::<c_void>(),
            },
            call_trampoline,
        };
        VMFunction {
            anyfunc: MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(anyfunc))),
            kind: VMFunctionKind::Dynamic,
            signature,
            host_data,
        }
    }
}

/// The context of a host function, which its entry point gets.
struct HostContext {
    guest: NonNull<InstanceState>,
    function: HostFunc,
}

/// The entry from the guest into the host, on the guest's stack. Raising an error abandons that
/// stack, so nothing on it may need dropping then.
unsafe extern "C-unwind" fn enter(
    context: *const VMDynamicFunctionContext<HostContext>,
    values: *mut RawValue,
) {
    // SAFETY: wasmer passes the context that was registered with the function, which lives as long
    // as the guest, and slots for all arguments and results.
    let outcome = on_host_stack(|| unsafe { serve(&(*context).ctx, values) });
    if let Err(error) = outcome {
        // SAFETY: we are on the guest's stack, with nothing left to drop.
        unsafe { raise_user_trap(error) }
    }
}

/// The same entry, for a host function that the module exports and the host calls.
unsafe extern "C" fn call_trampoline(
    context: *mut VMContext,
    _: *const VMFunctionBody,
    values: *mut RawValue,
) {
    // SAFETY: wasmer passes the `vmctx` that was registered beside this trampoline.
    unsafe { enter(context.cast_const().cast(), values) }
}

/// Runs a host function on the guest's behalf.
///
/// # Safety
///
/// The context's guest must be alive, and `values` must hold the arguments that the function's type
/// says, with room for its results.
unsafe fn serve(
    context: &HostContext,
    values: *mut RawValue,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let HostContext { guest, function } = context;
    // SAFETY: as this function requires.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe {
        exchange(*guest, function, values)
    }));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Box::new(error)),
        // `HostFunc::invoke` stops the function's own panics, so this one is ours.
        Err(_) => Err(Box::new(Error::HostPanicked {
            module: function.module().to_owned(),
            name: function.name().to_owned(),
            message: "the engine panicked while it passed the values".to_owned(),
        })),
    }
}

/// # Safety
///
/// As for [`serve`].
unsafe fn exchange(
    guest: NonNull<InstanceState>,
    function: &HostFunc,
    values: *mut RawValue,
) -> Result<(), Error> {
    // SAFETY: as `serve` requires.
    let state = unsafe { guest.as_ref() };
    let ty = function.ty();
    let mut args = SmallVec::<[Val; 8]>::new();
    {
        let mut references = state.references.borrow_mut();
        for (position, ty) in ty.params().iter().enumerate() {
            // SAFETY: the guest has left an argument of the type there.
            args.push(unsafe {
                let raw = values.add(position).read_unaligned();
                references.lift(*ty, raw)
            });
        }
    }
    let mut results: SmallVec<[Val; 4]> = ty.results().iter().map(|ty| Val::zero(*ty)).collect();

    // SAFETY: the view ends with the call, during which the guest waits.
    let mut view = unsafe { WasmerInstance::view(guest) };
    function.invoke(&mut *view, &args, &mut results)?;

    if let Some(kill) = state.watched.kill() {
        return Err(Error::Trap(kill));
    }
    let mut references = state.references.borrow_mut();
    for (position, result) in results.iter().enumerate() {
        let raw = references.lower(result).map_err(|error| Error::Host {
            module: function.module().to_owned(),
            name: function.name().to_owned(),
            source: Box::new(error),
        })?;
        // SAFETY: there is room for all results.
        unsafe { values.add(position).write_unaligned(raw) };
    }
    Ok(())
}
