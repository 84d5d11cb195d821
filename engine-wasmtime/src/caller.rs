//! Calls, memories, globals and tables, as host functions and the owner of an instance see them.

use std::sync::Arc;

use engine_api::{
    Caller, Error, FuncIndex, GlobalIndex, MemoryIndex, ModuleInfo, NumericType, PAGE_BYTES, Slot,
    TableIndex, Val, ValType, memory_range,
};
use wasmtime::{
    AsContext, AsContextMut, Extern, Func, Global, ModuleExport, RootScope, Store, Table, ValRaw,
};

use crate::state::{Memory, State};
use crate::{convert, shared_memory, traps};

/// Access to a guest: through its store, or through wasmtime's caller while a host function runs.
pub(crate) struct GuestAccess<S>(pub(crate) S);

/// Finds an instance's exports, through its store or through wasmtime's caller.
pub(crate) trait FindExport: AsContextMut<Data = State> {
    fn find_export(&mut self, export: &ModuleExport) -> Option<Extern>;
}

impl FindExport for Store<State> {
    fn find_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        let instance = self.data().instance?;
        instance.get_module_export(self, export)
    }
}

impl FindExport for wasmtime::Caller<'_, State> {
    fn find_export(&mut self, export: &ModuleExport) -> Option<Extern> {
        // If the instance is still being made, only wasmtime's caller reaches its exports.
        match self.data().instance {
            Some(instance) => instance.get_module_export(&mut *self, export),
            None => self.get_module_export(export),
        }
    }
}

impl<S: FindExport> GuestAccess<S> {
    /// Fills in the exported memories, tables and globals, before the host can first use them.
    /// Imported ones are there from the start.
    pub(crate) fn link(&mut self) {
        if self.0.as_context().data().linked {
            return;
        }
        let exports = Arc::clone(&self.0.as_context().data().exports);
        for (index, export) in &exports.memories {
            let memory = match self.0.find_export(export) {
                Some(Extern::Memory(memory)) => Memory::Unshared(memory),
                Some(Extern::SharedMemory(memory)) => {
                    self.0.as_context().data().clock.watch_memory(&memory);
                    Memory::Shared(memory)
                }
                _ => continue,
            };
            self.0.as_context_mut().data_mut().memories[index.0 as usize] = Some(memory);
        }
        for (index, export) in &exports.tables {
            let table = self.0.find_export(export).and_then(Extern::into_table);
            self.0.as_context_mut().data_mut().tables[index.0 as usize] = table;
        }
        for (index, export) in &exports.globals {
            let global = self.0.find_export(export).and_then(Extern::into_global);
            self.0.as_context_mut().data_mut().globals[index.0 as usize] = global;
        }
        self.0.as_context_mut().data_mut().linked = true;
    }

    /// The exported function of this index, which the caller has checked.
    #[inline]
    fn function(&mut self, func: FuncIndex) -> Result<Func, Error> {
        let index = func.0 as usize;
        match self.0.as_context().data().functions[index] {
            Some(function) => Ok(function),
            None => self.find_function(func),
        }
    }

    #[cold]
    fn find_function(&mut self, func: FuncIndex) -> Result<Func, Error> {
        let index = func.0 as usize;
        let exports = Arc::clone(&self.0.as_context().data().exports);
        let function = self
            .0
            .find_export(&exports.functions[index])
            .and_then(Extern::into_func)
            .ok_or_else(|| Error::no_such_index("function", func.0))?;
        self.0.as_context_mut().data_mut().functions[index] = Some(function);
        Ok(function)
    }

    /// Runs a function whose arguments the caller has checked. The error is boxed because it is
    /// large, and moving an `Ok` of its size costs as much as the rest of a short call.
    fn run(
        &mut self,
        func: FuncIndex,
        function: Func,
        args: &[Val],
        results: &mut [Val],
        raw: &mut Vec<ValRaw>,
    ) -> Result<(), Box<Error>> {
        convert::to_raw(&mut self.0, args, raw).map_err(Box::new)?;
        let slots = args.len().max(results.len());
        raw.resize(slots, ValRaw::i64(0));
        let values: *mut [ValRaw] = raw.as_mut_slice();
        #[expect(unsafe_code, reason = "the checked call costs three times as much")]
        // SAFETY: `values` has room for all parameters and for all results. The parameters have the
        // function's types, by `ModuleInfo::check_call`, whose types are those of the same bytes
        // that the function was compiled from. References belong to this store: externrefs were
        // made in it a moment ago, and funcrefs come from its own table. The store is not
        // asynchronous.
        unsafe { function.call_unchecked(&mut self.0, values) }
            .map_err(|error| Box::new(traps::call_failed(self.state().engine.id(), error)))?;
        self.read_results(func, results, raw).map_err(Box::new)
    }

