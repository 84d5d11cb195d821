//! Limits of an instance: its memories are counted when they grow.

use std::fmt;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use engine_api::{Limits, MemoryMeter, PAGE_BYTES};
use wasmer_compiler::{BaseTunables, Tunables};
use wasmer_types::{MemoryError, MemoryStyle, MemoryType, Pages, TableStyle, TableType};
use wasmer_vm::{
    LinearMemory, VMMemory, VMMemoryDefinition, VMOwnedMemory, VMSharedMemory, VMTable,
    VMTableDefinition,
};

use crate::interrupt::Watched;
use crate::layout;
use crate::shared_memory::{AttachedMemory, SharedState};

/// The sizes of the memories of one instance.
pub(crate) struct Account {
    pub(crate) meter: MemoryMeter,
    /// The limit of all unshared memories together, in bytes.
    pub(crate) bytes_max: u64,
    shared: Mutex<Vec<Arc<SharedState>>>,
}

impl Account {
    /// The size of all unshared memories, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.meter.bytes()
    }

    /// The shared memories that instantiation has attached.
    pub(crate) fn take_shared(&self) -> Box<[Arc<SharedState>]> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *shared).into()
    }

    pub(crate) fn add_shared(&self, state: &Arc<SharedState>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.push(Arc::clone(state));
    }

    /// Whether `delta` more bytes are within the limit. Only the thread that runs the instance
    /// calls this.
    fn allows(&self, delta: u64) -> bool {
        self.bytes()
            .checked_add(delta)
            .is_some_and(|bytes| bytes <= self.bytes_max)
    }

    /// Notes that `delta` more bytes were refused. Only the thread that runs the instance calls
    /// this.
    pub(crate) fn note_refused(&self, delta: u64) {
        self.meter.note_refused(self.bytes().saturating_add(delta));
    }

    /// Counts `delta` more bytes. Only the thread that makes or runs the instance calls this.
    fn add(&self, delta: u64) {
        self.meter.set(self.bytes() + delta);
    }
}

/// An unshared memory that asks its instance's [`Account`] before it grows.
pub(crate) struct CountedMemory {
    memory: VMOwnedMemory,
    account: Arc<Account>,
}

impl fmt::Debug for CountedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.memory.fmt(f)
    }
}

impl LinearMemory for CountedMemory {
    fn ty(&self) -> MemoryType {
        self.memory.ty()
    }

    fn size(&self) -> Pages {
        self.memory.size()
    }

    fn style(&self) -> MemoryStyle {
        self.memory.style()
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let bytes = u64::from(delta.0) * PAGE_BYTES;
        let grown = if self.account.allows(bytes) {
            self.memory.grow(delta)
        } else {
            Err(MemoryError::CouldNotGrow {
                current: self.memory.size(),
                attempted_delta: delta,
            })
        };
        if grown.is_ok() {
            self.account.add(bytes);
        } else {
            self.account.note_refused(bytes);
        }
        grown
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.memory.vmmemory()
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        Err(MemoryError::MemoryNotShared)
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        LinearMemory::copy(&self.memory)
    }
}

/// Makes the memories and tables of one instance.
pub(crate) struct InstanceTunables {
    base: BaseTunables,
    pub(crate) account: Arc<Account>,
    elements_max: u64,
    watched: Arc<Watched>,
}

impl InstanceTunables {
    pub(crate) fn new(limits: &Limits, watched: &Arc<Watched>) -> Self {
        Self {
            base: layout::base(),
            account: Arc::new(Account {
                meter: MemoryMeter::default(),
                bytes_max: limits.memory_bytes_max.unwrap_or(u64::MAX),
                shared: Mutex::default(),
            }),
            elements_max: limits.table_elements(),
            watched: Arc::clone(watched),
        }
    }

    /// Makes a table for an import, within the limit.
    pub(crate) fn table(&self, ty: &TableType) -> Result<VMTable, String> {
        self.create_host_table(ty, &TableStyle::CallerChecksSignature)
    }

    /// Makes a memory for an import. It counts towards the limit.
    pub(crate) fn memory(&self, ty: &MemoryType) -> Result<VMMemory, MemoryError> {
        self.create_host_memory(ty, &self.base.memory_style(ty))
    }

    /// The instance's handle to a shared memory.
    pub(crate) fn attach(&self, state: &Arc<SharedState>) -> VMMemory {
        self.account.add_shared(state);
        let attached = AttachedMemory::new(state, &self.watched);
        VMMemory(Box::new(attached))
    }

    fn counted(&self, memory: VMOwnedMemory) -> VMMemory {
        self.account.add(u64::from(memory.size().0) * PAGE_BYTES);
        VMMemory(Box::new(CountedMemory {
            memory,
            account: Arc::clone(&self.account),
        }))
    }

    fn limited(&self, ty: &TableType) -> TableType {
        let max = u64::from(ty.maximum.unwrap_or(u32::MAX)).min(self.elements_max);
        TableType {
            // `Limits::check_start` has refused a start size above the limit.
            maximum: Some(u32::try_from(max).unwrap_or(u32::MAX).max(ty.minimum)),
            ..*ty
        }
    }
}

impl Tunables for InstanceTunables {
    fn memory_style(&self, memory: &MemoryType) -> MemoryStyle {
        self.base.memory_style(memory)
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(
        &self,
        ty: &MemoryType,
        style: &MemoryStyle,
    ) -> Result<VMMemory, MemoryError> {
        let memory = VMOwnedMemory::new(ty, style)?;
        Ok(self.counted(memory))
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        _: &MemoryStyle,
        location: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        // A memory never moves, whatever the compiler was told (see `import_abi.rs`).
        let style = &self.base.memory_style(ty);
        // SAFETY: the caller vouches for the location, as this function requires.
        unsafe {
            if ty.shared {
                let memory = VMSharedMemory::from_definition(ty, style, location)?;
                return Ok(self.attach(&SharedState::new(memory)));
            }
            let memory = VMOwnedMemory::from_definition(ty, style, location)?;
            Ok(self.counted(memory))
        }
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        VMTable::new(&self.limited(ty), style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        location: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: the caller vouches for the location, as this function requires.
        unsafe { VMTable::from_definition(&self.limited(ty), style, location) }
    }
}
