//! The guest as functions from outside see it.

use std::sync::Arc;

use engine_api::{Caller, Error, FuncIndex, GlobalIndex, MemoryIndex, ModuleInfo, TableIndex, Val};

use crate::surface::Surface;

/// The guest with the imports and exports of the outer module.
pub(crate) struct Facade<'a> {
    surface: &'a Surface,
    caller: &'a mut dyn Caller,
}

impl<'a> Facade<'a> {
    pub(crate) fn new(surface: &'a Surface, caller: &'a mut dyn Caller) -> Self {
        Self { surface, caller }
    }
}

impl Caller for Facade<'_> {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.surface.outer
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        // A function that the host adds cannot be called in the middle of another call. Its index
        // is past those of the inner module, which refuses it.
        self.caller.call(func, args, results)
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        self.caller.memory_size(memory)
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        self.caller.memory_read(memory, offset, buffer)
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        self.caller.memory_write(memory, offset, bytes)
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        self.caller.memory_grow(memory, pages_delta)
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        self.caller.global(global)
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        self.caller.set_global(global, value)
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        self.caller.table_size(table)
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error> {
        self.caller.table_grow(table, elements_delta, initial)
    }

    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        self.caller.table_get(table, element)
    }

    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error> {
        self.caller.table_set(table, element, value)
    }
}