    /// Calls an exported function of numbers. It takes them from their slots and leaves the results
    /// there. The error is boxed as in [`GuestAccess::run`].
    #[inline]
    pub(crate) fn run_numbers(
        &mut self,
        func: FuncIndex,
        ty: NumericType,
        slots: &mut [Slot],
    ) -> Result<(), Box<Error>> {
        const { assert!(size_of::<Slot>() == size_of::<ValRaw>()) };
        const { assert!(align_of::<Slot>() >= align_of::<ValRaw>()) };
        self.state().info.check_numbers(func, ty, slots)?;
        let function = self.function(func)?;
        self.enter()?;
        let values = std::ptr::slice_from_raw_parts_mut(slots.as_mut_ptr().cast(), slots.len());
        #[expect(unsafe_code, reason = "the checked call costs three times as much")]
        // SAFETY: `values` has room for all parameters and for all results, each of the form of a
        // `ValRaw`. They are numbers, which any bits are, and of the function's types, by
        // `ModuleInfo::check_numbers`, whose types are those of the same bytes that the function
        // was compiled from. The store is not asynchronous.
        let outcome = unsafe { function.call_unchecked(&mut self.0, values) };
        let in_time = self.leave();
        outcome.map_err(|error| traps::call_failed(self.state().engine.id(), error))?;
        Ok(in_time?)
    }

    #[inline]
    fn read_results(
        &mut self,
        func: FuncIndex,
        results: &mut [Val],
        raw: &[ValRaw],
    ) -> Result<(), Error> {
        for (position, result) in results.iter_mut().enumerate() {
            let info = &self.0.as_context().data().info;
            let ty = info.functions()[func.0 as usize].ty.results()[position];
            #[expect(unsafe_code, reason = "raw values carry no type")]
            // SAFETY: the guest wrote a result of this type there, and nothing has run since.
            let value = unsafe { convert::from_raw(&mut self.0, &raw[position], ty) };
            *result = value?;
        }
        Ok(())
    }

    /// Runs the module's start function: a call like any other, with deadline and fuel.
    pub(crate) fn start(&mut self, start: &ModuleExport) -> Result<(), Error> {
        let function = self.0.find_export(start).and_then(Extern::into_func);
        let function = function.ok_or_else(|| Error::no_such_index("function", u32::MAX))?;
        self.enter()?;
        let outcome = function.call(&mut self.0, &[], &mut []);
        let in_time = self.leave();
        outcome.map_err(|error| traps::call_failed(self.state().engine.id(), error))?;
        in_time
    }

    /// Begins a call, and sets fuel and deadline if it is an outermost one.
    pub(crate) fn enter(&mut self) -> Result<(), Error> {
        let mut context = self.0.as_context_mut();
        let state = context.data_mut();
        let outermost = state.clock.enter()?;
        if outermost && state.engine.config.fuel {
            let fuel = state.fuel.unwrap_or(u64::MAX);
            context
                .set_fuel(fuel)
                .expect("the engine is configured with fuel");
        }
        Ok(())
    }

    /// Ends a call that [`GuestAccess::enter`] began.
    ///
    /// # Errors
    ///
    /// A trap, if the call returned only because the ticker ended its wait.
    pub(crate) fn leave(&mut self) -> Result<(), Error> {
        self.0.as_context_mut().data_mut().clock.leave()
    }

    fn memory(&self, memory: MemoryIndex) -> Result<&Memory, Error> {
        let state = self.state();
        find(&state.memories, "memory", memory.0)
    }

    fn find_global(&self, global: GlobalIndex) -> Result<Global, Error> {
        find(&self.state().globals, "global", global.0).copied()
    }

    fn find_table(&self, table: TableIndex) -> Result<Table, Error> {
        find(&self.state().tables, "table", table.0).copied()
    }

