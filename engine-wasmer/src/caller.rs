//! Access to the guest, for its host functions and for the owner of its instance.

use std::sync::Arc;

use engine_api::{
    Caller, Error, FuncIndex, GlobalIndex, MemoryIndex, ModuleInfo, PAGE_BYTES, TableIndex, Val,
    memory_range,
};
use wasmer_types::Pages;
use wasmer_vm::{LinearMemory, TableElement};

use crate::instance::WasmerInstance;
use crate::references;
use crate::state::MemoryParts;

impl Caller for WasmerInstance {
    fn info(&self) -> &Arc<ModuleInfo> {
        &self.state().compiled.info
    }

    fn call(&mut self, func: FuncIndex, args: &[Val], results: &mut [Val]) -> Result<(), Error> {
        self.state().call(func, args, results)
    }

    fn may_go_on(&self) -> Result<(), Error> {
        let reason = self.state().watched.kill();
        reason.map_or(Ok(()), |trap| Err(Error::Trap(trap)))
    }

    fn memory_size(&self, memory: MemoryIndex) -> Result<u64, Error> {
        Ok(self.memory(memory)?.bytes())
    }

    fn memory_read(
        &self,
        memory: MemoryIndex,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let memory = self.memory(memory)?;
        if let Some(shared) = &memory.shared {
            return shared.read(offset, buffer);
        }
        let range = memory_range(offset, buffer.len(), memory.bytes())?;
        // SAFETY: the bytes are inside the memory as it is now, hence mapped. An unshared memory is
        // written by its own guest only, which is not running: it waits for us or is not called.
        // `buffer` is the host's.
        unsafe {
            let base = memory.definition.as_ref().base;
            let from = base.add(range.start);
            from.copy_to_nonoverlapping(buffer.as_mut_ptr(), buffer.len());
        }
        Ok(())
    }

    fn memory_write(
        &mut self,
        memory: MemoryIndex,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let memory = self.memory(memory)?;
        if let Some(shared) = &memory.shared {
            return shared.write(offset, bytes);
        }
        let range = memory_range(offset, bytes.len(), memory.bytes())?;
        // SAFETY: as in `memory_read`.
        unsafe {
            let base = memory.definition.as_ref().base;
            let to = base.add(range.start);
            to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
        Ok(())
    }

    fn memory_grow(&mut self, memory: MemoryIndex, pages_delta: u64) -> Result<u64, Error> {
        let parts = self.memory(memory)?;
        let refused = Error::Growth {
            current: parts.bytes() / PAGE_BYTES,
            delta: pages_delta,
        };
        let Ok(delta) = u32::try_from(pages_delta) else {
            if let Some(shared) = &parts.shared {
                shared.note_refused(pages_delta);
            } else {
                let bytes = pages_delta.saturating_mul(PAGE_BYTES);
                self.state().account.note_refused(bytes);
            }
            return Err(refused);
        };
        // SAFETY: the borrow ends with the statement, and growing runs no guest code.
        let grown = unsafe {
            let objects = self.state().objects();
            parts.handle.get_mut(objects).grow(Pages(delta))
        };
        grown.map(|before| u64::from(before.0)).map_err(|_| refused)
    }

    fn global(&mut self, global: GlobalIndex) -> Result<Val, Error> {
        let state = self.state();
        let definition = state.global(global.0)?;
        let ty = state.compiled.info.globals()[global.0 as usize];
        Ok(state.value(definition, ty.value))
    }

    fn set_global(&mut self, global: GlobalIndex, value: &Val) -> Result<(), Error> {
        let state = self.state();
        let definition = state.global(global.0)?;
        state.compiled.info.check_set_global(global, value)?;
        state.set_value(definition, value)
    }

    fn table_size(&self, table: TableIndex) -> Result<u64, Error> {
        let state = self.state();
        let handle = state.table(table.0)?;
        // SAFETY: the borrow ends with the expression.
        Ok(u64::from(unsafe { handle.get(state.objects()).size() }))
    }

    fn table_grow(
        &mut self,
        table: TableIndex,
        elements_delta: u64,
        initial: &Val,
    ) -> Result<u64, Error> {
        let refused = Error::Growth {
            current: self.table_size(table)?,
            delta: elements_delta,
        };
        let initial = self.element(table, initial)?;
        let state = self.state();
        let handle = state.table(table.0)?;
        let Ok(delta) = u32::try_from(elements_delta) else {
            return Err(refused);
        };
        // SAFETY: `initial` is a reference of the table's type, made by `element`; the borrow ends
        // with the statement, and growing runs no guest code.
        let before = unsafe { handle.get_mut(state.objects()).grow(delta, initial) };
        before.map(u64::from).ok_or(refused)
    }

    fn table_get(&mut self, table: TableIndex, element: u64) -> Result<Val, Error> {
        let size = self.table_size(table)?;
        let state = self.state();
        let ty = state.compiled.info.tables()[table.0 as usize].element;
        let handle = state.table(table.0)?;
        let position = u32::try_from(element).ok();
        // SAFETY: the borrow ends with the expression.
        let found = position.and_then(|at| unsafe { handle.get(state.objects()).get(at) });
        let raw = references::raw(&found.ok_or(Error::NoSuchElement { element, size })?);
        let mut references = state.references.borrow_mut();
        // SAFETY: a reference of the table's type, which the guest or `lower` put there.
        Ok(unsafe { references.lift(ty, raw) })
    }

    fn table_set(&mut self, table: TableIndex, element: u64, value: &Val) -> Result<(), Error> {
        let size = self.table_size(table)?;
        let value = self.element(table, value)?;
        let state = self.state();
        state.table(table.0)?;
        let Ok(at) = u32::try_from(element) else {
            return Err(Error::NoSuchElement { element, size });
        };
        // SAFETY: `value` is a reference of the table's type, made by `element`.
        let stored = unsafe { state.set_element(table, at, value) };
        stored.map_err(|_| Error::NoSuchElement { element, size })
    }
}

impl WasmerInstance {
    fn memory(&self, memory: MemoryIndex) -> Result<&MemoryParts, Error> {
        self.state().memory(memory.0)
    }

    /// A value as an element of a table. The caller has checked the table's index.
    fn element(&self, table: TableIndex, value: &Val) -> Result<TableElement, Error> {
        let state = self.state();
        let ty = state.compiled.info.tables()[table.0 as usize].element;
        value.check_type(ty)?;
        let raw = state.references.borrow_mut().lower(value)?;
        // SAFETY: `raw` is a reference of the table's type, made by `lower`.
        Ok(unsafe { references::element(raw, ty) })
    }
}

impl MemoryParts {
    /// The memory's size at this moment, in bytes.
    fn bytes(&self) -> u64 {
        match &self.shared {
            Some(shared) => shared.bytes(),
            // SAFETY: the definition lives as long as the memory, and an unshared memory grows only
            // while its guest runs or through the `&mut` that we have.
            None => unsafe { self.definition.as_ref().current_length as u64 },
        }
    }
}
