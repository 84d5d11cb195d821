//! An instance: the guest's state in this process, and the one way into its code.

use std::cell::{Cell, OnceCell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use engine_api::{
    Caller, Error, FuncIndex, FuncRef, Imports, Instance, Interrupter, Limits, MemoryImage,
    MemoryMeter, NumericType, Slot, Snapshot, Val,
};
use smallvec::SmallVec;
use wasmer_compiler::InstantiationError;
use wasmer_types::{ExportIndex, GlobalIndex, MemoryIndex, RawValue, TableIndex};
use wasmer_vm::{
    InternalStoreHandle, LinearMemory, StoreObjects, TrapHandlerFn, VMCallerCheckedAnyfunc,
    VMConfig, VMExtern, VMGlobalDefinition, VMInstance, VMMemory, VMMemoryDefinition, VMTable,
    wasmer_call_trampoline,
};

use crate::convert::References;
use crate::imports;
use crate::interrupt::{self, Watch, Watched};
use crate::libcalls;
use crate::limits::{self, Account, InstanceTunables};
use crate::module::Compiled;
use crate::shared_memory::SharedState;
use crate::traps::{self, Imposed};

/// The instance behind [`engine_api::Instance`].
pub(crate) struct WasmerInstance {
    guest: NonNull<Guest>,
}

// SAFETY: everything a guest consists of is owned by its instance, except what is shared through
// atomics and locks (`Watched`, `SharedState`, the compiled module). wasmer's own objects are tied to
// no thread: `wasmer::Store`, which is made of the same, is `Send`.
unsafe impl Send for WasmerInstance {}

impl Drop for WasmerInstance {
    fn drop(&mut self) {
        // SAFETY: it came from `Box::into_raw`, and no call is in flight: a host function sees its
        // instance only through a `ManuallyDrop` for the length of the call.
        drop(unsafe { Box::from_raw(self.guest.as_ptr()) });
    }
}

impl WasmerInstance {
    pub(crate) fn new(
        compiled: &Arc<Compiled>,
        imports: &Imports,
        limits: &Limits,
        snapshot: Option<&Snapshot>,
    ) -> Result<Self, Error> {
        let settings = &compiled.settings;
        if limits.fuel.is_some() && compiled.fuel.is_none() {
            return Err(settings.unsupported("fuel: make the engine with `EngineConfig::fuel`"));
        }
        if limits.deadline.is_some() && !interrupt::AVAILABLE {
            return Err(settings.unsupported("deadlines on this machine"));
        }
        limits::check_start(&compiled.info, imports, limits)?;

        let objects = StoreObjects::default();
        let watched = Watched::new(&compiled.code);
        let tunables = InstanceTunables::new(limits, &watched);
        let guest = Box::new(Guest::new(compiled, objects, watched, &tunables, limits));
        let instance = Self {
            guest: NonNull::from(Box::leak(guest)),
        };
        let externs = imports::link(instance.guest, &tunables, imports)?;
        let guest = instance.guest();
        if limits.deadline.is_some() {
            guest.keep_watch()?;
        }
        guest.populate(&tunables, &externs)?;
        match snapshot {
            None => guest.start()?,
            Some(snapshot) => {
                guest.fill(false)?;
                guest.restore(snapshot)?;
            }
        }
        Ok(instance)
    }

    /// What a host function sees of the guest that called it.
    ///
    /// # Safety
    ///
    /// The guest must outlive the view, and the view must not be dropped as an instance.
    pub(crate) unsafe fn view(guest: NonNull<Guest>) -> std::mem::ManuallyDrop<Self> {
        std::mem::ManuallyDrop::new(Self { guest })
    }

    #[inline]
    pub(crate) fn guest(&self) -> &Guest {
        // SAFETY: the guest lives until `drop`, and is only ever borrowed shared.
        unsafe { self.guest.as_ref() }
    }
}

impl Instance for WasmerInstance {
    fn call_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        self.guest().call_numbers(func, ty, slots)
    }

    fn memory_meter(&self) -> Option<MemoryMeter> {
        let guest = self.guest();
        let is_alone = guest.parts().shared.is_empty();
        is_alone.then(|| guest.account.meter().clone())
    }

    fn memory_bytes(&self) -> u64 {
        let guest = self.guest();
        let shared = guest.parts().shared.iter().map(|shared| shared.bytes());
        guest.account.bytes() + shared.sum::<u64>()
    }

    fn interrupter(&self) -> Result<Interrupter, Error> {
        let guest = self.guest();
        if !interrupt::AVAILABLE {
            return Err(guest
                .compiled
                .settings
                .unsupported("interruption on this machine"));
        }
        let watch = match guest.watch.get() {
            Some(watch) => watch,
            None => guest.keep_watch()?,
        };
        Ok(Interrupter::new(Arc::new(watch.handle())))
    }

    fn fuel_left(&mut self) -> Option<u64> {
        self.guest().fuel_left.get()
    }

    fn capture(&mut self) -> Result<Snapshot, Error> {
        self.guest().capture()
    }

    fn discard_memories(&mut self) {
        self.guest().discard_pages();
    }
}