    fn state(&self) -> &State {
        self.0.as_context().data()
    }
}

fn find<'a, T>(items: &'a [Option<T>], kind: &'static str, index: u32) -> Result<&'a T, Error> {
    items
        .get(index as usize)
        .and_then(Option::as_ref)
        .ok_or_else(|| Error::no_such_index(kind, index))
}

impl<S: FindExport> Caller for GuestAccess<S> {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.state().info
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.state().info.check_call(func, args, results)?;
        let function = self.function(func)?;
        self.enter()?;
        let mut raw = self.0.as_context_mut().data_mut().scratch.take_raw();
        let outcome = self.run(func, function, args, results, &mut raw);
        self.0.as_context_mut().data_mut().scratch.put_raw(raw);
        let in_time = self.leave();
        outcome.map_err(|error| *error)?;
        in_time
    }

    fn may_go_on(&self) -> Result<(), Error> {
        self.state().clock.check()
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        let size = match self.memory(memory)? {
            Memory::Unshared(memory) => memory.data_size(&self.0),
            Memory::Shared(memory) => memory.data_size(),
        };
        Ok(size as u64)
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        match self.memory(memory)? {
            Memory::Unshared(memory) => {
                let data = memory.data(self.0.as_context());
                let range = memory_range(offset, buffer.len(), data.len() as u64)?;
                buffer.copy_from_slice(&data[range]);
                Ok(())
            }
            Memory::Shared(memory) => shared_memory::read(memory, offset, buffer),
        }
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let memory = match self.memory(memory)? {
            Memory::Unshared(memory) => *memory,
            Memory::Shared(memory) => return shared_memory::write(memory, offset, bytes),
        };
        let data = memory.data_mut(self.0.as_context_mut());
        let range = memory_range(offset, bytes.len(), data.len() as u64)?;
        data[range].copy_from_slice(bytes);
        Ok(())
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let handle = self.memory(memory)?.clone();
        let grown = match &handle {
            Memory::Unshared(memory) => memory.grow(&mut self.0, pages_delta),
            Memory::Shared(memory) => memory.grow(pages_delta),
        };
        grown.map_err(|_| Error::Growth {
            current: match handle {
                Memory::Unshared(memory) => memory.size(&self.0),
                Memory::Shared(memory) => {
                    // The limiter is not asked about shared memories.
                    let wanted = memory.size().saturating_add(pages_delta);
                    let bytes = wanted.saturating_mul(PAGE_BYTES);
                    self.state().limiter.meter.note_refused(bytes);
                    memory.size()
                }
            },
            delta: pages_delta,
        })
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let global = self.find_global(global)?;
        let mut store = RootScope::new(&mut self.0);
        let value = global.get(&mut store);
        convert::from_wasmtime(&mut store, &value)
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let handle = self.find_global(global)?;
        self.state().info.check_set_global(global, value)?;
        let mut store = RootScope::new(&mut self.0);
        let value = convert::to_wasmtime(&mut store, value)?;
        handle.set(&mut store, value).map_err(|error| {
            traps::failed(store.as_context().data().engine.id(), "set a global", error)
        })
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        Ok(self.find_table(table)?.size(&self.0))
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error> {
        let handle = self.find_table(table)?;
        let element: ValType = self.state().info.tables()[table.0 as usize].element;
        let mut store = RootScope::new(&mut self.0);
        let initial = convert::to_wasmtime_ref(&mut store, initial, element)?;
        handle
            .grow(&mut store, elements_delta, initial)
            .map_err(|_| Error::Growth {
                current: handle.size(&store),
                delta: elements_delta,
            })
    }

    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        let handle = self.find_table(table)?;
        let mut store = RootScope::new(&mut self.0);
        let Some(value) = handle.get(&mut store, element) else {
            let size = handle.size(&store);
            return Err(Error::NoSuchElement { element, size });
        };
        convert::from_wasmtime(&mut store, &value.into())
    }

    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error> {
        let handle = self.find_table(table)?;
        let ty: ValType = self.state().info.tables()[table.0 as usize].element;
        let mut store = RootScope::new(&mut self.0);
        let value = convert::to_wasmtime_ref(&mut store, value, ty)?;
        let size = handle.size(&store);
        handle
            .set(&mut store, element, value)
            .map_err(|_| Error::NoSuchElement { element, size })
    }
}
