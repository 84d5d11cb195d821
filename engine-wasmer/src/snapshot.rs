//! Captures the state of an instance, and puts it into a new one.

use engine_api::{
    Error, GlobalIndex, MemoryImage, MemoryIndex, PAGE_BYTES, Snapshot, SnapshotParts,
};
use memory_image::Region;
use wasmer_types::{ExportIndex, Pages};
use wasmer_vm::{InternalStoreHandle, LinearMemory, VMExtern, VMMemory};

use crate::state::{InstanceState, lookup};

impl InstanceState {
    pub(crate) fn capture(&self) -> Result<Snapshot, Error> {
        let info = &self.compiled.info;
        info.check_snapshots(self.compiled.settings.id())?;
        let mut images: Vec<(MemoryIndex, MemoryImage)> = Vec::new();
        for (index, memory) in self.all_memories() {
            let since = self.images.borrow().get(&index).cloned();
            let region = self.region(memory)?;
            // SAFETY: `region` is the whole of a memory of this guest, as wasmer has it at this
            // moment. No guest code runs, as its instance is borrowed by `&mut`, and wasmer keeps
            // no references into memories. Each lies in a reservation of its own, of which wasmer
            // asks only that it can be accessed and unmapped. `since` is the image that was last
            // mapped there, by this function or by `restore`.
            let image = unsafe { MemoryImage::capture(region, since.as_ref()) }?;
            self.images.borrow_mut().insert(index, image.clone());
            images.push((index, image));
        }
        let globals = info.mutable_globals().filter(|(_, ty)| !ty.is_reference());
        let values = globals.map(|(index, ty)| (index, self.value(self.any_global(index), ty)));
        let mut parts = SnapshotParts {
            memories: images,
            globals: values.collect(),
            ..SnapshotParts::empty(info.hash())
        };
        self.capture_references(&mut parts)?;
        Ok(Snapshot::new(parts))
    }

    /// Puts the state of a snapshot of the same module into the instance, in which nothing has run.
    pub(crate) fn restore(&self, snapshot: &Snapshot) -> Result<(), Error> {
        let info = &self.compiled.info;
        info.check_snapshots(self.compiled.settings.id())?;
        for (index, memory) in self.all_memories() {
            let image = snapshot.memory(index)?;
            // SAFETY: the borrow ends with the expression.
            let size = u64::from(unsafe { memory.get(self.objects()).size().0 }) * PAGE_BYTES;
            self.grow(memory, snapshot.growth(index, size)?)?;
            let region = self.region(memory)?;
            // SAFETY: as in `capture`.
            unsafe { image.restore(region) }?;
            self.images.borrow_mut().insert(index, image.clone());
        }
        for (index, ty) in info.mutable_globals().filter(|(_, ty)| !ty.is_reference()) {
            let value = snapshot.global(index)?;
            value.check_type(ty)?;
            self.set_value(self.any_global(index), value)?;
        }
        self.restore_references(snapshot)
    }

    /// Gives the pages of all memories back, in slices.
    pub(crate) fn discard_pages(&self) {
        // Other instances may have a shared memory too.
        if !self.parts().shared.is_empty() {
            return;
        }
        for (_, memory) in self.all_memories() {
            if let Ok(region) = self.region(memory) {
                // SAFETY: as in `capture`.
                unsafe { memory_image::discard(region) };
            }
        }
    }

    /// Every linear memory, exported or not.
    fn all_memories(
        &self,
    ) -> impl Iterator<Item = (MemoryIndex, InternalStoreHandle<VMMemory>)> + '_ {
        let count = self.compiled.info.memories().len();
        (0_u32..).take(count).map(|index| {
            let place = ExportIndex::Memory(wasmer_types::MemoryIndex::from_u32(index));
            match lookup(self.parts().instance, place) {
                VMExtern::Memory(handle) => (MemoryIndex(index), handle),
                _ => unreachable!("asked for a memory"),
            }
        })
    }

    /// Where a memory lies at this moment.
    fn region(&self, memory: InternalStoreHandle<VMMemory>) -> Result<Region, Error> {
        // SAFETY: the borrows end with the expressions; a memory's definition is initialised.
        let definition = unsafe { memory.get(self.objects()).vmmemory() };
        // SAFETY: it lives as long as the memory, which grows only while its guest runs or by our
        // `&mut`.
        let (base, bytes) =
            unsafe { (definition.as_ref().base, definition.as_ref().current_length) };
        let base = std::ptr::NonNull::new(base).unwrap_or(std::ptr::NonNull::dangling());
        Ok(Region::new(base, bytes)?)
    }

    /// Grows a memory by the bytes that its image has more, under the limits.
    fn grow(&self, memory: InternalStoreHandle<VMMemory>, missing: u64) -> Result<(), Error> {
        if missing == 0 {
            return Ok(());
        }
        let refused = || Error::Limit {
            what: "bytes of memory",
            needed: self.account.bytes().saturating_add(missing),
            limit: self.account.bytes_max,
        };
        let pages = u32::try_from(missing / PAGE_BYTES).map_err(|_| refused())?;
        // SAFETY: the borrow ends with the expression, and growing runs no guest code.
        let grown = unsafe { memory.get_mut(self.objects()).grow(Pages(pages)) };
        grown.map(drop).map_err(|_| refused())
    }

    pub(crate) fn any_global(
        &self,
        index: GlobalIndex,
    ) -> std::ptr::NonNull<wasmer_vm::VMGlobalDefinition> {
        let index = wasmer_types::GlobalIndex::from_u32(index.0);
        self.global_definition(self.parts().instance, index)
    }
}