/// The state of one guest. Host functions get back to it while a call is in flight, so it is only
/// ever borrowed shared, and all that changes is in cells, borrowed for no longer than a statement.
pub(crate) struct Guest {
    pub(crate) compiled: Arc<Compiled>,
    objects: NonNull<StoreObjects>,
    parts: OnceCell<Parts>,
    callees: Box<[Cell<Option<Callee>>]>,
    pub(crate) references: RefCell<References>,
    account: Arc<Account>,
    /// The images that memories were last restored from or captured to.
    images: RefCell<Vec<(engine_api::MemoryIndex, MemoryImage)>>,
    pub(crate) watched: Arc<Watched>,
    watch: OnceCell<Watch>,
    limits: Limits,
    /// Calls in flight, one inside the other.
    depth: Cell<u32>,
    fuel_left: Cell<Option<u64>>,
    /// Whether the call in flight recursed through the host until its stack was used up.
    recursed: Cell<bool>,
}

/// What exists once the module's code has been joined with memories, tables and globals.
struct Parts {
    instance: NonNull<VMInstance>,
    memories: Box<[Option<MemoryParts>]>,
    tables: Box<[Option<InternalStoreHandle<VMTable>>]>,
    globals: Box<[Option<NonNull<VMGlobalDefinition>>]>,
    shared: Box<[Arc<SharedState>]>,
    fuel: Option<Fuel>,
}

/// A memory that the host can address.
pub(crate) struct MemoryParts {
    pub(crate) handle: InternalStoreHandle<VMMemory>,
    pub(crate) definition: NonNull<VMMemoryDefinition>,
    pub(crate) shared: Option<Arc<SharedState>>,
}

/// A function with all that its call needs.
#[derive(Clone, Copy)]
struct Callee(VMCallerCheckedAnyfunc);

#[derive(Clone, Copy)]
struct Fuel {
    remaining: NonNull<VMGlobalDefinition>,
    exhausted: NonNull<VMGlobalDefinition>,
}

impl Fuel {
    fn fill(self, units: u64) {
        // SAFETY: the globals live as long as the instance, and no guest code is running.
        unsafe {
            (*self.remaining.as_ptr()).val.u64 = units;
            (*self.exhausted.as_ptr()).val.i32 = 0;
        }
    }

    fn left(self) -> u64 {
        // SAFETY: as above.
        unsafe { self.remaining.as_ref().val.u64 }
    }

    fn is_exhausted(self) -> bool {
        // SAFETY: as above.
        unsafe { self.exhausted.as_ref().val.i32 != 0 }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // SAFETY: both came from `Box`es that nobody else frees; the instance points into the
        // objects, hence the order, and the code of both lives in `compiled`, which is dropped later.
        unsafe {
            if let Some(parts) = self.parts.take() {
                drop(Box::from_raw(parts.instance.as_ptr()));
            }
            drop(Box::from_raw(self.objects.as_ptr()));
        }
    }
}

impl Guest {
    fn new(
        compiled: &Arc<Compiled>,
        objects: StoreObjects,
        watched: Arc<Watched>,
        tunables: &InstanceTunables,
        limits: &Limits,
    ) -> Self {
        Self {
            objects: NonNull::from(Box::leak(Box::new(objects))),
            parts: OnceCell::new(),
            callees: vec![Cell::new(None); compiled.info.functions().len()].into(),
            references: RefCell::new(References::new(FuncRef::new_instance())),
            account: Arc::clone(tunables.account()),
            images: RefCell::default(),
            watched,
            watch: OnceCell::new(),
            limits: limits.clone(),
            depth: Cell::new(0),
            fuel_left: Cell::new(limits.fuel),
            recursed: Cell::new(false),
            compiled: Arc::clone(compiled),
        }
    }

    /// Makes the calls to come interruptible.
    fn keep_watch(&self) -> Result<&Watch, Error> {
        let watch = Watch::new(&self.watched);
        let settings = &self.compiled.settings;
        let watch = watch.map_err(|error| settings.failed("start its watchdog", error))?;
        Ok(self.watch.get_or_init(|| watch))
    }

    /// wasmer's objects of this guest, for the length of a statement.
    ///
    /// # Safety
    ///
    /// The result must be gone before the guest's code runs or another one is asked for.
    #[expect(
        clippy::mut_from_ref,
        reason = "wasmer reaches the same objects through a raw pointer whenever guest code runs"
    )]
    pub(crate) unsafe fn objects(&self) -> &mut StoreObjects {
        // SAFETY: it lives until the guest is dropped; the caller keeps borrows apart.
        unsafe { &mut *self.objects.as_ptr() }
    }

    fn parts(&self) -> &Parts {
        self.parts.get().expect("set before any guest code runs")
    }

    pub(crate) fn memory(&self, index: u32) -> Option<&MemoryParts> {
        self.parts().memories.get(index as usize)?.as_ref()
    }

    pub(crate) fn table(&self, index: u32) -> Option<InternalStoreHandle<VMTable>> {
        *self.parts().tables.get(index as usize)?
    }

    pub(crate) fn global(&self, index: u32) -> Option<NonNull<VMGlobalDefinition>> {
        *self.parts().globals.get(index as usize)?
    }

    /// Joins the module's code with its imports and with memories, tables and globals of its own.
    fn populate(&self, tunables: &InstanceTunables, externs: &[VMExtern]) -> Result<(), Error> {
        let artifact = self.compiled.artifact();
        // SAFETY: the imports are objects of this guest, in the module's order, with types that have
        // been checked. The objects stay where they are until the instance is gone.
        let instance = unsafe { artifact.instantiate(tunables, externs, self.objects()) };
        let instance = instance.map_err(|error| self.instantiation_error(error))?;
        let instance = NonNull::from(Box::leak(Box::new(instance)));
        // SAFETY: it is complete and has not run.
        unsafe { libcalls::install(instance) };

        let reach = &self.compiled.reach;
        let shared = self.account.take_shared();
        let memories = each(&reach.memories, |index| {
            match lookup(instance, ExportIndex::Memory(MemoryIndex::from_u32(index))) {
                VMExtern::Memory(handle) => self.memory_parts(handle, &shared),
                _ => unreachable!("asked for a memory"),
            }
        });
        let tables = each(&reach.tables, |index| {
            match lookup(instance, ExportIndex::Table(TableIndex::from_u32(index))) {
                VMExtern::Table(handle) => handle,
                _ => unreachable!("asked for a table"),
            }
        });
        let globals = each(&reach.globals, |index| {
            self.global_definition(instance, GlobalIndex::from_u32(index))
        });
        let fuel = self.compiled.fuel.map(|globals| Fuel {
            remaining: self.global_definition(instance, globals.remaining),
            exhausted: self.global_definition(instance, globals.exhausted),
        });
        let parts = Parts {
            instance,
            memories,
            tables,
            globals,
            shared,
            fuel,
        };
        assert!(self.parts.set(parts).is_ok(), "populated once");
        Ok(())
    }

    pub(crate) fn vm_instance(&self) -> NonNull<VMInstance> {
        self.parts().instance
    }

    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// The image that is mapped in a memory, but for what was written since.
    pub(crate) fn image(&self, memory: engine_api::MemoryIndex) -> Option<MemoryImage> {
        let images = self.images.borrow();
        let found = images.iter().find(|(index, _)| *index == memory);
        found.map(|(_, image)| image.clone())
    }

    pub(crate) fn set_image(&self, memory: engine_api::MemoryIndex, image: MemoryImage) {
        let mut images = self.images.borrow_mut();
        images.retain(|(index, _)| *index != memory);
        images.push((memory, image));
    }

    pub(crate) fn global_definition(
        &self,
        instance: NonNull<VMInstance>,
        index: GlobalIndex,
    ) -> NonNull<VMGlobalDefinition> {
        match lookup(instance, ExportIndex::Global(index)) {
            // SAFETY: the borrow ends with the expression.
            VMExtern::Global(handle) => unsafe { handle.get(self.objects()).vmglobal() },
            _ => unreachable!("asked for a global"),
        }
    }

    fn memory_parts(
        &self,
        handle: InternalStoreHandle<VMMemory>,
        shared: &[Arc<SharedState>],
    ) -> MemoryParts {
        // SAFETY: the borrow ends with the expression; a memory's definition is initialised.
        let (definition, base) = unsafe {
            let definition = handle.get(self.objects()).vmmemory();
            (definition, definition.as_ref().base)
        };
        let shared = shared.iter().find(|state| state.is_at(base));
        MemoryParts {
            handle,
            definition,
            shared: shared.map(Arc::clone),
        }
    }

    /// Fills tables with the module's elements, and if asked to, memories with its data.
    fn fill(&self, with_data: bool) -> Result<(), Error> {
        let artifact = self.compiled.artifact();
        let instance = self.parts().instance;
        let mut failed = None;
        self.run(|config, handler| {
            // SAFETY: the instance is fresh, and nothing else borrows it: no code of the guest's runs here,
            // as the compiled form of a module has no start function (see `Instrumented`).
            let outcome = unsafe {
                let instance = &mut *instance.as_ptr();
                if with_data {
                    artifact.finish_instantiation(config, Some(handler), instance)
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

    /// Fills memories and tables, and runs what was the module's start function.
    fn start(&self) -> Result<(), Error> {
        self.fill(true)?;
        let Some(name) = &self.compiled.start else {
            return Ok(());
        };
        let Callee(callee) = self.find(name);
        // A function without parameters and results; wasmer wants a place for them all the same.
        let mut values = [RawValue::default()];
        // SAFETY: there is no value to fit or to make room for.
        unsafe { self.run_callee(callee, values.as_mut_ptr()) }
    }

    fn instantiation_error(&self, error: InstantiationError) -> Error {
        match error {
            InstantiationError::Start(trap) => traps::error(trap, Imposed::default()),
            error => self
                .compiled
                .settings
                .failed("instantiate the module", error),
        }
    }

    /// The exported function, looked up the first time it is called.
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

    /// Calls an exported function.
    pub(crate) fn call(
        &self,
        func: FuncIndex,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), Error> {
        let info = &*self.compiled.info;
        info.check_call(func, args, results)?;
        let Callee(callee) = self.callee(func);
        // The function's results take the place of its arguments.
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
        // SAFETY: the arguments fit the function, and there is a place for each of them and of the results.
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

    /// Calls an exported function of numbers, which are taken from and left in their slots.
    #[inline]
    fn call_numbers(
        &self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        const { assert!(size_of::<Slot>() == size_of::<RawValue>()) };
        const { assert!(align_of::<Slot>() >= align_of::<RawValue>()) };
        self.compiled.info.check_numbers(func, ty, slots)?;
        let Callee(callee) = self.callee(func);
        // SAFETY: `ty` is the function's type, any bits are a number, and there is a slot, of the form of a
        // `RawValue`, for every argument and result.
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
        self.run(|config, handler| {
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
        })
    }

    /// Runs guest code under the limits.
    #[inline]
    fn run(
        &self,
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
            fuel.fill(self.limits.fuel.unwrap_or(u64::MAX));
        }
        self.depth.set(self.depth.get() + 1);
        // wasmer panics before it enters the guest if it cannot map a stack.
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
            // wasmer keeps every stack it ever made for reuse, and that was one for each call.
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

/// What wasmer asks about signals that arrive while a guest of ours runs. Its own one, which would end the
/// guest, is for another guest on the same thread, whose host function has called ours: it is dropped, and
/// whoever sent it knows that it may be.
const FOREIGN_SIGNALS: *const TrapHandlerFn<'static> =
    &(|signal, _, _| signal == libc::SIGUSR1) as &'static TrapHandlerFn<'static>;

pub(crate) fn lookup(instance: NonNull<VMInstance>, index: ExportIndex) -> VMExtern {
    // SAFETY: the instance is boxed, and nobody else borrows it: guest code reaches it through its
    // context only.
    unsafe { (*instance.as_ptr()).lookup_by_declaration(index) }
}

/// Looks up what the host can address, in order.
fn each<T>(reach: &[bool], mut part: impl FnMut(u32) -> T) -> Box<[Option<T>]> {
    let indexes = 0_u32..;
    indexes
        .zip(reach)
        .map(|(index, reachable)| reachable.then(|| part(index)))
        .collect()
}
